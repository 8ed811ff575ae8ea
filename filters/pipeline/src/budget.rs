//! What a request may cost at most, before it is sent, and what it did cost, at its end.
//!
//! Amounts only: who holds them is the lease client's business (`weir-lease`). Money is integer: prices are
//! pico-USD per token, sums are u128, and one rounding up per request makes nano-USD.

use weir_config::filter::{self, Budget, Price, Target};
use weir_dialects::hub::Usage;
use weir_lease::{Code, Instance, LedgerLost, Need, Unit};
use weir_sorted::Gather;

use crate::codec::{Reader, Writer};
use crate::policy::{Caller, any, who};

/// Appends a need to a plan.
pub fn encode_need(need: &Need, w: &mut Writer) {
    let instance = &need.instance;
    w.bytes(instance.budget.as_bytes()).int(unit_code(instance.unit())).bytes(instance.subject.as_bytes());
    w.bytes(instance.definition.as_bytes()).int(need.full);
    w.int(u64::from(need.ledger_lost == LedgerLost::AllowLocal));
}

/// Takes a need from a plan; what the plan is cut short of shows in [`Reader::whole`].
pub fn decode_need(r: &mut Reader<'_>) -> Option<Need> {
    let budget = r.str();
    let unit = match r.int() {
        0 => Unit::Tokens,
        1 => Unit::Requests,
        2 => Unit::NanoUsd,
        _ => return None,
    };
    let instance = Instance::new(budget, unit, r.str(), r.str());
    let full = r.int();
    let lost = if r.int() != 0 { LedgerLost::AllowLocal } else { LedgerLost::Deny };
    Some(Need::whole(instance, full, lost))
}

fn unit_code(unit: Unit) -> u64 {
    match unit {
        Unit::Tokens => 0,
        Unit::Requests => 1,
        Unit::NanoUsd => 2,
    }
}

/// What was used of each [`Need`], in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settlement {
    /// Amounts used; each may exceed what was reserved, which the ledger debits at once.
    pub used: Vec<u64>,
}

/// What a request may use at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bound {
    /// Input tokens.
    pub input: u64,
    /// Output tokens of all choices.
    pub output: u64,
    /// The dearest of the targets that a try may reach, in pico-USD per token.
    pub input_pico: u64,
    /// The same for output.
    pub output_pico: u64,
}

impl Bound {
    /// The bound over these targets.
    pub fn over(input: u64, output: u64, targets: &[(usize, &Target)]) -> Self {
        let mut bound = Bound { input, output, ..Self::default() };
        for (_, target) in targets {
            // Which tier a request ends in is the provider's to say.
            for price in target.price.iter().chain(target.tiers.iter().map(|tier| &tier.price)) {
                // Cache writes cost more than plain input; whether a provider writes is its own choice.
                let dearest = price
                    .input_pico
                    .max(price.cache_write_pico.unwrap_or(0))
                    .max(price.cache_read_pico.unwrap_or(0));
                bound.input_pico = bound.input_pico.max(dearest);
                let output = price.output_pico.max(price.reasoning_pico.unwrap_or(0));
                bound.output_pico = bound.output_pico.max(output);
            }
        }
        bound
    }

    /// Nano-USD, rounded up.
    pub fn usd_nano(&self) -> u64 {
        ceil_nano(
            u128::from(self.input) * u128::from(self.input_pico)
                + u128::from(self.output) * u128::from(self.output_pico),
        )
    }

    /// In a unit.
    pub fn of(&self, unit: Unit) -> u64 {
        match unit {
            Unit::Tokens => self.input.saturating_add(self.output),
            Unit::Requests => 1,
            Unit::NanoUsd => self.usd_nano(),
        }
    }
}

/// What a target costs in a service tier; the tier is the provider's word, or empty.
pub fn price<'t>(target: &'t Target, tier: &str) -> Option<&'t Price> {
    let of = target.tiers.iter().find(|of| of.name == tier);
    of.map(|of| &of.price).or(target.price.as_ref())
}

/// Cost in nano-USD of reported usage; `None` when the target has no price.
pub fn cost_nano(usage: &Usage, price: Option<&Price>) -> Option<u64> {
    let price = price?;
    let read = usage.cache_read.min(usage.input);
    let write = usage.cache_write.min(usage.input - read);
    let plain = usage.input - read - write;
    let thought = usage.reasoning.min(usage.output);
    let pico = |tokens: u64, price: u64| u128::from(tokens) * u128::from(price);
    Some(ceil_nano(
        pico(plain, price.input_pico)
            + pico(read, price.cache_read_pico.unwrap_or(price.input_pico))
            + pico(write, price.cache_write_pico.unwrap_or(price.input_pico))
            + pico(usage.output - thought, price.output_pico)
            + pico(thought, price.reasoning_pico.unwrap_or(price.output_pico)),
    ))
}

fn ceil_nano(pico: u128) -> u64 {
    u64::try_from(pico.div_ceil(1000)).unwrap_or(u64::MAX)
}

