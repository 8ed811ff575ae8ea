//! Scores of answers: an event in the answer's own trace, once, from whoever had the answer.

use std::time::{Duration, Instant};

use serde_json::json;
use weir_tests::harness::inject::MODEL;
use weir_tests::harness::{Answer, Client, Inject};

use crate::{chat, chat_stream, refused};

const PATH: &str = "/v1/weir/feedback";

async fn score(gate: &Inject, body: &serde_json::Value) -> Answer {
    Client::answer(gate.client().post(PATH, body.to_string())).await
}

#[tokio::test]
async fn a_score_joins_the_trace_of_its_answer_once() {
    let gate = Inject::with("feedback", |setup| setup.concurrency = 2).await;
    let answer = gate.client().chat(chat(MODEL, "Hello").to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let id = answer.json()["id"].as_str().expect("an id").to_owned();
    let span = gate.collector.wait(1, |span| span.get("gen_ai.response.id") == id.as_str()).await.remove(0);
    let body = json!({"response_id": id, "score": 0.75, "name": "helpful"});
    // Whichever worker is asked.
    let taken = score(&gate, &body).await;
    assert_eq!((taken.status, taken.json()), (202, json!({"status": "accepted"})));
    for _ in 0..4 {
        refused(&score(&gate, &body).await, 409, "feedback_repeated");
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    while gate.collector.events().is_empty() {
        assert!(Instant::now() < deadline, "the event never came");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let events = gate.collector.events();
    let [event] = events.as_slice() else { panic!("one event: {events:?}") };
    assert_eq!(event.name, "gen_ai.evaluation.result");
    assert_eq!((&event.trace_id, &event.span_id), (&span.trace_id(), &span.span_id()));
    assert_eq!(
        json!(event.attributes),
        json!({
            "gen_ai.evaluation.name": "helpful",
            "gen_ai.evaluation.score.value": 0.75,
            "gen_ai.response.id": id,
            "weir.tenant": "demo",
        })
    );
    // A stream's answer has an id as well.
    let answer = gate.client().chat(chat_stream(MODEL, "Hello").to_string()).await;
    let id =
        answer.text().split("\"id\":\"").nth(1).and_then(|rest| rest.split('"').next().map(str::to_owned));
    let body = json!({"response_id": id.expect("an id"), "score": 1});
    let deadline = Instant::now() + Duration::from_secs(10);
    while score(&gate, &body).await.status != 202 {
        assert!(Instant::now() < deadline, "a stream's answer is known a moment after its end");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn what_is_no_score_of_the_callers_own_answer_is_refused() {
    let gate = Inject::start("feedback-no").await;
    refused(
        &score(&gate, &json!({"response_id": "chatcmpl-unknown", "score": 1})).await,
        404,
        "response_not_found",
    );
    refused(&score(&gate, &json!({"response_id": "a", "score": "good"})).await, 400, "invalid_value");
    refused(
        &score(&gate, &json!({"response_id": "a".repeat(5_000), "score": 1})).await,
        413,
        "request_too_large",
    );
    let stranger = gate.client().with_key("wrong").post(PATH, "{}");
    refused(&Client::answer(stranger).await, 401, "invalid_api_key");
    let get = gate.client().request(http::Method::GET, PATH);
    assert_eq!(Client::answer(get).await.status, 405);
    assert!(gate.vllm.book().records().is_empty(), "no provider hears of it");
    assert!(gate.collector.events().is_empty());
}
