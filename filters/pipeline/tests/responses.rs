//! OpenAI's Responses API through the two machines: what passes is changed in its texts alone, sealed
//! reasoning never; what another dialect serves comes back as responses; and nothing that is sent goes unseen.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::needless_update,
    dead_code,
    reason = "a test may panic, and uses a part of the host in miniature"
)]

mod drive;

use std::rc::Rc;

use drive::world::{MAIL, answer, budgeted, policy, read, redaction, sent_body};
use drive::{Answer, Cuts, Gateway, Outcome};
use serde_json::{Value, json};

/// Four providers, a model on each, one that fails over, one tenant; `change` may add redaction and budgets.
fn gateway(change: impl FnOnce(&mut Value)) -> Gateway {
    let target = |provider: &str, priority: u32| {
        let mut target = drive::world::target(provider, &format!("{provider}/m"));
        (target["tokenizer"], target["priority"]) = (json!("cl100k_base"), json!(priority));
        target
    };
    let model = |name: &str, provider: &str| json!({"name": name, "targets": [target(provider, 0)]});
    let both = json!({"name": "both", "targets": [target("open", 0), target("gpu", 1)]});
    let models =
        [model("gpt", "open"), model("gpu", "gpu"), model("claude", "claude"), model("aws", "aws"), both];
    let providers = [("open", "openai"), ("gpu", "vllm"), ("claude", "anthropic"), ("aws", "bedrock")];
    let mut config = policy(&providers, &models);
    config["retry"] = json!({"tries": 2, "on": ["5xx", "429"]});
    change(&mut config);
    let mut gateway = Gateway::of_json(config);
    let open = gateway.attempts.get_mut("weir-open").and_then(Rc::get_mut).unwrap();
    open.path_prefix = "/compat".into();
    gateway
}

fn headers(path: &str) -> Vec<(&str, &str)> {
    drive::world::headers(path, &[("authorization", "Bearer key"), ("openai-beta", "x")])
}

/// A stream of typed and numbered events.
fn stream(events: &[Value]) -> Vec<u8> {
    let mut out = String::new();
    for (number, event) in events.iter().enumerate() {
        let mut event = event.clone();
        event["sequence_number"] = json!(number);
        out.push_str(&format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap()));
    }
    out.into_bytes()
}

fn response(status: &str, instructions: &str, output: &[Value]) -> Value {
    json!({
        "id": "resp_1", "object": "response", "created_at": 1, "status": status, "model": "open/m", "output": output,
        "error": null, "incomplete_details": null, "instructions": instructions, "metadata": {}, "parallel_tool_calls": true,
        "text": {"format": {"type": "text"}}, "tool_choice": "auto", "tools": [],
        "usage": if status == "completed" { json!({
            "input_tokens": 100, "input_tokens_details": {"cached_tokens": 90},
            "output_tokens": 25, "output_tokens_details": {"reasoning_tokens": 7}, "total_tokens": 125,
        }) } else { Value::Null },
    })
}

/// A message that says these pieces, and a call whose arguments are those, after sealed reasoning.
fn events(instructions: &str, thought: &str, said: &[&str], arguments: &[&str]) -> Vec<Value> {
    let (text, call) = (said.concat(), arguments.concat());
    let summary = json!({"type": "summary_text", "text": thought});
    let part = json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []});
    let reasoning =
        json!({"id": "rs", "type": "reasoning", "summary": [summary], "encrypted_content": "gAAA"});
    let message = json!({"id": "msg", "type": "message", "status": "completed", "role": "assistant", "content": [part]});
    let function = json!({"id": "fc", "type": "function_call", "status": "completed", "call_id": "c", "name": "f", "arguments": call});
    let mut all = vec![
        json!({"type": "response.created", "response": response("in_progress", instructions, &[])}),
        json!({"type": "response.in_progress", "response": response("in_progress", instructions, &[])}),
        json!({"type": "response.reasoning_summary_text.delta", "item_id": "rs", "output_index": 0, "summary_index": 0, "delta": thought}),
        json!({"type": "response.reasoning_summary_text.done", "item_id": "rs", "output_index": 0, "summary_index": 0, "text": thought}),
        json!({"type": "response.output_item.done", "output_index": 0, "item": reasoning}),
    ];
    for piece in said {
        all.push(json!({"type": "response.output_text.delta", "item_id": "msg", "output_index": 1, "content_index": 0, "delta": piece, "logprobs": []}));
    }
    all.push(json!({"type": "response.output_text.done", "item_id": "msg", "output_index": 1, "content_index": 0, "text": text, "logprobs": []}));
    all.push(json!({"type": "response.content_part.done", "item_id": "msg", "output_index": 1, "content_index": 0, "part": part}));
    all.push(json!({"type": "response.output_item.done", "output_index": 1, "item": message}));
    for piece in arguments {
        all.push(json!({"type": "response.function_call_arguments.delta", "item_id": "fc", "output_index": 2, "delta": piece}));
    }
    all.push(json!({"type": "response.function_call_arguments.done", "item_id": "fc", "output_index": 2, "arguments": call}));
    all.push(json!({"type": "response.output_item.done", "output_index": 2, "item": function}));
    let end = response("completed", instructions, &[reasoning, message, function]);
    all.push(json!({"type": "response.completed", "response": end}));
    all
}

