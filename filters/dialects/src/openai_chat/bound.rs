//! What a prompt cannot exceed, whatever the tokenizer, from the bytes alone: no text is unescaped, nothing is counted.
//! Beside it what stands around the texts, for the rules that need no more.

use weir_wire::json::{self, Doc, Kind, Value};

use super::rules::Rules;
use crate::media;

/// What stands around the texts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overhead {
    /// Messages.
    pub messages: u32,
    /// Messages with a name.
    pub names: u32,
    /// Tools on offer.
    pub tools: u32,
    /// Pictures in high or automatic detail.
    pub images: u32,
    /// Pictures in low detail.
    pub low_images: u32,
    /// Files, sounds and films, whose tokens nobody can tell from here.
    pub opaque: u32,
}

/// Counts what stands around the texts.
pub fn overhead(doc: &Doc<'_>) -> Overhead {
    let mut found = Overhead::default();
    let add = |to: &mut u32, more: usize| *to = to.saturating_add(u32::try_from(more).unwrap_or(u32::MAX));
    for (key, value) in doc.root().members() {
        if key.is("tools") || key.is("functions") {
            add(&mut found.tools, value.len());
        } else if key.is("messages") {
            add(&mut found.messages, value.len());
            for message in value.items() {
                for (key, value) in message.members() {
                    if key.is("name") {
                        add(&mut found.names, usize::from(value.kind() == Kind::String));
                    } else if key.is("content") {
                        for part in value.items() {
                            let of = |key: &str| usize::from(part.get(key).is_some());
                            if let Some(image) = part.get("image_url") {
                                add(if is_low(image) { &mut found.low_images } else { &mut found.images }, 1);
                            }
                            add(
                                &mut found.opaque,
                                of("file") + of("input_audio") + of("audio_url") + of("video_url"),
                            );
                        }
                    }
                }
            }
        }
    }
    found
}

impl Overhead {
    /// Tokens of all pictures at most, their sizes unread.
    pub fn image_bound(&self, rules: &Rules) -> u64 {
        let most = |n: u32, low| u64::from(n).saturating_mul(rules.image.tokens(None, low));
        most(self.images, false).saturating_add(most(self.low_images, true))
    }
}

pub(super) fn is_low(image: Value<'_, '_>) -> bool {
    image.get("detail").is_some_and(|detail| detail.is_str("low"))
}

/// An upper bound of the prompt's tokens for any byte-level tokenizer: the UTF-8 bytes of all strings, 16 per message
/// and tool, and the bytes of schemas as sent. Pictures, files, sounds and films are *not* in it: their base64 is
/// no text; add the model's own bound for each that [`overhead`] counts.
pub fn byte_bound(doc: &Doc<'_>) -> u64 {
    let mut bytes = 0u64;
    for (key, value) in doc.root().members() {
        bytes = bytes.saturating_add(by_name!(key => {
            "messages" => value.items().fold(0, |sum: u64, message| {
                sum.saturating_add(16)
                    .saturating_add(16 * calls(message))
                    .saturating_add(string_bytes(message))
            }),
            "tools" | "functions" | "response_format" | "tool_choice" => {
                16 * value.len() as u64 + value.raw().len() as u64
            },
            // Neither a prompt nor shown to the model.
            "model" | "user" | "metadata" | "safety_identifier" | "prompt_cache_key" => 0,
            _ => string_bytes(value),
        }));
    }
    bytes
}

fn calls(message: Value<'_, '_>) -> u64 {
    message.get("tool_calls").map_or(0, |calls| calls.len() as u64)
}

/// UTF-8 bytes of every string and key in a value, media data left out.
fn string_bytes(value: Value<'_, '_>) -> u64 {
    match value.kind() {
        Kind::String if !value.escaped() => value.range().len().saturating_sub(2) as u64,
        Kind::String => value.str_raw().map_or(0, |raw| json::unescaped_length(raw) as u64),
        Kind::Array => value.items().fold(0, |sum, item| sum.saturating_add(string_bytes(item))),
        Kind::Object => value.members().fold(0, |sum: u64, (key, member)| {
            let data = (key.is("url") || key.is("file_data") || key.is("image_url"))
                && member.str_raw().is_some_and(media::is_data_uri)
                || key.is("input_audio");
            let key = key.range().len() as u64;
            sum.saturating_add(key).saturating_add(if data { 0 } else { string_bytes(member) })
        }),
        _ => value.range().len() as u64,
    }
}

#[cfg(test)]
mod tests {
    use weir_wire::json::{Limits, parse};

    use super::*;

    #[test]
    fn the_byte_bound_counts_bytes_after_escapes() {
        let bound = |body: &str| byte_bound(&parse(body.as_bytes(), &Limits::default()).unwrap());
        assert_eq!(bound(r#"{"model":"long name","messages":[]}"#), 0);
        let keys = 2 + 4 + 2 + 7;
        assert_eq!(bound(r#"{"messages":[{"role":"user","content":"abc"}]}"#), 16 + keys + 4 + 3);
        let escaped = r#"{"messages":[{"role":"user","content":"\u00e9\u4e2d\ud83d\ude00\n\""}]}"#;
        assert_eq!(bound(escaped), 16 + keys + 4 + "é中😀\n\"".len() as u64);
        let picture = r#"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAAAAAA"}}]}]}"#;
        assert!(bound(picture) < 100);
        assert_eq!(bound(r#"{"tools":[{"a":"b"}]}"#), 16 + r#"[{"a":"b"}]"#.len() as u64);
    }
}
