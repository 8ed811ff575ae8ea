//! HTTP/1.1 and HTTP/2 on both sides, bodies without a length in any pieces, `expect: 100-continue`, trailers.

use weir_tests::harness::inject::{KEY, MODEL};
use weir_tests::harness::{Client, Inject};

use crate::{chat, chat_stream, lives, settled};

#[tokio::test]
async fn both_protocols_on_both_sides() {
    for upstream_h2 in [false, true] {
        let gate = Inject::with("protocols", |setup| setup.upstream_h2 = upstream_h2).await;
        for (client, protocol) in [(gate.client(), "HTTP/1.1"), (gate.h2(), "HTTP/2.0")] {
            for body in [chat(MODEL, "hello"), chat_stream(MODEL, "hello")] {
                let request = client.post("/v1/chat/completions", body.to_string());
                let response = request.send().await.expect("an answer");
                assert_eq!(format!("{:?}", response.version()), protocol);
                assert_eq!(response.status(), 200);
                let bytes = response.bytes().await.expect("a whole answer");
                let record = settled(&gate).await;
                assert_eq!(record.version, if upstream_h2 { "HTTP/2.0" } else { "HTTP/1.1" });
                assert_eq!(record.body, Some(body.to_string()));
                assert_eq!(bytes, record.answer());
            }
        }
    }
}

#[tokio::test]
async fn a_chunked_request_arrives_whole_at_any_chunk_size() {
    let gate = Inject::start("chunked").await;
    let body = chat(MODEL, "naïve 🦫 chunks").to_string();
    for size in [1, 2, 3, 7, 64, 4096] {
        let mut raw = gate.raw().await;
        raw.send(format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {KEY}\r\n\
             content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
        ))
        .await;
        for piece in body.as_bytes().chunks(size) {
            raw.send([format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat()).await;
        }
        // The last piece ends the body by itself, with trailers every other time.
        let trailers = if size % 2 == 0 { "x-sum: 1\r\n" } else { "" };
        raw.send(format!("0\r\n{trailers}\r\n")).await;
        let head = raw.head().await;
        let answer = raw.body(&head).await.expect("a whole answer");
        assert_eq!(head.status, 200, "{}", String::from_utf8_lossy(&answer));
        assert_eq!(settled(&gate).await.body.as_ref(), Some(&body), "in chunks of {size}");
    }
    lives(&gate).await;
}

#[tokio::test]
async fn a_slow_body_is_waited_for_and_a_missing_one_is_nobodys_loss() {
    let gate = Inject::start("slow-body").await;
    let body = chat(MODEL, "slowly").to_string();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {KEY}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut raw = gate.raw().await;
    raw.send(&head).await;
    for piece in body.as_bytes().chunks(body.len() / 4) {
        tokio::time::sleep(std::time::Duration::from_millis(60)).await;
        raw.send(piece).await;
    }
    assert_eq!(raw.head().await.status, 200);
    // A client that goes in the middle of its body costs nothing and asks nobody.
    let before = gate.vllm.book().records().len();
    let mut raw = gate.raw().await;
    raw.send([head.as_bytes(), &body.as_bytes()[..20]].concat()).await;
    raw.abort();
    lives(&gate).await;
    assert_eq!(gate.vllm.book().records().len(), before + 1);
}

#[tokio::test]
async fn expect_100_continue_is_answered_before_the_body_and_a_refusal_needs_none() {
    let gate = Inject::start("expect").await;
    let body = chat(MODEL, "may I?").to_string();
    let head = |key: &str| {
        format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {key}\r\n\
             content-type: application/json\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
            body.len()
        )
    };
    let mut raw = gate.raw().await;
    raw.send(head(KEY)).await;
    assert_eq!(raw.head().await.status, 100);
    raw.send(&body).await;
    let answer = raw.head().await;
    assert_eq!(answer.status, 200);
    raw.body(&answer).await.expect("a whole answer");
    assert_eq!(settled(&gate).await.header("expect"), None);

    let mut raw = gate.raw().await;
    raw.send(head("wrong")).await;
    let mut answer = raw.head().await;
    if answer.status == 100 {
        answer = raw.head().await;
    }
    assert_eq!(answer.status, 401);
}

#[tokio::test]
async fn many_requests_on_one_connection_do_not_mix() {
    let gate = Inject::with("keep-alive", |setup| setup.concurrency = 2).await;
    let clients = [gate.client(), gate.h2()];
    let tasks = (0..40).map(|number| {
        let client = clients[number % 2].clone();
        tokio::spawn(async move {
            let text = format!("request number {number}");
            let body = if number % 3 == 0 { chat_stream(MODEL, &text) } else { chat(MODEL, &text) };
            (text, Client::answer(client.post("/v1/chat/completions", body.to_string())).await)
        })
    });
    gate.vllm.always(weir_tests::sim::Behaviour::echo());
    for task in tasks.collect::<Vec<_>>() {
        let (text, answer) = task.await.expect("no panic");
        assert_eq!(answer.status, 200, "{}", answer.text());
        let said = match answer.header("content-type") {
            Some("application/json") => answer.json()["choices"][0]["message"]["content"].to_string(),
            _ => events(&answer.text()),
        };
        assert!(said.contains(&text), "{text}: {said}");
    }
}

/// All content deltas of a stream, joined.
fn events(text: &str) -> String {
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let events = data.filter_map(|data| serde_json::from_str::<serde_json::Value>(data).ok());
    let deltas =
        events.map(|event| event["choices"][0]["delta"]["content"].as_str().unwrap_or_default().to_owned());
    deltas.collect()
}
