//! A decided request on its way out: the plan that each try reads, and the effects that hand it to Envoy's router.

use std::rc::Rc;

use weir_dialects::bedrock;
use weir_pii as pii;
use weir_sorted::Gather;

use super::{Exchange, Flight};
use crate::answer::Answer;
use crate::copy::{COPY, MIRROR};
use crate::decide::Choice;
use crate::io::{Effect, Effects, Now};
use crate::paths::Api;
use crate::plan::{CLUSTER, Leg, PLAN, Plan, SLOTS, TOO_LONG};
use crate::policy::{Caller, Policy};
use crate::prompt::Request;
use crate::trace::Stage;
use weir_config::filter::{List, ProviderKind, Target};

impl Exchange {
    #[allow(clippy::too_many_arguments, reason = "one place gathers what the decision produced")]
    pub(super) fn plan(
        &mut self,
        policy: &Rc<Policy>,
        choice: &Choice<'_>,
        caller: &Caller,
        api: Api,
        request: &Request<'_, '_>,
        model_at: std::ops::Range<usize>,
        body_len: usize,
        scheme: &str,
        now: Now,
        vault: Option<pii::Vault>,
    ) -> Flight {
        let tries = (policy.config.retry.tries.max(1) as usize).min(SLOTS.len());
        let mut order: Vec<&(usize, &Target)> = Vec::with_capacity(tries);
        while order.len() < tries && !choice.targets.is_empty() {
            for target in choice.targets.iter().take(tries - order.len()) {
                order.push(target);
            }
        }
        let cluster = policy.config.lists.as_ref().and_then(|lists| one_cluster(policy, lists, &mut order));
        let legs = order
            .iter()
            .map(|(i, t)| {
                // Converse is asked, unless the target says otherwise or the client's own body can pass.
                let passes = t.invoke
                    || api == Api::BedrockModel
                    || api == Api::BedrockInvoke && bedrock::is_claude(&t.model);
                let known = policy.provider(&t.provider);
                let bedrock = known.is_some_and(|p| p.kind == ProviderKind::Bedrock);
                let (provider, model) = (t.provider.clone(), t.model.clone());
                let own = policy.own(&provider, caller);
                if !own.is_empty() {
                    self.trace.note(Stage::Targets, || match bedrock {
                        true => format!("{provider} gets requestMetadata {{{own}}}"),
                        false => format!("{provider} gets the cache_salt of tenant {}", caller.name),
                    });
                }
                Leg { provider, model, target: *i as u64, invoke: bedrock && passes, own }
            })
            .gather();
        let targets: Vec<Target> = order.iter().map(|(_, t)| (*t).clone()).gather();
        if let Some(first) = targets.first() {
            self.span.target.clone_from(&first.provider);
            self.span.target_model.clone_from(&first.model);
            self.span.provider = provider_name(policy, &first.provider).to_owned();
        }
        let client_usage = request.include_usage();
        let plan = Plan {
            id: self.span.id.clone(),
            api,
            asked: request.model().to_owned(),
            model_at: (model_at.start as u64, model_at.end as u64),
            stream: request.stream(),
            include_usage: client_usage || (request.stream() && !self.needs.is_empty()),
            created: now.seconds(),
            traceparent: self.span.context.traceparent(),
            tracestate: self.span.tracestate.clone(),
            scheme: scheme.to_owned(),
            body_len: body_len as u64,
            legs,
            needs: self.needs.clone(),
            one_cluster: cluster.is_some(),
            anthropic: Default::default(),
            extra: String::new(),
            limits: (
                policy.config.request_timeout_ms,
                if request.stream() { policy.config.retry.first_byte_ms } else { 0 },
            ),
            stall_ms: policy.config.retry.stall_ms,
            wider: if cluster.is_some() { 0 } else { wider(&targets) },
            repeats: policy.config.retry.budget,
            own_at: (0, 0),
        };
        Flight {
            plan,
            targets,
            cluster,
            client_usage,
            vault,
            answer_set: policy.redaction(caller, policy.name_of(request.model()), false),
            unsearched: policy.may_pass(caller, policy.name_of(request.model()), false),
            answer: Answer::None,
            kept: None,
            status: 0,
            report: None,
            provider: false,
            told: None,
            answers: request.answers(),
            left: Vec::new(),
            ahead: None,
            heard: 0,
            silenced: false,
            copy: None,
        }
    }

