//! Whether a policy means something: its names exist, its numbers fit, its rules can be kept. One file for
//! each organ; what this version cannot do is `unbuilt`'s matter.

mod budgets;
pub mod gateway;
mod guards;
mod people;
mod rules;
mod upstream;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use weir_config::policy::{Policy, When};

use crate::detectors;
use crate::problem::{Problem, Severity};

pub use budgets::{DEFAULT_OUTPUT_CEILING, MAX_LIMIT};

/// The model name that asks for a route's choice.
const AUTO: &str = "auto";
/// The identity that no tenant may have.
const DENY: &str = "deny";

/// Tokenizers of the module as it is built where nobody chooses others.
pub const TOKENIZERS: [&str; 3] = ["cl100k_base", "o200k_base", "o200k_harmony"];

/// What is wrong with a policy, errors and warnings.
pub fn validate(policy: &Policy) -> Vec<Problem> {
    validate_for(policy, None, &TOKENIZERS.map(str::to_owned))
}

/// As [`validate`], where the listener's address is decided elsewhere and the module has these tokenizers.
pub(crate) fn validate_for(
    policy: &Policy,
    listen: Option<SocketAddr>,
    tokenizers: &[String],
) -> Vec<Problem> {
    let mut check = Check::new(policy, tokenizers);
    gateway::check(&mut check, listen);
    upstream::check(&mut check);
    rules::check(&mut check);
    people::check(&mut check, listen);
    budgets::check(&mut check);
    guards::check(&mut check);
    check.problems
}

/// The names that a policy defines, and the problems found so far.
struct Check<'p> {
    policy: &'p Policy,
    providers: Vec<&'p str>,
    models: Vec<&'p str>,
    /// Model by other name.
    aliases: BTreeMap<&'p str, &'p str>,
    tenants: Vec<&'p str>,
    keys: Vec<&'p str>,
    client_labels: Vec<&'p str>,
    /// Labels that tenants, keys and tokens set.
    labels: Vec<&'p str>,
    /// What the module can count with.
    tokenizers: Vec<&'p str>,
    problems: Vec<Problem>,
}

/// Which names a `when.model` may have.
#[derive(Clone, Copy, PartialEq)]
enum ModelNames {
    /// What a client may ask for: names, aliases, `auto`.
    Asked,
    /// What can be chosen: names.
    Chosen,
}

