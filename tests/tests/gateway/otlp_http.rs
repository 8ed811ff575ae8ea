//! The same spans, metrics and scores over OTLP/HTTP, to a collector behind a path of its own.

use std::time::{Duration, Instant};

use serde_json::json;
use weir_tests::conventions::{Conventions, Told};
use weir_tests::harness::Collector;
use weir_tests::harness::collector::{Mood, Span};

use crate::chat::chat;
use crate::policy::{BEDROCK_FIRST, VLLM_FIRST};
use crate::setup::Gateway;

/// Seconds for which a refusing collector asks to be left alone.
const PAUSE: u64 = 2;

async fn start(name: &str) -> (Gateway, Collector) {
    let collector = Collector::over_http("/otel", PAUSE).await;
    let port = collector.port();
    let gateway = Gateway::with(name, |plan, _| {
        plan.policy["telemetry"] =
            json!({"otlp": format!("http://127.0.0.1:{port}/otel"), "otlp_protocol": "http/protobuf"});
    })
    .await;
    (gateway, collector)
}

/// Waits until a statistic is so large.
async fn stat(gateway: &Gateway, name: &str, least: u64) -> u64 {
    let deadline = Instant::now() + Duration::from_secs(15);
    loop {
        let value = gateway.envoy.stat(name).await;
        if value >= least {
            return value;
        }
        assert!(Instant::now() < deadline, "{name} is {value}, not {least}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_metrics_and_scores_go_over_http() {
    let (gateway, collector) = start("otlp-http").await;
    let client = gateway.client();
    let conventions = Conventions::any();
    for (number, (model, stream)) in [(VLLM_FIRST, false), (BEDROCK_FIRST, true)].into_iter().enumerate() {
        let body = chat(model, "Say something.", stream);
        let answer = client.chat(body.to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let spans = collector.wait(number + 1, Span::is_exchange).await;
        let told = Told { request: Some(&body), answered: true, ..Told::default() };
        assert_eq!(conventions.judge(&spans[number], &told), [], "{:#?}", spans[number]);
    }
    let spans = collector.spans().into_iter().filter(|span| span.is_exchange()).collect::<Vec<_>>();
    // A score belongs to the answer that the span says.
    let id = spans[0].get("gen_ai.response.id").as_str().expect("an id").to_owned();
    let score = json!({"response_id": id, "score": 1});
    let told = client.post("/v1/weir/feedback", score.to_string()).send().await.expect("an answer");
    assert!(told.status().is_success(), "{}", told.status());
    let deadline = Instant::now() + Duration::from_secs(20);
    while collector.metrics().is_empty() || collector.events().is_empty() {
        assert!(Instant::now() < deadline, "{:?}, {:?}", collector.metrics(), collector.events());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(collector.events()[0].trace_id, spans[0].trace_id());
    for metric in collector.metrics() {
        assert_eq!(conventions.judge_metric(&metric), [], "{metric:#?}");
    }
    assert_eq!(gateway.envoy.stat("weir_export_failures_total").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_over_http_is_left_alone_as_long_as_it_asks_and_what_it_does_not_take_is_counted() {
    let (gateway, collector) = start("otlp-http-moods").await;
    let client = gateway.client();
    let ask = async |count: usize| {
        for _ in 0..count {
            assert_eq!(client.chat(chat("nonsense", "x", false).to_string()).await.status, 404);
        }
    };
    // 503 with `retry-after`: the same again, and not before.
    collector.mood(Mood::Refusing(14));
    ask(5).await;
    stat(&gateway, "weir_export_failures_total", 1).await;
    let (refused, begun) = (collector.exports(), Instant::now());
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    // Without the header it would have been asked at 0.25, 0.75 and 1.75 seconds.
    assert!(collector.exports() <= refused + 1, "{} calls", collector.exports() - refused);
    collector.mood(Mood::Well);
    let spans = collector.wait(5, Span::is_exchange).await;
    assert!(begun.elapsed() > Duration::from_millis(1_500), "{:?}", begun.elapsed());
    assert_eq!(spans.len(), 5);
    // 400: the same again is useless.
    collector.mood(Mood::Refusing(3));
    ask(3).await;
    assert_eq!(stat(&gateway, "weir_spans_dropped_total", 3).await, 3);
    // Some of a batch.
    collector.mood(Mood::Rejecting(1));
    ask(1).await;
    assert_eq!(stat(&gateway, "weir_spans_rejected_total", 1).await, 1);
    collector.mood(Mood::Well);
    ask(2).await;
    assert_eq!(stat(&gateway, "weir_spans_sent_total", 7).await, 7);
}
