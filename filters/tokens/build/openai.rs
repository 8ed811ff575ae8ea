//! The vocabularies of OpenAI, from tiktoken-rs' assets.

use std::collections::{HashMap, HashSet};

use tiktoken_rs::CoreBPE;

use crate::vocabulary::{TOKEN_BITS, Vocabulary};

/// An encoder's vocabulary.
pub fn read(name: &str, bpe: &CoreBPE) -> Vocabulary {
    let tokens = tokens(bpe);
    let ranks: HashMap<&[u8], u32> = tokens.iter().map(|(rank, bytes)| (bytes.as_slice(), *rank)).collect();
    let single = |byte: usize| *ranks.get([byte as u8].as_slice()).expect("every byte is a token");
    let merge = |(rank, bytes): &(u32, Vec<u8>)| {
        let (left, right) = last_merge(&ranks, bytes)
            .unwrap_or_else(|| panic!("{name}: token {rank} cannot be reached by merges"));
        (left, right, *rank)
    };
    Vocabulary {
        singles: std::array::from_fn(single),
        merges: tokens.iter().filter(|(_, bytes)| bytes.len() > 1).map(merge).collect(),
        words: tokens.iter().map(|(_, bytes)| bytes.clone()).collect(),
    }
}

/// The ordinary tokens by rank.
fn tokens(bpe: &CoreBPE) -> Vec<(u32, Vec<u8>)> {
    let special: HashSet<Vec<u8>> =
        bpe.special_tokens().into_iter().map(|token| token.as_bytes().to_vec()).collect();
    (0..1 << TOKEN_BITS)
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
