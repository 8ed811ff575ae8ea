//! The way back from what is seen to what is written.

use std::cell::Cell;

/// (index, offset): from here on both count alike, up to the next pair. Where characters that are not seen follow another one
/// there are two of an index, of which the first is where that one ends.
#[derive(Default)]
pub(crate) struct Anchors {
    pairs: Vec<(u32, u32)>,
    /// The pair behind the one that was asked for last: what is asked for next is near.
    last: Cell<usize>,
}

impl Anchors {
    /// Whether both count alike all the way.
    pub(crate) fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    pub(crate) fn new(pairs: Vec<(u32, u32)>) -> Self {
        Self { pairs, last: Cell::new(0) }
    }

    fn anchor(&self, at: usize) -> Option<(usize, usize)> {
        self.pairs.get(at).map(|(folded, offset)| (*folded as usize, *offset as usize))
    }

    /// How many pairs there are up to a character: searched from the last one on in steps that double.
    #[inline(never)]
    fn behind(&self, index: usize) -> usize {
        let at = self.last.get();
        if let Some([(from, _), (to, _), ..]) = self.pairs.get(at.wrapping_sub(1)..)
            && index >= *from as usize
            && index < *to as usize
        {
            return at;
        }
        let is = |at: usize| self.pairs.get(at).is_some_and(|(folded, _)| *folded as usize <= index);
        let (mut from, mut to, mut step) = (self.last.get(), self.last.get(), 1);
        if is(to) {
            while is(to) {
                (from, to, step) = (to + 1, to + step, step * 2);
            }
        } else {
            while from > 0 && !is(from - 1) {
                (from, to, step) = (from.saturating_sub(step), from, step * 2);
            }
        }
        let to = to.min(self.pairs.len());
        let between = self.pairs.get(from..to).unwrap_or_default();
        let after = from + between.partition_point(|(folded, _)| *folded as usize <= index);
        self.last.set(after);
        after
    }

    /// Where a character starts.
    #[inline]
    pub(crate) fn start(&self, index: usize) -> usize {
        if self.pairs.is_empty() { index } else { self.led_back(index) }
    }

    #[inline(never)]
    fn led_back(&self, index: usize) -> usize {
        let (folded, offset) =
            self.behind(index).checked_sub(1).and_then(|at| self.anchor(at)).unwrap_or_default();
        offset + (index - folded)
    }

    /// Where the one before it ends.
    #[inline]
    pub(crate) fn end(&self, index: usize) -> usize {
        if self.pairs.is_empty() { index } else { self.end_led_back(index) }
    }

    #[inline(never)]
    fn end_led_back(&self, index: usize) -> usize {
        let Some(last) = index.checked_sub(1) else { return 0 };
        match self.anchor(self.behind(last)) {
            Some((folded, end)) if folded == index => end,
            // Before nothing else than plain ASCII.
            _ => self.led_back(last) + 1,
        }
    }

    /// A character at or right before the one that starts at `offset`.
    #[inline(never)]
    pub(crate) fn index(&self, offset: usize) -> usize {
        let after = self.pairs.partition_point(|(_, of)| *of as usize <= offset);
        let (folded, of) = after.checked_sub(1).and_then(|at| self.anchor(at)).unwrap_or_default();
        let index = folded + (offset - of);
        // Among characters that are not seen none starts.
        self.anchor(after).map_or(index, |(next, _)| index.min(next.saturating_sub(1)))
    }
}
