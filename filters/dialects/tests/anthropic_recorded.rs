//! Recorded Messages traffic: requests keep their meaning on the way through the hub but for named differences,
//! streams give the same events at every cut, and what passes is changed in its texts alone.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    reason = "tests stop at what they do not expect"
)]

mod common;

use std::collections::BTreeSet;

use common::differences::differences;
use serde_json::Value;
use weir_dialects::hub::{Event, Finish, Part, Usage};
use weir_dialects::openai_chat::{self, AnswerContext, Chunk};
use weir_dialects::{anthropic, bedrock};
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

fn recordings() -> Vec<Recorded> {
    let Some(folder) = common::data("wire") else { return Vec::new() };
    let lines = common::lines(&folder, "anthropic_messages.jsonl");
    let all: Vec<_> = lines
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
        .collect();
    assert!(all.len() > 80);
    all
}

/// What no other dialect can say, by the words of the refusal.
const REFUSED: &[&str] = &[
    "a tool that Anthropic runs or defines itself",
    "'container' is Anthropic's own",
    "a 'container_upload' block",
    "a 'tool_addition' block",
    "a 'tool_reference' block",
    "what only Anthropic can fetch",
];

/// A text is a list of one block that holds it.
fn alike(before: &Value, after: &Value) -> Option<&'static str> {
    match (before, after) {
        (Value::String(text), Value::Array(blocks)) if blocks.len() == 1 && blocks[0]["text"] == **text => {
            Some("is a block")
        }
        _ => None,
    }
}

