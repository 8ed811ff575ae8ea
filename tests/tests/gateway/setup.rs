//! The whole of Weir on free ports: a control plane over a policy file of the test's own, an Envoy that knows
//! only where that control plane is, and both simulated providers with their books. No judgement is made here.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};
use weir_tests::harness::{Answer, Child, Client, Envoy, EnvoyConfig, free_port, paths};
use weir_tests::sim::{Server, bedrock, vllm};

/// The key of tenant `acme`; its digest is in [`policy`].
pub const KEY: &str = "key";
/// The key of tenant `globex`.
pub const OTHER_KEY: &str = "test";
/// vLLM's own credential, which only vLLM may see.
pub const VLLM_KEY: &str = "vllm-only-credential";

const KEY_SHA256: &str = "2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683";
const OTHER_KEY_SHA256: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

/// vLLM first, Bedrock when it fails.
pub const VLLM_FIRST: &str = "vllm-first";
/// Bedrock first, vLLM when it fails.
pub const BEDROCK_FIRST: &str = "bedrock-first";

/// What may differ from one test to the next.
pub struct Plan {
    /// Envoy's release.
    pub version: String,
    /// Envoy's workers.
    pub concurrency: u32,
    /// The policy, as JSON, which is YAML.
    pub policy: Value,
    pub vllm: vllm::Config,
    pub bedrock: bedrock::Config,
}

/// Where things listen.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    pub gateway: u16,
    pub vllm: u16,
    pub bedrock: u16,
    /// Nobody listens here for as long as the test runs.
    pub dead: u16,
}

/// All of it, running.
pub struct Gateway {
    pub envoy: Envoy,
    pub control: Option<Child>,
    pub vllm: Option<Server>,
    pub bedrock: Server,
    pub ports: Ports,
    /// The policy in force.
    pub policy: Value,
    folder: PathBuf,
    name: String,
    xds: u16,
    api: u16,
    http: reqwest::Client,
    _dead: Socket,
}

impl Gateway {
    /// Everything up and the policy in force.
    pub async fn start(name: &str) -> Self {
        Self::with(name, |_, _| ()).await
    }

