//! What goes wrong between OpenAI's chat and Converse elsewhere, one row a test: each is a defect that some gateway was
//! seen to have.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests stop at what they do not expect"
)]

use serde_json::{Value, json};
use weir_dialects::hub::{Event, Failure, Finish, Usage};
use weir_dialects::{bedrock, openai_chat};
use weir_wire::eventstream;
use weir_wire::json::{Limits, parse};

const CLAUDE: &str = "us.anthropic.claude-sonnet-4-6";
const NOVA: &str = "us.amazon.nova-lite-v1:0";
const LLAMA: &str = "meta.llama3-1-70b-instruct-v1:0";

/// A chat of these members as Converse sees it: path, body, what was lost; or the field that is refused.
fn converse(model: &str, members: Value) -> Result<(String, Value, Vec<String>), String> {
    let mut chat = json!({"model": "asked", "messages": [{"role": "user", "content": "Hi"}]});
    for (key, value) in members.as_object().unwrap() {
        chat[key] = value.clone();
    }
    let body = chat.to_string();
    let doc = parse(body.as_bytes(), &Limits::default()).unwrap();
    let (chat, mut losses) = openai_chat::decode(&doc).map_err(|why| why.param.clone())?;
    let encoded = bedrock::encode(&chat, model).map_err(|why| why.param.clone())?;
    losses.extend(encoded.losses);
    let body = serde_json::from_slice(&encoded.body).unwrap();
    Ok((encoded.path, body, losses.into_iter().map(|loss| loss.path).collect()))
}

fn body(model: &str, members: Value) -> Value {
    converse(model, members).unwrap().1
}

fn lost(model: &str, members: Value) -> Vec<String> {
    converse(model, members).unwrap().2
}

fn messages(all: Value) -> Value {
    json!({"messages": all})
}

fn call(id: &str, arguments: &str) -> Value {
    json!({"id": id, "type": "function", "function": {"name": "f", "arguments": arguments}})
}

fn tool() -> Value {
    json!({"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}})
}

#[test]
fn the_model_is_in_the_path_encoded_once_and_not_in_the_body() {
    let (path, body, _) = converse(NOVA, json!({})).unwrap();
    assert_eq!(path, "/model/us.amazon.nova-lite-v1%3A0/converse");
    assert_eq!(body.get("model"), None);
    let (path, ..) = converse("arn:aws:bedrock:r:1:inference-profile/x", json!({"stream": true})).unwrap();
    assert_eq!(path, "/model/arn%3Aaws%3Abedrock%3Ar%3A1%3Ainference-profile%2Fx/converse-stream");
}

#[test]
fn all_system_texts_are_collected_and_empty_ones_left_out() {
    let all = messages(json!([
        {"role": "system", "content": "a"}, {"role": "developer", "content": "b"}, {"role": "system", "content": ""},
        {"role": "user", "content": "u"}, {"role": "system", "content": "late"}, {"role": "assistant", "content": "x"},
    ]));
    assert_eq!(body(CLAUDE, all.clone())["system"], json!([{"text": "a"}, {"text": "b"}, {"text": "late"}]));
    assert!(lost(CLAUDE, all).contains(&"messages[4]".to_owned()), "that it was moved is said");
}

#[test]
fn a_blank_text_is_no_block() {
    let parts = json!([{"type": "text", "text": " \n"}, {"type": "text", "text": "a"}]);
    let all = messages(json!([{"role": "user", "content": parts}]));
    assert_eq!(body(CLAUDE, all.clone())["messages"][0]["content"], json!([{"text": "a"}]));
    assert_eq!(lost(CLAUDE, all), ["messages[0]"]);
}

#[test]
fn pictures_are_bytes_and_never_addresses() {
    let picture = |url: &str| {
        messages(
            json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url, "detail": "high"}}]}]),
        )
    };
    let sent = body(CLAUDE, picture("data:image/jpg;base64,AAAA"));
    let image = json!({"format": "jpeg", "source": {"bytes": "AAAA"}});
    assert_eq!(sent["messages"][0]["content"][0]["image"], image);
    assert!(lost(CLAUDE, picture("data:image/png;base64,AAAA")).iter().any(|path| path.ends_with("detail")));
    assert!(converse(CLAUDE, picture("https://e.example/x.png")).is_err());
}

