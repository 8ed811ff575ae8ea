//! The client's side of one request: told apart, redacted, counted, routed and reserved on the way in; decoded,
//! counted, restored and settled on the way back. It alone decides where a request goes.
//!
//! The request is held until its body is complete, since every decision may depend on it. What it decided
//! goes into filter state, where the route and each [`Attempt`](crate::Attempt) read it.

use std::rc::Rc;

use weir_dialects::hub::Usage;
use weir_lease::Need;
use weir_pii as pii;
use weir_sorted::contains;

use crate::answer::Answer;
use crate::budget::Bound;
use crate::cooling::Cooling;
use crate::copy::Copy;
use crate::identity;
use crate::io::{Effect, Input, Now, Reply, Step};
use crate::learned::Sample;
use crate::outside::Known;
use crate::paths::{Api, Named};
use crate::plan::{Plan, Report};
use crate::policy::{Caller, Policy};
use crate::ratelimit::Left;
use crate::refusal::Refusal;
use crate::sigv4::Signed;
use crate::span::Span;
use crate::trace::Trace;
use weir_config::filter::{ShowHeaders, Target};

mod ahead;
mod answering;
mod copies;
mod declared;
mod judge;
mod logged;
mod measured;
mod opinion;
mod outside;
mod parameters;
mod request;
mod reserve;
mod sending;
mod settle;
mod show;
mod stall;

use logged::Logged;
use outside::Asking;
use reserve::Pending;

/// Output ceiling where neither the client nor the policy names one (budget-protocol §6).
const DEFAULT_CEILING: u64 = 4096;

/// The machine.
pub struct Exchange {
    policy: Option<Rc<Policy>>,
    /// The client's, by its path, before anything is known of it.
    api: Api,
    state: State,
    span: Box<Span>,
    trace: Trace,
    entropy: [u64; 4],
    needs: Vec<Need>,
    /// What a try may cost at most.
    bound: Bound,
    input_known: bool,
    /// What its usage will teach.
    sample: Option<Sample>,
    /// The prompt is counted: a rough bound was too much for a budget.
    counting: bool,
    /// How long its answer is will be learned: a budget would know below what none is cut short.
    teaches: bool,
    /// What detectors outside said of its texts.
    known: Known,
    /// When it was last heard of, in nanoseconds.
    marked: u64,
    logged: Logged,
    /// See [`Exchange::decision_room`].
    room: bool,
    /// What its span must not show, where it shows what was said.
    shown: Option<Rc<pii::Set>>,
}

enum State {
    /// Nothing has come.
    Fresh,
    /// The caller is known; the body is awaited.
    Body(Box<Admitted>),
    /// Detectors outside are asked.
    Asking(Box<Asking>),
    /// The ledger is asked.
    Reserving(Box<Pending>),
    /// Sent on.
    Sent(Box<Flight>),
    /// Handed on untouched, by policy.
    Passing,
    /// A score of an earlier answer, whose body is awaited.
    Opinion(Box<opinion::Opinion>),
    /// Answered here.
    Refused,
    /// Over.
    Over,
}

#[derive(Clone)]
struct Admitted {
    caller: Caller,
    api: Api,
    scheme: String,
    /// See [`Plan::anthropic`].
    anthropic: (String, String),
    /// What the path says, where it is Bedrock's.
    named: Option<Named>,
    /// See [`Plan::extra`].
    extra: String,
    /// A signature to be verified over the body.
    signed: Option<Signed>,
}

