//! Streamed answers: at once, at every split the same, and each of their bad ends.

use std::time::{Duration, Instant};

use weir_tests::harness::Inject;
use weir_tests::harness::inject::{KEY, MODEL};
use weir_tests::sim::{At, Behaviour, Chunking, Fault, Outcome};

use crate::{chat_stream, lives, settled};

#[tokio::test]
async fn every_event_comes_when_it_was_made() {
    let gate = Inject::start("events").await;
    let pause = Duration::from_millis(60);
    gate.vllm.next(Behaviour {
        reply_tokens: Some(10),
        token_us: Some(u64::try_from(pause.as_micros()).unwrap_or(0)),
        ..Behaviour::default()
    });
    let mut raw = gate.raw().await;
    raw.post("/v1/chat/completions", KEY, chat_stream(MODEL, "slowly").to_string().as_bytes()).await;
    assert_eq!(raw.head().await.status, 200);
    let mut times = Vec::new();
    loop {
        let chunk = raw.chunk().await.expect("a proper end");
        if chunk.data.is_empty() {
            break;
        }
        times.push(chunk.at);
    }
    let gaps: Vec<Duration> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let long = gaps.iter().filter(|gap| **gap > pause / 2).count();
    assert!(long >= 8, "events were held back: {gaps:?}");
}

