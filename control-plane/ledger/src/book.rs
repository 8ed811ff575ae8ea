//! One counter: its windows, and in each window one vector per session and lane. `committed <= limit` after every
//! grant, where a vector commits what was granted and not returned, or what was used if that is more.

use std::collections::BTreeMap;

use weir_lease::Instance;
use weir_lease::mutant::{self, Mutant};

use crate::ring::Ring;
use crate::waiting::{Asks, Told};
use crate::window::Window;

/// A session and a lane of it.
pub(crate) type Key = (u64, u32);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Vector {
    pub g: u64,
    pub r: u64,
    pub u: u64,
    /// Gauges of report `rev`: held, requests that hold, demand per second, mean reservation.
    pub h: u64,
    pub n: u32,
    pub d: u64,
    pub mean: u64,
    pub rev: u64,
    /// Of them too: kept back for answers dearer than their bounds.
    pub headroom: u64,
    /// One more than what was granted when an operator gave its outstanding units free; 0 is never.
    pub freed: u64,
}

impl Vector {
    pub fn committed(&self) -> u64 {
        if self.fenced() { self.u } else { self.g.saturating_sub(self.r).max(self.u) }
    }

    /// What the process has, whether or not the ledger still counts it.
    pub fn owed(&self) -> u64 {
        self.g.saturating_sub(self.r).saturating_sub(self.u)
    }

    /// What it has was given free: only its use counts, and it gets nothing until it has nothing. A later grant, or a
    /// report of one that the ledger had forgotten, ends this, for `g` has grown then.
    pub fn fenced(&self) -> bool {
        self.freed == self.g.saturating_add(1) && self.owed() > 0
    }

    pub fn outstanding(&self) -> u64 {
        if self.fenced() { 0 } else { self.owed() }
    }

    pub fn free(&self) -> u64 {
        self.outstanding().saturating_sub(self.h)
    }

    pub fn active(&self) -> bool {
        self.d > 0 || self.h > 0
    }
}

/// One window's books.
#[derive(Clone, Debug)]
pub(crate) struct Period {
    pub window: Window,
    pub vectors: BTreeMap<Key, Vector>,
    /// Of a rolling window: what was reported as used.
    pub ring: Option<Ring>,
    /// Sum of what the vectors commit.
    committed: u128,
    /// Sum of what they used.
    used: u128,
    /// Sum of what they have outstanding.
    outstanding: u128,
    /// Sum of what they keep back.
    pub headroom: u128,
    /// Use that was reported of units which had been given free: it comes on top of the limit.
    pub late: u128,
    /// What other control planes' processes commit and use, as the store has it: it may lag.
    pub foreign: (i64, i64),
}

impl Period {
    pub fn new(window: Window) -> Period {
        let vectors = BTreeMap::new();
        Period {
            window,
            vectors,
            ring: None,
            committed: 0,
            used: 0,
            outstanding: 0,
            headroom: 0,
            late: 0,
            foreign: (0, 0),
        }
    }

    /// All that may not be granted again. Of a rolling window what is outstanding and what was reported as used within
    /// its length.
    pub fn committed(&self) -> u128 {
        let own = match &self.ring {
            None => self.committed,
            Some(ring) if mutant::on(Mutant::RollAtGrant) => ring.sum(),
            Some(ring) => self.outstanding + ring.sum(),
        };
        own.saturating_add_signed(i128::from(self.foreign.0))
    }

    /// Settled.
    pub fn used(&self) -> u128 {
        let own = self.ring.as_ref().map_or(self.used, Ring::sum);
        own.saturating_add_signed(i128::from(self.foreign.1))
    }

    /// Changes a vector and keeps the sums, without charging a ring. Whether one of its growing numbers changed.
    pub fn restore(&mut self, key: Key, change: impl FnOnce(&mut Vector)) -> bool {
        let vector = self.vectors.entry(key).or_default();
        let before = *vector;
        change(vector);
        self.committed = self.committed - u128::from(before.committed()) + u128::from(vector.committed());
        self.used = self.used - u128::from(before.u) + u128::from(vector.u);
        self.outstanding =
            self.outstanding - u128::from(before.outstanding()) + u128::from(vector.outstanding());
        self.headroom = self.headroom - u128::from(before.headroom) + u128::from(vector.headroom);
        if before.fenced() {
            self.late += u128::from(vector.u - before.u);
        }
        (before.g, before.r, before.u) != (vector.g, vector.r, vector.u)
    }

