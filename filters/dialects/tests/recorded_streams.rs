//! Every recorded ConverseStream body, cut at every byte, gives the events and the usage that its recorded frames say;
//! cut short or with a wrong byte it never ends well.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests stop at what they do not expect"
)]

mod common;

use serde_json::Value;
use weir_dialects::hub::{Event, Finish, Usage};
use weir_dialects::{bedrock, openai_chat};
use weir_wire::{base64, sse};

struct Stream {
    id: String,
    body: Vec<u8>,
    expected: Vec<Event>,
}

fn streams() -> Vec<Stream> {
    let Some(folder) = common::data("wire") else { return Vec::new() };
    let mut streams = Vec::new();
    for recorded in common::converse(&folder) {
        let Some(body) = recorded.row["response_b64"].as_str() else { continue };
        let body = base64::decode(body.as_bytes()).unwrap();
        if recorded.status == 200 {
            let expected = expected(recorded.row["events"].as_array().unwrap());
            streams.push(Stream { id: recorded.id, body, expected });
        }
    }
    assert!(streams.len() > 10);
    streams
}

/// Events from the recording's own decoded frames, by the table of the facts and another JSON reader.
fn expected(frames: &[Value]) -> Vec<Event> {
    let mut events = Vec::new();
    let mut tools: Vec<(u64, bool)> = Vec::new();
    for frame in frames {
        let payload: Value = serde_json::from_str(frame[1].as_str().unwrap()).unwrap();
        let block = payload["contentBlockIndex"].as_u64().unwrap_or(0);
        let position = tools.iter().position(|(known, _)| *known == block);
        let text = |pointer: &str| payload.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        match frame[0][":event-type"].as_str().unwrap() {
            "messageStart" => events.push(Event::Start { id: None, model: None }),
            "contentBlockStart" => {
                let index = tools.len() as u32;
                tools.push((block, false));
                let id = text("/start/toolUse/toolUseId").unwrap();
                events.push(Event::ToolStart {
                    choice: 0,
                    index,
                    id,
                    name: text("/start/toolUse/name").unwrap(),
                });
            }
            "contentBlockDelta" => {
                let said = |text: &String| !text.is_empty();
                if let Some(text) = text("/delta/text").filter(said) {
                    events.push(Event::TextDelta { choice: 0, text });
                } else if let Some(text) = text("/delta/toolUse/input").filter(said) {
                    tools[position.unwrap()].1 = true;
                    events.push(Event::ToolArguments { choice: 0, index: position.unwrap() as u32, text });
                } else if let Some(text) = text("/delta/reasoningContent/text").filter(said) {
                    events.push(Event::ReasoningDelta { choice: 0, text });
                } else if let Some(signature) = text("/delta/reasoningContent/signature") {
                    events.push(Event::ReasoningSignature { choice: 0, signature });
                }
            }
            "contentBlockStop" => {
                if let Some(position) = position.filter(|position| !tools[*position].1) {
                    let index = position as u32;
                    events.push(Event::ToolArguments { choice: 0, index, text: "{}".into() });
                }
            }
            "messageStop" => {
                let finish = match text("/stopReason").unwrap().as_str() {
                    "end_turn" => Finish::Stop,
                    "tool_use" => Finish::ToolCalls,
                    "max_tokens" => Finish::Length,
                    "guardrail_intervened" => Finish::ContentFilter,
                    other => panic!("a stop reason that no recording had: {other}"),
                };
                events.push(Event::Finish { choice: 0, finish });
            }
            "metadata" => {
                let number = |key: &str| payload["usage"][key].as_u64().unwrap_or(0);
                let (cache_read, cache_write) =
                    (number("cacheReadInputTokens"), number("cacheWriteInputTokens"));
                let usage = Usage {
                    // The recorded total must be what input and output make.
                    input: number("totalTokens") - number("outputTokens"),
                    output: number("outputTokens"),
                    cache_read,
                    cache_write,
                    reasoning: 0,
                };
                events.push(Event::Usage(usage));
            }
            other => panic!("an event that no recording had: {other}"),
        }
    }
    events.push(Event::Done);
    events
}

