//! The ledger's decisions, sans-IO: [`Core::handle`] takes one request with the time, [`Core::take`] gives the replies
//! that are due and the log entries that must be on the disk before them. Grants themselves are in `decide`.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use weir_lease::message::{
    CloseReply, CloseRequest, DrainReply, DrainRequest, Item, ItemReply, OpenReply, OpenRequest, SyncReply,
    SyncRequest, WatchReply, WatchRequest,
};
use weir_lease::mutant::{self, Mutant};
use weir_lease::{Instance, mix};

use crate::Error;
use crate::book::{Book, Key, Period, Vector};
use crate::budget::{Budget, BudgetDef, Spend};
use crate::log::Entry;
use crate::operate::{Alert, Audit, Holder, Override, Released, Scope};
use crate::ring::Ring;
use crate::waiting::Parked;
use crate::window::{ROLLING, Window, WindowKind};

/// How often living sessions are counted, in milliseconds.
const COUNT: u64 = 1_000;
/// Alerts, and operators' doings, that are kept.
const KEPT: usize = 1_000;
/// By how much the wall clock may have been set while the ledger was down, in milliseconds.
const CLOCK_SET: u64 = 10_000;
/// How often thresholds are looked at where nothing is reported, in milliseconds: units become stranded by silence.
const LOOK: u64 = 5_000;

/// The time, twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Time {
    /// Unix milliseconds: decides windows.
    pub wall: u64,
    /// Milliseconds of a clock that never jumps: decides waits and who is alive.
    pub mono: u64,
}

/// Times in milliseconds and shares of the protocol.
#[derive(Clone, Copy, Debug)]
pub struct Params {
    /// Between two reports of a process, while they are few.
    pub sync: u64,
    /// Reports per second beyond which processes report less often: their regular ones alone never fill the ledger's
    /// time. A living process is heard of three times within `session_ttl` all the same.
    pub reports: u64,
    /// A process not heard of for longer is presumed lost; what it has is shown as stranded.
    pub session_ttl: u64,
    /// How long a request waits for others' returns.
    pub recall_wait: u64,
    /// Between two recalls of the same session.
    pub recall_every: u64,
    /// Sessions recalled at once.
    pub recall_width: usize,
    /// How long grants pause after the ledger found that it had forgotten some.
    pub quarantine: u64,
    /// One part in `k` of the room may be free inside processes.
    pub k: u128,
    /// Reservations granted ahead.
    pub z: u64,
    /// Next window's grants are given this long before it begins.
    pub ahead: u64,
    /// Sums over a large counter's vectors are kept this long.
    pub cache: u64,
    /// The store is shared with other control planes: it, not this core, knows what was forgotten.
    pub shared: bool,
}

impl Default for Params {
    fn default() -> Params {
        Params {
            sync: 1_000,
            reports: 2_000,
            session_ttl: 15_000,
            recall_wait: 250,
            recall_every: 30,
            recall_width: 16,
            quarantine: 3_000,
            k: 4,
            z: weir_lease::KEEP,
            ahead: 5_000,
            cache: 20,
            shared: false,
        }
    }
}

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

#[derive(Clone, Debug, Default)]
pub(crate) struct Session {
    pub node: String,
    pub seen: u64,
    pub closed: bool,
    pub draining: bool,
    /// The long poll that waits: call and its end.
    pub watch: Option<(u64, u64)>,
    pub recall: BTreeSet<u128>,
    pub wake: BTreeSet<u128>,
    pub limits: bool,
    pub drain: bool,
}

/// A call of which some items are parked.
#[derive(Debug)]
pub(crate) struct Pending {
    pub replies: Vec<Option<ItemReply>>,
    pub left: usize,
}

/// All but the books.
#[derive(Debug, Default)]
pub(crate) struct Rest {
    pub params: Params,
    pub epoch: u64,
    pub sessions: BTreeMap<u64, Session>,
    pub budgets: BTreeMap<(String, i32), Budget>,
    pub pending: HashMap<u64, Pending>,
    pub quarantine_until: u64,
    /// Sessions with something to be told.
    pub ring: BTreeSet<u64>,
    /// Ends of long polls.
    pub watches: BTreeSet<(u64, u64)>,
    /// Books with parked asks or with sessions that were told to wait.
    pub busy: BTreeSet<u32>,
    pub out: Effect,
    pub counters: Counters,
    pub overrides: Vec<Override>,
    /// Number of the latest override.
    pub last_override: u64,
    pub alerts: VecDeque<Alert>,
    pub audit: VecDeque<Audit>,
    /// Sessions heard of within `session_ttl`, and when they were counted.
    pub living: (u64, u64),
    /// The latest wall time: overrides that have ended stay ended when the clock is set back.
    pub wall: u64,
    /// When thresholds were last looked at.
    pub looked: u64,
    /// When limits last changed, by the wall clock.
    pub limits_at: u64,
    /// The store was emptied: nothing is granted until an operator confirms that.
    pub closed: bool,
    /// The latest clock of rolling windows in the log, and the wall time then.
    pub clock_said: (u64, u64),
    /// That clock when the ledger began to serve, and the clock that never jumps then.
    pub clock_base: (u64, u64),
}

