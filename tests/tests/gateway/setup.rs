//! The whole of Weir on free ports: a control plane over a policy file of the test's own, an Envoy that knows
//! only where that control plane is, and both simulated providers with their books. No judgement is made here.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use socket2::{Domain, Socket, Type};
use weir_tests::harness::{Child, Client, Envoy, EnvoyConfig, Folder, free_port, paths};
use weir_tests::sim::{Server, bedrock, vllm};

use crate::policy::{self, KEY, VLLM_KEY};

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
    folder: Folder,
    name: String,
    xds: u16,
    api: u16,
    http: reqwest::Client,
    /// What Envoy is started with again.
    release: String,
    concurrency: u32,
    aws: [String; 2],
    _dead: Socket,
}

impl Gateway {
    /// Everything up and the policy in force.
    pub async fn start(name: &str) -> Self {
        Self::with(name, |_, _| ()).await
    }

    /// The same with changes; they are told the ports.
    pub async fn with(name: &str, change: impl FnOnce(&mut Plan, Ports)) -> Self {
        Self::prepared(name, change, |_| Ok(())).await
    }

    /// The same, with files beside the policy.
    pub async fn prepared(
        name: &str,
        change: impl FnOnce(&mut Plan, Ports),
        beside: impl FnOnce(&Path) -> std::io::Result<()>,
    ) -> Self {
        let folder = Folder::new(name);
        beside(&folder).expect("target/ is writable");
        std::fs::copy(paths::module("weir"), folder.join("weir.wasm")).expect("the module is there");
        let (dead_socket, dead) = dead_port();
        let ports = Ports { gateway: free_port(), vllm: free_port(), bedrock: free_port(), dead };
        let mut plan = Plan {
            version: weir_tests::harness::envoy::NEWEST.into(),
            concurrency: 2,
            policy: policy::both_ways(ports),
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
        let mut control = control(name, &folder, xds, api);
        let http = reqwest::Client::builder().no_proxy().build().expect("a client without TLS");
        serves(&mut control, api, &http).await;
        let aws = [access, secret];
        let envoy = envoy(name, xds, &plan.version, plan.concurrency, &aws).await;
        let gateway = Self {
            envoy,
            control: Some(control),
            vllm: Some(vllm),
            bedrock,
            ports,
            policy: plan.policy,
            folder,
            name: name.into(),
            xds,
            api,
            http,
            release: plan.version,
            concurrency: plan.concurrency,
            aws,
            _dead: dead_socket,
        };
        gateway.in_force().await;
        gateway
    }

    /// Where its policy and data are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the control plane's API listens.
    pub fn api_port(&self) -> u16 {
        self.api
    }

    /// Ends Envoy with SIGKILL.
    pub async fn kill_envoy(&mut self) {
        self.envoy.process().signal("KILL");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    /// Ends Envoy and starts another one with the same identity.
    pub async fn restart_envoy(&mut self) {
        self.kill_envoy().await;
        self.envoy = envoy(&self.name, self.xds, &self.release, self.concurrency, &self.aws).await;
        self.in_force().await;
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

    /// Writes `policy` and waits until it is in force.
    pub async fn change(&mut self, policy: Value) {
        let before = self.api("/api/status").await["policy"]["version"].clone();
        self.write(policy);
        let new = |status: &Value| {
            status["policy"]["version"] != before && status["gateways"][0]["current"] == true
        };
        self.wait("the new policy is in force", new).await;
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
            if Instant::now() > deadline {
                let log = self.control.as_ref().map(Child::err_text).unwrap_or_default();
                panic!("not reached: {what}; {said:#}\n{}\n{}", end(&log), end(&self.envoy.log()));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// An Envoy that knows only where its control plane is, with AWS credentials.
async fn envoy(name: &str, xds: u16, release: &str, concurrency: u32, aws: &[String; 2]) -> Envoy {
    let mut bootstrap = EnvoyConfig::read("envoy/gateway/bootstrap.yaml");
    bootstrap.port(18000, xds);
    let envoy = Envoy::builder(bootstrap).name(name).version(release).concurrency(concurrency);
    let envoy = envoy.env("AWS_EC2_METADATA_DISABLED", "true").env("AWS_ACCESS_KEY_ID", &aws[0]);
    envoy.env("AWS_SECRET_ACCESS_KEY", &aws[1]).start().await
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

/// Waits until a control plane has a policy to tell.
async fn serves(control: &mut Child, api: u16, http: &reqwest::Client) {
    let deadline = Instant::now() + Duration::from_secs(30);
    let url = format!("http://127.0.0.1:{api}/readyz");
    while !http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
        let ended = control.ended().is_some() || Instant::now() > deadline;
        assert!(!ended, "the control plane does not serve this policy:\n{}", control.err_text());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The end of a log.
fn end(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}

/// A port that is taken and refuses every connection.
fn dead_port() -> (Socket, u16) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    socket.bind(&any.into()).expect("a free port");
    let port =
        socket.local_addr().ok().and_then(|address| address.as_socket()).expect("a bound socket").port();
    (socket, port)
}
