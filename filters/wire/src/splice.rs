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
    /// Some edit came behind one that stands behind it.
    disorder: bool,
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
        self.disorder |= self.edits.last().is_some_and(|last| last.range.end > range.start);
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

    /// The edited document. Puts the edits in order, if they are not.
    pub fn apply(&mut self, text: &[u8]) -> Result<Vec<u8>, Overlap> {
        if self.disorder {
            sort_by(&mut self.edits, |a, b| {
                a.range.start.cmp(&b.range.start).then(a.range.end.cmp(&b.range.end))
            });
            self.disorder = false;
        }
        let mut out = Vec::with_capacity(text.len() + self.with.len() + 16);
        let mut done = 0;
        for Edit { range, with, length } in &self.edits {
            let overlap = Overlap { at: range.start };
            if range.end < range.start || range.end > text.len() {
                return Err(overlap);
            }
            if range.start < done {
                return Err(overlap);
            }
            put(&mut out, text, done..range.start);
            put(&mut out, &self.with, *with..with + length);
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
    #[must_use]
    pub fn behind(mut self, others: &Self) -> Self {
        for edit in &mut self.edits {
            edit.range = others.moved(edit.range.clone());
        }
        self
    }
}

/// Appends a part of a text. Many are short: what is copied at once needs no call, and what is too much of it is cut off.
fn put(out: &mut Vec<u8>, text: &[u8], part: Range<usize>) {
    match text.get(part.start..).and_then(<[u8]>::first_chunk::<16>) {
        Some(sixteen) if part.len() <= sixteen.len() => {
            let end = out.len() + part.len();
            out.extend_from_slice(sixteen);
            out.truncate(end);
        }
        _ => out.extend_from_slice(text.get(part).unwrap_or_default()),
    }
}
