//! A text in chunks counts as the whole, wherever it is cut and wherever one asks.
#![allow(
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::panic,
    reason = "helpers of tests stand outside of test functions"
)]

use pools::{Random, check_chunks};
use weir_tokens::{Counter, Vocabulary, count};

mod pools;

fn cuts(text: &str) -> impl Iterator<Item = usize> {
    (0..=text.len()).filter(|&at| text.is_char_boundary(at))
}

#[test]
fn a_text_cut_anywhere_counts_as_the_whole() {
    for &vocabulary in Vocabulary::ALL {
        for seed in 0..400 {
            let text = pools::text(&mut Random(seed), 40);
            let wanted = count(vocabulary, &text);
            for at in cuts(&text) {
                let mut counter = Counter::new(vocabulary);
                counter.push(&text[..at]);
                assert_eq!(
                    counter.total(),
                    count(vocabulary, &text[..at]),
                    "{vocabulary:?} {text:?} to {at}"
                );
                counter.push(&text[at..]);
                assert_eq!(counter.total(), wanted, "{vocabulary:?} {text:?} cut at {at}");
            }
        }
    }
}

#[test]
fn the_total_is_exact_after_every_character() {
    for &vocabulary in Vocabulary::ALL {
        for seed in 0..300 {
            let text = pools::text(&mut Random(seed), 60);
            let mut counter = Counter::new(vocabulary);
            let (mut at, mut settled) = (0, 0);
            for character in text.chars() {
                counter.push(character.encode_utf8(&mut [0; 4]));
                at += character.len_utf8();
                let total = counter.total();
                assert_eq!(total, count(vocabulary, &text[..at]), "{vocabulary:?} {text:?} to {at}");
                assert!(
                    (settled..=total).contains(&counter.settled()),
                    "settled moved back, or beyond the total"
                );
                settled = counter.settled();
            }
        }
    }
}

/// Runs of every kind whose end a counter cannot know, and what may end them.
fn runs() -> Vec<(String, &'static str)> {
    let repeat = |text: &str, bytes: usize| text.repeat(bytes / text.len() + 1);
    let fragments: &[&str] = &[
        "a", "A", "Ab", "ah", "é", "中", "中A", "中Ab", "\u{301}", "\u{301}A", "ǅ", "7", "½", "=", "=-", "/",
        "!\u{301}", "😀", " ", "\t", "\u{3000}", "\n", "\r\n", " \n", "  \n", " \r", "\u{a0}",
    ];
    let mut runs = Vec::new();
    for fragment in fragments {
        for head in ["", " ", "!", "中", "\u{301}", "\n", "x"] {
            for middle in ["", "b", "中", "\n", "/\n/", "  "] {
                // Below and beyond where a counter stops holding a piece.
                let text = [head, &repeat(fragment, 3000), middle, &repeat(fragment, 700)].concat();
                runs.push((text, *fragment));
            }
        }
    }
    runs
}

#[test]
fn long_runs_end_as_in_the_whole() {
    let ends = [
        "",
        "x",
        "X",
        "中",
        "'s",
        "'",
        "'re x",
        "'r",
        "1",
        " ",
        "  ",
        " x",
        "\n",
        "\n x",
        "/",
        "/\n",
        "!",
        "\u{301}",
        "\u{301}'S",
    ];
    let mut random = Random(7);
    for &vocabulary in Vocabulary::ALL {
        for (number, (run, fragment)) in runs().into_iter().enumerate() {
            // All ends for one run in five, and in turn for the others.
            for (turn, end) in ends.iter().enumerate() {
                if number % 5 == 0 || turn == number % ends.len() {
                    check_chunks(vocabulary, &[&run, *end, fragment].concat(), &mut random, 1500);
                }
            }
        }
    }
}

#[test]
fn a_long_run_cut_anywhere_counts_as_the_whole() {
    for &vocabulary in Vocabulary::ALL {
        for (head, fragment, tail) in [
            ("中", "AB", "c's"),
            (" ", "word", "'S"),
            // The last token is "n't", so that the apostrophe must wait for its letter.
            ("", "isn", "'t"),
            ("x\n", "  \n", " y"),
            ("x", " ", "y"),
            ("", "=-/", "/\n\n/ "),
        ] {
            let text = [head, &fragment.repeat(2600 / fragment.len()), tail].concat();
            let wanted = count(vocabulary, &text);
            for at in
                cuts(&text).filter(|at| at % 7 == 0 || (1900..2200).contains(at) || at + 20 > text.len())
            {
                let mut counter = Counter::new(vocabulary);
                counter.push(&text[..at]);
                let total = counter.total();
                counter.push(&text[at..]);
                assert_eq!(
                    total,
                    count(vocabulary, &text[..at]),
                    "{vocabulary:?} {head:?} {fragment:?} to {at}"
                );
                assert_eq!(counter.total(), wanted, "{vocabulary:?} {head:?} {fragment:?} cut at {at}");
            }
        }
    }
}

#[test]
fn runs_beyond_what_a_counter_keeps_count_as_the_whole() {
    let mut random = Random(3);
    for &vocabulary in Vocabulary::ALL {
        for fragment in ["a", "中A", "=", " ", " \n", "ab\u{301}", "\u{3000}", "qz", "かな", "/"] {
            let text = fragment.repeat(60_000 / fragment.len());
            check_chunks(vocabulary, &[&text, "x"].concat(), &mut random, 9000);
        }
        // Letters without sense, so that seams fall on everything.
        let letters: String = (0..60_000).map(|_| char::from(b'a' + random.below(26) as u8)).collect();
        check_chunks(vocabulary, &letters, &mut random, 9000);
    }
}

#[test]
fn an_endless_run_is_counted_in_bounded_memory() {
    for &vocabulary in Vocabulary::ALL {
        for fragment in ["=", " ", "a", "中A", " \n", "\u{301}"] {
            let mut counter = Counter::new(vocabulary);
            let chunk = fragment.repeat(4096 / fragment.len());
            for _ in 0..100 {
                counter.push(&chunk);
                assert!(counter.held() < 64 << 10, "{fragment:?}: {} bytes held", counter.held());
            }
        }
    }
}
