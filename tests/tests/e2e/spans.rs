//! One span for each exchange, in the words of OpenTelemetry's GenAI conventions.

use serde_json::Value;
use weir_tests::harness::inject::{ALIAS, MODEL};
use weir_tests::harness::{Client, Inject, shared_data};
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
    let spans = gate.collector.wait(1, |span| !span.get("weir.request.id").is_null()).await;
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
    let spans = gate.collector.wait(3, |span| !span.get("weir.request.id").is_null()).await;
    let mut errors: Vec<String> = spans.iter().map(|span| span.get("error.type").to_string()).collect();
    errors.sort();
    assert_eq!(errors, ["\"500\"", "\"invalid_api_key\"", "\"model_not_found\""]);
    assert!(spans.iter().all(|span| span.raw.status.as_ref().is_some_and(|status| status.code == 2)));
}

#[tokio::test]
async fn every_gen_ai_attribute_is_one_of_the_conventions() {
    let Some(data) = shared_data() else { return };
    let text =
        std::fs::read_to_string(data.join("otel-genai/resolved.json")).expect("the resolved conventions");
    let conventions: Value = serde_json::from_str(&text).expect("JSON");
    let known = conventions["spans"]["gen_ai.inference.client"]["attributes"]
        .as_object()
        .expect("the span's attributes");
    assert!(known.len() > 30, "the conventions were not understood: {}", known.len());
    let required =
        known.iter().filter(|(_, about)| about["level"] == "required").map(|(name, _)| name.as_str());
    let required: Vec<&str> = required.collect();
    assert!(required.contains(&"gen_ai.operation.name"), "{required:?}");

    let gate = Inject::start("conventions").await;
    let mut body = chat_stream(MODEL, "conventions");
    for (name, value) in [
        ("temperature", 0.5.into()),
        ("top_p", 0.9.into()),
        ("seed", 7.into()),
        ("max_tokens", 20.into()),
        ("frequency_penalty", 0.1.into()),
        ("presence_penalty", 0.2.into()),
        ("stop", Value::from(vec!["never", "ever"])),
    ] {
        body[name] = value;
    }
    gate.client().chat(body.to_string()).await;
    gate.client().chat(chat(MODEL, "plain").to_string()).await;
    gate.client().chat(chat("nonsense", "refused").to_string()).await;
    let spans = gate.collector.wait(3, |span| !span.get("weir.request.id").is_null()).await;
    let mut seen = 0;
    for span in &spans {
        // Who would have answered is not known where the request was refused before it was routed.
        let refused = span.get("gen_ai.provider.name").is_null() && span.get("error.type").is_string();
        for name in required.iter().filter(|name| !refused || **name != "gen_ai.provider.name") {
            assert!(!span.get(name).is_null(), "{name} is required");
        }
        // Our own namespace, and one attribute of the HTTP conventions, are not this document's matter.
        let others = |name: &str| name.starts_with("weir.") || name == "http.response.status_code";
        for (name, value) in span.attributes.iter().filter(|(name, _)| !others(name)) {
            let about = known.get(name).unwrap_or_else(|| panic!("{name} is no attribute of this span"));
            let fits = match about["type"].as_str() {
                Some("string") => value.is_string(),
                Some("int") => value.is_i64(),
                Some("double") => value.is_f64(),
                Some("boolean") => value.is_boolean(),
                Some("string[]") => value.is_array(),
                Some("enum") => about["members"].as_array().is_none_or(|members| members.contains(value)),
                _ => true,
            };
            assert!(fits, "{name} is {}, not {value}", about["type"]);
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen}");
}
