//! `demo budget`: many clients against one dollar, and what the providers' own books say of it afterwards.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{API, BEDROCK, GATEWAY, VLLM, http, must_run};
use crate::process::{Context, Result, say};

/// The key of the example's tenant `trial`, who has a dollar an hour.
const KEY: &str = "weir-demo";
/// A model of which a dollar buys a few hundred answers.
const MODEL: &str = "smart";
const BUDGET: &str = "trial-dollar";
const CLIENTS: u64 = 48;
const LIMIT: Duration = Duration::from_secs(60);
/// Nano-USD per input and output token in `envoy/first.yaml`, by provider.
const PRICES: [(u16, u64, u64); 2] = [(BEDROCK, 3_000, 15_000), (VLLM, 100, 400)];

/// What became of the requests.
#[derive(Default)]
struct Tally {
    answered: AtomicU64,
    again: AtomicU64,
    ended: AtomicU64,
    failed: AtomicU64,
    last_words: Mutex<String>,
}

pub fn demo() -> Result {
    must_run()?;
    let before = books()?;
    say(format!("{CLIENTS} clients, streams and plain, against one dollar ({BUDGET}):"));
    let began = Instant::now();
    let tally = Tally::default();
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let tally = &tally;
            scope.spawn(move || spend(client, began, tally));
        }
    });
    let billed = books()?.saturating_sub(before);
    let count = |n: &AtomicU64| n.load(Ordering::Relaxed);
    println!(
        "    {} answered, {} told to come again, {} clients told to stop, {} failed, in {:.1} s",
        count(&tally.answered),
        count(&tally.again),
        count(&tally.ended),
        count(&tally.failed),
        began.elapsed().as_secs_f64()
    );
    println!("    the last refusal:  {}", tally.last_words.lock().map(|t| t.clone()).unwrap_or_default());
    println!("    providers' books:  {} USD billed in this run", usd(billed));
    let spend = http::get(API, "/api/spend")?;
    let spend: Value = serde_json::from_str(&spend.text()).context("the control plane's spend")?;
    let found = find(&spend, BUDGET);
    if let Some(figures) = found {
        println!("    the ledger says:   {figures}");
    }
    let over = billed.saturating_sub(1_000_000_000);
    println!("    overspent:         {} USD", usd(over));
    println!("    the dollar comes back with the next hour; until then every request is refused at once");
    Ok(())
}

/// One client: asks until it is told to stop.
fn spend(client: u64, began: Instant, tally: &Tally) {
    let authorization = format!("Bearer {KEY}");
    for n in 0..1_000u64 {
        if began.elapsed() > LIMIT {
            return;
        }
        let text =
            format!("Question {n} of client {client}: what would {} cost in {}?", n * 37 + client, n % 29);
        let body =
            json!({"model": MODEL, "stream": n % 2 == 0, "messages": [{"role": "user", "content": text}]});
        let headers = [("authorization", authorization.as_str())];
        let Ok(answer) =
            http::post(GATEWAY, "/v1/chat/completions", &headers, &body.to_string(), &mut |_| ())
        else {
            tally.failed.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        match (answer.status, answer.header("x-should-retry")) {
            (200, _) => {
                tally.answered.fetch_add(1, Ordering::Relaxed);
            }
            (429, Some("false")) => {
                tally.ended.fetch_add(1, Ordering::Relaxed);
                let error: Value = serde_json::from_str(&answer.text()).unwrap_or_default();
                if let Ok(mut words) = tally.last_words.lock() {
                    *words = error["error"]["message"].as_str().unwrap_or_default().to_owned();
                }
                return;
            }
            (429, _) => {
                tally.again.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(200));
            }
            _ => {
                tally.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Nano-USD that the providers billed since they started.
fn books() -> Result<u64> {
    let mut sum = 0;
    for (port, input, output) in PRICES {
        let book = http::get(port, "/sim/book?bodies=0")?;
        let book: Value = serde_json::from_str(&book.text()).context("the simulator's book")?;
        for record in book["records"].as_array().into_iter().flatten() {
            // Other models are other budgets' business.
            let model = record["model"].as_str().unwrap_or_default();
            if !model.contains("claude") && !model.contains("120b") {
                continue;
            }
            let tokens = |field: &str| record[field].as_u64().unwrap_or(0);
            sum += tokens("billed_prompt_tokens") * input + tokens("billed_completion_tokens") * output;
        }
    }
    Ok(sum)
}

/// The entry of a budget, wherever it stands in the answer.
fn find<'a>(value: &'a Value, budget: &str) -> Option<&'a Value> {
    match value {
        Value::Object(map) => {
            let named = |key: &str| map.get(key).and_then(Value::as_str) == Some(budget);
            if named("budget") || named("name") {
                return Some(value);
            }
            map.values().find_map(|v| find(v, budget))
        }
        Value::Array(items) => items.iter().find_map(|v| find(v, budget)),
        _ => None,
    }
}

fn usd(nano: u64) -> String {
    format!("{}.{:06}", nano / 1_000_000_000, nano % 1_000_000_000 / 1_000)
}
