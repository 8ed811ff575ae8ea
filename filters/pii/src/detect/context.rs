//! Words that say what a number is: `routing`, `passport`, `date of birth`. The pass over a text
//! notes them as it goes, so that candidates only have to look them up.

use std::cell::Cell;

use weir_sorted::{Gather, sort_by};

use super::DETECTORS;
use super::check::same;
use super::marks::Marks;
use super::openers::Openers;
use super::series::{NINE, Numbers, Series};
use super::warm::warm;
use crate::class::{BETWEEN_DIGITS, is};
use crate::view::View;

/// Bytes after a value that are searched.
const AFTER: usize = 40;
/// Bytes before a value that are searched at most; see [`super::CONTEXT`].
pub(crate) const BEFORE: usize = 96;

/// Words that room is made for, once there is one.
const SEEN: usize = 32;

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

/// The words of the detectors that are looked for, by their bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Vocabulary {
    words: Vec<(&'static [u8], u8)>,
    /// The first eight letters of each, as a number; 0 for those that a word does not have.
    heads: Vec<u64>,
}

/// A word that was seen: where it begins and ends, and whose it is.
pub(super) type Seen = (u32, u32, u8);

impl Vocabulary {
    pub(crate) fn add(&mut self, detector: u8, openers: &mut Openers) {
        let Some(found) = DETECTORS.get(usize::from(detector)) else { return };
        for word in found.context {
            self.words.push((word.as_bytes(), detector));
            openers.word(word.as_bytes());
        }
        sort_by(&mut self.words, Ord::cmp);
        self.heads = self.words.iter().map(|(word, _)| head(word)).gather();
    }

    /// Reads each part of it; see [`warm`](super::warm).
    pub(super) fn warm(&self) -> u64 {
        warm(&self.heads)
    }

    /// Notes the words that begin with the letter at `at`.
    #[inline(never)]
    pub(super) fn see(&self, bytes: &[u8], at: usize, seen: &mut Vec<Seen>) {
        let rest = bytes.get(at..).unwrap_or_default();
        // No word is shorter than three letters.
        let (here, three) = (head(rest), |head: u64| head >> 40);
        let from = self.heads.partition_point(|head| three(*head) < three(here));
        let like = self.heads.get(from..).unwrap_or_default().iter();
        for (index, head) in like.take_while(|head| three(**head) == three(here)).enumerate() {
            // Of one that is shorter than eight, only its own count.
            if (here ^ head) & u64::MAX << (head.trailing_zeros() & !7) != 0 {
                continue;
            }
            let Some((word, detector)) = self.words.get(from + index) else { return };
            if word.len() <= 8 || rest.get(..word.len()).is_some_and(|here| same(here, word)) {
                if seen.is_empty() {
                    // Few texts need more room.
                    seen.reserve(SEEN);
                }
                seen.push((at as u32, (at + word.len()) as u32, *detector));
            }
        }
    }
}

/// The first eight letters as a number, the first one highest, capitals as small ones; 0 for those behind the end.
fn head(text: &[u8]) -> u64 {
    let eight = text.first_chunk().map_or_else(
        || text.iter().enumerate().fold(0, |all, (at, byte)| all | u64::from(*byte) << (56 - 8 * at)),
        |eight| u64::from_be_bytes(*eight),
    );
    // Adding what is missing to 0x80 sets the high bit of what is at least that. No sum carries over.
    let (plain, ones) = (eight & (ONES * 0x7f), |of: u64| ONES * (0x80 - of));
    let capitals = (plain + ones(0x41)) & !(plain + ones(0x5b)) & !eight & (ONES << 7);
    eight | capitals >> 2
}

/// A byte of 1 in each place.
const ONES: u64 = 0x0101_0101_0101_0101;

