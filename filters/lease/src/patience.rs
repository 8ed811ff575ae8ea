//! Requests that wait for others' reservations to come back instead of being refused, where their budgets say so. They
//! look at the records of their budgets from time to time, and ask the ledger only when it has not just said that there
//! is nothing; what they wait for is a shortage that passes, never the end of a window.

use crate::lessee::{Lessee, Tried, Waiter};
use crate::refusal::{Code, Shortfall};
use crate::store::SharedData;
use crate::{ACQUIRE_TIMEOUT, MS, Nanos, Reserve};

/// How many requests may wait so: each looks again and again.
const MAX_PATIENT: usize = 1_024;
/// How often they look.
const LOOK_AGAIN: Nanos = 100 * MS;

impl Lessee {
    /// Whether a request that these budgets refuse goes on waiting, since each of them says so and may have more before
    /// its time is over. Then it looks again a little later; at the end of its time it looks once more.
    pub(crate) fn patient(&self, now: Nanos, waiter: &mut Waiter, list: &[Shortfall]) -> bool {
        let mut until = Nanos::MAX;
        for short in list {
            let need =
                waiter.slips.iter().map(|slip| &slip.need).find(|need| need.instance == short.instance);
            let wait = match short.code {
                Code::Held | Code::Contended => need.map_or(0, |need| need.wait),
                _ => 0,
            };
            until = until.min(waiter.begun.saturating_add(wait));
        }
        let others = || self.waiters.iter().filter(|(_, waiter)| waiter.patient).count();
        if now >= until || others() >= MAX_PATIENT {
            return false;
        }
        (waiter.patient, waiter.round) = (true, 0);
        waiter.after = until.min(now + LOOK_AGAIN);
        waiter.deadline = waiter.after + ACQUIRE_TIMEOUT;
        true
    }

    /// A request that these budgets refuse waits on, or learns it.
    pub(crate) fn wait_or_refuse(
        &mut self,
        now: Nanos,
        id: u64,
        mut waiter: Box<Waiter>,
        list: Vec<Shortfall>,
    ) {
        if self.patient(now, &mut waiter, &list) {
            self.wait(id, waiter);
        } else {
            let outcome = self.refused(list);
            self.woken.push((id, outcome));
        }
    }

    /// Patient requests whose time has come look at the records. Where the ledger has not said that there is nothing,
    /// they ask it.
    pub(crate) fn look_again(&mut self, now: Nanos, store: &mut dyn SharedData) {
        let mut ready = Vec::new();
        weir_sorted::keep(&mut self.pending, |id| {
            let looks = self.waiters.get(*id).is_some_and(|one| one.patient && one.after <= now);
            if looks {
                ready.push(*id);
            }
            !looks
        });
        for id in ready {
            let Some(mut waiter) = self.waiters.remove(id) else { continue };
            match self.hold_all(now, store, &mut waiter.slips, false) {
                Tried::Held(hold) => self.woken.push((id, Reserve::Held(hold))),
                Tried::Refused(list) => self.wait_or_refuse(now, id, waiter, list),
                Tried::Short => {
                    (waiter.patient, waiter.after, waiter.deadline) = (false, now, now + ACQUIRE_TIMEOUT);
                    self.wait(id, waiter);
                }
            }
        }
    }

    /// There is room again: patient requests look at once.
    pub(crate) fn hurry(&mut self, now: Nanos) {
        for id in &self.pending {
            if let Some(waiter) = self.waiters.get_mut(*id).filter(|waiter| waiter.patient) {
                waiter.after = now;
            }
        }
    }
}
