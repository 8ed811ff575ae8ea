//! What is told of a counter: the answer to an item, the figures of a refusal, and its state for operators.

use weir_lease::message::{Figures, ItemReply, Short};

use crate::book::{Book, Key};
use crate::budget::Spend;
use crate::core::{Rest, Time};
use crate::window::{Window, WindowKind};

impl Rest {
    /// The answer to an item, with what was granted so far. `ahead`: grants for the next window may be added.
    pub(super) fn answer(
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
