//! One input from others: bytes and pieces changed, and in documents whole values put in the place of others, so that
//! what comes out is still read beyond its first byte.

use std::ops::Range;

use weir_wire::json::{Limits, Value, parse};

use crate::random::Random;

const NUMBERS: [&str; 12] = [
    "0",
    "-1",
    "1",
    "127",
    "128",
    "255",
    "65535",
    "4294967295",
    "4294967296",
    "18446744073709551615",
    "1e400",
    "0.5",
];

/// A child of `one`, which may take from `other` and from `words`; of at most `most` bytes.
pub fn mutate(one: &[u8], other: &[u8], words: &[&str], most: usize, random: &mut Random) -> Vec<u8> {
    let mut out = one.to_vec();
    for _ in 0..=random.below(4) {
        step(&mut out, other, words, random);
        if out.len() > most {
            let start = random.below(out.len() - most);
            out = out.get(start..start + most).unwrap_or_default().to_vec();
        }
    }
    out
}

/// The same text over and over, to see what great inputs cost.
pub fn grown(one: &[u8], most: usize, random: &mut Random) -> Vec<u8> {
    let piece = range(one.len(), 200, random);
    let (before, inner, after) = (one.get(..piece.start), one.get(piece.clone()), one.get(piece.end..));
    let (before, inner, after) =
        (before.unwrap_or_default(), inner.unwrap_or_default(), after.unwrap_or_default());
    let times = most.saturating_sub(one.len()) / inner.len().max(1);
    let mut out = before.to_vec();
    (0..times).for_each(|_| out.extend_from_slice(inner));
    out.extend_from_slice(after);
    out
}

/// A piece of at most `most` bytes of `len`.
fn range(len: usize, most: usize, random: &mut Random) -> Range<usize> {
    let start = random.below(len + 1);
    let size = 1 + random.below(most);
    start..(start + size).min(len)
}

fn step(out: &mut Vec<u8>, other: &[u8], words: &[&str], random: &mut Random) {
    let at = random.below(out.len() + 1);
    match random.below(14) {
        0 => {
            if let Some(byte) = out.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
        1 => {
            if let Some(byte) = out.get_mut(at) {
                *byte = random.draw() as u8;
            }
        }
        2 => {
            out.drain(range(out.len(), 40, random));
        }
        3 => {
            let piece = out.get(range(out.len(), 60, random)).unwrap_or_default().to_vec();
            out.splice(at..at, piece);
        }
        4 => {
            let piece = other.get(range(other.len(), 80, random)).unwrap_or_default().to_vec();
            out.splice(at..at, piece);
        }
        5 => {
            // The head of one, the tail of the other.
            let from = random.below(other.len() + 1);
            out.truncate(at);
            out.extend_from_slice(other.get(from..).unwrap_or_default());
        }
        6 | 7 => {
            let word = random.pick(words).copied().unwrap_or("\"\"");
            let end = if random.below(2) == 0 { at } else { (at + word.len()).min(out.len()) };
            out.splice(at..end, word.bytes());
        }
        8 => {
            let number = random.pick(&NUMBERS).copied().unwrap_or("0");
            out.splice(at..at, number.bytes());
        }
        9 => {
            let byte = *random
                .pick(&[0, b'"', b'\\', b'\n', b'\r', b'{', b'}', b'[', b',', 0x7f, 0x80, 0xc3, 0xff])
                .unwrap_or(&0);
            out.insert(at, byte);
        }
        10 => out.truncate(at),
        _ => {
            if let Some(next) = value(out, other, words, random) {
                *out = next;
            }
        }
    }
}

/// A value of a document for another: from the other document, or a word.
fn value(one: &[u8], other: &[u8], words: &[&str], random: &mut Random) -> Option<Vec<u8>> {
    let place = values(one);
    let place = random.pick(&place)?.clone();
    let from = values(other);
    let with = match random.below(3) {
        0 => random.pick(words)?.as_bytes(),
        1 => random.pick(&["null", "[]", "{}", "0", "\"\"", "true", "[{}]", "\"x\""])?.as_bytes(),
        _ => other.get(random.pick(&from)?.clone())?,
    };
    Some([one.get(..place.start)?, with, one.get(place.end..)?].concat())
}

/// Where the values of the first document in `bytes` are, or of a line of a stream.
fn values(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut out = Vec::new();
    let mut at = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n' || *byte == 0) {
        let skip = if line.starts_with(b"data: ") { 6 } else { 0 };
        let body = line.get(skip..).unwrap_or_default();
        let body = body.strip_suffix(b"\0").unwrap_or(body);
        if let Ok(doc) = parse(body, &Limits::default()) {
            collect(doc.root(), at + skip, &mut out);
        }
        at += line.len();
    }
    if out.is_empty()
        && let Ok(doc) = parse(bytes, &Limits::default())
    {
        collect(doc.root(), 0, &mut out);
    }
    out
}

fn collect(value: Value<'_, '_>, at: usize, out: &mut Vec<Range<usize>>) {
    let range = value.range();
    out.push(range.start + at..range.end + at);
    value.items().for_each(|item| collect(item, at, out));
    value.members().for_each(|(_, member)| collect(member, at, out));
}
