//! A seeded discrete-event simulation of the shipped crates: processes of several VMs with one shared store each, the
//! ledger with its log on a disk that may lose what was not synced, and a network that loses, repeats, delays and
//! reorders. VMs interleave between any two operations of a neighbour on the shared store. What it is not: a model of
//! the protocol. Every decision is the crates' own; this file only moves bytes and time, breaks things, and keeps the
//! providers' books. It is one long file because every event may touch everything: a world cannot be told in parts.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::{Duration, Instant};

use prost::Message;
use weir_lease::mutant::{self, Mutant};
use weir_lease::{
    Code, Hold, Instance, LedgerLost, Lessee, MS, Method, Mismatch, Need, Record, Reserve, SECOND, Setup,
};
use weir_lease::{SharedData, Unit};
use weir_ledger::{BudgetDef, Core, Frames, Params, Reply, Request, Status, Time, WindowKind, recover};

/// 2026-01-05 10:00:40 UTC, a Monday: minute windows turn over 20 s into a run.
const EPOCH_MS: u64 = 1_767_607_240_000;

/// Processes above which what would walk all of them at each step is done otherwise.
const LARGE: usize = 100;

/// xorshift64*: the same numbers for the same seed everywhere.
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Rng {
        Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    pub fn within(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    pub fn chance(&mut self, percent: f64) -> bool {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64 * 100.0 < percent
    }
}

/// What a run is made of; percentages are chances per message, operation or second.
#[derive(Clone)]
pub struct Plan {
    pub processes: usize,
    pub vms: usize,
    pub budgets: Vec<BudgetDef>,
    /// Requests per second and VM; 0 with `clients` instead.
    pub rate: f64,
    /// Clients in all that send the next request when the last is done.
    pub clients: usize,
    pub seconds: u64,
    /// Reservation of a request, and what of it is billed, in percent.
    pub reserve: (u64, u64),
    pub billed: (u64, u64),
    /// Units that it is billed above that, bounds being calibrated: then what is overspent is counted, and no breach.
    pub over: (u64, u64),
    pub duration_ms: (u64, u64),
    /// How long a request waits for others' reservations.
    pub wait_ms: (u64, u64),
    pub loss: f64,
    pub duplicate: f64,
    pub slow: f64,
    pub interleave: f64,
    pub trap: f64,
    pub kill: f64,
    pub stall: f64,
    pub partition: f64,
    pub crash: f64,
    pub limits: f64,
    pub unknown: f64,
    pub lost: LedgerLost,
    /// Stop when every client was refused as terminal.
    pub until_spent: bool,
    pub params: Params,
    /// Crashes lose this much that had been synced: a store that is promoted from a lagging copy, in milliseconds.
    pub forget_ms: u64,
    /// When the run counts as warm, in seconds: see [`Outcome::steady`].
    pub warm_s: u64,
    /// Requests last as long as they may until then, and as short as they may afterwards; 0 is by chance.
    pub long_until_ms: u64,
}

impl Steady {
    fn since(self, before: &Steady) -> Steady {
        Steady {
            seconds: self.seconds - before.seconds,
            admitted: self.admitted - before.admitted,
            refused: self.refused - before.refused,
            waited: self.waited - before.waited,
            syncs: self.syncs - before.syncs,
            calls: self.calls - before.calls,
            ledger_time: self.ledger_time - before.ledger_time,
        }
    }
}

/// What a run has shown.
#[derive(Default, Debug, Clone)]
pub struct Outcome {
    pub admitted: u64,
    pub waited: u64,
    pub refused: BTreeMap<&'static str, u64>,
    /// Refused while the true room was at least the need and 2 % of the limit.
    pub falsely: u64,
    /// Breaches of an invariant, the first ones in words.
    pub breaches: Vec<String>,
    /// By instance and window: what providers billed.
    pub billed: BTreeMap<(String, u64), u128>,
    /// The most that any of them is above its limit.
    pub overspent: u128,
    pub syncs: u64,
    pub acquires: u64,
    pub recalls: u64,
    pub healed: u64,
    pub settled: u64,
    pub stranded: u64,
    pub held: u64,
    pub leased: u64,
    pub presumed: u64,
    pub longest_wait_ms: u64,
    pub seconds: u64,
    /// Calls of every kind that reached the ledger, and what its decisions took of this machine's time.
    pub calls: u64,
    pub ledger_time: Duration,
    /// The part of the run between [`Plan::warm_s`] and its end.
    pub steady: Steady,
    /// Records that were looked at as they were written.
    pub checked: u64,
    /// Bytes in each process's shared data, on average.
    pub store_bytes: usize,
}

/// What happened between two moments of a run.
#[derive(Default, Debug, Clone, Copy)]
pub struct Steady {
    pub seconds: u64,
    pub admitted: u64,
    pub refused: u64,
    pub waited: u64,
    pub syncs: u64,
    pub calls: u64,
    pub ledger_time: Duration,
}

#[derive(PartialEq, Eq, PartialOrd, Ord, Clone, Copy, Debug)]
struct VmId {
    process: usize,
    life: u32,
    vm: usize,
    vm_life: u32,
}

enum Event {
    Tick(VmId),
    /// The regular timer.
    Beat(VmId),
    Arrive(VmId),
    Client(usize),
    End(VmId, u64),
    ToLedger {
        call: u64,
        method: Method,
        body: Vec<u8>,
    },
    Reply {
        to: VmId,
        id: u32,
        result: Result<Vec<u8>, u32>,
    },
    LedgerTick(u32),
    LedgerStart,
    Crash,
    Stall(usize, u64),
    Chaos,
    NewVm(VmId),
    NewProcess(usize),
    Kill(usize, u32),
    /// A request has ended, and its provider bills it, whatever became of its gateway.
    Billed(u64),
}

struct Trap;

#[derive(Default)]
struct Memory {
    values: BTreeMap<String, (Vec<u8>, u32)>,
    version: u32,
}

struct InFlight {
    hold: Hold,
    actual: Vec<u64>,
    client: Option<usize>,
}

struct Vm {
    id: VmId,
    lessee: Lessee,
    holds: BTreeMap<u64, InFlight>,
    waiting: BTreeMap<u64, (Vec<Need>, u64, Option<usize>)>,
    stalled: u64,
    dead: bool,
    /// When its timer fires next, apart from its heartbeat.
    tick_at: u64,
}

struct Process {
    life: u32,
    alive: bool,
    memory: Rc<RefCell<Memory>>,
    vms: Vec<Rc<RefCell<Vm>>>,
    partition: u64,
    /// Added to the time that this process sees.
    skew: u64,
    draining: bool,
}

struct Ledger {
    core: Core,
    log: Vec<u8>,
    frames: Frames,
    synced: usize,
    /// Length of the log that was durable at a time.
    marks: VecDeque<(u64, usize)>,
    up: bool,
    life: u32,
    skew: i64,
    due: u64,
}

/// Times and units, and their sum.
type Recent = (VecDeque<(u64, u64)>, u128);
/// Counter, budget, length of the window and cost.
type Bill = (String, String, u64, u64);

/// What everything in a run shares.
struct Common {
    plan: Plan,
    rng: RefCell<Rng>,
    now: Cell<u64>,
    /// By time, then in the order of being planned.
    events: RefCell<BTreeMap<(u64, u64), Event>>,
    sequence: Cell<u64>,
    out: RefCell<Outcome>,
    next_request: Cell<u64>,
    quiet: Cell<bool>,
    /// Highest limit that each budget ever had.
    limits: RefCell<BTreeMap<String, u64>>,
    spent: RefCell<Vec<bool>>,
    /// How many of them are not.
    unspent: Cell<usize>,
    /// Of a large world without kills: used and held in all stores, kept up with every write.
    taken: Cell<u64>,
    /// Of rolling budgets: what was admitted and what was settled, with its time, while it is in the window.
    recent: RefCell<BTreeMap<(String, bool), Recent>>,
    /// By request: counter, budget, length of the window and cost of what will be billed when it ends.
    unbilled: RefCell<BTreeMap<u64, Vec<Bill>>>,
}

impl Common {
    fn after(&self, ns: u64, event: Event) {
        let sequence = self.sequence.get() + 1;
        self.sequence.set(sequence);
        self.events.borrow_mut().insert((self.now.get() + ns, sequence), event);
    }

    fn breach(&self, what: String) {
        let breaches = &mut self.out.borrow_mut().breaches;
        if breaches.len() < 5 {
            breaches.push(format!("{} ms: {what}", self.now.get() / MS));
        }
    }

    fn chance(&self, percent: f64) -> bool {
        percent > 0.0 && self.rng.borrow_mut().chance(percent)
    }

    fn within(&self, range: (u64, u64)) -> u64 {
        self.rng.borrow_mut().within(range.0, range.1)
    }

    fn needs(&self) -> Vec<Need> {
        let budgets = &self.plan.budgets;
        let full = self.within(self.plan.reserve);
        let mut needs = Vec::new();
        for def in budgets {
            if budgets.len() > 1 && self.chance(30.0) {
                continue;
            }
            let full = if def.unit == Unit::Requests { 1 } else { full };
            let subject =
                if def.each.is_empty() { String::new() } else { format!("s{}", self.within((0, 2))) };
            let instance = Instance::new(&def.name, def.unit, &subject, &def.definition);
            let wait = if self.plan.wait_ms.1 == 0 { 0 } else { self.within(self.plan.wait_ms) * MS };
            needs.push(Need { wait, ..Need::whole(instance, full, self.plan.lost) });
        }
        needs
    }

    /// A request has ended: its provider bills it.
    fn bill(&self, request: u64) {
        let bills = self.unbilled.borrow_mut().remove(&request);
        for (name, budget, length, cost) in bills.into_iter().flatten() {
            if let Some(text) = self.roll(&name, &budget, length, true, cost) {
                self.breach(text);
            }
        }
    }

    /// Adds to what a rolling window has seen admitted, or billed at the requests' ends. What is wrong with it.
    fn roll(&self, name: &str, budget: &str, length: u64, billed: bool, cost: u64) -> Option<String> {
        let now = self.now.get();
        let mut recent = self.recent.borrow_mut();
        let (list, sum) = recent.entry((name.to_owned(), billed)).or_default();
        list.push_back((now, cost));
        *sum += u128::from(cost);
        while let Some((at, cost)) = list.front().copied()
            && at + length * MS < now
        {
            list.pop_front();
            *sum -= u128::from(cost);
        }
        let limit = self.limits.borrow().get(budget).copied().unwrap_or(0);
        let how = if billed { "billed" } else { "admitted" };
        (*sum > u128::from(limit)).then(|| format!("{name}: {how} {sum} of {limit} within {length} ms"))
    }

    /// What a request costs above its reservation.
    fn dearer(&self) -> u64 {
        if self.plan.over.1 == 0 { 0 } else { self.within(self.plan.over) }
    }

    /// A request was admitted: the provider bills it, come what may.
    fn admit(&self, vm: &mut Vm, request: u64, needs: &[Need], hold: Hold, client: Option<usize>) {
        let share = self.within(self.plan.billed);
        let (short, long) = self.plan.duration_ms;
        let duration = MS
            * match self.plan.long_until_ms {
                0 => self.within((short, long)),
                until if self.now.get() < until * MS => long,
                _ => short,
            };
        let mut out = self.out.borrow_mut();
        out.admitted += 1;
        let mut actual = Vec::new();
        let mut over = Vec::new();
        for ((need, amount), wid) in needs.iter().zip(hold.amounts()).zip(hold.windows()) {
            let cost = (amount * share).div_ceil(100).min(amount) + self.dearer();
            actual.push(cost);
            let name = format!("{}/{}", need.instance.budget, need.instance.subject);
            let def = self.plan.budgets.iter().find(|def| def.name == need.instance.budget);
            if let Some(WindowKind::Rolling(length)) = def.map(|def| def.window) {
                over.extend(self.roll(&name, &need.instance.budget, length, false, cost));
                let bill = (name, need.instance.budget.clone(), length, cost);
                self.unbilled.borrow_mut().entry(request).or_default().push(bill);
                continue;
            }
            let billed = out.billed.entry((name.clone(), wid)).or_default();
            *billed += u128::from(cost);
            let limit = self.limits.borrow().get(&need.instance.budget).copied().unwrap_or(0);
            let above = billed.saturating_sub(u128::from(limit));
            if self.plan.over.1 > 0 {
                out.overspent = out.overspent.max(above);
            } else if above > 0 {
                over.push(format!("{name} in window {wid}: billed {billed} of {limit}"));
            }
        }
        drop(out);
        for text in over {
            self.breach(text);
        }
        self.after(duration, Event::End(vm.id, request));
        if self.unbilled.borrow().contains_key(&request) {
            self.after(duration, Event::Billed(request));
        }
        vm.holds.insert(request, InFlight { hold, actual, client });
    }
}

/// The shared store of a process as one VM's operation sees it.
struct Host<'a> {
    common: &'a Rc<Common>,
    memory: Rc<RefCell<Memory>>,
    peers: Vec<Rc<RefCell<Vm>>>,
    skew: u64,
    depth: u32,
}

