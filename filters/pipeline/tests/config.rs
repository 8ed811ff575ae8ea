//! The reader of the filters' configuration against serde, which the types were written for: at every place of a
//! document in which every field is given, every other value in its stead.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests stand outside of test functions")]

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use weir_config::filter;
use weir_pipeline::config::{self, ReadError};

/// Every field of every struct, none at its default.
fn full() -> Value {
    let when = json!({
        "tenant": ["acme"], "key": ["k1", "k2"], "model": ["fast"], "found": ["email"],
        "labels": {"team": ["a", "b"], "": []}
    });
    json!({
        "version": "v \"7\" \u{1f980}\n", "max_body": 33_554_432u64, "request_timeout_ms": u64::MAX,
        "unknown_paths": "pass", "headers": "reasons",
        "identity": {"from": [{"header": "authorization", "scheme": "bearer"}], "anonymous": "guests"},
        "client_labels": ["workflow", "step"],
        "tenants": [{
            "name": "acme", "models": ["fast", "auto"], "labels": {"team": "support", "ä": ""},
            "keys": [{"id": "k1", "sha256": "00ff", "labels": {"team": "night"}, "expires": 1_800_000_000u64}],
            "limits": {"max_input_tokens": 1000, "max_output_tokens": 1}, "user_key": "0a"
        }],
        "providers": [{"name": "aws", "kind": "bedrock", "region": "eu", "cluster": "aws-eu", "stops": true, "tenants": {"acme": "x"}}],
        "lists": [{"cluster": "weir-list.aws.gpu", "providers": ["aws", "gpu"]}],
        "models": [{"name": "fast", "aliases": ["gpt"], "targets": [{
            "provider": "aws", "model": "m", "priority": u32::MAX, "weight": 3, "tokenizer": "o200k_base", "learned": true,
            "context": 128_000, "supports": ["tools"],
            "price": {"input_pico": 1, "output_pico": 2, "cache_read_pico": 3, "cache_write_pico": 4}
        }]}],
        "boundaries": [{"name": "eu", "when": when, "providers": ["aws"], "regions": ["eu"]}],
        "routes": [{"name": "r", "when": when, "model": "fast", "fallback": false}],
        "retry": {"tries": 3, "on": ["connect"], "first_byte_ms": 9},
        "budgets": [{
            "name": "b", "when": when, "each": ["tenant"], "tokens": 5, "requests": 6, "usd_nano": 7,
            "window": "day", "definition": "00ff", "ledger_lost": "allow_local", "soft": true, "min_output": 8,
            "exceeded": "fast", "unbounded": true, "progressive": true, "wait_ms": 9
        }],
        "ledger": {"cluster": "weir"},
        "redaction": [{
            "name": "p", "when": when, "find": ["email"], "words": ["Bluebird"], "action": "block",
            "request": true, "response": true
        }],
        "analyzers": [{
            "name": "names", "when": when, "cluster": "weir-analyzer:names", "authority": "a", "path": "/analyze", "region": "eu",
            "rest": ",\"language\":\"en\"}", "types": {"PERSON": "person"}, "action": "block", "timeout_ms": 500,
            "max_text": 9, "parallel": 4, "pass": true
        }],
        "telemetry": {"otlp_cluster": "otlp", "otlp_http": "c:4318/x", "labels": ["team"], "count": true, "sample_above": 7, "user_header": "x-user", "retrieval": true}
    })
}

fn full_attempt() -> Value {
    json!({
        "provider": "aws", "kind": "openai", "authority": "a.b", "path_prefix": "/openai",
        "authorization": "Bearer x"
    })
}

fn full_attempts() -> Value {
    json!({"providers": [full_attempt()]})
}

/// What stands in the place of a value, one after another.
fn others() -> Vec<Value> {
    let words = ["deny", "pass", "none", "ids", "reasons", "vllm", "openai", "bedrock", "allow_local"];
    let actions = ["report", "tokenize", "mask", "block", "Block", ""];
    let mut out: Vec<Value> = words.iter().chain(&actions).map(|word| json!(word)).collect();
    out.extend([
        json!(null),
        json!(true),
        json!(false),
        json!(0),
        json!(-1),
        json!(1.0),
        json!(1e3),
        json!(7.5),
    ]);
    out.extend([
        json!(u64::from(u32::MAX)),
        json!(u64::from(u32::MAX) + 1),
        json!(u64::MAX),
        json!(i64::MIN),
    ]);
    out.extend([json!([]), json!({}), json!([1]), json!(["a"]), json!([null]), json!({"a": "b"})]);
    out.extend([json!({"a": ["b"]}), json!({"a": null}), json!({"a": 1}), json!([{}]), json!([[]])]);
    out
}

/// The JSON pointers of all values in a document.
fn places(value: &Value, at: String, out: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(name, value)| places(value, format!("{at}/{name}"), out));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, value)| places(value, format!("{at}/{index}"), out));
        }
        _ => {}
    }
    out.push(at);
}

/// Both readers accept the same, and read the same.
fn agree<T: DeserializeOwned + PartialEq + std::fmt::Debug>(
    text: &str,
    ours: fn(&[u8]) -> Result<T, ReadError>,
) {
    let oracle = serde_json::from_str::<T>(text);
    match (ours(text.as_bytes()), oracle) {
        (Ok(ours), Ok(oracle)) => assert_eq!(ours, oracle, "{text}"),
        (Err(_), Err(_)) => {}
        (ours, oracle) => panic!("{ours:?} {oracle:?} {text}"),
    }
}

