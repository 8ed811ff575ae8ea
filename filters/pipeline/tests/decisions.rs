//! What the decision log is told of an exchange, and what becomes of requests whose record has no place; natively.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]

mod drive;

use std::collections::BTreeMap;
use std::rc::Rc;

use drive::{Answer, Cuts, Gateway, NOW, Outcome};
use serde_json::{Value, json};
use weir_config::filter::{self, ProviderKind};
use weir_pipeline::io::{Effect, Headers, Input, Step};
use weir_pipeline::{Exchange, Policy};

fn gateway(log: Value) -> Gateway {
    let config = json!({
        "version": "7-ab", "max_body": 1_000_000, "headers": "ids",
        "identity": {"from": [{"header": "authorization", "scheme": "bearer"}]},
        "tenants": [{
            "name": "acme", "models": ["fast", "auto"], "labels": {"team": "support"},
            "keys": [{"id": "web", "sha256": "2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683"}]
        }],
        "providers": [
            {"name": "gpu", "kind": "vllm", "cluster": "weir-gpu"},
            {"name": "aws", "kind": "bedrock", "cluster": "weir-aws"}
        ],
        "models": [{"name": "fast", "aliases": ["quick"], "targets": [
            {"provider": "gpu", "model": "g", "context": 8000, "tokenizer": "o200k_base"},
            {"provider": "aws", "model": "a", "priority": 1, "context": 8000, "tokenizer": "o200k_base"}
        ]}],
        "routes": [{"name": "by-default", "when": {"model": ["auto"]}, "model": "fast"}],
        "retry": {"tries": 2, "on": ["connect", "reset", "429", "5xx"]},
        "ledger": {"cluster": "weir-ledger"},
        "budgets": [{"name": "day", "tokens": 100_000, "window": "day", "definition": "0123456789abcdef"}],
        "redaction": [
            {"name": "r", "find": ["email"], "action": "tokenize", "request": true},
            {"name": "b", "words": ["bluebird"], "action": "block", "request": true}
        ],
        "telemetry": {"decisions": log}
    });
    let config: filter::Exchange = serde_json::from_value(config).unwrap();
    let attempt = |(provider, kind): (&str, ProviderKind)| {
        let (name, authority) = (provider.to_owned(), format!("{provider}.test"));
        let config = filter::Attempt { provider: name, kind, authority, ..filter::Attempt::default() };
        (format!("weir-{provider}"), Rc::new(config))
    };
    Gateway {
        policy: Some(Rc::new(Policy::new(config).unwrap())),
        attempts: [("gpu", ProviderKind::Vllm), ("aws", ProviderKind::Bedrock)]
            .into_iter()
            .map(attempt)
            .collect::<BTreeMap<_, _>>(),
        ledger: Default::default(),
        roomy: false,
    }
}

fn fields(key: &'static str) -> [(&'static str, &'static str); 5] {
    [
        (":method", "POST"),
        (":path", "/v1/chat/completions"),
        (":scheme", "http"),
        ("content-type", "application/json"),
        ("authorization", key),
    ]
}

fn chat(model: &str, text: &str) -> String {
    json!({"model": model, "messages": [{"role": "user", "content": text}]}).to_string()
}

fn answer(status: u16, body: &str) -> Answer {
    let headers = vec![("content-type".into(), "application/json".into())];
    Answer { status, headers, body: body.as_bytes().to_vec() }
}

const GOOD: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","model":"g","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":14,"completion_tokens":3,"total_tokens":17}}"#;
const CONVERSE: &str = r#"{"output":{"message":{"role":"assistant","content":[{"text":"Hi"}]}},"stopReason":"end_turn","usage":{"inputTokens":14,"outputTokens":3,"totalTokens":17},"metrics":{"latencyMs":1}}"#;

fn run(gateway: &Gateway, key: &'static str, body: &str, answers: &[Answer]) -> Outcome {
    gateway.run(&fields(key), body.as_bytes(), answers, Cuts::Whole, Cuts::Whole)
}

fn told(out: &Outcome) -> Value {
    let [(record, _)] = out.decided.as_slice() else { panic!("one record: {:?}", out.decided) };
    serde_json::from_slice(record).unwrap()
}

#[test]
fn an_answered_request_is_told_with_every_stage() {
    let gateway = gateway(json!({"cluster": "weir-ledger", "deny": true}));
    let text = "Write to jane@example.org";
    let out = run(&gateway, "Bearer key", &chat("auto", text), &[answer(200, GOOD)]);
    let record = told(&out);
    assert!(out.decided[0].1, "its place was promised");
    for (name, value) in [
        ("policy", json!("7-ab")),
        ("tenant", json!("acme")),
        ("key", json!("web")),
        ("model", json!("auto")),
        ("chosen", json!("fast")),
        ("route", json!("by-default")),
        ("findings", json!({"email": 1})),
        ("tries", json!([{"provider": "gpu", "target": "g", "status": 200}])),
        ("finish", json!("stop")),
        ("status", json!(200)),
    ] {
        assert_eq!(record[name], value, "{name} in {record}");
    }
    assert!(record["id"].as_str().is_some_and(|id| id.starts_with("req_")));
    let [budget] = record["budgets"].as_array().unwrap().as_slice() else { panic!("one budget") };
    assert_eq!(
        (&budget["name"], &budget["unit"], &budget["used"]),
        (&json!("day"), &json!("tokens"), &json!(17))
    );
    assert!(budget["held"].as_u64().unwrap() > 17);
    let line = String::from_utf8_lossy(&out.decided[0].0).into_owned();
    assert!(!line.contains("jane") && !line.contains("Write"), "no content: {line}");
}

