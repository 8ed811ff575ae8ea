//! How much there is and who may have it: what is committed and free, a session's share of the room, and grants, the
//! only way in which units leave the ledger.

use weir_lease::message::NextGrant;
use weir_lease::mutant::{self, Mutant};

use crate::book::{Book, Key, Sums, Vector};
use crate::core::{Rest, Time};
use crate::log::Entry;

/// Vectors of a counter above which its sums are cached.
pub(super) const SMALL: usize = 32;

/// What one session may have.
pub(super) struct Share {
    pub(super) cap: u64,
    pub(super) tight: bool,
    pub(super) want: u64,
    pub(super) roomy: bool,
}

impl Rest {
    /// Raises what a session has been granted: the only way in which units leave the ledger.
    pub(super) fn grant(&mut self, book: &mut Book, now: Time, key: Key, amount: u64) {
        if amount > 0 {
            self.log_clock(book, now);
        }
        self.grant_in(book, book.wid, key, amount);
    }

    fn grant_in(&mut self, book: &mut Book, wid: u64, key: Key, amount: u64) {
        if amount == 0 {
            return;
        }
        if let Some(period) = book.period_mut(wid) {
            // What was given free may still be spent by who has it: nothing comes on top until that is settled.
            if period.vectors.get(&key).is_some_and(Vector::fenced) {
                return;
            }
            let (_, charged) = period.change(key, |vector| vector.g = vector.g.saturating_add(amount));
            debug_assert!(charged.is_none() || mutant::on(Mutant::RollAtGrant));
            if let Some(sums) = &mut book.sums {
                sums.free += u128::from(amount);
                sums.leased += u128::from(amount);
            }
            let Vector { g, .. } = book.vector(wid, key);
            let (sid, lane) = key;
            self.out.entries.push(Entry::Grant { index: book.index, wid, sid, lane, g, amount });
            self.out.durable = true;
        }
    }

    /// Near the end of a window a busy session gets its first lease of the next, so that nobody queues at the edge.
    pub(super) fn grant_ahead(
        &mut self,
        book: &mut Book,
        now: Time,
        limit: u64,
        key: Key,
    ) -> Option<NextGrant> {
        let end = book.current()?.window.end;
        if end.saturating_sub(now.wall) > self.params.ahead || self.paused(now) {
            return None;
        }
        let window = self.budget(&book.instance)?.calendar.at(end);
        let wid = window.wid();
        if window.start < end || wid <= book.wid {
            return None;
        }
        if book.add(window) {
            self.out.entries.push(Entry::Window { index: book.index, start: window.start, end: window.end });
        }
        let sums = self.sums(book, now);
        let room = u128::from(limit).saturating_sub(book.committed(wid));
        let vector = book.vector(book.wid, key);
        let share = self.share_of(vector, u128::from(limit), u128::from(limit), &sums);
        let given = book.vector(wid, key);
        let more = share.want.min(share.cap).saturating_sub(given.g);
        let before = book.sums;
        self.grant_in(book, wid, key, more.min(room as u64));
        book.sums = before;
        let g = book.vector(wid, key).g;
        (g > 0).then(|| NextGrant { wid, g, ends_in_ms: window.end.saturating_sub(now.wall) })
    }

    /// Units that may be granted in the current window.
    pub(super) fn available(&mut self, book: &mut Book, now: Time, limit: u64) -> u64 {
        let mut committed = book.committed(book.wid);
        if mutant::on(Mutant::ExpiryRegrant) {
            committed = committed.saturating_sub(self.sums(book, now).stranded);
        }
        let kept_back = self.headroom(book, limit);
        u128::from(limit).saturating_sub(committed).saturating_sub(kept_back) as u64
    }

    /// Kept back for answers dearer than their calibrated bounds: what processes ask for, at most 1 % of the limit.
    pub(super) fn headroom(&self, book: &Book, limit: u64) -> u128 {
        book.current().map_or(0, |period| period.headroom).min(u128::from(limit / 100))
    }

    /// Sums over the current window's vectors; of a large counter up to `cache` old.
    pub fn sums(&mut self, book: &mut Book, now: Time) -> Sums {
        let large = book.current().is_some_and(|period| period.vectors.len() > SMALL);
        if let Some(sums) = book.sums
            && large
            && now.mono.saturating_sub(sums.at) < self.params.cache
        {
            return sums;
        }
        let mut sums = Sums { at: now.mono, ..Sums::default() };
        let lately = 3 * self.sync() + 1_000;
        for (key, vector) in book.current().iter().flat_map(|period| &period.vectors) {
            let Some(session) = self.sessions.get(&key.0) else {
                sums.stranded += u128::from(vector.outstanding());
                continue;
            };
            let silent = now.mono.saturating_sub(session.seen);
            if silent > self.params.session_ttl {
                sums.stranded += u128::from(vector.outstanding());
                continue;
            }
            let free = u128::from(vector.free());
            sums.leased += free;
            sums.held += u128::from(vector.outstanding()) - free;
            sums.running = sums.running.saturating_add(vector.n);
            if silent > lately {
                continue;
            }
            sums.free += free;
            if vector.active() {
                sums.active += 1;
                sums.demand += u128::from(vector.d);
            } else {
                sums.idle += free;
            }
        }
        book.sums = Some(sums);
        sums
    }

    /// Nothing that is held could come back and cover the need.
    pub(super) fn terminal(&mut self, book: &mut Book, now: Time, limit: u64, need: u64) -> bool {
        let gone = book.used(book.wid) + self.sums(book, now).stranded;
        u128::from(limit).saturating_sub(gone) < u128::from(need)
    }

    pub(super) fn share(&mut self, book: &mut Book, now: Time, limit: u64, key: Key) -> Share {
        let sums = self.sums(book, now);
        let room = u128::from(self.available(book, now, limit)) + sums.free;
        self.share_of(book.vector(book.wid, key), room, u128::from(limit), &sums)
    }

    pub(super) fn share_of(&self, vector: Vector, room: u128, limit: u128, sums: &Sums) -> Share {
        let half = room / (2 * self.params.k);
        let by_demand = match sums.demand {
            0 => half,
            demand => half * u128::from(vector.d).min(demand) / demand,
        };
        let cap = (half / u128::from(sums.active.max(1)) + by_demand) as u64;
        let tight = cap < vector.mean.saturating_mul(2);
        Share {
            cap: if cap < vector.mean { 0 } else { cap },
            tight,
            want: vector.d.saturating_add(self.params.z.saturating_mul(vector.mean)),
            roomy: room > limit / 2 && sums.idle < limit / 100,
        }
    }
}
