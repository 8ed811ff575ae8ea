//! Clients cannot steer the gateway by its own headers, and the provider sees none that is not on the list.

use weir_tests::harness::inject::{KEY, MODEL};
use weir_tests::harness::{Client, Inject};
use weir_tests::sim::{Behaviour, Fault};

use crate::{chat, last, settled};

/// All that a vLLM behind the gateway may see. Anything else is a leak of the client's or of ours.
const ALLOWED: [&str; 12] = [
    "host",
    ":authority",
    ":method",
    ":path",
    ":scheme",
    "accept",
    "content-type",
    "content-length",
    "transfer-encoding",
    "user-agent",
    "traceparent",
    "tracestate",
];
/// Envoy's own, of no secret: harmless to a provider.
const ENVOYS: [&str; 3] = ["x-request-id", "x-forwarded-proto", "x-forwarded-for"];

#[tokio::test]
async fn only_allowed_headers_reach_the_provider() {
    for upstream_h2 in [false, true] {
        let gate = Inject::with("allowlist", |setup| setup.upstream_h2 = upstream_h2).await;
        for client in [gate.client(), gate.h2()] {
            let request = client
                .post("/v1/chat/completions", chat(MODEL, "hello").to_string())
                .header("x-api-key", "other-secret")
                .header("api-key", "azure-secret")
                .header("cookie", "session=secret")
                .header("x-amz-security-token", "aws-secret")
                .header("x-amz-date", "20260101T000000Z")
                .header("openai-organization", "org-secret")
                .header("x-goog-api-key", "google-secret")
                .header("proxy-authorization", "Basic c2VjcmV0")
                .header("x-weir-label-team", "research")
                .header("x-weir-plan", "mine")
                .header("x-envoy-original-path", "/elsewhere")
                .header("accept", "application/json")
                .header("x-stainless-lang", "python");
            let answer = Client::answer(request).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            let record = last(&gate);
            let version = if upstream_h2 { "HTTP/2.0" } else { "HTTP/1.1" };
            assert_eq!(record.version, version);
            for (name, value) in &record.headers {
                let name = name.to_ascii_lowercase();
                let known = ALLOWED.contains(&name.as_str()) || ENVOYS.contains(&name.as_str());
                assert!(known, "the provider saw {name}: {value}");
                assert!(
                    !value.contains("secret") && !value.contains(KEY),
                    "the provider saw {name}: {value}"
                );
            }
        }
    }
}

#[tokio::test]
async fn retries_and_timeouts_are_not_the_clients_to_set() {
    let gate = Inject::with("spoofing", |setup| setup.exchange.retry.tries = 1).await;
    let post = || gate.client().post("/v1/chat/completions", chat(MODEL, "hello").to_string());

    // One try is one try, whatever the client asks for.
    gate.vllm.next(Behaviour::status(503));
    let request = post()
        .header("x-envoy-max-retries", "5")
        .header("x-envoy-retry-on", "5xx,reset,retriable-status-codes");
    let answer = Client::answer(request.header("x-envoy-retriable-status-codes", "503")).await;
    assert_eq!(answer.status, 503);
    assert_eq!(gate.vllm.book().records().len(), 1, "the client made the gateway try again");

    // A slow answer outlives the client's timeouts.
    gate.vllm.next(Behaviour { ttft_ms: Some(300), ..Behaviour::default() });
    let mut request = post();
    for name in [
        "x-envoy-upstream-rq-timeout-ms",
        "x-envoy-upstream-rq-per-try-timeout-ms",
        "x-envoy-upstream-stream-duration-ms",
        "x-envoy-expected-rq-timeout-ms",
        "x-envoy-hedge-on-per-try-timeout",
    ] {
        request = request.header(name, "10");
    }
    let answer = Client::answer(request.header("x-envoy-upstream-alt-stat-name", "mine")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());

    // Neither the attempt's number nor the slots can be claimed.
    let request =
        post().header("x-envoy-attempt-count", "1").header("x-weir-tried", "1").header("x-weir-s1", "otlp");
    let answer = Client::answer(request.header("x-envoy-decorator-operation", "mine")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let line = gate.envoy.access_log().find(|line| line["status"] == 200).await;
    assert_eq!((line["cluster"].as_str(), line["attempts"].as_u64()), (Some("weir-gpu-pool"), Some(1)));
    assert_eq!(gate.envoy.stat("upstream_rq_retry:").await, 0);
}

#[tokio::test]
async fn a_retry_starts_from_the_same_headers_and_body() {
    let gate = Inject::start("retry").await;
    let body = chat(weir_tests::harness::inject::ALIAS, "again").to_string();
    for fault in [Behaviour::status(503), Behaviour::status(429), Behaviour::fault(Fault::ResetBeforeHeaders)]
    {
        gate.vllm.book().clear();
        gate.vllm.next(fault.clone());
        let answer = gate.client().chat(body.clone()).await;
        assert_eq!(answer.status, 200, "{fault:?}: {}", answer.text());
        settled(&gate).await;
        let records = gate.vllm.book().records();
        assert_eq!(records.len(), 2, "{fault:?}");
        assert_eq!(records[0].body, records[1].body);
        let names = |record: &weir_tests::sim::Record| {
            let mut names: Vec<String> = record.headers.iter().map(|(name, _)| name.to_lowercase()).collect();
            names.sort();
            names
        };
        assert_eq!(names(&records[0]), names(&records[1]), "{fault:?}");
    }
}
