//! A crash of the module: it costs the streams of one worker, not the next request, and never lets one pass by.

use std::time::{Duration, Instant};

use serde_json::json;
use weir_tests::harness::inject::{KEY, MODEL};
use weir_tests::harness::{Answer, Client, Inject};
use weir_tests::sim::Behaviour;

use crate::{chat, chat_stream, lives};

async fn planted(gate: &Inject, fault: &str) -> Answer {
    let request = gate.client().post("/v1/chat/completions", chat(MODEL, "boom").to_string());
    Client::answer(request.header("x-weir-plant", fault)).await
}

#[tokio::test]
async fn after_a_trap_the_next_request_is_served_within_200_ms() {
    let gate = Inject::with("trap", |setup| setup.module = "weir-faults").await;
    lives(&gate).await;
    // The first load counts for the backoff too.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let answer = planted(&gate, "panic").await;
    assert_eq!(answer.status, 503);
    // The listener is ours, so that Envoy's reply has a body that clients can read.
    assert!(answer.json()["error"]["message"].is_string(), "{}", answer.text());
    let begin = Instant::now();
    lives(&gate).await;
    let took = begin.elapsed();
    println!("served again {took:?} after the trap");
    assert!(took < Duration::from_millis(200), "{took:?}");
    assert_eq!(gate.envoy.stat("vm_reload_success").await, 2, "one for each of the two plugins");
}

#[tokio::test]
async fn streams_that_a_trap_takes_along_have_a_span_each() {
    let gate = Inject::with("trap-spans", |setup| setup.module = "weir-faults").await;
    lives(&gate).await;
    gate.vllm.always(Behaviour { reply_tokens: Some(400), token_us: Some(20_000), ..Behaviour::default() });
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut raw = gate.raw().await;
        raw.post("/v1/chat/completions", KEY, chat_stream(MODEL, "tell me").to_string().as_bytes()).await;
        assert_eq!(raw.head().await.status, 200);
        streams.push(raw);
    }
    // The first load counts for the backoff.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(planted(&gate, "panic").await.status, 503);
    gate.vllm.always(Behaviour::default());
    // The next VM is there as soon as somebody needs it, and waits until the other is certainly gone.
    lives(&gate).await;
    let lost = gate.collector.wait(3, |span| span.get("error.type") == "weir.vm_lost").await;
    assert_eq!(lost.len(), 3);
    let mut traces: Vec<String> = lost.iter().map(|span| span.trace_id()).collect();
    traces.sort();
    traces.dedup();
    assert_eq!(traces.len(), 3);
    for span in &lost {
        assert_eq!(span.raw.name, format!("chat {MODEL}"));
        assert_eq!(
            (span.get("weir.tenant"), span.get("gen_ai.request.model")),
            (&json!("demo"), &json!(MODEL))
        );
        assert!(span.get("weir.request.id").as_str().is_some_and(|id| id.starts_with("req_")));
        assert!(span.raw.start_time_unix_nano <= span.raw.end_time_unix_nano);
    }
    // Those that ended by themselves are told once.
    let twice = gate.collector.matching(|span| span.get("error.type").is_null());
    let mut ids: Vec<String> = twice.iter().map(|span| span.span_id()).collect();
    let all = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), all);
}

#[tokio::test]
async fn a_second_trap_within_the_backoff_is_503_and_it_passes() {
    let gate = Inject::with("trap-twice", |setup| {
        setup.module = "weir-faults";
        // Long enough to be met for certain on a busy machine.
        setup.envoy.plugins(|_, plugin| {
            plugin["reload_config"]["backoff"] =
                serde_json::json!({"base_interval": "2s", "max_interval": "4s"});
        });
    })
    .await;
    // Envoy waits up to half of the interval longer, and the first load counts too.
    tokio::time::sleep(Duration::from_millis(3_200)).await;
    planted(&gate, "panic").await;
    lives(&gate).await;
    planted(&gate, "panic").await;
    let before = gate.vllm.book().records().len();
    let answer = gate.client().chat(chat(MODEL, "now?").to_string()).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.json()["error"]["message"].is_string(), "{}", answer.text());
    assert_eq!(gate.vllm.book().records().len(), before, "nothing passes while there is no VM");
    let deadline = Instant::now() + Duration::from_secs(10);
    while gate.client().chat(chat(MODEL, "now?").to_string()).await.status != 200 {
        assert!(Instant::now() < deadline, "it never came back: {}", gate.envoy.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_trap_costs_at_most_the_open_streams_of_one_worker() {
    let gate = Inject::with("trap-streams", |setup| {
        setup.module = "weir-faults";
        setup.concurrency = 2;
    })
    .await;
    gate.vllm.always(Behaviour { reply_tokens: Some(60), token_us: Some(20_000), ..Behaviour::default() });
    // Streams on connections of their own, so that both workers have some.
    let mut streams = Vec::new();
    for _ in 0..16 {
        let mut raw = gate.raw().await;
        raw.post("/v1/chat/completions", KEY, chat_stream(MODEL, "tell me").to_string().as_bytes()).await;
        assert_eq!(raw.head().await.status, 200);
        streams.push(raw);
    }
    let answer = planted(&gate, "panic").await;
    assert_eq!(answer.status, 503);
    let mut whole = 0;
    for mut raw in streams {
        let end = loop {
            match raw.chunk().await {
                Ok(chunk) if chunk.data.is_empty() => break true,
                Ok(_) => {}
                Err(_) => break false,
            }
        };
        whole += u32::from(end);
    }
    println!("{whole} of 16 streams went on");
    assert!(whole > 0, "the other worker's streams were cut too");
    gate.vllm.always(Behaviour::default());
    lives(&gate).await;
}
