//! Patterns of tenants: regular expressions as tables that the control plane made (its `pattern.rs` says how they
//! are laid out). They see the folded text. At every character the longest match that begins there is a value, so
//! that a stream finds what the whole text has; the time is that of the text times the longest match.

use std::rc::Rc;

use super::{Match, Verdict};
use crate::view::View;

/// Bytes of a match beyond four for each character: some of them may be invisible.
const SLACK: usize = 64;
/// Bytes before the classes.
const HEAD: usize = 8;
const CLASSES: usize = 256;

/// A pattern.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    /// Class of each byte.
    classes: Rc<[u8]>,
    /// Start states, then the states' successors: for each class, and for the end of a text.
    table: Rc<[u16]>,
    /// Successors of a state.
    width: usize,
    /// States up to this one, the dead one excepted, say that a match ended before the last byte.
    matches: u16,
    longest: usize,
    /// Bytes at which some match may begin.
    first: Rc<[bool]>,
}

impl Pattern {
    /// Reads a table; none where it is not one.
    pub(crate) fn new(bytes: &[u8]) -> Option<Self> {
        let (&[version, count, a, b, c, d, e, f], rest) = bytes.split_first_chunk::<HEAD>()?;
        let (classes, rest) = rest.split_at_checked(CLASSES)?;
        let (numbers, []) = rest.as_chunks::<2>() else { return None };
        let number = |low, high| u16::from_le_bytes([low, high]);
        let (longest, states, matches) = (number(a, b), number(c, d), number(e, f));
        let width = usize::from(count) + 1;
        let table: Rc<[u16]> = numbers.iter().map(|[low, high]| number(*low, *high)).collect();
        let whole = version == 1
            && table.len() == width * (usize::from(states) + 1)
            && table.iter().all(|state| *state < states)
            && classes.iter().all(|class| *class < count)
            && matches < states;
        if !whole {
            return None;
        }
        let mut pattern = Self {
            classes: classes.into(),
            table,
            width,
            matches,
            longest: usize::from(longest),
            first: Rc::new([]),
        };
        let begins = |byte: u8| (0..width).any(|behind| pattern.next(pattern.start(behind), byte) != 0);
        pattern.first = (0..=u8::MAX).map(begins).collect();
        Some(pattern)
    }

    /// Bytes of the longest match.
    pub(crate) fn longest(&self) -> usize {
        self.longest * 4 + SLACK
    }

    fn start(&self, behind: usize) -> u16 {
        self.table.get(behind).copied().unwrap_or(0)
    }

    fn class(&self, byte: u8) -> usize {
        self.classes.get(usize::from(byte)).map_or(0, |class| usize::from(*class))
    }

    fn next(&self, state: u16, byte: u8) -> u16 {
        self.step(state, self.class(byte))
    }

    fn step(&self, state: u16, class: usize) -> u16 {
        self.table.get((usize::from(state) + 1) * self.width + class).copied().unwrap_or(0)
    }

    /// Reports all matches; returns from which character on a text that goes on may have others.
    pub(crate) fn scan(&self, view: &View<'_>, last: bool, found: &mut dyn FnMut(Match)) -> usize {
        let bytes = view.bytes();
        let mut hold = bytes.len();
        for (at, byte) in bytes.iter().enumerate() {
            if !self.first.get(usize::from(*byte)).copied().unwrap_or(false) {
                continue;
            }
            match self.at(view, at, last) {
                Verdict::No => {}
                Verdict::Yes(value) => found(value),
                Verdict::Cut(from) => hold = hold.min(from),
            }
        }
        hold
    }

    fn at(&self, view: &View<'_>, start: usize, last: bool) -> Verdict {
        let bytes = view.bytes();
        let behind = start.checked_sub(1).and_then(|at| bytes.get(at));
        let mut state = self.start(behind.map_or(self.width - 1, |byte| self.class(*byte)));
        let fits = |end: usize| view.fits(start, end, self.longest());
        let mut end = None;
        let mut cut = true;
        // A match is told by the byte behind it.
        for (index, byte) in bytes.get(start..).unwrap_or_default().iter().take(self.longest + 1).enumerate()
        {
            state = self.next(state, *byte);
            if state == 0 {
                cut = false;
                break;
            }
            if state <= self.matches && fits(start + index) {
                end = Some(start + index);
            }
        }
        if cut && start + self.longest >= bytes.len() {
            // What comes cannot be a part of a match that has become too long.
            if !last && view.left(start) <= self.longest() {
                return Verdict::Cut(start);
            }
            let state = self.step(state, self.width - 1);
            if last && state > 0 && state <= self.matches && fits(bytes.len()) {
                end = Some(bytes.len());
            }
        }
        end.map_or(Verdict::No, |end| Verdict::Yes(Match::new(start, end)))
    }
}