#[test]
fn a_failed_over_request_names_both_tries() {
    let gateway = gateway(json!({"cluster": "weir-ledger"}));
    let answers = [answer(503, "{}"), answer(200, CONVERSE)];
    let record = told(&run(&gateway, "Bearer key", &chat("fast", "Hello"), &answers));
    let tries = json!([
        {"provider": "gpu", "target": "g", "status": 503},
        {"provider": "aws", "target": "a", "status": 200}
    ]);
    assert_eq!((&record["tries"], &record["attempts"]), (&tries, &json!(2)), "{record}");
}

#[test]
fn refusals_are_told_with_their_code_and_whoever_is_known() {
    let gateway = gateway(json!({"cluster": "weir-ledger", "deny": true}));
    for (key, model, text, error, tenant) in [
        ("Bearer no", "fast", "Hello", "invalid_api_key", Value::Null),
        ("Bearer key", "slow", "Hello", "model_not_found", json!("acme")),
        ("Bearer key", "fast", "Project Bluebird", "content_blocked", json!("acme")),
    ] {
        let out = run(&gateway, key, &chat(model, text), &[]);
        let record = told(&out);
        assert_eq!((&record["error"], &record["tenant"]), (&json!(error), &tenant), "{record}");
        assert_eq!(record["status"], json!(out.status));
        assert_eq!((&record["tries"], &record["budgets"]), (&json!([]), &json!([])));
    }
}

#[test]
fn only_what_the_policy_names_is_told() {
    for (when, key, told) in [
        (json!({}), "Bearer key", true),
        (json!({"tenant": ["acme"]}), "Bearer key", true),
        (json!({"tenant": ["acme"], "labels": {"team": ["support"]}}), "Bearer key", true),
        (json!({"model": ["fast"]}), "Bearer key", true),
        (json!({"model": ["auto"]}), "Bearer key", false),
        (json!({"tenant": ["globex"]}), "Bearer key", false),
        (json!({"labels": {"team": ["legal"]}}), "Bearer key", false),
        (json!({}), "Bearer no", true),
        (json!({"tenant": ["acme"]}), "Bearer no", false),
    ] {
        let gateway = gateway(json!({"cluster": "weir-ledger", "when": when.clone()}));
        let out = run(&gateway, key, &chat("fast", "Hello"), &[answer(200, GOOD)]);
        assert_eq!(out.decided.len(), usize::from(told), "{when} {key}");
    }
}

#[test]
fn a_model_is_told_of_by_whatever_name_it_was_asked_for() {
    let gateway = gateway(json!({"cluster": "weir-ledger", "when": {"model": ["fast"]}}));
    let out = run(&gateway, "Bearer key", &chat("quick", "Hello"), &[answer(200, GOOD)]);
    assert_eq!(out.decided.len(), 1);
}

/// The effects of a request whose host has no place for its record.
fn crowded(log: Value) -> (Step, Vec<Effect>, Vec<Effect>) {
    let gateway = gateway(log);
    let mut exchange = Exchange::new(gateway.policy.clone());
    let mut effects = Vec::new();
    let fields = fields("Bearer key");
    let fields: Vec<_> = fields.iter().map(|(k, v)| (k.as_bytes(), v.as_bytes())).collect();
    let headers = Input::RequestHeaders { headers: Headers(&fields), end: false, entropy: [9, 8, 7, 6] };
    exchange.handle(NOW, headers, &mut effects);
    effects.clear();
    exchange.decision_room(false);
    let body = chat("fast", "Hello");
    let body = Input::RequestBody { body: body.as_bytes(), size: body.len(), end: true };
    let step = exchange.handle(NOW, body, &mut effects);
    assert!(!exchange.has_place());
    let mut end = Vec::new();
    exchange.handle(NOW, Input::Done { report: None, details: "" }, &mut end);
    (step, effects, end)
}

#[test]
fn without_a_place_a_request_is_refused_where_the_policy_says_so() {
    let (step, effects, end) = crowded(json!({"cluster": "weir-ledger", "deny": true}));
    assert_eq!(step, Step::Pause);
    let [Effect::Reply(reply)] = effects.as_slice() else { panic!("{effects:?}") };
    let body: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!((reply.status, &body["error"]["code"]), (503, &json!("decisions_unavailable")));
    assert!(reply.headers.iter().any(|(name, value)| *name == "retry-after" && value == "1"));
    assert!(end.iter().any(|effect| matches!(effect, Effect::Decided(_, false))), "the host counts it");
}

#[test]
fn without_a_place_a_request_goes_on_where_the_policy_says_so_or_names_another() {
    for log in [
        json!({"cluster": "weir-ledger", "deny": false}),
        json!({"cluster": "weir-ledger", "deny": true, "when": {"tenant": ["globex"]}}),
    ] {
        let (_, effects, _) = crowded(log);
        assert!(
            effects.iter().any(|effect| matches!(effect, Effect::Reserve(_) | Effect::Try(_))),
            "{effects:?}"
        );
    }
}
