//! A ledger on a thread of its own: a [`Core`] and the store that keeps its word. Calls that came while the store was
//! busy make the next batch, so one sync of a disk, or one round trip to Redis, serves many; a reply that tells of a
//! grant leaves after that. When the store fails for good the ledger stops: it answers nothing that it could not keep.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::oneshot;
use weir_lease::message::{
    CloseReply, CloseRequest, DrainReply, DrainRequest, OpenReply, OpenRequest, SyncReply, SyncRequest,
    WatchReply, WatchRequest,
};

use crate::core::{Core, Counters, Effect, Reply, Request, Status, Time};
use crate::engine::Engine;
use crate::operate::{Alert, Audit, Holder, Override, Released, Scope};
use crate::{BudgetDef, Error, Spend};

/// Calls in one batch: bounds how long the first waits for the last.
const BATCH: usize = 4_096;

/// How often a store is looked for that was not there at the start.
const LOOK_FOR_STORE: Duration = Duration::from_millis(250);

pub(crate) enum Command {
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
    Guarantee(oneshot::Sender<Guarantee>),
    Confirm(oneshot::Sender<Result<(), Error>>),
}

/// What keeps a ledger's word.
pub(crate) trait Store: Send + 'static {
    /// Before the first call: finds the store and takes in what it keeps. An error is for good; `false` is not yet.
    fn join(&mut self, _: &mut Core, _: &mut Clock) -> Result<bool, Error> {
        Ok(true)
    }
    /// Makes the entries of an effect as durable as it asks, before its replies leave. May change the core and the
    /// replies where others have changed the store meanwhile.
    fn keep(&mut self, core: &mut Core, effect: &mut Effect, now: Time) -> Result<(), Error>;
    /// What is to be done now and then: whether the store can still be trusted, tidying up.
    fn tend(&mut self, core: &mut Core, clock: &Clock) -> Result<(), Error>;
    /// After an error of `keep` or `tend`: tries to go on. An error is for good; `false` is not yet.
    fn mend(&mut self, core: &mut Core, clock: &mut Clock, error: Error) -> Result<bool, Error>;
    /// An operator has confirmed that an empty store is meant to be empty.
    fn confirm(&mut self, core: &mut Core, clock: &Clock) -> Result<(), Error>;
    /// What the store promises.
    fn guarantee(&self) -> Guarantee;
}

/// How hard a hard budget is, by what its store forgets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Guarantee {
    /// A grant that was told is never forgotten.
    Hard,
    /// The latest grants may be lost with a machine, for this reason: at most what was granted in the lost tail to
    /// processes that end before they report again.
    HardExceptLostTail(String),
}

/// A ledger that runs in this process, over one of the stores: see [`Desk::open`] and [`Desk::redis`]. Dropping it
/// ends its thread and frees its store.
#[derive(Debug)]
pub struct Desk {
    commands: Option<Sender<Command>>,
    thread: Option<std::thread::JoinHandle<()>>,
    away: Arc<AtomicBool>,
}

impl Desk {
    /// Serves a core that has been restored from a store, or is restored once the store is found.
    pub(crate) fn serve<S: Store>(mut core: Core, mut store: S, mut clock: Clock) -> Result<Desk, Error> {
        let (commands, queue) = channel();
        let joined = store.join(&mut core, &mut clock)?;
        let away = Arc::new(AtomicBool::new(!joined));
        let said = Arc::clone(&away);
        let run = move || {
            let mut calls = HashMap::new();
            let found = joined || wait_for_store(&mut core, &mut store, &mut clock, &queue);
            said.store(!found, Ordering::Relaxed);
            let served = match found {
                true => serve(&mut core, &mut store, &mut clock, &queue, &mut calls, &said),
                false => Ok(()),
            };
            if let Err(error) = served {
                tracing::error!(%error, "the ledger stops");
            }
            said.store(true, Ordering::Relaxed);
            for (_, reply) in calls {
                let _: Result<(), _> = reply.send(Err(Status::STOPPED));
            }
        };
        let thread = std::thread::Builder::new().name("weir-ledger".into()).spawn(run)?;
        Ok(Desk { commands: Some(commands), thread: Some(thread), away })
    }

    /// Whether its store cannot be reached at present: then it grants nothing.
    pub fn away(&self) -> bool {
        self.away.load(Ordering::Relaxed)
    }

    /// What the store promises.
    pub async fn guarantee(&self) -> Result<Guarantee, Error> {
        self.ask(Command::Guarantee).await
    }

    /// Says that a store which lost everything is to start from nothing: until then its ledger grants nothing.
    pub async fn confirm(&self) -> Result<(), Error> {
        self.ask(Command::Confirm).await?
    }

    /// Counts since the start, and the epoch.
    pub async fn counters(&self) -> Result<(Counters, u64), Error> {
        self.ask(Command::Counters).await
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let commands = self.commands.as_ref().ok_or(Error::Stopped)?;
        commands.send(command(reply)).map_err(|_| Error::Stopped)?;
        answer.await.map_err(|_| if self.away() { Error::Away } else { Error::Stopped })
    }