/// A view, with the words that were seen in it.
pub(crate) struct Context<'v> {
    pub(crate) view: &'v View<'v>,
    /// Whether the text does not go on.
    pub(crate) last: bool,
    /// By start.
    seen: Vec<Seen>,
    /// Where numbers are.
    pub(super) marks: Marks,
    /// The series of numbers that was asked about last.
    series: Cell<Series>,
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
    #[inline(always)]
    pub(super) fn new(view: &'v View<'v>, last: bool, seen: Vec<Seen>, marks: Marks) -> Self {
        let around = Around {
            quiet: Cell::new((1, 0)),
            place: Cell::new(usize::MAX),
            first: Cell::new(0),
            after: Cell::new(0),
            whose: Cell::new(0),
            counts: [const { Cell::new(0) }; 64],
        };
        Self { view, last, seen, marks, series: Cell::default(), around }
    }

    /// Whether a series of nine digits and more that was asked about goes on at `start`, with as many.
    pub(super) fn in_series(&self, start: usize) -> bool {
        self.series.get().from(start).is_some_and(|numbers| numbers.digits() >= NINE)
    }

    /// The series of numbers that begins with the one in `start..end`, as far as it matters; none where the text goes on and
    /// nobody knows.
    pub(super) fn series(&self, start: usize, end: usize) -> Option<Numbers> {
        // Most stand beside nothing that could be between two.
        if self.view.bytes().get(end).is_some_and(|next| !is(*next, BETWEEN_DIGITS)) {
            return Some(Numbers::lone(end - start));
        }
        self.series.get().from(start).or_else(|| {
            let series = Series::new(&self.marks, start, self.view.bytes().len(), self.last)?;
            self.series.set(series);
            series.from(start)
        })
    }

    /// Whether no word of `detector` stands anywhere near a value that begins at `start`, and none can come.
    pub(crate) fn lacks(&self, detector: u8, start: usize) -> bool {
        self.whose(start) & 1 << detector.min(63) == 0
    }

    /// Whether words of any of those detectors stand near a value that begins at `start`, or can come.
    pub(super) fn near(&self, detectors: u64, start: usize) -> bool {
        self.whose(start) & detectors != 0
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

    /// Whether no words at all stand before `start`.
    pub(super) fn unannounced(&self, start: usize) -> bool {
        self.seen.first().is_none_or(|(word, _, _)| *word as usize >= start)
    }

    /// Whether no words at all stand anywhere near a value that begins at `start`, and none can come.
    pub(super) fn quiet(&self, start: usize) -> bool {
        self.whose(start) == 0
    }

    /// The detectors whose words stand near a value that begins at `start`, a bit for each; all where more can come.
    fn whose(&self, start: usize) -> u64 {
        let place = start & !(STEP - 1);
        let (from, to) = self.around.quiet.get();
        match self.around.place.get() {
            _ if place >= from && place <= to => 0,
            last if last == place => self.around.whose.get(),
            _ => self.look(place),
        }
    }

    /// The same, where something may be there.
    #[inline(never)]
    fn look(&self, place: usize) -> u64 {
        if place + STEP + REACH >= self.view.bytes().len() && !self.last {
            return u64::MAX;
        }
        let around = &self.around;
        around.place.set(place);
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

    /// The first word that may stand near a value that begins at `start`, or one before: that of the last look around, if it
    /// was here.
    fn first(&self, start: usize) -> usize {
        if self.around.place.get() == start & !(STEP - 1) {
            self.around.first.get()
        } else {
            self.seen.partition_point(|(word, _, _)| (*word as usize) + BEFORE < start)
        }
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
        for (word, word_end, of) in self.seen.get(self.first(start)..).unwrap_or_default() {
            let (word, word_end) = (*word as usize, *word_end as usize);
            if word >= end + AFTER {
                break;
            }
            // No character is less than a byte: one so far away is too many bytes away.
            if *of != detector || word + before < start {
                continue;
            }
            let fits = if word_end <= start {
                self.view.start(word) + before >= self.view.start(start)
            } else {
                after && word >= end && self.view.end(word_end) <= self.view.end(end) + AFTER
            };
            if fits {
                return Said::Yes;
            }
        }
        if after && !self.last && self.view.left(end) + (self.view.start(end) - self.view.end(end)) < AFTER {
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
        let mut words = self.seen.iter().skip(self.first(start)).map(|(word, _, _)| *word as usize);
        let next = words.find(|word| word + BEFORE >= start);
        let none = next.is_none_or(|word| word >= end + AFTER);
        none && (self.last || end + AFTER + 1 < self.view.bytes().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_seen_in_either_case() {
        let (mut vocabulary, mut openers) = (Vocabulary::default(), Openers::default());
        let all = || (0u8..).zip(DETECTORS);
        all().for_each(|(detector, _)| vocabulary.add(detector, &mut openers));
        for (detector, word) in
            all().flat_map(|(number, found)| found.context.iter().map(move |word| (number, word)))
        {
            for text in [format!("a {word}"), format!("a {} b", word.to_uppercase())] {
                let mut seen = Vec::new();
                vocabulary.see(text.as_bytes(), 2, &mut seen);
                assert!(seen.contains(&(2, 2 + word.len() as u32, detector)), "{text}");
                let (_, looked_up) = openers.has(text.as_bytes(), 2);
                assert!(looked_up && openers.among(text.as_bytes(), 0, 0b100) == 0b100, "{text}");
            }
            let mut seen = Vec::new();
            vocabulary.see(word.get(..word.len() - 1).unwrap_or_default().as_bytes(), 0, &mut seen);
            assert!(!seen.iter().any(|(_, end, _)| *end as usize >= word.len()), "{word}");
        }
    }
}
