//! Reservations ahead of a stream: a part of what the answer may cost is held, and more is asked for as it is said. Where
//! no more is to be had the answer ends early, as one that ran into its ceiling. What a provider bills beyond that is what
//! it generates before it notices: the margin, which is charged.

use weir_dialects::hub::Usage;
use weir_lease::{Granted, Need, Refusal, Unit};
use weir_sorted::Gather;

use super::{Exchange, Flight, State};
use crate::budget::{self, Bound};
use crate::io::{Effect, Now, Step};
use crate::paths::Api;
use crate::policy::Policy;
use crate::prompt::Request;
use weir_config::filter::{Budget, ProviderKind, Target};

/// Output tokens reserved before the answer begins.
const FIRST: u64 = 512;
/// Output tokens that are never said: they pay for what the provider generates until it notices that it is cut off.
const MARGIN: u64 = 256;
/// The least that is asked for, where no more is left.
const LEAST: u64 = 16;
/// The same in time, by the stream's own rate, in nanoseconds.
const LEAD: u64 = 2_000_000_000;
/// Most tokens asked for at once.
const MOST: u64 = 16_384;

/// How far ahead a stream is.
pub(super) struct Ahead {
    /// Output tokens reserved.
    reserved: u64,
    /// Output tokens that the answer may have.
    most: u64,
    /// What the ledger is being asked for.
    asking: Option<(u64, Vec<Need>)>,
    /// No more is to be had.
    refused: bool,
    /// The client has been told the end.
    pub over: bool,
    /// Which needs grow.
    grows: Vec<bool>,
}

/// The output tokens that are reserved at first; `None` where all are.
pub(super) fn first(
    policy: &Policy,
    budgets: &[&Budget],
    request: &Request<'_, '_>,
    api: Api,
    targets: &[(usize, &Target)],
) -> Option<u64> {
    // A provider that bills the whole answer whenever its client goes cannot be stopped for less.
    let stops = |target: &Target| {
        let provider = policy.provider(&target.provider);
        provider.is_some_and(|provider| {
            // OpenAI's models think where nobody counts.
            let hidden =
                provider.kind == ProviderKind::Openai && target.supports.iter().any(|s| s == "reasoning");
            provider.stops && !hidden
        })
    };
    let applies = budgets.iter().any(|budget| budget.progressive && !budget.soft)
        && request.stream()
        && api == Api::OpenaiChat
        && targets.iter().all(|(_, target)| stops(target));
    applies.then(|| FIRST.saturating_mul(request.answers()))
}

impl Ahead {
    pub fn new(first: u64, bound: &Bound, needs: &[Need], budgets: &[&Budget]) -> Self {
        let grows = |need: &Need| {
            let of = budgets.iter().find(|budget| budget.name == need.instance.budget);
            of.is_some_and(|budget| budget.progressive && !budget.soft)
        };
        Self {
            reserved: first.min(bound.output),
            most: bound.output,
            asking: None,
            refused: false,
            over: false,
            grows: needs.iter().map(grows).gather(),
        }
    }
}

impl Exchange {
    /// After each piece of the answer: asks for more, or ends it. `Some` is what the client reads last.
    pub(super) fn keep_ahead(&mut self, now: Now, effects: &mut Vec<Effect>) -> Option<Vec<u8>> {
        let State::Sent(flight) = &mut self.state else { return None };
        let Flight { ahead: Some(ahead), answer, client_usage, .. } = flight.as_mut() else { return None };
        if ahead.over || answer.complete() {
            return None;
        }
        let said = answer.output();
        if ahead.reserved < ahead.most
            && said.saturating_add(MARGIN) >= ahead.reserved
            && (ahead.refused || ahead.asking.is_some())
        {
            ahead.over = true;
            self.span.error = Some("budget_exhausted".into());
            let input = self.span.input_counted.unwrap_or(self.bound.input);
            let usage = client_usage.then_some(Usage { input, output: said, ..Usage::default() });
            return Some(answer.end_early(usage));
        }
        let begun = self.span.start.saturating_add(self.span.first_chunk.unwrap_or(0));
        // Of less than a second no rate can be told.
        let elapsed = u128::from(now.0.saturating_sub(begun).max(LEAD / 2));
        let lead = u128::from(said) * u128::from(LEAD) / elapsed;
        let margin = u64::try_from(lead).unwrap_or(MOST).clamp(2 * MARGIN, MOST);
        let idle = ahead.asking.is_none() && !ahead.refused && ahead.reserved < ahead.most;
        if idle && said.saturating_add(margin) > ahead.reserved {
            let more = margin.min(ahead.most - ahead.reserved);
            let mut needs = Vec::with_capacity(self.needs.len());
            for (need, grows) in self.needs.iter().zip(&ahead.grows) {
                let unit = need.instance.unit();
                let cost = |output: u64| match unit {
                    Unit::Requests => 0,
                    unit if *grows => Bound { input: 0, output, ..self.bound }.of(unit),
                    _ => 0,
                };
                let mut need = Need::whole(need.instance.clone(), cost(more), need.ledger_lost);
                need.min = cost(more.min(LEAST));
                need.floor = need.min;
                needs.push(need);
            }
            ahead.asking = Some((more, needs.clone()));
            effects.push(Effect::TopUp(needs));
        }
        None
    }

    /// What became of the last asking.
    pub(super) fn topped_up(&mut self, answer: Result<Granted, Refusal>) -> Step {
        let State::Sent(flight) = &mut self.state else { return Step::Continue };
        let Some(ahead) = &mut flight.ahead else { return Step::Continue };
        let Some((more, asked)) = ahead.asking.take() else { return Step::Continue };
        let Ok(granted) = answer else {
            ahead.refused = true;
            return Step::Continue;
        };
        let bound = Bound { input: 0, output: more, ..self.bound };
        let tokens = budget::ceiling(&asked, &granted.amounts, &bound, 1).unwrap_or(more);
        ahead.reserved = ahead.reserved.saturating_add(tokens);
        for (at, (need, asked)) in self.needs.iter_mut().zip(&asked).enumerate() {
            let amount = granted.amounts.get(at).copied().unwrap_or(asked.full);
            need.full = need.full.saturating_add(amount);
        }
        Step::Continue
    }
}
