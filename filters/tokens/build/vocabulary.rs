//! One vocabulary as tables: which words are one token, and which two neighbours merge into what.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use tiktoken_rs::CoreBPE;

use crate::{hash, perfect};

/// Ranks are packed into so many bits.
const RANK_BITS: u32 = 18;
/// The longest word whose table entry is the word itself.
const SHORT: usize = 15;

pub fn write(out: &Path, name: &str, bpe: &CoreBPE) {
    let tokens = tokens(bpe);
    let ranks: HashMap<&[u8], u32> = tokens.iter().map(|(rank, bytes)| (bytes.as_slice(), *rank)).collect();

    let mut singles = Vec::new();
    for byte in 0..=u8::MAX {
        let rank = ranks.get([byte].as_slice()).expect("every byte is a token");
        singles.extend_from_slice(&rank.to_le_bytes());
    }
    crate::save(out, &format!("{name}_singles.bin"), &singles);

    let mut couples = vec![u32::MAX; 1 << 16];
    let mut merges = Vec::new();
    for (rank, bytes) in &tokens {
        if bytes.len() < 2 {
            continue;
        }
        let (left, right) = last_merge(&ranks, bytes)
            .unwrap_or_else(|| panic!("{name}: token {rank} cannot be reached by merges"));
        merges.push((u64::from(left) << RANK_BITS | u64::from(right), *rank));
        if let [first, second] = bytes[..] {
            couples[usize::from(first) << 8 | usize::from(second)] = *rank;
        }
    }
    let couples: Vec<u8> = couples.iter().flat_map(|rank| rank.to_le_bytes()).collect();
    crate::save(out, &format!("{name}_couples.bin"), &couples);
    let keys: Vec<u64> = merges.iter().map(|&(pair, _)| hash::one(pair)).collect();
    let placed = table(out, &format!("{name}_merges"), &keys, |key| match key {
        Some(key) => (merges[key].0 << RANK_BITS | u64::from(merges[key].1)).to_le_bytes().to_vec(),
        None => u64::MAX.to_le_bytes().to_vec(),
    });

    let tags: Vec<u8> = placed.iter().map(|&key| key.map_or(0, |key| hash::tag(keys[key]))).collect();
    crate::save(out, &format!("{name}_tags.bin"), &tags);

    words(out, name, &tokens);
}

/// The ordinary tokens by rank.
fn tokens(bpe: &CoreBPE) -> Vec<(u32, Vec<u8>)> {
    let special: HashSet<Vec<u8>> =
        bpe.special_tokens().into_iter().map(|token| token.as_bytes().to_vec()).collect();
    (0..1 << RANK_BITS)
        .filter_map(|rank| Some((rank, bpe.decode_bytes(&[rank]).ok()?)))
        .filter(|(_, bytes)| !special.contains(bytes))
        .collect()
}

/// The two tokens whose merge gives `token`: what byte-pair encoding of the token alone has left before
/// its last step. In any text a token comes about by this pair only, because the merges within
/// its span happen in the order in which they would happen alone.
fn last_merge(ranks: &HashMap<&[u8], u32>, token: &[u8]) -> Option<(u32, u32)> {
    let mut cuts: Vec<usize> = (0..=token.len()).collect();
    while cuts.len() > 3 {
        let best = (0..cuts.len() - 2)
            .filter_map(|at| Some((*ranks.get(&token[cuts[at]..cuts[at + 2]])?, at)))
            .min()?;
        cuts.remove(best.1 + 1);
    }
    Some((*ranks.get(&token[..cuts[1]])?, *ranks.get(&token[cuts[1]..])?))
}

/// The words that are one token, in three tables by length. A token that is no valid text cannot be a
/// word of a text and stays out.
fn words(out: &Path, name: &str, tokens: &[(u32, Vec<u8>)]) {
    let texts: Vec<&[u8]> = tokens
        .iter()
        .map(|(_, bytes)| bytes.as_slice())
        .filter(|bytes| std::str::from_utf8(bytes).is_ok())
        .collect();

    let small: Vec<u64> = texts.iter().filter(|text| text.len() < 8).map(|text| padded(text)).collect();
    let keys: Vec<u64> = small.iter().map(|&word| hash::one(word)).collect();
    table(out, &format!("{name}_small"), &keys, |key| key.map_or(0, |key| small[key]).to_le_bytes().to_vec());

    let middle: Vec<(u64, u64)> = texts
        .iter()
        .filter(|text| (8..=SHORT).contains(&text.len()))
        .map(|text| {
            let (head, tail) = text.split_at(8);
            let length = (text.len() as u64) << 56;
            (u64::from_le_bytes(head.try_into().expect("eight bytes")), padded(tail) & !(0xFF << 56) | length)
        })
        .collect();
    let keys: Vec<u64> = middle.iter().map(|&(first, second)| hash::two(first, second)).collect();
    table(out, &format!("{name}_middle"), &keys, |key| {
        let (first, second) = key.map_or((0, 0), |key| middle[key]);
        [first.to_le_bytes(), second.to_le_bytes()].concat()
    });

    let long: Vec<&[u8]> = texts.iter().copied().filter(|text| text.len() > SHORT).collect();
    let keys: Vec<u64> = long.iter().map(|text| hash::many(text)).collect();
    let (mut arena, mut offsets) = (Vec::new(), Vec::new());
    for text in &long {
        offsets.push(u32::try_from(arena.len()).expect("a small arena"));
        arena.push(u8::try_from(text.len()).expect("tokens are at most 255 bytes"));
        arena.extend_from_slice(text);
    }
    table(out, &format!("{name}_long"), &keys, |key| {
        key.map_or(u32::MAX, |key| offsets[key]).to_le_bytes().to_vec()
    });
    crate::save(out, &format!("{name}_arena.bin"), &arena);
}

/// Up to seven bytes and their number in one word.
fn padded(text: &[u8]) -> u64 {
    let bytes = text.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
    bytes | (text.len() as u64) << 56
}

/// Writes a perfect hash as two files: `<name>.bin` with the slots, `<name>_at.bin` with displacements.
/// Returns which key is in which slot.
fn table(
    out: &Path,
    name: &str,
    keys: &[u64],
    slot: impl Fn(Option<usize>) -> Vec<u8>,
) -> Vec<Option<usize>> {
    let perfect = perfect::place(keys);
    let slots: Vec<u8> = perfect.slots.iter().flat_map(|&key| slot(key)).collect();
    let displacements: Vec<u8> =
        perfect.displacements.iter().flat_map(|number| number.to_le_bytes()).collect();
    crate::save(out, &format!("{name}.bin"), &slots);
    crate::save(out, &format!("{name}_at.bin"), &displacements);
    perfect.slots
}