impl Host<'_> {
    /// Lets something else happen between two operations.
    fn disturb(&mut self) {
        if self.depth == 0 && self.common.chance(self.common.plan.trap / 100.0) {
            resume_unwind(Box::new(Trap));
        }
        if self.depth > 0 || !self.common.chance(self.common.plan.interleave) {
            return;
        }
        let at = self.common.rng.borrow_mut().below(self.peers.len() as u64) as usize;
        let peer = Rc::clone(&self.peers[at]);
        let Ok(mut peer) = peer.try_borrow_mut() else { return };
        if peer.dead || peer.stalled > self.common.now.get() {
            return;
        }
        let mut host = Host {
            common: self.common,
            memory: Rc::clone(&self.memory),
            peers: Vec::new(),
            skew: self.skew,
            depth: self.depth + 1,
        };
        let now = self.common.now.get() + self.skew;
        let choice = self.common.rng.borrow_mut().below(3);
        match choice {
            0 => {}
            1 => {
                peer.lessee.tick(now, &mut host);
                return;
            }
            _ => {
                if let Some((id, request)) = peer.holds.pop_first() {
                    self.common.bill(id);
                    peer.lessee.settle(now, &mut host, request.hold, &request.actual);
                    if let Some(client) = request.client {
                        self.common.after(MS, Event::Client(client));
                    }
                }
                return;
            }
        }
        if !self.common.quiet.get() && self.common.plan.clients == 0 {
            request(self.common, &mut peer, &mut host, now, None);
        }
    }

    fn check(&self, key: &str, value: &[u8]) {
        if !is_record(key) {
            return;
        }
        self.common.out.borrow_mut().checked += 1;
        let Some(record) = Record::decode(value) else {
            self.common.breach(format!("{key} cannot be read"));
            return;
        };
        for vector in [record.now, record.prev] {
            if self.common.plan.over.1 == 0 && vector.u + vector.h > vector.g.saturating_sub(vector.r) {
                self.common.breach(format!("I2 at {key}: {vector:?}"));
            }
        }
    }
}

