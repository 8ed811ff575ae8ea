//! Bytes that nobody meant: golden inputs with seeded damage. Whatever comes, nothing panics, and whatever is written
//! is JSON that the strict parser accepts.
#![allow(clippy::unwrap_used, reason = "tests stop at what they do not expect")]

use std::fs;
use std::path::Path;

use weir_dialects::hub::Event;
use weir_dialects::{
    anthropic, bedrock, openai_chat, openai_completions, openai_embeddings, openai_responses,
};
use weir_wire::json::{Kind, Limits, parse};
use weir_wire::splice::Splices;

/// Marsaglia's xorshift: the same damage on every run.
struct Damage(u64);

impl Damage {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    /// Damages a text: values of other kinds, keys swapped, pieces cut out, doubled, or broken.
    fn apply(&mut self, text: &str) -> Vec<u8> {
        const VALUES: &[&str] =
            &["null", "[]", "{}", "7", "-1", "\"\"", "\"x\"", "true", "1e400", "[[]]", "{\"a\":{}}"];
        let mut bytes = text.as_bytes().to_vec();
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len());
            match self.below(5) {
                0 => {
                    let end = (at + self.below(30)).min(bytes.len());
                    bytes.drain(at..end);
                }
                1 => bytes = replaced_value(&bytes, at, VALUES.get(self.below(VALUES.len())).unwrap_or(&"0")),
                2 => *bytes.get_mut(at).unwrap_or(&mut 0) ^= 1 << self.below(8),
                3 => {
                    let end = (at + self.below(60)).min(bytes.len());
                    let piece = bytes.get(at..end).unwrap_or_default().to_vec();
                    bytes.splice(at..at, piece);
                }
                _ => bytes = replaced_value(&bytes, at, VALUES.get(self.below(VALUES.len())).unwrap_or(&"0")),
            }
        }
        bytes
    }
}

/// Another value after the next colon, so that the document stays well formed more often than not.
fn replaced_value(bytes: &[u8], from: usize, value: &str) -> Vec<u8> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let Ok(doc) = parse(text.as_bytes(), &Limits::default()) else { return bytes.to_vec() };
    let mut ranges = Vec::new();
    collect(doc.root(), &mut ranges);
    let Some(range) = ranges.into_iter().find(|range| range.start >= from) else { return bytes.to_vec() };
    let mut edits = Splices::new();
    edits.replace(range, value.as_bytes());
    edits.apply(text.as_bytes()).unwrap()
}

fn collect(value: weir_wire::json::Value<'_, '_>, ranges: &mut Vec<std::ops::Range<usize>>) {
    ranges.push(value.range());
    value.items().for_each(|item| collect(item, ranges));
    value.members().for_each(|(_, member)| collect(member, ranges));
}

fn inputs(suite: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("goldens").join(suite);
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut inputs: Vec<_> = files.filter(|path| path.extension().is_some_and(|it| it == "json")).collect();
    inputs.sort();
    inputs.iter().map(|path| fs::read_to_string(path).unwrap()).collect()
}

fn is_json(bytes: &[u8]) {
    let written = parse(bytes, &Limits { depth: 256, ..Limits::default() });
    assert!(written.is_ok(), "{:?} in {}", written.err(), String::from_utf8_lossy(bytes));
}

/// Sees that texts are strings and JSON, and that no JSON stands before what was told ahead of it.
fn shown() -> impl FnMut(openai_chat::Text<'_, '_>) {
    let mut end = 0;
    move |text| {
        let (at, kind) = (text.value.range(), text.value.kind());
        assert!(matches!(kind, Kind::String | Kind::Array | Kind::Object), "{kind:?}");
        if kind != Kind::String {
            assert!(end <= at.start, "{end} and {at:?}");
            end = at.end;
        }
    }
}

