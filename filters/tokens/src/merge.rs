//! Byte-pair encoding of one piece: merge the two neighbours of the lowest rank, the leftmost first,
//! until none merge. The candidates stand in a tournament tree, so a step costs the logarithm of the
//! piece's length whatever the text, without the stale entries of a heap.

use crate::hash;
use crate::tables::{NONE, Pair, Tables};

/// A token of the piece, at the place where it begins. Places within a token are stale.
#[derive(Clone, Copy, Default)]
struct Part {
    token: u32,
    /// Where the next token begins; the piece's length for the last one.
    next: u32,
    /// Where the token before begins.
    previous: u32,
}

const STALE: Part = Part { token: NONE, next: NONE, previous: NONE };
/// No candidate: loses to every rank.
const NO_MERGE: u64 = u64::MAX;

/// Room for the encoding of one piece after another, kept so that a piece needs no allocation.
#[derive(Clone, Default)]
pub struct Merger {
    parts: Vec<Part>,
    /// `tree[1]` is the winner; the children of `i` are `2i` and `2i + 1`; leaf `i` is the merge of the token that
    /// begins at `i` with the next one, as rank above place, so that equal ranks go from left to right.
    tree: Vec<u64>,
    leaves: usize,
}

/// Longest piece that is remembered, and merged in place.
pub const SHORT: usize = 15;
/// Slots of what is remembered, 24 bytes each.
const SLOTS: usize = 4096;

/// Counts of short pieces of more than one token: names, rare words and endings come again within a text and in the next.
/// A slot holds the whole piece, so none passes for another; a piece takes the place of one that hashes to the same slot,
/// so no text makes a look-up longer or the table larger.
#[derive(Default)]
pub struct Memory {
    slots: Vec<(u64, u64, u64)>,
}

impl Memory {
    #[inline]
    fn at(number: u64, (first, second): (u64, u64)) -> usize {
        (hash::two(first, second) ^ number) as usize & (SLOTS - 1)
    }

    /// The count of the piece with this key under the vocabulary of this number; 0 where it is not known.
    #[inline]
    pub fn known(&self, number: u64, key: (u64, u64)) -> u64 {
        let Some(slot) = self.slots.get(Self::at(number, key)) else { return 0 };
        let differs = (slot.0 ^ key.0) | (slot.1 ^ key.1) | (slot.2 >> 8 ^ number);
        if differs == 0 { slot.2 & 0xFF } else { 0 }
    }

    /// Remembers a count, which must not be 0.
    pub fn keep(&mut self, number: u64, key: (u64, u64), tokens: u64) {
        if self.slots.is_empty() {
            self.slots.resize(SLOTS, (0, 0, 0));
        }
        if let Some(slot) = self.slots.get_mut(Self::at(number, key)) {
            *slot = (key.0, key.1, number << 8 | tokens & 0xFF);
        }
    }
}

/// Room for the tokens of one piece, or for what each merges into with the next.
type Row = [u32; SHORT + 1];

/// Pieces merged side by side.
pub struct Lanes<const MOST: usize> {
    tokens: [Row; MOST],
    merges: [Row; MOST],
    /// How many tokens each piece has.
    left: [u8; MOST],
    length: usize,
}

impl<const MOST: usize> Lanes<MOST> {
    pub fn new() -> Self {
        Self { tokens: [[NONE; 16]; MOST], merges: [[NONE; 16]; MOST], left: [0; MOST], length: 0 }
    }

    /// Takes a piece, if there is room.
    pub fn add(&mut self, tables: &Tables, piece: &[u8]) {
        let at = self.length;
        let (Some(tokens), Some(merges)) = (self.tokens.get_mut(at), self.merges.get_mut(at)) else { return };
        let Some(left) = self.left.get_mut(at) else { return };
        self.length += 1;
        *left = piece.len().min(SHORT) as u8;
        for (token, byte) in tokens.iter_mut().zip(piece) {
            *token = tables.single(*byte);
        }
        for (merge, pair) in merges.iter_mut().zip(piece.windows(2)) {
            if let [first, second] = pair {
                *merge = tables.couple(*first, *second);
            }
        }
    }

