//! One try at a provider: its model name, path, headers and dialect on the way out; its status, errors and
//! stream in the client's dialect on the way back.
//!
//! Envoy restores the body for a retry but not the headers, so every header is written anew here, from nothing:
//! no credential of the client or of another provider can be left over. Response headers are held until the
//! first frame has been judged, so that a stall or an error in the first event still fails over.

use std::rc::Rc;

use weir_config::filter::{self, ProviderKind};
use weir_dialects::hub::{Event, Failure, Loss};
use weir_dialects::{anthropic, bedrock, openai_chat, openai_responses};
use weir_sorted::contains;
use weir_wire::json::{self, Limits};
use weir_wire::{eventstream, sse};

use crate::budget;
use crate::copy::{Copied, Copy};
use crate::io::{Effect, Headers, Input, Now, Step};
use crate::paths::Api;
use crate::plan::{Leg, NO_RETRY, PROVIDER, Plan, Progress, REPORT, Report, TRIED};
use crate::refusal::{ERROR_TYPE, Refusal};
use crate::span::{TraceContext, Try};
use crate::translate::{self, unreadable_body};

mod failover;

/// Largest answer that is translated as a whole, and largest frame of a stream.
const MAX_ANSWER: usize = 16 << 20;
/// Bytes of a whole answer that are held back. What is larger is worth more early than safe.
const MAX_HELD: usize = 64 << 10;
/// Bytes that may be held while the first frame is awaited.
const MAX_FIRST: usize = 1 << 20;