/// The ledger.
#[derive(Debug, Default)]
pub struct Core {
    pub(crate) books: BTreeMap<u32, Book>,
    index: HashMap<Instance, u32>,
    next_index: u32,
    pub(crate) rest: Rest,
}

impl Core {
    /// An empty ledger with the protocol's parameters.
    pub fn new(params: Params) -> Core {
        Core { rest: Rest { params, ..Rest::default() }, ..Core::default() }
    }

    /// Takes in one entry of the log; in any order and any number of times.
    pub fn restore(&mut self, entry: Entry) {
        match entry {
            Entry::Epoch(epoch) => self.rest.epoch = self.rest.epoch.max(epoch),
            Entry::Session { sid, node, closed } => {
                let session = self.rest.sessions.entry(sid).or_default();
                session.node = node;
                session.closed |= closed;
            }
            Entry::Book { index, instance } => {
                self.next_index = self.next_index.max(index + 1);
                self.index.insert(instance.clone(), index);
                self.books.entry(index).or_insert_with(|| Book::new(index, instance));
            }
            Entry::Window { index, start, end } => {
                if let Some(book) = self.books.get_mut(&index) {
                    book.add(Window { start, end });
                    if book.periods.len() > 4 {
                        book.periods.remove(0);
                    }
                }
            }
            Entry::Vector { index, wid, sid, lane, g, r, u } => {
                let period = self.books.get_mut(&index).and_then(|book| book.period_mut(wid));
                if let Some(period) = period {
                    period.restore((sid, lane), |vector| {
                        vector.g = vector.g.max(g);
                        vector.r = vector.r.max(r);
                        vector.u = vector.u.max(u);
                    });
                }
            }
            Entry::Grant { index, wid, sid, lane, g, .. } => {
                let period = self.books.get_mut(&index).and_then(|book| book.period_mut(wid));
                if let Some(period) = period {
                    period.restore((sid, lane), |vector| vector.g = vector.g.max(g));
                }
            }
            Entry::Freed { index, wid, sid, lane, at } => {
                let period = self.books.get_mut(&index).and_then(|book| book.period_mut(wid));
                if let Some(period) = period {
                    period.restore((sid, lane), |vector| vector.freed = vector.freed.max(at));
                }
            }
            Entry::Bucket { index, window, bucket, units } => {
                let book = self.books.get_mut(&index);
                if let Some(period) = book.and_then(|book| book.period_mut(ROLLING.wid())) {
                    period.ring.get_or_insert_with(|| Ring::new(window)).restore(bucket, units);
                }
            }
            Entry::Clock { clock, wall } => {
                if clock >= self.rest.clock_said.0 {
                    self.rest.clock_said = (clock, wall);
                }
            }
            Entry::Override(new) => self.rest.keep_override(new),
            Entry::Alert(alert) => {
                let book = self.index.get(&alert.instance).and_then(|index| self.books.get_mut(index));
                if let Some(book) = book {
                    book.note_alert(alert.wid, alert.threshold);
                }
                keep(&mut self.rest.alerts, alert);
            }
            Entry::Audit(audit) => keep(&mut self.rest.audit, audit),
        }
    }

    /// Begins to serve after a restart: a new epoch makes every process report all it has, for reports (never grants)
    /// may be missing from the log. Everybody counts as heard of now.
    pub fn start(&mut self, now: Time) {
        let epoch = self.rest.epoch + 1;
        self.rest.out.entries.push(Entry::Epoch(epoch));
        self.rest.out.durable = true;
        // How long the ledger was down is known by the wall clock only. It may have been set meanwhile, so less is
        // believed than it says: a rolling window that counts for longer than it should overspends nothing.
        let (clock, wall) = self.rest.clock_said;
        let down = now.wall.saturating_sub(wall) / 100 * 99;
        self.resume(now, epoch, clock.saturating_add(down).saturating_sub(CLOCK_SET).max(clock));
    }

