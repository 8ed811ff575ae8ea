//! The ledger's answer to one request: sent on as it is, with a lower output ceiling, to another model, or refused.

use weir_lease::{Granted, Unit};

use super::{Admitted, Exchange, Flight, State};
use crate::budget;
use crate::io::{Effect, Effects, Now, Step};
use crate::paths::Named;
use crate::policy::Policy;
use crate::prompt::{self, Request};
use crate::ratelimit;
use crate::refusal::Refusal;
use weir_config::filter::{Budget, ProviderKind, ShowHeaders, Target};
use weir_lease::Need;
use weir_wire::json::{Doc, Value};

/// A request that waits for the ledger.
pub(super) struct Pending {
    pub flight: Box<Flight>,
    /// The body that leaves; `None` is the client's own.
    pub body: Option<Vec<u8>>,
    /// Bytes of the client's body.
    pub size: usize,
    /// The prompt's bound is a rough one, and a count would lower it.
    pub rough: bool,
    /// The request itself, where the ledger's answer may change it.
    pub again: Option<Again>,
}

/// What is needed to decide once more.
pub(super) struct Again {
    pub admitted: Box<Admitted>,
    pub body: Vec<u8>,
}

impl Exchange {
    pub(super) fn reserved(
        &mut self,
        now: Now,
        answer: Result<Granted, weir_lease::Refusal>,
        effects: &mut Vec<Effect>,
    ) -> Step {
        let pending = match std::mem::replace(&mut self.state, State::Over) {
            State::Reserving(pending) => pending,
            other => {
                self.state = other;
                return Step::Pause;
            }
        };
        match answer {
            Ok(granted) => match self.go(now, *pending, &granted, effects) {
                Ok(()) => Step::Continue,
                Err(refusal) => {
                    // Nothing has left the gateway.
                    effects.push(Effect::Settle(budget::Settlement { used: vec![0; self.needs.len()] }));
                    self.refuse(&refusal, effects)
                }
            },
            Err(_) if pending.rough => {
                // Others took what was there: a count may fit where a rough bound did not.
                self.state = State::Reserving(pending);
                self.short(now, effects)
            }
            Err(refusal) => {
                if let Some(again) = pending.again
                    && let Some(step) = self.downgrade(now, again, &refusal, effects)
                {
                    return step;
                }
                self.no_budget(now, pending.flight.plan.api, &refusal, effects)
            }
        }
    }

    fn go(
        &mut self,
        now: Now,
        pending: Pending,
        granted: &Granted,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        if let Some(need) = self.needs.first() {
            self.span.note(now.0, "weir.budget", "weir.budget.held", &need.instance.budget);
        }
        let Pending { mut flight, mut body, size, again, .. } = pending;
        let Some(policy) = self.policy.clone() else { return Ok(()) };
        let answers = flight.answers;
        if let Some(ceiling) = budget::ceiling(&self.needs, &granted.amounts, &self.bound, answers)
            && let Some(again) = &again
        {
            let lowered = self.lower(&mut flight, body.as_deref().unwrap_or(&again.body), ceiling)?;
            body = Some(lowered);
        }
        for (need, amount) in self.needs.iter_mut().zip(&granted.amounts).filter(|(need, _)| !need.soft) {
            (need.full, need.floor, need.min) = (*amount, *amount, *amount);
        }
        flight.plan.needs = self.needs.clone();
        flight.left = ratelimit::admitted(&self.needs, &granted.levels);
        let mut send = self.send(&policy, &flight, size, body);
        effects.append(&mut send);
        self.state = State::Sent(flight);
        Ok(())
    }