    /// The effects that send the request on.
    pub(super) fn send(
        &self,
        policy: &Policy,
        flight: &Flight,
        old_size: usize,
        body: Option<Vec<u8>>,
    ) -> Vec<Effect> {
        let mut out = Vec::with_capacity(10);
        if let Some(cluster) = &flight.cluster {
            out.request(CLUSTER, cluster);
        } else {
            for (slot, leg) in SLOTS.iter().zip(&flight.plan.legs) {
                if let Some(provider) = policy.provider(&leg.provider) {
                    out.push(Effect::State(slot, provider.cluster.clone().into_bytes()));
                }
            }
        }
        out.push(Effect::State(PLAN, flight.plan.encode()));
        if let Some((cluster, copy)) = flight.copy() {
            out.request(MIRROR, &cluster);
            out.push(Effect::SetRequestHeader(COPY, copy));
        }
        // Setting any header makes Envoy choose the route anew, now that the slots are known.
        out.request_number("x-envoy-max-retries", (flight.plan.legs.len() - 1) as u64);
        if flight.plan.legs.len() > 1 {
            let (on, codes) = retry_on(&policy.config.retry.on, flight.plan.wider > 0);
            out.request("x-envoy-retry-on", &on);
            if let Some(codes) = codes {
                out.request("x-envoy-retriable-status-codes", &codes);
            }
        }
        if flight.plan.limits.1 > 0 {
            out.request_number("x-envoy-upstream-rq-per-try-timeout-ms", flight.plan.limits.1);
        }
        if policy.config.request_timeout_ms > 0 {
            out.request_number("x-envoy-upstream-rq-timeout-ms", policy.config.request_timeout_ms);
        }
        if let Some(body) = body {
            if body.len() != old_size {
                out.request_number("content-length", body.len() as u64);
            }
            out.push(Effect::RequestBody(body));
        }
        out
    }
}

/// The one cluster for all tries: that of the longest list with which they begin, or of the first provider alone.
/// Targets at providers that are not in it are left out.
fn one_cluster(policy: &Policy, lists: &[List], order: &mut Vec<&(usize, &Target)>) -> Option<String> {
    let mut names: Vec<String> = Vec::new();
    for (_, target) in order.iter() {
        if !names.contains(&target.provider) {
            names.push(target.provider.clone());
        }
    }
    let list =
        (2..=names.len()).rev().find_map(|n| lists.iter().find(|l| names.get(..n) == Some(&l.providers)));
    names.truncate(list.map_or(1, |l| l.providers.len()));
    weir_sorted::keep(order, |(_, target)| names.contains(&target.provider));
    match list {
        Some(list) => Some(list.cluster.clone()),
        None => policy.provider(names.first()?).map(|p| p.cluster.clone()),
    }
}

/// Bit by target: the one after it has a larger window.
fn wider(targets: &[Target]) -> u64 {
    let pairs = targets.iter().zip(targets.iter().skip(1)).enumerate();
    let larger = pairs.filter(|(at, (one, next))| *at < 64 && one.context > 0 && next.context > one.context);
    larger.map(|(at, _)| 1 << at).sum()
}

/// The policy's words for Envoy: its `x-envoy-retry-on` conditions, and its retriable status codes.
fn retry_on(on: &[String], wider: bool) -> (String, Option<String>) {
    let mut conditions: Vec<&str> = Vec::new();
    let mut codes = String::new();
    for word in on {
        match word.as_str() {
            "connect" => conditions.push("connect-failure"),
            "reset" => conditions.push("reset"),
            "5xx" => conditions.push("5xx"),
            "429" => {
                // 529 is what Anthropic says when it, not the client, has too much.
                codes.push_str("429,529");
            }
            _ => {}
        }
    }
    if wider {
        codes.push_str(if codes.is_empty() { "" } else { "," });
        codes.push_str(&TOO_LONG.to_string());
    }
    if !codes.is_empty() {
        conditions.push("retriable-status-codes");
    }
    (conditions.join(","), (!codes.is_empty()).then_some(codes))
}

/// `gen_ai.provider.name`. vLLM has no value of its own in the registry: its API's name stands for it.
pub(super) fn provider_name<'p>(policy: &'p Policy, name: &str) -> &'p str {
    match policy.provider(name).map(|p| p.kind) {
        Some(ProviderKind::Bedrock | ProviderKind::BedrockOpenai) => "aws.bedrock",
        Some(ProviderKind::Anthropic) => "anthropic",
        _ => "openai",
    }
}
