//! All organs at once: a control plane with its ledger over a policy file of the benchmark's own, and an Envoy
//! that it configures. Every request is told apart, searched in both directions, routed, counted, charged to
//! three budgets and traced.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use weir_tests::harness::{Child, Envoy, EnvoyConfig, free_port, inject, paths};

/// What `printf weir-demo | sha256sum` says.
pub const KEY_SHA256: &str = "980794f845da7371072d7212a114e4705490248bcb420874a88c4abf9edf0c0d";
/// How long the gateway may take to have its policy.
const LIMIT: Duration = Duration::from_secs(60);

/// A gateway with everything on.
pub struct Gateway {
    pub envoy: Envoy,
    pub port: u16,
    /// Ends with this value.
    pub control: Child,
    /// From the start of Envoy until it has acknowledged the policy.
    pub started_in: Duration,
}

/// Starts both.
pub async fn start(upstream: u16, collector: u16, workers: u32) -> Result<Gateway, String> {
    start_with(&|port| self::policy(port, upstream, collector), workers).await
}

/// Starts both with a policy, which is told where the gateway listens.
pub async fn start_with(policy_at: &dyn Fn(u16) -> Value, workers: u32) -> Result<Gateway, String> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let folder = paths::weir().join("bench").join(format!("everything-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let (port, xds, api) = (free_port(), free_port(), free_port());
    let policy = folder.join("policy.yaml");
    std::fs::write(&policy, format!("{:#}", policy_at(port)))
        .map_err(|e| format!("{}: {e}", policy.display()))?;
    let control = control(&folder, xds, api);
    let http = reqwest::Client::builder().no_proxy().build().map_err(|e| e.to_string())?;
    let url = format!("http://127.0.0.1:{api}/api/status");
    until(&http, &url, &control, |_| true).await?;
    let begun = Instant::now();
    let mut bootstrap = EnvoyConfig::read("envoy/gateway/bootstrap.yaml");
    bootstrap.port(18000, xds);
    let envoy = Envoy::builder(bootstrap).name("bench-everything").concurrency(workers);
    // For providers whose requests Envoy signs.
    let envoy = envoy.env("AWS_EC2_METADATA_DISABLED", "true").env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE");
    let envoy = envoy.env("AWS_SECRET_ACCESS_KEY", "simulated").try_start().await?;
    until(&http, &url, &control, |status| status["gateways"][0]["current"] == true).await?;
    Ok(Gateway { envoy, port, control, started_in: begun.elapsed() })
}

fn control(folder: &Path, xds: u16, api: u16) -> Child {
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let arguments = [
        "serve".to_owned(),
        "--config".to_owned(),
        path(&folder.join("policy.yaml")),
        "--module".to_owned(),
        path(&paths::module("weir")),
        "--data".to_owned(),
        path(&folder.join("data")),
        "--xds".to_owned(),
        format!("127.0.0.1:{xds}"),
        "--api".to_owned(),
        format!("127.0.0.1:{api}"),
    ];
    Child::spawn("bench-control", &paths::control_plane(), arguments, &[])
}

async fn until(
    http: &reqwest::Client,
    url: &str,
    control: &Child,
    is: impl Fn(&Value) -> bool,
) -> Result<(), String> {
    let begun = Instant::now();
    while begun.elapsed() < LIMIT {
        if let Ok(answer) = http.get(url).send().await
            && let Ok(status) = answer.json::<Value>().await
            && is(&status)
        {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Err(format!("no policy in force after {LIMIT:?}; the control plane said:\n{}", control.err_text()))
}

/// Budgets so large that none refuses: what is measured is their keeping.
fn policy(port: u16, upstream: u16, collector: u16) -> Value {
    let target = |model: &str| {
        json!({
            "provider": "gpu-pool", "model": model, "tokenizer": "o200k_harmony", "context": 131_072,
            "supports": ["tools", "json_schema"], "price": {"input": 0.03, "output": 0.12},
        })
    };
    json!({
        "apiVersion": "weir.dev/v1",
        "gateway": {"listen": format!("127.0.0.1:{port}"), "headers": "ids"},
        "providers": [{
            "name": "gpu-pool", "kind": "vllm", "region": "dc-frankfurt",
            "endpoints": [format!("http://127.0.0.1:{upstream}")],
        }],
        "models": [
            {"name": "fast", "aliases": [inject::MODEL], "targets": [target("openai/gpt-oss-20b")]},
            {"name": "large", "targets": [target("openai/gpt-oss-120b")]},
        ],
        "boundaries": [
            {"name": "cards-stay", "when": {"found": ["credit_card", "us_ssn"]}, "providers": ["gpu-pool"]},
            {"name": "at-home", "when": {"tenant": "demo"}, "regions": ["dc-frankfurt"]},
        ],
        "routes": [
            {"name": "research", "when": {"labels": {"team": "research"}}, "use": {"model": "large"}},
            {"name": "support", "when": {"labels": {"team": "support"}}, "use": {"model": "fast"}},
        ],
        "retry": {"tries": 2, "on": ["connect", "reset", "429", "5xx"], "first_byte": "60s"},
        "identity": {"from": [{"api_key": {"header": "authorization", "scheme": "bearer"}}]},
        "tenants": [{
            "name": "demo", "labels": {"team": "support"}, "models": ["fast", "large"],
            "keys": [{"id": "demo-key", "sha256": KEY_SHA256}],
            "limits": {"max_input_tokens": "64k", "max_output_tokens": "1k"},
        }],
        "budgets": [
            {"name": "month", "when": {"tenant": "demo"}, "limit": {"usd": 100_000}, "window": "month"},
            {"name": "day", "when": {"tenant": "demo", "model": "fast"}, "limit": {"tokens": "90000M"}, "window": "day"},
            {"name": "key-hour", "each": ["key"], "limit": {"tokens": "90000M", "requests": "90M"}, "window": "hour"},
        ],
        "ledger": {"engine": "embedded"},
        "redaction": [
            {"name": "there", "find": ["email", "us_ssn", "credit_card"], "do": "tokenize", "in": ["request"]},
            {"name": "back", "find": ["email", "us_ssn", "credit_card"], "do": "mask", "in": ["response"]},
            {"name": "words", "words": ["Project Bluebird"], "do": "block", "in": ["request", "response"]},
        ],
        "telemetry": {"otlp": format!("http://127.0.0.1:{collector}"), "labels": ["team"]},
    })
}
