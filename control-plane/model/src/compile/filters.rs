//! Policy types to filter types, one function each. All that is left out gets its default here.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use weir_config::filter;
use weir_config::policy::{
    self, Action, Budget, BudgetMode, Direction, Headers, Identity, IdentitySource, Many, Model, OnAbort,
    Policy, Price, ProviderKind, Reserve, Retry, RetryOn, Target, Tenant, TierPrice, Unbounded, UnknownPaths,
    When,
};

use super::{
    DEFAULT_MAX_BODY, DEFAULT_REQUEST_TIMEOUT_MS, LEDGER_CLUSTER, OTLP_CLUSTER, definition, otlp, window,
};
use crate::{TENANT, analyzer, detectors, pattern};

pub fn exchange(policy: &Policy, version: &str) -> filter::Exchange {
    let gateway = policy.gateway.clone().unwrap_or_default();
    let identity = policy.identity.clone().unwrap_or_default();
    let timeout = gateway.request_timeout.map_or(DEFAULT_REQUEST_TIMEOUT_MS, |timeout| timeout.ms);
    let mut exchange = filter::Exchange {
        version: version.to_owned(),
        max_body: gateway.max_body.map_or(DEFAULT_MAX_BODY, |size| size.0),
        request_timeout_ms: timeout,
        unknown_paths: match gateway.unknown_paths.unwrap_or_default() {
            UnknownPaths::Deny => filter::UnknownPaths::Deny,
            UnknownPaths::Pass => filter::UnknownPaths::Pass,
        },
        headers: match gateway.headers.unwrap_or_default() {
            Headers::None => filter::ShowHeaders::None,
            Headers::Ids => filter::ShowHeaders::Ids,
            Headers::Reasons => filter::ShowHeaders::Reasons,
        },
        identity: identity_of(&identity),
        client_labels: identity.client_labels.0,
        tenants: policy.tenants.iter().map(tenant).collect(),
        providers: policy.providers.iter().map(|one| provider(one, &policy.tenants)).collect(),
        // Only gateways whose tries cannot pick their clusters need them.
        lists: None,
        models: policy.models.iter().map(model).collect(),
        boundaries: policy.boundaries.iter().map(boundary).collect(),
        routes: policy.routes.iter().map(route).collect(),
        retry: retry(policy.retry.as_ref()),
        budgets: policy.budgets.iter().map(|one| budget(one, policy)).collect(),
        ledger: (!policy.budgets.is_empty()).then(|| filter::Ledger { cluster: LEDGER_CLUSTER.to_owned() }),
        redaction: policy.redaction.iter().map(redaction).collect(),
        analyzers: policy.guardrails.iter().filter_map(analyzer::compile).collect(),
        telemetry: filter::Telemetry {
            otlp_cluster: otlp(policy).map(|_| OTLP_CLUSTER.to_owned()),
            otlp_http: otlp(policy)
                .filter(|_| super::otlp_http(policy))
                .map(|endpoint| format!("{}{}", endpoint.authority(), endpoint.prefix)),
            sample: policy
                .telemetry
                .as_ref()
                .and_then(|telemetry| telemetry.sample)
                .filter(|share| share.hundredths < 10_000)
                .and_then(|share| u32::try_from(share.hundredths).ok()),
            sample_above: policy.telemetry.as_ref().and_then(|t| Some(t.sample_above?.usd.nano)),
            labels: policy.telemetry.as_ref().map(|telemetry| telemetry.labels.to_vec()).unwrap_or_default(),
            count: policy.telemetry.as_ref().and_then(|t| t.count) == Some(policy::Counting::Always),
            content: policy.telemetry.as_ref().and_then(|t| t.content) == Some(policy::Content::Redacted),
            user_header: policy
                .telemetry
                .as_ref()
                .and_then(|t| Some(t.end_user.as_ref()?.header.as_ref()?.to_ascii_lowercase()))
                .unwrap_or_default(),
            retrieval: policy.telemetry.as_ref().and_then(|t| t.retrieval) == Some(true),
            decisions: policy.telemetry.as_ref().and_then(|t| t.decisions.as_ref()).map(decisions),
        },
    };
    conditions(&mut exchange).for_each(|when| name_models(when, &policy.models));
    exchange
}

