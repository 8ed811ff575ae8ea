//! A piece too long to be held, in a text that arrives in chunks: its encoding in bounded memory while
//! it is not yet known where it ends. Two cuts may be open at once. `[upper]*[lower]+` ends at the last
//! caseless letter unless a lower-case letter follows the capitals after it, and white space ends at its
//! last line end; so a run keeps the encoding of the whole, of the part up to the last such *mark*, and
//! of what came after.

use crate::classes::{LETTER, LOWER, NEWLINE, NUMBER, SPACE, SYMBOL, Scan, UPPER};
use crate::long::{Long, WINDOW};
use crate::merge::Merger;
use crate::split::Rules;
use crate::tables::Tables;

/// Bytes of a run that are kept to look back at. A seam between windows would have to depend on text this far
/// to its right to be lost; no text is known that reaches back a tenth of it.
const KEPT: usize = 8192;

/// The encoding of a text that only grows.
#[derive(Clone, Debug, Default)]
struct Grow {
    bytes: Vec<u8>,
    long: Long,
}

impl Grow {
    fn push(&mut self, tables: &Tables, merger: &mut Merger, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        if self.bytes.len() >= self.long.reach() {
            self.long.advance(tables, merger, &self.bytes, false, None);
        }
        if self.bytes.len() > KEPT {
            let forgotten = self.long.forget(KEPT / 2);
            self.bytes.drain(..forgotten.min(self.bytes.len()));
        }
    }

    /// The tokens of the text so far without its last `less` bytes, but with `more` behind it.
    fn total(&self, tables: &Tables, merger: &mut Merger, less: usize, more: &[u8]) -> u64 {
        let mut bytes = self.bytes.clone();
        bytes.truncate(bytes.len().saturating_sub(less));
        bytes.extend_from_slice(more);
        if bytes.is_empty() {
            return 0;
        }
        self.long.clone().advance(tables, merger, &bytes, true, None).unwrap_or(bytes.len() as u64)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Characters of one class, then line ends (and slashes).
    Same { class: u8, newlines: bool, slash: bool },
    /// The words of `o200k_base`.
    Cased,
    /// White space.
    Blank,
}

/// An open piece.
#[derive(Clone, Debug)]
pub struct Run {
    rules: Rules,
    kind: Kind,
    /// Bytes at the start that are taken whatever they are.
    prefix: usize,
    /// In `Same` among the line ends, in `Cased` in the lower-case part.
    second_part: bool,
    joined: Grow,
    /// What `joined` was at the last mark, where something has come since.
    marked: Option<Grow>,
    /// The last character was a mark.
    at_mark: bool,
    /// What came after the last mark.
    rest: Grow,
    /// The last character.
    last: ([u8; 4], usize),
}

impl Run {
    /// The run that begins `text`, which must be longer than any piece with an end in sight.
    pub fn start(rules: Rules, text: &str) -> Self {
        let scan = &mut Scan::new(text);
        let (first, length) = scan.class(0);
        let (second, _) = scan.class(length);
        let blank = scan.byte(0) == b' ';
        let symbols =
            Kind::Same { class: SYMBOL, newlines: rules != Rules::Gpt2, slash: rules == Rules::O200k };
        let same = |class| Kind::Same { class, newlines: false, slash: false };
        let cased = UPPER | LOWER;
        let prefixes = first & NEWLINE == 0;
        let (kind, prefix) = match rules {
            Rules::O200k if first & cased != 0 => (Kind::Cased, 0),
            Rules::O200k if prefixes && second & cased != 0 => (Kind::Cased, length),
            Rules::Cl100k | Rules::Llama3 | Rules::Qwen2 if first & LETTER != 0 => (same(LETTER), 0),
            Rules::Cl100k | Rules::Llama3 | Rules::Qwen2 if prefixes && second & LETTER != 0 => {
                (same(LETTER), length)
            }
            Rules::Gpt2 if first & LETTER != 0 => (same(LETTER), 0),
            Rules::Gpt2 if first & NUMBER != 0 => (same(NUMBER), 0),
            Rules::Gpt2 if blank && second & LETTER != 0 => (same(LETTER), length),
            Rules::Gpt2 if blank && second & NUMBER != 0 => (same(NUMBER), length),
            _ if first & SYMBOL != 0 => (symbols, 0),
            _ if blank && second & SYMBOL != 0 => (symbols, length),
            _ => (Kind::Blank, 0),
        };
        Self {
            rules,
            kind,
            prefix,
            second_part: false,
            joined: Grow::default(),
            marked: None,
            at_mark: false,
            rest: Grow::default(),
            last: ([0; 4], 0),
        }
    }

