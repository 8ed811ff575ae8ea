//! What runs in a variant: a provider with its book, a control plane over a policy file, a ledger, two Envoys that share
//! one listener as behind a load balancer.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use weir_tests::harness::{Child, Envoy, EnvoyConfig, free_port, paths};
use weir_tests::sim::{Behaviour, Bill, Encoding, Server, bedrock, vllm};

/// What `printf weir-demo | sha256sum` says.
const KEY_SHA256: &str = "980794f845da7371072d7212a114e4705490248bcb420874a88c4abf9edf0c0d";
/// How long anything may take to come up.
const PATIENCE: Duration = Duration::from_secs(60);
/// Most tokens that a request may be answered with.
pub const CEILING: u64 = 64;
/// The budget's name.
pub const BUDGET: &str = "small";
/// What a model of an unknown vocabulary costs, in pico-USD per token: input, output, read from and written to the
/// provider's cache, which is a quarter dearer than input.
const PRICE: [u64; 4] = [3_000_000, 15_000_000, 300_000, 3_750_000];

/// Who keeps the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Engine {
    /// The control plane's own log.
    Embedded,
    /// A Redis that syncs each write.
    Redis,
}

/// Whose model answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// One whose vocabulary the gateway has.
    Known,
    /// One whose vocabulary nobody here has. Its provider counts by another one, says up to 346 hidden tokens of its own
    /// where tools are offered, writes prompts to its cache unasked, and bills thoughts that nobody sees.
    Unknown,
}

/// What the budget counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counts {
    Tokens,
    NanoUsd,
}

/// What differs between variants.
#[derive(Clone, Debug)]
pub struct Plan {
    /// In what is counted.
    pub limit: u64,
    pub counts: Counts,
    pub model: Model,
    pub window: &'static str,
    /// What the provider bills, and what the policy says that it bills, when a client leaves.
    pub bill: Bill,
    pub engine: Engine,
}

/// How well prompts were bounded.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bounds {
    /// By a learned bound: requests, tokens reserved for their input, tokens billed for it.
    pub learned: (u64, u64, u64),
    /// The same by their bytes.
    pub proven: (u64, u64, u64),
    /// Requests billed above their bound.
    pub over: u64,
    /// The most of them, in tokens.
    pub most: u64,
}

/// All of it, running.
pub struct Stage {
    pub provider: Server,
    pub control: Option<Child>,
    pub redis: Option<Child>,
    /// The second one is the one that may die.
    pub envoys: Vec<Envoy>,
    pub port: u16,
    plan: Plan,
    folder: PathBuf,
    xds: u16,
    api: u16,
    redis_port: u16,
    http: reqwest::Client,
}

impl Stage {
    pub async fn start(plan: Plan) -> Result<Self, String> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = paths::weir().join("bench").join(format!("budget-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        let defaults = Behaviour {
            ttft_ms: Some(60),
            token_us: Some(2_000),
            tokens_per_event: Some(4),
            bill: Some(plan.bill),
            ..Behaviour::default()
        };
        let provider = match plan.model {
            Model::Known => {
                vllm::start(vllm::Config { defaults, concurrency: 4_096, ..vllm::Config::default() }).await
            }
            Model::Unknown => {
                let defaults = Behaviour {
                    reply_tokens: Some(12),
                    reasoning_tokens: Some(16),
                    cache_write_tokens: Some(u32::MAX),
                    ..defaults
                };
                let provider = bedrock::Config {
                    defaults,
                    concurrency: 4_096,
                    // Two hundred clients keep one judge of signatures too busy to be anything else.
                    check_signature: false,
                    check_parameters: false,
                    encoding: Encoding::Cl100kBase,
                    hidden_tool_spread: 346,
                    ..bedrock::Config::default()
                };
                bedrock::start(provider).await
            }
        };
        let provider = provider.map_err(|e| e.to_string())?;
        let mut stage = Self {
            provider,
            control: None,
            redis: None,
            envoys: Vec::new(),
            port: free_port(),
            plan,
            folder,
            xds: free_port(),
            api: free_port(),
            redis_port: free_port(),
            http: reqwest::Client::builder()
                .no_proxy()
                .timeout(Duration::from_secs(2))
                .build()
                .map_err(|e| e.to_string())?,
        };
        stage.set_limit(stage.plan.limit)?;
        if stage.plan.engine == Engine::Redis {
            stage.start_redis();
        }
        stage.start_control();
        stage.until("the control plane serves", "/api/status", |_| true).await?;
        for number in 1..=2 {
            let mut bootstrap = EnvoyConfig::read("envoy/gateway/bootstrap.yaml");
            bootstrap.port(18000, stage.xds);
            bootstrap.0["node"]["id"] = json!(format!("gateway-{number}"));
            let envoy = Envoy::builder(bootstrap).name("bench-budget").concurrency(2);
            let envoy =
                envoy.env("AWS_EC2_METADATA_DISABLED", "true").env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE");
            let envoy = envoy.env("AWS_SECRET_ACCESS_KEY", "nobody-checks-it").try_start().await?;
            stage.envoys.push(envoy);
        }
        let current = |status: &Value| {
            let all = status["gateways"]
                .as_array()
                .map_or(0, |all| all.iter().filter(|gateway| gateway["current"] == true).count());
            all == 2
        };
        stage.until("both gateways have the policy", "/api/status", current).await?;
        Ok(stage)
    }

