//! Words that say what a number is: `routing`, `passport`, `date of birth`. They are looked for only around
//! candidates, and every character of a text is searched for them once at most.

use weir_sorted::sort_by;

use super::DETECTORS;
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
    /// First letters, by their last five bits, each with where its words begin.
    starts: [Option<u16>; 32],
}

impl Vocabulary {
    pub(crate) fn add(&mut self, detector: u8) {
        let Some(found) = DETECTORS.get(usize::from(detector)) else { return };
        for word in found.context {
            let word = word.as_bytes();
            self.words.push((word, detector));
        }
        sort_by(&mut self.words, Ord::cmp);
        self.starts = [None; 32];
        for (index, (word, _)) in self.words.iter().enumerate().rev() {
            if let Some(start) = word.first().and_then(|first| self.starts.get_mut(usize::from(first & 31))) {
                *start = Some(index as u16);
            }
        }
    }
}

/// A view, with the words that were seen in it.
pub(crate) struct Context<'v> {
    pub(crate) view: &'v View<'v>,
    /// Whether the text does not go on.
    pub(crate) last: bool,
    vocabulary: &'v Vocabulary,
    /// (start, end, detector), by start.
    seen: Vec<(u32, u32, u8)>,
    searched: usize,
}

impl<'v> Context<'v> {
    pub(crate) fn new(view: &'v View<'v>, last: bool, vocabulary: &'v Vocabulary) -> Self {
        Self { view, last, vocabulary, seen: Vec::new(), searched: 0 }
    }

    /// Whether words of `detector` stand near the value in `start..end`.
    pub(crate) fn said(&mut self, detector: u8, near: Near, start: usize, end: usize) -> Said {
        let (before, after) = match near {
            Near::Free => return Said::Yes,
            Near::Before(bytes) => (usize::from(bytes).min(BEFORE), false),
            Near::Around => (BEFORE, true),
        };
        let (first, last) = (self.view.start(start), self.view.end(end));
        self.search(start.saturating_sub(BEFORE), if after { end + AFTER } else { start });
        let from = self.seen.partition_point(|(word, _, _)| (*word as usize) + BEFORE < start);
        for (word, word_end, of) in self.seen.get(from..).unwrap_or_default() {
            if *of != detector {
                continue;
            }
            let (word, word_end) = (*word as usize, *word_end as usize);
            if word >= end + AFTER {
                break;
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
    pub(crate) fn silent(&mut self, start: usize, end: usize) -> bool {
        self.search(start.saturating_sub(BEFORE), end + AFTER);
        let from = self.seen.partition_point(|(word, _, _)| (*word as usize) + BEFORE < start);
        let none = self.seen.get(from).is_none_or(|(word, _, _)| *word as usize >= end + AFTER);
        none && (self.last || end + AFTER + 1 < self.view.bytes().len())
    }

    /// Searches from where the search ended, or from `from`, to `to`.
    fn search(&mut self, from: usize, to: usize) {
        let bytes = self.view.bytes();
        let to = to.min(bytes.len());
        let at = self.searched.max(from);
        let mut inside = self.view.before(at).is_ascii_alphabetic();
        for (index, byte) in bytes.get(at..to).unwrap_or_default().iter().enumerate() {
            let follows = std::mem::replace(&mut inside, byte.is_ascii_alphabetic());
            if follows || !inside {
                continue;
            }
            let Some(Some(first)) = self.vocabulary.starts.get(usize::from(byte & 31)) else { continue };
            let at = at + index;
            let words = self.vocabulary.words.get(usize::from(*first)..).unwrap_or_default();
            let second = self.view.at(at + 1).to_ascii_lowercase();
            for (word, detector) in words {
                if word.first() != Some(&byte.to_ascii_lowercase()) {
                    break;
                }
                if word.get(1) != Some(&second) {
                    continue;
                }
                let here = bytes.get(at..at + word.len());
                if here.is_some_and(|here| here.eq_ignore_ascii_case(word)) {
                    self.seen.push((at as u32, (at + word.len()) as u32, *detector));
                }
            }
        }
        self.searched = self.searched.max(to);
    }
}
