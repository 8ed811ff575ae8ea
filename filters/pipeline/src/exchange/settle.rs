//! What an exchange cost, by the best word there is: the provider's usage, what was counted here, or a bound.

use weir_dialects::hub::Usage;
use weir_sorted::Gather;

use super::{Exchange, Flight, client_left};
use crate::answer::{Answer, Facts};
use crate::budget::{self, Bound, Settlement};
use crate::io::Effect;
use crate::learned::{self, Sample};
use crate::paths::Api;
use crate::plan::{Progress, Report};
use crate::policy::Policy;
use crate::span::Counted;
use weir_config::filter::{ProviderKind, Target};
use weir_lease::Unit;

/// Output tokens that a provider may still bill after its client has hung up (budget-protocol §7).
const MARGIN: u64 = 256;

impl Exchange {
    /// What the exchange cost, by the best word there is.
    pub(super) fn settle(
        &mut self,
        flight: &Flight,
        report: &Report,
        details: &str,
        effects: &mut Vec<Effect>,
    ) {
        let mut facts = flight.answer.facts();
        facts.usage = facts.usage.or(flight.told);
        if facts.id.is_empty() && flight.plan.api.aws() {
            // Converse has no other.
            facts.id.clone_from(&report.request_id);
        }
        self.show_answer(&flight.answer, facts.blocked.is_some());
        self.span.response_id.clone_from(&facts.id);
        self.span.response_model.clone_from(&facts.model);
        self.span.finish_reasons = facts.finish.clone();
        self.span.attempts = self.span.attempts.max(report.attempt);
        let policy = self.policy.clone();
        let policy = policy.as_deref();
        let target = flight.targets.get(report.target(report.attempt));
        // Asked for it may be, and served by another: the answer's word is the bill's.
        let tier = if facts.tier.is_empty() { self.span.tier() } else { &facts.tier };
        let price = target.and_then(|target| budget::price(target, tier)).copied();
        for (key, value) in [
            ("openai.response.service_tier", &facts.tier),
            ("openai.response.system_fingerprint", &facts.fingerprint),
        ] {
            if !value.is_empty() {
                self.span.words.push((key, value.clone()));
            }
        }

        let complete = flight.provider && flight.answer.complete();
        let refused = matches!(report.progress, Progress::Refused | Progress::Unreached);
        let sent = report.attempt > 0 && report.progress != Progress::Unreached;
        let usage = match facts.usage {
            Some(usage) => {
                self.span.counted = Counted::Provider;
                Some(usage)
            }
            // The provider's error is not billed; neither is a try that never reached it.
            None if refused || report.attempt == 0 => Some(Usage::default()),
            // Counting is free of charge.
            None if flight.plan.api == Api::AnthropicCount => Some(Usage::default()),
            None if complete && self.span.status < 400 && facts.counted && !thinks_unseen(policy, target) => {
                let exact = self.input_known && !facts.bytes;
                self.span.counted = if exact { Counted::Here } else { Counted::Estimated };
                let input = self.span.input_counted.unwrap_or(self.bound.input);
                // Bytes are no fewer than tokens, and the ceiling was sent.
                let most = if facts.bytes && !self.needs.is_empty() { self.bound.output } else { u64::MAX };
                Some(Usage { input, output: facts.output.min(most), ..Usage::default() })
            }
            None => None,
        };
        let mut found: Vec<_> =
            facts.found.iter().map(|(kind, count)| (["answer.", kind.name()].concat(), *count)).gather();
        weir_sorted::sort_by(&mut found, Ord::cmp);
        self.span.findings.append(&mut found);
        if facts.blocked.is_some() {
            self.span.error = Some("content_blocked".into());
        }
        if !complete && self.span.error.is_none() {
            let why = if client_left(details) {
                "client_gone"
            } else if details.ends_with("timeout") {
                "timeout"
            } else {
                "upstream_cut"
            };
            self.span.error = Some(why.into());
        }
        match usage {
            Some(usage) => {
                self.span.usage = usage;
                self.span.cost_nano = budget::cost_nano(&usage, price.as_ref());
                self.learn(flight, report, facts.usage.is_some(), complete, effects);
                let settlement = budget::used(&self.needs, &usage, self.span.cost_nano, sent);
                effects.push(Effect::Settle(settlement));
            }
            None => {
                // Nobody will say what this cost: all that was reserved is presumed spent.
                self.span.counted = Counted::Estimated;
                let output = facts.output;
                let input = if self.input_known {
                    self.span.input_counted.unwrap_or(self.bound.input)
                } else {
                    self.bound.input
                };
                self.span.usage = Usage { input, output, ..Usage::default() };
                self.span.cost_nano = budget::cost_nano(&self.span.usage, price.as_ref());
                let settlement =
                    self.stopped(flight, report, &facts).unwrap_or_else(|| budget::in_full(&self.needs));
                self.say_charged(&settlement);
                effects.push(Effect::Settle(settlement));
            }
        }
        if report.lost > 0 {
            self.span
                .ints
                .push(("weir.attempts.presumed_spent", i64::try_from(report.lost).unwrap_or(i64::MAX)));
        }
        if let Some(policy) = policy {
            flight.answer.remember(&mut policy.seen.borrow_mut());
        }
    }

