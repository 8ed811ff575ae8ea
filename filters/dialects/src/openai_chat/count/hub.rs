//! The same count over a request of another dialect, as the hub has it: what [`encode`](super::super::encode) would write
//! and the count of that would find, without writing it.

use weir_wire::json::{self, Limits, Writer};

use super::super::answer::write_tool_call;
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
        for (result, _) in apart.results {
            self.begin(first, Role::Tool);
            self.exact = false;
            let call = calls.iter().take(MOST_CALLS).find(|call| call.id == result.id);
            self.result(call.map(|call| call.name.as_str()).unwrap_or_default());
            result.parts.iter().for_each(|part| _ = self.one(part));
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
            let mut out = Writer::new(Vec::new());
            out.begin_array();
            for call in &apart.calls {
                write_tool_call(&mut out, call);
            }
            out.end_array();
            if let Ok(doc) = json::parse(&out.into_inner(), &Limits::default()) {
                self.calls(doc.root());
            }
            *calls = apart.calls;
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
        if with_tools && let [] | [Part::Text(_)] = parts {
            let text = if let [Part::Text(text)] = parts { text.as_str() } else { "" };
            return self.str(&[text, "\n"].concat());
        }
        let mut number = 0;
        for part in parts {
            number += u32::from(self.one(part));
        }
        // Several texts are one to the model, and tokens may span the seam.
        self.exact &= number < 2;
    }

    /// A part; false where a chat has no such content.
    fn one(&mut self, part: &Part) -> bool {
        match part {
            Part::Text(text) => self.said(text),
            Part::Refusal(text) => {
                self.exact = false;
                self.said(text);
            }
            Part::Image { data, .. } => {
                self.image(media::clean_base64(data).and_then(|data| image_size(&data)), false);
            }
            Part::ImageUrl { .. } => self.image(None, false),
            Part::Audio { .. } | Part::Document { .. } | Part::Video { .. } => self.exact = false,
            _ => return false,
        }
        true
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
