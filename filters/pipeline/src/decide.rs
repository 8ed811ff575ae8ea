//! Where a request may go and where it goes: boundaries, route, allowlist, targets, in this order.
//!
//! Pure: a policy, a caller and what is known of the request in; targets in the order of their tries out.
//! Nothing later opens what an earlier step closed; nothing left is an answer of its own, never "elsewhere".

use weir_config::filter::{Boundary, Model, ProviderKind, Route, Target};
use weir_sorted::Gather;

use crate::cooling::Cool;
use crate::io::Now;
use crate::paths::Api;
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
    /// The client's API: some can only be served by providers of the same dialect.
    pub api: Api,
    /// The model that serves because the chosen one's budget has too little left. It opens nothing.
    pub instead: Option<&'a str>,
    /// It asks for what only Bedrock has.
    pub only_bedrock: bool,
    /// The present time.
    pub now: Now,
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
    /// Where a copy goes, which may go there.
    pub mirror: Option<&'p Target>,
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
    let asked = policy.name_of(facts.asked);

    let inside = inside(policy, caller, asked, facts.found);
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
    let model = match facts.instead.and_then(|name| policy.model(name)) {
        Some(model) => model,
        None => choose(policy, facts.asked, route)?,
    };
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
        allows(&inside, &target.provider, region)
    };
    let mut targets: Vec<(usize, &Target)> = model.targets.iter().enumerate().gather();
    keep(&mut targets, &mut |t| inside_boundaries(t));
    if targets.is_empty() {
        let names: Vec<&str> = inside.iter().map(|b| b.name.as_str()).gather();
        trace.note(Stage::Targets, || format!("no target of {} is inside {names:?}", model.name));
        return Err(Refusal::policy(
            "outside_boundaries",
            format!("no target of model `{}` is inside the boundaries {}", model.name, list(&names)),
        ));
    }
    // As much as a copy may do, the request itself might: inside the boundaries, a target of a model that the tenant
    // may use, one that supports what is asked and does not throttle.
    let mirror = route.and_then(|r| r.mirror.as_ref()).filter(|m| (roll >> 32) % 100 < u64::from(m.percent));
    let mirror = mirror.and_then(|m| {
        let may = allowed.iter().filter_map(|name| policy.model(name)).flat_map(|model| &model.targets);
        let mut of = may.filter(|t| t.provider == m.provider && t.model == m.model);
        let kind = policy.provider(&m.provider).map(|p| p.kind);
        let speaks = match facts.api {
            Api::OpenaiCompletions | Api::OpenaiEmbeddings => {
                matches!(kind, Some(ProviderKind::Vllm | ProviderKind::Openai))
            }
            Api::AnthropicCount => false,
            _ => !facts.only_bedrock || kind == Some(ProviderKind::Bedrock),
        };
        of.find(|t| {
            speaks
                && inside_boundaries(t)
                && facts.needs.iter().all(|need| t.supports.iter().any(|s| s == need))
                && policy.cooling.borrow().of(&t.provider, &t.model, facts.now).is_none()
        })
    });
    let own = match facts.api {
        Api::OpenaiCompletions => Some("text completions: use chat completions"),
        Api::OpenaiEmbeddings => Some("embeddings: ask for a model of another provider"),
        _ => None,
    };
    if let Some(what) = own {
        let serves = |kind| matches!(kind, ProviderKind::Vllm | ProviderKind::Openai);
        keep(&mut targets, &mut |t| policy.provider(&t.provider).is_some_and(|p| serves(p.kind)));
        if targets.is_empty() {
            return Err(Refusal::request(
                400,
                "unsupported_feature",
                format!("no target of model `{}` serves {what}", model.name),
            ));
        }
    }
    if facts.only_bedrock {
        let at_bedrock =
            |t: &Target| policy.provider(&t.provider).is_some_and(|p| p.kind == ProviderKind::Bedrock);
        keep(&mut targets, &mut |t| at_bedrock(t));
        if targets.is_empty() {
            return Err(Refusal::request(
                400,
                "unsupported_feature",
                format!(
                    "no target of model `{}` is at Bedrock, which alone has guardrails and bodies of a model's own",
                    model.name
                ),
            ));
        }
    }
    for need in facts.needs {
        keep(&mut targets, &mut |t| t.supports.iter().any(|s| s == need));
        if targets.is_empty() {
            trace
                .note(Stage::Targets, || format!("no target of {} that is left supports {need}", model.name));
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
        let first = targets.first().map(|(_, t)| t.priority);
        keep(&mut targets, &mut |t| Some(t.priority) == first);
    }
    warm(policy, model, &mut targets, facts.now, trace)?;
    if !fallback {
        targets.truncate(1);
    }
    trace.note(Stage::Targets, || {
        targets.iter().map(|(_, t)| format!("{}:{}", t.provider, t.model)).collect::<Vec<_>>().join(", then ")
    });
    Ok(Choice { model, targets, route: route.map(|r| r.name.as_str()), fallback, mirror })
}