impl SharedData for Host<'_> {
    fn get(&mut self, key: &str) -> Option<(Vec<u8>, u32)> {
        self.disturb();
        self.memory.borrow().values.get(key).cloned()
    }

    fn set(&mut self, key: &str, value: &[u8], cas: Option<u32>) -> Result<(), Mismatch> {
        self.disturb();
        self.check(key, value);
        let mut memory = self.memory.borrow_mut();
        let before = memory.values.get(key);
        let found = before.map(|(_, version)| *version);
        if let (Some(cas), Some(found)) = (cas, found)
            && cas != found
        {
            return Err(Mismatch);
        }
        if self.common.plan.processes > LARGE && is_record(key) {
            let taken = |bytes: &[u8]| Record::decode(bytes).map_or(0, |record| record.now.u + record.now.h);
            let old = before.map_or(0, |(value, _)| taken(value));
            self.common.taken.set(self.common.taken.get() + taken(value) - old);
        }
        memory.version += 1;
        let version = memory.version;
        memory.values.insert(key.to_owned(), (value.to_owned(), version));
        Ok(())
    }
}

/// Whether a key of the shared store is a counter's record, in whatever version.
fn is_record(key: &str) -> bool {
    key.split('/').nth(2) == Some("b")
}

fn request(common: &Rc<Common>, vm: &mut Vm, host: &mut Host<'_>, now: u64, client: Option<usize>) {
    let needs = common.needs();
    if needs.is_empty() {
        return;
    }
    let id = common.next_request.get() + 1;
    common.next_request.set(id);
    match vm.lessee.reserve(now, host, id, needs.clone()) {
        Reserve::Held(hold) => common.admit(vm, id, &needs, hold, client),
        Reserve::Refused(refusal) => {
            vm.waiting.insert(id, (needs, now, client));
            decided(common, vm, id, Reserve::Refused(refusal), now);
        }
        Reserve::Wait => {
            common.out.borrow_mut().waited += 1;
            vm.waiting.insert(id, (needs, now, client));
        }
    }
}

