//! One try at a provider: host callbacks of an upstream filter for the [`Attempt`] machine.

use std::rc::Rc;

use weir_config::filter;
use weir_pipeline::Attempt;
use weir_pipeline::copy::COPY;
use weir_pipeline::io::{Effect, Headers, Input, Now, Origin, Step};
use weir_pipeline::plan::{PLAN, REPORT};

use crate::effects;
use crate::exchange::{ADDRESS, attempts, text};
use crate::host::{self, Buffer, Direction, Map};
use crate::lease::{Asked, Decided, Holds, HostData};
use crate::vm::Shared;

/// Of the host of a try, the name of its provider: where Envoy also looks for the host's TLS.
const PROVIDER_OF_HOST: &str =
    "xds\0upstream_host_metadata\0filter_metadata\0envoy.transport_socket_match\0provider";

/// The value of a request header, read where no filter state says more.
fn header(name: &str) -> Option<Vec<u8>> {
    let map = host::map(Map::RequestHeaders).unwrap_or_default();
    let fields = host::pairs(&map);
    Headers(&fields).bytes(name).map(<[u8]>::to_vec)
}

/// Whose try it is.
#[derive(Clone)]
pub enum Provider {
    /// The cluster has one.
    One(Rc<filter::Attempt>),
    /// The host says whose it is.
    OfHost(Rc<[Rc<filter::Attempt>]>),
}

/// The try.
pub struct AttemptStream {
    context: u32,
    provider: Provider,
    machine: Option<Attempt>,
    effects: Vec<Effect>,
    holds: Holds,
    replied: bool,
    size: usize,
    /// The answer came to its end.
    whole: bool,
    /// It counts among the repeats.
    repeats: bool,
}

impl AttemptStream {
    /// A try under a provider's configuration.
    pub fn new(context: u32, _root: u32, provider: Provider) -> Self {
        Self {
            context,
            provider,
            machine: None,
            effects: Vec::new(),
            holds: Holds::default(),
            replied: false,
            size: 0,
            whole: false,
            repeats: false,
        }
    }

    fn feed(&mut self, now: Now, input: Input<'_>, shared: &mut Shared) -> Step {
        let Some(machine) = &mut self.machine else { return Step::Continue };
        let mut step = machine.handle(now, input, &mut self.effects);
        for _ in 0..4 {
            let outcome = effects::run(&mut self.effects, now, self.context, &mut self.holds, shared);
            self.replied |= outcome.replied;
            match outcome.reserved {
                Some(Asked::Now(answer)) => {
                    step = machine.handle(now, Input::Reserved(answer), &mut self.effects);
                }
                Some(Asked::Later | Asked::Short) => return Step::Pause,
                None => break,
            }
        }
        if self.replied { Step::Pause } else { step }
    }

    /// Request headers have come.
    pub fn request_headers(&mut self, end: bool, shared: &mut Shared) -> Step {
        let now = Now(host::now());
        let plan = host::property(PLAN);
        let attempt = attempts().max(1);
        let report = if attempt > 1 { host::property(REPORT) } else { None };
        let copy = if plan.is_none() { header(COPY) } else { None };
        let begin = |config| match &copy {
            Some(copy) => Attempt::copied(config, attempt, copy),
            None => Attempt::new(config, attempt, plan.as_deref(), report.as_deref()),
        };
        self.machine = Some(match &self.provider {
            Provider::One(config) => begin(config.clone()),
            Provider::OfHost(all) => {
                let name = host::property(PROVIDER_OF_HOST).unwrap_or_default();
                let of_host = all.iter().find(|config| config.provider.as_bytes() == name);
                // A host of nobody is nowhere in the plan, and refused as misrouted.
                begin(of_host.cloned().unwrap_or_default()).chosen_by_host()
            }
        });
        if let Some(machine) = &mut self.machine
            && let Some(share) = machine.repeats()
        {
            self.repeats = shared.repeat(now, share);
            if !self.repeats {
                machine.forbid();
            }
        }
        // All that a try needs of the request is in the plan; its headers are written anew.
        let entropy = shared.entropy();
        self.feed(now, Input::RequestHeaders { headers: Headers(&[]), end, entropy }, shared)
    }

