//! The ledger's decisions, sans-IO: [`Core::handle`] takes one request with the time, [`Core::take`] gives the replies
//! that are due and the log entries that must be on the disk before them. Here is its state and what moves it on:
//! `calls` answers processes, `limits` operators, `memory` is restarts, `shared` a store with several ledgers. Grants
//! themselves are in `decide`.

mod calls;
mod limits;
mod memory;
mod message;
mod params;
mod shared;

pub use message::{Counters, Effect, Reply, Request, Status};
pub use params::{Params, Time};

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use weir_lease::Instance;
use weir_lease::message::ItemReply;

use crate::book::{Book, Key, Period};
use crate::budget::Budget;
use crate::operate::{Alert, Audit, Override};

/// How often living sessions are counted, in milliseconds.
const COUNT: u64 = 1_000;
/// Alerts, and operators' doings, that are kept.
const KEPT: usize = 1_000;
/// How often thresholds are looked at where nothing is reported, in milliseconds: units become stranded by silence.
const LOOK: u64 = 5_000;

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
}

impl Rest {
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
