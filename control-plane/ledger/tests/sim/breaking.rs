//! What breaks, and what comes up again: processes and VMs that die and are born, networks that part, VMs that stall,
//! limits that are changed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use weir_lease::{Lessee, MS, SECOND, Setup};

use super::World;
use super::common::{Event, VmId};
use super::gateway::Vm;

impl World {
    pub(super) fn new_process(&mut self, process: usize) {
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

    pub(super) fn new_vm(&mut self, id: VmId) {
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

    pub(super) fn bury(&mut self, vm: &Rc<RefCell<Vm>>) {
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

    pub(super) fn kill(&mut self, process: usize) {
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

    pub(super) fn chaos(&mut self) {
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
