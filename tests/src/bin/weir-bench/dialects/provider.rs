//! A provider of every dialect at once: by the path, one fixed answer or one paced stream, both made beforehand, so that
//! its own cost stays far below Envoy's.

use std::sync::Arc;
use std::time::Duration;

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::upstream::request_end;

/// Events with text in one stream.
pub const EVENTS: usize = 200;
/// Pause between two events of a stream.
const PAUSE: Duration = Duration::from_micros(1_500);
const TEXT: &str = " the level";

struct Spoken {
    /// What the path contains.
    path: &'static str,
    answer: Vec<u8>,
    media: &'static str,
    events: Vec<Vec<u8>>,
}

/// Serves on a port of its own until the runtime ends.
pub async fn start() -> std::io::Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    let all = Arc::new([chat(), messages(), responses(), converse()]);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let _ = socket.set_nodelay(true);
            let all = all.clone();
            tokio::spawn(async move {
                let _ = serve(socket, &*all).await;
            });
        }
    });
    Ok(port)
}

async fn serve(mut socket: TcpStream, all: &[Spoken]) -> std::io::Result<()> {
    let (mut held, mut piece) = (Vec::new(), vec![0; 128 << 10]);
    loop {
        let end = loop {
            if let Some(end) = request_end(&held) {
                break end;
            }
            let read = socket.read(&mut piece).await?;
            if read == 0 {
                return Ok(());
            }
            held.extend_from_slice(&piece[..read]);
        };
        let line = held[..end].split(|byte| *byte == b'\r').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line).into_owned();
        // Of its own accord no text of the benchmark says so.
        let streamed =
            line.contains("-stream") || held[..end].windows(13).any(|window| window == b"\"stream\":true");
        held.drain(..end);
        let spoken = all.iter().find(|one| line.contains(one.path)).unwrap_or(&all[0]);
        if streamed {
            stream(&mut socket, spoken).await?;
        } else {
            socket.write_all(&spoken.answer).await?;
        }
    }
}

async fn stream(socket: &mut TcpStream, spoken: &Spoken) -> std::io::Result<()> {
    let head =
        format!("HTTP/1.1 200 OK\r\ncontent-type: {}\r\ntransfer-encoding: chunked\r\n\r\n", spoken.media);
    socket.write_all(head.as_bytes()).await?;
    let mut due = tokio::time::Instant::now();
    for event in &spoken.events {
        due += PAUSE;
        tokio::time::sleep_until(due).await;
        let framed = [format!("{:x}\r\n", event.len()).as_bytes(), event, b"\r\n"].concat();
        socket.write_all(&framed).await?;
    }
    socket.write_all(b"0\r\n\r\n").await
}

fn answer(body: &Value) -> Vec<u8> {
    let body = body.to_string();
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn named(payload: &Value) -> Vec<u8> {
    format!("event: {}\ndata: {payload}\n\n", payload["type"].as_str().unwrap_or_default()).into_bytes()
}

fn chat() -> Spoken {
    let usage = json!({"prompt_tokens": 900, "completion_tokens": 11, "total_tokens": 911});
    let body = json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m", "usage": usage,
        "choices": [{
            "index": 0, "message": {"role": "assistant", "content": TEXT.repeat(5), "refusal": null},
            "logprobs": null, "finish_reason": "stop",
        }],
    });
    let chunk = |choices: Value, usage: Value| {
        let chunk = json!({
            "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices,
            "usage": usage,
        });
        format!("data: {chunk}\n\n").into_bytes()
    };
    let delta = |delta: Value, finish: Value| {
        let choice = json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}]);
        chunk(choice, Value::Null)
    };
    let mut events = vec![delta(json!({"role": "assistant", "content": ""}), Value::Null)];
    events.extend((0..EVENTS).map(|_| delta(json!({"content": TEXT}), Value::Null)));
    events.push(delta(json!({}), json!("stop")));
    events.push(chunk(json!([]), usage));
    events.push(b"data: [DONE]\n\n".to_vec());
    Spoken { path: "/chat/completions", answer: answer(&body), media: "text/event-stream", events }
}

