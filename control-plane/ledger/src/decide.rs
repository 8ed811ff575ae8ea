//! Who gets how much: an item with its ask, the path of one that comes up short, and those who wait. Reports are taken
//! in by `merge`, leases sized by `share`, units called home by `recall`, answers written by `show`.

mod merge;
mod recall;
mod share;
mod show;

use weir_lease::message::{Item, ItemReply, Short};
use weir_lease::mix;

use crate::book::{Book, Key, Vector};
use crate::core::{Rest, Time};
use crate::log::Entry;
use crate::ring::Ring;
use crate::waiting::Parked;
use crate::window::WindowKind;

impl Rest {
    /// Moves a counter on to the window that holds the time; never back.
    pub fn roll(&mut self, book: &mut Book, now: Time) {
        let Some(budget) = self.budget(&book.instance) else { return };
        let mut window = budget.calendar.at(now.wall);
        let rolling = match budget.def.window {
            WindowKind::Rolling(length) => Some(length),
            _ => None,
        };
        if let Some(length) = rolling {
            let clock = self.clock(now);
            let wid = window.wid();
            if let Some(period) = book.period_mut(wid) {
                period.ring.get_or_insert_with(|| Ring::new(length)).advance(clock);
            }
        }
        if let Some(current) = book.current() {
            let ended = current.window.end;
            if now.wall < ended {
                return;
            }
            // The calendar has been changed under the counter: the new window begins where the old one ended.
            window.start = window.start.max(ended);
        }
        let before = book.wid;
        book.wid = window.wid();
        if book.add(window) {
            self.out.entries.push(Entry::Window { index: book.index, start: window.start, end: window.end });
        }
        if let Some(length) = rolling {
            let clock = self.clock(now);
            let wid = book.wid;
            if let Some(period) = book.period_mut(wid) {
                period.ring.get_or_insert_with(|| Ring::new(length)).advance(clock);
            }
        }
        book.periods.retain(|period| period.window.wid() >= before);
        book.recalled.clear();
        book.sums = None;
        while let Some((sid, _)) = book.told.pop() {
            self.wake(book.id, sid);
        }
    }

    /// Takes in one item and answers it, or parks its ask. `park` completes what is parked with the call's name.
    pub fn item(
        &mut self,
        book: &mut Book,
        now: Time,
        key: Key,
        item: &Item,
        park: &mut dyn FnMut(Parked) -> Parked,
    ) -> Option<ItemReply> {
        self.roll(book, now);
        let stale = item.rev <= book.vector(item.wid.max(1), key).rev;
        if let Some(prev) = &item.prev {
            let past = Item { g: prev.g, r: prev.r, u: prev.u, h: prev.h, rev: item.rev, ..Item::default() };
            self.merge(book, now, prev.wid, key, &past);
        }
        self.merge(book, now, item.wid, key, item);
        let Some(limit) = self.limit(&book.instance, now.wall) else {
            return Some(ItemReply { gone: true, rev: item.rev, ..ItemReply::default() });
        };
        // Of a process that is still in another window only what it asks for counts.
        let here = item.wid == book.wid;
        let told = Vector { g: item.g, r: item.r, u: item.u, h: item.h, ..Vector::default() };
        let free = if here { told.free() } else { 0 };
        if !here && (item.d > 0 || item.ask.is_some()) {
            let wid = book.wid;
            if let Some(period) = book.period_mut(wid) {
                period.change(key, |vector| {
                    vector.d = vector.d.max(item.d);
                    vector.mean = item.mean;
                });
            }
        }
        let paused = self.paused(now);
        let draining = self.sessions.get(&key.0).is_some_and(|session| session.draining);
        let Some(ask) = item.ask.filter(|_| !stale) else {
            let idle = item.d == 0 && item.h == 0;
            if !stale && !idle && !paused && !draining && !item.no_grant && book.parked.is_empty() {
                let share = self.share(book, now, limit, key);
                if !share.tight {
                    let ahead = share.want.min(share.cap);
                    let more = ahead.saturating_sub(book.vector(book.wid, key).free());
                    let more = more.min(self.available(book, now, limit));
                    self.grant(book, now, key, more);
                }
            }
            return Some(self.answer(
                book,
                now,
                key,
                item.rev,
                None,
                !stale && !item.no_grant && !draining && !idle,
            ));
        };
        self.counters.acquires += 1;
        let parked = park(Parked {
            call: 0,
            item: 0,
            key,
            rev: item.rev,
            full: ask.full.saturating_sub(free),
            floor: ask.floor.saturating_sub(free),
            min: ask.min.saturating_sub(free),
            one: ask.one,
            until: now.mono + self.params.recall_wait,
        });
        if paused {
            let short = Short { for_ms: 200, terminal: false, quarantine: true };
            return Some(self.answer(book, now, key, item.rev, Some(short), false));
        }
        let available = self.available(book, now, limit);
        if book.parked.is_empty() && available >= parked.full {
            let share = self.share(book, now, limit, key);
            let mut amount = parked.full;
            if !share.tight && !draining {
                let ahead = share.want.min(share.cap);
                amount = amount.max(ahead.saturating_sub(book.vector(book.wid, key).free()));
            }
            self.grant(book, now, key, amount.min(available));
            return Some(self.answer(book, now, key, item.rev, None, !draining));
        }
        let sums = self.sums(book, now);
        let others = sums.free.saturating_sub(u128::from(book.vector(book.wid, key).free()));
        let floor = if self.terminal(book, now, limit, ask.one) { parked.min } else { parked.floor };
        let reachable = u128::from(available) + others;
        if reachable >= u128::from(floor) && (others > 0 || !book.parked.is_empty()) {
            self.counters.parked += 1;
            book.parked.push(parked);
            self.busy.insert(book.index);
            self.recall_for(book, now, limit);
            return None;
        }
        Some(self.come_up_short(book, now, limit, &parked))
    }