    /// Merges until none merge.
    pub fn run(&mut self, tables: &Tables) {
        let mut pairs = [[Pair::default(); 2]; MOST];
        let mut live: [u8; MOST] = std::array::from_fn(|at| at as u8);
        let mut number = self.length;
        while number > 0 {
            let (mut still, mut wanted) = (0, 0);
            for at in 0..number {
                let Some(&lane) = live.get(at) else { break };
                let Some(found) = self.step(lane.into()) else { continue };
                for pair in found.into_iter().flatten() {
                    if let Some(place) = pairs.as_flattened_mut().get_mut(wanted) {
                        *place = pair;
                        wanted += 1;
                    }
                }
                if let Some(place) = live.get_mut(still) {
                    *place = lane;
                    still += 1;
                }
            }
            number = still;
            let pairs = pairs.as_flattened_mut().get_mut(..wanted).unwrap_or_default();
            tables.merge_all(pairs);
            for pair in pairs {
                if let Some(merge) = self.merges.as_flattened_mut().get_mut(pair.at as usize) {
                    *merge = pair.token;
                }
            }
        }
    }

    /// The number of tokens of each piece.
    pub fn counts(&self) -> impl Iterator<Item = u64> {
        self.left.iter().take(self.length).map(|left| (*left).into())
    }

    /// Does the first merge of a piece; returns the pairs that are new by it, or `None` where nothing merges.
    #[inline]
    fn step(&mut self, lane: usize) -> Option<[Option<Pair>; 2]> {
        let (tokens, merges) = (self.tokens.get_mut(lane)?, self.merges.get_mut(lane)?);
        let number = self.left.get_mut(lane)?;
        let (mut best, mut at) = (NONE, 0);
        for (place, merge) in merges.iter().enumerate() {
            if *merge < best {
                (best, at) = (*merge, place);
            }
        }
        if best == NONE {
            return None;
        }
        // Behind the last token stands none, which merges with none.
        for row in [&mut *tokens, &mut *merges] {
            row.copy_within(at + 1.., at);
        }
        *number -= 1;
        *tokens.get_mut(at)? = best;
        let row = lane * (SHORT + 1);
        let pair = |at: usize| {
            let (left, right) = (*tokens.get(at)?, *tokens.get(at + 1)?);
            (right != NONE).then(|| Pair::new(left, right, row + at))
        };
        Some([at.checked_sub(1).and_then(pair), pair(at)])
    }
}

/// The number of tokens of a piece of at most [`SHORT`] bytes, merged in an array: for so few the least of all candidates
/// is found faster by looking at each than by a tree.
pub fn count_short(tables: &Tables, piece: &[u8]) -> u64 {
    let mut tokens = [NONE; SHORT + 1];
    // The merge of each token with the next.
    let mut ranks = [NONE; SHORT + 1];
    let mut left = piece.len().min(SHORT);
    for (token, byte) in tokens.iter_mut().zip(piece) {
        *token = tables.single(*byte);
    }
    for (rank, pair) in ranks.iter_mut().zip(piece.windows(2)) {
        if let [first, second] = pair {
            *rank = tables.couple(*first, *second);
        }
    }
    while left > 1 {
        let (mut best, mut at) = (NONE, 0);
        for (place, rank) in ranks.iter().take(left - 1).enumerate() {
            if *rank < best {
                (best, at) = (*rank, place);
            }
        }
        if best == NONE {
            break;
        }
        tokens.copy_within(at + 1..left, at);
        ranks.copy_within(at + 1..left, at);
        left -= 1;
        if let Some(token) = tokens.get_mut(at) {
            *token = best;
        }
        let renewed = |at: usize| match (tokens.get(at), tokens.get(at + 1)) {
            (Some(first), Some(second)) if at + 1 < left => tables.merged(*first, *second),
            _ => NONE,
        };
        if let Some(rank) = ranks.get_mut(at) {
            *rank = renewed(at);
        }
        if let Some(before) = at.checked_sub(1)
            && let Some(rank) = ranks.get_mut(before)
        {
            *rank = renewed(before);
        }
    }
    left as u64
}

