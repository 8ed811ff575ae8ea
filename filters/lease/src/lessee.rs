//! One VM's client of the ledger.

use crate::Nanos;
use crate::flight::Call;
use crate::instance::Instance;
use crate::refusal::Refusal;
use crate::store::SharedData;

/// What a VM must know about itself.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Envoy's node id.
    pub node: String,
    /// Random bits of this VM: the process's nonce comes from the first VM's, and ties between VMs are broken by them.
    pub random: [u64; 2],
}

/// What happens to requests under a budget whose ledger cannot be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LedgerLost {
    /// Refused, once the ledger is lost.
    #[default]
    Deny,
    /// The lease in hand may be used up.
    AllowLocal,
}

/// What one request needs of one budget.
#[derive(Clone, Debug, PartialEq)]
pub struct Need {
    /// Which counter.
    pub instance: Instance,
    /// The upper bound of what it can cost.
    pub full: u64,
    /// Smallest useful amount while others' reservations may come back; `full` unless the budget has `when_short`.
    pub floor: u64,
    /// Smallest useful amount when the budget is used up; `full` unless the budget has `when_short`.
    pub min: u64,
    /// Without a ledger.
    pub ledger_lost: LedgerLost,
}

impl Need {
    /// All or nothing.
    pub fn whole(instance: Instance, full: u64, ledger_lost: LedgerLost) -> Need {
        Need { instance, full, floor: full, min: full, ledger_lost }
    }
}

/// What became of a reservation.
#[derive(Debug, PartialEq)]
pub enum Reserve {
    /// All needs are reserved. Settle the hold exactly once, at every end of the request.
    Held(Hold),
    /// The ledger is asked: pause the request until its waiter comes out of [`Lessee::woken`].
    Wait,
    /// Not admitted.
    Refused(Refusal),
}

/// Units reserved for one request, one part per need in the order of the needs. Dropping it without settling leaves the
/// units held until the VM is presumed dead.
#[derive(Debug, PartialEq)]
pub struct Hold {
    amounts: Vec<u64>,
}

impl Hold {
    /// What is reserved, in the order of the needs: at least each need's `min`, at most its `full`.
    pub fn amounts(&self) -> impl Iterator<Item = u64> + '_ {
        self.amounts.iter().copied()
    }
}

/// Counts since the VM began, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Reservations served without the ledger.
    pub local: u64,
    /// Requests that waited for the ledger.
    pub waited: u64,
    /// Requests refused.
    pub refused: u64,
    /// Acquires sent.
    pub acquires: u64,
    /// Reports sent.
    pub reports: u64,
    /// Compare-and-swap failures.
    pub cas_retries: u64,
    /// Units presumed spent because their VM died.
    pub presumed: u64,
    /// Units spent above their reservation.
    pub excess: u64,
    /// Settlements that came after their VM was presumed dead.
    pub fenced: u64,
    /// Recalls answered.
    pub recalls: u64,
}

/// One VM's client. All root contexts of a VM share one.
pub struct Lessee {
    setup: Setup,
    stats: Stats,
}

impl Lessee {
    /// A client that has not spoken yet.
    pub fn new(setup: Setup) -> Lessee {
        Lessee { setup, stats: Stats::default() }
    }

    /// Reserves for one request. `waiter` names the request if it has to wait; it must be unique within the VM.
    /// Call [`Lessee::calls`] afterwards.
    pub fn reserve(
        &mut self,
        now: Nanos,
        store: &mut dyn SharedData,
        waiter: u64,
        needs: Vec<Need>,
    ) -> Reserve {
        let _ = (now, store, waiter, needs, &self.setup);
        Reserve::Held(Hold { amounts: Vec::new() })
    }

    /// The waiting request is gone: nothing is reserved for it any more.
    pub fn cancel(&mut self, now: Nanos, store: &mut dyn SharedData, waiter: u64) {
        let _ = (now, store, waiter);
    }

    /// Ends a reservation: `actual` is what each part cost, in the order of the needs; a missing one means the whole
    /// reservation. Call [`Lessee::calls`] afterwards.
    pub fn settle(&mut self, now: Nanos, store: &mut dyn SharedData, hold: Hold, actual: &[u64]) {
        let _ = (now, store, hold, actual);
    }

    /// The timer: see [`Lessee::tick_in_ms`]. Call [`Lessee::calls`] afterwards.
    pub fn tick(&mut self, now: Nanos, store: &mut dyn SharedData) {
        let _ = (now, store);
    }

    /// When the timer should fire next, in milliseconds; between 1 and 1,000.
    pub fn tick_in_ms(&self, now: Nanos) -> u32 {
        let _ = now;
        1_000
    }

    /// The calls to dispatch now. A call that cannot be dispatched is answered by [`Lessee::reply`] with status 14.
    pub fn calls(&mut self, now: Nanos, store: &mut dyn SharedData) -> Vec<Call> {
        let _ = (now, store);
        Vec::new()
    }

    /// The reply to a call: the message, or a gRPC status. Take [`Lessee::woken`] and [`Lessee::calls`] afterwards.
    pub fn reply(&mut self, now: Nanos, store: &mut dyn SharedData, id: u32, result: Result<&[u8], u32>) {
        let _ = (now, store, id, result);
    }

    /// Waiting requests that are decided: never [`Reserve::Wait`]. Empty after each call.
    pub fn woken(&mut self) -> Vec<(u64, Reserve)> {
        Vec::new()
    }

    /// The process will end: returns everything free, asks for nothing more than its requests need.
    pub fn drain(&mut self, now: Nanos, store: &mut dyn SharedData) {
        let _ = (now, store);
    }

    /// Counts since the VM began.
    pub fn stats(&self) -> Stats {
        self.stats
    }
}
