//! Copies of requests: they go beside the request, cost what they cost, and nothing of them is anybody's to wait for.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use weir_tests::harness::{Client, Collector};
use weir_tests::sim::{Behaviour, Fault, Order, Record, Rule};

use crate::chat::{chat, said};
use crate::policy::{BEDROCK_FIRST, KEY, VLLM_FIRST, VLLM_KEY};
use crate::setup::Gateway;

const CLAUDE: &str = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";

fn sum(rows: &Value, field: &str) -> u64 {
    rows.as_array().into_iter().flatten().map(|row| row[field].as_u64().unwrap_or(0)).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_is_charged_and_marked_and_neither_slows_nor_fails_the_request() {
    let collector = Collector::start().await;
    let port = collector.port();
    let gateway = Gateway::with("mirror", |plan, _| {
        plan.policy["telemetry"] = json!({"otlp": format!("http://127.0.0.1:{port}"), "sample": "100%"});
        plan.policy["budgets"] =
            json!([{"name": "all", "when": {"tenant": "acme"}, "limit": {"tokens": 10_000_000}, "window": "month"}]);
        plan.policy["boundaries"] =
            json!([{"name": "globex-stays", "when": {"tenant": "globex"}, "providers": ["gpu-pool", "dead-pool"]}]);
        plan.policy["routes"] = json!([
            {"name": "try-claude", "when": {"model": VLLM_FIRST}, "use": {"model": VLLM_FIRST, "mirror": {
                "provider": "bedrock", "model": CLAUDE, "percent": 100}}},
            {"name": "try-oss", "when": {"model": BEDROCK_FIRST}, "use": {"model": BEDROCK_FIRST, "mirror": {
                "provider": "gpu-pool", "model": "openai/gpt-oss-20b", "percent": 100}}},
        ]);
    })
    .await;
    let mut asked = 0;
    for (model, by) in [(VLLM_FIRST, "gpu-pool:"), (BEDROCK_FIRST, "bedrock:")] {
        for stream in [false, true] {
            let mut body = chat(model, &format!("Copy me, {model} {stream}."), stream);
            body["max_tokens"] = json!(64);
            let answer = gateway.client().chat(body.to_string()).await;
            assert!(said(&answer, stream).is_ok(), "{}", answer.text());
            assert!(
                answer.header("x-weir-target").is_some_and(|target| target.starts_with(by)),
                "{answer:?}"
            );
            asked += 1;
        }
    }
    let whole = |server: &weir_tests::sim::Server| server.book().totals().answered == asked;
    let deadline = Instant::now() + Duration::from_secs(20);
    while !(whole(gateway.vllm()) && whole(&gateway.bedrock)) {
        assert!(Instant::now() < deadline, "each provider is asked {asked} times: {}", gateway.envoy.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let records: Vec<Record> =
        [gateway.vllm(), &gateway.bedrock].into_iter().flat_map(|server| server.book().records()).collect();
    for record in &records {
        assert_eq!((record.status, record.problems.as_slice()), (200, &[][..]), "{record:?}");
        for (name, value) in &record.headers {
            let own = value.contains(VLLM_KEY) && record.model.as_deref() == Some("openai/gpt-oss-20b");
            assert!(!name.starts_with("x-weir") && !name.starts_with("x-envoy"), "{name}: {value}");
            assert!(
                own || ![KEY, VLLM_KEY].contains(&value.trim_start_matches("Bearer ")),
                "{name}: {value}"
            );
            assert!(!value.contains("-shadow"), "{name}: {value}");
        }
    }
    let books = [gateway.vllm().book().totals(), gateway.bedrock.book().totals()];
    let billed: u64 = books.iter().map(|b| b.billed_prompt_tokens + b.billed_completion_tokens).sum();

    // The books: copies are told apart, and every token that was billed is settled once.
    let all = |said: &Value| sum(&said["rows"], "requests") == 2 * asked;
    let spend = gateway.wait_for("/api/spend?by=label:mirror", "all records are there", all).await;
    let rows = spend["rows"].as_array().expect("rows");
    let copies: u64 = rows
        .iter()
        .filter(|row| row["label:mirror"] == "true")
        .filter_map(|row| row["requests"].as_u64())
        .sum();
    assert_eq!(copies, asked, "{spend}");
    assert_eq!(sum(&spend["rows"], "input_tokens") + sum(&spend["rows"], "output_tokens"), billed, "{spend}");
    let settled = |said: &Value| {
        said["counters"].as_array().is_some_and(|all| all.iter().any(|one| one["settled"] == billed))
    };
    gateway.wait_for("/api/spend?budget=all&by=key", "the budget has it all", settled).await;
    // The spans: a copy's is marked, and a child of its request's.
    let spans = collector.wait(3 * asked as usize, |_| true).await;
    let copies: Vec<_> = spans.iter().filter(|span| span.get("weir.mirror") == "true").collect();
    assert_eq!(copies.len() as u64, asked, "{spans:#?}");
    for copy in copies {
        let parent =
            spans.iter().find(|span| span.span_id() == copy.parent_id()).expect("its request's span");
        assert_eq!(parent.get("weir.request.id"), copy.get("weir.request.id"));
        assert!(parent.get("weir.mirror").is_null());
    }

    // A copy that fails, or hangs, is nobody's business.
    for fault in [Fault::ResetBeforeHeaders, Fault::StallBeforeHeaders { ms: Some(3_000) }] {
        let rule =
            Rule { contains: "quickly".into(), times: None, behaviour: Behaviour::fault(fault.clone()) };
        gateway.bedrock.order(Order { clear: true, rules: vec![rule], ..Order::default() });
        let begun = Instant::now();
        let answer = gateway.client().chat(chat(VLLM_FIRST, "Answer quickly.", false).to_string()).await;
        assert!(said(&answer, false).is_ok(), "{fault:?}: {}", answer.text());
        assert!(begun.elapsed() < Duration::from_millis(2_500), "{fault:?}: {:?}", begun.elapsed());
    }
    // The last one hangs for three seconds and is in the book after them; a second try of it would be too.
    let deadline = Instant::now() + Duration::from_secs(20);
    let copies = || {
        let tries = gateway.bedrock.book().records();
        tries.iter().filter(|r| r.body.as_ref().is_some_and(|b| b.contains("quickly"))).count()
    };
    while copies() < 2 {
        assert!(Instant::now() < deadline, "a copy was not asked for");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(copies(), 2, "a copy is tried once");
    // Another tenant's requests may not leave a boundary, nor may their copies.
    gateway.bedrock.book().clear();
    let other = Client::new(gateway.ports.gateway, crate::policy::OTHER_KEY);
    let answer = other.chat(chat(VLLM_FIRST, "Stay at home.", false).to_string()).await;
    assert!(said(&answer, false).is_ok(), "{}", answer.text());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(gateway.bedrock.book().totals().requests, 0);
}
