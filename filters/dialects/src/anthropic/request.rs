//! The facts of a Messages request, in the form that a chat request has for them: what decides a request's way is the
//! same in both dialects, and so are the edits.

use weir_wire::json::{Doc, Kind, Value};

use crate::hub::Invalid;
use crate::openai_chat::{self, Count, Has, Request, Rules, fields};

/// Reads the facts. `counting` is a request of `count_tokens`, which has no ceiling.
pub fn read<'d, 'a>(doc: &'d Doc<'a>, counting: bool) -> Result<Request<'d, 'a>, Invalid> {
    read_named(doc, counting, None)
}

/// [`read`], where model and streaming may be told in the path and not in the body.
pub fn read_named<'d, 'a>(
    doc: &'d Doc<'a>,
    counting: bool,
    named: Option<(&str, bool)>,
) -> Result<Request<'d, 'a>, Invalid> {
    Request::read_by(doc.root(), &mut |root, found| members(root, counting, named, found))
}

fn members<'d, 'a>(
    root: Value<'d, 'a>,
    counting: bool,
    named: Option<(&str, bool)>,
    found: &mut Request<'d, 'a>,
) -> Result<(), Invalid> {
    // The stream's usage is part of the dialect: every client reads it.
    found.include_usage = true;
    let (mut model, mut messages) = (None, None);
    for (key, value) in root.members() {
        by_name!(key => {
            "model" => model = Some(value),
            "messages" => messages = Some(value),
            "system" => look_at(value, &mut found.has),
            "stream" => found.stream = fields::bool(value, "stream")?,
            "max_tokens" => {
                fields::countable(value, "max_tokens")?;
                found.max_tokens = Some(value);
            },
            "tools" => {
                found.has.tools = !value.is_empty();
                look_at(value, &mut found.has);
            },
            "output_config" => {
                found.has.json_schema = fields::some(value, "format").is_some();
            },
            "cache_control" => found.has.cache_points |= !value.is_null(),
            "temperature" => found.temperature = value.as_f64(),
            "top_p" => found.top_p = value.as_f64(),
            "top_k" => found.top_k = value.as_f64(),
            "stop_sequences" if !value.is_null() => found.stop = Some(value),
            _ => {},
        })
    }
    if !counting && found.max_tokens.is_none_or(Value::is_null) {
        return Err(Invalid::missing("max_tokens"));
    }
    let Some((model, stream)) = named else { return found.filled(model, messages) };
    found.stream = stream;
    found.model_name = model.to_owned().into();
    found.with_messages(messages)
}

/// Notes what blocks contain, at any depth that a block can stand at.
pub(super) fn look_at(blocks: Value<'_, '_>, has: &mut Has) {
    for block in blocks.items() {
        has.cache_points |= fields::cache_control(block).is_some();
        let source = block.get("source").and_then(|source| source.get("type"));
        let remote = source.is_some_and(|kind| kind.is_str("url") || kind.is_str("file"));
        by_name!(block.get("type") => {
            "image" => {
                has.images = true;
                has.remote |= remote;
            },
            "document" => {
                has.documents = true;
                has.remote |= remote;
            },
            "container_upload" => has.remote = true,
            "tool_use" => has.tool_history = true,
            "tool_result" => {
                has.tool_history = true;
                if let Some(content) = block.get("content") {
                    look_at(content, has);
                }
            },
            _ => {},
        })
    }
}

/// Tokens of the prompt, by the rules of the chat that it becomes for a provider whose vocabulary is known.
pub fn prompt_tokens(doc: &Doc<'_>, rules: &Rules, count: &mut dyn FnMut(&str) -> u64) -> Count {
    openai_chat::chat_tokens(super::decode::decode_as(doc, true), rules, count).unwrap_or_default()
}

/// An upper bound of the prompt's tokens, whatever the vocabulary; as [`openai_chat::byte_bound`], and 16 a block.
pub fn byte_bound(doc: &Doc<'_>) -> u64 {
    let root = doc.root();
    let blocks = |holder: Option<Value<'_, '_>>| {
        holder.filter(|content| content.kind() == Kind::Array).map_or(1, |content| content.len() as u64)
    };
    let all = root
        .list("messages")
        .fold(blocks(root.get("system")), |sum, turn| sum.saturating_add(blocks(turn.get("content"))));
    openai_chat::byte_bound(doc).saturating_add(all.saturating_mul(16))
}