    /// Takes what belongs to the run and returns its length; less than all of `text` ends the run.
    pub fn take(&mut self, tables: &Tables, merger: &mut Merger, text: &str) -> usize {
        let scan = &mut Scan::new(text);
        let mut at = 0;
        while at < text.len() {
            let (class, length) = scan.class(at);
            let byte = scan.byte(at);
            let mark = match self.kind {
                _ if at < self.prefix => false,
                Kind::Same { class: wanted, .. } if !self.second_part && class & wanted != 0 => false,
                Kind::Same { newlines: true, slash, .. }
                    if matches!(byte, b'\r' | b'\n') || slash && byte == b'/' =>
                {
                    self.second_part = true;
                    false
                }
                Kind::Cased if !self.second_part && class & UPPER != 0 => class & LOWER != 0,
                Kind::Cased if class & LOWER != 0 => {
                    self.second_part = true;
                    false
                }
                Kind::Blank if class & SPACE != 0 => class & NEWLINE != 0 && self.rules != Rules::Gpt2,
                _ => break,
            };
            let character = text.as_bytes().get(at..at + length).unwrap_or_default();
            self.push(tables, merger, character, mark);
            at += length;
        }
        self.prefix = self.prefix.saturating_sub(at);
        at
    }

    fn push(&mut self, tables: &Tables, merger: &mut Merger, character: &[u8], mark: bool) {
        if mark {
            (self.marked, self.rest) = (None, Grow::default());
        } else if self.kind != (Kind::Cased) || !self.second_part {
            if self.at_mark {
                self.marked = Some(self.joined.clone());
            }
            if !matches!(self.kind, Kind::Same { .. }) {
                self.rest.push(tables, merger, character);
            }
        }
        self.at_mark = mark;
        self.joined.push(tables, merger, character);
        let mut last = [0; 4];
        for (to, from) in last.iter_mut().zip(character) {
            *to = *from;
        }
        self.last = (last, character.len());
    }

    /// Bytes of text that the run holds.
    pub fn held(&self) -> usize {
        let parts = [Some(&self.joined), Some(&self.rest), self.marked.as_ref()];
        parts.into_iter().flatten().map(|part| part.bytes.len()).sum()
    }

    /// Whether a contraction may still belong to the run.
    pub fn may_contract(&self) -> bool {
        self.kind == Kind::Cased
    }

    /// The tokens of the run where the text ends with it (`contraction` included).
    pub fn total(&self, tables: &Tables, merger: &mut Merger, contraction: &[u8]) -> u64 {
        match (&self.marked, self.kind) {
            (Some(marked), Kind::Cased) if !self.second_part => {
                marked.total(tables, merger, 0, &[]) + self.rest.total(tables, merger, 0, contraction)
            }
            (Some(marked), Kind::Blank) if self.rules.cuts_last_blank() => {
                marked.total(tables, merger, 0, &[]) + self.rest.total(tables, merger, 0, &[])
            }
            _ => self.joined.total(tables, merger, 0, contraction),
        }
    }

    /// The tokens of the run where other text follows, and its last character where that begins the next piece.
    pub fn close(&self, tables: &Tables, merger: &mut Merger, contraction: &[u8]) -> (u64, &[u8]) {
        if self.kind != Kind::Blank || self.at_mark {
            return (self.total(tables, merger, contraction), &[]);
        }
        let (last, length) = &self.last;
        let before = self.marked.as_ref().map_or(0, |marked| marked.total(tables, merger, 0, &[]));
        let rest = self.rest.total(tables, merger, *length, &[]);
        (before + rest, last.get(..*length).unwrap_or_default())
    }
}

/// Where an undecided text is long enough that only a run can be so long.
pub const LONGEST: usize = 2 * WINDOW;
