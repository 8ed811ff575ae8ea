//! Anthropic's clients and providers through the two machines: what passes is changed in its texts alone, thoughts
//! never, and whatever breaks is told in the client's own dialect.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::type_complexity,
    dead_code,
    reason = "a test may panic, and uses a part of the host in miniature"
)]

mod drive;

use drive::world::{MAIL, answer, model, policy, read, redaction, sent_body};
use drive::{Answer, Cuts, Gateway, Outcome};
use serde_json::{Value, json};

/// Three providers, a model on each, one tenant; `change` may add redaction and budgets.
fn gateway(change: impl FnOnce(&mut Value)) -> Gateway {
    let models = ["claude", "gpu", "aws"].map(|name| model(name, name, &format!("{name}/m")));
    let mut config = policy(&[("claude", "anthropic"), ("gpu", "vllm"), ("aws", "bedrock")], &models);
    change(&mut config);
    Gateway::of_json(config)
}

fn headers(path: &str) -> Vec<(&str, &str)> {
    let own = [("x-api-key", "key"), ("anthropic-version", "2026-10-21"), ("anthropic-beta", "one,two")];
    drive::world::headers(path, &own)
}

/// A stream of named events.
fn stream(events: &[Value]) -> Vec<u8> {
    let mut out = String::new();
    for event in events {
        out.push_str(&format!("event: {}\ndata: {event} \n\n", event["type"].as_str().unwrap()));
    }
    out.into_bytes()
}

fn message_start() -> Value {
    let usage = json!({"input_tokens": 10, "cache_read_input_tokens": 90, "output_tokens": 1});
    json!({"type": "message_start", "message": {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude/m", "content": [],
        "stop_reason": null, "stop_sequence": null, "usage": usage,
    }})
}

fn block(index: u32, block: Value, deltas: &[Value]) -> Vec<Value> {
    let mut events = vec![json!({"type": "content_block_start", "index": index, "content_block": block})];
    events.extend(deltas.iter().map(|d| json!({"type": "content_block_delta", "index": index, "delta": d})));
    events.push(json!({"type": "content_block_stop", "index": index}));
    events
}

fn text(index: u32, pieces: &[&str]) -> Vec<Value> {
    let deltas: Vec<Value> = pieces.iter().map(|t| json!({"type": "text_delta", "text": t})).collect();
    block(index, json!({"type": "text", "text": ""}), &deltas)
}

fn end(reason: &str) -> Vec<Value> {
    let delta = json!({"stop_reason": reason, "stop_sequence": null});
    vec![
        json!({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 25}}),
        json!({"type": "message_stop"}),
    ]
}

/// Events of a body: name and payload, which must agree.
fn events(body: &[u8]) -> Vec<Value> {
    let text = String::from_utf8(body.to_vec()).unwrap();
    let mut events = Vec::new();
    for event in text.split_terminator("\n\n") {
        let (name, data) = event.split_once("\ndata: ").unwrap();
        let data: Value = serde_json::from_str(data).unwrap();
        assert_eq!(Some(data["type"].as_str().unwrap()), name.strip_prefix("event: "), "{event}");
        events.push(data);
    }
    events
}

/// What the deltas of a block say.
fn said(events: &[Value], index: u64, key: &str) -> String {
    let of = events.iter().filter(|e| e["type"] == "content_block_delta" && e["index"] == index);
    of.filter_map(|e| e["delta"][key].as_str()).collect()
}

fn error(outcome: &Outcome) -> (u16, String, String) {
    let body = read(&outcome.body);
    assert_eq!(body["type"], "error", "{body}");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (outcome.status, text(&body["error"]["type"]), text(&body["error"]["details"]["error_code"]))
}

const ASK: &str = r#"{"model":"claude","max_tokens":50,"messages":[{"role":"user","content":"h\u00e9llo"}]}"#;

