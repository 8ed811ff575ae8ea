//! Gateway processes: the shipped lessee in each of their VMs, over one shared store in which neighbours run between any
//! two operations, and what becomes of a request there.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::rc::Rc;

use weir_lease::{Code, Hold, Lessee, MS, Mismatch, Need, Record, Reserve, SharedData};

use super::LARGE;
use super::common::{Common, Event, VmId};

pub(super) struct Trap;

#[derive(Default)]
pub(super) struct Memory {
    pub(super) values: BTreeMap<String, (Vec<u8>, u32)>,
    pub(super) version: u32,
}

pub(super) struct InFlight {
    pub(super) hold: Hold,
    pub(super) actual: Vec<u64>,
    pub(super) client: Option<usize>,
}

pub(super) struct Vm {
    pub(super) id: VmId,
    pub(super) lessee: Lessee,
    pub(super) holds: BTreeMap<u64, InFlight>,
    pub(super) waiting: BTreeMap<u64, (Vec<Need>, u64, Option<usize>)>,
    pub(super) stalled: u64,
    pub(super) dead: bool,
    /// When its timer fires next, apart from its heartbeat.
    pub(super) tick_at: u64,
}

pub(super) struct Process {
    pub(super) life: u32,
    pub(super) alive: bool,
    pub(super) memory: Rc<RefCell<Memory>>,
    pub(super) vms: Vec<Rc<RefCell<Vm>>>,
    pub(super) partition: u64,
    /// Added to the time that this process sees.
    pub(super) skew: u64,
    pub(super) draining: bool,
}

/// The shared store of a process as one VM's operation sees it.
pub(super) struct Host<'a> {
    pub(super) common: &'a Rc<Common>,
    pub(super) memory: Rc<RefCell<Memory>>,
    pub(super) peers: Vec<Rc<RefCell<Vm>>>,
    pub(super) skew: u64,
    pub(super) depth: u32,
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

pub(super) fn request(
    common: &Rc<Common>,
    vm: &mut Vm,
    host: &mut Host<'_>,
    now: u64,
    client: Option<usize>,
) {
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

pub(super) fn decided(common: &Rc<Common>, vm: &mut Vm, id: u64, outcome: Reserve, now: u64) {
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
