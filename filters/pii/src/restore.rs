//! Values back into a streamed answer.

use std::rc::Rc;

use crate::json::begins;
use crate::text::{part, put};
use crate::vault::{Parsed, Table, parse};

/// Puts values in the place of their placeholders while a text streams by. Only the beginning of what may
/// become a placeholder is held back, so a stream without brackets is not delayed at all.
#[derive(Clone, Debug)]
pub struct Restorer {
    table: Rc<Table>,
    held: String,
    /// All of the text is JSON.
    json: bool,
    place: Place,
}

/// Where in a document the text is that passed. One that begins as an object or an array does may be JSON, up to where that ends.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// The sign before, of two that tell it.
    first: u8,
    /// Objects and arrays that are open.
    depth: u32,
    /// In a string.
    string: bool,
    /// Behind a backslash.
    escaped: bool,
    over: bool,
}

impl Place {
    fn pass(&mut self, text: &str) {
        for byte in text.bytes() {
            if self.over {
                return;
            }
            if self.string {
                self.string = self.escaped || byte != b'"';
                self.escaped = !self.escaped && byte == b'\\';
                continue;
            }
            if byte.is_ascii_whitespace() {
                continue;
            }
            // Behind the second sign nothing is told any more: it stands as a quote.
            let known = match self.first {
                0 => matches!(byte, b'{' | b'['),
                b'"' => true,
                first => begins(first, byte),
            };
            if !known {
                self.over = true;
                return;
            }
            match byte {
                b'"' => self.string = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    self.over = self.depth == 0;
                }
                _ => {}
            }
            self.first = if self.first == 0 { byte } else { b'"' };
        }
    }
}

impl Restorer {
    pub(crate) fn new(table: Rc<Table>) -> Self {
        Self { table, held: String::new(), json: false, place: Place::default() }
    }

    /// Escapes every value as the body of a JSON string: for texts that surely are JSON, such as the arguments of a tool call.
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
        loop {
            let at = memchr::memchr(b'[', rest.as_bytes()).unwrap_or(rest.len());
            self.pass(part(rest, 0..at), out);
            rest = part(rest, at..rest.len());
            let length = match parse(rest.as_bytes()) {
                _ if rest.is_empty() => return,
                Parsed::Cut => return put(&mut self.held, rest),
                Parsed::No => 1,
                Parsed::Yes(length, key) => match self.table.value(key) {
                    Some(value) => {
                        if self.json || self.place.string {
                            escape(value, out);
                        } else {
                            put(out, value);
                            // A sign like any other.
                            self.place.pass("0");
                        }
                        rest = part(rest, length..rest.len());
                        continue;
                    }
                    None => length,
                },
            };
            self.pass(part(rest, 0..length), out);
            rest = part(rest, length..rest.len());
        }
    }

    /// Appends what is no placeholder.
    fn pass(&mut self, text: &str, out: &mut String) {
        put(out, text);
        self.place.pass(text);
    }

    /// The text ended: appends what was held back.
    pub fn finish(&mut self, out: &mut String) {
        put(out, &std::mem::take(&mut self.held));
        self.place = Place::default();
    }

    /// Bytes held back at present.
    pub fn held(&self) -> usize {
        self.held.len()
    }
}

/// Of what JSON escapes values hold a quote or a line break at most, but for what hides them.
fn escape(value: &str, out: &mut String) {
    let mut rest = value;
    while let Some((at, byte)) =
        rest.bytes().enumerate().find(|(_, byte)| *byte < b' ' || matches!(byte, b'"' | b'\\'))
    {
        let number = 2 * usize::from(byte);
        let (sign, digits) = match byte {
            b'"' => ("\\\"", ""),
            b'\\' => ("\\\\", ""),
            b'\n' => ("\\n", ""),
            b'\r' => ("\\r", ""),
            b'\t' => ("\\t", ""),
            _ => ("\\u00", part(NUMBERS, number..number + 2)),
        };
        put(out, part(rest, 0..at));
        put(out, sign);
        put(out, digits);
        rest = part(rest, at + 1..rest.len());
    }
    put(out, rest);
}

/// Those of control characters.
const NUMBERS: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
