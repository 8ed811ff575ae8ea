//! One span for each exchange, in its caller's trace. What it says is judged in `telemetry.rs`.

use weir_tests::harness::inject::{ALIAS, MODEL};
use weir_tests::harness::{Client, Inject};
use weir_tests::sim::Behaviour;

use crate::{chat, chat_stream};

#[tokio::test]
async fn one_span_continues_the_callers_trace() {
    let gate = Inject::start("span").await;
    let body = chat_stream(ALIAS, "trace me").to_string();
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let request = gate.client().post("/v1/chat/completions", body).header("traceparent", parent);
    let answer = Client::answer(request).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let spans = gate.collector.wait(1, |span| span.is_exchange()).await;
    assert_eq!(spans.len(), 1);
    let span = &spans[0];
    assert_eq!(span.trace_id(), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(span.parent_id(), "b7ad6b7169203331");
    assert_eq!(span.raw.kind, 3, "CLIENT");
    assert_eq!(span.raw.name, format!("chat {ALIAS}"));
    assert!(span.raw.start_time_unix_nano < span.raw.end_time_unix_nano);
    assert_eq!(span.get("gen_ai.request.model"), ALIAS);
    assert_eq!(span.get("gen_ai.response.model"), MODEL);
    assert_eq!(span.get("weir.tenant"), "demo");
    let record = crate::settled(&gate).await;
    assert_eq!(span.get("gen_ai.usage.input_tokens"), record.prompt_tokens);
    assert_eq!(span.get("gen_ai.usage.output_tokens"), record.completion_tokens);
    // The provider is told of the same trace, under this span.
    let told = record.header("traceparent").expect("the trace goes on").to_owned();
    assert!(
        told.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && !told.contains("b7ad6b7169203331"),
        "{told}"
    );
    assert!(span.resource.contains_key("service.name"));
}

#[tokio::test]
async fn refusals_and_failures_have_spans_with_an_error() {
    let gate = Inject::with("error-spans", |setup| setup.exchange.retry.tries = 1).await;
    gate.client().chat(chat("nonsense", "x").to_string()).await;
    gate.client().with_key("wrong").chat(chat(MODEL, "x").to_string()).await;
    gate.vllm.next(Behaviour::status(500));
    gate.client().chat(chat(MODEL, "x").to_string()).await;
    let spans = gate.collector.wait(3, |span| span.is_exchange()).await;
    let mut errors: Vec<String> = spans.iter().map(|span| span.get("error.type").to_string()).collect();
    errors.sort();
    assert_eq!(errors, ["\"500\"", "\"invalid_api_key\"", "\"model_not_found\""]);
    assert!(spans.iter().all(|span| span.raw.status.as_ref().is_some_and(|status| status.code == 2)));
}
