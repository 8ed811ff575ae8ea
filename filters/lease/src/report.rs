//! What goes to the ledger: the session, Acquires of waiting requests, reports of records, the long poll. One VM of the
//! process, the leader, reports for all; each VM acquires for its own requests, since a callback reaches only the VM
//! that dispatched.

use weir_sorted::Gather;

use crate::flight::{Call, Flight, Method, Ref};
use crate::instance::mix;
use crate::lessee::{Lessee, Slip, shortfall, shortfalls};
use crate::message::Ask;
use crate::record::Record;
use crate::refusal::Code;
use crate::shared;
use crate::store::{self, Place, SharedData, Update, WAYS};
use crate::wire;
use crate::{ACQUIRE_TIMEOUT, MS, Nanos, SECOND, SYNC};

/// Version of records and messages.
const VERSION: u32 = 1;
/// Acquires of one VM that may be on their way; later requests are gathered into the next.
const ACQUIRES: usize = 4;
/// Requests that one Acquire speaks for.
const GATHER: usize = 64;
/// Records in one report.
const BATCH: usize = 256;
/// How long the ledger may keep a long poll.
const WATCH_MS: u32 = 10_000;
/// A call whose callback is this late never comes: its context is gone.
const GRACE: Nanos = SECOND;
/// Sweeps in which a VM must look dead.
const LOOKS: u32 = 3;

impl Lessee {
    /// The timer: see [`Lessee::tick_in_ms`]. Call [`Lessee::woken`] and [`Lessee::calls`] afterwards.
    pub fn tick(&mut self, now: Nanos, store: &mut dyn SharedData) {
        self.refresh(now, store);
        if now.saturating_sub(self.ticked_at) >= SECOND / 2 || now < self.ticked_at {
            self.ticked_at = now;
            self.ticks = self.ticks.saturating_add(1);
            if self.vm != 0 {
                self.vm = shared::beat(store, self.vm, now);
                self.beat_at = now;
            }
        }
        for (part, actual) in core::mem::take(&mut self.unsettled) {
            self.settle_part(now, store, part, actual);
        }
        self.pay(now, store);
        self.expire(now, store);
        // The first tick is left out: a VM that lives for a moment only (Envoy tries each configuration on one) never
        // becomes the reporter.
        if self.ticks < 2 {
            return;
        }
        if now.saturating_sub(self.led_at) >= SECOND / 2 || now < self.led_at {
            self.led_at = now;
            let busy = self.busy_at.is_some_and(|at| now.saturating_sub(at) < 10 * SECOND);
            let token = mix(&[self.setup.random[0], self.setup.random[1]]);
            self.leader = shared::lead(store, token, now, busy);
        }
        self.report(now, store);
    }

    /// When the timer should fire next, in milliseconds; between 1 and 1,000.
    pub fn tick_in_ms(&self, now: Nanos) -> u32 {
        let mut next = self.ticked_at + SECOND;
        let open = self.session.sid != 0;
        if let Some(at) = self.due.iter().map(|(_, due)| due.at).min().filter(|_| open) {
            next = next.min(at);
        }
        for waiter in self.pending.iter().filter_map(|id| self.waiters.get(*id)) {
            next = next.min(if waiter.after > now { waiter.after } else { waiter.deadline });
        }
        (next.saturating_sub(now).div_ceil(MS)).clamp(1, 1_000) as u32
    }

    /// The calls to dispatch now. A call that cannot be dispatched is answered by [`Lessee::reply`] with status 14.
    pub fn calls(&mut self, now: Nanos, store: &mut dyn SharedData) -> Vec<Call> {
        if self.session.sid == 0 {
            let opening = self.flights.iter().any(|flight| flight.method == Method::Open);
            let wanted = self.leader || !self.pending.is_empty() || !self.owed.is_empty();
            if !opening && now >= self.open_after && wanted {
                self.open_after = now + 100 * MS;
                let open = wire::open(&self.setup.node, self.session.nonce, VERSION);
                self.send(now, Method::Open, open, 1_000, Vec::new(), Vec::new());
            }
        } else {
            self.look_again(now, store);
            self.acquire(now, store);
            self.flush(now, store);
        }
        core::mem::take(&mut self.ready)
    }