/// The boundaries that a request for the model `asked`, or an alias of it, is in.
pub fn inside<'p>(policy: &'p Policy, caller: &Caller, asked: &str, found: &[String]) -> Vec<&'p Boundary> {
    let asked = policy.name_of(asked);
    let applies = |b: &&Boundary| who(&b.when, caller) && any(&b.when.model, asked) && finds(b, found);
    policy.config.boundaries.iter().filter(applies).gather()
}

/// Whether it may be seen by somebody in a region.
pub fn allows(inside: &[&Boundary], name: &str, region: &str) -> bool {
    inside.iter().all(|b| any(&b.providers, name) && any(&b.regions, region))
}

/// Leaves out the targets whose providers have asked for a pause, and puts those that only seem to throttle behind the
/// others. Where every provider has asked, the client is told the shortest pause.
fn warm(
    policy: &Policy,
    model: &Model,
    targets: &mut Vec<(usize, &Target)>,
    now: Now,
    trace: &mut Trace,
) -> Result<(), Refusal> {
    let cooling = policy.cooling.borrow();
    let cool: Vec<Option<Cool>> =
        targets.iter().map(|(_, t)| cooling.of(&t.provider, &t.model, now)).gather();
    if cool.iter().all(Option::is_none) {
        return Ok(());
    }
    trace.note(Stage::Targets, || format!("throttled: {} of {}", cool.iter().flatten().count(), cool.len()));
    let told = |cool: &Option<Cool>| cool.is_some_and(|cool| cool.told);
    let (mut warm, mut last) = (Vec::new(), Vec::new());
    for (target, cool) in targets.iter().zip(&cool).filter(|(_, cool)| !told(cool)) {
        let list = if cool.is_none() { &mut warm } else { &mut last };
        list.push(*target);
    }
    warm.append(&mut last);
    *targets = warm;
    if targets.is_empty() {
        let until = cool.iter().flatten().map(|cool| cool.until).min().unwrap_or(now.0);
        let wait = until.saturating_sub(now.0);
        let message = format!(
            "every provider of model `{}` that this request may use has asked for a pause: try again later",
            model.name
        );
        return Err(Refusal::new(429, "rate_limit_exceeded", "provider_throttled", &message)
            .header("retry-after", wait.div_ceil(1_000_000_000).max(1).to_string())
            .header("retry-after-ms", wait.div_ceil(1_000_000).max(1).to_string()));
    }
    Ok(())
}

/// Keeps the targets for which this holds. One loop for all rules, since each closure would get its own.
#[inline(never)]
pub fn keep(targets: &mut Vec<(usize, &Target)>, holds: &mut dyn FnMut(&Target) -> bool) {
    weir_sorted::keep(targets, |(_, target)| holds(target));
}

fn finds(boundary: &Boundary, found: &[String]) -> bool {
    boundary.when.found.is_empty() || boundary.when.found.iter().any(|t| found.contains(t))
}

fn choose<'p>(policy: &'p Policy, asked: &str, route: Option<&'p Route>) -> Result<&'p Model, Refusal> {
    let name = route.map_or(asked, |r| r.model.as_str());
    policy.model(name).ok_or_else(|| {
        Refusal::request(
            404,
            "model_not_found",
            format!("the model `{asked}` does not exist: GET /v1/models lists those that do"),
        )
        .at("model")
    })
}