    /// The same as it happens: use that is new is charged to the bucket that fills. That bucket and what is in it,
    /// when it was.
    pub fn change(&mut self, key: Key, change: impl FnOnce(&mut Vector)) -> (bool, Option<(u64, u64)>) {
        let before = self.vectors.get(&key).copied().unwrap_or_default();
        let changed = self.restore(key, change);
        let after = self.vectors.get(&key).copied().unwrap_or_default();
        let Some(ring) = &mut self.ring else { return (changed, None) };
        if mutant::on(Mutant::RollAtGrant) {
            ring.credit(after.r - before.r);
            return (changed, Some(ring.charge(after.g - before.g)));
        }
        let used = after.u - before.u;
        (changed, (used > 0).then(|| ring.charge(used)))
    }

    /// Drops vectors that say nothing any more.
    pub fn forget(&mut self, gone: impl Fn(&Key, &Vector) -> bool) {
        let (used, headroom) = (&mut self.used, &mut self.headroom);
        let committed = &mut self.committed;
        self.vectors.retain(|key, vector| {
            let drop = gone(key, vector);
            if drop {
                *committed -= u128::from(vector.committed());
                *used -= u128::from(vector.u);
                *headroom -= u128::from(vector.headroom);
            }
            !drop
        });
    }

    /// Whether the sums are those of the vectors.
    pub fn sound(&self) -> bool {
        let sum = |of: fn(&Vector) -> u64| self.vectors.values().map(|one| u128::from(of(one))).sum::<u128>();
        sum(Vector::committed) == self.committed
            && sum(|vector| vector.u) == self.used
            && sum(Vector::outstanding) == self.outstanding
            && sum(|vector| vector.headroom) == self.headroom
    }
}

/// Sums over the current window's vectors.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sums {
    pub at: u64,
    /// Vectors with demand or holds, of sessions heard of lately.
    pub active: u64,
    /// Their demand.
    pub demand: u128,
    /// Free in sessions heard of lately.
    pub free: u128,
    /// Free in those of them without demand.
    pub idle: u128,
    /// Held in living sessions.
    pub held: u128,
    /// Requests that hold it.
    pub running: u32,
    /// Free in living sessions.
    pub leased: u128,
    /// Outstanding in sessions not heard of.
    pub stranded: u128,
}

#[derive(Clone, Debug)]
pub(crate) struct Book {
    pub index: u32,
    pub id: u128,
    pub instance: Instance,
    /// Oldest first: the previous window, the current one, and the next once something was granted in it.
    pub periods: Vec<Period>,
    /// The current window; 0 before the first.
    pub wid: u64,
    pub parked: Asks,
    pub told: Told,
    /// When each session was last recalled.
    pub recalled: BTreeMap<u64, u64>,
    pub sums: Option<Sums>,
    /// When its sessions were last looked through for units to recall.
    pub scanned: u64,
    /// Thresholds that were told, and the interval: see [`crate::Alert::wid`].
    pub alerted: (u64, Vec<u64>),
}

impl Book {
    pub fn new(index: u32, instance: Instance) -> Book {
        Book {
            index,
            id: instance.id(),
            instance,
            periods: Vec::new(),
            wid: 0,
            parked: Asks::default(),
            told: Told::default(),
            recalled: BTreeMap::new(),
            sums: None,
            scanned: 0,
            alerted: (0, Vec::new()),
        }
    }

    pub fn period(&self, wid: u64) -> Option<&Period> {
        self.periods.iter().find(|period| period.window.wid() == wid)
    }

    pub fn period_mut(&mut self, wid: u64) -> Option<&mut Period> {
        self.periods.iter_mut().find(|period| period.window.wid() == wid)
    }

    /// Adds a window, unless it is there. Whether it was added.
    pub fn add(&mut self, window: Window) -> bool {
        if self.period(window.wid()).is_some() {
            return false;
        }
        self.periods.push(Period::new(window));
        self.periods.sort_by_key(|period| period.window.start);
        true
    }

    pub fn current(&self) -> Option<&Period> {
        self.period(self.wid)
    }

    pub fn vector(&self, wid: u64, key: Key) -> Vector {
        self.period(wid).and_then(|period| period.vectors.get(&key)).copied().unwrap_or_default()
    }

    /// Notes a threshold as told. Whether it was new.
    pub fn note_alert(&mut self, wid: u64, threshold: u64) -> bool {
        if self.alerted.0 < wid {
            self.alerted = (wid, Vec::new());
        }
        let fresh = self.alerted.0 == wid && !self.alerted.1.contains(&threshold);
        if fresh {
            self.alerted.1.push(threshold);
        }
        fresh
    }

    pub fn committed(&self, wid: u64) -> u128 {
        self.period(wid).map_or(0, |period| period.committed())
    }

    pub fn used(&self, wid: u64) -> u128 {
        self.period(wid).map_or(0, |period| period.used())
    }
}
