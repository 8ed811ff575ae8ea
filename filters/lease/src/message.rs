//! Messages of the gRPC service `weir.ledger.v1.Ledger`, as both sides know them. All calls are unary.
//!
//! Fields may be added, never renumbered. Numbers of units are in the unit of their instance; `_ms` are milliseconds.

use crate::instance::Instance;

/// Opens the session of one process life; the same node and nonce give the same session.
#[derive(Clone, PartialEq, prost::Message)]
pub struct OpenRequest {
    /// Envoy's node id, shown to operators.
    #[prost(string, tag = "1")]
    pub node: String,
    /// First half of what makes this process life unique.
    #[prost(fixed64, tag = "2")]
    pub nonce_hi: u64,
    /// Second half.
    #[prost(fixed64, tag = "3")]
    pub nonce_lo: u64,
    /// Format of the process's records.
    #[prost(uint32, tag = "4")]
    pub version: u32,
}

/// Answer to [`OpenRequest`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct OpenReply {
    /// The session; never 0.
    #[prost(fixed64, tag = "1")]
    pub sid: u64,
    /// Grows whenever the ledger may have forgotten reports: every process then sends all it has.
    #[prost(uint64, tag = "2")]
    pub epoch: u64,
    /// Time between two reports. Each answer to a report says it anew, for it grows with the number of processes.
    #[prost(uint32, tag = "3")]
    pub sync_ms: u32,
}

/// A report of records; with asks, an *Acquire*.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SyncRequest {
    /// The session.
    #[prost(fixed64, tag = "1")]
    pub sid: u64,
    /// Highest epoch heard of.
    #[prost(uint64, tag = "2")]
    pub epoch: u64,
    /// The records; the reply has one item for each, in this order.
    #[prost(message, repeated, tag = "3")]
    pub items: Vec<Item>,
}

/// One record.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Item {
    /// Which counter.
    #[prost(message, optional, tag = "1")]
    pub instance: Option<Instance>,
    /// Tells the lives of a record within one session apart: a vector is per session, lane and window.
    #[prost(uint32, tag = "2")]
    pub lane: u32,
    /// The window of the vector; 0 before the first grant.
    #[prost(uint64, tag = "3")]
    pub wid: u64,
    /// Granted, as the process knows it.
    #[prost(uint64, tag = "4")]
    pub g: u64,
    /// Returned.
    #[prost(uint64, tag = "5")]
    pub r: u64,
    /// Used.
    #[prost(uint64, tag = "6")]
    pub u: u64,
    /// Held by requests in flight.
    #[prost(uint64, tag = "7")]
    pub h: u64,
    /// Requests in flight.
    #[prost(uint32, tag = "8")]
    pub n: u32,
    /// Demand per second.
    #[prost(uint64, tag = "9")]
    pub d: u64,
    /// Mean reservation.
    #[prost(uint64, tag = "10")]
    pub mean: u64,
    /// Number of this report; gauges (h, n, d, mean) of an older one are ignored.
    #[prost(uint64, tag = "11")]
    pub rev: u64,
    /// The window before, while it may still change.
    #[prost(message, optional, tag = "12")]
    pub prev: Option<Past>,
    /// What requests are waiting for.
    #[prost(message, optional, tag = "13")]
    pub ask: Option<Ask>,
    /// Nothing is to be granted: the process is draining or idle.
    #[prost(bool, tag = "14")]
    pub no_grant: bool,
    /// What the requests in flight may cost beyond their calibrated reservations; 0 while all bounds are exact.
    #[prost(uint64, tag = "15")]
    pub headroom: u64,
}

/// The vector of a window that is over.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Past {
    /// The window.
    #[prost(uint64, tag = "1")]
    pub wid: u64,
    /// Granted.
    #[prost(uint64, tag = "2")]
    pub g: u64,
    /// Returned.
    #[prost(uint64, tag = "3")]
    pub r: u64,
    /// Used.
    #[prost(uint64, tag = "4")]
    pub u: u64,
    /// Held.
    #[prost(uint64, tag = "5")]
    pub h: u64,
}

/// A need that the process's own lease cannot cover.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Ask {
    /// Wanted in all, by all requests that this call speaks for.
    #[prost(uint64, tag = "1")]
    pub full: u64,
    /// Smallest useful amount while others' holds may come back.
    #[prost(uint64, tag = "2")]
    pub floor: u64,
    /// Smallest useful amount when nothing will come back before the window ends.
    #[prost(uint64, tag = "3")]
    pub min: u64,
    /// Smallest full need of a single request.
    #[prost(uint64, tag = "4")]
    pub one: u64,
}

