//! Texts made to be slow or to break windows: megabyte runs beside bpe-openai, whose algorithm is another
//! one, cascades of merges that run from right to left, and a ceiling on time.
#![allow(
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::panic,
    reason = "helpers of tests stand outside of test functions"
)]

use std::time::Instant;

use pools::{Random, check, check_chunks};
use weir_tokens::{Vocabulary, count};

mod pools;

const MEGABYTE: usize = 1 << 20;

/// One pre-token of a megabyte each, or nearly.
fn hostile() -> Vec<String> {
    let random = &mut Random(11);
    let mut texts: Vec<String> = [
        "=",
        " ",
        "a",
        "\n",
        "\t",
        "-",
        "ah",
        "=-",
        "\u{301}",
        "中",
        "\u{3000}",
        "A",
        "internationalization",
        " \n",
        "=======- ",
        "aaab",
        "/",
        "😀",
        "ก",
    ]
    .iter()
    .map(|fragment| fragment.repeat(MEGABYTE / fragment.len()))
    .collect();
    let mut drawn = |letters: &[char], bytes: usize| {
        let mut text = String::new();
        while text.len() < bytes {
            text.push(letters[random.below(letters.len())]);
        }
        text
    };
    let lower: Vec<char> = ('a'..='z').collect();
    let symbols: Vec<char> = "!#$%&()*+,-.:;<=>?@[]^_`{|}~".chars().collect();
    let han: Vec<char> = ('\u{4e00}'..'\u{9fff}').collect();
    texts.push(drawn(&lower, MEGABYTE));
    texts.push(drawn(&symbols, MEGABYTE));
    texts.push(drawn(&han, MEGABYTE));
    texts.push(drawn(&['a', 'b'], MEGABYTE));
    texts.push(drawn(&[' ', '\t'], MEGABYTE));
    texts.push(format!("中{}", "A".repeat(MEGABYTE)));
    texts.push(format!("{}x", " ".repeat(MEGABYTE)));
    texts
}

#[test]
fn megabyte_runs_have_the_counts_of_another_algorithm() {
    for text in hostile() {
        for (name, other) in
            [("o200k_base", bpe_openai::o200k_base()), ("cl100k_base", bpe_openai::cl100k_base())]
        {
            let Some(vocabulary) = Vocabulary::from_name(name) else { continue };
            let start: String = text.chars().take(8).collect();
            assert_eq!(count(vocabulary, &text), other.count(text.as_str()) as u64, "{name}: {start:?}...");
        }
    }
}

#[test]
fn a_hostile_megabyte_takes_less_than_a_second() {
    // About a fortieth of that on an idle machine; a quadratic step would take minutes.
    for &vocabulary in Vocabulary::ALL {
        for text in hostile() {
            let start = Instant::now();
            count(vocabulary, &text);
            let start_of_text: String = text.chars().take(8).collect();
            assert!(
                start.elapsed().as_secs_f32() < 1.0,
                "{vocabulary:?} {start_of_text:?}: {:?}",
                start.elapsed()
            );
        }
    }
}

/// Words whose two-letter tokens fall in rank from left to right, so that each merge at the end decides the
/// one before it: the furthest that a character is known to reach to its left.
fn cascade(vocabulary: Vocabulary, letters: &[u8], random: &mut Random) -> String {
    let bpe = pools::oracle(vocabulary);
    let rank = |left: u8, right: u8| match bpe.encode_ordinary(&String::from_utf8_lossy(&[left, right]))[..] {
        [token] => Some(token),
        _ => None,
    };
    let ranks: Vec<Vec<Option<u32>>> =
        letters.iter().map(|&left| letters.iter().map(|&right| rank(left, right)).collect()).collect();
    let mut at = random.below(letters.len());
    let mut limit = u32::MAX;
    let mut word = vec![letters[at]];
    loop {
        // The highest rank that still falls, now and then the second or third.
        let mut next: Vec<(u32, usize)> = ranks[at]
            .iter()
            .zip(0..)
            .filter_map(|(rank, to)| Some((rank.filter(|rank| *rank < limit)?, to)))
            .collect();
        next.sort_unstable_by(|left, right| right.cmp(left));
        let Some(&(rank, to)) = next.get(random.below(3).min(next.len().saturating_sub(1))) else { break };
        (at, limit) = (to, rank);
        word.push(letters[at]);
    }
    String::from_utf8_lossy(&word).into_owned()
}

#[test]
fn cascades_across_windows_have_the_oracles_ids() {
    let lower: Vec<u8> = (b'a'..=b'z').collect();
    let symbols = b"!#$%&()*+,-.:;<=>?@[]^_`{|}~";
    for &vocabulary in Vocabulary::ALL {
        let mut random = Random(5);
        let (mut longest, mut reach) = (0, 0);
        for _ in 0..300 {
            let letters: &[u8] = if random.below(2) == 0 { &lower } else { symbols };
            let words: Vec<String> = (0..8).map(|_| cascade(vocabulary, letters, &mut random)).collect();
            longest = words.iter().map(String::len).max().unwrap_or(0).max(longest);
            let mut text = String::new();
            while text.len() < 4000 {
                text.push_str(&words[random.below(words.len())]);
            }
            check(vocabulary, &text);
            check_chunks(vocabulary, &text, &mut random, 900);
            for end in 1..words[0].len() {
                reach = reach.max(reach_of_last(vocabulary, &words[0][..end]));
            }
        }
        println!(
            "{vocabulary:?}: cascades of up to {longest} letters; one reached {reach} bytes to its left"
        );
        assert!(longest > 20, "these are no cascades: {longest}");
        assert!(reach < 400, "reached {reach} bytes: the counter keeps 4096 to look back at");
    }
}

/// How far from the end the tokens of `word` differ from those without its last character.
fn reach_of_last(vocabulary: Vocabulary, word: &str) -> usize {
    let ends = |text: &str| {
        let mut ids = Vec::new();
        weir_tokens::encode(vocabulary, text, &mut ids);
        let mut at = 0;
        let bpe = pools::oracle(vocabulary);
        ids.iter()
            .map(|&id| {
                at += bpe.decode_bytes(&[id]).unwrap_or_default().len();
                at
            })
            .collect::<Vec<usize>>()
    };
    let (with, without) = (ends(word), ends(&word[..word.len() - 1]));
    let same =
        with.iter().zip(&without).take_while(|(left, right)| left == right).last().map_or(0, |(at, _)| *at);
    word.len() - same
}