/// Conditions that may name a model by what clients call it. Budgets' name only models that were chosen.
fn conditions(exchange: &mut filter::Exchange) -> impl Iterator<Item = &mut filter::When> {
    let boundaries = exchange.boundaries.iter_mut().map(|rule| &mut rule.when);
    let routes = exchange.routes.iter_mut().map(|rule| &mut rule.when);
    let redaction = exchange.redaction.iter_mut().map(|rule| &mut rule.when);
    let analyzers = exchange.analyzers.iter_mut().map(|rule| &mut rule.when);
    let decisions = exchange.telemetry.decisions.iter_mut().map(|log| &mut log.when);
    boundaries.chain(routes).chain(redaction).chain(analyzers).chain(decisions)
}

/// Puts a model's name in an alias's place: the filters compare names, whatever the client called the model.
fn name_models(when: &mut filter::When, models: &[Model]) {
    for name in &mut when.model {
        if let Some(model) = models.iter().find(|model| model.aliases.contains(name)) {
            name.clone_from(&model.name);
        }
    }
    when.model = sorted(&when.model);
}

fn decisions(log: &policy::Decisions) -> filter::Decisions {
    filter::Decisions {
        cluster: LEDGER_CLUSTER.to_owned(),
        when: when(&log.when),
        deny: log.on_failure != Some(policy::OnFailure::Pass),
    }
}

pub fn cluster_name(provider: &str) -> String {
    format!("weir-{provider}")
}

pub fn kind(kind: ProviderKind) -> filter::ProviderKind {
    match kind {
        ProviderKind::Vllm => filter::ProviderKind::Vllm,
        ProviderKind::Bedrock => filter::ProviderKind::Bedrock,
        ProviderKind::Openai => filter::ProviderKind::Openai,
        ProviderKind::Anthropic => filter::ProviderKind::Anthropic,
        ProviderKind::BedrockOpenai => filter::ProviderKind::BedrockOpenai,
    }
}

pub fn ledger_lost(lost: Option<policy::LedgerLost>) -> filter::LedgerLost {
    match lost.unwrap_or_default() {
        policy::LedgerLost::Deny => filter::LedgerLost::Deny,
        policy::LedgerLost::AllowLocal => filter::LedgerLost::AllowLocal,
    }
}

/// Sorted, each once: where the order means nothing, it must not change the result.
pub fn sorted(names: &[String]) -> Vec<String> {
    let mut names = names.to_vec();
    names.sort();
    names.dedup();
    names
}

pub fn when(when: &When) -> filter::When {
    filter::When {
        tenant: sorted(&when.tenant),
        key: sorted(&when.key),
        model: sorted(&when.model),
        labels: when.labels.iter().map(|(name, values)| (name.clone(), sorted(values))).collect(),
        found: detectors::resolve(when.found.iter()),
    }
}

fn identity_of(identity: &Identity) -> filter::Identity {
    let source = |source: &IdentitySource| match source {
        IdentitySource::ApiKey(key) => Some(filter::KeySource {
            header: key.header.to_ascii_lowercase(),
            scheme: key.scheme.as_ref().map(|scheme| scheme.to_ascii_lowercase()),
        }),
        IdentitySource::Sigv4(_) => Some(filter::KeySource {
            header: "authorization".to_owned(),
            scheme: Some("aws4-hmac-sha256".to_owned()),
        }),
        _ => None,
    };
    let default =
        || vec![filter::KeySource { header: "authorization".to_owned(), scheme: Some("bearer".to_owned()) }];
    filter::Identity {
        from: match identity.from.as_slice() {
            [] => default(),
            given => given.iter().filter_map(source).collect(),
        },
        anonymous: identity.anonymous.clone().filter(|tenant| tenant != "deny"),
    }
}