/// Events of a body, whose names and numbers must be right.
fn told(body: &[u8]) -> Vec<Value> {
    let text = String::from_utf8(body.to_vec()).unwrap();
    let mut events = Vec::new();
    for event in text.split_terminator("\n\n") {
        let (name, data) = event.split_once("\ndata: ").unwrap_or_else(|| panic!("{text}"));
        let data: Value = serde_json::from_str(data).unwrap();
        assert_eq!(Some(data["type"].as_str().unwrap()), name.strip_prefix("event: "), "{event}");
        assert_eq!(data["sequence_number"], events.len(), "{text}");
        events.push(data);
    }
    events
}

/// What the deltas of an item say.
fn said(events: &[Value], index: u64) -> String {
    let of = |e: &&Value| e["type"].as_str().unwrap().ends_with(".delta") && e["output_index"] == index;
    events.iter().filter(of).filter_map(|e| e["delta"].as_str()).collect()
}

fn error(outcome: &Outcome) -> (u16, String, String, String) {
    let body = read(&outcome.body);
    let text = |key: &str| body["error"][key].as_str().unwrap_or_default().to_owned();
    (outcome.status, text("type"), text("code"), text("param"))
}

const ASK: &str = r#"{"model":"gpt","input":"h\u00e9llo","stream":true}"#;

#[test]
fn the_same_dialect_passes_byte_identical_but_for_the_models_name() {
    let gateway = gateway(|_| ());
    let body = stream(&events("Be brief.", "hm", &["He", "llo 世界"], &["{\"a\"", ":1}"]));
    for at in 0..=body.len() {
        let sse = answer(200, "text/event-stream; charset=utf-8", body.clone());
        let out = gateway.run(&headers("/v1/responses"), ASK.as_bytes(), &[sse], Cuts::At(at), Cuts::At(at));
        assert_eq!(out.body, body, "cut at {at}");
        assert_eq!(String::from_utf8_lossy(&out.sent[0].2), ASK.replace("\"gpt\"", "\"open/m\""));
        let span = out.span.unwrap();
        let usage = span.usage;
        assert_eq!((usage.input, usage.cache_read, usage.output, usage.reasoning), (100, 90, 25, 7));
        assert_eq!((span.response_id.as_str(), span.response_model.as_str()), ("resp_1", "open/m"));
        assert_eq!((span.operation, span.finish_reasons.as_slice()), ("chat", &["completed".to_owned()][..]));
        assert!(span.words.contains(&("openai.api.type", "responses".to_owned())));
        let header = |name: &str| out.sent[0].1.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
        assert_eq!(header("authorization"), Some("granted-to-open"));
        assert_eq!((header(":path"), header("openai-beta")), (Some("/compat/v1/responses"), None));
    }
    let whole = response("completed", "x", &[]).to_string();
    let ask = ASK.replace("true", "false");
    let json = answer(200, "application/json", whole.clone());
    let out = gateway.run(&headers("/v1/responses"), ask.as_bytes(), &[json], Cuts::Whole, Cuts::Every(7));
    assert_eq!(out.body, whole.as_bytes());
    assert_eq!(out.span.unwrap().usage.output, 25);
}

