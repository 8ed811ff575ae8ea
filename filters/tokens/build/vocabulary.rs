//! One vocabulary as tables: which words are one token, and which two neighbours merge into what. Used by `build.rs` for
//! the vocabularies that are built in, and by `compile` for those that are added.

use std::collections::HashMap;

use crate::{hash, perfect};

/// Token numbers are packed into so many bits.
pub const TOKEN_BITS: u32 = 18;
/// The longest word whose table entry is the word itself.
const SHORT: usize = 15;

/// So many of the words, the first, have a table of their own: nine in ten pieces of a text are among them, and what is
/// looked up most should lie on few pages.
const FREQUENT: usize = 1 << 15;

/// What an encoder does, told apart from how it is written down.
pub struct Vocabulary {
    /// The token of each byte.
    pub singles: [u32; 256],
    /// Left token, right token, and the token that they merge into, whose number is the merge's rank too.
    pub merges: Vec<(u32, u32, u32)>,
    /// The texts that are one token where they are a whole piece.
    pub words: Vec<Vec<u8>>,
}

/// A table's name and its bytes, in the order in which compiled tables hold them.
pub type Table = (&'static str, Vec<u8>);

/// All tables; `None` where two keys have one hash.
pub fn tables(vocabulary: &Vocabulary) -> Option<Vec<Table>> {
    let mut out: Vec<Table> = Vec::new();
    out.push(("singles", vocabulary.singles.iter().flat_map(|token| token.to_le_bytes()).collect()));

    let bytes: HashMap<u32, usize> = vocabulary.singles.iter().copied().zip(0..).collect();
    let mut couples = vec![u32::MAX; 1 << 16];
    for &(left, right, token) in &vocabulary.merges {
        if let (Some(first), Some(second)) = (bytes.get(&left), bytes.get(&right)) {
            couples[first << 8 | second] = token;
        }
    }
    out.push(("couples", couples.iter().flat_map(|token| token.to_le_bytes()).collect()));

    let pair = |&(left, right, _): &(u32, u32, u32)| u64::from(left) << TOKEN_BITS | u64::from(right);
    let keys: Vec<u64> = vocabulary.merges.iter().map(|merge| hash::one(pair(merge))).collect();
    let placed = table(&mut out, ("merges", "merges_at"), &keys, |key| match key {
        Some(key) => {
            let merge = &vocabulary.merges[key];
            (pair(merge) << TOKEN_BITS | u64::from(merge.2)).to_le_bytes().to_vec()
        }
        None => u64::MAX.to_le_bytes().to_vec(),
    })?;
    out.push(("tags", placed.iter().map(|&key| key.map_or(0, |key| hash::tag(keys[key]))).collect()));

    words(&mut out, &vocabulary.words)?;
    Some(out)
}

/// The words that are one token, in tables by length. A token that is no valid text cannot be a
/// word of a text and stays out.
fn words(out: &mut Vec<Table>, words: &[Vec<u8>]) -> Option<()> {
    let texts: Vec<&[u8]> =
        words.iter().map(Vec::as_slice).filter(|bytes| std::str::from_utf8(bytes).is_ok()).collect();

    let word = |text: &&[u8]| {
        let mut bytes = [0; 16];
        bytes[..text.len()].copy_from_slice(text);
        bytes[15] = text.len() as u8;
        u128::from_le_bytes(bytes)
    };
    let short: Vec<u128> = texts.iter().filter(|text| text.len() <= SHORT).map(word).collect();
    let (frequent, others) = short.split_at(short.len().min(FREQUENT));
    for (words, names) in [(frequent, ("first_words", "first_words_at")), (others, ("words", "words_at"))] {
        let keys: Vec<u64> = words.iter().map(|&word| hash::two(word as u64, (word >> 64) as u64)).collect();
        table(out, names, &keys, |key| key.map_or(0, |key| words[key]).to_le_bytes().to_vec())?;
    }

    let long: Vec<&[u8]> = texts.iter().copied().filter(|text| text.len() > SHORT).collect();
    let keys: Vec<u64> = long.iter().map(|text| hash::many(text)).collect();
    let (mut arena, mut offsets) = (Vec::new(), Vec::new());
    for text in &long {
        offsets.push(u32::try_from(arena.len()).ok()?);
        arena.push(u8::try_from(text.len()).ok()?);
        arena.extend_from_slice(text);
    }
    let slot = |key: Option<usize>| key.map_or(u32::MAX, |key| offsets[key]).to_le_bytes().to_vec();
    table(out, ("long", "long_at"), &keys, slot)?;
    out.push(("arena", arena));
    Some(())
}

/// Adds a perfect hash as two tables, the slots and the displacements. Returns which key is in which slot.
fn table(
    out: &mut Vec<Table>,
    (name, at): (&'static str, &'static str),
    keys: &[u64],
    slot: impl Fn(Option<usize>) -> Vec<u8>,
) -> Option<Vec<Option<usize>>> {
    let perfect = perfect::place(keys)?;
    out.push((name, perfect.slots.iter().flat_map(|&key| slot(key)).collect()));
    out.push((at, perfect.displacements.iter().flat_map(|number| number.to_le_bytes()).collect()));
    Some(perfect.slots)
}
