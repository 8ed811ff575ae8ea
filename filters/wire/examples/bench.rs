//! Native times of the hot paths, best of many runs: `cargo run -p weir-wire --release --example bench`.
//! Ratios against serde_json in the same run matter more than the microseconds.

#![expect(clippy::unwrap_used, reason = "a benchmark of inputs that it made itself")]

use std::hint::black_box;
use std::time::Instant;

use weir_wire::{eventstream, json, splice, sse};

fn best(name: &str, bytes: usize, mut run: impl FnMut()) {
    let mut best = f64::MAX;
    for _ in 0..60 {
        let times = (400_000 / bytes.max(1)).max(3);
        let started = Instant::now();
        (0..times).for_each(|_| run());
        best = best.min(started.elapsed().as_secs_f64() / times as f64);
    }
    println!("{name:44} {:9.2} us  {:7.0} MB/s", best * 1e6, bytes as f64 / best / 1e6);
}

fn chat(turns: usize, text: &str) -> Vec<u8> {
    let mut writer = json::Writer::new(Vec::new());
    writer.begin_object().key("model").str("gpt-4o-mini").key("stream").bool(true).key("max_tokens").u64(512);
    writer.key("messages").begin_array();
    for turn in 0..turns {
        writer.begin_object().key("role").str(if turn % 2 == 0 { "user" } else { "assistant" });
        writer.key("content").str(text).end_object();
    }
    writer.end_array().end_object();
    writer.into_inner()
}

fn main() {
    let prose =
        "The quick brown fox jumps over the lazy dog, said the \"editor\".\nThen it slept for a while. "
            .repeat(4);
    let limits = json::Limits::default();
    let image = chat(1, &"QUJD".repeat(750_000));
    let items = format!("[{}]", vec!["{\"a\":1,\"b\":[true,null],\"c\":\"x\"}"; 6_000].join(","));
    for (name, text) in [
        ("chat 4 KB", chat(10, &prose)),
        ("chat 200 KB", chat(480, &prose)),
        ("one string of 3 MB", image),
        ("small values 200 KB", items.into_bytes()),
    ] {
        println!("{name}: {} bytes", text.len());
        best("  parse", text.len(), || drop(black_box(json::parse(black_box(&text), &limits).unwrap())));
        best("  parse, every string unescaped", text.len(), || {
            let doc = json::parse(black_box(&text), &limits).unwrap();
            for message in doc.root().get("messages").into_iter().flat_map(json::Value::items) {
                black_box(message.get("content").and_then(json::Value::as_str));
            }
        });
        best("  serde_json Value", text.len(), || {
            drop(black_box(serde_json::from_slice::<serde_json::Value>(black_box(&text)).unwrap()));
        });
    }
    let text = chat(10, &prose);
    let mut edits = splice::Splices::new();
    edits.replace(10..21, b"\"other\"");
    edits.replace(text.len() - 1..text.len() - 1, b",\"n\":1");
    best("two splices in 4 KB", text.len(), || drop(black_box(edits.apply(black_box(&text)).unwrap())));

    let event = b"data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" word\"}}]}\n\n";
    best("one server-sent event", event.len(), || {
        let mut decoder = sse::Decoder::new(1 << 20);
        decoder.push(black_box(event), &mut |event| drop(black_box(event.data))).unwrap();
    });
    let mut frame = Vec::new();
    eventstream::encode(
        &mut frame,
        &[
            (":event-type", "contentBlockDelta"),
            (":content-type", "application/json"),
            (":message-type", "event"),
        ],
        &[b'x'; 120],
    );
    best("one event stream frame", frame.len(), || {
        let mut decoder = eventstream::Decoder::new(1 << 20);
        decoder
            .push(black_box(&frame), &mut |frame| {
                black_box(frame.event_type());
            })
            .unwrap();
    });
}