#[test]
fn a_file_has_a_clean_name_and_a_text_beside_it() {
    let file =
        json!({"filename": "Q3 report (final)_v2.pdf", "file_data": "data:application/pdf;base64,AAAA"});
    let sent = body(CLAUDE, messages(json!([{"role": "user", "content": [{"type": "file", "file": file}]}])));
    let content = &sent["messages"][0]["content"];
    assert_eq!(content[0]["document"]["name"], "Q3 report (final)-v2");
    assert!(content[1]["text"].is_string(), "{content}");
}

#[test]
fn sound_is_a_block() {
    let audio = json!({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}});
    let sent = body(NOVA, messages(json!([{"role": "user", "content": [audio]}])));
    assert_eq!(
        sent["messages"][0]["content"][0]["audio"],
        json!({"format": "mp3", "source": {"bytes": "AAAA"}})
    );
}

#[test]
fn arguments_are_an_object_or_refused() {
    let all = |arguments: &str| {
        messages(
            json!([{"role": "user", "content": "u"}, {"role": "assistant", "content": null, "tool_calls": [call("c", arguments)]},
            {"role": "tool", "tool_call_id": "c", "content": "r"}]),
        )
    };
    let input =
        |arguments| body(CLAUDE, all(arguments))["messages"][1]["content"][0]["toolUse"]["input"].clone();
    assert_eq!((input(""), input("{\"a\": 1}")), (json!({}), json!({"a": 1})));
    assert!(converse(CLAUDE, all("[1]")).is_err() && converse(CLAUDE, all("{")).is_err());
    let sent = body(CLAUDE, all("{}"));
    assert_eq!(sent["messages"][1]["content"].as_array().unwrap().len(), 1, "null is no text: {sent}");
    // Bedrock demands the tools as soon as the history has a call.
    assert_eq!(sent["toolConfig"]["tools"][0]["toolSpec"]["name"], "f");
}

#[test]
fn a_call_and_its_result_keep_one_id_whatever_its_form() {
    let id = format!("call {}", "é".repeat(80));
    let all = messages(
        json!([{"role": "user", "content": "u"}, {"role": "assistant", "tool_calls": [call(&id, "{}")]},
        {"role": "tool", "tool_call_id": id, "content": "r"}]),
    );
    let sent = body(CLAUDE, all);
    let used = sent["messages"][1]["content"][0]["toolUse"]["toolUseId"].as_str().unwrap();
    assert_eq!(sent["messages"][2]["content"][0]["toolResult"]["toolUseId"], used);
    assert!(
        used.len() <= 64 && used.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.:-".contains(&b)),
        "{used}"
    );
}

#[test]
fn results_stand_in_one_user_turn_in_the_order_of_their_calls_before_its_text() {
    let all = messages(json!([{"role": "user", "content": "u"},
        {"role": "assistant", "tool_calls": [call("a", "{}"), call("b", "{}")]},
        {"role": "tool", "tool_call_id": "b", "content": ""}, {"role": "tool", "tool_call_id": "a", "content": "1"},
        {"role": "user", "content": "go on"}]));
    let sent = body(CLAUDE, all.clone());
    let turn = &sent["messages"][2];
    let ids: Vec<&Value> =
        turn["content"].as_array().unwrap().iter().map(|block| &block["toolResult"]["toolUseId"]).collect();
    assert_eq!((turn["role"].as_str(), ids), (Some("user"), vec![&json!("a"), &json!("b"), &Value::Null]));
    assert_eq!(
        turn["content"][1]["toolResult"]["content"],
        json!([{"text": "(no output)"}]),
        "empty is refused"
    );
    assert_eq!(sent["messages"].as_array().unwrap().len(), 3);
    assert!(lost(CLAUDE, all).contains(&"messages[2]".to_owned()));
}

