//! Values without a bound: tokens of any length, private keys. What such a value begins with is found like any
//! other; the rest belongs to it as far as its characters go. In a stream nothing is held back for that: what
//! is inside is left out as it comes.

use crate::characters::{invisible, look_alike};
use crate::class::{TOKEN, WORD, run};
use crate::coding::{self, Coding};

/// How a value goes on behind what was found of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tail {
    /// Letters, digits and `_ - + / =`.
    Token,
    /// The same and `.`.
    Dotted,
    /// A PEM block (RFC 7468): up to its end line, or to a character that is in none.
    Pem,
}

/// Kinds of tails.
pub(crate) const TAILS: [Tail; 3] = [Tail::Token, Tail::Dotted, Tail::Pem];

/// How far a value goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// To this offset.
    Ends(usize),
    /// To the text's end, and maybe farther; to be asked again from this offset.
    Open(usize),
    /// To this offset; what is behind it, only its end says.
    Cut(usize),
}

/// Bytes of the line that ends a block.
const END_LINE: usize = 64;

impl Tail {
    /// Whether a character may be in it.
    pub(crate) fn has(self, byte: u8) -> bool {
        match byte {
            b'_' | b'-' | b'+' | b'/' | b'=' => true,
            b'.' => self != Self::Token,
            // Headers of old blocks, and line breaks as JSON and source code write them.
            b' ' | b'\t' | b'\r' | b'\n' | b'\\' | b':' | b',' | b'"' => self == Self::Pem,
            _ => byte.is_ascii_alphanumeric(),
        }
    }

    /// How far it goes from `from`; `ends` tells which quotes it does not reach over.
    pub(crate) fn reach(self, text: &str, from: usize, last: bool, ends: &dyn Fn(usize) -> bool) -> Reach {
        let mut at = from;
        // What ends a block begins with a hyphen.
        let plain = if self == Self::Pem { WORD } else { WORD | TOKEN };
        loop {
            at += run(text.as_bytes(), at, usize::MAX, plain);
            let Some(rest) = text.get(at..) else { break };
            let Some(byte) = rest.bytes().next() else { break };
            if byte < 0x80 {
                if byte == b'"' && ends(at) {
                    return Reach::Ends(at);
                }
                if !self.has(byte) || byte == b'\\' {
                    match coding::at(text.as_bytes(), at, last) {
                        Coding::Yes(c, length) if c.is_ascii() && self.has(c as u8) => at += length,
                        Coding::No if self.has(byte) => at += 1,
                        Coding::Cut => return Reach::Cut(at),
                        _ => return Reach::Ends(at),
                    }
                    continue;
                }
                if byte == b'-' && self == Self::Pem {
                    match end_line(rest.as_bytes()) {
                        Line::No => {}
                        Line::Yes(length) => return Reach::Ends(at + length),
                        Line::Cut if last => {}
                        Line::Cut => return Reach::Open(at),
                    }
                }
                at += 1;
                continue;
            }
            let Some(c) = rest.chars().next() else { break };
            let inside = invisible(c) || look_alike(c).is_some_and(|c| self.has(c as u8));
            if !inside {
                return Reach::Ends(at);
            }
            at += c.len_utf8();
        }
        if last { Reach::Ends(text.len()) } else { Reach::Open(text.len()) }
    }
}

enum Line {
    No,
    Yes(usize),
    Cut,
}

/// The line that ends a block, with its five hyphens.
fn end_line(text: &[u8]) -> Line {
    const BEGINS: &[u8] = b"-----END";
    const HYPHENS: &[u8] = b"-----";
    if text.len() < BEGINS.len() {
        return if BEGINS.starts_with(text) { Line::Cut } else { Line::No };
    }
    let Some(name) = text.strip_prefix(BEGINS) else { return Line::No };
    let length = name.iter().take(END_LINE).take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b' ');
    let length = length.count();
    let after = name.get(length..).unwrap_or_default();
    if after.starts_with(HYPHENS) {
        return Line::Yes(BEGINS.len() + length + HYPHENS.len());
    }
    if length < END_LINE && HYPHENS.starts_with(after) { Line::Cut } else { Line::No }
}