fn decided(common: &Rc<Common>, vm: &mut Vm, id: u64, outcome: Reserve, now: u64) {
    let Some((needs, since, client)) = vm.waiting.remove(&id) else {
        common.breach(format!("request {id} was decided twice"));
        return;
    };
    let waited = now.saturating_sub(since) / MS;
    {
        let mut out = common.out.borrow_mut();
        out.longest_wait_ms = out.longest_wait_ms.max(waited);
    }
    match outcome {
        Reserve::Held(hold) => common.admit(vm, id, &needs, hold, client),
        Reserve::Wait => common.breach("a decision may not be to wait".into()),
        Reserve::Refused(refusal) => {
            *common.out.borrow_mut().refused.entry(refusal.code.name()).or_default() += 1;
            if refusal.budgets.is_empty() || refusal.retry_after_ms == 0 {
                common.breach("a refusal without a reason".into());
            }
            if let Some(client) = client {
                let terminal = refusal.code == Code::Exhausted;
                let mut spent = common.spent.borrow_mut();
                if terminal && common.plan.until_spent && !spent[client] {
                    spent[client] = true;
                    common.unspent.set(common.unspent.get() - 1);
                }
                if !spent[client] {
                    let pause = refusal.retry_after_ms.min(1_000) * MS;
                    common.after(pause, Event::Client(client));
                }
            }
        }
    }
}

pub struct World {
    common: Rc<Common>,
    processes: Vec<Process>,
    ledger: Ledger,
    calls: BTreeMap<u64, (VmId, u32)>,
    next_call: u64,
    steps: u64,
    budgets: Vec<BudgetDef>,
    /// Stores of processes that were killed.
    graves: Vec<Rc<RefCell<Memory>>>,
}

