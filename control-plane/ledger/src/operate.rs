//! What operators do to a ledger and what it has to tell them: raised limits that expire, stranded units given free,
//! thresholds that were crossed, and who did what. All of it is in the log: a restart forgets none.

use weir_lease::{Instance, Unit};

use crate::budget::BudgetDef;

/// Which counters are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scope {
    /// Name of the budget.
    pub budget: String,
    /// Only this unit of it; `None` is all.
    pub unit: Option<Unit>,
    /// Only the counter of this value of `each`; `None` is all.
    pub subject: Option<String>,
}

impl Scope {
    /// Whether a counter is meant.
    pub fn covers(&self, instance: &Instance) -> bool {
        self.budget == instance.budget
            && self.unit.is_none_or(|unit| unit as i32 == instance.unit)
            && self.subject.as_ref().is_none_or(|subject| *subject == instance.subject)
    }

    /// Whether some counter of a budget is meant.
    pub fn names(&self, def: &BudgetDef) -> bool {
        self.budget == def.name && self.unit.is_none_or(|unit| unit == def.unit)
    }
}

/// Units added to a limit until an instant of the ledger's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// Its number: later ones have greater ones.
    pub id: u64,
    /// To which counters; each gets all of it.
    pub scope: Scope,
    /// Units added.
    pub add: u64,
    /// When it ends, in Unix milliseconds.
    pub until: u64,
}

/// A threshold that was crossed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// The counter.
    pub instance: Instance,
    /// Its window; of a rolling one the number of the interval of its length that had begun.
    pub wid: u64,
    /// The threshold in hundredths of a percent of the limit.
    pub threshold: u64,
    /// Settled and stranded at that moment.
    pub spent: u64,
    /// The limit at that moment.
    pub limit: u64,
    /// When, in Unix milliseconds.
    pub at: u64,
}

/// Stranded units that were given free: the session holds them still, so that they may be spent twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Released {
    /// The counter.
    pub instance: Instance,
    /// The session.
    pub sid: u64,
    /// Its Envoy's node id.
    pub node: String,
    /// How much.
    pub units: u64,
}

/// Something that an operator did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// When, in Unix milliseconds.
    pub at: u64,
    /// Who, as the API knows them.
    pub by: String,
    /// What, in words.
    pub what: String,
}

/// A gateway process that the ledger knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its number.
    pub sid: u64,
    /// Envoy's node id.
    pub node: String,
    /// Milliseconds since it was heard of.
    pub silent_ms: u64,
    /// It has been silent for so long that what it has counts as stranded.
    pub lost: bool,
    /// It was told to end.
    pub draining: bool,
    /// It has ended.
    pub closed: bool,
    /// Counters in which it has something outstanding.
    pub counters: u32,
}
