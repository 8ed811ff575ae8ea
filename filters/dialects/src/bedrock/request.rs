//! The facts of a Converse request, in the form that a chat request has for them, and of an InvokeModel body whose
//! dialect is none of ours: it passes, and of it only the ceiling is understood.

use std::borrow::Cow;

use weir_wire::json::{Doc, Kind, Value};

use crate::hub::Invalid;
use crate::openai_chat::{self, Count, Has, Request, Rules, fields};

/// Reads the facts; model and streaming are in the path.
pub fn read<'d, 'a>(doc: &'d Doc<'a>, model: &str, stream: bool) -> Result<Request<'d, 'a>, Invalid> {
    Request::read_by(doc.root(), &mut |root, found| {
        found.stream = stream;
        found.model_name = Cow::Owned(model.to_owned());
        members(root, found)
    })
}

fn members<'d, 'a>(root: Value<'d, 'a>, found: &mut Request<'d, 'a>) -> Result<(), Invalid> {
    // The stream's usage is part of the dialect: every client reads it.
    found.include_usage = true;
    found.settings = Some(("inferenceConfig", None));
    let mut messages = None;
    for (key, value) in root.members() {
        by_name!(key => {
            "messages" => messages = Some(value),
            "system" => look_at(value, &mut found.has),
            "toolConfig" => {
                found.has.tools = value.get("tools").is_some_and(|tools| !tools.is_empty());
                for tool in value.list("tools") {
                    found.has.cache_points |= tool.get("cachePoint").is_some();
                    // What the provider runs itself brings texts of any length.
                    found.has.remote |= tool.get("systemTool").is_some();
                }
            },
            "inferenceConfig" => {
                if !matches!(value.kind(), Kind::Object | Kind::Null) {
                    return Err(Invalid::value("inferenceConfig", "'inferenceConfig' must be an object"));
                }
                found.settings = Some(("inferenceConfig", Some(value)));
                if let Some(most) = value.get("maxTokens") {
                    fields::countable(most, "inferenceConfig.maxTokens")?;
                    found.max_tokens = Some(most);
                }
                found.temperature = value.get("temperature").and_then(Value::as_f64);
                found.top_p = value.get("topP").and_then(Value::as_f64);
                found.stop = fields::some(value, "stopSequences");
            },
            "outputConfig" => {
                found.has.json_schema = fields::some(value, "textFormat").is_some();
            },
            "guardrailConfig" => found.has.guardrail = !value.is_null(),
            "additionalModelRequestFields" => found.top_k = value.get("top_k").and_then(Value::as_f64),
            _ => {},
        })
    }
    found.with_messages(messages)?;
    for message in found.messages.items() {
        if let Some(content) = message.get("content") {
            look_at(content, &mut found.has);
        }
    }
    Ok(())
}

/// Notes what blocks contain, at any depth that a block can stand at.
fn look_at(blocks: Value<'_, '_>, has: &mut Has) {
    for (key, value) in blocks.items().flat_map(Value::members) {
        let mut media = |which: fn(&mut Has)| {
            which(has);
            has.remote |= value.get("source").is_some_and(|source| source.get("s3Location").is_some());
        };
        by_name!(key => {
            "image" => media(|has| has.images = true),
            "document" => media(|has| has.documents = true),
            "video" => media(|has| has.video = true),
            "audio" => media(|has| has.audio = true),
            "cachePoint" => has.cache_points = true,
            "toolUse" => has.tool_history = true,
            "toolResult" => {
                has.tool_history = true;
                if let Some(content) = value.get("content") {
                    look_at(content, has);
                }
            },
            _ => {},
        })
    }
}

/// Ceilings as models on Bedrock spell them, and the objects beside the body itself in which they stand.
const CEILINGS: [&str; 7] = [
    "max_tokens",
    "max_completion_tokens",
    "max_gen_len",
    "max_tokens_to_sample",
    "maxTokens",
    "max_new_tokens",
    "maxTokenCount",
];
const HOLDERS: [&str; 2] = ["inferenceConfig", "textGenerationConfig"];

/// Reads what can be known of a body whose dialect is the model's own.
pub fn read_invoke<'d, 'a>(doc: &'d Doc<'a>, model: &str, stream: bool) -> Result<Request<'d, 'a>, Invalid> {
    Request::read_by(doc.root(), &mut |root, found| {
        found.include_usage = true;
        found.stream = stream;
        found.model_name = Cow::Owned(model.to_owned());
        let holders = HOLDERS.iter().filter_map(|name| root.get(name));
        for holder in std::iter::once(root).chain(holders) {
            let mut ceilings = CEILINGS.iter().filter_map(|name| holder.get(name));
            found.max_tokens = found.max_tokens.or_else(|| ceilings.find(|value| value.as_u64().is_some()));
        }
        found.fixed = true;
        found.temperature = root.get("temperature").and_then(Value::as_f64);
        found.top_p = root.get("top_p").and_then(Value::as_f64);
        Ok(())
    })
}