/// serde reads a struct from an array and a word from an object too; nobody writes that, and we do not read it.
fn only_serde(old: &Value, new: &Value) -> bool {
    match (old, new) {
        (Value::Object(_), Value::Array(_)) => true,
        (Value::Array(old), Value::Array(new)) => {
            old.iter().any(Value::is_object) && new.iter().any(Value::is_array)
        }
        _ => false,
    }
}

fn every_value_at_every_place<T: DeserializeOwned + PartialEq + std::fmt::Debug>(
    full: &Value,
    ours: fn(&[u8]) -> Result<T, ReadError>,
) -> usize {
    let mut pointers = Vec::new();
    places(full, String::new(), &mut pointers);
    let mut tried = 0;
    for pointer in &pointers {
        for other in others() {
            let mut changed = full.clone();
            let place = changed.pointer_mut(pointer).unwrap();
            if only_serde(place, &other) {
                continue;
            }
            *place = other;
            agree(&changed.to_string(), ours);
            tried += 1;
        }
        let mut extended = full.clone();
        if let Some(object) = extended.pointer_mut(pointer).unwrap().as_object_mut() {
            for name in object.keys().cloned().collect::<Vec<_>>() {
                let mut without = full.clone();
                without.pointer_mut(pointer).unwrap().as_object_mut().unwrap().remove(&name);
                agree(&without.to_string(), ours);
            }
            object.insert("nobody".into(), json!("x"));
            agree(&extended.to_string(), ours);
        }
    }
    tried
}

#[test]
fn every_field_is_read_as_serde_reads_it() {
    let text = full().to_string();
    let ours = config::exchange(text.as_bytes()).unwrap();
    assert_eq!(ours, serde_json::from_str::<filter::Exchange>(&text).unwrap());
    // Nothing was left out and nothing is missing in the document: a new field of the types has to be added to it.
    assert_eq!(serde_json::to_value(&ours).unwrap(), full());
    let attempt = config::attempt(full_attempt().to_string().as_bytes()).unwrap();
    assert_eq!(serde_json::to_value(&attempt).unwrap(), full_attempt());
    let attempts = config::attempts(full_attempts().to_string().as_bytes()).unwrap();
    assert_eq!(serde_json::to_value(&attempts).unwrap(), full_attempts());
}

#[test]
fn whatever_stands_anywhere_both_readers_judge_alike() {
    assert!(every_value_at_every_place(&full(), config::exchange) > 3000);
    assert!(every_value_at_every_place(&full_attempt(), config::attempt) > 100);
    assert!(every_value_at_every_place(&full_attempts(), config::attempts) > 150);
}

#[test]
fn other_texts_are_judged_alike() {
    for text in ["", " ", "{", "[]", "null", "1", "{}", " {} ", "{} {}", "\u{feff}{}", "{\"max_body\": 01}"] {
        if text != "[]" {
            agree(text, config::exchange);
            agree(text, config::attempt);
        }
    }
    for text in [
        r#"{"max_body": 1.0}"#,
        r#"{"max_body": 1e2}"#,
        r#"{"max_body": -0}"#,
        r#"{"max_body": 18446744073709551616}"#,
        r#"{"version": "\ud83e\udd80\u00e4\\\"\/"}"#,
        r#"{"version": "\ud83e"}"#,
        r#"{"\u0076ersion": "escaped key"}"#,
        r#"{"unknown_paths": "\u0070ass"}"#,
        r#"{"version": "a", "version": "b"}"#,
    ] {
        agree(text, config::exchange);
    }
}

#[test]
fn errors_name_the_place() {
    for (text, says) in [
        (r#"{"tenants": [{}, {"keys": [{"idd": 1}]}]}"#, "unknown field `tenants[1].keys[0].idd`"),
        (r#"{"nobody": 1}"#, "unknown field `nobody`"),
        (r#"{"max_body": "1"}"#, "`max_body` must be a whole number from 0"),
        (
            r#"{"models": [{"targets": [{"weight": -1}]}]}"#,
            "`models[0].targets[0].weight` must be a whole number from 0 to 4294967295",
        ),
        (r#"{"headers": "all"}"#, "`headers` must be one of `none`, `ids`, `reasons`"),
        (
            r#"{"routes": [{"when": {"labels": {"team": ["a", 1]}}}]}"#,
            "`routes[0].when.labels.team[1]` must be a string",
        ),
        (r#"{"routes": {}}"#, "`routes` must be an array"),
        (r#"{"ledger": [1]}"#, "`ledger` must be an object"),
        (r#"{"routes": [{"fallback": 1}]}"#, "`routes[0].fallback` must be true or false"),
        ("{\"version\": }", "invalid JSON at byte 12"),
        ("[]", "`` must be an object"),
    ] {
        assert_eq!(config::exchange(text.as_bytes()).unwrap_err().to_string(), says);
    }
}

/// The configurations in the Envoy file that users copy from.
#[test]
fn the_published_configuration_is_read_alike() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../envoy/inject/envoy.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    let mut found = 0;
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line.trim() != "value: |" {
            continue;
        }
        let deep = |line: &str| line.len() - line.trim_start().len();
        let indent = deep(line);
        let mut block = String::new();
        while let Some(inner) = lines.next_if(|inner| inner.trim().is_empty() || deep(inner) > indent) {
            block.push_str(inner);
            block.push('\n');
        }
        if block.contains("\"tenants\"") {
            config::exchange(block.as_bytes()).unwrap();
            agree(&block, config::exchange);
        } else {
            config::attempt(block.as_bytes()).unwrap();
            agree(&block, config::attempt);
        }
        found += 1;
    }
    assert!(found >= 2, "{found}");
}