fn tenant(tenant: &Tenant) -> filter::Tenant {
    let key = |key: &policy::Key| filter::Key {
        id: key.id.clone(),
        sha256: key.sha256.clone(),
        labels: key.labels.clone().into_iter().collect(),
        expires: key.expires.map(|date| date.unix),
    };
    let limits = tenant.limits.unwrap_or_default();
    filter::Tenant {
        name: tenant.name.clone(),
        keys: tenant.keys.iter().map(key).collect(),
        // Issued by a running control plane; no policy has them.
        pairs: Vec::new(),
        digest_key: String::new(),
        user_key: String::new(),
        models: tenant.models.to_vec(),
        labels: tenant.labels.clone().into_iter().collect(),
        limits: filter::Limits {
            max_input_tokens: limits.max_input_tokens.map(|count| count.0),
            max_output_tokens: limits.max_output_tokens.map(|count| count.0),
        },
    }
}

fn provider(provider: &policy::Provider, tenants: &[Tenant]) -> filter::Provider {
    let told = |tenant: &Tenant| Some((tenant.name.clone(), metadata(provider, tenant)?));
    filter::Provider {
        // Salts come from a secret, which is not looked up here.
        tenants: tenants.iter().filter_map(told).collect(),
        name: provider.name.clone(),
        kind: kind(provider.kind),
        region: provider.region.clone().unwrap_or_default(),
        cluster: cluster_name(&provider.name),
        stops: provider.on_abort == Some(OnAbort::Stops),
    }
}

/// Members of `requestMetadata`, as they stand in JSON.
fn metadata(provider: &policy::Provider, tenant: &Tenant) -> Option<String> {
    let value = |name: &String| match name.as_str() {
        TENANT => Some(&tenant.name),
        label => tenant.labels.get(label),
    };
    let members = provider.request_metadata.iter().filter_map(|name| Some((name, value(name)?)));
    let members = serde_json::to_string(&members.collect::<BTreeMap<_, _>>()).ok()?;
    Some(members.strip_prefix('{')?.strip_suffix('}')?.to_owned()).filter(|members| !members.is_empty())
}

fn model(model: &Model) -> filter::Model {
    filter::Model {
        name: model.name.clone(),
        aliases: model.aliases.to_vec(),
        targets: model.targets.iter().map(target).collect(),
    }
}

fn target(target: &Target) -> filter::Target {
    let mut supports: Vec<_> = target.supports.to_vec();
    supports.sort();
    supports.dedup();
    filter::Target {
        provider: target.provider.clone(),
        model: target.model.clone(),
        priority: target.priority.unwrap_or(0),
        weight: target.weight.unwrap_or(1),
        tokenizer: target.tokenizer.clone().filter(|name| name != "learned"),
        learned: target.bound.map_or(target.tokenizer.as_deref() == Some("learned"), |bound| {
            bound == policy::TokenBound::Calibrated
        }),
        invoke: target.api == Some(policy::TargetApi::Invoke),
        context: target.context.unwrap_or_default().0,
        supports: supports.into_iter().map(|feature| feature.name().to_owned()).collect(),
        price: target.price.first().map(price),
        tiers: target.price.first().map(tiers).unwrap_or_default(),
    }
}

fn price(price: &Price) -> filter::Price {
    filter::Price {
        input_pico: price.input.pico,
        output_pico: price.output.pico,
        cache_read_pico: price.cache_read.map(|price| price.pico),
        cache_write_pico: price.cache_write.map(|price| price.pico),
        reasoning_pico: price.reasoning.map(|price| price.pico),
    }
}

