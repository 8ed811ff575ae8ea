//! Whether a budget has so much left that a rough bound will do: then nobody counts. A hint read without a write; the
//! reservation that follows decides.

use crate::lessee::{Lessee, Need};
use crate::store::{self, SharedData};
use crate::{Nanos, REFUND_FLUSH};

/// A request's whole reservation must fit into what is free so many times.
const TIMES: u64 = 2;

impl Lessee {
    /// Whether the lease at hand holds every need with ease, and the ledger has plenty behind it. Soft budgets never
    /// refuse, so any bound will do for them.
    pub fn roomy(&mut self, now: Nanos, store: &mut dyn SharedData, needs: &[Need]) -> bool {
        self.refresh(now, store);
        needs.iter().all(|need| {
            let slip = self.slip(need.clone());
            if slip.need.full == 0 {
                return true;
            }
            store::find(store, slip.set, slip.id, &slip.name).is_some_and(|mut found| {
                let record = &mut found.record;
                let easy = record.now.free() / TIMES >= slip.need.full;
                record.open(now)
                    && record.roomy
                    && !record.tight
                    && easy
                    && now + REFUND_FLUSH < record.ends_at
            })
        })
    }
}
