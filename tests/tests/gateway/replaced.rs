//! A policy is replaced while what the old one's plugin began is still under way: Envoy ends such calls without an answer,
//! and what they carried must come all the same.

use std::time::{Duration, Instant};

use serde_json::json;
use weir_tests::harness::Collector;
use weir_tests::harness::collector::{Mood, Span};

use crate::chat::chat;
use crate::policy::VLLM_FIRST;
use crate::setup::Gateway;

const OVER: &str = "gen_ai.client.operation.duration";

/// How many exchanges the collector's metrics tell of.
fn told(collector: &Collector) -> u64 {
    let metrics = collector.metrics().into_iter().filter(|metric| metric.name == OVER);
    metrics.flat_map(|metric| metric.points).map(|point| point.count).sum()
}

async fn until(what: &str, is: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is() {
        assert!(Instant::now() < deadline, "not reached: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn nothing_is_lost(name: &str, collector: Collector, protocol: &str) {
    let port = collector.port();
    let mut gateway = Gateway::with(name, |plan, _| {
        // One worker, so that all goes by way of the VM that has calls under way.
        plan.concurrency = 1;
        plan.policy["telemetry"] =
            json!({"otlp": format!("http://127.0.0.1:{port}"), "otlp_protocol": protocol});
    })
    .await;
    let client = gateway.client();
    let ask = async || {
        let answer = client.chat(chat(VLLM_FIRST, "Say something.", false).to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    // Spans and metrics are on their way, and stay there for longer than this test lasts.
    collector.mood(Mood::Slow(60_000));
    let (spans, metrics) = (collector.exports(), collector.reports());
    ask().await;
    until("both are on their way", || collector.exports() > spans && collector.reports() > metrics).await;

    let mut policy = gateway.policy.clone();
    policy["tenants"][0]["limits"] = json!({"max_output_tokens": 4_000});
    gateway.change(policy).await;
    collector.mood(Mood::Well);
    ask().await;
    let exchanges = collector.wait(2, Span::is_exchange).await;
    let versions: Vec<_> = exchanges.iter().map(|span| span.get("weir.policy.version").to_string()).collect();
    assert_eq!(versions.len(), 2, "{versions:?}");
    assert_ne!(versions[0], versions[1], "each of its own policy");
    until("the metrics tell of both", || told(&collector) == 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_and_metrics_under_way_over_grpc_come_though_their_plugin_is_replaced() {
    nothing_is_lost("replaced-grpc", Collector::start().await, "grpc").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_and_metrics_under_way_over_http_come_though_their_plugin_is_replaced() {
    nothing_is_lost("replaced-http", Collector::over_http("", 0).await, "http/protobuf").await;
}