#[test]
fn damaged_chat_requests_do_no_harm() {
    let mut damage = Damage(0x9e37_79b9_7f4a_7c15);
    let mut carried = 0;
    for input in inputs("chat_to_converse") {
        for _ in 0..800 {
            let body = damage.apply(&input);
            let Ok(doc) = parse(&body, &Limits::default()) else { continue };
            openai_chat::texts(&doc, &mut shown());
            let counted = openai_chat::prompt_tokens(&doc, &mut |text| text.len() as u64);
            assert!(counted.tokens < 1_000_000);
            openai_chat::overhead(&doc);
            openai_chat::byte_bound(&doc);
            _ = openai_completions::read(&doc);
            if let Ok(request) = openai_chat::read(&doc) {
                let mut edits = Splices::new();
                request.set_model("other", &mut edits);
                request.set_ceiling(5, &mut edits);
                request.set_include_usage(&mut edits);
                let edited = edits.apply(&body).unwrap();
                is_json(&edited);
                let doc = parse(&edited, &Limits::default()).unwrap();
                let again = openai_chat::read(&doc).unwrap();
                assert!(again.include_usage && again.ceiling().unwrap() <= 5 && again.model_name == "other");
            }
            let Ok((chat, _)) = openai_chat::decode(&doc) else { continue };
            is_json(&openai_chat::encode(&chat, true).0);
            if let Ok(encoded) = bedrock::encode(&chat, &chat.model) {
                carried += 1;
                is_json(&encoded.body);
                assert!(encoded.path.is_ascii());
            }
        }
    }
    assert!(carried > 2_000, "only {carried} were carried: the damage is too great to test anything");
}

#[test]
fn damaged_converse_bodies_do_no_harm() {
    let mut damage = Damage(0x1234_5678_9abc_def1);
    let context = openai_chat::AnswerContext { id: "i".into(), created: 1, model: "m".into() };
    for input in inputs("converse_answer_to_chat").into_iter().chain(inputs("converse_to_chat")) {
        for _ in 0..1_000 {
            let body = damage.apply(&input);
            match bedrock::decode_answer(&body, &bedrock::Renames::default()) {
                Ok(answer) => is_json(&openai_chat::encode_answer(&answer, &context)),
                Err(failure) => is_json(&openai_chat::failure(&failure)),
            }
            _ = openai_chat::decode_answer(&body);
            is_json(&openai_chat::failure(&bedrock::decode_error(400, None, &body)));
            is_json(&openai_chat::failure(&openai_chat::decode_error(400, &body)));
            _ = openai_chat::read_chunk(&body);
            let Ok(doc) = parse(&body, &Limits::default()) else { continue };
            if let Ok((chat, _)) = bedrock::decode(&doc, "m", false) {
                is_json(&openai_chat::encode(&chat, false).0);
                if let Ok(encoded) = bedrock::encode(&chat, "m") {
                    is_json(&encoded.body);
                }
            }
        }
    }
}

