//! Recorded Bedrock traffic read as a client's: what passes is understood where it stands, and an answer that is taken
//! apart and written anew says the same. Differences that remain are named here.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests stop at what they do not expect"
)]

mod common;

use serde_json::Value;
use weir_dialects::bedrock::{self, Renames, invoke};
use weir_dialects::hub::{Event, Part};
use weir_dialects::{anthropic, openai_chat};
use weir_wire::json::{Limits, parse};
use weir_wire::splice::Splices;
use weir_wire::{base64, eventstream};

#[test]
fn every_request_that_bedrock_took_is_read_and_can_be_given_a_ceiling() {
    let Some(folder) = common::data("wire") else { return };
    let mut read = 0;
    for recorded in common::converse(&folder) {
        if recorded.status != 200 || recorded.row["request"].get("messages").is_none() {
            continue;
        }
        read += 1;
        let doc = parse(&recorded.request, &Limits::default()).unwrap();
        let request = bedrock::read(&doc, &recorded.model_id, recorded.stream)
            .unwrap_or_else(|why| panic!("{}: {why:?}", recorded.id));
        let body = &recorded.row["request"];
        assert_eq!(request.ceiling(), body["inferenceConfig"]["maxTokens"].as_u64(), "{}", recorded.id);
        let mut texts = 0;
        bedrock::texts(&doc, &mut |text| {
            texts += 1;
            assert!(!text.value.inner().is_empty());
        });
        assert!(texts > 0, "{}", recorded.id);
        // All that differs afterwards is the ceiling.
        let mut edits = Splices::new();
        request.set_ceiling(3, &mut edits);
        let mut edited: Value = serde_json::from_slice(&edits.apply(&recorded.request).unwrap()).unwrap();
        assert_eq!(
            edited["inferenceConfig"]["maxTokens"].as_u64(),
            Some(request.ceiling().unwrap_or(3).min(3))
        );
        let config = edited["inferenceConfig"].as_object_mut().unwrap();
        match body["inferenceConfig"].get("maxTokens") {
            Some(before) => _ = config.insert("maxTokens".into(), before.clone()),
            None => _ = config.remove("maxTokens"),
        }
        if body.get("inferenceConfig").is_none() {
            edited.as_object_mut().unwrap().remove("inferenceConfig");
        }
        assert_eq!(&edited, body, "{}", recorded.id);
    }
    assert!(read > 90, "{read}");
}

#[test]
fn answers_survive_the_hub_and_their_usage_is_read_where_they_stand() {
    let Some(folder) = common::data("wire") else { return };
    let mut read = 0;
    for recorded in common::converse(&folder) {
        let answer = &recorded.row["response"];
        if recorded.status != 200 || answer.get("output").is_none() {
            continue;
        }
        read += 1;
        let body = answer.to_string().into_bytes();
        let decoded = bedrock::decode_answer(&body, &Renames::default()).unwrap();
        let again = bedrock::encode_answer(&decoded);
        let mut expected = decoded.clone();
        // Citations are carried as their text.
        expected.parts.retain(|part| !matches!(part, Part::CachePoint { .. }));
        assert_eq!(bedrock::decode_answer(&again, &Renames::default()).unwrap(), expected, "{}", recorded.id);
        let again: Value = serde_json::from_slice(&again).unwrap();
        for key in ["inputTokens", "outputTokens", "totalTokens"] {
            assert_eq!(again["usage"][key], answer["usage"][key], "{} {key}", recorded.id);
        }
        let doc = parse(&body, &Limits::default()).unwrap();
        let facts = bedrock::read_answer(&doc);
        assert_eq!(facts.usage, decoded.usage, "{}", recorded.id);
        assert_eq!(facts.finishes[0].1, answer["stopReason"].as_str().unwrap());
        let texts = decoded.parts.iter().filter(|part| matches!(part, Part::Text(_))).count();
        assert!(facts.texts.len() >= texts, "{}", recorded.id);
    }
    assert!(read > 60, "{read}");
}

/// The events of a Converse body.
fn events(body: &[u8]) -> Vec<Event> {
    let mut decoder = bedrock::StreamDecoder::new(Renames::default());
    let mut events = Vec::new();
    decoder.push(body, &mut events);
    decoder.finish(&mut events);
    events
}

#[test]
fn streams_survive_the_hub_and_each_frame_is_read_where_it_stands() {
    let Some(folder) = common::data("wire") else { return };
    let mut read = 0;
    for recorded in common::converse(&folder) {
        let Some(body) = recorded.row["response_b64"].as_str().filter(|_| recorded.status == 200) else {
            continue;
        };
        read += 1;
        let body = base64::decode(body.as_bytes()).unwrap();
        let told = events(&body);
        let mut encoder = bedrock::StreamEncoder::default();
        let mut again = Vec::new();
        told.iter().for_each(|event| encoder.event(event, &mut again));
        assert_eq!(events(&again), told, "{}", recorded.id);
        let (mut chunk, mut text, mut usage) = (openai_chat::Chunk::default(), String::new(), None);
        eventstream::Decoder::new(1 << 20)
            .push(&body, &mut |frame| {
                bedrock::read_event_into(frame.event_type().unwrap(), frame.payload, &mut chunk).unwrap();
                for piece in chunk.texts.iter().filter(|piece| piece.slot == openai_chat::Slot::Content) {
                    text.push_str(&openai_chat::unquote(frame.payload, piece.value.clone()).unwrap());
                }
                usage = usage.or(chunk.usage);
            })
            .unwrap();
        let said: String = told
            .iter()
            .filter_map(|event| match event {
                Event::TextDelta { text, .. } => Some(text.as_str()),
                _ => None,
            })
            .collect();
        assert_eq!(text, said, "{}", recorded.id);
        assert!(told.contains(&Event::Usage(usage.unwrap())), "{}", recorded.id);
    }
    assert!(read > 10, "{read}");
}

