//! A text that is JSON itself, as it streams by: read without the escapes of its strings, told with them.

use std::ops::Range;

use crate::Escapes;
use crate::text::{part, put};

/// Bytes of a number, or of white space before the text, that is waited for; a longer number is no value of anything.
const NUMBER: usize = 64;
/// Bytes of the longest escape: two halves of a character.
const LONGEST: usize = 12;

/// How a text is written of which `held` is in memory. One that is no JSON is a text like any other, and so is what follows it.
#[derive(Clone, Debug)]
pub(crate) struct Json {
    escapes: &'static Escapes,
    /// Whether it surely is JSON.
    sure: bool,
    /// Whether what is read next is JSON, where that is known.
    json: Option<bool>,
    /// Objects and arrays that are not closed yet.
    depth: u32,
    /// As it is written; at its end maybe a part of an escape, which is not in `held` yet.
    raw: String,
    read: usize,
    /// Quotes at the ends of strings, and characters that are written with an escape, in their order. The first one only
    /// tells how `held` begins.
    marks: Vec<Mark>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    at: usize,
    /// Where it ends, and where in `raw` that is.
    end: usize,
    raw: usize,
    /// It is a quote, or ends the document.
    quote: bool,
    /// What follows is in a string, or in a text that is no JSON.
    inside: bool,
}

/// Whether a text may be JSON, by its first signs: objects, and arrays of strings or objects.
#[inline(never)]
pub(crate) fn begins(first: u8, second: u8) -> bool {
    matches!((first, second), (b'{', b'"') | (b'[', b'"' | b'{'))
}

impl Json {
    pub(crate) fn new(escapes: &'static Escapes, sure: bool) -> Self {
        let begins = Mark { inside: true, ..Mark::default() };
        Self { escapes, sure, json: None, depth: 0, raw: String::new(), read: 0, marks: vec![begins] }
    }

    /// Another text begins.
    pub(crate) fn reset(&mut self) {
        *self = Self::new(self.escapes, self.sure);
    }

    /// Bytes that were not read yet.
    pub(crate) fn unread(&self) -> usize {
        self.raw.len() - self.read
    }

