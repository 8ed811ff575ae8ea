//! What a ledger remembers over a restart: entries of the log taken in, the first moment after it, and a snapshot that
//! says the same in fewer of them.

use std::collections::BTreeSet;

use super::{Core, Time, keep};
use crate::book::Book;
use crate::log::Entry;
use crate::ring::Ring;
use crate::window::{ROLLING, Window};

/// By how much the wall clock may have been set while the ledger was down, in milliseconds.
const CLOCK_SET: u64 = 10_000;

impl Core {
    /// Takes in one entry of the log; in any order and any number of times.
    pub fn restore(&mut self, entry: Entry) {
        match entry {
            Entry::Epoch(epoch) => self.rest.epoch = self.rest.epoch.max(epoch),
            Entry::Session { sid, node, closed } => {
                let session = self.rest.sessions.entry(sid).or_default();
                session.node = node;
                session.closed |= closed;
            }
            Entry::Book { index, instance } => {
                self.next_index = self.next_index.max(index + 1);
                self.index.insert(instance.clone(), index);
                self.books.entry(index).or_insert_with(|| Book::new(index, instance));
            }
            Entry::Window { index, start, end } => {
                if let Some(book) = self.books.get_mut(&index) {
                    book.add(Window { start, end });
                    if book.periods.len() > 4 {
                        book.periods.remove(0);
                    }
                }
            }
            Entry::Vector { index, wid, sid, lane, g, r, u } => {
                let period = self.books.get_mut(&index).and_then(|book| book.period_mut(wid));
                if let Some(period) = period {
                    period.restore((sid, lane), |vector| {
                        vector.g = vector.g.max(g);
                        vector.r = vector.r.max(r);
                        vector.u = vector.u.max(u);
                    });
                }
            }
            Entry::Grant { index, wid, sid, lane, g, .. } => {
                let period = self.books.get_mut(&index).and_then(|book| book.period_mut(wid));
                if let Some(period) = period {
                    period.restore((sid, lane), |vector| vector.g = vector.g.max(g));
                }
            }
            Entry::Freed { index, wid, sid, lane, at } => {
                let period = self.books.get_mut(&index).and_then(|book| book.period_mut(wid));
                if let Some(period) = period {
                    period.restore((sid, lane), |vector| vector.freed = vector.freed.max(at));
                }
            }
            Entry::Bucket { index, window, bucket, units } => {
                let book = self.books.get_mut(&index);
                if let Some(period) = book.and_then(|book| book.period_mut(ROLLING.wid())) {
                    period.ring.get_or_insert_with(|| Ring::new(window)).restore(bucket, units);
                }
            }
            Entry::Clock { clock, wall } => {
                if clock >= self.rest.clock_said.0 {
                    self.rest.clock_said = (clock, wall);
                }
            }
            Entry::Override(new) => self.rest.keep_override(new),
            Entry::Alert(alert) => {
                let book = self.index.get(&alert.instance).and_then(|index| self.books.get_mut(index));
                if let Some(book) = book {
                    book.note_alert(alert.wid, alert.threshold);
                }
                keep(&mut self.rest.alerts, alert);
            }
            Entry::Audit(audit) => keep(&mut self.rest.audit, audit),
        }
    }

    /// Begins to serve after a restart: a new epoch makes every process report all it has, for reports (never grants)
    /// may be missing from the log. Everybody counts as heard of now.
    pub fn start(&mut self, now: Time) {
        let epoch = self.rest.epoch + 1;
        self.rest.out.entries.push(Entry::Epoch(epoch));
        self.rest.out.durable = true;
        // How long the ledger was down is known by the wall clock only. It may have been set meanwhile, so less is
        // believed than it says: a rolling window that counts for longer than it should overspends nothing.
        let (clock, wall) = self.rest.clock_said;
        let down = now.wall.saturating_sub(wall) / 100 * 99;
        self.resume(now, epoch, clock.saturating_add(down).saturating_sub(CLOCK_SET).max(clock));
    }

