//! What applications say of a request for its span: the end user, documents, retrieval time; and what a prompt is made
//! of. None of it reaches a provider.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    dead_code,
    reason = "a test may panic, and uses a part of the host in miniature"
)]

mod drive;

use std::collections::BTreeMap;

use drive::world::{answer, headers, model, policy};
use drive::{Cuts, Gateway, Outcome};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde_json::{Value, json};
use weir_pipeline::{otlp, parts};

const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const CHAT: &str = "/v1/chat/completions";

fn gateway(change: impl FnOnce(&mut Value)) -> Gateway {
    let mut config = policy(&[("gpu", "vllm")], &[model("m", "gpu", "gpu/m")]);
    config["tenants"][0]["user_key"] = json!(KEY);
    config["telemetry"] = json!({"otlp_cluster": "otlp", "user_header": "x-user", "retrieval": true});
    change(&mut config);
    Gateway::of_json(config)
}

fn run(gateway: &Gateway, path: &str, more: &[(&str, &str)], body: &Value) -> Outcome {
    let mut all = headers(path, &[("authorization", "Bearer key")]);
    all.extend(more);
    let said = json!({
        "id": "c", "object": "chat.completion", "created": 1, "model": "gpu/m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "said"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1_000, "completion_tokens": 1, "total_tokens": 1_001},
    });
    let answers = [answer(200, "application/json", said.to_string())];
    gateway.run(&all, body.to_string().as_bytes(), &answers, Cuts::Whole, Cuts::Whole)
}

/// The attributes of its span, as a collector reads them.
fn told(outcome: &Outcome) -> BTreeMap<String, Value> {
    let span = Span::decode(otlp::encode(outcome.span.as_ref().unwrap()).as_slice()).unwrap();
    let read = |any: Any| match any {
        Any::StringValue(text) => json!(text),
        Any::IntValue(number) => json!(number),
        Any::DoubleValue(number) => json!(number),
        Any::BoolValue(is) => json!(is),
        Any::ArrayValue(list) => {
            let texts = list.values.into_iter().map(|value| match value.value {
                Some(Any::StringValue(text)) => text,
                other => panic!("{other:?}"),
            });
            json!(texts.collect::<Vec<_>>())
        }
        other => panic!("{other:?}"),
    };
    span.attributes.into_iter().map(|pair| (pair.key, read(pair.value.unwrap().value.unwrap()))).collect()
}

fn ask() -> Value {
    json!({"model": "m", "messages": [{"role": "user", "content": "x"}]})
}

/// Python: hmac.new(KEY, b"ann@example.org", "sha256").hexdigest()[:32]
const ANN: &str = "76abf04649cbd802b054c826af9fca0f";

#[test]
fn an_end_user_is_a_digest_by_the_tenants_key() {
    let gate = gateway(|_| ());
    let mut asks = vec![(vec![("x-user", " ann@example.org ")], ask())];
    for (name, value) in [
        ("safety_identifier", json!("ann@example.org")),
        ("user", json!("ann@example.org")),
        ("metadata", json!({"user_id": "ann@example.org"})),
    ] {
        let mut body = ask();
        body[name] = value;
        asks.push((vec![], body));
    }
    // A header goes first, then the newer of OpenAI's two names.
    let mut body = ask();
    (body["user"], body["safety_identifier"]) = (json!("bob"), json!("eve"));
    asks.push((vec![("x-user", "ann@example.org")], body));
    let mut body = ask();
    (body["user"], body["safety_identifier"]) = (json!("bob"), json!("ann@example.org"));
    asks.push((vec![], body));
    for (headers, body) in asks {
        let outcome = run(&gate, CHAT, &headers, &body);
        let told = told(&outcome);
        assert_eq!(told.get("weir.user.hash"), Some(&json!(ANN)), "{body}");
        assert!(!format!("{:?}", outcome.span).contains("ann@"), "{body}");
        assert!(outcome.sent[0].1.iter().all(|(name, _)| name != "x-user"));
    }
}