#[test]
fn a_great_many_of_one_kind_cost_no_more_than_their_number() {
    // Were any of it quadratic, this would take minutes.
    let calls: Vec<_> = (0..30_000)
        .map(|at| {
            format!(
                r#"{{"id":"call {at}","type":"function","function":{{"name":"tool {at}","arguments":""}}}}"#
            )
        })
        .collect();
    let results: Vec<_> = (0..30_000)
        .map(|at| format!(r#"{{"role":"tool","tool_call_id":"call {}","content":"r"}}"#, 29_999 - at))
        .collect();
    let files = r#"{"type":"file","file":{"filename":"a.txt","file_data":"data:;base64,AAAA"}}"#;
    let files = vec![files; 10_000].join(",");
    let body = format!(
        r#"{{"model":"m","messages":[{{"role":"user","content":[{files}]}},{{"role":"assistant","tool_calls":[{}]}},{}]}}"#,
        calls.join(","),
        results.join(",")
    );
    let doc = parse(body.as_bytes(), &Limits::default()).unwrap();
    let (chat, _) = openai_chat::decode(&doc).unwrap();
    let encoded = bedrock::encode(&chat, "m").unwrap();
    let text = String::from_utf8(encoded.body).unwrap();
    let first = text.find("\"toolResult\"").unwrap();
    let id = "{\"toolUseId\":\"call_0-";
    assert!(
        text.get(first..).unwrap().starts_with(&format!("\"toolResult\":{id}")),
        "results follow their calls"
    );
}

#[test]
fn damaged_messages_requests_do_no_harm() {
    let mut damage = Damage(0x0bad_5eed_0bad_5eed);
    let mut carried = 0;
    for input in inputs("messages_to_others") {
        for _ in 0..1_500 {
            let body = damage.apply(&input);
            let Ok(doc) = parse(&body, &Limits::default()) else { continue };
            anthropic::texts(&doc, &mut shown());
            anthropic::byte_bound(&doc);
            let rules = openai_chat::Rules::COOKBOOK;
            let bytes = anthropic::prompt_tokens(&doc, &rules, &mut |text| text.len() as u64);
            assert!(bytes.tokens < 1_000_000);
            let Ok(request) = anthropic::read(&doc, false) else { continue };
            let mut edits = Splices::new();
            request.set_model("other", &mut edits);
            request.set_ceiling(5, &mut edits);
            let edited = edits.apply(&body).unwrap();
            is_json(&edited);
            let again = parse(&edited, &Limits::default()).unwrap();
            let again = anthropic::read(&again, false).unwrap();
            assert!(again.ceiling().unwrap() <= 5 && again.model_name == "other");
            let Ok((chat, _)) = anthropic::decode(&doc) else { continue };
            is_json(&openai_chat::encode(&chat, true).0);
            if let Ok(encoded) = bedrock::encode(&chat, &chat.model) {
                is_json(&encoded.body);
            }
            if let Ok(encoded) = anthropic::encode(&chat, &chat.model) {
                carried += 1;
                is_json(&encoded.body);
            }
        }
    }
    assert!(carried > 800, "only {carried} were carried: the damage is too great to test anything");
}

#[test]
fn damaged_message_streams_and_answers_do_no_harm() {
    let mut damage = Damage(0x7777_1234_5678_9abc);
    let context = openai_chat::AnswerContext { id: "i".into(), created: 1, model: "m".into() };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("goldens");
    for (suite, messages) in [("messages_stream_to_chat", true), ("chat_stream_to_messages", false)] {
        for entry in fs::read_dir(folder.join(suite)).unwrap() {
            let input = fs::read_to_string(entry.unwrap().path()).unwrap();
            for _ in 0..1_500 {
                let body = damage.apply(&input);
                let mut events = Vec::new();
                if messages {
                    let mut decoder = anthropic::StreamDecoder::new(bedrock::Renames::default());
                    decoder.push(&body, &mut events);
                    decoder.finish(&mut events);
                } else {
                    let mut decoder = openai_chat::StreamDecoder::default();
                    decoder.push(&body, &mut events);
                    decoder.finish(&mut events);
                }
                let last = events.last().unwrap();
                assert!(matches!(last, Event::Done | Event::Error(_)), "{last:?}");
                let mut encoder = anthropic::StreamEncoder::new(&context);
                let mut out = Vec::new();
                events.iter().for_each(|event| encoder.event(event, &mut out));
                let mut chunk = openai_chat::Chunk::default();
                weir_wire::sse::Decoder::new(1 << 20)
                    .push(&out, &mut |event| {
                        is_json(&event.data);
                        anthropic::read_event_into(&event.data, &mut chunk).unwrap();
                    })
                    .unwrap();
                _ = anthropic::stream_failure(&body);
                is_json(&anthropic::failure(&anthropic::decode_error(400, &body)));
            }
        }
    }
    for input in inputs("converse_answer_to_chat") {
        for _ in 0..500 {
            let body = damage
                .apply(&input.replace("\"output\"", "\"content\"").replace("stopReason", "stop_reason"));
            if let Ok(answer) = anthropic::decode_answer(&body, &bedrock::Renames::default()) {
                is_json(&anthropic::encode_answer(&answer, &context));
            }
        }
    }
}

#[test]
fn damaged_responses_requests_do_no_harm() {
    let mut damage = Damage(0x5eed_5eed_1234_4321);
    let mut carried = 0;
    for input in inputs("responses_to_others") {
        for _ in 0..1_500 {
            let body = damage.apply(&input);
            _ = openai_responses::own(&body).map(|(own, _)| is_json(&own));
            let Ok(doc) = parse(&body, &Limits::default()) else { continue };
            openai_responses::texts(&doc, &mut shown());
            is_json(&[b"{", openai_responses::echo(Some(&doc)).as_slice(), b"}"].concat());
            let rules = openai_chat::Rules::COOKBOOK;
            let bytes = openai_responses::prompt_tokens(&doc, &rules, &mut |text| text.len() as u64);
            assert!(bytes.tokens < 1_000_000 && openai_responses::byte_bound(&doc) < 1_000_000);
            openai_responses::images(&doc);
            _ = openai_embeddings::read(&doc).map(|read| openai_embeddings::token_lists(read.prompt));
            let Ok(request) = openai_responses::read(&doc) else { continue };
            let mut edits = Splices::new();
            request.set_model("other", &mut edits);
            request.set_ceiling(5, &mut edits);
            request.set_include_usage(&mut edits);
            let edited = edits.apply(&body).unwrap();
            is_json(&edited);
            let again = parse(&edited, &Limits::default()).unwrap();
            let again = openai_responses::read(&again).unwrap();
            assert!(again.ceiling().unwrap() <= 5 && again.model_name == "other");
            let Ok((chat, _)) = openai_responses::decode(&doc) else { continue };
            is_json(&openai_chat::encode(&chat, true).0);
            for encoded in [bedrock::encode(&chat, "m"), anthropic::encode(&chat, "m")].into_iter().flatten()
            {
                carried += 1;
                is_json(&encoded.body);
            }
        }
    }
    assert!(carried > 1_000, "only {carried} were carried: the damage is too great to test anything");
}

#[test]
fn damaged_responses_streams_and_answers_do_no_harm() {
    let mut damage = Damage(0x0dd0_1234_5678_9abc);
    let context = openai_chat::AnswerContext { id: "resp_i".into(), created: 1, model: "m".into() };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("goldens");
    let mut chunk = openai_chat::Chunk::default();
    for suite in ["messages_stream_to_responses", "chat_stream_to_responses"] {
        for entry in fs::read_dir(folder.join(suite)).unwrap() {
            let path = entry.unwrap().path();
            let input = fs::read_to_string(&path).unwrap();
            let passes = path.extension().is_some_and(|it| it == "out");
            for _ in 0..if passes { 150 } else { 1_500 } {
                let body = damage.apply(&input);
                if passes {
                    let read = weir_wire::sse::Decoder::new(1 << 20).push(&body, &mut |event| {
                        _ = openai_responses::first(&event.data);
                        if openai_responses::read_event_into(&event.data, &mut chunk).is_ok() {
                            let mut edits = Splices::new();
                            let texts = chunk.texts.iter().chain(&chunk.wholes);
                            texts.for_each(|text| edits.replace(text.value.clone(), b"\"x\""));
                            is_json(&edits.apply(&event.data).unwrap());
                            for text in &chunk.texts {
                                let event = openai_responses::text_event(&event.data, text.slot, 7, b"\"y\"");
                                is_json(&event.unwrap().1);
                            }
                        }
                    });
                    assert!(read.is_ok());
                    continue;
                }
                let mut events = Vec::new();
                if suite.starts_with("messages") {
                    let mut decoder = anthropic::StreamDecoder::new(bedrock::Renames::default());
                    decoder.push(&body, &mut events);
                    decoder.finish(&mut events);
                } else {
                    let mut decoder = openai_chat::StreamDecoder::default();
                    decoder.push(&body, &mut events);
                    decoder.finish(&mut events);
                }
                let mut encoder =
                    openai_responses::StreamEncoder::new(&context, &openai_responses::echo(None));
                let mut out = Vec::new();
                events.iter().for_each(|event| encoder.event(event, &mut out));
                let mut next = 0;
                weir_wire::sse::Decoder::new(4 << 20)
                    .push(&out, &mut |event| {
                        openai_responses::read_event_into(&event.data, &mut chunk).unwrap();
                        assert_eq!(chunk.sequence.as_ref().map(|(_, at)| *at), Some(next));
                        next += 1;
                    })
                    .unwrap();
            }
        }
    }
    for input in inputs("messages_answer_to_responses") {
        for _ in 0..1_000 {
            let body = damage.apply(&input);
            if let Ok(answer) = anthropic::decode_answer(&body, &bedrock::Renames::default()) {
                let response =
                    openai_responses::encode_answer(&answer, &context, &openai_responses::echo(None));
                is_json(&response);
                let doc = parse(&response, &Limits::default()).unwrap();
                let mut edits = Splices::new();
                let facts = openai_responses::read_answer(&doc);
                facts.texts.iter().for_each(|text| edits.replace(text.value.range(), b"\"x\""));
                is_json(&edits.apply(&response).unwrap());
            }
        }
    }
}
