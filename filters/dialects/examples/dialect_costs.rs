//! What the dialects cost natively, in µs: `cargo run --release -p weir-dialects --example dialect_costs`.

use std::hint::black_box;
use std::time::Instant;

use weir_dialects::{anthropic, bedrock, openai_chat};
use weir_wire::eventstream;
use weir_wire::json::{Limits, parse};

/// The best of 20 rounds of `times` calls.
fn cost(name: &str, times: u32, mut work: impl FnMut()) {
    let mut best = f64::MAX;
    for _ in 0..20 {
        let start = Instant::now();
        for _ in 0..times {
            work();
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e6 / f64::from(times));
    }
    println!("{name:<52} {best:8.2} µs");
}

fn main() {
    let prose = "The quick brown fox jumps over the lazy dog, and then it \\\"rests\\\".\\n".repeat(25);
    let request = format!(
        r#"{{"model":"claude","messages":[{{"role":"system","content":"Be brief."}},{{"role":"user","content":"{prose}"}},{{"role":"assistant","content":null,"tool_calls":[{{"id":"call_1","type":"function","function":{{"name":"weather","arguments":"{{\"city\":\"Oslo\"}}"}}}}]}},{{"role":"tool","tool_call_id":"call_1","content":"cold"}},{{"role":"user","content":"{prose}"}}],"tools":[{{"type":"function","function":{{"name":"weather","description":"Weather of a city","parameters":{{"type":"object","properties":{{"city":{{"type":"string"}}}}}}}}}}],"stream":true}}"#
    );
    println!("a request of {} bytes", request.len());
    let body = request.as_bytes();
    let Ok(doc) = parse(body, &Limits::default()) else { return };
    cost("parse", 2000, || _ = black_box(parse(black_box(body), &Limits::default()).is_ok()));
    cost("read facts", 2000, || _ = black_box(openai_chat::read(&doc).is_ok()));
    cost("visit texts", 2000, || openai_chat::texts(&doc, &mut |text| _ = black_box(text)));
    cost("byte bound", 2000, || _ = black_box(openai_chat::byte_bound(&doc)));
    cost("decode into the hub", 2000, || _ = black_box(openai_chat::decode(&doc).is_ok()));
    let Ok((chat, _)) = openai_chat::decode(&doc) else { return };
    cost("encode for Converse", 2000, || {
        _ = black_box(bedrock::encode(&chat, "us.anthropic.claude-sonnet-4-6").is_ok());
    });
    let body = format!(
        r#"{{"model":"claude","max_tokens":64,"system":"Be brief.","messages":[{{"role":"user","content":"{prose}"}},{{"role":"assistant","content":[{{"type":"tool_use","id":"call_1","name":"weather","input":{{"city":"Oslo"}}}}]}},{{"role":"user","content":[{{"type":"tool_result","tool_use_id":"call_1","content":"cold"}},{{"type":"text","text":"{prose}"}}]}}],"tools":[{{"name":"weather","description":"Weather of a city","input_schema":{{"type":"object","properties":{{"city":{{"type":"string"}}}}}}}}]}}"#
    );
    let Ok(doc) = parse(body.as_bytes(), &Limits::default()) else { return };
    cost("Messages: read facts", 2000, || _ = black_box(anthropic::read(&doc, false).is_ok()));
    cost("Messages: visit texts", 2000, || anthropic::texts(&doc, &mut |text| _ = black_box(text)));
    cost("Messages: byte bound", 2000, || _ = black_box(anthropic::byte_bound(&doc)));
    cost("Messages: decode into the hub", 2000, || _ = black_box(anthropic::decode(&doc).is_ok()));
    let Ok((chat, _)) = anthropic::decode(&doc) else { return };
    cost("Messages: encode for chat", 2000, || _ = black_box(openai_chat::encode(&chat, true)));
    cost("Messages: encode for Messages", 2000, || _ = black_box(anthropic::encode(&chat, "m").is_ok()));
    cost("Messages: count, without a tokenizer", 2000, || {
        let rules = openai_chat::Rules::COOKBOOK;
        _ = black_box(anthropic::prompt_tokens(&doc, &rules, &mut |text| text.len() as u64));
    });
    let chunk = br#"{"id":"chatcmpl-AbCdEfGhIjKlMnOpQrStUvWxYz012","object":"chat.completion.chunk","created":1731456237,"model":"gpt-4o-mini-2024-07-18","service_tier":"default","system_fingerprint":"fp_0ba0d124f1","choices":[{"index":0,"delta":{"content":" quick"},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"x1y2z3"}"#;
    let mut read = openai_chat::Chunk::default();
    cost(&format!("read a chunk of {} bytes", chunk.len()), 20000, || {
        _ = black_box(openai_chat::read_chunk_into(black_box(chunk), &mut read).is_ok());
    });
    let mut frame = Vec::new();
    let headers = [
        (":event-type", "contentBlockDelta"),
        (":content-type", "application/json"),
        (":message-type", "event"),
    ];
    let payload =
        br#"{"contentBlockIndex":0,"delta":{"text":" quick"},"p":"abcdefghijklmnopqrstuvwxyzABCDEFGH"}"#;
    eventstream::encode(&mut frame, &headers, payload);
    let context = openai_chat::AnswerContext { id: "chatcmpl-1".into(), created: 1, model: "m".into() };
    let mut decoder = bedrock::StreamDecoder::new(bedrock::Renames::default());
    let mut encoder = openai_chat::StreamEncoder::new(&context, true);
    let (mut events, mut out) = (Vec::new(), Vec::new());
    cost(&format!("translate a Converse frame of {} bytes", frame.len()), 20000, || {
        events.clear();
        out.clear();
        decoder.push(black_box(&frame), &mut events);
        events.iter().for_each(|event| encoder.event(event, &mut out));
        black_box(&out);
    });
}