fn tiers(of: &Price) -> Vec<filter::Tier> {
    let tier = |(name, of): (&String, &TierPrice)| {
        let TierPrice { input, output, cache_read, cache_write, reasoning } = *of;
        let of = Price { input, output, cache_read, cache_write, reasoning, ..Price::default() };
        filter::Tier { name: name.clone(), price: price(&of) }
    };
    of.tiers.iter().map(tier).collect()
}

fn boundary(boundary: &policy::Boundary) -> filter::Boundary {
    filter::Boundary {
        name: boundary.name.clone(),
        when: when(&boundary.when),
        providers: sorted(&boundary.providers),
        regions: sorted(&boundary.regions),
    }
}

fn route(route: &policy::Route) -> filter::Route {
    filter::Route {
        name: route.name.clone(),
        when: when(&route.when),
        model: route.to.model.clone(),
        fallback: route.to.fallback,
        mirror: route.to.mirror.as_ref().filter(|mirror| mirror.percent > 0).map(|mirror| filter::Mirror {
            provider: mirror.provider.clone(),
            model: mirror.model.clone(),
            percent: mirror.percent,
        }),
    }
}

fn retry(retry: Option<&Retry>) -> filter::Retry {
    let retry = retry.cloned().unwrap_or_default();
    let Many(on) = retry.on;
    let on = if on.is_empty() { RetryOn::ALL.to_vec() } else { on };
    filter::Retry {
        tries: retry.tries.unwrap_or(2),
        on: on.into_iter().map(|on| on.name().to_owned()).collect(),
        first_byte_ms: retry.first_byte.map_or(60_000, |time| time.ms),
        stall_ms: retry.stall.map_or(0, |time| time.ms),
        budget: retry.budget.and_then(|share| u32::try_from(share.hundredths).ok()),
    }
}

fn budget(budget: &Budget, policy: &Policy) -> filter::Budget {
    filter::Budget {
        name: budget.name.clone(),
        when: when(&budget.when),
        each: sorted(&budget.each),
        tokens: budget.limit.tokens.map(|count| count.0),
        requests: budget.limit.requests.map(|count| count.0),
        usd_nano: budget.limit.usd.map(|usd| usd.nano),
        window: window(budget),
        definition: format!("{:016x}", definition(budget, policy)),
        ledger_lost: ledger_lost(budget.ledger_lost),
        soft: budget.mode == Some(BudgetMode::Soft),
        // A budget is used to its end in answers of sixteen tokens at least.
        min_output: budget.when_short.map(|short| short.min_output.map_or(16, |count| count.0).max(16)),
        exceeded: budget.exceeded.as_ref().map(|exceeded| exceeded.to.clone()),
        unbounded: budget.unbounded == Some(Unbounded::Allow),
        progressive: budget.reserve == Some(Reserve::Progressive),
        wait_ms: budget.wait.map_or(0, |time| time.ms),
    }
}

/// A pattern's table in base64.
fn table(pattern: &str) -> Option<String> {
    Some(STANDARD.encode(pattern::compile(pattern).ok()?))
}

pub fn action(action: Action) -> filter::Action {
    match action {
        Action::Report => filter::Action::Report,
        Action::Tokenize => filter::Action::Tokenize,
        Action::Hash => filter::Action::Hash,
        Action::Mask => filter::Action::Mask,
        Action::Block => filter::Action::Block,
    }
}

fn redaction(rule: &policy::Redaction) -> filter::Redaction {
    let within = |direction| rule.within.contains(&direction);
    filter::Redaction {
        name: rule.name.clone(),
        when: when(&rule.when),
        find: detectors::resolve(rule.find.iter()),
        words: rule.words.to_vec(),
        // What cannot be compiled was refused before.
        patterns: rule.patterns.iter().filter_map(|pattern| table(pattern)).collect(),
        pass: rule.on_failure == Some(policy::OnFailure::Pass),
        action: action(rule.action),
        request: rule.within.is_empty() || within(Direction::Request),
        response: within(Direction::Response),
    }
}
