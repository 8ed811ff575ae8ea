//! Records of one VM on their way to the control plane, in batches. Delivery is at least once: a batch keeps its number
//! until it is taken, and the receiver drops numbers that it has seen. What does not fit is counted and told; how much
//! fits is the caller's to say. It knows nothing of what is in a record.

use crate::wire::{bytes, fixed, number};
use crate::{Nanos, SECOND};

/// A batch is sent when it is this long, or as old as the caller says.
const FULL: usize = 128 << 10;
/// A batch that was not taken is sent again after this time.
const AGAIN: Nanos = SECOND;
/// gRPC: invalid argument, unimplemented. Sending such a batch again changes nothing.
const HOPELESS: [u32; 2] = [3, 12];

/// The records.
#[derive(Debug, Default)]
pub struct Outbox {
    waiting: Vec<u8>,
    since: Nanos,
    dropped: u64,
    seq: u64,
    /// The batch that was not taken yet.
    batch: Vec<u8>,
    in_flight: bool,
    after: Nanos,
}

impl Outbox {
    /// Takes in one encoded record.
    pub fn add(&mut self, now: Nanos, record: &[u8]) {
        if self.waiting.is_empty() {
            self.since = now;
        }
        bytes(&mut self.waiting, 5, record);
    }

    /// Counts a record for which there is no room.
    pub fn drop_one(&mut self) {
        self.dropped += 1;
    }

    /// Records for which there was no room.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Bytes that wait for the next batch.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Bytes that nobody has taken yet.
    pub fn unacknowledged(&self) -> usize {
        self.waiting.len() + self.batch.len()
    }

    /// The batch to send now, if any: one that was not taken, or what waits for `every` or is long enough.
    /// [`Outbox::answer`] must follow. `sid` is the process's session, or other bits that are not 0; `vm` are random bits
    /// of this VM.
    pub fn due(&mut self, now: Nanos, every: Nanos, sid: u64, vm: u64) -> Option<&[u8]> {
        if self.in_flight || sid == 0 || now < self.after {
            return None;
        }
        if self.batch.is_empty() {
            let due = now.saturating_sub(self.since) >= every || self.waiting.len() >= FULL;
            if self.waiting.is_empty() || !due {
                return None;
            }
            self.seq += 1;
            fixed(&mut self.batch, 1, sid);
            fixed(&mut self.batch, 2, vm);
            number(&mut self.batch, 3, self.seq);
            number(&mut self.batch, 4, self.dropped);
            self.batch.append(&mut self.waiting);
        }
        self.in_flight = true;
        Some(&self.batch)
    }

    /// The answer to the batch in flight: taken, or a gRPC status.
    pub fn answer(&mut self, now: Nanos, answer: Result<(), u32>) {
        self.in_flight = false;
        match answer {
            Err(status) if !HOPELESS.contains(&status) => self.after = now + AGAIN,
            _ => self.batch.clear(),
        }
    }
}
