//! Prompt and answer in spans: nowhere unless the policy asks; then in the conventions' form for every pair of dialects,
//! and no piece of a planted value anywhere in what a collector gets.

use serde_json::{Value, json};
use weir_tests::conventions::{Conventions, Told};
use weir_tests::harness::collector::Span;
use weir_tests::harness::{Client, Collector};
use weir_tests::sim::{Behaviour, Chunking, ReplyKind};

use crate::anthropic::{ANTHROPIC, BEDROCK, VLLM, start};
use crate::policy::KEY;

/// Values of which no four bytes stand in what a span says by nature.
const EMAIL: &str = "zqxvkw.jyt+qq@wqzrfjx.net";
const CARD: &str = "4539 1488 0343 6467";
const SSN: &str = "536-22-8726";
/// Only reported: the provider reads it, and a span must not show it all the same.
const WORD: &str = "Kqvzbird Wxjq";
const ALL: [&str; 4] = [EMAIL, CARD, SSN, WORD];
const CONTENT: [&str; 3] = ["gen_ai.system_instructions", "gen_ai.input.messages", "gen_ai.output.messages"];

fn text() -> String {
    format!("Write to {EMAIL}; pay with {CARD}. SSN: {SSN}. {WORD} is ours. The end.")
}

fn ask(dialect: &str, model: &str, stream: bool) -> Value {
    let arguments = json!({"text": text()});
    let mut body = json!({"model": model, "max_tokens": 400, "stream": stream});
    if dialect == "/v1/messages" {
        body["system"] = json!(text());
        body["messages"] = json!([
            {"role": "user", "content": "Note it."},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "note", "input": arguments}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": text()}, {"type": "text", "text": text()}]},
        ]);
        body["tools"] = json!([{"name": "note", "input_schema": {"type": "object"}}]);
    } else {
        body["messages"] = json!([
            {"role": "system", "content": text()},
            {"role": "user", "content": "Note it."},
            {"role": "assistant", "content": null, "tool_calls": [{"id": "call_1", "type": "function",
                "function": {"name": "note", "arguments": arguments.to_string()}}]},
            {"role": "tool", "tool_call_id": "call_1", "content": text()},
            {"role": "user", "content": text()},
        ]);
        body["tools"] =
            json!([{"type": "function", "function": {"name": "note", "parameters": {"type": "object"}}}]);
    }
    body
}

/// What is drawn by lot in a span's texts: any four digits may be in those. A URL has a port.
const DRAWN: [&str; 4] = ["gen_ai.response.id", "weir.request.id", "weir.policy.version", "url.full"];

/// The spans of a conversation in each pair of dialects.
async fn spans(name: &str, content: Option<&str>, judge: impl Fn(&str, &Value, &Span)) -> Vec<Span> {
    let collector = Collector::start().await;
    let port = collector.port();
    let (gateway, claude) = start(name, |plan| {
        plan.policy["telemetry"] = json!({"otlp": format!("http://127.0.0.1:{port}")});
        if let Some(content) = content {
            plan.policy["telemetry"]["content"] = json!(content);
        }
        plan.policy["redaction"] = json!([
            {"name": "people", "find": ["email", "us_ssn", "credit_card"], "do": "tokenize", "in": "request"},
            {"name": "house", "words": [WORD], "do": "report", "in": "request"},
        ]);
    })
    .await;
    let client = Client::new(gateway.ports.gateway, KEY);
    let mut number = 0u64;
    for dialect in ["/v1/chat/completions", "/v1/messages"] {
        for (model, server) in [(ANTHROPIC, &claude), (VLLM, gateway.vllm()), (BEDROCK, &gateway.bedrock)] {
            for stream in [false, true] {
                number += 1;
                let chunking = Some(Chunking::Random { min: 1, max: 40, seed: number });
                server.always(Behaviour { reply: Some(ReplyKind::Echo), chunking, ..Behaviour::default() });
                let trace = format!("{number:032x}");
                let body = ask(dialect, model, stream);
                let post = client.post(dialect, body.to_string()).header("x-api-key", KEY);
                let post = post.header("anthropic-version", "2023-06-01");
                let post = post.header("traceparent", format!("00-{trace}-00000000000000aa-01"));
                let answer = Client::answer(post).await;
                let case = format!("{dialect} {model} {stream}");
                assert_eq!(answer.status, 200, "{case}: {}", answer.text());
                assert!(stream || answer.text().contains(EMAIL), "{case}: {}", answer.text());
                let spans = collector.wait(2, |span| span.trace_id() == trace).await;
                judge(
                    &case,
                    &body,
                    spans.iter().find(|span| span.is_exchange()).expect("the exchange's span"),
                );
            }
        }
    }
    collector.spans()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_have_no_content_unless_the_policy_asks() {
    let spans = spans("content-off", None, |_, _, _| ()).await;
    for span in &spans {
        let content =
            span.attributes.keys().find(|name| CONTENT.contains(&name.as_str()) || name.contains("content"));
        assert_eq!(content, None);
        let all = format!("{:?}", span.raw);
        assert!(!all.contains("Note it") && !all.contains("The end"), "{all}");
    }
    assert_eq!(spans.len(), 24);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_show_what_was_said_and_no_piece_of_a_value() {
    let conventions = Conventions::any();
    let spans = spans("content-on", Some("redacted"), |case, body, span| {
        let told = Told { request: Some(body), answered: true, ..Told::default() };
        assert_eq!(conventions.judge(span, &told), [], "{case}: {span:#?}");
        let read = |name: &str| -> Value {
            serde_json::from_str(span.get(name).as_str().unwrap_or("null")).expect("JSON")
        };
        let redacted = "Write to [EMAIL_1]; pay with [CREDIT_CARD_1]. SSN: [US_SSN_1]. ";
        let (input, output) = (read("gen_ai.input.messages"), read("gen_ai.output.messages"));
        let said = output[0]["parts"][0]["content"].as_str().unwrap_or_default();
        assert!(said.contains(redacted) && said.contains("The end."), "{case}: {output}");
        assert_eq!(output.as_array().map(Vec::len), Some(1), "{case}: {output}");
        let calls = input.to_string().matches(r#""type":"tool_call""#).count();
        assert_eq!((calls, input.to_string().matches(redacted).count() >= 3), (1, true), "{case}: {input}");
        let system = read("gen_ai.system_instructions");
        assert_eq!(system.is_array(), body.get("system").is_some(), "{case}: {system}");
        assert!(span.get("weir.content.truncated").is_null() && span.get("weir.content.omitted").is_null());
    })
    .await;
    assert_eq!(spans.len(), 24);
    let content = |span: &&Span| span.texts(&DRAWN).iter().any(|text| text.contains("[EMAIL_1]"));
    assert_eq!(spans.iter().filter(content).count(), 12, "what is searched has the content in it");
    for span in &spans {
        let all = span.texts(&DRAWN);
        for value in ALL {
            for piece in value.as_bytes().windows(4) {
                let leaked = all.iter().any(|text| text.as_bytes().windows(4).any(|window| window == piece));
                assert!(!leaked, "{:?} of {value:?} in {all:?}", String::from_utf8_lossy(piece));
            }
        }
    }
}
