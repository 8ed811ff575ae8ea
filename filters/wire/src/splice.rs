//! Edits of a document by byte range: everything outside the listed ranges stays byte-identical.

use std::fmt;
use std::ops::Range;

use weir_sorted::sort_by;

/// Two edits that touch the same bytes, or one outside the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// Where the offending edit starts.
    pub at: usize,
}

impl fmt::Display for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "splices overlap or leave the document at byte {}", self.at)
    }
}

impl std::error::Error for Overlap {}

/// Edits in any order.
#[derive(Clone, Debug, Default)]
pub struct Splices {
    edits: Vec<Edit>,
    /// What is put in, of all edits: a request may have thousands, and a buffer for each would cost more than they do.
    with: Vec<u8>,
}

#[derive(Clone, Debug)]
struct Edit {
    range: Range<usize>,
    /// Where in [`Splices::with`] its text begins, and how long it is.
    with: usize,
    length: usize,
}

impl Splices {
    /// No edits.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts `with` in the place of `range`; an empty range inserts. Insertions at one place keep the order
    /// in which they were asked for.
    pub fn replace(&mut self, range: Range<usize>, with: &[u8]) {
        self.edits.push(Edit { range, with: self.with.len(), length: with.len() });
        self.with.extend_from_slice(with);
    }

    /// Whether the document stays as it is.
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// The number of edits.
    pub fn len(&self) -> usize {
        self.edits.len()
    }

    /// The edited document.
    pub fn apply(&self, text: &[u8]) -> Result<Vec<u8>, Overlap> {
        let mut edits: Vec<&Edit> = self.edits.iter().collect();
        sort_by(&mut edits, |a, b| a.range.start.cmp(&b.range.start).then(a.range.end.cmp(&b.range.end)));
        let mut out = Vec::with_capacity(text.len() + self.with.len());
        let mut done = 0;
        for Edit { range, with, length } in edits {
            let overlap = Overlap { at: range.start };
            if range.end < range.start || range.end > text.len() {
                return Err(overlap);
            }
            // `get` fails where this edit starts before the last one ended.
            out.extend_from_slice(text.get(done..range.start).ok_or(overlap)?);
            out.extend_from_slice(self.with.get(*with..with + length).unwrap_or_default());
            done = range.end;
        }
        out.extend_from_slice(text.get(done..).unwrap_or_default());
        Ok(out)
    }

    /// Where the bytes of `range` are in the edited document. What is inserted right before or behind them does not belong to
    /// them; of what is replaced in part, all of the replacement does.
    pub fn moved(&self, range: Range<usize>) -> Range<usize> {
        let (mut start, mut end) = (range.start, range.end);
        for Edit { range: edited, length, .. } in &self.edits {
            if edited.end <= range.start {
                start = (start + length).saturating_sub(edited.len());
            } else {
                start = start.saturating_sub(range.start.saturating_sub(edited.start));
            }
            if edited.end <= range.start || edited.start < range.end {
                let whole = edited.end.saturating_sub(range.end);
                end = (end + whole + length).saturating_sub(edited.len());
            }
        }
        start..end
    }

    /// These edits of a document that others have been made in, whose places were those of the document before.
    pub fn behind(&self, others: &Self) -> Self {
        let mut all = self.clone();
        for edit in &mut all.edits {
            edit.range = others.moved(edit.range.clone());
        }
        all
    }
}
