//! Budgets: limits that can be counted and kept.

use weir_config::policy::{
    Budget, BudgetMode, Model, OnAbort, Reserve, UsdPerMillion, Window, WindowKeyword,
};

use super::{AUTO, Check, ModelNames};

/// Largest limit in any unit, 2^53: a store that counts in doubles still counts it exactly.
pub const MAX_LIMIT: u64 = 1 << 53;
/// Output tokens that a request may have when neither it nor its tenant's limits name a ceiling.
pub const DEFAULT_OUTPUT_CEILING: u64 = 4096;
/// How long a request may wait for others' reservations: clients and proxies before this one give up too.
const MAX_WAIT_MS: u64 = 60_000;
/// Requests at once that a budget should hold without a quarter of its time spent waiting.
const CONCURRENCY: u64 = 8;

pub fn check(check: &mut Check<'_>) {
    let policy = check.policy;
    let budgets = policy.budgets.iter().enumerate();
    check.unique(
        "budgets",
        budgets.clone().map(|(i, budget)| (format!("budgets[{i}].name"), budget.name.as_str())),
    );
    for (index, budget) in budgets {
        let path = format!("budgets[{index}]");
        check.name(format!("{path}.name"), "budget", &budget.name);
        check.when(&path, &budget.when, ModelNames::Chosen);
        each(check, &path, budget);
        limits(check, &path, budget);
        if let Some(exceeded) = &budget.exceeded {
            check.model(format!("{path}.exceeded.use"), &exceeded.to, ModelNames::Chosen);
        }
        if let Window::Rolling(length) = budget.window
            && !(60_000..=366 * 86_400_000).contains(&length.ms)
        {
            check.error(format!("{path}.window.rolling"), "must be from 1m to 366d");
        }
        if budget.limit.usd.is_some() && budget.mode.unwrap_or_default() == BudgetMode::Hard {
            prices(check, budget);
        }
        manner(check, &path, budget);
        ceilings(check, &path, budget);
    }
    if let Some(ledger) = &policy.ledger
        && ledger.engine.is_some()
        && !ledger.redis.is_empty()
    {
        check.error("ledger", "both `engine: embedded` and `redis`").hint =
            Some("keep one of them".to_owned());
    }
    if let Some(ledger) = &policy.ledger {
        if ledger.wait_replicas.is_some() && ledger.redis.is_empty() {
            check.error("ledger.wait_replicas", "replicas of what? there is no `redis`");
        }
        for (index, address) in ledger.redis.iter().enumerate() {
            let rest = address.strip_prefix("redis://").unwrap_or(address);
            let host = rest.rsplit('@').next().unwrap_or_default().split('/').next().unwrap_or_default();
            if address.starts_with("rediss:") {
                let at = format!("ledger.redis[{index}]");
                check.error(at, "the ledger does not speak TLS to Redis").hint =
                    Some("a TLS proxy beside the control plane does: give its address here".to_owned());
            } else if host.is_empty() || rest.contains("://") {
                check.error(format!("ledger.redis[{index}]"), "not an address that can be used").hint =
                    Some("host:port, or redis://user:password@host:port".to_owned());
            }
        }
    }
}

fn each(check: &mut Check<'_>, path: &str, budget: &Budget) {
    for (index, name) in budget.each.iter().enumerate() {
        let mut known = vec!["tenant", "key"];
        known.extend(&check.labels);
        known.extend(&check.client_labels);
        check.known(format!("{path}.each[{index}]"), "subject", name, &known);
        if budget.each[..index].contains(name) {
            check.error(format!("{path}.each[{index}]"), format!("`{name}` twice"));
        }
    }
}

fn limits(check: &mut Check<'_>, path: &str, budget: &Budget) {
    let limit = &budget.limit;
    let limits = [
        ("tokens", limit.tokens.map(|count| count.0), "9,007,199,254,740,992"),
        ("requests", limit.requests.map(|count| count.0), "9,007,199,254,740,992"),
        ("usd", limit.usd.map(|usd| usd.nano), "9,007,199.254740992 USD"),
    ];
    if limits.iter().all(|(_, limit, _)| limit.is_none()) {
        check.error(path, format!("budget `{}` limits nothing", budget.name)).hint =
            Some("add `limit: {tokens}`, `{requests}` or `{usd}`".to_owned());
    }
    for (field, limit, most) in limits {
        match limit {
            Some(0) => {
                check.error(format!("{path}.limit.{field}"), "a limit of zero").hint =
                    Some("take the model from the tenant's `models` instead".to_owned());
            }
            Some(limit) if limit > MAX_LIMIT => {
                check.error(
                    format!("{path}.limit.{field}"),
                    format!("more than {most} cannot be counted exactly"),
                );
            }
            _ => {}
        }
    }
}

