//! Long pieces in windows, exactly, so that time stays near linear and memory bounded on hostile text.
//!
//! What makes it exact: an encoding of two texts joined is the two encodings joined if and only if the
//! tokens on both sides of the seam, encoded together, stay those two. So a window begins at a token
//! that the window before ended with; if its encoding begins with the same token, the seam holds. If
//! not, the text behind reached further back than the overlap, and a wider window is encoded from the
//! seam before that.

use crate::merge::Merger;
use crate::tables::Tables;

/// Bytes encoded at once.
pub const WINDOW: usize = 1024;
/// Bytes at a window's end that are encoded again, since what follows may change their tokens.
const OVERLAP: usize = 128;

/// A place in the piece where a token begins.
#[derive(Clone, Copy, Debug, Default)]
struct Seam {
    /// Bytes before it.
    at: usize,
    /// Tokens before it.
    count: u64,
    /// Bytes of the token that begins here; 0 at the piece's start, where any may.
    token: usize,
}

/// The encoding of a piece that is seen window by window.
#[derive(Clone, Debug, Default)]
pub struct Long {
    seam: Seam,
    /// Earlier seams, to fall back to.
    before: Vec<Seam>,
}

impl Long {
    /// Takes as many windows as `piece`, which is the same text as at the last call and more, has now. With `last`
    /// takes all of it and returns the number of its tokens; `ids` gets them.
    pub fn advance(
        &mut self,
        tables: &Tables,
        merger: &mut Merger,
        piece: &[u8],
        last: bool,
        ids: Option<&mut Vec<u32>>,
    ) -> Option<u64> {
        self.advance_by((WINDOW, OVERLAP), tables, merger, piece, last, ids)
    }

    /// The same with other sizes than usual, so that tests meet seams that do not hold.
    fn advance_by(
        &mut self,
        (usual, overlap): (usize, usize),
        tables: &Tables,
        merger: &mut Merger,
        piece: &[u8],
        last: bool,
        mut ids: Option<&mut Vec<u32>>,
    ) -> Option<u64> {
        let mut window = usual;
        // The furthest seam that did not hold: only a later one is progress.
        let mut failed = 0;
        loop {
            let start = self.seam.at;
            let rest = piece.get(start..).unwrap_or_default();
            if !last && rest.len() < window {
                return None;
            }
            let text = rest.get(..window).unwrap_or(rest);
            let tokens = merger.merge(tables, text);
            let first = merger.tokens().next().map_or(0, |(_, end)| end);
            if self.seam.token != 0 && self.seam.token != first {
                let end = start + text.len();
                failed = failed.max(start);
                self.seam = self.before.pop().unwrap_or_default();
                window = end - self.seam.at;
                continue;
            }
            if let Some(ids) = ids.as_deref_mut() {
                ids.truncate(self.seam.count as usize);
            }
            if text.len() == rest.len() && last {
                if let Some(ids) = ids {
                    ids.extend(merger.tokens().map(|(token, _)| token));
                }
                return Some(self.seam.count + tokens as u64);
            }
            let limit = text.len().saturating_sub(overlap);
            let mut next = self.seam;
            let mut from = 0;
            for (token, end) in merger.tokens() {
                if from > limit {
                    break;
                }
                if from != 0 {
                    next = Seam { at: start + from, count: next.count + 1, token: end - from };
                }
                if let Some(ids) = ids.as_deref_mut() {
                    ids.push(token);
                }
                from = end;
            }
            if next.at == start || next.at <= failed {
                // One token reaches over nearly all of the window, or the same seam again: look at more.
                window *= 2;
                continue;
            }
            self.before.push(std::mem::replace(&mut self.seam, next));
            window = usual;
        }
    }

    /// The length of piece from which on there is another window to take.
    pub fn reach(&self) -> usize {
        self.seam.at + WINDOW
    }

    /// Forgets how to fall back to seams more than `kept` bytes before the current one; returns how many bytes of
    /// the piece's start are no longer needed. Places are counted from there afterwards.
    pub fn forget(&mut self, kept: usize) -> usize {
        let oldest = self.seam.at.saturating_sub(kept);
        let first = self.before.partition_point(|seam| seam.at < oldest);
        self.before.drain(..first);
        let base = match self.before.first_mut() {
            Some(seam) => seam,
            None => &mut self.seam,
        };
        // Nothing stands before it to fall back to, so it holds whatever follows.
        base.token = 0;
        let forgotten = base.at;
        for seam in self.before.iter_mut().chain([&mut self.seam]) {
            seam.at -= forgotten;
        }
        forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_of_any_size_give_the_encoding_of_the_whole() {
        let mut merger = Merger::default();
        let mut fallbacks = 0;
        let mut state = 1u32;
        for vocabulary in crate::Vocabulary::ALL {
            let tables = vocabulary.tables();
            for turn in 0..3000u32 {
                let letters = 2 + turn % 25;
                let piece: Vec<u8> = (0..20 + turn % 200)
                    .map(|_| {
                        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        b"etaoinshrdlucmfwypvbgkjqxz"[(state >> 16) as usize % letters as usize]
                    })
                    .collect();
                merger.merge(tables, &piece);
                let wanted: Vec<u32> = merger.tokens().map(|(token, _)| token).collect();
                for sizes in [(4, 0), (8, 0), (9, 3), (16, 1), (32, 8)] {
                    let (mut long, mut ids) = (Long::default(), Vec::new());
                    let count = long.advance_by(sizes, tables, &mut merger, &piece, true, Some(&mut ids));
                    assert_eq!(count, Some(wanted.len() as u64), "{sizes:?} {piece:?}");
                    assert_eq!(ids, wanted, "{sizes:?} {piece:?}");
                    // The same in growing pieces.
                    let mut long = Long::default();
                    for end in (0..piece.len()).step_by(3) {
                        long.advance_by(sizes, tables, &mut merger, &piece[..end], false, None);
                        fallbacks += usize::from(long.before.is_empty() && end > 2 * sizes.0);
                    }
                    let count = long.advance_by(sizes, tables, &mut merger, &piece, true, None);
                    assert_eq!(count, Some(wanted.len() as u64), "{sizes:?} {piece:?} growing");
                }
            }
        }
        assert!(fallbacks > 100, "only {fallbacks} seams did not hold: this shows nothing");
    }
}
