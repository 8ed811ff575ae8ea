//! Whose spend it is, and what operators do to budgets while everything runs: over the API, and by the command line.

use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};
use weir_tests::harness::paths;

use crate::chat::chat;
use crate::policy::{BEDROCK_FIRST, VLLM_FIRST};
use crate::setup::Gateway;

async fn start(name: &str, limit: u64) -> Gateway {
    Gateway::with(name, |plan, _| {
        plan.policy["telemetry"] = json!({"labels": ["team"]});
        plan.policy["tenants"][0]["labels"] = json!({"team": "support"});
        plan.policy["budgets"] = json!([
            {"name": "small", "when": {"tenant": "acme"}, "limit": {"tokens": limit}, "window": "month"},
            {"name": "each", "each": ["key"], "limit": {"requests": 1_000, "usd": 5}, "window": "day"},
        ]);
    })
    .await
}

async fn ask(gateway: &Gateway, model: &str, number: usize) -> u16 {
    let mut body = chat(model, &format!("Question {number} of a few."), number.is_multiple_of(2));
    body["max_tokens"] = json!(64);
    gateway.client().chat(body.to_string()).await.status
}

/// Runs the command line against the gateway's control plane.
fn weir(gateway: &Gateway, arguments: &[&str]) -> (bool, String) {
    let api = format!("127.0.0.1:{}", gateway.api_port());
    let mut command = Command::new(paths::control_plane());
    command.args(arguments).args(["--api", &api]).env("USER", "olivia");
    for name in ["WEIR_API_TOKEN", "WEIR_API_TOKEN_FILE", "WEIR_NODE"] {
        command.env_remove(name);
    }
    let Output { status, stdout, stderr } = command.output().expect("weir runs");
    let said = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (status.success(), said)
}

fn ok(gateway: &Gateway, arguments: &[&str]) -> String {
    let (done, said) = weir(gateway, arguments);
    assert!(done, "weir {arguments:?}: {said}");
    said
}

