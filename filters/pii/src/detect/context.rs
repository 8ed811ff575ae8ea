//! Words that say what a number is: `routing`, `passport`, `date of birth`. The pass over a text
//! notes them as it goes, so that candidates only have to look them up.

use std::cell::Cell;

use weir_sorted::sort_by;

use super::DETECTORS;
use super::check::same;
use super::openers::Openers;
use super::warm::warm;
use crate::view::View;

/// Bytes after a value that are searched.
const AFTER: usize = 40;
/// Bytes before a value that are searched at most; see [`super::CONTEXT`].
pub(crate) const BEFORE: usize = 96;

/// Characters that one look around covers before the next, and how far it reaches behind the last of them: over the
/// longest value and what is searched after it.
const STEP: usize = 16;
const REACH: usize = 192;

/// Where the words of a candidate have to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Near {
    /// None are needed.
    Free,
    /// At most so many bytes before.
    Before(u8),
    /// Some before, or a few bytes after.
    Around,
}

/// What the words say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    No,
    Yes,
    /// The text ended too early.
    Cut,
}

/// The words of the detectors that are looked for: (word, detector).
#[derive(Clone, Debug, Default)]
pub(crate) struct Vocabulary {
    words: Vec<Heard>,
    /// First two letters, by their last five bits each, with where their words begin, counted from 1.
    starts: Vec<u16>,
}

/// A word, its first four letters as a number, 0 for one that it does not have, and whose it is.
type Heard = (&'static [u8], u32, u8);

/// A word that was seen: where it begins and ends, and whose it is.
pub(super) type Seen = (u32, u32, u8);

impl Vocabulary {
    pub(crate) fn add(&mut self, detector: u8, openers: &mut Openers) {
        let Some(found) = DETECTORS.get(usize::from(detector)) else { return };
        for word in found.context {
            let word = word.as_bytes();
            self.words.push((word, head(word), detector));
            openers.word(word);
        }
        sort_by(&mut self.words, Ord::cmp);
        self.starts = vec![0; 1024];
        for (index, (word, _, _)) in self.words.iter().enumerate().rev() {
            if let Some(start) = pair(word).and_then(|pair| self.starts.get_mut(pair)) {
                *start = index as u16 + 1;
            }
        }
    }

    /// Reads each part of it; see [`warm`](super::warm).
    pub(super) fn warm(&self) -> u32 {
        warm(&self.words, |(_, head, _)| *head) ^ warm(&self.starts, |start| u32::from(*start))
    }

    /// Notes the words that begin with the letter at `at`.
    #[inline(never)]
    pub(super) fn see(&self, bytes: &[u8], at: usize, seen: &mut Vec<Seen>) {
        let rest = bytes.get(at..).unwrap_or_default();
        let Some(two) = pair(rest) else { return };
        let from = self.starts.get(two).copied().unwrap_or(0);
        let Some(from) = from.checked_sub(1) else { return };
        let start = head(rest);
        for (word, first, detector) in self.words.get(usize::from(from)..).unwrap_or_default() {
            if first >> 8 > start >> 8 {
                break;
            }
            let differs = first ^ start;
            let differs = if first & 0xff == 0 { differs >> 8 } else { differs };
            if differs == 0 && rest.get(..word.len()).is_some_and(|here| same(here, word)) {
                seen.push((at as u32, (at + word.len()) as u32, *detector));
            }
        }
    }
}

/// The first two letters as a number.
fn pair(text: &[u8]) -> Option<usize> {
    let [first, second, ..] = text else { return None };
    Some(usize::from(first & 31) << 5 | usize::from(second & 31))
}

/// The first four letters as a number, without regard to case, in the words' own order; no word is shorter than three.
fn head(text: &[u8]) -> u32 {
    match *text {
        [first, second, third, fourth, ..] => {
            u32::from_be_bytes([first, second, third, fourth]) | 0x2020_2020
        }
        [first, second, third] => u32::from_be_bytes([first, second, third, 0]) | 0x2020_2000,
        _ => 0,
    }
}

/// A view, with the words that were seen in it.
pub(crate) struct Context<'v> {
    pub(crate) view: &'v View<'v>,
    /// Whether the text does not go on.
    pub(crate) last: bool,
    /// By start.
    seen: Vec<Seen>,
    /// What stands around the place that was asked about last. Places are asked about in order, nearly, so that each
    /// word comes in and goes out about once.
    around: Around,
}

/// Words around a place: which of them, and of each detector how many.
struct Around {
    /// Between which places, both included, no word stands around, nor can come.
    quiet: Cell<(usize, usize)>,
    place: Cell<usize>,
    first: Cell<usize>,
    after: Cell<usize>,
    whose: Cell<u64>,
    counts: [Cell<u16>; 64],
}

impl Around {
    fn count(&self, detector: u8, by: u16) {
        // A 64th detector and those behind it would share a bit.
        let detector = detector.min(63);
        let Some(cell) = self.counts.get(usize::from(detector)) else { return };
        let (count, bit) = (cell.get().wrapping_add(by), 1 << detector);
        cell.set(count);
        self.whose.set(if count == 0 { self.whose.get() & !bit } else { self.whose.get() | bit });
    }
}