    /// The same with an epoch, and a clock for rolling windows, that a store has given.
    pub(crate) fn resume(&mut self, now: Time, epoch: u64, clock: u64) {
        self.rest.epoch = epoch;
        self.rest.clock_base = (clock, now.mono);
        for session in self.rest.sessions.values_mut() {
            session.seen = now.mono;
        }
        let open = self.rest.sessions.values().filter(|session| !session.closed);
        self.rest.living = (open.count() as u64, now.mono);
        for book in self.books.values_mut() {
            let begun = book.periods.iter().rev().find(|period| period.window.start <= now.wall);
            book.wid = begun.or(book.periods.first()).map_or(0, |period| period.window.wid());
            // What had left a window before the restart, and may have been granted again, stays out of it.
            for ring in book.periods.iter_mut().filter_map(|period| period.ring.as_mut()) {
                ring.advance(clock);
            }
        }
    }

    /// The store says that others have raised the epoch, or that it has forgotten: everybody reports again.
    pub(crate) fn raise_epoch(&mut self, epoch: u64) {
        if epoch > self.rest.epoch {
            self.rest.epoch = epoch;
            self.rest.ring.extend(self.rest.sessions.keys().copied());
            self.rest.tell();
        }
    }

    /// What the store says of a vector, and of its window: committed and used, all control planes' together.
    pub(crate) fn learn(
        &mut self,
        now: Time,
        (index, wid, key): (u32, u64, Key),
        g: u64,
        sums: Option<(u64, u64)>,
    ) {
        let clock = self.rest.clock(now);
        let Some(book) = self.books.get_mut(&index) else { return };
        let Some(period) = book.period_mut(wid) else { return };
        if period.vectors.get(&key).is_some_and(|vector| vector.g != g) {
            period.restore(key, |vector| vector.g = g);
            book.sums = None;
        }
        let Some((committed, used)) = sums else { return };
        let Some(period) = book.period_mut(wid) else { return };
        let before = std::mem::take(&mut period.foreign);
        if let Some(ring) = &mut period.ring {
            ring.advance(clock);
        }
        let difference = |all: u64, own: u128| i64::try_from(i128::from(all) - own as i128).unwrap_or(0);
        period.foreign = (difference(committed, period.committed()), difference(used, period.used()));
        if period.foreign != before {
            book.sums = None;
        }
    }

    /// A counter, for a store that names it in full: itself, and the length of a rolling window or 0.
    pub(crate) fn counter(&self, index: u32) -> Option<(&Instance, u64)> {
        let book = self.books.get(&index)?;
        let ring = book.periods.iter().find_map(|period| period.ring.as_ref());
        let window = match self.rest.budget(&book.instance).map(|budget| budget.def.window) {
            Some(WindowKind::Rolling(length)) => length,
            _ => ring.map_or(0, Ring::window),
        };
        Some((&book.instance, window))
    }

    /// The limit of a counter with overrides; 0 when its budget is gone.
    pub(crate) fn limit_of(&self, index: u32, now: Time) -> u64 {
        let book = self.books.get(&index);
        book.and_then(|book| self.rest.limit(&book.instance, now.wall)).unwrap_or(0)
    }

    /// One window of a counter.
    pub(crate) fn window_of(&self, index: u32, wid: u64) -> Option<Window> {
        Some(self.books.get(&index)?.period(wid)?.window)
    }

    /// One vector.
    pub(crate) fn vector_of(&self, index: u32, wid: u64, key: Key) -> Vector {
        self.books.get(&index).map(|book| book.vector(wid, key)).unwrap_or_default()
    }

    /// Every vector: what a control plane remembers for a store that has forgotten.
    pub(crate) fn vectors(&self) -> Vec<(u32, u64, Key)> {
        let mut all = Vec::new();
        for (index, book) in &self.books {
            for period in &book.periods {
                all.extend(period.vectors.keys().map(|key| (*index, period.window.wid(), *key)));
            }
        }
        all
    }

    /// Pauses grants while every living process reports what it has been granted: for a store that may have forgotten
    /// some, such as a copy that lagged behind.
    pub fn quarantine(&mut self, now: Time) {
        if !mutant::on(Mutant::NoQuarantine) {
            self.rest.pause(now);
        }
    }

    /// Whether nothing is granted at all, whatever is asked.
    pub(crate) fn close_all(&mut self, closed: bool) {
        self.rest.closed = closed;
    }

