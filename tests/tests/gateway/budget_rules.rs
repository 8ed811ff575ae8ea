//! What a budget may say besides its limit, end to end: soft, each session, lowered ceilings, another model, aborts by
//! the provider's habit, what is left in headers, a lost ledger.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use weir_tests::harness::{Answer, Client};
use weir_tests::sim::{Behaviour, Bill, Order};

use crate::chat::{chat, said};
use crate::policy::{BEDROCK_FIRST, OTHER_KEY, VLLM_FIRST};
use crate::setup::Gateway;

const PATH: &str = "/v1/chat/completions";

/// One target, no failover: what one provider bills is what is spent.
async fn start(name: &str, budgets: Value, change: impl FnOnce(&mut Value)) -> Gateway {
    Gateway::with(name, |plan, _| {
        for model in plan.policy["models"].as_array_mut().expect("models") {
            model["targets"].as_array_mut().expect("targets").truncate(1);
        }
        plan.policy["retry"]["tries"] = json!(1);
        plan.policy["budgets"] = budgets;
        change(&mut plan.policy);
    })
    .await
}

async fn ask(client: &Client, more: &[(&str, &str)], body: &Value) -> Answer {
    let mut request = client.post(PATH, body.to_string());
    for (name, value) in more {
        request = request.header(*name, *value);
    }
    Client::answer(request).await
}

/// A request for `tokens` output tokens at most.
fn question(model: &str, text: &str, tokens: u64) -> Value {
    let mut body = chat(model, text, false);
    body["max_tokens"] = json!(tokens);
    body
}

fn error(answer: &Answer) -> (u16, String) {
    (answer.status, answer.json()["error"]["code"].as_str().unwrap_or_default().to_owned())
}

/// The ledger's word on a budget once nothing is held.
async fn spent(gateway: &Gateway, budget: &str) -> Value {
    let find = |said: &Value| {
        let counters = said["counters"].as_array()?;
        counters.iter().find(|counter| counter["budget"] == *budget).cloned()
    };
    let quiet = |said: &Value| find(said).is_some_and(|counter| counter["held"] == 0);
    find(&gateway.wait_for("/api/spend", "everything is settled", quiet).await).expect("it was there")
}

