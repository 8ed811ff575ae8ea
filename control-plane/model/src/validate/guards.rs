//! Redaction, the later text organs' references, telemetry.

use weir_config::policy::{Action, Redaction, When};

use super::{Check, ModelNames};
use crate::endpoint::Endpoint;
use crate::pattern;

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
        digests(check, &path, rule);
        if rule.find.is_empty() && rule.words.is_empty() && rule.patterns.is_empty() {
            check.error(path, format!("redaction rule `{}` finds nothing", rule.name)).hint =
                Some("add `find`, `words` or `patterns`".to_owned());
        }
    }
    later(check);
    telemetry(check);
}

/// A rule that hashes has a key, and all have the same: what two rules find must not have two digests.
fn digests(check: &mut Check<'_>, path: &str, rule: &Redaction) {
    let hashes = rule.action == Action::Hash;
    if hashes != rule.key.is_some() {
        let message = if hashes { "`hash` needs a key" } else { "only `hash` has a key" };
        check.error(path, message).hint =
            Some("write `key: {env: NAME}` (or file, or secret) beside `do: hash`".to_owned());
    }
    let first = check.policy.redaction.iter().find_map(|rule| rule.key.as_ref());
    if rule.key.is_some() && rule.key.as_ref() != first {
        check.error(format!("{path}.key"), "all rules that hash must name the same key");
    }
}

/// Organs whose rules are only held to their references so far.
fn later(check: &mut Check<'_>) {
    let policy = check.policy;
    for (index, rule) in policy.guardrails.iter().enumerate() {
        named(check, &format!("guardrails[{index}]"), &rule.name, &rule.when);
        if let Some(bedrock) = &rule.bedrock {
            let providers = check.providers.clone();
            let path = format!("guardrails[{index}].bedrock.provider");
            check.known(path, "provider", &bedrock.provider, &providers);
        }
    }
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
            Ok(_) => {
                check.error("telemetry.otlp", "OTLP over gRPC has no path").hint =
                    Some("such as `http://127.0.0.1:4317`".to_owned());
            }
            Err(why) => {
                check.error("telemetry.otlp", format!("`{otlp}` is not an endpoint")).hint =
                    Some(why.to_owned());
            }
        }
    }
    if telemetry.sample.is_some_and(|share| share.hundredths > 10_000) {
        check.error("telemetry.sample", "more than 100%");
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
    }
}
