//! The record of one counter in the process's shared data, and its transitions. Each transition is pure and is written
//! by one compare-and-swap; after every one of them `used + held <= granted - returned` unless a request cost more than
//! it had reserved.
//!
//! Bytes, little-endian: `u8 version, u8 flags, u16 slots, u32 lane, u128 id`, the 64-bit fields in the order of
//! [`Record`], the slots, and the encoded [`Instance`](crate::Instance) up to the end.

use crate::mutant::{self, Mutant};
use crate::{KEEP, MS, Nanos, SECOND};

/// Version of the format. Another version is another key prefix, so it is only a check.
const VERSION: u8 = 2;
const TIGHT: u8 = 1;
const ROOMY: u8 = 2;
/// Bytes before the slots.
const FIXED: usize = 24 + 23 * 8;
/// Requests in which a cost above its reservation is forgotten by two thirds, as a power of two.
const MEMORY: u32 = 12;
/// Costs above reservations are kept in parts of this, so that small ones fade as slowly as large ones.
const PART: u64 = 1 << 10;
/// Bytes of one slot.
const SLOT: usize = 32;

/// The three numbers that only grow, and what requests hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vector {
    /// Granted by the ledger.
    pub g: u64,
    /// Returned to it.
    pub r: u64,
    /// Used.
    pub u: u64,
    /// Held by requests in flight.
    pub h: u64,
}

impl Vector {
    /// Granted and neither returned, used nor held.
    pub const fn free(&self) -> u64 {
        self.g.saturating_sub(self.r).saturating_sub(self.u).saturating_sub(self.h)
    }
}

/// What one VM's requests hold, so that a dead VM's can be presumed spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    /// The VM.
    pub vm: u32,
    /// Which life of the slot: a settlement that names another one is fenced.
    pub seq: u32,
    /// Held in the current window.
    pub h: u64,
    /// Held in the previous window.
    pub h_prev: u64,
    /// Requests that hold in the current window.
    pub n: u32,
    /// Requests that hold in the previous window.
    pub n_prev: u32,
}

/// Names one reservation within its record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ticket {
    /// The window that is charged.
    pub wid: u64,
    /// The VM.
    pub vm: u32,
    /// The slot's life.
    pub seq: u32,
    /// Units.
    pub amount: u64,
}

/// What became of a settlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// Booked in its window.
    Booked,
    /// Its window is long over: the reservation stands as charged.
    Late,
    /// Its VM was presumed dead: the reservation has been presumed spent.
    Fenced,
}

/// What the ledger says about a record, in the process's time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Word {
    /// Its window.
    pub wid: u64,
    /// When that ends.
    pub ends_at: Nanos,
    /// Granted in it.
    pub g: u64,
    /// Granted as known when the call was sent.
    pub g_sent: u64,
    /// Most that should be free.
    pub cap: u64,
    /// Free units live in the ledger.
    pub tight: bool,
    /// Plenty is left.
    pub roomy: bool,
    /// The report that is answered.
    pub rev: u64,
    /// Grant for the next window: window, units, end. Window 0 is none.
    pub next: (u64, u64, Nanos),
    /// See [`Record::hold_ms`].
    pub hold_ms: u32,
}

/// One counter's lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Free units live in the ledger: what exceeds `cap` goes home at once.
    pub tight: bool,
    /// Plenty is left in the ledger.
    pub roomy: bool,
    /// Which life of this instance in this process; see [`crate::message::Item::lane`].
    pub lane: u32,
    /// Hash of the instance.
    pub id: u128,
    /// The window; 0 before the ledger's first answer.
    pub wid: u64,
    /// When it ends.
    pub ends_at: Nanos,
    /// Asks of at least `refuse_from` units are refused here until then.
    pub refuse_until: Nanos,
    /// See `refuse_until`; 0 while the ledger recovers and grants nothing to anybody.
    pub refuse_from: u64,
    /// Most that should be free.
    pub cap: u64,
    /// The window's vector.
    pub now: Vector,
    /// Number of changes: the number of the next report.
    pub rev: u64,
    /// Highest report that the ledger has answered.
    pub acked: u64,
    /// When units were last asked for ahead of need.
    pub asked_at: Nanos,
    /// Demand per second, up to `demand_since`.
    pub demand: u64,
    /// Demand since then.
    pub demand_sum: u64,
    /// See `demand`.
    pub demand_since: Nanos,
    /// Mean reservation.
    pub mean: u64,
    /// The previous window; 0 is none.
    pub prev_wid: u64,
    /// Its vector.
    pub prev: Vector,
    /// Next window, its grant and its end; window 0 is none.
    pub next: (u64, u64, Nanos),
    /// Number of the latest slot.
    pub seq: u32,
    /// Of a rolling window: how long a dead VM's holds stay outstanding before they are presumed spent, in milliseconds.
    pub hold_ms: u32,
    /// What each VM holds.
    pub slots: Vec<Slot>,
    /// The most that a request of late cost above its reservation, in 1,024ths of a unit.
    pub excess: u64,
    /// The encoded instance.
    pub name: Vec<u8>,
}

