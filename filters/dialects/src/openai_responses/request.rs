//! The facts of a Responses request, in the form that a chat request has for them: what decides a request's way is the
//! same in both, and so are the edits.

use weir_wire::json::{self, Doc, Kind, Limits, Value, Writer};
use weir_wire::splice::Splices;

use super::stream_write::{SEALED, SIGNED};
use crate::hub::{Invalid, Loss};
use crate::media;
use crate::openai_chat::{self, Count, Has, Overhead, Request, Rules, fields, string};

/// Reads the facts.
pub fn read<'d, 'a>(doc: &'d Doc<'a>) -> Result<Request<'d, 'a>, Invalid> {
    Request::read_by(doc.root(), &mut members)
}

fn members<'d, 'a>(root: Value<'d, 'a>, found: &mut Request<'d, 'a>) -> Result<(), Invalid> {
    // The stream's usage is part of the dialect: every client reads it.
    found.include_usage = true;
    found.ceiling_name = "max_output_tokens";
    let (mut model, mut input) = (None, None);
    for (key, value) in root.members() {
        by_name!(key => {
            "model" => model = Some(value),
            "input" => input = Some(value),
            "stream" => found.stream = fields::bool(value, "stream")?,
            "max_output_tokens" => {
                fields::countable(value, "max_output_tokens")?;
                found.max_completion_tokens = Some(value);
            },
            "tools" => {
                found.has.tools = !value.is_empty();
                found.has.hosted |= value.items().any(hosted);
            },
            "text" => found.has.format(value.get("format")),
            // Its answer would come later, at a path that is not served, and so would its bill.
            "background" if fields::bool(value, "background")? => {
                return Err(Invalid::unsupported(
                    "background",
                    "an answer in the background cannot be fetched through this gateway: leave 'background' out",
                ));
            },
            "previous_response_id" | "conversation" | "prompt" => found.has.stored |= !value.is_null(),
            "top_logprobs" => found.has.logprobs = value.as_u64().is_some_and(|top| top > 0),
            "temperature" => found.temperature = value.as_f64(),
            "top_p" => found.top_p = value.as_f64(),
            "reasoning" => {
                found.reasoning_effort = value.get("effort").and_then(string);
                // It thinks as often as it likes, and all of it is billed.
                let mode = fields::some(value, "mode");
                found.has.hosted |= mode.is_some_and(|mode| !mode.is_str("standard"));
            },
            "service_tier" => found.service_tier = string(value),
            "user" => found.user = string(value),
            _ => {},
        })
    }
    // A prompt of the provider's own may bring everything else.
    let input = input.filter(|input| !input.is_null()).or(root.get("prompt").filter(|_| found.has.stored));
    let Some(input) = input else { return Err(Invalid::missing("input")) };
    if !matches!(input.kind(), Kind::String | Kind::Array | Kind::Object) {
        return Err(Invalid::value("input", "'input' must be a string or an array of items"));
    }
    if let Some(at) = openai_chat::no_object(input) {
        return Err(Invalid::value(&fields::item("input", at), "an item must be an object"));
    }
    input.items().for_each(|item| look_at(item, &mut found.has));
    found.messages = input;
    found.named(model)
}

/// A tool that the provider runs itself, as often as it likes.
fn hosted(tool: Value<'_, '_>) -> bool {
    let kind = tool.get("type").and_then(Value::str_raw).unwrap_or_default();
    !matches!(kind, "function" | "custom" | "namespace")
}

fn look_at(item: Value<'_, '_>, has: &mut Has) {
    by_name!(item.get("type").and_then(Value::str_raw).unwrap_or("message") => {
        "message" | "reasoning" | "compaction" => {},
        "item_reference" => has.stored = true,
        _ => has.tool_history = true,
    });
    parts_of(item, &mut |part| openai_chat::look_at_part(part, has));
}

/// Pictures, whose size is not read, as the rules of chat know them.
pub fn images(doc: &Doc<'_>) -> Overhead {
    let mut found = Overhead::default();
    each_part(doc, &mut |part| {
        if part.get("type").is_some_and(|kind| kind.is_str("input_image")) {
            let low = part.get("detail").is_some_and(|detail| detail.is_str("low"));
            let count = if low { &mut found.low_images } else { &mut found.images };
            *count = count.saturating_add(1);
        }
    });
    found
}

fn each_part<'d, 'a>(doc: &'d Doc<'a>, sink: &mut dyn FnMut(Value<'d, 'a>)) {
    doc.root().list("input").for_each(|item| parts_of(item, sink));
}

/// The parts of an item.
#[inline(never)]
fn parts_of<'d, 'a>(item: Value<'d, 'a>, sink: &mut dyn FnMut(Value<'d, 'a>)) {
    for key in ["content", "output"] {
        item.list(key).for_each(&mut *sink);
    }
}

/// Tokens of the prompt, by the rules of the chat that it becomes; where it cannot become one, those of its texts.
pub fn prompt_tokens(doc: &Doc<'_>, rules: &Rules, count: &mut dyn FnMut(&str) -> u64) -> Count {
    if let Some(count) = openai_chat::chat_tokens(super::decode(doc), rules, count) {
        return count;
    }
    let mut tokens = 0u64;
    super::texts(doc, &mut |text| {
        tokens = tokens.saturating_add(count(&text.value.unescaped().text)).saturating_add(4);
    });
    Count { tokens, exact: false, images: 0 }
}

/// An upper bound of the prompt's tokens, whatever the vocabulary; as [`openai_chat::byte_bound`], and 16 an item and a
/// part.
pub fn byte_bound(doc: &Doc<'_>) -> u64 {
    let root = doc.root();
    // A schema is shown to the model with its punctuation.
    let schema = root.get("text").map_or(0, |text| text.raw().len() as u64);
    let mut around = root.get("input").map_or(1, |input| input.len() as u64).saturating_add(2);
    each_part(doc, &mut |_| around = around.saturating_add(1));
    openai_chat::byte_bound(doc).saturating_add(schema).saturating_add(around.saturating_mul(16))
}

/// The body for OpenAI itself, without the reasoning that another provider signed for an earlier turn: OpenAI refuses
/// what it did not seal. `None` where there is none.
pub fn own(body: &[u8]) -> Option<(Vec<u8>, Vec<Loss>)> {
    let doc = json::parse(body, &Limits::default()).ok()?;
    let input = doc.root().get("input")?;
    let (mut kept, mut losses) = (Writer::new(Vec::with_capacity(input.raw().len())), Vec::new());
    kept.begin_array();
    for (at, item) in input.items().enumerate() {
        let sealed = item.get("encrypted_content").and_then(|it| it.str_raw()).unwrap_or_default();
        if sealed.starts_with(SIGNED) || sealed.starts_with(SEALED) {
            losses.push(Loss {
                path: fields::item("input", at),
                reason: "reasoning that another provider signed",
            });
        } else {
            kept.raw(item.raw());
        }
    }
    kept.end_array();
    if losses.is_empty() {
        return None;
    }
    let mut edits = Splices::new();
    edits.replace(input.range(), &kept.into_inner());
    Some((edits.apply(body).ok()?, losses))
}

/// A picture's or a file's address that stands for its bytes.
pub(super) fn is_data(value: Value<'_, '_>) -> bool {
    value.str_raw().is_some_and(media::is_data_uri)
}