    /// Part of the request body has come.
    pub fn request_body(&mut self, size: usize, end: bool, shared: &mut Shared) -> Step {
        if self.replied {
            return Step::Pause;
        }
        self.size = size;
        let Some(machine) = &self.machine else { return Step::Continue };
        if !machine.wants_request_body() {
            return machine.pass();
        }
        let body =
            if end { host::buffer(Buffer::RequestBody, 0, size).unwrap_or_default() } else { Vec::new() };
        self.feed(Now(host::now()), Input::RequestBody { body: &body, size, end }, shared)
    }

    /// Request trailers have come, and with them the end of the body.
    pub fn request_trailers(&mut self, shared: &mut Shared) -> Step {
        self.request_body(self.size, true, shared)
    }

    /// The ledger has answered.
    pub fn reserved(&mut self, now: Now, decided: Decided, shared: &mut Shared) {
        let answer = self.holds.take(decided);
        let step = self.feed(now, Input::Reserved(answer), shared);
        if step == Step::Continue && !self.replied {
            let _ = host::resume(Direction::Request);
        }
    }

    /// Response headers have come.
    pub fn response_headers(&mut self, end: bool, shared: &mut Shared) -> Step {
        if self.replied {
            return Step::Continue;
        }
        self.whole |= end;
        let map = host::map(Map::ResponseHeaders).unwrap_or_default();
        let fields = host::pairs(&map);
        let address = text(host::property(ADDRESS));
        let origin = Origin { address: &address, ..Origin::default() };
        self.feed(Now(host::now()), Input::ResponseHeaders { headers: Headers(&fields), end, origin }, shared)
    }

    /// Part of the response body has come.
    pub fn response_body(&mut self, size: usize, end: bool, shared: &mut Shared) -> Step {
        let Some(machine) = &mut self.machine else { return Step::Continue };
        self.whole |= end;
        if self.replied || !machine.wants_response_body(end) {
            return Step::Continue;
        }
        let now = Now(host::now());
        if let Some(step) = machine.holds(now, size, end) {
            return step;
        }
        let chunk = if size == 0 {
            Vec::new()
        } else {
            host::buffer(Buffer::ResponseBody, 0, size).unwrap_or_default()
        };
        self.feed(now, Input::ResponseBody { chunk: &chunk, end }, shared)
    }

    /// Response trailers have come.
    pub fn response_trailers(&mut self, shared: &mut Shared) -> Step {
        self.whole = true;
        self.feed(Now(host::now()), Input::ResponseTrailers, shared)
    }

    /// The answer is silent for too long.
    pub fn due(&self, now: Now) -> bool {
        !self.replied && self.machine.as_ref().is_some_and(|machine| machine.due(now))
    }

    /// Gives it up.
    pub fn tick(&mut self, now: Now, shared: &mut Shared) {
        if host::act_on(self.context).is_ok() && self.feed(now, Input::Tick, shared) == Step::Continue {
            let _ = host::resume(Direction::Response);
        }
    }

    /// The try is over.
    pub fn done(&mut self, shared: &mut Shared) {
        let now = Now(host::now());
        if std::mem::take(&mut self.repeats) {
            shared.in_flight.over(&mut HostData, now);
        }
        let copy = self.machine.as_ref().is_some_and(Attempt::is_copy);
        if copy || self.machine.as_ref().is_some_and(Attempt::unanswered) {
            // Envoy knows the local address of a try once its connection is made: without one nothing was sent.
            let reached = host::property("upstream\0local_address").is_some_and(|a| !a.is_empty());
            self.feed(
                now,
                Input::Done { report: None, details: if reached { "reached" } else { "unreached" } },
                shared,
            );
        }
        shared.lease.settle_rest(now, self.context, &mut self.holds);
        if copy || !shared.telemetry.exports() {
            return;
        }
        let Some(machine) = &self.machine else { return };
        let details = if self.whole { None } else { host::property("response\0code_details") };
        if let Some(mut one) = machine.record(now, self.whole, &text(details)) {
            if one.address.is_empty() {
                one.address = text(host::property(ADDRESS));
            }
            shared.telemetry.attempt(&one);
        }
    }
}
