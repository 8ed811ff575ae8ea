//! What any ledger does, whatever keeps its numbers.

use std::future::Future;

use weir_lease::message::{
    CloseReply, CloseRequest, DrainReply, DrainRequest, OpenReply, OpenRequest, SyncReply, SyncRequest,
    WatchReply, WatchRequest,
};

use crate::core::Status;
use crate::operate::{Alert, Audit, Holder, Override, Released, Scope};
use crate::{BudgetDef, Error, Spend};

/// A ledger. A grant that a reply tells of is never forgotten.
pub trait Engine: Send + Sync + 'static {
    /// Opens the session of a process life.
    fn open(&self, request: OpenRequest) -> impl Future<Output = Result<OpenReply, Status>> + Send;
    /// Takes in reports, grants.
    fn sync(&self, request: SyncRequest) -> impl Future<Output = Result<SyncReply, Status>> + Send;
    /// Waits for something to say.
    fn watch(&self, request: WatchRequest) -> impl Future<Output = Result<WatchReply, Status>> + Send;
    /// Stops granting ahead, and tells the process to return what it does not use and to close.
    fn drain(&self, request: DrainRequest) -> impl Future<Output = Result<DrainReply, Status>> + Send;
    /// Ends a session that has nothing outstanding.
    fn close(&self, request: CloseRequest) -> impl Future<Output = Result<CloseReply, Status>> + Send;
    /// Replaces all budgets: new limits bind the next grant, removed budgets grant nothing more.
    fn set_budgets(&self, budgets: Vec<BudgetDef>) -> impl Future<Output = Result<(), Error>> + Send;
    /// The state of every counter with something in it.
    fn spend(&self) -> impl Future<Output = Result<Vec<Spend>, Error>> + Send;
    /// Adds units to the limits of all counters in scope until an instant (Unix milliseconds) of the ledger's clock.
    /// Adding 0 ends all overrides of exactly this scope. Several add up. [`Error::NoBudget`] when there is none such.
    fn override_limit(
        &self,
        scope: Scope,
        add: u64,
        until: u64,
        by: String,
    ) -> impl Future<Output = Result<(), Error>> + Send;
    /// The overrides in force.
    fn overrides(&self) -> impl Future<Output = Result<Vec<Override>, Error>> + Send;
    /// Gives free what sessions have that were not heard of for `session_ttl`: of one session, or of all. Whatever
    /// such a session still spends is booked on top of the limit.
    fn release_stranded(
        &self,
        scope: Scope,
        sid: Option<u64>,
        by: String,
    ) -> impl Future<Output = Result<Vec<Released>, Error>> + Send;
    /// Thresholds crossed, the latest last; bounded.
    fn alerts(&self) -> impl Future<Output = Result<Vec<Alert>, Error>> + Send;
    /// What operators did, the latest last; bounded.
    fn audit(&self) -> impl Future<Output = Result<Vec<Audit>, Error>> + Send;
    /// The gateway processes it knows of.
    fn holders(&self) -> impl Future<Output = Result<Vec<Holder>, Error>> + Send;
}
