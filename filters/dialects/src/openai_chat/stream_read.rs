//! One `data:` payload of a streamed answer, read where it stands: usage, ends, and the byte range of each text, so
//! that restored texts are spliced into the provider's own bytes and everything else passes untouched. It keeps no
//! state between chunks and decodes no text.
//!
//! Every chunk of every stream passes here while the rest of this crate is built for size, hence `#[inline]`: the code
//! is made where it is used, for the speed that is asked for there.

use std::borrow::Cow;
use std::ops::Range;

use weir_wire::json::{self, Key, Kind, Limits, Value};

use super::answer::{finish_of, read_usage};
use super::fields;
use crate::hub::{Finish, Usage};

/// What a text of an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slot {
    /// The answer proper.
    Content,
    /// Reasoning beside it.
    Reasoning,
    /// The model declines.
    Refusal,
    /// Arguments of the tool call of this index: pieces of JSON text.
    Tool(u32),
}

/// A piece of text in a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkText {
    /// Which answer, from 0.
    pub choice: u32,
    /// Which of its texts.
    pub slot: Slot,
    /// The string value in the payload, quotes included; may be the empty string.
    pub value: Range<usize>,
}

/// One answer's part of a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkChoice {
    /// Which answer, from 0.
    pub index: u32,
    /// Its `delta` object in the payload, braces included; in text completions the choice itself.
    pub delta: Range<usize>,
    /// Whether that object has no members: then what is inserted behind its brace needs no comma.
    pub delta_is_empty: bool,
    /// Why the answer ended, in the chunk that ends it.
    pub finish: Option<Finish>,
    /// The finish reason's string value in the payload.
    pub finish_value: Option<Range<usize>>,
}

/// A chunk. Ranges are byte ranges of the payload that it was read from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    /// The payload is `[DONE]`; nothing else is set.
    pub is_done: bool,
    /// The payload is an error object: the stream broke.
    pub error: bool,
    /// The answer's id, a string value with its quotes.
    pub id: Option<Range<usize>>,
    /// The model that answers, a string value with its quotes.
    pub model: Option<Range<usize>>,
    /// The service tier that answers, a string value with its quotes.
    pub tier: Option<Range<usize>>,
    /// OpenAI's fingerprint of itself, a string value with its quotes.
    pub fingerprint: Option<Range<usize>>,
    /// The tokens billed.
    pub usage: Option<Usage>,
    /// What an answer's first event says of the tokens, before any is generated; chat has no such thing.
    pub begun: Option<Usage>,
    /// The `usage` member, `null` included, with one comma beside it: cutting it out leaves valid JSON.
    pub usage_member: Option<Range<usize>>,
    /// `choices` is an empty array, as in the extra chunk that `include_usage` brings.
    pub choices_empty: bool,
    /// The choices, in order.
    pub choices: Vec<ChunkChoice>,
    /// The texts, in order.
    pub texts: Vec<ChunkText>,
    /// Texts that were streamed before and are repeated, or that come at once; those of the request by [`ECHO`]. Chat
    /// has no such things.
    pub wholes: Vec<ChunkText>,
    /// The event's number in its stream, where events have one.
    pub sequence: Option<(Range<usize>, u64)>,
}

/// The "choice" of a text that repeats the request: nothing that the model said.
pub const ECHO: u32 = u32::MAX;

impl Chunk {
    /// Whether this is the chunk that exists only because usage was asked for.
    pub fn is_usage_only(&self) -> bool {
        self.choices_empty && self.usage.is_some()
    }

    pub(crate) fn clear(&mut self) {
        // One by one: nothing here but the lists, which are kept, has anything to free.
        (self.is_done, self.error, self.choices_empty) = (false, false, false);
        (self.id, self.model, self.tier, self.fingerprint, self.usage_member) =
            (None, None, None, None, None);
        (self.usage, self.begun, self.sequence) = (None, None, None);
        self.choices.clear();
        self.texts.clear();
        self.wholes.clear();
    }
}

/// [`read_chunk_into`] a new chunk.
pub fn read_chunk(payload: &[u8]) -> Result<Chunk, json::Error> {
    let mut chunk = Chunk::default();
    read_chunk_into(payload, &mut chunk)?;
    Ok(chunk)
}

