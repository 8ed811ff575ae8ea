//! What a prompt counts, over a tokenizer that the caller brings and the [rules](Rules) of the model: so much per message,
//! the tokens of its role and content, of its name where it has one, and so much for the reply. For plain text that is
//! what the providers bill. Tools, their calls and pictures are counted as OpenAI's models read them and said to be
//! inexact, since no provider publishes it; files, sounds and films cannot be counted from here at all.

use weir_wire::json::{Doc, Kind, Value};

use super::bound::is_low;
use super::fields;
use super::image_tokens::image_size;
use super::namespace::namespace;
use super::rules::Rules;
use super::texts::{self, Place};
use crate::media;

mod hub;

pub(crate) use hub::chat_tokens;

/// Calls of one message among which a tool's answer looks for its own.
const MOST_CALLS: usize = 128;

/// A counted prompt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Tokens.
    pub tokens: u64,
    /// Whether the provider bills exactly this: text alone, with a tokenizer that is the model's own.
    pub exact: bool,
    /// Tokens of pictures among them, of the largest where a size cannot be read.
    pub images: u64,
}

/// [`prompt_tokens_by`] the rule of the cookbook.
pub fn prompt_tokens(doc: &Doc<'_>, count: &mut dyn FnMut(&str) -> u64) -> Count {
    prompt_tokens_by(doc, &Rules::COOKBOOK, count)
}

/// Tokens of the whole prompt. `count` is given each text once, unescaped.
pub fn prompt_tokens_by(doc: &Doc<'_>, rules: &Rules, count: &mut dyn FnMut(&str) -> u64) -> Count {
    prompt_tokens_of(doc, rules, &mut Unescaped(count))
}

/// Counts the texts of a prompt.
pub trait Tokens {
    /// Tokens of a text.
    fn text(&mut self, text: &str) -> u64;

    /// Tokens of a string of the document. One that is known by how it is written need not be unescaped.
    fn value(&mut self, value: Value<'_, '_>) -> u64 {
        value.as_str().map_or(0, |text| self.text(&text))
    }

    /// How many of the first messages are known as they are written, and their tokens by these rules. Asked once for
    /// each array of messages.
    fn resume(&mut self, _messages: Value<'_, '_>, _rules: &Rules) -> (usize, u64) {
        (0, 0)
    }

    /// The tokens of all messages that [`resume`](Self::resume) was asked for last, counted exactly and alike in any
    /// request that begins with them and offers no tools.
    fn remember(&mut self, _tokens: u64) {}
}

struct Unescaped<'c>(&'c mut dyn FnMut(&str) -> u64);

impl Tokens for Unescaped<'_> {
    fn text(&mut self, text: &str) -> u64 {
        (self.0)(text)
    }
}

/// The same over a counter that may know strings as they are written. An empty string is none.
pub fn prompt_tokens_of(doc: &Doc<'_>, rules: &Rules, count: &mut dyn Tokens) -> Count {
    let mut sum = Sum::new(rules, count);
    let root = doc.root();
    for key in ["tools", "functions"] {
        if let Some(tools) = root.get(key).filter(|tools| !tools.is_empty()) {
            sum.tools(tools);
        }
    }
    for (key, value) in root.members() {
        if key.is("messages") {
            sum.messages(value);
        } else if key.is("response_format") {
            if let Some(schema) = value.get("json_schema") {
                sum.exact = false;
                let schema = schema.get("schema").unwrap_or(schema);
                sum.str(str::from_utf8(schema.raw()).unwrap_or_default());
            }
        } else if key.is("prediction") && !value.is_null() {
            sum.exact = false;
        }
    }
    sum.count()
}

struct Sum<'r, 'd, 'a> {
    rules: &'r Rules,
    count: &'r mut dyn Tokens,
    tokens: u64,
    exact: bool,
    images: u64,
    /// Tools are on offer.
    tools: bool,
    /// The calls of the latest message that made some.
    calls: Option<Value<'d, 'a>>,
}

impl<'r, 'd, 'a> Sum<'r, 'd, 'a> {
    fn new(rules: &'r Rules, count: &'r mut dyn Tokens) -> Self {
        let tokens = rules.per_reply + rules.opening;
        Sum { rules, count, tokens, exact: true, images: 0, tools: false, calls: None }
    }

    fn count(&self) -> Count {
        Count { tokens: self.tokens, exact: self.exact, images: self.images }
    }

    fn add(&mut self, tokens: u64) {
        self.tokens = self.tokens.saturating_add(tokens);
    }

    fn save(&mut self, tokens: u64) {
        self.tokens = self.tokens.saturating_sub(tokens);
    }

    fn str(&mut self, text: &str) {
        let tokens = self.count.text(text);
        self.add(tokens);
    }

    fn text(&mut self, value: Value<'_, '_>) {
        if value.str_raw().is_some_and(|raw| !raw.is_empty()) {
            let tokens = self.count.value(value);
            self.add(tokens);
        }
    }

    fn tools(&mut self, tools: Value<'_, '_>) {
        self.exact = false;
        self.tools = true;
        let (text, undescribed) = namespace(tools);
        self.str(&text);
        self.add(self.rules.tools.around);
        self.save(self.rules.tools.undescribed * undescribed);
    }

