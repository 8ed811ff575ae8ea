//! What everything in a run shares: the plan, chance, time with what is due, and the providers' books, which bill every
//! request that was admitted whatever becomes of its gateway.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};

use weir_lease::{Hold, Instance, MS, Method, Need, Unit};
use weir_ledger::WindowKind;

use super::gateway::{InFlight, Vm};
use super::plan::{Outcome, Plan};
use super::rng::Rng;

#[derive(PartialEq, Eq, PartialOrd, Ord, Clone, Copy, Debug)]
pub(super) struct VmId {
    pub(super) process: usize,
    pub(super) life: u32,
    pub(super) vm: usize,
    pub(super) vm_life: u32,
}

pub(super) enum Event {
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

/// Times and units, and their sum.
pub(super) type Recent = (VecDeque<(u64, u64)>, u128);

/// Counter, budget, length of the window and cost.
pub(super) type Bill = (String, String, u64, u64);

/// What everything in a run shares.
pub(super) struct Common {
    pub(super) plan: Plan,
    pub(super) rng: RefCell<Rng>,
    pub(super) now: Cell<u64>,
    /// By time, then in the order of being planned.
    pub(super) events: RefCell<BTreeMap<(u64, u64), Event>>,
    pub(super) sequence: Cell<u64>,
    pub(super) out: RefCell<Outcome>,
    pub(super) next_request: Cell<u64>,
    pub(super) quiet: Cell<bool>,
    /// Highest limit that each budget ever had.
    pub(super) limits: RefCell<BTreeMap<String, u64>>,
    pub(super) spent: RefCell<Vec<bool>>,
    /// How many of them are not.
    pub(super) unspent: Cell<usize>,
    /// Of a large world without kills: used and held in all stores, kept up with every write.
    pub(super) taken: Cell<u64>,
    /// Of rolling budgets: what was admitted and what was settled, with its time, while it is in the window.
    pub(super) recent: RefCell<BTreeMap<(String, bool), Recent>>,
    /// By request: counter, budget, length of the window and cost of what will be billed when it ends.
    pub(super) unbilled: RefCell<BTreeMap<u64, Vec<Bill>>>,
}

impl Common {
    pub(super) fn after(&self, ns: u64, event: Event) {
        let sequence = self.sequence.get() + 1;
        self.sequence.set(sequence);
        self.events.borrow_mut().insert((self.now.get() + ns, sequence), event);
    }

    pub(super) fn breach(&self, what: String) {
        let breaches = &mut self.out.borrow_mut().breaches;
        if breaches.len() < 5 {
            breaches.push(format!("{} ms: {what}", self.now.get() / MS));
        }
    }

    pub(super) fn chance(&self, percent: f64) -> bool {
        percent > 0.0 && self.rng.borrow_mut().chance(percent)
    }

    pub(super) fn within(&self, range: (u64, u64)) -> u64 {
        self.rng.borrow_mut().within(range.0, range.1)
    }

    pub(super) fn needs(&self) -> Vec<Need> {
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
    pub(super) fn bill(&self, request: u64) {
        let bills = self.unbilled.borrow_mut().remove(&request);
        for (name, budget, length, cost) in bills.into_iter().flatten() {
            if let Some(text) = self.roll(&name, &budget, length, true, cost) {
                self.breach(text);
            }
        }
    }

    /// Adds to what a rolling window has seen admitted, or billed at the requests' ends. What is wrong with it.
    pub(super) fn roll(
        &self,
        name: &str,
        budget: &str,
        length: u64,
        billed: bool,
        cost: u64,
    ) -> Option<String> {
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
    pub(super) fn dearer(&self) -> u64 {
        if self.plan.over.1 == 0 { 0 } else { self.within(self.plan.over) }
    }

    /// A request was admitted: the provider bills it, come what may.
    pub(super) fn admit(&self, vm: &mut Vm, request: u64, needs: &[Need], hold: Hold, client: Option<usize>) {
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