/// Reads a payload into `chunk`, whose memory is used again. An error means that the payload is no JSON that Weir
/// accepts; `chunk` is then empty.
pub fn read_chunk_into(payload: &[u8], chunk: &mut Chunk) -> Result<(), json::Error> {
    read_with(payload, chunk, chat_choice)
}

/// The frame that chat and text completions share.
#[inline(never)]
pub(crate) fn read_with(
    payload: &[u8],
    chunk: &mut Chunk,
    choice: fn(Value<'_, '_>, &mut Chunk),
) -> Result<(), json::Error> {
    chunk.clear();
    if payload.trim_ascii() == b"[DONE]" {
        chunk.is_done = true;
        return Ok(());
    }
    let doc = json::parse(payload, &Limits::default())?;
    for (key, value) in doc.root().members() {
        let text = (value.kind() == Kind::String).then(|| value.range());
        by_name!(key => {
            "choices" => {
                chunk.choices_empty = value.kind() == Kind::Array && value.is_empty();
                value.items().for_each(|one| choice(one, chunk));
            },
            "usage" => {
                chunk.usage = read_usage(value);
                chunk.usage_member = Some(member_range(payload, key.range().start..value.range().end));
            },
            "error" => chunk.error = !value.is_null(),
            "id" => chunk.id = text,
            "model" => chunk.model = text,
            "service_tier" => chunk.tier = text,
            "system_fingerprint" => chunk.fingerprint = text,
            // vLLM's older, flat form of an error.
            "object" => chunk.error |= value.is_str("error"),
            _ => {},
        })
    }
    Ok(())
}

/// A string value of a payload without quotes and escapes; none where the range is no string of it.
#[inline]
pub fn unquote(payload: &[u8], value: Range<usize>) -> Option<String> {
    let text = payload.get(value)?;
    let doc = json::parse(text, &Limits::default()).ok()?;
    doc.root().as_str().map(Cow::into_owned)
}

fn chat_choice(value: Value<'_, '_>, chunk: &mut Chunk) {
    let mut choice = ChunkChoice {
        index: 0,
        delta: value.range(),
        delta_is_empty: false,
        finish: None,
        finish_value: None,
    };
    let mut delta = None;
    for (key, value) in value.members() {
        if key.is("delta") {
            delta = Some(value);
        } else {
            end_of(key, value, &mut choice);
        }
    }
    if let Some(delta) = delta {
        choice.delta = delta.range();
        choice.delta_is_empty = delta.is_empty();
        read_texts(delta, choice.index, &mut |choice, slot, value| {
            chunk.texts.push(ChunkText { choice, slot, value: value.range() });
        });
    }
    chunk.choices.push(choice);
}

/// The members of a choice that both kinds of completions have.
#[inline(never)]
pub(crate) fn end_of(key: Key<'_, '_>, value: Value<'_, '_>, choice: &mut ChunkChoice) {
    by_name!(key => {
        "index" => choice.index = value.as_u64().and_then(|index| u32::try_from(index).ok()).unwrap_or(0),
        "finish_reason" if value.kind() == Kind::String => {
            choice.finish = Some(finish_of(value));
            choice.finish_value = Some(value.range());
        },
        _ => {},
    })
}

/// Texts of a `delta` or a `message`.
#[inline(never)]
pub(super) fn read_texts<'d, 'a>(
    message: Value<'d, 'a>,
    choice: u32,
    sink: &mut dyn FnMut(u32, Slot, Value<'d, 'a>),
) {
    for (key, value) in message.members() {
        by_name!(key => {
            "content" if value.kind() == Kind::String => sink(choice, Slot::Content, value),
            "content" => {
                for part in value.items() {
                    if let Some(text) = part.get("text").filter(|text| text.kind() == Kind::String) {
                        sink(choice, Slot::Content, text);
                    }
                }
            },
            "reasoning" | "reasoning_content" if value.kind() == Kind::String => {
                sink(choice, Slot::Reasoning, value)
            },
            "refusal" if value.kind() == Kind::String => sink(choice, Slot::Refusal, value),
            "tool_calls" => {
                for (position, call) in (0..).zip(value.items()) {
                    let index = fields::tokens(call, &["index"]).and_then(|index| u32::try_from(index).ok());
                    let arguments = fields::dig(call, &["function", "arguments"])
                        .or_else(|| fields::dig(call, &["custom", "input"]));
                    if let Some(arguments) = arguments.filter(|arguments| arguments.kind() == Kind::String) {
                        sink(choice, Slot::Tool(index.unwrap_or(position)), arguments);
                    }
                }
            },
            "function_call" => {
                if let Some(arguments) = value.get("arguments").filter(|value| value.kind() == Kind::String) {
                    sink(choice, Slot::Tool(0), arguments);
                }
            },
            _ => {},
        })
    }
}