struct Flight {
    plan: Plan,
    targets: Vec<Target>,
    /// The cluster for all tries, where they have no slots.
    cluster: Option<String>,
    /// The client asked for usage itself: the usage chunk is its own.
    client_usage: bool,
    vault: Option<pii::Vault>,
    answer_set: Option<Rc<pii::Set>>,
    /// An answer that cannot be searched passes.
    unsearched: bool,
    answer: Answer,
    /// Bytes of it for which the host waits with its headers until its end.
    kept: Option<usize>,
    status: u16,
    /// What the answering try said of itself.
    report: Option<Report>,
    /// The answer came from a provider, not from Envoy.
    provider: bool,
    /// What its headers say that it cost.
    told: Option<Usage>,
    /// Answers billed.
    answers: u64,
    /// What is left of the budgets that are charged.
    left: Vec<Left>,
    /// Reserved ahead of the stream.
    ahead: Option<ahead::Ahead>,
    /// When the answer was last heard, in nanoseconds; 0 before it began.
    heard: u64,
    /// It was given up for its silence.
    silenced: bool,
    /// Cluster and decision of a copy.
    copy: Option<(String, Box<Copy>)>,
}

impl Exchange {
    /// A request under `policy`; without one it is refused.
    pub fn new(policy: Option<Rc<Policy>>) -> Self {
        Self {
            policy,
            api: Api::OpenaiChat,
            state: State::Fresh,
            span: Span::boxed(),
            trace: Trace::default(),
            entropy: [0; 4],
            needs: Vec::new(),
            bound: Bound::default(),
            input_known: false,
            sample: None,
            counting: false,
            teaches: false,
            known: Known::default(),
            marked: 0,
            logged: Logged::No,
            room: true,
            shown: None,
        }
    }

    /// Records what each stage decides, for `weir explain`.
    #[cfg(feature = "explain")]
    pub fn explained(mut self) -> Self {
        self.trace = Trace::on();
        self
    }

    /// What each stage decided, where recorded.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// What is known of the exchange so far.
    pub fn span(&self) -> &Span {
        &self.span
    }

    /// What must be held for each try.
    pub fn needs(&self) -> &[Need] {
        &self.needs
    }

    /// What the host knows of targets that throttle.
    pub fn cooling(&self, cooling: Cooling) {
        if let Some(policy) = &self.policy {
            policy.cooling.replace(cooling);
        }
    }

    /// The answer came to its end, so that nothing the host could add at [`Input::Done`] is needed.
    pub fn complete(&self) -> bool {
        matches!(&self.state, State::Sent(flight) if flight.answer.complete())
    }

    /// So many nanoseconds of computing went into it.
    pub fn spent(&mut self, nanos: u64) {
        let [own, ..] = &mut self.span.stages;
        *own = own.saturating_add(nanos);
    }

    /// The time since it was last heard of went to the stage that it was in.
    fn mark(&mut self, now: Now) {
        let [_, request, admission, provider, answer] = &mut self.span.stages;
        let stage = match &self.state {
            State::Fresh | State::Body(_) => request,
            State::Asking(_) | State::Reserving(_) => admission,
            State::Sent(flight) if flight.heard == 0 => provider,
            _ => answer,
        };
        let since = if self.marked == 0 { 0 } else { now.0.saturating_sub(self.marked) };
        *stage = stage.saturating_add(since);
        self.marked = now.0;
    }

    /// More of the request is awaited, and what has come is not too large: nothing would happen now.
    pub fn waits(&self, size: usize) -> bool {
        let max = self.policy.as_ref().map_or(0, |policy| policy.config.max_body);
        matches!(self.state, State::Body(_)) && (max == 0 || size as u64 <= max)
    }

    /// It was let in, and is not over.
    pub fn sent(&self) -> bool {
        matches!(self.state, State::Sent(_))
    }

    /// Takes what happened, appends what must be done.
    pub fn handle(&mut self, now: Now, input: Input<'_>, effects: &mut Vec<Effect>) -> Step {
        self.mark(now);
        match input {
            Input::RequestHeaders { headers, end, entropy } => {
                self.entropy = entropy;
                match self.request_headers(now, &headers, end, effects) {
                    Ok(step) => step,
                    Err(refusal) => self.refuse(&refusal, effects),
                }
            }
            Input::RequestBody { body, size, end } => {
                match self.request_body(body, size, end, now, effects) {
                    Ok(step) => step,
                    Err(refusal) => self.refuse(&refusal, effects),
                }
            }
            Input::Asked { id, answer } => match self.asked(now, id, answer, effects) {
                Ok(step) => step,
                Err(refusal) => self.refuse(&refusal, effects),
            },
            Input::Reserved(answer) => self.reserved(now, answer, effects),
            Input::Short => self.short(now, effects),
            Input::ToppedUp(answer) => self.topped_up(answer),
            Input::Tick => self.silent(now, effects),
            Input::ResponseHeaders { headers, end, origin } => {
                self.response_headers(now, &headers, end, origin, effects)
            }
            Input::ResponseBody { chunk, end } => self.response_body(now, chunk, end, effects),
            Input::ResponseTrailers => self.response_trailers(now, effects),
            Input::Done { report, details } => self.done(now, report, details, effects),
        }
    }