/// How it refuses: what contradicts itself, and what would do nothing.
fn manner(check: &mut Check<'_>, path: &str, budget: &Budget) {
    let policy = check.policy;
    let Some(budget) = policy.budgets.iter().find(|known| known.name == budget.name) else { return };
    let ahead = budget.reserve == Some(Reserve::Progressive);
    if budget.mode == Some(BudgetMode::Soft) {
        let idle = [
            ("exceeded", budget.exceeded.is_some()),
            ("when_short", budget.when_short.is_some()),
            ("ledger_lost", budget.ledger_lost.is_some()),
            ("unbounded", budget.unbounded.is_some()),
            ("reserve", budget.reserve.is_some()),
            ("wait", budget.wait.is_some()),
        ];
        for (field, _) in idle.into_iter().filter(|(_, given)| *given) {
            check.warn(format!("{path}.{field}"), "does nothing in a soft budget, which refuses nobody");
        }
        return;
    }
    if budget.wait.is_some_and(|time| time.ms > MAX_WAIT_MS) {
        check.error(format!("{path}.wait"), "longer than a minute").hint =
            Some("what is free only in the next window does not come back sooner".to_owned());
    }
    if ahead && budget.when_short.is_some() {
        check
            .error(
                format!("{path}.when_short"),
                "an answer that is reserved ahead ends where the budget does: its ceiling is not lowered",
            )
            .hint = Some("keep `when_short` or `reserve: progressive`".to_owned());
    }
    if let Some(exceeded) = &budget.exceeded {
        let mut tenants = policy
            .tenants
            .iter()
            .filter(|tenant| budget.when.tenant.is_empty() || budget.when.tenant.contains(&tenant.name));
        if !tenants.any(|tenant| tenant.models.contains(&exceeded.to)) {
            let message = format!("no tenant of budget `{}` may use `{}`", budget.name, exceeded.to);
            check.warn(format!("{path}.exceeded.use"), message).hint =
                Some("add it to their `models`, or they are refused".to_owned());
        }
    }
    if ahead {
        let of: Vec<&Model> = models(check, budget).map(|(_, model)| model).collect();
        let mut bills = policy.providers.iter().filter(|provider| {
            provider.on_abort != Some(OnAbort::Stops)
                && of.iter().flat_map(|model| &model.targets).any(|target| target.provider == provider.name)
        });
        if let Some(provider) = bills.next() {
            let message = format!(
                "all is reserved where `{}` may answer: it bills an answer that is cut off whole",
                provider.name
            );
            check.warn(format!("{path}.reserve"), message).hint =
                Some("say `on_abort: stops` of the provider, if it does".to_owned());
        }
    }
}

/// The models that a budget's requests may end at.
fn models<'p>(check: &Check<'p>, budget: &'p Budget) -> impl Iterator<Item = (usize, &'p Model)> {
    let policy = check.policy;
    let chosen = move |name: &String| {
        let mut tenants = policy
            .tenants
            .iter()
            .filter(|tenant| budget.when.tenant.is_empty() || budget.when.tenant.contains(&tenant.name));
        tenants.any(|tenant| tenant.models.contains(name) && name != AUTO)
    };
    let named = move |model: &Model| budget.when.model.is_empty() || budget.when.model.contains(&model.name);
    policy.models.iter().enumerate().filter(move |(_, model)| named(model) && chosen(&model.name))
}

fn prices(check: &mut Check<'_>, budget: &Budget) {
    let policy = check.policy;
    let Some(budget) = policy.budgets.iter().find(|known| known.name == budget.name) else { return };
    let models: Vec<_> = models(check, budget).collect();
    for (index, model) in models {
        for (target, _) in model.targets.iter().enumerate().filter(|(_, target)| target.price.is_empty()) {
            let path = format!("models[{index}].targets[{target}]");
            if check.problems.iter().any(|known| known.path == path && known.message.contains("has no price"))
            {
                continue;
            }
            let message =
                format!("a target of `{}` has no price, but budget `{}` is in USD", model.name, budget.name);
            check.error(path, message).hint = Some("add `price: {input, output}`".to_owned());
        }
    }
}

/// Warns where a few requests at their ceilings hold so much of the limit that others are refused while
/// most of it is unspent.
fn ceilings(check: &mut Check<'_>, path: &str, budget: &Budget) {
    let policy = check.policy;
    let Some(budget) = policy.budgets.iter().find(|known| known.name == budget.name) else { return };
    if budget.mode == Some(BudgetMode::Soft) || budget.reserve == Some(Reserve::Progressive) {
        return;
    }
    let mut tenants = policy
        .tenants
        .iter()
        .filter(|tenant| budget.when.tenant.is_empty() || budget.when.tenant.contains(&tenant.name));
    // A long window has time to recover what was held too much, so only unasked ceilings matter there.
    let short = match budget.window {
        Window::Calendar(keyword) => keyword == WindowKeyword::Minute,
        Window::Rolling(length) => length.ms < 3_600_000,
    };
    let asked = |limits: Option<weir_config::policy::Limits>| {
        limits.and_then(|limits| limits.max_output_tokens).map(|count| count.0)
    };
    let ceiling = tenants
        .by_ref()
        .filter_map(|tenant| match asked(tenant.limits) {
            Some(ceiling) => short.then_some(ceiling),
            None => Some(DEFAULT_OUTPUT_CEILING),
        })
        .max();
    let Some(ceiling) = ceiling else { return };
    let prices =
        models(check, budget).flat_map(|(_, model)| &model.targets).flat_map(|target| target.price.iter());
    let dearest = prices.map(|price| price.output).max().unwrap_or(UsdPerMillion { pico: 0 });
    let held = u128::from(CONCURRENCY) * u128::from(ceiling);
    let limits = [
        ("tokens", budget.limit.tokens.map(|count| u128::from(count.0)), held),
        // Pico against nano: a thousand to one.
        ("usd", budget.limit.usd.map(|usd| u128::from(usd.nano)), held * u128::from(dearest.pico) / 1_000),
    ];
    for (field, limit, held) in limits {
        let Some(limit) = limit.filter(|limit| held * 50 > *limit && *limit > 0) else { continue };
        let share = (held * 1_000 / limit).min(9_999_999);
        let message = format!(
            "{CONCURRENCY} requests at once hold up to {}.{} % of budget `{}` for {ceiling} output tokens each: \
             others are refused while it is mostly unspent",
            share / 10,
            share % 10,
            budget.name
        );
        check.warn(format!("{path}.limit.{field}"), message).hint =
            Some("set `limits: {max_output_tokens}` of the tenants, take a longer window, or `reserve: progressive`".to_owned());
    }
}
