//! What the decision log keeps of an exchange: whether it is one of those that the policy names, whether its record has a
//! place, and what its record says beyond what the access log has. Never content.

use super::{Exchange, Flight};
use crate::io::Effect;
use crate::plan::Report;
use crate::policy::{Caller, Policy, any, who};
use crate::record;
use crate::refusal::Refusal;
use crate::span::{Charged, Tried};

/// Whether the decision log keeps an exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Logged {
    /// Not one of those that the policy names.
    #[default]
    No,
    /// If there is room when it is over.
    Perhaps,
    /// Its record has a place.
    Surely,
}

impl Exchange {
    /// Whether the host has a place for one decision record more.
    pub fn decision_room(&mut self, room: bool) {
        self.room = room;
    }

    /// The decision log keeps this exchange.
    pub fn is_logged(&self) -> bool {
        self.logged != Logged::No
    }

    /// The record of this exchange was promised a place.
    pub fn has_place(&self) -> bool {
        self.logged == Logged::Surely
    }

    /// Finds out whether the log keeps this exchange, from what is known of it so far.
    pub(super) fn keeps(&mut self, policy: &Policy, caller: &Caller, model: &str) {
        let log = policy.config.telemetry.decisions.as_ref();
        if self.logged != Logged::Surely {
            let keeps = log.is_some_and(|log| who(&log.when, caller) && any(&log.when.model, model));
            self.logged = if keeps { Logged::Perhaps } else { Logged::No };
        }
    }

    /// Promises a place for the record, or refuses where the policy wants a record of every request.
    pub(super) fn place(&mut self, policy: &Policy) -> Result<(), Refusal> {
        let denies = policy.config.telemetry.decisions.as_ref().is_some_and(|log| log.deny);
        if self.logged != Logged::Perhaps || !denies {
            return Ok(());
        }
        if !self.room {
            return Err(Refusal::server(
                503,
                "decisions_unavailable",
                "the decision log takes no more records at present, and without one no request is served: try again in a moment",
            )
            .header("retry-after", "1"));
        }
        self.logged = Logged::Surely;
        Ok(())
    }

    /// What became of the tries and of what was held for them.
    pub(super) fn tell(&mut self, flight: &Flight, report: &Report, effects: &[Effect]) {
        if self.logged == Logged::No {
            return;
        }
        let last = (report.target(report.attempt) as u64 + 1, report.status);
        let tries = report.earlier.iter().chain((report.attempt > 0).then_some(&last));
        for (leg, status) in tries {
            let leg = usize::try_from(leg.saturating_sub(1)).ok().and_then(|at| flight.plan.legs.get(at));
            if let Some(leg) = leg {
                let (provider, model) = (leg.provider.clone(), leg.model.clone());
                self.span.tries.push(Tried { provider, model, status: *status });
            }
        }
        let settled = effects.iter().find_map(|effect| match effect {
            Effect::Settle(settlement) => Some(settlement.used.as_slice()),
            _ => None,
        });
        for (at, need) in self.needs.iter().enumerate() {
            self.span.charged.push(Charged {
                budget: need.instance.budget.clone(),
                unit: need.instance.unit().name(),
                held: need.full,
                used: settled.and_then(|used| used.get(at)).copied(),
            });
        }
    }

    /// The exchange's record, for the access log and for the decision log.
    pub(super) fn record(&self, effects: &mut Vec<Effect>) {
        let keeps = self.logged != Logged::No;
        let line = record::encode(&self.span, keeps);
        if keeps {
            effects.push(Effect::Decided(line.clone(), self.has_place()));
        }
        effects.push(Effect::State(record::RECORD, line));
    }
}
