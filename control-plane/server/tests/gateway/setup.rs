//! One control plane process, one Envoy with the repository's own bootstrap, one simulated provider.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use weir_tests::harness::{Child, Client, Envoy, EnvoyConfig, Folder, free_port, paths};
use weir_tests::sim::{Server, vllm};

/// All that a test looks at.
pub struct Setup {
    pub envoy: Envoy,
    pub control: Option<Child>,
    pub vllm: Server,
    pub folder: Folder,
    pub gateway: u16,
    xds: u16,
    api: u16,
    http: reqwest::Client,
}

impl Setup {
    /// Everything up, and the first policy in force.
    pub async fn start(name: &str, version: &str, delta: bool) -> Self {
        let folder = Folder::new(name);
        std::fs::copy(paths::module("weir"), folder.join("weir.wasm")).expect("the module is there");
        let vllm = vllm::start(vllm::Config::default()).await.expect("a free port");
        let (gateway, xds, api) = (free_port(), free_port(), free_port());
        let mut bootstrap = EnvoyConfig::read("envoy/gateway/bootstrap.yaml");
        bootstrap.port(18000, xds);
        if !delta {
            bootstrap.0["dynamic_resources"]["ads_config"]["api_type"] = json!("GRPC");
        }
        let http = reqwest::Client::builder().no_proxy().build().expect("a client without TLS");
        write_policy(&folder, &policy(gateway, vllm.port(), 0));
        let control = Some(control(name, &folder, xds, api));
        let envoy = Envoy::builder(bootstrap).name(name).version(version).concurrency(2);
        let envoy = envoy.env("AWS_EC2_METADATA_DISABLED", "true").env("AWS_ACCESS_KEY_ID", "key");
        let envoy = envoy.env("AWS_SECRET_ACCESS_KEY", "secret").start().await;
        let setup = Self { envoy, control, vllm, folder, gateway, xds, api, http };
        setup.wait("a gateway has the policy", |status| status["gateways"][0]["current"] == true).await;
        setup
    }

    /// Ends the control plane without warning.
    pub fn kill_control(&mut self) {
        self.control = None;
    }

    /// Starts it again over the same data.
    pub fn start_control(&mut self) {
        self.control = Some(control("again", &self.folder, self.xds, self.api));
    }

    /// Puts a policy into force under which the asked tenant's key is `key-N`.
    pub fn set_policy(&self, number: u32) {
        write_policy(&self.folder, &self.policy(number));
    }

    pub fn policy(&self, number: u32) -> String {
        policy(self.gateway, self.vllm.port(), number)
    }

    pub fn write(&self, text: &str) {
        write_policy(&self.folder, text);
    }

    pub fn client(&self, key: &str) -> Client {
        Client::new(self.gateway, key)
    }

    /// `/api/status`, or null while nobody answers.
    pub async fn status(&self) -> Value {
        let url = format!("http://127.0.0.1:{}/api/status", self.api);
        match self.http.get(url).send().await {
            Ok(answer) => answer.json().await.unwrap_or_default(),
            Err(_) => Value::Null,
        }
    }

    pub async fn get(&self, path: &str) -> (u16, String) {
        let url = format!("http://127.0.0.1:{}{path}", self.api);
        let answer = self.http.get(url).send().await.expect("the API answers");
        (answer.status().as_u16(), answer.text().await.expect("a body"))
    }

    /// Waits for a status; answers it.
    pub async fn wait(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let status = self.status().await;
            if is(&status) {
                return status;
            }
            assert!(Instant::now() < deadline, "not reached: {what}; {status:#}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Every policy has `steady`, whose requests must never fail, and `key-N`, which only policy N knows.
pub fn policy(gateway: u16, vllm: u16, number: u32) -> String {
    let hash = |key: &str| {
        use sha2::{Digest, Sha256};
        Sha256::digest(key).iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let (steady, changing) = (hash("steady-key"), hash(&format!("key-{number}")));
    format!(
        "apiVersion: weir.dev/v1
gateway: {{listen: 127.0.0.1:{gateway}}}
providers:
- {{name: gpu-pool, kind: vllm, region: here, endpoints: [http://127.0.0.1:{vllm}]}}
models:
- name: fast
  targets:
  - {{provider: gpu-pool, model: openai/gpt-oss-20b, tokenizer: o200k_harmony, context: 131072}}
tenants:
- name: steady
  keys: [{{id: steady, sha256: {steady}}}]
  models: [fast]
- name: changing
  keys: [{{id: changing, sha256: {changing}}}]
  models: [fast]
identity:
  from: [{{api_key: {{header: authorization, scheme: bearer}}}}]
"
    )
}

pub fn write_policy(folder: &Path, text: &str) {
    // As editors do it: a new file in the place of the old one.
    let part = folder.join("policy.part");
    std::fs::write(&part, text).expect("target/ is writable");
    std::fs::rename(part, folder.join("policy.yaml")).expect("target/ is writable");
}

pub fn control(name: &str, folder: &Path, xds: u16, api: u16) -> Child {
    let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let arguments = [
        "serve".to_owned(),
        "--config".to_owned(),
        path("policy.yaml"),
        "--module".to_owned(),
        path("weir.wasm"),
        "--data".to_owned(),
        path("data"),
        "--xds".to_owned(),
        format!("127.0.0.1:{xds}"),
        "--api".to_owned(),
        format!("127.0.0.1:{api}"),
    ];
    Child::spawn(&format!("{name}-control"), Path::new(env!("CARGO_BIN_EXE_weir")), arguments, &[])
}

/// A chat request body.
pub fn chat() -> String {
    json!({"model": "fast", "messages": [{"role": "user", "content": "What holds back a river?"}]})
        .to_string()
}

/// Clients that ask again and again with a key that every policy knows; every answer must be a good one.
pub struct Load {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    clients: Vec<tokio::task::JoinHandle<Vec<String>>>,
}

impl Load {
    pub fn start(setup: &Setup, clients: usize, stream: bool) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let count = Arc::new(AtomicU64::new(0));
        let clients = (0..clients)
            .map(|_| {
                let (client, stop, count) = (setup.client("steady-key"), stop.clone(), count.clone());
                tokio::spawn(async move {
                    let mut failures = Vec::new();
                    let mut body: Value = serde_json::from_str(&chat()).expect("JSON");
                    body["stream"] = json!(stream);
                    while !stop.load(Ordering::Relaxed) {
                        let request = client.post("/v1/chat/completions", body.to_string());
                        match Client::try_answer(request).await {
                            Ok(answer) if answer.status == 200 => {
                                if stream && !answer.text().trim_end().ends_with("data: [DONE]") {
                                    failures.push(format!("cut: {}", answer.text()));
                                }
                            }
                            Ok(answer) => failures.push(format!("{}: {}", answer.status, answer.text())),
                            Err(error) => failures.push(format!("{error:?}")),
                        }
                        count.fetch_add(1, Ordering::Relaxed);
                        tokio::time::sleep(Duration::from_millis(2)).await;
                    }
                    failures
                })
            })
            .collect();
        Self { stop, count, clients }
    }

    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Ends it; none may have failed. Answers how many there were.
    pub async fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let mut failures = Vec::new();
        for client in self.clients {
            failures.extend(client.await.expect("a client does not panic"));
        }
        let count = self.count.load(Ordering::Relaxed);
        assert!(failures.is_empty(), "{} of {count} failed: {}", failures.len(), failures[0]);
        count
    }
}
