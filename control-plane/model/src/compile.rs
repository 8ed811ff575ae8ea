//! A policy to what runs: the filters' configuration, Envoy's clusters and listener, the ledger's budgets.
//!
//! Deterministic: the same policy, version and secrets give the same result, byte for byte. Nothing is
//! compiled that has an error or asks for what is not built.

pub(crate) mod filters;

use std::net::SocketAddr;

use sha2::{Digest, Sha256};
use weir_config::filter;
use weir_config::policy::{
    Auth, Budget, Gateway, OtlpProtocol, Policy, Provider, ProviderKind, Secret, Tenant, Window,
};

use crate::endpoint::{Endpoint, bedrock_host};
use crate::problem::Problem;
use crate::{analyzer, unbuilt, validate};

pub use crate::validate::gateway::DEFAULT_LISTEN;

/// Envoy cluster of the ledger's gRPC.
pub const LEDGER_CLUSTER: &str = "weir-ledger";
/// Envoy cluster of the span collector.
pub const OTLP_CLUSTER: &str = "weir-otlp";
/// Characters of the shortest secret that keys are derived from.
const LEAST_SECRET: usize = 16;
/// Largest request body where the policy names none, in bytes.
const DEFAULT_MAX_BODY: u64 = 32 << 20;
/// Longest exchange where the policy names none, in milliseconds.
const DEFAULT_REQUEST_TIMEOUT_MS: u64 = 600_000;

/// What a compilation depends on besides the policy.
pub struct CompileOptions<'a> {
    /// Version of the policy: shown in spans and headers.
    pub version: &'a str,
    /// Looks a secret up; `Err` says why it cannot be had.
    pub resolve: &'a dyn Fn(&Secret) -> Result<String, String>,
    /// The listener's address in place of the policy's, for a place that decides it by its network (a pod).
    /// It may be other than loopback without TLS; keys that the whole world knows are refused there.
    pub listen: Option<SocketAddr>,
}

/// Everything that runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Compiled {
    /// As given.
    pub version: String,
    /// Configuration of the downstream filter.
    pub exchange: filter::Exchange,
    /// Configuration of the upstream filter by provider, in the policy's order.
    pub attempts: Vec<(String, filter::Attempt)>,
    /// Envoy clusters of the providers, in the same order.
    pub clusters: Vec<Cluster>,
    /// Where the listener binds; `None` when the gateway is configured by others.
    pub listen: Option<SocketAddr>,
    /// Host and port of the OTLP collector, in clear text.
    pub otlp: Option<(String, u16)>,
    /// It speaks OTLP/HTTP, not gRPC.
    pub otlp_http: bool,
    /// Envoy clusters of detectors outside.
    pub analyzers: Vec<AnalyzerCluster>,
    /// The decision log's file.
    pub decisions: Option<String>,
    /// What the ledger keeps: one for each unit of each budget.
    pub budgets: Vec<BudgetDef>,
    /// Where the ledger keeps them.
    pub ledger: LedgerStore,
    /// Whole exchange, in milliseconds; 0 is no limit.
    pub request_timeout_ms: u64,
    /// Largest request body in bytes.
    pub max_body: u64,
}

/// An Envoy cluster of one provider. Several endpoints are several hosts of it, picked by least requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// `weir-PROVIDER`.
    pub name: String,
    /// Name of the provider.
    pub provider: String,
    /// Its API.
    pub kind: filter::ProviderKind,
    /// Host (name or address, no brackets) and port of each.
    pub endpoints: Vec<(String, u16)>,
    /// Whether to speak TLS, with the host of `authority` as SNI and as the name that is verified.
    pub tls: bool,
    /// As the attempt filter writes it.
    pub authority: String,
    /// How Envoy signs requests to it; `None` does not.
    pub signing: Option<Signing>,
}

/// An Envoy cluster of a detector outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnalyzerCluster {
    /// As the exchange filter names it.
    pub name: String,
    /// `:authority` of requests to it.
    pub authority: String,
    /// Whether to speak TLS, with the host of `authority` as SNI and as the name that is verified.
    pub tls: bool,
    /// Host (name or address, no brackets) and port.
    pub endpoint: (String, u16),
}

