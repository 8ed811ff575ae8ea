//! AWS's clients through the two machines: Converse and InvokeModel to each kind of provider, frames whose every byte
//! may come alone, errors by class.

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

use drive::world::{MAIL, model, policy, read, redaction, sent, sent_body, target};
use drive::{Answer, Cuts, Gateway, Outcome};
use serde_json::{Value, json};
use weir_wire::{base64, eventstream};

const FRAMES: &str = "application/vnd.amazon.eventstream";

/// Four providers, a model on each, one tenant; `change` may add redaction and budgets.
fn gateway(change: impl FnOnce(&mut Value)) -> Gateway {
    const SONNET: &str = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";
    let mut invoked = model("invoked", "aws", SONNET);
    invoked["targets"][0]["invoke"] = json!(true);
    let mut both = model("both", "aws", "us.amazon.nova-lite-v1:0");
    let mut second = target("gpu", "gpu/m");
    second["priority"] = json!(1);
    both["targets"].as_array_mut().unwrap().push(second);
    let models = [
        model("claude", "claude", "claude/m"),
        model("gpu", "gpu", "gpu/m"),
        model("aws", "aws", SONNET),
        model("titan", "aws", "amazon.titan-text-express-v1"),
        invoked,
        both,
    ];
    let mut config = policy(&[("claude", "anthropic"), ("gpu", "vllm"), ("aws", "bedrock")], &models);
    config["retry"] = json!({"tries": 1, "on": ["5xx", "429"]});
    change(&mut config);
    Gateway::of_json(config)
}

fn headers(path: &str) -> Vec<(&str, &str)> {
    drive::world::headers(path, &[("authorization", "Bearer key")])
}

fn answer(status: u16, media: &str, body: impl Into<Vec<u8>>) -> Answer {
    let mut answer = drive::world::answer(status, media, body);
    answer.headers.push(("x-amzn-requestid".into(), "aws-1".into()));
    answer
}

fn frame(kind: &str, payload: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    let headers = [(":event-type", kind), (":content-type", "application/json"), (":message-type", "event")];
    eventstream::encode(&mut out, &headers, payload.to_string().as_bytes());
    out
}

/// A Converse stream that says these texts, with Bedrock's padding.
fn converse_stream(texts: &[&str]) -> Vec<u8> {
    let mut out = frame("messageStart", &json!({"role": "assistant", "p": "ab"}));
    for text in texts {
        out.extend(frame(
            "contentBlockDelta",
            &json!({"contentBlockIndex": 0, "delta": {"text": text}, "p": "abc"}),
        ));
    }
    out.extend(frame("contentBlockStop", &json!({"contentBlockIndex": 0, "p": "a"})));
    out.extend(frame("messageStop", &json!({"stopReason": "end_turn", "p": "abcd"})));
    let usage = json!({"inputTokens": 10, "outputTokens": 5, "totalTokens": 105, "cacheReadInputTokens": 90});
    out.extend(frame("metadata", &json!({"usage": usage, "metrics": {"latencyMs": 7}, "p": "ab"})));
    out
}

/// Frames of a body: event or exception type, and payload; the checksums are right.
fn frames(body: &[u8]) -> Vec<(String, Value)> {
    let mut out = Vec::new();
    let mut decoder = eventstream::Decoder::new(1 << 20);
    decoder
        .push(body, &mut |frame| {
            let name = frame.event_type().or(frame.exception_type()).unwrap().to_owned();
            out.push((name, serde_json::from_slice(frame.payload).unwrap()));
        })
        .unwrap();
    decoder.finish().unwrap();
    out
}

fn converse(text: &str) -> Value {
    json!({"messages": [{"role": "user", "content": [{"text": text}]}], "inferenceConfig": {"maxTokens": 100}})
}

/// One request; the answer comes in these cuts.
fn run(gateway: &Gateway, path: &str, body: &Value, answers: &[Answer], down: Cuts) -> Outcome {
    gateway.run(&headers(path), body.to_string().as_bytes(), answers, Cuts::Whole, down)
}