    /// The same with an epoch, and a clock for rolling windows, that a store has given.
    pub(crate) fn resume(&mut self, now: Time, epoch: u64, clock: u64) {
        self.rest.epoch = epoch;
        self.rest.clock_base = (clock, now.mono);
        for session in self.rest.sessions.values_mut() {
            session.seen = now.mono;
        }
        let open = self.rest.sessions.values().filter(|session| !session.closed);
        self.rest.living = (open.count() as u64, now.mono);
        for book in self.books.values_mut() {
            let begun = book.periods.iter().rev().find(|period| period.window.start <= now.wall);
            book.wid = begun.or(book.periods.first()).map_or(0, |period| period.window.wid());
            // What had left a window before the restart, and may have been granted again, stays out of it.
            for ring in book.periods.iter_mut().filter_map(|period| period.ring.as_mut()) {
                ring.advance(clock);
            }
        }
    }

    /// All that a new log must say to mean the same, without what nobody can ask for any more.
    pub fn snapshot(&mut self, now: Time) -> Vec<Entry> {
        let day = 86_400_000;
        let sessions = &self.rest.sessions;
        for period in self.books.values_mut().flat_map(|book| &mut book.periods) {
            // A rolling window never ends, and processes come and go.
            if period.ring.is_some() {
                period.forget(|key, vector| {
                    let session = sessions.get(&key.0).filter(|session| !session.closed);
                    let gone = session.is_none_or(|session| now.mono.saturating_sub(session.seen) > day);
                    gone && vector.owed() == 0
                });
            }
        }
        let budgets = &self.rest.budgets;
        self.books.retain(|_, book| {
            if let Some(period) = book.periods.iter().find(|period| period.ring.is_some()) {
                let known = budgets.contains_key(&(book.instance.budget.clone(), book.instance.unit));
                return !period.vectors.is_empty() || (known && period.committed() > 0);
            }
            let last = book.periods.last().map_or(0, |period| period.window.end);
            !book.parked.is_empty() || last.saturating_add(day) > now.wall
        });
        self.index.retain(|_, index| self.books.contains_key(index));
        let mut named = BTreeSet::new();
        for vectors in self.books.values().flat_map(|book| &book.periods).map(|period| &period.vectors) {
            named.extend(vectors.keys().map(|(sid, _)| *sid));
        }
        self.rest.sessions.retain(|sid, session| {
            named.contains(sid) || session.watch.is_some() || now.mono.saturating_sub(session.seen) < day
        });
        let clock = self.rest.clock(now);
        let mut all = vec![Entry::Epoch(self.rest.epoch), Entry::Clock { clock, wall: now.wall }];
        for (sid, session) in &self.rest.sessions {
            all.push(Entry::Session { sid: *sid, node: session.node.clone(), closed: session.closed });
        }
        for (index, book) in &self.books {
            let index = *index;
            all.push(Entry::Book { index, instance: book.instance.clone() });
            for period in &book.periods {
                let Window { start, end } = period.window;
                all.push(Entry::Window { index, start, end });
                if let Some(ring) = &period.ring {
                    let window = ring.window();
                    let bucket = |(bucket, units)| Entry::Bucket { index, window, bucket, units };
                    all.extend(ring.buckets().map(bucket));
                }
                for ((sid, lane), vector) in &period.vectors {
                    let (sid, lane, wid) = (*sid, *lane, period.window.wid());
                    all.push(Entry::Vector { index, wid, sid, lane, g: vector.g, r: vector.r, u: vector.u });
                    if vector.fenced() {
                        all.push(Entry::Freed { index, wid, sid, lane, at: vector.freed });
                    }
                }
            }
        }
        all.extend(self.rest.overrides.iter().cloned().map(Entry::Override));
        all.extend(self.rest.alerts.iter().cloned().map(Entry::Alert));
        all.extend(self.rest.audit.iter().cloned().map(Entry::Audit));
        all
    }
}