/// An AWS signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signing {
    /// AWS region.
    pub region: String,
    /// AWS service name.
    pub service: String,
}

/// Where the ledger keeps budgets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerStore {
    /// Addresses of a Redis or Valkey primary and its replicas; empty is a log on the control plane's disk.
    pub redis: Vec<String>,
    /// Replicas that must have a grant before it is told.
    pub wait_replicas: u32,
}

/// What a budget counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unit {
    /// Tokens.
    Tokens,
    /// Requests.
    Requests,
    /// Nano-USD.
    UsdNano,
}

/// One unit of one budget, as the ledger keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetDef {
    /// Name of the budget.
    pub name: String,
    /// What is counted.
    pub unit: Unit,
    /// How much, in that unit.
    pub limit: u64,
    /// `minute`, `hour`, `day`, `week` or `month`.
    pub window: String,
    /// IANA name of the zone whose calendar it is.
    pub timezone: String,
    /// Hash of when, each, window and timezone; the filters know it as `definition`, 16 hex digits.
    pub definition: u64,
    /// One counter for each value of these.
    pub each: Vec<String>,
    /// What happens when the ledger cannot be reached.
    pub ledger_lost: filter::LedgerLost,
    /// Shares of the limit at which to tell, in hundredths of a percent, ascending.
    pub alert_at: Vec<u64>,
}

/// Compiles, or says everything that keeps the policy from running.
pub fn compile(policy: &Policy, options: &CompileOptions<'_>) -> Result<Compiled, Vec<Problem>> {
    compile_for(policy, options, &validate::TOKENIZERS.map(str::to_owned))
}