    /// The budget's limit from now on, as editors change it: a new file in the place of the old one.
    pub fn set_limit(&self, limit: u64) -> Result<(), String> {
        let part = self.folder.join("policy.part");
        let policy = self.folder.join("policy.yaml");
        std::fs::write(&part, format!("{:#}", self.policy(limit)))
            .and_then(|()| std::fs::rename(&part, &policy))
            .map_err(|e| format!("{}: {e}", policy.display()))
    }

    pub fn start_control(&mut self) {
        let path = |path: &Path| path.to_string_lossy().into_owned();
        let arguments = [
            "serve".to_owned(),
            "--config".to_owned(),
            path(&self.folder.join("policy.yaml")),
            "--module".to_owned(),
            path(&paths::module("weir")),
            "--data".to_owned(),
            path(&self.folder.join("data")),
            "--xds".to_owned(),
            format!("127.0.0.1:{}", self.xds),
            "--api".to_owned(),
            format!("127.0.0.1:{}", self.api),
            "--access-log".to_owned(),
            // What was bounded, and how well, is told there.
            if self.plan.model == Model::Unknown { "stdout" } else { "off" }.to_owned(),
        ];
        self.control = Some(Child::spawn("bench-budget-control", &paths::control_plane(), arguments, &[]));
    }

