//! Providers and models.

use weir_config::policy::{Auth, Model, Provider, ProviderKind, Target};

use super::{AUTO, Check};
use crate::TENANT;
use crate::compile::endpoints;
use crate::endpoint::Endpoint;
use crate::prices;
use crate::problem::Problem;

/// Clusters `weir-NAME` that are not providers'.
const RESERVED: [&str; 4] = ["ledger", "otlp", "xds", "control-plane"];
/// Most entries of Bedrock's `requestMetadata`.
const MOST_METADATA: usize = 16;
/// The tokenizer that is none: a bound that is learned.
const LEARNED: &str = "learned";
/// Vocabularies that a module can be built with, by the name that its build knows.
const BUILDABLE: [(&str, &str); 5] = [
    ("o200k_base", "o200k"),
    ("o200k_harmony", "o200k"),
    ("cl100k_base", "cl100k"),
    ("p50k_base", "p50k"),
    ("r50k_base", "r50k"),
];

pub fn check(check: &mut Check<'_>) {
    let policy = check.policy;
    let providers = policy.providers.iter().enumerate();
    check.unique(
        "providers",
        providers.clone().map(|(i, p)| (format!("providers[{i}].name"), p.name.as_str())),
    );
    for (index, provider) in providers {
        self::provider(check, &format!("providers[{index}]"), provider);
    }
    let mut names = Vec::new();
    for (index, model) in policy.models.iter().enumerate() {
        names.push((format!("models[{index}].name"), model.name.as_str()));
        let aliases = model.aliases.iter().enumerate();
        names.extend(aliases.map(|(i, alias)| (format!("models[{index}].aliases[{i}]"), alias.as_str())));
    }
    for (path, name) in &names {
        model_name(check, path, name);
    }
    check.unique("models", names.into_iter());
    for (index, model) in policy.models.iter().enumerate() {
        self::model(check, &format!("models[{index}]"), model);
    }
}

fn provider(check: &mut Check<'_>, path: &str, provider: &Provider) {
    let name = &provider.name;
    check.name(format!("{path}.name"), "provider", name);
    if RESERVED.contains(&name.as_str()) {
        check.error(format!("{path}.name"), format!("the name `{name}` is reserved"));
    }
    let bedrock = is_bedrock(provider);
    match provider.region.as_deref() {
        None if bedrock => {
            check.error(path, format!("provider `{name}` needs a `region`"));
        }
        Some(region) if bedrock && !is_aws_region(region) => {
            check.error(format!("{path}.region"), format!("`{region}` is not an AWS region"));
        }
        _ => {}
    }
    endpoints_of(check, path, provider);
    told(check, path, provider);
    match (&provider.auth, bedrock) {
        (Some(Auth::Aws(_)), false) => {
            check.error(
                format!("{path}.auth"),
                "only providers of kind `bedrock` and `bedrock_openai` are signed for AWS",
            );
        }
        (None, true) => {
            check
                .warn(path, format!("provider `{name}` has no `auth`: Bedrock refuses unsigned requests"))
                .hint = Some("add `auth: {aws: default}`".to_owned());
        }
        _ => {}
    }
}

