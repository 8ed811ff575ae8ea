//! The one pass over a view that finds where values may begin: at words, by their length and characters, and
//! by the letters that tokens begin with. Detectors are asked only there.

use super::context::{Context, Vocabulary};
use super::prefix::Prefixes;
use super::row::Rows;
use super::{DETECTORS, Match, Scan, Verdict};
use crate::view::View;

/// A word: a run of ASCII letters and digits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Word {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// A detector that is asked at words.
type Ask = fn(&mut Context<'_>, Word, u8) -> Verdict;

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
            let word = Word { start, end: bytes.len() - rest.as_slice().len() };
            if self.rows.may_start(word.end - start, kind) || (word.end == bytes.len() && !last) {
                if !self.rows.at(&mut context, start, word.end, found) {
                    hold = hold.min(start);
                }
            }
            for (ask, detector) in &self.asked {
                match ask(&mut context, word, *detector) {
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

fn class(byte: u8) -> u8 {
    u8::from(byte.is_ascii_digit()) | u8::from(byte.is_ascii_alphabetic()) << 1
}
