//! What runs: three simulated providers that bill differently, a control plane over a policy of the run's own with a
//! budget for each tenant, and an Envoy that knows only where that is.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::crowd::{LEAVES, STAYS};
use crate::harness::{Child, Envoy, EnvoyConfig, free_port, paths};
use crate::sim::{Behaviour, Bill, Order, Rule, Server, anthropic, bedrock, vllm};

/// Models, each on one provider, and one that fails over from the third to the second.
pub const VLLM: &str = "on-vllm";
pub const BEDROCK: &str = "on-bedrock";
pub const ANTHROPIC: &str = "on-anthropic";
pub const ALL: &str = "on-all";
/// A prompt with this meets an overloaded Anthropic.
pub const OVERLOADED: &str = "(overloaded)";
/// A prompt with this meets a vLLM that fails.
pub const FAILING: &str = "(failing)";

pub const STAYS_KEY: &str = "key";
pub const LEAVES_KEY: &str = "test";
const STAYS_SHA256: &str = "2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683";
const LEAVES_SHA256: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

const ANTHROPIC_KEY: &str = "sk-ant-simulated";
/// How long anything may take to come up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Pico-USD per token: input, output, read from and written to the provider's cache.
pub struct Price(pub [u64; 4]);

const VLLM_PRICE: Price = Price([30_000, 120_000, 30_000, 30_000]);
const BEDROCK_PRICE: Price = Price([3_000_000, 15_000_000, 300_000, 3_750_000]);
const ANTHROPIC_PRICE: Price = Price([5_000_000, 25_000_000, 500_000, 6_250_000]);

/// All of it, running.
pub struct Stage {
    /// With what each costs.
    pub providers: [(Server, Price); 3],
    pub envoy: Envoy,
    pub port: u16,
    control: Child,
    api: u16,
    http: reqwest::Client,
}

