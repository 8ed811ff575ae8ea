//! Switches that break one safety rule each, so that a simulation can prove that it would notice. Without the feature
//! `mutants` every switch is a constant `false` and no trace is left in the build.

/// A rule broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// The ledger grants a silent session's units again.
    ExpiryRegrant,
    /// The reaper gives a dead VM's reservations back instead of presuming them spent.
    ReapRelease,
    /// A session is known by its node alone, so a restarted process continues the dead one's numbers.
    SameSid,
    /// A grant is added to what the process has, instead of merged by maximum.
    GAdd,
    /// The ledger replies before its log is on the disk.
    NoSync,
    /// The ledger takes what was returned for a difference: a report that comes again is counted again.
    RetDelta,
    /// A rolling window is charged when units are granted, not when they are reported as used.
    RollAtGrant,
    /// The reaper presumes a dead VM's holds of a rolling window spent at once.
    RollReapNow,
    /// A ledger that finds that it had forgotten grants goes on granting at once.
    NoQuarantine,
    /// Nothing is kept back for answers that cost more than their reservations.
    NoHeadroom,
}

#[cfg(feature = "mutants")]
mod switch {
    use super::Mutant;
    use std::cell::Cell;

    thread_local!(static ON: Cell<Option<Mutant>> = const { Cell::new(None) });

    /// Breaks one rule on this thread, or none.
    pub fn set(mutant: Option<Mutant>) {
        ON.with(|on| on.set(mutant));
    }

    /// Whether this rule is broken.
    pub fn on(mutant: Mutant) -> bool {
        ON.with(|on| on.get() == Some(mutant))
    }
}

#[cfg(feature = "mutants")]
pub use switch::{on, set};

/// Whether this rule is broken: never in a build that serves.
#[cfg(not(feature = "mutants"))]
#[inline(always)]
pub const fn on(_: Mutant) -> bool {
    false
}
