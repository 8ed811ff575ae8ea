//! When a prompt is counted: where a limit, the default ceiling, a budget that is short or a provider without usage
//! makes the count decide, or the policy wants it in every span. Else its bytes bound it, and what the provider reports
//! settles.

use weir_config::filter::{Budget, Limits, ProviderKind, Target};

use super::{DEFAULT_CEILING, Exchange, State};
use crate::io::{Effect, Now, Step};
use crate::measure::{Basis, Measure, Size};
use crate::paths::Api;
use crate::policy::Policy;
use crate::trace::Stage;

/// How long a budget that was short is believed to be, in nanoseconds.
const SHORT: u64 = 500_000_000;

impl Exchange {
    /// The prompt's size, as far as anybody needs to know it.
    pub(super) fn measured(
        &mut self,
        policy: &Policy,
        measure: &Measure<'_, '_, '_>,
        budgets: &[&Budget],
        limits: &Limits,
        now: Now,
    ) -> Size {
        let mut seen = policy.seen.borrow_mut();
        seen.seed(&self.entropy);
        let learned = policy.learned.borrow();
        // Where no budget asks for it, OpenAI's streams say what they cost to clients that do.
        let unasked = budgets.is_empty() && measure.request.stream() && !measure.request.include_usage();
        let kind = |target: &Target| policy.provider(&target.provider).map(|provider| provider.kind);
        let mute = |target: &Target| {
            unasked
                && matches!(
                    kind(target),
                    Some(ProviderKind::Vllm | ProviderKind::Openai | ProviderKind::BedrockOpenai)
                )
        };
        let silent = || measure.targets.iter().any(|(_, t)| mute(t) || learned.silent(&t.provider));
        let short = || budgets.iter().any(|budget| !budget.soft && learned.tight(&budget.name, now.0));
        let asked = policy.config.telemetry.count || measure.api == Api::AnthropicCount;
        let count = asked || self.counting || silent() || short();
        let mut size = measure.size(count, &mut seen, &learned);
        let limited = limits.max_input_tokens.is_some_and(|max| size.bound > max);
        // The ceiling that is set where nobody named one is what the window leaves.
        let narrow = !budgets.is_empty() && size.bound.saturating_add(DEFAULT_CEILING) > measure.context;
        // Where windows differ, the count says which of them are too small.
        let differ = || measure.targets.iter().any(|(_, t)| t.context == 0 || t.context > measure.context);
        if size.loose && (limited || narrow || (size.bound >= measure.context && differ())) {
            size = measure.size(true, &mut seen, &learned);
        }
        drop(learned);
        drop(seen);
        self.span.input_counted = size.counted;
        self.span.bound = size.bound;
        self.span.basis = size.basis.name();
        self.sample = size.sample;
        self.trace.note(Stage::Tokens, || {
            let first = measure.targets.first().and_then(|(_, target)| target.tokenizer.as_deref());
            let counted = match (size.counted, first) {
                (Some(counted), Some(name)) => {
                    let part = if size.exact { "" } else { " (estimated in part)" };
                    format!("{counted} input tokens by {name}{part}, ")
                }
                (_, Some(_)) => "not counted, since nothing depends on it: ".to_owned(),
                (_, None) => "the vocabulary is not known: ".to_owned(),
            };
            let learns = if size.sample.is_some() && size.basis == Basis::Bytes {
                "; calibrated after 1,000 requests of its kind"
            } else {
                ""
            };
            format!("{counted}at most {} (bound: {}{learns})", size.bound, size.basis.name())
        });
        size
    }

    /// The lease at hand is too short for a rough bound: the prompt is counted and decided on anew.
    pub(super) fn short(&mut self, now: Now, effects: &mut Vec<Effect>) -> Step {
        let (policy, pending) = match (self.policy.clone(), std::mem::replace(&mut self.state, State::Over)) {
            (Some(policy), State::Reserving(pending)) => (policy, pending),
            (_, other) => {
                self.state = other;
                return Step::Pause;
            }
        };
        let Some(again) = pending.again else { return Step::Pause };
        let mut learned = policy.learned.borrow_mut();
        for need in self.needs.iter().filter(|need| !need.soft) {
            learned.short(&need.instance.budget, now.0.saturating_add(SHORT));
        }
        drop(learned);
        self.counting = true;
        match self.judge(&policy, &again.admitted, &again.body, now, effects) {
            Ok(step) => step,
            Err(refusal) => self.refuse(&refusal, effects),
        }
    }
}