#[test]
fn values_are_hidden_in_every_text_and_restored_at_every_cut_but_sealed_reasoning_stays_as_it_is() {
    let gateway = gateway(|config| config["redaction"] = redaction("tokenize", true, false));
    let ask = json!({
        "model": "gpt", "stream": true, "instructions": format!("Serve {MAIL}."),
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": format!("I am {MAIL}")}]},
            {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": format!("the mail is {MAIL}")}], "encrypted_content": "gAAA"},
            {"type": "function_call", "call_id": "t1", "name": "f", "arguments": format!("{{\"to\":\"{MAIL}\"}}")},
            {"type": "function_call_output", "call_id": "t1", "output": format!("sent to {MAIL}")},
        ],
    });
    let body = ask.to_string();
    let run = |body: &str, answers: &[Answer], cuts| {
        gateway.run(&headers("/v1/responses"), body.as_bytes(), answers, Cuts::Whole, cuts)
    };
    let sent: Value =
        serde_json::from_slice(&run(&body, &[answer(200, "text/event-stream", "")], Cuts::Whole).sent[0].2)
            .unwrap();
    let instructions = sent["instructions"].as_str().unwrap();
    let placeholder = instructions.strip_prefix("Serve ").unwrap().strip_suffix('.').unwrap().to_owned();
    let mut expected = ask.clone();
    let hidden = |text: &str| json!(text.replace(MAIL, &placeholder));
    expected["model"] = json!("open/m");
    expected["instructions"] = json!(instructions);
    expected["input"][0]["content"][0]["text"] = hidden(&format!("I am {MAIL}"));
    expected["input"][2]["arguments"] = hidden(&format!("{{\"to\":\"{MAIL}\"}}"));
    expected["input"][3]["output"] = hidden(&format!("sent to {MAIL}"));
    // All but the thought, which is sealed.
    assert_eq!(sent, expected);
    let (a, b) = placeholder.split_at(placeholder.len() / 2);
    let thought = format!("about {placeholder}");
    let (open, close) = (format!("{{\"to\":\"{a}"), format!("{b}\"}}"));
    let all = events(instructions, &thought, &["To ", a, b], &[&open, &close]);
    let answered = stream(&all);
    for at in 0..=answered.len() {
        let out = run(&body, &[answer(200, "text/event-stream", answered.clone())], Cuts::At(at));
        let events = told(&out.body);
        assert_eq!(said(&events, 0), thought, "cut at {at}");
        assert_eq!(said(&events, 1), format!("To {MAIL}"), "cut at {at}");
        assert_eq!(said(&events, 2), format!("{{\"to\":\"{MAIL}\"}}"), "cut at {at}");
        let of = |kind: &str| events.iter().position(|e| e["type"] == kind).unwrap();
        // What was held back comes before its part's end, which repeats it all.
        let done = of("response.output_text.done");
        assert_eq!(
            (said(&events[..done], 1), &events[done]["text"]),
            (format!("To {MAIL}"), &json!(format!("To {MAIL}")))
        );
        assert_eq!(events[of("response.content_part.done")]["part"]["text"], format!("To {MAIL}"));
        assert_eq!(
            events[of("response.function_call_arguments.done")]["arguments"],
            format!("{{\"to\":\"{MAIL}\"}}")
        );
        assert_eq!(events[0]["response"]["instructions"], format!("Serve {MAIL}."));
        let end = &events[of("response.completed")]["response"];
        assert_eq!(end["instructions"], format!("Serve {MAIL}."));
        assert_eq!(end["output"][0]["summary"][0]["text"], json!(thought));
        assert_eq!(end["output"][0]["encrypted_content"], "gAAA");
        assert_eq!(end["output"][1]["content"][0]["text"], format!("To {MAIL}"));
        assert_eq!(end["output"][2]["arguments"], format!("{{\"to\":\"{MAIL}\"}}"));
    }
    // Whole, too.
    let mut whole = all.last().unwrap()["response"].clone();
    let json = answer(200, "application/json", whole.to_string());
    let out = run(&body.replace("\"stream\":true", "\"stream\":false"), &[json], Cuts::Whole);
    whole["instructions"] = json!(format!("Serve {MAIL}."));
    whole["output"][1]["content"][0]["text"] = json!(format!("To {MAIL}"));
    whole["output"][2]["arguments"] = json!(format!("{{\"to\":\"{MAIL}\"}}"));
    assert_eq!(serde_json::from_slice::<Value>(&out.body).unwrap(), whole);
}