    /// A turn of a plain chat costs its new messages; tools count differently with what stands around them.
    fn messages(&mut self, messages: Value<'d, 'a>) {
        let before = self.tokens;
        let (known, tokens) = if self.exact { self.count.resume(messages, self.rules) } else { (0, 0) };
        self.add(tokens);
        for (at, message) in messages.items().enumerate().skip(known) {
            self.message(message, at == 0);
        }
        if self.exact && known < messages.len() {
            self.count.remember(self.tokens.saturating_sub(before));
        }
    }

    fn message(&mut self, message: Value<'d, 'a>, first: bool) {
        self.add(self.rules.per_message);
        let role = message.get("role");
        let place = texts::place_of(role);
        let with_tools = self.beside_tools(first, matches!(place, Place::System | Place::Developer));
        for (key, value) in message.members() {
            by_name!(key => {
                "role" => {
                    self.text(value);
                    self.exact &= place != Place::UnknownRole;
                },
                "content" if value.kind() == Kind::Array => {
                    // Several texts are one to the model, and tokens may span the seam.
                    self.exact &= value.len() < 2;
                    value.items().for_each(|part| self.part(part));
                },
                "content" if with_tools => {
                    let mut text = value.as_str().unwrap_or_default().into_owned();
                    text.push('\n');
                    self.str(&text);
                },
                "content" => self.text(value),
                "name" if value.kind() == Kind::String => {
                    self.add(self.rules.per_name);
                    self.text(value);
                },
                "tool_calls" => {
                    self.calls = Some(value);
                    self.calls(value);
                },
                "function_call" => {
                    self.exact &= value.is_null();
                    if !value.is_null() {
                        self.call(value);
                    }
                },
                "tool_call_id" => {
                    self.exact = false;
                    let id = value.as_str().unwrap_or_default();
                    let mut calls = self.calls.into_iter().flat_map(Value::items).take(MOST_CALLS);
                    let call = calls.find(|call| call.get("id").is_some_and(|of| of.is_str(&id)));
                    let name = call.and_then(|call| body_of(call).get("name")).and_then(Value::as_str);
                    self.result(&name.unwrap_or_default());
                },
                "refusal" | "reasoning" | "reasoning_content" => {
                    self.exact &= value.is_null();
                    self.text(value);
                },
                // Clients send back what answers had: `annotations: []`, `audio: null`.
                _ => self.exact &= fields::is_nothing(value),
            })
        }
    }

    /// Whether a message stands with the tools: a system message that opens the chat.
    fn beside_tools(&mut self, first: bool, system: bool) -> bool {
        let with_tools = self.tools && first && system && self.rules.tools.with_system > 0;
        if with_tools {
            self.save(self.rules.tools.with_system);
        }
        with_tools
    }

    /// Whose answer a tool's message is.
    fn result(&mut self, name: &str) {
        self.add(self.rules.per_name);
        self.str(&["functions.", name].concat());
    }

    /// Calls that an assistant made. Several are one call of a tool that makes them together.
    fn calls(&mut self, calls: Value<'_, '_>) {
        self.exact &= calls.is_empty();
        if calls.len() < 2 || self.rules.tools.parallel == 0 {
            return calls.items().for_each(|call| self.call(body_of(call)));
        }
        let mut text = String::from("{\"tool_uses\":[");
        for (at, call) in calls.items().enumerate() {
            let body = body_of(call);
            let text_of = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default();
            text.push_str(if at > 0 {
                ",{\"recipient_name\":\"functions."
            } else {
                "{\"recipient_name\":\"functions."
            });
            text.push_str(&text_of("name"));
            text.push_str("\",\"parameters\":");
            text.push_str(&text_of(if body.get("input").is_some() { "input" } else { "arguments" }));
            text.push('}');
        }
        text.push_str("]}");
        self.str(" to=multi_tool_use.parallel");
        self.str(&text);
        self.save(self.rules.tools.parallel);
    }

    fn call(&mut self, body: Value<'_, '_>) {
        let name = body.get("name").and_then(Value::as_str).unwrap_or_default();
        self.str(&[" to=functions.", &name].concat());
        self.add(self.rules.tools.per_call);
        for key in ["arguments", "input"] {
            if let Some(value) = body.get(key) {
                self.text(value);
            }
        }
    }

    fn image(&mut self, size: Option<(u32, u32)>, low: bool) {
        self.exact = false;
        let tokens = self.rules.image.tokens(size, low);
        self.images = self.images.saturating_add(tokens);
        self.add(tokens);
    }

    fn part(&mut self, part: Value<'_, '_>) {
        let kind = part.get("type");
        let is = |name: &str| kind.is_some_and(|kind| kind.is_str(name));
        if let Some(image) = part.get("image_url") {
            let url = image.get("url").unwrap_or(image);
            // A data URI has no escapes but `\/`; a size that cannot be read is the largest.
            let size = url.str_raw().and_then(media::data_uri).and_then(|uri| image_size(&uri.data));
            self.image(size, is_low(image));
        } else if let Some(text) = part.get("text").or(part.get("refusal")) {
            self.exact &= is("text");
            self.text(text);
        } else {
            self.exact = false;
            self.text(part);
        }
    }
}

fn body_of<'d, 'a>(call: Value<'d, 'a>) -> Value<'d, 'a> {
    call.get("function").or(call.get("custom")).unwrap_or(call)
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
        assert_eq!(image(png, ""), Count { tokens: base + 765, exact: false, images: 765 });
    }
}
