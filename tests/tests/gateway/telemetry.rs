//! Spans of every pair of a client's and a provider's dialect, judged by the conventions, through the control plane.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use weir_tests::conventions::{Conventions, Told};
use weir_tests::harness::collector::Span;
use weir_tests::harness::{Client, Collector};
use weir_tests::sim::Behaviour;

use crate::anthropic::{ALL, ANTHROPIC, BEDROCK, VLLM, start};
use crate::policy::KEY;

fn request(dialect: &str, model: &str, stream: bool) -> Value {
    let mut body = json!({
        "model": model, "max_tokens": 64, "temperature": 0.5, "stream": stream,
        "messages": [{"role": "user", "content": "Say something."}],
    });
    if dialect == "/v1/messages" {
        body["top_k"] = json!(40);
        body["stop_sequences"] = json!(["never"]);
    } else {
        body["stop"] = json!("never");
        body["seed"] = json!(7);
    }
    body
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_pair_of_dialects_has_its_spans_by_the_conventions() {
    let collector = Collector::start().await;
    let port = collector.port();
    let (gateway, claude) = start("telemetry-pairs", |plan| {
        plan.policy["telemetry"] = json!({"otlp": format!("http://127.0.0.1:{port}"), "sample": "100%"});
    })
    .await;
    let conventions = Conventions::any();
    let client = Client::new(gateway.ports.gateway, KEY);
    let models = [(ANTHROPIC, "anthropic"), (VLLM, "openai"), (BEDROCK, "aws.bedrock"), (ALL, "aws.bedrock")];
    let mut seen = BTreeSet::new();
    let mut number = 0u64;
    for dialect in ["/v1/chat/completions", "/v1/messages"] {
        for (model, provider) in models {
            for stream in [false, true] {
                number += 1;
                if model == ALL {
                    claude.next(Behaviour::status(529));
                }
                let trace = format!("{number:032x}");
                let body = request(dialect, model, stream);
                let post = client.post(dialect, body.to_string()).header("x-api-key", KEY);
                let post = post.header("anthropic-version", "2023-06-01");
                let answer =
                    Client::answer(post.header("traceparent", format!("00-{trace}-00000000000000aa-01")))
                        .await;
                let case = format!("{dialect} {model} {stream}");
                assert_eq!(answer.status, 200, "{case}: {}", answer.text());
                let tries = if model == ALL { 2 } else { 1 };
                let spans = collector.wait(1 + tries, |span| span.trace_id() == trace).await;
                let exchange = spans.iter().find(|span| span.is_exchange()).expect("the exchange's span");
                let told = Told { request: Some(&body), answered: true, ..Told::default() };
                assert_eq!(conventions.judge(exchange, &told), [], "{case}: {exchange:#?}");
                assert_eq!(exchange.get("gen_ai.provider.name"), provider, "{case}");
                let mut tried: Vec<&Span> = spans.iter().filter(|span| !span.is_exchange()).collect();
                tried.sort_by_key(|one| one.raw.start_time_unix_nano);
                assert!(tried.iter().all(|one| one.parent_id() == exchange.span_id()), "{case}");
                let last = tried.last().expect("a try");
                assert_eq!(last.get("weir.target.provider"), exchange.get("weir.target.provider"), "{case}");
                if tries == 2 {
                    // What throttles is left alone for a second.
                    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
                    assert_eq!(tried[0].get("error.type"), "529", "{case}");
                    assert_eq!(tried[0].get("weir.target.provider"), "claude", "{case}");
                    assert_eq!(last.get("http.request.resend_count"), 1, "{case}");
                    assert!(exchange.raw.events.iter().any(|event| event.name == "weir.retry"), "{case}");
                }
                seen.extend(exchange.attributes.keys().cloned());
            }
        }
    }
    assert!(seen.contains("gen_ai.request.top_k") && seen.contains("gen_ai.usage.output_tokens"), "{seen:?}");
    // The same through the metrics.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while collector.metrics().is_empty() {
        assert!(std::time::Instant::now() < deadline, "no metrics came");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    for metric in collector.metrics() {
        assert_eq!(conventions.judge_metric(&metric), [], "{metric:#?}");
    }
}