#[test]
fn recorded_invoke_streams_change_their_envelope_and_back_at_every_cut() {
    let Some(folder) = common::data("wire") else { return };
    let (mut messages, mut others) = (0, 0);
    for (number, line) in
        common::lines(&folder, "bedrock_invoke_with_response_stream.jsonl").iter().enumerate()
    {
        let row: Value = serde_json::from_str(line).unwrap();
        let Some(body) = row["response_b64"].as_str().filter(|_| row["status"] == 200) else { continue };
        let body = base64::decode(body.as_bytes()).unwrap();
        let mut payloads = Vec::new();
        eventstream::Decoder::new(1 << 20)
            .push(&body, &mut |frame| payloads.push(invoke::payload(frame).unwrap()))
            .unwrap();
        let last: Value = serde_json::from_slice(payloads.last().unwrap()).unwrap();
        let metrics = &last["amazon-bedrock-invocationMetrics"];
        let mut chunk = openai_chat::Chunk::default();
        bedrock::read_invoke_into(payloads.last().unwrap(), &mut chunk).unwrap();
        let output = chunk.usage.map(|usage| usage.output);
        assert_eq!(output, metrics["outputTokenCount"].as_u64(), "line {}", number + 1);
        if last["type"] != "message_stop" {
            others += 1;
            continue;
        }
        messages += 1;
        let through = |into_frames: bool, bytes: &[u8], at: usize| {
            let mut reframe = invoke::Reframe::new(into_frames);
            let mut marks = Vec::new();
            let (head, tail) = bytes.split_at(at);
            reframe.push(head, &mut marks);
            reframe.push(tail, &mut marks);
            reframe.finish(&mut marks);
            let mut out = Vec::new();
            reframe.take(&mut out);
            (out, marks)
        };
        let (plain, _) = through(false, &body, 0);
        let told = |bytes: &[u8]| {
            let mut decoder = anthropic::StreamDecoder::new(Renames::default());
            let mut events = Vec::new();
            decoder.push(bytes, &mut events);
            decoder.finish(&mut events);
            events
        };
        assert_eq!(told(&plain).last(), Some(&Event::Done), "line {}", number + 1);
        for at in (0..=body.len()).step_by(3) {
            assert_eq!(through(false, &body, at).0, plain, "line {} cut at {at}", number + 1);
        }
        // Back again: the same payloads, without Bedrock's padding.
        let (framed, _) = through(true, &plain, plain.len() / 2);
        let mut again = Vec::new();
        eventstream::Decoder::new(1 << 20)
            .push(&framed, &mut |frame| again.push(invoke::payload(frame).unwrap()))
            .unwrap();
        assert_eq!(again, payloads, "line {}", number + 1);
    }
    println!("{messages} recorded streams of messages, {others} of other dialects");
    assert!(messages > 1, "{messages}");
}

#[test]
fn of_recorded_invoke_bodies_it_is_known_which_are_messages() {
    let Some(folder) = common::data("wire") else { return };
    let mut found = (0, 0);
    for file in ["bedrock_invoke.jsonl", "bedrock_invoke_with_response_stream.jsonl"] {
        for (number, line) in common::lines(&folder, file).iter().enumerate() {
            let row: Value = serde_json::from_str(line).unwrap();
            if row["status"] != 200 || !row["request"].is_object() {
                continue;
            }
            let body = row["request"].to_string();
            let doc = parse(body.as_bytes(), &Limits::default()).unwrap();
            if invoke::is_messages(&doc) {
                found.0 += 1;
                anthropic::read_named(&doc, false, Some(("m", true)))
                    .unwrap_or_else(|why| panic!("{file}:{}: {why:?}", number + 1));
                // Out of the envelope and back into it.
                let plain = invoke::to_messages(&doc, "m", true);
                let plain = parse(&plain, &Limits::default()).unwrap();
                let again = invoke::from_messages(&plain, &invoke::beta(&doc));
                assert_eq!(
                    serde_json::from_slice::<Value>(&again).unwrap(),
                    row["request"],
                    "{file}:{}",
                    number + 1
                );
            } else {
                found.1 += 1;
                bedrock::read_invoke(&doc, "m", false).unwrap();
            }
        }
    }
    println!("{} recorded bodies are messages, {} in dialects of their own", found.0, found.1);
    assert!(found.0 > 3 && found.1 > 3, "{found:?}");
}