#[test]
fn what_the_model_says_is_masked_where_it_is_streamed_and_where_it_is_repeated() {
    let gateway = gateway(|config| config["redaction"] = redaction("mask", false, true));
    let pieces = ["Write to ", "jane.doe", "+x@example.org", " now"];
    let arguments = ["{\"to\":\"jane.doe+x@exa", "mple.org\"}"];
    // What repeats the request is the client's own.
    let body = stream(&events(&format!("Serve {MAIL}."), "hm", &pieces, &arguments));
    let whole = {
        let sse = answer(200, "text/event-stream", body.clone());
        gateway.run(&headers("/v1/responses"), ASK.as_bytes(), &[sse], Cuts::Whole, Cuts::Whole).body
    };
    let text = |body: &[u8]| {
        let events = told(body);
        let end = events.last().unwrap()["response"].clone();
        (said(&events, 1), said(&events, 2), end)
    };
    for at in 0..=body.len() {
        let sse = answer(200, "text/event-stream", body.clone());
        let out = gateway.run(&headers("/v1/responses"), ASK.as_bytes(), &[sse], Cuts::Whole, Cuts::At(at));
        assert_eq!(text(&out.body), text(&whole), "cut at {at}");
        let (said, arguments, end) = text(&out.body);
        assert_eq!((said.as_str(), arguments.as_str()), ("Write to [EMAIL] now", "{\"to\":\"[EMAIL]\"}"));
        assert_eq!(end["output"][1]["content"][0]["text"], json!(said));
        assert_eq!(end["output"][2]["arguments"], json!(arguments));
        assert_eq!(end["instructions"], format!("Serve {MAIL}."));
    }
}

#[test]
fn an_answer_that_is_blocked_ends_as_a_filtered_one_at_every_cut() {
    let gateway = gateway(|config| config["redaction"] = redaction("block", false, true));
    let pieces = ["Write to ", "jane.doe", "+x@example.org", " soon, and then rest."];
    let body = stream(&events("Be brief.", "hm", &pieces, &["{}"]));
    for at in 0..=body.len() {
        let sse = answer(200, "text/event-stream", body.clone());
        let out = gateway.run(&headers("/v1/responses"), ASK.as_bytes(), &[sse], Cuts::Whole, Cuts::At(at));
        let events = told(&out.body);
        assert!(!String::from_utf8_lossy(&out.body).contains("jane"), "cut at {at}");
        let end = events.last().unwrap();
        assert_eq!(end["type"], "response.incomplete");
        assert_eq!(end["response"]["incomplete_details"]["reason"], "content_filter");
        assert_eq!(
            (&end["response"]["id"], &end["response"]["status"]),
            (&json!("resp_1"), &json!("incomplete"))
        );
        let span = out.span.unwrap();
        assert_eq!((span.error.as_deref(), span.usage.output), (Some("content_blocked"), 25));
    }
    let all = events("Be brief.", "hm", &pieces, &["{}"]);
    let whole = all.last().unwrap()["response"].to_string();
    let json = answer(200, "application/json", whole);
    let ask = ASK.replace("true", "false");
    let out = gateway.run(&headers("/v1/responses"), ask.as_bytes(), &[json], Cuts::Whole, Cuts::Whole);
    let got = read(&out.body);
    assert_eq!(
        (&got["status"], &got["incomplete_details"]["reason"]),
        (&json!("incomplete"), &json!("content_filter"))
    );
    assert_eq!(got["output"][1]["content"][0]["text"], "");
}