#[test]
fn the_same_dialect_passes_byte_identical_but_for_the_models_name() {
    let gateway = gateway(|_| ());
    let mut all = vec![message_start()];
    all.extend(text(0, &["He", "llo 世界"]));
    all.extend(end("end_turn"));
    let body = stream(&all);
    let ask = ASK.replace("50", "50,\"stream\":true");
    for at in 0..=body.len() {
        let sse = answer(200, "text/event-stream; charset=utf-8", body.clone());
        let out = gateway.run(&headers("/v1/messages"), ask.as_bytes(), &[sse], Cuts::At(at), Cuts::At(at));
        assert_eq!(out.body, body, "cut at {at}");
        assert_eq!(String::from_utf8_lossy(&out.sent[0].2), ask.replace("\"claude\"", "\"claude/m\""));
        let span = out.span.unwrap();
        assert_eq!((span.usage.input, span.usage.cache_read, span.usage.output), (100, 90, 25));
        assert_eq!(
            (span.response_id.as_str(), span.finish_reasons.as_slice()),
            ("msg_1", &["end_turn".to_owned()][..])
        );
    }
    let sent = answer(200, "application/json", "{}");
    let out =
        gateway.run(&headers("/v1/messages?beta=true"), ASK.as_bytes(), &[sent], Cuts::Whole, Cuts::Whole);
    let header = |name: &str| out.sent[0].1.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    assert_eq!(header("x-api-key"), Some("granted-to-claude"));
    assert_eq!((header("authorization"), header(":path")), (None, Some("/v1/messages")));
    assert_eq!(
        (header("anthropic-version"), header("anthropic-beta")),
        (Some("2026-10-21"), Some("one,two"))
    );
}

#[test]
fn values_are_hidden_in_every_text_and_restored_at_every_cut_but_thoughts_stay_as_they_are() {
    let gateway = gateway(|config| config["redaction"] = redaction("tokenize", true, false));
    let ask = json!({
        "model": "claude", "max_tokens": 50, "stream": true,
        "system": [{"type": "text", "text": format!("Serve {MAIL}.")}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": format!("I am {MAIL}")}]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": format!("the mail is {MAIL}"), "signature": "c2ln"},
                {"type": "tool_use", "id": "t1", "name": "f", "input": {"deep": [{"to": MAIL}]}},
            ]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": format!("sent to {MAIL}")}]},
        ],
        "tools": [{"name": "f", "input_schema": {"type": "object"}}],
    });
    let body = ask.to_string();
    let placeholder = {
        let sse = answer(200, "text/event-stream", stream(&[message_start()]));
        let out = gateway.run(&headers("/v1/messages"), body.as_bytes(), &[sse], Cuts::Whole, Cuts::Whole);
        let sent = sent_body(&out);
        let mut expected = ask.clone();
        let system = sent["system"][0]["text"].as_str().unwrap();
        let placeholder = system.strip_prefix("Serve ").unwrap().strip_suffix('.').unwrap().to_owned();
        let hidden = |text: &str| json!(text.replace(MAIL, &placeholder));
        expected["model"] = json!("claude/m");
        expected["system"][0]["text"] = json!(system);
        expected["messages"][0]["content"][0]["text"] = hidden(&format!("I am {MAIL}"));
        expected["messages"][1]["content"][1]["input"]["deep"][0]["to"] = hidden(MAIL);
        expected["messages"][2]["content"][0]["content"] = hidden(&format!("sent to {MAIL}"));
        // All but the thought, which its signature covers.
        assert_eq!(sent, expected);
        placeholder
    };
    let (a, b) = placeholder.split_at(placeholder.len() / 2);
    let thought = [
        json!({"type": "thinking_delta", "thinking": format!("about {placeholder}")}),
        json!({"type": "signature_delta", "signature": "sig"}),
    ];
    let arguments = [
        json!({"type": "input_json_delta", "partial_json": format!("{{\"to\":\"{a}")}),
        json!({"type": "input_json_delta", "partial_json": format!("{b}\"}}")}),
    ];
    let mut all = vec![message_start()];
    all.extend(block(0, json!({"type": "thinking", "thinking": "", "signature": ""}), &thought));
    all.extend(text(1, &["To ", a, b]));
    all.extend(block(2, json!({"type": "tool_use", "id": "t", "name": "f", "input": {}}), &arguments));
    all.extend(end("tool_use"));
    let answered = stream(&all);
    for at in 0..=answered.len() {
        let sse = answer(200, "text/event-stream", answered.clone());
        let out = gateway.run(&headers("/v1/messages"), body.as_bytes(), &[sse], Cuts::Whole, Cuts::At(at));
        let events = events(&out.body);
        assert_eq!(said(&events, 0, "thinking"), format!("about {placeholder}"), "cut at {at}");
        assert_eq!(said(&events, 0, "signature"), "sig");
        assert_eq!(said(&events, 1, "text"), format!("To {MAIL}"), "cut at {at}");
        assert_eq!(said(&events, 2, "partial_json"), format!("{{\"to\":\"{MAIL}\"}}"), "cut at {at}");
        // What was held back comes before its block's end.
        let kinds: Vec<&str> = events.iter().map(|e| e["type"].as_str().unwrap()).collect();
        assert_eq!(kinds.last(), Some(&"message_stop"));
        let stop = events.iter().position(|e| e["type"] == "content_block_stop" && e["index"] == 1).unwrap();
        assert_eq!(said(&events[..stop], 1, "text"), format!("To {MAIL}"));
    }
    // Whole, too.
    let whole = json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "tool_use",
        "stop_sequence": null, "usage": {"input_tokens": 1, "output_tokens": 2},
        "content": [
            {"type": "thinking", "thinking": format!("about {placeholder}"), "signature": "sig"},
            {"type": "text", "text": format!("To {placeholder}")},
            {"type": "tool_use", "id": "t", "name": "f", "input": {"to": [placeholder]}},
        ],
    });
    let ask = body.replace("\"stream\":true", "\"stream\":false");
    let json = answer(200, "application/json", whole.to_string());
    let out = gateway.run(&headers("/v1/messages"), ask.as_bytes(), &[json], Cuts::Whole, Cuts::Whole);
    let got = read(&out.body);
    let mut expected = whole.clone();
    expected["content"][1]["text"] = json!(format!("To {MAIL}"));
    expected["content"][2]["input"]["to"][0] = json!(MAIL);
    assert_eq!(got, expected);
}