/// What it is told of tenants.
fn told(check: &mut Check<'_>, path: &str, provider: &Provider) {
    if provider.cache_salt.is_some() && provider.kind != ProviderKind::Vllm {
        check.error(format!("{path}.cache_salt"), "only providers of kind `vllm` take a `cache_salt`");
    }
    let names = &provider.request_metadata;
    let place = format!("{path}.request_metadata");
    if !names.is_empty() && provider.kind != ProviderKind::Bedrock {
        check.error(place.clone(), "only providers of kind `bedrock` take `request_metadata`");
    }
    if names.len() > MOST_METADATA {
        check.error(place.clone(), format!("Bedrock takes at most {MOST_METADATA} entries"));
    }
    let policy = check.policy;
    let tenants = &policy.tenants;
    let mut known: Vec<&str> =
        tenants.iter().flat_map(|tenant| tenant.labels.keys()).map(String::as_str).collect();
    known.push(TENANT);
    for (index, name) in names.iter().enumerate() {
        let place = format!("{place}[{index}]");
        if names[..index].contains(name) {
            check.error(place, format!("`{name}` stands there twice"));
            continue;
        }
        if name == TENANT {
            continue;
        }
        if check.client_labels.contains(&name.as_str()) {
            check.error(
                place,
                format!("clients set the label `{name}`: only what the policy gives a tenant is told"),
            );
            continue;
        }
        if !known.contains(&name.as_str()) {
            check.problems.push(
                Problem::error(place, format!("no tenant has a label `{name}`")).hint_near(name, &known),
            );
            continue;
        }
        for (at, tenant) in tenants.iter().enumerate() {
            if tenant.keys.iter().any(|key| key.labels.contains_key(name)) {
                let message = format!(
                    "a key of `{}` has another label `{name}`, and Bedrock is told its tenant's",
                    tenant.name
                );
                check.warn(place.clone(), message);
            }
            let fits = |c: char| c.is_ascii_alphanumeric() || " :_@$#=/+,-.".contains(c);
            if tenant.labels.get(name).is_some_and(|value| !value.chars().all(fits)) {
                let message = format!(
                    "Bedrock takes letters, digits, spaces and `:_@$#=/+,-.` in `requestMetadata` (provider `{}`)",
                    provider.name
                );
                check.error(format!("tenants[{at}].labels.{name}"), message);
            }
        }
    }
}

fn is_bedrock(provider: &Provider) -> bool {
    matches!(provider.kind, ProviderKind::Bedrock | ProviderKind::BedrockOpenai)
}

/// `us-east-1`, `eusc-de-east-1`, `us-gov-west-1`.
fn is_aws_region(region: &str) -> bool {
    let parts: Vec<_> = region.split('-').collect();
    let letters = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase());
    match parts.split_last() {
        Some((number, words)) => {
            words.len() >= 2 && words.iter().all(letters) && number.len() == 1 && number.parse::<u8>().is_ok()
        }
        None => false,
    }
}

fn endpoints_of(check: &mut Check<'_>, path: &str, provider: &Provider) {
    let name = &provider.name;
    if provider.endpoint.is_some() && !provider.endpoints.is_empty() {
        check.error(format!("{path}.endpoint"), "both `endpoint` and `endpoints`").hint =
            Some("keep one of them".to_owned());
        return;
    }
    let urls = endpoints(provider);
    if urls.is_empty() && !is_bedrock(provider) {
        check.error(path, format!("provider `{name}` needs `endpoints`"));
    }
    if is_bedrock(provider) && urls.len() > 1 {
        check.error(format!("{path}.endpoints"), "a region of Bedrock has one endpoint").hint =
            Some("make each a provider of its own".to_owned());
    }
    let mut first: Option<Endpoint> = None;
    for (index, url) in urls.iter().enumerate() {
        let place = match provider.endpoint {
            Some(_) => format!("{path}.endpoint"),
            None => format!("{path}.endpoints[{index}]"),
        };
        let endpoint = match Endpoint::parse(url) {
            Ok(endpoint) => endpoint,
            Err(why) => {
                check.error(place, format!("`{url}` is not an endpoint")).hint = Some(why.to_owned());
                continue;
            }
        };
        if provider.kind != ProviderKind::Bedrock && endpoint.prefix.ends_with("/v1") {
            check.error(place.clone(), format!("`{url}` ends with the path of the API")).hint =
                Some("leave out `/v1`".to_owned());
        }
        if matches!(provider.auth, Some(Auth::Bearer(_))) && !endpoint.tls && !endpoint.is_loopback() {
            check.warn(
                place.clone(),
                format!("the credential of `{name}` goes over the network in clear text"),
            );
        }
        match &first {
            Some(first) if first.tls != endpoint.tls || first.prefix != endpoint.prefix => {
                check.error(place, "replicas must have one scheme and one path");
            }
            // Every replica is asked with the same authority, so TLS can verify one name only.
            Some(first) if endpoint.tls && first.host != endpoint.host => {
                check.error(place, "replicas with TLS must have one host name").hint =
                    Some("make each a provider of its own".to_owned());
            }
            Some(_) => {}
            None => first = Some(endpoint),
        }
    }
}