fn sum(rows: &Value, field: &str) -> u64 {
    rows.as_array().into_iter().flatten().map(|row| row[field].as_u64().unwrap_or(0)).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_unit_that_is_settled_is_somebodys() {
    let gateway = start("spend-whose", 1_000_000).await;
    for number in 0..12 {
        let model = if number % 3 == 0 { BEDROCK_FIRST } else { VLLM_FIRST };
        assert_eq!(ask(&gateway, model, number).await, 200);
    }
    let books = [gateway.vllm().book().totals(), gateway.bedrock.book().totals()];
    let input: u64 = books.iter().map(|book| book.billed_prompt_tokens).sum();
    let output: u64 = books.iter().map(|book| book.billed_completion_tokens).sum();
    let all = |said: &Value| sum(&said["rows"], "requests") == 12;
    let by_model = gateway.wait_for("/api/spend?by=model", "all records are there", all).await;
    assert_eq!(sum(&by_model["rows"], "input_tokens"), input, "{by_model}");
    assert_eq!(sum(&by_model["rows"], "output_tokens"), output, "{by_model}");
    let of = |said: &Value, field: &str, value: &str| {
        said["rows"].as_array().and_then(|rows| rows.iter().find(|row| row[field] == value)).cloned()
    };
    assert_eq!(of(&by_model, "model", BEDROCK_FIRST).expect("a row")["requests"], 4);
    let by_team = gateway.api("/api/spend?by=label:team,tenant,provider").await;
    let row = of(&by_team, "label:team", "support").expect("a row");
    assert_eq!((&row["tenant"], by_team["rows"].as_array().map(Vec::len)), (&json!("acme"), Some(2)));

    // Per budget the rows explain what the ledger has settled, to the unit.
    let explained = |said: &Value| {
        let all = said["counters"].as_array();
        all.is_some_and(|all| {
            all.len() == 1 && all[0]["settled"] == input + output && all[0]["unattributed"] == 0
        })
    };
    let said = gateway.wait_for("/api/spend?budget=small&by=key", "nothing is unattributed", explained).await;
    assert_eq!(said["counters"][0]["rows"], json!([{"key": "acme-web", "settled": input + output}]));

    // Each was admitted from the lease at hand, or waited for the ledger; a few had to, the first of each worker first.
    gateway.envoy.wait_for_stat("weir_admit_", 12).await;
    let admitted = gateway.envoy.stats("weir_admit_").await;
    let of_kind = |kind: &str| admitted.iter().filter(|(name, _)| name.contains(kind)).map(|(_, n)| n).sum();
    let kinds: [u64; 3] = ["local", "waited", "refused"].map(of_kind);
    assert_eq!((kinds[0] + kinds[1], kinds[2]), (12, 0), "{admitted:?}");
    assert!(kinds[1] >= 1, "{admitted:?}");

    let told = ok(&gateway, &["spend"]);
    assert!(told.contains("SETTLED") && told.contains("small") && told.contains("acme-web"), "{told}");
    let told = ok(&gateway, &["spend", "--by", "model"]);
    assert!(told.contains(VLLM_FIRST) && told.contains("REQUESTS"), "{told}");
    let told = ok(&gateway, &["spend", "--budget", "each", "--by", "tenant"]);
    assert!(told.contains("12 requests settled of 1,000") && told.contains("usd settled of 5"), "{told}");
    let told: Value = serde_json::from_str(&ok(&gateway, &["spend", "--json"])).expect("JSON");
    assert_eq!(told["counters"].as_array().map(Vec::len), Some(3));
    let (done, said) = weir(&gateway, &["spend", "--budget", "smal"]);
    assert!(!done && said.contains("`small`") && said.contains("`each`"), "{said}");
    let (done, said) = weir(&gateway, &["spend", "--by", "colour"]);
    assert!(!done && said.contains("label:NAME"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_raised_limit_opens_a_spent_budget_and_is_in_the_audit() {
    let gateway = start("spend-raise", 1_000).await;
    let mut number = 0;
    while ask(&gateway, VLLM_FIRST, number).await == 200 {
        number += 1;
        assert!(number < 100, "a thousand tokens do not last so long");
    }
    let (done, said) = weir(&gateway, &["budget", "override", "each", "--add", "1"]);
    assert!(!done && said.contains("requests and usd"), "{said}");
    let (done, said) =
        weir(&gateway, &["budget", "override", "small", "--add", "5k", "--until", "yesterday"]);
    assert!(!done && said.contains("2h"), "{said}");
    let said = ok(&gateway, &["budget", "override", "small", "--add", "5k", "--until", "2h"]);
    assert!(said.contains("5,000 tokens more until"), "{said}");
    let raised = |said: &Value| {
        said["counters"].as_array().is_some_and(|all| all.iter().any(|one| one["limit"] == 6_000))
    };
    gateway.wait_for("/api/spend", "the limit is raised", raised).await;
    let deadline = std::time::Instant::now() + Duration::from_secs(5);
    while ask(&gateway, VLLM_FIRST, number).await != 200 {
        assert!(std::time::Instant::now() < deadline, "the raised limit admits nobody");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let list = ok(&gateway, &["budget", "list"]);
    assert!(list.contains("small") && list.contains("5,000 tokens more until"), "{list}");
    ok(&gateway, &["budget", "override", "small", "--add", "0"]);
    // What the gateway has in hand goes home first.
    let deadline = std::time::Instant::now() + Duration::from_secs(5);
    while ask(&gateway, VLLM_FIRST, number).await != 429 {
        assert!(std::time::Instant::now() < deadline, "the policy's limit is not in force again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let audit = ok(&gateway, &["budget", "audit"]);
    assert!(audit.contains("olivia@") && audit.contains("from 127.0.0.1"), "{audit}");
    assert!(audit.contains("add 5000 tokens until") && audit.contains("override ended"), "{audit}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_gateway_leaves_nothing_behind_and_a_killed_one_what_operators_release() {
    let mut gateway = start("spend-drain", 1_000_000).await;
    for number in 0..4 {
        assert_eq!(ask(&gateway, VLLM_FIRST, number).await, 200);
    }
    let before = gateway.api("/api/sessions").await;
    assert_eq!(before["sessions"][0]["node"], "gateway-1", "{before}");
    let (done, said) = weir(&gateway, &["drain"]);
    assert!(!done && said.contains("--node"), "{said}");
    assert!(ok(&gateway, &["drain", "--node", "another"]).contains("no such gateway"));
    let said = ok(&gateway, &["drain", "--node", "gateway-1", "--timeout", "20s"]);
    assert!(said.contains("drained in"), "{said}");
    let spend = gateway.api("/api/spend").await;
    for counter in spend["counters"].as_array().expect("counters") {
        assert_eq!(
            (&counter["leased"], &counter["held"], &counter["stranded"]),
            (&json!(0), &json!(0), &json!(0))
        );
        assert!(counter["settled"].as_u64() > Some(0), "{counter}");
    }
    // A new process life of the same node holds something, and dies with it.
    gateway.restart_envoy().await;
    for number in 0..4 {
        assert_eq!(ask(&gateway, VLLM_FIRST, number).await, 200);
    }
    let holds = |said: &Value| {
        said["counters"].as_array().is_some_and(|all| all.iter().any(|one| one["leased"].as_u64() > Some(0)))
    };
    gateway.wait_for("/api/spend", "the gateway holds units ahead", holds).await;
    gateway.kill_envoy().await;
    let stranded = |said: &Value| {
        said["counters"]
            .as_array()
            .is_some_and(|all| all.iter().any(|one| one["stranded"].as_u64() > Some(0)))
    };
    gateway.wait_for("/api/spend", "what it held is stranded", stranded).await;
    for budget in ["small", "each"] {
        ok(&gateway, &["budget", "release-stranded", budget]);
    }
    let none = |said: &Value| {
        said["counters"].as_array().is_some_and(|all| all.iter().all(|one| one["stranded"] == 0))
    };
    gateway.wait_for("/api/spend", "it is given free", none).await;
    assert!(ok(&gateway, &["budget", "audit"]).contains("stranded units, budget small"));
}
