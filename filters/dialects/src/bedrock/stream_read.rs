//! One event of a Converse stream, read where it stands, into the form that chat chunks have: each block is a
//! "choice" that ends with it, and what ends the message is one of its own. Of a chunk of InvokeModel in a model's own
//! dialect only the usage is understood.

use weir_wire::json::{self, Kind, Limits, Value, Writer};

use super::answer::{finish_of, usage_of};
use crate::hub::{Finish, Usage};
use crate::openai_chat::{Chunk, ChunkChoice, ChunkText, Slot};

/// The "choice" of the message itself, which no block has.
const MESSAGE: u32 = u32::MAX;

/// Reads the payload of an event of this type into `chunk`, whose memory is used again. An error means that the
/// payload is no JSON that Weir accepts; `chunk` is then empty.
pub fn read_event_into(kind: &str, payload: &[u8], chunk: &mut Chunk) -> Result<(), json::Error> {
    chunk.clear();
    let doc = json::parse(payload, &Limits::default())?;
    let root = doc.root();
    let block = root.get("contentBlockIndex").and_then(Value::as_u64);
    let index = block.and_then(|index| u32::try_from(index).ok()).unwrap_or(0);
    let mut choice = |index, finish: Option<Finish>, word: Option<Value<'_, '_>>| {
        let finish_value = word.map(Value::range);
        let delta = root.range();
        chunk.choices.push(ChunkChoice { index, delta, delta_is_empty: false, finish, finish_value });
    };
    by_name!(kind => {
        "contentBlockDelta" => {
            choice(index, None, None);
            let delta = root.get("delta");
            let of = |holder: &str, key: &str| {
                delta.and_then(|delta| delta.get(holder)).and_then(|it| it.get(key))
            };
            let texts = [
                (delta.and_then(|delta| delta.get("text")), Slot::Content),
                (of("toolUse", "input"), Slot::Tool(0)),
                (of("reasoningContent", "text"), Slot::Reasoning),
            ];
            for (value, slot) in texts {
                if let Some(value) = value.filter(|value| value.kind() == Kind::String) {
                    chunk.texts.push(ChunkText { choice: index, slot, value: value.range() });
                }
            }
        },
        "contentBlockStop" => choice(index, Some(Finish::Stop), None),
        "messageStop" => {
            let word = root.get("stopReason").filter(|word| word.kind() == Kind::String);
            choice(MESSAGE, word.and_then(|word| word.as_str()).map(|word| finish_of(&word)), word);
        },
        "metadata" => {
            chunk.usage = root.get("usage").and_then(usage_of);
            chunk.is_done = true;
        },
        // `messageStart`, `contentBlockStart`, and what may yet be invented.
        _ => {},
    });
    Ok(())
}

/// Reads a chunk of a model's own dialect: the last one says what was billed.
pub fn read_invoke_into(payload: &[u8], chunk: &mut Chunk) -> Result<(), json::Error> {
    chunk.clear();
    let doc = json::parse(payload, &Limits::default())?;
    let metrics = doc.root().get("amazon-bedrock-invocationMetrics");
    let number = |key: &str| metrics.and_then(|metrics| metrics.get(key)).and_then(Value::as_u64);
    if let Some(input) = number("inputTokenCount") {
        let cache_read = number("cacheReadInputTokenCount").unwrap_or(0);
        let cache_write = number("cacheWriteInputTokenCount").unwrap_or(0);
        let input = input.saturating_add(cache_read).saturating_add(cache_write);
        let output = number("outputTokenCount").unwrap_or(0);
        chunk.usage = Some(Usage { input, output, cache_read, cache_write, reasoning: 0 });
        chunk.is_done = true;
    }
    Ok(())
}

/// The payload of the event that carries more of a block's text, which is a JSON string with its quotes.
pub fn text_event(block: u32, slot: Slot, text: &[u8]) -> Vec<u8> {
    let mut out = Writer::new(Vec::with_capacity(64 + text.len()));
    out.begin_object().key("contentBlockIndex").u64(u64::from(block)).key("delta").begin_object();
    match slot {
        Slot::Tool(_) => _ = out.key("toolUse").begin_object().key("input").raw(text).end_object(),
        Slot::Reasoning => _ = out.key("reasoningContent").begin_object().key("text").raw(text).end_object(),
        Slot::Content | Slot::Refusal => _ = out.key("text").raw(text),
    }
    out.end_object().end_object();
    out.into_inner()
}
