//! One span for each exchange, in the words of OpenTelemetry's GenAI conventions.

use std::collections::BTreeMap;

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
    let mut known = BTreeMap::new();
    collect(&conventions, &mut known);
    assert!(known.len() > 50, "the conventions were not understood: {}", known.len());

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
        for name in ["gen_ai.operation.name", "gen_ai.provider.name"] {
            assert!(span.get(name).is_string() || span.get("error.type").is_string(), "{name} is required");
        }
        for (name, value) in span.attributes.iter().filter(|(name, _)| !name.starts_with("weir.")) {
            let kind = known.get(name).unwrap_or_else(|| panic!("{name} is no attribute of the conventions"));
            let fits = match kind.as_str() {
                "string" => value.is_string(),
                "int" => value.is_i64(),
                "double" => value.is_f64(),
                "boolean" => value.is_boolean(),
                "string[]" => value.is_array(),
                _ => true,
            };
            assert!(fits, "{name} is {kind}, not {value}");
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen}");
}

/// Every attribute's type by name, wherever the document has one.
fn collect(value: &Value, known: &mut BTreeMap<String, String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, known)),
        Value::Object(members) => {
            let name = members.get("name").or_else(|| members.get("id")).and_then(Value::as_str);
            if let (Some(name), Some(kind)) = (name, members.get("type")) {
                let kind = kind.as_str().unwrap_or("enum");
                known.insert(name.to_owned(), kind.to_owned());
            }
            members.values().for_each(|member| collect(member, known));
        }
        _ => {}
    }
}
