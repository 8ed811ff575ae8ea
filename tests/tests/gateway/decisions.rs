//! The decision log, end to end: what `weir why` says of a refused, a redacted, a failed-over and a streamed request;
//! that nothing is served without a record where the policy says so; and that a changed log is found out.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use weir_tests::harness::{Answer, Folder, paths};

use crate::chat::{chat, said};
use crate::policy::{OTHER_KEY, VLLM_FIRST};
use crate::setup::Gateway;

async fn start(name: &str, on_failure: &str, workers: u32) -> (Gateway, Folder, PathBuf) {
    let folder = Folder::new(&format!("{name}-log"));
    let log = folder.join("why.log");
    let gateway = Gateway::with(name, |plan, _| {
        plan.concurrency = workers;
        plan.policy["telemetry"] =
            json!({"decisions": {"file": log, "when": {"tenant": "acme"}, "on_failure": on_failure}});
        plan.policy["redaction"] = json!([{"name": "mail", "find": ["email"], "do": "tokenize"}]);
        plan.policy["budgets"] = json!([{"name": "day", "limit": {"tokens": "1M"}, "window": "day"}]);
    })
    .await;
    (gateway, folder, log)
}

fn weir(gateway: &Gateway, arguments: &[&str]) -> (bool, String) {
    let api = format!("127.0.0.1:{}", gateway.api_port());
    let mut command = Command::new(paths::control_plane());
    command.args(arguments).args(["--api", &api]);
    let Output { status, stdout, stderr } = command.output().expect("weir runs");
    (status.success(), [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat())
}

/// `weir why` of an answer, once its record is there.
async fn why(gateway: &Gateway, answer: &Answer) -> String {
    let id = answer.header("x-weir-request-id").expect("an id").to_owned();
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let (found, told) = weir(gateway, &["why", &id]);
        if found {
            assert!(told.contains(&id), "{told}");
            return told;
        }
        assert!(Instant::now() < deadline, "{told}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn line<'a>(told: &'a str, name: &str) -> &'a str {
    told.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name} in {told}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn why_tells_what_became_of_each_request_and_why() {
    let (gateway, _folder, log) = start("why", "deny", 2).await;
    let client = gateway.client();
    let version =
        gateway.api("/api/status").await["policy"]["version"].as_str().unwrap_or_default().to_owned();

    let refused = client.chat(chat("no-such-model", "Hello", false).to_string()).await;
    assert_eq!(refused.status, 404, "{}", refused.text());
    let told = why(&gateway, &refused).await;
    assert!(line(&told, "ending").contains("status 404, model_not_found (route)"), "{told}");
    assert!(line(&told, "policy").contains(&version), "{told}");

    let redacted = client.chat(chat(VLLM_FIRST, "Write to jane@example.org", false).to_string()).await;
    assert_eq!(redacted.status, 200, "{}", redacted.text());
    let told = why(&gateway, &redacted).await;
    assert_eq!(line(&told, "identity"), "identity   tenant acme, key acme-web");
    assert_eq!(line(&told, "redaction"), "redaction  found email 1");
    assert_eq!(line(&told, "route"), "route      asked vllm-first, model vllm-first, by no route");
    assert_eq!(line(&told, "try"), "try        1. gpu-pool openai/gpt-oss-20b: 200");
    let usage = redacted.json()["usage"]["total_tokens"].as_u64().expect("usage");
    assert!(line(&told, "budget").ends_with(&format!(" tokens held, {usage} settled")), "{told}");

    let failed_over = client.chat(chat("dead-vllm-first", "Hello", false).to_string()).await;
    assert_eq!(failed_over.status, 200, "{}", failed_over.text());
    let told = why(&gateway, &failed_over).await;
    assert!(told.contains("1. dead-pool openai/gpt-oss-20b: no answer"), "{told}");
    assert!(told.contains("2. bedrock us.anthropic.claude-sonnet-4-5-20250929-v1:0: 200"), "{told}");
    assert!(
        line(&told, "rewrite").contains("model us.anthropic.claude-sonnet-4-5-20250929-v1:0 at bedrock"),
        "{told}"
    );

    let streamed = client.chat(chat(VLLM_FIRST, "Tell me", true).to_string()).await;
    let text = said(&streamed, true).expect("a whole stream");
    let told = why(&gateway, &streamed).await;
    assert_eq!(line(&told, "ending"), "ending     status 200, finished by stop");
    assert!(line(&told, "usage").contains(&format!(" {} out (provider)", text.completion_tokens)), "{told}");
    // The trace's own id finds it too.
    let trace = line(&told, "trace").split_whitespace().nth(1).expect("an id").to_owned();
    assert!(weir(&gateway, &["why", &trace]).0);

    // Another tenant's requests are not of those that the policy names.
    let other = gateway.client().with_key(OTHER_KEY).chat(chat(VLLM_FIRST, "Hello", false).to_string()).await;
    assert_eq!(other.status, 200);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (found, told) = weir(&gateway, &["why", other.header("x-weir-request-id").expect("an id")]);
    assert!(!found && told.contains("no request"), "{told}");

    // Nothing of what was said is in it, and it is as it was written.
    let bytes = std::fs::read(&log).expect("the log");
    let whole = String::from_utf8_lossy(&bytes).into_owned();
    assert!(!whole.contains("jane") && !whole.contains("Hello") && !whole.contains(&text.text), "{whole}");
    let (good, told) = weir(&gateway, &["why", "--verify"]);
    assert!(good && told.contains("records 1 to 4 are as they were written"), "{told}");
    // Any byte: here one in the midst of the second record.
    let starts: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] == b'\n').map(|at| at + 1).collect();
    let at = (starts[1] + starts[2]) / 2;
    let mut bad = bytes.clone();
    bad[at] ^= 1;
    std::fs::write(&log, bad).expect("the log");
    let (good, told) = weir(&gateway, &["why", "--verify"]);
    assert!(!good && told.contains("(record 2)"), "{told}");
    assert!(told.contains(&format!("bytes {} to {}", starts[1], starts[2])), "{told}");
    let (good, _) = weir(&gateway, &["why", "--verify", "--file", &log.to_string_lossy()]);
    assert!(!good, "without the control plane too");
    std::fs::write(&log, bytes).expect("the log");
    assert!(weir(&gateway, &["why", "--verify"]).0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_outlive_a_control_plane_that_is_away_and_none_comes_twice() {
    let (mut gateway, _folder, log) = start("why-away", "deny", 2).await;
    let client = gateway.client();
    let first = client.chat(chat(VLLM_FIRST, "Hello", false).to_string()).await;
    assert_eq!(first.status, 200, "{}", first.text());
    why(&gateway, &first).await;
    gateway.kill_control();
    let mut ids = vec![first.header("x-weir-request-id").expect("an id").to_owned()];
    for _ in 0..20 {
        // Budgets are admitted from the lease at hand, or not for a while: either is an answer with a record.
        let answer = client.chat(chat(VLLM_FIRST, "Hello", false).to_string()).await;
        ids.push(answer.header("x-weir-request-id").expect("an id").to_owned());
    }
    gateway.start_control();
    // Each worker sends its own records when it comes to know that the log is back.
    let deadline = Instant::now() + Duration::from_secs(20);
    for id in &ids {
        while !weir(&gateway, &["why", id]).0 {
            assert!(Instant::now() < deadline, "the record of {id} never came");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    // A batch whose acknowledgement was lost would be here again by now.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let text = std::fs::read_to_string(&log).expect("the log");
    for id in &ids {
        assert_eq!(text.matches(id.as_str()).count(), 1, "{id}");
    }
    assert!(weir(&gateway, &["why", "--verify"]).0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_is_full_refuses_or_drops_as_the_policy_says() {
    for (name, on_failure) in [("why-full", "deny"), ("why-drop", "pass")] {
        let (mut gateway, _folder, _) = start(name, on_failure, 1).await;
        let mut policy = gateway.policy.clone();
        // Refusals are the cheapest records, and no ledger is needed for what follows.
        policy["budgets"] = json!([]);
        gateway.change(policy).await;
        gateway.kill_control();
        // Four megabytes a worker are some five thousand of such records.
        let name = "n".repeat(300);
        let body = chat(&name, "Hello", false).to_string();
        let full = |answer: &Answer| {
            answer.status == 503 && answer.json()["error"]["code"] == "decisions_unavailable"
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..16 {
            let (client, body) = (gateway.client(), body.clone());
            tasks.spawn(async move {
                for _ in 0..600 {
                    client.chat(body.clone()).await;
                }
            });
        }
        while tasks.join_next().await.is_some() {}
        assert!(Instant::now() < deadline, "it takes too long");
        let mut refused = 0;
        for _ in 0..16 {
            let answer = gateway.client().chat(chat(VLLM_FIRST, "Hello", false).to_string()).await;
            refused += usize::from(full(&answer));
            assert!(full(&answer) || answer.status == 200, "{}: {}", answer.status, answer.text());
        }
        assert_eq!(refused > 0, on_failure == "deny", "{name}: {refused} of 16 refused");
        gateway.envoy.wait_for_stat("weir_decisions_dropped_total", 1).await;
        // Once the log is back, all is well again.
        gateway.start_control();
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let mut served = 0;
            for _ in 0..8 {
                let answer = gateway.client().chat(chat(VLLM_FIRST, "Hello", false).to_string()).await;
                served += usize::from(answer.status == 200);
            }
            if served == 8 {
                break;
            }
            assert!(Instant::now() < deadline, "requests are still refused");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let whole: Value = gateway
            .wait_for("/api/decisions/verify", "the log is whole", |told| {
                told["records"].as_u64() > Some(1_000)
            })
            .await;
        assert!(whole["wrong"].is_null(), "{whole}");
    }
}