    /// The same with changes; they are told the ports.
    pub async fn with(name: &str, change: impl FnOnce(&mut Plan, Ports)) -> Self {
        let folder = paths::weir().join("tests").join(format!("{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("target/ is writable");
        std::fs::copy(paths::module("weir"), folder.join("weir.wasm")).expect("the module is there");
        let (dead_socket, dead) = dead_port();
        let ports = Ports { gateway: free_port(), vllm: free_port(), bedrock: free_port(), dead };
        let mut plan = Plan {
            version: weir_tests::harness::envoy::NEWEST.into(),
            concurrency: 2,
            policy: policy(ports),
            vllm: vllm::Config { api_key: Some(VLLM_KEY.into()), ..vllm::Config::default() },
            bedrock: bedrock::Config::default(),
        };
        plan.vllm.listen = format!("127.0.0.1:{}", ports.vllm);
        plan.bedrock.listen = format!("127.0.0.1:{}", ports.bedrock);
        change(&mut plan, ports);
        let vllm = vllm::start(plan.vllm).await.expect("a free port");
        let (access, secret) = (plan.bedrock.access_key.clone(), plan.bedrock.secret_key.clone());
        let bedrock = bedrock::start(plan.bedrock).await.expect("a free port, and Python with botocore");
        let (xds, api) = (free_port(), free_port());
        write_policy(&folder, &plan.policy);
        let control = Some(control(name, &folder, xds, api));
        let mut bootstrap = EnvoyConfig::read("envoy/gateway/bootstrap.yaml");
        bootstrap.port(18000, xds);
        let envoy = Envoy::builder(bootstrap).name(name).version(&plan.version).concurrency(plan.concurrency);
        let envoy = envoy.env("AWS_EC2_METADATA_DISABLED", "true").env("AWS_ACCESS_KEY_ID", &access);
        let envoy = envoy.env("AWS_SECRET_ACCESS_KEY", &secret).start().await;
        let http = reqwest::Client::builder().no_proxy().build().expect("a client without TLS");
        let gateway = Self {
            envoy,
            control,
            vllm: Some(vllm),
            bedrock,
            ports,
            policy: plan.policy,
            folder,
            name: name.into(),
            xds,
            api,
            http,
            _dead: dead_socket,
        };
        gateway.in_force().await;
        gateway
    }

    /// Waits until the gateway has acknowledged all that the control plane tells.
    pub async fn in_force(&self) {
        self.wait("the gateway has the policy", |status| status["gateways"][0]["current"] == true).await;
    }

    /// A client of tenant `acme` over HTTP/1.1.
    pub fn client(&self) -> Client {
        Client::new(self.ports.gateway, KEY)
    }

    /// The simulated vLLM.
    pub fn vllm(&self) -> &Server {
        self.vllm.as_ref().expect("vLLM still runs")
    }

    /// Puts `policy` into the file, as editors do it: a new file in the place of the old one.
    pub fn write(&mut self, policy: Value) {
        write_policy(&self.folder, &policy);
        self.policy = policy;
    }

    /// The module that the control plane watches.
    pub fn module(&self) -> PathBuf {
        self.folder.join("weir.wasm")
    }

    /// Ends the control plane with SIGKILL.
    pub fn kill_control(&mut self) {
        self.control = None;
    }

    /// Starts it again over the same data.
    pub fn start_control(&mut self) {
        self.control = Some(control(&self.name, &self.folder, self.xds, self.api));
    }

    /// A document of the control plane's API; null while nobody answers.
    pub async fn api(&self, path: &str) -> Value {
        let url = format!("http://127.0.0.1:{}{path}", self.api);
        match self.http.get(url).send().await {
            Ok(answer) => answer.json().await.unwrap_or_default(),
            Err(_) => Value::Null,
        }
    }

    /// Waits for a status; answers it.
    pub async fn wait(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        self.wait_for("/api/status", what, is).await
    }

    /// Waits for what the control plane says at `path`; answers it.
    pub async fn wait_for(&self, path: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let said = self.api(path).await;
            if is(&said) {
                return said;
            }
            let log = self.control.as_ref().map(Child::err_text).unwrap_or_default();
            assert!(Instant::now() < deadline, "not reached: {what}; {said:#}\n{log}\n{}", self.envoy.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Two providers, two models that fail over between them in either order, one tenant for each key.
fn policy(ports: Ports) -> Value {
    let on_vllm = json!({
        "provider": "gpu-pool", "model": "openai/gpt-oss-20b", "tokenizer": "o200k_harmony", "context": 131_072,
        "supports": ["tools", "json_schema", "images"], "price": {"input": 0.03, "output": 0.12},
    });
    let on_bedrock = json!({
        "provider": "bedrock", "model": "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "tokenizer": "o200k_harmony", "context": 131_072,
        "supports": ["tools", "json_schema", "images"], "price": {"input": 0.07, "output": 0.30},
    });
    let then = |target: &Value| {
        let mut target = target.clone();
        target["priority"] = json!(1);
        target
    };
    let on_dead = json!({
        "provider": "dead-pool", "model": "openai/gpt-oss-20b", "tokenizer": "o200k_harmony", "context": 131_072,
        "supports": ["tools", "json_schema", "images"], "price": {"input": 0.03, "output": 0.12},
    });
    let on_dead_bedrock = json!({
        "provider": "dead-bedrock", "model": "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "tokenizer": "o200k_harmony", "context": 131_072,
        "supports": ["tools", "json_schema", "images"], "price": {"input": 0.07, "output": 0.30},
    });
    let models = [
        (VLLM_FIRST, &on_vllm, &on_bedrock),
        (BEDROCK_FIRST, &on_bedrock, &on_vllm),
        ("dead-vllm-first", &on_dead, &on_bedrock),
        ("dead-bedrock-first", &on_dead_bedrock, &on_vllm),
    ];
    let names: Vec<&str> = models.iter().map(|(name, ..)| *name).collect();
    let models: Vec<Value> = models
        .iter()
        .map(|(name, first, second)| json!({"name": name, "targets": [first, then(second)]}))
        .collect();
    json!({
        "apiVersion": "weir.dev/v1",
        "gateway": {"listen": format!("127.0.0.1:{}", ports.gateway), "request_timeout": "60s", "headers": "reasons"},
        "providers": [
            {
                "name": "gpu-pool", "kind": "vllm", "region": "dc-frankfurt",
                "endpoints": [format!("http://127.0.0.1:{}", ports.vllm)],
                "auth": {"bearer": {"env": "WEIR_TEST_VLLM_KEY"}},
            },
            {
                "name": "bedrock", "kind": "bedrock", "region": "us-east-1",
                "endpoint": format!("http://127.0.0.1:{}", ports.bedrock), "auth": {"aws": "default"},
            },
            {
                "name": "dead-pool", "kind": "vllm", "region": "dc-frankfurt",
                "endpoints": [format!("http://127.0.0.1:{}", ports.dead)],
            },
            {
                "name": "dead-bedrock", "kind": "bedrock", "region": "us-east-1",
                "endpoint": format!("http://127.0.0.1:{}", ports.dead), "auth": {"aws": "default"},
            },
        ],
        "models": models,
        "retry": {"tries": 2, "on": ["connect", "reset", "429", "5xx"], "first_byte": "30s"},
        "identity": {"from": [{"api_key": {"header": "authorization", "scheme": "bearer"}}]},
        "tenants": [
            {"name": "acme", "keys": [{"id": "acme-web", "sha256": KEY_SHA256}], "models": names},
            {"name": "globex", "keys": [{"id": "globex-batch", "sha256": OTHER_KEY_SHA256}], "models": names},
        ],
    })
}

fn write_policy(folder: &Path, policy: &Value) {
    let part = folder.join("policy.part");
    std::fs::write(&part, format!("{policy:#}")).expect("target/ is writable");
    std::fs::rename(part, folder.join("policy.yaml")).expect("target/ is writable");
}

fn control(name: &str, folder: &Path, xds: u16, api: u16) -> Child {
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
    let environment = [("WEIR_TEST_VLLM_KEY".to_owned(), VLLM_KEY.to_owned())];
    Child::spawn(&format!("{name}-control"), &paths::control_plane(), arguments, &environment)
}

/// A port that is taken and refuses every connection.
fn dead_port() -> (Socket, u16) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    socket.bind(&any.into()).expect("a free port");
    let port = socket.local_addr().ok().and_then(|address| address.as_socket()).expect("a bound socket").port();
    (socket, port)
}

/// A small chat request.
pub fn chat(model: &str, text: &str, stream: bool) -> Value {
    let mut body = json!({"model": model, "messages": [{"role": "user", "content": text}]});
    if stream {
        body["stream"] = json!(true);
        body["stream_options"] = json!({"include_usage": true});
    }
    body
}

/// What a good answer says, streamed or not, and how many tokens the provider says it cost.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Said {
    pub text: String,
    pub finish: Option<String>,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    /// Streamed answers: `[DONE]` came.
    pub done: bool,
}

/// Reads an answer as a client does; whatever a client could not read is an error.
pub fn said(answer: &Answer, stream: bool) -> Result<Said, String> {
    if answer.status != 200 {
        return Err(format!("{}: {}", answer.status, answer.text()));
    }
    let mut said = Said::default();
    let mut take = |chunk: &Value| {
        for choice in chunk["choices"].as_array().into_iter().flatten() {
            let part = if stream { &choice["delta"] } else { &choice["message"] };
            said.text += part["content"].as_str().unwrap_or_default();
            if let Some(finish) = choice["finish_reason"].as_str() {
                said.finish = Some(finish.to_owned());
            }
        }
        if chunk["usage"].is_object() {
            said.prompt_tokens = chunk["usage"]["prompt_tokens"].as_u64().unwrap_or(0);
            said.completion_tokens = chunk["usage"]["completion_tokens"].as_u64().unwrap_or(0);
        }
    };
    if !stream {
        let value: Value = serde_json::from_slice(&answer.body).map_err(|e| format!("{e}: {}", answer.text()))?;
        take(&value);
        said.done = true;
        return Ok(said);
    }
    let mut done = false;
    for line in answer.text().lines() {
        let Some(data) = line.strip_prefix("data: ") else { continue };
        if data == "[DONE]" {
            done = true;
            continue;
        }
        let chunk: Value = serde_json::from_str(data).map_err(|e| format!("{e}: {data}"))?;
        if chunk.get("error").is_some() {
            return Err(format!("an error in the stream: {data}"));
        }
        take(&chunk);
    }
    said.done = done;
    Ok(said)
}
