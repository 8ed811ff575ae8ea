//! The hash functions of the static tables. `build.rs` includes this same file, so what it places is
//! found again. Collisions cannot be provoked: the tables are perfect hashes over fixed keys, and a
//! probe reads one slot whatever the text is.

const ODD_A: u64 = 0x9E37_79B9_7F4A_7C15;
const ODD_B: u64 = 0xD6E8_FEB8_6659_FD93;
const ODD_C: u32 = 0x85EB_CA6B;
const ODD_D: u32 = 0x9E37_79B1;

const fn mix(word: u64) -> u64 {
    let word = word.wrapping_mul(ODD_A);
    word ^ (word >> 32)
}

/// Hash of one word.
#[inline]
pub const fn one(word: u64) -> u64 {
    mix(word ^ (word >> 29))
}

/// Hash of two words.
#[inline]
pub const fn two(first: u64, second: u64) -> u64 {
    mix(first ^ (first >> 31) ^ second.wrapping_mul(ODD_B).rotate_left(29))
}

/// Hash of a longer byte string, eight bytes at a step.
pub fn many(bytes: &[u8]) -> u64 {
    let mut state = bytes.len() as u64;
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        state = two(u64::from_le_bytes(*word), state);
    }
    let tail = rest.iter().rev().fold(0, |tail, &byte| tail << 8 | u64::from(byte));
    two(tail, state)
}

/// Which displacement a hash uses.
#[inline]
pub const fn bucket(hash: u64, buckets: usize) -> usize {
    (((hash >> 32) * buckets as u64) >> 32) as usize
}

/// The slot of a hash under its bucket's displacement.
#[inline]
pub const fn slot(hash: u64, displacement: u16, slots: usize) -> usize {
    let spread = (hash as u32 ^ (displacement as u32).wrapping_mul(ODD_C)).wrapping_mul(ODD_D);
    ((spread as u64 * slots as u64) >> 32) as usize
}

/// A byte of the hash that tells most strangers apart before the slot itself is read.
#[inline]
pub const fn tag(hash: u64) -> u8 {
    (hash >> 24) as u8
}