/// Answer to [`SyncRequest`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct SyncReply {
    /// See [`OpenReply::epoch`].
    #[prost(uint64, tag = "1")]
    pub epoch: u64,
    /// One for each item of the request, in its order.
    #[prost(message, repeated, tag = "2")]
    pub items: Vec<ItemReply>,
    /// See [`OpenReply::sync_ms`]; 0 is as before.
    #[prost(uint32, tag = "3")]
    pub sync_ms: u32,
}

/// Answer to one [`Item`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct ItemReply {
    /// The current window by the ledger's clock.
    #[prost(uint64, tag = "1")]
    pub wid: u64,
    /// Time left in it.
    #[prost(uint64, tag = "2")]
    pub ends_in_ms: u64,
    /// Granted in it to this session and lane, in all.
    #[prost(uint64, tag = "3")]
    pub g: u64,
    /// Most that the process should have free.
    #[prost(uint64, tag = "4")]
    pub cap: u64,
    /// Free units live in the ledger: what exceeds `cap` goes home at once.
    #[prost(bool, tag = "5")]
    pub tight: bool,
    /// Plenty is left: an idle process may keep a few reservations.
    #[prost(bool, tag = "6")]
    pub roomy: bool,
    /// The ledger knows no such budget.
    #[prost(bool, tag = "7")]
    pub gone: bool,
    /// [`Item::rev`] of the item answered.
    #[prost(uint64, tag = "8")]
    pub rev: u64,
    /// The ask could not be met in full.
    #[prost(message, optional, tag = "9")]
    pub short: Option<Short>,
    /// A grant for the window that comes next, near the end of this one.
    #[prost(message, optional, tag = "10")]
    pub next: Option<NextGrant>,
    /// The state of the counter; always there when `short` is.
    #[prost(message, optional, tag = "11")]
    pub figures: Option<Figures>,
    /// The limit in force; 0 from a ledger that does not say it.
    #[prost(uint64, tag = "12")]
    pub limit: u64,
    /// What is neither settled, held nor stranded, this process's report included: free in the ledger or in leases.
    #[prost(uint64, tag = "13")]
    pub room: u64,
    /// Of a rolling window: how long what a dead VM's requests held stays outstanding before it is presumed spent, since
    /// a unit counts for a window's length from its report on, and the provider may bill until then. 0 for a calendar
    /// window, which its end closes.
    #[prost(uint32, tag = "14")]
    pub hold_ms: u32,
}

/// Why an ask is not met in full.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Short {
    /// How long the process itself refuses such asks, unless it is woken.
    #[prost(uint32, tag = "1")]
    pub for_ms: u32,
    /// Nothing comes back before the window ends.
    #[prost(bool, tag = "2")]
    pub terminal: bool,
    /// The ledger pauses grants while processes report again.
    #[prost(bool, tag = "3")]
    pub quarantine: bool,
}

/// A grant for the next window.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct NextGrant {
    /// The window.
    #[prost(uint64, tag = "1")]
    pub wid: u64,
    /// Granted in it.
    #[prost(uint64, tag = "2")]
    pub g: u64,
    /// Time until it ends.
    #[prost(uint64, tag = "3")]
    pub ends_in_ms: u64,
}

/// The state of one counter at one moment: `limit = settled + held + leased + stranded + left`, unless overcommitted.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Figures {
    /// The limit in force.
    #[prost(uint64, tag = "1")]
    pub limit: u64,
    /// Settled.
    #[prost(uint64, tag = "2")]
    pub settled: u64,
    /// Held by requests in flight of living processes.
    #[prost(uint64, tag = "3")]
    pub held: u64,
    /// Free inside living processes, recallable.
    #[prost(uint64, tag = "4")]
    pub leased: u64,
    /// Outstanding in processes not heard of, presumed spent.
    #[prost(uint64, tag = "5")]
    pub stranded: u64,
    /// Available at the ledger.
    #[prost(uint64, tag = "6")]
    pub left: u64,
    /// Requests that hold.
    #[prost(uint32, tag = "7")]
    pub running: u32,
    /// Until the window ends.
    #[prost(uint64, tag = "8")]
    pub reset_in_ms: u64,
    /// When held units are expected back.
    #[prost(uint64, tag = "9")]
    pub release_in_ms: u64,
    /// `minute`, `hour`, `day`, `week` or `month`.
    #[prost(string, tag = "10")]
    pub window: String,
    /// IANA time zone of the window.
    #[prost(string, tag = "11")]
    pub timezone: String,
    /// Kept back for answers that cost more than their calibrated bounds.
    #[prost(uint64, tag = "12")]
    pub headroom: u64,
}

/// Long poll: answered when the ledger has something to say, or when `wait_ms` are over.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct WatchRequest {
    /// The session.
    #[prost(fixed64, tag = "1")]
    pub sid: u64,
    /// Highest epoch heard of.
    #[prost(uint64, tag = "2")]
    pub epoch: u64,
    /// Longest wait.
    #[prost(uint32, tag = "3")]
    pub wait_ms: u32,
}

