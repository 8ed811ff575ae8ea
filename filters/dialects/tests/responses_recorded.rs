//! Recorded traffic of the Responses API and of embeddings: requests keep their meaning on the way through the hub but
//! for named differences, and what passes is read where it stands and changed in its texts alone.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    reason = "tests stop at what they do not expect"
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::differences::differences;
use serde_json::{Value, json};
use weir_dialects::hub::{Chat, Message, Part, ResponseFormat, Role, ToolChoice, Usage};
use weir_dialects::openai_chat::{Chunk, ECHO, Slot, unquote};
use weir_dialects::{anthropic, bedrock, openai_chat, openai_embeddings, openai_responses};
use weir_wire::json::{Limits, parse};
use weir_wire::splice::Splices;
use weir_wire::sse;

struct Recorded {
    id: String,
    /// The request's own bytes, as they stand in the line.
    request: Vec<u8>,
    /// A whole answer's own bytes.
    answer: Option<Vec<u8>>,
    stream: Option<String>,
    row: Value,
}

fn recordings(file: &str, least: usize) -> Vec<Recorded> {
    let Some(folder) = common::data("wire") else { return Vec::new() };
    let all: Vec<_> = common::lines(&folder, file)
        .iter()
        .enumerate()
        .map(|(number, line)| {
            let doc = parse(line.as_bytes(), &Limits::default()).unwrap();
            let raw = |key: &str| doc.root().get(key).map(|value| value.raw().to_vec());
            let row: Value = serde_json::from_str(line).unwrap();
            Recorded {
                id: format!("{}", number + 1),
                request: raw("request").unwrap(),
                answer: raw("response"),
                stream: row["response_text"].as_str().map(str::to_owned),
                row,
            }
        })
        .filter(|recorded| recorded.row["status"] == 200)
        .collect();
    assert!(all.len() >= least);
    all
}

/// What no other dialect can say, by the words of the refusal.
const REFUSED: &[&str] = &[
    "a tool of type 'tool_search'",
    "a tool of type 'mcp'",
    "a tool of type 'web_search'",
    "a tool of type 'web_search_preview'",
    "a tool of type 'code_interpreter'",
    "'previous_response_id' names what only OpenAI keeps",
    "an answer in the background",
    "an item of type '",
    "what only OpenAI can fetch",
];

fn text_of(parts: &[Part]) -> Option<&str> {
    match parts {
        [Part::Text(text)] => Some(text),
        _ => None,
    }
}

fn parts_of(role: Role, parts: &[Part]) -> Vec<Value> {
    let kind = if role == Role::Assistant { "output_text" } else { "input_text" };
    parts
        .iter()
        .filter_map(|part| match part {
            Part::Text(text) => Some(json!({"type": kind, "text": text})),
            Part::Refusal(text) => Some(json!({"type": "refusal", "refusal": text})),
            Part::Image { media_type, data } => {
                Some(json!({"type": "input_image", "image_url": format!("data:{media_type};base64,{data}")}))
            }
            Part::ImageUrl { url } => Some(json!({"type": "input_image", "image_url": url})),
            Part::Document { media_type, name, data } => {
                Some(json!({"type": "input_file", "filename": name, "file_data": format!("data:{media_type};base64,{data}")}))
            }
            _ => None,
        })
        .collect()
}

