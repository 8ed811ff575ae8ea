//! A ledger whose store others write to as well: what the store is told of a counter, and what it says back.

use weir_lease::Instance;
use weir_lease::mutant::{self, Mutant};

use super::{Core, Time};
use crate::book::{Key, Vector};
use crate::ring::Ring;
use crate::window::{Window, WindowKind};

impl Core {
    /// Becomes what was read of a store, and keeps the budgets that it was told before.
    pub(crate) fn become_restored(&mut self, mut restored: Core) {
        restored.rest.budgets = std::mem::take(&mut self.rest.budgets);
        restored.rest.limits_at = self.rest.limits_at;
        *self = restored;
    }

    /// The store says that others have raised the epoch, or that it has forgotten: everybody reports again.
    pub(crate) fn raise_epoch(&mut self, epoch: u64) {
        if epoch > self.rest.epoch {
            self.rest.epoch = epoch;
            self.rest.ring.extend(self.rest.sessions.keys().copied());
            self.rest.tell();
        }
    }

    /// What the store says of a vector, and of its window: committed and used, all control planes' together.
    pub(crate) fn learn(
        &mut self,
        now: Time,
        (index, wid, key): (u32, u64, Key),
        g: u64,
        sums: Option<(u64, u64)>,
    ) {
        let clock = self.rest.clock(now);
        let Some(book) = self.books.get_mut(&index) else { return };
        let Some(period) = book.period_mut(wid) else { return };
        if period.vectors.get(&key).is_some_and(|vector| vector.g != g) {
            period.restore(key, |vector| vector.g = g);
            book.sums = None;
        }
        let Some((committed, used)) = sums else { return };
        let Some(period) = book.period_mut(wid) else { return };
        let before = std::mem::take(&mut period.foreign);
        if let Some(ring) = &mut period.ring {
            ring.advance(clock);
        }
        let difference = |all: u64, own: u128| i64::try_from(i128::from(all) - own as i128).unwrap_or(0);
        period.foreign = (difference(committed, period.committed()), difference(used, period.used()));
        if period.foreign != before {
            book.sums = None;
        }
    }

    /// A counter, for a store that names it in full: itself, and the length of a rolling window or 0.
    pub(crate) fn counter(&self, index: u32) -> Option<(&Instance, u64)> {
        let book = self.books.get(&index)?;
        let ring = book.periods.iter().find_map(|period| period.ring.as_ref());
        let window = match self.rest.budget(&book.instance).map(|budget| budget.def.window) {
            Some(WindowKind::Rolling(length)) => length,
            _ => ring.map_or(0, Ring::window),
        };
        Some((&book.instance, window))
    }

    /// The limit of a counter with overrides; 0 when its budget is gone.
    pub(crate) fn limit_of(&self, index: u32, now: Time) -> u64 {
        let book = self.books.get(&index);
        book.and_then(|book| self.rest.limit(&book.instance, now.wall)).unwrap_or(0)
    }

    /// One window of a counter.
    pub(crate) fn window_of(&self, index: u32, wid: u64) -> Option<Window> {
        Some(self.books.get(&index)?.period(wid)?.window)
    }

    /// One vector.
    pub(crate) fn vector_of(&self, index: u32, wid: u64, key: Key) -> Vector {
        self.books.get(&index).map(|book| book.vector(wid, key)).unwrap_or_default()
    }

    /// Every vector: what a control plane remembers for a store that has forgotten.
    pub(crate) fn vectors(&self) -> Vec<(u32, u64, Key)> {
        let mut all = Vec::new();
        for (index, book) in &self.books {
            for period in &book.periods {
                all.extend(period.vectors.keys().map(|key| (*index, period.window.wid(), *key)));
            }
        }
        all
    }

    /// Pauses grants while every living process reports what it has been granted: for a store that may have forgotten
    /// some, such as a copy that lagged behind.
    pub fn quarantine(&mut self, now: Time) {
        if !mutant::on(Mutant::NoQuarantine) {
            self.rest.pause(now);
        }
    }

    /// Whether nothing is granted at all, whatever is asked.
    pub(crate) fn close_all(&mut self, closed: bool) {
        self.rest.closed = closed;
    }

    /// When the limits were last set or raised, by the wall clock: later limits replace earlier ones in a shared store.
    pub(crate) fn limits_at(&self) -> u64 {
        self.rest.limits_at
    }

    /// Overrides were read that others have set.
    pub(crate) fn limits_moved(&mut self, now: Time) {
        self.rest.limits_at = now.wall;
        self.limits_changed(now, &|_| true);
    }
}
