//! One VM's client of the ledger: reservations and settlements. What goes to the ledger is composed in `report`, what
//! comes back is taken in in `reply`.

use weir_sorted::Gather;

use crate::flight::{Call, Flight};
use crate::instance::{Instance, mix};
use crate::level::{Cell, Level};
use crate::message::Figures;
use crate::record::{Settled, Ticket, Vector};
use crate::refusal::{Code, Refusal, Shortfall};
use crate::shared::{self, Session};
use crate::soft::{Owed, Soft};
use crate::store::{self, Place, SETS, SharedData, TRIES, Update};
use crate::table::Table;
use crate::wire;
use crate::{ACQUIRE_TIMEOUT, MS, Nanos, REFUND_FLUSH, SECOND};

/// Units are asked for ahead of need at most this often per record.
const RENEW_EVERY: Nanos = 20 * MS;
/// Requests that may wait at once; beyond, they are refused.
const MAX_WAITERS: usize = 16_384;
/// Counters whose last figures are kept for refusals without the ledger.
const MAX_FIGURES: usize = 512;

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
    /// Only counted: nothing is reserved, and nobody waits or is refused for it.
    pub soft: bool,
    /// How long the request waits for others' reservations to come back; 0 is refused at once.
    pub wait: Nanos,
}

impl Need {
    /// All or nothing.
    pub fn whole(instance: Instance, full: u64, ledger_lost: LedgerLost) -> Need {
        Need { instance, full, floor: full, min: full, ledger_lost, soft: false, wait: 0 }
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
#[derive(Debug, Default, PartialEq)]
pub struct Hold {
    parts: Vec<Part>,
    /// The encoded counters, in the same order.
    names: Vec<Vec<u8>>,
    soft: Vec<Soft>,
}

impl Hold {
    /// What is reserved, in the order of the needs: at least each need's `min`, at most its `full`. Of a soft budget,
    /// where nothing is, what the request may cost.
    pub fn amounts(&self) -> impl Iterator<Item = u64> + '_ {
        let soft = |at: usize| self.soft.iter().find(|soft| soft.at == at).map_or(0, |soft| soft.full);
        self.parts.iter().enumerate().map(move |(at, part)| match part.ticket.wid {
            0 => soft(at),
            _ => part.ticket.amount,
        })
    }

    /// What is left of each counter, where the ledger has said it, in the order of the needs.
    pub fn levels(&self, store: &mut dyn SharedData) -> Vec<Option<Level>> {
        let mut level = |part: &Part| {
            let wid = part.ticket.wid;
            let cell = if wid == 0 { None } else { Cell::read(store, part.place) }?;
            (cell.id == part.id && cell.wid == wid).then(|| cell.level(part.spent))
        };
        self.parts.iter().map(&mut level).gather()
    }

    /// The encoded counters, in the order of the needs.
    pub(crate) fn names(&self) -> impl Iterator<Item = &[u8]> + '_ {
        self.names.iter().map(Vec::as_slice)
    }

    /// The windows that are charged, in the order of the needs; 0 where nothing is.
    pub fn windows(&self) -> impl Iterator<Item = u64> + '_ {
        self.parts.iter().map(|part| part.ticket.wid)
    }
}

/// One reservation in one record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Part {
    pub place: Place,
    pub lane: u32,
    pub ticket: Ticket,
    pub id: u128,
    /// Used and held in the record just after this reservation.
    pub spent: u64,
}

/// A need on its way to a reservation.
pub(crate) struct Slip {
    pub need: Need,
    pub id: u128,
    pub name: Vec<u8>,
    pub set: u16,
    pub part: Option<Part>,
    /// The lease did not suffice.
    pub short: bool,
    /// What the request may cost of a soft budget; then `need.full` is 0.
    pub soft: u64,
}