    /// All that a new log must say to mean the same, without what nobody can ask for any more.
    pub fn snapshot(&mut self, now: Time) -> Vec<Entry> {
        let day = 86_400_000;
        let sessions = &self.rest.sessions;
        for period in self.books.values_mut().flat_map(|book| &mut book.periods) {
            // A rolling window never ends, and processes come and go.
            if period.ring.is_some() {
                period.forget(|key, vector| {
                    let session = sessions.get(&key.0).filter(|session| !session.closed);
                    let gone = session.is_none_or(|session| now.mono.saturating_sub(session.seen) > day);
                    gone && vector.owed() == 0
                });
            }
        }
        let budgets = &self.rest.budgets;
        self.books.retain(|_, book| {
            if let Some(period) = book.periods.iter().find(|period| period.ring.is_some()) {
                let known = budgets.contains_key(&(book.instance.budget.clone(), book.instance.unit));
                return !period.vectors.is_empty() || (known && period.committed() > 0);
            }
            let last = book.periods.last().map_or(0, |period| period.window.end);
            !book.parked.is_empty() || last.saturating_add(day) > now.wall
        });
        self.index.retain(|_, index| self.books.contains_key(index));
        let mut named = BTreeSet::new();
        for vectors in self.books.values().flat_map(|book| &book.periods).map(|period| &period.vectors) {
            named.extend(vectors.keys().map(|(sid, _)| *sid));
        }
        self.rest.sessions.retain(|sid, session| {
            named.contains(sid) || session.watch.is_some() || now.mono.saturating_sub(session.seen) < day
        });
        let clock = self.rest.clock(now);
        let mut all = vec![Entry::Epoch(self.rest.epoch), Entry::Clock { clock, wall: now.wall }];
        for (sid, session) in &self.rest.sessions {
            all.push(Entry::Session { sid: *sid, node: session.node.clone(), closed: session.closed });
        }
        for (index, book) in &self.books {
            let index = *index;
            all.push(Entry::Book { index, instance: book.instance.clone() });
            for period in &book.periods {
                let Window { start, end } = period.window;
                all.push(Entry::Window { index, start, end });
                if let Some(ring) = &period.ring {
                    let window = ring.window();
                    let bucket = |(bucket, units)| Entry::Bucket { index, window, bucket, units };
                    all.extend(ring.buckets().map(bucket));
                }
                for ((sid, lane), vector) in &period.vectors {
                    let (sid, lane, wid) = (*sid, *lane, period.window.wid());
                    all.push(Entry::Vector { index, wid, sid, lane, g: vector.g, r: vector.r, u: vector.u });
                    if vector.fenced() {
                        all.push(Entry::Freed { index, wid, sid, lane, at: vector.freed });
                    }
                }
            }
        }
        all.extend(self.rest.overrides.iter().cloned().map(Entry::Override));
        all.extend(self.rest.alerts.iter().cloned().map(Entry::Alert));
        all.extend(self.rest.audit.iter().cloned().map(Entry::Audit));
        all
    }

    /// Handles one call. `call` names it among those not answered yet.
    pub fn handle(&mut self, now: Time, call: u64, request: Request) {
        let answer = match request {
            Request::Open(request) => Some(self.open(now, request)),
            Request::Sync(request) => self.sync(now, call, request),
            Request::Watch(request) => self.watch(now, call, request),
            Request::Drain(DrainRequest { sid }) => {
                // An operator's word is no sign of life.
                let known = self.rest.sessions.get_mut(&sid).filter(|session| !session.closed);
                self.rest.ring.insert(sid);
                Some(known.ok_or(Status::NOT_FOUND).map(|session| {
                    session.draining = true;
                    session.drain = true;
                    Reply::Drain(DrainReply {})
                }))
            }
            Request::Close(CloseRequest { sid }) => Some(self.close(now, sid)),
        };
        if let Some(answer) = answer {
            self.rest.out.replies.push((call, answer));
        }
        self.rest.tell();
    }

    /// What is due by now. Call it when [`Core::due`] says so, or more often.
    pub fn tick(&mut self, now: Time) {
        self.end_overrides(now);
        self.rest.count(now);
        if now.mono.saturating_sub(self.rest.looked) >= LOOK {
            self.rest.looked = now.mono;
            for book in self.books.values_mut() {
                self.rest.free_dead(book, now);
                self.rest.look(book, now);
            }
        }
        while let Some((until, sid)) = self.rest.watches.first().copied()
            && until <= now.mono
        {
            self.rest.watches.pop_first();
            if self
                .rest
                .sessions
                .get(&sid)
                .is_some_and(|session| session.watch.is_some_and(|(_, end)| end <= now.mono))
            {
                self.rest.ring.insert(sid);
            }
        }
        for index in self.rest.busy.clone() {
            if let Some(book) = self.books.get_mut(&index) {
                self.rest.expire(book, now);
            }
        }
        self.rest.tell();
    }

    /// When [`Core::tick`] has something to do, in milliseconds of the clock that never jumps.
    pub fn due(&self, now: Time) -> u64 {
        let mut due = now.mono + 1_000;
        if let Some((until, _)) = self.rest.watches.first() {
            due = due.min(*until);
        }
        for book in self.rest.busy.iter().filter_map(|index| self.books.get(index)) {
            due = due.min(book.parked.front().map_or(now.mono + 100, |parked| parked.until));
        }
        due
    }

