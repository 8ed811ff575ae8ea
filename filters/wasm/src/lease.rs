//! The VM's lease client between the streams that need budget and the ledger's gRPC service.

use weir_config::filter;
use weir_lease::{
    Granted, Hold, Lessee, Mismatch, Need, Outbox, Refusal, Reserve, SERVICE, SPEND_METHOD, SPEND_SERVICE,
    SPEND_TIMEOUT_MS, Setup, SharedData, Spent, Stats,
};
use weir_pipeline::budget::Settlement;
use weir_pipeline::io::Now;
use weir_pipeline::span::{Counted, Span};
use weir_sorted::Gather;

use crate::host::{self, Call, UNAVAILABLE};
use crate::statistics::LEASE;

/// In a waiter's number: the stream goes on meanwhile.
pub const TOP_UP: u64 = 1 << 32;

/// The lease client of a VM.
pub struct Lease {
    client: Option<Lessee>,
    cluster: String,
    root: u32,
    /// Calls in flight, each with the client's id.
    calls: Vec<(Call, u32)>,
    /// What was spent for whom, on its way to the control plane.
    outbox: Outbox,
    /// Its call in flight.
    reporting: Option<Call>,
    /// Random bits that tell this VM apart.
    vm: u64,
}

/// What a stream holds until it settles.
#[derive(Default)]
pub struct Holds {
    held: Option<Hold>,
    /// The stream waits for the ledger under its context's number.
    waiting: Option<u64>,
    /// What was charged so far, encoded.
    charges: Vec<u8>,
    /// What was reserved on the way, for the same needs.
    more: Vec<Hold>,
    /// The stream waits for more.
    topping: bool,
}

/// An answer to a reservation.
pub enum Asked {
    /// Decided.
    Now(Result<Granted, Refusal>),
    /// The ledger is asked.
    Later,
    /// The lease at hand has less than plenty, and nobody is asked.
    Short,
}

/// What the ledger decided for a stream that waited.
pub type Decided = Result<Hold, Refusal>;

impl Holds {
    /// Takes what the ledger granted.
    pub fn take(&mut self, decided: Decided) -> Result<Granted, Refusal> {
        self.waiting = None;
        let hold = decided?;
        let granted = Granted { amounts: hold.amounts().gather(), levels: hold.levels(&mut HostData) };
        self.held = Some(hold);
        Ok(granted)
    }

    /// Takes what the ledger granted on the way.
    pub fn add(&mut self, decided: Decided) -> Result<Granted, Refusal> {
        self.topping = false;
        let hold = decided?;
        let granted = Granted { amounts: hold.amounts().gather(), levels: Vec::new() };
        self.more.push(hold);
        Ok(granted)
    }
}

/// The process's shared data.
pub struct HostData;

impl SharedData for HostData {
    fn get(&mut self, key: &str) -> Option<(Vec<u8>, u32)> {
        host::shared(key).ok().flatten()
    }

    fn set(&mut self, key: &str, value: &[u8], cas: Option<u32>) -> Result<(), Mismatch> {
        // To the host version 0 means "in any case"; CREATE never equals a present version.
        host::set_shared(key, value, cas.unwrap_or(0)).map_err(|_| Mismatch)
    }
}

impl Lease {
    /// A client that is not configured.
    pub fn new() -> Self {
        Self {
            client: None,
            cluster: String::new(),
            root: 0,
            calls: Vec::new(),
            outbox: Outbox::default(),
            reporting: None,
            vm: 0,
        }
    }

    /// Takes the ledger's address. The client itself, and what it holds, outlives configurations.
    pub fn configure(&mut self, ledger: Option<&filter::Ledger>, root: u32) {
        self.root = root;
        self.cluster = ledger.map(|l| l.cluster.clone()).unwrap_or_default();
    }

    fn client(&mut self) -> &mut Lessee {
        let vm = &mut self.vm;
        self.client.get_or_insert_with(|| {
            let node =
                host::property("xds\0node\0id").and_then(|b| String::from_utf8(b).ok()).unwrap_or_default();
            let [a, b, c, _] = host::entropy();
            *vm = c;
            Lessee::new(Setup { node, random: [a, b] })
        })
    }

    /// Reserves for the stream `context`.
    pub fn reserve(&mut self, now: Now, context: u32, needs: &[Need], holds: &mut Holds) -> Asked {
        let waiter = u64::from(context);
        let outcome = self.client().reserve(now.0, &mut HostData, waiter, needs.to_vec());
        let asked = match outcome {
            Reserve::Held(hold) => Asked::Now(holds.take(Ok(hold))),
            Reserve::Refused(refusal) => Asked::Now(Err(refusal)),
            Reserve::Wait => {
                holds.waiting = Some(waiter);
                Asked::Later
            }
        };
        self.dispatch(now);
        // The calls belong to the plugin; what follows belongs to the stream again.
        let _ = host::act_on(context);
        asked
    }

    /// Reserves more for a stream that goes on meanwhile.
    pub fn top_up(&mut self, now: Now, context: u32, needs: Vec<Need>, holds: &mut Holds) -> Asked {
        let outcome = self.client().reserve(now.0, &mut HostData, u64::from(context) | TOP_UP, needs);
        let asked = match outcome {
            Reserve::Held(hold) => Asked::Now(holds.add(Ok(hold))),
            Reserve::Refused(refusal) => Asked::Now(Err(refusal)),
            Reserve::Wait => {
                holds.topping = true;
                Asked::Later
            }
        };
        self.dispatch(now);
        let _ = host::act_on(context);
        asked
    }