/// The budgets that count a request of `caller` to `model`.
pub fn matching<'p>(budgets: &'p [Budget], caller: &Caller, model: &str) -> Vec<&'p Budget> {
    budgets.iter().filter(|b| who(&b.when, caller) && any(&b.when.model, model)).gather()
}

/// The least of [`Lowering::usual`].
pub const TRANSIENT_FLOOR: u64 = 512;
/// Nanoseconds in a millisecond.
const MS: u64 = 1_000_000;

/// How far an output ceiling may be lowered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lowering {
    /// Answers billed.
    pub answers: u64,
    /// Not at all: tools are offered, or the answer must be a document of a schema.
    pub never: bool,
    /// Tokens of each answer that the model thinks, as the client set it; a ceiling below it is refused by the provider.
    pub thinking: u64,
    /// Output tokens below which no answer is cut short while others' reservations may still come back, for most of the
    /// model's answers have no more: a burst truncates nothing of a budget that is half unspent.
    pub usual: u64,
    /// Output tokens that are reserved at first where the budget is reserved ahead of the stream.
    pub first: Option<u64>,
}

impl Lowering {
    /// What `bound` becomes when each answer has no more than `output` tokens.
    fn down_to(&self, bound: &Bound, output: u64) -> Bound {
        let output = output.saturating_add(self.thinking).saturating_mul(self.answers);
        Bound { output: output.min(bound.output), ..*bound }
    }
}

/// The ceiling of each answer that these amounts pay for; `None` where no need got less than all.
pub fn ceiling(needs: &[Need], amounts: &[u64], bound: &Bound, answers: u64) -> Option<u64> {
    let mut least = None;
    for (need, amount) in needs.iter().zip(amounts) {
        if *amount >= need.full {
            continue;
        }
        let output = match need.instance.unit() {
            Unit::Tokens => amount.saturating_sub(bound.input),
            Unit::Requests => continue,
            Unit::NanoUsd => {
                let input = u128::from(bound.input) * u128::from(bound.input_pico);
                let rest = (u128::from(*amount) * 1000).saturating_sub(input);
                u64::try_from(rest / u128::from(bound.output_pico.max(1))).unwrap_or(u64::MAX)
            }
        };
        let each = output / answers.max(1);
        least = Some(least.map_or(each, |least: u64| least.min(each)));
    }
    least
}

/// The model that serves instead: every budget that refuses must name one, and the first names it.
pub fn instead<'p>(budgets: &'p [Budget], refusal: &weir_lease::Refusal) -> Option<(&'p str, &'p str)> {
    if refusal.code.status() != 429 {
        return None;
    }
    let mut named = refusal.budgets.iter().map(|short| {
        let budget = budgets.iter().find(|budget| budget.name == short.instance.budget)?;
        Some((budget.name.as_str(), budget.exceeded.as_deref()?))
    });
    let first = named.next()??;
    named.all(|one| one.is_some()).then_some(first)
}

/// What must be held in them. `each` names a field of the caller; callers without it share one counter, under the empty
/// value.
pub fn needs(
    budgets: &[&Budget],
    caller: &Caller,
    model: &str,
    bound: &Bound,
    lowering: &Lowering,
) -> Vec<Need> {
    let mut out = Vec::new();
    for budget in budgets {
        let subject = budget
            .each
            .iter()
            .map(|field| match field.as_str() {
                "tenant" => caller.name.as_str(),
                "key" => caller.key.as_str(),
                "model" => model,
                label => caller.labels.get(label).map(String::as_str).unwrap_or_default(),
            })
            .collect::<Vec<_>>()
            .join("\u{1f}");
        let lost = match budget.ledger_lost {
            filter::LedgerLost::Deny => LedgerLost::Deny,
            filter::LedgerLost::AllowLocal => LedgerLost::AllowLocal,
        };
        for (unit, limit) in [
            (Unit::Tokens, budget.tokens),
            (Unit::Requests, budget.requests),
            (Unit::NanoUsd, budget.usd_nano),
        ] {
            if limit.is_some() {
                let instance = Instance::new(&budget.name, unit, &subject, &budget.definition);
                let mut need = Need::whole(instance, bound.of(unit), lost);
                if let Some(first) = lowering.first.filter(|_| budget.progressive) {
                    need = Need::whole(need.instance, Bound { output: first, ..*bound }.of(unit), lost);
                } else if let Some(min) = budget.min_output.filter(|_| !lowering.never) {
                    let transient = lowering.down_to(bound, min.max(lowering.usual));
                    need.floor = transient.of(unit);
                    need.min = lowering.down_to(bound, min).of(unit);
                }
                need.soft = budget.soft;
                need.wait = budget.wait_ms.saturating_mul(MS);
                out.push(need);
            }
        }
    }
    out
}

