//! Boundaries, routes, retries.

use super::{Check, ModelNames};

/// Most tries: one slot each in the route that Envoy has.
const MAX_TRIES: u32 = 3;

pub fn check(check: &mut Check<'_>) {
    let policy = check.policy;
    boundaries(check);
    let routes = policy.routes.iter().enumerate();
    check.unique(
        "routes",
        routes.clone().map(|(i, route)| (format!("routes[{i}].name"), route.name.as_str())),
    );
    for (index, route) in routes {
        let path = format!("routes[{index}]");
        check.name(format!("{path}.name"), "route", &route.name);
        check.when(&path, &route.when, ModelNames::Asked);
        check.model(format!("{path}.use.model"), &route.to.model, ModelNames::Chosen);
        if let Some(mirror) = &route.to.mirror {
            let providers = check.providers.clone();
            check.known(format!("{path}.use.mirror.provider"), "provider", &mirror.provider, &providers);
            if mirror.percent > 100 {
                check.error(format!("{path}.use.mirror.percent"), "more than 100 of 100");
            }
            let mut targets = policy.models.iter().flat_map(|model| &model.targets);
            if !targets.any(|target| target.provider == mirror.provider && target.model == mirror.model) {
                let message = format!("`{}` of `{}` is no target of a model", mirror.model, mirror.provider);
                check.error(format!("{path}.use.mirror.model"), message).hint =
                    Some("a copy needs a target's price and window: add it to a model".to_owned());
            }
        }
        let hidden = policy.routes[..index].iter().find(|earlier| earlier.when == Default::default());
        if let Some(earlier) = hidden {
            let message =
                format!("route `{}` is never reached: `{}` matches everything", route.name, earlier.name);
            check.warn(path, message);
        }
    }
    let Some(retry) = &policy.retry else { return };
    if retry.tries.is_some_and(|tries| tries == 0 || tries > MAX_TRIES) {
        check.error("retry.tries", format!("tries must be from 1 to {MAX_TRIES}, the first included"));
    }
    if retry.first_byte.is_some_and(|time| time.ms == 0) {
        check.error("retry.first_byte", "no answer comes in no time");
    }
    if retry.stall.is_some_and(|time| time.ms == 0) {
        check.error("retry.stall", "no chunk comes in no time");
    }
    if retry.budget.is_some_and(|share| share.hundredths > 10_000) {
        check.error("retry.budget", "more than 100%");
    }
}

fn boundaries(check: &mut Check<'_>) {
    let policy = check.policy;
    let boundaries = policy.boundaries.iter().enumerate();
    check.unique(
        "boundaries",
        boundaries.clone().map(|(i, b)| (format!("boundaries[{i}].name"), b.name.as_str())),
    );
    let outside = policy.guardrails.iter().filter_map(|rule| rule.analyzer.as_ref()?.region.as_deref());
    let regions: Vec<&str> =
        policy.providers.iter().filter_map(|provider| provider.region.as_deref()).chain(outside).collect();
    for (index, boundary) in boundaries {
        let path = format!("boundaries[{index}]");
        let name = &boundary.name;
        check.name(format!("{path}.name"), "boundary", name);
        check.when(&path, &boundary.when, ModelNames::Asked);
        for (index, provider) in boundary.providers.iter().enumerate() {
            // A detector outside is somewhere too.
            let outside = policy.guardrails.iter().filter(|rule| rule.analyzer.is_some());
            let providers: Vec<&str> =
                check.providers.iter().copied().chain(outside.map(|rule| rule.name.as_str())).collect();
            check.known(format!("{path}.providers[{index}]"), "provider", provider, &providers);
        }
        for (index, region) in boundary.regions.iter().enumerate() {
            check.known(format!("{path}.regions[{index}]"), "region", region, &regions);
        }
        if boundary.providers.is_empty() && boundary.regions.is_empty() && boundary.tools.is_none() {
            check.error(path, format!("boundary `{name}` restricts nothing")).hint =
                Some("add `providers` or `regions`".to_owned());
        }
    }
}
