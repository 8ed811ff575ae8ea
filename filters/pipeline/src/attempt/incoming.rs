//! What a provider answers: passed on, held until it is known to be good, or translated. A failure becomes the client's
//! own error, with a status by which the router knows whether to try again.

use weir_dialects::hub::{Event, Failure};
use weir_dialects::{bedrock, openai_chat};

use super::first::{First, judge_first};
use super::{Attempt, EVENT_STREAM, Incoming, MAX_FIRST, Outgoing, Translation};
use crate::io::{Effect, Effects, Headers, Now, Step};
use crate::paths::Api;
use crate::plan::{NO_RETRY, Progress};
use crate::refusal::ERROR_TYPE;
use crate::translate;

/// Largest answer that is translated as a whole, and largest frame of a stream.
const MAX_ANSWER: usize = 16 << 20;
/// Bytes of a whole answer that are held back. What is larger is worth more early than safe.
const MAX_HELD: usize = 64 << 10;

impl Attempt {
    pub(super) fn response_headers(
        &mut self,
        headers: &Headers<'_>,
        end: bool,
        address: &str,
        effects: &mut Vec<Effect>,
    ) -> Step {
        if self.request == Outgoing::Refused {
            return Step::Continue;
        }
        address.clone_into(&mut self.report.address);
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
                effects.respond_without(name);
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
                    effects.respond_without(name);
                }
            }
            effects.respond_without("content-length");
            if self.api().aws() {
                let id = self.report.request_id.as_str();
                let id = if id.is_empty() { self.plan.as_ref().map_or("", |p| p.id.as_str()) } else { id };
                effects.respond("x-amzn-requestid", id);
            }
            if self.api().anthropic() {
                let id = self.plan.as_ref().map_or("", |p| p.id.as_str());
                effects.respond("request-id", id);
            }
            if status < 400 && stream {
                let media = if self.api().aws() { EVENT_STREAM } else { "text/event-stream; charset=utf-8" };
                effects.respond("content-type", media);
                effects.respond("cache-control", "no-cache");
                self.response = Incoming::Stream(self.translation());
            } else {
                effects.respond("content-type", "application/json");
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

    fn translation(&self) -> Box<Translation> {
        let context = self.answer_context();
        let usage = self.plan.as_ref().is_some_and(|p| p.include_usage);
        Box::new(Translation {
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
        })
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

    /// What a whole answer needs is its size alone: `None` where its bytes must be handed in. `size` is all of it so far.
    pub fn holds(&mut self, now: Now, size: usize, end: bool) -> Option<Step> {
        if self.copy.is_some() || !matches!(self.response, Incoming::Held) {
            return None;
        }
        self.heard = now.0;
        Some(self.kept(size, end))
    }

    fn kept(&mut self, size: usize, end: bool) -> Step {
        if !end && size < MAX_HELD {
            return Step::Pause;
        }
        self.response = Incoming::Pass;
        Step::Continue
    }

    pub(super) fn response_body(&mut self, chunk: &[u8], end: bool, effects: &mut Vec<Effect>) -> Step {
        match std::mem::replace(&mut self.response, Incoming::Pass) {
            Incoming::Fresh | Incoming::Pass => Step::Continue,
            Incoming::Told => {
                self.response = Incoming::Told;
                if !chunk.is_empty() {
                    effects.respond_body(Vec::new());
                }
                Step::Continue
            }
            Incoming::Held => {
                self.response = Incoming::Held;
                self.kept(chunk.len(), end)
            }
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
                        effects.respond_number("content-length", bytes.len() as u64);
                        effects.respond_body(bytes);
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
                effects.respond_body(translate::failure(self.api(), &failure));
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
                effects.respond_body(bytes);
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
            effects.respond(ERROR_TYPE, class);
        }
        effects.respond_number(":status", u64::from(status));
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
            effects.respond(NO_RETRY, "true");
        }
        effects.respond("content-type", "application/json");
        effects.respond_number("content-length", body.len() as u64);
        effects.respond_body(body);
        self.response = Incoming::Told;
        Step::Continue
    }
}