    /// The process will end: returns everything free, asks for nothing more than its requests need, and closes the
    /// session when the last of them is settled.
    pub fn drain(&mut self, now: Nanos, store: &mut dyn SharedData) {
        self.refresh(now, store);
        if let Some(session) = shared::change_session(store, &mut |session| {
            let write = !session.draining;
            session.draining = true;
            write
        }) {
            self.session = session;
        }
        self.resend = true;
        if self.session.sid != 0 {
            let drain = wire::watch(self.session.sid, 0, 0);
            self.send(now, Method::Drain, drain, 1_000, Vec::new(), Vec::new());
        }
    }

    /// Ends calls whose callback never came, and waits that the ledger never answered.
    fn expire(&mut self, now: Nanos, store: &mut dyn SharedData) {
        let late: Vec<u32> = self
            .flights
            .iter()
            .filter(|flight| now > flight.sent + Nanos::from(flight.timeout_ms) * MS + GRACE)
            .map(|flight| flight.id)
            .gather();
        for id in late {
            self.reply(now, store, id, Err(4));
        }
        let over: Vec<u64> = self
            .pending
            .iter()
            .filter(|id| self.waiters.get(**id).is_none_or(|waiter| now >= waiter.deadline))
            .copied()
            .gather();
        for id in over {
            weir_sorted::keep(&mut self.pending, |one| *one != id);
            if let Some(waiter) = self.waiters.remove(id) {
                let outcome = self.refused(shortfalls(&waiter.slips, Code::Unavailable));
                self.woken.push((id, outcome));
            }
        }
    }

    /// The leader's duties: the regular report, the reaper, the long poll.
    fn report(&mut self, now: Nanos, store: &mut dyn SharedData) {
        if !self.leader || self.session.sid == 0 || self.session.closed {
            return;
        }
        let all = self.resend || self.told_epoch != self.session.epoch;
        let sync = self.session.sync();
        if all || now.saturating_sub(self.reported_at) + sync / 8 >= sync || now < self.reported_at {
            // Where processes are so many that they report seldom, those that were all called at once do not stay in
            // step.
            let early = if all && sync > SYNC { self.setup.random[1] % sync } else { 0 };
            self.reported_at = now.saturating_sub(early);
            self.resend = false;
            self.told_epoch = self.session.epoch;
            self.sweep(now, store, all);
        }
        let watching = self.flights.iter().any(|flight| flight.method == Method::Watch);
        if !watching && now >= self.watch_after {
            self.watch(now);
        }
    }

    pub(crate) fn watch(&mut self, now: Nanos) {
        let watch = wire::watch(self.session.sid, self.session.epoch, WATCH_MS);
        self.send(now, Method::Watch, watch, WATCH_MS + 1_000, Vec::new(), Vec::new());
    }

