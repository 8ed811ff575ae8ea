//! What a prompt counts, by the rule of OpenAI's cookbook, over a tokenizer that the caller brings: 3 per message,
//! the tokens of its role and content, 1 more and the tokens of its name where it has one, and 3 that open the reply.
//! For plain text that is what the providers bill; what is not (tools, pictures, tool calls) is estimated and said
//! to be inexact. Beside it the bound that needs no tokenizer at all: bytes.

use weir_wire::json::{Doc, Kind, Value};

use super::image_tokens::{ImageRule, image_size};
use super::texts::{self, Place};
use crate::media;

/// The numbers of the rule, which differ by model family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Around each message.
    pub per_message: u64,
    /// Before a name.
    pub per_name: u64,
    /// Once, for the reply to come.
    pub per_reply: u64,
    /// Around each tool: 7 for the gpt-4o family, 10 for gpt-4 and gpt-3.5.
    pub per_tool: u64,
    /// Pictures.
    pub image: ImageRule,
}

impl Default for Rules {
    fn default() -> Self {
        Rules { per_message: 3, per_name: 1, per_reply: 3, per_tool: 7, image: ImageRule::GPT_4O }
    }
}

impl Rules {
    /// The rule of a model of OpenAI's by its name; the default one for all others. Measured on recorded usage:
    /// gpt-5 and o3-mini bill one token less than the cookbook says.
    pub fn of_model(name: &str) -> Rules {
        let mut rules = Rules::default();
        let starts = |heads: &[&str]| heads.iter().any(|head| name.starts_with(head));
        if starts(&["gpt-5", "o3-mini"]) {
            rules.per_reply = 2;
        }
        if starts(&["gpt-4o-mini"]) {
            rules.image = ImageRule { base: 2833, tile: 5667 };
        } else if starts(&["o1", "o3"]) {
            rules.image = ImageRule { base: 75, tile: 150 };
        } else if starts(&["gpt-3.5"]) || starts(&["gpt-4"]) && !starts(&["gpt-4o", "gpt-4.1", "gpt-4.5"]) {
            rules.per_tool = 10;
        }
        rules
    }
}

/// A counted prompt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Tokens.
    pub tokens: u64,
    /// Whether the provider bills exactly this: text alone, with a tokenizer that is the model's own.
    pub exact: bool,
    /// Number of pictures, each counted by the tile rule.
    pub images: u32,
}

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

/// [`prompt_tokens_with`] the default rules.
pub fn prompt_tokens(doc: &Doc<'_>, count: &mut dyn FnMut(&str) -> u64) -> Count {
    prompt_tokens_with(doc, &Rules::default(), count)
}

/// Tokens of the whole prompt. `count` is given each text once, unescaped.
pub fn prompt_tokens_with(doc: &Doc<'_>, rules: &Rules, count: &mut dyn FnMut(&str) -> u64) -> Count {
    let mut sum = Sum { rules, count, tokens: rules.per_reply, exact: true, images: 0 };
    for (key, value) in doc.root().members() {
        if key.is("messages") {
            value.items().for_each(|message| sum.message(message));
        } else if key.is("tools") {
            for tool in value.items() {
                sum.tool(tool.get("function").or(tool.get("custom")).unwrap_or(tool));
            }
            sum.close_tools(value);
        } else if key.is("functions") {
            value.items().for_each(|function| sum.tool(function));
            sum.close_tools(value);
        } else if key.is("response_format") {
            // A schema is shown to the model in some form of its own.
            if let Some(schema) = value.get("json_schema") {
                sum.exact = false;
                sum.all(schema);
            }
        } else if key.is("prediction") && !value.is_null() {
            sum.exact = false;
        }
    }
    Count { tokens: sum.tokens, exact: sum.exact, images: sum.images }
}

struct Sum<'r> {
    rules: &'r Rules,
    count: &'r mut dyn FnMut(&str) -> u64,
    tokens: u64,
    exact: bool,
    images: u32,
}