impl Record {
    /// A record that holds nothing yet.
    pub fn new(id: u128, name: Vec<u8>, lane: u32) -> Record {
        Record { id, name, lane, ..Record::default() }
    }

    /// Whether another instance may take this record's place: nothing free, nothing held, all reported.
    pub fn idle(&self) -> bool {
        self.now.h == 0
            && self.prev.h == 0
            && self.now.free() == 0
            && self.next.1 == 0
            && self.rev == self.acked
    }

    /// Requests that hold in the current window.
    pub fn running(&self) -> u32 {
        self.slots.iter().fold(0, |sum, slot| sum.saturating_add(slot.n))
    }

    /// What the requests in flight may cost above their reservations, as those before them did: the ledger keeps so much
    /// back. 0 while every bound holds.
    pub fn headroom(&self) -> u64 {
        if mutant::on(Mutant::NoHeadroom) {
            return 0;
        }
        u64::from(self.running()).saturating_mul(self.excess.div_ceil(PART))
    }

    /// Moves on to the window that was granted ahead, when its time has come. Whether the record's window is open.
    pub fn open(&mut self, now: Nanos) -> bool {
        let (wid, g, ends_at) = self.next;
        if now >= self.ends_at && wid > self.wid && now < ends_at {
            self.roll(wid, g, ends_at);
        }
        self.wid != 0 && now < self.ends_at
    }

    fn roll(&mut self, wid: u64, g: u64, ends_at: Nanos) {
        if self.wid != 0 {
            self.prev_wid = self.wid;
            self.prev = self.now;
            for slot in &mut self.slots {
                slot.h_prev = core::mem::take(&mut slot.h);
                slot.n_prev = core::mem::take(&mut slot.n);
            }
        }
        self.slots.retain(|slot| slot.n_prev > 0);
        self.wid = wid;
        self.ends_at = ends_at;
        self.now = Vector { g, ..Vector::default() };
        self.refuse_until = 0;
        if self.next.0 <= wid {
            self.next = (0, 0, 0);
        }
        self.rev += 1;
    }

    /// Reserves `x` units for a request of `vm`; `None` when the lease is short or its window over.
    pub fn reserve(&mut self, now: Nanos, vm: u32, x: u64) -> Option<Ticket> {
        if !self.open(now) || self.now.free() < x {
            return None;
        }
        let seq = match self.slots.iter_mut().find(|slot| slot.vm == vm) {
            Some(slot) => {
                slot.h += x;
                slot.n += 1;
                slot.seq
            }
            None => {
                self.seq += 1;
                self.slots.push(Slot { vm, seq: self.seq, h: x, n: 1, ..Slot::default() });
                self.seq
            }
        };
        self.now.h += x;
        self.rev += 1;
        Some(Ticket { wid: self.wid, vm, seq, amount: x })
    }

    /// Ends a reservation that cost `actual`.
    pub fn settle(&mut self, ticket: &Ticket, actual: u64) -> Settled {
        let past = ticket.wid != self.wid;
        if past && ticket.wid != self.prev_wid {
            return Settled::Late;
        }
        let slot = self.slots.iter_mut().find(|slot| slot.vm == ticket.vm && slot.seq == ticket.seq);
        let Some(slot) = slot else { return Settled::Fenced };
        let (held, count, vector) = match past {
            false => (&mut slot.h, &mut slot.n, &mut self.now),
            true => (&mut slot.h_prev, &mut slot.n_prev, &mut self.prev),
        };
        if *held < ticket.amount || *count == 0 {
            return Settled::Fenced;
        }
        *held -= ticket.amount;
        *count -= 1;
        vector.h = vector.h.saturating_sub(ticket.amount);
        vector.u = vector.u.saturating_add(actual);
        let over = actual.saturating_sub(ticket.amount);
        self.excess = (self.excess - (self.excess >> MEMORY)).max(over.saturating_mul(PART));
        self.slots.retain(|slot| slot.n > 0 || slot.n_prev > 0);
        self.rev += 1;
        Settled::Booked
    }