    /// Grants what is left if that is of use, and says why it is not more.
    fn come_up_short(&mut self, book: &mut Book, now: Time, limit: u64, parked: &Parked) -> ItemReply {
        let available = self.available(book, now, limit);
        let terminal = self.terminal(book, now, limit, parked.one);
        let floor = if terminal { parked.min } else { parked.floor };
        if available >= floor {
            self.grant(book, now, parked.key, available.min(parked.full));
        }
        if available >= parked.full {
            return self.answer(book, now, parked.key, parked.rev, None, true);
        }
        self.counters.short += 1;
        let sid = parked.key.0;
        book.told.push(sid, floor.max(1));
        self.busy.insert(book.index);
        let sessions = self.sums(book, now).active;
        let base = (100 + sessions).min(1_000);
        // ± 20 %, so that processes do not come back in step.
        let jitter = mix(&[sid, book.id as u64, now.mono]) % (base * 2 / 5 + 1);
        let for_ms = (base - base / 5 + jitter) as u32;
        let short = Short { for_ms, terminal, quarantine: false };
        self.answer(book, now, parked.key, parked.rev, Some(short), true)
    }

    /// Decides what has waited long enough.
    pub fn expire(&mut self, book: &mut Book, now: Time) {
        self.roll(book, now);
        while let Some(parked) = book.parked.front()
            && parked.until <= now.mono
        {
            book.parked.pop();
            let limit = self.limit(&book.instance, now.wall).unwrap_or(0);
            let reply = self.come_up_short(book, now, limit, &parked);
            self.resolve(&parked, reply);
        }
        self.pump(book, now);
    }

    /// Serves those who wait, in their order; when nobody waits, wakes those who were sent away.
    pub fn pump(&mut self, book: &mut Book, now: Time) {
        let Some(limit) = self.limit(&book.instance, now.wall) else {
            while let Some(parked) = book.parked.pop() {
                let gone = ItemReply { gone: true, rev: parked.rev, ..ItemReply::default() };
                self.resolve(&parked, gone);
            }
            return;
        };
        while let Some(parked) = book.parked.front() {
            if self.available(book, now, limit) < parked.full || self.paused(now) {
                self.recall_for(book, now, limit);
                return;
            }
            book.parked.pop();
            self.grant(book, now, parked.key, parked.full);
            let reply = self.answer(book, now, parked.key, parked.rev, None, true);
            self.resolve(&parked, reply);
        }
        let mut room = self.available(book, now, limit);
        while let Some((sid, floor)) = book.told.front()
            && floor <= room
        {
            room -= floor;
            book.told.pop();
            self.wake(book.id, sid);
        }
        if book.told.is_empty() {
            self.busy.remove(&book.index);
        }
    }

    /// A new limit serves those who wait, or calls everything free home when more is committed than it allows.
    pub fn limit_changed(&mut self, book: &mut Book, now: Time) {
        self.roll(book, now);
        self.pump(book, now);
        let limit = self.limit(&book.instance, now.wall).unwrap_or(0);
        if book.committed(book.wid) > u128::from(limit) {
            self.recall(book, now, u128::MAX, None);
        }
    }
}
