//! The cheapest provider there is: one fixed answer to any request, one paced stream to any that asks for it, unless it is
//! told what to say next.
//!
//! It parses just enough HTTP/1.1 to find a body's end, so that its own cost stays far below Envoy's. Each
//! chunk of a stream carries the time of its writing.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Chunks with text in one stream.
pub const CHUNKS: usize = 200;
/// Pause between two chunks of a stream; the first comes at once.
const PAUSE: Duration = Duration::from_millis(2);
/// Precedes the nanoseconds since `start` in a chunk's text.
pub const STAMP: &str = "t=";

const ANSWER: &str = r#"{"id":"chatcmpl-0123456789abcdef","object":"chat.completion","created":1754179200,"model":"openai/gpt-oss-20b","choices":[{"index":0,"message":{"role":"assistant","content":"The level is two metres, and it is falling.","refusal":null,"annotations":null,"audio":null,"function_call":null,"tool_calls":[],"reasoning":null},"logprobs":null,"finish_reason":"stop","stop_reason":null,"token_ids":null}],"service_tier":null,"system_fingerprint":null,"usage":{"prompt_tokens":900,"total_tokens":911,"completion_tokens":11,"prompt_tokens_details":null},"prompt_logprobs":null,"prompt_token_ids":null,"kv_transfer_params":null,"metrics":null}"#;

/// The text of the next answer, once.
pub type Says = Arc<Mutex<Option<String>>>;

/// Serves on a port of its own until the runtime ends; times are since `start`.
pub async fn start(start: Instant) -> std::io::Result<u16> {
    start_saying(start, Says::default()).await
}

/// The same, told what to say.
pub async fn start_saying(start: Instant, says: Says) -> std::io::Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let _ = socket.set_nodelay(true);
            let says = says.clone();
            tokio::spawn(async move {
                let _ = serve(socket, start, &says).await;
            });
        }
    });
    Ok(port)
}

async fn serve(mut socket: TcpStream, start: Instant, says: &Says) -> std::io::Result<()> {
    let fixed = whole(ANSWER);
    let mut held = Vec::new();
    let mut piece = vec![0; 128 << 10];
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
        // The bench's own bodies name `stream` at the end.
        let tail = &held[end.saturating_sub(200)..end];
        let streamed = tail.windows(13).any(|w| w == b"\"stream\":true");
        held.drain(..end);
        let says = says.lock().ok().and_then(|mut says| says.take());
        match says {
            Some(text) if streamed => stream_text(&mut socket, &text).await?,
            Some(text) => {
                let mut answer: Value = serde_json::from_str(ANSWER)?;
                answer["choices"][0]["message"]["content"] = text.into();
                socket.write_all(whole(&answer.to_string()).as_bytes()).await?;
            }
            None if streamed => stream(&mut socket, start).await?,
            None => socket.write_all(fixed.as_bytes()).await?,
        }
    }
}

fn whole(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The length of the first whole request in `bytes`.
pub fn request_end(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&bytes[..head]).ok()?.to_ascii_lowercase();
    if let Some((_, rest)) = text.split_once("\r\ncontent-length:") {
        let length: usize = rest.split("\r\n").next()?.trim().parse().ok()?;
        return (bytes.len() >= head + length).then_some(head + length);
    }
    if text.contains("\r\ntransfer-encoding: chunked") {
        let end = bytes[head..].windows(7).position(|w| w == b"\r\n0\r\n\r\n")?;
        return Some(head + end + 7);
    }
    Some(head)
}

const STREAM: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n";

/// A text word by word, at once.
async fn stream_text(socket: &mut TcpStream, text: &str) -> std::io::Result<()> {
    socket.write_all(STREAM).await?;
    let pieces = text.split_inclusive(' ').map(|piece| (json!({"content": piece}), Value::Null));
    for (delta, finish) in pieces.chain([(json!({}), json!("stop"))]) {
        let choices = json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}]);
        let chunk = json!({
            "id": "chatcmpl-0123456789abcdef", "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": choices,
        });
        write_chunk(socket, &format!("data: {chunk}\n\n")).await?;
    }
    write_chunk(socket, "data: [DONE]\n\n").await?;
    socket.write_all(b"0\r\n\r\n").await
}

async fn stream(socket: &mut TcpStream, start: Instant) -> std::io::Result<()> {
    socket.write_all(STREAM).await?;
    let mut due = tokio::time::Instant::now();
    for at in 0..CHUNKS {
        if at > 0 {
            due += PAUSE;
            tokio::time::sleep_until(due).await;
        }
        let finish = if at + 1 == CHUNKS { "\"stop\"" } else { "null" };
        let now = start.elapsed().as_nanos();
        let event = format!(
            "data: {{\"id\":\"chatcmpl-0123456789abcdef\",\"object\":\"chat.completion.chunk\",\"created\":1754179200,\"model\":\"openai/gpt-oss-20b\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\" {STAMP}{now} level\"}},\"logprobs\":null,\"finish_reason\":{finish},\"token_ids\":null}}]}}\n\n"
        );
        write_chunk(socket, &event).await?;
    }
    let usage = "data: {\"id\":\"chatcmpl-0123456789abcdef\",\"object\":\"chat.completion.chunk\",\"created\":1754179200,\"model\":\"openai/gpt-oss-20b\",\"choices\":[],\"usage\":{\"prompt_tokens\":20,\"total_tokens\":820,\"completion_tokens\":800}}\n\n";
    write_chunk(socket, usage).await?;
    write_chunk(socket, "data: [DONE]\n\n").await?;
    socket.write_all(b"0\r\n\r\n").await
}

async fn write_chunk(socket: &mut TcpStream, event: &str) -> std::io::Result<()> {
    socket.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes()).await
}