    /// Where budgets are charged by a bound, the span says the same as they: its sums are the ledger's.
    fn say_charged(&mut self, settlement: &Settlement) {
        let charged = |unit| {
            let of = self.needs.iter().zip(&settlement.used).filter(|(need, _)| need.instance.unit() == unit);
            of.map(|(_, used)| *used).max()
        };
        let (nano, tokens) = (charged(Unit::NanoUsd), charged(Unit::Tokens));
        self.span.cost_nano = nano.or(self.span.cost_nano);
        if let Some(tokens) = tokens {
            let tokens = i64::try_from(tokens).unwrap_or(i64::MAX);
            self.span.ints.push(("weir.usage.tokens.charged", tokens));
        }
    }

    /// What the provider's word teaches: how its tokens compare with ours, and whether it tells them.
    fn learn(&self, flight: &Flight, report: &Report, told: bool, complete: bool, effects: &mut Vec<Effect>) {
        let target = flight.targets.get(report.target(report.attempt));
        let (Some(policy), Some(target)) = (&self.policy, target) else { return };
        if complete && self.span.status < 400 && (flight.plan.include_usage || !flight.plan.stream) {
            policy.learned.borrow_mut().answered(&target.provider, told);
        }
        if self.teaches && told && complete && self.span.status < 400 {
            let each = self.span.usage.output / flight.answers.max(1);
            effects.push(Effect::Learn(learned::said(&target.provider, &target.model, each)));
        }
        if let Some(sample) = self.sample
            && told
            && [false, true].iter().any(|tools| {
                learned::cell(&target.provider, &target.model, *tools, sample.counted) == sample.cell
            })
        {
            effects.push(Effect::Learn(Sample { reported: self.span.usage.input, ..sample }));
        }
    }

    /// Of a stream whose provider stops soon after its client has gone: what it had, what it said and a margin, never
    /// more than was reserved. `None` where that is not known.
    fn stopped(&self, flight: &Flight, report: &Report, facts: &Facts) -> Option<Settlement> {
        let target = flight.targets.get(report.target(report.attempt))?;
        let provider = self.policy.as_ref()?.provider(&target.provider)?;
        let hidden = thinks_unseen(self.policy.as_deref(), Some(target));
        let seen = matches!(flight.answer, Answer::None) || facts.counted;
        if !provider.stops || !flight.plan.stream || hidden || !seen {
            return None;
        }
        let said = facts.output.saturating_add(MARGIN.saturating_mul(flight.answers));
        if flight.ahead.as_ref().is_some_and(|ahead| ahead.over) {
            // Cut short here, by more than was reserved if need be.
            let cost = Bound { output: said, ..self.bound };
            return Some(Settlement {
                used: self.needs.iter().map(|need| cost.of(need.instance.unit())).gather(),
            });
        }
        let cost = Bound { output: said.min(self.bound.output), ..self.bound };
        let used = self.needs.iter().map(|need| cost.of(need.instance.unit()).min(need.full)).gather();
        Some(Settlement { used })
    }
}

/// OpenAI's models think where nobody sees it: what they said is not all that is billed.
fn thinks_unseen(policy: Option<&Policy>, target: Option<&Target>) -> bool {
    let Some(target) = target.filter(|target| target.supports.iter().any(|s| s == "reasoning")) else {
        return false;
    };
    let provider = policy.and_then(|policy| policy.provider(&target.provider));
    provider.is_some_and(|provider| provider.kind == ProviderKind::Openai)
}