    pub fn start_redis(&mut self) {
        let port = self.redis_port.to_string();
        let folder = self.folder.to_string_lossy().into_owned();
        let arguments = [
            "--port",
            &port,
            "--bind",
            "127.0.0.1",
            "--dir",
            &folder,
            "--appendonly",
            "yes",
            "--appendfsync",
            "always",
            "--maxmemory-policy",
            "noeviction",
            "--save",
            "",
        ];
        let program = std::env::var_os("REDIS_BIN").map_or_else(|| "redis-server".into(), PathBuf::from);
        self.redis = Some(Child::spawn("bench-budget-redis", &program, arguments, &[]));
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.redis_port)).is_err() && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// A document of the control plane's API; `None` while nobody answers.
    pub async fn api(&self, path: &str) -> Option<Value> {
        let url = format!("http://127.0.0.1:{}{path}", self.api);
        self.http.get(url).send().await.ok()?.json().await.ok()
    }

    /// The budget's counter; `None` while nobody answers, null while nothing was asked.
    pub async fn counter(&self) -> Option<Value> {
        let said = self.api("/api/spend").await?;
        let all = said["counters"].as_array()?;
        Some(all.iter().find(|counter| counter["budget"] == BUDGET).cloned().unwrap_or_default())
    }

    pub async fn until(&self, what: &str, path: &str, is: impl Fn(&Value) -> bool) -> Result<Value, String> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(said) = self.api(path).await
                && is(&said)
            {
                return Ok(said);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let log = self.control.as_ref().map(Child::err_text).unwrap_or_default();
        let last: Vec<&str> = log.lines().rev().take(10).collect();
        Err(format!(
            "not reached in {PATIENCE:?}: {what}; the control plane said, last first:\n{}",
            last.join("\n")
        ))
    }

    /// Units billed so far, and requests that are still being answered.
    pub fn book(&self) -> (u64, u64) {
        let totals = self.provider.book().totals();
        let ended = totals.answered + totals.vanished + totals.faulted;
        let (input, output) = (totals.billed_prompt_tokens, totals.billed_completion_tokens);
        let billed = match self.plan.counts {
            Counts::Tokens => input + output,
            Counts::NanoUsd => {
                let (read, write) = (totals.billed_cache_read_tokens, totals.billed_cache_write_tokens);
                let amounts = [input - read - write, output, read, write];
                amounts.iter().zip(PRICE).map(|(tokens, price)| tokens * price).sum::<u64>() / 1_000
            }
        };
        (billed, totals.requests.saturating_sub(ended))
    }

    /// What the gateways count, over both.
    pub async fn stats(&self, part: &str) -> u64 {
        let mut sum = 0;
        for envoy in &self.envoys {
            sum += envoy.stat(part).await;
        }
        sum
    }

    /// How well prompts were bounded, by the records that the gateways write.
    pub fn bounds(&self) -> Bounds {
        let mut out = Bounds::default();
        for line in self.envoys.iter().flat_map(|envoy| envoy.access_log().lines()) {
            let record: Value = match &line["weir"] {
                Value::String(text) => serde_json::from_str(text).unwrap_or_default(),
                other => other.clone(),
            };
            let (Some(bound), Some(input)) = (record["bound"].as_u64(), record["input"].as_u64()) else {
                continue;
            };
            if record["usage"] != "provider" {
                continue;
            }
            let of = if record["basis"] == "calibrated" { &mut out.learned } else { &mut out.proven };
            *of = (of.0 + 1, of.1 + bound, of.2 + input);
            if let Some(over) = record["over_bound"].as_u64() {
                out.over += 1;
                out.most = out.most.max(over);
            }
        }
        out
    }

    /// The most of what is counted that a prompt above its bound by so many tokens is billed.
    pub fn worth(&self, tokens: u64) -> u64 {
        match self.plan.counts {
            Counts::Tokens => tokens,
            Counts::NanoUsd => (tokens * PRICE[3]).div_ceil(1_000),
        }
    }

    fn limit(&self, limit: u64) -> Value {
        match self.plan.counts {
            Counts::Tokens => json!({"tokens": limit}),
            Counts::NanoUsd => {
                json!({"usd": format!("{}.{:09}", limit / 1_000_000_000, limit % 1_000_000_000)})
            }
        }
    }

    fn policy(&self, limit: u64) -> Value {
        let on_abort = if self.plan.bill == Bill::All { "bills_all" } else { "stops" };
        let mut policy = json!({
            "apiVersion": "weir.dev/v1",
            "gateway": {"listen": format!("127.0.0.1:{}", self.port), "request_timeout": "60s"},
            "providers": [{
                "name": "gpu-pool", "kind": "vllm", "region": "dc", "endpoints": [self.provider.url()],
                "on_abort": on_abort,
            }],
            "models": [{
                "name": "fast",
                "targets": [{
                    "provider": "gpu-pool", "model": "openai/gpt-oss-20b", "tokenizer": "o200k_harmony",
                    "context": 131_072, "supports": ["tools", "json_schema"],
                    "price": {"input": 0.03, "output": 0.12},
                }],
            }],
            "identity": {"from": [{"api_key": {"header": "authorization", "scheme": "bearer"}}]},
            "tenants": [{
                "name": "demo", "models": ["fast"], "keys": [{"id": "demo-key", "sha256": KEY_SHA256}],
                "limits": {"max_output_tokens": CEILING},
            }],
            "budgets": [{
                "name": BUDGET, "when": {"tenant": "demo"}, "limit": self.limit(limit),
                "window": self.plan.window,
            }],
        });
        if self.plan.model == Model::Unknown {
            let usd = |pico: u64| json!(format!("{}.{:06}", pico / 1_000_000, pico % 1_000_000));
            let [input, output, read, write] = PRICE.map(usd);
            policy["providers"][0] = json!({
                "name": "cloud", "kind": "bedrock", "region": "us-east-1", "endpoint": self.provider.url(),
                "auth": {"aws": "default"}, "on_abort": on_abort,
            });
            policy["models"][0]["targets"][0] = json!({
                "provider": "cloud", "model": "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
                "tokenizer": "learned", "context": 131_072, "supports": ["tools", "reasoning"],
                "price": {"input": input, "output": output, "cache_read": read, "cache_write": write},
            });
        }
        if self.plan.engine == Engine::Redis {
            policy["ledger"] = json!({"redis": [format!("redis://127.0.0.1:{}", self.redis_port)]});
        }
        policy
    }
}
