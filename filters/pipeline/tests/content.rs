//! What a span shows of what was said: in the conventions' form, the same of every dialect, whole or streamed; bounded;
//! and nothing of a value that the policy hides, wherever it stands, however it is cut, and whatever is done with it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "tests stop at what they do not expect"
)]

#[path = "../../../control-plane/server/src/drill/values.rs"]
mod values;

use std::rc::Rc;

use serde_json::{Value, json};
use values::Planted;
use weir_pii as pii;
use weir_pipeline::answer::{Answer, Treatment};
use weir_pipeline::content::{self, Content, MOST};
use weir_pipeline::paths::Api;
use weir_wire::json::{Limits, parse};

const MAIL: &str = "jane.doe+x@example.org";

fn set_of(find: &[&str], action: pii::Action) -> Rc<pii::Set> {
    let find = find.iter().map(|name| (*name).to_owned()).collect();
    Rc::new(pii::Set::new(&[pii::Rule { find, words: vec!["Kestrelwood".into()], action }]).unwrap())
}

/// All types.
fn everything() -> Rc<pii::Set> {
    let names: Vec<&str> = pii::DETECTORS.iter().map(|detector| detector.id).collect();
    set_of(&names, pii::Action::Mask)
}

fn shown_request(body: &Value, set: &Rc<pii::Set>) -> Content {
    let body = body.to_string();
    content::request(parse(body.as_bytes(), &Limits::default()).unwrap().root(), set)
}

