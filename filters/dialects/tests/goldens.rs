//! Golden files: an input beside what became of it. `UPDATE=1 cargo test -p weir-dialects --test goldens` writes the
//! outputs again and deletes those whose input is gone; a reviewer reads the difference.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests stop at what they do not expect"
)]

#[path = "common/golden.rs"]
mod golden;

use std::fmt::Write as _;

use golden::{chat_events, check, losses, message_events, pretty};
use weir_dialects::{anthropic, bedrock, openai_chat};
use weir_wire::json::{Limits, parse};
use weir_wire::{eventstream, sse};

#[test]
fn chat_requests_become_converse_requests() {
    check("chat_to_converse", "json", |input| {
        let doc = parse(input.as_bytes(), &Limits::default()).unwrap();
        let encoded = openai_chat::decode(&doc).and_then(|(chat, lost)| {
            let encoded = bedrock::encode(&chat, &chat.model)?;
            Ok((encoded, lost))
        });
        match encoded {
            Err(invalid) => format!("400 {} {}: {}\n", invalid.code, invalid.param, invalid.message),
            Ok((encoded, lost)) => {
                let mut out = format!("POST {}\n", encoded.path);
                losses(&mut out, &lost);
                losses(&mut out, &encoded.losses);
                // Every golden body is also a Converse request to the hub.
                let doc = parse(&encoded.body, &Limits::default()).unwrap();
                bedrock::decode(&doc, "", false).unwrap();
                writeln!(out, "{}", pretty(&encoded.body)).unwrap();
                out
            }
        }
    });
}

#[test]
fn converse_requests_become_chat_requests() {
    check("converse_to_chat", "json", |input| {
        let doc = parse(input.as_bytes(), &Limits::default()).unwrap();
        match bedrock::decode(&doc, "model", true) {
            Err(invalid) => format!("400 {} {}: {}\n", invalid.code, invalid.param, invalid.message),
            Ok((chat, lost)) => {
                let mut out = String::new();
                losses(&mut out, &lost);
                for extended in [true, false] {
                    let (body, lost) = openai_chat::encode(&chat, extended);
                    writeln!(out, "{}", if extended { "extended" } else { "strict" }).unwrap();
                    losses(&mut out, &lost);
                    writeln!(out, "{}", pretty(&body)).unwrap();
                }
                out
            }
        }
    });
}

fn context() -> openai_chat::AnswerContext {
    openai_chat::AnswerContext { id: "chatcmpl-golden".into(), created: 1_700_000_000, model: "asked".into() }
}

/// The map of one tool whose name Bedrock cannot take, as a request with it would have made it.
fn renames() -> bedrock::Renames {
    let body = br#"{"model":"m","messages":[{"role":"user","content":"x"}],"tools":[{"type":"function","function":{"name":"mcp.files/read"}}]}"#;
    let doc = parse(body, &Limits::default()).unwrap();
    let (chat, _) = openai_chat::decode(&doc).unwrap();
    bedrock::encode(&chat, "m").unwrap().renames
}

#[test]
fn converse_answers_become_chat_answers() {
    check("converse_answer_to_chat", "json", |input| {
        match bedrock::decode_answer(input.as_bytes(), &renames()) {
            Ok(answer) => format!("{}\n", pretty(&openai_chat::encode_answer(&answer, &context()))),
            Err(failure) => format!("{} {}\n", failure.status, pretty(&openai_chat::failure(&failure))),
        }
    });
}

/// Inputs are lines: `event-type {json}`, `!exception-type {json}`, `cut` for an end inside the next frame, `flip` for a
/// wrong checksum of the next frame.
#[test]
fn converse_streams_become_chat_streams() {
    check("converse_stream_to_chat", "events", |input| {
        let mut bytes = Vec::new();
        let (mut cut, mut flip) = (false, false);
        for line in input.lines().filter(|line| !line.is_empty()) {
            let (kind, payload) = line.split_once(' ').unwrap_or((line, "{}"));
            match kind {
                "cut" => cut = true,
                "flip" => flip = true,
                _ => {
                    let start = bytes.len();
                    let headers = match kind.strip_prefix('!') {
                        Some(exception) => [(":exception-type", exception), (":message-type", "exception")],
                        None => [(":event-type", kind), (":message-type", "event")],
                    };
                    eventstream::encode(&mut bytes, &headers, payload.as_bytes());
                    if std::mem::take(&mut flip) {
                        *bytes.last_mut().unwrap() ^= 1;
                    }
                    if std::mem::take(&mut cut) {
                        bytes.truncate(start + 20);
                        break;
                    }
                }
            }
        }
        let mut out = String::new();
        for include_usage in [true, false] {
            writeln!(out, "include_usage {include_usage}").unwrap();
            let mut decoder = bedrock::StreamDecoder::new(renames());
            let mut events = Vec::new();
            decoder.push(&bytes, &mut events);
            decoder.finish(&mut events);
            let mut encoder = openai_chat::StreamEncoder::new(&context(), include_usage);
            let mut stream = Vec::new();
            events.iter().for_each(|event| encoder.event(event, &mut stream));
            let mut lines = sse::Decoder::new(1 << 20);
            lines
                .push(&stream, &mut |event| {
                    let chunk = openai_chat::read_chunk(&event.data).unwrap();
                    assert!(chunk.is_done || chunk.error || chunk.choices_empty || chunk.choices.len() == 1);
                    writeln!(out, "{}", String::from_utf8_lossy(&event.data)).unwrap();
                })
                .unwrap();
            assert!(lines.finish().is_empty());
        }
        out
    });
}