    fn refuse(&mut self, refusal: &Refusal, effects: &mut Vec<Effect>) -> Step {
        let mut reply = refusal.reply(self.api);
        self.show(&mut reply);
        self.span.error = Some(refusal.code.to_owned());
        self.span.status = refusal.status;
        // No model was shown it.
        self.span.content = None;
        self.state = State::Refused;
        effects.push(Effect::Reply(reply));
        Step::Pause
    }

    fn show(&self, reply: &mut Reply) {
        if self.api.aws() {
            reply.headers.push(("x-amzn-requestid", self.span.id.clone()));
        }
        if self.api.anthropic() {
            // Where Anthropic's SDKs look for it.
            reply.headers.push(("request-id", self.span.id.clone()));
        }
        if let Some(policy) = &self.policy
            && policy.config.headers != ShowHeaders::None
        {
            reply.headers.push(("x-weir-request-id", self.span.id.clone()));
            reply.headers.push(("x-weir-policy", policy.config.version.clone()));
        }
    }

    fn request_body(
        &mut self,
        body: &[u8],
        size: usize,
        end: bool,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<Step, Refusal> {
        let admitted = match std::mem::replace(&mut self.state, State::Over) {
            State::Body(admitted) => admitted,
            State::Opinion(opinion) => return self.scored(opinion, body, size, end, effects),
            // A body that ends twice, as hosts report it, or after the answer.
            other => {
                let step = if matches!(other, State::Passing | State::Sent(_)) {
                    Step::Continue
                } else {
                    Step::Pause
                };
                self.state = other;
                return Ok(step);
            }
        };
        self.fits(size as u64)?;
        if !end {
            self.state = State::Body(admitted);
            return Ok(Step::Pause);
        }
        let Some(policy) = self.policy.clone() else {
            return Err(Refusal::server(503, "no_policy", "this gateway has received no policy yet"));
        };
        if let Some(signed) = &admitted.signed {
            signed.verify(body).map_err(identity::unsigned)?;
        }
        self.judge(&policy, &admitted, body, now, effects)
    }

    fn done(&mut self, now: Now, report: Option<&[u8]>, details: &str, effects: &mut Vec<Effect>) -> Step {
        self.span.end = now.0;
        let report = report.and_then(Report::decode);
        match std::mem::replace(&mut self.state, State::Over) {
            State::Over => return Step::Continue,
            State::Sent(mut flight) => {
                let report = report.or_else(|| flight.report.take()).unwrap_or_default();
                self.settle(&flight, &report, details, effects);
                self.tell(&flight, &report, effects);
            }
            State::Passing | State::Opinion(_) => {}
            State::Fresh | State::Body(_) | State::Asking(_) | State::Reserving(..) => {
                // The client went before it was answered; nothing was sent and nothing is billed.
                self.span.error.get_or_insert_with(|| "client_gone".into());
            }
            State::Refused => {}
        }
        if !self.span.operation.is_empty() {
            self.record(effects);
            effects.push(Effect::Emit(std::mem::replace(&mut self.span, Span::boxed())));
        }
        Step::Continue
    }
}

/// Whether the host's reason for a stream's end is the client's going: a closed connection or a reset HTTP/2 stream.
fn client_left(details: &str) -> bool {
    !details.starts_with("upstream")
        && (details.is_empty() || contains(details, "downstream") || contains(details, "remote_reset"))
}