    /// The replies that are due, and what the log must say before they leave.
    pub fn take(&mut self) -> Effect {
        std::mem::take(&mut self.rest.out)
    }

    /// Counts since the start.
    pub fn counters(&self) -> Counters {
        self.rest.counters
    }

    /// The epoch.
    pub fn epoch(&self) -> u64 {
        self.rest.epoch
    }

    /// Replaces all budgets.
    pub fn set_budgets(&mut self, now: Time, budgets: Vec<BudgetDef>) -> Result<(), Error> {
        let mut fresh = BTreeMap::new();
        for def in budgets {
            fresh.insert((def.name.clone(), def.unit as i32), Budget::new(def)?);
        }
        let same = fresh.len() == self.rest.budgets.len()
            && fresh.iter().zip(&self.rest.budgets).all(|((_, new), (_, old))| new.def == old.def);
        if same {
            return Ok(());
        }
        self.rest.budgets = fresh;
        self.rest.limits_at = now.wall;
        self.limits_changed(now, &|_| true);
        Ok(())
    }

    /// The state of every counter in its present window.
    pub fn spend(&mut self, now: Time) -> Vec<Spend> {
        let mut all = Vec::new();
        for book in self.books.values_mut() {
            self.rest.roll(book, now);
            self.rest.look(book, now);
            all.extend(self.rest.spend(book, now));
        }
        all
    }

    /// See [`crate::Engine::override_limit`].
    pub fn override_limit(
        &mut self,
        now: Time,
        scope: Scope,
        add: u64,
        until: u64,
        by: String,
    ) -> Result<(), Error> {
        if !self.rest.budgets.values().any(|budget| scope.names(&budget.def)) {
            return Err(Error::NoBudget(scope.budget));
        }
        // Other control planes number theirs by their clocks, too.
        let id = (self.rest.last_override + 1).max(now.wall);
        let new = Override { id, scope, add, until };
        let counter = new.scope.subject.as_deref().unwrap_or("all");
        let what = match add {
            0 => format!("budget {} ({counter}): overrides ended", new.scope.budget),
            add => format!("budget {} ({counter}): {add} added until {until}", new.scope.budget),
        };
        self.rest.note(now, by, what);
        self.rest.out.entries.push(Entry::Override(new.clone()));
        let scope = new.scope.clone();
        self.rest.keep_override(new);
        self.rest.limits_at = now.wall;
        self.limits_changed(now, &|instance| scope.covers(instance));
        Ok(())
    }

    /// The overrides in force.
    pub fn overrides(&self, now: Time) -> Vec<Override> {
        let wall = self.rest.wall.max(now.wall);
        self.rest.overrides.iter().filter(|one| one.until > wall && one.add > 0).cloned().collect()
    }

    fn end_overrides(&mut self, now: Time) {
        let before = self.rest.wall;
        self.rest.wall = before.max(now.wall);
        let wall = self.rest.wall;
        let ended: Vec<Scope> = self
            .rest
            .overrides
            .extract_if(.., |one| one.until <= wall)
            .filter(|one| one.add > 0)
            .map(|one| one.scope)
            .collect();
        if !ended.is_empty() {
            self.rest.limits_at = wall;
            self.limits_changed(now, &|instance| ended.iter().any(|scope| scope.covers(instance)));
        }
    }

    /// When the limits were last set or raised, by the wall clock: later limits replace earlier ones in a shared store.
    pub(crate) fn limits_at(&self) -> u64 {
        self.rest.limits_at
    }

    /// Overrides were read that others have set.
    pub(crate) fn limits_moved(&mut self, now: Time) {
        self.rest.limits_at = now.wall;
        self.limits_changed(now, &|_| true);
    }

    /// Serves those who wait for new limits, calls home what lowered ones do not allow, and tells everybody.
    fn limits_changed(&mut self, now: Time, which: &dyn Fn(&Instance) -> bool) {
        for book in self.books.values_mut().filter(|book| which(&book.instance)) {
            self.rest.limit_changed(book, now);
        }
        for (sid, session) in &mut self.rest.sessions {
            session.limits = true;
            self.rest.ring.insert(*sid);
        }
        self.rest.tell();
    }

    /// See [`crate::Engine::release_stranded`].
    pub fn release_stranded(
        &mut self,
        now: Time,
        scope: &Scope,
        sid: Option<u64>,
        by: String,
    ) -> Vec<Released> {
        let mut all = Vec::new();
        for book in self.books.values_mut().filter(|book| scope.covers(&book.instance)) {
            self.rest.release(book, now, sid, &mut all);
        }
        let units: u128 = all.iter().map(|one| u128::from(one.units)).sum();
        let what = format!("budget {}: {units} stranded units released", scope.budget);
        self.rest.note(now, by, what);
        self.rest.tell();
        all
    }