impl Sum<'_> {
    fn add(&mut self, tokens: u64) {
        self.tokens = self.tokens.saturating_add(tokens);
    }

    fn text(&mut self, value: Value<'_, '_>) {
        if let Some(text) = value.as_str().filter(|text| !text.is_empty()) {
            let tokens = (self.count)(&text);
            self.add(tokens);
        }
    }

    fn inexact(&mut self, value: Value<'_, '_>) {
        self.exact = false;
        self.text(value);
    }

    /// Every string in a value, as a rough measure of it.
    fn all(&mut self, value: Value<'_, '_>) {
        self.text(value);
        value.items().for_each(|item| self.all(item));
        value.members().for_each(|(_, member)| self.all(member));
    }

    fn message(&mut self, message: Value<'_, '_>) {
        self.add(self.rules.per_message);
        for (key, value) in message.members() {
            match key.as_str().as_ref() {
                "role" => {
                    self.text(value);
                    self.exact &= texts::place_of(Some(value)) != Place::UnknownRole;
                }
                "content" if value.kind() == Kind::Array => {
                    // Several texts are one to the model, and tokens may span the seam.
                    self.exact &= value.len() < 2;
                    value.items().for_each(|part| self.part(part));
                }
                "content" => self.text(value),
                "name" if value.kind() == Kind::String => {
                    self.add(self.rules.per_name);
                    self.text(value);
                }
                "tool_calls" => value.items().for_each(|call| {
                    self.add(self.rules.per_message);
                    let body = call.get("function").or(call.get("custom")).unwrap_or(call);
                    for key in ["name", "arguments", "input"] {
                        if let Some(value) = body.get(key) {
                            self.inexact(value);
                        }
                    }
                }),
                "function_call" => {
                    self.exact &= value.is_null();
                    self.all(value);
                }
                "tool_call_id" => self.exact = false,
                "refusal" | "reasoning" | "reasoning_content" => {
                    self.exact &= value.is_null();
                    self.text(value);
                }
                // Clients send back what answers had: `annotations: []`, `audio: null`.
                _ => self.exact &= value.is_null() || value.kind() == Kind::Array && value.is_empty(),
            }
        }
    }

    fn part(&mut self, part: Value<'_, '_>) {
        let kind = part.get("type");
        let is = |name: &str| kind.is_some_and(|kind| kind.is_str(name));
        if let Some(image) = part.get("image_url") {
            self.exact = false;
            self.images = self.images.saturating_add(1);
            let url = image.get("url").unwrap_or(image);
            // A data URI has no escapes but `\/`; a size that cannot be read is the largest.
            let size = url.str_raw().and_then(media::data_uri).and_then(|uri| image_size(&uri.data));
            self.add(self.rules.image.tokens(size, is_low(image)));
        } else if let Some(text) = part.get("text").or(part.get("refusal")) {
            self.exact &= is("text");
            self.text(text);
        } else {
            self.exact = false;
            self.text(part);
        }
    }

    /// The cookbook's estimate of a function.
    fn tool(&mut self, function: Value<'_, '_>) {
        self.add(self.rules.per_tool);
        let text = |key: &str| function.get(key).and_then(|value| value.as_str()).unwrap_or_default();
        let description = text("description");
        let line = format!("{}:{}", text("name"), description.strip_suffix('.').unwrap_or(&description));
        let tokens = (self.count)(&line);
        self.add(tokens);
        let properties = function.get("parameters").and_then(|schema| schema.get("properties"));
        if let Some(properties) = properties.filter(|properties| !properties.is_empty()) {
            self.add(3);
            for (key, property) in properties.members() {
                self.property(&key.as_str(), property);
            }
        }
    }

    fn property(&mut self, name: &str, property: Value<'_, '_>) {
        self.add(3);
        let text = |key: &str| property.get(key).and_then(|value| value.as_str()).unwrap_or_default();
        if let Some(values) = property.get("enum").filter(|values| !values.is_empty()) {
            // The rule takes 3 back for an enum, then adds 3 for each value.
            self.tokens = self.tokens.saturating_sub(3);
            for value in values.items() {
                self.add(3);
                self.text(value);
            }
        }
        let description = text("description");
        let description = description.strip_suffix('.').unwrap_or(&description);
        let tokens = (self.count)(&format!("{name}:{}:{description}", text("type")));
        self.add(tokens);
    }

    fn close_tools(&mut self, tools: Value<'_, '_>) {
        if !tools.is_empty() {
            self.exact = false;
            self.add(12);
        }
    }
}