impl<'v> Context<'v> {
    pub(super) fn new(view: &'v View<'v>, last: bool, seen: Vec<Seen>) -> Self {
        let around = Around {
            quiet: Cell::new((1, 0)),
            place: Cell::new(usize::MAX),
            first: Cell::new(0),
            after: Cell::new(0),
            whose: Cell::new(0),
            counts: [const { Cell::new(0) }; 64],
        };
        Self { view, last, seen, around }
    }

    /// Whether no word of `detector` stands anywhere near a value that begins at `start`, and none can come.
    pub(crate) fn lacks(&self, detector: u8, start: usize) -> bool {
        self.whose(start) & 1 << detector.min(63) == 0
    }

    /// Whether words may stand near values that begin in the 64 characters from `base` on, or can come; `next` is the first
    /// word that still matters.
    pub(super) fn noisy(&self, next: &mut usize, base: usize) -> bool {
        let word = |at: usize| self.seen.get(at).map(|(word, _, _)| *word as usize);
        while word(*next).is_some_and(|at| at + BEFORE < base) {
            *next += 1;
        }
        let reach = base + 64 + REACH;
        word(*next).is_some_and(|at| at < reach) || !self.last && reach >= self.view.bytes().len()
    }

    /// Whether no words at all stand anywhere near a value that begins at `start`, and none can come.
    pub(super) fn quiet(&self, start: usize) -> bool {
        self.whose(start) == 0
    }

    /// The detectors whose words stand near a value that begins at `start`, a bit for each; all where more can come.
    fn whose(&self, start: usize) -> u64 {
        let place = start & !(STEP - 1);
        let (from, to) = self.around.quiet.get();
        if place >= from && place <= to { 0 } else { self.look(place) }
    }

    /// The same, where something may be there.
    #[inline(never)]
    fn look(&self, place: usize) -> u64 {
        if place + STEP + REACH >= self.view.bytes().len() && !self.last {
            return u64::MAX;
        }
        let around = &self.around;
        if around.place.replace(place) == place {
            return around.whose.get();
        }
        let word = |at: usize| self.seen.get(at).map(|(word, _, of)| (*word as usize, *of));
        let (mut first, mut after) = (around.first.get(), around.after.get());
        while let Some((_, of)) = word(after).filter(|(at, _)| *at < place + STEP + REACH) {
            around.count(of, 1);
            after += 1;
        }
        while let Some((_, of)) =
            after.checked_sub(1).and_then(word).filter(|(at, _)| *at >= place + STEP + REACH)
        {
            around.count(of, u16::MAX);
            after -= 1;
        }
        while let Some((_, of)) = first.checked_sub(1).and_then(word).filter(|(at, _)| at + BEFORE >= place) {
            around.count(of, 1);
            first -= 1;
        }
        while let Some((_, of)) = word(first).filter(|(at, _)| at + BEFORE < place) {
            around.count(of, u16::MAX);
            first += 1;
        }
        around.first.set(first);
        around.after.set(after);
        let whose = around.whose.get();
        if whose == 0 {
            // Neither the one before this place is around, nor the one behind it.
            let from = first.checked_sub(1).and_then(word).map_or(0, |(at, _)| at + BEFORE + 1);
            let end = if self.last { usize::MAX } else { self.view.bytes().len() };
            let to = word(after).map_or(end, |(at, _)| end.min(at + 1));
            around.quiet.set((from, to.saturating_sub(STEP + REACH + 1)));
        }
        whose
    }

    /// Whether words of `detector` stand near the value in `start..end`.
    pub(crate) fn said(&self, detector: u8, near: Near, start: usize, end: usize) -> Said {
        let (before, after) = match near {
            Near::Free => return Said::Yes,
            Near::Before(bytes) => (usize::from(bytes).min(BEFORE), false),
            Near::Around => (BEFORE, true),
        };
        if end + AFTER <= start + REACH && self.lacks(detector, start) {
            return Said::No;
        }
        let (first, last) = (self.view.start(start), self.view.end(end));
        let from = self.seen.partition_point(|(word, _, _)| (*word as usize) + BEFORE < start);
        for (word, word_end, of) in self.seen.get(from..).unwrap_or_default() {
            let (word, word_end) = (*word as usize, *word_end as usize);
            if word >= end + AFTER {
                break;
            }
            if *of != detector {
                continue;
            }
            let fits = if word_end <= start {
                self.view.start(word) + before >= first
            } else {
                after && word >= end && self.view.end(word_end) <= last + AFTER
            };
            if fits {
                return Said::Yes;
            }
        }
        if after && !self.last && self.view.left(end) + (self.view.start(end) - last) < AFTER {
            return Said::Cut;
        }
        Said::No
    }

    /// Whether no words at all stand near a value that begins at `start` and ends before `end`, and none can
    /// come.
    pub(crate) fn silent(&self, start: usize, end: usize) -> bool {
        if end + AFTER <= start + REACH && self.whose(start) == 0 {
            return true;
        }
        let from = self.seen.partition_point(|(word, _, _)| (*word as usize) + BEFORE < start);
        let none = self.seen.get(from).is_none_or(|(word, _, _)| *word as usize >= end + AFTER);
        none && (self.last || end + AFTER + 1 < self.view.bytes().len())
    }
}