    async fn call(&self, request: Request) -> Result<Reply, Status> {
        self.ask(|reply| Command::Call(request, reply)).await.unwrap_or(Err(Status::STOPPED))
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// This machine's clocks, the wall clock moved to that of the store.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    begun: Instant,
    /// Milliseconds to add to this machine's wall clock.
    pub ahead: i64,
    /// For tests: the time is what this says, for both.
    pub fixed: Option<Arc<AtomicU64>>,
}

impl Clock {
    pub fn new() -> Clock {
        Clock { begun: Instant::now(), ahead: 0, fixed: None }
    }

    pub fn now(&self) -> Time {
        if let Some(fixed) = &self.fixed {
            let ms = fixed.load(Ordering::SeqCst);
            return Time { wall: ms, mono: ms };
        }
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        Time { wall: wall.saturating_add_signed(self.ahead), mono: self.begun.elapsed().as_millis() as u64 }
    }
}

type Calls = HashMap<u64, oneshot::Sender<Result<Reply, Status>>>;
/// Answers to operators, which leave after the store has kept what they tell, as grants do.
type Told = Vec<Box<dyn FnOnce()>>;

/// Looks for a store that was not there at the start. Until it is, calls are told that it is away: what it keeps decides
/// about them. Budgets are taken, for they come from the policy. `false` when the last handle is dropped before.
fn wait_for_store<S: Store>(
    core: &mut Core,
    store: &mut S,
    clock: &mut Clock,
    queue: &Receiver<Command>,
) -> bool {
    loop {
        let again = Instant::now() + LOOK_FOR_STORE;
        while let Some(left) = again.checked_duration_since(Instant::now()) {
            match queue.recv_timeout(left) {
                Ok(Command::Call(_, reply)) => drop(reply.send(Err(Status::AWAY))),
                Ok(Command::Budgets(budgets, reply)) => {
                    drop(reply.send(core.set_budgets(clock.now(), budgets)));
                }
                Ok(Command::Counters(reply)) => drop(reply.send((core.counters(), core.epoch()))),
                // Unanswered, which says the same: see `ask`.
                Ok(_) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
        match store.join(core, clock) {
            Ok(true) => return true,
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "the ledger's store is there and cannot be used"),
        }
    }
}

/// Serves until the last handle is dropped, or the store fails for good.
fn serve<S: Store>(
    core: &mut Core,
    store: &mut S,
    clock: &mut Clock,
    queue: &Receiver<Command>,
    calls: &mut Calls,
    away: &AtomicBool,
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
        let mut left = BATCH;
        let mut told: Told = Vec::new();
        while let Some(one) = command.take() {
            obey(core, store, clock, one, &mut next, calls, &mut told);
            left -= 1;
            if left > 0 {
                command = queue.try_recv().ok();
            }
        }
        let now = clock.now();
        core.tick(now);
        let mut effect = core.take();
        let mut kept = store.keep(core, &mut effect, now);
        if kept.is_ok() {
            kept = store.tend(core, clock);
        }
        while let Err(error) = kept {
            away.store(true, Ordering::Relaxed);
            tracing::warn!(%error, "the ledger's store fails");
            // Nothing is answered that may not be kept; who asks is told at once that the ledger is away.
            effect.replies.clear();
            for (_, reply) in calls.drain() {
                let _: Result<(), _> = reply.send(Err(Status::AWAY));
            }
            while let Ok(command) = queue.try_recv() {
                match command {
                    Command::Call(_, reply) => drop(reply.send(Err(Status::AWAY))),
                    other => obey(core, store, clock, other, &mut next, calls, &mut told),
                }
            }
            let again = core.take();
            effect.entries.extend(again.entries);
            kept = match store.mend(core, clock, error) {
                Ok(true) => store.keep(core, &mut effect, clock.now()),
                Ok(false) => Err(Error::Away),
                Err(error) => return Err(error),
            };
            if kept.is_err() {
                match queue.recv_timeout(Duration::from_millis(100)) {
                    Ok(Command::Call(_, reply)) => drop(reply.send(Err(Status::AWAY))),
                    Ok(other) => obey(core, store, clock, other, &mut next, calls, &mut told),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return Ok(()),
                }
            }
        }
        away.store(false, Ordering::Relaxed);
        told.into_iter().for_each(|tell| tell());
        for (call, reply) in effect.replies {
            if let Some(waiting) = calls.remove(&call) {
                // Who asked may be gone; what was granted comes home with its next report.
                let _: Result<(), _> = waiting.send(reply);
            }
        }
    }
}

/// Does what one command says; what it answers is answered or put aside.
fn obey<S: Store>(
    core: &mut Core,
    store: &mut S,
    clock: &Clock,
    command: Command,
    next: &mut u64,
    calls: &mut Calls,
    told: &mut Told,
) {
    let now = clock.now();
    match command {
        Command::Call(request, reply) => {
            *next += 1;
            calls.insert(*next, reply);
            core.handle(now, *next, request);
        }
        Command::Budgets(budgets, reply) => drop(reply.send(core.set_budgets(now, budgets))),
        Command::Spend(reply) => drop(reply.send(core.spend(now))),
        Command::Counters(reply) => drop(reply.send((core.counters(), core.epoch()))),
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
        Command::Guarantee(reply) => drop(reply.send(store.guarantee())),
        Command::Confirm(reply) => drop(reply.send(store.confirm(core, clock))),
    }
}

impl Engine for Desk {
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
