//! The record of one counter in the process's shared data, and its transitions. Each transition is pure and is written
//! by one compare-and-swap; after every one of them `used + held <= granted - returned` unless a request cost more than
//! it had reserved. Its bytes are in `bytes`.

mod bytes;
#[cfg(test)]
mod tests;

pub(crate) use bytes::Reader;

use crate::mutant::{self, Mutant};
use crate::{KEEP, MS, Nanos, SECOND};

/// Requests in which a cost above its reservation is forgotten by two thirds, as a power of two.
const MEMORY: u32 = 12;
/// Costs above reservations are kept in parts of this, so that small ones fade as slowly as large ones.
const PART: u64 = 1 << 10;

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
        weir_sorted::keep(&mut self.slots, |slot| slot.n_prev > 0);
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
        weir_sorted::keep(&mut self.slots, |slot| slot.n > 0 || slot.n_prev > 0);
        self.rev += 1;
        Settled::Booked
    }

    /// Presumes spent what dead VMs hold; the units presumed.
    pub fn reap(&mut self, dead: &mut dyn FnMut(u32) -> bool) -> u64 {
        let mut presumed = 0u64;
        let (now, prev) = (&mut self.now, &mut self.prev);
        weir_sorted::keep(&mut self.slots, |slot| {
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
}