impl Stage {
    /// With a collector at a port.
    pub async fn start(collector: u16, workers: u32) -> Result<Self, String> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = paths::weir().join("bench").join(format!("reconcile-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        // The dearest that a provider may be: it bills whole answers, read or not.
        let defaults = Behaviour {
            ttft_ms: Some(8),
            token_us: Some(800),
            tokens_per_event: Some(2),
            bill: Some(Bill::All),
            ..Behaviour::default()
        };
        let text = |e: std::io::Error| e.to_string();
        let concurrency = 4_096;
        let vllm = vllm::Config { defaults: defaults.clone(), concurrency, ..vllm::Config::default() };
        let vllm = vllm::start(vllm).await.map_err(text)?;
        let bedrock = bedrock::Config {
            defaults: Behaviour { cache_write_tokens: Some(9), ..defaults.clone() },
            concurrency,
            // Its judges are too slow for tens of thousands of requests; other tests ask them.
            check_signature: false,
            check_parameters: false,
            ..bedrock::Config::default()
        };
        let bedrock = bedrock::start(bedrock).await.map_err(text)?;
        let claude = anthropic::Config {
            defaults: Behaviour { cached_tokens: Some(7), ..defaults },
            concurrency,
            check_parameters: false,
            ..anthropic::Config::default()
        };
        let claude = anthropic::start(claude).await.map_err(text)?;
        let rule = |contains: &str, status| Rule {
            contains: contains.into(),
            times: None,
            behaviour: Behaviour::status(status),
        };
        claude.order(Order { rules: vec![rule(OVERLOADED, 529)], ..Order::default() });
        vllm.order(Order { rules: vec![rule(FAILING, 500)], ..Order::default() });

        let (port, xds, api) = (free_port(), free_port(), free_port());
        let secret = folder.join("anthropic.key");
        std::fs::write(&secret, ANTHROPIC_KEY).map_err(text)?;
        let urls = [vllm.url(), bedrock.url(), claude.url()];
        let policy = policy(port, collector, &urls, &secret);
        let file = folder.join("policy.yaml");
        std::fs::write(&file, format!("{policy:#}")).map_err(text)?;
        let path = |path: PathBuf| path.to_string_lossy().into_owned();
        let arguments = [
            "serve".to_owned(),
            "--config".to_owned(),
            path(file),
            "--module".to_owned(),
            path(paths::module("weir")),
            "--data".to_owned(),
            path(folder.join("data")),
            "--xds".to_owned(),
            format!("127.0.0.1:{xds}"),
            "--api".to_owned(),
            format!("127.0.0.1:{api}"),
            "--access-log".to_owned(),
            "off".to_owned(),
        ];
        let control = Child::spawn("reconcile-control", &paths::control_plane(), arguments, &[]);
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5));
        let http = http.build().map_err(|e| e.to_string())?;
        until(&http, api, &control, |_| true).await?;
        let mut bootstrap = EnvoyConfig::read("envoy/gateway/bootstrap.yaml");
        bootstrap.port(18000, xds);
        let envoy = Envoy::builder(bootstrap).name("reconcile").concurrency(workers);
        let envoy = envoy.env("AWS_EC2_METADATA_DISABLED", "true").env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE");
        let envoy = envoy.env("AWS_SECRET_ACCESS_KEY", "nobody-checks-it").try_start().await?;
        until(&http, api, &control, |status| status["gateways"][0]["current"] == true).await?;
        let providers = [(vllm, VLLM_PRICE), (bedrock, BEDROCK_PRICE), (claude, ANTHROPIC_PRICE)];
        Ok(Self { providers, envoy, port, control, api, http })
    }

    /// A document of the control plane's API.
    pub async fn api(&self, path: &str) -> Result<Value, String> {
        let url = format!("http://127.0.0.1:{}{path}", self.api);
        let answer = self.http.get(url).send().await.map_err(|e| e.to_string())?;
        answer.json().await.map_err(|e| e.to_string())
    }

    /// A tenant's counter in a unit: settled and held.
    pub async fn counter(&self, tenant: &str, unit: &str) -> Result<(u64, u64), String> {
        let said = self.api("/api/spend").await?;
        let all = said["counters"].as_array().ok_or("the API lists no counters")?;
        let one = all.iter().find(|one| one["subject"] == tenant && one["unit"] == unit);
        let figure = |name: &str| one.and_then(|one| one[name].as_u64()).unwrap_or(0);
        Ok((figure("settled"), figure("held")))
    }

    /// Nothing is held any more, as far as the ledger knows.
    pub async fn settled(&self) -> Result<bool, String> {
        for tenant in [STAYS, LEAVES] {
            for unit in ["tokens", "usd", "requests"] {
                if self.counter(tenant, unit).await?.1 > 0 {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Every request that a provider has seen has ended.
    pub fn providers_rest(&self) -> bool {
        self.providers.iter().all(|(server, _)| {
            let totals = server.book().totals();
            totals.answered + totals.vanished + totals.faulted == totals.requests
        })
    }

    /// The port of the control plane's API, metrics among it.
    pub fn api_port(&self) -> u16 {
        self.api
    }

    /// What the control plane has complained of.
    pub fn control_log(&self) -> String {
        self.control.err_text()
    }
}

async fn until(
    http: &reqwest::Client,
    api: u16,
    control: &Child,
    is: impl Fn(&Value) -> bool,
) -> Result<(), String> {
    let begun = Instant::now();
    let url = format!("http://127.0.0.1:{api}/api/status");
    while begun.elapsed() < PATIENCE {
        if let Ok(answer) = http.get(&url).send().await
            && let Ok(status) = answer.json::<Value>().await
            && is(&status)
        {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Err(format!("no policy in force after {PATIENCE:?}; the control plane said:\n{}", control.err_text()))
}

fn policy(port: u16, collector: u16, urls: &[String; 3], secret: &std::path::Path) -> Value {
    let dollars = |pico: u64| pico as f64 / 1e6;
    let target = |provider: &str, model: &str, tokenizer: Option<&str>, Price(price): &Price| {
        let mut target = json!({
            "provider": provider, "model": model, "context": 131_072, "supports": ["tools", "json_schema"],
            "price": {
                "input": dollars(price[0]), "output": dollars(price[1]),
                "cache_read": dollars(price[2]), "cache_write": dollars(price[3]),
            },
        });
        if let Some(tokenizer) = tokenizer {
            target["tokenizer"] = json!(tokenizer);
        }
        target
    };
    let vllm = target("gpu-pool", "openai/gpt-oss-20b", Some("o200k_harmony"), &VLLM_PRICE);
    let sonnet = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";
    let bedrock = target("bedrock", sonnet, None, &BEDROCK_PRICE);
    let claude = target("claude", "claude-sonnet-4-5", None, &ANTHROPIC_PRICE);
    let mut second = bedrock.clone();
    second["priority"] = json!(1);
    let models = [VLLM, BEDROCK, ANTHROPIC, ALL];
    let plenty = json!({"tokens": "900000M", "usd": 1_000_000, "requests": "900M"});
    json!({
        "apiVersion": "weir.dev/v1",
        "gateway": {"listen": format!("127.0.0.1:{port}"), "request_timeout": "60s"},
        "providers": [
            {"name": "gpu-pool", "kind": "vllm", "region": "here", "endpoints": [urls[0]]},
            {
                "name": "bedrock", "kind": "bedrock", "region": "us-east-1", "endpoint": urls[1],
                "auth": {"aws": "default"},
            },
            {
                "name": "claude", "kind": "anthropic", "region": "us", "endpoint": urls[2],
                "auth": {"bearer": {"file": secret}},
            },
        ],
        "models": [
            {"name": VLLM, "targets": [vllm]},
            {"name": BEDROCK, "targets": [bedrock]},
            {"name": ANTHROPIC, "targets": [claude]},
            {"name": ALL, "targets": [claude, second]},
        ],
        "retry": {"tries": 2, "on": ["429", "5xx"], "first_byte": "30s"},
        "identity": {"from": [{"api_key": {"header": "authorization", "scheme": "bearer"}}]},
        "tenants": [
            {"name": STAYS, "keys": [{"id": "stays-key", "sha256": STAYS_SHA256}], "models": models},
            {"name": LEAVES, "keys": [{"id": "leaves-key", "sha256": LEAVES_SHA256}], "models": models},
        ],
        "budgets": [{"name": "each", "each": ["tenant"], "limit": plenty, "window": "month"}],
        "telemetry": {"otlp": format!("http://127.0.0.1:{collector}"), "sample": "100%"},
    })
}
