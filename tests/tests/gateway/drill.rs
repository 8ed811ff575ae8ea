//! The operator's own proof, on the real gateway: `weir drill` is client and provider at once, plants a value of every
//! type that there is a detector for, and sees no piece of any on the other side. Where a rule lacks a type, it says so.

use std::process::Output;

use serde_json::{Value, json};
use weir_tests::harness::{Collector, free_port, paths};
use weir_tests::sim::{Behaviour, Chunking, ReplyKind};

use crate::chat::chat;
use crate::policy::{KEY, VLLM_FIRST};
use crate::setup::Gateway;

const GROUPS: [&str; 7] = ["contact", "financial", "us", "uk", "eu", "apac", "secrets"];

/// A gateway with these rules and a model that leads to the drill, and where that listens.
async fn start(name: &str, rules: Value) -> (Gateway, String) {
    let address = format!("127.0.0.1:{}", free_port());
    let endpoint = format!("http://{address}");
    let gateway = Gateway::with(name, |plan, _| {
        let policy = &mut plan.policy;
        let provider =
            json!({"name": "drill-pool", "kind": "vllm", "region": "dc-frankfurt", "endpoints": [endpoint]});
        policy["providers"].as_array_mut().expect("providers").push(provider);
        let target = json!({"provider": "drill-pool", "model": "drill", "tokenizer": "o200k_harmony", "context": 131_072});
        policy["models"].as_array_mut().expect("models").push(json!({"name": "drill", "targets": [target]}));
        for tenant in policy["tenants"].as_array_mut().expect("tenants") {
            if let Some(models) = tenant["models"].as_array_mut() {
                models.push(json!("drill"));
            }
        }
        policy["redaction"] = rules;
    })
    .await;
    (gateway, address)
}

async fn drill(gateway: &Gateway, listen: &str) -> (Option<i32>, String) {
    let mut command = tokio::process::Command::new(paths::control_plane());
    command.arg("drill").args(["--listen", listen, "--model", "drill"]).env("WEIR_KEY", KEY);
    command.arg("--gateway").arg(format!("http://127.0.0.1:{}", gateway.ports.gateway));
    let Output { status, stdout, stderr } = command.output().await.expect("weir is there");
    (status.code(), [stdout, stderr].map(|part| String::from_utf8_lossy(&part).into_owned()).concat())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_type_gets_through_in_any_direction() {
    for (request, response) in [("tokenize", "mask"), ("mask", "block")] {
        let rules = json!([
            {"name": "out", "find": GROUPS, "do": request, "in": "request"},
            {"name": "back", "find": GROUPS, "do": response, "in": "response"},
        ]);
        let (gateway, listen) = start(&format!("drill-{request}"), rules).await;
        let (code, said) = drill(&gateway, &listen).await;
        assert_eq!(code, Some(0), "{request}, {response}: {said}");
        assert!(said.contains("values sent, none got through"), "{said}");
        assert!(!said.contains("LEAK"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_rule_looks_for_is_told_by_its_type_and_never_by_its_value() {
    let rules = json!([
        {"name": "out", "find": ["contact", "financial", "uk", "eu", "apac", "secrets"], "do": "mask", "in": "request"},
        {"name": "back", "find": GROUPS, "do": "mask", "in": "response"},
    ]);
    let (gateway, listen) = start("drill-red", rules).await;
    let (code, said) = drill(&gateway, &listen).await;
    assert_eq!(code, Some(1), "{said}");
    for api in ["chat", "messages", "responses"] {
        assert!(said.contains(&format!("{api} request us_ssn: LEAK")), "{said}");
    }
    assert!(!said.contains("request email: LEAK") && !said.contains("answer us_ssn: LEAK"), "{said}");
    assert!(!said.contains("536-"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_reported_in_an_answer_is_counted_and_goes_on_as_it_came() {
    let collector = Collector::start().await;
    let port = collector.port();
    let gateway = Gateway::with("reported-answers", |plan, _| {
        plan.policy["telemetry"] = json!({"otlp": format!("http://127.0.0.1:{port}"), "sample": "100%"});
        plan.policy["redaction"] =
            json!([{"name": "dry", "find": ["email"], "do": "report", "in": ["request", "response"]}]);
    })
    .await;
    let said = "Ask zq.vxkw@wqzrfjx.example, or zq.vxkw@wqzrfjx.example again.";
    for (number, (stream, chunking)) in
        [(false, Chunking::Event), (true, Chunking::Event), (true, Chunking::Fixed(7))]
            .into_iter()
            .enumerate()
    {
        gateway.vllm().next(Behaviour {
            reply: Some(ReplyKind::Fixed(said.into())),
            chunking: Some(chunking),
            ..Behaviour::default()
        });
        let trace = format!("{:032x}", number + 1);
        let client = gateway.client();
        let body = chat(VLLM_FIRST, "Whom do I ask? Not a.b@c.example.", stream).to_string();
        let post = client.post("/v1/chat/completions", body);
        let post = post.header("traceparent", format!("00-{trace}-00000000000000aa-01"));
        let answer = weir_tests::harness::Client::answer(post).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let heard: String = if stream {
            let lines = answer.text();
            let events = lines.lines().filter_map(|line| line.strip_prefix("data: {"));
            let events =
                events.map(|data| serde_json::from_str::<Value>(&format!("{{{data}")).expect("JSON"));
            let pieces = events
                .map(|event| event["choices"][0]["delta"]["content"].as_str().unwrap_or_default().to_owned());
            pieces.collect()
        } else {
            answer.json()["choices"][0]["message"]["content"].as_str().expect("a text").to_owned()
        };
        assert_eq!(heard, said);
        let spans = collector.wait(1, |span| span.trace_id() == trace && span.is_exchange()).await;
        assert_eq!(spans[0].get("weir.findings.answer.email"), 2, "{:#?}", spans[0]);
        assert_eq!(spans[0].get("weir.findings.email"), 1, "{:#?}", spans[0]);
    }
}