fn is_low(image: Value<'_, '_>) -> bool {
    image.get("detail").is_some_and(|detail| detail.is_str("low"))
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

/// An upper bound of the prompt's tokens for any byte-level tokenizer: the UTF-8 bytes of all strings, 16 per message
/// and tool, and the bytes of schemas as sent. Pictures, files, sounds and films are *not* in it: their base64 is
/// no text; add the model's own bound for each that [`overhead`] counts.
pub fn byte_bound(doc: &Doc<'_>) -> u64 {
    let mut bytes = 0u64;
    for (key, value) in doc.root().members() {
        bytes = bytes.saturating_add(match key.as_str().as_ref() {
            "messages" => value.items().fold(0, |sum: u64, message| {
                sum.saturating_add(16)
                    .saturating_add(16 * calls(message))
                    .saturating_add(string_bytes(message))
            }),
            "tools" | "functions" | "response_format" | "tool_choice" => {
                16 * value.len() as u64 + value.raw().len() as u64
            }
            // Neither a prompt nor shown to the model.
            "model" | "user" | "metadata" | "safety_identifier" | "prompt_cache_key" => 0,
            _ => string_bytes(value),
        });
    }
    bytes
}

fn calls(message: Value<'_, '_>) -> u64 {
    message.get("tool_calls").map_or(0, |calls| calls.len() as u64)
}

/// UTF-8 bytes of every string and key in a value, media data left out.
fn string_bytes(value: Value<'_, '_>) -> u64 {
    match value.kind() {
        Kind::String => value.str_raw().map_or(0, |raw| unescaped_length(raw) as u64),
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

/// UTF-8 bytes of a string body after its escapes are resolved.
fn unescaped_length(raw: &str) -> usize {
    let mut length = raw.len();
    let mut rest = raw.as_bytes();
    while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
        let escape = rest.get(at + 1).copied().unwrap_or(b'\\');
        let (taken, gives) = match escape {
            b'u' => {
                let digits = rest.get(at + 2..at + 6).and_then(|hex| std::str::from_utf8(hex).ok());
                match digits.and_then(|hex| u32::from_str_radix(hex, 16).ok()).unwrap_or(0) {
                    0..0x80 => (6, 1),
                    0x80..0x800 => (6, 2),
                    // Half a pair is half of four bytes; the parser made sure of the other half.
                    0xd800..0xe000 => (6, 2),
                    _ => (6, 3),
                }
            }
            _ => (2, 1),
        };
        length = length.saturating_sub(taken - gives);
        rest = rest.get(at + taken..).unwrap_or_default();
    }
    length
}

#[cfg(test)]
mod tests {
    use weir_wire::json::{Limits, parse};

    use super::*;

    fn counted(body: &str) -> Count {
        let doc = parse(body.as_bytes(), &Limits::default()).unwrap();
        prompt_tokens(&doc, &mut |text| text.split(' ').count() as u64)
    }

    #[test]
    fn plain_text_is_exact() {
        let count = counted(
            r#"{"model":"m","messages":[{"role":"system","content":"one two"},{"role":"user","name":"a b","content":"three"},{"role":"user","content":""}]}"#,
        );
        // 3 + (3+1+2) + (3+1+1+2+1) + (3+1)
        assert_eq!(count, Count { tokens: 21, exact: true, images: 0 });
    }

    #[test]
    fn what_cannot_be_known_is_said_to_be_inexact() {
        for messages in [
            r#"{"role":"tool","tool_call_id":"x","content":"r"}"#,
            r#"{"role":"assistant","tool_calls":[{"id":"x","function":{"name":"f","arguments":"{}"}}]}"#,
            r#"{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}"#,
            r#"{"role":"user","content":[{"type":"file","file":{}}]}"#,
            r#"{"role":"martian","content":"x"}"#,
            r#"{"role":"user","content":"x","novelty":"y"}"#,
        ] {
            assert!(!counted(&format!(r#"{{"messages":[{messages}]}}"#)).exact, "{messages}");
        }
        assert!(!counted(r#"{"messages":[],"tools":[{"type":"function","function":{"name":"f"}}]}"#).exact);
    }

    #[test]
    fn pictures_cost_their_tiles() {
        let image = |url: &str, detail: &str| {
            counted(&format!(
                r#"{{"messages":[{{"role":"user","content":[{{"type":"image_url","image_url":{{"url":"{url}"{detail}}}}}]}}]}}"#
            ))
        };
        let base = 3 + 3 + 1;
        assert_eq!(image("https://e/x", "").tokens, base + 1445);
        assert_eq!(image("https://e/x", r#","detail":"low""#).tokens, base + 85);
        // A PNG header of 1024 × 1024.
        let png = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAABAAAAAQA";
        assert_eq!(image(png, ""), Count { tokens: base + 765, exact: false, images: 1 });
    }

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
