//! Native speed beside the oracles, on distinct windows of 4 KB so that no text is counted twice:
//! `cargo run -p weir-tokens --release --example bench [FILE...]`. Without files: the prompts of the shared data,
//! and made-up Han text. Ratios mean more than the figures of a busy machine.
#![allow(clippy::expect_used, reason = "a tool for developers")]

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Instant;

use weir_tokens::Vocabulary;

const WINDOW: usize = 4096;

type Count<'a> = (&'a str, &'a dyn Fn(&str) -> u64);

fn main() {
    let mut files: Vec<PathBuf> = std::env::args().skip(1).map(PathBuf::from).collect();
    if files.is_empty() {
        let prompts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/prompts");
        files = ["gsm8k_test.jsonl", "mt_bench_question.jsonl"].map(|name| prompts.join(name)).to_vec();
    }
    let mut texts = vec![("made-up Han".to_owned(), han())];
    for path in files {
        match std::fs::read(&path) {
            Ok(bytes) => {
                texts.push((path.display().to_string(), String::from_utf8_lossy(&bytes).into_owned()))
            }
            Err(error) => println!("skipped: {}: {error}", path.display()),
        }
    }
    for &vocabulary in Vocabulary::ALL {
        let (tiktoken, bpe) = match vocabulary.name() {
            "o200k_base" => (tiktoken_rs::o200k_base_singleton(), bpe_openai::o200k_base()),
            "cl100k_base" => (tiktoken_rs::cl100k_base_singleton(), bpe_openai::cl100k_base()),
            _ => continue,
        };
        for (name, text) in &texts {
            let windows = windows(text);
            println!("{}, {name}: {} windows", vocabulary.name(), windows.len());
            // In turns, so that a busy neighbour slows all alike.
            run(
                &windows,
                &[
                    ("weir-tokens", &|text| weir_tokens::count(vocabulary, text)),
                    ("bpe-openai", &|text| bpe.count(text) as u64),
                    ("tiktoken-rs", &|text| tiktoken.encode_ordinary(text).len() as u64),
                ],
            );
        }
    }
}

/// Sentences of random common characters.
fn han() -> String {
    let mut state = 1u32;
    let mut next = |limit: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) % limit
    };
    let mut text = String::new();
    while text.len() < 400_000 {
        let spread = 64 << next(7);
        text.extend(char::from_u32(0x4E00 + next(spread)));
        if next(12) == 0 {
            text.push('，');
        }
    }
    text
}

fn windows(text: &str) -> Vec<&str> {
    let (mut all, mut rest) = (Vec::new(), text);
    while rest.len() > WINDOW {
        let cut = (0..=WINDOW).rev().find(|&at| rest.is_char_boundary(at)).unwrap_or(0);
        let (head, tail) = rest.split_at(cut);
        all.push(head);
        rest = tail;
    }
    all
}

fn run(windows: &[&str], counts: &[Count<'_>]) {
    let mut results = vec![(Vec::new(), 0); counts.len()];
    for (number, window) in windows.iter().enumerate() {
        for ((_, count), (times, tokens)) in counts.iter().zip(&mut results) {
            let start = Instant::now();
            let here = black_box(count(black_box(window)));
            let took = start.elapsed().as_secs_f64() * 1e6;
            *tokens += here;
            // The first eighth warms what is not the text.
            if number >= windows.len() / 8 {
                times.push(took);
            }
        }
    }
    for ((name, _), (times, tokens)) in counts.iter().zip(&mut results) {
        times.sort_by(f64::total_cmp);
        let part = |percent: usize| times.get(times.len() * percent / 100).copied().unwrap_or(f64::NAN);
        println!("  {name:12} p50 {:7.1} us   p99 {:7.1} us   {tokens} tokens", part(50), part(99));
    }
}