/// Tokens of the prompt, by the rules of the chat that it becomes for a provider whose vocabulary is known.
pub fn prompt_tokens(doc: &Doc<'_>, rules: &Rules, count: &mut dyn FnMut(&str) -> u64) -> Count {
    openai_chat::chat_tokens(super::decode(doc, "m", false), rules, count).unwrap_or_default()
}

/// An upper bound of the prompt's tokens, whatever the vocabulary; as [`openai_chat::byte_bound`], and 16 a block.
pub fn byte_bound(doc: &Doc<'_>) -> u64 {
    let root = doc.root();
    let blocks = root.list("messages").filter_map(|turn| turn.get("content")).chain(root.get("system"));
    let all: u64 = blocks.map(|content| content.len() as u64).sum();
    let tools = root.get("toolConfig").and_then(|config| config.get("tools"));
    let all = all.saturating_add(tools.map_or(0, |tools| tools.len() as u64));
    openai_chat::byte_bound(doc).saturating_add(all.saturating_mul(16))
}

#[cfg(test)]
mod tests {
    use weir_wire::json::{Limits, parse};
    use weir_wire::splice::Splices;

    use super::*;

    #[test]
    fn facts_are_read_and_a_ceiling_is_set_where_converse_has_it() {
        let tail = r#","messages":[{"role":"user","content":[{"text":"a"},{"image":{"format":"png","source":{"s3Location":{"uri":"s3://a"}}}},
            {"toolResult":{"toolUseId":"i","content":[{"document":{}}]}}]}],"guardrailConfig":{"guardrailIdentifier":"g"}}"#;
        for (head, after) in [
            (r#"{"a":1"#, r#""inferenceConfig":{"maxTokens":5}"#),
            (r#"{"inferenceConfig":{}"#, r#""inferenceConfig":{"maxTokens":5}"#),
            (r#"{"inferenceConfig":null"#, r#""inferenceConfig":{"maxTokens":5}"#),
            (r#"{"inferenceConfig":{"topP":0.5}"#, r#""inferenceConfig":{"topP":0.5,"maxTokens":5}"#),
            (r#"{"inferenceConfig":{"maxTokens":9}"#, r#""inferenceConfig":{"maxTokens":5}"#),
            (r#"{"inferenceConfig":{"maxTokens":3}"#, r#""inferenceConfig":{"maxTokens":3}"#),
        ] {
            let body = [head, tail].concat();
            let doc = parse(body.as_bytes(), &Limits::default()).unwrap();
            let request = read(&doc, "m", true).unwrap();
            let has = request.has;
            assert!(has.images && has.documents && has.remote && has.tool_history && has.guardrail);
            assert!(request.stream && request.include_usage && !has.tools && request.model_name == "m");
            let mut edits = Splices::new();
            request.set_ceiling(5, &mut edits);
            let edited = String::from_utf8(edits.apply(body.as_bytes()).unwrap()).unwrap();
            assert!(edited.contains(after), "{edited}");
            parse(edited.as_bytes(), &Limits::default()).unwrap();
        }
        for head in [r#"{"inferenceConfig":[]"#, r#"{"inferenceConfig":"x""#] {
            let body = [head, tail].concat();
            let doc = parse(body.as_bytes(), &Limits::default()).unwrap();
            assert_eq!(read(&doc, "m", true).unwrap_err().param, "inferenceConfig");
        }
    }

    #[test]
    fn of_a_models_own_dialect_only_the_ceiling_is_understood() {
        for (body, ceiling) in [
            (r#"{"inputText":"a","textGenerationConfig":{"maxTokenCount":7}}"#, Some(7)),
            (r#"{"prompt":"a","max_gen_len":8}"#, Some(8)),
            (r#"{"messages":[],"inferenceConfig":{"max_new_tokens":9}}"#, Some(9)),
            (r#"{"inputText":"a"}"#, None),
        ] {
            let doc = parse(body.as_bytes(), &Limits::default()).unwrap();
            assert_eq!(read_invoke(&doc, "m", false).unwrap().ceiling(), ceiling, "{body}");
        }
    }
}
