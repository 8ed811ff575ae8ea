//! What the ledger is told of budgets, and what it tells of their counters.

use weir_lease::{Instance, Unit};

use crate::Error;
use crate::window::{Calendar, Window, WindowKind};

/// One limit of one budget.
#[derive(Clone, Debug, PartialEq)]
pub struct BudgetDef {
    /// Name of the budget.
    pub name: String,
    /// What is counted; a budget with two limits is two definitions.
    pub unit: Unit,
    /// Units per window, for each counter.
    pub limit: u64,
    /// The window.
    pub window: WindowKind,
    /// IANA name.
    pub timezone: String,
    /// Hash of when, each, unit and window: counters of another definition are closed.
    pub definition: String,
    /// Names of what has a counter each; for display.
    pub each: Vec<String>,
    /// Shares of the limit at which to tell, in hundredths of a percent.
    pub alert_at: Vec<u64>,
    /// Longest life of a request in milliseconds: how long a provider may bill one whose gateway is gone. Only rolling
    /// windows ask; calendar windows end.
    pub max_life: u64,
}

/// A definition with its calendar.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    pub def: BudgetDef,
    pub calendar: Calendar,
}

impl Budget {
    pub fn new(def: BudgetDef) -> Result<Budget, Error> {
        let calendar = Calendar::new(def.window, &def.timezone)?;
        Ok(Budget { def, calendar })
    }
}

/// The state of one counter at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Spend {
    /// Which counter.
    pub instance: Instance,
    /// Names of what has a counter each.
    pub each: Vec<String>,
    /// The window; of a rolling one from its length ago to when its oldest units stop counting.
    pub window: Window,
    /// Its length.
    pub kind: WindowKind,
    /// Its time zone.
    pub timezone: String,
    /// The limit in force: `settled + held + leased + stranded + headroom + left`, unless overcommitted.
    pub limit: u64,
    /// Of it, added by overrides.
    pub added: u64,
    /// Settled.
    pub settled: u64,
    /// Held by requests in flight of living processes.
    pub held: u64,
    /// Free inside living processes, recallable.
    pub leased: u64,
    /// Outstanding in processes not heard of, presumed spent.
    pub stranded: u64,
    /// Kept back for answers that cost more than their calibrated bounds.
    pub headroom: u64,
    /// Available at the ledger.
    pub left: u64,
    /// Committed above the limit, after it was lowered.
    pub overcommitted: u64,
    /// Requests that hold.
    pub running: u32,
    /// The policy has no such budget any more, or defines it anew: nothing is granted, what is out is still counted.
    pub gone: bool,
    /// Thresholds crossed in this window, in hundredths of a percent.
    pub alerts: Vec<u64>,
}
