//! The shipped core over a log on a disk that may lose what was not synced, and the network's end at it.

use std::collections::VecDeque;
use std::time::Instant;

use prost::Message;
use weir_lease::mutant::{self, Mutant};
use weir_lease::{MS, Method};
use weir_ledger::{Core, Frames, Reply, Request, Status, recover};

use super::common::Event;
use super::{LARGE, World};

pub(super) struct Ledger {
    pub(super) core: Core,
    pub(super) log: Vec<u8>,
    pub(super) frames: Frames,
    pub(super) synced: usize,
    /// Length of the log that was durable at a time.
    pub(super) marks: VecDeque<(u64, usize)>,
    pub(super) up: bool,
    pub(super) life: u32,
    pub(super) skew: i64,
    pub(super) due: u64,
}

impl World {
    pub(super) fn deliver(&mut self, call: u64, method: Method, body: &[u8]) {
        let Some((to, id)) = self.calls.get(&call).copied() else { return };
        if !self.ledger.up {
            self.common.after(MS, Event::Reply { to, id, result: Err(14) });
            return;
        }
        let request = match method {
            Method::Open => Request::Open(Message::decode(body).unwrap()),
            Method::Sync => Request::Sync(Message::decode(body).unwrap()),
            Method::Watch => Request::Watch(Message::decode(body).unwrap()),
            Method::Drain => Request::Drain(Message::decode(body).unwrap()),
            Method::Close => Request::Close(Message::decode(body).unwrap()),
        };
        let now = self.time();
        let begun = Instant::now();
        self.ledger.core.handle(now, call, request);
        {
            let mut out = self.common.out.borrow_mut();
            out.calls += 1;
            out.ledger_time += begun.elapsed();
        }
        self.ledger_out();
    }

    /// What the embedded engine does with the core's effects, with a disk that can lose its tail.
    pub(super) fn ledger_out(&mut self) {
        let effect = self.ledger.core.take();
        if !effect.entries.is_empty() {
            self.ledger.frames.append(&effect.entries, &mut self.ledger.log);
        }
        if effect.durable && !mutant::on(Mutant::NoSync) {
            self.ledger.synced = self.ledger.log.len();
            if self.common.plan.forget_ms == 0 {
                self.ledger.frames.synced();
            } else {
                self.ledger.marks.push_back((self.common.now.get(), self.ledger.synced));
            }
        }
        // What is billed above a reservation is committed above the limit, if need be.
        let steady = self.common.plan.limits == 0.0 && self.common.plan.over.1 == 0;
        if steady && !mutant::on(Mutant::ExpiryRegrant) {
            // Adding up ten thousand vectors at every step would take hours: then it is done now and then.
            self.steps += 1;
            let sums = self.processes.len() <= LARGE || self.steps.is_multiple_of(4_096);
            let what = self.ledger.core.unsound(sums);
            if !what.is_empty() {
                self.common.breach(format!("I1: committed above the limit: {what}"));
            }
        }
        for (call, reply) in effect.replies {
            let Some((to, id)) = self.calls.remove(&call) else { continue };
            let lost = self.common.chance(self.common.plan.loss);
            if lost || self.processes[to.process].partition > self.common.now.get() {
                continue;
            }
            let result = match reply {
                Ok(Reply::Open(reply)) => Ok(reply.encode_to_vec()),
                Ok(Reply::Sync(reply)) => Ok(reply.encode_to_vec()),
                Ok(Reply::Watch(reply)) => Ok(reply.encode_to_vec()),
                Ok(Reply::Drain(reply)) => Ok(reply.encode_to_vec()),
                Ok(Reply::Close(reply)) => Ok(reply.encode_to_vec()),
                Err(Status { code, .. }) => Err(code),
            };
            let delay = self.delay();
            self.common.after(delay, Event::Reply { to, id, result });
        }
        let now = self.time();
        let due = self.ledger.core.due(now);
        if due < self.ledger.due || self.ledger.due < now.mono {
            self.ledger.due = due;
            let wait = due.saturating_sub(now.mono).max(1) * MS;
            self.common.after(wait, Event::LedgerTick(self.ledger.life));
        }
    }

    pub(super) fn start_ledger(&mut self) {
        let counters = self.ledger.core.counters();
        {
            let mut out = self.common.out.borrow_mut();
            out.syncs += counters.syncs;
            out.acquires += counters.acquires;
            out.recalls += counters.recalls;
            out.healed += counters.healed;
        }
        let mut core = Core::new(self.common.plan.params);
        let recovered = recover(&self.ledger.log, &mut |entry| core.restore(entry));
        match recovered {
            Ok((good, frames)) => {
                if good < self.ledger.synced {
                    self.common.breach(format!("durable log cut: {good} of {}", self.ledger.synced));
                }
                self.ledger.log.truncate(good);
                self.ledger.synced = good;
                self.ledger.frames = frames;
            }
            Err(error) => self.common.breach(format!("the log cannot be read: {error}")),
        }
        self.ledger.core = core;
        self.ledger.life += 1;
        self.ledger.up = true;
        self.ledger.due = u64::MAX;
        let now = self.time();
        self.ledger.core.start(now);
        if self.common.plan.forget_ms > 0 {
            self.ledger.core.quarantine(now);
        }
        self.ledger.core.set_budgets(now, self.budgets.clone()).unwrap();
        self.ledger_out();
    }

    /// SIGKILL, and a disk that keeps what was synced and some of the rest, perhaps with a torn last frame.
    pub fn crash_ledger(&mut self) {
        self.ledger.up = false;
        let since = self.common.now.get().saturating_sub(self.common.plan.forget_ms * MS);
        while let Some((at, _)) = self.ledger.marks.back().copied()
            && at > since
        {
            self.ledger.marks.pop_back();
            self.ledger.synced = self.ledger.marks.back().map_or(0, |(_, length)| *length);
        }
        let tail = (self.ledger.log.len() - self.ledger.synced) as u64;
        let kept = self.common.rng.borrow_mut().below(tail + 1) as usize;
        self.ledger.log.truncate(self.ledger.synced + kept);
        if kept > 0
            && self.common.chance(30.0)
            && let Some(last) = self.ledger.log.last_mut()
        {
            *last ^= 0x55;
        }
        // A copy is promoted fast.
        let longest = if self.common.plan.forget_ms > 0 { 300 } else { 8_000 };
        let wait = self.common.within((50, longest)) * MS;
        self.common.after(wait, Event::LedgerStart);
    }
}
