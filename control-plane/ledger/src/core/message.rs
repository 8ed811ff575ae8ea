//! What goes into a ledger and what comes out: calls, their answers, and what the log must say before these leave.

use weir_lease::message::{
    CloseReply, CloseRequest, DrainReply, DrainRequest, OpenReply, OpenRequest, SyncReply, SyncRequest,
    WatchReply, WatchRequest,
};

use crate::log::Entry;

/// A gRPC status that is not OK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// gRPC code.
    pub code: u32,
    /// What is wrong.
    pub message: &'static str,
}

impl Status {
    pub(crate) const NOT_FOUND: Status = Status { code: 5, message: "unknown session" };
    pub(crate) const CLOSED: Status = Status { code: 9, message: "the session is closed" };
    pub(crate) const OUTSTANDING: Status = Status { code: 9, message: "units are outstanding" };
    pub(crate) const REPLACED: Status = Status { code: 10, message: "another watch took over" };
    pub(crate) const AWAY: Status = Status { code: 14, message: "the ledger's store cannot be reached" };
    pub(crate) const BEHIND: Status =
        Status { code: 14, message: "another control plane granted meanwhile: ask again" };
    pub(crate) const STOPPED: Status = Status { code: 14, message: "the ledger has stopped" };
}

/// A call.
#[derive(Clone, Debug)]
pub enum Request {
    /// See [`OpenRequest`].
    Open(OpenRequest),
    /// See [`SyncRequest`].
    Sync(SyncRequest),
    /// See [`WatchRequest`].
    Watch(WatchRequest),
    /// See [`DrainRequest`].
    Drain(DrainRequest),
    /// See [`CloseRequest`].
    Close(CloseRequest),
}

/// Its answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// See [`OpenReply`].
    Open(OpenReply),
    /// See [`SyncReply`].
    Sync(SyncReply),
    /// See [`WatchReply`].
    Watch(WatchReply),
    /// See [`DrainReply`].
    Drain(DrainReply),
    /// See [`CloseReply`].
    Close(CloseReply),
}

/// What is to be done.
#[derive(Clone, Debug, Default)]
pub struct Effect {
    /// To append to the log, before anything else.
    pub entries: Vec<Entry>,
    /// Whether the log must be durable before the replies leave.
    pub durable: bool,
    /// Replies by call.
    pub replies: Vec<(u64, Result<Reply, Status>)>,
}

/// Counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Calls of Sync.
    pub syncs: u64,
    /// Of these, with an ask.
    pub acquires: u64,
    /// Asks that waited for returns.
    pub parked: u64,
    /// Asks not met in full.
    pub short: u64,
    /// Recalls sent.
    pub recalls: u64,
    /// Wakes sent.
    pub wakes: u64,
    /// Vectors that showed more granted than the ledger remembered.
    pub healed: u64,
}