    /// The thresholds that were crossed, the latest last.
    pub fn alerts(&self) -> Vec<Alert> {
        self.rest.alerts.iter().cloned().collect()
    }

    /// What operators did, the latest last.
    pub fn audit(&self) -> Vec<Audit> {
        self.rest.audit.iter().cloned().collect()
    }

    /// The gateway processes.
    pub fn holders(&self, now: Time) -> Vec<Holder> {
        let mut counters: BTreeMap<u64, u32> = BTreeMap::new();
        for (key, vector) in self.books.values().flat_map(Book::current).flat_map(|period| &period.vectors) {
            if vector.outstanding() > 0 {
                *counters.entry(key.0).or_default() += 1;
            }
        }
        let holder = |(sid, session): (&u64, &Session)| {
            let silent_ms = now.mono.saturating_sub(session.seen);
            Holder {
                sid: *sid,
                node: session.node.clone(),
                silent_ms,
                lost: silent_ms > self.rest.params.session_ttl && !session.closed,
                draining: session.draining,
                closed: session.closed,
                counters: counters.get(sid).copied().unwrap_or(0),
            }
        };
        self.rest.sessions.iter().map(holder).collect()
    }

    /// Checks I1 on every window: the sums are right, and committed is at most the limit. For tests; `false` while a
    /// limit is lowered below what is committed. Use of units that had been given free comes on top.
    pub fn sound(&self) -> bool {
        self.unsound(true).is_empty()
    }

    /// The first window for which it does not hold, in words; empty when all is well. Without `sums` these are believed,
    /// and the check takes no longer with many vectors than with few.
    pub fn unsound(&self, sums: bool) -> String {
        for book in self.books.values() {
            let Some(limit) = self.rest.limit(&book.instance, self.rest.wall).map(u128::from) else {
                continue;
            };
            let bad =
                |period: &&Period| (sums && !period.sound()) || period.committed() > limit + period.late;
            if let Some(period) = book.periods.iter().find(bad) {
                let (name, wid) = (&book.instance.budget, period.window.wid());
                let sums = if period.sound() { "right" } else { "wrong" };
                let (committed, late) = (period.committed(), period.late);
                return format!(
                    "{name} in window {wid}: {committed} committed of {limit}, {late} late, sums {sums}"
                );
            }
        }
        String::new()
    }

    fn session(&mut self, now: Time, sid: u64) -> Result<&mut Session, Status> {
        let session = self.rest.sessions.get_mut(&sid).ok_or(Status::NOT_FOUND)?;
        if session.closed {
            return Err(Status::CLOSED);
        }
        session.seen = session.seen.max(now.mono);
        Ok(session)
    }

    /// The session's number is a hash of node and nonce: opening again, even with a ledger that has lost its log, gives
    /// the same, and two process lives never share one.
    fn open(&mut self, now: Time, request: OpenRequest) -> Result<Reply, Status> {
        let mut words = match mutant::on(Mutant::SameSid) {
            false => vec![request.nonce_hi, request.nonce_lo],
            true => Vec::new(),
        };
        words.extend(request.node.bytes().map(u64::from));
        let sid = mix(&words).max(1);
        let fresh = !self.rest.sessions.contains_key(&sid);
        let session = self.rest.sessions.entry(sid).or_default();
        if session.closed {
            return Err(Status::CLOSED);
        }
        session.seen = now.mono;
        if fresh {
            self.rest.living.0 += 1;
            session.node = request.node.clone();
            self.rest.out.entries.push(Entry::Session { sid, node: request.node, closed: false });
        }
        Ok(Reply::Open(OpenReply { sid, epoch: self.rest.epoch, sync_ms: self.rest.sync() as u32 }))
    }

    fn watch(&mut self, now: Time, call: u64, request: WatchRequest) -> Option<Result<Reply, Status>> {
        let epoch = self.rest.epoch;
        let session = match self.session(now, request.sid) {
            Ok(session) => session,
            Err(status) => return Some(Err(status)),
        };
        let until = now.mono + u64::from(request.wait_ms.min(30_000));
        let before = session.watch.replace((call, until));
        let news = session.limits || session.drain || !session.recall.is_empty() || !session.wake.is_empty();
        if let Some((old, _)) = before {
            self.rest.out.replies.push((old, Err(Status::REPLACED)));
        }
        self.rest.watches.insert((until, request.sid));
        if news || request.epoch < epoch {
            self.rest.ring.insert(request.sid);
        }
        None
    }