impl World {
    pub fn new(seed: u64, plan: Plan) -> World {
        let clients = plan.clients;
        let limits = plan.budgets.iter().map(|def| (def.name.clone(), def.limit)).collect();
        let common = Rc::new(Common {
            rng: RefCell::new(Rng::new(seed + 1)),
            now: Cell::new(SECOND),
            events: RefCell::default(),
            sequence: Cell::default(),
            out: RefCell::default(),
            next_request: Cell::default(),
            quiet: Cell::new(false),
            limits: RefCell::new(limits),
            spent: RefCell::new(vec![false; clients]),
            unspent: Cell::new(clients),
            taken: Cell::default(),
            recent: RefCell::default(),
            unbilled: RefCell::default(),
            plan: plan.clone(),
        });
        let ledger = Ledger {
            core: Core::new(plan.params),
            log: Vec::new(),
            frames: Frames::default(),
            synced: 0,
            marks: VecDeque::new(),
            up: false,
            life: 0,
            skew: 0,
            due: u64::MAX,
        };
        let mut ledger = ledger;
        if plan.partition > 0.0 {
            ledger.skew = common.within((0, 10_000)) as i64 - 5_000;
        }
        let budgets = plan.budgets.clone();
        let mut world = World {
            common,
            processes: Vec::new(),
            ledger,
            calls: BTreeMap::new(),
            next_call: 0,
            steps: 0,
            budgets,
            graves: Vec::new(),
        };
        world.start_ledger();
        for process in 0..plan.processes {
            let skew = world.common.within((0, 10 * SECOND));
            world.processes.push(Process {
                life: 0,
                alive: false,
                memory: Rc::default(),
                vms: Vec::new(),
                partition: 0,
                skew,
                draining: false,
            });
            world.new_process(process);
        }
        for client in 0..clients {
            let wait = world.common.within((0, 1_000)) * MS;
            world.common.after(wait, Event::Client(client));
        }
        world.common.after(SECOND, Event::Chaos);
        world
    }

    /// Runs to the end, lets everything come to rest, and says what happened.
    pub fn run(mut self) -> Outcome {
        let begin = self.common.now.get();
        self.run_until(begin + self.common.plan.warm_s * SECOND);
        let warm = self.so_far();
        self.run_until(begin + self.common.plan.seconds * SECOND);
        let steady = self.so_far().since(&warm);
        let over = self.common.now.get();
        self.common.quiet.set(true);
        // Long enough for every stream to end, every dead VM to be found, and every message to be repeated.
        self.run_until(over + 45 * SECOND);
        let common = Rc::clone(&self.common);
        for process in self.processes.iter().filter(|process| process.alive) {
            for vm in &process.vms {
                let vm = vm.borrow();
                if !vm.dead && !vm.waiting.is_empty() {
                    common.breach(format!("{:?} has requests that wait for ever", vm.id));
                }
                let mut out = common.out.borrow_mut();
                out.presumed += vm.lessee.stats().presumed;
            }
        }
        let now = self.time();
        let mut out = common.out.borrow().clone();
        let counters = self.ledger.core.counters();
        out.syncs += counters.syncs;
        out.acquires += counters.acquires;
        out.recalls += counters.recalls;
        out.healed += counters.healed;
        for spend in self.ledger.core.spend(now) {
            out.settled += spend.settled;
            out.stranded += spend.stranded;
            out.held += spend.held;
            out.leased += spend.leased;
            if spend.held > 0 {
                out.breaches.push(format!("{} still held after everything ended: {spend:?}", spend.held));
            }
        }
        out.seconds = (over - SECOND) / SECOND;
        out.steady = steady;
        let bytes = |memory: &Memory| memory.values.values().map(|(value, _)| value.len()).sum::<usize>();
        let all: usize = self.processes.iter().map(|process| bytes(&process.memory.borrow())).sum();
        out.store_bytes = all / self.processes.len().max(1);
        out
    }

    fn so_far(&self) -> Steady {
        let out = self.common.out.borrow();
        Steady {
            seconds: self.common.now.get() / SECOND,
            admitted: out.admitted,
            refused: out.refused.values().sum(),
            waited: out.waited,
            syncs: out.syncs + self.ledger.core.counters().syncs,
            calls: out.calls,
            ledger_time: out.ledger_time,
        }
    }

    fn run_until(&mut self, end: u64) {
        loop {
            let next = self.common.events.borrow_mut().pop_first();
            let Some(((at, sequence), event)) = next else { return };
            let spent = self.common.plan.until_spent && self.common.unspent.get() == 0;
            if at > end || (spent && !self.common.quiet.get()) {
                self.common.events.borrow_mut().insert((at, sequence), event);
                self.common.now.set(end.min(at));
                return;
            }
            self.common.now.set(at);
            self.event(event);
        }
    }

    fn time(&self) -> Time {
        let ms = self.common.now.get() / MS;
        Time { wall: (EPOCH_MS + ms).saturating_add_signed(self.ledger.skew), mono: ms }
    }

