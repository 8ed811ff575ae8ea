//! Who gets how much: merging reports, sizing leases, the path of a request that comes up short, recalls and wakes.

use weir_lease::message::{Figures, Item, ItemReply, NextGrant, Short};
use weir_lease::mix;
use weir_lease::mutant::{self, Mutant};

use crate::book::{Book, Key, Sums, Vector};
use crate::budget::Spend;
use crate::core::{Rest, Time};
use crate::log::Entry;
use crate::operate::Released;
use crate::ring::Ring;
use crate::waiting::Parked;
use crate::window::{Window, WindowKind};

/// A large counter's sessions are looked through for free units at most this often, in milliseconds.
const SCAN: u64 = 10;
/// Vectors of a counter above which its sums are cached.
const SMALL: usize = 32;

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

    /// Merges one vector by maximum. One that shows more granted than is remembered proves that the ledger forgot.
    fn merge(&mut self, book: &mut Book, now: Time, wid: u64, key: Key, item: &Item) {
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
    fn log_clock(&mut self, book: &Book, now: Time) {
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

    /// Raises what a session has been granted: the only way in which units leave the ledger.
    fn grant(&mut self, book: &mut Book, now: Time, key: Key, amount: u64) {
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

    /// Units that may be granted in the current window.
    fn available(&mut self, book: &mut Book, now: Time, limit: u64) -> u64 {
        let mut committed = book.committed(book.wid);
        if mutant::on(Mutant::ExpiryRegrant) {
            committed = committed.saturating_sub(self.sums(book, now).stranded);
        }
        let kept_back = self.headroom(book, limit);
        u128::from(limit).saturating_sub(committed).saturating_sub(kept_back) as u64
    }

    /// Kept back for answers dearer than their calibrated bounds: what processes ask for, at most 1 % of the limit.
    fn headroom(&self, book: &Book, limit: u64) -> u128 {
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
    fn terminal(&mut self, book: &mut Book, now: Time, limit: u64, need: u64) -> bool {
        let gone = book.used(book.wid) + self.sums(book, now).stranded;
        u128::from(limit).saturating_sub(gone) < u128::from(need)
    }

    fn share(&mut self, book: &mut Book, now: Time, limit: u64, key: Key) -> Share {
        let sums = self.sums(book, now);
        let room = u128::from(self.available(book, now, limit)) + sums.free;
        self.share_of(book.vector(book.wid, key), room, u128::from(limit), &sums)
    }

    fn share_of(&self, vector: Vector, room: u128, limit: u128, sums: &Sums) -> Share {
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

    /// The answer to an item, with what was granted so far. `ahead`: grants for the next window may be added.
    fn answer(
        &mut self,
        book: &mut Book,
        now: Time,
        key: Key,
        rev: u64,
        short: Option<Short>,
        ahead: bool,
    ) -> ItemReply {
        let Some(limit) = self.limit(&book.instance, now.wall) else {
            return ItemReply { gone: true, rev, ..ItemReply::default() };
        };
        let mut share = self.share(book, now, limit, key);
        if book.vector(book.wid, key).fenced() {
            // All of it comes home that is not held.
            (share.cap, share.tight, share.roomy) = (0, true, false);
        }
        let next = if ahead { self.grant_ahead(book, now, limit, key) } else { None };
        self.look(book, now);
        let figures = short.map(|_| self.figures(book, now));
        let leased = self.sums(book, now).leased;
        let room = u128::from(limit).saturating_sub(book.committed(book.wid)).saturating_add(leased);
        let Window { start, end } =
            book.current().map_or(Window { start: 0, end: 0 }, |period| period.window);
        let budget = self.budget(&book.instance).map(|budget| &budget.def);
        let rolling = budget.filter(|def| matches!(def.window, WindowKind::Rolling(_)));
        let ends_in_ms = match rolling {
            None => end.saturating_sub(now.wall.max(start)),
            // A lease of a window that never ends is good for as long as the ledger is sure to count it. One that it
            // has stopped counting has to come home first.
            Some(_) if book.vector(book.wid, key).fenced() => 0,
            Some(_) => self.params.session_ttl,
        };
        ItemReply {
            wid: book.wid,
            ends_in_ms,
            g: book.vector(book.wid, key).g,
            cap: share.cap,
            tight: share.tight,
            roomy: share.roomy,
            gone: false,
            rev,
            short,
            next,
            figures,
            limit,
            room: u64::try_from(room).unwrap_or(u64::MAX).min(limit),
            hold_ms: rolling.map_or(0, |def| u32::try_from(def.max_life).unwrap_or(u32::MAX)),
        }
    }

    /// Near the end of a window a busy session gets its first lease of the next, so that nobody queues at the edge.
    fn grant_ahead(&mut self, book: &mut Book, now: Time, limit: u64, key: Key) -> Option<NextGrant> {
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

    fn wake(&mut self, id: u128, sid: u64) {
        if let Some(session) = self.sessions.get_mut(&sid) {
            self.counters.wakes += 1;
            session.wake.insert(id);
            self.ring.insert(sid);
        }
    }

    /// Asks the sessions with the most free units to return them, until twice the shortage is covered.
    fn recall_for(&mut self, book: &mut Book, now: Time, limit: u64) {
        let wanted = book.parked.wanted();
        let available = u128::from(self.available(book, now, limit));
        let shortage = wanted.saturating_sub(available) * 2;
        // The first in the queue has its own free units already in hand; all others may have to give.
        let asking = book.parked.front().map(|parked| parked.key);
        self.recall(book, now, shortage, asking);
    }

    fn recall(&mut self, book: &mut Book, now: Time, shortage: u128, except: Option<Key>) {
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

    /// A new limit serves those who wait, or calls everything free home when more is committed than it allows.
    pub fn limit_changed(&mut self, book: &mut Book, now: Time) {
        self.roll(book, now);
        self.pump(book, now);
        let limit = self.limit(&book.instance, now.wall).unwrap_or(0);
        if book.committed(book.wid) > u128::from(limit) {
            self.recall(book, now, u128::MAX, None);
        }
    }

    fn figures(&mut self, book: &mut Book, now: Time) -> Figures {
        let Some(spend) = self.spend(book, now) else { return Figures::default() };
        let demand = book.sums.map_or(0, |sums| sums.demand);
        // What is held turns over at the rate of demand.
        let release = match demand {
            0 => 30_000,
            demand => (u128::from(spend.held) * 1_000 / demand).clamp(1_000, 30_000) as u64,
        };
        Figures {
            limit: spend.limit,
            settled: spend.settled,
            held: spend.held,
            leased: spend.leased,
            stranded: spend.stranded,
            left: spend.left,
            running: spend.running,
            reset_in_ms: spend.window.end.saturating_sub(now.wall),
            release_in_ms: release,
            window: spend.kind.name(),
            timezone: spend.timezone,
            headroom: spend.headroom,
        }
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

    /// The state of a counter; `None` when it never had a window, or its budget is gone and its window over.
    pub fn spend(&mut self, book: &mut Book, now: Time) -> Option<Spend> {
        let sums = self.sums(book, now);
        let small = |value: u128| u64::try_from(value).unwrap_or(u64::MAX);
        let period = book.current()?;
        let in_force = self.limit(&book.instance, now.wall);
        let kept_back = in_force.map_or(0, |limit| self.headroom(book, limit));
        let limit = u128::from(in_force.unwrap_or(0));
        let budget = self.budget(&book.instance).map(|budget| &budget.def);
        if budget.is_none() && (period.window.end <= now.wall || period.committed() == 0) {
            return None;
        }
        let window = match (&period.ring, budget.map(|def| def.window)) {
            (Some(ring), Some(WindowKind::Rolling(length))) => Window {
                start: now.wall.saturating_sub(length),
                end: now.wall.saturating_add(ring.frees_in(self.clock(now))),
            },
            _ => period.window,
        };
        let told = &book.alerted;
        let alerts = if told.0 == self.interval(book, now) { told.1.clone() } else { Vec::new() };
        Some(Spend {
            instance: book.instance.clone(),
            each: budget.map(|def| def.each.clone()).unwrap_or_default(),
            window,
            kind: budget.map_or(WindowKind::of(period.window), |def| def.window),
            timezone: budget.map(|def| def.timezone.clone()).unwrap_or_default(),
            limit: small(limit),
            added: self.added(&book.instance, now.wall),
            settled: small(period.used()),
            held: small(sums.held),
            leased: small(sums.leased),
            stranded: small(sums.stranded),
            headroom: small(kept_back.min(limit.saturating_sub(period.committed()))),
            left: small(limit.saturating_sub(period.committed()).saturating_sub(kept_back)),
            overcommitted: if budget.is_some() { small(period.committed().saturating_sub(limit)) } else { 0 },
            running: sums.running,
            gone: budget.is_none(),
            alerts,
        })
    }
}

/// What one session may have.
struct Share {
    cap: u64,
    tight: bool,
    want: u64,
    roomy: bool,
}
