//! The same count over a request of another dialect, as the hub has it: what [`encode`](super::super::encode) would write
//! and the count of that would find, without writing it.

use std::borrow::Cow;

use weir_wire::json::{self, Limits};

use super::super::encode::{Apart, encode_tools};
use super::super::image_tokens::image_size;
use super::super::rules::Rules;
use super::{Count, MOST_CALLS, Sum, Unescaped};
use crate::hub::{Chat, Invalid, Loss, Message, Part, ResponseFormat, Role, ToolCall};
use crate::media;

/// Tokens of a request of another dialect: those of the chat that it becomes, which are exact where nothing was left
/// behind. None where it cannot become one.
pub(crate) fn chat_tokens(
    decoded: Result<(Chat, Vec<Loss>), Invalid>,
    rules: &Rules,
    count: &mut dyn FnMut(&str) -> u64,
) -> Option<Count> {
    let (chat, losses) = decoded.ok()?;
    let mut count = Unescaped(count);
    let mut sum = Sum::new(rules, &mut count);
    sum.exact = losses.is_empty();
    if !chat.tools.is_empty() {
        let tools = encode_tools(&chat.tools);
        sum.tools(json::parse(&tools, &Limits::default()).ok()?.root());
    }
    if let ResponseFormat::JsonSchema { schema, .. } = &chat.response_format {
        sum.exact = false;
        sum.str(schema.trim_ascii());
    }
    let (mut first, mut calls) = (true, Vec::new());
    for message in &chat.messages {
        sum.hub(message, &mut first, &mut calls);
    }
    Some(sum.count())
}

impl Sum<'_, '_, '_> {
    fn hub<'m>(&mut self, message: &'m Message, first: &mut bool, calls: &mut Vec<&'m ToolCall>) {
        let apart = Apart::of(message);
        for (result, point) in apart.results {
            self.begin(first, Role::Tool);
            self.exact = false;
            let call = calls.iter().take(MOST_CALLS).find(|call| call.id == result.id);
            self.result(call.map(|call| call.name.as_str()).unwrap_or_default());
            let mut parts: Vec<&Part> = Vec::with_capacity(result.parts.len() + 1);
            parts.extend(&result.parts);
            parts.extend(point);
            self.parts(&parts, false);
        }
        if !apart.whole {
            return;
        }
        let with_tools = self.begin(first, message.role);
        if let Some(name) = &message.name {
            self.add(self.rules.per_name);
            self.said(name);
        }
        self.thought(&message.parts);
        self.parts(&apart.said, with_tools);
        if !apart.calls.is_empty() {
            self.exact = false;
            *calls = apart.calls;
            let mut texts = calls
                .iter()
                .map(|call| (Cow::Borrowed(call.name.as_str()), Cow::Borrowed(call.arguments.as_str())));
            if calls.len() < 2 || self.rules.tools.parallel == 0 {
                for (name, arguments) in texts {
                    self.call_of(&name);
                    self.said(&arguments);
                }
            } else {
                self.parallel(&mut texts);
            }
        }
    }

    /// A message's own tokens and those of its role; whether its text stands with the tools.
    fn begin(&mut self, first: &mut bool, role: Role) -> bool {
        self.add(self.rules.per_message);
        let system = matches!(role, Role::System | Role::Developer);
        let with_tools = self.beside_tools(std::mem::take(first), system);
        self.str(role.as_str());
        with_tools
    }

    /// Reasoning that a signature covers is no text that is known to be shown; other is.
    fn thought(&mut self, parts: &[Part]) {
        let (mut signed, mut text) = (false, String::new());
        for part in parts {
            match part {
                Part::Reasoning { text: more, signature } => {
                    self.exact = false;
                    signed |= signature.is_some();
                    text.push_str(more);
                }
                Part::RedactedReasoning(_) => (self.exact, signed) = (false, true),
                _ => {}
            }
        }
        if !signed {
            self.said(&text);
        }
    }

    /// A content: a bare text, or parts.
    fn parts(&mut self, parts: &[&Part], with_tools: bool) {
        match parts {
            [] | [Part::Text(_)] => {
                let text = if let [Part::Text(text)] = parts { text.as_str() } else { "" };
                if with_tools { self.str(&[text, "\n"].concat()) } else { self.said(text) }
            }
            _ => {
                let mut number = 0;
                for part in parts {
                    match part {
                        Part::Text(text) => self.said(text),
                        Part::Refusal(text) => {
                            self.exact = false;
                            self.said(text);
                        }
                        Part::Image { media_type, data } => {
                            let uri = ["data:", media_type, ";base64,", data].concat();
                            self.image(media::data_uri(&uri).and_then(|uri| image_size(&uri.data)), false);
                        }
                        Part::ImageUrl { .. } => self.image(None, false),
                        Part::Audio { .. } | Part::Document { .. } | Part::Video { .. } => self.exact = false,
                        // No content of a chat.
                        _ => continue,
                    }
                    number += 1;
                }
                self.exact &= number < 2;
            }
        }
    }

    /// A text; an empty one is none.
    fn said(&mut self, text: &str) {
        if !text.is_empty() {
            self.str(text);
        }
    }
}

#[cfg(test)]
mod tests;