/// By priority; inside one priority a weighted shuffle, so that every fallback order keeps the weights.
fn order(targets: &mut [(usize, &Target)], mut roll: u64) {
    weir_sorted::sort_by(targets, |(_, a), (_, b)| a.priority.cmp(&b.priority));
    let len = targets.len();
    for i in 0..len {
        let Some(priority) = targets.get(i).map(|(_, t)| t.priority) else { return };
        let rest: u64 = targets
            .iter()
            .skip(i)
            .take_while(|(_, t)| t.priority == priority)
            .map(|(_, t)| u64::from(t.weight.max(1)))
            .sum();
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
    let mut out = String::new();
    for name in names {
        out.push_str(if out.is_empty() { "`" } else { "`, `" });
        out.push_str(name.as_ref());
    }
    out.push('`');
    out
}

#[cfg(test)]
mod tests {
    use weir_config::filter::{self, Exchange, Tenant, When};

    use super::*;

    fn target(provider: &str, priority: u32, weight: u32, supports: &[&str]) -> Target {
        Target {
            provider: provider.into(),
            model: format!("{provider}-model"),
            priority,
            weight,
            supports: supports.iter().map(|s| (*s).to_owned()).collect(),
            ..Target::default()
        }
    }

    fn policy(change: impl FnOnce(&mut Exchange)) -> Policy {
        let provider = |name: &str, region: &str, kind| filter::Provider {
            name: name.into(),
            region: region.into(),
            cluster: format!("weir-{name}"),
            kind,
            ..filter::Provider::default()
        };
        let model = |name: &str, aliases: &[&str], targets: Vec<Target>| Model {
            name: name.into(),
            aliases: aliases.iter().map(|a| (*a).to_owned()).collect(),
            targets,
        };
        let mut config = Exchange {
            providers: vec![
                provider("home", "de", ProviderKind::Vllm),
                provider("cloud", "us", ProviderKind::Bedrock),
            ],
            models: vec![
                model("fast", &["mini"], vec![target("home", 0, 1, &["tools"]), target("cloud", 1, 1, &[])]),
                model("smart", &[], vec![target("cloud", 0, 9, &["tools", "images"])]),
                model("secret", &[], vec![target("home", 0, 1, &[])]),
            ],
            tenants: vec![Tenant {
                name: "acme".into(),
                models: ["fast", "smart", "auto"].map(str::to_owned).to_vec(),
                ..Tenant::default()
            }],
            ..Exchange::default()
        };
        change(&mut config);
        Policy::new(config).unwrap()
    }

    fn route(name: &str, when: When, model: &str, fallback: Option<bool>) -> Route {
        Route { name: name.into(), when, model: model.into(), fallback, mirror: None }
    }

    fn asked(model: &str) -> When {
        When { model: vec![model.into()], ..When::default() }
    }

    fn decided(policy: &Policy, facts: Facts<'_>) -> Result<String, String> {
        let caller = Caller {
            name: "acme".into(),
            key: "web".into(),
            labels: [("team".to_owned(), "legal".to_owned())].into_iter().collect(),
            ..Caller::default()
        };
        match decide(policy, &caller, facts, 0, &mut Trace::default()) {
            Ok(choice) => {
                Ok(choice.targets.iter().map(|(_, t)| t.provider.clone()).collect::<Vec<_>>().join(","))
            }
            Err(refusal) => Err(format!("{} {}", refusal.status, refusal.code)),
        }
    }

    /// The order of decision as a table: nothing later opens what an earlier step closed.
    #[test]
    fn nothing_later_opens_what_an_earlier_step_closed() {
        let home_only = |found: &[&str]| Boundary {
            name: "home".into(),
            when: When { found: found.iter().map(|f| (*f).to_owned()).collect(), ..When::default() },
            providers: vec!["home".into()],
            regions: Vec::new(),
        };
        let us_only = Boundary { name: "us".into(), regions: vec!["us".into()], ..Boundary::default() };
        let ssn = ["us_ssn".to_owned()];
        let plain = |m| Facts { asked: m, ..Facts::default() };
        type Change = Box<dyn FnOnce(&mut Exchange)>;
        let cases: Vec<(&str, Change, Facts<'_>, Result<&str, &str>)> = vec![
            ("a model by name, by priority", Box::new(|_| {}), plain("fast"), Ok("home,cloud")),
            ("an alias is the model", Box::new(|_| {}), plain("mini"), Ok("home,cloud")),
            ("an unknown model", Box::new(|_| {}), plain("nope"), Err("404 model_not_found")),
            ("auto without a route", Box::new(|_| {}), plain("auto"), Err("404 model_not_found")),
            (
                "auto by a route",
                Box::new(|c| c.routes = vec![route("r", asked("auto"), "smart", None)]),
                plain("auto"),
                Ok("cloud"),
            ),
            (
                "the first matching route wins",
                Box::new(|c| {
                    c.routes = vec![
                        route("a", asked("auto"), "smart", None),
                        route("b", asked("auto"), "fast", None),
                    ];
                }),
                plain("auto"),
                Ok("cloud"),
            ),
            (
                "a route by label",
                Box::new(|c| {
                    let labels = [("team".to_owned(), vec!["sales".to_owned(), "legal".to_owned()])];
                    let when = When { labels: labels.into_iter().collect(), ..When::default() };
                    c.routes = vec![route("r", when, "smart", None)];
                }),
                plain("fast"),
                Ok("cloud"),
            ),
            (
                "a route cannot choose what the tenant may not use",
                Box::new(|c| c.routes = vec![route("r", asked("fast"), "secret", None)]),
                plain("fast"),
                Err("403 model_not_allowed"),
            ),
            (
                "a model that is asked must be allowed too",
                Box::new(|_| {}),
                plain("secret"),
                Err("403 model_not_allowed"),
            ),
            (
                "a route does not make an asked model allowed",
                Box::new(|c| c.routes = vec![route("r", asked("secret"), "fast", None)]),
                plain("secret"),
                Err("403 model_not_allowed"),
            ),
            (
                "a boundary removes targets",
                Box::new(move |c| c.boundaries = vec![home_only(&[])]),
                plain("fast"),
                Ok("home"),
            ),
            (
                "a boundary that leaves nothing is 403",
                Box::new(move |c| c.boundaries = vec![home_only(&[])]),
                plain("smart"),
                Err("403 outside_boundaries"),
            ),
            (
                "boundaries intersect",
                Box::new(move |c| c.boundaries = vec![home_only(&[]), us_only]),
                plain("fast"),
                Err("403 outside_boundaries"),
            ),
            (
                "a boundary by what was found",
                Box::new(move |c| c.boundaries = vec![home_only(&["us_ssn", "credit_card"])]),
                Facts { asked: "fast", found: &ssn, ..Facts::default() },
                Ok("home"),
            ),
            (
                "and not without it",
                Box::new(move |c| c.boundaries = vec![home_only(&["us_ssn"])]),
                plain("fast"),
                Ok("home,cloud"),
            ),
            (
                "a target must support what is asked",
                Box::new(|_| {}),
                Facts { asked: "fast", needs: &["tools"], ..Facts::default() },
                Ok("home"),
            ),
            (
                "no target supports it",
                Box::new(|_| {}),
                Facts { asked: "fast", needs: &["images"], ..Facts::default() },
                Err("400 unsupported_feature"),
            ),
            (
                "a feature does not lead out of a boundary",
                Box::new(move |c| c.boundaries = vec![home_only(&[])]),
                Facts { asked: "smart", needs: &["images"], ..Facts::default() },
                Err("403 outside_boundaries"),
            ),
            (
                "no fallback",
                Box::new(|c| c.routes = vec![route("r", asked("fast"), "fast", Some(false))]),
                plain("fast"),
                Ok("home"),
            ),
            (
                "text completions stay with their own dialect",
                Box::new(|_| {}),
                Facts { asked: "fast", api: Api::OpenaiCompletions, ..Facts::default() },
                Ok("home"),
            ),
        ];
        for (name, change, facts, expected) in cases {
            let outcome = decided(&policy(change), facts);
            assert_eq!(outcome.as_deref().map_err(String::as_str), expected, "{name}");
        }
    }

    #[test]
    fn weights_share_the_first_try_within_a_priority() {
        let targets = [target("a", 0, 1, &[]), target("b", 0, 9, &[]), target("c", 1, 100, &[])];
        let mut first = [0u32; 3];
        for roll in 0..10_000u64 {
            let mut order_of: Vec<(usize, &Target)> = targets.iter().enumerate().collect();
            order(&mut order_of, roll.wrapping_mul(0x2545_f491_4f6c_dd1d));
            first[order_of[0].0] += 1;
            assert_eq!(order_of[2].0, 2, "the second priority comes last");
        }
        assert!((900..1100).contains(&first[0]), "{first:?}");
        assert_eq!(first[2], 0);
    }
}