#[test]
fn an_answer_that_is_blocked_ends_as_a_refusal_of_the_model_at_every_cut() {
    let gateway = gateway(|config| config["redaction"] = redaction("block", false, true));
    let mut all = vec![message_start()];
    all.extend(text(0, &["Write to ", "jane.doe", "+x@example.org", " soon, and then rest."]));
    all.extend(text(1, &["More."]));
    all.extend(end("end_turn"));
    let body = stream(&all);
    let ask = ASK.replace("50", "50,\"stream\":true");
    for at in 0..=body.len() {
        let sse = answer(200, "text/event-stream", body.clone());
        let out = gateway.run(&headers("/v1/messages"), ask.as_bytes(), &[sse], Cuts::Whole, Cuts::At(at));
        let events = events(&out.body);
        assert!(!String::from_utf8_lossy(&out.body).contains("jane"), "cut at {at}");
        let kinds: Vec<&str> = events.iter().map(|e| e["type"].as_str().unwrap()).collect();
        assert_eq!(kinds[..2], ["message_start", "content_block_start"]);
        assert_eq!(kinds[kinds.len() - 3..], ["content_block_stop", "message_delta", "message_stop"]);
        assert_eq!(kinds.iter().filter(|kind| **kind == "content_block_stop").count(), 1);
        assert_eq!(events[events.len() - 2]["delta"]["stop_reason"], "refusal");
        let span = out.span.unwrap();
        assert_eq!((span.error.as_deref(), span.usage.output), (Some("content_blocked"), 25));
    }
    let whole = r#"{"id":"m","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"jane.doe+x@example.org"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":2}}"#;
    let json = answer(200, "application/json", whole);
    let out = gateway.run(&headers("/v1/messages"), ASK.as_bytes(), &[json], Cuts::Whole, Cuts::Whole);
    let got = read(&out.body);
    assert_eq!((&got["stop_reason"], &got["content"][0]["text"]), (&json!("refusal"), &json!("")));
}

