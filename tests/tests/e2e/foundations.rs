//! What the design rests on and Envoy does not promise, seen with a probe filter: filter state may be overwritten
//! at every later callback, from both sides of the router, and shared data outlives the code that wrote it.

use std::time::{Duration, Instant};

use serde_json::json;
use weir_tests::harness::{Client, Envoy, EnvoyConfig, free_port, paths};

struct Probe {
    envoy: Envoy,
    rewriter: u16,
    old: u16,
    upgraded: u16,
    ecds: std::path::PathBuf,
}

async fn probe(version: &str) -> Probe {
    let [rewriter, old, end, upgraded] = [(); 4].map(|()| free_port());
    let mut config = EnvoyConfig::read("tests/probe/envoy.yaml");
    config.port(1001, rewriter).port(1002, old).port(1003, end).port(1004, upgraded);
    config.module(&paths::module("probe"));
    let ecds = paths::logs().join(format!("ecds-{upgraded}.json"));
    publish(&ecds, "probe");
    let listener = config.0.pointer_mut("/static_resources/listeners/3").expect("the fourth listener");
    let source = listener.pointer_mut(
        "/filter_chains/0/filters/0/typed_config/http_filters/0/config_discovery/config_source/path_config_source/path",
    );
    *source.expect("the path of the file") = json!(ecds);
    let envoy = Envoy::builder(config).name("foundations").version(version).start().await;
    Probe { envoy, rewriter, old, upgraded, ecds }
}

/// Puts a module in force for the `upgraded` listener, by rename as Envoy wants it.
fn publish(ecds: &std::path::Path, module: &str) {
    let wasm = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
        "config": {
            "name": "upgraded", "root_id": "sharer", "failure_policy": "FAIL_RELOAD",
            "vm_config": {
                "vm_id": "probe", "runtime": "envoy.wasm.runtime.v8",
                "code": {"local": {"filename": paths::module(module)}},
            },
            "configuration": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": "sharer"},
        },
    });
    let resource = json!({
        "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
        "name": "sharer", "typed_config": wasm,
    });
    let response = json!({"version_info": module, "resources": [resource]});
    let part = ecds.with_extension("part");
    std::fs::write(&part, response.to_string()).expect("target/ is writable");
    std::fs::rename(&part, ecds).expect("a rename in one folder");
}

async fn get(port: u16, path: &str) -> weir_tests::harness::Answer {
    Client::answer(Client::new(port, "none").request(http::Method::GET, path)).await
}

async fn foundations_hold_on(release: &str) {
    let probe = probe(release).await;

    // Filter state: every write is what the next read and the access log see.
    let answer = get(probe.rewriter, "/one-side").await;
    assert_eq!((answer.status, answer.header("x-read")), (200, Some("v0 v1")), "{}", probe.envoy.log());
    let line = probe.envoy.access_log().find(|line| line["path"] == "/one-side").await;
    assert_eq!(line["state"], "v3", "the last write, in on_log, is in the access log");

    // The upstream filter overwrites what the downstream filter wrote, and the other way round.
    let answer = get(probe.rewriter, "/both-sides").await;
    let read: Vec<_> = answer.headers.get_all("x-read").iter().map(|value| value.to_str().unwrap()).collect();
    assert_eq!(read, ["v0 v1"], "each side reads its own last write");
    let line = probe.envoy.access_log().find(|line| line["path"] == "/both-sides").await;
    assert_eq!(line["state"], "v3");

    // Shared data belongs to the vm_id, not to the code.
    assert_eq!(get(probe.old, "/").await.text(), "code=1 held= wrote=true");
    assert_eq!(get(probe.upgraded, "/").await.text(), "code=1 held=1 wrote=true");
    publish(&probe.ecds, "probe-2");
    let deadline = Instant::now() + Duration::from_secs(10);
    let first = loop {
        let text = get(probe.upgraded, "/").await.text();
        if text.starts_with("code=2") {
            break text;
        }
        assert!(Instant::now() < deadline, "the new module never came: {}", probe.envoy.log());
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert_eq!(first, "code=2 held=1 wrote=true", "the new code reads what the old one wrote");
    assert_eq!(get(probe.old, "/").await.text(), "code=1 held=2 wrote=true", "and the old one the new one's");
}

#[tokio::test]
async fn filter_state_is_overwritten_and_shared_data_outlives_its_code() {
    foundations_hold_on("1.40.0").await;
}

#[tokio::test]
async fn the_same_on_envoy_1_39() {
    foundations_hold_on("1.39.3").await;
}

#[tokio::test]
async fn the_same_on_envoy_1_36() {
    foundations_hold_on("1.36.4").await;
}
