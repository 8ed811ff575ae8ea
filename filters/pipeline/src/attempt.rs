//! One try at a provider: its model name, path, headers and dialect on the way out; its status, errors and
//! stream in the client's dialect on the way back.
//!
//! Envoy restores the body for a retry but not the headers, so every header is written anew here, from nothing:
//! no credential of the client or of another provider can be left over. Response headers are held until the
//! first frame has been judged, so that a stall or an error in the first event still fails over.

use std::rc::Rc;

use weir_config::filter::{self, ProviderKind};
use weir_dialects::bedrock;

use crate::copy::{Copied, Copy};
use crate::io::{Effect, Input, Now, Step};
use crate::paths::Api;
use crate::plan::{Leg, Plan, Progress, REPORT, Report};
use crate::refusal::Refusal;
use crate::span::TraceContext;
use crate::translate;

mod failover;
mod first;
mod incoming;
mod outgoing;
mod record;

/// Bytes that may be held while the first frame is awaited.
const MAX_FIRST: usize = 1 << 20;
/// The media type of AWS's frames.
const EVENT_STREAM: &str = "application/vnd.amazon.eventstream";

/// The machine.
pub struct Attempt {
    config: Rc<filter::Attempt>,
    plan: Option<Plan>,
    report: Report,
    request: Outgoing,
    response: Incoming,
    /// Effects that send the request on once the ledger has agreed.
    waiting: Vec<Effect>,
    /// Names that the provider's dialect did not take, for the way back.
    renames: bedrock::Renames,
    /// What a translated answer repeats of the request.
    echo: Vec<u8>,
    /// Envoy chose among several providers.
    by_host: bool,
    context: Option<TraceContext>,
    /// Nanoseconds since the Unix epoch.
    start: u64,
    url: String,
    /// The provider's own status, before any was put into its place.
    answered: u16,
    now: Now,
    /// When the provider was last heard, in nanoseconds.
    heard: u64,
    /// There are too many repeats already.
    forbidden: bool,
    /// It is a copy for a mirror, which nobody waits for.
    copy: Option<Box<Copied>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outgoing {
    /// Headers have not come.
    Fresh,
    /// The whole body is needed.
    Body,
    /// The body goes on as it is, once the ledger has agreed.
    Held,
    /// Sent on.
    Sent,
    /// Answered here.
    Refused,
}

enum Incoming {
    /// Headers have not come.
    Fresh,
    /// Bytes pass as they are.
    Pass,
    /// A stream of the client's own dialect whose first event is awaited.
    First,
    /// A whole answer of the client's own dialect: while nothing of it has gone on, a reset still fails over.
    Held,
    /// A stream that is translated.
    Stream(Box<Translation>),
    /// An answer, or an error, that is translated as a whole.
    Whole { status: u16, error_type: Option<String> },
    /// The body of an error in the client's own dialect, which may lead to a larger window.
    Judged { status: u16 },
    /// The body of an error whose headers have gone on.
    Late { status: u16, error_type: Option<String> },
    /// The client was told of a failure in its whole length: what the provider goes on to say is dropped.
    Told,
}

struct Translation {
    stream: translate::Stream,
    /// Held back until the first event is known to be good; then nothing is.
    held: Option<Vec<u8>>,
    /// Bytes of a held body that were read already.
    consumed: usize,
}

impl Attempt {
    /// Try number `attempt`, from 1, at the provider of `config`. `previous` is the last try's report.
    pub fn new(
        config: Rc<filter::Attempt>,
        attempt: u64,
        plan: Option<&[u8]>,
        previous: Option<&[u8]>,
    ) -> Self {
        let previous = previous.and_then(Report::decode);
        let report = Report {
            attempt,
            lost: previous.as_ref().map_or(0, |p| {
                // A try that reached the provider and brought no refusal may be billed in full.
                p.lost + u64::from(matches!(p.progress, Progress::Begun | Progress::Answering))
            }),
            earlier: previous.map_or_else(Vec::new, |mut p| {
                p.earlier.push((p.target(p.attempt) as u64 + 1, p.status));
                p.earlier
            }),
            ..Report::default()
        };
        Self {
            config,
            plan: plan.and_then(Plan::decode),
            report,
            request: Outgoing::Fresh,
            response: Incoming::Fresh,
            waiting: Vec::new(),
            renames: bedrock::Renames::default(),
            echo: Vec::new(),
            by_host: false,
            context: None,
            start: 0,
            url: String::new(),
            answered: 0,
            now: Now(0),
            heard: 0,
            forbidden: false,
            copy: None,
        }
    }

    /// A copy of a request, which Envoy sends beside it: what it is to know travels in its header.
    pub fn copied(config: Rc<filter::Attempt>, attempt: u64, header: &[u8]) -> Self {
        let mut own = Self::new(config, attempt, None, None);
        if let Some(copy) = Copy::decode(header) {
            own.plan = Some(copy.plan.clone());
            own.copy = Some(Box::new(Copied::new(copy)));
            // Tried once, whatever Envoy makes of the request's own headers.
            own.forbidden = attempt > 1;
        }
        own
    }

    /// A copy settles by itself once it is over.
    pub fn is_copy(&self) -> bool {
        self.copy.is_some()
    }

