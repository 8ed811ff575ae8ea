//! The oldest Envoy with the full function: pass, stream, another try, a trap.

use std::time::Duration;

use weir_tests::harness::inject::{ALIAS, MODEL};
use weir_tests::harness::{Client, Inject};
use weir_tests::sim::Behaviour;

use crate::{chat, chat_stream, lives, refused, settled};

#[tokio::test]
async fn envoy_1_39_passes_streams_retries_and_survives_a_trap() {
    let gate = Inject::with("older", |setup| {
        setup.version = "1.39.3".into();
        setup.module = "weir-faults";
    })
    .await;
    for body in [chat(MODEL, "pass"), chat_stream(ALIAS, "stream")] {
        for client in [gate.client(), gate.h2()] {
            let answer = client.chat(body.to_string()).await;
            assert_eq!(answer.status, 200, "{}\n{}", answer.text(), gate.envoy.log());
            assert_eq!(answer.body, settled(&gate).await.answer());
        }
    }
    gate.vllm.book().clear();
    gate.vllm.next(Behaviour::status(503));
    lives(&gate).await;
    assert_eq!(gate.vllm.book().records().len(), 2);
    refused(&gate.client().chat("{").await, 400, "invalid_json");

    tokio::time::sleep(Duration::from_millis(300)).await;
    let request = gate.client().post("/v1/chat/completions", chat(MODEL, "boom").to_string());
    let answer = Client::answer(request.header("x-weir-plant", "panic")).await;
    assert_eq!(answer.status, 503);
    assert!(answer.json()["error"]["message"].is_string(), "{}", answer.text());
    lives(&gate).await;
}
