//! Golden files of the Responses API: what its requests become for every provider, and what their answers and streams
//! become for its clients. `UPDATE=1 cargo test -p weir-dialects --test responses_goldens` writes the outputs again.
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
use weir_dialects::hub::{Event, Invalid};
use weir_dialects::openai_chat::AnswerContext;
use weir_dialects::{anthropic, bedrock, openai_chat, openai_responses};
use weir_wire::json::{Limits, parse};

fn refused(out: &mut String, to: &str, invalid: &Invalid) {
    writeln!(out, "{to}: 400 {} {}: {}", invalid.code, invalid.param, invalid.message).unwrap();
}

#[test]
fn responses_requests_become_chat_messages_and_converse_requests() {
    check("responses_to_others", "json", |input| {
        let doc = parse(input.as_bytes(), &Limits::default()).unwrap();
        let mut out = String::new();
        let (chat, lost) = match openai_responses::decode(&doc) {
            Ok(decoded) => decoded,
            Err(invalid) => {
                refused(&mut out, "any", &invalid);
                return out;
            }
        };
        losses(&mut out, &lost);
        let (body, lost) = openai_chat::encode(&chat, true);
        writeln!(out, "chat").unwrap();
        losses(&mut out, &lost);
        writeln!(out, "{}", pretty(&body)).unwrap();
        // It is also a chat request to the hub.
        openai_chat::decode(&parse(&body, &Limits::default()).unwrap()).unwrap();
        let others = [
            ("messages", anthropic::encode(&chat, "claude-opus-4-6")),
            ("converse", bedrock::encode(&chat, "us.anthropic.claude-opus-4-6-v1")),
        ];
        for (to, encoded) in others {
            match encoded {
                Err(invalid) => refused(&mut out, to, &invalid),
                Ok(encoded) => {
                    writeln!(out, "{to}").unwrap();
                    losses(&mut out, &encoded.losses);
                    writeln!(out, "{}", pretty(&encoded.body)).unwrap();
                }
            }
        }
        out
    });
}

fn context() -> AnswerContext {
    AnswerContext { id: "resp_golden".into(), created: 1_700_000_000, model: "asked".into() }
}

/// What a request with a tool has its answers repeat.
fn echo() -> Vec<u8> {
    let request = br#"{"model":"asked","input":"x","instructions":"Be brief.","max_output_tokens":99,"tools":[{"type":"function","name":"f","parameters":null,"strict":null}]}"#;
    openai_responses::echo(Some(&parse(request, &Limits::default()).unwrap()))
}

fn written(events: &[Event]) -> String {
    let mut encoder = openai_responses::StreamEncoder::new(&context(), &echo());
    let mut stream = Vec::new();
    events.iter().for_each(|event| encoder.event(event, &mut stream));
    String::from_utf8(stream).unwrap()
}

#[test]
fn chat_streams_become_responses_streams() {
    check("chat_stream_to_responses", "sse", |input| written(&chat_events(input)));
}

#[test]
fn messages_streams_become_responses_streams() {
    check("messages_stream_to_responses", "sse", |input| {
        written(&message_events(input, bedrock::Renames::default()))
    });
}

#[test]
fn messages_answers_become_responses() {
    check("messages_answer_to_responses", "json", |input| {
        let answer = anthropic::decode_answer(input.as_bytes(), &bedrock::Renames::default()).unwrap();
        format!("{}\n", pretty(&openai_responses::encode_answer(&answer, &context(), &echo())))
    });
}

#[test]
fn converse_answers_become_responses() {
    check("converse_answer_to_responses", "json", |input| {
        match bedrock::decode_answer(input.as_bytes(), &bedrock::Renames::default()) {
            Ok(answer) => {
                format!("{}\n", pretty(&openai_responses::encode_answer(&answer, &context(), &echo())))
            }
            Err(failure) => format!("{} {}\n", failure.status, pretty(&openai_chat::failure(&failure))),
        }
    });
}