/// The media type of AWS's frames.
const EVENT_STREAM: &str = "application/vnd.amazon.eventstream";
/// The version of Anthropic's API where the client names none.
const ANTHROPIC_VERSION: &str = "2023-06-01";

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

    /// What the try's span says, once it is over. `whole` says that the answer came to its end, `details` what the host
    /// says of the exchange at that moment.
    pub fn record(&self, now: Now, whole: bool, details: &str, address: String) -> Option<Try> {
        let plan = self.plan.as_ref()?;
        let context = self.context?;
        let error = match (self.request, self.report.progress) {
            (Outgoing::Refused, _) => "not_sent".to_owned(),
            (_, Progress::Refused) if self.answered >= 400 => self.answered.to_string(),
            // 200, and an error in the first frame.
            (_, Progress::Refused) => self.report.status.to_string(),
            (_, Progress::Unreached) => "connect_failed".to_owned(),
            _ if whole => String::new(),
            _ => self.cut(now, plan, details).to_owned(),
        };
        let leg = self.leg();
        Some(Try {
            context,
            tracestate: plan.tracestate.clone(),
            start: self.start,
            end: now.0,
            number: self.report.attempt,
            provider: self.config.provider.clone(),
            model: leg.map(|leg| leg.model.clone()).unwrap_or_default(),
            url: self.url.clone(),
            address,
            status: self.answered,
            error,
        })
    }

    /// Why there is no whole answer: the client went, as the host says; or time was up, which the host will only say
    /// later; else the provider reset it.
    fn cut(&self, now: Now, plan: &Plan, details: &str) -> &'static str {
        const MS: u64 = 1_000_000;
        const SLACK: u64 = 100 * MS;
        // The request's beginning is known by the second.
        let due = |since: u64, limit: u64, within: u64| {
            let late = (now.0 + SLACK).saturating_sub(since).checked_sub(limit.saturating_mul(MS));
            limit > 0 && late.is_some_and(|late| late < within)
        };
        if contains(details, "downstream") || contains(details, "remote_reset") {
            "cancelled"
        } else if (self.answered == 0 && due(self.start, plan.limits.1, 1_000 * MS))
            || due(plan.created.saturating_mul(1_000 * MS), plan.limits.0, 2_000 * MS)
        {
            "timeout"
        } else {
            "upstream_reset"
        }
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
        own.retain(|effect| !matches!(effect, Effect::State(..)));
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
            Input::ResponseHeaders { headers, end, .. } => self.response_headers(&headers, end, effects),
            Input::ResponseBody { chunk, end } => self.response_body(chunk, end, effects),
            Input::Tick => self.silent(effects),
            Input::ResponseTrailers | Input::Short | Input::ToppedUp(_) => Step::Continue,
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

    fn request_headers(&mut self, effects: &mut Vec<Effect>) -> Step {
        if !self.last_leg() {
            // The route reads it only to choose the next try's cluster.
            effects.push(Effect::State(TRIED, self.report.attempt.to_string().into_bytes()));
        }
        if self.by_host {
            // Signed for this provider or not at all, whatever the last try was.
            effects.push(Effect::State(PROVIDER, self.config.provider.clone().into_bytes()));
        }
        let Some(leg) = self.leg() else {
            // Without a plan nothing is known of the request: it is refused, never passed.
            let refusal = Refusal::server(
                503,
                "no_plan",
                "the request carries no decision: send it through weir's exchange filter",
            );
            return self.refuse(&refusal, effects);
        };
        if leg.provider != self.config.provider {
            let refusal = Refusal::server(
                503,
                "misrouted",
                format!(
                    "the request was decided for provider `{}` but reached `{}`: the route's slots do not match the policy",
                    leg.provider, self.config.provider
                ),
            );
            return self.refuse(&refusal, effects);
        }
        if self.forbidden {
            let refusal = Refusal::server(
                503,
                "retry_budget",
                "the provider failed, and no more requests than now may be repeated at it: try again in a moment",
            );
            return self.refuse(&refusal.header("retry-after", "1"), effects);
        }
        let same = leg.model == self.plan.as_ref().map(|p| p.asked.as_str()).unwrap_or_default();
        let needs = self.plan.as_ref().map(|p| p.needs.clone()).unwrap_or_default();
        if !needs.is_empty() {
            // Should this try be lost, the next one must know that it began.
            self.tell(effects);
        }
        // AWS's clients name the model in the path.
        let same = (same || self.api().aws()) && self.api() != Api::OpenaiResponses;
        if self.translates() || !same {
            self.request = Outgoing::Body;
            return Step::Pause;
        }
        let send = vec![self.headers(self.plan.as_ref().map_or(0, |p| p.body_len), None)];
        if (self.report.lost > 0 || self.is_copy()) && !needs.is_empty() {
            self.request = Outgoing::Held;
            self.waiting = send;
            effects.push(Effect::Reserve(needs));
            return Step::Pause;
        }
        effects.extend(send);
        self.request = Outgoing::Sent;
        Step::Continue
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

    fn request_body(&mut self, body: &[u8], end: bool, effects: &mut Vec<Effect>) -> Step {
        if self.request != Outgoing::Body {
            return self.pass();
        }
        if !end {
            return Step::Pause;
        }
        let outgoing = match self.outgoing(body) {
            Ok((bytes, path)) => {
                vec![self.headers(bytes.len() as u64, path), Effect::RequestBody(bytes)]
            }
            Err(refusal) => return self.refuse(&refusal, effects),
        };
        if !self.report.losses.is_empty() {
            self.tell(effects);
        }
        let needs = self.plan.as_ref().map(|p| p.needs.clone()).unwrap_or_default();
        if (self.report.lost > 0 || self.is_copy()) && !needs.is_empty() {
            self.waiting = outgoing;
            self.request = Outgoing::Held;
            effects.push(Effect::Reserve(needs));
            return Step::Pause;
        }
        effects.extend(outgoing);
        self.request = Outgoing::Sent;
        Step::Continue
    }

    /// The body for this provider, and its path where the dialect names one.
    fn outgoing(&mut self, body: &[u8]) -> Result<(Vec<u8>, Option<String>), Refusal> {
        let (Some(plan), Some(leg)) = (&self.plan, self.leg()) else {
            return Err(Refusal::server(503, "no_plan", "the request carries no decision"));
        };
        if !self.translates() {
            let mut out = renamed(body, plan, &leg.model)?;
            if plan.api == Api::OpenaiResponses
                && let Some((own, losses)) = openai_responses::own(&out)
            {
                (out, self.report.losses) = (own, lines(&losses));
            }
            return Ok((out, None));
        }
        let encoded = translate::request(plan, leg, self.config.kind, body)?;
        self.report.losses = lines(&encoded.losses);
        self.echo = translate::echo(plan.api, body);
        self.renames = encoded.renames;
        Ok((encoded.body, Some(encoded.path)))
    }

    fn headers(&mut self, length: u64, path: Option<String>) -> Effect {
        let plan = self.plan.as_ref();
        let stream = plan.is_some_and(|p| p.stream);
        let model = self.leg().map(|leg| leg.model.as_str()).unwrap_or_default();
        let path = path.unwrap_or_else(|| match self.api() {
            Api::BedrockConverse => bedrock::path(model, stream),
            Api::BedrockInvoke | Api::BedrockModel => bedrock::invoke_path(model, stream),
            _ => plan.map(|p| p.api.path()).unwrap_or_default().to_owned(),
        });
        let accept = match (self.config.kind == ProviderKind::Bedrock, stream) {
            (true, true) => EVENT_STREAM,
            (false, true) => "text/event-stream",
            (_, false) => "application/json",
        };
        let scheme = plan.map_or("http", |p| p.scheme.as_str());
        let path = [self.config.path_prefix.as_str(), &path].concat();
        let url = [scheme, "://", &self.config.authority, &path].concat();
        let mut out = vec![
            (":method".to_owned(), "POST".to_owned()),
            (":scheme".to_owned(), scheme.to_owned()),
            (":authority".to_owned(), self.config.authority.clone()),
            (":path".to_owned(), path),
            ("content-type".to_owned(), "application/json".to_owned()),
            ("content-length".to_owned(), length.to_string()),
            ("accept".to_owned(), accept.to_owned()),
            ("user-agent".to_owned(), concat!("weir/", env!("CARGO_PKG_VERSION")).to_owned()),
        ];
        if let Some(plan) = plan {
            out.push(("x-request-id".to_owned(), plan.id.clone()));
            let own = self.context.as_ref().map(TraceContext::traceparent);
            out.push(("traceparent".to_owned(), own.unwrap_or_else(|| plan.traceparent.clone())));
            if !plan.tracestate.is_empty() {
                out.push(("tracestate".to_owned(), plan.tracestate.clone()));
            }
        }
        let anthropic = self.config.kind == ProviderKind::Anthropic;
        if let Some(authorization) = &self.config.authorization {
            let name = if anthropic { "x-api-key" } else { "authorization" };
            out.push((name.to_owned(), authorization.clone()));
        }
        if anthropic {
            let (version, beta) =
                plan.map(|p| (p.anthropic.0.as_str(), p.anthropic.1.as_str())).unwrap_or_default();
            let version = if version.is_empty() { ANTHROPIC_VERSION } else { version };
            out.push(("anthropic-version".to_owned(), version.to_owned()));
            if !beta.is_empty() {
                out.push(("anthropic-beta".to_owned(), beta.to_owned()));
            }
        }
        if !self.translates() {
            let extra = plan.map(|p| p.extra.as_str()).unwrap_or_default();
            let lines = extra.lines().filter_map(|line| line.split_once(": "));
            out.extend(lines.map(|(name, value)| (name.to_owned(), value.to_owned())));
        }
        self.url = url;
        Effect::RequestHeaders(out)
    }

    fn reserved(
        &mut self,
        answer: Result<weir_lease::Granted, weir_lease::Refusal>,
        effects: &mut Vec<Effect>,
    ) -> Step {
        match answer {
            Ok(_) => {
                // What is held now stands for the try that was lost; the request's own hold goes on for this one.
                let needs = self.plan.as_ref().map(|p| p.needs.as_slice()).unwrap_or_default();
                if self.copy.is_none() {
                    effects.push(Effect::Settle(budget::in_full(needs)));
                }
                effects.append(&mut self.waiting);
                self.request = Outgoing::Sent;
                Step::Continue
            }
            Err(refusal) => {
                let refusal = budget::explain(&refusal);
                self.refuse(&refusal, effects)
            }
        }
    }

    fn response_headers(&mut self, headers: &Headers<'_>, end: bool, effects: &mut Vec<Effect>) -> Step {
        if self.request == Outgoing::Refused {
            return Step::Continue;
        }
        let status = headers.get(":status").and_then(|s| s.parse::<u16>().ok()).unwrap_or(0);
        self.answered = status;
        self.report.status = u64::from(status);
        self.report.progress = if status >= 400 { Progress::Refused } else { Progress::Answering };
        self.report.request_id = headers
            .get("x-amzn-requestid")
            .or_else(|| headers.get("x-request-id"))
            .or_else(|| headers.get("request-id"))
            .unwrap_or_default()
            .to_owned();
        self.tell(effects);
        self.cool(status, headers, self.now, effects);
        for name in ["x-envoy-upstream-service-time", "server"] {
            if headers.bytes(name).is_some() {
                effects.push(Effect::RemoveResponseHeader(name));
            }
        }
        let stream = self.plan.as_ref().is_some_and(|p| p.stream);
        let encoded = headers.get("content-encoding").is_some_and(|e| !e.eq_ignore_ascii_case("identity"));
        let kind = headers.get("content-type").unwrap_or_default();
        if self.translates() {
            if end && status >= 400 {
                let failure =
                    translate::error(self.config.kind, status, headers.get("x-amzn-errortype"), b"");
                self.tell_failure(&failure, effects);
                self.response = Incoming::Pass;
                return Step::Continue;
            }
            for name in ["x-amzn-requestid", "x-amzn-errortype"] {
                if headers.bytes(name).is_some() {
                    effects.push(Effect::RemoveResponseHeader(name));
                }
            }
            effects.push(Effect::RemoveResponseHeader("content-length"));
            if self.api().aws() {
                let id = self.report.request_id.as_str();
                let id = if id.is_empty() { self.plan.as_ref().map_or("", |p| p.id.as_str()) } else { id };
                effects.push(Effect::SetResponseHeader("x-amzn-requestid", id.to_owned()));
            }
            if self.api().anthropic() {
                let id = self.plan.as_ref().map(|p| p.id.clone()).unwrap_or_default();
                effects.push(Effect::SetResponseHeader("request-id", id));
            }
            if status < 400 && stream {
                let media = if self.api().aws() { EVENT_STREAM } else { "text/event-stream; charset=utf-8" };
                effects.push(Effect::SetResponseHeader("content-type", media.into()));
                effects.push(Effect::SetResponseHeader("cache-control", "no-cache".into()));
                self.response = Incoming::Stream(Box::new(self.translation()));
            } else {
                effects.push(Effect::SetResponseHeader("content-type", "application/json".into()));
                let error_type = headers.get("x-amzn-errortype").map(str::to_owned);
                if status >= 400 && self.plan.as_ref().is_some_and(|p| p.one_cluster) {
                    // Such an Envoy retries by headers that were not held, and by no others.
                    let failure = translate::error(self.config.kind, status, error_type.as_deref(), b"");
                    self.tell_failure(&failure, effects);
                    self.response = Incoming::Late { status, error_type };
                    return Step::Continue;
                }
                self.response = Incoming::Whole { status, error_type };
            }
            return Step::Pause;
        }
        let begins = status == 200 && !end;
        // What falls silent in one piece is no answer: better another try, or an error that says so.
        let limits = self.plan.as_ref().map_or((0, 0), |p| (p.limits.1, p.stall_ms));
        if matches!(status, 400 | 413) && !end && !encoded && self.widens() {
            self.response = Incoming::Judged { status };
            return Step::Pause;
        }
        if begins
            && stream
            && !encoded
            && (kind.starts_with("text/event-stream") || kind.starts_with(EVENT_STREAM))
            && (limits.0 > 0 || !self.last_leg())
        {
            self.response = Incoming::First;
            return Step::Pause;
        }
        if begins && !stream && (limits.1 > 0 || !self.last_leg()) {
            self.response = Incoming::Held;
            return Step::Pause;
        }
        self.response = Incoming::Pass;
        Step::Continue
    }

    fn translation(&self) -> Translation {
        let context = self.answer_context();
        let usage = self.plan.as_ref().is_some_and(|p| p.include_usage);
        Translation {
            stream: translate::Stream::new(
                self.api(),
                self.provider(),
                self.renames.clone(),
                &context,
                usage,
                &self.echo,
            ),
            held: Some(Vec::new()),
            consumed: 0,
        }
    }

    fn answer_context(&self) -> openai_chat::AnswerContext {
        let plan = self.plan.as_ref();
        let id = if self.report.request_id.is_empty() {
            plan.map(|p| p.id.clone()).unwrap_or_default()
        } else {
            self.report.request_id.clone()
        };
        openai_chat::AnswerContext {
            id: [
                match self.api() {
                    Api::OpenaiResponses => "resp_",
                    api if api.messages() => "msg_",
                    _ => "chatcmpl-",
                },
                &id,
            ]
            .concat(),
            created: plan.map_or(0, |p| p.created),
            model: plan.map(|p| p.asked.clone()).unwrap_or_default(),
        }
    }

    fn response_body(&mut self, chunk: &[u8], end: bool, effects: &mut Vec<Effect>) -> Step {
        match std::mem::replace(&mut self.response, Incoming::Pass) {
            Incoming::Fresh | Incoming::Pass => Step::Continue,
            Incoming::Told => {
                self.response = Incoming::Told;
                if !chunk.is_empty() {
                    effects.push(Effect::ResponseBody(Vec::new()));
                }
                Step::Continue
            }
            Incoming::Held if !end && chunk.len() < MAX_HELD => {
                self.response = Incoming::Held;
                Step::Pause
            }
            Incoming::Held => Step::Continue,
            Incoming::First => match judge_first(self.api(), chunk, end) {
                First::Unknown if chunk.len() < MAX_FIRST => {
                    self.response = Incoming::First;
                    Step::Pause
                }
                First::Good | First::Unknown => Step::Continue,
                First::Failed(failure) => self.fail(&failure, effects),
            },
            Incoming::Whole { status, error_type } => {
                if !end {
                    if chunk.len() > MAX_ANSWER {
                        return self.fail(
                            &Failure::unreadable("the provider's answer is larger than 16 MiB"),
                            effects,
                        );
                    }
                    self.response = Incoming::Whole { status, error_type };
                    return Step::Pause;
                }
                if status >= 400 {
                    let failure = translate::error(self.config.kind, status, error_type.as_deref(), chunk);
                    let step = self.fail(&failure, effects);
                    self.go_wider(&failure, effects);
                    return step;
                }
                let context = self.answer_context();
                let (api, renames) = (self.api(), &self.renames);
                match translate::answer(api, self.provider(), chunk, renames, &context, &self.echo) {
                    Ok(bytes) => {
                        effects.push(Effect::SetResponseHeader("content-length", bytes.len().to_string()));
                        effects.push(Effect::ResponseBody(bytes));
                        Step::Continue
                    }
                    Err(failure) => self.fail(&failure, effects),
                }
            }
            Incoming::Judged { status } => {
                if !end && chunk.len() < MAX_HELD {
                    self.response = Incoming::Judged { status };
                    return Step::Pause;
                }
                let failure = translate::error(self.config.kind, status, None, chunk);
                self.go_wider(&failure, effects);
                Step::Continue
            }
            Incoming::Late { status, error_type } => {
                if !end && chunk.len() <= MAX_ANSWER {
                    self.response = Incoming::Late { status, error_type };
                    return Step::Pause;
                }
                let failure = translate::error(self.config.kind, status, error_type.as_deref(), chunk);
                effects.push(Effect::ResponseBody(translate::failure(self.api(), &failure)));
                self.response = Incoming::Told;
                Step::Continue
            }
            Incoming::Stream(mut translation) => {
                let fresh = chunk.get(translation.consumed..).unwrap_or_default();
                let mut events = Vec::new();
                translation.stream.read(fresh, end, &mut events);
                let mut out = translation.held.take();
                let first = out.is_some();
                if first
                    && let Some(Event::Error(failure)) =
                        events.iter().find(|e| !matches!(e, Event::Start { .. }))
                {
                    let failure = failure.clone();
                    return self.fail(&failure, effects);
                }
                let mut bytes = out.take().unwrap_or_default();
                translation.stream.write(&events, &mut bytes);
                // Until something of the answer itself is there, a retry is still possible.
                let answer = events.iter().any(|e| !matches!(e, Event::Start { .. }));
                if first && !answer && !end && chunk.len() < MAX_FIRST {
                    translation.consumed = chunk.len();
                    translation.held = Some(bytes);
                    self.response = Incoming::Stream(translation);
                    return Step::Pause;
                }
                translation.consumed = 0;
                effects.push(Effect::ResponseBody(bytes));
                self.response = Incoming::Stream(translation);
                Step::Continue
            }
        }
    }

    /// Status and, for AWS's clients, class of a failure. Before the last try the status is what the router decides by.
    fn tell_failure(&self, failure: &Failure, effects: &mut Vec<Effect>) {
        let mut status = failure.status;
        if self.api().aws() {
            let (known, class) = bedrock::class_of(status, &failure.kind, failure.code.as_deref());
            status = if self.last_leg() { known } else { status };
            effects.push(Effect::SetResponseHeader(ERROR_TYPE, class.to_owned()));
        }
        effects.push(Effect::SetResponseHeader(":status", status.to_string()));
    }

    /// The try failed while its headers are still held: its status becomes the failure's, so that the router may retry.
    fn fail(&mut self, failure: &Failure, effects: &mut Vec<Effect>) -> Step {
        self.report.status = u64::from(failure.status);
        // A failure in the first frame is the provider's word that nothing was generated.
        self.report.progress = Progress::Refused;
        self.tell(effects);
        if self.answered < 400 {
            self.cool_failure(failure, effects);
        }
        let body = translate::failure(self.api(), failure);
        self.tell_failure(failure, effects);
        if self.plan.as_ref().is_some_and(|p| p.one_cluster) {
            // Envoy 1.36 crashes when it retries on headers that were held: the client gets this failure instead.
            effects.push(Effect::SetResponseHeader(NO_RETRY, "true".into()));
        }
        effects.push(Effect::SetResponseHeader("content-type", "application/json".into()));
        effects.push(Effect::SetResponseHeader("content-length", body.len().to_string()));
        effects.push(Effect::ResponseBody(body));
        self.response = Incoming::Told;
        Step::Continue
    }
}

