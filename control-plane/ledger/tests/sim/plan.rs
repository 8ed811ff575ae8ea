//! What a run is made of, and what it has shown.

use std::collections::BTreeMap;
use std::time::Duration;

use weir_lease::{LedgerLost, Unit};
use weir_ledger::{BudgetDef, Params, WindowKind};

/// What a run is made of; percentages are chances per message, operation or second.
#[derive(Clone)]
pub struct Plan {
    pub processes: usize,
    pub vms: usize,
    pub budgets: Vec<BudgetDef>,
    /// Requests per second and VM; 0 with `clients` instead.
    pub rate: f64,
    /// Clients in all that send the next request when the last is done.
    pub clients: usize,
    pub seconds: u64,
    /// Reservation of a request, and what of it is billed, in percent.
    pub reserve: (u64, u64),
    pub billed: (u64, u64),
    /// Units that it is billed above that, bounds being calibrated: then what is overspent is counted, and no breach.
    pub over: (u64, u64),
    pub duration_ms: (u64, u64),
    /// How long a request waits for others' reservations.
    pub wait_ms: (u64, u64),
    pub loss: f64,
    pub duplicate: f64,
    pub slow: f64,
    pub interleave: f64,
    pub trap: f64,
    pub kill: f64,
    pub stall: f64,
    pub partition: f64,
    pub crash: f64,
    pub limits: f64,
    pub unknown: f64,
    pub lost: LedgerLost,
    /// Stop when every client was refused as terminal.
    pub until_spent: bool,
    pub params: Params,
    /// Crashes lose this much that had been synced: a store that is promoted from a lagging copy, in milliseconds.
    pub forget_ms: u64,
    /// When the run counts as warm, in seconds: see [`Outcome::steady`].
    pub warm_s: u64,
    /// Requests last as long as they may until then, and as short as they may afterwards; 0 is by chance.
    pub long_until_ms: u64,
}

/// What a run has shown.
#[derive(Default, Debug, Clone)]
pub struct Outcome {
    pub admitted: u64,
    pub waited: u64,
    pub refused: BTreeMap<&'static str, u64>,
    /// Refused while the true room was at least the need and 2 % of the limit.
    pub falsely: u64,
    /// Breaches of an invariant, the first ones in words.
    pub breaches: Vec<String>,
    /// By instance and window: what providers billed.
    pub billed: BTreeMap<(String, u64), u128>,
    /// The most that any of them is above its limit.
    pub overspent: u128,
    pub syncs: u64,
    pub acquires: u64,
    pub recalls: u64,
    pub healed: u64,
    pub settled: u64,
    pub stranded: u64,
    pub held: u64,
    pub leased: u64,
    pub presumed: u64,
    pub longest_wait_ms: u64,
    pub seconds: u64,
    /// Calls of every kind that reached the ledger, and what its decisions took of this machine's time.
    pub calls: u64,
    pub ledger_time: Duration,
    /// The part of the run between [`Plan::warm_s`] and its end.
    pub steady: Steady,
    /// Records that were looked at as they were written.
    pub checked: u64,
    /// Bytes in each process's shared data, on average.
    pub store_bytes: usize,
}

/// What happened between two moments of a run.
#[derive(Default, Debug, Clone, Copy)]
pub struct Steady {
    pub seconds: u64,
    pub admitted: u64,
    pub refused: u64,
    pub waited: u64,
    pub syncs: u64,
    pub calls: u64,
    pub ledger_time: Duration,
}

impl Steady {
    pub(super) fn since(self, before: &Steady) -> Steady {
        Steady {
            seconds: self.seconds - before.seconds,
            admitted: self.admitted - before.admitted,
            refused: self.refused - before.refused,
            waited: self.waited - before.waited,
            syncs: self.syncs - before.syncs,
            calls: self.calls - before.calls,
            ledger_time: self.ledger_time - before.ledger_time,
        }
    }
}

pub fn budget(name: &str, unit: Unit, limit: u64, window: WindowKind, each: &[&str]) -> BudgetDef {
    BudgetDef {
        name: name.into(),
        unit,
        limit,
        window,
        timezone: "UTC".into(),
        definition: "d".into(),
        each: each.iter().map(|name| (*name).to_owned()).collect(),
        alert_at: Vec::new(),
        max_life: 16_000,
    }
}
