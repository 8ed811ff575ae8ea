//! Weir in a real Envoy, end to end. One test binary, so that it is linked once; each test starts its own Envoy.

mod bad_input;
mod buffers;
mod feedback;
mod foundations;
mod latency;
mod older;
mod pass_through;
mod protocols;
mod sdk;
mod spans;
mod spoofing;
mod streams;
mod telemetry;
mod traps;

use serde_json::{Value, json};
use weir_tests::harness::{Answer, Inject};
use weir_tests::sim::Record;

/// A small chat request for this model.
fn chat(model: &str, text: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": text}]})
}

/// The same, streamed, with usage asked for.
fn chat_stream(model: &str, text: &str) -> Value {
    let mut body = chat(model, text);
    body["stream"] = json!(true);
    body["stream_options"] = json!({"include_usage": true});
    body
}

/// What the provider received last.
fn last(gate: &Inject) -> Record {
    gate.vllm.book().last().expect("the provider was asked")
}

/// Waits until the provider has closed its books on the last request.
async fn settled(gate: &Inject) -> Record {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        let record = last(gate);
        if record.outcome.is_some() {
            return record;
        }
        assert!(std::time::Instant::now() < deadline, "the provider is still busy");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// An answer in OpenAI's error shape: status, `code`, `message`.
#[track_caller]
fn refused(answer: &Answer, status: u16, code: &str) -> String {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/json"), "{}", answer.text());
    let error = &answer.json()["error"];
    assert_eq!(error["code"], code, "{error}");
    let kind = error["type"].as_str().unwrap_or_default();
    assert!(!kind.is_empty(), "no type in {error}");
    assert!(error.get("param").is_some(), "no param in {error}");
    let message = error["message"].as_str().unwrap_or_default();
    assert!(message.len() > 10, "no message in {error}");
    message.to_owned()
}

/// The gateway still serves.
async fn lives(gate: &Inject) {
    let body = chat(weir_tests::harness::inject::MODEL, "still there?").to_string();
    let answer = gate.client().chat(body).await;
    assert_eq!(answer.status, 200, "{}\n{}", answer.text(), gate.envoy.log());
}
