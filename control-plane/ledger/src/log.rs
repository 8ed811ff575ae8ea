//! The bytes of the ledger's log. Entries state facts that merge by maximum, so replaying any prefix, or a part twice,
//! is harmless. A *frame* is what one batch appended: magic, length, number, the highest number known to be durable when
//! this one was written, CRC-32, entries.
//!
//! After a crash the file's end may be torn: the first unreadable frame and all behind it are cut off, for a frame that
//! had been synced, and with it every grant that was told to anybody, lies before it. When a later frame proves that
//! the unreadable one *had* been durable, the file is damaged, and guessing would forget grants: that is an error.

use weir_lease::{Instance, Unit};

use crate::Error;
use crate::operate::{Alert, Audit, Override, Scope};

/// One fact.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// The ledger's epoch.
    Epoch(u64),
    /// A session was opened or closed.
    Session {
        /// Its number.
        sid: u64,
        /// Envoy's node id.
        node: String,
        /// Whether it is over.
        closed: bool,
    },
    /// A counter's number in this log.
    Book {
        /// Number.
        index: u32,
        /// Counter.
        instance: Instance,
    },
    /// A window of a counter.
    Window {
        /// The counter.
        index: u32,
        /// Start in Unix milliseconds.
        start: u64,
        /// End in Unix milliseconds.
        end: u64,
    },
    /// A vector.
    Vector {
        /// The counter.
        index: u32,
        /// The window.
        wid: u64,
        /// The session.
        sid: u64,
        /// The lane.
        lane: u32,
        /// Granted.
        g: u64,
        /// Returned.
        r: u64,
        /// Used.
        u: u64,
    },
    /// A vector was granted more.
    Grant {
        /// The counter.
        index: u32,
        /// The window.
        wid: u64,
        /// The session.
        sid: u64,
        /// The lane.
        lane: u32,
        /// Granted in all.
        g: u64,
        /// Of it, just now.
        amount: u64,
    },
    /// What a vector had outstanding was given free.
    Freed {
        /// The counter.
        index: u32,
        /// The window.
        wid: u64,
        /// The session.
        sid: u64,
        /// The lane.
        lane: u32,
        /// One more than what it had been granted then.
        at: u64,
    },
    /// What a bucket of a rolling counter has been charged.
    Bucket {
        /// The counter.
        index: u32,
        /// Length of the window in milliseconds.
        window: u64,
        /// The bucket.
        bucket: u64,
        /// Units in it.
        units: u64,
    },
    /// The clock by which buckets are cut, in milliseconds, and the wall time when it said so.
    Clock {
        /// The clock.
        clock: u64,
        /// Unix milliseconds.
        wall: u64,
    },
    /// A limit was raised for a while; with 0 units, all of the same scope with smaller numbers end.
    Override(Override),
    /// A threshold was crossed.
    Alert(Alert),
    /// Somebody did something.
    Audit(Audit),
}

const MAGIC: [u8; 4] = *b"WLg1";
/// Magic, length, number, durable number, checksum.
const HEAD: usize = 4 + 4 + 8 + 8 + 4;
/// A longer frame is not written, so a longer one is not believed.
const MAX_FRAME: usize = 1 << 26;

