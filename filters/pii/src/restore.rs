//! Values back into a streamed answer.

use std::rc::Rc;

use crate::text::{part, put};
use crate::vault::{Parsed, Table, parse};

/// Puts values in the place of their placeholders while a text streams by. Only the beginning of what may
/// become a placeholder is held back, so a stream without brackets is not delayed at all.
#[derive(Clone, Debug)]
pub struct Restorer {
    table: Rc<Table>,
    held: String,
    json: bool,
}

impl Restorer {
    pub(crate) fn new(table: Rc<Table>) -> Self {
        Self { table, held: String::new(), json: false }
    }

    /// Escapes values as the body of a JSON string: for texts that are JSON themselves, such as the arguments
    /// of a tool call.
    pub fn in_json(mut self) -> Self {
        self.json = true;
        self
    }

    /// Takes the next piece of the text and appends all that is certain.
    pub fn push(&mut self, text: &str, out: &mut String) {
        if self.held.is_empty() {
            return self.take(text, out);
        }
        let mut whole = std::mem::take(&mut self.held);
        put(&mut whole, text);
        self.take(&whole, out);
    }

    fn take(&mut self, text: &str, out: &mut String) {
        let mut rest = text;
        while let Some((plain, from)) =
            memchr::memchr(b'[', rest.as_bytes()).and_then(|at| rest.split_at_checked(at))
        {
            put(out, plain);
            let length = match parse(from.as_bytes()) {
                Parsed::Cut => {
                    put(&mut self.held, from);
                    return;
                }
                Parsed::No => 1,
                Parsed::Yes(length, key) => match self.table.value(key) {
                    Some(value) => {
                        if self.json {
                            escape(value, out)
                        } else {
                            put(out, value)
                        }
                        rest = part(from, length..from.len());
                        continue;
                    }
                    None => length,
                },
            };
            let (literal, after) = from.split_at_checked(length).unwrap_or((from, ""));
            put(out, literal);
            rest = after;
        }
        put(out, rest);
    }

    /// The text ended: appends what was held back.
    pub fn finish(&mut self, out: &mut String) {
        put(out, &std::mem::take(&mut self.held));
    }

    /// Bytes held back at present.
    pub fn held(&self) -> usize {
        self.held.len()
    }
}

/// Values are names and numbers; of what JSON escapes they hold a quote or a line break at most.
fn escape(value: &str, out: &mut String) {
    for c in value.chars() {
        let written = match c {
            '"' => "\\\"",
            '\\' => "\\\\",
            '\n' => "\\n",
            '\r' => "\\r",
            '\t' => "\\t",
            // The rarer ones are white space inside a house word; a space is the same word.
            c if c < ' ' => " ",
            c => {
                out.push(c);
                continue;
            }
        };
        put(out, written);
    }
}
