//! What runs is changed while it runs: policies, the control plane itself, the module. Load beside it never fails.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use weir_tests::harness::{Answer, Client, paths};
use weir_tests::sim::Behaviour;

use crate::chat::chat;
use crate::load::Load;
use crate::policy::{BEDROCK_FIRST, KEY, OTHER_KEY, VLLM_FIRST};
use crate::setup::Gateway;

const CHANGES: usize = 200;

/// A key of a tenant under no budget, and its digest.
const FREE_KEY: &str = "free";
const FREE_SHA256: &str = "ad95d5fa651ba86d8923fe1238d24a4f1988a752acfe426ac72ac7c04471bc17";

/// Streams that live through a change or two.
fn slow() -> Behaviour {
    Behaviour { reply_tokens: Some(30), token_us: Some(10_000), ..Behaviour::default() }
}

/// Version `number` of a policy: `coin` goes to vLLM with a ceiling of 40 in even versions and to Bedrock with
/// one of 50 in odd ones, and globex may ask for it in odd ones only.
fn version(base: &Value, number: usize) -> Value {
    let odd = !number.is_multiple_of(2);
    let mut policy = base.clone();
    let name = if odd { "bedrock-first" } else { VLLM_FIRST };
    let models = policy["models"].as_array_mut().expect("a list");
    let mut target =
        models.iter().find(|model| model["name"] == name).expect("it is there")["targets"][0].clone();
    target["priority"] = json!(0);
    models.push(json!({"name": "coin", "targets": [target]}));
    policy["tenants"][0]["models"] = json!([VLLM_FIRST, "coin"]);
    policy["tenants"][0]["limits"] = json!({"max_output_tokens": if odd { 50 } else { 40 }});
    policy["tenants"][1]["models"] = if odd { json!([VLLM_FIRST, "coin"]) } else { json!([VLLM_FIRST]) };
    policy["budgets"] = json!([{"name": "roomy", "when": {"tenant": "acme"}, "limit": {"tokens": 1_000_000_000}, "window": "month"}]);
    policy
}

/// An answer comes from the provider that the policy it names has chosen.
fn of_one_version(answer: &Answer, _: &str) -> Result<(), String> {
    let policy = answer.header("x-weir-policy").unwrap_or_default();
    let target = answer.header("x-weir-target").unwrap_or_default();
    let generation: usize = policy.split('-').next().and_then(|n| n.parse().ok()).ok_or("no version")?;
    // The first version is number 0.
    let provider = if generation.is_multiple_of(2) { "bedrock:" } else { "gpu-pool:" };
    match target.starts_with(provider) {
        true => Ok(()),
        false => Err(format!("policy {policy} and {target}")),
    }
}

