//! One event of a message's stream, read where it stands, into the form that chat chunks have: each block is a
//! "choice" that ends with it, and what ends the message is one of its own.

use weir_wire::json::{self, Kind, Limits, Value};

use super::answer::{finish_of, usage_of};
use crate::hub::Finish;
use crate::openai_chat::{Chunk, ChunkChoice, ChunkText, Slot, fields};

/// The "choice" of the message itself, which no block has.
const MESSAGE: u32 = u32::MAX;

/// Reads an event's payload into `chunk`, whose memory is used again. An error means that the payload is no JSON that
/// Weir accepts; `chunk` is then empty.
pub fn read_event_into(payload: &[u8], chunk: &mut Chunk) -> Result<(), json::Error> {
    chunk.clear();
    let doc = json::parse(payload, &Limits::default())?;
    let root = doc.root();
    let index = fields::index(root, "index");
    let mut choice = |index, finish: Option<Finish>, word: Option<Value<'_, '_>>| {
        let finish_value = word.map(Value::range);
        chunk.choices.push(ChunkChoice {
            index,
            delta: root.range(),
            delta_is_empty: false,
            finish,
            finish_value,
        });
    };
    by_name!(root.get("type").and_then(Value::str_raw) => {
        "message_start" => {
            if let Some(message) = root.get("message") {
                chunk.id = fields::span(message, "id");
                chunk.model = fields::span(message, "model");
                let usage = message.get("usage");
                chunk.begun = usage.and_then(usage_of);
                chunk.tier = usage.and_then(|usage| fields::span(usage, "service_tier"));
            }
        },
        "content_block_start" => {
            let text = root.get("content_block").and_then(|block| fields::span(block, "text"));
            chunk.texts.extend(text.filter(|value| value.len() > 2).map(|value| ChunkText {
                choice: index,
                slot: Slot::Content,
                value,
            }));
        },
        "content_block_delta" => {
            choice(index, None, None);
            let delta = root.get("delta");
            let slots =
                [("text", Slot::Content), ("partial_json", Slot::Tool(0)), ("thinking", Slot::Reasoning)];
            for (key, slot) in slots {
                if let Some(value) = delta.and_then(|delta| fields::span(delta, key)) {
                    chunk.texts.push(ChunkText { choice: index, slot, value });
                }
            }
        },
        "content_block_stop" => choice(index, Some(Finish::Stop), None),
        "message_delta" => {
            chunk.usage = root.get("usage").and_then(usage_of);
            let word = fields::dig(root, &["delta", "stop_reason"]);
            if let Some(word) = word.filter(|word| word.kind() == Kind::String) {
                choice(MESSAGE, word.as_str().map(|word| finish_of(&word)), Some(word));
            }
        },
        "message_stop" => chunk.is_done = true,
        "error" => chunk.error = true,
        // `ping`, and what may yet be invented.
        _ => {},
    });
    Ok(())
}

/// The event that carries more of a block's text, which is a JSON string with its quotes.
pub fn text_event(block: u32, slot: Slot, text: &[u8]) -> Vec<u8> {
    let (kind, key) = match slot {
        Slot::Tool(_) => ("input_json_delta", "partial_json"),
        Slot::Reasoning => ("thinking_delta", "thinking"),
        Slot::Content | Slot::Refusal => ("text_delta", "text"),
    };
    let mut out = json::Writer::new(Vec::with_capacity(96 + text.len()));
    out.fill(r#"{"type":"content_block_delta","index":"#, &[]).u64(u64::from(block));
    out.fill(r#""delta":{"type":?"#, &[kind]).key(key).raw(text).fill("}}", &[]);
    out.into_inner()
}