fn decoded(chunks: &[&[u8]]) -> Vec<Event> {
    let mut decoder = bedrock::StreamDecoder::new(bedrock::Renames::default());
    let mut events = Vec::new();
    for chunk in chunks {
        decoder.push(chunk, &mut events);
    }
    decoder.finish(&mut events);
    decoder.finish(&mut events);
    events
}

#[test]
fn every_cut_gives_the_recorded_events() {
    for stream in streams() {
        let body = stream.body.as_slice();
        assert_eq!(decoded(&[body]), stream.expected, "{}", stream.id);
        let bytes: Vec<_> = body.chunks(1).collect();
        assert_eq!(decoded(&bytes), stream.expected, "{} byte by byte", stream.id);
        // One decoder walks the head byte by byte; at each cut a copy of it takes the tail in one piece.
        let mut walker = bedrock::StreamDecoder::new(bedrock::Renames::default());
        let mut before = Vec::new();
        for cut in 0..=body.len() {
            let (mut decoder, mut events) = (walker.clone(), before.clone());
            decoder.push(&body[cut..], &mut events);
            decoder.finish(&mut events);
            assert_eq!(events, stream.expected, "{} cut at {cut}", stream.id);
            walker.push(body.get(cut..cut + 1).unwrap_or_default(), &mut before);
        }
    }
}

#[test]
fn a_stream_cut_short_never_ends_well() {
    for stream in streams() {
        // Behind messageStop the answer is whole; only its usage may be missing.
        let whole = stream.expected.iter().position(|event| matches!(event, Event::Finish { .. })).unwrap();
        let mut walker = bedrock::StreamDecoder::new(bedrock::Renames::default());
        let mut before = Vec::new();
        for end in 0..stream.body.len() {
            let (mut decoder, mut events) = (walker.clone(), before.clone());
            decoder.finish(&mut events);
            walker.push(&stream.body[end..=end], &mut before);
            match events.last() {
                Some(Event::Done) => {
                    assert_eq!(events[..=whole], stream.expected[..=whole], "{} {end}", stream.id)
                }
                Some(Event::Error(failure)) => assert_eq!(failure.status, 502),
                other => panic!("{} cut short at {end} ends with {other:?}", stream.id),
            }
            assert!(
                events.iter().filter(|event| matches!(event, Event::Done | Event::Error(_))).count() == 1
            );
        }
    }
}

#[test]
fn a_wrong_byte_never_ends_well() {
    for stream in streams() {
        for at in (0..stream.body.len()).step_by(29) {
            let mut body = stream.body.clone();
            body[at] ^= 0x10;
            let events = decoded(&[&body]);
            let Some((Event::Error(_), before)) = events.split_last() else {
                panic!("{} with a wrong byte at {at} ended well", stream.id);
            };
            // What was told before the wrong byte was true.
            assert_eq!(before, &stream.expected[..before.len()]);
        }
    }
}

#[test]
fn clients_see_the_recorded_text_and_usage() {
    for stream in streams() {
        let context = openai_chat::AnswerContext { id: "i".into(), created: 1, model: "m".into() };
        let mut encoder = openai_chat::StreamEncoder::new(&context, true);
        let mut out = Vec::new();
        stream.expected.iter().for_each(|event| encoder.event(event, &mut out));
        let (mut text, mut usage, mut done) = (String::new(), None, false);
        sse::Decoder::new(1 << 20)
            .push(&out, &mut |event| {
                let chunk = openai_chat::read_chunk(&event.data).unwrap();
                for piece in chunk.texts.iter().filter(|piece| piece.slot == openai_chat::Slot::Content) {
                    text.push_str(&openai_chat::unquote(&event.data, piece.value.clone()).unwrap());
                }
                usage = usage.or(chunk.usage);
                done |= chunk.is_done;
            })
            .unwrap();
        let said = stream.expected.iter().filter_map(|event| match event {
            Event::TextDelta { text, .. } => Some(text.as_str()),
            _ => None,
        });
        assert_eq!(text, said.collect::<String>());
        assert_eq!(
            usage.map(Event::Usage).as_ref(),
            stream.expected.iter().find(|e| matches!(e, Event::Usage(_)))
        );
        assert!(done);
    }
}