/// Answer to [`WatchRequest`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct WatchReply {
    /// See [`OpenReply::epoch`].
    #[prost(uint64, tag = "1")]
    pub epoch: u64,
    /// Return what is free of these.
    #[prost(message, repeated, tag = "2")]
    pub recall: Vec<Id>,
    /// Room is back in these.
    #[prost(message, repeated, tag = "3")]
    pub wake: Vec<Id>,
    /// Limits have changed: report everything.
    #[prost(bool, tag = "4")]
    pub limits: bool,
    /// The session was asked to drain.
    #[prost(bool, tag = "5")]
    pub drain: bool,
}

/// A 128-bit instance id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, prost::Message)]
pub struct Id {
    /// Upper half.
    #[prost(fixed64, tag = "1")]
    pub hi: u64,
    /// Lower half.
    #[prost(fixed64, tag = "2")]
    pub lo: u64,
}

impl From<u128> for Id {
    fn from(id: u128) -> Id {
        Id { hi: (id >> 64) as u64, lo: id as u64 }
    }
}

impl From<Id> for u128 {
    fn from(id: Id) -> u128 {
        u128::from(id.hi) << 64 | u128::from(id.lo)
    }
}

/// The process will end: nothing is granted any more.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct DrainRequest {
    /// The session.
    #[prost(fixed64, tag = "1")]
    pub sid: u64,
}

/// Answer to [`DrainRequest`].
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct DrainReply {}

/// The last word of a session whose last report has been answered: nothing is held, nothing is free.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct CloseRequest {
    /// The session.
    #[prost(fixed64, tag = "1")]
    pub sid: u64,
}

/// Answer to [`CloseRequest`].
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct CloseReply {}

/// A batch of [`SpentRecord`]s of one VM, for the service [`crate::SPEND_SERVICE`]. Numbers count up per session and
/// VM; a batch that comes twice has the same number.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SpendReport {
    /// The session.
    #[prost(fixed64, tag = "1")]
    pub sid: u64,
    /// Random bits of the VM.
    #[prost(fixed64, tag = "2")]
    pub vm: u64,
    /// Number of the batch, from 1.
    #[prost(uint64, tag = "3")]
    pub seq: u64,
    /// Records that this VM had no room for, since it began.
    #[prost(uint64, tag = "4")]
    pub dropped: u64,
    /// The records.
    #[prost(message, repeated, tag = "5")]
    pub records: Vec<SpentRecord>,
}

/// What one request was and used.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SpentRecord {
    /// Tenant.
    #[prost(string, tag = "1")]
    pub tenant: String,
    /// Id of the key.
    #[prost(string, tag = "2")]
    pub key: String,
    /// The policy's name of the model.
    #[prost(string, tag = "3")]
    pub model: String,
    /// The policy's name of the provider.
    #[prost(string, tag = "4")]
    pub provider: String,
    /// Cost dimensions of the policy's own.
    #[prost(message, repeated, tag = "5")]
    pub labels: Vec<Label>,
    /// Input tokens.
    #[prost(uint64, tag = "6")]
    pub input: u64,
    /// Output tokens.
    #[prost(uint64, tag = "7")]
    pub output: u64,
    /// Cost.
    #[prost(uint64, tag = "8")]
    pub nano_usd: u64,
    /// The figures are bounds.
    #[prost(bool, tag = "9")]
    pub estimated: bool,
    /// What budgets were charged.
    #[prost(message, repeated, tag = "10")]
    pub charges: Vec<Charge>,
}

/// A label of a request.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Label {
    /// Name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// What one counter was charged.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Charge {
    /// The counter.
    #[prost(message, optional, tag = "1")]
    pub instance: Option<Instance>,
    /// Its window.
    #[prost(uint64, tag = "2")]
    pub wid: u64,
    /// Units.
    #[prost(uint64, tag = "3")]
    pub amount: u64,
}

/// Answer to [`SpendReport`]: it is kept.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct SpendTaken {}

/// A batch of decision records of one VM, for the service [`crate::DECISION_SERVICE`]. Numbers count up per VM; a batch
/// that comes twice has the same number and the same records.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DecisionReport {
    /// Random bits of the VM.
    #[prost(fixed64, tag = "1")]
    pub life: u64,
    /// More of them.
    #[prost(fixed64, tag = "2")]
    pub vm: u64,
    /// Number of the batch, from 1.
    #[prost(uint64, tag = "3")]
    pub seq: u64,
    /// Records that this VM had no room for, since it began.
    #[prost(uint64, tag = "4")]
    pub dropped: u64,
    /// The records, each one line of JSON.
    #[prost(bytes = "vec", repeated, tag = "5")]
    pub records: Vec<Vec<u8>>,
}

/// Answer to [`DecisionReport`]: it is kept, whatever happens next.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct DecisionsKept {}
