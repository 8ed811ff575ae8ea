//! What is broken changes nothing and is shown.

use std::time::Duration;

use serde_json::Value;

use crate::setup::{Load, Setup, chat};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_file_leaves_the_last_good_policy_and_is_shown_with_its_place() {
    let mut setup = Setup::start("broken", "1.40.0", true).await;
    let load = Load::start(&setup, 1, false);
    let version = setup.status().await["policy"]["version"].clone();
    setup.write(&setup.policy(1).replace("providers:", "provders:"));
    let status = setup
        .wait("the file is refused", |status| status["policy"]["problems"] != Value::Array(vec![]))
        .await;
    let problem = status["policy"]["problems"][0].as_str().unwrap_or_default().to_owned();
    assert!(problem.contains("provders") && problem.contains("line 3"), "{problem}");
    assert_eq!(status["policy"]["version"], version);
    assert_eq!(setup.client("key-0").chat(chat()).await.status, 200);
    // Also over a restart: the ledger and the gateways need the control plane, whatever the file says.
    setup.kill_control();
    setup.start_control();
    let status = setup
        .wait("back with the last good policy", |status| !status["gateways"][0]["policy"].is_null())
        .await;
    assert_eq!(status["policy"]["version"], version);
    assert_eq!(status["gateways"][0]["policy"], version);
    assert!(
        status["policy"]["problems"][0].as_str().is_some_and(|text| text.contains("provders")),
        "{status:#}"
    );
    // What the gateway had was the very same, so nothing was sent anew.
    assert_eq!(setup.client("key-0").chat(chat()).await.status, 200);
    setup.set_policy(2);
    setup.wait("the mended file", |status| status["policy"]["problems"] == Value::Array(vec![])).await;
    setup.wait("in force", |status| status["gateways"][0]["current"] == true).await;
    assert_eq!(setup.client("key-2").chat(chat()).await.status, 200);
    load.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_by_envoy_leaves_the_last_good_policy_and_is_shown() {
    let setup = Setup::start("nack", "1.40.0", true).await;
    let load = Load::start(&setup, 1, false);
    let module = setup.folder.join("weir.wasm");
    let good = std::fs::read(&module).expect("the module");
    // A module to look at, and none to run: only Envoy can tell.
    std::fs::write(&module, b"\0asm\x01\0\0\0").expect("target/ is writable");
    let status = setup.wait("a refusal", |status| !status["gateways"][0]["refusal"].is_null()).await;
    let refusal = &status["gateways"][0]["refusal"];
    assert_eq!(refusal["kind"], "ECDS", "{status:#}");
    assert!(refusal["message"].as_str().is_some_and(|text| !text.is_empty()));
    assert_eq!(status["gateways"][0]["current"], false);
    assert_eq!(setup.client("key-0").chat(chat()).await.status, 200);
    // A gateway that starts now is given the last good snapshot, else it would have none at all.
    setup.set_policy(1);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(setup.client("key-0").chat(chat()).await.status, 200, "still the last good policy");
    std::fs::write(&module, good).expect("target/ is writable");
    setup.wait("mended", |status| status["gateways"][0]["current"] == true).await;
    assert_eq!(setup.client("key-1").chat(chat()).await.status, 200);
    load.end().await;
}
