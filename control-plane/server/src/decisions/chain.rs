//! The decision log's text: one line for each record, each chained to the one before by SHA-256, so that no byte of it
//! changes unnoticed. Pure: no files, no clock.
//!
//! ```text
//! weir-decisions 1 COUNT HASH                 what came before this file: so many records, the last one's hash
//! HASH UNIX_MS FROM {"id":"req_…", …}         HASH: SHA-256 of the hash before (32 bytes) and the rest of the line
//! ```
//!
//! The hash before a file's first record is that of its first line, chained to zeros. FROM is the gateway's worker and its
//! batch, or `-` for a line of the control plane's own. A file that was cut at the end of a line is a good file of fewer records:
//! only the head, kept beside it, knows better.

use std::fmt;

use sha2::{Digest, Sha256};

/// What every file begins with.
const MAGIC: &str = "weir-decisions 1 ";
/// Hexadecimal digits of a hash.
const DIGITS: usize = 64;

/// A SHA-256.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hash(pub [u8; 32]);

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Hash {
    /// 64 lower-case digits.
    fn parse(text: &str) -> Option<Self> {
        let mut hash = Self::default();
        for (at, byte) in hash.0.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
        }
        (hash.to_string() == text).then_some(hash)
    }

    fn after(self, line: &[u8]) -> Self {
        Self(Sha256::new_with_prefix(self.0).chain_update(line).finalize().into())
    }
}

/// How far a log has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Records.
    pub count: u64,
    /// The last one's hash; zeros before the first.
    pub hash: Hash,
}

impl Head {
    /// `COUNT HASH`, of a fixed length.
    pub fn text(&self) -> String {
        format!("{:020} {}\n", self.count, self.hash)
    }

    /// The same, read; only what [`Head::text`] writes.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (count, hash) = std::str::from_utf8(text).ok()?.strip_suffix('\n')?.split_once(' ')?;
        let head = Self { count: count.parse().ok()?, hash: Hash::parse(hash)? };
        (head.text().as_bytes() == text).then_some(head)
    }
}

/// Which worker of a gateway sent a record, and in which of its batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct From {
    /// Random bits of the worker's VM.
    pub vm: u128,
    /// Number of the batch.
    pub batch: u64,
}

/// Writes a file.
#[derive(Clone, Copy, Debug)]
pub struct Writer {
    /// How far the log has come.
    pub head: Head,
    /// What the next line is chained to.
    before: Hash,
}

impl Writer {
    /// Begins a file after `head`.
    pub fn begin(head: Head, out: &mut Vec<u8>) -> Self {
        let line = format!("{MAGIC}{} {}", head.count, head.hash);
        out.extend_from_slice(line.as_bytes());
        out.push(b'\n');
        Self { head, before: Hash::default().after(line.as_bytes()) }
    }

    /// Appends a record, which must be one line.
    pub fn append(&mut self, at_ms: u64, from: Option<From>, record: &[u8], out: &mut Vec<u8>) {
        let from = from.map_or_else(|| "-".to_owned(), |from| format!("{:032x}/{}", from.vm, from.batch));
        let mut rest = format!("{at_ms} {from} ").into_bytes();
        rest.extend_from_slice(record);
        let hash = self.before.after(&rest);
        out.extend_from_slice(hash.to_string().as_bytes());
        out.push(b' ');
        out.append(&mut rest);
        out.push(b'\n');
        self.before = hash;
        self.head = Head { count: self.head.count + 1, hash };
    }
}

/// A record of a file.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// Its number in the whole log, from 1.
    pub number: u64,
    /// Its hash.
    pub hash: Hash,
    /// When the control plane took it, Unix milliseconds.
    pub at_ms: u64,
    /// Who sent it; `None` for the control plane's own.
    pub from: Option<From>,
    /// The JSON.
    pub record: &'a [u8],
}