impl Merger {
    /// Encodes `piece` and returns its number of tokens. O(n log n) time, 28 to 44 bytes of memory per byte.
    pub fn merge(&mut self, tables: &Tables, piece: &[u8]) -> usize {
        self.fill(tables, piece);
        let mut count = piece.len();
        while let Some(&winner) = self.tree.get(1)
            && winner != NO_MERGE
            && count > 1
        {
            self.step(tables, winner);
            count -= 1;
        }
        count
    }

    /// The tokens of the last piece with the place where each ends.
    pub fn tokens(&self) -> impl Iterator<Item = (u32, usize)> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let part = self.parts.get(at)?;
            // Forward only, whatever the table held, so that the walk ends.
            at = (part.next as usize).max(at + 1);
            Some((part.token, at))
        })
    }

    /// Every byte a token of its own.
    fn fill(&mut self, tables: &Tables, piece: &[u8]) {
        let leaves = piece.len().next_power_of_two();
        self.leaves = leaves;
        self.parts.clear();
        self.parts.extend(piece.iter().zip(0u32..).map(|(&byte, at)| Part {
            token: tables.single(byte),
            next: at + 1,
            previous: at.wrapping_sub(1),
        }));
        self.tree.clear();
        self.tree.resize(leaves, NO_MERGE);
        let pairs = piece.iter().zip(piece.iter().skip(1)).zip(0u32..);
        self.tree.extend(pairs.map(|((&left, &right), at)| candidate(tables.couple(left, right), at)));
        self.tree.resize(2 * leaves, NO_MERGE);
        let mut level = leaves;
        while level > 1 {
            let (above, below) = self.tree.split_at_mut(level);
            let parents = above.iter_mut().skip(level / 2);
            for (parent, [left, right]) in parents.zip(below.as_chunks::<2>().0) {
                *parent = *left.min(right);
            }
            level /= 2;
        }
    }

    /// Merges the winner with its right neighbour and renews the three candidates concerned.
    #[inline]
    fn step(&mut self, tables: &Tables, winner: u64) {
        let (token, at) = ((winner >> 32) as u32, winner as u32);
        let here = self.part(at);
        let right = self.part(here.next);
        let after = self.part(right.next);
        if let Some(part) = self.parts.get_mut(at as usize) {
            (part.token, part.next) = (token, right.next);
        }
        if let Some(part) = self.parts.get_mut(right.next as usize) {
            part.previous = at;
        }
        self.renew(here.next, NO_MERGE);
        let rank = if after.token == NONE { NONE } else { tables.merged(token, after.token) };
        self.renew(at, candidate(rank, at));
        let before = self.part(here.previous);
        if before.token != NONE {
            let rank = tables.merged(before.token, token);
            self.renew(here.previous, candidate(rank, here.previous));
        }
    }

    #[inline]
    fn part(&self, at: u32) -> Part {
        self.parts.get(at as usize).copied().unwrap_or(STALE)
    }

    /// Sets a leaf and the winners above it, as far up as they change.
    #[inline]
    fn renew(&mut self, leaf: u32, mut value: u64) {
        let mut node = self.leaves + leaf as usize;
        if let Some(place) = self.tree.get_mut(node) {
            *place = value;
        }
        while node > 1 {
            value = value.min(self.tree.get(node ^ 1).copied().unwrap_or(NO_MERGE));
            node /= 2;
            match self.tree.get_mut(node) {
                Some(place) if *place != value => *place = value,
                _ => return,
            }
        }
    }
}

#[inline]
fn candidate(rank: u32, at: u32) -> u64 {
    if rank == NONE { NO_MERGE } else { u64::from(rank) << 32 | u64::from(at) }
}