/// What is shown of an answer that came in these pieces, the last of which may be its end.
fn shown_answer(
    api: Api,
    media: &str,
    pieces: &[&[u8]],
    end: bool,
    set: &Rc<pii::Set>,
) -> Option<(Value, bool)> {
    let mut answer = Answer::new(api, media, Treatment { shown: Some(set.clone()), ..Treatment::default() });
    for piece in pieces {
        assert!(answer.push(piece, false).is_ok());
    }
    assert!(answer.push(&[], end).is_ok());
    answer.shown().map(|(shown, cut)| (serde_json::from_str(&shown).unwrap(), cut))
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// Every string, as it reads.
fn strings(value: &Value, out: &mut String) {
    match value {
        Value::String(text) => {
            out.push_str(text);
            out.push('\n');
        }
        Value::Array(items) => items.iter().for_each(|item| strings(item, out)),
        Value::Object(members) => {
            for (name, member) in members {
                out.push_str(name);
                out.push('\n');
                strings(member, out);
            }
        }
        other => out.push_str(&other.to_string()),
    }
}

/// No four bytes of a planted value, as it was written or as its digits and letters alone.
fn assert_clean(planted: &Planted, shown: &Value, what: &str) {
    let mut read = String::new();
    strings(shown, &mut read);
    let bare = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>();
    let harmless = [planted.text().replace(&planted.value, ""), SHAPE.to_owned()].concat();
    let folded = Planted { value: bare(&planted.value), ..planted.clone() };
    for text in [&read, &shown.to_string()] {
        assert!(
            !planted.leaks_into(text.as_bytes(), harmless.as_bytes()),
            "{}: {what}: {text}",
            planted.kind
        );
        assert!(!folded.leaks_into(text.as_bytes(), harmless.as_bytes()), "{}: {what}: {text}", planted.kind);
    }
}

/// Words that are there by nature.
const SHAPE: &str = "role parts type text content assistant user system tool_call tool_call_response finish_reason stop \
    arguments response error call_1 note [PRIVATE_KEY] [URL_CREDENTIALS] [US_BANK_ACCOUNT]";

fn event(data: &Value) -> String {
    format!("data: {data}\n\n")
}

fn chat_stream(pieces: &[&str], end: bool) -> String {
    let mut out = String::new();
    for piece in pieces {
        out +=
            &event(&json!({"id": "c", "model": "m", "choices": [{"index": 0, "delta": {"content": piece}}]}));
    }
    if end {
        out += &event(
            &json!({"id": "c", "model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}),
        );
        out += "data: [DONE]\n\n";
    }
    out
}

#[test]
fn no_value_of_any_type_is_shown_wherever_it_stands() {
    let set = everything();
    for planted in values::planted() {
        let text = planted.text();
        let escaped: String =
            json!({"note": text}).to_string().replace('@', "\\u0040").replace('-', "\\u002d");
        let bodies = [
            json!({"messages": [
                {"role": "system", "content": text}, {"role": "user", "content": [{"type": "text", "text": text}]},
                {"role": "assistant", "content": null, "reasoning_content": text, "tool_calls": [
                    {"id": "call_1", "type": "function", "function": {"name": "note", "arguments": escaped}}]},
                {"role": "tool", "tool_call_id": "call_1", "content": escaped}]}),
            json!({"system": text, "messages": [
                {"role": "user", "content": text},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "call_1", "name": "note", "input": {"note": text, text.clone(): 1}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": [{"type": "text", "text": text}]}]}]}),
            json!({"system": [{"text": text}], "messages": [
                {"role": "user", "content": [{"text": text}]},
                {"role": "assistant", "content": [{"toolUse": {"toolUseId": "call_1", "name": "note", "input": {"note": [text]}}}]},
                {"role": "user", "content": [{"toolResult": {"toolUseId": "call_1", "content": [{"json": {"note": text}}]}}]}]}),
            json!({"instructions": text, "input": [
                {"role": "user", "content": [{"type": "input_text", "text": text}]},
                {"type": "function_call", "call_id": "call_1", "name": "note", "arguments": escaped},
                {"type": "function_call_output", "call_id": "call_1", "output": text}]}),
            json!({"instructions": text, "input": text}),
            json!({"prompt": [text, text]}),
        ];
        for body in &bodies {
            let content = shown_request(body, &set);
            assert!(content.input.contains("Please note: "), "{}", content.input);
            assert_clean(&planted, &json_of(&content.input), "request");
            if !content.system.is_empty() {
                assert_clean(&planted, &json_of(&content.system), "system");
            }
            assert!(!content.cut);
        }
    }
}

#[test]
fn no_value_of_any_type_is_shown_of_a_stream_cut_anywhere_or_broken_off_anywhere() {
    let set = everything();
    for planted in values::planted() {
        let text = planted.text();
        let whole = json!({"id": "c", "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]});
        let whole = whole.to_string();
        let (expected, cut) =
            shown_answer(Api::OpenaiChat, "application/json", &[whole.as_bytes()], true, &set).unwrap();
        assert!(!cut);
        assert_clean(&planted, &expected, "whole");
        assert_eq!(expected[0]["finish_reason"], "stop");
        for at in (0..=text.len()).filter(|at| text.is_char_boundary(*at)) {
            let (front, back) = text.split_at(at);
            let stream = chat_stream(&[front, back], true);
            let streamed =
                shown_answer(Api::OpenaiChat, "text/event-stream", &[stream.as_bytes()], true, &set);
            assert_eq!(streamed.unwrap(), (expected.clone(), false), "{at}: {text}");
            let broken = chat_stream(&[front], false);
            let broken = shown_answer(Api::OpenaiChat, "text/event-stream", &[broken.as_bytes()], true, &set);
            let Some((broken, cut)) = broken else { panic!("nothing is shown") };
            assert!(cut || front.is_empty());
            assert_clean(&planted, &broken, "broken off");
        }
    }
}

/// The same conversation, as each dialect writes it.
fn conversations() -> Vec<(&'static str, Value)> {
    let input = json!({"city": "Bonn", "days": 2});
    let picture = "iVBORw0KGgoAAAANSUhEUg==";
    vec![
        (
            "chat",
            json!({"model": "m", "user": "u-1", "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Where?"},
                {"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{picture}")}}]},
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": input.to_string()}}]},
            {"role": "tool", "tool_call_id": "call_1", "content": "12 °C"}]}),
        ),
        (
            "messages",
            json!({"model": "m", "system": "Be brief.", "metadata": {"user_id": "u-1"}, "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Where?"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": picture}}]},
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "Sealed.", "signature": "c2ln"},
                {"type": "tool_use", "id": "call_1", "name": "weather", "input": input}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "12 °C"}]}]}),
        ),
        (
            "converse",
            json!({"system": [{"text": "Be brief."}], "messages": [
            {"role": "user", "content": [{"text": "Where?"}, {"image": {"format": "png", "source": {"bytes": picture}}}]},
            {"role": "assistant", "content": [{"reasoningContent": {"reasoningText": {"text": "Sealed.", "signature": "c2ln"}}},
                {"toolUse": {"toolUseId": "call_1", "name": "weather", "input": input}}]},
            {"role": "user", "content": [{"toolResult": {"toolUseId": "call_1", "content": [{"text": "12 °C"}]}}]}]}),
        ),
        (
            "responses",
            json!({"model": "m", "instructions": "Be brief.", "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "Where?"},
                {"type": "input_image", "image_url": format!("data:image/png;base64,{picture}")}]},
            {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "Sealed."}], "encrypted_content": "gA"},
            {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "weather", "arguments": input.to_string()},
            {"type": "function_call_output", "call_id": "call_1", "output": "12 °C"}]}),
        ),
    ]
}

