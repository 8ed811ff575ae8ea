//! A try on its way out: whether it may go at all, its body in the provider's dialect, and every header anew.

use std::ops::Range;

use weir_config::filter::ProviderKind;
use weir_dialects::hub::Loss;
use weir_dialects::{bedrock, openai_responses};
use weir_wire::json;
use weir_wire::splice::Splices;

use super::{Attempt, EVENT_STREAM, Outgoing};
use crate::budget;
use crate::io::{Effect, Step};
use crate::own::{self, METADATA_HEADER};
use crate::paths::Api;
use crate::plan::{PROVIDER, Plan, TRIED};
use crate::refusal::Refusal;
use crate::span::TraceContext;
use crate::translate::{self, unreadable_body};

/// The version of Anthropic's API where the client names none.
const ANTHROPIC_VERSION: &str = "2023-06-01";

impl Attempt {
    pub(super) fn request_headers(&mut self, effects: &mut Vec<Effect>) -> Step {
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
        let own = self.leg().is_some_and(|leg| !leg.own.is_empty());
        if self.translates() || !same || own {
            self.request = Outgoing::Body;
            return Step::Pause;
        }
        let mut send = vec![self.headers(self.plan.as_ref().map_or(0, |p| p.body_len), None)];
        if (self.report.lost > 0 || self.is_copy()) && !needs.is_empty() {
            self.request = Outgoing::Held;
            self.waiting = send;
            effects.push(Effect::Reserve(needs));
            return Step::Pause;
        }
        effects.append(&mut send);
        self.request = Outgoing::Sent;
        Step::Continue
    }

    pub(super) fn request_body(&mut self, body: &[u8], end: bool, effects: &mut Vec<Effect>) -> Step {
        if self.request != Outgoing::Body {
            return self.pass();
        }
        if !end {
            return Step::Pause;
        }
        let mut outgoing = match self.outgoing(body) {
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
        effects.append(&mut outgoing);
        self.request = Outgoing::Sent;
        Step::Continue
    }

    /// The body for this provider, and its path where the dialect names one.
    fn outgoing(&mut self, body: &[u8]) -> Result<(Vec<u8>, Option<String>), Refusal> {
        let (Some(plan), Some(leg)) = (&self.plan, self.leg()) else {
            return Err(Refusal::server(503, "no_plan", "the request carries no decision"));
        };
        let (converse, salted) = (plan.api == Api::BedrockConverse, self.config.kind == ProviderKind::Vllm);
        let own = if leg.own.is_empty() || leg.invoke { "" } else { leg.own.as_str() };
        let mut edits = Splices::new();
        if !self.translates() {
            let mut losses = Vec::new();
            if !plan.api.aws() {
                rename(body, plan, &leg.model, &mut edits)?;
            }
            if !own.is_empty() {
                own::put(&mut edits, body, own, converse, range(plan.own_at), &mut losses);
            }
            let mut out = edits.apply(body).map_err(|_| unreadable_body())?;
            if plan.api == Api::OpenaiResponses
                && let Some((own, mut more)) = openai_responses::own(&out)
            {
                losses.append(&mut more);
                out = own;
            }
            self.report.losses = lines(&losses);
            return Ok((out, None));
        }
        let mut echo = Vec::new();
        let mut encoded = translate::request(plan, leg, self.config.kind, body, &mut echo)?;
        if salted && !own.is_empty() {
            own::put(&mut edits, &encoded.body, own, false, 0..0, &mut encoded.losses);
            encoded.body = edits.apply(&encoded.body).map_err(|_| unreadable_body())?;
        }
        self.report.losses = lines(&encoded.losses);
        self.echo = echo;
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
        let extra = plan.map(|p| p.extra.as_str()).filter(|_| !self.translates()).unwrap_or_default();
        let own = self.leg().filter(|leg| leg.invoke).map(|leg| leg.own.as_str()).unwrap_or_default();
        let mut theirs = "";
        for line in extra.lines() {
            // One byte is searched for: two bring the standard library's two-way searcher along.
            if let Some((name, value)) = line.split_once(':')
                && let Some(value) = value.strip_prefix(' ')
            {
                if name == METADATA_HEADER && !own.is_empty() {
                    theirs = value;
                } else {
                    out.push((name.to_owned(), value.to_owned()));
                }
            }
        }
        if !own.is_empty() {
            let mut losses = Vec::new();
            let all = own::merged(own, theirs.as_bytes(), &mut losses);
            out.push((METADATA_HEADER.to_owned(), String::from_utf8(all).unwrap_or_default()));
            if !self.report.losses.is_empty() && !losses.is_empty() {
                self.report.losses.push('\n');
            }
            self.report.losses.push_str(&lines(&losses));
        }
        self.url = url;
        Effect::RequestHeaders(out)
    }

    pub(super) fn reserved(
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
}

/// Puts the target's model name in the place of the client's.
fn rename(body: &[u8], plan: &Plan, model: &str, edits: &mut Splices) -> Result<(), Refusal> {
    let at = range(plan.model_at);
    // The range was measured on this very body; anything but a string there means that somebody edited it since.
    let old = body.get(at.clone()).unwrap_or_default();
    if !(old.len() >= 2 && old.starts_with(b"\"") && old.ends_with(b"\"")) {
        return Err(unreadable_body());
    }
    let mut name = vec![b'"'];
    json::escape_into(&mut name, model);
    name.push(b'"');
    edits.replace(at, &name);
    Ok(())
}

/// A range of bytes as plans have it.
fn range((from, to): (u64, u64)) -> Range<usize> {
    let at = |place| usize::try_from(place).unwrap_or(usize::MAX);
    at(from)..at(to)
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
