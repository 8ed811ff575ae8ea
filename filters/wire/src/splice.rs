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
    edits: Vec<(Range<usize>, Vec<u8>)>,
}

impl Splices {
    /// No edits.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts `with` in the place of `range`; an empty range inserts. Insertions at one place keep the order
    /// in which they were asked for.
    pub fn replace(&mut self, range: Range<usize>, with: Vec<u8>) {
        self.edits.push((range, with));
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
        let mut edits: Vec<&(Range<usize>, Vec<u8>)> = self.edits.iter().collect();
        sort_by(&mut edits, |(a, _), (b, _)| a.start.cmp(&b.start).then(a.end.cmp(&b.end)));
        let added: usize = edits.iter().map(|(_, with)| with.len()).sum();
        let mut out = Vec::with_capacity(text.len() + added);
        let mut done = 0;
        for (range, with) in edits {
            let overlap = Overlap { at: range.start };
            if range.end < range.start || range.end > text.len() {
                return Err(overlap);
            }
            // `get` fails where this edit starts before the last one ended.
            out.extend_from_slice(text.get(done..range.start).ok_or(overlap)?);
            out.extend_from_slice(with);
            done = range.end;
        }
        out.extend_from_slice(text.get(done..).unwrap_or_default());
        Ok(out)
    }
}