fn billed(gateway: &Gateway) -> u64 {
    let totals = gateway.vllm().book().totals();
    totals.billed_prompt_tokens + totals.billed_completion_tokens
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_soft_budget_counts_everything_and_refuses_nothing() {
    let budgets = json!([{"name": "soft", "mode": "soft", "limit": {"tokens": 300}, "window": "month"}]);
    let gateway = start("budget-soft", budgets, |_| ()).await;
    for number in 0..12 {
        let mut body = question(VLLM_FIRST, &format!("Question {number}"), 80);
        body["stream"] = json!(number % 2 == 0);
        let answer = ask(&gateway.client(), &[], &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let billed = billed(&gateway);
    let is = |said: &Value| said["counters"][0]["settled"] == billed;
    let said = gateway.wait_for("/api/spend", "all is counted", is).await;
    println!(
        "soft: billed {billed}, settled {} of {}",
        said["counters"][0]["settled"], said["counters"][0]["limit"]
    );
    assert!(billed > 300);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_session_of_a_tenant_has_a_budget_of_its_own() {
    let budgets = json!([{"name": "runaway", "each": ["tenant", "session"], "limit": {"requests": 3}, "window": "month"}]);
    let gateway =
        start("budget-session", budgets, |policy| policy["identity"]["client_labels"] = json!(["session"]))
            .await;
    let client = gateway.client();
    let body = question(VLLM_FIRST, "Once more", 20);
    for session in ["one", "two", ""] {
        let label = [("x-weir-label-session", session)];
        let label = if session.is_empty() { &[][..] } else { &label[..] };
        for left in (0..3).rev() {
            let answer = ask(&client, label, &body).await;
            assert_eq!(answer.status, 200, "{session}: {}", answer.text());
            assert_eq!(answer.header("x-ratelimit-remaining-requests"), Some(left.to_string().as_str()));
        }
        let refused = ask(&client, label, &body).await;
        assert_eq!(error(&refused), (429, "budget_exhausted".into()), "{session}");
    }
    // The same session name of another tenant is another counter.
    let other = ask(&client.with_key(OTHER_KEY), &[("x-weir-label-session", "one")], &body).await;
    assert_eq!(other.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_is_used_to_its_end_in_shorter_answers() {
    const LIMIT: u64 = 1_500;
    let budgets = json!([{
        "name": "small", "limit": {"tokens": LIMIT}, "window": "month", "when_short": {"min_output": 32}
    }]);
    let gateway = start("budget-short", budgets, |_| ()).await;
    gateway.vllm().always(Behaviour { reply_tokens: Some(400), ..Behaviour::default() });
    let client = gateway.client();
    let mut ceilings = Vec::new();
    let refused = loop {
        // Tools are never cut short.
        let mut tool = question(VLLM_FIRST, "Which?", 500);
        tool["tools"] =
            json!([{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]);
        let number = ceilings.len();
        let answer = ask(&client, &[], &question(VLLM_FIRST, &format!("Tell story {number}"), 500)).await;
        if answer.status != 200 {
            break answer;
        }
        let said = said(&answer, false).expect("an answer");
        let sent = gateway.vllm().book().last().expect("it came").json();
        let ceiling = sent["max_tokens"].as_u64().expect("a ceiling");
        assert!(said.completion_tokens <= ceiling, "{said:?} of {ceiling}");
        if ceiling < 500 {
            assert_eq!(error(&ask(&client, &[], &tool).await).0, 429, "after {ceilings:?}");
        }
        ceilings.push(ceiling);
        assert!(ceilings.len() < 20, "{ceilings:?}");
    };
    assert_eq!(error(&refused), (429, "budget_exhausted".into()), "{}", refused.text());
    let billed = billed(&gateway);
    println!(
        "when_short: ceilings {ceilings:?}, billed {billed} of {LIMIT}; then {}",
        refused.json()["error"]["message"]
    );
    assert!(
        ceilings.contains(&500) && ceilings.iter().any(|ceiling| (32..500).contains(ceiling)),
        "{ceilings:?}"
    );
    assert!(billed <= LIMIT && billed + 200 > LIMIT, "{billed} of {LIMIT}");
    assert_eq!(spent(&gateway, "small").await["settled"], billed);
}

/// A request that the provider takes two seconds to answer, on its way.
async fn slow(gateway: &Gateway, client: &Client, ceiling: u64) -> tokio::task::JoinHandle<Answer> {
    let before = gateway.vllm().book().totals().requests;
    let next = vec![Behaviour { ttft_ms: Some(2_000), reply_tokens: Some(20), ..Behaviour::default() }];
    gateway.vllm().order(Order { next, ..Order::default() });
    let request = client.post(PATH, question(VLLM_FIRST, "Take your time.", ceiling).to_string());
    let running = tokio::spawn(Client::answer(request));
    let deadline = Instant::now() + Duration::from_secs(10);
    while gateway.vllm().book().totals().requests == before {
        assert!(Instant::now() < deadline, "it does not arrive");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    running
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_waits_for_what_another_holds_as_long_as_its_budget_says() {
    let budget = |name: &str, tenant: &str| json!({"name": name, "when": {"tenant": tenant}, "limit": {"tokens": 1_200}, "window": "month"});
    let (mut patient, hasty) = (budget("patient", "acme"), budget("hasty", "globex"));
    patient["wait"] = json!("8s");
    let gateway = start("budget-wait", json!([patient, hasty]), |_| ()).await;
    let client = gateway.client();
    let other = gateway.client().with_key(OTHER_KEY);
    let body = question(VLLM_FIRST, "And I?", 800);
    for (client, waits) in [(&client, true), (&other, false)] {
        let first = slow(&gateway, client, 800).await;
        let begun = Instant::now();
        let second = ask(client, &[], &body).await;
        let waited = begun.elapsed();
        println!("wait: {} after {waited:?}", second.status);
        if waits {
            assert_eq!(second.status, 200, "{}", second.text());
            assert!((Duration::from_secs(1)..Duration::from_secs(6)).contains(&waited), "{waited:?}");
        } else {
            assert_eq!(error(&second), (429, "budget_held".into()), "{}", second.text());
            assert!(waited < Duration::from_secs(1), "{waited:?}");
        }
        assert_eq!(first.await.expect("no panic").status, 200);
    }
    // Nothing comes back of what is used: whoever asks for more than there is does not wait for it.
    let begun = Instant::now();
    let refused = ask(&client, &[], &question(VLLM_FIRST, "And I?", 1_190)).await;
    assert_eq!(error(&refused), (429, "budget_exhausted".into()), "{}", refused.text());
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    let billed = billed(&gateway);
    let settled = ["patient", "hasty"].map(|name| spent(&gateway, name));
    let [patient, hasty] = settled;
    let settled = patient.await["settled"].as_u64().zip(hasty.await["settled"].as_u64());
    assert_eq!(settled.map(|(one, other)| one + other), Some(billed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_others_may_give_back_no_answer_is_cut_shorter_than_most_answers_are() {
    const LIMIT: u64 = 120_000;
    let budgets = json!([{
        "name": "small", "limit": {"tokens": LIMIT}, "window": "month", "when_short": {"min_output": 16}
    }]);
    let gateway = start("budget-usual", budgets, |_| ()).await;
    let client = gateway.client();
    gateway.vllm().always(Behaviour { reply_tokens: Some(600), ..Behaviour::default() });
    // Enough answers for each worker to have learned how long they are.
    let mut running = tokio::task::JoinSet::new();
    for number in 0..8 {
        let client = client.clone();
        running.spawn(async move {
            for round in 0..18 {
                let body = question(VLLM_FIRST, &format!("Story {number} {round}"), 900);
                assert_eq!(ask(&client, &[], &body).await.status, 200);
            }
        });
    }
    running.join_all().await;
    let counter = spent(&gateway, "small").await;
    let left = LIMIT - counter["settled"].as_u64().expect("a number");
    // All but 600 is held: more than the floor of those who know nothing, less than most answers have.
    let holds = slow(&gateway, &client, left - 640).await;
    let refused = ask(&client, &[], &question(VLLM_FIRST, "And I?", 900)).await;
    assert_eq!(error(&refused), (429, "budget_held".into()), "{}", refused.text());
    assert_eq!(holds.await.expect("no panic").status, 200);
    let served = ask(&client, &[], &question(VLLM_FIRST, "And I?", 900)).await;
    assert_eq!(served.status, 200, "{}", served.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spent_budget_hands_over_to_a_model_that_the_tenant_may_use() {
    let budgets = json!([{
        "name": "dear", "when": {"model": BEDROCK_FIRST}, "limit": {"tokens": 400}, "window": "month",
        "exceeded": {"use": VLLM_FIRST}
    }]);
    let gateway = start("budget-exceeded", budgets, |policy| {
        policy["tenants"][1]["models"] = json!([BEDROCK_FIRST]);
    })
    .await;
    let client = gateway.client();
    let mut by = Vec::new();
    for number in 0..8 {
        let mut body = question(BEDROCK_FIRST, &format!("Question {number}"), 100);
        body["stream"] = json!(number % 2 == 0);
        let answer = ask(&client, &[], &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let downgraded = answer.header("x-weir-downgrade");
        by.push(downgraded.is_some());
        if let Some(told) = downgraded {
            assert_eq!(told, format!("{VLLM_FIRST}; budget=dear"));
            assert!(answer.header("x-weir-target").is_some_and(|target| target.starts_with("gpu-pool:")));
        }
    }
    println!("exceeded: by the other model {by:?}");
    assert!(!by[0] && by[7], "{by:?}");
    let (dear, cheap) = (gateway.bedrock.book().totals(), gateway.vllm().book().totals());
    assert!(dear.billed_prompt_tokens + dear.billed_completion_tokens <= 400, "{dear:?}");
    assert_eq!(dear.requests + cheap.requests, 8);
    // Who may not use the other model is refused.
    let other = ask(&client.with_key(OTHER_KEY), &[], &question(BEDROCK_FIRST, "And I?", 100)).await;
    assert_eq!(error(&other), (429, "budget_exhausted".into()), "{}", other.text());
}

/// Every second of 24 streams is left after a few events; what was charged and what was billed.
async fn aborts(name: &str, on_abort: &str, bill: Bill) -> (u64, u64, u64) {
    let budgets = json!([{"name": "all", "limit": {"tokens": 1_000_000}, "window": "month"}]);
    let gateway = start(name, budgets, |policy| policy["providers"][0]["on_abort"] = json!(on_abort)).await;
    let slow = Behaviour {
        token_us: Some(2_000),
        reply_tokens: Some(200),
        bill: Some(bill),
        ..Behaviour::default()
    };
    gateway.vllm().always(slow);
    let client = gateway.client();
    let mut left = 0;
    for number in 0..24 {
        let mut body = question(VLLM_FIRST, &format!("Count to {number}"), 1_000);
        body["stream"] = json!(true);
        let request = client.post(PATH, body.to_string());
        if number % 2 == 0 {
            assert_eq!(Client::answer(request).await.status, 200);
            continue;
        }
        let mut response = request.send().await.expect("headers");
        for _ in 0..1 + number / 4 {
            let _ = response.chunk().await;
        }
        left += 1;
    }
    let charged = spent(&gateway, "all").await["settled"].as_u64().expect("a number");
    // The provider learns of it a moment later.
    let deadline = Instant::now() + Duration::from_secs(10);
    while gateway.vllm().book().totals().vanished < left && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let totals = gateway.vllm().book().totals();
    (charged, totals.billed_prompt_tokens + totals.billed_completion_tokens, totals.vanished)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_leave_are_charged_what_their_provider_charges_at_least() {
    for (on_abort, bill) in [("bills_all", Bill::All), ("stops", Bill::Stops)] {
        let (charged, billed, left) = aborts(&format!("budget-abort-{on_abort}"), on_abort, bill).await;
        println!(
            "on_abort {on_abort}: {left} of 24 left; charged {charged}, billed {billed}, difference {} ({:.1} per abort)",
            charged.saturating_sub(billed),
            charged.saturating_sub(billed) as f64 / left.max(1) as f64,
        );
        assert!(left >= 8, "too few were seen to leave: {left}");
        assert!(charged >= billed, "{on_abort}: charged {charged}, billed {billed}");
        if on_abort == "stops" {
            assert!(
                charged - billed <= 12 * (256 + 250),
                "the margin is charged, not the reservation: {charged}"
            );
        } else {
            assert!(charged >= billed + left * 600, "the whole reservation is charged: {charged}, {billed}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_and_refusals_say_what_is_left() {
    let budgets = json!([
        {"name": "calls", "limit": {"requests": 4}, "window": "month"},
        {"name": "words", "limit": {"tokens": 100_000}, "window": "day"},
    ]);
    let gateway = start("budget-headers", budgets, |_| ()).await;
    let client = gateway.client();
    // The provider's own account is not the caller's business.
    let own = vec![("x-ratelimit-remaining-requests".to_owned(), "987654".to_owned())];
    gateway.vllm().always(Behaviour { headers: own, ..Behaviour::default() });
    let number =
        |answer: &Answer, name: &str| answer.header(name).and_then(|value| value.parse::<u64>().ok());
    let mut tokens = 100_000;
    for left in [3, 2, 1, 0] {
        let mut body = question(VLLM_FIRST, "How many are left?", 50);
        body["stream"] = json!(left % 2 == 0);
        let answer = ask(&client, &[], &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(number(&answer, "x-ratelimit-limit-requests"), Some(4));
        assert_eq!(number(&answer, "x-ratelimit-remaining-requests"), Some(left));
        assert_eq!(number(&answer, "x-ratelimit-limit-tokens"), Some(100_000));
        let now = number(&answer, "x-ratelimit-remaining-tokens").expect("tokens");
        assert!(now < tokens && now > 99_000, "{now} after {tokens}");
        tokens = now + 50;
        assert!(answer.header("x-ratelimit-reset-requests").is_some_and(|reset| reset.ends_with('s')));
        let budget = answer.header("x-weir-budget").expect("the policy shows reasons");
        assert!(budget.starts_with(&format!("calls; limit=4; remaining={left}; reset=")), "{budget}");
    }
    let refused = ask(&client, &[], &question(VLLM_FIRST, "And now?", 50)).await;
    assert_eq!(error(&refused), (429, "budget_exhausted".into()));
    assert_eq!(number(&refused, "x-ratelimit-remaining-requests"), Some(0));
    assert_eq!(refused.header("x-should-retry"), Some("false"));
    assert!(refused.header("x-weir-budget").is_some_and(|budget| budget.starts_with("calls; ")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_ledger_a_lease_in_hand_is_used_up_where_the_policy_says_so() {
    const LIMIT: u64 = 200;
    let budget = |name: &str, tenant: &str, lost: &str| {
        json!({
            "name": name, "when": {"tenant": tenant}, "limit": {"requests": LIMIT}, "window": "month", "ledger_lost": lost
        })
    };
    let budgets = json!([budget("local", "acme", "allow_local"), budget("strict", "globex", "deny")]);
    let mut gateway = start("budget-lost", budgets, |_| ()).await;
    let (local, strict) = (gateway.client(), gateway.client().with_key(OTHER_KEY));
    let body = question(VLLM_FIRST, "Anybody there?", 10);
    for _ in 0..10 {
        for client in [&local, &strict] {
            assert_eq!(ask(client, &[], &body).await.status, 200);
        }
    }
    gateway.kill_control();
    tokio::time::sleep(Duration::from_millis(5_500)).await;
    let refused = ask(&strict, &[], &body).await;
    assert_eq!(error(&refused), (503, "budget_unavailable".into()));
    let mut served = 0;
    let refused = loop {
        let answer = ask(&local, &[], &body).await;
        if answer.status != 200 {
            break answer;
        }
        served += 1;
        assert!(served <= LIMIT, "more than there is");
    };
    println!("ledger lost: {served} served from the lease in hand, then {}", refused.text());
    assert!(served > 0);
    assert_eq!(error(&refused), (503, "budget_unavailable".into()));
    // The circuit is open: nobody waits for a ledger that is lost.
    let begun = Instant::now();
    assert_eq!(ask(&local, &[], &body).await.status, 503);
    assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
    gateway.start_control();
    let deadline = Instant::now() + Duration::from_secs(10);
    while ask(&local, &[], &body).await.status != 200 {
        assert!(Instant::now() < deadline, "the ledger is back, and nobody is served");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let settled = spent(&gateway, "local").await["settled"].as_u64().expect("a number");
    assert!(settled >= 10 + served && settled <= LIMIT, "{settled}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nothing_bounds_is_refused_under_a_hard_budget() {
    let budget = |name: &str, tenant: &str| json!({"name": name, "when": {"tenant": tenant}, "limit": {"usd": 100}, "window": "month"});
    let mut open = budget("open", "globex");
    open["unbounded"] = json!("allow");
    let gateway = start("budget-unbounded", json!([budget("strict", "acme"), open]), |policy| {
        policy["providers"][0]["kind"] = json!("openai");
    })
    .await;
    let mut body = question(VLLM_FIRST, "What is new?", 50);
    // Paid by the search, at a price that no policy has.
    body["web_search_options"] = json!({});
    let refused = ask(&gateway.client(), &[], &body).await;
    assert_eq!(error(&refused), (400, "unboundable".into()), "{}", refused.text());
    assert_eq!(refused.json()["error"]["param"], "web_search_options");
    let allowed = ask(&gateway.client().with_key(OTHER_KEY), &[], &body).await;
    assert_eq!(allowed.status, 200, "{}", allowed.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_reserved_ahead_ends_as_if_it_ran_into_its_ceiling() {
    const LIMIT: u64 = 2_000;
    let budgets =
        json!([{"name": "ahead", "limit": {"tokens": LIMIT}, "window": "month", "reserve": "progressive"}]);
    let gateway =
        start("budget-ahead", budgets, |policy| policy["providers"][0]["on_abort"] = json!("stops")).await;
    let long = Behaviour {
        token_us: Some(1_500),
        reply_tokens: Some(4_000),
        bill: Some(Bill::Stops),
        ..Behaviour::default()
    };
    gateway.vllm().always(long);
    // Far more than there is: reserved in full it would be refused.
    let mut body = question(VLLM_FIRST, "Tell me everything.", 50_000);
    body["stream"] = json!(true);
    body["stream_options"] = json!({"include_usage": true});
    let mut response = gateway.client().post(PATH, body.to_string()).send().await.expect("headers");
    assert_eq!(response.status(), 200);
    let mut text = Vec::new();
    while let Ok(Some(piece)) = response.chunk().await {
        text.extend_from_slice(&piece);
    }
    let text = String::from_utf8(text).expect("whole characters");
    let events: Vec<&str> = text.split("\n\n").filter(|event| !event.is_empty()).collect();
    let chunk = |at: usize| -> Value {
        serde_json::from_str(events[at].strip_prefix("data: ").expect("data")).expect("JSON")
    };
    assert_eq!(events.last(), Some(&"data: [DONE]"), "{}", &text[text.len().saturating_sub(600)..]);
    let usage = chunk(events.len() - 2)["usage"].clone();
    assert_eq!(chunk(events.len() - 3)["choices"][0]["finish_reason"], "length");
    let counter = spent(&gateway, "ahead").await;
    let deadline = Instant::now() + Duration::from_secs(10);
    while gateway.vllm().book().totals().vanished < 1 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (billed, settled) = (billed(&gateway), counter["settled"].as_u64().expect("a number"));
    println!("progressive: told {usage}, billed {billed}, settled {settled} of {LIMIT}");
    assert_eq!(gateway.vllm().book().totals().vanished, 1, "the provider was cut off");
    assert!(settled >= billed, "charged {settled}, billed {billed}");
    assert!((LIMIT / 2..=LIMIT + 256).contains(&billed), "{billed} of {LIMIT}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_openai_sdk_sends_one_request_when_a_long_window_is_spent() {
    let budgets = json!([{"name": "spent", "limit": {"tokens": 10}, "window": "month"}]);
    let gateway = start("budget-sdk", budgets, |_| ()).await;
    let script = weir_tests::harness::paths::repo_root().join("tests/sdk/openai_spent.py");
    let mut python = tokio::process::Command::new(weir_tests::harness::paths::python());
    python.arg(script).args([
        &format!("http://127.0.0.1:{}/v1", gateway.ports.gateway),
        crate::policy::KEY,
        VLLM_FIRST,
    ]);
    let output = python.output().await.expect("python starts");
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("ok one request\n"), "{text}");
    assert_eq!(gateway.vllm().book().totals().requests, 0);
}