    fn event(&mut self, event: Event) {
        let common = Rc::clone(&self.common);
        match event {
            Event::Beat(id) => {
                if self.vm(id).is_some() {
                    common.after(SECOND, Event::Beat(id));
                    self.event(Event::Tick(id));
                }
            }
            Event::Tick(id) => {
                if self.vm(id).is_some_and(|vm| common.now.get() >= vm.borrow().stalled) {
                    self.with(id, |vm, host, now| {
                        if vm.tick_at <= common.now.get() {
                            vm.tick_at = u64::MAX;
                        }
                        vm.lessee.tick(now, host);
                    });
                }
            }
            Event::Arrive(id) => {
                if self.vm(id).is_none() || common.quiet.get() {
                    return;
                }
                let stalled = self.vm(id).map_or(0, |vm| vm.borrow().stalled);
                if stalled > common.now.get() {
                    common.after(stalled - common.now.get(), Event::Arrive(id));
                    return;
                }
                let gap = (2.0 * SECOND as f64 / common.plan.rate) as u64;
                common.after(common.within((0, gap)), Event::Arrive(id));
                self.with(id, |vm, host, now| request(&common, vm, host, now, None));
            }
            Event::Client(client) => {
                if common.quiet.get() {
                    return;
                }
                let Some(id) = self.pick() else {
                    common.after(SECOND, Event::Client(client));
                    return;
                };
                let stalled = self.vm(id).map_or(0, |vm| vm.borrow().stalled);
                if stalled > common.now.get() {
                    common.after(stalled - common.now.get(), Event::Client(client));
                    return;
                }
                let refused_before: u64 = common.out.borrow().refused.values().sum();
                self.with(id, |vm, host, now| request(&common, vm, host, now, Some(client)));
                self.count_false(refused_before);
            }
            Event::End(id, request) => {
                let unknown = common.chance(common.plan.unknown);
                if let Some(vm) = self.vm(id) {
                    let stalled = vm.borrow().stalled;
                    if stalled > common.now.get() {
                        common.after(stalled - common.now.get(), Event::End(id, request));
                        return;
                    }
                }
                self.with(id, |vm, host, now| {
                    let Some(done) = vm.holds.remove(&request) else { return };
                    let actual: &[u64] = if unknown { &[] } else { &done.actual };
                    vm.lessee.settle(now, host, done.hold, actual);
                    if let Some(client) = done.client {
                        common.after(MS, Event::Client(client));
                    }
                });
            }
            Event::ToLedger { call, method, body } => self.deliver(call, method, &body),
            Event::Reply { to, id, result } => {
                if let Some(vm) = self.vm(to) {
                    let stalled = vm.borrow().stalled;
                    if stalled > common.now.get() {
                        common.after(stalled - common.now.get(), Event::Reply { to, id, result });
                        return;
                    }
                }
                let refused_before: u64 = common.out.borrow().refused.values().sum();
                self.with(to, |vm, host, now| {
                    let result = result.as_ref().map(Vec::as_slice).map_err(|status| *status);
                    vm.lessee.reply(now, host, id, result);
                });
                self.count_false(refused_before);
            }
            Event::LedgerTick(life) => {
                if self.ledger.up && self.ledger.life == life {
                    self.ledger.due = u64::MAX;
                    let now = self.time();
                    self.ledger.core.tick(now);
                    self.ledger_out();
                }
            }
            Event::LedgerStart => self.start_ledger(),
            Event::Crash => self.crash_ledger(),
            Event::Stall(vm, for_ms) => {
                self.processes[0].vms[vm].borrow_mut().stalled = common.now.get() + for_ms * MS;
            }
            Event::Billed(request) => common.bill(request),
            Event::Chaos => {
                if !common.quiet.get() {
                    self.chaos();
                }
                common.after(SECOND / 4, Event::Chaos);
            }
            Event::NewVm(id) => {
                let process = &mut self.processes[id.process];
                if process.alive && process.life == id.life {
                    self.new_vm(id);
                }
            }
            Event::NewProcess(process) => self.new_process(process),
            Event::Kill(process, life) => {
                if self.processes[process].life == life {
                    self.kill(process);
                }
            }
        }
    }

    /// Whether refusals since then were false, by what the stores really hold.
    fn count_false(&mut self, before: u64) {
        let refused: u64 = self.common.out.borrow().refused.values().sum();
        if refused == before || self.common.plan.clients == 0 {
            return;
        }
        let def = &self.budgets[0];
        // Looking through thousands of stores at each refusal would take days.
        let large = self.processes.len() > LARGE;
        let mut taken = if large { self.common.taken.get() } else { 0 };
        let living =
            self.processes.iter().filter(|process| process.alive).map(|process| (&process.memory, true));
        let graves = self.graves.iter().map(|memory| (memory, false));
        for (memory, alive) in living.chain(graves).filter(|_| !large) {
            let memory = Rc::clone(memory);
            let mut host = Host { common: &self.common, memory, peers: Vec::new(), skew: 0, depth: 1 };
            for record in weir_lease::records(&mut host) {
                taken += if alive { record.now.u + record.now.h } else { record.now.g - record.now.r };
            }
        }
        let room = def.limit.saturating_sub(taken);
        if room >= def.limit / 50 && room >= self.common.plan.reserve.1 {
            self.common.out.borrow_mut().falsely += refused - before;
        }
    }

