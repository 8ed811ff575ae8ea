//! String bodies without their escapes, and the way back to the bytes of the document.

use std::borrow::Cow;
use std::ops::Range;

use super::ErrorKind;

/// What each character behind a backslash stands for; 0 where more has to be read, or none may stand there.
pub const SHORT_ESCAPES: [u8; 128] = {
    let mut short = [0; 128];
    let mut left: &[[u8; 2]] = &[*b"\"\"", *b"\\\\", *b"//", *b"b\x08", *b"f\x0c", *b"n\n", *b"r\r", *b"t\t"];
    while let [[written, meant], rest @ ..] = left {
        #[expect(clippy::indexing_slicing, reason = "computed by the compiler")]
        {
            short[*written as usize] = *meant;
        }
        left = rest;
    }
    short
};

/// The escape that starts at `at` (a backslash): its character and its length in bytes.
pub(super) fn escape_at(bytes: &[u8], at: usize) -> Result<(char, usize), ErrorKind> {
    let short = |written: &u8| SHORT_ESCAPES.get(usize::from(*written)).copied().filter(|meant| *meant != 0);
    match bytes.get(at + 1) {
        Some(b'u') => {
            let first = hex4(bytes, at + 2).ok_or(ErrorKind::Syntax)?;
            if let Some(c) = char::from_u32(first) {
                return Ok((c, 6));
            }
            let low = match (bytes.get(at + 6), bytes.get(at + 7)) {
                (Some(b'\\'), Some(b'u')) => hex4(bytes, at + 8).ok_or(ErrorKind::Syntax)?,
                _ => return Err(ErrorKind::LoneSurrogate),
            };
            if first >= 0xdc00 || !(0xdc00..0xe000).contains(&low) {
                return Err(ErrorKind::LoneSurrogate);
            }
            let joined = 0x1_0000 + ((first - 0xd800) << 10) + (low - 0xdc00);
            char::from_u32(joined).map(|c| (c, 12)).ok_or(ErrorKind::LoneSurrogate)
        }
        written => written.and_then(short).map(|meant| (char::from(meant), 2)).ok_or(ErrorKind::Syntax),
    }
}

fn hex4(bytes: &[u8], at: usize) -> Option<u32> {
    let digits = bytes.get(at..at + 4)?;
    digits.iter().try_fold(0, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?))
}

/// The escape of a string's body that begins at `at`, as the document's parser judged it: its character and its length in
/// bytes.
pub fn escape(raw: &str, at: usize) -> Option<(char, usize)> {
    escape_at(raw.as_bytes(), at).ok()
}

/// A validated string body without its escapes.
pub(super) fn unescape(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    walk(raw, |piece| match piece {
        Piece::Plain(text) => out.push_str(text),
        Piece::Escape(c) => out.push(c),
    });
    out
}

enum Piece<'a> {
    Plain(&'a str),
    Escape(char),
}

fn walk<'a>(raw: &'a str, mut each: impl FnMut(Piece<'a>)) {
    let bytes = raw.as_bytes();
    let mut from = 0;
    while let Some(found) = memchr::memchr(b'\\', bytes.get(from..).unwrap_or_default()) {
        let at = from + found;
        each(Piece::Plain(raw.get(from..at).unwrap_or_default()));
        // `parse` has judged every escape; a bad one could only end the text early here.
        let Ok((c, length)) = escape_at(bytes, at) else { return };
        each(Piece::Escape(c));
        from = at + length;
    }
    each(Piece::Plain(raw.get(from..).unwrap_or_default()));
}

/// Unescaped bytes between two checkpoints: what one look-up has to walk at most.
const STRIDE: usize = 1024;

/// The text of a string value, with the way back from a range of it to the bytes of the document.
#[derive(Clone, Debug)]
pub struct Unescaped<'a> {
    /// The text as the client meant it.
    pub text: Cow<'a, str>,
    raw: &'a str,
    /// Where the string's body starts in the document, after the quote.
    start: usize,
    /// (offset in `text`, offset in `raw`) in plain text or just after an escape, one per [`STRIDE`];
    /// ascending.
    checkpoints: Vec<(usize, usize)>,
}

impl<'a> Unescaped<'a> {
    pub(super) fn new(raw: &'a str, start: usize, escaped: bool) -> Self {
        if !escaped {
            return Self { text: Cow::Borrowed(raw), raw, start, checkpoints: Vec::new() };
        }
        let (mut text, mut checkpoints) = (String::with_capacity(raw.len()), Vec::new());
        let mut last = 0;
        let mut at = 0;
        walk(raw, |piece| match piece {
            Piece::Plain(plain) => {
                let before = text.len();
                text.push_str(plain);
                while last + STRIDE <= text.len() {
                    last += STRIDE;
                    checkpoints.push((last, at + (last - before)));
                }
                at += plain.len();
            }
            Piece::Escape(c) => {
                text.push(c);
                at += escape_at(raw.as_bytes(), at).map_or(0, |(_, length)| length);
                if text.len() - last >= STRIDE {
                    last = text.len();
                    checkpoints.push((last, at));
                }
            }
        });
        Self { text: Cow::Owned(text), raw, start, checkpoints }
    }

    /// The bytes of the document that hold `range` of the text: whole escapes, so that what replaces them
    /// leaves a valid string. An end inside a character takes the whole character.
    pub fn raw_range(&self, range: Range<usize>) -> Range<usize> {
        let (from, _) = self.locate(range.start);
        let (end, inside) = self.locate(range.end.max(range.start));
        let end = end + inside;
        self.start + from..self.start + end.max(from)
    }

    /// The document's bytes of the whole body, between the quotes.
    pub fn body_range(&self) -> Range<usize> {
        self.start..self.start + self.raw.len()
    }

    /// Offset in `raw` of the character at or around `at` of the text; the second number is how long its
    /// raw form is when `at` is inside it, else 0.
    fn locate(&self, at: usize) -> (usize, usize) {
        let bytes = self.raw.as_bytes();
        let before = self.checkpoints.partition_point(|(text, _)| *text <= at);
        let (mut text, mut raw) =
            before.checked_sub(1).and_then(|index| self.checkpoints.get(index)).copied().unwrap_or((0, 0));
        let mut plain_end = raw;
        loop {
            if plain_end <= raw && matches!(self.text, Cow::Owned(_)) {
                let rest = bytes.get(raw..).unwrap_or_default();
                // No farther than `at` needs: a long plain run is not searched to its end.
                let rest = rest.get(..(at - text) + 1).unwrap_or(rest);
                plain_end = memchr::memchr(b'\\', rest).map_or(raw + rest.len(), |found| raw + found);
            } else if plain_end <= raw {
                plain_end = bytes.len();
            }
            if at - text <= plain_end - raw || plain_end >= bytes.len() {
                let mut found = (raw + (at - text)).min(bytes.len());
                let mut end = found;
                while !self.raw.is_char_boundary(found) {
                    found -= 1;
                }
                while !self.raw.is_char_boundary(end) {
                    end += 1;
                }
                return (found, end - found);
            }
            text += plain_end - raw;
            raw = plain_end;
            let Ok((c, length)) = escape_at(bytes, raw) else { return (raw, 0) };
            if at - text < c.len_utf8() {
                return (raw, if at == text { 0 } else { length });
            }
            text += c.len_utf8();
            raw += length;
        }
    }
}