    /// Presumes spent what dead VMs hold; the units presumed.
    pub fn reap(&mut self, dead: &mut dyn FnMut(u32) -> bool) -> u64 {
        let mut presumed = 0u64;
        let (now, prev) = (&mut self.now, &mut self.prev);
        self.slots.retain(|slot| {
            if !dead(slot.vm) {
                return true;
            }
            now.h = now.h.saturating_sub(slot.h);
            prev.h = prev.h.saturating_sub(slot.h_prev);
            if !mutant::on(Mutant::ReapRelease) {
                now.u = now.u.saturating_add(slot.h);
                prev.u = prev.u.saturating_add(slot.h_prev);
            }
            presumed = presumed.saturating_add(slot.h).saturating_add(slot.h_prev);
            false
        });
        if presumed > 0 {
            self.rev += 1;
        }
        presumed
    }

    /// Takes in an answer of the ledger. Harmless when it is old or comes twice.
    pub fn merge(&mut self, word: &Word) {
        self.acked = self.acked.max(word.rev);
        if word.wid > self.wid {
            let ahead = if self.next.0 == word.wid { self.next.1 } else { 0 };
            self.roll(word.wid, ahead.max(word.g), word.ends_at);
        } else if word.wid == self.wid {
            self.now.g = match mutant::on(Mutant::GAdd) {
                false => self.now.g.max(word.g),
                true => self.now.g + word.g.saturating_sub(word.g_sent),
            };
            self.ends_at = self.ends_at.max(word.ends_at);
        } else {
            return;
        }
        self.hold_ms = word.hold_ms;
        self.cap = word.cap;
        self.tight = word.tight;
        self.roomy = word.roomy;
        let (wid, g, ends_at) = word.next;
        if wid > self.wid {
            let g = if wid == self.next.0 { g.max(self.next.1) } else { g };
            self.next = (wid, g, ends_at);
        }
    }

    /// Notes that `x` units are wanted.
    pub fn note_demand(&mut self, now: Nanos, x: u64) {
        self.decay(now);
        self.demand_sum = self.demand_sum.saturating_add(x);
        self.mean = match self.mean {
            0 => x,
            // Seven parts old, one part new, without overflow.
            mean => mean / 8 * 7 + x / 8 + (mean % 8 * 7 + x % 8 + 4) / 8,
        };
    }

    /// Folds the demand of whole seconds into the rate. Whether the rate changed.
    pub fn decay(&mut self, now: Nanos) -> bool {
        let elapsed = now.saturating_sub(self.demand_since);
        if elapsed < SECOND {
            return false;
        }
        let before = self.demand;
        let fresh = self.demand_sum.saturating_mul(1_000) / (elapsed / MS);
        self.demand = match self.demand_sum {
            // Silence counts double, so that an idle process is soon known to be one.
            0 => self.demand / 4,
            _ if elapsed < 3 * SECOND => self.demand / 2 + fresh.div_ceil(2),
            _ => fresh,
        };
        self.demand_sum = 0;
        self.demand_since = now;
        before != self.demand
    }

    /// Demand per second by now.
    pub fn rate(&self) -> u64 {
        self.demand.max(self.demand_sum)
    }

    /// What the process would like to have free: one second's demand and a few reservations.
    pub fn want(&self) -> u64 {
        self.rate().saturating_add(KEEP.saturating_mul(self.mean))
    }

    /// How much of what is free should go home now.
    pub fn surplus(&self, now: Nanos) -> u64 {
        let free = self.now.free();
        let keep = if self.wid == 0 || now >= self.ends_at {
            0
        } else if self.tight {
            self.cap
        } else if self.rate() == 0 && self.now.h == 0 {
            if self.roomy { KEEP.saturating_mul(self.mean) } else { 0 }
        } else {
            self.rate().saturating_mul(3).saturating_add(2 * KEEP.saturating_mul(self.mean))
        };
        free.saturating_sub(keep)
    }

    /// Returns up to `y` free units. The report that says so leaves after this is written.
    pub fn give_back(&mut self, y: u64) -> u64 {
        let y = y.min(self.now.free());
        if y > 0 {
            self.now.r += y;
            self.rev += 1;
        }
        y
    }

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
    use super::*;

    fn granted(g: u64) -> Record {
        let mut record = Record::new(7, b"name".to_vec(), 16);
        record.merge(&Word { wid: 10, ends_at: 100, g, ..Word::default() });
        record
    }

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

