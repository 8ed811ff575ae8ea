//! The gateway that most tests stand in: a policy as JSON, a provider behind each cluster that it names, one tenant
//! with one key. A test says only what is its own.

#![allow(dead_code, reason = "each test program has this module and uses its own part of it")]

use std::rc::Rc;

use serde_json::{Value, json};
use weir_config::filter;
use weir_pipeline::Policy;

use super::{Answer, Gateway, Outcome};

/// Of `key`, which the clients send.
pub const KEY_SHA256: &str = "2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683";
/// What a policy hides.
pub const MAIL: &str = "jane.doe+x@example.org";

impl Gateway {
    /// Under this policy, with a try's configuration for each of its providers.
    pub fn of(config: filter::Exchange) -> Self {
        let attempt = |provider: &filter::Provider| {
            let name = &provider.name;
            let attempt = filter::Attempt {
                provider: name.clone(),
                kind: provider.kind,
                authority: format!("{name}.test"),
                authorization: Some(format!("granted-to-{name}")),
                ..filter::Attempt::default()
            };
            (provider.cluster.clone(), Rc::new(attempt))
        };
        let attempts = config.providers.iter().map(attempt).collect();
        let policy = Some(Rc::new(Policy::new(config).unwrap()));
        Self { policy, attempts, ledger: Default::default(), roomy: false }
    }

    /// The same of a policy that is written as JSON.
    pub fn of_json(config: Value) -> Self {
        Self::of(serde_json::from_value(config).unwrap())
    }
}

/// A policy with these providers (name, kind) and models, all of which its one tenant may use.
pub fn policy(providers: &[(&str, &str)], models: &[Value]) -> Value {
    let provider = |(name, kind): &(&str, &str)| json!({"name": name, "kind": kind, "region": "r", "cluster": format!("weir-{name}")});
    let names: Vec<&Value> = models.iter().map(|model| &model["name"]).collect();
    json!({
        "version": "7", "max_body": 1_000_000, "headers": "ids",
        "identity": {"from": [
            {"header": "authorization", "scheme": "bearer"}, {"header": "authorization", "scheme": "aws4-hmac-sha256"},
            {"header": "x-api-key"},
        ]},
        "tenants": [{"name": "acme", "models": names, "keys": [{"id": "web", "sha256": KEY_SHA256}]}],
        "providers": providers.iter().map(provider).collect::<Vec<_>>(),
        "models": models,
        "retry": {"tries": 1},
    })
}

/// A target that can do everything.
pub fn target(provider: &str, model: &str) -> Value {
    json!({
        "provider": provider, "model": model, "weight": 1, "context": 100_000,
        "supports": ["tools", "json_schema", "images", "documents"],
        "price": {"input_pico": 1_000_000, "output_pico": 4_000_000},
    })
}

/// A model with one such target.
pub fn model(name: &str, provider: &str, id: &str) -> Value {
    json!({"name": name, "targets": [target(provider, id)]})
}

/// A rule that looks for mail addresses.
pub fn redaction(action: &str, request: bool, response: bool) -> Value {
    json!([{"name": "r", "find": ["email"], "action": action, "request": request, "response": response}])
}

/// A budget of tokens that nothing exhausts.
pub fn budgeted(config: &mut Value) {
    config["budgets"] =
        json!([{"name": "b", "tokens": 1_000_000, "window": "day", "definition": "0123456789abcdef"}]);
    config["ledger"] = json!({"cluster": "weir-ledger"});
}

/// A request's headers, and these.
pub fn headers<'h>(path: &'h str, more: &[(&'h str, &'h str)]) -> Vec<(&'h str, &'h str)> {
    let mut all = vec![
        (":method", "POST"),
        (":path", path),
        (":scheme", "https"),
        (":authority", "llm.test"),
        ("content-type", "application/json"),
    ];
    all.extend(more);
    all
}

/// A provider's answer.
pub fn answer(status: u16, media: &str, body: impl Into<Vec<u8>>) -> Answer {
    Answer { status, headers: vec![("content-type".into(), media.into())], body: body.into() }
}

/// What the client reads, which must be JSON.
pub fn read(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(body)))
}

/// What the first try sent.
pub fn sent_body(outcome: &Outcome) -> Value {
    read(&outcome.sent[0].2)
}

/// One of its headers; nothing where it is not there.
pub fn sent(outcome: &Outcome, name: &str) -> String {
    let found = outcome.sent[0].1.iter().find(|(n, _)| n == name);
    found.map(|(_, value)| value.clone()).unwrap_or_default()
}