    /// Walks all records: reaps what dead VMs hold, returns what is too much, and reports what has changed. Without
    /// any, the report is a heartbeat.
    fn sweep(&mut self, now: Nanos, store: &mut dyn SharedData, all: bool) {
        let vms = shared::vms(store);
        let dead = self.find_dead(now, &vms);
        let draining = self.session.draining;
        let mut batch = self.batch();
        let (mut busy, mut reaped) = (false, true);
        for set in store::used(store) {
            for way in 0..WAYS {
                let place = Place { set, way };
                let Some(found) = store::read(store, place) else { break };
                let (mut report, mut presumed, mut snapshot) = (false, 0, Record::default());
                let mut waits = false;
                let updated = store::update(
                    store,
                    place,
                    found.record.lane,
                    &mut self.stats.cas_retries,
                    &mut |record| {
                        let before = record.clone();
                        let hold_ms = record.hold_ms;
                        presumed = record.reap(&mut |vm| match dead.contains(&vm) {
                            true => vms.over(vm, now, hold_ms),
                            false => vms.buried(vm),
                        });
                        waits = record.slots.iter().any(|slot| dead.contains(&slot.vm));
                        record.open(now);
                        if record.decay(now) {
                            record.rev += 1;
                        }
                        let surplus = if draining { u64::MAX } else { record.surplus(now) };
                        record.give_back(surplus);
                        report = all || record.rev != record.acked;
                        if report {
                            // The record stays dirty, and so in its place, until this very report is answered: the
                            // answer may bring a grant.
                            record.rev += 1;
                        }
                        let write = *record != before;
                        snapshot = record.clone();
                        write
                    },
                );
                reaped &= updated != Update::Contended && !waits;
                if updated != Update::Done {
                    continue;
                }
                self.stats.presumed += presumed;
                busy |= !snapshot.idle();
                if report {
                    batch.add(&snapshot, place, None, draining);
                }
                if batch.refs.len() >= BATCH {
                    let full = core::mem::replace(&mut batch, self.batch());
                    self.sync(now, full, Vec::new());
                }
            }
        }
        if reaped && !dead.is_empty() {
            shared::bury(store, &dead, now);
        }
        if draining && !busy {
            let close = wire::watch(self.session.sid, 0, 0);
            self.send(now, Method::Close, close, 1_000, Vec::new(), Vec::new());
        } else {
            self.sync(now, batch, Vec::new());
        }
    }

    /// VMs whose heartbeat is old, and has been the same in several sweeps: one look could be a clock that jumped.
    fn find_dead(&mut self, now: Nanos, vms: &shared::Vms) -> Vec<u32> {
        let before = core::mem::take(&mut self.silent);
        let mut dead = Vec::new();
        for (vm, beat) in vms.beats.iter().filter(|(vm, _)| vms.dead(*vm, now)) {
            let seen =
                before.iter().find(|(known, at, _)| known == vm && at == beat).map_or(1, |one| one.2 + 1);
            self.silent.push((*vm, *beat, seen));
            if seen >= LOOKS {
                dead.push(*vm);
            }
        }
        dead
    }

    /// One Acquire for the requests that wait.
    fn acquire(&mut self, now: Nanos, store: &mut dyn SharedData) {
        let out = self.flights.iter().filter(|flight| !flight.waiters.is_empty()).count();
        for _ in out..ACQUIRES {
            let mut gathered = Vec::new();
            weir_sorted::keep(&mut self.pending, |id| {
                let ready = self.waiters.get(*id).is_some_and(|waiter| waiter.after <= now);
                let take = ready && gathered.len() < GATHER;
                if take {
                    gathered.push(*id);
                }
                !take
            });
            if gathered.is_empty() {
                return;
            }
            self.acquire_for(now, store, gathered);
        }
    }

    fn acquire_for(&mut self, now: Nanos, store: &mut dyn SharedData, gathered: Vec<u64>) {
        struct Want {
            set: u16,
            id: u128,
            name: Vec<u8>,
            ask: Ask,
        }
        let mut wants: Vec<Want> = Vec::new();
        for waiter in gathered.iter().filter_map(|id| self.waiters.get(*id)) {
            for slip in waiter.slips.iter().filter(|slip| slip.short) {
                let need = &slip.need;
                match wants.iter_mut().find(|want| want.id == slip.id && want.name == slip.name) {
                    Some(Want { ask, .. }) => {
                        ask.full = ask.full.saturating_add(need.full);
                        ask.floor = ask.floor.min(need.floor);
                        ask.min = ask.min.min(need.min);
                        ask.one = ask.one.min(need.full);
                    }
                    None => wants.push(Want {
                        set: slip.set,
                        id: slip.id,
                        name: slip.name.clone(),
                        ask: Ask { full: need.full, floor: need.floor, min: need.min, one: need.full },
                    }),
                }
            }
        }
        let mut batch = self.batch();
        for want in &wants {
            let Some(found) = store::claim(store, want.set, want.id, &want.name) else { continue };
            let mut snapshot = Record::default();
            let updated = store::update(
                store,
                found.place,
                found.record.lane,
                &mut self.stats.cas_retries,
                &mut |record| {
                    record.open(now);
                    if record.rate() == 0 {
                        record.note_demand(now, want.ask.one);
                    }
                    // Dirty until this Acquire is answered, for the answer brings a grant.
                    record.rev += 1;
                    snapshot = record.clone();
                    true
                },
            );
            if updated == Update::Done {
                batch.add(&snapshot, found.place, Some(&want.ask), false);
            }
        }
        // A set that is full of busy records, or contended: its requests cannot be served now.
        let missing = |slip: &&Slip| {
            slip.short && !batch.refs.iter().any(|one| one.id == slip.id && one.name == slip.name)
        };
        let mut served = Vec::new();
        for id in gathered {
            let Some(waiter) = self.waiters.get(id) else { continue };
            let of = |slip: &Slip| shortfall(slip, Code::Contended);
            let list: Vec<_> = waiter.slips.iter().filter(missing).map(of).gather();
            if list.is_empty() {
                served.push(id);
            } else {
                self.waiters.remove(id);
                let outcome = self.refused(list);
                self.woken.push((id, outcome));
            }
        }
        self.stats.acquires += 1;
        self.sync(now, batch, served);
    }

