//! What any ledger does, whatever keeps its numbers.

use std::future::Future;

use weir_lease::message::{
    CloseReply, CloseRequest, DrainReply, DrainRequest, OpenReply, OpenRequest, SyncReply, SyncRequest,
    WatchReply, WatchRequest,
};

use crate::core::Status;
use crate::{BudgetDef, Error, Spend};

/// A ledger. A grant that a reply tells of is never forgotten.
pub trait Engine: Send + Sync + 'static {
    /// Opens the session of a process life.
    fn open(&self, request: OpenRequest) -> impl Future<Output = Result<OpenReply, Status>> + Send;
    /// Takes in reports, grants.
    fn sync(&self, request: SyncRequest) -> impl Future<Output = Result<SyncReply, Status>> + Send;
    /// Waits for something to say.
    fn watch(&self, request: WatchRequest) -> impl Future<Output = Result<WatchReply, Status>> + Send;
    /// Stops granting ahead.
    fn drain(&self, request: DrainRequest) -> impl Future<Output = Result<DrainReply, Status>> + Send;
    /// Ends a session that has nothing outstanding.
    fn close(&self, request: CloseRequest) -> impl Future<Output = Result<CloseReply, Status>> + Send;
    /// Replaces all budgets: new limits bind the next grant, removed budgets grant nothing more.
    fn set_budgets(&self, budgets: Vec<BudgetDef>) -> impl Future<Output = Result<(), Error>> + Send;
    /// The state of every counter with something in it.
    fn spend(&self) -> impl Future<Output = Result<Vec<Spend>, Error>> + Send;
}