#[test]
fn chat_requests_become_messages_requests() {
    check("chat_to_messages", "json", |input| {
        let doc = parse(input.as_bytes(), &Limits::default()).unwrap();
        let encoded = openai_chat::decode(&doc).and_then(|(chat, lost)| {
            let encoded = anthropic::encode(&chat, "claude-opus-4-6")?;
            Ok((encoded, lost))
        });
        match encoded {
            Err(invalid) => format!("400 {} {}: {}\n", invalid.code, invalid.param, invalid.message),
            Ok((encoded, lost)) => {
                let mut out = format!("POST {}\n", encoded.path);
                losses(&mut out, &lost);
                losses(&mut out, &encoded.losses);
                // Every golden body is also a Messages request to the hub.
                let doc = parse(&encoded.body, &Limits::default()).unwrap();
                anthropic::decode(&doc).unwrap();
                writeln!(out, "{}", pretty(&encoded.body)).unwrap();
                out
            }
        }
    });
}

#[test]
fn messages_requests_become_chat_and_converse_requests() {
    check("messages_to_others", "json", |input| {
        let doc = parse(input.as_bytes(), &Limits::default()).unwrap();
        match anthropic::decode(&doc) {
            Err(invalid) => format!("400 {} {}: {}\n", invalid.code, invalid.param, invalid.message),
            Ok((chat, lost)) => {
                let mut out = String::new();
                losses(&mut out, &lost);
                for extended in [true, false] {
                    let (body, lost) = openai_chat::encode(&chat, extended);
                    writeln!(out, "{}", if extended { "chat, extended" } else { "chat, strict" }).unwrap();
                    losses(&mut out, &lost);
                    writeln!(out, "{}", pretty(&body)).unwrap();
                }
                match bedrock::encode(&chat, "us.anthropic.claude-opus-4-6-v1") {
                    Err(invalid) => {
                        writeln!(
                            out,
                            "converse: 400 {} {}: {}",
                            invalid.code, invalid.param, invalid.message
                        )
                        .unwrap();
                    }
                    Ok(encoded) => {
                        writeln!(out, "converse").unwrap();
                        losses(&mut out, &encoded.losses);
                        writeln!(out, "{}", pretty(&encoded.body)).unwrap();
                    }
                }
                out
            }
        }
    });
}

#[test]
fn messages_streams_become_chat_streams() {
    check("messages_stream_to_chat", "sse", |input| {
        let events = message_events(input, renames());
        let mut encoder = openai_chat::StreamEncoder::new(&context(), true);
        let mut stream = Vec::new();
        events.iter().for_each(|event| encoder.event(event, &mut stream));
        String::from_utf8(stream).unwrap()
    });
}

#[test]
fn chat_streams_become_messages_streams() {
    check("chat_stream_to_messages", "sse", |input| {
        let events = chat_events(input);
        let mut encoder = anthropic::StreamEncoder::new(&context());
        let mut stream = Vec::new();
        events.iter().for_each(|event| encoder.event(event, &mut stream));
        String::from_utf8(stream).unwrap()
    });
}

#[test]
fn chat_answers_become_messages_and_converse_answers() {
    check("chat_answer_to_others", "json", |input| match openai_chat::decode_answer(input.as_bytes()) {
        Err(failure) => format!("{} {}\n", failure.status, failure.message),
        Ok(answer) => {
            let messages = anthropic::encode_answer(&answer, &context());
            let converse = bedrock::encode_answer(&answer);
            format!("messages\n{}\nconverse\n{}\n", pretty(&messages), pretty(&converse))
        }
    });
}

#[test]
fn chat_streams_become_converse_streams() {
    check("chat_stream_to_converse", "sse", |input| {
        let events = chat_events(input);
        let mut encoder = bedrock::StreamEncoder::default();
        let mut stream = Vec::new();
        events.iter().for_each(|event| encoder.event(event, &mut stream));
        let mut out = String::new();
        let mut frames = eventstream::Decoder::new(1 << 20);
        frames
            .push(&stream, &mut |frame| {
                let kind = frame.event_type().or_else(|| frame.exception_type()).unwrap();
                writeln!(out, "{kind} {}", String::from_utf8_lossy(frame.payload)).unwrap();
            })
            .unwrap();
        frames.finish().unwrap();
        out
    });
}