#[tokio::test]
async fn the_bytes_are_the_same_at_every_chunking() {
    let gate = Inject::start("chunkings").await;
    let body = chat_stream(MODEL, "日本語と emoji 🦫 please").to_string();
    let random = |seed| Chunking::Random { min: 1, max: 200, seed };
    let sizes = [1, 2, 3, 5, 17, 100, 1_000, 16_384].map(Chunking::Fixed);
    let mut usages = std::collections::BTreeSet::new();
    let mut count = 0;
    for chunking in sizes.into_iter().chain([Chunking::Event, Chunking::Hostile, random(1), random(2)]) {
        let behaviour =
            Behaviour { chunking: Some(chunking.clone()), reply_tokens: Some(30), ..Behaviour::default() };
        gate.vllm.next(behaviour);
        let answer = gate.client().chat(body.clone()).await;
        let record = settled(&gate).await;
        assert_eq!(answer.status, 200, "{chunking:?}");
        assert!(answer.body == record.answer(), "{chunking:?}: {}", answer.text());
        count += 1;
        let id = answer.header("x-weir-request-id").expect("ids are shown").to_owned();
        let span = gate.collector.wait(1, |span| *span.get("weir.request.id") == *id).await.remove(0);
        let facts = [
            "gen_ai.usage.input_tokens",
            "gen_ai.usage.output_tokens",
            "weir.usage.source",
            "gen_ai.response.finish_reasons",
            "weir.cost.usd_nano",
        ];
        usages.insert(facts.map(|name| span.get(name).to_string()));
    }
    assert_eq!(usages.len(), 1, "{count} chunkings gave different counts: {usages:?}");
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_providers_work() {
    let gate = Inject::start("client-leaves").await;
    for h2 in [false, true] {
        gate.vllm.next(Behaviour {
            reply_tokens: Some(2_000),
            token_us: Some(20_000),
            ..Behaviour::default()
        });
        let body = chat_stream(MODEL, "never mind").to_string();
        if h2 {
            let request = gate.h2().post("/v1/chat/completions", body);
            let mut response = request.send().await.expect("an answer begins");
            response.chunk().await.expect("an event");
            drop(response);
        } else {
            let mut raw = gate.raw().await;
            raw.post("/v1/chat/completions", KEY, body.as_bytes()).await;
            raw.head().await;
            raw.chunk().await.expect("an event");
            raw.abort();
        }
        let left = Instant::now();
        let record = settled(&gate).await;
        assert_eq!(record.outcome, Some(Outcome::Vanished));
        assert!(left.elapsed() < Duration::from_secs(2), "the provider worked on for {:?}", left.elapsed());
    }
    let spans = gate.collector.wait(2, |span| span.is_exchange()).await;
    for span in spans {
        assert_eq!(span.get("error.type"), "client_gone");
        assert_eq!(span.get("weir.usage.source"), "estimated");
    }
    lives(&gate).await;
}

#[tokio::test]
async fn a_stream_that_breaks_off_breaks_off_for_the_client_too() {
    let gate = Inject::start("broken").await;
    let body = chat_stream(MODEL, "break").to_string();
    let at = At::Events(5);
    for fault in [Fault::ResetMidStream { at }, Fault::CloseMidStream { at }] {
        gate.vllm.next(Behaviour { token_us: Some(2_000), ..Behaviour::fault(fault.clone()) });
        let mut raw = gate.raw().await;
        raw.post("/v1/chat/completions", KEY, body.as_bytes()).await;
        let head = raw.head().await;
        assert_eq!(head.status, 200, "{fault:?}");
        let (_, part) = raw.body(&head).await.expect_err("an end that looks whole would be a lie");
        let sent = settled(&gate).await.answer();
        assert!(!part.is_empty() && sent.starts_with(&part), "{fault:?}");
    }
    // A body that ends early but properly is the provider's answer; it passes as it is.
    gate.vllm.next(Behaviour::fault(Fault::CutMidStream { at }));
    let answer = gate.client().chat(body.clone()).await;
    assert_eq!(answer.body, settled(&gate).await.answer());
    let spans = gate.collector.wait(3, |span| span.is_exchange()).await;
    assert!(
        spans.iter().all(|span| !span.get("error.type").is_null()),
        "a broken answer is an error in its span"
    );
    lives(&gate).await;
}

#[tokio::test]
async fn garbage_from_the_provider_harms_nobody() {
    let gate = Inject::with("garbage", |setup| setup.exchange.retry.tries = 1).await;
    for fault in [
        Fault::GarbageHead { bytes: 5_000 },
        Fault::GarbageBody { bytes: 100_000 },
        Fault::GarbageMidStream { at: At::Events(3), bytes: 100_000 },
    ] {
        gate.vllm.next(Behaviour::fault(fault.clone()));
        let request = gate.client().post("/v1/chat/completions", chat_stream(MODEL, "garbage").to_string());
        match weir_tests::harness::Client::try_answer(request).await {
            Ok(answer) if answer.status == 200 => {
                assert_eq!(answer.body, settled(&gate).await.answer(), "{fault:?}")
            }
            Ok(answer) => assert!(answer.json()["error"]["message"].is_string(), "{fault:?}"),
            Err(error) => assert!(!error.is_timeout(), "{fault:?}"),
        }
        lives(&gate).await;
    }
    assert_eq!(gate.envoy.stat("vm_reload").await, 0, "no trap");
}

#[tokio::test]
async fn a_stall_before_the_first_byte_is_tried_again_and_a_later_one_is_not() {
    let gate = Inject::with("stall", |setup| setup.exchange.retry.first_byte_ms = 300).await;
    let body = chat_stream(MODEL, "stall").to_string();
    for fault in [Fault::StallBeforeHeaders { ms: None }, Fault::SilenceAfterHeaders { ms: None }] {
        gate.vllm.book().clear();
        gate.vllm.next(Behaviour::fault(fault.clone()));
        let answer = gate.client().chat(body.clone()).await;
        assert_eq!(answer.status, 200, "{fault:?}: {}", answer.text());
        settled(&gate).await;
        assert_eq!(gate.vllm.book().records().len(), 2, "{fault:?}");
    }
    gate.vllm.book().clear();
    gate.vllm.next(Behaviour::fault(Fault::StallMidStream { at: At::Events(3), ms: Some(600) }));
    let answer = gate.client().chat(body.clone()).await;
    assert_eq!(answer.body, settled(&gate).await.answer());
    assert_eq!(gate.vllm.book().records().len(), 1, "once the client has bytes there is no other try");
}

#[tokio::test]
async fn a_first_event_that_is_an_error_is_tried_again() {
    let gate = Inject::start("first-error").await;
    gate.vllm.next(Behaviour::fault(Fault::ErrorFirstFrame { error_type: None, message: None }));
    let answer = gate.client().chat(chat_stream(MODEL, "error first").to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.body, settled(&gate).await.answer());
    assert_eq!(gate.vllm.book().records().len(), 2);
}
