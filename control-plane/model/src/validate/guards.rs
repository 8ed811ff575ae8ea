//! Redaction, the later text organs' references, telemetry.

use weir_config::policy::{Action, Content, IdentitySource, OtlpProtocol, Secret, When};

use super::people::header_name;
use super::{Check, ModelNames};
use crate::endpoint::Endpoint;
use crate::{analyzer, pattern};

/// Longest word of the house, in bytes: answers are held back by as much when they are searched.
const MAX_WORD: usize = 256;

/// Patterns of one rule at most: each is a pass over every text.
const MAX_PATTERNS: usize = 16;

pub fn check(check: &mut Check<'_>) {
    let policy = check.policy;
    let rules = policy.redaction.iter().enumerate();
    check.unique(
        "redaction rules",
        rules.clone().map(|(i, r)| (format!("redaction[{i}].name"), r.name.as_str())),
    );
    for (index, rule) in rules {
        let path = format!("redaction[{index}]");
        check.name(format!("{path}.name"), "redaction rule", &rule.name);
        check.when(&path, &rule.when, ModelNames::Asked);
        if !rule.when.found.is_empty() {
            check.error(format!("{path}.when.found"), "a redaction rule cannot depend on what is found");
        }
        for (index, name) in rule.find.iter().enumerate() {
            check.detector(format!("{path}.find[{index}]"), name);
        }
        for (index, word) in rule.words.iter().enumerate() {
            let trimmed = word.trim();
            if trimmed.len() < 2 || trimmed.len() != word.len() || word.len() > MAX_WORD {
                let message = format!("`{word}` must have 2 to {MAX_WORD} bytes, without spaces around it");
                check.error(format!("{path}.words[{index}]"), message);
            }
        }
        for (index, pattern) in rule.patterns.iter().enumerate() {
            if let Err(why) = pattern::compile(pattern) {
                check.error(format!("{path}.patterns[{index}]"), format!("`{pattern}` {why}"));
            }
        }
        if rule.patterns.len() > MAX_PATTERNS {
            check.error(format!("{path}.patterns"), format!("at most {MAX_PATTERNS} patterns in a rule"));
        }
        digests(check, &path, rule.action, rule.key.as_ref());
        if rule.find.is_empty() && rule.words.is_empty() && rule.patterns.is_empty() {
            check.error(path, format!("redaction rule `{}` finds nothing", rule.name)).hint =
                Some("add `find`, `words` or `patterns`".to_owned());
        }
    }
    guardrails(check);
    later(check);
    telemetry(check);
}

/// A rule that hashes has a key, and all have the same: what two rules find must not have two digests.
fn digests(check: &mut Check<'_>, path: &str, action: Action, key: Option<&Secret>) {
    let hashes = action == Action::Hash;
    if hashes != key.is_some() {
        let message = if hashes { "`hash` needs a key" } else { "only `hash` has a key" };
        check.error(path, message).hint =
            Some("write `key: {env: NAME}` (or file, or secret) beside `do: hash`".to_owned());
    }
    let outside = check.policy.guardrails.iter().filter_map(|rule| rule.analyzer.as_ref()?.key.as_ref());
    let mut keys = check.policy.redaction.iter().filter_map(|rule| rule.key.as_ref()).chain(outside);
    let first = keys.next();
    if key.is_some() && key != first {
        check.error(format!("{path}.key"), "all rules that hash must name the same key");
    }
}

/// Others that are asked.
fn guardrails(check: &mut Check<'_>) {
    let policy = check.policy;
    let rules = policy.guardrails.iter().enumerate();
    check
        .unique("guardrails", rules.clone().map(|(i, r)| (format!("guardrails[{i}].name"), r.name.as_str())));
    if policy.guardrails.len() > analyzer::MAX_RULES {
        check.error("guardrails", format!("more than {} guardrails", analyzer::MAX_RULES));
    }
    for (index, rule) in rules {
        let path = format!("guardrails[{index}]");
        named(check, &path, &rule.name, &rule.when);
        if !rule.when.found.is_empty() {
            check.error(format!("{path}.when.found"), "a guardrail cannot depend on what is found");
        }
        if check.providers.contains(&rule.name.as_str()) {
            // A boundary that names it would mean either.
            check.error(format!("{path}.name"), format!("a provider is named `{}` too", rule.name));
        }
        if let Some(bedrock) = &rule.bedrock {
            let providers = check.providers.clone();
            let path = format!("{path}.bedrock.provider");
            check.known(path, "provider", &bedrock.provider, &providers);
        }
        match (&rule.analyzer, &rule.bedrock) {
            (Some(outside), None) => {
                check.problems.extend(analyzer::problems(&path, rule, outside));
                digests(check, &format!("{path}.analyzer"), outside.action, outside.key.as_ref());
                clear_text(check, &path, &outside.url);
            }
            (None, Some(_)) => {}
            (Some(_), Some(_)) => {
                check.error(path, "both `analyzer` and `bedrock`").hint =
                    Some("make each a guardrail of its own".to_owned());
            }
            (None, None) => {
                check.error(path, format!("guardrail `{}` asks nobody", rule.name)).hint =
                    Some("add `analyzer` or `bedrock`".to_owned());
            }
        }
    }
}

