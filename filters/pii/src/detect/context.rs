//! Words that say what a number is: `routing`, `passport`, `date of birth`. The pass over a text
//! notes them as it goes, so that candidates only have to look them up.

use weir_sorted::sort_by;

use super::DETECTORS;
use super::pass::Openers;
use crate::view::View;

/// Bytes after a value that are searched.
const AFTER: usize = 40;
/// Bytes before a value that are searched at most; see [`super::CONTEXT`].
pub(crate) const BEFORE: usize = 96;

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
    words: Vec<(&'static [u8], u8)>,
    /// First two letters, by their last five bits each, with where their words begin, counted from 1.
    starts: Vec<u16>,
}

/// A word that was seen: where it begins and ends, and whose it is.
pub(super) type Seen = (u32, u32, u8);

impl Vocabulary {
    pub(crate) fn add(&mut self, detector: u8, openers: &mut Openers) {
        let Some(found) = DETECTORS.get(usize::from(detector)) else { return };
        for word in found.context {
            let word = word.as_bytes();
            self.words.push((word, detector));
            openers.word(word);
        }
        sort_by(&mut self.words, Ord::cmp);
        self.starts = vec![0; 1024];
        for (index, (word, _)) in self.words.iter().enumerate().rev() {
            if let Some(start) = pair(word).and_then(|pair| self.starts.get_mut(pair)) {
                *start = index as u16 + 1;
            }
        }
    }

    /// Notes the words that begin with the letter at `at`.
    pub(super) fn see(&self, bytes: &[u8], at: usize, seen: &mut Vec<Seen>) {
        let rest = bytes.get(at..).unwrap_or_default();
        let Some(two) = pair(rest) else { return };
        let from = self.starts.get(two).copied().unwrap_or(0);
        let Some(from) = from.checked_sub(1) else { return };
        for (word, detector) in self.words.get(usize::from(from)..).unwrap_or_default() {
            if pair(word) != Some(two) {
                break;
            }
            if rest.get(..word.len()).is_some_and(|here| here.eq_ignore_ascii_case(word)) {
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

/// A view, with the words that were seen in it.
pub(crate) struct Context<'v> {
    pub(crate) view: &'v View<'v>,
    /// Whether the text does not go on.
    pub(crate) last: bool,
    /// By start.
    pub(super) seen: Vec<Seen>,
}

impl Context<'_> {
    /// Whether words of `detector` stand near the value in `start..end`.
    pub(crate) fn said(&self, detector: u8, near: Near, start: usize, end: usize) -> Said {
        let (before, after) = match near {
            Near::Free => return Said::Yes,
            Near::Before(bytes) => (usize::from(bytes).min(BEFORE), false),
            Near::Around => (BEFORE, true),
        };
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
        let from = self.seen.partition_point(|(word, _, _)| (*word as usize) + BEFORE < start);
        let none = self.seen.get(from).is_none_or(|(word, _, _)| *word as usize >= end + AFTER);
        none && (self.last || end + AFTER + 1 < self.view.bytes().len())
    }
}