#[test]
fn a_request_reads_the_same_in_every_dialect() {
    for (dialect, body) in conversations() {
        let content = shown_request(&body, &everything());
        let mut input = json_of(&content.input);
        let all = format!("{}{}", content.system, content.input);
        for hidden in ["iVBOR", "Sealed", "u-1", "c2ln"] {
            assert!(!all.contains(hidden), "{dialect}: {all}");
        }
        if dialect == "chat" {
            // Its instructions are a part of the history.
            assert_eq!(content.system, "");
            let system = input.as_array_mut().unwrap().remove(0);
            assert_eq!(
                system,
                json!({"role": "system", "parts": [{"type": "text", "content": "Be brief."}]})
            );
        } else {
            assert_eq!(
                json_of(&content.system),
                json!([{"type": "text", "content": "Be brief."}]),
                "{dialect}"
            );
        }
        if dialect == "responses" {
            // Reasoning is an item of its own there.
            assert_eq!(input.as_array_mut().unwrap().remove(1), json!({"role": "assistant", "parts": []}));
        }
        let picture = &input[0]["parts"][1];
        assert_eq!(
            (picture["type"].as_str(), picture["modality"].as_str()),
            (Some("weir.omitted"), Some("image"))
        );
        assert!(picture["size"].as_u64() > Some(40), "{dialect}: {picture}");
        assert_eq!(input[0]["parts"][0], json!({"type": "text", "content": "Where?"}), "{dialect}");
        let call = json!({"type": "tool_call", "id": "call_1", "name": "weather", "arguments": {"city": "Bonn", "days": 2}});
        assert_eq!(input[1], json!({"role": "assistant", "parts": [call]}), "{dialect}");
        let said = &input[2]["parts"][0];
        assert_eq!(
            (&said["type"], &said["id"]),
            (&json!("tool_call_response"), &json!("call_1")),
            "{dialect}"
        );
        assert!(said["response"].to_string().contains("12 °C"), "{dialect}: {said}");
        assert_eq!((content.cut, content.omitted), (false, ""));
    }
}

