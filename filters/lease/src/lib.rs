//! Leases on budgets: what a gateway process and the budget ledger say to each other, and all of the arithmetic on
//! the process's side.
//!
//! The promise is that a hard budget is never overspent. One idea carries it: per process and window there are three
//! numbers that only grow (granted, returned, used), both sides merge them by maximum, and *a unit that left the
//! ledger comes back only by the word of the process that holds it, never by a clock*. So lost, repeated and
//! reordered messages are harmless, and a process that dies leaves its units counted as spent.
//!
//! [`Lessee`] is one VM's client: it reserves and settles on records in the process's shared data ([`SharedData`]),
//! and asks the ledger only when the process's lease runs short. It is sans-IO: the host hands in the time and the
//! store, dispatches the [`Call`]s that come out, and hands their replies back. What this crate is not: it knows
//! neither proxy-wasm nor sockets, and it decides nothing about limits, windows or fairness; the ledger does.
//!
//! What the host must do: keep one [`Lessee`] per VM (not per root context: a new configuration makes a new root in the
//! same VM), pass every timer, reply and request end to it, and after each of them take `woken()`, dispatch `calls()`
//! and set its timer to `tick_in_ms()`. A call whose callback never comes is given up by the timer.
//!
//! ```text
//! request ─ reserve ─┬─ Held ──────────────── stream … ─ settle
//!                    ├─ Refused
//!                    └─ Wait ─ calls() ⇒ gRPC ⇒ reply() ─ woken() ─ Held | Refused
//! timer ──── tick ────── calls() ⇒ gRPC ⇒ reply()
//! ```

mod decided;
mod flight;
mod instance;
mod lessee;
mod level;
pub mod message;
pub mod mutant;
mod outbox;
mod patience;
mod record;
mod refusal;
mod reply;
mod report;
mod roomy;
mod shared;
mod soft;
mod spent;
mod store;
mod table;
mod wire;

pub use decided::{DECISION_METHOD, DECISION_SERVICE, DECISION_TIMEOUT_MS, Decided};
pub use flight::{Call, Method, SERVICE};
pub use instance::{Instance, InstanceId, Unit, mix};
pub use lessee::{Hold, LedgerLost, Lessee, Need, Reserve, Setup, Stats};
pub use level::{Granted, Level};
pub use outbox::Outbox;
pub use record::{Record, Settled, Slot, Ticket, Vector};
pub use refusal::{Code, Refusal, Shortfall};
pub use spent::{SPEND_METHOD, SPEND_SERVICE, SPEND_TIMEOUT_MS, Spent};
pub use store::{CREATE, Mismatch, SharedData, records};

/// Nanoseconds of the host's clock, used as a stopwatch only.
pub type Nanos = u64;

/// One millisecond.
pub const MS: Nanos = 1_000_000;
/// One second.
pub const SECOND: Nanos = 1_000 * MS;
/// Time between two reports of a process, until the ledger names another.
pub const SYNC: Nanos = SECOND;
/// A VM that has not ticked for this long is dead: what it held is presumed spent.
pub const VM_DEAD: Nanos = 5 * SECOND;
/// Without an answer of the ledger for this long, `ledger_lost` decides.
pub const LOST_AFTER: Nanos = 5 * SECOND;
/// How long a request waits for the ledger per round, and the time limit of one call.
pub const ACQUIRE_TIMEOUT: Nanos = SECOND;
/// Refunds of a tight budget go home at most this much later.
pub const REFUND_FLUSH: Nanos = 50 * MS;
/// Reservations kept in hand beyond the demand of one second.
pub const KEEP: u64 = 8;
/// Times that a request tries again when a neighbour was faster, before it is refused as contended.
pub const ROUNDS: u32 = 4;