#[test]
fn a_stream_that_ends_before_its_bill_is_presumed_spent_in_full() {
    let budget = json!([{
        "name": "b", "tokens": 1_000_000, "window": "day", "definition": "0123456789abcdef",
    }]);
    let gateway = gateway(|config| {
        config["budgets"] = budget;
        config["ledger"] = json!({"cluster": "weir-ledger"});
    });
    let mut all = vec![message_start()];
    all.extend(text(0, &["Hello"]));
    all.extend(end("end_turn"));
    let whole = stream(&all);
    let billed = String::from_utf8_lossy(&whole).find("event: message_delta").unwrap();
    let ask = ASK.replace("50", "500,\"stream\":true");
    let mut settled = Vec::new();
    for end in [whole.len(), billed] {
        let sse = answer(200, "text/event-stream", whole[..end].to_vec());
        let out = gateway.run(&headers("/v1/messages"), ask.as_bytes(), &[sse], Cuts::Whole, Cuts::Every(7));
        settled.push(out.settled.last().unwrap()[0]);
    }
    // The first event's usage, with one token of output, is no bill.
    assert_eq!(settled[0], 125);
    assert!(settled[1] > 500, "{settled:?}");
}

#[test]
fn refusals_are_in_anthropics_shape_wherever_they_come_from() {
    let gateway = gateway(|_| ());
    let run = |headers: &[(&str, &str)], body: &str, answers: &[Answer]| {
        gateway.run(headers, body.as_bytes(), answers, Cuts::Whole, Cuts::Whole)
    };
    let path = |path| headers(path);
    let mut stranger = path("/v1/messages");
    stranger.retain(|(name, _)| *name != "x-api-key");
    stranger.push(("x-api-key", "nobody"));
    let out = run(&stranger, ASK, &[]);
    assert_eq!(error(&out), (401, "authentication_error".into(), "invalid_api_key".into()));
    assert_eq!(out.headers["x-should-retry"], "false");
    assert!(out.headers["request-id"].starts_with("req_"));
    for (at, body, expected) in [
        ("/v1/messages/batches", ASK, (404, "not_found_error", "unknown_path")),
        ("/anthropic/v1/messages", ASK, (404, "not_found_error", "unknown_path")),
        ("/v1/messages", "{", (400, "invalid_request_error", "invalid_json")),
        (
            "/v1/messages",
            r#"{"model":"claude","messages":[{"role":"user","content":"x"}]}"#,
            (400, "invalid_request_error", "missing_required_parameter"),
        ),
        (
            "/v1/messages",
            r#"{"model":"none","max_tokens":5,"messages":[{"role":"user","content":"x"}]}"#,
            (404, "not_found_error", "model_not_found"),
        ),
        // What the target's dialect cannot carry.
        (
            "/v1/messages",
            r#"{"model":"gpu","max_tokens":5,"messages":[{"role":"user","content":"x"}],"tools":[{"type":"web_search_20250305","name":"web_search"}]}"#,
            (400, "invalid_request_error", "unsupported_value"),
        ),
        (
            "/v1/messages",
            r#"{"model":"gpu","max_tokens":5,"messages":[{"role":"user","content":"x"}],"mcp_servers":[{"type":"url","url":"https://e"}]}"#,
            (400, "invalid_request_error", "unsupported_value"),
        ),
        (
            "/v1/messages/count_tokens",
            r#"{"model":"aws","messages":[{"role":"user","content":"x"}]}"#,
            (400, "invalid_request_error", "unsupported_feature"),
        ),
    ] {
        let out = run(&path(at), body, &[answer(200, "application/json", "{}")]);
        let (status, kind, code) = error(&out);
        assert_eq!((status, kind.as_str(), code.as_str()), expected, "{at} {body}");
        assert_eq!(out.headers.get("x-should-retry").map(String::as_str).unwrap_or("false"), "false");
    }
    // A provider's error, from another dialect and from its own.
    let ask = |model: &str| ASK.replace("claude", model);
    let mut throttled = answer(429, "application/json", r#"{"message":"Too many tokens"}"#);
    throttled.headers.push(("x-amzn-errortype".into(), "ThrottlingException".into()));
    assert_eq!(error(&run(&path("/v1/messages"), &ask("aws"), &[throttled])).1, "rate_limit_error");
    let busy = answer(503, "application/json", r#"{"error":{"message":"busy","type":"server_error"}}"#);
    assert_eq!(error(&run(&path("/v1/messages"), &ask("gpu"), &[busy])).1, "overloaded_error");
    let own =
        r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"r"}"#;
    let out = run(&path("/v1/messages"), ASK, &[answer(529, "application/json", own)]);
    assert_eq!((out.status, out.body.as_slice()), (529, own.as_bytes()));
}

#[test]
fn a_conversation_is_carried_to_vllm_and_its_stream_back_at_every_cut() {
    let gateway = gateway(|_| ());
    let ask = json!({
        "model": "gpu", "max_tokens": 50, "stream": true, "system": "Be brief.", "stop_sequences": ["END"],
        "messages": [
            {"role": "user", "content": "Weather?"},
            {"role": "assistant", "content": [
                {"type": "text", "text": "Let me see."},
                {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}},
                {"type": "tool_use", "id": "b", "name": "f", "input": {}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": "sun"}]},
                {"type": "tool_result", "tool_use_id": "b", "content": "rain", "is_error": true},
                {"type": "text", "text": "And now?"},
            ]},
        ],
        "tools": [{"name": "f", "description": "F.", "input_schema": {"type": "object"}}],
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": true},
        "metadata": {"user_id": "u"},
    });
    let chunks = [
        r#"{"id":"c","model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#,
        r#"{"id":"c","model":"m","choices":[{"index":0,"delta":{"reasoning_content":"hm"},"finish_reason":null}]}"#,
        r#"{"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"Hé"},"finish_reason":null}]}"#,
        r#"{"id":"c","model":"m","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"t0","type":"function","function":{"name":"f","arguments":""}}]},"finish_reason":null}]}"#,
        r#"{"id":"c","model":"m","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"x\":2}"}}]},"finish_reason":null}]}"#,
        r#"{"id":"c","model":"m","choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"id":"t1","type":"function","function":{"name":"g","arguments":""}}]},"finish_reason":null}]}"#,
        r#"{"id":"c","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#,
        r#"{"id":"c","model":"m","choices":[],"usage":{"prompt_tokens":30,"completion_tokens":9,"prompt_tokens_details":{"cached_tokens":20}}}"#,
        "[DONE]",
    ];
    let body: String = chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect();
    let run = |body: &str, at: usize| {
        let sse = answer(200, "text/event-stream; charset=utf-8", body);
        gateway.run(&headers("/v1/messages"), ask.to_string().as_bytes(), &[sse], Cuts::Whole, Cuts::At(at))
    };
    let whole = run(&body, 0);
    let sent = sent_body(&whole);
    let roles: Vec<&str> =
        sent["messages"].as_array().unwrap().iter().map(|m| m["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["system", "user", "assistant", "tool", "tool", "user"]);
    assert_eq!(sent["messages"][2]["tool_calls"][0]["function"]["arguments"], "{\"x\":1}");
    assert_eq!(
        (&sent["parallel_tool_calls"], &sent["stop"], &sent["user"]),
        (&json!(false), &json!(["END"]), &json!("u"))
    );
    assert_eq!(sent["stream_options"]["include_usage"], true);
    assert!(whole.sent[0].1.iter().any(|(n, v)| n == ":path" && v == "/v1/chat/completions"));
    assert!(!whole.sent[0].1.iter().any(|(n, _)| n.starts_with("anthropic") || n == "x-api-key"));
    let told = events(&whole.body);
    let kinds: Vec<String> = told.iter().map(|e| e["type"].as_str().unwrap().to_owned()).collect();
    let starts: Vec<&Value> = told
        .iter()
        .filter(|e| e["type"] == "content_block_start")
        .map(|e| &e["content_block"]["type"])
        .collect();
    assert_eq!(starts, ["thinking", "text", "tool_use", "tool_use"]);
    assert_eq!((said(&told, 0, "thinking"), said(&told, 1, "text")), ("hm".into(), "Hé".into()));
    assert_eq!(
        (said(&told, 2, "partial_json"), said(&told, 3, "partial_json")),
        ("{\"x\":2}".into(), "{}".into())
    );
    let last = &told[told.len() - 2];
    assert_eq!(
        (&last["delta"]["stop_reason"], kinds.last().unwrap().as_str()),
        (&json!("tool_use"), "message_stop")
    );
    assert_eq!(
        (
            &last["usage"]["input_tokens"],
            &last["usage"]["cache_read_input_tokens"],
            &last["usage"]["output_tokens"]
        ),
        (&json!(10), &json!(20), &json!(9))
    );
    let span = whole.span.unwrap();
    assert_eq!((span.usage.input, span.usage.output), (30, 9));
    for at in 0..=body.len() {
        assert_eq!(run(&body, at).body, whole.body, "cut at {at}");
    }
    // A stream that breaks ends with an error event, an empty one is an error status.
    let broken = run(&body[..body.find("tool_calls").unwrap()], 100);
    assert_eq!(events(&broken.body).last().unwrap()["type"], "error");
    assert_eq!(error(&run("data: {\"error\":{\"message\":\"no\",\"code\":400}}\n\n", 3)).0, 400);
}

#[test]
fn what_nothing_bounds_is_refused_under_a_hard_budget() {
    let gateway = gateway(|config| {
        config["budgets"] = json!([{"name": "b", "usd_nano": 1_000_000_000, "window": "day", "definition": "0123456789abcdef"}]);
        config["ledger"] = json!({"cluster": "weir-ledger"});
    });
    let tools = |kind: &str| {
        format!(r#""tools":[{{"type":"{kind}","name":"t","input_schema":{{"type":"object"}}}}]"#)
    };
    for (more, refused) in [
        (tools("web_search_20250305"), Some("tools")),
        (tools("custom"), None),
        (r#""mcp_servers":[{"type":"url","url":"https://e"}]"#.to_owned(), Some("mcp_servers")),
        (r#""speed":"fast""#.to_owned(), Some("speed")),
        (r#""speed":null"#.to_owned(), None),
    ] {
        let ask = ASK.replace("\"max_tokens\"", &format!("{more},\"max_tokens\""));
        let json = answer(200, "application/json", "{}");
        let out = gateway.run(&headers("/v1/messages"), ask.as_bytes(), &[json], Cuts::Whole, Cuts::Whole);
        match refused {
            Some(field) => {
                assert_eq!(
                    error(&out),
                    (400, "invalid_request_error".into(), "unboundable".into()),
                    "{more}"
                );
                assert!(String::from_utf8_lossy(&out.body).contains(field));
            }
            None => assert_eq!(out.status, 200, "{more}: {}", String::from_utf8_lossy(&out.body)),
        }
    }
}

#[test]
fn models_are_listed_in_the_shape_of_whoever_asks() {
    let gateway = gateway(|config| config["models"][2]["aliases"] = json!(["aws-also"]));
    let mut asking = headers("/v1/models?limit=20");
    asking[0] = (":method", "GET");
    let run = |headers: &[(&str, &str)]| -> Value {
        let out = gateway.run(headers, b"", &[], Cuts::Whole, Cuts::Whole);
        read(&out.body)
    };
    let list = run(&asking);
    assert_eq!(
        (&list["has_more"], &list["first_id"], &list["last_id"]),
        (&json!(false), &json!("claude"), &json!("aws-also"))
    );
    let first = &list["data"][0];
    assert_eq!(
        (&first["type"], &first["id"], &first["display_name"]),
        (&json!("model"), &json!("claude"), &json!("claude"))
    );
    asking.retain(|(name, _)| *name != "x-api-key");
    assert_eq!(run(&asking)["type"], "error");
    asking.retain(|(name, _)| *name != "anthropic-version");
    asking.push(("authorization", "Bearer key"));
    assert!(run(&asking)["data"][0].get("display_name").is_none());
}

#[test]
fn nothing_that_a_provider_says_after_a_failure_follows_the_failure() {
    // The client was given a length; more bytes than that would be read as the next answer.
    let gateway = gateway(|_| ());
    let ask = ASK.replace("claude", "gpu").replace("50", "50,\"stream\":true");
    let more = format!("data: {{\"choices\":[]}}\n\ndata: {}\n\ndata: [DONE]\n\n", "x".repeat(300));
    for first in ["data:\n\n", "data: {\"error\":{\"message\":\"no\"}}\n\n"] {
        let body = format!("{first}{more}");
        for at in 0..=body.len() {
            for cuts in [Cuts::At(at), Cuts::Every(at)] {
                let sse = answer(200, "text/event-stream", body.clone());
                let out = gateway.run(&headers("/v1/messages"), ask.as_bytes(), &[sse], Cuts::Whole, cuts);
                assert!(error(&out).0 >= 500, "{first:?} {cuts:?}");
                assert_eq!(out.headers["content-length"], out.body.len().to_string(), "{first:?} {cuts:?}");
            }
        }
    }
}