#[test]
fn neighbours_of_one_role_are_one_turn_and_the_user_begins_where_that_is_demanded() {
    let all = messages(
        json!([{"role": "assistant", "content": "x"}, {"role": "user", "content": "a"}, {"role": "user", "content": "b"}]),
    );
    let roles = |model| -> Vec<String> {
        let sent = body(model, all.clone());
        sent["messages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|turn| turn["role"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(roles(CLAUDE), ["assistant", "user"]);
    assert_eq!(roles(NOVA), ["user", "assistant", "user"]);
}

#[test]
fn tools_have_a_schema_and_no_empty_description() {
    let tools =
        json!([{"type": "function", "function": {"name": "my.tool", "description": "", "strict": true}}]);
    let (_, sent, _) = converse(CLAUDE, json!({"tools": tools})).unwrap();
    let spec = &sent["toolConfig"]["tools"][0]["toolSpec"];
    assert_eq!(spec["inputSchema"]["json"], json!({"type": "object", "properties": {}}));
    assert_eq!((spec.get("description"), &spec["strict"]), (None, &json!(true)));
    let name = spec["name"].as_str().unwrap();
    assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)), "{name}");
}

#[test]
fn a_choice_of_none_is_the_absence_of_tools_unless_the_history_has_some() {
    let with = |choice: Value| json!({"tools": [tool()], "tool_choice": choice});
    let choice = |asked: Value| body(CLAUDE, with(asked))["toolConfig"]["toolChoice"].clone();
    assert_eq!(choice(json!("auto")), json!({"auto": {}}));
    assert_eq!(choice(json!("required")), json!({"any": {}}));
    assert_eq!(
        choice(json!({"type": "function", "function": {"name": "f"}})),
        json!({"tool": {"name": "f"}})
    );
    assert_eq!(body(CLAUDE, with(json!("none"))).get("toolConfig"), None);
    let mut history = with(json!("none"));
    history["messages"] = json!([{"role": "user", "content": "u"}, {"role": "assistant", "tool_calls": [call("a", "{}")]},
        {"role": "tool", "tool_call_id": "a", "content": "1"}]);
    let (_, sent, lost) = converse(CLAUDE, history).unwrap();
    assert!(sent["toolConfig"]["tools"].is_array() && sent["toolConfig"].get("toolChoice").is_none());
    assert!(lost.contains(&"tool_choice".to_owned()));
}

#[test]
fn one_call_at_a_time_is_claudes_word_and_a_loss_elsewhere() {
    let asked = json!({"tools": [tool()], "parallel_tool_calls": false});
    let choice = json!({"type": "auto", "disable_parallel_tool_use": true});
    assert_eq!(body(CLAUDE, asked.clone())["additionalModelRequestFields"]["tool_choice"], choice);
    assert_eq!(lost(LLAMA, asked), ["parallel_tool_calls"]);
}

#[test]
fn a_ceiling_is_written_only_where_one_is_asked() {
    assert_eq!(body(CLAUDE, json!({})).get("inferenceConfig"), None);
    for field in ["max_tokens", "max_completion_tokens"] {
        assert_eq!(body(CLAUDE, json!({field: 7}))["inferenceConfig"], json!({"maxTokens": 7}));
    }
}

#[test]
fn temperatures_end_at_one_and_stop_texts_are_not_blank() {
    assert_eq!(body(CLAUDE, json!({"temperature": 1.7}))["inferenceConfig"]["temperature"], 1.0);
    assert_eq!(lost(CLAUDE, json!({"temperature": 1.7})), ["temperature"]);
    assert_eq!(converse(CLAUDE, json!({"temperature": -1})).unwrap_err(), "temperature");
    assert_eq!(body(CLAUDE, json!({"stop": "END"}))["inferenceConfig"]["stopSequences"], json!(["END"]));
    assert_eq!(body(CLAUDE, json!({"stop": [" ", "E"]}))["inferenceConfig"]["stopSequences"], json!(["E"]));
}