    /// Reads the next piece, or the last.
    pub(crate) fn read(&mut self, text: &str, last: bool, held: &mut String) {
        put(&mut self.raw, text);
        loop {
            let rest = part(&self.raw, self.read..self.raw.len());
            let Some(first) = rest.bytes().next() else { return };
            if self.json.is_none() {
                let mut signs = [0; 2];
                for byte in
                    rest.as_bytes().iter().take(NUMBER).rev().filter(|byte| !byte.is_ascii_whitespace())
                {
                    signs = [*byte, signs[0]];
                }
                let json = match signs {
                    [first, second] if begins(first, second) => true,
                    [b'{' | b'[', _] if self.sure => true,
                    [0 | b'{' | b'[', 0] if !last && rest.len() < NUMBER => return,
                    _ => false,
                };
                self.json = Some(json);
                self.marks.iter_mut().for_each(|begins| begins.inside = !json);
            }
            let json = self.json == Some(true);
            let at = held.len();
            let mut quote = json && first == b'"';
            let mut inside = self.marks.last().is_some_and(|mark| mark.inside) ^ quote;
            // As it is written, up to what may be something else.
            let plain = |byte: &u8| match byte {
                b'"' => !json,
                b'\\' => !json || !inside,
                b'{' | b'[' | b'}' | b']' => inside,
                _ => true,
            };
            let mut length = 1;
            while rest.as_bytes().get(length).is_some_and(plain) {
                length += 1;
            }
            let mut marked = quote;
            match first {
                b'{' | b'[' if !inside => self.depth += 1,
                b'}' | b']' if !inside => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        (quote, marked, inside) = (true, true, true);
                        self.json = Some(false);
                    }
                }
                b'\\' if json && inside => match self.escape(rest) {
                    Some((c, escape)) => {
                        (length, marked) = (escape, true);
                        put(held, c.encode_utf8(&mut [0; 4]));
                    }
                    None if !last
                        && matches!(rest.as_bytes(), [_] | [_, b'u', ..])
                        && rest.len() < LONGEST =>
                    {
                        return;
                    }
                    None => {}
                },
                _ => {}
            }
            if held.len() == at {
                put(held, part(rest, 0..length));
            }
            if marked {
                let (end, raw) =
                    if quote { (at + 1, self.read + 1) } else { (held.len(), self.read + length) };
                self.marks.push(Mark { at, end, raw, quote, inside });
            }
            self.read += length;
        }
    }

    /// What the escape at the beginning stands for, and its length.
    fn escape(&self, rest: &str) -> Option<(char, usize)> {
        let kind = usize::from(*rest.as_bytes().get(1)?);
        match self.escapes.short.get(kind) {
            Some(short @ 1..) => Some((char::from(*short), 2)),
            _ => (self.escapes.long)(rest, 0),
        }
    }

    /// The marks from a place on.
    fn marks(&self, at: usize) -> &[Mark] {
        self.marks.get(self.marks.partition_point(|mark| mark.end <= at)..).unwrap_or_default()
    }

    /// The last one before a place.
    fn before(&self, at: usize) -> Mark {
        let number = self.marks.len() - self.marks(at).len();
        self.marks.get(number.wrapping_sub(1)).copied().unwrap_or_default()
    }

    /// Where in `raw` a place is.
    fn place(&self, at: usize) -> usize {
        let before = self.before(at);
        before.raw + (at - before.end)
    }

    /// Whether the quote at a place begins or ends a string.
    pub(crate) fn ends(&self, at: usize) -> bool {
        matches!(self.marks(at), [mark, ..] if mark.quote && mark.at == at)
    }

    /// The number that a place is in, or at the end of. Where it is none, nothing.
    pub(crate) fn number(&self, held: &str, at: usize) -> Range<usize> {
        let digit = |at| held.as_bytes().get(at).is_some_and(|byte| b"0123456789+-.eE".contains(byte));
        let (mut start, mut end) = (at, at);
        if !self.before(at).inside {
            while start > 0 && digit(start - 1) && end - start < NUMBER {
                start -= 1;
            }
            while digit(end) && end - start < NUMBER {
                end += 1;
            }
        }
        if end - start < NUMBER { start..end } else { at..at }
    }

    /// Appends a part of `held` as it is written, or what stands in its place: in each string, and in the place of what stands
    /// outside of them, which becomes a string. What is around them stays.
    pub(crate) fn tell(&self, held: &str, range: Range<usize>, with: Option<&str>, out: &mut String) {
        let Some(with) = with else {
            return put(out, part(&self.raw, self.place(range.start)..self.place(range.end)));
        };
        let mut inside = self.before(range.start).inside;
        let (mut quotes, mut told) = (self.marks(range.start), false);
        for at in range {
            let byte = held.as_bytes().get(at).copied().unwrap_or_default();
            let mut around = !inside
                && matches!(byte, b'{' | b'}' | b'[' | b']' | b':' | b',' | b' ' | b'\n' | b'\r' | b'\t');
            if let [mark, rest @ ..] = quotes
                && mark.at == at
            {
                (around, inside, quotes) = (mark.quote, mark.inside, rest);
            }
            if around {
                put(out, part(held, at..at + 1));
            } else if !told {
                let quote = if inside { "" } else { "\"" };
                put(out, quote);
                put(out, with);
                put(out, quote);
            }
            told = !around;
        }
    }

    /// The first bytes of `held` are dropped.
    pub(crate) fn drop(&mut self, bytes: usize) {
        let raw = self.place(bytes);
        let behind = self.marks(bytes).len() + 1;
        self.marks.drain(..self.marks.len().saturating_sub(behind));
        for mark in &mut self.marks {
            for (of, less) in [(&mut mark.at, bytes), (&mut mark.end, bytes), (&mut mark.raw, raw)] {
                *of = of.saturating_sub(less);
            }
        }
        self.raw.drain(..raw);
        self.read -= raw;
    }
}
