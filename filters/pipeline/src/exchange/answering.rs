//! An answer on its way back: who gave it, what its client is told of it, and how its body is read. Envoy's own words
//! are put into the client's dialect here.

use std::rc::Rc;

use weir_dialects::hub::Usage;
use weir_dialects::{anthropic, bedrock, openai_chat};
use weir_tokens::Vocabulary;

use super::sending::provider_name;
use super::{Exchange, State, reserve};
use crate::answer::{Answer, Cut, Treatment};
use crate::io::{Effect, Effects, Headers, Now, Origin, Step};
use crate::paths::Api;
use crate::plan::{NO_RETRY, Progress, Report, TOO_LONG};
use crate::refusal::{ERROR_TYPE, Refusal};
use weir_config::filter::ShowHeaders;

/// Bytes of an answer that the host keeps until its end. Of what is larger it keeps nothing but waits on, up to the
/// policy's `max_body`: at the end, which may be trailers, it takes the whole only while it waits. Envoy would answer by
/// itself beyond its buffer, which the route's `request_body_buffer_limit` makes larger than `max_body`.
const MAX_KEPT: usize = 32 << 10;
/// By so many bytes it is larger.
const SLACK: u64 = 1 << 20;

impl Exchange {
    pub(super) fn response_headers(
        &mut self,
        now: Now,
        headers: &Headers<'_>,
        end: bool,
        origin: Origin<'_>,
        effects: &mut Vec<Effect>,
    ) -> Step {
        let status = headers.get(":status").and_then(|s| s.parse().ok()).unwrap_or(0);
        self.span.status = status;
        let policy = self.policy.clone();
        let State::Sent(flight) = &mut self.state else { return Step::Continue };
        flight.status = status;
        let report = origin.report.and_then(Report::decode).unwrap_or_default();
        let address = if origin.address.is_empty() { &report.address } else { origin.address };
        self.span.address = address.to_owned();
        flight.heard = now.0;
        // Only a try that got an answer says so; Envoy's own answers follow tries that did not.
        flight.provider = matches!(report.progress, Progress::Answering | Progress::Refused)
            && (status < 400 || origin.details == "via_upstream");
        let attempt = report.attempt.max(origin.attempts);
        self.span.attempts = attempt;
        if attempt > 1 {
            self.span.note(now.0, "weir.retry", "weir.tries", &attempt.to_string());
        }
        let index = report.target(attempt);
        if let (Some(target), Some(policy)) = (flight.targets.get(index), &policy) {
            self.span.target.clone_from(&target.provider);
            self.span.target_model.clone_from(&target.model);
            self.span.provider = provider_name(policy, &target.provider).to_owned();
        }
        self.span.losses.clone_from(&report.losses);
        if flight.plan.api == Api::BedrockModel {
            flight.told = told(headers);
        }
        if report.stalled && status == 504 {
            return self.stalled(report, effects);
        }
        flight.report = Some(report);
        if status >= 400 {
            effects.respond_without(NO_RETRY);
        }
        if status == TOO_LONG {
            // Envoy did not go on: the client reads what the provider said.
            effects.respond(":status", "400");
        }
        if let Some(policy) = &policy
            && policy.config.headers != ShowHeaders::None
        {
            if let Some((budget, model)) = &self.span.downgrade {
                let downgrade = format!("{model}; budget={budget}");
                effects.respond("x-weir-downgrade", &downgrade);
            }
            effects.respond("x-weir-request-id", &self.span.id);
            effects.respond("x-weir-policy", &policy.config.version);
            if policy.config.headers == ShowHeaders::Reasons {
                let why = format!("{}:{} attempt {attempt}", self.span.target, self.span.target_model);
                effects.respond("x-weir-target", &why);
            }
        }
        if status >= 400 {
            self.span.error = Some(status.to_string());
        }
        reserve::tell_left(policy.as_deref(), flight, now, effects);
        let kind = headers.get("content-type").unwrap_or_default();
        let encoded = headers.get("content-encoding").is_some_and(|e| !e.eq_ignore_ascii_case("identity"));
        let hide_usage = flight.plan.include_usage && !flight.client_usage;
        // Envoy's configuration puts its own words into OpenAI's shape; a try's words are in the client's own.
        let foreign = (flight.plan.api.anthropic() || flight.plan.api.aws())
            && !matches!(origin.details, "" | "weir" | "via_upstream");
        flight.answer = if !flight.provider && status >= 400 && (foreign || !openai_error(kind)) {
            // Envoy's own words, put into the client's dialect.
            effects.respond("content-type", "application/json");
            effects.respond_without("content-length");
            if flight.plan.api.aws() {
                let (status, class) = bedrock::class_of(status, "server_error", None);
                effects.respond_number(":status", u64::from(status));
                effects.respond(ERROR_TYPE, class);
                effects.respond("x-amzn-requestid", &flight.plan.id);
            }
            Answer::Local(local(flight.plan.api, status, origin.details))
        } else if encoded || end {
            Answer::Opaque(end)
        } else if flight.answer_set.is_some() && !Answer::reads(flight.plan.api, kind) {
            Answer::Opaque(false)
        } else {
            // What is counted is what this try's own model says.
            let tokenizer = flight.targets.get(index).and_then(|target| target.tokenizer.as_deref());
            let vocabulary = tokenizer.and_then(Vocabulary::from_name);
            // Who counts this prompt counts the next turn's, which repeats this answer.
            let counted = policy.as_ref().filter(|_| self.span.input_counted.is_some()).zip(vocabulary);
            // What is only counted alters nothing, so that every byte goes on as it came.
            let reports = flight.answer_set.as_ref().is_some_and(|set| set.reports_only());
            let set = flight.answer_set.clone();
            let (set, watch) = if reports { (None, set) } else { (set, None) };
            let treatment = Treatment {
                vault: flight.vault.take().map(Rc::new),
                set,
                watch,
                hide_usage,
                vocabulary,
                key: counted.map(|(policy, vocabulary)| policy.seen.borrow().key(vocabulary.number())),
                ends_early: flight.ahead.is_some(),
                unsearched: flight.unsearched,
                shown: self.shown.clone().filter(|_| status < 400),
            };
            Answer::new(flight.plan.api, kind, treatment)
        };
        if flight.answer_set.is_some() && matches!(flight.answer, Answer::Opaque(false)) {
            // What cannot be read cannot be masked.
            if flight.unsearched {
                self.span.note(now.0, "weir.redaction", "weir.unsearched", "answer");
            } else {
                effects.respond_without("content-length");
                effects.respond_without("content-encoding");
                let body = unreadable(flight.plan.api, status, effects);
                self.span.error = Some("answer_unreadable".into());
                flight.answer = Answer::Local(body);
            }
        }
        if end {
            if let Answer::Local(body) = std::mem::replace(&mut flight.answer, Answer::Opaque(true)) {
                effects.respond_body(body);
            }
        } else if flight.answer.keep() {
            // Its length is known once it is there, and mostly is what it was.
            flight.kept = Some(0);
            return Step::Pause;
        } else if flight.answer.changes() {
            effects.respond_without("content-length");
        }
        Step::Continue
    }

