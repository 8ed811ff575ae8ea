//! `GET /metrics`: what the control plane knows, for Prometheus. Requests, tokens and cost are the gateways' own
//! statistics, on Envoy's endpoint; here are the policy and who has it.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use super::budget_metrics;
use crate::control::Control;

/// Prometheus' text format.
const FORMAT: &str = "text/plain; version=0.0.4";

/// The metrics of one answer.
#[derive(Default)]
pub struct Page {
    text: String,
}

impl Page {
    /// Its text so far.
    #[cfg(test)]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Begins a gauge, whose samples follow.
    pub fn gauge(&mut self, name: &'static str, help: &str) -> Samples<'_> {
        self.begin(name, "gauge", help)
    }

    /// Begins a counter, whose samples follow.
    pub fn counter(&mut self, name: &'static str, help: &str) -> Samples<'_> {
        self.begin(name, "counter", help)
    }

    fn begin(&mut self, name: &'static str, kind: &str, help: &str) -> Samples<'_> {
        self.text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        Samples { page: self, name }
    }
}

/// The samples of one metric.
pub struct Samples<'p> {
    page: &'p mut Page,
    name: &'static str,
}

impl Samples<'_> {
    /// One of them.
    pub fn add(&mut self, labels: &[(&str, &str)], value: u64) -> &mut Self {
        let text = &mut self.page.text;
        text.push_str(self.name);
        for (at, (name, value)) in labels.iter().enumerate() {
            text.push(if at == 0 { '{' } else { ',' });
            let value = value.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n");
            text.push_str(&format!("{name}=\"{value}\""));
        }
        text.push_str(if labels.is_empty() { " " } else { "} " });
        text.push_str(&format!("{value}\n"));
        self
    }
}

/// The whole of it.
pub async fn metrics(State(control): State<Arc<Control>>) -> impl IntoResponse {
    let mut page = Page::default();
    policy(&control, &mut page);
    budget_metrics::write(&control.ledger, &mut page).await;
    ([(CONTENT_TYPE, FORMAT)], page.text)
}

/// The policy in force, and which gateways judge by it.
fn policy(control: &Control, page: &mut Page) {
    let status = control.status();
    page.gauge("weir_policy_info", "The policy that gateways are told.")
        .add(&[("version", &status.version)], 1);
    page.gauge("weir_policy_since_seconds", "When it was published, in seconds since 1970.")
        .add(&[], status.since_ms / 1_000);
    page.gauge("weir_policy_problems", "Reasons why the policy file as it stands is not in use.")
        .add(&[], status.problems.len() as u64);
    let gateways = control.fleet.gateways();
    // A gateway may have several streams, and is up to date when all of them are.
    let mut current: BTreeMap<&str, bool> = BTreeMap::new();
    let mut versions: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for stream in gateways.iter().filter(|stream| !stream.node.is_empty()) {
        *current.entry(&stream.node).or_insert(true) &= stream.current;
        if let Some(policy) = &stream.policy {
            versions.insert((&stream.node, policy), 1);
        }
    }
    page.gauge("weir_gateways", "Connected gateways.").add(&[], current.len() as u64);
    page.gauge("weir_gateways_behind", "Connected gateways that do not have all that they should have.")
        .add(&[], current.values().filter(|current| !**current).count() as u64);
    page.counter("weir_gateway_refusals_total", "Configurations that gateways have refused.")
        .add(&[], control.fleet.refused());
    let mut samples = page.gauge("weir_gateway_policy_info", "The policy that a gateway judges by.");
    for ((node, version), one) in versions {
        samples.add(&[("node", node), ("version", version)], one);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_metrics_without_any_have_no_braces() {
        let mut page = Page::default();
        page.gauge("a", "What.").add(&[], 7).add(&[("b", "x\"\\\n"), ("c", "")], 8);
        assert_eq!(page.text, "# HELP a What.\n# TYPE a gauge\na 7\na{b=\"x\\\"\\\\\\n\",c=\"\"} 8\n");
    }
}