/// The same answer, whole and streamed, as each dialect writes it: a text, then a call.
fn answers() -> Vec<(Api, Value, Vec<Value>)> {
    let arguments = r#"{"city":"Bonn"}"#;
    let chat = |delta: Value, finish: Value| json!({"id": "c", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]});
    let call = |arguments: &str| json!({"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": arguments}}]});
    let block =
        |index: u64, delta: Value| json!({"type": "content_block_delta", "index": index, "delta": delta});
    let said = |kind: &str, at: u64, delta: &str| json!({"type": kind, "output_index": at, "content_index": 0, "item_id": "i", "delta": delta, "sequence_number": 1});
    let output = json!([
        {"type": "message", "id": "msg", "role": "assistant", "content": [{"type": "output_text", "text": "I look.", "annotations": []}]},
        {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "weather", "arguments": arguments}]);
    let response = json!({"id": "r", "model": "m", "status": "completed", "output": output});
    vec![
        (
            Api::OpenaiChat,
            json!({"id": "c", "choices": [{"index": 0, "finish_reason": "tool_calls", "message": {"tool_calls": call(arguments)["tool_calls"], "role": "assistant", "content": "I look."}}]}),
            vec![
                chat(json!({"role": "assistant", "content": ""}), Value::Null),
                chat(json!({"content": "I lo"}), Value::Null),
                chat(json!({"content": "ok."}), Value::Null),
                chat(call(""), Value::Null),
                chat(
                    json!({"tool_calls": [{"index": 0, "function": {"arguments": "{\"city\":"}}]}),
                    Value::Null,
                ),
                chat(
                    json!({"tool_calls": [{"index": 0, "function": {"arguments": "\"Bonn\"}"}}]}),
                    Value::Null,
                ),
                chat(json!({}), json!("tool_calls")),
                json!("[DONE]"),
            ],
        ),
        (
            Api::AnthropicMessages,
            json!({"id": "m", "type": "message", "role": "assistant", "model": "m", "stop_reason": "tool_use", "content": [
                {"type": "thinking", "thinking": "Sealed.", "signature": "c2ln"},
                {"type": "text", "text": "I look."}, {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Bonn"}}]}),
            vec![
                json!({"type": "message_start", "message": {"id": "m", "model": "m", "usage": {"input_tokens": 1, "output_tokens": 1}}}),
                block(0, json!({"type": "thinking_delta", "thinking": "Sealed."})),
                block(1, json!({"type": "text_delta", "text": "I lo"})),
                block(1, json!({"type": "text_delta", "text": "ok."})),
                json!({"type": "content_block_start", "index": 2, "content_block": {"type": "tool_use", "id": "call_1", "name": "weather", "input": {}}}),
                block(2, json!({"type": "input_json_delta", "partial_json": "{\"city\":"})),
                block(2, json!({"type": "input_json_delta", "partial_json": "\"Bonn\"}"})),
                json!({"type": "content_block_stop", "index": 2}),
                json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 5}}),
                json!({"type": "message_stop"}),
            ],
        ),
        (
            Api::OpenaiResponses,
            response.clone(),
            vec![
                json!({"type": "response.output_item.added", "output_index": 0, "item": {"type": "message", "id": "msg", "content": []}}),
                said("response.output_text.delta", 0, "I lo"),
                said("response.output_text.delta", 0, "ok."),
                json!({"type": "response.output_item.added", "output_index": 1, "item": {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "weather", "arguments": ""}}),
                said("response.function_call_arguments.delta", 1, "{\"city\":"),
                said("response.function_call_arguments.delta", 1, "\"Bonn\"}"),
                json!({"type": "response.completed", "response": response}),
            ],
        ),
    ]
}

#[test]
fn an_answer_reads_the_same_in_every_dialect_whole_and_streamed() {
    let set = everything();
    for (api, whole, events) in answers() {
        let stream: String = events
            .iter()
            .map(|event| match event.as_str() {
                Some(end) => format!("data: {end}\n\n"),
                None => self::event(event),
            })
            .collect();
        let whole = whole.to_string();
        let (whole, cut) = shown_answer(api, "application/json", &[whole.as_bytes()], true, &set).unwrap();
        let parts = json!([{"type": "text", "content": "I look."},
            {"type": "tool_call", "id": "call_1", "name": "weather", "arguments": {"city": "Bonn"}}]);
        assert_eq!(
            (&whole[0]["role"], &whole[0]["parts"], cut),
            (&json!("assistant"), &parts, false),
            "{api:?}"
        );
        assert_ne!(whole[0]["finish_reason"], "error", "{api:?}");
        for at in 0..=stream.len() {
            let (front, back) = stream.as_bytes().split_at(at);
            let streamed = shown_answer(api, "text/event-stream", &[front, back], true, &set).unwrap();
            assert_eq!(streamed, (whole.clone(), false), "{api:?} at {at}");
        }
    }
}

