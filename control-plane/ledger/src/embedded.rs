//! The embedded engine: a [`Core`] and its log on a thread of their own. Calls that came while the disk was busy make
//! the next batch, so one sync of the disk serves many; a reply that tells of a grant leaves after that sync. When the
//! disk fails the ledger stops: it answers nothing that it could not keep.

use std::collections::HashMap;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::oneshot;
use weir_lease::message::{
    CloseReply, CloseRequest, DrainReply, DrainRequest, OpenReply, OpenRequest, SyncReply, SyncRequest,
    WatchReply, WatchRequest,
};

use crate::core::{Core, Counters, Params, Reply, Request, Status, Time};
use crate::disk::Disk;
use crate::engine::Engine;
use crate::operate::{Alert, Audit, Holder, Override, Released, Scope};
use crate::{BudgetDef, Error, Spend};

/// Calls in one batch: bounds how long the first waits for the last.
const BATCH: usize = 4_096;

enum Command {
    Call(Request, oneshot::Sender<Result<Reply, Status>>),
    Budgets(Vec<BudgetDef>, oneshot::Sender<Result<(), Error>>),
    Spend(oneshot::Sender<Vec<Spend>>),
    Counters(oneshot::Sender<(Counters, u64)>),
    Override(Scope, u64, u64, String, oneshot::Sender<Result<(), Error>>),
    Overrides(oneshot::Sender<Vec<Override>>),
    Release(Scope, Option<u64>, String, oneshot::Sender<Vec<Released>>),
    Alerts(oneshot::Sender<Vec<Alert>>),
    Audit(oneshot::Sender<Vec<Audit>>),
    Holders(oneshot::Sender<Vec<Holder>>),
}