impl Entry {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        fn text(out: &mut Vec<u8>, text: &str) {
            out.extend_from_slice(&(text.len() as u64).to_le_bytes());
            out.extend_from_slice(text.as_bytes());
        }
        fn name(out: &mut Vec<u8>, instance: &Instance) {
            out.extend_from_slice(&(instance.unit as u64).to_le_bytes());
            for part in [&instance.budget, &instance.subject, &instance.definition] {
                text(out, part);
            }
        }
        let mut word = |value: u64| out.extend_from_slice(&value.to_le_bytes());
        match self {
            Entry::Epoch(epoch) => {
                word(1);
                word(*epoch);
            }
            Entry::Session { sid, node, closed } => {
                word(2);
                word(*sid);
                word(u64::from(*closed));
                word(node.len() as u64);
                out.extend_from_slice(node.as_bytes());
            }
            Entry::Book { index, instance } => {
                word(3);
                word(u64::from(*index));
                name(out, instance);
            }
            Entry::Window { index, start, end } => {
                word(4);
                word(u64::from(*index));
                word(*start);
                word(*end);
            }
            Entry::Vector { index, wid, sid, lane, g, r, u } => {
                word(5);
                word(u64::from(*index) << 32 | u64::from(*lane));
                for value in [wid, sid, g, r, u] {
                    word(*value);
                }
            }
            Entry::Grant { index, wid, sid, lane, g, amount } => {
                word(12);
                word(u64::from(*index) << 32 | u64::from(*lane));
                for value in [wid, sid, g, amount] {
                    word(*value);
                }
            }
            Entry::Freed { index, wid, sid, lane, at } => {
                word(6);
                word(u64::from(*index) << 32 | u64::from(*lane));
                for value in [wid, sid, at] {
                    word(*value);
                }
            }
            Entry::Bucket { index, window, bucket, units } => {
                for value in [10, u64::from(*index), *window, *bucket, *units] {
                    word(value);
                }
            }
            Entry::Clock { clock, wall } => {
                for value in [11, *clock, *wall] {
                    word(value);
                }
            }
            Entry::Override(Override { id, scope, add, until }) => {
                word(7);
                word(*id);
                word(*add);
                word(*until);
                word(scope.unit.map_or(0, |unit| unit as u64 + 1));
                word(u64::from(scope.subject.is_some()));
                text(out, &scope.budget);
                text(out, scope.subject.as_deref().unwrap_or_default());
            }
            Entry::Alert(alert) => {
                word(8);
                for value in [alert.wid, alert.threshold, alert.spent, alert.limit, alert.at] {
                    word(value);
                }
                name(out, &alert.instance);
            }
            Entry::Audit(Audit { at, by, what }) => {
                word(9);
                word(*at);
                text(out, by);
                text(out, what);
            }
        }
    }

    pub(crate) fn decode(from: &mut &[u8]) -> Option<Entry> {
        fn word(from: &mut &[u8]) -> Option<u64> {
            let (head, rest) = from.split_first_chunk()?;
            *from = rest;
            Some(u64::from_le_bytes(*head))
        }
        fn text(from: &mut &[u8]) -> Option<String> {
            let length = usize::try_from(word(from)?).ok()?;
            let (head, rest) = from.split_at_checked(length)?;
            *from = rest;
            String::from_utf8(head.to_vec()).ok()
        }
        fn name(from: &mut &[u8]) -> Option<Instance> {
            let unit = word(from)? as i32;
            let (budget, subject, definition) = (text(from)?, text(from)?, text(from)?);
            Some(Instance { budget, unit, subject, definition })
        }
        Some(match word(from)? {
            1 => Entry::Epoch(word(from)?),
            2 => {
                let (sid, closed) = (word(from)?, word(from)? != 0);
                Entry::Session { sid, closed, node: text(from)? }
            }
            3 => Entry::Book { index: word(from)? as u32, instance: name(from)? },
            4 => Entry::Window { index: word(from)? as u32, start: word(from)?, end: word(from)? },
            5 => {
                let both = word(from)?;
                let (index, lane) = ((both >> 32) as u32, both as u32);
                let (wid, sid) = (word(from)?, word(from)?);
                Entry::Vector { index, wid, sid, lane, g: word(from)?, r: word(from)?, u: word(from)? }
            }
            12 => {
                let both = word(from)?;
                let (index, lane) = ((both >> 32) as u32, both as u32);
                let (wid, sid, g, amount) = (word(from)?, word(from)?, word(from)?, word(from)?);
                Entry::Grant { index, wid, sid, lane, g, amount }
            }
            6 => {
                let both = word(from)?;
                let (index, lane) = ((both >> 32) as u32, both as u32);
                Entry::Freed { index, lane, wid: word(from)?, sid: word(from)?, at: word(from)? }
            }
            7 => {
                let (id, add, until) = (word(from)?, word(from)?, word(from)?);
                let unit = match word(from)? {
                    0 => None,
                    unit => Unit::try_from(i32::try_from(unit - 1).ok()?).ok(),
                };
                let some = word(from)? != 0;
                let (budget, subject) = (text(from)?, text(from)?);
                let scope = Scope { budget, unit, subject: some.then_some(subject) };
                Entry::Override(Override { id, scope, add, until })
            }
            8 => {
                let (wid, threshold, spent) = (word(from)?, word(from)?, word(from)?);
                let (limit, at) = (word(from)?, word(from)?);
                Entry::Alert(Alert { wid, threshold, spent, limit, at, instance: name(from)? })
            }
            10 => Entry::Bucket {
                index: word(from)? as u32,
                window: word(from)?,
                bucket: word(from)?,
                units: word(from)?,
            },
            11 => Entry::Clock { clock: word(from)?, wall: word(from)? },
            9 => Entry::Audit(Audit { at: word(from)?, by: text(from)?, what: text(from)? }),
            _ => return None,
        })
    }
}

