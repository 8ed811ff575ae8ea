//! What an application declares of its requests, and what a prompt is made of, in spans on the whole path: by the
//! conventions, and no further than the span.

use serde_json::{Value, json};
use weir_tests::conventions::{Conventions, Told};
use weir_tests::harness::collector::Span;
use weir_tests::harness::{Client, Collector};

use crate::anthropic::{ANTHROPIC, BEDROCK, VLLM, start};
use crate::policy::{KEY, OTHER_KEY};

const PARTS: [&str; 6] = ["system", "tools", "history", "tool_results", "documents", "user"];

/// A conversation of four parts, in the client's dialect.
fn ask(dialect: &str, model: &str) -> Value {
    let (system, question) = ("Be brief. ".repeat(50), "And then? ".repeat(10));
    let schema =
        json!({"type": "object", "properties": {"a": {"type": "string", "description": "d ".repeat(40)}}});
    let mut messages = vec![
        json!({"role": "user", "content": "What was first? ".repeat(10)}),
        json!({"role": "assistant", "content": "The beginning was. ".repeat(10)}),
        json!({"role": "user", "content": question}),
    ];
    let mut body = json!({"model": model, "max_tokens": 16, "messages": null});
    if dialect == "/v1/messages" {
        body["system"] = json!(system);
        body["tools"] = json!([{"name": "note", "input_schema": schema}]);
        body["metadata"] = json!({"user_id": "ann@example.org"});
    } else {
        messages.insert(0, json!({"role": "system", "content": system}));
        body["tools"] = json!([{"type": "function", "function": {"name": "note", "parameters": schema}}]);
        body["user"] = json!("ann@example.org");
    }
    body["messages"] = json!(messages);
    body
}

fn part(span: &Span, name: &str) -> u64 {
    span.get(&format!("weir.usage.input_tokens.{name}")).as_u64().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_say_who_which_documents_and_what_a_prompt_is_made_of() {
    let collector = Collector::start().await;
    let port = collector.port();
    let (gateway, claude) = start("declared", |plan| {
        plan.policy["telemetry"] = json!({
            "otlp": format!("http://127.0.0.1:{port}"), "retrieval": true,
            "end_user": {"header": "X-End-User", "key": {"env": "WEIR_TEST_VLLM_KEY"}},
        });
    })
    .await;
    let conventions = Conventions::any();
    let mut hashes = Vec::new();
    let mut number = 0u64;
    for (dialect, model, server, key, user) in [
        ("/v1/chat/completions", VLLM, gateway.vllm(), KEY, None),
        ("/v1/chat/completions", BEDROCK, &gateway.bedrock, KEY, Some("ann@example.org")),
        ("/v1/messages", ANTHROPIC, &claude, KEY, None),
        ("/v1/messages", VLLM, gateway.vllm(), KEY, Some("bob@example.org")),
        ("/v1/chat/completions", VLLM, gateway.vllm(), OTHER_KEY, None),
    ] {
        number += 1;
        let case = format!("{dialect} {model} {key} {user:?}");
        let trace = format!("{number:032x}");
        let body = ask(dialect, model);
        let client = Client::new(gateway.ports.gateway, key);
        let mut post = client.post(dialect, body.to_string()).header("anthropic-version", "2023-06-01");
        post = post.header("x-weir-documents", "kb/7, kb/9").header("x-weir-retrieval-ms", "250");
        if let Some(user) = user {
            post = post.header("x-end-user", user);
        }
        let answer =
            Client::answer(post.header("traceparent", format!("00-{trace}-00000000000000aa-01"))).await;
        assert_eq!(answer.status, 200, "{case}: {}", answer.text());
        let spans = collector.wait(2, |span| span.trace_id() == trace).await;
        let span = spans.iter().find(|span| span.is_exchange()).expect("the exchange's span");
        let told = Told { request: Some(&body), answered: true, ..Told::default() };
        assert_eq!(conventions.judge(span, &told), [], "{case}: {span:#?}");
        assert_eq!(span.get("weir.retrieval.documents"), &json!(["kb/7", "kb/9"]), "{case}");
        assert_eq!(span.get("weir.retrieval.duration"), &json!(0.25), "{case}");
        hashes.push(span.get("weir.user.hash").as_str().expect("a hash").to_owned());
        let parts = PARTS.map(|name| part(span, name));
        let input = span.get("gen_ai.usage.input_tokens").as_u64();
        assert_eq!(Some(parts.iter().sum::<u64>()), input, "{case}: {parts:?}");
        assert_eq!(span.get("weir.usage.input_tokens.parts"), "bytes", "{case}");
        let [system, tools, history, results, documents, question] = parts;
        assert!(system > history && history > question && question > 0 && tools > 0, "{case}: {parts:?}");
        assert_eq!((results, documents), (0, 0), "{case}");
        let record = server.book().last().expect("a request");
        for name in ["x-end-user", "x-weir-documents", "x-weir-retrieval-ms"] {
            assert_eq!(record.header(name), None, "{case}");
        }
    }
    let all = format!("{:?}", collector.spans());
    assert!(!all.contains("ann@") && !all.contains("bob@"), "no name is in a span");
    // One user of one tenant has one hash, by header or by body; another user, or the same at another tenant, another.
    let [one, same, too, bob, elsewhere] = hashes.as_slice() else { panic!("{hashes:?}") };
    assert_eq!((one, one), (same, too));
    assert!(one != bob && one != elsewhere && bob != elsewhere, "{hashes:?}");
}