fn model_name(check: &mut Check<'_>, path: &str, name: &str) {
    if name == AUTO {
        check.error(path, "the name `auto` is reserved: it asks for a route's choice");
    }
    let valid = |c: char| c.is_ascii_graphic() && !"\"'\\`,".contains(c);
    if name.is_empty() || name.len() > 256 || !name.chars().all(valid) {
        check.error(path, format!("`{name}` cannot name a model"));
    }
}

fn model(check: &mut Check<'_>, path: &str, model: &Model) {
    if model.targets.is_empty() {
        check.error(path, format!("model `{}` has no targets", model.name));
    }
    for (index, target) in model.targets.iter().enumerate() {
        self::target(check, &format!("{path}.targets[{index}]"), target);
    }
}

/// A tokenizer that the module has no table of would be counted by nobody.
fn tokenizer(check: &mut Check<'_>, path: String, name: &str) {
    if name == LEARNED || check.tokenizers.contains(&name) {
        return;
    }
    if let Some((_, feature)) = BUILDABLE.iter().find(|(other, _)| *other == name) {
        check.error(path, format!("tokenizer `{name}` is not built into the module")).hint =
            Some(format!("build it in with `cargo xtask build --tokenizers {feature},…`"));
        return;
    }
    let mut known = check.tokenizers.clone();
    known.push(LEARNED);
    let mut problem = Problem::error(path, format!("unknown tokenizer `{name}`")).hint_near(name, &known);
    // Without a near name it is probably a model's own.
    if !problem.hint.as_ref().is_some_and(|hint| hint.contains('?')) {
        let add =
            format!("`weir tokenizer add {name} tokenizer.json` makes a model's own one of the module's");
        problem.hint = Some(problem.hint.iter().chain([&add]).cloned().collect::<Vec<_>>().join("; "));
    }
    check.problems.push(problem);
}

fn target(check: &mut Check<'_>, path: &str, target: &Target) {
    let providers = check.providers.clone();
    check.known(format!("{path}.provider"), "provider", &target.provider, &providers);
    if target.model.is_empty() || target.model.len() > 2048 || target.model.contains(char::is_control) {
        check.error(format!("{path}.model"), "the provider's model name is empty or not text");
    }
    let mut provider = check.policy.providers.iter().filter(|provider| provider.name == target.provider);
    if target.api.is_some() && provider.any(|provider| provider.kind != ProviderKind::Bedrock) {
        check.error(format!("{path}.api"), "only providers of kind `bedrock` have several APIs");
    }
    if let Some(tokenizer) = &target.tokenizer {
        self::tokenizer(check, format!("{path}.tokenizer"), tokenizer);
    }
    if target.weight.is_some_and(|weight| weight == 0 || weight > 1_000_000) {
        check.error(format!("{path}.weight"), "a weight must be from 1 to 1000000").hint =
            Some("a target of no weight is better left out".to_owned());
    }
    if target.priority.is_some_and(|priority| priority > 100) {
        check.error(format!("{path}.priority"), "a priority must be from 0 to 100");
    }
    match target.context {
        None => {
            check.error(path, "missing `context`").hint =
                Some("the window in tokens bounds what a request can cost".to_owned());
        }
        Some(context) if context.0 == 0 || context.0 > 1 << 32 => {
            check.error(format!("{path}.context"), "a context window must be from 1 to 4294967296 tokens");
        }
        Some(_) => {}
    }
    let several = target.price.len() > 1;
    for (at, price) in target.price.iter().enumerate() {
        let path = if several { format!("{path}.price[{at}]") } else { format!("{path}.price") };
        for (name, problem, hint) in prices::problems(price) {
            check.error(format!("{path}.{name}"), problem).hint = Some(hint.to_owned());
        }
    }
    if prices::same_date(&target.price) {
        check.error(format!("{path}.price"), "two prices hold from the same date").hint =
            Some("give each a `from` of its own".to_owned());
    }
}
