//! What a policy may say and this version cannot do yet. A field is never accepted and ignored: whoever
//! builds an organ deletes its lines here, and until then `weir check` lists them and the control plane
//! refuses.

use std::fmt;

use serde::Serialize;
use serde_json::Value;
use weir_config::policy::Policy;

use crate::node::{entry_path, item_path};

/// A line of [`UNBUILT`].
#[derive(Clone, Copy, Debug)]
pub struct Missing {
    /// Path with `[]` for any item of a list; `*` at the beginning is any section.
    pub path: &'static str,
    /// Which values of it.
    pub at: Where,
    /// The organ that it belongs to.
    pub organ: &'static str,
}

/// Which values of a field are not built.
#[derive(Clone, Copy, Debug)]
pub enum Where {
    /// All.
    Any,
    /// Only this.
    Is(&'static str),
    /// All but this, which is what happens without the field.
    Not(&'static str),
    /// All that begin so.
    Begins(&'static str),
}

const fn line(path: &'static str, at: Where, organ: &'static str) -> Missing {
    Missing { path, at, organ }
}

/// Everything that the schema has and this version does not do.
pub const UNBUILT: &[Missing] = &[
    line("enforce", Where::Not("true"), "dry run"),
    line("gateway.tls", Where::Any, "TLS of the listener"),
    // A gateway that Weir configures has nowhere to hand such a request on to.
    line("gateway.unknown_paths", Where::Is("pass"), "paths of no LLM API"),
    line("providers[].balance", Where::Any, "balancing"),
    line("models[].targets[].service_tier", Where::Any, "service tiers"),
    line("models[].targets[].quota", Where::Any, "provider quotas"),
    line("models[].targets[].cache_prefix", Where::Any, "cache points"),
    line("*[].when.input_tokens", Where::Any, "conditions on the content"),
    line("*[].when.tools", Where::Any, "conditions on the content"),
    line("*[].when.response_format", Where::Any, "conditions on the content"),
    line("routes[].when.found", Where::Any, "conditions on the content"),
    line("budgets[].when.found", Where::Any, "conditions on the content"),
    line("boundaries[].tools", Where::Any, "tool policy"),
    line("identity.from[].mtls", Where::Any, "identity by mesh peer"),
    line("identity.from[].jwt", Where::Any, "identity by token"),
    line("tenants[].workloads", Where::Any, "identity by mesh peer"),
    line("guardrails[].bedrock", Where::Any, "Bedrock's guardrails"),
    line(
        "guardrails[].in[]",
        Where::Is("response"),
        "answers shown to detectors outside: streams cannot wait for an external detector",
    ),
    line("prompts", Where::Any, "prompts"),
    line("context", Where::Any, "context"),
    line("validate", Where::Any, "validation of answers"),
    line("notify", Where::Any, "alerts"),
    line("telemetry.otlp", Where::Begins("https:"), "collectors over TLS"),
    line("telemetry.decisions.when.found", Where::Any, "conditions on the content"),
    line("telemetry.decisions.when.input_tokens", Where::Any, "conditions on the content"),
    line("telemetry.decisions.when.tools", Where::Any, "conditions on the content"),
    line("telemetry.decisions.when.response_format", Where::Any, "conditions on the content"),
];

/// A part of a policy that this version cannot do. Prints as its path, with the value where that decides:
/// `redaction[0].do: hash`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unbuilt {
    /// Path as it is shown.
    pub path: String,
    /// The value that is not built, where others of the field are.
    pub value: Option<String>,
    /// Path of the exact part.
    pub at: String,
    /// The organ that it belongs to.
    pub organ: &'static str,
    /// Line from 1; 0 where no text is known.
    pub line: usize,
    /// Column in characters from 1; 0 where no text is known.
    pub column: usize,
}

impl fmt::Display for Unbuilt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        self.value.as_ref().map_or(Ok(()), |value| write!(f, ": {value}"))
    }
}

/// What the policy asks for and this version cannot do.
pub fn unbuilt(policy: &Policy) -> Vec<Unbuilt> {
    let mut fields: Vec<Unbuilt> = Vec::new();
    let Ok(root) = serde_json::to_value(policy) else { return fields };
    // Whole sections first, so that nothing inside them is listed again.
    let (whole, parts): (Vec<&Missing>, Vec<&Missing>) =
        UNBUILT.iter().partition(|missing| !missing.path.contains(['.', '[']));
    for missing in whole.into_iter().chain(parts) {
        walk(&root, "", missing.path, missing, &mut fields);
    }
    fields
}

fn walk(value: &Value, path: &str, rest: &str, missing: &Missing, out: &mut Vec<Unbuilt>) {
    if out.iter().any(|known| known.value.is_none() && inside(path, &known.path)) {
        return;
    }
    if let Some(rest) = rest.strip_prefix("[]") {
        for (index, item) in value.as_array().into_iter().flatten().enumerate() {
            walk(item, &item_path(path, index), rest, missing, out);
        }
        return;
    }
    let rest = rest.strip_prefix('.').unwrap_or(rest);
    let (name, rest) = rest.find(['.', '[']).map_or((rest, ""), |end| rest.split_at(end));
    match (name, value) {
        ("", _) => out.extend(missing.holds(value, path)),
        ("*", Value::Object(map)) => {
            for (name, section) in map {
                walk(section, name, rest, missing, out);
            }
        }
        (name, Value::Object(map)) => {
            if let Some(field) = map.get(name) {
                walk(field, &entry_path(path, name), rest, missing, out);
            }
        }
        _ => {}
    }
}

fn inside(path: &str, outer: &str) -> bool {
    path.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

impl Missing {
    fn holds(&self, value: &Value, path: &str) -> Option<Unbuilt> {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let holds = match self.at {
            Where::Any => true,
            Where::Is(one) => text == one,
            Where::Not(one) => text != one,
            Where::Begins(start) => text.starts_with(start),
        };
        let shown = if self.path.ends_with("[]") { &path[..path.rfind('[')?] } else { path };
        let value = (!matches!(self.at, Where::Any)).then_some(text);
        let at = path.to_owned();
        holds.then(|| Unbuilt { path: shown.to_owned(), value, at, organ: self.organ, line: 0, column: 0 })
    }
}