fn clear_text(check: &mut Check<'_>, path: &str, url: &str) {
    if Endpoint::parse(url).is_ok_and(|endpoint| !endpoint.tls && !endpoint.is_loopback()) {
        check.warn(format!("{path}.analyzer.url"), "texts go to it over the network in clear text");
    }
}

/// Organs whose rules are only held to their references so far.
fn later(check: &mut Check<'_>) {
    let policy = check.policy;
    for (index, rule) in policy.prompts.iter().enumerate() {
        named(check, &format!("prompts[{index}]"), &rule.name, &rule.when);
    }
    for (index, rule) in policy.context.iter().enumerate() {
        named(check, &format!("context[{index}]"), &rule.name, &rule.when);
    }
    for (index, rule) in policy.validate.iter().enumerate() {
        named(check, &format!("validate[{index}]"), &rule.name, &rule.when);
    }
}

fn named(check: &mut Check<'_>, path: &str, name: &str, when: &When) {
    check.name(format!("{path}.name"), "rule", name);
    check.when(path, when, ModelNames::Asked);
}

fn telemetry(check: &mut Check<'_>) {
    let Some(telemetry) = &check.policy.telemetry else { return };
    if let Some(otlp) = &telemetry.otlp {
        match Endpoint::parse(otlp) {
            Ok(endpoint) if endpoint.prefix.is_empty() => {}
            Ok(_) if telemetry.otlp_protocol != Some(OtlpProtocol::HttpProtobuf) => {
                check.error("telemetry.otlp", "OTLP over gRPC has no path").hint =
                    Some("such as `http://127.0.0.1:4317`, or say `otlp_protocol: http/protobuf`".to_owned());
            }
            Ok(endpoint) if endpoint.prefix.ends_with("/v1/traces") => {
                check
                    .error("telemetry.otlp", "the path of one signal, and metrics and events go there too")
                    .hint = Some("leave out `/v1/traces`, which each signal adds for itself".to_owned());
            }
            Ok(_) => {}
            Err(why) => {
                check.error("telemetry.otlp", format!("`{otlp}` is not an endpoint")).hint =
                    Some(why.to_owned());
            }
        }
    }
    if telemetry.otlp_protocol.is_some() && telemetry.otlp.is_none() {
        check.error("telemetry.otlp_protocol", "no collector is named").hint =
            Some("name one: `otlp: http://127.0.0.1:4318`".to_owned());
    }
    if telemetry.content == Some(Content::Redacted) {
        if telemetry.otlp.is_none() {
            check.error("telemetry.content", "content is shown in spans, and there are none").hint =
                Some("name a collector: `otlp: http://127.0.0.1:4317`".to_owned());
        }
        if check.policy.redaction.is_empty() {
            check
                .error("telemetry.content", "nothing is redacted: no rule says what content must not show")
                .hint = Some("content is shown of requests that a rule of `redaction` matches".to_owned());
        }
    }
    if telemetry.sample.is_some_and(|share| share.hundredths > 10_000) {
        check.error("telemetry.sample", "more than 100%");
    }
    if telemetry.otlp.is_none() {
        for (field, asked) in [
            ("sample_above", telemetry.sample_above.is_some()),
            ("end_user", telemetry.end_user.is_some()),
            ("retrieval", telemetry.retrieval == Some(true)),
        ] {
            if asked {
                check.error(format!("telemetry.{field}"), "it is about spans, and there are none").hint =
                    Some("name a collector: `otlp: http://127.0.0.1:4317`".to_owned());
            }
        }
    }
    if let Some(header) = telemetry.end_user.as_ref().and_then(|asked| asked.header.as_deref()) {
        let path = "telemetry.end_user.header".to_owned();
        let header = header_name(check, path.clone(), header);
        let from = check.policy.identity.iter().flat_map(|identity| &identity.from);
        let secret = |source: &IdentitySource| matches!(source, IdentitySource::ApiKey(key) if key.header.eq_ignore_ascii_case(&header));
        if header == "authorization" || from.into_iter().any(secret) {
            check.error(path, format!("header `{header}` carries a credential, not a user"));
        }
    }
    for (index, label) in telemetry.labels.iter().enumerate() {
        let known: Vec<&str> = check.labels.iter().chain(&check.client_labels).copied().collect();
        if !known.contains(&label.as_str()) {
            let path = format!("telemetry.labels[{index}]");
            let hint = crate::problem::nearest(label, &known).map(|near| format!("did you mean `{near}`?"));
            check.warn(path, format!("nobody sets the label `{label}`")).hint = hint;
        }
    }
    if let Some(decisions) = &telemetry.decisions {
        check.when("telemetry.decisions", &decisions.when, ModelNames::Asked);
        if decisions.file.is_empty() {
            check.error("telemetry.decisions.file", "the decision log has no file").hint =
                Some("such as `file: ./weir-decisions.log`".to_owned());
        }
    }
}
