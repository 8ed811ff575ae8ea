//! Decision records on their way to the control plane's log. Where the policy says that none may be lost, a request is
//! let in only while its record has a place, and a batch is sent until it is kept.

use crate::outbox::Outbox;
use crate::{MS, Nanos};

/// The gRPC service that keeps decision records.
pub const DECISION_SERVICE: &str = "weir.decisions.v1.Decisions";
/// Its only method.
pub const DECISION_METHOD: &str = "Report";
/// The call's time limit in milliseconds.
pub const DECISION_TIMEOUT_MS: u32 = 5_000;

/// Bytes that a VM keeps until they are acknowledged.
const MOST: usize = 4 << 20;
/// What a record is thought to have, before it is there.
const TYPICAL: usize = 1 << 10;
/// A batch gathers for so long.
const EVERY: Nanos = 100 * MS;
/// gRPC: unavailable.
const AGAIN: u32 = 14;

/// The decision records of one VM.
#[derive(Debug, Default)]
pub struct Decided {
    outbox: Outbox,
    /// Requests under way whose record has a place.
    open: usize,
}

impl Decided {
    /// Whether one record more has a place.
    pub fn room(&self) -> bool {
        self.outbox.unacknowledged() + self.open * TYPICAL < MOST
    }

    /// A request is let in whose record will come.
    pub fn admit(&mut self) {
        self.open += 1;
    }

    /// The record of a request that is over. One that was let in is never dropped.
    pub fn push(&mut self, now: Nanos, record: &[u8], admitted: bool) {
        if admitted {
            self.open = self.open.saturating_sub(1);
        } else if !self.room() {
            self.outbox.drop_one();
            return;
        }
        self.outbox.add(now, record);
    }

    /// Records for which there was no room.
    pub fn dropped(&self) -> u64 {
        self.outbox.dropped()
    }

    /// The batch to send now, if any; [`Decided::answer`] must follow. `vm` are random bits of this VM.
    pub fn batch(&mut self, now: Nanos, vm: [u64; 2]) -> Option<&[u8]> {
        let [a, b] = vm;
        self.outbox.due(now, EVERY, a | 1, b)
    }

    /// The answer to the batch in flight. Whatever stands in its way, it is sent again.
    pub fn answer(&mut self, now: Nanos, kept: bool) {
        self.outbox.answer(now, if kept { Ok(()) } else { Err(AGAIN) });
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::SECOND;
    use crate::message::DecisionReport;

    fn read(decided: &mut Decided, now: Nanos) -> DecisionReport {
        DecisionReport::decode(decided.batch(now, [6, 9]).expect("a batch is due")).unwrap()
    }

    #[test]
    fn a_batch_is_what_the_derived_code_reads_and_the_same_until_it_is_kept() {
        let mut decided = Decided::default();
        decided.push(0, b"{\"id\":\"a\"}", false);
        decided.push(0, b"{\"id\":\"b\"}", false);
        assert!(decided.batch(EVERY - 1, [6, 9]).is_none());
        let first = read(&mut decided, EVERY);
        assert_eq!((first.life, first.vm, first.seq, first.dropped), (7, 9, 1, 0));
        assert_eq!(first.records, [b"{\"id\":\"a\"}", b"{\"id\":\"b\"}"]);
        decided.push(EVERY, b"c", false);
        decided.answer(EVERY, false);
        assert!(decided.batch(EVERY + SECOND - 1, [6, 9]).is_none(), "not at once");
        assert_eq!(read(&mut decided, EVERY + SECOND), first, "the acknowledgement may have been lost");
        decided.answer(EVERY + SECOND, true);
        let second = read(&mut decided, EVERY + SECOND);
        assert_eq!((second.seq, second.records), (2, vec![b"c".to_vec()]));
    }

    #[test]
    fn what_was_let_in_is_never_dropped_and_nothing_more_is_let_in() {
        let mut decided = Decided::default();
        let record = vec![b'x'; 3 * TYPICAL];
        let mut admitted = 0;
        while decided.room() {
            decided.admit();
            admitted += 1;
        }
        assert_eq!(admitted, MOST / TYPICAL);
        decided.push(0, &record, false);
        assert_eq!(decided.dropped(), 1, "of a request that needed no place");
        for _ in 0..admitted {
            decided.push(0, &record, true);
        }
        assert!(!decided.room(), "the control plane is away");
        let report = read(&mut decided, EVERY);
        assert_eq!((report.records.len(), report.dropped), (admitted, 1));
        assert!(!decided.room(), "sent is not kept");
        decided.answer(EVERY, false);
        assert!(!decided.room());
        assert_eq!(read(&mut decided, 9 * SECOND), report);
        decided.answer(9 * SECOND, true);
        assert!(decided.room());
    }
}
