//! Hard budgets against the providers' own books: a burst of clients until each is refused for good, with what can
//! go wrong in between. What the providers bill is never more than the limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;
use weir_tests::harness::{Answer, Client};
use weir_tests::sim::{At, Behaviour, Fault, Order, Rule};

use crate::chat::{chat, said};
use crate::policy::{BEDROCK_FIRST, VLLM_FIRST};
use crate::setup::Gateway;

const CLIENTS: usize = 64;
/// Nobody waits longer for the budget to be gone.
const PATIENCE: Duration = Duration::from_secs(90);

/// What the clients met.
#[derive(Debug, Default)]
struct Met {
    answered: AtomicU64,
    /// 429 that says to come back soon.
    transient: AtomicU64,
    /// 503: the ledger cannot be asked.
    unavailable: AtomicU64,
    /// Streams that the client itself left.
    left: AtomicU64,
    /// Broken off by a provider, where the test planted that.
    broken: AtomicU64,
}

/// What may happen besides answers and refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    None,
    /// Providers reset, stall and fail; clients leave in the middle.
    Planted,
}

async fn start(name: &str, limit: Value) -> Gateway {
    Gateway::with(name, |plan, _| {
        plan.policy["retry"]["first_byte"] = json!("5s");
        plan.policy["budgets"] = json!([
            // A window that does not end while the test runs, but for one run in forty thousand.
            {"name": "small", "when": {"tenant": "acme"}, "limit": limit, "window": "month"},
            {"name": "roomy", "each": ["key"], "limit": {"requests": 1_000_000}, "window": "day"},
        ]);
    })
    .await
}