    /// The body with a lower ceiling, and the plan that goes with it.
    fn lower(&mut self, flight: &mut Flight, body: &[u8], ceiling: u64) -> Result<Vec<u8>, Refusal> {
        let api = flight.plan.api;
        let named =
            api.aws().then(|| Named { api, model: flight.plan.asked.clone(), stream: flight.plan.stream });
        let named = named.as_ref();
        let mut edits = weir_wire::splice::Splices::default();
        let doc = prompt::parse(body)?;
        Request::read(api, &doc, named)?.set_ceiling(ceiling, &mut edits);
        let out = super::judge::applied(&mut edits, body)?;
        for at in [&mut flight.plan.model_at, &mut flight.plan.own_at] {
            let moved = edits.moved(at.0 as usize..at.1 as usize);
            *at = (moved.start as u64, moved.end as u64);
        }
        flight.plan.body_len = out.len() as u64;
        // Where it would have ended by itself nobody knows.
        self.teaches = false;
        self.bound.output = ceiling.saturating_mul(flight.answers).min(self.bound.output);
        self.span.ints.push(("weir.output_ceiling", i64::try_from(ceiling).unwrap_or(i64::MAX)));
        Ok(out)
    }

    /// Decides again for the model that the short budgets name. Whatever stands in the way of that one, the refusal is
    /// the budget's.
    fn downgrade(
        &mut self,
        now: Now,
        again: Again,
        refusal: &weir_lease::Refusal,
        effects: &mut Vec<Effect>,
    ) -> Option<Step> {
        let policy = self.policy.clone()?;
        if self.span.downgrade.is_some() {
            return None;
        }
        let (budget, model) = budget::instead(&policy.config.budgets, refusal)?;
        let before = (self.span.clone(), self.needs.clone());
        self.span.downgrade = Some((budget.to_owned(), model.to_owned()));
        let step = self.judge(&policy, &again.admitted, &again.body, now, effects);
        if step.is_err() {
            (self.span, self.needs) = before;
        }
        step.ok()
    }

    /// Refuses for want of budget.
    pub(super) fn no_budget(
        &mut self,
        now: Now,
        api: crate::paths::Api,
        refusal: &weir_lease::Refusal,
        effects: &mut Vec<Effect>,
    ) -> Step {
        let left = ratelimit::refused(refusal, now);
        if let Some(first) = refusal.budgets.first() {
            self.span.note(now.0, "weir.budget", "weir.budget.refused", &first.instance.budget);
        }
        let mut out = budget::explain(refusal);
        out.headers.append(&mut ratelimit::fields(ratelimit::style(api), &left, now));
        let show = self.policy.as_ref().map_or(ShowHeaders::None, |policy| policy.config.headers);
        let first = refusal.budgets.first().filter(|_| show != ShowHeaders::None);
        let name = first.map(|first| first.instance.budget.clone());
        if let Some(budget) = ratelimit::tightest(show, &left, now).or(name) {
            out.headers.push(("x-weir-budget", budget));
        }
        self.refuse(&out, effects)
    }
}

/// What the answer says of the budgets it was charged to, in the place of what the provider says of its own account.
pub(super) fn tell_left(policy: Option<&Policy>, flight: &Flight, now: Now, effects: &mut Vec<Effect>) {
    if flight.plan.needs.is_empty() {
        return;
    }
    let style = ratelimit::style(flight.plan.api);
    let fields = ratelimit::fields(style, &flight.left, now);
    for name in ratelimit::names(style) {
        if !fields.iter().any(|(of, _)| of == name) {
            effects.respond_without(name);
        }
    }
    for (name, value) in fields {
        effects.respond(name, &value);
    }
    let show = policy.map_or(ShowHeaders::None, |policy| policy.config.headers);
    if let Some(budget) = ratelimit::tightest(show, &flight.left, now) {
        effects.respond("x-weir-budget", &budget);
    }
}