    /// The host was chosen by Envoy among several providers, and `config` is the one that it belongs to: the leg is
    /// that provider's, whatever the number of the try.
    pub fn chosen_by_host(mut self) -> Self {
        let legs = self.plan.as_ref().map(|p| p.legs.as_slice()).unwrap_or_default();
        let here = |leg: &Leg| leg.provider == self.config.provider;
        let by_number = usize::try_from(self.report.attempt.saturating_sub(1)).unwrap_or(0);
        let index = match legs.get(by_number) {
            Some(leg) if here(leg) => Some(by_number),
            _ => legs.iter().position(here),
        };
        // None where no leg is this provider's: then that of the number is found to be misrouted.
        self.report.leg = index.map_or(0, |i| i as u64 + 1);
        self.by_host = true;
        self
    }

    /// Sent on, and no answer has come: whether the provider has the request is the host's to say.
    pub fn unanswered(&self) -> bool {
        self.request == Outgoing::Sent && self.report.progress == Progress::Begun
    }

    /// The request body must be handed in.
    pub fn wants_request_body(&self) -> bool {
        self.request == Outgoing::Body
    }

    /// What to do with a body that is not wanted.
    pub fn pass(&self) -> Step {
        if self.request == Outgoing::Sent { Step::Continue } else { Step::Pause }
    }

    /// This piece of the response body must be handed in.
    pub fn wants_response_body(&self, _end: bool) -> bool {
        self.is_copy() || !matches!(self.response, Incoming::Pass | Incoming::Fresh)
    }

    /// Takes what happened, appends what must be done.
    pub fn handle(&mut self, now: Now, input: Input<'_>, effects: &mut Vec<Effect>) -> Step {
        self.now = now;
        if matches!(input, Input::ResponseHeaders { .. } | Input::ResponseBody { .. }) {
            self.heard = now.0;
        }
        let Some(mut copy) = self.copy.take() else { return self.next(input, effects) };
        let (mut own, mut over) = (Vec::new(), false);
        let step = match input {
            Input::ResponseHeaders { headers, end, origin } => {
                let step = self.next(Input::ResponseHeaders { headers, end, origin }, &mut own);
                copy.head(&headers, &own);
                step
            }
            Input::ResponseBody { chunk, end } => {
                let step = self.next(Input::ResponseBody { chunk, end }, &mut own);
                copy.body(now, chunk, end, step, &own);
                step
            }
            other => {
                over = matches!(other, Input::Done { .. });
                if matches!(other, Input::RequestHeaders { .. }) {
                    copy.begins(now);
                }
                self.copy = Some(copy);
                let step = self.next(other, &mut own);
                let Some(again) = self.copy.take() else { return step };
                copy = again;
                step
            }
        };
        // Its stream has no filter state, and nobody who would read it.
        weir_sorted::keep(&mut own, |effect| !matches!(effect, Effect::State(..)));
        effects.append(&mut own);
        if over {
            let sent = self.request == Outgoing::Sent;
            copy.over(now, self.context, &self.report, sent, self.config.kind, effects);
        }
        self.copy = Some(copy);
        step
    }

    fn next(&mut self, input: Input<'_>, effects: &mut Vec<Effect>) -> Step {
        let now = self.now;
        match input {
            Input::RequestHeaders { entropy: [entropy, ..], .. } => {
                self.start = now.0;
                let parent = self.plan.as_ref().map(|plan| plan.traceparent.as_str()).unwrap_or_default();
                self.context = TraceContext::under(parent, entropy);
                self.request_headers(effects)
            }
            Input::RequestBody { body, end, .. } => self.request_body(body, end, effects),
            Input::Reserved(answer) => self.reserved(answer, effects),
            Input::ResponseHeaders { headers, end, origin } => {
                self.response_headers(&headers, end, origin.address, effects)
            }
            Input::ResponseBody { chunk, end } => self.response_body(chunk, end, effects),
            Input::Tick => self.silent(effects),
            Input::ResponseTrailers | Input::Short | Input::ToppedUp(_) | Input::Asked { .. } => {
                Step::Continue
            }
            Input::Done { details, .. } => {
                if details == "unreached" && self.unanswered() {
                    self.report.progress = Progress::Unreached;
                    self.tell(effects);
                }
                Step::Continue
            }
        }
    }

    fn refuse(&mut self, refusal: &Refusal, effects: &mut Vec<Effect>) -> Step {
        // Nothing has left the gateway: nothing is billed.
        self.report.progress = Progress::Unreached;
        self.tell(effects);
        self.request = Outgoing::Refused;
        effects.push(Effect::Reply(refusal.reply(self.api())));
        Step::Pause
    }

    fn tell(&self, effects: &mut Vec<Effect>) {
        effects.push(Effect::State(REPORT, self.report.encode()));
    }

    fn leg(&self) -> Option<&Leg> {
        let plan = self.plan.as_ref()?;
        let index = self.report.target(self.report.attempt);
        plan.legs.get(index.min(plan.legs.len().saturating_sub(1)))
    }

    fn last_leg(&self) -> bool {
        self.plan.as_ref().is_none_or(|p| self.report.attempt >= p.legs.len() as u64)
    }

    /// The client's API; without a plan nobody knows it.
    fn api(&self) -> Api {
        self.plan.as_ref().map_or(Api::OpenaiChat, |p| p.api)
    }

    fn translates(&self) -> bool {
        let (kind, invoke) = self.provider();
        translate::needed(self.api(), kind, invoke)
    }

    /// The provider's API, and whether it is InvokeModel.
    fn provider(&self) -> (ProviderKind, bool) {
        (self.config.kind, self.leg().is_some_and(|leg| leg.invoke))
    }
}
