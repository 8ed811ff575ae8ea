//! A seeded discrete-event simulation of the shipped crates: processes of several VMs with one shared store each, the
//! ledger with its log on a disk that may lose what was not synced, and a network that loses, repeats, delays and
//! reorders. VMs interleave between any two operations of a neighbour on the shared store. What it is not: a model of
//! the protocol. Every decision is the crates' own; this only moves bytes and time, breaks things, and keeps the
//! providers' books. Here is the world and its loop of events.

mod breaking;
mod common;
mod gateway;
mod ledger;
mod plan;
mod rng;

pub use plan::{Outcome, Plan, budget};
pub use rng::Rng;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use weir_lease::{MS, SECOND};
use weir_ledger::{BudgetDef, Core, Frames, Time};

use common::{Common, Event, VmId};
use gateway::{Host, Memory, Process, Trap, Vm, decided, request};
use ledger::Ledger;
use plan::Steady;

/// 2026-01-05 10:00:40 UTC, a Monday: minute windows turn over 20 s into a run.
const EPOCH_MS: u64 = 1_767_607_240_000;

/// Processes above which what would walk all of them at each step is done otherwise.
const LARGE: usize = 100;

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
}