/// A request that waits for the ledger.
pub(crate) struct Waiter {
    pub slips: Vec<Slip>,
    pub round: u32,
    /// When it gives up on a ledger that does not answer.
    pub deadline: Nanos,
    /// When it may ask again.
    pub after: Nanos,
    /// When it was reserved for.
    pub begun: Nanos,
    /// It was short, and waits for others' reservations to come back.
    pub patient: bool,
}

/// A record to be reported ahead of the next regular report.
#[derive(Clone, Copy)]
pub(crate) struct Due {
    pub lane: u32,
    pub at: Nanos,
    /// Everything free goes home.
    pub all: bool,
}

impl Waiter {
    pub fn new(now: Nanos, slips: Vec<Slip>) -> Waiter {
        Waiter { slips, round: 0, deadline: now + ACQUIRE_TIMEOUT, after: now, begun: now, patient: false }
    }
}

/// What became of one attempt to hold all needs.
pub(crate) enum Tried {
    Held(Hold),
    Short,
    Refused(Vec<Shortfall>),
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
    /// Reports sent, heartbeats included.
    pub reports: u64,
    /// Compare-and-swap failures.
    pub cas_retries: u64,
    /// Units presumed spent because their VM died.
    pub presumed: u64,
    /// Units spent above their reservation.
    pub excess: u64,
    /// Settlements that came after their VM was presumed dead, or two windows late.
    pub fenced: u64,
    /// Counters recalled.
    pub recalls: u64,
    /// Units used of soft budgets that could be booked nowhere.
    pub uncounted: u64,
}

/// One VM's client. All root contexts of a VM share one.
pub struct Lessee {
    pub(crate) setup: Setup,
    pub(crate) stats: Stats,
    pub(crate) vm: u32,
    pub(crate) beat_at: Nanos,
    pub(crate) session: Session,
    pub(crate) session_at: Option<Nanos>,
    pub(crate) waiters: Table<u64, Box<Waiter>>,
    pub(crate) pending: Vec<u64>,
    pub(crate) flights: Vec<Flight>,
    pub(crate) next_call: u32,
    pub(crate) ready: Vec<Call>,
    pub(crate) woken: Vec<(u64, Reserve)>,
    pub(crate) due: Table<Place, Due>,
    /// Last figures of a counter, and their window.
    pub(crate) figures: Table<u128, (u64, Figures)>,
    pub(crate) unsettled: Vec<(Part, u64)>,
    pub(crate) owed: Vec<Owed>,
    pub(crate) pay_after: Nanos,
    /// VMs that look dead: heartbeat, and in how many sweeps it was the same.
    pub(crate) silent: Vec<(u32, Nanos, u32)>,
    pub(crate) busy_at: Option<Nanos>,
    pub(crate) leader: bool,
    pub(crate) led_at: Nanos,
    pub(crate) reported_at: Nanos,
    pub(crate) told_epoch: u64,
    pub(crate) resend: bool,
    pub(crate) open_after: Nanos,
    pub(crate) watch_after: Nanos,
    pub(crate) ticks: u32,
    pub(crate) ticked_at: Nanos,
}

