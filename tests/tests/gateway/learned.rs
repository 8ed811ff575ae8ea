//! A model whose vocabulary nobody here has: its provider bills by another tokenizer and says things about tools that
//! nobody sees. What it bills is never above a hard budget, before its bound is learned and after.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;
use weir_tests::harness::{Answer, Client};
use weir_tests::sim::{Behaviour, Encoding};

use crate::chat::chat;
use crate::setup::Gateway;

const CLIENTS: u64 = 16;
const MODEL: &str = "unknown";

async fn start(name: &str, limit: u64) -> Gateway {
    Gateway::with(name, |plan, _| {
        plan.bedrock.encoding = Encoding::Cl100kBase;
        plan.bedrock.hidden_tool_tokens = 0;
        plan.bedrock.hidden_tool_spread = 346;
        plan.bedrock.defaults = Behaviour { reply_tokens: Some(4), ..plan.bedrock.defaults.clone() };
        let target = json!({
            "provider": "bedrock", "model": "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "tokenizer": "learned",
            "context": 131_072, "supports": ["tools"], "price": {"input": 3, "output": 15},
        });
        plan.policy["models"] = json!([{"name": MODEL, "targets": [target]}]);
        for tenant in 0..2 {
            plan.policy["tenants"][tenant]["models"] = json!([MODEL]);
        }
        plan.policy["budgets"] =
            json!([{"name": "small", "when": {"tenant": "acme"}, "limit": {"tokens": limit}, "window": "month"}]);
    })
    .await
}

fn request(client: &Client, number: u64, tools: bool) -> reqwest::RequestBuilder {
    let mut body =
        chat(MODEL, &format!("Question {number}: wie hoch steht der Fluß heute, 川の水位は?"), false);
    body["max_tokens"] = json!(16);
    if tools {
        body["tools"] = json!([{"type": "function", "function": {
            "name": "gauge", "description": "Reads a gauge.",
            "parameters": {"type": "object", "properties": {"river": {"type": "string"}}}
        }}]);
    }
    client.post("/v1/chat/completions", body.to_string())
}

/// Sends requests `from..to`, sixteen at a time; the refusals that are for good.
async fn send(gateway: &Gateway, from: u64, to: u64) -> Vec<Answer> {
    let next = Arc::new(AtomicU64::new(from));
    let mut running = JoinSet::new();
    for _ in 0..CLIENTS {
        let (client, next) = (gateway.client(), next.clone());
        running.spawn(async move {
            let mut refused = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= to {
                    return refused;
                }
                let answer = Client::try_answer(request(&client, number, number % 2 == 1)).await.unwrap();
                match answer.status {
                    200 => {}
                    429 if answer.header("x-should-retry") == Some("false") => refused.push(answer),
                    429 => tokio::time::sleep(Duration::from_millis(20)).await,
                    _ => panic!("{}: {}", answer.status, answer.text()),
                }
            }
        });
    }
    running.join_all().await.into_iter().flatten().collect()
}

fn billed(gateway: &Gateway) -> u64 {
    let totals = gateway.bedrock.book().totals();
    totals.billed_prompt_tokens + totals.billed_completion_tokens
}

/// The records that Envoy's access log carries, once all of so many answers are in it.
async fn records(gateway: &Gateway, answers: usize) -> Vec<Value> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let lines = gateway.envoy.access_log().lines();
        let records = lines.iter().map(|line| match &line["weir"] {
            Value::String(text) => serde_json::from_str(text).unwrap_or_default(),
            other => other.clone(),
        });
        let records: Vec<Value> = records.filter(|record| record["usage"] == "provider").collect();
        if records.len() >= answers || Instant::now() > deadline {
            return records;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_tokenizer_with_hidden_prompts_never_overspends_and_its_bound_is_learned() {
    // Enough for both kinds to be learned, and for what follows to run into the end.
    const LIMIT: u64 = 700_000;
    let gateway = start("learned", LIMIT).await;
    let mut refused = send(&gateway, 0, 2_600).await;
    let before = billed(&gateway);
    assert!(refused.is_empty() && before < LIMIT, "{before} of {LIMIT}: too much to learn");
    let mut from = 2_600;
    while refused.is_empty() && from < 20_000 {
        refused = send(&gateway, from, from + 400).await;
        from += 400;
    }
    assert!(!refused.is_empty(), "the budget has no end");
    let error = &refused[0].json()["error"];
    assert_eq!(error["code"], "budget_exhausted", "{error}");
    let billed = billed(&gateway);

    let answers = gateway.bedrock.book().totals().requests as usize;
    let records = records(&gateway, answers).await;
    let of = |basis: &str| {
        let of: Vec<_> = records.iter().filter(|record| record["basis"] == basis).collect();
        let sum = |key: &str| of.iter().filter_map(|record| record[key].as_u64()).sum::<u64>();
        let over = of.iter().filter(|record| record["over_bound"].is_u64()).count();
        (of.len(), over, sum("bound") as f64 / sum("input").max(1) as f64)
    };
    let (bytes, calibrated) = (of("bytes"), of("calibrated"));
    println!(
        "billed {billed} of {LIMIT} ({:.1} %); bound by bytes {} requests, {:.2} of billed; calibrated {}, {:.2} of billed, {} above",
        billed as f64 * 100.0 / LIMIT as f64,
        bytes.0,
        bytes.2,
        calibrated.0,
        calibrated.2,
        calibrated.1
    );
    assert!(billed <= LIMIT, "{billed} of {LIMIT}: overspent");
    assert!(billed * 100 >= LIMIT * 90, "{billed} of {LIMIT}: badly used");
    assert_eq!(bytes.1, 0, "a proven bound was exceeded");
    assert!(calibrated.0 > 500 && calibrated.1 * 200 <= calibrated.0, "{calibrated:?}");
    assert!(calibrated.2 < bytes.2, "{calibrated:?} {bytes:?}");
}
