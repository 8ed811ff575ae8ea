//! The schema: every field of it is either built or held as unbuilt, never forgotten.

use std::collections::BTreeSet;

use serde_json::Value;
use weir_model::{UNBUILT, schema};

/// Fields that this version does. A new field of the schema stands either here or in `UNBUILT`.
const BUILT: &[&str] = &[
    "apiVersion",
    "boundaries[].name",
    "boundaries[].providers",
    "boundaries[].regions",
    "boundaries[].when.found",
    "boundaries[].when.key",
    "boundaries[].when.labels",
    "boundaries[].when.model",
    "boundaries[].when.tenant",
    "budgets[].alert_at",
    "budgets[].each",
    "budgets[].exceeded.use",
    "budgets[].ledger_lost",
    "budgets[].limit.requests",
    "budgets[].limit.tokens",
    "budgets[].limit.usd",
    "budgets[].mode",
    "budgets[].name",
    "budgets[].reserve",
    "budgets[].unbounded",
    "budgets[].wait",
    "budgets[].when.key",
    "budgets[].when.labels",
    "budgets[].when.model",
    "budgets[].when.tenant",
    "budgets[].when_short.min_output",
    "budgets[].window",
    "budgets[].window.rolling",
    "enforce",
    "gateway.headers",
    "gateway.listen",
    "gateway.max_body",
    "gateway.request_timeout",
    "gateway.unknown_paths",
    "guardrails[].analyzer.do",
    "guardrails[].analyzer.find",
    "guardrails[].analyzer.key.env",
    "guardrails[].analyzer.key.file",
    "guardrails[].analyzer.key.secret",
    "guardrails[].analyzer.language",
    "guardrails[].analyzer.max_text",
    "guardrails[].analyzer.parallel",
    "guardrails[].analyzer.region",
    "guardrails[].analyzer.score",
    "guardrails[].analyzer.url",
    "guardrails[].in",
    "guardrails[].name",
    "guardrails[].on_failure",
    "guardrails[].timeout",
    // Refused by validation: a guardrail cannot depend on what is found.
    "guardrails[].when.found",
    "guardrails[].when.key",
    "guardrails[].when.labels",
    "guardrails[].when.model",
    "guardrails[].when.tenant",
    "identity.anonymous",
    "identity.client_labels",
    "identity.from[].api_key.header",
    "identity.from[].api_key.scheme",
    "identity.from[].sigv4",
    "ledger.engine",
    "ledger.redis",
    "ledger.wait_replicas",
    "models[].aliases",
    "models[].name",
    "models[].targets[].api",
    "models[].targets[].bound",
    "models[].targets[].context",
    "models[].targets[].model",
    "models[].targets[].price.cache_read",
    "models[].targets[].price.cache_write",
    "models[].targets[].price.from",
    "models[].targets[].price.input",
    "models[].targets[].price.output",
    "models[].targets[].price.reasoning",
    "models[].targets[].price.tiers",
    "models[].targets[].price[].cache_read",
    "models[].targets[].price[].cache_write",
    "models[].targets[].price[].from",
    "models[].targets[].price[].input",
    "models[].targets[].price[].output",
    "models[].targets[].price[].reasoning",
    "models[].targets[].price[].tiers",
    "models[].targets[].priority",
    "models[].targets[].provider",
    "models[].targets[].supports",
    "models[].targets[].tokenizer",
    "models[].targets[].weight",
    "prices",
    "providers[].auth.aws",
    "providers[].auth.bearer.env",
    "providers[].auth.bearer.file",
    "providers[].auth.bearer.secret",
    "providers[].cache_salt.env",
    "providers[].cache_salt.file",
    "providers[].cache_salt.secret",
    "providers[].endpoint",
    "providers[].endpoints",
    "providers[].kind",
    "providers[].name",
    "providers[].on_abort",
    "providers[].region",
    "providers[].request_metadata",
    "redaction[].do",
    "redaction[].find",
    "redaction[].in",
    "redaction[].key.env",
    "redaction[].key.file",
    "redaction[].key.secret",
    "redaction[].name",
    "redaction[].on_failure",
    "redaction[].patterns",
    // Refused by validation: a rule cannot depend on its own findings.
    "redaction[].when.found",
    "redaction[].when.key",
    "redaction[].when.labels",
    "redaction[].when.model",
    "redaction[].when.tenant",
    "redaction[].words",
    "retry.budget",
    "retry.first_byte",
    "retry.on",
    "retry.stall",
    "retry.tries",
    "routes[].name",
    "routes[].use.fallback",
    "routes[].use.mirror.model",
    "routes[].use.mirror.percent",
    "routes[].use.mirror.provider",
    "routes[].use.model",
    "routes[].when.key",
    "routes[].when.labels",
    "routes[].when.model",
    "routes[].when.tenant",
    "telemetry.content",
    "telemetry.count",
    "telemetry.decisions.file",
    "telemetry.decisions.on_failure",
    "telemetry.decisions.when.key",
    "telemetry.decisions.when.labels",
    "telemetry.decisions.when.model",
    "telemetry.decisions.when.tenant",
    "telemetry.end_user.header",
    "telemetry.end_user.key.env",
    "telemetry.end_user.key.file",
    "telemetry.end_user.key.secret",
    "telemetry.labels",
    "telemetry.otlp",
    "telemetry.otlp_protocol",
    "telemetry.retrieval",
    "telemetry.sample",
    "telemetry.sample_above.usd",
    "tenants[].keys[].expires",
    "tenants[].keys[].id",
    "tenants[].keys[].labels",
    "tenants[].keys[].sha256",
    "tenants[].labels",
    "tenants[].limits.max_input_tokens",
    "tenants[].limits.max_output_tokens",
    "tenants[].models",
    "tenants[].name",
    "timezone",
];

