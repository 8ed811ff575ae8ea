//! The budget ledger: it alone knows limits, windows and who holds what, and it grants leases so that all processes
//! together never spend more than a limit.
//!
//! * [`core`](Core): every decision, sans-IO: requests, times and budgets in; replies and log entries out.
//! * `log`: the entries' bytes, their frames, and what is trusted of a file after a crash.
//! * [`Desk`]: the core on a thread of its own, over a store: a log on disk ([`Desk::open`]) or Redis
//!   ([`Desk::redis`]). A grant is kept there before it is told.
//! * [`service`]: the gRPC face, over any [`Engine`].
//!
//! What it is not: it neither knows requests nor prices; processes report sums (see `weir-lease`).

mod book;
mod budget;
mod core;
mod decide;
mod desk;
mod disk;
mod embedded;
mod engine;
mod log;
mod operate;
mod redis;
mod ring;
mod service;
mod waiting;
mod window;

pub use budget::{BudgetDef, Spend};
pub use core::{Core, Counters, Effect, Params, Reply, Request, Status, Time};
pub use desk::{Desk, Guarantee};
/// The name of [`Desk`] from when there was one store.
pub type Embedded = Desk;
pub use disk::Disk;
pub use engine::Engine;
pub use log::{Entry, Frames, recover};
pub use operate::{Alert, Audit, Holder, Override, Released, Scope};
pub use redis::Options as RedisOptions;
pub use service::{LedgerServer, service};
pub use window::{Window, WindowKind};

/// What can go wrong with a ledger's store or its configuration.
#[derive(Debug)]
pub enum Error {
    /// The file cannot be used.
    Io(std::io::Error),
    /// Another process has the ledger open.
    Locked(std::path::PathBuf),
    /// A part of the log that had been made durable cannot be read; the position in bytes.
    Damaged(u64),
    /// No such IANA time zone.
    Timezone(String),
    /// No such window keyword.
    Window(String),
    /// The policy has no such budget.
    NoBudget(String),
    /// Redis cannot be used: its own message.
    Redis(String),
    /// Redis does not answer, or not yet as a primary: its own message.
    Down(String),
    /// The store cannot be reached at present.
    Away,
    /// The ledger's thread has ended.
    Stopped,
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Io(error) => write!(f, "ledger store: {error}"),
            Error::Locked(path) => write!(f, "ledger store {} is in use by another process", path.display()),
            Error::Damaged(at) => write!(f, "ledger log is damaged at byte {at}, before its end"),
            Error::Timezone(name) => write!(f, "unknown time zone {name:?}"),
            Error::Window(name) => write!(f, "unknown window {name:?}"),
            Error::NoBudget(name) => write!(f, "no budget {name:?}"),
            Error::Redis(why) | Error::Down(why) => write!(f, "ledger on Redis: {why}"),
            Error::Away => write!(f, "the ledger's store cannot be reached"),
            Error::Stopped => write!(f, "the ledger has stopped"),
        }
    }
}

impl std::error::Error for Error {}

impl From<::redis::RedisError> for Error {
    fn from(error: ::redis::RedisError) -> Error {
        use ::redis::ErrorKind::{BusyLoadingError, MasterDown, TryAgain};
        let passes = matches!(error.kind(), BusyLoadingError | MasterDown | TryAgain);
        match error.is_io_error() || error.is_connection_dropped() || passes {
            true => Error::Down(error.to_string()),
            false => Error::Redis(error.to_string()),
        }
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Error {
        Error::Io(error)
    }
}