fn error(outcome: &Outcome) -> (u16, String, String) {
    let body = read(&outcome.body);
    assert!(body["message"].is_string(), "{body}");
    let class = outcome.headers.get("x-amzn-errortype").cloned().unwrap_or_default();
    (outcome.status, class, body["reason"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn converse_passes_byte_identical_and_its_model_goes_into_the_path() {
    let gateway = gateway(|_| ());
    let body = converse_stream(&["He", "llo 世界"]);
    let ask =
        br#"{"messages": [ {"role":"user","content":[{"text":"h\u00e9"}]}],"requestMetadata":{"a":"b"}}"#;
    for at in 0..=body.len() {
        let answers = [answer(200, FRAMES, body.clone())];
        let out =
            gateway.run(&headers("/model/aws/converse-stream"), ask, &answers, Cuts::Whole, Cuts::At(at));
        assert_eq!(out.body, body, "cut at {at}");
        assert_eq!(out.sent[0].2, ask);
        assert_eq!(
            sent(&out, ":path"),
            "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse-stream"
        );
        assert_eq!(sent(&out, "accept"), FRAMES);
        let span = out.span.unwrap();
        assert_eq!((span.usage.input, span.usage.cache_read, span.usage.output), (100, 90, 5));
        assert_eq!(span.finish_reasons, ["end_turn"]);
        assert_eq!((span.response_id.as_str(), span.request_model.as_str()), ("aws-1", "aws"));
    }
    let whole = json!({"output": {"message": {"role": "assistant", "content": [{"text": "Hi"}]}},
        "stopReason": "max_tokens", "usage": {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}});
    let answers = [answer(200, "application/json", whole.to_string())];
    let out = run(&gateway, "/model/aws/converse", &converse("x"), &answers, Cuts::Every(1));
    assert_eq!(out.body, whole.to_string().into_bytes());
    assert_eq!(out.headers["x-amzn-requestid"], "aws-1");
    let span = out.span.unwrap();
    assert_eq!(
        (span.usage.input, span.usage.output, span.finish_reasons.as_slice()),
        (3, 2, &["max_tokens".to_owned()][..])
    );
}

#[test]
fn converse_reaches_providers_of_other_dialects_and_reads_their_answers() {
    let gateway = gateway(|_| ());
    let mut ask = converse("What is the weather?");
    ask["toolConfig"] =
        json!({"tools": [{"toolSpec": {"name": "f", "inputSchema": {"json": {"type": "object"}}}}]});
    let chat = json!({"id": "c", "model": "m", "choices": [{"index": 0, "finish_reason": "tool_calls", "message": {
        "role": "assistant", "content": "Looking.", "tool_calls": [{"id": "t1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}}],
    }}], "usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}});
    let out = run(
        &gateway,
        "/model/gpu/converse",
        &ask,
        &[answer(200, "application/json", chat.to_string())],
        Cuts::Every(7),
    );
    let said = read(&out.body);
    assert_eq!(
        said["output"]["message"]["content"],
        json!([
            {"text": "Looking."}, {"toolUse": {"toolUseId": "t1", "name": "f", "input": {"a": 1}}},
        ])
    );
    assert_eq!(said["stopReason"], "tool_use");
    assert_eq!(said["usage"], json!({"inputTokens": 9, "outputTokens": 4, "totalTokens": 13}));
    assert_eq!(sent(&out, ":path"), "/v1/chat/completions");
    assert_eq!(
        (sent_body(&out)["model"].clone(), sent_body(&out)["tools"][0]["function"]["name"].clone()),
        (json!("gpu/m"), json!("f"))
    );
    assert!(out.headers.contains_key("x-amzn-requestid"));

    let chunk = |choices: Value, usage: Value| {
        let chunk = json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices, "usage": usage});
        format!("data: {chunk}\n\n")
    };
    let delta =
        |delta: Value| chunk(json!([{"index": 0, "delta": delta, "finish_reason": null}]), Value::Null);
    let mut sse = delta(json!({"role": "assistant", "content": ""}));
    sse += &delta(json!({"content": "Look\u{e9}"}));
    for (index, id) in [(0, "t1"), (1, "t2")] {
        sse += &delta(
            json!({"tool_calls": [{"index": index, "id": id, "type": "function", "function": {"name": "f", "arguments": "{\"a\""}}]}),
        );
        sse += &delta(json!({"tool_calls": [{"index": index, "function": {"arguments": ":1}"}}]}));
    }
    sse += &chunk(json!([{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]), Value::Null);
    sse += &chunk(json!([]), json!({"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}));
    sse += "data: [DONE]\n\n";
    for at in 0..=sse.len() {
        let answers = [answer(200, "text/event-stream", sse.clone())];
        let out = run(&gateway, "/model/gpu/converse-stream", &ask, &answers, Cuts::At(at));
        let frames = frames(&out.body);
        let kinds: Vec<&str> = frames.iter().map(|(kind, _)| kind.as_str()).collect();
        let tool = ["contentBlockStart", "contentBlockDelta", "contentBlockDelta", "contentBlockStop"];
        let mut expected = vec!["messageStart", "contentBlockDelta", "contentBlockStop"];
        expected.extend(tool.iter().chain(&tool));
        expected.extend(["messageStop", "metadata"]);
        assert_eq!(kinds, expected, "cut at {at}");
        assert_eq!(said_in(&frames), "Look\u{e9}");
        // A block of its own for each call, though OpenAI counts calls only.
        let starts: Vec<_> = frames.iter().filter(|(kind, _)| kind == "contentBlockStart").collect();
        assert_eq!(
            starts[1].1,
            json!({"contentBlockIndex": 2, "start": {"toolUse": {"toolUseId": "t2", "name": "f"}}})
        );
        let input: String = frames
            .iter()
            .filter(|(_, p)| p["contentBlockIndex"] == 2)
            .filter_map(|(_, p)| p["delta"]["toolUse"]["input"].as_str())
            .collect();
        assert_eq!(input, "{\"a\":1}");
        assert_eq!(frames.last().unwrap().1["usage"]["totalTokens"], 13);
        assert_eq!(out.headers["content-type"], FRAMES);
    }
}

fn said_in(frames: &[(String, Value)]) -> String {
    frames.iter().filter_map(|(_, payload)| payload["delta"]["text"].as_str()).collect()
}

#[test]
fn values_are_hidden_in_every_text_and_come_back_in_frames_at_every_cut() {
    let gateway = gateway(|config| {
        config["redaction"] = redaction("tokenize", true, false);
    });
    let mut ask = converse(&format!("I am {MAIL}"));
    ask["system"] = json!([{"text": format!("Serve {MAIL}.")}]);
    ask["messages"].as_array_mut().unwrap().extend([
        json!({"role": "assistant", "content": [
            {"reasoningContent": {"reasoningText": {"text": format!("the mail is {MAIL}"), "signature": "c2ln"}}},
            {"toolUse": {"toolUseId": "t1", "name": "f", "input": {"deep": [{"to": MAIL}]}}},
        ]}),
        json!({"role": "user", "content": [{"toolResult": {"toolUseId": "t1", "content": [{"json": {"sent": MAIL}}]}}]}),
    ]);
    let answers = [answer(200, FRAMES, converse_stream(&["x"]))];
    let out = run(&gateway, "/model/aws/converse-stream", &ask, &answers, Cuts::Whole);
    let body = sent_body(&out);
    let placeholder = body["system"][0]["text"].as_str().unwrap();
    let placeholder = placeholder.strip_prefix("Serve ").unwrap().strip_suffix('.').unwrap().to_owned();
    let text = ask.to_string().replace(MAIL, &placeholder);
    // All but the thought, which its signature covers.
    let text = text.replace(&format!("the mail is {placeholder}"), &format!("the mail is {MAIL}"));
    assert_eq!(body, serde_json::from_str::<Value>(&text).unwrap());

    let (a, b) = placeholder.split_at(placeholder.len() / 2);
    let answered = converse_stream(&["To ", a, b]);
    for at in 0..=answered.len() {
        let answers = [answer(200, FRAMES, answered.clone())];
        let out = run(&gateway, "/model/aws/converse-stream", &ask, &answers, Cuts::At(at));
        let frames = frames(&out.body);
        assert_eq!(said_in(&frames), format!("To {MAIL}"), "cut at {at}");
        let stop = frames.iter().position(|(kind, _)| kind == "contentBlockStop").unwrap();
        assert_eq!(said_in(&frames[..stop]), format!("To {MAIL}"));
        assert_eq!(frames.last().unwrap().0, "metadata");
    }
    let whole = json!({"output": {"message": {"role": "assistant", "content": [
        {"text": format!("To {placeholder}")}, {"toolUse": {"toolUseId": "t", "name": "f", "input": {"to": placeholder}}},
    ]}}, "stopReason": "end_turn", "usage": {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}});
    let out = run(
        &gateway,
        "/model/aws/converse",
        &ask,
        &[answer(200, "application/json", whole.to_string())],
        Cuts::Every(9),
    );
    let expected = whole.to_string().replace(&placeholder, MAIL);
    assert_eq!(String::from_utf8(out.body).unwrap(), expected);
}

#[test]
fn what_the_policy_blocks_in_an_answer_ends_it_as_a_filtered_one() {
    let gateway = gateway(|config| {
        config["redaction"] = redaction("block", false, true);
    });
    let answers = [answer(200, FRAMES, converse_stream(&["Write to ", MAIL, " now"]))];
    let out = run(&gateway, "/model/aws/converse-stream", &converse("x"), &answers, Cuts::Every(11));
    let frames = frames(&out.body);
    assert!(!said_in(&frames).contains("jane"), "{frames:?}");
    let end: Vec<_> = frames
        .iter()
        .rev()
        .take(2)
        .map(|(kind, payload)| (kind.as_str(), payload["stopReason"].clone()))
        .collect();
    assert_eq!(end, [("metadata", Value::Null), ("messageStop", json!("content_filtered"))]);
    let whole = json!({"output": {"message": {"role": "assistant", "content": [{"text": MAIL}]}}, "stopReason": "end_turn"});
    let out = run(
        &gateway,
        "/model/aws/converse",
        &converse("x"),
        &[answer(200, "application/json", whole.to_string())],
        Cuts::Whole,
    );
    let body = read(&out.body);
    assert_eq!(
        (&body["stopReason"], &body["output"]["message"]["content"][0]["text"]),
        (&json!("content_filtered"), &json!(""))
    );
}

#[test]
fn errors_have_awss_classes_whoever_says_them() {
    let gateway = gateway(|_| ());
    let refused = |path: &str, body: &Value| error(&run(&gateway, path, body, &[], Cuts::Whole));
    let text = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    for (path, body, status, class, reason) in [
        ("/model/nope/converse", converse("x"), 404, "ResourceNotFoundException", "model_not_found"),
        ("/model/aws/converse", json!({"messages": []}), 400, "ValidationException", "invalid_value"),
        ("/model/aws/count-tokens", json!({}), 404, "UnknownOperationException", "unknown_path"),
    ] {
        let (got, a, b) = refused(path, &body);
        assert_eq!((got, text(&a, &b)), (status, text(class, reason)), "{path}");
    }
    let mut unknown = headers("/model/aws/converse");
    unknown.retain(|(name, _)| *name != "authorization");
    let out = gateway.run(&unknown, b"{}", &[], Cuts::Whole, Cuts::Whole);
    assert_eq!(error(&out), (403, "MissingAuthenticationTokenException".into(), "missing_api_key".into()));
    unknown.push(("authorization", "Bearer wrong"));
    let out = gateway.run(&unknown, b"{}", &[], Cuts::Whole, Cuts::Whole);
    assert_eq!(error(&out), (403, "UnrecognizedClientException".into(), "invalid_api_key".into()));

    // A provider's, in its own dialect.
    for (status, body, told, class) in [
        (
            429,
            r#"{"error":{"message":"slow","type":"rate_limit_error","code":"rate_limit_exceeded"}}"#,
            429,
            "ThrottlingException",
        ),
        (
            400,
            r#"{"error":{"message":"long","type":"invalid_request_error","code":null}}"#,
            400,
            "ValidationException",
        ),
        (
            500,
            r#"{"error":{"message":"broken","type":"server_error","code":null}}"#,
            500,
            "InternalServerException",
        ),
        (503, "<html>", 503, "ServiceUnavailableException"),
    ] {
        let out = run(
            &gateway,
            "/model/gpu/converse",
            &converse("x"),
            &[answer(status, "application/json", body)],
            Cuts::Whole,
        );
        let (got, seen, _) = error(&out);
        assert_eq!((got, seen.as_str()), (told, class), "{body}");
    }
    // And in Bedrock's own, which passes.
    let mut own = answer(424, "application/json", r#"{"message":"m"}"#);
    own.headers.push(("x-amzn-errortype".into(), "ModelErrorException:http://x".into()));
    let out = run(&gateway, "/model/aws/converse", &converse("x"), &[own], Cuts::Whole);
    assert_eq!((out.status, out.headers["x-amzn-errortype"].as_str()), (424, "ModelErrorException:http://x"));
}

#[test]
fn a_stream_that_breaks_ends_with_an_exception_frame() {
    let gateway = gateway(|_| ());
    let begun = r#"data: {"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":"Hel"},"finish_reason":null}]}"#;
    for tail in [
        "\n\ndata: {\"error\":{\"message\":\"m\",\"type\":\"server_error\"}}\n\n",
        "\n\n",
        "\n\ndata: {broken\n\n",
    ] {
        let body = format!("{begun}{tail}");
        let answers = [answer(200, "text/event-stream", body)];
        let out = run(&gateway, "/model/gpu/converse-stream", &converse("x"), &answers, Cuts::Every(5));
        let frames = frames(&out.body);
        let last = frames.last().unwrap();
        assert!(last.0.ends_with("Exception") && last.1["message"].is_string(), "{frames:?}");
        assert!(!frames.iter().any(|(kind, _)| kind == "messageStop"));
    }
}

#[test]
fn an_exception_in_the_first_frame_fails_over_and_the_answer_is_in_frames() {
    let gateway = gateway(|config| config["retry"]["tries"] = json!(2));
    let mut exception = Vec::new();
    let kind = [
        (":exception-type", "throttlingException"),
        (":content-type", "application/json"),
        (":message-type", "exception"),
    ];
    eventstream::encode(&mut exception, &kind, br#"{"message":"slow"}"#);
    let sse = "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    for cuts in [Cuts::Whole, Cuts::Every(1)] {
        let answers = [answer(200, FRAMES, exception.clone()), answer(200, "text/event-stream", sse)];
        let out = run(&gateway, "/model/both/converse-stream", &converse("x"), &answers, cuts);
        assert_eq!((out.status, out.sent.len()), (200, 2));
        let frames = frames(&out.body);
        assert_eq!(said_in(&frames), "Hi");
        assert_eq!(frames.last().unwrap().0, "metadata");
    }
}

#[test]
fn a_guardrail_stays_with_bedrock() {
    let gateway = gateway(|config| config["retry"]["tries"] = json!(2));
    let mut ask = converse("x");
    ask["guardrailConfig"] = json!({"guardrailIdentifier": "g", "guardrailVersion": "1"});
    let broken = || answer(500, "application/json", "{}");
    let out = run(&gateway, "/model/both/converse", &ask, &[broken(), broken()], Cuts::Whole);
    assert!(out.sent.iter().all(|(cluster, ..)| cluster == "weir-aws"), "{:?}", out.sent);
    let out = run(&gateway, "/model/gpu/converse", &ask, &[], Cuts::Whole);
    assert_eq!(error(&out).2, "unsupported_feature");
}

fn invoke(text: &str) -> Value {
    json!({"anthropic_version": "bedrock-2023-05-31", "anthropic_beta": ["one"], "max_tokens": 50,
        "messages": [{"role": "user", "content": text}]})
}

/// A message's stream as events.
fn message_stream() -> Vec<Value> {
    let usage = json!({"input_tokens": 10, "cache_read_input_tokens": 90, "output_tokens": 1});
    let message = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": [],
        "stop_reason": null, "stop_sequence": null, "usage": usage});
    vec![
        json!({"type": "message_start", "message": message}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hé"}}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null}, "usage": {"output_tokens": 5}}),
        json!({"type": "message_stop", "amazon-bedrock-invocationMetrics": {"inputTokenCount": 10, "outputTokenCount": 5}}),
    ]
}

fn chunks(events: &[Value]) -> Vec<u8> {
    let mut out = Vec::new();
    for event in events {
        let mut bytes = Vec::new();
        base64::encode_into(&mut bytes, event.to_string().as_bytes());
        out.extend(frame("chunk", &json!({"bytes": String::from_utf8(bytes).unwrap(), "p": "abc"})));
    }
    out
}

fn sse(events: &[Value]) -> String {
    events
        .iter()
        .map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap()))
        .collect()
}

/// What chunks carry.
fn carried(body: &[u8]) -> Vec<Value> {
    let one = |(kind, payload): (String, Value)| {
        assert_eq!(kind, "chunk", "{payload}");
        let bytes = base64::decode(payload["bytes"].as_str().unwrap().as_bytes()).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    };
    frames(body).into_iter().map(one).collect()
}

#[test]
fn invoke_model_passes_to_bedrock_as_it_is_with_its_headers() {
    let gateway = gateway(|_| ());
    let body = chunks(&message_stream());
    let ask = invoke("x").to_string();
    let mut head = headers("/model/aws/invoke-with-response-stream");
    head.retain(|(name, _)| *name != "content-type");
    head.push(("x-amzn-bedrock-guardrailidentifier", "gr1"));
    for at in 0..=body.len() {
        let answers = [answer(200, FRAMES, body.clone())];
        let out = gateway.run(&head, ask.as_bytes(), &answers, Cuts::Whole, Cuts::At(at));
        assert_eq!(
            (out.body.as_slice(), out.sent[0].2.as_slice()),
            (body.as_slice(), ask.as_bytes()),
            "{at}"
        );
        assert_eq!(
            sent(&out, ":path"),
            "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/invoke-with-response-stream"
        );
        assert_eq!(sent(&out, "x-amzn-bedrock-guardrailidentifier"), "gr1");
        let span = out.span.unwrap();
        assert_eq!((span.usage.input, span.usage.output, span.response_id.as_str()), (100, 5, "msg_1"));
    }
}

#[test]
fn messages_change_their_envelope_between_anthropic_and_invoke_model() {
    let gateway = gateway(|_| ());
    let events = message_stream();
    let (framed, plain) = (chunks(&events), sse(&events));
    // Anthropic's client, a target asked by InvokeModel.
    let ask = json!({"model": "invoked", "max_tokens": 50, "stream": true, "top_k": 5, "messages": [{"role": "user", "content": "x"}]});
    let mut head = headers("/v1/messages");
    head.push(("anthropic-beta", "one"));
    for at in 0..=framed.len() {
        let answers = [answer(200, FRAMES, framed.clone())];
        let out = gateway.run(&head, ask.to_string().as_bytes(), &answers, Cuts::Whole, Cuts::At(at));
        assert_eq!(String::from_utf8(out.body).unwrap(), plain, "cut at {at}");
        assert_eq!(out.headers["content-type"], "text/event-stream; charset=utf-8");
    }
    let out = gateway.run(
        &head,
        ask.to_string().as_bytes(),
        &[answer(200, FRAMES, framed.clone())],
        Cuts::Whole,
        Cuts::Whole,
    );
    let body = json!({"anthropic_version": "bedrock-2023-05-31", "anthropic_beta": ["one"], "max_tokens": 50, "top_k": 5,
        "messages": [{"role": "user", "content": "x"}]});
    assert_eq!(sent_body(&out), body);
    // AWS's client, Anthropic itself.
    for at in 0..=plain.len() {
        let answers = [answer(200, "text/event-stream", plain.clone())];
        let out =
            run(&gateway, "/model/claude/invoke-with-response-stream", &invoke("x"), &answers, Cuts::At(at));
        assert_eq!(carried(&out.body), events, "cut at {at}");
        assert_eq!(sent(&out, "anthropic-beta"), "one");
        assert_eq!(
            sent_body(&out),
            json!({"model": "claude/m", "max_tokens": 50, "stream": true, "messages": [{"role": "user", "content": "x"}]})
        );
    }
    // Whole answers are the same in both.
    let whole = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [{"type": "text", "text": "Hi"}],
        "stop_reason": "end_turn", "stop_sequence": null, "usage": {"input_tokens": 3, "output_tokens": 2}});
    let out = run(
        &gateway,
        "/model/claude/invoke",
        &invoke("x"),
        &[answer(200, "application/json", whole.to_string())],
        Cuts::Every(4),
    );
    assert_eq!(out.body, whole.to_string().into_bytes());
}

#[test]
fn invoke_model_is_carried_to_chats_and_chats_to_a_target_asked_by_it() {
    let gateway = gateway(|_| ());
    let chat = "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"},\"finish_reason\":\"stop\"}]}\n\ndata: {\"id\":\"c\",\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5}}\n\ndata: [DONE]\n\n";
    for at in 0..=chat.len() {
        let answers = [answer(200, "text/event-stream", chat)];
        let out =
            run(&gateway, "/model/gpu/invoke-with-response-stream", &invoke("x"), &answers, Cuts::At(at));
        let events = carried(&out.body);
        let text: String = events.iter().filter_map(|event| event["delta"]["text"].as_str()).collect();
        assert_eq!(
            (text.as_str(), events.last().unwrap()["type"].as_str()),
            ("Hi", Some("message_stop")),
            "{at}"
        );
    }
    let ask = json!({"model": "invoked", "stream": true, "stream_options": {"include_usage": true}, "messages": [{"role": "user", "content": "x"}]});
    let framed = chunks(&message_stream());
    for at in 0..=framed.len() {
        let out =
            run(&gateway, "/v1/chat/completions", &ask, &[answer(200, FRAMES, framed.clone())], Cuts::At(at));
        let body = String::from_utf8(out.body.clone()).unwrap();
        assert!(body.contains("\"content\":\"Hé\"") && body.ends_with("data: [DONE]\n\n"), "{at}: {body}");
        let sent = sent_body(&out);
        assert_eq!((&sent["anthropic_version"], sent.get("model")), (&json!("bedrock-2023-05-31"), None));
    }
}

#[test]
fn a_models_own_dialect_passes_and_its_cost_is_read_where_bedrock_tells_it() {
    let gateway = gateway(|_| ());
    let ask = json!({"inputText": "x", "textGenerationConfig": {"maxTokenCount": 5}});
    let mut whole = answer(200, "application/json", r#"{"results":[{"outputText":"Hi"}]}"#);
    for (name, count) in [("input", "30"), ("output", "7"), ("cache-read-input", "4")] {
        whole.headers.push((format!("x-amzn-bedrock-{name}-token-count"), count.into()));
    }
    let out = run(&gateway, "/model/titan/invoke", &ask, &[whole], Cuts::Every(3));
    assert_eq!(out.body, br#"{"results":[{"outputText":"Hi"}]}"#);
    let span = out.span.unwrap();
    assert_eq!((span.usage.input, span.usage.cache_read, span.usage.output), (34, 4, 7));
    let events = [
        json!({"outputText": "Hi"}),
        json!({"outputText": "", "amazon-bedrock-invocationMetrics": {"inputTokenCount": 30, "outputTokenCount": 7}}),
    ];
    let body = chunks(&events);
    let out = run(
        &gateway,
        "/model/titan/invoke-with-response-stream",
        &ask,
        &[answer(200, FRAMES, body.clone())],
        Cuts::Every(3),
    );
    assert_eq!(out.body, body);
    let span = out.span.unwrap();
    assert_eq!((span.usage.input, span.usage.output), (30, 7));
    // Nobody else understands it.
    let out = run(&gateway, "/model/gpu/invoke", &ask, &[], Cuts::Whole);
    assert_eq!(error(&out).2, "unsupported_feature");
}