    fn close(&mut self, now: Time, sid: u64) -> Result<Reply, Status> {
        match self.session(now, sid) {
            Err(status) if status == Status::CLOSED => return Ok(Reply::Close(CloseReply {})),
            other => other?,
        };
        let outstanding = self.books.values().flat_map(|book| {
            let from = book.wid;
            book.periods.iter().filter(move |period| period.window.wid() >= from)
        });
        for period in outstanding {
            if period.vectors.range((sid, 0)..=(sid, u32::MAX)).any(|(_, vector)| vector.outstanding() > 0) {
                return Err(Status::OUTSTANDING);
            }
        }
        if let Some(session) = self.rest.sessions.get_mut(&sid) {
            session.closed = true;
            self.rest.out.entries.push(Entry::Session { sid, node: session.node.clone(), closed: true });
            self.rest.out.durable = true;
        }
        Ok(Reply::Close(CloseReply {}))
    }

    fn sync(&mut self, now: Time, call: u64, request: SyncRequest) -> Option<Result<Reply, Status>> {
        let sid = request.sid;
        if let Err(status) = self.session(now, sid) {
            return Some(Err(status));
        }
        self.rest.counters.syncs += 1;
        let mut pending = Pending { replies: Vec::with_capacity(request.items.len()), left: 0 };
        let mut touched = Vec::new();
        for (at, item) in request.items.iter().enumerate() {
            let index = self.book(item);
            let Some(book) = index.and_then(|index| self.books.get_mut(&index)) else {
                pending.replies.push(Some(ItemReply { gone: true, rev: item.rev, ..ItemReply::default() }));
                continue;
            };
            touched.push(book.index);
            let reply = self.rest.item(book, now, (sid, item.lane), item, &mut |parked| Parked {
                call,
                item: at,
                ..parked
            });
            pending.left += usize::from(reply.is_none());
            pending.replies.push(reply);
        }
        let answer = if pending.left == 0 {
            let items = pending.replies.into_iter().flatten().collect();
            Some(Ok(Reply::Sync(self.rest.sync_reply(items))))
        } else {
            self.rest.pending.insert(call, pending);
            None
        };
        // Returns in this call may serve others; its own answer is already decided.
        for index in touched {
            if let Some(book) = self.books.get_mut(&index) {
                self.rest.pump(book, now);
            }
        }
        answer
    }

    /// The book of an item, made if its budget exists.
    fn book(&mut self, item: &Item) -> Option<u32> {
        let instance = item.instance.as_ref()?;
        if let Some(index) = self.index.get(instance) {
            return Some(*index);
        }
        self.rest.budget(instance)?;
        let index = self.next_index;
        self.next_index += 1;
        self.index.insert(instance.clone(), index);
        self.books.insert(index, Book::new(index, instance.clone()));
        self.rest.out.entries.push(Entry::Book { index, instance: instance.clone() });
        Some(index)
    }
}

impl Rest {
    /// The budget of a counter, unless it was removed or defined anew.
    pub fn budget(&self, instance: &Instance) -> Option<&Budget> {
        // BTreeMap has no borrowed lookup by a pair; the clone is one short name per item.
        let budget = self.budgets.get(&(instance.budget.clone(), instance.unit))?;
        (budget.def.definition == instance.definition).then_some(budget)
    }

    /// The limit of a counter with the overrides in force; `None` when its budget was removed or defined anew.
    pub fn limit(&self, instance: &Instance, wall: u64) -> Option<u64> {
        let limit = self.budget(instance)?.def.limit;
        Some(limit.saturating_add(self.added(instance, wall)))
    }

    /// What overrides add.
    pub fn added(&self, instance: &Instance, wall: u64) -> u64 {
        let wall = self.wall.max(wall);
        let in_force = self.overrides.iter().filter(|one| one.until > wall && one.scope.covers(instance));
        in_force.fold(0, |sum, one| sum.saturating_add(one.add))
    }

    fn keep_override(&mut self, new: Override) {
        if new.id <= self.last_override {
            return;
        }
        self.last_override = new.id;
        if new.add == 0 {
            self.overrides.retain(|one| one.scope != new.scope);
        }
        // One that adds nothing stays until then too: a snapshot has to carry the number.
        self.overrides.push(new);
    }

    fn note(&mut self, now: Time, by: String, what: String) {
        let audit = Audit { at: now.wall, by, what };
        self.out.entries.push(Entry::Audit(audit.clone()));
        self.out.durable = true;
        keep(&mut self.audit, audit);
    }