/// Collects the paths of all fields that have no fields of their own.
fn leaves(root: &Value, schema: &Value, path: &str, out: &mut BTreeSet<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.strip_prefix("#/$defs/").unwrap();
        return leaves(root, &root["$defs"][name], path, out);
    }
    let mut inner = false;
    for choice in ["anyOf", "oneOf"].iter().filter_map(|key| schema[key].as_array()).flatten() {
        leaves(root, choice, path, out);
        inner = true;
    }
    if let Some(properties) = schema["properties"].as_object() {
        for (name, property) in properties {
            leaves(root, property, &format!("{path}.{name}"), out);
            inner = true;
        }
    }
    if schema["items"].is_object() {
        leaves(root, &schema["items"], &format!("{path}[]"), out);
        inner = true;
    }
    if !inner && schema["type"] != "null" {
        out.insert(path.trim_start_matches('.').to_owned());
    }
}

/// Whether a line of the table covers a path: itself or something around it, whatever the value.
fn held(path: &str) -> bool {
    let section = path.split(['.', '[']).next().unwrap_or_default();
    UNBUILT.iter().filter(|missing| matches!(missing.at, weir_model::Where::Any)).any(|missing| {
        let pattern = missing.path.replacen('*', section, 1);
        path.strip_prefix(&pattern).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    })
}

#[test]
fn every_field_of_the_schema_is_built_or_held_as_unbuilt() {
    let schema = schema();
    let mut fields = BTreeSet::new();
    leaves(&schema, &schema, "", &mut fields);
    // A list of scalars is one field, whether written as one value or as many.
    let fields: BTreeSet<_> = fields.into_iter().map(|path| path.trim_end_matches("[]").to_owned()).collect();
    let open: Vec<_> = fields.iter().filter(|path| !held(path)).collect();
    assert_eq!(open, BUILT.iter().collect::<Vec<_>>());
}

#[test]
fn every_line_of_the_table_names_a_field_of_the_schema() {
    let schema = schema();
    let mut fields = BTreeSet::new();
    leaves(&schema, &schema, "", &mut fields);
    for missing in UNBUILT {
        let pattern = missing.path.replacen('*', "routes", 1);
        let known = |path: &String| {
            path.strip_prefix(&pattern).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        assert!(fields.iter().any(known), "{}", missing.path);
    }
}

#[test]
fn unknown_fields_are_errors_in_the_schema_too() {
    let schema = schema();
    assert_eq!(schema["additionalProperties"], false);
    let open: Vec<_> = schema["$defs"]
        .as_object()
        .unwrap()
        .iter()
        .filter(|(_, def)| def["properties"].is_object() && def["additionalProperties"] != false)
        .map(|(name, _)| name)
        .collect();
    assert!(open.is_empty(), "{open:?}");
}
