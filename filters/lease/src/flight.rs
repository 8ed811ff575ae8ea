//! Calls to the ledger: what the host dispatches by gRPC, and what is remembered of each until its reply.

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
