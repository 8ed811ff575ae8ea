//! The one pass over a view that finds where values may begin: at words, by their length and characters, and
//! by the letters that tokens begin with. Detectors are asked only there.

use super::context::{Context, Vocabulary};
use super::prefix::Prefixes;
use super::row::Rows;
use super::{DETECTORS, Match, Scan, Verdict};
use crate::view::View;

/// What words consist of, as a sum.
pub(super) const DIGIT: u8 = 1;
pub(super) const SMALL: u8 = 2;
pub(super) const CAPITAL: u8 = 4;

/// A word: a run of ASCII letters and digits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Word {
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// What it consists of.
    pub(crate) kind: u8,
}

/// A detector that is asked at words, and at which: nearly all words of a prose are told apart here, without a
/// call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    /// Bits of the sums that a word may have, one for each.
    pub(super) kinds: u8,
    /// Characters of the longest word.
    pub(super) longest: usize,
    /// First letters of words without a digit, by their last five bits.
    pub(super) initials: u32,
    /// What has to stand before a space that stands before the word; empty where anything may.
    pub(super) spaced: &'static [u8],
    /// The question; told the detector's own number, for the words around.
    pub(super) at: fn(&mut Context<'_>, Word, u8) -> Verdict,
}

/// Words of any kind.
pub(super) const ANY: u8 = 0xfe;
/// Words with a digit in them.
pub(super) const WITH_DIGIT: u8 = 0b1010_1010;

/// First letters as bits.
pub(super) const fn initials(letters: &[u8]) -> u32 {
    let mut bits = 0;
    let mut rest = letters;
    while let [letter, after @ ..] = rest {
        bits |= 1 << (*letter & 31);
        rest = after;
    }
    bits
}

/// What is looked for at words.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pass {
    rows: Rows,
    prefixes: Prefixes,
    asked: Vec<(Ask, u8)>,
    vocabulary: Vocabulary,
    any: bool,
}

impl Pass {
    /// Adds a detector, once.
    pub(crate) fn add(&mut self, detector: u8) {
        match DETECTORS.get(usize::from(detector)).map(|found| &found.scan) {
            Some(Scan::Rows(rows)) => self.rows.add(detector, rows),
            Some(Scan::Prefixes(prefixes)) => self.prefixes.add(detector, prefixes),
            Some(Scan::Word(ask)) => self.asked.push((*ask, detector)),
            Some(Scan::Whole(_)) | None => return,
        }
        self.vocabulary.add(detector);
        self.any = true;
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.any
    }

    /// Reports all matches with their detectors; returns from which character on a text that goes on may have
    /// others.
    pub(crate) fn scan(&self, view: &View<'_>, last: bool, found: &mut dyn FnMut(u8, Match)) -> usize {
        let bytes = view.bytes();
        let mut context = Context::new(view, last, &self.vocabulary);
        let mut hold = bytes.len();
        let mut rest = bytes.iter();
        while rest.any(|byte| class(*byte) != 0) {
            let start = bytes.len() - rest.as_slice().len() - 1;
            let mut kind = class(view.at(start));
            for byte in rest.as_slice() {
                match class(*byte) {
                    0 => break,
                    class => kind |= class,
                }
                rest.next();
            }
            let word = Word { start, end: bytes.len() - rest.as_slice().len(), kind };
            let (length, before) = (word.end - start, view.before(start));
            let (first, far) = (view.at(start), start.checked_sub(2).map_or(0, |at| view.at(at)));
            let open = word.end == bytes.len() && !last;
            if (open || self.rows.may_start(length, kind, view.at(word.end)))
                && !self.rows.at(&mut context, start, word.end, found)
            {
                hold = hold.min(start);
            }
            for (ask, detector) in &self.asked {
                let ends = word.end == bytes.len() && !last;
                if !ends
                    && (ask.kinds & 1 << kind == 0
                        || length > ask.longest
                        || kind & DIGIT == 0 && ask.initials & 1 << (first & 31) == 0)
                    || before == b' ' && !ask.spaced.is_empty() && !ask.spaced.contains(&far)
                {
                    continue;
                }
                match (ask.at)(&mut context, word, *detector) {
                    Verdict::No => {}
                    Verdict::Yes(value) => found(*detector, value),
                    Verdict::Cut(from) => hold = hold.min(from),
                }
            }
            if self.prefixes.may_start(view, start) {
                match self.prefixes.at(view, word, last, found) {
                    Verdict::Cut(from) => hold = hold.min(from),
                    Verdict::Yes(_) | Verdict::No => {}
                }
            }
        }
        if last {
            return bytes.len();
        }
        // A sign before a number may be a part of it: `+`, `(`, `::`.
        let signs =
            bytes.iter().rev().take(2).take_while(|byte| matches!(**byte, b'+' | b'(' | b':')).count();
        hold.min(bytes.len() - signs)
    }
}

/// What a character is: a bit, so that a word's characters are the sum of them.
fn class(byte: u8) -> u8 {
    CLASSES.get(usize::from(byte)).copied().unwrap_or(0)
}

static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::indexing_slicing, reason = "computed by the compiler")]
        {
            classes[byte] = match byte as u8 {
                b'0'..=b'9' => DIGIT,
                b'a'..=b'z' => SMALL,
                b'A'..=b'Z' => CAPITAL,
                _ => 0,
            };
        }
        byte += 1;
    }
    classes
};