    #[test]
    fn a_grant_that_comes_twice_or_late_counts_once() {
        let mut record = granted(100);
        record.merge(&Word { wid: 10, ends_at: 100, g: 60, ..Word::default() });
        record.merge(&Word { wid: 10, ends_at: 90, g: 100, ..Word::default() });
        assert_eq!((record.now.g, record.ends_at), (100, 100));
        record.merge(&Word { wid: 9, g: 500, ..Word::default() });
        assert_eq!(record.now.g, 100);
    }

    #[test]
    fn nothing_is_reserved_beyond_the_lease_or_its_end() {
        let mut record = granted(100);
        assert!(record.reserve(99, 1, 100).is_some());
        assert!(record.reserve(99, 1, 1).is_none());
        let mut record = granted(100);
        assert!(record.reserve(100, 1, 1).is_none());
    }

    #[test]
    fn a_dead_vm_s_holds_are_spent_and_its_settlements_fenced() {
        let mut record = granted(100);
        let dead = record.reserve(1, 1, 30).unwrap();
        let alive = record.reserve(1, 2, 20).unwrap();
        assert_eq!(record.reap(&mut |vm| vm == 1), 30);
        assert_eq!(record.now, Vector { g: 100, r: 0, u: 30, h: 20 });
        // The VM was only slow: what it reserves now is another slot, which the old ticket must not touch.
        let again = record.reserve(1, 1, 30).unwrap();
        assert_eq!(record.settle(&dead, 1), Settled::Fenced);
        assert_eq!(record.now.h, 50);
        assert_eq!(record.settle(&again, 10), Settled::Booked);
        assert_eq!(record.settle(&alive, 20), Settled::Booked);
        assert_eq!(record.now, Vector { g: 100, r: 0, u: 60, h: 0 });
    }

    #[test]
    fn a_settlement_goes_to_the_window_of_its_lease() {
        let mut record = granted(100);
        record.next = (20, 50, 200);
        let first = record.reserve(99, 1, 40).unwrap();
        let second = record.reserve(100, 1, 25).unwrap();
        assert_eq!((first.wid, second.wid), (10, 20));
        assert_eq!(record.settle(&first, 30), Settled::Booked);
        assert_eq!(record.prev, Vector { g: 100, r: 0, u: 30, h: 0 });
        assert_eq!(record.now, Vector { g: 50, r: 0, u: 0, h: 25 });
        record.merge(&Word { wid: 30, ends_at: 300, g: 9, ..Word::default() });
        record.merge(&Word { wid: 40, ends_at: 400, g: 9, ..Word::default() });
        assert_eq!(record.settle(&second, 1), Settled::Late);
    }

    #[test]
    fn a_tight_lease_keeps_its_cap_and_an_ended_one_nothing() {
        let mut record = granted(100);
        record.merge(&Word { wid: 10, ends_at: 100, g: 100, cap: 30, tight: true, ..Word::default() });
        assert_eq!(record.surplus(50), 70);
        assert_eq!(record.surplus(100), 100);
        assert_eq!(record.give_back(70), 70);
        assert_eq!(record.now.free(), 30);
    }

    #[test]
    fn a_cost_above_its_reservation_asks_for_headroom_until_it_is_long_ago() {
        let mut record = granted(1 << 40);
        assert_eq!(record.headroom(), 0);
        let [first, second] = [(); 2].map(|()| record.reserve(1, 1, 10).unwrap());
        let third = record.reserve(1, 2, 10).unwrap();
        record.settle(&first, 10);
        assert_eq!(record.headroom(), 0, "a bound that was kept asks for nothing");
        record.settle(&second, 60);
        // Fifty above its reservation; one request runs.
        assert_eq!(record.headroom(), 50);
        record.settle(&third, 7);
        assert_eq!(record.headroom(), 0, "nothing runs");
        let held = record.reserve(1, 3, 10).unwrap();
        for _ in 0..1_000 {
            let ticket = record.reserve(1, 3, 10).unwrap();
            record.settle(&ticket, 10);
        }
        assert!((30..50).contains(&record.headroom()), "{}", record.headroom());
        for _ in 0..100_000 {
            let ticket = record.reserve(1, 3, 10).unwrap();
            record.settle(&ticket, 10);
        }
        assert!(record.headroom() <= 4, "{}", record.headroom());
        // The dearest that can be: no overflow.
        record.settle(&held, u64::MAX);
        assert_eq!((record.excess, record.headroom()), (u64::MAX, 0));
    }

    #[test]
    fn demand_fades_to_nothing() {
        let mut record = granted(0);
        record.note_demand(10 * SECOND, 1_000_000);
        assert_eq!(record.rate(), 1_000_000);
        for second in 11..30 {
            record.decay(second * SECOND);
        }
        assert_eq!(record.rate(), 0);
    }
}
