//! Where a request may go and where it goes: boundaries, route, allowlist, targets, in this order.
//!
//! Pure: a policy, a caller and what is known of the request in; targets in the order of their tries out.
//! Nothing later opens what an earlier step closed; nothing left is an answer of its own, never "elsewhere".

use weir_config::filter::{Boundary, Model, Route, Target};

use crate::policy::{Caller, Policy, any, who};
use crate::refusal::Refusal;
use crate::trace::{Stage, Trace};

/// What the decision needs to know of a request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts<'a> {
    /// The model name that the client sent.
    pub asked: &'a str,
    /// Types found in its texts, before redaction.
    pub found: &'a [String],
    /// Features that a target must support.
    pub needs: &'a [&'static str],
}

/// The decision.
#[derive(Clone, Debug)]
pub struct Choice<'p> {
    /// The model that is used.
    pub model: &'p Model,
    /// Its targets that are left, in the order of their tries, with their index in the model.
    pub targets: Vec<(usize, &'p Target)>,
    /// The route that chose it, if one did.
    pub route: Option<&'p str>,
    /// Whether tries after the first may go to another target.
    pub fallback: bool,
}

/// Decides. `roll` is fresh randomness for weighted choices.
pub fn decide<'p>(
    policy: &'p Policy,
    caller: &Caller,
    facts: Facts<'_>,
    roll: u64,
    trace: &mut Trace,
) -> Result<Choice<'p>, Refusal> {
    // An alias is the same model for every later rule.
    let asked = policy.model(facts.asked).map_or(facts.asked, |m| m.name.as_str());

    let inside: Vec<&Boundary> = policy
        .config
        .boundaries
        .iter()
        .filter(|b| who(&b.when, caller) && any(&b.when.model, asked) && finds(b, facts.found))
        .collect();
    trace.note(Stage::Boundaries, || match inside.as_slice() {
        [] => "none applies".to_owned(),
        list => list
            .iter()
            .map(|b| format!("{}: providers {:?}, regions {:?}", b.name, b.providers, b.regions))
            .collect::<Vec<_>>()
            .join("; "),
    });

    let route = policy.config.routes.iter().find(|r| {
        any(&r.when.model, asked)
            && who(&r.when, caller)
            && (r.when.found.is_empty() || r.when.found.iter().any(|t| facts.found.contains(t)))
    });
    let model = choose(policy, facts.asked, route)?;
    trace.note(Stage::Route, || match route {
        Some(r) => format!("{} chooses {}", r.name, model.name),
        None => format!("none matches: {} as asked", model.name),
    });

    let allowed = policy.tenant(caller).map(|t| t.models.as_slice()).unwrap_or_default();
    for name in [asked, model.name.as_str()] {
        if !allowed.iter().any(|m| m == name) {
            trace.note(Stage::Allowlist, || format!("{name} is not among {allowed:?}"));
            return Err(Refusal::policy(
                "model_not_allowed",
                format!("tenant `{}` may not use model `{name}`: it may use {}", caller.name, list(allowed)),
            )
            .at("model"));
        }
    }
    trace.note(Stage::Allowlist, || format!("{asked} and {} may be used", model.name));

    let inside_boundaries = |target: &Target| {
        let region = policy.provider(&target.provider).map(|p| p.region.as_str()).unwrap_or_default();
        inside.iter().all(|b| any(&b.providers, &target.provider) && any(&b.regions, region))
    };
    let mut targets: Vec<(usize, &Target)> =
        model.targets.iter().enumerate().filter(|(_, t)| inside_boundaries(t)).collect();
    if targets.is_empty() {
        let names: Vec<&str> = inside.iter().map(|b| b.name.as_str()).collect();
        trace.note(Stage::Targets, || format!("no target of {} is inside {names:?}", model.name));
        return Err(Refusal::policy(
            "outside_boundaries",
            format!("no target of model `{}` is inside the boundaries {}", model.name, list(&names)),
        ));
    }
    for need in facts.needs {
        targets.retain(|(_, t)| t.supports.iter().any(|s| s == need));
        if targets.is_empty() {
            trace.note(Stage::Targets, || format!("no target of {} that is left supports {need}", model.name));
            return Err(Refusal::request(
                400,
                "unsupported_feature",
                format!(
                    "no target of model `{}` that this request may use supports {need}: leave it out or ask for another model",
                    model.name
                ),
            ));
        }
    }
    order(&mut targets, roll);
    let fallback = route.and_then(|r| r.fallback).unwrap_or(true);
    if !fallback {
        targets.truncate(1);
    }
    trace.note(Stage::Targets, || {
        targets.iter().map(|(_, t)| format!("{}:{}", t.provider, t.model)).collect::<Vec<_>>().join(", then ")
    });
    Ok(Choice { model, targets, route: route.map(|r| r.name.as_str()), fallback })
}

fn finds(boundary: &Boundary, found: &[String]) -> bool {
    boundary.when.found.is_empty() || boundary.when.found.iter().any(|t| found.contains(t))
}

fn choose<'p>(policy: &'p Policy, asked: &str, route: Option<&'p Route>) -> Result<&'p Model, Refusal> {
    let name = route.map_or(asked, |r| r.model.as_str());
    policy.model(name).ok_or_else(|| {
        Refusal::request(404, "model_not_found", format!("the model `{asked}` does not exist: GET /v1/models lists those that do"))
            .at("model")
    })
}

/// By priority; inside one priority a weighted shuffle, so that every fallback order keeps the weights.
fn order(targets: &mut [(usize, &Target)], mut roll: u64) {
    targets.sort_by_key(|(_, t)| t.priority);
    let len = targets.len();
    for i in 0..len {
        let Some(priority) = targets.get(i).map(|(_, t)| t.priority) else { return };
        let rest: u64 =
            targets.iter().skip(i).take_while(|(_, t)| t.priority == priority).map(|(_, t)| u64::from(t.weight.max(1))).sum();
        let mut pick = roll % rest.max(1);
        roll = roll.rotate_left(23).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for j in i..len {
            let Some((_, target)) = targets.get(j) else { break };
            let weight = u64::from(target.weight.max(1));
            if pick < weight {
                if let Some(span) = targets.get_mut(i..=j) {
                    span.rotate_right(1);
                }
                break;
            }
            pick -= weight;
        }
    }
}

fn list<S: AsRef<str>>(names: &[S]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    names.iter().map(|n| format!("`{}`", n.as_ref())).collect::<Vec<_>>().join(", ")
}