    /// The interval in which each threshold is told once; see [`Alert::wid`].
    pub fn interval(&self, book: &Book, now: Time) -> u64 {
        match self.budget(&book.instance).map(|budget| budget.def.window) {
            Some(WindowKind::Rolling(length)) => self.clock(now) / length.max(1) + 1,
            _ => book.wid,
        }
    }

    /// Tells the thresholds that a counter has crossed, each once in a window.
    pub fn look(&mut self, book: &mut Book, now: Time) {
        let Some(budget) = self.budget(&book.instance).filter(|budget| !budget.def.alert_at.is_empty())
        else {
            return;
        };
        let thresholds = budget.def.alert_at.clone();
        let Some(limit) = self.limit(&book.instance, now.wall) else { return };
        let spent = book.used(book.wid) + self.sums(book, now).stranded;
        let wid = self.interval(book, now);
        for threshold in thresholds {
            let crossed = spent * 10_000 >= u128::from(limit) * u128::from(threshold);
            if wid == 0 || !crossed || !book.note_alert(wid, threshold) {
                continue;
            }
            let spent = u64::try_from(spent).unwrap_or(u64::MAX);
            let instance = book.instance.clone();
            let alert = Alert { instance, wid, threshold, spent, limit, at: now.wall };
            self.out.entries.push(Entry::Alert(alert.clone()));
            keep(&mut self.alerts, alert);
        }
    }

    /// Answers one item of a parked call, and the call when it was the last.
    pub fn resolve(&mut self, parked: &Parked, reply: ItemReply) {
        let Some(pending) = self.pending.get_mut(&parked.call) else { return };
        if let Some(slot) = pending.replies.get_mut(parked.item) {
            *slot = Some(reply);
        }
        pending.left -= 1;
        if pending.left == 0
            && let Some(pending) = self.pending.remove(&parked.call)
        {
            let items = pending.replies.into_iter().flatten().collect();
            let reply = self.sync_reply(items);
            self.out.replies.push((parked.call, Ok(Reply::Sync(reply))));
        }
    }

    /// Answers the long polls of all sessions that have news.
    fn tell(&mut self) {
        for sid in std::mem::take(&mut self.ring) {
            let Some(session) = self.sessions.get_mut(&sid) else { continue };
            let Some((call, until)) = session.watch.take() else { continue };
            self.watches.remove(&(until, sid));
            let reply = WatchReply {
                epoch: self.epoch,
                recall: std::mem::take(&mut session.recall).into_iter().map(Into::into).collect(),
                wake: std::mem::take(&mut session.wake).into_iter().map(Into::into).collect(),
                limits: std::mem::take(&mut session.limits),
                // Said again with every answer: the one that said it first may have been lost.
                drain: session.draining,
            };
            session.drain = false;
            self.out.replies.push((call, Ok(Reply::Watch(reply))));
        }
    }

    /// The clock by which rolling windows move: a stopwatch, carried on over restarts.
    pub fn clock(&self, now: Time) -> u64 {
        self.clock_base.0 + now.mono.saturating_sub(self.clock_base.1)
    }

    /// Counts the living sessions now and then.
    fn count(&mut self, now: Time) {
        if now.mono.saturating_sub(self.living.1) >= COUNT {
            let ttl = self.params.session_ttl;
            let lives = |one: &&Session| !one.closed && now.mono.saturating_sub(one.seen) <= ttl;
            self.living = (self.sessions.values().filter(lives).count() as u64, now.mono);
        }
    }

    /// Time between two reports of a process, in milliseconds.
    pub fn sync(&self) -> u64 {
        let Params { sync, reports, session_ttl, .. } = self.params;
        (self.living.0 * 1_000 / reports.max(1)).clamp(sync, sync.max(session_ttl / 3))
    }

    fn sync_reply(&self, items: Vec<ItemReply>) -> SyncReply {
        SyncReply { epoch: self.epoch, items, sync_ms: self.sync() as u32 }
    }

    /// Pauses grants for as long as every living process may take to report.
    pub fn pause(&mut self, now: Time) {
        self.quarantine_until = now.mono + self.params.quarantine.max(3 * self.sync());
    }

    /// Whether nothing is granted for now.
    pub fn paused(&self, now: Time) -> bool {
        self.closed || now.mono < self.quarantine_until
    }

    /// Whether a session was heard of within `ms`.
    pub fn heard(&self, key: Key, now: Time, ms: u64) -> bool {
        self.sessions.get(&key.0).is_some_and(|session| now.mono.saturating_sub(session.seen) <= ms)
    }
}

/// Appends to a bounded list.
fn keep<T>(list: &mut VecDeque<T>, one: T) {
    if list.len() >= KEPT {
        list.pop_front();
    }
    list.push_back(one);
}