impl<'p> Check<'p> {
    fn new(policy: &'p Policy, tokenizers: &'p [String]) -> Check<'p> {
        let keys = || policy.tenants.iter().flat_map(|tenant| &tenant.keys);
        let mut labels: Vec<&str> =
            policy.tenants.iter().flat_map(|tenant| tenant.labels.keys()).map(String::as_str).collect();
        labels.extend(keys().flat_map(|key| key.labels.keys()).map(String::as_str));
        let identity = policy.identity.as_ref();
        let sources = identity.into_iter().flat_map(|identity| &identity.from);
        labels.extend(sources.flat_map(|source| match source {
            weir_config::policy::IdentitySource::Jwt(jwt) => jwt.labels.iter().map(String::as_str).collect(),
            _ => Vec::new(),
        }));
        labels.sort_unstable();
        labels.dedup();
        let aliases = policy
            .models
            .iter()
            .flat_map(|model| model.aliases.iter().map(|alias| (alias.as_str(), model.name.as_str())));
        Check {
            policy,
            providers: policy.providers.iter().map(|provider| provider.name.as_str()).collect(),
            models: policy.models.iter().map(|model| model.name.as_str()).collect(),
            aliases: aliases.collect(),
            tenants: policy.tenants.iter().map(|tenant| tenant.name.as_str()).collect(),
            keys: keys().map(|key| key.id.as_str()).collect(),
            client_labels: identity
                .into_iter()
                .flat_map(|i| i.client_labels.iter())
                .map(String::as_str)
                .collect(),
            labels,
            tokenizers: tokenizers.iter().map(String::as_str).collect(),
            problems: Vec::new(),
        }
    }

    fn error(&mut self, path: impl Into<String>, message: impl Into<String>) -> &mut Problem {
        self.push(Severity::Error, path, message)
    }

    fn warn(&mut self, path: impl Into<String>, message: impl Into<String>) -> &mut Problem {
        self.push(Severity::Warning, path, message)
    }

    fn push(
        &mut self,
        severity: Severity,
        path: impl Into<String>,
        message: impl Into<String>,
    ) -> &mut Problem {
        let at = self.problems.len();
        self.problems.push(Problem::new(severity, path, message));
        &mut self.problems[at]
    }

    /// A name that must be one of those known.
    fn known(&mut self, path: String, what: &str, name: &str, known: &[&str]) {
        if !known.contains(&name) {
            let problem = Problem::error(path, format!("unknown {what} `{name}`"));
            self.problems.push(problem.hint_near(name, known));
        }
    }

    /// Names of one kind must differ.
    fn unique<'n>(&mut self, what: &str, names: impl Iterator<Item = (String, &'n str)>) {
        let mut seen: BTreeMap<&str, String> = BTreeMap::new();
        for (path, name) in names {
            match seen.get(name) {
                Some(first) => {
                    let hint = format!("the first is {first}");
                    self.error(path, format!("two {what} are named `{name}`")).hint = Some(hint);
                }
                None => {
                    seen.insert(name, path);
                }
            }
        }
    }

    /// A name of Weir's own: shown in metrics, headers and paths.
    fn name(&mut self, path: String, what: &str, name: &str) {
        let inner = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let begins = name.starts_with(|c: char| c.is_ascii_alphanumeric());
        if !begins || !name.chars().all(inner) || name.len() > 64 {
            self.error(path, format!("`{name}` cannot name a {what}")).hint =
                Some("letters, digits, `-`, `_` and `.`, 64 at most, first a letter or digit".to_owned());
        }
    }

    /// A condition. `section` is the rule's path.
    fn when(&mut self, rule: &str, when: &When, models: ModelNames) {
        for (index, tenant) in when.tenant.iter().enumerate() {
            let tenants = self.tenants.clone();
            self.known(format!("{rule}.when.tenant[{index}]"), "tenant", tenant, &tenants);
        }
        for (index, key) in when.key.iter().enumerate() {
            let keys = self.keys.clone();
            self.known(format!("{rule}.when.key[{index}]"), "key", key, &keys);
        }
        for (index, model) in when.model.iter().enumerate() {
            self.model(format!("{rule}.when.model[{index}]"), model, models);
        }
        for (name, values) in &when.labels {
            let path = format!("{rule}.when.labels.{name}");
            if self.client_labels.contains(&name.as_str()) {
                self.error(
                    path,
                    format!("label `{name}` may be set by clients, so no rule may depend on it"),
                );
            } else if !self.labels.contains(&name.as_str()) {
                let problem = Problem::error(path, format!("no tenant or key has the label `{name}`"));
                self.problems.push(problem.hint_near(name, &self.labels));
            } else if values.is_empty() {
                self.error(path, format!("label `{name}` is compared with no value"));
            }
        }
        for (index, name) in when.found.iter().enumerate() {
            self.detector(format!("{rule}.when.found[{index}]"), name);
        }
        if let Some(range) = when.input_tokens
            && let (Some(min), Some(max)) = (range.min, range.max)
            && min > max
        {
            self.error(format!("{rule}.when.input_tokens"), "the range is empty: min is above max");
        }
    }

    fn model(&mut self, path: String, name: &str, names: ModelNames) {
        match (names, self.aliases.get(name)) {
            (ModelNames::Asked, Some(_)) => {}
            (ModelNames::Asked, None) if name == AUTO => {}
            (ModelNames::Chosen, Some(model)) => {
                let hint = format!("write `{model}`");
                self.error(path, format!("`{name}` is an alias; only models have rules")).hint = Some(hint);
            }
            _ => {
                let mut known = self.models.clone();
                if names == ModelNames::Asked {
                    known.extend(self.aliases.keys());
                    known.push(AUTO);
                }
                self.known(path, "model", name, &known);
            }
        }
    }

    fn detector(&mut self, path: String, name: &str) {
        let known: Vec<_> = detectors::names().collect();
        self.known(path, "detector", name, &known);
    }
}
