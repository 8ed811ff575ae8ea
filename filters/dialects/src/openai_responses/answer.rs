//! A whole response: written from the hub, and read where it stands when it passes through.

use weir_wire::json::{Doc, Kind, Value, Writer};

use super::stream_write::StreamEncoder;
use crate::hub::{Answer, Event, Failure, Finish, Part, Usage};
use crate::openai_chat::{AnswerContext, AnswerFacts, AnswerText, ECHO, Slot, fields, string, strings};

/// Members of a response that repeat what the request said, and what they say of a request without them.
const ECHOED: [(&str, &str); 13] = [
    ("instructions", "null"),
    ("max_output_tokens", "null"),
    ("max_tool_calls", "null"),
    ("metadata", "{}"),
    ("parallel_tool_calls", "true"),
    ("reasoning", r#"{"effort":null,"summary":null}"#),
    ("temperature", "null"),
    ("text", r#"{"format":{"type":"text"}}"#),
    ("tool_choice", "\"auto\""),
    ("tools", "[]"),
    ("top_p", "null"),
    ("truncation", "\"disabled\""),
    ("user", "null"),
];

/// What every response of this request repeats of it: members, with commas between. Without a request, what a bare one
/// says.
pub fn echo(doc: Option<&Doc<'_>>) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    for (key, default) in ECHOED {
        let said = doc.and_then(|doc| doc.root().get(key)).filter(|value| !value.is_null());
        if !out.is_empty() {
            out.push(b',');
        }
        out.push(b'"');
        out.extend_from_slice(key.as_bytes());
        out.extend_from_slice(b"\":");
        out.extend_from_slice(said.map_or(default.as_bytes(), Value::raw));
    }
    out
}

/// How far a response is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending<'f> {
    Open,
    Completed,
    /// And why.
    Incomplete(&'static str),
    Failed(&'f Failure),
}

/// Opens a response and writes all of it but its output and its usage.
pub(super) fn write_response(out: &mut Writer, context: &AnswerContext, ending: Ending<'_>, echo: &[u8]) {
    let (status, reason, failure) = match ending {
        Ending::Open => ("in_progress", None, None),
        Ending::Completed => ("completed", None, None),
        Ending::Incomplete(reason) => ("incomplete", Some(reason), None),
        Ending::Failed(failure) => ("failed", None, Some(failure)),
    };
    out.fill(r#"{"id":?,"object":"response","created_at":"#, &[&context.id]).u64(context.created);
    let piece = r#""status":?,"model":?,"background":false,"store":false,"previous_response_id":null,"incomplete_details":"#;
    out.fill(piece, &[status, &context.model]);
    match reason {
        Some(reason) => out.fill(r#"{"reason":?}"#, &[reason]),
        None => out.null(),
    };
    out.key("error");
    match failure {
        Some(failure) => {
            let code = if failure.status == 429 { "rate_limit_exceeded" } else { "server_error" };
            out.fill(r#"{"code":?,"message":?}"#, &[code, &failure.message])
        }
        None => out.null(),
    };
    out.raw(echo);
}

pub(super) fn write_usage(out: &mut Writer, usage: &Usage) {
    out.fill(r#"{"input_tokens":"#, &[]).u64(usage.input);
    out.fill(r#""input_tokens_details":{"cached_tokens":"#, &[]).u64(usage.cache_read);
    out.key("cache_write_tokens").u64(usage.cache_write).end_object();
    out.key("output_tokens").u64(usage.output);
    out.fill(r#""output_tokens_details":{"reasoning_tokens":"#, &[]).u64(usage.reasoning).end_object();
    out.key("total_tokens").u64(usage.total()).end_object();
}

/// A `usage` object.
pub(super) fn usage_of(usage: Value<'_, '_>) -> Option<Usage> {
    let number = |path: &[&str]| fields::tokens(usage, path).unwrap_or(0);
    Some(Usage {
        input: fields::tokens(usage, &["input_tokens"])?,
        output: number(&["output_tokens"]),
        cache_read: number(&["input_tokens_details", "cached_tokens"]),
        cache_write: number(&["input_tokens_details", "cache_write_tokens"]),
        reasoning: number(&["output_tokens_details", "reasoning_tokens"]),
    })
}

/// Writes a response: what the stream of it would end with. `echo` is the request's.
pub fn encode_answer(answer: &Answer, context: &AnswerContext, echo: &[u8]) -> Vec<u8> {
    let mut encoder = StreamEncoder::unread(context, echo);
    let mut unread = Vec::new();
    let mut tell = |event: &Event| encoder.event(event, &mut unread);
    let mut calls = 0;
    for part in &answer.parts {
        let choice = 0;
        match part {
            Part::Text(text) => tell(&Event::TextDelta { choice, text: text.clone() }),
            Part::Refusal(text) => tell(&Event::RefusalDelta { choice, text: text.clone() }),
            Part::Reasoning { text, signature } => {
                if !text.is_empty() {
                    tell(&Event::ReasoningDelta { choice, text: text.clone() });
                }
                if let Some(signature) = signature.clone() {
                    tell(&Event::ReasoningSignature { choice, signature });
                }
            }
            Part::RedactedReasoning(data) => tell(&Event::ReasoningRedacted { choice, data: data.clone() }),
            Part::ToolCall(call) => {
                let (index, id, name) = (calls, call.id.clone(), call.name.clone());
                tell(&Event::ToolStart { choice, index, id, name });
                tell(&Event::ToolArguments { choice, index, text: call.arguments.clone() });
                calls += 1;
            }
            // No model says these in an answer.
            _ => {}
        }
    }
    tell(&Event::Finish { choice: 0, finish: answer.finish });
    if let Some(usage) = answer.usage {
        tell(&Event::Usage(usage));
    }
    encoder.whole()
}

/// The word with which a response ended, and what it means.
pub(super) fn ended<'d, 'a>(response: Value<'d, 'a>) -> Option<(Finish, Value<'d, 'a>)> {
    let status = response.get("status").and_then(string)?;
    let reason =
        response.get("incomplete_details").and_then(|details| details.get("reason")).and_then(string);
    let word = reason.filter(|_| status.is_str("incomplete")).unwrap_or(status);
    let finish = by_name!(word.str_raw() => {
        "completed" => Finish::Stop,
        "content_filter" => Finish::ContentFilter,
        "incomplete" | "max_output_tokens" => Finish::Length,
        _ => return None,
    });
    Some((finish, word))
}

/// Reads the facts of a response that passes. What repeats the request is marked by [`ECHO`]; reasoning is counted and
/// never to be altered.
pub fn read_answer<'d, 'a>(doc: &'d Doc<'a>) -> AnswerFacts<'d, 'a> {
    let root = doc.root();
    let mut facts = AnswerFacts {
        id: root.get("id").and_then(|id| id.as_str()),
        model: root.get("model").and_then(|model| model.as_str()),
        usage: root.get("usage").and_then(usage_of),
        error: root.get("error").is_some_and(|error| !error.is_null()),
        ..AnswerFacts::default()
    };
    if let Some((finish, word)) = ended(root) {
        facts.finishes.extend(word.as_str().map(|word| (finish, word)));
    }
    of_response(root, &mut |choice, slot, value| facts.texts.push(AnswerText { choice, slot, value }));
    facts
}

/// Shows each text of a response: of its output, by the item's place, and of what it repeats, as [`ECHO`].
pub(super) fn of_response<'d, 'a>(response: Value<'d, 'a>, sink: &mut dyn FnMut(u32, Slot, Value<'d, 'a>)) {
    for (key, value) in response.members() {
        by_name!(key => {
            "output" => {
                for (at, item) in (0..).zip(value.items()) {
                    said(item, Slot::Content, &mut |slot, value| sink(at, slot, value));
                }
            },
            "instructions" | "metadata" | "text" | "tools" | "user" | "prompt" | "safety_identifier"
            | "prompt_cache_key" => {
                strings(value, &mut |value| sink(ECHO, Slot::Content, value));
            },
            _ => {},
        })
    }
}

/// Shows each text of an item or a part of one. It recurses no deeper than the parser's depth limit.
pub(super) fn said<'d, 'a>(value: Value<'d, 'a>, slot: Slot, sink: &mut dyn FnMut(Slot, Value<'d, 'a>)) {
    match value.kind() {
        Kind::String => sink(slot, value),
        Kind::Array => value.items().for_each(|item| said(item, slot, sink)),
        Kind::Object => {
            let kind = value.get("type").and_then(|kind| kind.str_raw()).unwrap_or_default();
            let slot = by_name!(kind => {
                "reasoning" | "summary_text" | "reasoning_text" => Slot::Reasoning,
                "refusal" => Slot::Refusal,
                _ => slot,
            });
            for (key, member) in value.members() {
                by_name!(key => {
                    "type" | "id" | "item_id" | "call_id" | "status" | "role" | "name" | "namespace"
                    | "encrypted_content" | "file_id" | "container_id" | "server_label" | "phase"
                    | "logprobs" | "obfuscation" => {},
                    // A picture's bytes.
                    "result" if kind == "image_generation_call" => {},
                    "arguments" => said(member, Slot::Tool(0), sink),
                    _ => said(member, slot, sink),
                })
            }
        }
        _ => {}
    }
}