    /// Reserves if the lease at hand has plenty.
    pub fn attempt(&mut self, now: Now, context: u32, needs: &[Need], holds: &mut Holds) -> Asked {
        if self.client().roomy(now.0, &mut HostData, needs) {
            self.reserve(now, context, needs, holds)
        } else {
            Asked::Short
        }
    }

    /// Books what was used and gives back the rest.
    pub fn settle(&mut self, now: Now, holds: &mut Holds, settlement: &Settlement) {
        let Some(hold) = holds.held.take() else { return };
        let mut used = settlement.used.clone();
        for more in std::mem::take(&mut holds.more) {
            // As much of it as was reserved there; the first reservation takes the rest.
            let mut part: Vec<u64> = more.amounts().gather();
            for (part, used) in part.iter_mut().zip(&mut used) {
                *part = (*part).min(*used);
                *used -= *part;
            }
            holds.charges.append(&mut more.charges(&part));
            self.client().settle(now.0, &mut HostData, more, &part);
        }
        holds.charges.append(&mut hold.charges(&used));
        self.client().settle(now.0, &mut HostData, hold, &used);
    }

    /// Tells the control plane what an exchange used, and who it was. Where nothing is reserved nobody asks.
    pub fn spent(&mut self, now: Now, holds: &mut Holds, span: &Span) {
        let charges = std::mem::take(&mut holds.charges);
        if self.cluster.is_empty() || (charges.is_empty() && span.counted == Counted::No) {
            return;
        }
        self.outbox.push(
            now.0,
            &Spent {
                tenant: &span.tenant,
                key: &span.key,
                model: &span.model,
                provider: &span.target,
                labels: &span.labels,
                input: span.usage.input,
                output: span.usage.output,
                nano_usd: span.cost_nano.unwrap_or_default(),
                estimated: span.counted == Counted::Estimated,
                charges: &charges,
            },
        );
    }

    /// Sends the records that wait.
    fn report(&mut self, now: Now) {
        let sid = self.client().sid();
        let Some(batch) = self.outbox.batch(now.0, sid, self.vm) else { return };
        let sent = host::grpc(self.root, &self.cluster, SPEND_SERVICE, SPEND_METHOD, batch, SPEND_TIMEOUT_MS);
        match sent {
            Ok(call) => self.reporting = Some(call),
            Err(_) => self.outbox.answer(now.0, Err(UNAVAILABLE)),
        }
    }

    /// The stream is over: a wait is given up, and a hold that nobody settled is presumed spent in full.
    pub fn settle_rest(&mut self, now: Now, context: u32, holds: &mut Holds) {
        if let Some(waiter) = holds.waiting.take() {
            self.client().cancel(now.0, &mut HostData, waiter);
        }
        if std::mem::take(&mut holds.topping) {
            self.client().cancel(now.0, &mut HostData, u64::from(context) | TOP_UP);
        }
        let mut rest = std::mem::take(&mut holds.more);
        rest.extend(holds.held.take());
        for hold in rest {
            self.client().settle(now.0, &mut HostData, hold, &[]);
        }
    }

    /// A reservation was granted to a stream that is gone: nothing of it was used.
    pub fn abandon(&mut self, now: Now, decided: Decided) {
        if let Ok(hold) = decided {
            let none = vec![0; hold.amounts().count()];
            self.client().settle(now.0, &mut HostData, hold, &none);
        }
    }

    /// Time passes.
    pub fn tick(&mut self, now: Now, root: u32, _random: &mut [u64; 4]) {
        if self.cluster.is_empty() || root != self.root {
            return;
        }
        self.client().tick(now.0, &mut HostData);
        self.dispatch(now);
        self.report(now);
    }

    /// What happened to reservations since the VM began, in the order of Envoy's counters.
    pub fn counted(&self) -> [u64; LEASE] {
        let stats = self.client.as_ref().map(Lessee::stats).unwrap_or_default();
        let Stats { local, waited, refused, acquires, cas_retries, presumed, excess, fenced, .. } = stats;
        [local, waited, refused, acquires, cas_retries, presumed, excess, fenced]
    }

    /// A call ended.
    pub fn answer(&mut self, now: Now, call: Call, answer: Result<Vec<u8>, u32>) {
        if self.reporting == Some(call) {
            self.reporting = None;
            self.outbox.answer(now.0, answer.map(drop));
            return;
        }
        let Some(at) = self.calls.iter().position(|(of, _)| *of == call) else { return };
        let (_, id) = self.calls.swap_remove(at);
        let result = match &answer {
            Ok(message) => Ok(message.as_slice()),
            Err(status) => Err(*status),
        };
        self.client().reply(now.0, &mut HostData, id, result);
        self.dispatch(now);
    }

    /// Streams whose reservation is decided, by context.
    pub fn woken(&mut self) -> Vec<(u64, Decided)> {
        let Some(client) = &mut self.client else { return Vec::new() };
        let woken = client.woken().into_iter();
        woken
            .filter_map(|(waiter, outcome)| match outcome {
                Reserve::Held(hold) => Some((waiter, Ok(hold))),
                Reserve::Refused(refusal) => Some((waiter, Err(refusal))),
                Reserve::Wait => None,
            })
            .gather()
    }

    /// Sends what the client wants sent, on the plugin's context so that no stream's end cancels it.
    fn dispatch(&mut self, now: Now) {
        for _ in 0..64 {
            let calls = self.client().calls(now.0, &mut HostData);
            if calls.is_empty() {
                return;
            }
            for call in calls {
                let (method, body) = (call.method.name(), &call.body);
                match host::grpc(self.root, &self.cluster, SERVICE, method, body, call.timeout_ms) {
                    Ok(begun) => self.calls.push((begun, call.id)),
                    Err(_) => self.client().reply(now.0, &mut HostData, call.id, Err(UNAVAILABLE)),
                }
            }
        }
    }
}