fn items_of(message: &Message, items: &mut Vec<Value>) {
    let Message { role, parts, .. } = message;
    let mut said: Vec<Part> = Vec::new();
    let flush = |said: &mut Vec<Part>, items: &mut Vec<Value>| {
        if let Some(text) = text_of(said) {
            items.push(json!({"role": role.as_str(), "content": text}));
        } else if !said.is_empty() {
            items.push(json!({"role": role.as_str(), "content": parts_of(*role, said)}));
        }
        said.clear();
    };
    for part in parts {
        match part {
            Part::ToolCall(call) => {
                flush(&mut said, items);
                items.push(json!({"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.arguments}));
            }
            Part::ToolResult(result) => {
                let output = match text_of(&result.parts) {
                    Some(text) => json!(text),
                    None => json!(parts_of(Role::User, &result.parts)),
                };
                items.push(json!({"type": "function_call_output", "call_id": result.id, "output": output}));
            }
            Part::Reasoning { text, .. } => {
                flush(&mut said, items);
                items.push(json!({"type": "reasoning", "summary": [{"type": "summary_text", "text": text}]}));
            }
            other => said.push(other.clone()),
        }
    }
    flush(&mut said, items);
}

/// The hub's chat as a request again, by this test's own hand.
fn again(chat: &Chat, original: &Value) -> Value {
    let mut out = json!({"model": chat.model});
    let mut messages = chat.messages.as_slice();
    if original["instructions"].is_string() {
        out["instructions"] = json!(text_of(&messages[0].parts).unwrap());
        messages = &messages[1..];
    }
    let mut items = Vec::new();
    messages.iter().for_each(|message| items_of(message, &mut items));
    out["input"] = match original["input"].is_string() {
        true => items[0]["content"].clone(),
        false => json!(items),
    };
    if original.get("stream").is_some() {
        out["stream"] = json!(chat.stream);
    }
    if !chat.tools.is_empty() {
        out["tools"] = chat
            .tools
            .iter()
            .map(|tool| {
                let schema: Option<Value> =
                    tool.parameters.as_ref().map(|it| serde_json::from_str(it).unwrap());
                let mut out = json!({"type": "function", "name": tool.name, "parameters": schema});
                if let Some(strict) = tool.strict {
                    out["strict"] = json!(strict);
                }
                if let Some(description) = &tool.description {
                    out["description"] = json!(description);
                }
                out
            })
            .collect();
    }
    match &chat.tool_choice {
        None => {}
        Some(ToolChoice::Auto) => out["tool_choice"] = json!("auto"),
        Some(ToolChoice::None) => out["tool_choice"] = json!("none"),
        Some(ToolChoice::Required) => out["tool_choice"] = json!("required"),
        Some(ToolChoice::Named(name)) => out["tool_choice"] = json!({"type": "function", "name": name}),
    }
    if let Some(effort) = &chat.effort {
        out["reasoning"] = json!({"effort": effort});
    }
    if let ResponseFormat::JsonSchema { name, description, schema, strict } = &chat.response_format {
        let mut format = json!({"type": "json_schema", "name": name, "schema": serde_json::from_str::<Value>(schema).unwrap()});
        for (key, value) in [("description", json!(description)), ("strict", json!(strict))] {
            if !value.is_null() {
                format[key] = value;
            }
        }
        out["text"] = json!({"format": format});
    }
    let number = |number: &weir_dialects::hub::Number| serde_json::from_str::<Value>(&number.text).unwrap();
    for (key, value) in [
        ("temperature", chat.temperature.as_ref().map(number)),
        ("top_p", chat.top_p.as_ref().map(number)),
        ("max_output_tokens", chat.max_output.map(Value::from)),
        ("parallel_tool_calls", chat.parallel_tool_calls.map(Value::from)),
        ("service_tier", chat.service_tier.clone().map(Value::from)),
        ("user", chat.user.clone().map(Value::from)),
    ] {
        if let Some(value) = value {
            out[key] = value;
        }
    }
    out
}

/// A text is a list of one block that holds it.
fn alike(before: &Value, after: &Value) -> Option<&'static str> {
    match (before, after) {
        (Value::Array(blocks), Value::String(text)) if blocks.len() == 1 && blocks[0]["text"] == **text => {
            Some("is a text")
        }
        _ => None,
    }
}

#[test]
fn every_recorded_request_keeps_its_meaning_but_for_the_named_differences() {
    let rules = include_str!("responses_differences.txt");
    let rules: Vec<&str> = rules.lines().filter(|line| !line.starts_with('#')).collect();
    let rule =
        |difference: &str| rules.iter().find(|rule| rule.split(": ").next() == Some(difference)).copied();
    let (mut used, mut unknown, mut carried, mut refused) = (BTreeSet::new(), Vec::new(), 0, 0);
    for recorded in recordings("openai_responses.jsonl", 100) {
        let doc = parse(&recorded.request, &Limits::default()).unwrap();
        openai_responses::texts(&doc, &mut |_| ());
        let (chat, _) = match openai_responses::decode(&doc) {
            Ok(decoded) => decoded,
            Err(invalid) => {
                let known = REFUSED.iter().any(|words| invalid.message.starts_with(words));
                assert!(known, "{}: {}: {}", recorded.id, invalid.param, invalid.message);
                refused += 1;
                continue;
            }
        };
        carried += 1;
        // Each provider can be told of it, in JSON.
        let (body, _) = openai_chat::encode(&chat, true);
        openai_chat::decode(&parse(&body, &Limits::default()).unwrap()).unwrap();
        for encoded in
            [anthropic::encode(&chat, "claude-opus-4-6"), bedrock::encode(&chat, "anthropic.claude-opus-4-6")]
        {
            match encoded {
                Ok(encoded) => _ = parse(&encoded.body, &Limits::default()).unwrap(),
                Err(invalid) => {
                    assert!(invalid.message.contains("cannot fetch pictures"), "{}: {invalid}", recorded.id)
                }
            }
        }
        let mut found = BTreeSet::new();
        let request = &recorded.row["request"];
        differences("", request, &again(&chat, request), alike, &mut found);
        for difference in found {
            match rule(&difference) {
                Some(rule) => _ = used.insert(rule),
                None => unknown.push(format!("{}: {difference}", recorded.id)),
            }
        }
    }
    println!("{carried} requests carried, {refused} refused, {} named differences", used.len());
    assert!(unknown.is_empty(), "no line of responses_differences.txt allows:\n{}", unknown.join("\n"));
    let unused: Vec<_> = rules.iter().filter(|rule| !used.contains(*rule)).collect();
    assert!(carried == 0 || unused.is_empty(), "nothing needs these lines any more: {unused:?}");
}

fn usage_of(usage: &Value) -> Usage {
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    Usage {
        input: number(&usage["input_tokens"]),
        output: number(&usage["output_tokens"]),
        cache_read: number(&usage["input_tokens_details"]["cached_tokens"]),
        cache_write: number(&usage["input_tokens_details"]["cache_write_tokens"]),
        reasoning: number(&usage["output_tokens_details"]["reasoning_tokens"]),
    }
}

/// What the messages of an output say, and the arguments of its calls.
fn output_of(output: &Value) -> (String, String) {
    let (mut text, mut arguments) = (String::new(), String::new());
    for item in output.as_array().unwrap() {
        for part in item["content"].as_array().into_iter().flatten() {
            text.push_str(part["text"].as_str().unwrap_or_default());
        }
        if item["type"] == "function_call" {
            arguments.push_str(item["arguments"].as_str().unwrap());
        }
    }
    (text, arguments)
}

#[test]
fn every_recorded_answer_is_read_where_it_stands() {
    let mut count = 0;
    for recorded in recordings("openai_responses.jsonl", 100) {
        let Some(body) = &recorded.answer else { continue };
        let row = &recorded.row["response"];
        let doc = parse(body, &Limits::default()).unwrap();
        let facts = openai_responses::read_answer(&doc);
        assert_eq!(facts.usage, row["usage"].is_object().then(|| usage_of(&row["usage"])), "{}", recorded.id);
        assert_eq!(
            (facts.id.as_deref(), facts.model.as_deref()),
            (row["id"].as_str(), row["model"].as_str())
        );
        let mut edits = Splices::new();
        let (mut text, mut arguments, mut shown) = (String::new(), String::new(), BTreeSet::new());
        for found in &facts.texts {
            let value = found.value.as_str().unwrap();
            shown.insert(value.clone().into_owned());
            match found.slot {
                Slot::Tool(_) => arguments.push_str(&value),
                Slot::Content if found.choice != ECHO => text.push_str(&value),
                _ => {}
            }
            edits.replace(found.value.range(), b"\"x\"");
        }
        let (said, called) = output_of(&row["output"]);
        assert!(text.contains(&said) || said.is_empty(), "{}", recorded.id);
        assert!(arguments.contains(&called) || called.is_empty(), "{}", recorded.id);
        if let Some(instructions) = row["instructions"].as_str() {
            assert!(shown.contains(instructions), "{}", recorded.id);
        }
        // Sealed reasoning is not among them, and the rest of the answer is what it was.
        let edited: Value = serde_json::from_slice(&edits.apply(body).unwrap()).unwrap();
        for (before, after) in
            row["output"].as_array().unwrap().iter().zip(edited["output"].as_array().unwrap())
        {
            for key in ["id", "type", "encrypted_content", "call_id", "status", "name"] {
                assert_eq!(before[key], after[key], "{}", recorded.id);
            }
        }
        count += 1;
    }
    println!("{count} answers");
}

#[test]
fn every_recorded_stream_is_read_where_it_stands_at_every_cut() {
    let mut count = 0;
    for recorded in recordings("openai_responses.jsonl", 100) {
        let Some(stream) = &recorded.stream else { continue };
        let last = stream.lines().filter_map(|line| line.strip_prefix("data: ")).next_back().unwrap();
        let end: Value = serde_json::from_str(last).unwrap();
        let read = |pieces: &[&[u8]], check: bool| {
            let (mut said, mut usage, mut done, mut numbers) =
                (BTreeMap::<(u32, Slot), String>::new(), None, false, 0);
            let mut decoder = sse::Decoder::new(4 << 20);
            let mut chunk = Chunk::default();
            for piece in pieces {
                decoder
                    .push(piece, &mut |event| {
                        openai_responses::read_event_into(&event.data, &mut chunk).unwrap();
                        assert_eq!(chunk.sequence.as_ref().map(|(_, number)| *number), Some(numbers));
                        numbers += 1;
                        for text in &chunk.texts {
                            let piece = unquote(&event.data, text.value.clone()).unwrap();
                            said.entry((text.choice, text.slot)).or_default().push_str(&piece);
                        }
                        usage = chunk.usage.or(usage);
                        done |= chunk.is_done;
                        if check {
                            // Replaced in place, the rest of the event is what it was.
                            let mut edits = Splices::new();
                            for text in chunk.texts.iter().chain(&chunk.wholes) {
                                edits.replace(text.value.clone(), b"\"x\"");
                            }
                            let edited = edits.apply(&event.data).unwrap();
                            let (a, b): (Value, Value) = (
                                serde_json::from_slice(&event.data).unwrap(),
                                serde_json::from_slice(&edited).unwrap(),
                            );
                            for key in ["type", "item_id", "output_index", "sequence_number"] {
                                assert_eq!(a[key], b[key]);
                            }
                            for text in &chunk.texts {
                                let more = openai_responses::text_event(&event.data, text.slot, 7, b"\"y\"")
                                    .unwrap();
                                let more: Value = serde_json::from_slice(&more.1).unwrap();
                                assert_eq!(
                                    (&more["type"], &more["item_id"], &more["delta"]),
                                    (&a["type"], &a["item_id"], &json!("y"))
                                );
                            }
                        }
                    })
                    .unwrap();
            }
            (said, usage, done)
        };
        let whole = read(&[stream.as_bytes()], true);
        assert!(whole.2);
        assert_eq!(whole.1, Some(usage_of(&end["response"]["usage"])), "{}", recorded.id);
        let (text, arguments) = output_of(&end["response"]["output"]);
        let of = |slot: Slot| {
            whole
                .0
                .iter()
                .filter(|((_, of), _)| *of == slot)
                .map(|(_, text)| text.as_str())
                .collect::<String>()
        };
        assert_eq!((of(Slot::Content), of(Slot::Tool(0))), (text, arguments), "{}", recorded.id);
        for at in (0..stream.len()).step_by(stream.len() / 40 + 1) {
            let (a, b) = stream.as_bytes().split_at(at);
            assert_eq!(read(&[a, b], false), whole, "{} cut at {at}", recorded.id);
        }
        count += 1;
    }
    println!("{count} streams");
}

#[test]
fn recorded_embeddings_are_billed_as_they_are_counted() {
    for recorded in recordings("openai_embeddings.jsonl", 10) {
        let doc = parse(&recorded.request, &Limits::default()).unwrap();
        let request = openai_embeddings::read(&doc).unwrap();
        let counted = weir_dialects::openai_completions::prompt_tokens(&request, &mut |text| {
            tiktoken_rs::cl100k_base_singleton().encode_ordinary(text).len() as u64
        });
        let billed = recorded.row["response"]["usage"]["prompt_tokens"].as_u64();
        if recorded.row["uri"].as_str().unwrap().contains("api.openai.com") {
            assert_eq!(Some(counted), billed, "{}", recorded.id);
        }
        assert!(Some(weir_dialects::openai_completions::byte_bound(&request)) >= billed);
        let body = recorded.answer.as_ref().unwrap();
        let mut outline = openai_embeddings::Outline::default();
        body.chunks(1000).for_each(|piece| outline.push(piece));
        assert!(outline.text.len() < 1000);
        let doc = parse(&outline.text, &Limits::default()).unwrap();
        assert_eq!(openai_chat::read_answer(&doc).usage.map(|usage| usage.input), billed);
    }
}

#[test]
fn a_count_is_what_recorded_answers_billed_where_it_is_exact() {
    let (mut exact, mut right) = (0, 0);
    for recorded in recordings("openai_responses.jsonl", 100) {
        let Some(billed) = recorded.row["response"]["usage"]["input_tokens"].as_u64() else { continue };
        let doc = parse(&recorded.request, &Limits::default()).unwrap();
        let facts = openai_responses::read(&doc).unwrap();
        let rules = openai_chat::Rules::of_model(&facts.model_name);
        let count = openai_responses::prompt_tokens(&doc, rules, &mut |text| {
            tiktoken_rs::o200k_base_singleton().encode_ordinary(text).len() as u64
        });
        let opaque = facts.has.hosted
            || facts.has.stored
            || facts.has.documents
            || facts.has.images
            || facts.has.audio;
        if !opaque {
            let bound = openai_responses::byte_bound(&doc)
                + rules.opening
                + rules.slack
                + if facts.has.tools { rules.tools.hidden } else { 0 };
            assert!(bound >= billed, "{}: {bound} < {billed}", recorded.id);
        }
        if count.exact {
            exact += 1;
            right += u32::from(count.tokens.abs_diff(billed) <= rules.slack);
        }
    }
    println!("{right} of {exact} exact counts are the bill");
    assert!(exact == 0 || right * 100 >= exact * 90, "{right} of {exact}");
}
