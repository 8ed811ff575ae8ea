//! Soft budgets: they count and never refuse, so nothing is reserved for them and nobody waits. What a request cost is
//! booked at its end, in the window that is open then; where none is known yet it is owed until the ledger has named one.

use crate::instance::Instance;
use crate::lessee::Lessee;
use crate::store::{self, SharedData, Update};
use crate::{MS, Nanos};

/// Counters that may wait for their window; what exceeds it is only counted.
const MAX_OWED: usize = 1_024;
/// How often an owed amount is tried again.
const RETRY: Nanos = 100 * MS;

/// One need of a soft budget.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Soft {
    /// Its place among the needs.
    pub at: usize,
    pub instance: Instance,
    /// What the request may cost at most.
    pub full: u64,
}

/// Used units that no window has been charged with.
pub(crate) struct Owed {
    pub instance: Instance,
    pub id: u128,
    pub amount: u64,
}

impl Lessee {
    /// Books what was used of a soft budget.
    pub(crate) fn book(&mut self, now: Nanos, store: &mut dyn SharedData, instance: Instance, used: u64) {
        if used > 0 && !self.booked(now, store, &instance, used) {
            let id = instance.id();
            let full = self.owed.len() >= MAX_OWED;
            match self.owed.iter_mut().find(|owed| owed.id == id && owed.instance == instance) {
                Some(owed) => owed.amount = owed.amount.saturating_add(used),
                None if !full => self.owed.push(Owed { instance, id, amount: used }),
                None => self.stats.uncounted = self.stats.uncounted.saturating_add(used),
            }
        }
    }

    fn booked(&mut self, now: Nanos, store: &mut dyn SharedData, instance: &Instance, used: u64) -> bool {
        let slip = self.slip(crate::Need::whole(instance.clone(), 0, crate::LedgerLost::AllowLocal));
        let Some(found) = store::claim(store, slip.set, slip.id, &slip.name) else { return false };
        let (place, lane) = (found.place, found.record.lane);
        let mut open = false;
        let updated = store::update(store, place, lane, &mut self.stats.cas_retries, &mut |record| {
            open = record.open(now);
            if open {
                record.now.u = record.now.u.saturating_add(used);
                record.rev += 1;
            }
            open
        });
        if !open {
            // The answer to a report names the window.
            self.soon(place, lane, now, false);
        }
        open && updated == Update::Done
    }

    /// Tries again to book what is owed.
    pub(crate) fn pay(&mut self, now: Nanos, store: &mut dyn SharedData) {
        if self.owed.is_empty() || (now < self.pay_after && self.pay_after - now <= RETRY) {
            return;
        }
        self.pay_after = now + RETRY;
        for Owed { instance, amount, .. } in core::mem::take(&mut self.owed) {
            self.book(now, store, instance, amount);
        }
    }

    /// The ledger knows no such budget: nothing is owed to it.
    pub(crate) fn forgive(&mut self, id: u128) {
        weir_sorted::keep(&mut self.owed, |owed| owed.id != id);
    }
}