/// A member's range widened by one comma.
fn member_range(payload: &[u8], member: Range<usize>) -> Range<usize> {
    let comma = |byte: &u8| *byte == b',';
    let after = payload.get(member.end..).unwrap_or_default();
    let blank = after.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    if after.get(blank).is_some_and(comma) {
        return member.start..member.end + blank + 1;
    }
    let before = payload.get(..member.start).unwrap_or_default();
    let blank = before.iter().rev().take_while(|byte| byte.is_ascii_whitespace()).count();
    match before.len().checked_sub(blank + 1) {
        Some(at) if before.get(at).is_some_and(comma) => at..member.end,
        _ => member,
    }
}

#[cfg(test)]
#[allow(clippy::string_slice, reason = "ranges that the reader gave")]
mod tests {
    use super::*;

    fn texts(payload: &str) -> Vec<(u32, Slot, String)> {
        let chunk = read_chunk(payload.as_bytes()).unwrap();
        chunk.texts.into_iter().map(|t| (t.choice, t.slot, payload[t.value].to_owned())).collect()
    }

    #[test]
    fn texts_are_found_where_they_stand() {
        let payload = r#"{"choices":[{"delta":{"role":"assistant","content":"a\n","new":{"content":"x"},"reasoning_content":"r","refusal":null},"index":1,"finish_reason":null},{"index":0,"delta":{"tool_calls":[{"index":2,"function":{"arguments":"{\""}},{"id":"x","function":{"name":"f","arguments":""}}]}}]}"#;
        assert_eq!(
            texts(payload),
            [
                (1, Slot::Content, r#""a\n""#.to_owned()),
                (1, Slot::Reasoning, r#""r""#.to_owned()),
                (0, Slot::Tool(2), r#""{\"""#.to_owned()),
                (0, Slot::Tool(1), r#""""#.to_owned()),
            ]
        );
    }

    #[test]
    fn the_usage_member_cuts_out_cleanly() {
        for (payload, left) in [
            (r#"{"usage":null}"#, "{}"),
            (r#"{"a":1,"usage":null}"#, r#"{"a":1}"#),
            (r#"{"a":1 , "usage" : {"prompt_tokens":1} , "b":2}"#, r#"{"a":1 ,  "b":2}"#),
            (r#"{"usage":null,"b":2}"#, r#"{"b":2}"#),
        ] {
            let range = read_chunk(payload.as_bytes()).unwrap().usage_member.unwrap();
            let mut text = payload.to_owned();
            text.replace_range(range, "");
            assert_eq!(text, left);
        }
    }

    #[test]
    fn ends_and_errors_are_told() {
        let chunk = |payload: &str| read_chunk(payload.as_bytes()).unwrap();
        assert!(chunk(" [DONE]").is_done);
        assert!(chunk(r#"{"error":{"message":"m"}}"#).error);
        assert!(chunk(r#"{"object":"error","message":"m"}"#).error);
        assert!(!chunk(r#"{"error":null,"choices":[]}"#).error);
        assert!(chunk(r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}"#).is_usage_only());
        let end =
            chunk(r#"{"id":"i","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"length"}]}"#);
        assert_eq!(end.choices[0].finish, Some(Finish::Length));
        assert!(end.choices[0].delta_is_empty && end.id.is_some() && end.model.is_some());
        assert!(read_chunk(b"{").is_err());
        // Whatever JSON comes, it is read.
        for odd in
            ["7", "null", "[]", r#"{"choices":7}"#, r#"{"choices":[null,{"delta":3}]}"#, r#"{"usage":[]}"#]
        {
            chunk(odd);
        }
    }

    #[test]
    fn memory_is_used_again_and_nothing_of_the_last_chunk_stays() {
        let mut chunk = Chunk::default();
        read_chunk_into(
            br#"{"id":"i","usage":{"prompt_tokens":1},"choices":[{"delta":{"content":"a"}}]}"#,
            &mut chunk,
        )
        .unwrap();
        assert!(read_chunk_into(b"{", &mut chunk).is_err());
        assert_eq!(chunk, Chunk::default());
    }
}
