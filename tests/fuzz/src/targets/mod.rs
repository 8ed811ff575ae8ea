//! The list of targets, and what several of them use: cuts, folders of goldens as seeds.

mod clients;
#[cfg(feature = "control")]
mod control;
#[cfg(feature = "control")]
mod decisions;
mod dialects;
mod gateway;
mod outside;
mod streams;
mod texts;
mod wire;
mod words;

use std::path::Path;

use crate::random::Random;

/// Something that decodes bytes from outside.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// What the command and the corpus call it.
    pub name: &'static str,
    /// What it decodes, and what must hold.
    pub about: &'static str,
    /// Panics where that does not hold.
    pub run: fn(&[u8]),
    /// Where a search begins.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// What its inputs are made of.
    pub words: &'static [&'static str],
    /// What a byte may cost at most, all that the target does with it together, in nanoseconds. With room for a slow
    /// machine; what is squared in 64 KiB takes a hundred times as much.
    pub nanos_per_byte: u64,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    wire::JSON,
    wire::SSE,
    wire::EVENTSTREAM,
    wire::BASE64,
    dialects::CHAT_REQUEST,
    dialects::MESSAGES_REQUEST,
    dialects::CONVERSE_REQUEST,
    dialects::COMPLETIONS_REQUEST,
    dialects::ANSWERS,
    dialects::ERRORS,
    clients::RESPONSES_REQUEST,
    clients::RESPONSES_STREAM,
    clients::RESPONSES_WRITTEN,
    clients::EMBEDDINGS,
    clients::CONVERSE_CLIENT,
    clients::INVOKE,
    clients::RETRY_AFTER,
    clients::NUMBERS,
    streams::CHAT_STREAM,
    streams::MESSAGES_STREAM,
    streams::CONVERSE_STREAM,
    streams::CHUNKS,
    texts::REDACTION,
    texts::RESTORE,
    texts::TOKENS,
    texts::TOKENIZER,
    gateway::GATEWAY,
    gateway::CONFIG,
    gateway::HEADERS,
    gateway::PLAN,
    gateway::LEASE,
    outside::OUTSIDE,
    #[cfg(feature = "control")]
    control::LEDGER,
    #[cfg(feature = "control")]
    control::LEDGER_LOG,
    #[cfg(feature = "control")]
    decisions::DECISIONS,
    #[cfg(feature = "control")]
    control::XDS,
    #[cfg(feature = "control")]
    control::POLICY,
];

/// Some ways to cut bytes: whole, byte by byte, in pieces of a random size, and at random places.
fn cuts(bytes: &[u8]) -> Vec<Vec<&[u8]>> {
    let mut random = Random::of(bytes);
    let mut ways = vec![vec![bytes], bytes.chunks(1).collect(), bytes.chunks(1 + random.below(20)).collect()];
    for _ in 0..2 {
        let (first, rest) = bytes.split_at(random.below(bytes.len() + 1));
        let (second, third) = rest.split_at(random.below(rest.len() + 1));
        ways.push(vec![first, second, third]);
    }
    ways
}

/// The same on the borders of characters.
fn text_cuts(text: &str) -> Vec<Vec<&str>> {
    let mut random = Random::of(text.as_bytes());
    let border = |mut at: usize| {
        while !text.is_char_boundary(at) {
            at += 1;
        }
        at
    };
    let every = |size: usize| {
        let (mut pieces, mut at) = (Vec::new(), 0);
        while at < text.len() {
            let end = border((at + size).min(text.len()));
            pieces.push(&text[at..end]);
            at = end;
        }
        pieces
    };
    // By single characters a great text takes seconds.
    let finest = 1 + text.len() / 2_000;
    let mut ways = vec![vec![text], every(finest), every(finest + random.below(20))];
    let at = border(random.below(text.len() + 1));
    ways.push(vec![&text[..at], &text[at..]]);
    ways
}

/// The inputs of a suite of goldens.
fn goldens(suite: &str, extension: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../filters/dialects/goldens").join(suite);
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut paths: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|it| it == extension)).collect();
    paths.sort();
    paths.iter().filter_map(|path| std::fs::read(path).ok()).collect()
}

fn seeds(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// The parts of an input that holds several, with a zero byte between them.
fn parts(input: &[u8]) -> impl Iterator<Item = &[u8]> {
    input.split(|byte| *byte == 0)
}

/// A document that the strict parser accepts.
fn is_json(bytes: &[u8]) {
    let limits = weir_wire::json::Limits { depth: 300, ..weir_wire::json::Limits::default() };
    let read = weir_wire::json::parse(bytes, &limits);
    assert!(read.is_ok(), "{:?} in {}", read.err(), String::from_utf8_lossy(bytes));
}
