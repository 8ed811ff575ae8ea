//! Throws mutated documents and streams at every parser of foreign bytes until the time is up:
//! `cargo run -p weir-wire --release --example fuzz -- --minutes 5 [--seed N]`. A finding is a panic that
//! prints its input; the seed repeats the run. Not a coverage-guided fuzzer: it needs no tool but cargo.

#![expect(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing, reason = "a finding is a panic")]

use std::time::{Duration, Instant};

use weir_wire::{base64, eventstream, json, sse};

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % below.max(1) as u64) as usize
    }

    /// Cuts, doubles, swaps and overwrites pieces.
    fn mutate(&mut self, bytes: &mut Vec<u8>, words: &[&[u8]]) {
        for _ in 0..=self.roll(6) {
            let at = self.roll(bytes.len() + 1);
            let end = (at + self.roll(12)).min(bytes.len());
            match self.roll(5) {
                0 => drop(bytes.drain(at..end)),
                1 => {
                    let piece = bytes[at..end].to_vec();
                    let to = self.roll(bytes.len() + 1);
                    bytes.splice(to..to, piece);
                }
                2 if at < bytes.len() => bytes[at] = self.roll(256) as u8,
                3 if at < bytes.len() => bytes[at] ^= 1 << self.roll(8),
                _ => {
                    let word = words[self.roll(words.len())];
                    bytes.splice(at..end, word.iter().copied());
                }
            }
        }
    }

    fn chunks<'b>(&mut self, mut bytes: &'b [u8]) -> Vec<&'b [u8]> {
        let mut chunks = Vec::new();
        while !bytes.is_empty() {
            let (chunk, rest) = bytes.split_at(1 + self.roll(bytes.len().min(9)));
            chunks.push(chunk);
            bytes = rest;
        }
        chunks
    }
}

fn json_agrees(text: &[u8]) {
    let ours = json::parse(text, &json::Limits::default());
    let theirs = serde_json::from_slice::<serde_json::Value>(text);
    let agreed = match (&ours, &theirs) {
        (Ok(doc), Ok(value)) => same(doc.root(), value),
        (Err(error), Ok(_)) => {
            matches!(
                error.kind,
                json::ErrorKind::DuplicateKey | json::ErrorKind::LoneSurrogate | json::ErrorKind::Bom
            )
        }
        (Ok(_), Err(error)) => {
            ["out of range", "recursion"].iter().any(|word| error.to_string().contains(word))
        }
        (Err(error), Err(_)) => error.at <= text.len(),
    };
    if !agreed {
        panic!("json: {:?} / {theirs:?} on {}", ours.err(), text.escape_ascii());
    }
}

fn same(ours: json::Value<'_, '_>, theirs: &serde_json::Value) -> bool {
    match theirs {
        serde_json::Value::String(text) => {
            let unescaped = ours.unescaped();
            unescaped.text == text.as_str() && unescaped.raw_range(0..text.len()) == unescaped.body_range()
        }
        serde_json::Value::Array(items) => {
            ours.len() == items.len() && ours.items().zip(items).all(|(ours, theirs)| same(ours, theirs))
        }
        serde_json::Value::Object(members) => {
            ours.len() == members.len()
                && ours.members().all(|(key, value)| same(value, &members[&*key.as_str()]))
        }
        serde_json::Value::Number(number) => {
            number.as_u64().is_none_or(|number| ours.as_u64() == Some(number))
        }
        serde_json::Value::Bool(value) => ours.as_bool() == Some(*value),
        serde_json::Value::Null => ours.is_null(),
    }
}

fn sse_run(chunks: &[&[u8]], limit: usize) -> (Vec<u8>, Vec<u8>, bool) {
    let mut decoder = sse::Decoder::new(limit);
    let (mut raw, mut meaning) = (Vec::new(), Vec::new());
    let mut good = true;
    for chunk in chunks {
        if good {
            let result = decoder.push(chunk, &mut |event| {
                raw.extend_from_slice(event.raw);
                meaning.extend_from_slice(
                    format!("{:?}{:?}{};", event.name, event.data, event.has_data).as_bytes(),
                );
            });
            good = result.is_ok();
        } else {
            meaning.clear();
        }
    }
    let rest = decoder.finish();
    if good {
        raw.extend_from_slice(&rest);
    }
    (raw, meaning, good)
}

fn sse_agrees(bytes: &[u8], limit: usize, dice: &mut Dice) {
    let batch = sse_run(&[bytes], limit);
    let split = sse_run(&dice.chunks(bytes), limit);
    let whole = batch.0 == bytes || !batch.2;
    if batch.2 != split.2 || !whole || (batch.2 && batch != split) {
        panic!("sse: limit {limit} on {}", bytes.escape_ascii());
    }
}