    /// The end of a body, to which the host adds nothing unless it waits.
    pub(super) fn response_trailers(&mut self, now: Now, effects: &mut Vec<Effect>) -> Step {
        let kept = if let State::Sent(flight) = &self.state { flight.kept } else { None };
        let step = self.response_body(now, &[], true, effects);
        let State::Sent(flight) = &mut self.state else { return step };
        let lost = |effect: &Effect| matches!(effect, Effect::ResponseBody(bytes) if !bytes.is_empty());
        let waits = kept.is_some_and(|kept| kept > 0);
        if waits || !matches!(flight.answer, Answer::Whole(_)) || !effects.iter().any(lost) {
            return step;
        }
        effects.retain(|effect| !lost(effect));
        if kept.is_some() {
            // Nothing came, in whose place the error could stand: its status says it alone.
            effects.respond_number("content-length", 0);
            return step;
        }
        // Its headers are gone, so that only a cut still says that it is not whole. Envoy does not survive one at its
        // trailers: they wait for the next tick, as what was silent for too long does.
        flight.silenced = true;
        self.span.error = Some("answer_too_large".into());
        Step::Pause
    }

    pub(super) fn response_body(
        &mut self,
        now: Now,
        chunk: &[u8],
        end: bool,
        effects: &mut Vec<Effect>,
    ) -> Step {
        let State::Sent(flight) = &mut self.state else { return Step::Continue };
        if !chunk.is_empty() {
            match self.span.first_chunk {
                None => self.span.first_chunk = Some(now.0.saturating_sub(self.span.start)),
                Some(_) => self.span.pace.piece(now.0),
            }
            self.span.pace.last = now.0;
            flight.heard = now.0;
        }
        if flight.silenced {
            // The client has been told: what comes late is nobody's, and the cut is under way.
            effects.respond_body(Vec::new());
            return Step::Continue;
        }
        if let Some(kept) = flight.kept.take() {
            let kept = kept + chunk.len();
            let max = self.policy.as_ref().map_or(0, |policy| policy.config.max_body);
            match flight.answer.push(chunk, end) {
                Ok(None) => {}
                Ok(Some(bytes)) if !end => {
                    let waits = bytes.is_empty() && kept as u64 <= max.max(MAX_KEPT as u64);
                    if kept > MAX_KEPT {
                        flight.answer.release();
                        effects.respond_body(bytes);
                    }
                    if waits {
                        flight.kept = Some(kept);
                        return Step::Pause;
                    }
                    effects.respond_without("content-length");
                }
                told => {
                    let status = flight.status;
                    // What was restored may be larger than Envoy takes.
                    let fits = |bytes: &Vec<u8>| bytes.len() as u64 <= max.saturating_add(SLACK);
                    let bytes = told.ok().flatten().filter(fits).unwrap_or_else(|| {
                        self.span.error = Some("answer_unreadable".into());
                        unreadable(flight.plan.api, status, effects)
                    });
                    effects.respond_number("content-length", bytes.len() as u64);
                    effects.respond_body(bytes);
                }
            }
            return Step::Continue;
        }
        let over = flight.ahead.as_ref().is_some_and(|ahead| ahead.over);
        match flight.answer.push(chunk, end) {
            Ok(Some(_)) if over => {
                // Told the end with the piece before this one: now the provider is cut off.
                effects.respond_body(Vec::new());
                if !end {
                    effects.push(Effect::Cut);
                }
            }
            Ok(Some(mut bytes)) => {
                bytes.append(&mut self.keep_ahead(now, effects).unwrap_or_default());
                effects.respond_body(bytes);
            }
            Ok(None) => {}
            Err(Cut { last }) => {
                // The client reads why before the stream is cut at the next piece.
                effects.respond_body(last);
                self.span.error = Some("answer_too_large".into());
            }
        }
        Step::Continue
    }
}