fn any(_: &Answer, _: &str) -> Result<(), String> {
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_changes_under_load_are_seen_at_once_and_fail_no_request() {
    let mut base = Value::Null;
    let mut gateway = Gateway::with("live-changes", |plan, _| {
        base = plan.policy.clone();
        plan.policy = version(&plan.policy, 0);
    })
    .await;
    gateway.vllm().always(slow());
    gateway.bedrock.always(slow());
    let client = || gateway.client();
    let coins = [
        Load::start(client, 2, "coin", false, of_one_version),
        Load::start(client, 2, "coin", true, of_one_version),
    ];
    let steady = Load::start(client, 3, VLLM_FIRST, true, any);
    // Several connections: each belongs to one of the workers, and all must have changed.
    let probes: Vec<Client> = (0..6).map(|_| Client::new(gateway.ports.gateway, OTHER_KEY)).collect();
    let mut took = Vec::new();
    for number in 1..=CHANGES {
        let begun = Instant::now();
        gateway.write(version(&base, number));
        let wanted = if number.is_multiple_of(2) { 403 } else { 200 };
        let mut last = begun;
        for probe in &probes {
            loop {
                let asked = Instant::now();
                let answer = probe.chat(quick().to_string()).await;
                if answer.status == wanted {
                    last = last.max(asked);
                    break;
                }
                assert!(matches!(answer.status, 200 | 403), "change {number}: {}", answer.text());
                assert!(begun.elapsed() < Duration::from_secs(20), "change {number}: {}", answer.text());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        took.push(last - begun);
    }
    let mut counts = Vec::new();
    for load in coins {
        counts.push(load.end().await.0);
    }
    let (streams, longest) = steady.end().await;
    took.sort();
    let at = |part: usize| took[(took.len() * part / 100).min(took.len() - 1)];
    println!(
        "{CHANGES} changes beside {counts:?} requests for what changes and {streams} streams (longest {longest:?}): \
         seen after {:?} p50, {:?} p99; the last {:?}",
        at(50),
        at(99),
        &took[took.len() - 4..]
    );
    assert!(at(100) <= Duration::from_secs(5), "{took:?}");
    assert!(streams > 100 && counts.iter().all(|count| *count > 100), "too little load");
    // What each provider was asked is of one version too: its ceiling and its choice.
    for (records, field, ceiling) in [
        (gateway.vllm().book().records(), "/max_tokens", 40),
        (gateway.bedrock.book().records(), "/inferenceConfig/maxTokens", 50),
    ] {
        let of_coin = records
            .iter()
            .filter(|record| record.body.as_ref().is_some_and(|body| body.contains("asks coin")));
        let ceilings: Vec<Value> =
            of_coin.filter_map(|record| record.json().pointer(field).cloned()).collect();
        assert!(ceilings.len() > 50, "{field}: {}", ceilings.len());
        assert!(ceilings.iter().all(|found| *found == json!(ceiling)), "{field}: {ceilings:?}");
    }
    assert_eq!(gateway.envoy.stat("update_rejected").await, 0);
}

fn quick() -> Value {
    let mut body = chat("coin", "Heads or tails?", false);
    body["max_tokens"] = json!(1);
    body
}

/// One request's status and code, and when it was sent.
async fn ask(client: &Client) -> (u16, String) {
    let mut body = chat(VLLM_FIRST, "Still there?", false);
    body["max_tokens"] = json!(8);
    let answer = client.chat(body.to_string()).await;
    let code = match answer.status {
        200 => String::new(),
        _ => answer.json()["error"]["code"].as_str().unwrap_or_default().to_owned(),
    };
    (answer.status, code)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_control_plane_a_gateway_goes_on_and_budgets_follow_their_leases() {
    let mut gateway = Gateway::with("live-stopped", |plan, _| {
        let models = plan.policy["tenants"][0]["models"].clone();
        let free = json!({"name": "free", "keys": [{"id": "free", "sha256": FREE_SHA256}], "models": models});
        plan.policy["tenants"].as_array_mut().expect("a list").push(free);
        plan.policy["budgets"] = json!([
            {"name": "denies", "when": {"tenant": "acme"}, "limit": {"tokens": 10_000_000}, "window": "month"},
            {"name": "allows", "when": {"tenant": "globex"}, "limit": {"tokens": 10_000_000}, "window": "month",
             "ledger_lost": "allow_local"},
        ]);
    })
    .await;
    let port = gateway.ports.gateway;
    let client = |key: &str| Client::new(port, key);
    // Demand, so that there are leases to live on.
    let busy = [
        Load::start(|| client(KEY), 4, VLLM_FIRST, false, any),
        Load::start(|| client(OTHER_KEY), 4, VLLM_FIRST, false, any),
    ];
    tokio::time::sleep(Duration::from_secs(2)).await;
    for load in busy {
        load.end().await;
    }
    settles_exactly(&gateway).await;
    // At the other provider, so that vLLM's book holds only what the budgets settle.
    let free = Load::start(|| client(FREE_KEY), 2, BEDROCK_FIRST, true, any);
    let (denies, allows) = (client(KEY), client(OTHER_KEY));
    assert_eq!((ask(&denies).await.0, ask(&allows).await.0), (200, 200));

    settles_exactly(&gateway).await;
    gateway.kill_control();
    let killed = Instant::now();
    let (mut denied_at, mut last_served, mut served) = (None, Duration::ZERO, 0);
    let (mut local, mut local_late) = (0, 0);
    while killed.elapsed() < Duration::from_secs(8) {
        let sent = killed.elapsed();
        match ask(&denies).await {
            (200, _) => {
                assert!(denied_at.is_none(), "served after {sent:?}, though refused before");
                (last_served, served) = (sent, served + 1);
            }
            (503, code) if code == "budget_unavailable" => {
                denied_at.get_or_insert(sent);
            }
            other => panic!("after {sent:?}: {other:?}"),
        }
        // Slowly, so that the lease outlives the five seconds.
        let (status, code) = ask(&allows).await;
        assert_eq!(status, 200, "allow_local after {sent:?}: {code}");
        local += 1;
        local_late += u32::from(sent > Duration::from_millis(6_500));
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let denied_at = denied_at.expect("a hard budget is not for ever without its ledger");
    println!(
        "ledger gone: {served} requests from the lease, the last after {last_served:?}, 503 from {denied_at:?} on; allow_local {local}"
    );
    assert!(served >= 4, "the lease was not used");
    assert!(last_served <= Duration::from_millis(6_000), "served from a lease after {last_served:?}");
    assert!(local_late >= 3);
    // And `allow_local` ends with the lease.
    let mut used_up = false;
    for _ in 0..4_000 {
        let mut body = chat(VLLM_FIRST, "The rest of the lease, please.", false);
        body["max_tokens"] = json!(4_000);
        let answer = allows.chat(body.to_string()).await;
        if answer.status == 503 {
            assert_eq!(answer.json()["error"]["code"], "budget_unavailable");
            assert!(answer.header("retry-after").is_some());
            used_up = true;
            break;
        }
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert!(used_up, "allow_local went on for ever");

    // It comes back with a change in its hands.
    let mut policy = gateway.policy.clone();
    policy["tenants"][1]["models"] = json!(["dead-vllm-first"]);
    gateway.write(policy);
    let again = Instant::now();
    gateway.start_control();
    let mut budget_back = None;
    let policy_back = loop {
        if budget_back.is_none() && ask(&denies).await.0 == 200 {
            budget_back = Some(again.elapsed());
        }
        let (status, code) = ask(&allows).await;
        if status == 403 && code == "model_not_allowed" && budget_back.is_some() {
            break again.elapsed();
        }
        assert!(again.elapsed() < Duration::from_secs(20), "{status} {code}; {budget_back:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let budget_back = budget_back.unwrap_or_default();
    let (count, _) = free.end().await;
    println!(
        "started again: budget back after {budget_back:?}, change in force after {policy_back:?}; {count} streams beside"
    );
    assert!(budget_back.max(policy_back) < Duration::from_secs(5));
    settles_exactly(&gateway).await;
}

/// The budgets come to what vLLM billed, to the token.
async fn settles_exactly(gateway: &Gateway) {
    let counters = |said: &Value| said["counters"].as_array().cloned().unwrap_or_default();
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let totals = gateway.vllm().book().totals();
        let billed = totals.billed_prompt_tokens + totals.billed_completion_tokens;
        let said = counters(&gateway.api("/api/spend").await);
        let settled: u64 = said.iter().filter_map(|counter| counter["settled"].as_u64()).sum();
        if settled == billed {
            return;
        }
        assert!(Instant::now() < deadline, "billed {billed}, {totals:?}; settled {settled}, {said:#?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_module_under_load_loses_no_request_and_no_spend() {
    let gateway = Gateway::with("live-module", |plan, _| {
        plan.policy["budgets"] = json!([
            {"name": "roomy", "when": {"tenant": "acme"}, "limit": {"tokens": 1_000_000_000}, "window": "month"},
        ]);
    })
    .await;
    gateway.vllm().always(slow());
    let client = || gateway.client();
    let plain = Load::start(client, 3, VLLM_FIRST, false, any);
    let streams = Load::start(client, 6, VLLM_FIRST, true, any);
    plain.more(30).await;
    let mut bytes = std::fs::read(paths::module("weir")).expect("the module is there");
    for round in 0..2_u8 {
        // A custom section means nothing to the machine and makes another module of it.
        bytes.extend([0, 6, 4, b'w', b'e', b'i', b'r', round]);
        let part = gateway.module().with_extension("part");
        std::fs::write(&part, &bytes).expect("target/ is writable");
        let before = gateway.api("/api/status").await["policy"]["module"].clone();
        let begun = Instant::now();
        std::fs::rename(part, gateway.module()).expect("target/ is writable");
        let wanted =
            |status: &Value| status["policy"]["module"] != before && status["gateways"][0]["current"] == true;
        let status = gateway.wait("the new module is in force", wanted).await;
        println!("module {round}: in force after {:?}", begun.elapsed());
        let hash = status["policy"]["module"].as_str().unwrap_or_default().to_owned();
        assert!(gateway.envoy.config_dump().await.to_string().contains(&hash));
        plain.more(40).await;
        streams.more(40).await;
    }
    let (plain, plain_longest) = plain.end().await;
    let (streams, stream_longest) = streams.end().await;
    println!(
        "2 modules beside {plain} requests (longest {plain_longest:?}) and {streams} streams ({stream_longest:?})"
    );
    settles_exactly(&gateway).await;
    assert_eq!(gateway.envoy.stat("update_rejected").await, 0);
}