/// Nothing bounds what the request may cost at the targets it may reach: the field that is at fault.
pub(super) fn unboundable(
    policy: &Policy,
    budgets: &[&Budget],
    request: &Request<'_, '_>,
    doc: &Doc<'_>,
    targets: &[(usize, &Target)],
    input: u64,
) -> Option<&'static str> {
    let mut strict = budgets.iter().filter(|budget| !budget.soft && !budget.unbounded);
    let money = strict.clone().any(|budget| budget.usd_nano.is_some());
    if !money && !strict.any(|budget| budget.tokens.is_some()) {
        return None;
    }
    if input == u64::MAX {
        return Some(request.unseen());
    }
    if request.unlimited() {
        return Some("max_tokens");
    }
    if let Some(field) = request.hosted() {
        return Some(field);
    }
    let kind = |target: &Target| policy.provider(&target.provider).map(|provider| provider.kind);
    if targets.iter().any(|(_, target)| kind(target) == Some(ProviderKind::Anthropic))
        && let Some(field) = anthropics_own(doc, money)
    {
        return Some(field);
    }
    if !money || !targets.iter().any(|(_, target)| kind(target) == Some(ProviderKind::Openai)) {
        return None;
    }
    // OpenAI bills these by prices of their own: per search, per second of sound, per tier.
    let root = doc.root();
    let tier = root.get("service_tier").filter(|tier| tier.is_str("priority") || tier.is_str("scale"));
    let tier = tier.is_some_and(|tier| {
        let priced = |target: &Target| target.tiers.iter().any(|of| tier.is_str(&of.name));
        targets.iter().any(|(_, target)| kind(target) == Some(ProviderKind::Openai) && !priced(target))
    });
    let field = |name: &'static str| root.get(name).filter(|value| !value.is_null()).map(|_| name);
    field("web_search_options").or_else(|| field("audio")).or(tier.then_some("service_tier"))
}

/// What Anthropic bills beyond the prompt that is seen here: tools that it runs itself bring texts of any length, and
/// some settings have prices of their own.
fn anthropics_own(doc: &Doc<'_>, money: bool) -> Option<&'static str> {
    let root = doc.root();
    let own = |tool: Value<'_, '_>| tool.get("type").is_some_and(|it| !it.is_null() && !it.is_str("custom"));
    let field = |name: &'static str| root.get(name).filter(|value| !value.is_null()).map(|_| name);
    // In a chat request `tools` are functions, which are the client's.
    let tools = root.get("tools");
    let tools = tools.is_some_and(|it| it.items().any(|tool| own(tool) && tool.get("function").is_none()));
    let dear = || if money { field("speed").or_else(|| field("inference_geo")) } else { None };
    if tools { Some("tools") } else { field("mcp_servers").or_else(|| field("container")).or_else(dear) }
}

/// The request may be changed by the ledger's answer.
pub(super) fn may_change(needs: &[Need], budgets: &[&Budget], downgraded: bool) -> bool {
    needs.iter().any(|need| need.min < need.full)
        || (!downgraded && budgets.iter().any(|budget| budget.exceeded.is_some() && !budget.soft))
}

/// What a try may cost, for `weir explain`.
pub(super) fn told(needs: &[Need], budgets: &[&Budget]) -> String {
    let one = |need: &Need| {
        let name = &need.instance.budget;
        let unit = need.instance.unit();
        let amount = |units: u64| match unit {
            Unit::NanoUsd => format!("{}.{:09} USD", units / 1_000_000_000, units % 1_000_000_000),
            _ => format!("{units} {}", unit.name()),
        };
        let mut out = match need.soft {
            true => format!("{name} counts at most {}", amount(need.full)),
            false => format!("{name} holds {}", amount(need.full)),
        };
        if !need.instance.subject.is_empty() {
            out.push_str(&format!(" of {:?}", need.instance.subject.split('\u{1f}').collect::<Vec<_>>()));
        }
        if need.min < need.full {
            out.push_str(&format!(" (at least {} when used up", amount(need.min)));
            if need.floor > need.min {
                out.push_str(&format!(", {} while others may give back", amount(need.floor)));
            }
            out.push(')');
        }
        if need.wait > 0 && !need.soft {
            out.push_str(&format!(" (waits up to {} ms for others)", need.wait / 1_000_000));
        }
        let budget = budgets.iter().find(|budget| budget.name == *name);
        if let Some(model) = budget.and_then(|budget| budget.exceeded.as_ref()) {
            out.push_str(&format!(" (else {model})"));
        }
        out
    };
    needs.iter().map(one).collect::<Vec<_>>().join(", ")
}