fn messages() -> Spoken {
    let message = |content: Value, reason: Value| {
        json!({
            "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": content,
            "stop_reason": reason, "stop_sequence": null, "usage": {"input_tokens": 900, "output_tokens": 11},
        })
    };
    let body = message(json!([{"type": "text", "text": TEXT.repeat(5)}]), json!("end_turn"));
    let text = json!({"type": "text_delta", "text": TEXT});
    let mut events = vec![
        named(&json!({"type": "message_start", "message": message(json!([]), Value::Null)})),
        named(
            &json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        ),
    ];
    events.extend(
        (0..EVENTS).map(|_| named(&json!({"type": "content_block_delta", "index": 0, "delta": text}))),
    );
    events.push(named(&json!({"type": "content_block_stop", "index": 0})));
    let delta = json!({"stop_reason": "end_turn", "stop_sequence": null});
    events.push(named(&json!({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 200}})));
    events.push(named(&json!({"type": "message_stop"})));
    Spoken { path: "/messages", answer: answer(&body), media: "text/event-stream", events }
}

fn responses() -> Spoken {
    let part = |text: &str| json!({"type": "output_text", "text": text, "annotations": []});
    let item = |text: &str, status: &str| {
        let content = if text.is_empty() { json!([]) } else { json!([part(text)]) };
        json!({"id": "msg_1", "type": "message", "role": "assistant", "status": status, "content": content})
    };
    let response = |status: &str, output: Value, usage: Value| {
        json!({
            "id": "resp_1", "object": "response", "created_at": 1, "status": status, "model": "m", "output": output,
            "error": null, "incomplete_details": null, "instructions": null, "metadata": {}, "tools": [],
            "tool_choice": "auto", "parallel_tool_calls": true, "temperature": 1, "top_p": 1, "usage": usage,
        })
    };
    let usage = json!({
        "input_tokens": 900, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 11,
        "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 911,
    });
    let body = response("completed", json!([item(&TEXT.repeat(5), "completed")]), usage.clone());
    let whole = TEXT.repeat(EVENTS);
    let mut all = vec![
        json!({"type": "response.created", "response": response("in_progress", json!([]), Value::Null)}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": item("", "in_progress")}),
        json!({"type": "response.content_part.added", "item_id": "msg_1", "output_index": 0, "content_index": 0, "part": part("")}),
    ];
    all.extend((0..EVENTS).map(|_| {
        json!({
            "type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0, "content_index": 0,
            "delta": TEXT, "logprobs": [],
        })
    }));
    all.extend([
        json!({"type": "response.output_text.done", "item_id": "msg_1", "output_index": 0, "content_index": 0, "text": whole, "logprobs": []}),
        json!({"type": "response.content_part.done", "item_id": "msg_1", "output_index": 0, "content_index": 0, "part": part(&whole)}),
        json!({"type": "response.output_item.done", "output_index": 0, "item": item(&whole, "completed")}),
        json!({"type": "response.completed", "response": response("completed", json!([item(&whole, "completed")]), usage)}),
    ]);
    for (at, event) in all.iter_mut().enumerate() {
        event["sequence_number"] = json!(at);
    }
    let events = all.iter().map(named).collect();
    Spoken { path: "/responses", answer: answer(&body), media: "text/event-stream", events }
}

fn converse() -> Spoken {
    let usage = json!({"inputTokens": 900, "outputTokens": 11, "totalTokens": 911});
    let body = json!({
        "output": {"message": {"role": "assistant", "content": [{"text": TEXT.repeat(5)}]}},
        "stopReason": "end_turn", "usage": usage, "metrics": {"latencyMs": 5},
    });
    let frame = |kind: &str, payload: Value| {
        let mut message = Message::new(payload.to_string().into_bytes());
        for (name, value) in
            [(":event-type", kind), (":content-type", "application/json"), (":message-type", "event")]
        {
            message = message
                .add_header(Header::new(name.to_owned(), HeaderValue::String(value.to_owned().into())));
        }
        let mut bytes = Vec::new();
        write_message_to(&message, &mut bytes).expect("a small frame");
        bytes
    };
    let mut events = vec![frame("messageStart", json!({"role": "assistant"}))];
    let delta = json!({"contentBlockIndex": 0, "delta": {"text": TEXT}, "p": "abcdefghijkl"});
    events.extend((0..EVENTS).map(|_| frame("contentBlockDelta", delta.clone())));
    events.push(frame("contentBlockStop", json!({"contentBlockIndex": 0})));
    events.push(frame("messageStop", json!({"stopReason": "end_turn"})));
    events.push(frame("metadata", json!({"usage": usage, "metrics": {"latencyMs": 5}})));
    Spoken { path: "/converse", answer: answer(&body), media: "application/vnd.amazon.eventstream", events }
}
