//! The long fuzz against tiktoken-rs, every vocabulary of OpenAI (o200k_harmony by its own oracle for one text in four):
//! `nice cargo run -p weir-tokens --release --example fuzz -- --strings 50000000 --minutes 60` ends with whichever comes
//! first; `--seed S` goes on elsewhere, `--threads N` (2). Every seed is one text, mostly short, and is checked whole in
//! each vocabulary; one in sixteen in chunks too. A difference panics with the text; the last line is the tally.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a tool for developers"
)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pools::Random;
use weir_tokens::Vocabulary;

#[path = "../tests/pools/mod.rs"]
mod pools;

/// Seeds that a thread takes at a time.
const BATCH: u64 = 2_000;
/// Seeds between two lines of progress.
const SAID: u64 = 1_000_000;

struct Limits {
    strings: u64,
    time: Duration,
    first: u64,
    threads: usize,
}

fn main() {
    let limits = read();
    let start = Instant::now();
    let (next, strings, bytes) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..limits.threads {
            scope.spawn(|| {
                while start.elapsed() < limits.time {
                    let at = next.fetch_add(BATCH, Ordering::Relaxed);
                    if at >= limits.strings {
                        break;
                    }
                    let sum: u64 = (at..at + BATCH).map(|number| one(limits.first + number)).sum();
                    bytes.fetch_add(sum, Ordering::Relaxed);
                    let done = strings.fetch_add(BATCH, Ordering::Relaxed) + BATCH;
                    if done.is_multiple_of(SAID) {
                        println!("{done} strings, {} s", start.elapsed().as_secs());
                    }
                }
            });
        }
    });
    println!(
        "{} strings, {} bytes, each in {} vocabularies, one in four in o200k_harmony: no difference; {} s; next seed {}",
        strings.into_inner(),
        bytes.into_inner(),
        Vocabulary::ALL.len(),
        start.elapsed().as_secs(),
        limits.first + next.into_inner(),
    );
}

fn read() -> Limits {
    let (mut strings, mut minutes, mut first, mut threads) = (None, None, 1, 2);
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value: u64 =
            arguments.next().and_then(|value| value.parse().ok()).expect("a number behind each switch");
        match name.as_str() {
            "--strings" => strings = Some(value),
            "--minutes" => minutes = Some(value),
            "--seed" => first = value,
            "--threads" => threads = value as usize,
            _ => panic!("unknown switch {name}: --strings N, --minutes M, --seed S, --threads T"),
        }
    }
    if strings.is_none() && minutes.is_none() {
        strings = Some(200_000);
    }
    let time = minutes.map_or(Duration::MAX, |minutes| Duration::from_secs(60 * minutes));
    Limits { strings: strings.unwrap_or(u64::MAX / 2), time, first, threads }
}

/// Checks one seed's text; returns its length in bytes.
fn one(seed: u64) -> u64 {
    let mut random = Random(seed);
    let longest = match random.below(2000) {
        // Longer than the windows of long pieces.
        0 => 3000,
        1..40 => 120,
        _ => 12,
    };
    let text = pools::text(&mut random, longest);
    let chunks = random.below(16) == 0;
    for &vocabulary in Vocabulary::ALL {
        pools::check(vocabulary, &text);
        if chunks {
            pools::check_chunks(vocabulary, &text, &mut random, if longest > 120 { 700 } else { 6 });
        }
    }
    if seed.is_multiple_of(4)
        && let Some(harmony) = Vocabulary::from_name("o200k_harmony")
    {
        let wanted = tiktoken_rs::o200k_harmony_singleton().encode_ordinary(&text).len() as u64;
        assert!(weir_tokens::count(harmony, &text) == wanted, "o200k_harmony: not {wanted} in {text:?}");
    }
    text.len() as u64
}