#[test]
fn every_recorded_request_keeps_its_meaning_but_for_the_named_differences() {
    let rules = include_str!("anthropic_differences.txt");
    let rules: Vec<&str> = rules.lines().filter(|line| !line.starts_with('#')).collect();
    let rule =
        |difference: &str| rules.iter().find(|rule| rule.split(": ").next() == Some(difference)).copied();
    let (mut used, mut unknown, mut carried, mut refused) = (BTreeSet::new(), Vec::new(), 0, 0);
    for recorded in recordings() {
        let doc = parse(&recorded.request, &Limits::default()).unwrap();
        anthropic::texts(&doc, &mut |_| ());
        let (chat, _) = match anthropic::decode(&doc) {
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
        parse(&body, &Limits::default()).unwrap();
        if let Err(invalid) = bedrock::encode(&chat, "anthropic.claude-opus-4-6") {
            assert!(invalid.message.contains("cannot fetch pictures"), "{}: {invalid}", recorded.id);
        }
        let encoded = anthropic::encode(&chat, &chat.model).unwrap();
        let after: Value = serde_json::from_slice(&encoded.body).unwrap();
        let mut found = BTreeSet::new();
        differences("", &recorded.row["request"], &after, alike, &mut found);
        for difference in found {
            match rule(&difference) {
                Some(rule) => _ = used.insert(rule),
                None => unknown.push(format!("{}: {difference}", recorded.id)),
            }
        }
    }
    println!("{carried} requests carried, {refused} refused, {} named differences", used.len());
    assert!(unknown.is_empty(), "no line of anthropic_differences.txt allows:\n{}", unknown.join("\n"));
    let unused: Vec<_> = rules.iter().filter(|rule| !used.contains(*rule)).collect();
    assert!(carried == 0 || unused.is_empty(), "nothing needs these lines any more: {unused:?}");
}

#[test]
fn every_recorded_answer_survives_the_hub() {
    let mut count = 0;
    for recorded in recordings() {
        let Some(body) = &recorded.answer else { continue };
        let answer = anthropic::decode_answer(body, &bedrock::Renames::default()).unwrap();
        let usage = answer.usage.unwrap();
        let said = |key: &str| recorded.row["response"]["usage"][key].as_u64().unwrap_or(0);
        assert_eq!(usage.output, said("output_tokens"));
        let cached = said("cache_creation_input_tokens") + said("cache_read_input_tokens");
        assert_eq!(usage.input, said("input_tokens") + cached);
        let doc = parse(body, &Limits::default()).unwrap();
        let facts = anthropic::read_answer(&doc);
        assert_eq!(facts.usage, Some(usage), "{}", recorded.id);
        let context = AnswerContext {
            id: answer.id.clone().unwrap(),
            created: 0,
            model: answer.model.clone().unwrap(),
        };
        let again = anthropic::encode_answer(&answer, &context);
        assert_eq!(
            anthropic::decode_answer(&again, &bedrock::Renames::default()).unwrap().parts,
            answer.parts
        );
        openai_chat::decode_answer(&openai_chat::encode_answer(&answer, &context)).unwrap();
        count += 1;
    }
    println!("{count} answers");
}

fn decoded(chunks: &[&[u8]]) -> Vec<Event> {
    let mut decoder = anthropic::StreamDecoder::new(bedrock::Renames::default());
    let mut events = Vec::new();
    chunks.iter().for_each(|chunk| decoder.push(chunk, &mut events));
    decoder.finish(&mut events);
    decoder.finish(&mut events);
    events
}

/// What the stream says, by another JSON reader: texts, thoughts, calls, the last usage and the stop reason.
fn expected(stream: &str) -> (String, String, Vec<(String, String)>, Usage, String) {
    let (mut text, mut thought, mut calls, mut stop) =
        (String::new(), String::new(), Vec::new(), String::new());
    let (mut usage, mut kinds) = (serde_json::Map::new(), Vec::new());
    for line in stream.lines().filter_map(|line| line.strip_prefix("data:")) {
        let event: Value = serde_json::from_str(line).unwrap();
        let at = event["index"].as_u64().unwrap_or(0) as usize;
        match event["type"].as_str().unwrap() {
            "message_start" => usage = event["message"]["usage"].as_object().unwrap().clone(),
            "content_block_start" => {
                let block = &event["content_block"];
                let kind = block["type"].as_str().unwrap().to_owned();
                if kind == "tool_use" {
                    calls.push((block["id"].as_str().unwrap().to_owned(), String::new()));
                }
                kinds.push(kind);
            }
            "content_block_delta" if kinds[at] == "tool_use" => {
                calls.last_mut().unwrap().1.push_str(event["delta"]["partial_json"].as_str().unwrap());
            }
            "content_block_delta" => {
                text.push_str(event["delta"]["text"].as_str().unwrap_or_default());
                thought.push_str(event["delta"]["thinking"].as_str().unwrap_or_default());
            }
            "message_delta" => {
                stop = event["delta"]["stop_reason"].as_str().unwrap().to_owned();
                usage.extend(event["usage"].as_object().unwrap().clone());
            }
            _ => {}
        }
    }
    let number = |key: &str| usage.get(key).and_then(Value::as_u64).unwrap_or(0);
    let (cache_read, cache_write) =
        (number("cache_read_input_tokens"), number("cache_creation_input_tokens"));
    let usage = Usage {
        input: number("input_tokens") + cache_read + cache_write,
        output: number("output_tokens"),
        cache_read,
        cache_write,
        reasoning: 0,
    };
    for (_, arguments) in &mut calls {
        if arguments.is_empty() {
            arguments.push_str("{}");
        }
    }
    (text, thought, calls, usage, stop)
}

fn told(events: &[Event]) -> (String, String, Vec<(String, String)>, Usage, Finish) {
    let (mut text, mut thought, mut calls) = (String::new(), String::new(), Vec::<(String, String)>::new());
    let (mut used, mut finished) = (Usage::default(), Finish::Stop);
    for event in events {
        match event {
            Event::TextDelta { text: more, .. } => text.push_str(more),
            Event::ReasoningDelta { text: more, .. } => thought.push_str(more),
            Event::ToolStart { id, .. } => calls.push((id.clone(), String::new())),
            Event::ToolArguments { index, text, .. } => calls[*index as usize].1.push_str(text),
            Event::Usage(usage) => used = Usage { reasoning: 0, ..*usage },
            Event::Finish { finish, .. } => finished = *finish,
            _ => {}
        }
    }
    (text, thought, calls, used, finished)
}

#[test]
fn every_recorded_stream_gives_the_same_events_at_every_cut() {
    let mut count = 0;
    for recorded in recordings() {
        let Some(stream) = &recorded.stream else { continue };
        let bytes = stream.as_bytes();
        let whole = decoded(&[bytes]);
        let (text, thought, calls, usage, stop) = expected(stream);
        let finish = match stop.as_str() {
            "tool_use" => Finish::ToolCalls,
            "max_tokens" => Finish::Length,
            _ => Finish::Stop,
        };
        assert_eq!(told(&whole), (text, thought, calls, usage, finish), "{}", recorded.id);
        assert_eq!(whole.last(), Some(&Event::Done));
        // Long recordings are cut at every byte of their first and last part, and every few between.
        let step =
            |at: usize| if bytes.len() < 12_000 || at < 4_000 || at + 4_000 > bytes.len() { 1 } else { 37 };
        let mut at = 0;
        while at < bytes.len() {
            let (a, b) = bytes.split_at(at);
            assert_eq!(decoded(&[a, b]), whole, "{} cut at {at}", recorded.id);
            at += step(at);
        }
        let pieces: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(decoded(&pieces), whole, "{} byte by byte", recorded.id);
        // Cut short, it never ends well.
        let end = stream.find("event: message_stop").unwrap();
        for end in [end, end / 2, 10] {
            assert!(matches!(decoded(&[&bytes[..end]]).last(), Some(Event::Error(_))), "{}", recorded.id);
        }
        count += 1;
    }
    println!("{count} streams");
}

#[test]
fn a_stream_written_again_says_the_same() {
    for recorded in recordings() {
        let Some(stream) = &recorded.stream else { continue };
        let events = decoded(&[stream.as_bytes()]);
        let context = AnswerContext { id: "msg_1".into(), created: 0, model: "m".into() };
        let mut encoder = anthropic::StreamEncoder::new(&context);
        let mut out = Vec::new();
        events.iter().for_each(|event| encoder.event(event, &mut out));
        assert_eq!(told(&decoded(&[&out])), told(&events), "{}", recorded.id);
        // The other dialect too, there and back.
        let mut encoder = openai_chat::StreamEncoder::new(&context, true);
        let mut chat = Vec::new();
        events.iter().for_each(|event| encoder.event(event, &mut chat));
        let whole = {
            let mut decoder = openai_chat::StreamDecoder::default();
            let mut events = Vec::new();
            decoder.push(&chat, &mut events);
            decoder.finish(&mut events);
            events
        };
        assert_eq!(told(&whole), told(&events), "{}", recorded.id);
        for at in (0..chat.len()).step_by(if chat.len() < 6_000 { 1 } else { 211 }) {
            let mut decoder = openai_chat::StreamDecoder::default();
            let mut events = Vec::new();
            decoder.push(&chat[..at], &mut events);
            decoder.push(&chat[at..], &mut events);
            decoder.finish(&mut events);
            assert_eq!(events, whole, "{} cut at {at}", recorded.id);
        }
    }
}

#[test]
fn events_that_pass_are_read_where_they_stand() {
    for recorded in recordings() {
        let Some(stream) = &recorded.stream else { continue };
        let (text, thought, calls, usage, stop) = expected(stream);
        let (mut seen, mut used, mut begun, mut word, mut done) =
            (vec![String::new(); 3], None, Usage::default(), String::new(), false);
        let mut decoder = sse::Decoder::new(1 << 20);
        let mut chunk = Chunk::default();
        decoder
            .push(stream.as_bytes(), &mut |event| {
                anthropic::read_event_into(&event.data, &mut chunk).unwrap();
                for text in &chunk.texts {
                    let slot = match text.slot {
                        openai_chat::Slot::Content => 0,
                        openai_chat::Slot::Reasoning => 1,
                        _ => 2,
                    };
                    seen[slot].push_str(&openai_chat::unquote(&event.data, text.value.clone()).unwrap());
                    // Replaced in place, the rest of the event is what it was.
                    let mut edits = Splices::new();
                    edits.replace(text.value.clone(), b"\"x\"");
                    let edited = edits.apply(&event.data).unwrap();
                    assert!(serde_json::from_slice::<Value>(&edited).is_ok());
                }
                begun = chunk.begun.unwrap_or(begun);
                used = chunk.usage.map(|usage| usage.or_more(&begun)).or(used);
                done |= chunk.is_done;
                for choice in &chunk.choices {
                    if let Some(range) = &choice.finish_value {
                        word = openai_chat::unquote(&event.data, range.clone()).unwrap();
                    }
                }
            })
            .unwrap();
        let calls: String = calls.into_iter().map(|(_, it)| it).filter(|it| it != "{}").collect();
        // Inputs of tools that the provider runs itself pass here too.
        assert!(seen[2].contains(&calls) || calls.is_empty(), "{}", recorded.id);
        assert_eq!((&seen[0], &seen[1]), (&text, &thought), "{}", recorded.id);
        assert_eq!(used.map(|used| Usage { reasoning: 0, ..used }), Some(usage));
        assert!(done && word == stop);
    }
}

#[test]
fn a_thoughts_signature_is_never_altered() {
    let mut signed = 0;
    for recorded in recordings() {
        let Some(body) = &recorded.answer else { continue };
        let answer = anthropic::decode_answer(body, &bedrock::Renames::default()).unwrap();
        let context = AnswerContext { id: "i".into(), created: 0, model: "m".into() };
        // Through OpenAI's form and back, as a chat client would send it.
        let chat = openai_chat::encode_answer(&answer, &context);
        let again = openai_chat::decode_answer(&chat).unwrap();
        let thoughts = |parts: &[Part]| -> Vec<Part> {
            let thought = |part: &&Part| matches!(part, Part::Reasoning { .. } | Part::RedactedReasoning(_));
            parts.iter().filter(thought).cloned().collect()
        };
        assert_eq!(thoughts(&answer.parts), thoughts(&again.parts), "{}", recorded.id);
        signed += thoughts(&answer.parts).len();
    }
    println!("{signed} thoughts");
}
