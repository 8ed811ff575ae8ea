//! Providers that have too much to do: a throttling target is left alone by all workers, repeats at one provider are a
//! share of what is in flight, and a prompt that is too long goes on to a larger window.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;
use weir_tests::harness::{Answer, Client};
use weir_tests::sim::{Behaviour, Fault, Order, Rule, Server};

use crate::anthropic::{VLLM, start};
use crate::chat::{chat, said};
use crate::policy::{KEY, VLLM_FIRST};

fn rule(server: &Server, mark: &str, times: Option<u32>, behaviour: Behaviour) {
    let rule = Rule { contains: mark.into(), times, behaviour };
    server.order(Order { rules: vec![rule], ..Order::default() });
}

fn seen(server: &Server, mark: &str) -> usize {
    let marked = |body: &Option<String>| body.as_ref().is_some_and(|body| body.contains(mark));
    server.book().records().iter().filter(|record| marked(&record.body)).count()
}

fn target(answer: &Answer) -> String {
    answer.header("x-weir-target").unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_throttling_target_is_left_alone_by_every_worker_for_as_long_as_it_asks() {
    let (gateway, claude) = start("throttle", |plan| plan.policy["retry"]["tries"] = json!(2)).await;
    let slow_down = |wait: &str| {
        let retry_after = Some(wait.to_owned());
        Behaviour::fault(Fault::Status { code: 429, retry_after, error_type: None, message: None })
    };
    rule(gateway.vllm(), "throttle.", Some(1), slow_down("4"));
    let begun = Instant::now();
    let answer = gateway.client().chat(chat(VLLM_FIRST, "throttle.", false).to_string()).await;
    assert!(said(&answer, false).is_ok(), "{}", answer.text());
    assert!(target(&answer).starts_with("bedrock:") && target(&answer).ends_with("attempt 2"), "{answer:?}");
    // A connection for each, so that both workers are asked.
    for number in 0..16 {
        let body = chat(VLLM_FIRST, &format!("After the throttle, {number}."), number % 2 == 0);
        let answer = gateway.client().chat(body.to_string()).await;
        assert!(said(&answer, number % 2 == 0).is_ok(), "{}", answer.text());
        assert!(
            target(&answer).starts_with("bedrock:") && target(&answer).ends_with("attempt 1"),
            "{answer:?}"
        );
    }
    // Where nobody else can answer the client waits as long, in its own dialect.
    for path in ["/v1/chat/completions", "/v1/messages"] {
        let body = json!({"model": VLLM, "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]});
        let post = gateway.client().post(path, body.to_string()).header("x-api-key", KEY);
        let answer = Client::answer(post).await;
        assert_eq!(answer.status, 429, "{}", answer.text());
        assert!(
            answer.json()["error"]["message"].as_str().is_some_and(|m| m.contains("pause")),
            "{answer:?}"
        );
        let wait: u64 = answer.header("retry-after").and_then(|wait| wait.parse().ok()).expect("a number");
        assert!((1..=4).contains(&wait), "{wait}");
    }
    assert_eq!(seen(gateway.vllm(), "After the throttle"), 0);
    assert!(begun.elapsed() < Duration::from_secs(4), "too slow a machine to tell");
    tokio::time::sleep(Duration::from_millis(4_050).saturating_sub(begun.elapsed())).await;
    let answer = gateway.client().chat(chat(VLLM, "Again.", false).to_string()).await;
    assert!(said(&answer, false).is_ok(), "{}", answer.text());
    // What asks for a pause is not asked again at once, and the client reads how long.
    rule(gateway.vllm(), "once.", Some(1), slow_down("1"));
    let answer = gateway.client().chat(chat(VLLM, "once.", false).to_string()).await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("1")), "{}", answer.text());
    assert_eq!(answer.header("x-envoy-ratelimited"), None);
    assert_eq!(seen(gateway.vllm(), "once."), 1);
    assert_eq!(claude.book().totals().requests, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeats_are_a_share_of_what_is_in_flight_and_prompts_find_a_larger_window() {
    let (gateway, claude) = start("repeats", |plan| {
        plan.policy["retry"]["tries"] = json!(2);
        plan.policy["retry"]["budget"] = json!("20%");
        plan.policy["retry"]["first_byte"] = json!("2s");
        let on = |provider: &str, model: &str, context: u64, priority: u32| {
            json!({
                "provider": provider, "model": model, "context": context, "priority": priority,
                "price": {"input": 1, "output": 1},
            })
        };
        let vllm = |context, priority| on("gpu-pool", "openai/gpt-oss-20b", context, priority);
        let claude = |context, priority| on("claude", "claude-sonnet-4-5", context, priority);
        let bedrock = |context, priority| {
            on("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", context, priority)
        };
        let models = [
            json!({"name": "grow-vllm", "targets": [vllm(8_000, 0), bedrock(131_072, 1)]}),
            json!({"name": "grow-bedrock", "targets": [bedrock(8_000, 0), claude(131_072, 1)]}),
            json!({"name": "grow-claude", "targets": [claude(8_000, 0), vllm(131_072, 1)]}),
            json!({"name": "no-larger", "targets": [vllm(8_000, 0), bedrock(8_000, 1)]}),
        ];
        for tenant in plan.policy["tenants"].as_array_mut().expect("a list") {
            let names = models.iter().map(|model| model["name"].clone());
            tenant["models"].as_array_mut().expect("a list").extend(names);
        }
        plan.policy["models"].as_array_mut().expect("a list").extend(models);
    })
    .await;
    // A try lasts until its first byte is given up.
    const LASTS: u64 = 2_000;
    let failing = Behaviour::fault(Fault::SilenceAfterHeaders { ms: None });
    rule(gateway.vllm(), "crowd", None, failing);
    let crowd = |model: &'static str| {
        let mut running = JoinSet::new();
        for number in 0..20 {
            let client = gateway.client();
            let body = chat(model, &format!("{model} crowd {number}."), true).to_string();
            running.spawn(async move { client.chat(body).await });
        }
        running
    };
    let (mut told, mut failed) = (0, 0);
    for answer in crowd(VLLM).join_all().await {
        match (answer.status, answer.json()["error"]["code"].as_str()) {
            (503, Some("retry_budget")) => told += 1,
            (500.., _) => failed += 1,
            _ => panic!("{}", answer.text()),
        }
    }
    // Whose prompt was seen before is a repeat; it lasts until its error comes.
    let (mut prompts, mut repeats) = (HashSet::new(), Vec::new());
    for record in gateway.vllm().book().records() {
        if !prompts.insert(record.body) {
            repeats.push(record.at_us / 1000);
        }
    }
    assert!(told > 0 && !repeats.is_empty() && failed == repeats.len() && told + failed == 20, "{repeats:?}");
    for at in &repeats {
        let beside = repeats.iter().filter(|other| (at.saturating_sub(LASTS - 50)..=*at).contains(other));
        assert!(beside.count() <= 4, "more than a fifth of twenty at once: {repeats:?}");
    }
    // Another provider is exempt.
    for answer in crowd(VLLM_FIRST).join_all().await {
        assert!(said(&answer, true).is_ok_and(|said| said.done), "{}", answer.text());
    }

    for (model, first) in
        [("grow-vllm", gateway.vllm()), ("grow-bedrock", &gateway.bedrock), ("grow-claude", &claude)]
    {
        for path in ["/v1/chat/completions", "/v1/messages"] {
            for stream in [false, true] {
                let mark = format!("long for {model} {path} {stream}.");
                rule(first, &mark, Some(1), Behaviour::fault(Fault::ContextLength));
                let body = json!({
                    "model": model, "max_tokens": 50, "stream": stream,
                    "messages": [{"role": "user", "content": mark}],
                });
                let post = gateway.client().post(path, body.to_string()).header("x-api-key", KEY);
                let answer = Client::answer(post).await;
                let case = format!("{mark} {} {}", target(&answer), answer.text());
                assert_eq!(answer.status, 200, "{case}");
                assert!(target(&answer).ends_with("attempt 2"), "{case}");
                let book = first.book().records();
                let refused = book.iter().find(|r| r.body.as_ref().is_some_and(|b| b.contains(&mark)));
                let refused = refused.expect("it was asked");
                assert_eq!((refused.status, refused.billed_prompt_tokens), (400, 0), "{case}");
            }
        }
    }
    rule(gateway.vllm(), "nowhere larger.", Some(1), Behaviour::fault(Fault::ContextLength));
    let answer = gateway.client().chat(chat("no-larger", "nowhere larger.", false).to_string()).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    let said: Value = answer.json();
    assert!(said["error"]["message"].as_str().is_some_and(|m| m.contains("context")), "{said}");
    assert_eq!(seen(&gateway.bedrock, "nowhere larger."), 0);
}