    /// Any VM that lives: of a few drawn, or of all when those are dead.
    fn pick(&self) -> Option<VmId> {
        let draw = |n: usize| self.common.rng.borrow_mut().below(n as u64) as usize;
        let alive = |process: &&Process| process.alive && !process.vms.is_empty();
        for _ in 0..8 {
            let process = &self.processes[draw(self.processes.len())];
            if alive(&process) {
                let id = process.vms[draw(process.vms.len())].borrow().id;
                if self.vm(id).is_some() {
                    return Some(id);
                }
            }
        }
        let vms = self.processes.iter().filter(alive).flat_map(|process| &process.vms);
        vms.map(|vm| vm.borrow().id).find(|id| self.vm(*id).is_some())
    }

    fn vm(&self, id: VmId) -> Option<Rc<RefCell<Vm>>> {
        let process = &self.processes[id.process];
        let vm = process.vms.get(id.vm)?;
        let live = vm.try_borrow().is_ok_and(|vm| vm.id == id && !vm.dead);
        (process.alive && process.life == id.life && live).then(|| Rc::clone(vm))
    }

    /// Runs one callback of a VM, then what it wants to have done; a trap ends the VM.
    fn with(&mut self, id: VmId, run: impl FnOnce(&mut Vm, &mut Host<'_>, u64)) {
        let Some(vm) = self.vm(id) else { return };
        let common = Rc::clone(&self.common);
        let (peers, memory, skew) = {
            let process = &self.processes[id.process];
            (process.vms.clone(), Rc::clone(&process.memory), process.skew)
        };
        let now = common.now.get() + skew;
        let mut host = Host { common: &common, memory, peers: peers.clone(), skew, depth: 0 };
        let trapped = {
            let mut vm = vm.borrow_mut();
            let done = catch_unwind(AssertUnwindSafe(|| run(&mut vm, &mut host, now)));
            if let Err(cause) = done {
                if !cause.is::<Trap>() {
                    resume_unwind(cause);
                }
                vm.dead = true;
            }
            vm.dead
        };
        if trapped {
            self.bury(&vm);
        }
        // A neighbour may have been run in between, so all VMs are asked what they want.
        for peer in peers {
            self.drain(&peer);
        }
    }

    fn bury(&mut self, vm: &Rc<RefCell<Vm>>) {
        let vm = vm.borrow();
        let mut id = vm.id;
        id.vm_life += 1;
        for client in
            vm.holds.values().map(|one| one.client).chain(vm.waiting.values().map(|one| one.2)).flatten()
        {
            self.common.after(SECOND, Event::Client(client));
        }
        let wait = self.common.within((1, 3_000)) * MS;
        self.common.after(wait, Event::NewVm(id));
    }

    /// Takes a VM's decisions and dispatches its calls.
    fn drain(&mut self, vm: &Rc<RefCell<Vm>>) {
        let common = Rc::clone(&self.common);
        let mut inner = vm.borrow_mut();
        let id = inner.id;
        let process = &self.processes[id.process];
        if inner.dead || inner.stalled > common.now.get() {
            return;
        }
        let now = common.now.get() + process.skew;
        let mut host = Host {
            common: &common,
            memory: Rc::clone(&process.memory),
            peers: Vec::new(),
            skew: 0,
            depth: 1,
        };
        for (request, outcome) in inner.lessee.woken() {
            decided(&common, &mut inner, request, outcome, now);
        }
        let calls = inner.lessee.calls(now, &mut host);
        for (request, outcome) in inner.lessee.woken() {
            decided(&common, &mut inner, request, outcome, now);
        }
        let tick = u64::from(inner.lessee.tick_in_ms(now)) * MS;
        let at = common.now.get() + tick;
        if tick < SECOND && at < inner.tick_at {
            inner.tick_at = at;
            common.after(tick, Event::Tick(id));
        }
        drop(inner);
        let cut = process.partition > common.now.get();
        for call in calls {
            let timeout = u64::from(call.timeout_ms) * MS;
            common.after(timeout, Event::Reply { to: id, id: call.id, result: Err(4) });
            let copies = 1 + usize::from(common.chance(common.plan.duplicate));
            for _ in 0..copies {
                if cut || common.chance(common.plan.loss) {
                    continue;
                }
                self.next_call += 1;
                self.calls.insert(self.next_call, (id, call.id));
                let delay = self.delay();
                let body = call.body.clone();
                common.after(delay, Event::ToLedger { call: self.next_call, method: call.method, body });
            }
        }
    }

    fn delay(&self) -> u64 {
        let slow = self.common.chance(self.common.plan.slow);
        self.common.within(if slow { (20_000, 3_000_000) } else { (100, 600) }) * 1_000
    }

    fn deliver(&mut self, call: u64, method: Method, body: &[u8]) {
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
    fn ledger_out(&mut self) {
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

    fn start_ledger(&mut self) {
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

    fn new_process(&mut self, process: usize) {
        let one = &mut self.processes[process];
        one.life += 1;
        one.alive = true;
        one.draining = false;
        one.memory = Rc::default();
        one.vms.clear();
        let life = one.life;
        for vm in 0..self.common.plan.vms {
            self.new_vm(VmId { process, life, vm, vm_life: 0 });
        }
    }

    fn new_vm(&mut self, id: VmId) {
        let random = [(); 2].map(|()| self.common.rng.borrow_mut().next());
        let lessee = Lessee::new(Setup { node: format!("node-{}", id.process), random });
        let vm = Rc::new(RefCell::new(Vm {
            id,
            lessee,
            holds: BTreeMap::new(),
            waiting: BTreeMap::new(),
            stalled: 0,
            dead: false,
            tick_at: u64::MAX,
        }));
        let vms = &mut self.processes[id.process].vms;
        match vms.get_mut(id.vm) {
            Some(old) => *old = vm,
            None => vms.push(vm),
        }
        let wait = self.common.within((0, 500)) * MS;
        self.common.after(wait, Event::Tick(id));
        let phase = self.common.within((0, 1_000)) * MS;
        self.common.after(SECOND + phase, Event::Beat(id));
        if self.common.plan.rate > 0.0 {
            let wait = self.common.within((1, 1_000)) * MS;
            self.common.after(wait, Event::Arrive(id));
        }
    }

    fn kill(&mut self, process: usize) {
        let one = &mut self.processes[process];
        if !one.alive {
            return;
        }
        one.alive = false;
        self.graves.push(Rc::clone(&one.memory));
        let vms = std::mem::take(&mut one.vms);
        for vm in vms {
            let vm = vm.borrow();
            let clients =
                vm.holds.values().map(|held| held.client).chain(vm.waiting.values().map(|one| one.2));
            for client in clients.flatten() {
                self.common.after(SECOND, Event::Client(client));
            }
        }
        let wait = self.common.within((1, 5_000)) * MS;
        self.common.after(wait, Event::NewProcess(process));
    }

    fn chaos(&mut self) {
        let common = Rc::clone(&self.common);
        let now = common.now.get();
        let plan = &common.plan;
        for process in 0..self.processes.len() {
            if common.chance(plan.kill / 4.0) {
                self.kill(process);
            }
            let one = &mut self.processes[process];
            if one.alive && !one.draining && common.chance(plan.kill / 8.0) {
                one.draining = true;
                let (life, vms) = (one.life, one.vms.clone());
                common.after(8 * SECOND, Event::Kill(process, life));
                if let Some(vm) = vms.first() {
                    let id = vm.borrow().id;
                    self.with(id, |vm, host, now| vm.lessee.drain(now, host));
                }
            }
            let one = &mut self.processes[process];
            if common.chance(plan.partition / 4.0) {
                one.partition = now + common.within((100, 36_000)) * MS;
            }
            for vm in &one.vms {
                if common.chance(plan.stall / 4.0) {
                    vm.borrow_mut().stalled = now + common.within((100, 20_000)) * MS;
                }
            }
        }
        if self.ledger.up && common.chance(plan.crash / 4.0) {
            self.crash_ledger();
        }
        if plan.crash > 0.0 && common.chance(1.0) {
            self.ledger.skew = common.within((0, 10_000)) as i64 - 5_000;
        }
        if self.ledger.up && common.chance(plan.limits / 4.0) {
            let at = common.rng.borrow_mut().below(self.budgets.len() as u64) as usize;
            let base = plan.budgets[at].limit;
            self.budgets[at].limit = base * common.within((30, 150)) / 100;
            let def = &self.budgets[at];
            let mut limits = common.limits.borrow_mut();
            let highest = limits.entry(def.name.clone()).or_default();
            *highest = def.limit.max(*highest);
            drop(limits);
            let now = self.time();
            self.ledger.core.set_budgets(now, self.budgets.clone()).unwrap();
            self.ledger_out();
        }
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

    /// Stalls one VM of the first process for a while.
    pub fn stall_at(&mut self, vm: usize, ms: u64, for_ms: u64) {
        self.common.after(ms * MS, Event::Stall(vm, for_ms));
    }

    /// Crashes the ledger at a time of the run.
    pub fn crash_at(&mut self, ms: u64) {
        self.common.after(ms * MS, Event::Crash);
    }

    /// Ends a process as SIGKILL does, at a time of the run.
    pub fn kill_at(&mut self, process: usize, seconds: u64) {
        let life = self.processes[process].life;
        self.common.after(seconds * SECOND, Event::Kill(process, life));
    }
}

pub fn budget(name: &str, unit: Unit, limit: u64, window: WindowKind, each: &[&str]) -> BudgetDef {
    BudgetDef {
        name: name.into(),
        unit,
        limit,
        window,
        timezone: "UTC".into(),
        definition: "d".into(),
        each: each.iter().map(|name| (*name).to_owned()).collect(),
        alert_at: Vec::new(),
        max_life: 16_000,
    }
}