#[test]
fn a_schema_is_a_text_and_json_without_one_cannot_be_demanded() {
    let schema = json!({"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}});
    let sent = body(CLAUDE, json!({"response_format": schema}));
    let held = &sent["outputConfig"]["textFormat"]["structure"]["jsonSchema"];
    assert_eq!((held["schema"].as_str(), held["name"].as_str()), (Some(r#"{"type":"object"}"#), Some("n")));
    assert_eq!(lost(CLAUDE, json!({"response_format": {"type": "json_object"}})), ["response_format"]);
}

#[test]
fn tiers_and_labels_keep_to_bedrocks_words() {
    assert_eq!(body(CLAUDE, json!({"service_tier": "flex"}))["serviceTier"], json!({"type": "flex"}));
    assert_eq!(body(CLAUDE, json!({"service_tier": "auto"})).get("serviceTier"), None);
    assert_eq!(lost(CLAUDE, json!({"service_tier": "scale"})), ["service_tier"]);
    let many: serde_json::Map<String, Value> = (0..20).map(|at| (format!("k{at}"), json!("v!"))).collect();
    let sent = body(CLAUDE, json!({"metadata": many}));
    let labels = sent["requestMetadata"].as_object().unwrap();
    assert!(labels.len() == 16 && labels.values().all(|value| value == "v_"), "{labels:?}");
}

#[test]
fn what_would_change_the_answers_form_is_refused_and_the_rest_is_named() {
    for (field, value) in [("n", json!(2)), ("logprobs", json!(true))] {
        assert_eq!(converse(CLAUDE, json!({field: value})).unwrap_err(), field);
    }
    for (field, value) in [
        ("seed", json!(1)),
        ("frequency_penalty", json!(0.5)),
        ("presence_penalty", json!(0.5)),
        ("logit_bias", json!({"5": 1})),
        ("prediction", json!({"type": "content", "content": "x"})),
        ("store", json!(true)),
        ("web_search_options", json!({})),
    ] {
        let told = converse(CLAUDE, json!({field: value}));
        assert!(
            told.as_ref().is_ok_and(|(.., lost)| lost.contains(&field.to_owned())) || told.is_err(),
            "{field}: {told:?}"
        );
    }
}

#[test]
fn an_answer_is_put_together_as_chats_have_it() {
    let answer = |content: Value| {
        let usage = json!({"inputTokens": 433, "outputTokens": 16, "totalTokens": 3204, "cacheReadInputTokens": 2752, "cacheWriteInputTokens": 3});
        let body = json!({"output": {"message": {"role": "assistant", "content": content}}, "stopReason": "tool_use", "usage": usage});
        let decoded =
            bedrock::decode_answer(body.to_string().as_bytes(), &bedrock::Renames::default()).unwrap();
        let context =
            openai_chat::AnswerContext { id: "chatcmpl-aws1".into(), created: 7, model: "asked".into() };
        serde_json::from_slice::<Value>(&openai_chat::encode_answer(&decoded, &context)).unwrap()
    };
    let call = json!({"toolUse": {"toolUseId": "t", "name": "f", "input": {"a": 1}}});
    let said = answer(json!([{"text": "a"}, {"text": "b"}, call]));
    let message = &said["choices"][0]["message"];
    assert_eq!(
        (message["content"].as_str(), said["choices"][0]["finish_reason"].as_str()),
        (Some("ab"), Some("tool_calls"))
    );
    assert_eq!(message["tool_calls"][0]["function"]["arguments"], r#"{"a":1}"#);
    assert_eq!(
        (&said["id"], &said["created"], &said["model"]),
        (&json!("chatcmpl-aws1"), &json!(7), &json!("asked"))
    );
    let usage = &said["usage"];
    assert_eq!((&usage["prompt_tokens"], &usage["completion_tokens"]), (&json!(3188), &json!(16)));
    assert_eq!(usage["prompt_tokens_details"]["cached_tokens"], 2752);
    assert_eq!(answer(json!([call]))["choices"][0]["message"]["content"], Value::Null);
    let thought = json!({"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}});
    assert_eq!(answer(json!([thought, {"text": "x"}]))["choices"][0]["message"]["reasoning_content"], "hm");
}

fn frame(kind: &str, name: &str, value: &str, payload: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    eventstream::encode(&mut out, &[(name, value), (":message-type", kind)], payload.to_string().as_bytes());
    out
}

/// What a client of chats reads of these frames.
fn chunks(frames: &[Vec<u8>]) -> (Vec<Event>, String) {
    let mut decoder = bedrock::StreamDecoder::new(bedrock::Renames::default());
    let context = openai_chat::AnswerContext { id: "i".into(), created: 1, model: "m".into() };
    let mut encoder = openai_chat::StreamEncoder::new(&context, true);
    let (mut events, mut out) = (Vec::new(), Vec::new());
    frames.iter().for_each(|frame| decoder.push(frame, &mut events));
    decoder.finish(&mut events);
    events.iter().for_each(|event| encoder.event(event, &mut out));
    (events, String::from_utf8(out).unwrap())
}

#[test]
fn a_stream_counts_calls_not_blocks_and_tells_its_usage_last() {
    let event = |kind: &str, payload: Value| frame("event", ":event-type", kind, &payload);
    let frames = [
        event("messageStart", json!({"role": "assistant", "p": "abcdef"})),
        // No start for a text.
        event("contentBlockDelta", json!({"contentBlockIndex": 0, "delta": {"text": "a"}})),
        event("contentBlockStop", json!({"contentBlockIndex": 0})),
        event(
            "contentBlockStart",
            json!({"contentBlockIndex": 1, "start": {"toolUse": {"toolUseId": "t", "name": "f"}}}),
        ),
        event("contentBlockStop", json!({"contentBlockIndex": 1})),
        event("messageStop", json!({"stopReason": "tool_use"})),
        event("metadata", json!({"usage": {"inputTokens": 1, "outputTokens": 2, "totalTokens": 3}})),
    ];
    let (events, text) = chunks(&frames);
    let tool = Event::ToolStart { choice: 0, index: 0, id: "t".into(), name: "f".into() };
    assert!(
        events.contains(&tool) && events.contains(&Event::Finish { choice: 0, finish: Finish::ToolCalls })
    );
    // A tool without arguments is one without input, not one of broken input.
    assert!(events.contains(&Event::ToolArguments { choice: 0, index: 0, text: "{}".into() }));
    assert!(events.contains(&Event::Usage(Usage { input: 1, output: 2, ..Usage::default() })));
    let place = |what: &str| text.find(what).unwrap_or_else(|| panic!("{what}: {text}"));
    assert!(place("\"role\"") < place("\"a\"") && place("\"a\"") < place("tool_calls\"}"), "{text}");
    assert!(
        place("tool_calls\"}") < place("\"prompt_tokens\"") && place("\"prompt_tokens\"") < place("[DONE]")
    );
    assert!(!text.contains("abcdef"), "padding is nobody's business");
}

#[test]
fn an_exception_in_a_stream_is_an_error_and_no_end() {
    let start = frame("event", ":event-type", "messageStart", &json!({"role": "assistant"}));
    let exception = frame("exception", ":exception-type", "throttlingException", &json!({"message": "slow"}));
    let error = frame("error", ":error-code", "internalServerException", &json!({}));
    for (last, status) in [(exception, 429), (error, 500)] {
        let (events, text) = chunks(&[start.clone(), last]);
        assert!(
            matches!(events.last(), Some(Event::Error(Failure { status: told, .. })) if *told == status),
            "{events:?}"
        );
        assert!(text.contains("\"error\"") && !text.contains("[DONE]"), "{text}");
    }
}