fn frames_run(chunks: &[&[u8]]) -> (Vec<u8>, Result<(), eventstream::Error>) {
    let mut decoder = eventstream::Decoder::new(4096);
    let mut seen = Vec::new();
    for chunk in chunks {
        let result = decoder.push(chunk, &mut |frame| {
            for header in frame.headers() {
                seen.extend_from_slice(format!("{header:?}").as_bytes());
            }
            seen.extend_from_slice(frame.payload);
        });
        if result.is_err() {
            return (seen, result);
        }
    }
    (seen, decoder.finish())
}

/// Makes both checksums right again, so that the judging behind them is reached.
fn resum(frame: &mut [u8]) {
    let crc = |bytes: &[u8]| {
        let step = |sum: u32, byte: &u8| {
            (0..8).fold(sum ^ u32::from(*byte), |sum, _| sum >> 1 ^ (0xedb8_8320 * (sum & 1)))
        };
        (!bytes.iter().fold(u32::MAX, step)).to_be_bytes()
    };
    if frame.len() >= 16 {
        let length = (frame.len() as u32).to_be_bytes();
        frame[..4].copy_from_slice(&length);
        let sum = crc(&frame[..8]);
        frame[8..12].copy_from_slice(&sum);
        let end = frame.len() - 4;
        let sum = crc(&frame[..end]);
        frame[end..].copy_from_slice(&sum);
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (mut minutes, mut seed) = (1.0, 1);
    while let (Some(name), Some(value)) = (arguments.next(), arguments.next()) {
        match name.as_str() {
            "--minutes" => minutes = value.parse().unwrap(),
            "--seed" => seed = value.parse().unwrap(),
            other => panic!("unknown argument {other}"),
        }
    }
    let end = Instant::now() + Duration::from_secs_f64(minutes * 60.0);
    let mut dice = Dice(seed);
    let document = br#"{"model":"m","messages":[{"role":"user","content":"a\n\u00e9\ud83d\ude00"}],"n":-1.5e3,"b":[true,null,{}]}"#;
    let json_words: &[&[u8]] = &[
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"\"",
        b"\\",
        b"\\u",
        b"\\ud800",
        b"\\udc00",
        b"\"a\":",
        b"1",
        b"-",
        b"0",
        b".",
        b"e",
        b"null",
        b"true",
        b" ",
        b"\xef\xbb\xbf",
        b"\xc3\xa9",
        b"\n",
    ];
    let stream =
        b"\xef\xbb\xbfevent: a\ndata: {\"x\":1}\r\n\r\n: ping\n\ndata: a\ndata: b\n\ndata: [DONE]\n\n";
    let stream_words: &[&[u8]] =
        &[b"\n", b"\r", b"\r\n", b"data", b": ", b"event:", b"\xef\xbb\xbf", b"\n\n", b"\r\r"];
    let mut frame = Vec::new();
    eventstream::encode(
        &mut frame,
        &[(":event-type", "contentBlockDelta"), (":message-type", "event")],
        b"{\"a\":1}",
    );
    let frame_words: &[&[u8]] = &[b"\0", b"\x01", b"\x07", b"\0\x02", b"\xff\xff", b"\x08", b"\x09", b"a"];
    let mut rounds = 0u64;
    while Instant::now() < end {
        for _ in 0..200 {
            let mut text = document.to_vec();
            dice.mutate(&mut text, json_words);
            json_agrees(&text);

            let mut text = stream.to_vec();
            dice.mutate(&mut text, stream_words);
            let limit = if dice.roll(2) == 0 { 4096 } else { dice.roll(60) };
            sse_agrees(&text, limit, &mut dice);

            let mut text = frame.clone();
            dice.mutate(&mut text, frame_words);
            if dice.roll(4) != 0 {
                resum(&mut text);
            }
            text.extend_from_slice(&frame);
            let batch = frames_run(&[&text]);
            if batch != frames_run(&dice.chunks(&text)) {
                panic!("event stream: {}", text.escape_ascii());
            }

            let mut text = b"Zm9vYmFyZg==".to_vec();
            dice.mutate(&mut text, &[b"=", b"A", b"/", b"+"]);
            if let Some(bytes) = base64::decode(&text) {
                let mut again = Vec::new();
                base64::encode_into(&mut again, &bytes);
                assert_eq!(again, text);
            }
        }
        rounds += 200;
    }
    println!("{rounds} rounds of 4 inputs, nothing found; seed {seed}");
}
