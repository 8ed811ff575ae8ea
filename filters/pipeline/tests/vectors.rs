//! The two machines, driven natively: what goes in and comes out, whatever the cuts.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::type_complexity,
    reason = "a test may panic"
)]

mod drive;

use std::collections::BTreeMap;

use drive::{Answer, Cuts, Gateway, Outcome};
use weir_config::filter;
use weir_pipeline::span::Counted;

const CONFIG: &str = r#"{
  "version": "7", "max_body": 100000, "headers": "ids",
  "identity": {"from": [{"header": "authorization", "scheme": "bearer"}, {"header": "x-api-key"}]},
  "client_labels": ["workflow"],
  "tenants": [
    {"name": "acme", "models": ["fast", "far", "auto"], "labels": {"team": "support"},
     "keys": [{"id": "web", "sha256": "2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683"},
              {"id": "old", "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "expires": 1600000000}]}],
  "providers": [{"name": "gpu", "kind": "vllm", "region": "here", "cluster": "weir-gpu"},
                {"name": "aws", "kind": "bedrock", "region": "us-east-1", "cluster": "weir-aws"}],
  "models": [
    {"name": "fast", "aliases": ["gpt-4o-mini"], "targets": [
      {"provider": "gpu", "model": "fast", "weight": 1, "tokenizer": "o200k_base", "context": 8000, "supports": ["tools", "images"],
       "price": {"input_pico": 30000, "output_pico": 120000}},
      {"provider": "aws", "model": "us.amazon.nova-lite-v1:0", "priority": 1, "weight": 1, "tokenizer": "o200k_base", "context": 8000, "supports": ["tools", "images"],
       "price": {"input_pico": 60000, "output_pico": 240000}}]},
    {"name": "far", "targets": [
      {"provider": "gpu", "model": "org/far-model", "weight": 1, "tokenizer": "o200k_base", "context": 8000, "supports": []}]}],
  "routes": [{"name": "auto", "when": {"model": ["auto"]}, "model": "fast"}],
  "retry": {"tries": 2, "on": ["connect", "reset", "429", "5xx"]}
}"#;

fn gateway(change: impl FnOnce(&mut filter::Exchange)) -> Gateway {
    let mut config: filter::Exchange = serde_json::from_str(CONFIG).unwrap();
    change(&mut config);
    Gateway::of(config)
}

fn headers<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut out = vec![
        (":method", "POST"),
        (":path", "/v1/chat/completions"),
        (":scheme", "http"),
        (":authority", "llm.test"),
        ("content-type", "application/json"),
        ("authorization", "Bearer key"),
    ];
    for (name, value) in more {
        out.retain(|(n, _)| n != name);
        if !value.is_empty() {
            out.push((name, value));
        }
    }
    out
}

fn json_answer(body: &str) -> Answer {
    Answer {
        status: 200,
        headers: vec![("content-type".into(), "application/json".into())],
        body: body.as_bytes().to_vec(),
    }
}

fn stream_answer(events: &[&str]) -> Answer {
    let mut body = String::new();
    for e in events {
        body.push_str("data: ");
        body.push_str(e);
        body.push_str("\n\n");
    }
    Answer {
        status: 200,
        headers: vec![("content-type".into(), "text/event-stream; charset=utf-8".into())],
        body: body.into_bytes(),
    }
}

fn failing(status: u16) -> Answer {
    Answer {
        status,
        headers: vec![("content-type".into(), "application/json".into())],
        body: br#"{"error":{"message":"no","type":"server_error","param":null,"code":500}}"#.to_vec(),
    }
}

const PLAIN: &str =
    r#"{"model": "fast",  "messages":[{"role":"user","content":"Say h\u00e9llo, \ud83d\ude00 please"}] }"#;
const ANSWER: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","model":"fast","choices":[{"index":0,"message":{"role":"assistant","content":"Héllo"},"finish_reason":"stop"}],"usage":{"prompt_tokens":14,"completion_tokens":3,"total_tokens":17}}"#;

fn events() -> Vec<&'static str> {
    vec![
        r#"{"id":"chatcmpl-1","model":"fast","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#,
        r#"{"id":"chatcmpl-1","model":"fast","choices":[{"index":0,"delta":{"content":"Hé"},"finish_reason":null}]}"#,
        r#"{"id":"chatcmpl-1","model":"fast","choices":[{"index":0,"delta":{"content":"llo 世界"},"finish_reason":"stop"}]}"#,
        "[DONE]",
    ]
}

fn code(outcome: &Outcome) -> String {
    let body: serde_json::Value =
        serde_json::from_slice(&outcome.body).unwrap_or_else(|e| panic!("{e}: {:?}", outcome.body));
    assert!(body["error"]["message"].as_str().is_some_and(|m| !m.is_empty()), "{body}");
    format!("{} {}", outcome.status, body["error"]["code"].as_str().unwrap_or("?"))
}

#[test]
fn what_needs_no_change_passes_byte_identical_both_ways_at_every_cut() {
    let gateway = gateway(|_| {});
    for at in 0..=PLAIN.len().max(ANSWER.len()) {
        let out =
            gateway.run(&headers(&[]), PLAIN.as_bytes(), &[json_answer(ANSWER)], Cuts::At(at), Cuts::At(at));
        assert_eq!((out.status, out.sent.len()), (200, 1));
        assert_eq!(out.sent[0].2, PLAIN.as_bytes(), "request cut at {at}");
        assert_eq!(out.body, ANSWER.as_bytes(), "answer cut at {at}");
        let span = out.span.unwrap();
        assert_eq!((span.usage.input, span.usage.output, span.counted), (14, 3, Counted::Provider));
        assert_eq!(span.cost_nano, Some((14 * 30_000 + 3 * 120_000u64).div_ceil(1000)));
        assert_eq!(span.finish_reasons, ["stop"]);
    }
}

#[test]
fn a_stream_passes_byte_identical_and_is_counted_alike_at_every_cut() {
    let gateway = gateway(|_| {});
    let answer = stream_answer(&events());
    let body = PLAIN.replace(r#""fast","#, r#""fast","stream":true,"#);
    let whole =
        gateway.run(&headers(&[]), body.as_bytes(), std::slice::from_ref(&answer), Cuts::Whole, Cuts::Whole);
    assert_eq!(whole.body, answer.body);
    let span = whole.span.unwrap();
    assert_eq!(
        (span.counted, span.usage.output),
        (Counted::Here, 4),
        "Hé llo 世 界 are four tokens of o200k_base"
    );
    assert!(span.error.is_none());
    for at in 1..answer.body.len() {
        let out = gateway.run(
            &headers(&[]),
            body.as_bytes(),
            std::slice::from_ref(&answer),
            Cuts::Whole,
            Cuts::At(at),
        );
        assert_eq!(out.body, answer.body, "cut at {at}");
        let again = out.span.unwrap();
        assert_eq!(
            (again.usage, again.counted, &again.finish_reasons),
            (span.usage, span.counted, &span.finish_reasons)
        );
    }
}

#[test]
fn an_alias_changes_exactly_the_models_bytes() {
    let gateway = gateway(|_| {});
    let body = PLAIN.replace("\"fast\"", "\"far\"");
    let out = gateway.run(&headers(&[]), body.as_bytes(), &[json_answer(ANSWER)], Cuts::Whole, Cuts::Whole);
    assert_eq!(out.sent[0].2, body.replace("\"far\"", "\"org/far-model\"").as_bytes());
    let length = out.sent[0].1.iter().find(|(k, _)| k == "content-length").map(|(_, v)| v.clone());
    assert_eq!(length, Some(out.sent[0].2.len().to_string()));
}

#[test]
fn no_header_of_the_client_reaches_a_provider_but_what_weir_writes() {
    let gateway = gateway(|_| {});
    let spoofed = [
        ("x-weir-plan", "x"),
        ("x-envoy-attempt-count", "1"),
        ("x-envoy-max-retries", "99"),
        ("x-api-key", "other"),
        ("cookie", "secret"),
        ("openai-organization", "org"),
        ("accept-encoding", "gzip"),
    ];
    let out = gateway.run(
        &headers(&spoofed),
        PLAIN.as_bytes(),
        &[failing(503), failing(503)],
        Cuts::Whole,
        Cuts::Whole,
    );
    assert_eq!(out.sent.len(), 2, "both targets were tried");
    let allowed = [
        ":method",
        ":scheme",
        ":authority",
        ":path",
        "content-type",
        "content-length",
        "accept",
        "user-agent",
        "x-request-id",
        "traceparent",
        "authorization",
    ];
    for (provider, fields, _) in &out.sent {
        let name = provider.trim_start_matches("weir-");
        for (k, v) in fields {
            assert!(allowed.contains(&k.as_str()), "{k} reached {provider}");
            assert!(!v.contains("key") && !v.contains("secret"), "{k}: {v}");
        }
        let authorization = fields.iter().find(|(k, _)| k == "authorization").map(|(_, v)| v.as_str());
        assert_eq!(authorization, Some(format!("granted-to-{name}").as_str()));
    }
}

#[test]
fn a_failing_provider_is_followed_by_the_next_in_its_own_dialect() {
    let gateway = gateway(|_| {});
    let converse = json_answer(
        r#"{"output":{"message":{"role":"assistant","content":[{"text":"Hi"}]}},"stopReason":"end_turn","usage":{"inputTokens":9,"outputTokens":2,"totalTokens":11},"metrics":{"latencyMs":5}}"#,
    );
    for at in 0..150 {
        let out = gateway.run(
            &headers(&[]),
            PLAIN.as_bytes(),
            &[failing(503), converse.clone()],
            Cuts::Whole,
            Cuts::At(at),
        );
        assert_eq!(out.status, 200);
        let sent: serde_json::Value = serde_json::from_slice(&out.sent[1].2).unwrap();
        assert_eq!(sent["messages"][0]["content"][0]["text"], "Say héllo, 😀 please");
        let path = out.sent[1].1.iter().find(|(k, _)| k == ":path").map(|(_, v)| v.as_str());
        assert_eq!(path, Some("/model/us.amazon.nova-lite-v1%3A0/converse"));
        let body: serde_json::Value = serde_json::from_slice(&out.body).unwrap();
        assert_eq!(body["choices"][0]["message"]["content"], "Hi");
        assert_eq!(body["usage"]["total_tokens"], 11);
        assert_eq!(body["model"], "fast");
        let span = out.span.unwrap();
        assert_eq!((span.target.as_str(), span.provider.as_str(), span.attempts), ("aws", "aws.bedrock", 2));
        assert_eq!((span.usage.input, span.usage.output), (9, 2));
    }
}

#[test]
fn a_first_event_that_is_an_error_fails_over_and_a_later_one_does_not() {
    let gateway = gateway(|c| c.models[0].targets[1].provider = "gpu".into());
    let body = PLAIN.replace(r#""fast","#, r#""fast","stream":true,"#);
    let bad = stream_answer(&[
        r#"{"error":{"message":"overloaded","type":"server_error","param":null,"code":503}}"#,
    ]);
    let good = stream_answer(&events());
    for at in 0..bad.body.len() {
        let out = gateway.run(
            &headers(&[]),
            body.as_bytes(),
            &[bad.clone(), good.clone()],
            Cuts::Whole,
            Cuts::At(at),
        );
        assert_eq!((out.status, out.sent.len()), (200, 2), "cut at {at}");
        assert_eq!(out.body, good.body);
    }
    let mut late = events();
    late.insert(2, r#"{"error":{"message":"overloaded","type":"server_error","param":null,"code":503}}"#);
    let late = stream_answer(&late[..3]);
    let out = gateway.run(&headers(&[]), body.as_bytes(), &[late.clone(), good], Cuts::Whole, Cuts::Every(7));
    assert_eq!((out.status, out.sent.len()), (200, 1));
    assert_eq!(out.body, late.body);
    assert!(out.span.unwrap().error.is_some());
}

#[test]
fn bad_requests_are_refused_in_the_clients_dialect_and_nothing_is_sent() {
    let gateway = gateway(|_| {});
    let deep = "[".repeat(100_000);
    let big =
        format!(r#"{{"model":"fast","messages":[{{"role":"user","content":"{}"}}]}}"#, "a".repeat(100_001));
    let cases: Vec<(&str, Vec<(&str, &str)>, &[u8])> = vec![
        ("401 missing_api_key", vec![("authorization", "")], PLAIN.as_bytes()),
        ("401 invalid_api_key", vec![("authorization", "Bearer nope")], PLAIN.as_bytes()),
        ("401 invalid_api_key", vec![("authorization", "Basic key")], PLAIN.as_bytes()),
        ("401 expired_api_key", vec![("authorization", "Bearer test")], PLAIN.as_bytes()),
        ("400 invalid_json", vec![], b"{\"model\":"),
        ("400 invalid_json", vec![], deep.as_bytes()),
        (
            "400 invalid_json",
            vec![],
            b"{\"model\":\"fast\",\"messages\":[{\"role\":\"user\",\"content\":\"\xff\"}]}",
        ),
        ("400 invalid_json", vec![], b"\xef\xbb\xbf{}"),
        ("400 invalid_json", vec![], br#"{"model":"fast","model":"far","messages":[]}"#),
        ("400 invalid_json", vec![], br#"{"model":"fast","messages":[{"role":"user","content":"\ud800"}]}"#),
        ("400 missing_required_parameter", vec![], br#"{"messages":[{"role":"user","content":"x"}]}"#),
        ("400 invalid_value", vec![], br#"{"model":7,"messages":[{"role":"user","content":"x"}]}"#),
        ("404 model_not_found", vec![], br#"{"model":"nope","messages":[{"role":"user","content":"x"}]}"#),
        ("400 empty_body", vec![], b""),
        ("415 unsupported_content_encoding", vec![("content-encoding", "gzip")], PLAIN.as_bytes()),
        ("415 unsupported_media_type", vec![("content-type", "")], PLAIN.as_bytes()),
        ("415 unsupported_media_type", vec![("content-type", "text/plain")], PLAIN.as_bytes()),
        ("413 request_too_large", vec![], big.as_bytes()),
        ("413 request_too_large", vec![("content-length", "100001")], PLAIN.as_bytes()),
        ("400 upgrade_not_supported", vec![("upgrade", "websocket")], PLAIN.as_bytes()),
        ("404 unknown_path", vec![(":path", "/v1/files")], PLAIN.as_bytes()),
        ("404 unknown_path", vec![(":path", "/healthz")], PLAIN.as_bytes()),
        ("405 method_not_allowed", vec![(":method", "GET")], b""),
    ];
    for (expected, more, body) in cases {
        let out = gateway.run(&headers(&more), body, &[], Cuts::Every(997), Cuts::Whole);
        assert_eq!(
            code(&out),
            expected,
            "{more:?} {:?}",
            String::from_utf8_lossy(&body[..body.len().min(80)])
        );
        assert!(out.sent.is_empty());
    }
    let twice: Vec<_> = headers(&[]).into_iter().chain([("authorization", "Bearer test")]).collect();
    assert_eq!(
        code(&gateway.run(&twice, PLAIN.as_bytes(), &[], Cuts::Whole, Cuts::Whole)),
        "401 multiple_api_keys"
    );
}

#[test]
fn without_a_policy_every_request_is_503() {
    let gateway =
        Gateway { policy: None, attempts: BTreeMap::new(), ledger: Default::default(), roomy: false };
    let out = gateway.run(&headers(&[]), PLAIN.as_bytes(), &[], Cuts::Whole, Cuts::Whole);
    assert_eq!(code(&out), "503 no_policy");
}

#[test]
fn a_value_is_hidden_from_the_provider_and_comes_back_at_every_cut() {
    let gateway = gateway(|c| {
        c.redaction = vec![filter::Redaction {
            name: "default".into(),
            find: vec!["email".into(), "us_ssn".into()],
            action: filter::Action::Tokenize,
            request: true,
            ..filter::Redaction::default()
        }];
    });
    let mail = "jane.doe+x@example.org";
    let body = format!(
        r#"{{"model":"fast","stream":true,"messages":[{{"role":"user","content":"Write to {mail} or 536-90-4399 \u00e9"}}]}}"#
    );
    // The echo comes in pieces that cut the placeholder everywhere.
    let probe =
        gateway.run(&headers(&[]), body.as_bytes(), &[stream_answer(&events())], Cuts::Whole, Cuts::Whole);
    let sent: serde_json::Value = serde_json::from_slice(&probe.sent[0].2).unwrap();
    let hidden = sent["messages"][0]["content"].as_str().unwrap().to_owned();
    assert!(!hidden.contains("jane") && !hidden.contains("4399") && hidden.ends_with('é'), "{hidden}");
    for size in 1..=hidden.chars().count() {
        let chars: Vec<char> = hidden.chars().collect();
        let pieces: Vec<String> = chars
            .chunks(size)
            .map(|p| serde_json::json!({"id": "1", "choices": [{"index": 0, "delta": {"content": p.iter().collect::<String>()}, "finish_reason": null}]}).to_string())
            .chain([r#"{"id":"1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#.to_owned(), "[DONE]".to_owned()])
            .collect();
        let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
        for cut in [1, 13, 4096] {
            let out = gateway.run(
                &headers(&[]),
                body.as_bytes(),
                &[stream_answer(&pieces)],
                Cuts::Whole,
                Cuts::Every(cut),
            );
            assert_eq!(
                text_of(&out.body),
                format!("Write to {mail} or 536-90-4399 é"),
                "pieces of {size}, cut every {cut}"
            );
            assert!(out.body.ends_with(b"data: [DONE]\n\n"));
        }
    }
}

fn text_of(stream: &[u8]) -> String {
    let mut text = String::new();
    for line in std::str::from_utf8(stream).unwrap().lines() {
        let Some(data) = line.strip_prefix("data: ") else { continue };
        if data != "[DONE]" {
            let chunk: serde_json::Value = serde_json::from_str(data).unwrap();
            text.push_str(chunk["choices"][0]["delta"]["content"].as_str().unwrap_or_default());
        }
    }
    text
}

#[test]
fn under_a_budget_a_ceiling_is_sent_usage_is_asked_and_hidden_and_the_rest_is_given_back() {
    let gateway = gateway(|c| {
        c.ledger = Some(filter::Ledger { cluster: "weir-ledger".into() });
        c.budgets = vec![filter::Budget {
            name: "b".into(),
            tokens: Some(1000),
            usd_nano: Some(1_000_000),
            window: "day".into(),
            definition: "00000000000000ab".into(),
            ..filter::Budget::default()
        }];
    });
    let body = PLAIN.replace(r#""fast","#, r#""fast","stream":true,"#);
    let mut told = events();
    told.insert(3, r#"{"id":"chatcmpl-1","model":"fast","choices":[],"usage":{"prompt_tokens":14,"completion_tokens":4,"total_tokens":18}}"#);
    for cut in [1, 2, 3, 50, 10_000] {
        let out = gateway.run(
            &headers(&[]),
            body.as_bytes(),
            &[stream_answer(&told)],
            Cuts::Whole,
            Cuts::Every(cut),
        );
        let sent: serde_json::Value = serde_json::from_slice(&out.sent[0].2).unwrap();
        assert_eq!(sent["max_completion_tokens"], 4096);
        assert_eq!(sent["stream_options"]["include_usage"], true);
        assert_eq!(out.body, stream_answer(&events()).body, "the usage chunk is ours, not the client's");
        assert_eq!(out.reserved, 1);
        assert_eq!(out.settled, [vec![18, (14 * 30_000 + 4 * 120_000u64).div_ceil(1000)]]);
    }
}

#[test]
fn clients_that_ask_what_they_may_use_are_told() {
    let gateway = gateway(|_| {});
    let out = gateway.run(
        &headers(&[(":method", "GET"), (":path", "/v1/models")]),
        b"",
        &[],
        Cuts::Whole,
        Cuts::Whole,
    );
    let body: serde_json::Value = serde_json::from_slice(&out.body).unwrap();
    let ids: Vec<&str> = body["data"].as_array().unwrap().iter().filter_map(|m| m["id"].as_str()).collect();
    assert_eq!(ids, ["fast", "gpt-4o-mini", "far", "auto"]);
}

#[test]
fn an_answer_that_says_what_is_blocked_ends_as_filtered_at_every_cut() {
    let gateway = gateway(|c| {
        c.redaction = vec![filter::Redaction {
            name: "house".into(),
            words: vec!["Project Bluebird".into()],
            action: filter::Action::Block,
            response: true,
            ..filter::Redaction::default()
        }];
    });
    let said = ["Well, ", "Proj", "ect Blue", "bird is late", " and so on"];
    let mut events: Vec<String> = said
        .iter()
        .map(|t| serde_json::json!({"id": "1", "model": "m", "choices": [{"index": 0, "delta": {"content": t}, "finish_reason": null}]}).to_string())
        .collect();
    events.push(r#"{"id":"1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":9,"total_tokens":14}}"#.to_owned());
    events.push("[DONE]".to_owned());
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    let answer = stream_answer(&events);
    let body = PLAIN.replace(r#""fast","#, r#""fast","stream":true,"#);
    for at in 0..answer.body.len() {
        let out = gateway.run(
            &headers(&[]),
            body.as_bytes(),
            std::slice::from_ref(&answer),
            Cuts::Whole,
            Cuts::At(at),
        );
        let told = String::from_utf8(out.body.clone()).unwrap();
        assert!(
            !told.contains("Proj") && !told.contains("ird") && !told.contains("so on"),
            "cut at {at}: {told}"
        );
        assert_eq!(text_of(&out.body), "Well, ", "cut at {at}");
        assert!(
            told.contains("\"finish_reason\":\"content_filter\"") && told.ends_with("data: [DONE]\n\n"),
            "{told}"
        );
        let span = out.span.unwrap();
        assert_eq!((span.error.as_deref(), span.usage.output), (Some("content_blocked"), 9));
    }
    let whole = ANSWER.replace("Héllo", "It is project bluebird.");
    let out =
        gateway.run(&headers(&[]), PLAIN.as_bytes(), &[json_answer(&whole)], Cuts::Whole, Cuts::Every(11));
    let told: serde_json::Value = serde_json::from_slice(&out.body).unwrap();
    assert_eq!(told["choices"][0]["message"]["content"], "");
    assert_eq!(told["choices"][0]["finish_reason"], "content_filter");
}