impl Lessee {
    /// A client that has not spoken yet.
    pub fn new(setup: Setup) -> Lessee {
        Lessee {
            setup,
            stats: Stats::default(),
            vm: 0,
            beat_at: 0,
            session: Session::default(),
            session_at: None,
            waiters: Table::new(),
            pending: Vec::new(),
            flights: Vec::new(),
            next_call: 0,
            ready: Vec::new(),
            woken: Vec::new(),
            due: Table::new(),
            figures: Table::new(),
            unsettled: Vec::new(),
            owed: Vec::new(),
            pay_after: 0,
            silent: Vec::new(),
            busy_at: None,
            leader: false,
            led_at: 0,
            reported_at: 0,
            told_epoch: 0,
            resend: false,
            open_after: 0,
            watch_after: 0,
            ticks: 0,
            ticked_at: 0,
        }
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
        self.busy_at = Some(now);
        self.refresh(now, store);
        if self.vm == 0 || now.saturating_sub(self.beat_at) > 2 * SECOND {
            self.vm = shared::beat(store, self.vm, now);
            self.beat_at = now;
        }
        let mut slips: Vec<Slip> = needs.into_iter().map(|need| self.slip(need)).gather();
        if slips.iter().all(|slip| slip.need.full == 0) {
            return Reserve::Held(hold_of(&mut slips));
        }
        let lost = self.session.lost(now);
        let deny = |slip: &&Slip| slip.need.full > 0 && slip.need.ledger_lost == LedgerLost::Deny;
        if self.session.closed || self.vm == 0 || (lost && slips.iter().any(|slip| deny(&slip))) {
            return self.refused(shortfalls(&slips, Code::Unavailable));
        }
        match self.hold_all(now, store, &mut slips, true) {
            Tried::Held(hold) => {
                self.stats.local += 1;
                Reserve::Held(hold)
            }
            Tried::Refused(list) => {
                let mut gone = Box::new(Waiter::new(now, slips));
                if self.patient(now, &mut gone, &list) {
                    self.stats.waited += 1;
                    self.wait(waiter, gone);
                    return Reserve::Wait;
                }
                self.refused(list)
            }
            Tried::Short if lost => self.refused(shortfalls(&slips, Code::Unavailable)),
            Tried::Short if self.waiters.len() >= MAX_WAITERS => {
                self.refused(shortfalls(&slips, Code::Contended))
            }
            Tried::Short => {
                self.stats.waited += 1;
                self.wait(waiter, Box::new(Waiter::new(now, slips)));
                Reserve::Wait
            }
        }
    }

    pub(crate) fn wait(&mut self, id: u64, waiter: Box<Waiter>) {
        self.waiters.insert(id, waiter);
        self.pending.push(id);
    }

    /// The waiting request is gone: nothing is reserved for it any more.
    pub fn cancel(&mut self, now: Nanos, store: &mut dyn SharedData, waiter: u64) {
        if let Some(mut gone) = self.waiters.remove(waiter) {
            self.roll_back(now, store, &mut gone.slips);
        }
        weir_sorted::keep(&mut self.pending, |one| *one != waiter);
        let mut holds = Vec::new();
        weir_sorted::keep(&mut self.woken, |(one, outcome)| {
            if *one != waiter {
                return true;
            }
            if let Reserve::Held(hold) = outcome {
                holds.push(core::mem::take(hold));
            }
            false
        });
        for hold in holds {
            let nothing = vec![0; hold.parts.len()];
            self.settle(now, store, hold, &nothing);
        }
    }

    /// Ends a reservation: `actual` is what each part cost, in the order of the needs; a missing one means the whole
    /// reservation. Call [`Lessee::calls`] afterwards.
    pub fn settle(&mut self, now: Nanos, store: &mut dyn SharedData, hold: Hold, actual: &[u64]) {
        for (i, part) in hold.parts.iter().enumerate() {
            let actual = actual.get(i).copied().unwrap_or(part.ticket.amount);
            if part.ticket.wid != 0 {
                let over = actual.saturating_sub(part.ticket.amount);
                self.stats.excess = self.stats.excess.saturating_add(over);
            }
            self.settle_part(now, store, *part, actual);
        }
        for soft in hold.soft {
            let actual = actual.get(soft.at).copied().unwrap_or(soft.full);
            self.book(now, store, soft.instance, actual);
        }
    }

    pub(crate) fn settle_part(&mut self, now: Nanos, store: &mut dyn SharedData, part: Part, actual: u64) {
        if part.ticket.wid == 0 {
            return;
        }
        let draining = self.session.draining;
        let (mut outcome, mut flush) = (Settled::Late, false);
        let updated =
            store::update(store, part.place, part.lane, &mut self.stats.cas_retries, &mut |record| {
                outcome = record.settle(&part.ticket, actual);
                flush = (record.tight && record.now.free() > record.cap) || draining;
                outcome == Settled::Booked
            });
        match updated {
            Update::Done if outcome == Settled::Booked => {}
            // Dropping it would leave the units held for as long as this VM lives.
            Update::Contended => self.unsettled.push((part, actual)),
            Update::Done | Update::Gone => self.stats.fenced += 1,
        }
        if flush {
            self.soon(part.place, part.lane, now + REFUND_FLUSH, draining);
        }
    }

