//! What a ledger is told: the time, and the protocol's times and shares.

/// The time, twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Time {
    /// Unix milliseconds: decides windows.
    pub wall: u64,
    /// Milliseconds of a clock that never jumps: decides waits and who is alive.
    pub mono: u64,
}

/// Times in milliseconds and shares of the protocol.
#[derive(Clone, Copy, Debug)]
pub struct Params {
    /// Between two reports of a process, while they are few.
    pub sync: u64,
    /// Reports per second beyond which processes report less often: their regular ones alone never fill the ledger's
    /// time. A living process is heard of three times within `session_ttl` all the same.
    pub reports: u64,
    /// A process not heard of for longer is presumed lost; what it has is shown as stranded.
    pub session_ttl: u64,
    /// How long a request waits for others' returns.
    pub recall_wait: u64,
    /// Between two recalls of the same session.
    pub recall_every: u64,
    /// Sessions recalled at once.
    pub recall_width: usize,
    /// How long grants pause after the ledger found that it had forgotten some.
    pub quarantine: u64,
    /// One part in `k` of the room may be free inside processes.
    pub k: u128,
    /// Reservations granted ahead.
    pub z: u64,
    /// Next window's grants are given this long before it begins.
    pub ahead: u64,
    /// Sums over a large counter's vectors are kept this long.
    pub cache: u64,
    /// The store is shared with other control planes: it, not this core, knows what was forgotten.
    pub shared: bool,
}

impl Default for Params {
    fn default() -> Params {
        Params {
            sync: 1_000,
            reports: 2_000,
            session_ttl: 15_000,
            recall_wait: 250,
            recall_every: 30,
            recall_width: 16,
            quarantine: 3_000,
            k: 4,
            z: weir_lease::KEEP,
            ahead: 5_000,
            cache: 20,
            shared: false,
        }
    }
}