/// An answer that cannot be searched becomes this error, while its headers can still say so.
fn unreadable(api: Api, status: u16, effects: &mut Vec<Effect>) -> Vec<u8> {
    let refusal = Refusal::server(
        if status >= 400 { status } else { 502 },
        "answer_unreadable",
        "the provider's answer cannot be searched for what the policy hides, and is not let through",
    );
    let reply = refusal.reply(api);
    effects.respond_number(":status", u64::from(reply.status));
    for (name, value) in reply.headers {
        effects.respond(name, &value);
    }
    reply.body
}

/// What InvokeModel says in headers of the tokens billed: of a model's own dialect there is no other word.
fn told(headers: &Headers<'_>) -> Option<Usage> {
    let count =
        |name: &str| headers.get(&["x-amzn-bedrock-", name, "-token-count"].concat())?.parse::<u64>().ok();
    let (cache_read, cache_write) =
        (count("cache-read-input").unwrap_or(0), count("cache-write-input").unwrap_or(0));
    let input = count("input")?.saturating_add(cache_read).saturating_add(cache_write);
    Some(Usage { input, output: count("output").unwrap_or(0), cache_read, cache_write, reasoning: 0 })
}

fn openai_error(content_type: &str) -> bool {
    content_type.starts_with("application/json")
}

/// Envoy's own refusal in the client's dialect.
fn local(api: Api, status: u16, details: &str) -> Vec<u8> {
    let (code, message) = match status {
        503 => ("provider_unavailable", "no provider could be reached: try again in a moment"),
        504 => ("provider_timeout", "no provider answered in time: try again"),
        408 => ("request_timeout", "the request did not arrive in time"),
        413 => ("request_too_large", "the request is too large"),
        _ => ("gateway_error", "the gateway could not serve the request"),
    };
    let message = if details.is_empty() { message.to_owned() } else { format!("{message} ({details})") };
    if api.aws() {
        return bedrock::error(Some(code), &message, None);
    }
    if api.anthropic() {
        return anthropic::error(status, Some(code), &message, None);
    }
    openai_chat::error(
        status,
        if status < 500 { "invalid_request_error" } else { "server_error" },
        Some(code),
        &message,
        None,
    )
}
