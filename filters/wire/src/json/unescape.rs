//! String bodies without their escapes, and the way back to the bytes of the document.

use std::borrow::Cow;
use std::cell::Cell;
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

/// Whether a text has escapes, or what would be some in a document.
#[inline(never)]
pub fn has_escapes(raw: &str) -> bool {
    raw.as_bytes().contains(&b'\\')
}

/// A part of a text that was parsed, without the escapes in it.
pub fn without_escapes(raw: &str) -> Cow<'_, str> {
    if has_escapes(raw) { Cow::Owned(unescape(raw)) } else { Cow::Borrowed(raw) }
}

/// A validated string body without its escapes.
pub(super) fn unescape(raw: &str) -> String {
    let all = raw.as_bytes();
    // No character is longer than what it is written with; eight bytes are copied at once, whichever of them count.
    let mut bytes = vec![0; all.len() + 8];
    let (mut at, mut to) = (0, 0);
    loop {
        while let Some(eight) = all.get(at..).and_then(<[u8]>::first_chunk::<8>) {
            bytes.get_mut(to..).and_then(<[u8]>::first_chunk_mut).into_iter().for_each(|room| *room = *eight);
            let plain = plain(*eight);
            at += plain;
            to += plain;
            if plain < 8 {
                break;
            }
        }
        let Some(byte) = all.get(at) else { break };
        let next = if *byte == b'\\' { all.get(at + 1) } else { None };
        let short = next.and_then(|next| SHORT_ESCAPES.get(usize::from(*next))).filter(|meant| **meant != 0);
        let Some(room) = bytes.get_mut(to..).and_then(<[u8]>::first_chunk_mut::<4>) else { break };
        let length = match short {
            Some(meant) => {
                (*room, at) = ([*meant, 0, 0, 0], at + 2);
                1
            }
            None if *byte != b'\\' => {
                (*room, at) = ([*byte, 0, 0, 0], at + 1);
                1
            }
            // `parse` has judged every escape; a bad one could only end the text early here.
            None => {
                let Ok((c, length)) = escape_at(all, at) else { break };
                at += length;
                c.encode_utf8(room).len()
            }
        };
        to += length;
    }
    bytes.truncate(to);
    String::from_utf8(bytes).unwrap_or_default()
}

/// Bytes of a text that was parsed, without the escapes in it.
pub fn unescaped_length(raw: &str) -> usize {
    let bytes = raw.as_bytes();
    let (mut length, mut at) = (bytes.len(), 0);
    while let Some(byte) = bytes.get(at) {
        // Escapes often follow each other.
        if *byte != b'\\' {
            let rest = bytes.get(at..).unwrap_or_default();
            at += memchr::memchr(b'\\', rest).unwrap_or(rest.len());
            continue;
        }
        let (gives, taken) = match bytes.get(at + 1) {
            Some(b'u') => escape_at(bytes, at).map_or((1, 1), |(c, taken)| (c.len_utf8(), taken)),
            _ => (1, 2),
        };
        length -= taken - gives;
        at += taken;
    }
    length
}

/// How many bytes come before the first backslash, or eight.
#[inline(always)]
fn run(rest: &[u8]) -> usize {
    match rest.first_chunk() {
        Some(eight) => plain(*eight),
        None => rest.iter().take_while(|byte| **byte != b'\\').count(),
    }
}

/// How many bytes come before the first backslash, of eight.
#[inline(always)]
fn plain(eight: [u8; 8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let other = u64::from_le_bytes(eight) ^ (ONES * u64::from(b'\\'));
    // Borrows mark bytes above the first one, too: only the lowest mark is read.
    let marks = other.wrapping_sub(ONES) & !other & (ONES << 7);
    (marks.trailing_zeros() / 8) as usize
}

/// The text of a string value, with the way back from a range of it to the bytes of the document.
#[derive(Clone, Debug)]
pub struct Unescaped<'a> {
    /// The text as the client meant it.
    pub text: Cow<'a, str>,
    raw: &'a str,
    /// The text is not `raw` itself.
    escaped: bool,
    /// Where the string's body starts in the document, after the quote.
    start: usize,
    /// What was asked for last: offset in `text`, and in `raw`; in plain text or where an escape begins.
    last: Cell<(usize, usize)>,
}

impl<'a> Unescaped<'a> {
    pub(super) fn new(raw: &'a str, start: usize, escaped: bool) -> Self {
        let text = if escaped { Cow::Owned(unescape(raw)) } else { Cow::Borrowed(raw) };
        Self { text, raw, escaped, start, last: Cell::default() }
    }

    /// A document that was parsed, `as_written` or without the escapes of its strings: nowhere else in it stands a backslash.
    pub fn document(raw: &'a str, as_written: bool) -> Self {
        Self::new(raw, 0, !as_written)
    }

    /// Where in the text the bytes of the document stand, which are whole characters; quickest for ranges in order.
    #[inline(never)]
    pub fn place(&self, range: Range<usize>) -> Range<usize> {
        if !self.escaped {
            return range;
        }
        let (mut text, mut raw) = self.last.get();
        if raw > range.start {
            (text, raw) = (0, 0);
        }
        let length = |range: Range<usize>| self.raw.get(range).map_or(0, unescaped_length);
        text += length(raw..range.start);
        let end = text + length(range.clone());
        self.last.set((end, range.end));
        text..end
    }

    /// The bytes of the document that hold `range` of the text: whole escapes, so that what replaces them
    /// leaves a valid string. An end inside a character takes the whole character.
    ///
    /// The text is walked from where the last range ended: to ask for ranges in their order costs one walk for all of
    /// them, to go back begins anew.
    pub fn raw_range(&self, range: Range<usize>) -> Range<usize> {
        if !self.escaped && self.text.get(range.clone()).is_some() {
            return self.start + range.start..self.start + range.end;
        }
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
        let (mut text, mut raw) = self.last.get();
        if text > at {
            (text, raw) = (0, 0);
        }
        loop {
            let rest = bytes.get(raw..).unwrap_or_default();
            let run = if self.escaped { run(rest) } else { rest.len() };
            let left = at - text;
            if left <= run || run == rest.len() {
                let mut found = (raw + left).min(bytes.len());
                let mut end = found;
                while !self.raw.is_char_boundary(found) {
                    found -= 1;
                }
                while !self.raw.is_char_boundary(end) {
                    end += 1;
                }
                self.last.set((text + (found - raw), found));
                return (found, end - found);
            }
            (text, raw) = (text + run, raw + run);
            if run == 8 {
                continue;
            }
            self.last.set((text, raw));
            let Ok((c, length)) = escape_at(bytes, raw) else { return (raw, 0) };
            if at - text < c.len_utf8() {
                return (raw, if at == text { 0 } else { length });
            }
            text += c.len_utf8();
            raw += length;
        }
    }
}
