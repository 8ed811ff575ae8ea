//! Free units called home for those who wait, and those who were sent away told that there is room again.

use super::share::SMALL;
use crate::book::{Book, Key};
use crate::core::{Rest, Time};

/// A large counter's sessions are looked through for free units at most this often, in milliseconds.
const SCAN: u64 = 10;

impl Rest {
    pub(super) fn wake(&mut self, id: u128, sid: u64) {
        if let Some(session) = self.sessions.get_mut(&sid) {
            self.counters.wakes += 1;
            session.wake.insert(id);
            self.ring.insert(sid);
        }
    }

    /// Asks the sessions with the most free units to return them, until twice the shortage is covered.
    pub(super) fn recall_for(&mut self, book: &mut Book, now: Time, limit: u64) {
        let wanted = book.parked.wanted();
        let available = u128::from(self.available(book, now, limit));
        let shortage = wanted.saturating_sub(available) * 2;
        // The first in the queue has its own free units already in hand; all others may have to give.
        let asking = book.parked.front().map(|parked| parked.key);
        self.recall(book, now, shortage, asking);
    }

    pub(super) fn recall(&mut self, book: &mut Book, now: Time, shortage: u128, except: Option<Key>) {
        let large = book.current().is_some_and(|period| period.vectors.len() > SMALL);
        if large && shortage < u128::MAX && now.mono.saturating_sub(book.scanned) < SCAN {
            return;
        }
        book.scanned = now.mono;
        let lately = 3 * self.sync() + 1_000;
        let mut rich: Vec<(u64, Key)> = book
            .current()
            .iter()
            .flat_map(|period| &period.vectors)
            .filter(|(key, vector)| {
                vector.free() > 0 && Some(**key) != except && self.heard(**key, now, lately)
            })
            .map(|(key, vector)| (vector.free(), *key))
            .collect();
        rich.sort_unstable_by(|a, b| b.cmp(a));
        let mut covered = 0u128;
        for (free, (sid, _)) in rich.into_iter().take(self.params.recall_width) {
            if covered >= shortage {
                return;
            }
            covered += u128::from(free);
            let last = book.recalled.get(&sid).copied();
            if last.is_some_and(|at| now.mono.saturating_sub(at) < self.params.recall_every) {
                continue;
            }
            book.recalled.insert(sid, now.mono);
            if let Some(session) = self.sessions.get_mut(&sid) {
                self.counters.recalls += 1;
                session.recall.insert(book.id);
                self.ring.insert(sid);
            }
        }
    }
}