/// Writes frames: keeps their numbers.
#[derive(Clone, Debug, Default)]
pub struct Frames {
    next: u64,
    durable: u64,
}

impl Frames {
    /// Appends one frame with these entries.
    pub fn append(&mut self, entries: &[Entry], out: &mut Vec<u8>) {
        for chunk in entries.chunks(100_000) {
            let at = out.len();
            self.next += 1;
            out.extend_from_slice(&[0; HEAD]);
            for entry in chunk {
                entry.encode(out);
            }
            let length = (out.len() - at - HEAD) as u32;
            let mut head = Vec::with_capacity(HEAD);
            head.extend_from_slice(&MAGIC);
            head.extend_from_slice(&length.to_le_bytes());
            head.extend_from_slice(&self.next.to_le_bytes());
            head.extend_from_slice(&self.durable.to_le_bytes());
            let sum = checksum(&head, &out[at + HEAD..]);
            head.extend_from_slice(&sum.to_le_bytes());
            out[at..at + HEAD].copy_from_slice(&head);
        }
    }

    /// All that was appended is on the disk.
    pub fn synced(&mut self) {
        self.durable = self.next;
    }
}

fn checksum(head: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(head);
    hasher.update(body);
    hasher.finalize()
}

struct Frame<'a> {
    number: u64,
    durable: u64,
    body: &'a [u8],
}

fn frame(bytes: &[u8]) -> Option<Frame<'_>> {
    let (head, rest) = bytes.split_at_checked(HEAD)?;
    let word = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().unwrap_or_default());
    let half = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().unwrap_or_default());
    let length = half(4) as usize;
    if head[..4] != MAGIC || length > MAX_FRAME {
        return None;
    }
    let body = rest.get(..length)?;
    (checksum(&head[..HEAD - 4], body) == half(HEAD - 4)).then(|| Frame {
        number: word(8),
        durable: word(16),
        body,
    })
}