/// A ledger in this process. Dropping it ends its thread and frees its directory.
#[derive(Debug)]
pub struct Embedded {
    commands: Option<Sender<Command>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Embedded {
    /// Opens the ledger in a directory, which no other process may have open. It knows no budgets until
    /// [`Engine::set_budgets`]: give them before the service listens, or first requests are told that theirs is gone.
    pub fn open(directory: &Path) -> Result<Embedded, Error> {
        Embedded::with(directory, Params::default())
    }

    /// With other parameters than the protocol's.
    pub fn with(directory: &Path, params: Params) -> Result<Embedded, Error> {
        let mut core = Core::new(params);
        let mut disk = Disk::open(directory, &mut core)?;
        let clock = Clock::new();
        core.start(clock.now());
        let effect = core.take();
        disk.append(&effect.entries)?;
        disk.sync()?;
        let (commands, queue) = channel();
        let run = move || {
            let mut calls = HashMap::new();
            if let Err(error) = serve(&mut core, &mut disk, &clock, &queue, &mut calls) {
                tracing::error!(%error, "the ledger stops");
            }
            for (_, reply) in calls {
                let _: Result<(), _> = reply.send(Err(Status::STOPPED));
            }
        };
        let thread = std::thread::Builder::new().name("weir-ledger".into()).spawn(run)?;
        Ok(Embedded { commands: Some(commands), thread: Some(thread) })
    }

    /// Counts since the start, and the epoch.
    pub async fn counters(&self) -> Result<(Counters, u64), Error> {
        self.ask(Command::Counters).await
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let commands = self.commands.as_ref().ok_or(Error::Stopped)?;
        commands.send(command(reply)).map_err(|_| Error::Stopped)?;
        answer.await.map_err(|_| Error::Stopped)
    }

    async fn call(&self, request: Request) -> Result<Reply, Status> {
        self.ask(|reply| Command::Call(request, reply)).await.unwrap_or(Err(Status::STOPPED))
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Clock {
    begun: Instant,
}

impl Clock {
    fn new() -> Clock {
        Clock { begun: Instant::now() }
    }

    fn now(&self) -> Time {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        Time { wall, mono: self.begun.elapsed().as_millis() as u64 }
    }
}

type Calls = HashMap<u64, oneshot::Sender<Result<Reply, Status>>>;

/// Serves until the last handle is dropped, or the disk fails.
fn serve(
    core: &mut Core,
    disk: &mut Disk,
    clock: &Clock,
    queue: &Receiver<Command>,
    calls: &mut Calls,
) -> Result<(), Error> {
    let mut next = 0u64;
    loop {
        let now = clock.now();
        let patience = Duration::from_millis(core.due(now).saturating_sub(now.mono).clamp(1, 1_000));
        let mut command = match queue.recv_timeout(patience) {
            Ok(command) => Some(command),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        };
        let now = clock.now();
        let mut left = BATCH;
        // Answers to operators leave after the log is on the disk, as grants do.
        let mut told: Vec<Box<dyn FnOnce()>> = Vec::new();
        while let Some(one) = command.take() {
            match one {
                Command::Call(request, reply) => {
                    next += 1;
                    calls.insert(next, reply);
                    core.handle(now, next, request);
                }
                Command::Budgets(budgets, reply) => {
                    let _ = reply.send(core.set_budgets(now, budgets));
                }
                Command::Spend(reply) => {
                    let _ = reply.send(core.spend(now));
                }
                Command::Counters(reply) => {
                    let _ = reply.send((core.counters(), core.epoch()));
                }
                Command::Override(scope, add, until, by, reply) => {
                    let done = core.override_limit(now, scope, add, until, by);
                    told.push(Box::new(move || drop(reply.send(done))));
                }
                Command::Overrides(reply) => drop(reply.send(core.overrides(now))),
                Command::Release(scope, sid, by, reply) => {
                    let done = core.release_stranded(now, &scope, sid, by);
                    told.push(Box::new(move || drop(reply.send(done))));
                }
                Command::Alerts(reply) => drop(reply.send(core.alerts())),
                Command::Audit(reply) => drop(reply.send(core.audit())),
                Command::Holders(reply) => drop(reply.send(core.holders(now))),
            }
            left -= 1;
            if left > 0 {
                command = queue.try_recv().ok();
            }
        }
        core.tick(now);
        let effect = core.take();
        if !effect.entries.is_empty() {
            disk.append(&effect.entries)?;
        }
        if effect.durable {
            disk.sync()?;
        }
        told.into_iter().for_each(|tell| tell());
        for (call, reply) in effect.replies {
            if let Some(waiting) = calls.remove(&call) {
                // Who asked may be gone; what was granted comes home with its next report.
                let _: Result<(), _> = waiting.send(reply);
            }
        }
        if disk.bloated() {
            let snapshot = core.snapshot(clock.now());
            disk.compact(&snapshot)?;
        }
    }
}

impl Engine for Embedded {
    async fn open(&self, request: OpenRequest) -> Result<OpenReply, Status> {
        match self.call(Request::Open(request)).await? {
            Reply::Open(reply) => Ok(reply),
            _ => Err(Status::STOPPED),
        }
    }

    async fn sync(&self, request: SyncRequest) -> Result<SyncReply, Status> {
        match self.call(Request::Sync(request)).await? {
            Reply::Sync(reply) => Ok(reply),
            _ => Err(Status::STOPPED),
        }
    }

    async fn watch(&self, request: WatchRequest) -> Result<WatchReply, Status> {
        match self.call(Request::Watch(request)).await? {
            Reply::Watch(reply) => Ok(reply),
            _ => Err(Status::STOPPED),
        }
    }

    async fn drain(&self, request: DrainRequest) -> Result<DrainReply, Status> {
        match self.call(Request::Drain(request)).await? {
            Reply::Drain(reply) => Ok(reply),
            _ => Err(Status::STOPPED),
        }
    }

    async fn close(&self, request: CloseRequest) -> Result<CloseReply, Status> {
        match self.call(Request::Close(request)).await? {
            Reply::Close(reply) => Ok(reply),
            _ => Err(Status::STOPPED),
        }
    }

    async fn set_budgets(&self, budgets: Vec<BudgetDef>) -> Result<(), Error> {
        self.ask(|reply| Command::Budgets(budgets, reply)).await?
    }

    async fn spend(&self) -> Result<Vec<Spend>, Error> {
        self.ask(Command::Spend).await
    }

    async fn override_limit(&self, scope: Scope, add: u64, until: u64, by: String) -> Result<(), Error> {
        self.ask(|reply| Command::Override(scope, add, until, by, reply)).await?
    }

    async fn overrides(&self) -> Result<Vec<Override>, Error> {
        self.ask(Command::Overrides).await
    }

    async fn release_stranded(
        &self,
        scope: Scope,
        sid: Option<u64>,
        by: String,
    ) -> Result<Vec<Released>, Error> {
        self.ask(|reply| Command::Release(scope, sid, by, reply)).await
    }

    async fn alerts(&self) -> Result<Vec<Alert>, Error> {
        self.ask(Command::Alerts).await
    }

    async fn audit(&self) -> Result<Vec<Audit>, Error> {
        self.ask(Command::Audit).await
    }

    async fn holders(&self) -> Result<Vec<Holder>, Error> {
        self.ask(Command::Holders).await
    }
}
