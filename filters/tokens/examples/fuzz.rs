//! The long fuzz against tiktoken-rs: `cargo run -p weir-tokens --release --example fuzz -- --strings N`, or
//! `--minutes M`, and `--seed S` to begin elsewhere. Prints the seed it is at; a difference panics with the text.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a tool for developers"
)]

use std::time::{Duration, Instant};

use pools::Random;
use weir_tokens::Vocabulary;

#[path = "../tests/pools/mod.rs"]
mod pools;

fn main() {
    let (mut strings, mut minutes, mut seed) = (None, None, 1u64);
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value: u64 =
            arguments.next().and_then(|value| value.parse().ok()).expect("a number behind each switch");
        match name.as_str() {
            "--strings" => strings = Some(value),
            "--minutes" => minutes = Some(Duration::from_secs(60 * value)),
            "--seed" => seed = value,
            _ => panic!("unknown switch {name}: --strings N, --minutes M, --seed S"),
        }
    }
    if strings.is_none() && minutes.is_none() {
        strings = Some(200_000);
    }
    let (start, mut done, mut bytes) = (Instant::now(), 0u64, 0);
    while strings.is_none_or(|limit| done < limit) && minutes.is_none_or(|limit| start.elapsed() < limit) {
        if done.is_multiple_of(50_000) {
            println!("{done} strings, {bytes} bytes, {} s; seed {seed}", start.elapsed().as_secs());
        }
        let mut random = Random(seed);
        // Mostly short texts, some longer than the windows of long pieces.
        let longest = if random.below(200) == 0 { 3000 } else { 40 };
        let text = pools::text(&mut random, longest);
        for &vocabulary in Vocabulary::ALL {
            pools::check(vocabulary, &text);
            pools::check_chunks(vocabulary, &text, &mut random, if longest > 40 { 700 } else { 6 });
        }
        (done, bytes, seed) = (done + 1, bytes + text.len(), seed + 1);
    }
    println!(
        "{done} strings, {bytes} bytes in {} vocabularies: no difference; next seed {seed}",
        Vocabulary::ALL.len()
    );
}