    /// One report for the records that cannot wait: refunds of tight budgets, recalls, and leases that run low.
    fn flush(&mut self, now: Nanos, store: &mut dyn SharedData) {
        if !self.due.iter().any(|(_, due)| due.at <= now) {
            return;
        }
        let draining = self.session.draining;
        let mut batch = self.batch();
        let ready: Vec<(Place, crate::lessee::Due)> = self
            .due
            .iter()
            .filter(|(_, due)| due.at <= now)
            .take(BATCH)
            .map(|(at, due)| (*at, *due))
            .gather();
        for (place, due) in ready {
            self.due.remove(place);
            let mut snapshot = Record::default();
            let updated = store::update(store, place, due.lane, &mut self.stats.cas_retries, &mut |record| {
                record.open(now);
                let surplus = if due.all || draining { u64::MAX } else { record.surplus(now) };
                record.give_back(surplus);
                record.rev += 1;
                snapshot = record.clone();
                true
            });
            if updated == Update::Done {
                // What was just recalled is not to come back with the answer.
                batch.add(&snapshot, place, None, draining || due.all);
            }
        }
        if !batch.refs.is_empty() {
            self.sync(now, batch, Vec::new());
        }
    }

    fn batch(&self) -> Batch {
        Batch { body: wire::sync(self.session.sid, self.session.epoch), refs: Vec::new() }
    }

    fn sync(&mut self, now: Nanos, batch: Batch, waiters: Vec<u64>) {
        if waiters.is_empty() {
            self.stats.reports += 1;
        }
        let timeout = (ACQUIRE_TIMEOUT / MS) as u32;
        self.send(now, Method::Sync, batch.body, timeout, batch.refs, waiters);
    }

    fn send(
        &mut self,
        now: Nanos,
        method: Method,
        body: Vec<u8>,
        timeout_ms: u32,
        refs: Vec<Ref>,
        waiters: Vec<u64>,
    ) {
        self.next_call = self.next_call.wrapping_add(1);
        let id = self.next_call;
        self.flights.push(Flight { id, method, sent: now, timeout_ms, refs, waiters });
        self.ready.push(Call { id, method, body, timeout_ms });
    }
}

/// A Sync in the making.
struct Batch {
    body: Vec<u8>,
    refs: Vec<Ref>,
}

impl Batch {
    fn add(&mut self, record: &Record, place: Place, ask: Option<&Ask>, no_grant: bool) {
        wire::item(&mut self.body, record, ask, no_grant);
        let name = record.name.clone();
        self.refs.push(Ref {
            place,
            lane: record.lane,
            id: record.id,
            name,
            rev: record.rev,
            g: record.now.g,
            wid: record.wid,
            spent: record.now.u.saturating_add(record.now.h),
        });
    }
}