/// One client, until it is refused for good; answers that refusal.
async fn client(client: Client, number: usize, trouble: Trouble, met: Arc<Met>) -> Result<Answer, String> {
    let begun = Instant::now();
    for round in 0.. {
        if begun.elapsed() > PATIENCE {
            return Err(format!("client {number} is still waiting: {met:?}"));
        }
        let stream = (number + round).is_multiple_of(2);
        let model = if (number + round / 2).is_multiple_of(3) { BEDROCK_FIRST } else { VLLM_FIRST };
        let mut body = chat(model, &format!("Client {number} asks question {round} of many."), stream);
        body["max_tokens"] = json!(64);
        let request = client.post("/v1/chat/completions", body.to_string());
        if trouble == Trouble::Planted && stream && round % 5 == 4 {
            let Ok(mut response) = request.send().await else { continue };
            let _ = response.chunk().await;
            met.left.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        let answer = match Client::try_answer(request).await {
            Ok(answer) => answer,
            Err(_) if trouble == Trouble::Planted => {
                met.broken.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            Err(error) => return Err(format!("{error:?}")),
        };
        match answer.status {
            200 => {
                let said = said(&answer, stream);
                match said {
                    Ok(said) if said.done && said.finish.is_some() => {
                        met.answered.fetch_add(1, Ordering::Relaxed)
                    }
                    _ if trouble == Trouble::Planted => met.broken.fetch_add(1, Ordering::Relaxed),
                    bad => return Err(format!("{bad:?}")),
                };
            }
            429 if answer.header("x-should-retry") == Some("false") => return Ok(answer),
            429 | 503 if answer.header("retry-after").is_some() => {
                let met = if answer.status == 429 { &met.transient } else { &met.unavailable };
                met.fetch_add(1, Ordering::Relaxed);
                // Sooner than told, to be a nuisance.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            _ if trouble == Trouble::Planted && answer.status >= 500 => {
                met.broken.fetch_add(1, Ordering::Relaxed);
            }
            _ => return Err(format!("{}: {}", answer.status, answer.text())),
        }
    }
    unreachable!("rounds do not end")
}

/// Sixty-four of them at once. `meanwhile` is done beside.
async fn burst<T>(
    gateway: &mut Gateway,
    trouble: Trouble,
    meanwhile: impl AsyncFnOnce(&mut Gateway, &Met) -> T,
) -> (Arc<Met>, T) {
    let met = Arc::new(Met::default());
    let mut running = JoinSet::new();
    for number in 0..CLIENTS {
        running.spawn(client(gateway.client(), number, trouble, met.clone()));
    }
    let made = meanwhile(gateway, &met).await;
    while let Some(refusal) = running.join_next().await {
        let refusal = refusal.expect("a client does not panic").unwrap_or_else(|why| {
            panic!("{why}\n{met:?}\n{}", gateway.envoy.log());
        });
        let error = &refusal.json()["error"];
        assert_eq!(refusal.status, 429, "{error}");
        assert_eq!(error["type"], "insufficient_quota", "{error}");
        assert_eq!(error["code"], "budget_exhausted", "{error}");
        assert!(
            error["message"]
                .as_str()
                .is_some_and(|text| text.contains("small") && text.contains("resets in")),
            "{error}"
        );
        let budget = refusal.header("x-weir-budget").unwrap_or_default();
        assert!(budget.starts_with("small; "), "{budget}: the policy shows reasons");
        let wait: u64 = refusal.header("retry-after").and_then(|wait| wait.parse().ok()).expect("how long");
        assert!(wait > 60, "{wait} s");
    }
    (met, made)
}

/// Input and output tokens that each provider has billed.
fn billed(gateway: &Gateway) -> [(u64, u64); 2] {
    [gateway.vllm().book().totals(), gateway.bedrock.book().totals()]
        .map(|totals| (totals.billed_prompt_tokens, totals.billed_completion_tokens))
}

fn tokens(gateway: &Gateway) -> u64 {
    billed(gateway).iter().map(|(input, output)| input + output).sum()
}

/// What both providers would write on their invoices, in nano-USD.
fn nano_usd(gateway: &Gateway) -> u64 {
    let [(vllm_in, vllm_out), (bedrock_in, bedrock_out)] = billed(gateway);
    (vllm_in * 30_000 + vllm_out * 120_000 + bedrock_in * 70_000 + bedrock_out * 300_000) / 1000
}

/// The small budget's counter in what the control plane says of all.
fn small(said: &Value) -> Option<Value> {
    said["counters"].as_array()?.iter().find(|counter| counter["budget"] == "small").cloned()
}

/// What is settled in it.
fn settled(said: &Value) -> u64 {
    small(said).and_then(|counter| counter["settled"].as_u64()).unwrap_or_default()
}

/// The ledger's word on the small budget, once nothing runs any more.
async fn spent(gateway: &Gateway) -> Value {
    let said = gateway
        .wait_for("/api/spend", "everything is settled", |said| small(said).is_some_and(|c| c["held"] == 0))
        .await;
    small(&said).expect("it was there")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_clients_spend_a_token_budget_to_its_end_and_never_over() {
    const LIMIT: u64 = 50_000;
    let mut gateway = start("budget-tokens", json!({"tokens": LIMIT})).await;
    let (met, ()) = burst(&mut gateway, Trouble::None, async |_, _| ()).await;
    let (billed, spent) = (tokens(&gateway), spent(&gateway).await);
    report("tokens", billed, LIMIT, &spent, &met);
    assert!(billed <= LIMIT, "{billed} of {LIMIT}: overspent");
    assert!(billed * 100 >= LIMIT * 95, "{billed} of {LIMIT}: badly used");
    assert_eq!(spent["settled"], billed, "{spent}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_clients_spend_a_budget_in_money_to_its_end_and_never_over() {
    const LIMIT: u64 = 8_000_000; // 0.008 USD in nano-USD
    let mut gateway = start("budget-usd", json!({"usd": 0.008})).await;
    let (met, ()) = burst(&mut gateway, Trouble::None, async |_, _| ()).await;
    let (billed, spent) = (nano_usd(&gateway), spent(&gateway).await);
    report("nano-USD", billed, LIMIT, &spent, &met);
    assert!(billed <= LIMIT, "{billed} of {LIMIT}: overspent");
    assert!(billed * 100 >= LIMIT * 95, "{billed} of {LIMIT}: badly used");
    // Each request is rounded up to a nano-USD of its own.
    let settled = spent["settled"].as_u64().unwrap_or_default();
    assert!(
        settled >= billed && settled <= billed + met.answered.load(Ordering::Relaxed),
        "{spent}, billed {billed}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_ledger_forgets_nothing_that_was_settled() {
    const LIMIT: u64 = 50_000;
    let mut gateway = start("budget-kill", json!({"tokens": LIMIT})).await;
    let (met, ()) = burst(&mut gateway, Trouble::None, async |gateway: &mut Gateway, _: &Met| {
        for kill in 1..=3 {
            while tokens(gateway) < LIMIT * kill / 5 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let before = settled(&gateway.api("/api/spend").await);
            gateway.kill_control();
            tokio::time::sleep(Duration::from_millis(300 * kill)).await;
            gateway.start_control();
            let after = gateway
                .wait_for("/api/spend", "the ledger is back", |said| said["counters"].is_array())
                .await;
            let after = settled(&after);
            println!("kill {kill}: {before} settled before, {after} after");
            assert!(before > 0 && after >= before, "{before} before the kill, {after} after");
        }
    })
    .await;
    let (billed, spent) = (tokens(&gateway), spent(&gateway).await);
    report("tokens, ledger killed", billed, LIMIT, &spent, &met);
    assert!(billed <= LIMIT, "{billed} of {LIMIT}: overspent");
    assert!(billed * 100 >= LIMIT * 95, "{billed} of {LIMIT}: badly used");
    assert!(spent["settled"].as_u64().unwrap_or_default() >= billed, "{spent}, billed {billed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failing_providers_and_leaving_clients_do_not_overspend() {
    const LIMIT: u64 = 50_000;
    let mut gateway = start("budget-trouble", json!({"tokens": LIMIT})).await;
    let rule = |contains: &str, fault: Fault| Rule {
        contains: contains.into(),
        times: None,
        behaviour: Behaviour::fault(fault),
    };
    let error = || Fault::ErrorMidStream { at: At::Events(4), error_type: None, message: None };
    let rules = vec![
        rule("question 3 ", Fault::ResetBeforeHeaders),
        rule("question 5 ", Fault::ResetMidStream { at: At::Bytes(0) }),
        rule("question 6 ", Fault::ResetMidStream { at: At::Events(6) }),
        rule("question 7 ", Fault::Status { code: 503, retry_after: None, error_type: None, message: None }),
        rule("question 8 ", error()),
        rule("question 10 ", Fault::CutMidStream { at: At::Events(5) }),
    ];
    gateway.vllm().order(Order { rules: rules.clone(), ..Order::default() });
    // Bedrock fails for others, or nobody would be left to answer.
    let rules = rules
        .into_iter()
        .map(|rule| Rule { contains: rule.contains.replace("question ", "question 1"), ..rule });
    gateway.bedrock.order(Order { rules: rules.collect(), ..Order::default() });
    let (met, ()) = burst(&mut gateway, Trouble::Planted, async |_, _| ()).await;
    let (billed, spent) = (tokens(&gateway), spent(&gateway).await);
    report("tokens, trouble", billed, LIMIT, &spent, &met);
    assert!(billed <= LIMIT, "{billed} of {LIMIT}: overspent");
    let settled = spent["settled"].as_u64().unwrap_or_default();
    assert!(settled >= billed, "{spent}, billed {billed}");
    for (what, count) in [("left", &met.left), ("broken", &met.broken)] {
        assert!(count.load(Ordering::Relaxed) >= 10, "too little trouble: {what}");
    }
}

fn report(what: &str, billed: u64, limit: u64, spent: &Value, met: &Met) {
    println!(
        "{what}: billed {billed} of {limit} ({:.2} %), overspent {}, settled {}, stranded {}; {met:?}",
        billed as f64 * 100.0 / limit as f64,
        billed.saturating_sub(limit),
        spent["settled"],
        spent["stranded"],
    );
}