/// What is wrong with a file, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// First byte of the line.
    pub from: usize,
    /// The byte after its last.
    pub to: usize,
    /// Number of the record; 0 for what is none.
    pub record: u64,
    /// For people.
    pub what: &'static str,
}

/// What was read of a file.
#[derive(Clone, Debug)]
pub struct Walked {
    /// What its first line says came before.
    pub begin: Head,
    /// Where its good part ends.
    pub writer: Writer,
    /// Bytes of the good part: whole lines whose chain holds.
    pub good: usize,
    /// The first line after them, unless the file ends there or in the midst of a line.
    pub wrong: Option<Wrong>,
}

/// Reads a file, each record in order to `each`, up to its end or to the first line that is wrong. `None` where its first
/// line is no such line: nothing can be said of what follows.
pub fn walk(bytes: &[u8], each: &mut dyn FnMut(Line<'_>)) -> Option<Walked> {
    let first = line(bytes)?;
    let (count, hash) = std::str::from_utf8(first).ok()?.strip_prefix(MAGIC)?.split_once(' ')?;
    let begin = Head { count: count.parse().ok()?, hash: Hash::parse(hash)? };
    let mut read = Vec::new();
    let mut writer = Writer::begin(begin, &mut read);
    if read.strip_suffix(b"\n") != Some(first) {
        return None;
    }
    let mut good = first.len() + 1;
    let mut wrong = None;
    while let Some(line) = bytes.get(good..).and_then(line) {
        match check(line, &writer) {
            Ok(found) => {
                writer.before = found.hash;
                writer.head = Head { count: found.number, hash: found.hash };
                each(found);
            }
            Err(what) => {
                let to = good + line.len() + 1;
                wrong = Some(Wrong { from: good, to, record: writer.head.count + 1, what });
                break;
            }
        }
        good += line.len() + 1;
    }
    Some(Walked { begin, writer, good, wrong })
}

/// The line that `bytes` begin with, if they hold its end.
fn line(bytes: &[u8]) -> Option<&[u8]> {
    bytes.iter().position(|byte| *byte == b'\n').map(|end| &bytes[..end])
}

fn check<'a>(line: &'a [u8], writer: &Writer) -> Result<Line<'a>, &'static str> {
    let (told, rest) = line.split_at_checked(DIGITS).ok_or("the line is too short for a record")?;
    let hash = rest.strip_prefix(b" ").map(|rest| (writer.before.after(rest), rest));
    let Some((hash, rest)) = hash.filter(|(hash, _)| hash.to_string().as_bytes() == told) else {
        return Err("the record, or its hash, is not what was written");
    };
    let number = writer.head.count + 1;
    // What has its hash was written like this: by a version that knows more.
    parts(rest, hash, number).ok_or("the record is of a form that this version does not know")
}