/// Reads a log: each entry in order to `each`. The bytes that are good, and the state for appending behind them.
pub fn recover(log: &[u8], each: &mut dyn FnMut(Entry)) -> Result<(usize, Frames), Error> {
    let (mut at, mut frames) = (0, Frames::default());
    while let Some(found) = frame(&log[at..]) {
        if frames.next != 0 && found.number != frames.next + 1 {
            break;
        }
        let mut body = found.body;
        while !body.is_empty() {
            match Entry::decode(&mut body) {
                Some(entry) => each(entry),
                // The checksum holds, so it was written like this: by a version that knows more.
                None => return Err(Error::Damaged(at as u64)),
            }
        }
        frames.next = found.number;
        at += HEAD + found.body.len();
    }
    let torn = &log[at..];
    for start in 1..torn.len().saturating_sub(HEAD) {
        if torn[start..].starts_with(&MAGIC)
            && let Some(later) = frame(&torn[start..])
            && later.number > frames.next
            && later.durable > frames.next
        {
            return Err(Error::Damaged(at as u64));
        }
    }
    frames.durable = frames.next;
    Ok((at, frames))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(unit: Option<Unit>, subject: Option<&str>) -> Scope {
        Scope { budget: "b".into(), unit, subject: subject.map(str::to_owned) }
    }

    fn entries(n: u64) -> Vec<Entry> {
        let instance = Instance::new("b", weir_lease::Unit::NanoUsd, "subject", "def");
        vec![
            Entry::Epoch(n),
            Entry::Session { sid: n, node: "edge-1".into(), closed: n.is_multiple_of(2) },
            Entry::Book { index: 3, instance: instance.clone() },
            Entry::Freed { index: 3, wid: n, sid: 9, lane: 17, at: n },
            Entry::Grant { index: 3, wid: n, sid: 9, lane: 17, g: n, amount: 2 },
            Entry::Override(Override { id: n, scope: scope(None, Some("s")), add: n, until: 9 }),
            Entry::Override(Override { id: n, scope: scope(Some(Unit::NanoUsd), None), add: 0, until: 9 }),
            Entry::Alert(Alert { instance, wid: n, threshold: 8_000, spent: 4, limit: 5, at: n }),
            Entry::Bucket { index: 3, window: 60_000, bucket: n, units: 7 },
            Entry::Clock { clock: n, wall: n + 1 },
            Entry::Audit(Audit { at: n, by: "me".into(), what: "this".into() }),
            Entry::Window { index: 3, start: n, end: n + 60_000 },
            Entry::Vector { index: 3, wid: n, sid: u64::MAX, lane: 17, g: n, r: 2, u: 3 },
        ]
    }

    fn read(log: &[u8]) -> Result<(usize, Vec<Entry>), Error> {
        let mut all = Vec::new();
        let (good, _) = recover(log, &mut |entry| all.push(entry))?;
        Ok((good, all))
    }

    #[test]
    fn a_log_torn_at_any_byte_keeps_exactly_its_whole_frames() {
        let (mut frames, mut log, mut ends) = (Frames::default(), Vec::new(), vec![0]);
        for n in 1..=5 {
            frames.append(&entries(n), &mut log);
            frames.synced();
            ends.push(log.len());
        }
        for cut in 0..=log.len() {
            let (good, all) = read(&log[..cut]).unwrap();
            let whole = ends.iter().filter(|end| **end > 0 && **end <= cut).count();
            assert_eq!(good, ends[whole], "cut at {cut}");
            assert_eq!(all, (1..=whole as u64).flat_map(entries).collect::<Vec<_>>());
        }
    }

    #[test]
    fn every_flipped_byte_is_noticed() {
        let (mut frames, mut log) = (Frames::default(), Vec::new());
        frames.append(&entries(1), &mut log);
        let first = log.len();
        frames.append(&entries(2), &mut log);
        for at in 0..log.len() {
            let mut bad = log.clone();
            bad[at] ^= 0x40;
            // Never synced in between, so it may be torn there: cut, not an error.
            let (good, _) = read(&bad).unwrap();
            assert_eq!(good, if at < first { 0 } else { first }, "flipped at {at}");
        }
    }

    #[test]
    fn a_hole_in_what_was_durable_is_an_error_and_not_a_torn_tail() {
        let (mut frames, mut log) = (Frames::default(), Vec::new());
        frames.append(&entries(1), &mut log);
        frames.synced();
        frames.append(&entries(2), &mut log);
        log[30] ^= 1;
        assert!(matches!(read(&log), Err(Error::Damaged(0))));
    }

    #[test]
    fn appending_goes_on_behind_a_cut_tail() {
        let (mut frames, mut log) = (Frames::default(), Vec::new());
        frames.append(&entries(1), &mut log);
        frames.append(&entries(2), &mut log);
        log.truncate(log.len() - 1);
        let (good, mut frames) = recover(&log, &mut |_| {}).unwrap();
        log.truncate(good);
        frames.append(&entries(3), &mut log);
        let (good, all) = read(&log).unwrap();
        assert_eq!((good, all), (log.len(), [1, 3].into_iter().flat_map(entries).collect()));
    }
}