    /// Waiting requests that are decided: never [`Reserve::Wait`]. Empty after each call.
    pub fn woken(&mut self) -> Vec<(u64, Reserve)> {
        core::mem::take(&mut self.woken)
    }

    /// Counts since the VM began.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// The process's session, as this VM last saw it: for telemetry and tests.
    pub fn sid(&self) -> u64 {
        self.session.sid
    }

    /// Reads the session when the copy is old.
    pub(crate) fn refresh(&mut self, now: Nanos, store: &mut dyn SharedData) {
        let fresh = self.session_at.is_some_and(|at| now >= at && now - at < 250 * MS);
        // A copy that says "lost" or "not open" decides about refusals: it is read again each time.
        if !fresh || self.session.sid == 0 || self.session.lost(now) {
            self.session = shared::session(store, now, &self.setup.node, self.setup.random);
            self.session_at = Some(now);
        }
    }

    pub(crate) fn slip(&self, mut need: Need) -> Slip {
        let soft = if need.soft { core::mem::take(&mut need.full) } else { 0 };
        let id = need.instance.id();
        // The set depends on the process's secret nonce, so that a client who may choose subjects cannot fill one set.
        let hash = mix(&[self.session.nonce[0], (id >> 64) as u64, id as u64]);
        let set = (hash % u64::from(SETS)) as u16;
        Slip { id, name: wire::instance(&need.instance), set, need, part: None, short: false, soft }
    }

    /// The set of an instance by its id alone.
    pub(crate) fn set_of(&self, id: u128) -> u16 {
        let hash = mix(&[self.session.nonce[0], (id >> 64) as u64, id as u64]);
        (hash % u64::from(SETS)) as u16
    }

    /// Reserves every need that is not reserved yet, or none of them. In any order this cannot deadlock: nothing is
    /// held while waiting.
    pub(crate) fn hold_all(
        &mut self,
        now: Nanos,
        store: &mut dyn SharedData,
        slips: &mut [Slip],
        first: bool,
    ) -> Tried {
        let (mut short, mut refused) = (false, Vec::new());
        for slip in slips.iter_mut() {
            slip.short = false;
            if slip.part.is_some() {
                continue;
            }
            match self.hold(now, store, slip, first) {
                Ok(part) => slip.part = Some(part),
                Err(Some(shortfall)) => refused.push(*shortfall),
                Err(None) => {
                    slip.short = true;
                    short = true;
                }
            }
        }
        if !short && refused.is_empty() {
            return Tried::Held(hold_of(slips));
        }
        self.roll_back(now, store, slips);
        if refused.is_empty() { Tried::Short } else { Tried::Refused(refused) }
    }

