//! Somebody else's static Envoy with the rendered patch in it: filters over streams of their own.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use weir_tests::harness::{Client, Envoy, EnvoyConfig, Folder, free_port, paths};
use weir_tests::sim::vllm;

use crate::setup::{chat, control, policy, write_policy};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rendered_patch_brings_the_filters_into_a_static_gateway() {
    let folder = Folder::new("injected");
    std::fs::copy(paths::module("weir"), folder.join("weir.wasm")).expect("the module is there");
    let vllm = vllm::start(vllm::Config::default()).await.expect("a free port");
    let (gateway, xds, api) = (free_port(), free_port(), free_port());
    write_policy(&folder, &policy(gateway, vllm.port(), 0));
    let patch = render(&folder, xds);
    // The control plane is not there yet: refused in the client's dialect, never passed.
    let envoy =
        Envoy::builder(EnvoyConfig(gateway_of_others(&patch, gateway))).name("injected").start().await;
    let answer = Client::new(gateway, "key-0").chat(chat()).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.json()["error"]["message"].is_string(), "{}", answer.text());
    assert_eq!(vllm.book().totals().requests, 0);
    let _control = control("injected", &folder, xds, api);
    until(gateway, "key-0").await;
    // Routes of its own stay its own.
    let own = Client::new(gateway, "none").request(http::Method::GET, "/own");
    assert_eq!(Client::answer(own).await.text(), "mine");
    write_policy(&folder, &policy(gateway, vllm.port(), 1));
    let took = until(gateway, "key-1").await;
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(Client::new(gateway, "key-0").chat(chat()).await.status, 401);
    assert_eq!(envoy.stat("update_rejected").await, 0);
}

#[test]
fn what_takes_the_filters_out_names_everything_that_was_put_in() {
    let folder = Folder::new("removed");
    write_policy(&folder, &policy(8080, 9101, 0));
    let names = |patch: &Value, part: &str| -> Vec<Value> {
        patch[part].as_array().expect("a list").iter().map(|entry| entry["name"].clone()).collect()
    };
    let run = |target: &str, arguments: &[&str]| weir(&folder, target, arguments);
    let (put_in, out) = (run("envoy", &[]), run("envoy", &["--remove"]));
    for part in ["http_filters", "routes", "clusters"] {
        assert_eq!(names(&put_in, part), names(&out, part));
    }
    let (put_in, out) = (run("istio", &[]), run("istio", &["--remove"]));
    assert_eq!(put_in["metadata"], out["metadata"]);
    assert!(put_in["spec"]["configPatches"].as_array().is_some_and(|patches| patches.len() == 6));
}

async fn until(gateway: u16, key: &str) -> Duration {
    let begin = Instant::now();
    loop {
        let answer = Client::new(gateway, key).chat(chat()).await;
        if answer.status == 200 {
            return begin.elapsed();
        }
        assert!(begin.elapsed() < Duration::from_secs(30), "{}: {}", answer.status, answer.text());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn render(folder: &Path, xds: u16) -> Value {
    let module = folder.join("weir.wasm").to_string_lossy().into_owned();
    weir(folder, "envoy", &["--control", &format!("127.0.0.1:{xds}"), "--module", &module])
}

fn weir(folder: &Path, target: &str, arguments: &[&str]) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.args(["render", target, "--config"]).arg(folder.join("policy.yaml")).args(arguments);
    let output = command.output().expect("weir runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_yaml_ng::from_slice(&output.stdout).expect("YAML")
}

fn gateway_of_others(patch: &Value, port: u16) -> Value {
    let router = json!({"name": "envoy.filters.http.router", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
    }});
    let own = json!({
        "match": {"path": "/own"},
        "direct_response": {"status": 200, "body": {"inline_string": "mine"}},
        // Not for LLM clients, so not for the filter.
        "typed_per_filter_config": {"weir.exchange": {
            "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig",
            "disabled": true,
        }},
    });
    json!({
        "node": {"id": "others", "cluster": "others"},
        "static_resources": {
            "listeners": [{
                "name": "theirs",
                "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
                "filter_chains": [{"filters": [{
                    "name": "envoy.filters.network.http_connection_manager",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                        "stat_prefix": "theirs",
                        "route_config": {"virtual_hosts": [{
                            "name": "theirs",
                            "domains": ["*"],
                            "routes": [own, patch["routes"][0]],
                        }]},
                        "http_filters": [patch["http_filters"][0], router],
                    },
                }]}],
            }],
            "clusters": patch["clusters"],
        },
    })
}