/// What was used of each need. `tries_sent` is false when no try left the gateway.
pub fn used(needs: &[Need], usage: &Usage, cost: Option<u64>, tries_sent: bool) -> Settlement {
    let amount = |need: &Need| match need.instance.unit() {
        Unit::Tokens => usage.input.saturating_add(usage.output),
        Unit::Requests => u64::from(tries_sent),
        // Unpriced under a usd budget is refused by the policy; were it to happen, the whole hold is spent.
        Unit::NanoUsd => cost.unwrap_or(need.full),
    };
    Settlement { used: needs.iter().map(amount).gather() }
}

/// The whole of every hold.
pub fn in_full(needs: &[Need]) -> Settlement {
    Settlement { used: needs.iter().map(|n| n.full).gather() }
}

/// A refusal as the client reads it. Used up for more than a minute tells the SDK not to try again.
pub fn explain(refusal: &weir_lease::Refusal) -> crate::refusal::Refusal {
    let seconds = refusal.retry_after_ms.div_ceil(1000).max(1);
    let terminal = refusal.code == Code::Exhausted && seconds > 60;
    let kind = match refusal.code.status() {
        429 if terminal => "insufficient_quota",
        429 => "rate_limit_exceeded",
        _ => "server_error",
    };
    let (status, code) = (refusal.code.status(), refusal.code.name());
    let out = crate::refusal::Refusal::new(status, kind, code, &refusal.text())
        .header("retry-after", seconds.to_string());
    if terminal { out.header("x-should-retry", "false") } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_rounded_up_once() {
        let price = Price { input_pico: 30_000, output_pico: 120_000, ..Price::default() };
        let usage = Usage { input: 1, output: 1, ..Usage::default() };
        assert_eq!(cost_nano(&usage, Some(&price)), Some(150));
        let odd = Price { input_pico: 1, output_pico: 1, ..Price::default() };
        assert_eq!(cost_nano(&usage, Some(&odd)), Some(1));
        assert_eq!(cost_nano(&usage, None), None);
    }

    #[test]
    fn cached_input_has_its_own_price_and_is_counted_once() {
        let price = Price {
            input_pico: 3_000_000,
            output_pico: 15_000_000,
            cache_read_pico: Some(300_000),
            cache_write_pico: Some(3_750_000),
            ..Price::default()
        };
        let usage = Usage { input: 100, output: 10, cache_read: 60, cache_write: 30, ..Usage::default() };
        assert_eq!(
            cost_nano(&usage, Some(&price)),
            Some((10 * 3_000_000 + 60 * 300_000 + 30 * 3_750_000 + 150_000_000) / 1000)
        );
    }

    #[test]
    fn reasoning_and_tiers_have_their_own_prices_and_a_bound_takes_the_dearest() {
        let base = Price {
            input_pico: 10_000,
            output_pico: 20_000,
            reasoning_pico: Some(50_000),
            ..Price::default()
        };
        let flex = Price { input_pico: 5_000, output_pico: 10_000, ..Price::default() };
        let dear = Price { input_pico: 90_000, output_pico: 30_000, ..Price::default() };
        let tier = |name: &str, price| filter::Tier { name: name.into(), price };
        let target = Target {
            price: Some(base),
            tiers: vec![tier("flex", flex), tier("priority", dear)],
            ..Target::default()
        };
        let usage = Usage { input: 1_000, output: 100, reasoning: 40, ..Usage::default() };
        let cost = |tier| cost_nano(&usage, price(&target, tier));
        assert_eq!(cost(""), Some(10_000 + 60 * 20 + 40 * 50));
        assert_eq!(cost("default"), cost(""));
        assert_eq!(cost("flex"), Some(5_000 + 100 * 10));
        assert_eq!(cost("priority"), Some(90_000 + 100 * 30));
        let bound = Bound::over(1, 1, &[(0, &target)]);
        assert_eq!((bound.input_pico, bound.output_pico), (90_000, 50_000));
        // More reasoning than output is nobody's word.
        let odd = Usage { output: 1, reasoning: 5, ..Usage::default() };
        assert_eq!(cost_nano(&odd, Some(&base)), Some(50));
    }

    #[test]
    fn a_bound_takes_the_dearest_price() {
        let cheap = Target {
            price: Some(Price { input_pico: 1000, output_pico: 1000, ..Price::default() }),
            ..Target::default()
        };
        let dear = Target {
            price: Some(Price {
                input_pico: 500,
                output_pico: 9000,
                cache_write_pico: Some(2000),
                ..Price::default()
            }),
            ..Target::default()
        };
        let bound = Bound::over(10, 5, &[(0, &cheap), (1, &dear)]);
        assert_eq!(bound.usd_nano(), 10 * 2 + 5 * 9);
    }

    #[test]
    fn a_need_survives_the_plan() {
        let need =
            Need::whole(Instance::new("b", Unit::NanoUsd, "a\u{1f}k", "0123"), 77, LedgerLost::AllowLocal);
        let mut w = Writer::new(1);
        encode_need(&need, &mut w);
        let bytes = w.finish();
        assert_eq!(Reader::new(&bytes, 1).and_then(|mut r| decode_need(&mut r)), Some(need));
    }
}