enum First {
    /// Not complete.
    Unknown,
    /// An event of an answer.
    Good,
    /// An error, or nothing at all.
    Failed(Failure),
}

/// Judges the first event of a stream in the client's dialect.
fn judge_first(api: Api, body: &[u8], end: bool) -> First {
    let mut decoder = sse::Decoder::new(MAX_FIRST);
    let mut verdict = First::Unknown;
    if api.aws() {
        let mut frames = eventstream::Decoder::new(MAX_FIRST);
        let read = frames.push(body, &mut |frame| {
            let failure = bedrock::invoke::failure_of(frame);
            if matches!(verdict, First::Unknown) {
                verdict = failure.map_or(First::Good, First::Failed);
            }
        });
        if read.is_err() && matches!(verdict, First::Unknown) {
            return First::Failed(Failure::unreadable("the provider's stream cannot be read"));
        }
    } else {
        let _ = decoder.push(body, &mut |event| {
            if event.has_data && matches!(verdict, First::Unknown) && api == Api::OpenaiResponses {
                verdict = match openai_responses::first(&event.data) {
                    openai_responses::First::Nothing => First::Unknown,
                    openai_responses::First::Good => First::Good,
                    openai_responses::First::Failed(failure) => First::Failed(failure),
                };
            } else if event.has_data && matches!(verdict, First::Unknown) {
                let failure = if api.anthropic() {
                    anthropic::stream_failure(&event.data)
                } else {
                    stream_error(&event.data)
                };
                verdict = match failure {
                    Some(failure) => First::Failed(failure),
                    None => First::Good,
                };
            }
        });
    }
    if end && matches!(verdict, First::Unknown) {
        return First::Failed(Failure::unreadable("the provider's stream ended before its first event"));
    }
    verdict
}

