//! A control plane whose Redis is not there when it starts: it serves the policy, refuses what only a ledger may admit,
//! says so, and joins when Redis appears.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use weir_tests::harness::{Child, free_port};

use crate::setup::{Setup, chat};

fn redis(setup: &Setup, port: u16) -> Child {
    let (port, folder) = (port.to_string(), setup.folder.to_string_lossy().into_owned());
    let arguments = ["--port", &port, "--bind", "127.0.0.1", "--dir", &folder, "--save", ""];
    let arguments = arguments.into_iter().chain(["--appendonly", "yes", "--appendfsync", "always"]);
    Child::spawn("redis-late", Path::new("redis-server"), arguments, &[])
}

async fn ledger_is_up(setup: &Setup) -> Value {
    let (status, text) = setup.get("/api/ledger").await;
    assert_eq!(status, 200, "{text}");
    let said: Value = serde_json::from_str(&text).expect("JSON");
    said["up"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_redis_a_control_plane_starts_and_hard_budgets_wait_for_it() {
    let mut setup = Setup::start("redis-late", "1.40.0", true).await;
    let before = setup.status().await["policy"]["version"].clone();
    let port = free_port();
    setup.kill_control();
    setup.write(&format!(
        "{}ledger: {{redis: ['127.0.0.1:{port}']}}
budgets:
- {{name: calls, when: {{tenant: steady}}, limit: {{requests: 1000}}, window: day}}
",
        setup.policy(0)
    ));
    setup.start_control();
    let in_force =
        |status: &Value| status["policy"]["version"] != before && status["gateways"][0]["current"] == true;
    setup.wait("the policy with a budget is in force", in_force).await;
    assert_eq!(ledger_is_up(&setup).await, json!(false));
    assert_eq!(setup.get("/api/spend").await.0, 503, "nobody knows what is spent");
    let refused = setup.client("steady-key").chat(chat()).await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.text().contains("budget_unavailable"), "{}", refused.text());
    assert_eq!(setup.client("key-0").chat(chat()).await.status, 200, "under no budget");

    let _redis = redis(&setup, port);
    let deadline = Instant::now() + Duration::from_secs(20);
    while setup.client("steady-key").chat(chat()).await.status != 200 {
        assert!(Instant::now() < deadline, "Redis is there, and nobody is served");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(ledger_is_up(&setup).await, json!(true));
    assert_eq!(setup.get("/api/spend").await.0, 200);
}