/// The same for a module that has these tokenizers.
pub(crate) fn compile_for(
    policy: &Policy,
    options: &CompileOptions<'_>,
    tokenizers: &[String],
) -> Result<Compiled, Vec<Problem>> {
    let mut problems = validate::validate_for(policy, options.listen, tokenizers);
    problems.retain(Problem::is_error);
    problems.extend(unbuilt::unbuilt(policy).into_iter().map(|field| {
        let message = format!("`{field}` is not built yet ({})", field.organ);
        Problem::error(field.at, message)
    }));
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut clusters = Vec::new();
    let mut attempts = Vec::new();
    for (index, provider) in policy.providers.iter().enumerate() {
        match upstream(provider, options) {
            Ok((cluster, attempt)) => {
                clusters.push(cluster);
                attempts.push((provider.name.clone(), attempt));
            }
            Err(message) => problems.push(Problem::error(format!("providers[{index}].auth"), message)),
        }
    }
    let digests =
        digest_secret(policy, options).map_err(|problem| problems.push(problem)).unwrap_or_default();
    let end_user = policy.telemetry.as_ref().and_then(|telemetry| telemetry.end_user.as_ref());
    let users = end_user.and_then(|asked| {
        let secret = long(&asked.key, "telemetry.end_user.key".to_owned(), options);
        secret.map_err(|problem| problems.push(problem)).ok()
    });
    let mut salts = Vec::new();
    for (index, provider) in policy.providers.iter().enumerate() {
        let Some(secret) = &provider.cache_salt else { continue };
        match long(secret, format!("providers[{index}].cache_salt"), options) {
            Ok(secret) => salts.push((index, secret)),
            Err(problem) => problems.push(problem),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut exchange = filters::exchange(policy, options.version);
    for tenant in &mut exchange.tenants {
        if let Some(secret) = &digests {
            tenant.digest_key = tenant_key(secret, "weir redaction", &tenant.name);
        }
        if let Some(secret) = &users {
            tenant.user_key = tenant_key(secret, "weir end user", &tenant.name);
        }
    }
    for (index, secret) in salts {
        let salt =
            |tenant: &Tenant| (tenant.name.clone(), tenant_key(&secret, "weir cache salt", &tenant.name));
        exchange.providers[index].tenants = policy.tenants.iter().map(salt).collect();
    }
    Ok(Compiled {
        version: options.version.to_owned(),
        attempts,
        clusters,
        listen: options.listen.or_else(|| listen(policy.gateway.as_ref()?)),
        otlp: otlp(policy).map(|endpoint| (endpoint.host, endpoint.port)),
        otlp_http: otlp_http(policy),
        analyzers: policy.guardrails.iter().filter_map(analyzer::cluster).collect(),
        decisions: policy.telemetry.as_ref().and_then(|t| Some(t.decisions.as_ref()?.file.clone())),
        budgets: policy.budgets.iter().flat_map(|budget| budget_defs(budget, policy)).collect(),
        ledger: policy.ledger.as_ref().map_or_else(LedgerStore::default, |ledger| LedgerStore {
            redis: ledger.redis.to_vec(),
            wait_replicas: ledger.wait_replicas.unwrap_or(0),
        }),
        request_timeout_ms: exchange.request_timeout_ms,
        max_body: exchange.max_body,
        exchange,
    })
}

fn listen(gateway: &Gateway) -> Option<SocketAddr> {
    gateway.listen.as_deref().unwrap_or(DEFAULT_LISTEN).parse().ok()
}

fn otlp(policy: &Policy) -> Option<Endpoint> {
    Endpoint::parse(policy.telemetry.as_ref()?.otlp.as_deref()?).ok()
}

fn otlp_http(policy: &Policy) -> bool {
    policy.telemetry.as_ref().and_then(|telemetry| telemetry.otlp_protocol)
        == Some(OtlpProtocol::HttpProtobuf)
}

/// The provider's endpoints, the default one of its kind included.
pub(crate) fn endpoints(provider: &Provider) -> Vec<String> {
    let given: Vec<_> = provider.endpoint.iter().chain(&provider.endpoints).cloned().collect();
    match (given.is_empty(), provider.kind, &provider.region) {
        (true, ProviderKind::Bedrock, Some(region)) => vec![format!("https://{}", bedrock_host(region))],
        (true, ProviderKind::BedrockOpenai, Some(region)) => {
            vec![format!("https://{}/openai", bedrock_host(region))]
        }
        (true, ProviderKind::Openai, _) => vec!["https://api.openai.com".to_owned()],
        (true, ProviderKind::Anthropic, _) => vec!["https://api.anthropic.com".to_owned()],
        _ => given,
    }
}

fn upstream(provider: &Provider, options: &CompileOptions<'_>) -> Result<(Cluster, filter::Attempt), String> {
    let endpoints: Vec<_> = endpoints(provider).iter().flat_map(|url| Endpoint::parse(url)).collect();
    let first = endpoints.first().ok_or("no endpoint")?;
    let kind = filters::kind(provider.kind);
    let authorization = match &provider.auth {
        // Anthropic takes its keys bare, in a header of its own.
        Some(Auth::Bearer(secret)) if kind == filter::ProviderKind::Anthropic => {
            Some(bearer(secret, options)?)
        }
        Some(Auth::Bearer(secret)) => Some(format!("Bearer {}", bearer(secret, options)?)),
        _ => None,
    };
    let signing = matches!(provider.auth, Some(Auth::Aws(_))).then(|| Signing {
        region: provider.region.clone().unwrap_or_default(),
        service: "bedrock".to_owned(),
    });
    let attempt = filter::Attempt {
        provider: provider.name.clone(),
        kind,
        authority: first.authority(),
        path_prefix: first.prefix.clone(),
        authorization,
    };
    let cluster = Cluster {
        name: filters::cluster_name(&provider.name),
        provider: provider.name.clone(),
        kind,
        authority: first.authority(),
        tls: first.tls,
        endpoints: endpoints.into_iter().map(|endpoint| (endpoint.host, endpoint.port)).collect(),
        signing,
    };
    Ok((cluster, attempt))
}

/// What the keys of digests are derived from, where a rule asks for digests.
fn digest_secret(policy: &Policy, options: &CompileOptions<'_>) -> Result<Option<String>, Problem> {
    let rules = policy.redaction.iter().enumerate();
    let mut keys = rules.filter_map(|(i, rule)| Some((format!("redaction[{i}].key"), rule.key.as_ref()?)));
    let guards = policy.guardrails.iter().enumerate();
    let mut outside = guards.filter_map(|(i, rule)| {
        Some((format!("guardrails[{i}].analyzer.key"), rule.analyzer.as_ref()?.key.as_ref()?))
    });
    let Some((path, secret)) = keys.next().or_else(|| outside.next()) else { return Ok(None) };
    long(secret, path, options).map(Some)
}

/// A secret that keys are derived from.
fn long(secret: &Secret, path: String, options: &CompileOptions<'_>) -> Result<String, Problem> {
    match (options.resolve)(secret) {
        Ok(value) if value.trim().len() >= LEAST_SECRET => Ok(value.trim().to_owned()),
        Ok(_) => Err(Problem::error(path, format!("the secret has less than {LEAST_SECRET} characters"))),
        Err(message) => Err(Problem::error(path, message)),
    }
}

/// A tenant's own key for a purpose: HMAC (RFC 2104) with SHA-256 of both, in hexadecimal.
fn tenant_key(secret: &str, purpose: &str, tenant: &str) -> String {
    let secret = secret.as_bytes();
    let mut block = [0u8; 64];
    let short: [u8; 32] = Sha256::digest(secret).into();
    let secret = if secret.len() > block.len() { &short } else { secret };
    block.iter_mut().zip(secret).for_each(|(slot, byte)| *slot = *byte);
    let padded = |pad: u8| Sha256::new_with_prefix(block.map(|byte| byte ^ pad));
    let inner = padded(0x36).chain_update(purpose).chain_update("\0").chain_update(tenant).finalize();
    let outer = padded(0x5c).chain_update(inner).finalize();
    outer.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bearer(secret: &Secret, options: &CompileOptions<'_>) -> Result<String, String> {
    let value = (options.resolve)(secret)?;
    let value = value.trim();
    // The value itself stays out of the message.
    match !value.is_empty() && value.bytes().all(|b| b.is_ascii_graphic()) {
        true => Ok(value.to_owned()),
        false => Err("the secret is empty or holds what a header cannot carry".to_owned()),
    }
}

/// Hash of what makes a budget's counters this budget's: when, each, window and timezone, whatever order
/// their lists are written in.
pub(crate) fn definition(budget: &Budget, policy: &Policy) -> u64 {
    let when = filters::when(&budget.when);
    let parts = (when, filters::sorted(&budget.each), window(budget), timezone(policy));
    let text = serde_json::to_vec(&parts).unwrap_or_default();
    let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(Sha256::digest(text));
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

fn window(budget: &Budget) -> String {
    match budget.window {
        Window::Calendar(keyword) => keyword.name().to_owned(),
        Window::Rolling(length) => length.to_string(),
    }
}

fn timezone(policy: &Policy) -> String {
    policy.timezone.clone().unwrap_or_else(|| "UTC".to_owned())
}

fn budget_defs(budget: &Budget, policy: &Policy) -> Vec<BudgetDef> {
    let limit = &budget.limit;
    let units = [
        (Unit::Tokens, limit.tokens.map(|count| count.0)),
        (Unit::Requests, limit.requests.map(|count| count.0)),
        (Unit::UsdNano, limit.usd.map(|usd| usd.nano)),
    ];
    let mut alert_at: Vec<u64> = budget.alert_at.iter().map(|percent| percent.hundredths).collect();
    alert_at.sort_unstable();
    alert_at.dedup();
    let def = |(unit, limit): (Unit, Option<u64>)| {
        Some(BudgetDef {
            name: budget.name.clone(),
            unit,
            limit: limit?,
            window: window(budget),
            timezone: timezone(policy),
            definition: definition(budget, policy),
            each: filters::sorted(&budget.each),
            ledger_lost: filters::ledger_lost(budget.ledger_lost),
            alert_at: alert_at.clone(),
        })
    };
    units.into_iter().filter_map(def).collect()
}