/// The error that a stream's payload is, with the status it names or 503.
fn stream_error(payload: &[u8]) -> Option<Failure> {
    let chunk = openai_chat::read_chunk(payload).ok()?;
    if !chunk.error {
        return None;
    }
    let doc = json::parse(payload, &Limits::default()).ok()?;
    let code = doc.root().get("error").unwrap_or(doc.root()).get("code").and_then(json::Value::as_u64);
    let status = code.and_then(|c| u16::try_from(c).ok()).filter(|c| (400..600).contains(c)).unwrap_or(503);
    Some(openai_chat::decode_error(status, payload))
}

/// The body with the target's model name in the place of the client's.
fn renamed(body: &[u8], plan: &Plan, model: &str) -> Result<Vec<u8>, Refusal> {
    let bounds = (usize::try_from(plan.model_at.0), usize::try_from(plan.model_at.1));
    let (Ok(from), Ok(to)) = bounds else { return Err(unreadable_body()) };
    let (Some(before), Some(old), Some(after)) = (body.get(..from), body.get(from..to), body.get(to..))
    else {
        return Err(unreadable_body());
    };
    // The range was measured on this very body; anything but a string there means that somebody edited it since.
    if !(old.len() >= 2 && old.starts_with(b"\"") && old.ends_with(b"\"")) {
        return Err(unreadable_body());
    }
    let mut out = Vec::with_capacity(body.len() + model.len());
    out.extend_from_slice(before);
    out.push(b'"');
    json::escape_into(&mut out, model);
    out.push(b'"');
    out.extend_from_slice(after);
    Ok(out)
}

fn lines(losses: &[Loss]) -> String {
    let mut out = String::new();
    for loss in losses.iter().take(32) {
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&loss.path);
        out.push_str(": ");
        out.push_str(loss.reason);
    }
    out
}
