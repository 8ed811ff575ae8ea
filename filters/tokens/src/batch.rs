//! The count of a whole text, piece by piece but not one after the other: a text touches a thousand lines of tables that
//! the caches have lost since the last request, and a core waits for a dozen of them at a time if nothing between depends
//! on one. So pieces are gathered first, then looked up in loops without a branch on what is found; the few that are no
//! token wait for others of their kind and are merged side by side.

use crate::count_piece;
use crate::merge::{Lanes, Memory, Merger, SHORT};
use crate::tables::{Perfect, Tables};

/// Pieces looked up at once.
const EACH: usize = 64;
/// Pieces merged side by side.
const LANES: usize = 16;

/// A piece of 2 to [`SHORT`] bytes.
#[derive(Clone, Copy, Default)]
struct Piece {
    /// [`Tables::key`] of it.
    key: (u64, u64),
    /// Where the table would have it.
    place: u32,
    /// Where it begins.
    at: u32,
}

/// Pieces in no order.
struct List<const MOST: usize> {
    pieces: [Piece; MOST],
    length: usize,
}

impl<const MOST: usize> List<MOST> {
    fn new() -> Self {
        Self { pieces: [Piece::default(); MOST], length: 0 }
    }

    /// Writes the piece behind the others; it is one of them only if `kept`. Room must be left.
    #[inline]
    fn push(&mut self, piece: Piece, kept: bool) {
        if let Some(place) = self.pieces.get_mut(self.length) {
            *place = piece;
            self.length += usize::from(kept);
        }
    }

    /// Gives those that the table has not to `others`, which must have room for all, and forgets all; returns how many
    /// it has.
    #[inline]
    fn sift<const ROOM: usize>(&mut self, words: &Perfect<16>, others: &mut List<ROOM>) -> u64 {
        let pieces = self.pieces.get_mut(..self.length).unwrap_or_default();
        for piece in pieces.iter_mut() {
            piece.place = words.at(piece.key);
        }
        // Nothing but loads, so that as many as the core can await are on their way.
        let touched = pieces.iter().fold(0, |sum, piece| sum ^ words.touch(piece.place));
        std::hint::black_box(touched);
        let mut found = 0;
        for piece in pieces.iter() {
            let has = words.has(piece.key, piece.place);
            found += u64::from(has);
            others.push(*piece, !has);
        }
        self.length = 0;
        found
    }
}

/// A count under way.
pub struct Batch<'t> {
    tables: &'static Tables,
    number: u64,
    memory: &'t mut Memory,
    text: &'t [u8],
    merger: Merger,
    fresh: List<{ EACH + 1 }>,
    /// Not among the frequent words.
    rare: List<{ 2 * EACH + 1 }>,
    /// No token, and not remembered.
    unknown: List<{ LANES + 1 }>,
    /// Tokens so far.
    count: u64,
}

impl<'t> Batch<'t> {
    pub fn new(tables: &'static Tables, number: u64, memory: &'t mut Memory, text: &'t [u8]) -> Self {
        let (fresh, rare, unknown) = (List::new(), List::new(), List::new());
        let merger = Merger::default();
        Self { tables, number, memory, text, merger, fresh, rare, unknown, count: 0 }
    }

    /// Takes the piece `at..end`.
    #[inline]
    pub fn push(&mut self, at: usize, end: usize) {
        let length = end.wrapping_sub(at);
        if length > SHORT {
            self.count += count_piece(self.tables, &mut self.merger, self.text, at, end);
            return;
        }
        let piece = Piece { key: Tables::key(self.text, at, length), place: 0, at: at as u32 };
        self.count += u64::from(length == 1);
        self.fresh.push(piece, length > 1);
        if self.fresh.length >= EACH {
            self.look_up(EACH);
        }
    }

    /// Counts all that were taken.
    pub fn finish(mut self) -> u64 {
        self.look_up(1);
        self.merge();
        self.count
    }

    /// Looks the fresh pieces up; the rare ones once they are `many`.
    #[inline(never)]
    fn look_up(&mut self, many: usize) {
        let [frequent, words] = self.tables.words();
        self.count += self.fresh.sift(frequent, &mut self.rare);
        if self.rare.length < many {
            return;
        }
        let mut others = List::<{ 2 * EACH + 1 }>::new();
        self.count += self.rare.sift(words, &mut others);
        let mut counts = [0; 2];
        for piece in others.pieces.iter().take(others.length) {
            let known = self.memory.known(self.number, piece.key);
            let [unknown, sum] = &mut counts;
            *if known == 0 { unknown } else { sum } += known;
            self.unknown.push(*piece, known == 0);
            if self.unknown.length >= LANES {
                self.merge();
            }
        }
        self.count += counts[1];
    }

    #[inline(never)]
    fn merge(&mut self) {
        let unknown = std::mem::replace(&mut self.unknown.length, 0);
        if unknown == 0 {
            return;
        }
        let pieces = self.unknown.pieces.get(..unknown).unwrap_or_default();
        let mut lanes = Lanes::<LANES>::new();
        for piece in pieces {
            let (at, length) = (piece.at as usize, (piece.key.1 >> 56) as usize);
            lanes.add(self.tables, self.text.get(at..at + length).unwrap_or_default());
        }
        lanes.run(self.tables);
        for (piece, tokens) in pieces.iter().zip(lanes.counts()) {
            self.count += tokens;
            self.memory.keep(self.number, piece.key, tokens);
        }
    }
}