    /// One need: a part, a refusal under a live mark of the ledger, or short.
    fn hold(
        &mut self,
        now: Nanos,
        store: &mut dyn SharedData,
        slip: &Slip,
        first: bool,
    ) -> Result<Part, Option<Box<Shortfall>>> {
        let need = &slip.need;
        if need.full == 0 {
            return Ok(Part::default());
        }
        for _ in 0..TRIES {
            let Some(mut found) = store::find(store, slip.set, slip.id, &slip.name) else { return Err(None) };
            let record = &mut found.record;
            if first {
                record.note_demand(now, need.full);
            }
            let ticket = record.reserve(now, self.vm, need.full);
            let renew = ticket.is_some()
                && !record.tight
                && !self.session.draining
                && record.now.free() < record.want() / 2
                && now.saturating_sub(record.asked_at) >= RENEW_EVERY;
            if renew {
                record.asked_at = now;
            }
            // A shortage ends with its window, a ledger's recovery does not.
            let live = now < record.refuse_until && (now < record.ends_at || record.refuse_from == 0);
            let marked = live && need.min >= record.refuse_from;
            if (ticket.is_some() || first) && store::write(store, &found).is_err() {
                self.stats.cas_retries += 1;
                continue;
            }
            if renew {
                self.soon(found.place, found.record.lane, now, false);
            }
            if let Some(ticket) = ticket {
                let Vector { u, h, .. } = found.record.now;
                let (lane, spent) = (found.record.lane, u.saturating_add(h));
                return Ok(Part { place: found.place, lane, ticket, id: slip.id, spent });
            }
            let wid = found.record.wid;
            let figures = self.figures.get(slip.id).filter(|(of, _)| marked && *of == wid);
            let recovers = found.record.refuse_from == 0;
            return Err(figures.map(|(_, figures)| {
                Box::new(match recovers {
                    true => Shortfall::new(&need.instance, Code::Quarantine, need.min, Some(figures.clone())),
                    false => short_of(need, figures.clone()),
                })
            }));
        }
        Err(None)
    }

    pub(crate) fn roll_back(&mut self, now: Nanos, store: &mut dyn SharedData, slips: &mut [Slip]) {
        for slip in slips {
            if let Some(part) = slip.part.take() {
                self.settle_part(now, store, part, 0);
            }
        }
    }

    /// Reports a record at `at`, or earlier if that was planned.
    pub(crate) fn soon(&mut self, place: Place, lane: u32, at: Nanos, all: bool) {
        match self.due.get_mut(place) {
            Some(due) if due.lane == lane => {
                due.at = due.at.min(at);
                due.all |= all;
            }
            _ => {
                self.due.insert(place, Due { lane, at, all });
            }
        }
    }

    pub(crate) fn keep_figures(&mut self, id: u128, wid: u64, figures: Figures) {
        if self.figures.len() >= MAX_FIGURES && self.figures.get(id).is_none() {
            self.figures.drop_first();
        }
        self.figures.insert(id, (wid, figures));
    }

    pub(crate) fn refused(&mut self, list: Vec<Shortfall>) -> Reserve {
        self.stats.refused += 1;
        Reserve::Refused(Refusal::of(list))
    }
}

/// Each need is reserved, or soft, or nothing.
fn hold_of(slips: &mut [Slip]) -> Hold {
    let mut hold = Hold::default();
    for (at, slip) in slips.iter_mut().enumerate() {
        hold.parts.push(slip.part.unwrap_or_default());
        hold.names.push(core::mem::take(&mut slip.name));
        if slip.soft > 0 {
            hold.soft.push(Soft { at, instance: slip.need.instance.clone(), full: slip.soft });
        }
    }
    hold
}

/// A need that the ledger's figures say nothing of.
pub(crate) fn shortfall(slip: &Slip, code: Code) -> Shortfall {
    Shortfall::new(&slip.need.instance, code, slip.need.min, None)
}

/// What a request lacks: each need that was short, or each that costs anything when none was, since its time was over
/// before it asked.
pub(crate) fn shortfalls(slips: &[Slip], code: Code) -> Vec<Shortfall> {
    let any = slips.iter().any(|slip| slip.short);
    let lacks = |slip: &&Slip| slip.need.full > 0 && (slip.short || !any);
    slips.iter().filter(lacks).map(|slip| shortfall(slip, code)).gather()
}

/// Terminal when even all that is held coming back would not cover the need.
pub(crate) fn short_of(need: &Need, figures: Figures) -> Shortfall {
    let reachable = figures.limit.saturating_sub(figures.settled).saturating_sub(figures.stranded);
    let code = if reachable < need.full { Code::Exhausted } else { Code::Held };
    Shortfall::new(&need.instance, code, need.min, Some(figures))
}