#[test]
fn a_conversation_is_carried_to_vllm_and_its_stream_back_at_every_cut() {
    let gateway = gateway(|config| config["redaction"] = redaction("tokenize", true, false));
    let ask = json!({
        "model": "gpu", "stream": true, "instructions": format!("Serve {MAIL}."), "max_output_tokens": 50,
        "input": [
            {"role": "user", "content": "Weather?"},
            {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{\"x\":1}"},
            {"type": "function_call_output", "call_id": "a", "output": "sun"},
        ],
        "tools": [{"type": "function", "name": "f", "description": "F.", "parameters": {"type": "object"}, "strict": null}],
        "store": true,
    });
    let sent = sent_body;
    let run = |body: &str, at: usize| {
        let sse = answer(200, "text/event-stream; charset=utf-8", body);
        gateway.run(&headers("/v1/responses"), ask.to_string().as_bytes(), &[sse], Cuts::Whole, Cuts::At(at))
    };
    let first = run("data: [DONE]\n\n", 0);
    let system = sent(&first)["messages"][0]["content"].as_str().unwrap().to_owned();
    let placeholder = system.strip_prefix("Serve ").unwrap().strip_suffix('.').unwrap();
    let (a, b) = placeholder.split_at(3);
    let choice = |delta: Value| json!({"id": "c", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": null}]});
    let call = |more: Value| choice(json!({"tool_calls": [more]}));
    let chunks = [
        choice(json!({"role": "assistant", "content": ""})),
        choice(json!({"reasoning_content": "hm"})),
        choice(json!({"content": format!("Mail {a}")})),
        choice(json!({"content": b})),
        call(json!({"index": 0, "id": "t0", "type": "function", "function": {"name": "f", "arguments": ""}})),
        call(json!({"index": 0, "function": {"arguments": format!("{{\"to\":\"{placeholder}\"}}")}})),
        call(
            json!({"index": 1, "id": "t1", "type": "function", "function": {"name": "f", "arguments": "{}"}}),
        ),
        json!({"id": "c", "model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}),
        json!({"id": "c", "model": "m", "choices": [], "usage": {"prompt_tokens": 30, "completion_tokens": 9, "prompt_tokens_details": {"cached_tokens": 20}}}),
    ];
    let mut body: String = chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect();
    body.push_str("data: [DONE]\n\n");
    let whole = run(&body, 0);
    let request = sent(&whole);
    assert_eq!(request["messages"][3]["content"], "sun");
    let roles: Vec<&str> =
        request["messages"].as_array().unwrap().iter().map(|m| m["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["system", "user", "assistant", "tool"]);
    assert_eq!(
        (&request["max_completion_tokens"], &request["stream_options"]["include_usage"]),
        (&json!(50), &json!(true))
    );
    assert!(whole.sent[0].1.iter().any(|(n, v)| n == ":path" && v == "/v1/chat/completions"));
    let events = told(&whole.body);
    assert_eq!((said(&events, 0), said(&events, 1)), ("hm".into(), format!("Mail {MAIL}")));
    assert_eq!((said(&events, 2), said(&events, 3)), (format!("{{\"to\":\"{MAIL}\"}}"), "{}".into()));
    let end = &events.last().unwrap()["response"];
    assert_eq!(events.last().unwrap()["type"], "response.completed");
    assert!(end["id"].as_str().unwrap().starts_with("resp_"));
    assert_eq!(
        (&end["model"], &end["store"], &end["max_output_tokens"]),
        (&json!("gpu"), &json!(false), &json!(50))
    );
    assert_eq!((&end["instructions"], &end["tools"]), (&ask["instructions"], &ask["tools"]));
    let kinds: Vec<&str> =
        end["output"].as_array().unwrap().iter().map(|i| i["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["reasoning", "message", "function_call", "function_call"]);
    assert_eq!(end["output"][2]["call_id"], "t0");
    assert_eq!(
        end["usage"],
        json!({"input_tokens": 30, "input_tokens_details": {"cached_tokens": 20, "cache_write_tokens": 0},
               "output_tokens": 9, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 39})
    );
    let span = whole.span.as_ref().unwrap();
    assert_eq!(
        (span.usage.input, span.usage.output, span.losses.as_str()),
        (30, 9, "store: nothing is kept: the next request must bring the whole conversation")
    );
    for at in 0..=body.len() {
        let out = run(&body, at);
        let (mut a, mut b) = (told(&out.body), events.clone());
        // The second of its making is the test's own.
        for event in a.iter_mut().chain(b.iter_mut()) {
            event["response"]["created_at"] = json!(0);
        }
        let texts = |events: &[Value]| (0..4).map(|item| said(events, item)).collect::<Vec<_>>();
        assert_eq!(texts(&a), texts(&b), "cut at {at}");
        assert_eq!(a.last(), b.last(), "cut at {at}");
    }
}

#[test]
fn the_other_dialects_answer_as_responses_whole_streamed_and_in_error() {
    let gateway = gateway(|_| ());
    let ask =
        |model: &str, stream: bool| json!({"model": model, "input": "hi", "stream": stream}).to_string();
    let run = |model: &str, stream: bool, sent: Answer| {
        gateway.run(
            &headers("/v1/responses"),
            ask(model, stream).as_bytes(),
            &[sent.clone(), sent],
            Cuts::Whole,
            Cuts::Every(5),
        )
    };
    let messages = json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude/m", "stop_reason": "max_tokens",
        "stop_sequence": null, "usage": {"input_tokens": 10, "cache_read_input_tokens": 90, "output_tokens": 25},
        "content": [{"type": "thinking", "thinking": "hm", "signature": "sig"}, {"type": "text", "text": "Once"}],
    });
    let out = run("claude", false, answer(200, "application/json", messages.to_string()));
    let got = read(&out.body);
    assert_eq!(
        (&got["status"], &got["incomplete_details"]["reason"]),
        (&json!("incomplete"), &json!("max_output_tokens"))
    );
    assert_eq!(got["output"][0]["encrypted_content"], "weir.signed.sig");
    assert_eq!(got["usage"]["input_tokens"], 100);
    let converse = json!({
        "output": {"message": {"role": "assistant", "content": [{"toolUse": {"toolUseId": "t", "name": "f", "input": {"a": 1}}}]}},
        "stopReason": "tool_use", "usage": {"inputTokens": 3, "outputTokens": 4, "totalTokens": 7}, "metrics": {"latencyMs": 1},
    });
    let out = run("aws", false, answer(200, "application/json", converse.to_string()));
    let got = read(&out.body);
    assert_eq!(
        (&got["status"], &got["output"][0]["call_id"], &got["output"][0]["arguments"]),
        (&json!("completed"), &json!("t"), &json!("{\"a\":1}"))
    );
    // Errors are OpenAI's own.
    let mut throttled = answer(429, "application/json", r#"{"message":"Too many tokens"}"#);
    throttled.headers.push(("x-amzn-errortype".into(), "ThrottlingException".into()));
    assert_eq!(error(&run("aws", false, throttled)).1, "rate_limit_error");
    // A stream that breaks ends as one that failed.
    let broken = "data: {\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"},\"finish_reason\":null}]}\n\ndata: {\"error\":{\"message\":\"gone\",\"code\":500}}\n\n";
    let out = run("gpu", true, answer(200, "text/event-stream", broken));
    let events = told(&out.body);
    let kinds: Vec<&str> = events.iter().map(|e| e["type"].as_str().unwrap()).collect();
    assert_eq!(kinds[kinds.len() - 2..], ["error", "response.failed"]);
    assert_eq!(events[events.len() - 2]["error"]["message"], "gone");
    // What those keep no memory for is refused by name.
    for (field, value) in [
        ("previous_response_id", json!("resp_1")),
        ("conversation", json!("conv_1")),
        ("tools", json!([{"type": "web_search"}])),
    ] {
        for model in ["gpu", "claude", "aws"] {
            let body = json!({"model": model, "input": "hi", field: value});
            let none = answer(200, "application/json", "{}");
            let out = gateway.run(
                &headers("/v1/responses"),
                body.to_string().as_bytes(),
                &[none],
                Cuts::Whole,
                Cuts::Whole,
            );
            let (status, kind, code, param) = error(&out);
            assert_eq!(
                (status, kind.as_str(), code.as_str()),
                (400, "invalid_request_error", "unsupported_value")
            );
            assert!(param.starts_with(field), "{param}");
        }
    }
    let body = json!({"model": "gpt", "input": "hi", "background": true}).to_string();
    let out = gateway.run(&headers("/v1/responses"), body.as_bytes(), &[], Cuts::Whole, Cuts::Whole);
    assert_eq!(error(&out).3, "background");
    let get = [
        (":method", "GET"),
        (":path", "/v1/responses/resp_1"),
        (":scheme", "https"),
        (":authority", "x"),
        ("authorization", "Bearer key"),
    ];
    assert_eq!(gateway.run(&get, b"", &[], Cuts::Whole, Cuts::Whole).status, 404);
}

#[test]
fn a_response_that_fails_before_its_first_word_goes_to_the_next_target() {
    let gateway = gateway(|_| ());
    let created = json!({"type": "response.created", "response": response("in_progress", "x", &[])});
    let mut failed = response("failed", "x", &[]);
    failed["error"] = json!({"code": "server_error", "message": "busy"});
    let failed = json!({"type": "response.failed", "response": failed});
    let flat = json!({"type": "error", "code": "rate_limit_exceeded", "message": "slow down", "param": null});
    let ask = ASK.replace("gpt", "both");
    let good = "data: {\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    for bad in [&[created.clone(), failed][..], &[created, flat]] {
        let body = stream(bad);
        for at in 0..=body.len() {
            let answers =
                [answer(200, "text/event-stream", body.clone()), answer(200, "text/event-stream", good)];
            let out =
                gateway.run(&headers("/v1/responses"), ask.as_bytes(), &answers, Cuts::Whole, Cuts::At(at));
            assert_eq!(out.sent.len(), 2, "cut at {at}");
            assert_eq!(said(&told(&out.body), 0), "Hi", "cut at {at}");
        }
    }
}

#[test]
fn reasoning_that_another_provider_signed_is_left_out_for_openai_and_named() {
    let gateway = gateway(|_| ());
    let user = json!({"role": "user", "content": "x"});
    let foreign =
        |seal: &str| json!({"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": seal});
    let own = foreign("gAAA");
    let input = json!([user, foreign("weir.signed.x"), own, foreign("weir.sealed.x"), user]);
    let json = answer(200, "application/json", response("completed", "x", &[]).to_string());
    let ask = json!({"model": "gpt", "input": input}).to_string();
    let out = gateway.run(&headers("/v1/responses"), ask.as_bytes(), &[json], Cuts::Whole, Cuts::Whole);
    let sent = sent_body(&out);
    assert_eq!(sent, json!({"model": "open/m", "input": [user, own, user]}));
    assert_eq!(out.span.unwrap().losses.lines().count(), 2);
}

#[test]
fn a_budget_bounds_the_answer_in_its_own_field_and_settles_by_the_bill() {
    let gateway = gateway(budgeted);
    let sse = answer(200, "text/event-stream", stream(&events("x", "hm", &["Hello"], &["{}"])));
    let out = gateway.run(&headers("/v1/responses"), ASK.as_bytes(), &[sse], Cuts::Whole, Cuts::Every(9));
    let sent = sent_body(&out);
    assert_eq!(sent["max_output_tokens"], 4096);
    assert_eq!((out.reserved, out.settled.last().unwrap().as_slice()), (1, &[125][..]));
    // What the provider brings by itself is bounded by nothing.
    let ask = json!({"model": "gpt", "input": "x", "tools": [{"type": "web_search"}]}).to_string();
    let out = gateway.run(&headers("/v1/responses"), ask.as_bytes(), &[], Cuts::Whole, Cuts::Whole);
    assert_eq!((error(&out).2, error(&out).3), ("unboundable".to_owned(), "tools".to_owned()));
    // A history that is not seen here is bounded by the window.
    let ask = json!({"model": "gpt", "input": "x", "previous_response_id": "resp_0"}).to_string();
    let json = answer(200, "application/json", response("completed", "x", &[]).to_string());
    let out = gateway.run(&headers("/v1/responses"), ask.as_bytes(), &[json], Cuts::Whole, Cuts::Whole);
    assert!(out.asked[0][0].full >= 100_000, "{:?}", out.asked);
    assert_eq!(out.settled.last().unwrap(), &[125]);
}

#[test]
fn where_the_provider_keeps_the_conversation_no_placeholder_is_given_out() {
    let gateway = gateway(|config| config["redaction"] = redaction("tokenize", true, false));
    let ask = json!({"model": "gpt", "input": format!("I am {MAIL}"), "previous_response_id": "resp_0"})
        .to_string();
    let json = answer(200, "application/json", response("completed", "x", &[]).to_string());
    let out = gateway.run(&headers("/v1/responses"), ask.as_bytes(), &[json], Cuts::Whole, Cuts::Whole);
    let sent = sent_body(&out);
    assert_eq!(sent["input"], "I am [EMAIL]");
}
