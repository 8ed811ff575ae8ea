//! One event of a response's stream, read where it stands, into the form that chat chunks have: each part of each item
//! is a "choice" that ends with it, and what ends the response is one of its own. What an event repeats as a whole
//! (a part that is done, the response at the end) stands apart, so that nothing is counted twice.

use weir_sorted::contains;
use weir_wire::json::{self, Kind, Limits, Value, Writer};

use super::answer::{ended, of_response, said, usage_of};
use crate::hub::{Failure, Finish};
use crate::openai_chat::{self, Chunk, ChunkChoice, ChunkText, Slot, fields};

/// The "choice" of the response itself, which no part has.
const RESPONSE: u32 = u32::MAX;

/// Reads an event's payload into `chunk`, whose memory is used again. An error means that the payload is no JSON that
/// Weir accepts; `chunk` is then empty.
pub fn read_event_into(payload: &[u8], chunk: &mut Chunk) -> Result<(), json::Error> {
    chunk.clear();
    let doc = json::parse(payload, &Limits::default())?;
    let root = doc.root();
    let kind = root.get("type").and_then(Value::str_raw).unwrap_or_default();
    if let Some(number) = root.get("sequence_number")
        && let Some(at) = number.as_u64()
    {
        chunk.sequence = Some((number.range(), at));
    }
    if let Some(response) = root.get("response") {
        chunk.id = fields::span(response, "id");
        chunk.model = fields::span(response, "model");
        // What was asked for stands in the first events, what was served in the last, which alone is complete.
        if fields::some(response, "usage").is_some() {
            chunk.tier = fields::span(response, "service_tier");
        }
        chunk.usage = response.get("usage").and_then(usage_of);
        of_response(response, &mut |choice, slot, value| {
            chunk.wholes.push(ChunkText { choice, slot, value: value.range() });
        });
        by_name!(kind => {
            "response.completed" | "response.incomplete" => {
                chunk.is_done = true;
                if let Some((finish, word)) = ended(response) {
                    chunk.choices.push(ChunkChoice {
                        finish: Some(finish),
                        finish_value: Some(word.range()),
                        ..whole(root, RESPONSE)
                    });
                }
            },
            "response.failed" => chunk.error = true,
            // The beginning; its usage is no bill.
            _ => chunk.usage = None,
        });
        return Ok(());
    }
    if kind == "error" {
        chunk.error = true;
        return Ok(());
    }
    let number = |key: &str| fields::tokens(root, &[key]).unwrap_or(0);
    // Few parts, in few items.
    let part = number("content_index").max(number("summary_index")).min(0xff);
    let choice = (number("output_index").min(0xff_fffe) << 8 | part) as u32;
    let slot = match kind {
        _ if contains(kind, "refusal") => Slot::Refusal,
        _ if contains(kind, "reasoning") => Slot::Reasoning,
        _ if contains(kind, "arguments") => Slot::Tool(0),
        _ => Slot::Content,
    };
    // Sound is no text.
    let sound = kind.starts_with("response.audio.");
    match root.get("delta").filter(|delta| delta.kind() == Kind::String && !sound) {
        Some(delta) => {
            chunk.choices.push(whole(root, choice));
            chunk.texts.push(ChunkText { choice, slot, value: delta.range() });
        }
        None => {
            if kind.ends_with(".done") {
                chunk.choices.push(ChunkChoice { finish: Some(Finish::Stop), ..whole(root, choice) });
            }
            for (key, member) in root.members() {
                if ["text", "refusal", "arguments", "input", "code", "part", "item", "annotation"]
                    .iter()
                    .any(|it| key.is(it))
                {
                    let slot = if key.is("arguments") { Slot::Tool(0) } else { slot };
                    said(member, slot, &mut |slot, value| {
                        chunk.wholes.push(ChunkText { choice, slot, value: value.range() });
                    });
                }
            }
        }
    }
    Ok(())
}

fn whole(root: Value<'_, '_>, index: u32) -> ChunkChoice {
    ChunkChoice { index, delta: root.range(), delta_is_empty: false, finish: None, finish_value: None }
}

/// What the first events of a stream say of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum First {
    /// That it has begun.
    Nothing,
    /// Something of an answer.
    Good,
    /// That there will be none.
    Failed(Failure),
}

/// Judges an event at the beginning of a stream.
pub fn first(payload: &[u8]) -> First {
    let Ok(doc) = json::parse(payload, &Limits::default()) else { return First::Good };
    let root = doc.root();
    let error = by_name!(root.get("type").and_then(Value::str_raw).unwrap_or_default() => {
        "response.created" | "response.in_progress" | "response.queued" => return First::Nothing,
        "response.failed" => fields::dig(root, &["response", "error"]),
        "error" => fields::object(root, "error").or(Some(root)),
        _ => return First::Good,
    });
    let code = error.and_then(|error| error.get("code")).and_then(|code| code.as_str());
    let kind = error.and_then(|error| error.get("type")).and_then(|kind| kind.as_str());
    let status = match (code.as_deref(), kind.as_deref()) {
        (Some("rate_limit_exceeded" | "insufficient_quota"), _) => 429,
        (Some("context_length_exceeded" | "invalid_prompt"), _) | (_, Some("invalid_request_error")) => 400,
        _ => 503,
    };
    let mut failure = openai_chat::decode_error(status, error.map(Value::raw).unwrap_or_default());
    if failure.kind == "error" {
        failure.kind = openai_chat::kind_of(status).into();
    }
    First::Failed(failure)
}

/// The event that carries more of the text that `payload` is about, as number `sequence`: its type, and itself. `text`
/// is a JSON string with its quotes.
pub fn text_event(payload: &[u8], slot: Slot, sequence: u64, text: &[u8]) -> Option<(&'static str, Vec<u8>)> {
    let doc = json::parse(payload, &Limits::default()).ok()?;
    let root = doc.root();
    let said = root.get("type").and_then(Value::str_raw).unwrap_or_default();
    let (kind, index) = match slot {
        Slot::Refusal => ("response.refusal.delta", "content_index"),
        Slot::Reasoning if contains(said, "summary") => {
            ("response.reasoning_summary_text.delta", "summary_index")
        }
        Slot::Reasoning => ("response.reasoning_text.delta", "content_index"),
        Slot::Tool(_) if contains(said, "mcp") => ("response.mcp_call_arguments.delta", ""),
        Slot::Tool(_) => ("response.function_call_arguments.delta", ""),
        Slot::Content if contains(said, "custom") => ("response.custom_tool_call_input.delta", ""),
        Slot::Content if contains(said, "code_interpreter") => {
            ("response.code_interpreter_call_code.delta", "")
        }
        Slot::Content => ("response.output_text.delta", "content_index"),
    };
    let mut out = Writer::new(Vec::with_capacity(160 + text.len()));
    out.begin_object().member("type", kind).key("sequence_number").u64(sequence);
    for key in ["item_id", "output_index", index] {
        if let Some(value) = root.get(key) {
            out.key(key).raw(value.raw());
        }
    }
    out.key("delta").raw(text);
    if slot == Slot::Content && !index.is_empty() {
        out.key("logprobs").begin_array().end_array();
    }
    out.end_object();
    Some((kind, out.into_inner()))
}
