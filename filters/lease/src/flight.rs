//! Calls to the ledger: what the host dispatches by gRPC, and what is remembered of each until its reply.

use crate::Nanos;
use crate::store::Place;

/// The gRPC service of the ledger.
pub const SERVICE: &str = "weir.ledger.v1.Ledger";

/// A unary method of [`SERVICE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Opens the process's session.
    Open,
    /// Reports records, asks for units.
    Sync,
    /// Waits for recalls and wakes.
    Watch,
    /// Announces the process's end.
    Drain,
    /// Ends the session.
    Close,
}

impl Method {
    /// The method's name in the service.
    pub const fn name(self) -> &'static str {
        match self {
            Method::Open => "Open",
            Method::Sync => "Sync",
            Method::Watch => "Watch",
            Method::Drain => "Drain",
            Method::Close => "Close",
        }
    }
}

/// One unary gRPC call for the host to dispatch.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// Hand it back with the reply; unique within the VM.
    pub id: u32,
    /// Which method of [`SERVICE`].
    pub method: Method,
    /// The encoded request message.
    pub body: Vec<u8>,
    /// The call's time limit in milliseconds.
    pub timeout_ms: u32,
}

/// A call whose reply is awaited.
pub(crate) struct Flight {
    pub id: u32,
    pub method: Method,
    pub sent: Nanos,
    pub timeout_ms: u32,
    /// The records of a Sync, in the order of its items.
    pub refs: Vec<Ref>,
    /// The requests that an Acquire speaks for.
    pub waiters: Vec<u64>,
}

/// One record in a Sync.
pub(crate) struct Ref {
    pub place: Place,
    pub lane: u32,
    pub id: u128,
    pub name: Vec<u8>,
    pub rev: u64,
    pub g: u64,
    /// Its window, and what was used and held in it.
    pub wid: u64,
    pub spent: u64,
}