fn parts(rest: &[u8], hash: Hash, number: u64) -> Option<Line<'_>> {
    let mut words = rest.splitn(3, |byte| *byte == b' ');
    let mut word = || words.next().and_then(|word| std::str::from_utf8(word).ok());
    let at_ms = word()?.parse().ok()?;
    let from = match word()? {
        "-" => None,
        from => {
            let (vm, batch) = from.split_once('/')?;
            Some(From { vm: u128::from_str_radix(vm, 16).ok()?, batch: batch.parse().ok()? })
        }
    };
    Some(Line { number, hash, at_ms, from, record: words.next()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(records: u64) -> (Vec<u8>, Head, Vec<usize>) {
        let mut out = Vec::new();
        let mut writer = Writer::begin(Head::default(), &mut out);
        let mut ends = vec![out.len()];
        for n in 0..records {
            let from = (n % 2 == 0).then_some(From { vm: u128::from(n) << 90 | 7, batch: n });
            writer.append(1_000 + n, from, format!("{{\"id\":\"req_{n}\"}}").as_bytes(), &mut out);
            ends.push(out.len());
        }
        (out, writer.head, ends)
    }

    #[test]
    fn what_was_written_is_read() {
        let (bytes, head, _) = file(4);
        let mut seen = Vec::new();
        let walked = walk(&bytes, &mut |line| {
            seen.push((line.number, line.at_ms, line.from, line.record.to_vec()));
        })
        .unwrap();
        assert_eq!((walked.begin, walked.writer.head, walked.wrong), (Head::default(), head, None));
        assert_eq!(walked.good, bytes.len());
        assert_eq!(seen.len(), 4);
        assert_eq!(seen[3], (4, 1_003, None, b"{\"id\":\"req_3\"}".to_vec()));
        assert_eq!(seen[2].2, Some(From { vm: 2 << 90 | 7, batch: 2 }));
        assert_eq!(Head::parse(head.text().as_bytes()), Some(head));
    }

    #[test]
    fn the_hash_is_that_of_the_one_before_and_the_line() {
        // An auditor's own sum, by another way than the writer's.
        let (bytes, ..) = file(2);
        let text = String::from_utf8(bytes).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let mut before: [u8; 32] = Sha256::digest([&[0; 32], lines[0].as_bytes()].concat()).into();
        for line in &lines[1..] {
            let (hash, rest) = line.split_once(' ').unwrap();
            before = Sha256::digest([&before, rest.as_bytes()].concat()).into();
            assert_eq!(hash, Hash(before).to_string());
        }
    }

    #[test]
    fn every_flipped_bit_is_found_in_the_line_that_has_it() {
        let (bytes, head, ends) = file(4);
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut bad = bytes.clone();
                bad[at] ^= 1 << bit;
                let walked = walk(&bad, &mut |_| ());
                if at < ends[0] {
                    // A first line that says something else is chained to nothing that follows.
                    assert!(walked.is_none_or(|it| it.wrong.is_some()), "{at}");
                    continue;
                }
                let walked = walked.unwrap();
                let of = ends.iter().rposition(|end| *end <= at).unwrap();
                assert_eq!((walked.good, walked.writer.head.count), (ends[of], of as u64), "{at}");
                match walked.wrong {
                    Some(wrong) => {
                        assert_eq!((wrong.from, wrong.record), (ends[of], of as u64 + 1));
                        assert!((wrong.from..wrong.to).contains(&at), "{at}");
                    }
                    // The very last line's end is missing: the head says that there was one.
                    None => assert!(at + 1 == bytes.len() && walked.writer.head.count < head.count),
                }
            }
        }
    }

    #[test]
    fn a_file_cut_at_any_byte_keeps_its_whole_lines() {
        let (bytes, _, ends) = file(5);
        for cut in 0..=bytes.len() {
            let walked = walk(&bytes[..cut], &mut |_| ());
            let Some(whole) = ends.iter().rposition(|end| *end <= cut) else {
                assert!(walked.is_none());
                continue;
            };
            let walked = walked.unwrap();
            assert_eq!((walked.good, walked.wrong), (ends[whole], None), "cut at {cut}");
        }
    }

    #[test]
    fn lines_in_another_order_and_lines_left_out_are_found() {
        let (bytes, _, ends) = file(4);
        let line = |n: usize| &bytes[ends[n]..ends[n + 1]];
        let head = &bytes[..ends[0]];
        for order in [[0, 2, 1, 3].as_slice(), &[0, 2, 3], &[1, 2, 3], &[0, 0, 1]] {
            let other = [head].into_iter().chain(order.iter().map(|n| line(*n))).collect::<Vec<_>>().concat();
            assert!(walk(&other, &mut |_| ()).unwrap().wrong.is_some(), "{order:?}");
        }
    }

    #[test]
    fn a_head_is_read_only_as_it_is_written() {
        let text = file(3).1.text();
        for at in 0..text.len() {
            let mut bad = text.clone().into_bytes();
            bad[at] ^= 1;
            assert_ne!(Head::parse(&bad), Head::parse(text.as_bytes()), "{at}");
            assert_eq!(Head::parse(&text.as_bytes()[..at]), None);
        }
    }
}