#[test]
fn who_is_not_asked_for_is_nowhere_and_another_tenant_has_another_digest() {
    let mut body = ask();
    body["user"] = json!("ann@example.org");
    let off = gateway(|config| config["tenants"][0]["user_key"] = json!(""));
    assert_eq!(told(&run(&off, CHAT, &[("x-user", "ann@example.org")], &body)).get("weir.user.hash"), None);
    let other = gateway(|config| config["tenants"][0]["user_key"] = json!(KEY.replace("00", "01")));
    let digest = told(&run(&other, CHAT, &[], &body)).remove("weir.user.hash").unwrap();
    assert!(digest != ANN && digest.as_str().map(str::len) == Some(32), "{digest}");
    let on = gateway(|_| ());
    for value in [json!(""), json!("  "), json!(7), json!("x".repeat(1_025)), Value::Null] {
        body["user"] = value;
        assert_eq!(told(&run(&on, CHAT, &[], &body)).get("weir.user.hash"), None);
    }
    body["user"] = json!("x".repeat(1_024));
    assert!(told(&run(&on, CHAT, &[], &body)).contains_key("weir.user.hash"));
}

#[test]
fn documents_and_their_retrieval_are_told_within_bounds() {
    let gate = gateway(|_| ());
    let (names, time) = ("weir.retrieval.documents", "weir.retrieval.duration");
    let omitted = "weir.retrieval.documents.omitted";
    let more = [
        ("x-weir-documents", "kb/1 ,kb/2,,"),
        ("x-weir-documents", "ä,a b,c#3"),
        ("x-weir-retrieval-ms", "12"),
    ];
    let outcome = run(&gate, CHAT, &more, &ask());
    let said = told(&outcome);
    assert_eq!(said[names], json!(["kb/1", "kb/2", "c#3"]));
    assert_eq!((&said[omitted], &said[time]), (&json!(2), &json!(0.012)));
    assert!(
        outcome.sent[0].1.iter().all(|(name, _)| !name.starts_with("x-weir-")),
        "{:?}",
        outcome.sent[0].1
    );
    let long = ["x".repeat(128), "y".repeat(129)].join(",");
    let said = told(&run(&gate, CHAT, &[("x-weir-documents", &long)], &ask()));
    assert_eq!((said[names].as_array().map(Vec::len), &said[omitted]), (Some(1), &json!(1)));
    let many = (0..40).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    let said = told(&run(&gate, CHAT, &[("x-weir-documents", &many)], &ask()));
    assert_eq!((said[names].as_array().map(Vec::len), &said[omitted]), (Some(32), &json!(8)));
    for nonsense in ["-1", "1.5", "x", "", "86400001"] {
        assert_eq!(told(&run(&gate, CHAT, &[("x-weir-retrieval-ms", nonsense)], &ask())).get(time), None);
    }
    let off = gateway(|config| config["telemetry"]["retrieval"] = json!(false));
    let said = told(&run(&off, CHAT, &more, &ask()));
    assert!(!said.keys().any(|key| key.starts_with("weir.retrieval")), "{said:?}");
}

#[test]
fn the_parts_of_a_prompt_are_its_input_tokens_in_sum() {
    let gate = gateway(|_| ());
    let body = json!({"model": "m", "messages": [
        {"role": "system", "content": "s".repeat(500)}, {"role": "user", "content": "old ".repeat(20)},
        {"role": "assistant", "content": "well ".repeat(20)}, {"role": "user", "content": "q".repeat(250)},
    ], "tools": [{"type": "function", "function": {"name": "f", "description": "d".repeat(200), "parameters": {"type": "object"}}}]});
    let said = told(&run(&gate, CHAT, &[], &body));
    let parts: BTreeMap<&str, u64> =
        parts::PARTS.iter().filter_map(|name| Some((*name, said.get(*name)?.as_u64()?))).collect();
    let part = |name: &str| parts.get(format!("weir.usage.input_tokens.{name}").as_str()).copied();
    assert_eq!(parts.values().sum::<u64>(), 1_000, "{parts:?}");
    assert_eq!(said["gen_ai.usage.input_tokens"], 1_000);
    assert_eq!(said["weir.usage.input_tokens.parts"], "bytes");
    assert_eq!((part("documents"), part("tool_results")), (None, None));
    assert!(part("system") > part("tools") && part("user") > part("history"), "{parts:?}");
    assert!(part("system").unwrap().abs_diff(2 * part("user").unwrap()) < 50, "{parts:?}");
    // Where nobody takes spans, nothing is looked at.
    let mute = gateway(|config| config["telemetry"] = json!({}));
    assert_eq!(run(&mute, CHAT, &[], &body).span.unwrap().parts, [0; 6]);
}
