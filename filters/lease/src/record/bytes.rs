//! The bytes of a record, little-endian: `u8 version, u8 flags, u16 slots, u32 lane, u128 id`, the 64-bit fields in the
//! order of [`Record`], the slots, and the encoded [`Instance`](crate::Instance) up to the end.

use super::{Record, Slot, Vector};

/// Version of the format. Another version is another key prefix, so it is only a check.
const VERSION: u8 = 2;
const TIGHT: u8 = 1;
const ROOMY: u8 = 2;
/// Bytes before the slots.
const FIXED: usize = 24 + 23 * 8;
/// Bytes of one slot.
const SLOT: usize = 32;

impl Record {
    /// The bytes in shared data.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(FIXED + self.slots.len() * SLOT + self.name.len());
        let flags = if self.tight { TIGHT } else { 0 } | if self.roomy { ROOMY } else { 0 };
        out.extend_from_slice(&[VERSION, flags]);
        out.extend_from_slice(&(self.slots.len() as u16).to_le_bytes());
        out.extend_from_slice(&self.lane.to_le_bytes());
        out.extend_from_slice(&self.id.to_le_bytes());
        let Vector { g, r, u, h } = self.now;
        let prev = self.prev;
        for word in [
            self.wid,
            self.ends_at,
            self.refuse_until,
            self.refuse_from,
            self.cap,
            g,
            r,
            u,
            h,
            self.rev,
            self.acked,
            self.asked_at,
            self.demand,
            self.demand_sum,
            self.demand_since,
            self.mean,
            self.prev_wid,
            prev.g,
            prev.r,
            prev.u,
            prev.h,
            u64::from(self.hold_ms) << 32 | u64::from(self.seq),
            self.excess,
        ] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        for slot in &self.slots {
            out.extend_from_slice(&slot.vm.to_le_bytes());
            out.extend_from_slice(&slot.seq.to_le_bytes());
            out.extend_from_slice(&slot.h.to_le_bytes());
            out.extend_from_slice(&slot.h_prev.to_le_bytes());
            out.extend_from_slice(&slot.n.to_le_bytes());
            out.extend_from_slice(&slot.n_prev.to_le_bytes());
        }
        for word in [self.next.0, self.next.1, self.next.2] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(&self.name);
        out
    }

    /// `None` when the bytes are no record of this version.
    pub fn decode(bytes: &[u8]) -> Option<Record> {
        let mut from = Reader(bytes);
        let [version, flags] = from.take::<2>()?;
        if version != VERSION {
            return None;
        }
        let slots = u16::from_le_bytes(from.take()?);
        let mut record = Record {
            tight: flags & TIGHT != 0,
            roomy: flags & ROOMY != 0,
            lane: from.u32()?,
            id: u128::from_le_bytes(from.take()?),
            wid: from.u64()?,
            ends_at: from.u64()?,
            refuse_until: from.u64()?,
            refuse_from: from.u64()?,
            cap: from.u64()?,
            now: Vector { g: from.u64()?, r: from.u64()?, u: from.u64()?, h: from.u64()? },
            rev: from.u64()?,
            acked: from.u64()?,
            asked_at: from.u64()?,
            demand: from.u64()?,
            demand_sum: from.u64()?,
            demand_since: from.u64()?,
            mean: from.u64()?,
            prev_wid: from.u64()?,
            prev: Vector { g: from.u64()?, r: from.u64()?, u: from.u64()?, h: from.u64()? },
            seq: from.u32()?,
            hold_ms: from.u32()?,
            excess: from.u64()?,
            ..Record::default()
        };
        record.slots.reserve_exact(usize::from(slots.min(1024)) + 1);
        for _ in 0..slots {
            record.slots.push(Slot {
                vm: from.u32()?,
                seq: from.u32()?,
                h: from.u64()?,
                h_prev: from.u64()?,
                n: from.u32()?,
                n_prev: from.u32()?,
            });
        }
        record.next = (from.u64()?, from.u64()?, from.u64()?);
        record.name = from.0.to_vec();
        Some(record)
    }
}

/// Reads little-endian words off the front.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl Reader<'_> {
    pub(crate) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::granted;
    use super::*;
    use crate::SECOND;

    #[test]
    fn every_field_survives_the_bytes() {
        let mut record = granted(100);
        record.tight = true;
        record.next = (20, 5, 200);
        record.hold_ms = 600_000;
        record.reserve(1, 3, 10).unwrap();
        record.reserve(1, 4, 10).unwrap();
        record.refuse_until = 9;
        record.note_demand(5 * SECOND, 77);
        record.excess = 4_097;
        let bytes = record.encode();
        assert_eq!(Record::decode(&bytes), Some(record));
        for cut in 0..FIXED + 2 * SLOT {
            assert_eq!(Record::decode(&bytes[..cut]), None, "cut at {cut}");
        }
    }
}
