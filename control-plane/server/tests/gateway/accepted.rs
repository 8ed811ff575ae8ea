//! What real Envoys accept, in both ways to speak xDS.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::setup::{Setup, chat};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_accepted_in_delta() {
    whole("accepted-delta", "1.40.0", true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_accepted_as_state_of_the_world() {
    whole("accepted-sotw", "1.40.0", false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_accepted_by_the_oldest_release_with_slots() {
    whole("accepted-1-39", "1.39.3", true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_accepted_by_a_release_that_needs_lists() {
    whole("accepted-1-36", "1.36.4", true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_provider_is_tried_on_every_release() {
    // Nobody listens on the first provider's port.
    for (version, status) in [("1.40.0", 200), ("1.39.3", 200), ("1.36.4", 200)] {
        let setup = Setup::start(&format!("second-{version}"), version, true).await;
        let dead = weir_tests::harness::free_port();
        let text = setup.policy(1);
        let text = text.replace(
            "\nmodels:",
            &format!(
                "\n- {{name: dead, kind: vllm, region: here, endpoints: [http://127.0.0.1:{dead}]}}\nmodels:"
            ),
        );
        let second = "  - {provider: gpu-pool,";
        let first = "  - {provider: dead, model: openai/gpt-oss-20b, context: 131072}\n";
        let text = text.replace(second, &format!("{first}  - {{priority: 1, provider: gpu-pool,"));
        setup.write(&(text + "retry: {tries: 2, on: [connect, reset, 429, 5xx]}\n"));
        setup
            .wait("the second policy", |status| {
                status["gateways"][0]["current"] == true
                    && status["policy"]["version"].as_str().is_some_and(|version| version.starts_with("2-"))
            })
            .await;
        let answer = setup.client("key-1").chat(chat()).await;
        assert_eq!(answer.status, status, "{version}: {}", answer.text());
        assert!(!answer.text().contains("misrouted"), "{version}: {}", answer.text());
    }
}

async fn whole(name: &str, version: &str, delta: bool) {
    let setup = Setup::start(name, version, delta).await;
    let status = setup.status().await;
    assert_eq!(status["refusals"], serde_json::json!([]));
    let gateway = &status["gateways"][0];
    assert_eq!(gateway["envoy"], version);
    assert_eq!(gateway["policy"], status["policy"]["version"]);
    let has: Value = serde_json::json!({"CDS": 2, "EDS": 1, "LDS": 1, "RDS": 1, "ECDS": 2});
    assert_eq!(gateway["has"], has);
    for counter in ["update_rejected", "init_fetch_timeout", "config_fail", "update_failure"] {
        let stats = setup.envoy.stats(counter).await;
        assert!(stats.values().all(|count| *count == 0), "{stats:?}");
    }
    let answer = setup.client("key-0").chat(chat()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    // Envoy's own refusals are read by OpenAI clients too; Weir's are not wrapped into them.
    let answer = setup.client("unknown").chat(chat()).await;
    assert_eq!(
        (answer.status, &answer.json()["error"]["code"]),
        (401, &serde_json::json!("invalid_api_key"))
    );
    let upgrade = setup.client("key-0").request(http::Method::GET, "/v1/chat/completions");
    let upgrade = upgrade.header("connection", "upgrade").header("upgrade", "websocket");
    let answer = weir_tests::harness::Client::answer(upgrade).await;
    assert_eq!(answer.json()["error"]["type"], "invalid_request_error", "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_what_the_status_calls_current_the_next_request_is_judged() {
    let setup = Setup::start("current", "1.40.0", true).await;
    for number in 1..=50 {
        let before = setup.status().await["policy"]["version"].clone();
        setup.set_policy(number);
        // Without a pause: the moment at which both are true is what is tested.
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let status = setup.status().await;
            if status["policy"]["version"] != before && status["gateways"][0]["current"] == true {
                break;
            }
            assert!(Instant::now() < deadline, "change {number}: {status:#}");
        }
        let answer = setup.client(&format!("key-{number}")).chat(chat()).await;
        assert_eq!(answer.status, 200, "change {number}: {}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_are_told_what_runs() {
    let setup = Setup::start("api", "1.40.0", true).await;
    assert_eq!(setup.get("/healthz").await, (200, "ok\n".into()));
    assert_eq!(setup.get("/readyz").await.0, 200);
    let (code, text) = setup.get("/api/policy").await;
    let policy: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((code, policy["text"].as_str()), (200, Some(setup.policy(0).as_str())));
    assert_eq!(policy["version"], setup.status().await["policy"]["version"]);
    let (code, _) = setup.get("/api/spend").await;
    assert_eq!(code, 200);
}

#[test]
fn the_example_bootstrap_is_what_weir_up_writes() {
    use weir_xds::Address;
    use weir_xds::bootstrap::{Bootstrap, bootstrap};
    let of = Bootstrap {
        node: "gateway-1".into(),
        cluster: "weir".into(),
        admin: Address::new("127.0.0.1", 9901),
        control: Address::new("127.0.0.1", 18000),
    };
    let example = weir_tests::harness::EnvoyConfig::read("envoy/gateway/bootstrap.yaml");
    assert_eq!(bootstrap(&of), example.0);
}
