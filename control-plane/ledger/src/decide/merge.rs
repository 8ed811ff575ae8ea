//! What processes report, taken in by maximum; what lost ones had, given free; and what the log is told of both.

use weir_lease::message::Item;
use weir_lease::mutant::{self, Mutant};

use crate::book::{Book, Key, Vector};
use crate::core::{Rest, Time};
use crate::log::Entry;
use crate::operate::Released;
use crate::ring::Ring;
use crate::window::WindowKind;

impl Rest {
    /// Merges one vector by maximum. One that shows more granted than is remembered proves that the ledger forgot.
    pub(super) fn merge(&mut self, book: &mut Book, now: Time, wid: u64, key: Key, item: &Item) {
        if wid == 0 {
            return;
        }
        // A process may enter the next window, where it has a grant, a moment before the ledger does.
        let Some(period) = book.period_mut(wid) else { return };
        let (mut healed, shared) = (false, self.params.shared);
        let (changed, charged) = period.change(key, |vector| {
            healed = item.g > vector.g && !shared;
            vector.g = vector.g.max(item.g);
            let again = item.rev <= vector.rev && mutant::on(Mutant::RetDelta);
            vector.r = if again { (vector.r + item.r).min(vector.g) } else { vector.r.max(item.r) };
            vector.u = vector.u.max(item.u);
            if item.rev >= vector.rev {
                vector.rev = item.rev;
                vector.h = item.h;
                vector.n = item.n;
                vector.d = item.d;
                vector.mean = item.mean;
                vector.headroom = item.headroom;
            }
        });
        if changed {
            self.log(book, wid, key);
        }
        if let Some((bucket, units)) = charged {
            self.log_bucket(book, now, bucket, units);
        }
        if healed {
            self.counters.healed += 1;
            self.epoch += 1;
            self.out.entries.push(Entry::Epoch(self.epoch));
            self.out.durable = true;
            if !mutant::on(Mutant::NoQuarantine) {
                self.pause(now);
            }
            self.ring.extend(self.sessions.keys().copied());
        }
    }

    fn log(&mut self, book: &Book, wid: u64, key: Key) {
        let Vector { g, r, u, .. } = book.vector(wid, key);
        self.out.entries.push(Entry::Vector { index: book.index, wid, sid: key.0, lane: key.1, g, r, u });
    }

    /// Logs the clock by which a ring has moved, before what depends on it.
    pub(super) fn log_clock(&mut self, book: &Book, now: Time) {
        let ring = book.current().and_then(|period| period.ring.as_ref());
        let clock = self.clock(now);
        if ring.is_some_and(|ring| ring.began() > self.clock_said.0) {
            self.clock_said = (clock, now.wall);
            self.out.entries.push(Entry::Clock { clock, wall: now.wall });
        }
    }

    fn log_bucket(&mut self, book: &Book, now: Time, bucket: u64, units: u64) {
        self.log_clock(book, now);
        let window = book.current().and_then(|period| period.ring.as_ref()).map_or(0, Ring::window);
        self.out.entries.push(Entry::Bucket { index: book.index, window, bucket, units });
    }

    /// Stops counting what processes have of a rolling window that were silent for so long that every request of
    /// theirs has ended and left the window since. Whatever they still report is charged, and they get nothing until
    /// they have nothing.
    pub fn free_dead(&mut self, book: &mut Book, now: Time) {
        self.roll(book, now);
        let Some(budget) = self.budget(&book.instance) else { return };
        let WindowKind::Rolling(length) = budget.def.window else { return };
        let term = (self.params.session_ttl / 100 * 101 + 10)
            .saturating_add(budget.def.max_life)
            .saturating_add(length);
        let dead: Vec<Key> = book
            .current()
            .iter()
            .flat_map(|period| &period.vectors)
            .filter(|(key, vector)| vector.outstanding() > 0 && !self.heard(**key, now, term))
            .map(|(key, _)| *key)
            .collect();
        for key in dead {
            self.free(book, key);
        }
    }

    fn free(&mut self, book: &mut Book, key: Key) {
        let wid = book.wid;
        let Some(period) = book.period_mut(wid) else { return };
        period.change(key, |vector| vector.freed = vector.g.saturating_add(1));
        let at = book.vector(wid, key).freed;
        self.out.entries.push(Entry::Freed { index: book.index, wid, sid: key.0, lane: key.1, at });
        book.sums = None;
    }

    /// Gives free what lost sessions have; see [`crate::Engine::release_stranded`].
    pub fn release(&mut self, book: &mut Book, now: Time, sid: Option<u64>, all: &mut Vec<Released>) {
        self.roll(book, now);
        let ttl = self.params.session_ttl;
        let lost: Vec<(Key, u64)> = book
            .current()
            .iter()
            .flat_map(|period| &period.vectors)
            .filter(|(key, vector)| vector.outstanding() > 0 && !self.heard(**key, now, ttl))
            .filter(|(key, _)| sid.is_none_or(|sid| sid == key.0))
            .map(|(key, vector)| (*key, vector.outstanding()))
            .collect();
        for (key, units) in lost {
            self.free(book, key);
            self.out.durable = true;
            let node = self.sessions.get(&key.0).map(|session| session.node.clone()).unwrap_or_default();
            all.push(Released { instance: book.instance.clone(), sid: key.0, node, units });
        }
        self.pump(book, now);
    }
}