#[test]
fn each_direction_has_its_bound_and_the_newest_messages_are_shown() {
    let set = everything();
    let mail = |n: usize| format!("\"line\" {n}\n\u{1} for {MAIL} and äöü. ").repeat(40);
    let turns: Vec<Value> = (0..200)
        .map(|n| json!({"role": if n % 2 == 0 { "user" } else { "assistant" }, "content": mail(n)}))
        .collect();
    for (body, newest) in [
        (json!({"system": mail(0).repeat(9), "messages": turns}), "199"),
        (json!({"messages": [{"role": "user", "content": mail(7).repeat(1000)}]}), "7"),
        (json!({"messages": vec![json!({"role": "user", "content": ""}); 9_000]}), "user"),
        (
            json!({"messages": [{"role": "user", "content": vec![json!({"type": "text", "text": "x 7"}); 9_000]}]}),
            "7",
        ),
        (
            json!({"messages": [{"role": "assistant", "tool_calls": [{"id": "i".repeat(999), "function": {"name": "n 7".repeat(999), "arguments": json!({"a": mail(7).repeat(999)}).to_string()}}]}]}),
            "7",
        ),
        (json!({"prompt": vec![0; 50_000]}), ""),
    ] {
        let content = shown_request(&body, &set);
        let shown = content.system.len() + content.input.len();
        assert!(shown <= MOST, "{shown}");
        let last = json_of(&content.input).as_array().unwrap().last().cloned().unwrap_or_default();
        assert!(last.to_string().contains(newest), "{last}");
        assert!(!format!("{}{}", content.system, content.input).contains("jane"));
        assert_eq!(content.cut, !newest.is_empty());
        if newest == "7" && body["messages"][0]["content"].is_string() {
            // Masks are shorter than what they stand for.
            assert!(shown > MOST * 3 / 4, "{shown}");
        }
    }
    let text = mail(1).repeat(20);
    let message = json!({"role": "assistant", "content": text});
    let choices: Vec<Value> =
        (0..200).map(|at| json!({"index": at, "message": message, "finish_reason": "stop"})).collect();
    let whole = json!({"id": "c", "choices": choices}).to_string();
    let stream: String = (0..200).map(|at| event(&json!({"id": "c", "choices": [{"index": at, "delta": {"content": text}, "finish_reason": "stop"}]}))).collect();
    for (media, body) in [("application/json", whole), ("text/event-stream", stream)] {
        let mut answer = Answer::new(
            Api::OpenaiChat,
            media,
            Treatment { shown: Some(set.clone()), ..Treatment::default() },
        );
        assert!(answer.push(body.as_bytes(), true).is_ok());
        let (shown, cut) = answer.shown().unwrap();
        assert!(cut && (MOST * 3 / 4..=MOST).contains(&shown.len()), "{}", shown.len());
        assert!(!shown.contains("jane"));
        json_of(&shown);
    }
}

#[test]
fn a_value_at_the_bound_is_not_told_in_part() {
    let kinds = ["email", "credit_card", "jwt", "private_key", "password"];
    for planted in values::planted().into_iter().filter(|planted| kinds.contains(&planted.kind)) {
        let set = set_of(&[planted.kind], pii::Action::Mask);
        let text = planted.text();
        for before in (0..text.len() + 40).step_by(3) {
            // A bound lies some 300 bytes before the last one, and in every text before it.
            let filled = MOST - 320 - before;
            let text = format!("{} {text} {}", "x ".repeat(filled / 2), "y ".repeat(200));
            let body = json!({"messages": [{"role": "user", "content": text}]});
            assert_clean(&planted, &json_of(&shown_request(&body, &set).input), "request");
            let stream = chat_stream(&[&text], true);
            let (shown, cut) =
                shown_answer(Api::OpenaiChat, "text/event-stream", &[stream.as_bytes()], true, &set).unwrap();
            assert!(cut);
            assert_clean(&planted, &shown, "answer");
        }
    }
}
