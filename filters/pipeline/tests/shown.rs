//! When a span shows what was said, and when not: off unless the policy asks, never of what was refused, never where it
//! is not proven that it is redacted, and then with the reason.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests stop at what they do not expect"
)]

mod drive;

use drive::world::{MAIL, answer, headers, model, policy, redaction, sent_body};
use drive::{Cuts, Gateway, Outcome};
use serde_json::{Value, json};
use weir_pipeline::content::Content;

/// A gateway whose policy shows content, changed by a test.
fn gateway(change: impl FnOnce(&mut Value)) -> Gateway {
    let mut config = policy(
        &[("gpu", "vllm"), ("aws", "bedrock")],
        &[model("m", "gpu", "gpu/m"), model("b", "aws", "amazon.titan")],
    );
    config["redaction"] = redaction("tokenize", true, false);
    config["telemetry"] = json!({"otlp_cluster": "otlp", "content": true});
    change(&mut config);
    Gateway::of_json(config)
}

fn said(text: &str) -> Value {
    json!({
        "id": "c", "object": "chat.completion", "created": 1, "model": "gpu/m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    })
}

fn stream(pieces: &[&str]) -> String {
    let event = |delta: Value, finish: Value| {
        format!(
            "data: {}\n\n",
            json!({"id": "c", "model": "gpu/m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
        )
    };
    let mut out: String = pieces.iter().map(|piece| event(json!({"content": piece}), Value::Null)).collect();
    out += &event(json!({}), json!("stop"));
    out + "data: [DONE]\n\n"
}

fn ask(text: &str, streams: bool) -> Value {
    json!({"model": "m", "stream": streams, "messages": [{"role": "user", "content": text}]})
}

fn run_as(gateway: &Gateway, trace: Option<&str>, body: &Value, media: &str, said: &str) -> Outcome {
    let mut all = headers("/v1/chat/completions", &[("authorization", "Bearer key")]);
    all.extend(trace.map(|trace| ("traceparent", trace)));
    let answers = [answer(200, media, said)];
    gateway.run(&all, body.to_string().as_bytes(), &answers, Cuts::Whole, Cuts::Every(7))
}

fn run(gateway: &Gateway, text: &str, said: &Value) -> Outcome {
    run_as(gateway, None, &ask(text, false), "application/json", &said.to_string())
}

fn content(outcome: &Outcome) -> Option<&Content> {
    outcome.span.as_ref().unwrap().content.as_deref()
}

fn shown(outcome: &Outcome) -> [Value; 2] {
    let content = content(outcome).unwrap();
    assert_eq!((content.omitted, content.cut), ("", false));
    [&content.input, &content.output].map(|text| serde_json::from_str(text).unwrap())
}

fn user(text: &str) -> Value {
    json!([{"role": "user", "parts": [{"type": "text", "content": text}]}])
}

fn assistant(text: &str) -> Value {
    json!([{"role": "assistant", "parts": [{"type": "text", "content": text}], "finish_reason": "stop"}])
}

#[test]
fn placeholders_are_shown_and_not_what_they_stand_for() {
    let gateway = gateway(|_| ());
    let question = format!("Who is {MAIL}?");
    let other = "someone@else.example";
    let told = said(&format!("[EMAIL_1] is not {other}."));
    let whole = run(&gateway, &question, &told);
    // The client reads its own value; what the model made up stays, since no rule is for answers.
    assert!(String::from_utf8_lossy(&whole.body).contains(&format!("{MAIL} is not {other}.")));
    assert_eq!(sent_body(&whole)["messages"][0]["content"], "Who is [EMAIL_1]?");
    assert_eq!(shown(&whole), [user("Who is [EMAIL_1]?"), assistant("[EMAIL_1] is not [EMAIL].")]);
    let body = stream(&["[EMA", "IL_1] is not some", "one@else.exa", "mple."]);
    let streamed = run_as(&gateway, None, &ask(&question, true), "text/event-stream", &body);
    assert!(String::from_utf8_lossy(&streamed.body).contains(MAIL));
    assert_eq!(shown(&streamed), shown(&whole));
}

#[test]
fn a_value_is_shown_under_no_action_and_in_no_direction() {
    for action in ["report", "tokenize", "hash", "mask"] {
        for (request, response) in [(true, true), (true, false), (false, true)] {
            let gateway = gateway(|config| config["redaction"] = redaction(action, request, response));
            let out = run(&gateway, &format!("Who is {MAIL}?"), &said(&format!("It is {MAIL}.")));
            let all = format!("{:?}", content(&out));
            assert!(!all.contains("jane") && all.contains("It is [EMAIL"), "{action}: {all}");
        }
    }
}

#[test]
fn content_is_off_unless_the_policy_asks_and_the_trace_is_sampled() {
    let off = gateway(|config| config["telemetry"] = json!({"otlp_cluster": "otlp"}));
    assert_eq!(content(&run(&off, "Hello", &said("Hi"))), None);
    let on = gateway(|_| ());
    let trace = |flags| format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0{flags}");
    for (flags, there) in [(0, false), (1, true)] {
        let out = run_as(
            &on,
            Some(&trace(flags)),
            &ask("Hello", false),
            "application/json",
            &said("Hi").to_string(),
        );
        assert_eq!(content(&out).is_some(), there);
    }
}

#[test]
fn what_was_refused_is_not_shown() {
    let blocks = gateway(|config| config["redaction"] = redaction("block", true, true));
    let out = run(&blocks, MAIL, &said("Hi"));
    assert_eq!((out.status, content(&out)), (403, None));
    // Judged and redacted, and then refused for its length.
    let limited = gateway(|config| config["tenants"][0]["limits"] = json!({"max_input_tokens": 1}));
    let out = run(&limited, "Hello, hello, hello, hello", &said("Hi"));
    assert_eq!((out.status, content(&out)), (400, None));
}

#[test]
fn a_blocked_answer_is_not_shown() {
    let blocks = gateway(|config| config["redaction"] = redaction("block", false, true));
    let told = format!("It is {MAIL}.");
    for out in [
        run(&blocks, "Who?", &said(&told)),
        run_as(&blocks, None, &ask("Who?", true), "text/event-stream", &stream(&[&told, " More."])),
    ] {
        let content = content(&out).unwrap();
        assert_eq!((content.output.as_str(), content.omitted), ("", "blocked"));
        assert!(content.input.contains("Who?"));
    }
}

#[test]
fn what_no_rule_is_for_is_not_shown() {
    let of_others = gateway(|config| config["redaction"][0]["when"] = json!({"tenant": ["globex"]}));
    let out = run(&of_others, "Hello", &said("Hi"));
    assert_eq!(content(&out), Some(&Content { omitted: "no_rule", ..Content::default() }));
}

#[test]
fn what_was_not_searched_is_not_shown() {
    // An answer that nobody can read, and that passes.
    let passes = gateway(|config| {
        config["redaction"] = redaction("mask", true, true);
        config["redaction"][0]["pass"] = json!(true);
    });
    let out = run_as(&passes, None, &ask("Hello", false), "application/octet-stream", "who knows");
    let content_of = content(&out).unwrap();
    assert_eq!((content_of.output.as_str(), content_of.omitted), ("", "unsearched"));
    // A body in a dialect of the model's own.
    let mut all = headers("/model/b/invoke", &[("x-api-key", "key")]);
    all.retain(|(name, _)| *name != "content-type");
    let answers = [answer(200, "application/json", "{\"results\":[]}")];
    let out = gateway(|_| ()).run(&all, br#"{"inputText":"Hello"}"#, &answers, Cuts::Whole, Cuts::Whole);
    assert_eq!(content(&out), Some(&Content { omitted: "dialect", ..Content::default() }));
}

#[test]
fn what_a_detector_outside_only_reports_is_not_shown() {
    let names = |action: &str| {
        json!([{"name": "names", "cluster": "c", "authority": "a", "path": "/analyze", "types": {"PERSON": "person"},
            "action": action, "timeout_ms": 500, "max_text": 1000, "parallel": 8}])
    };
    // Digits and signs alone are nobody's name: nobody is asked.
    for (action, omitted) in [("report", "reported"), ("mask", "")] {
        let gateway = gateway(|config| config["analyzers"] = names(action));
        let out = run(&gateway, "...", &said("Hi"));
        assert_eq!(content(&out).unwrap().omitted, omitted, "{action}");
    }
}

#[test]
fn an_error_has_a_question_and_no_answer() {
    let gateway = gateway(|_| ());
    let all = headers("/v1/chat/completions", &[("authorization", "Bearer key")]);
    let answers = [answer(400, "application/json", r#"{"error":{"message":"Kestrel","type":"t"}}"#)];
    let out =
        gateway.run(&all, ask("Hello", false).to_string().as_bytes(), &answers, Cuts::Whole, Cuts::Whole);
    let content = content(&out).unwrap();
    assert_eq!((content.output.as_str(), content.omitted), ("", ""));
    assert!(content.input.contains("Hello"));
}
