//! Whether a copy of the request goes to a mirror, and what it may cost there.

use weir_config::filter::{Budget, Target};

use super::{Exchange, Flight};
use crate::budget::{self, Bound, Lowering};
use crate::copy::Copy;
use crate::decide::Choice;
use crate::measure::Size;
use crate::plan::{Leg, Plan};
use crate::policy::{Caller, Policy};

impl Exchange {
    /// The copy that the route asks for. Its plan is filled in when the request is sent.
    pub(super) fn copied(
        &self,
        policy: &Policy,
        choice: &Choice<'_>,
        caller: &Caller,
        budgets: &[&Budget],
        size: &Size,
        body: usize,
    ) -> Option<(String, Box<Copy>)> {
        let target: &Target = choice.mirror?;
        if target.context > 0 && size.exact && size.tokens() >= target.context {
            return None;
        }
        // Another vocabulary makes other tokens of the same text, but never more than bytes.
        let counted = |t: &Target| t.tokenizer.is_some() && t.tokenizer == target.tokenizer;
        let same = choice.targets.iter().any(|(_, t)| counted(t));
        let input = if same { self.bound.input } else { self.bound.input.max(body as u64) };
        let bound = Bound::over(input, self.bound.output, &[(0, target)]);
        let whole = Lowering { answers: 1, never: true, thinking: 0, usual: 0, first: None };
        let provider = policy.provider(&target.provider)?;
        let copy = Copy {
            plan: Plan {
                needs: budget::needs(budgets, caller, &choice.model.name, &bound, &whole),
                legs: vec![Leg {
                    provider: target.provider.clone(),
                    model: target.model.clone(),
                    own: policy.own(&target.provider, caller),
                    ..Leg::default()
                }],
                ..Plan::default()
            },
            tenant: caller.name.clone(),
            key: caller.key.clone(),
            model: choice.model.name.clone(),
            policy: policy.config.version.clone(),
            route: self.span.route.clone(),
            labels: self.span.labels.clone(),
            input,
            price: budget::price(target, self.span.tier()).copied(),
            tokenizer: target.tokenizer.clone().unwrap_or_default(),
        };
        Some((provider.cluster.clone(), Box::new(copy)))
    }
}

impl Flight {
    /// Cluster and header of the copy, made from what is sent.
    pub(super) fn copy(&self) -> Option<(String, String)> {
        let (cluster, copy) = self.copy.as_ref()?;
        let mut plan = self.plan.clone();
        plan.needs = copy.plan.needs.clone();
        plan.legs = copy.plan.legs.clone();
        // It is tried once, and nobody waits for it.
        (plan.one_cluster, plan.stall_ms, plan.wider, plan.repeats) = (false, 0, 0, None);
        Some((cluster.clone(), copy.encode(&plan)))
    }
}
