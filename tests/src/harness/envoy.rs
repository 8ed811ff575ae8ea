//! One real Envoy with its admin interface.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::access_log::AccessLog;
use super::{Child, EnvoyConfig, free_port, paths};

/// The release that the whole suite runs on.
pub const NEWEST: &str = "1.40.0";

/// How long a start may take on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);

/// What to start.
pub struct Builder {
    name: String,
    version: String,
    config: EnvoyConfig,
    concurrency: u32,
    environment: Vec<(String, String)>,
    arguments: Vec<String>,
}

/// A running Envoy; it ends with this value.
pub struct Envoy {
    child: Child,
    admin: u16,
    http: reqwest::Client,
    /// From the start of the process until the admin interface said LIVE.
    pub started_in: Duration,
}

impl Envoy {
    /// Starts to describe one. The bootstrap's admin address is replaced by a free port.
    pub fn builder(config: EnvoyConfig) -> Builder {
        Builder {
            name: "envoy".into(),
            version: NEWEST.into(),
            config,
            concurrency: 1,
            environment: Vec::new(),
            arguments: Vec::new(),
        }
    }

    /// Its process: id, CPU, memory, signals, log.
    pub fn process(&mut self) -> &mut Child {
        &mut self.child
    }

    /// CPU time so far.
    pub fn cpu(&self) -> Duration {
        self.child.cpu()
    }

    /// Resident memory in bytes.
    pub fn rss(&self) -> u64 {
        self.child.rss()
    }

    /// Envoy's own log so far.
    pub fn log(&self) -> String {
        self.child.err_text()
    }

    /// The access log, one JSON object a line.
    pub fn access_log(&self) -> AccessLog {
        AccessLog::new(self.child.out())
    }

    /// The admin interface's port.
    pub fn admin_port(&self) -> u16 {
        self.admin
    }

    /// GET on the admin interface.
    pub async fn admin(&self, path: &str) -> Result<String, reqwest::Error> {
        let url = format!("http://127.0.0.1:{}{path}", self.admin);
        self.http.get(url).send().await?.error_for_status()?.text().await
    }

    /// POST on the admin interface.
    pub async fn admin_post(&self, path: &str) -> Result<String, reqwest::Error> {
        let url = format!("http://127.0.0.1:{}{path}", self.admin);
        self.http.post(url).send().await?.error_for_status()?.text().await
    }

    /// Counters and gauges whose name contains `part`.
    pub async fn stats(&self, part: &str) -> BTreeMap<String, u64> {
        let text = self.admin("/stats").await.expect("the admin interface answers");
        let pairs = text.lines().filter_map(|line| line.split_once(": "));
        let wanted = pairs.filter(|(name, _)| name.contains(part));
        wanted.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()
    }

    /// The sum of all stats that contain `part`.
    pub async fn stat(&self, part: &str) -> u64 {
        self.stats(part).await.values().sum()
    }

    /// Waits until a sum of stats has reached `at_least`.
    pub async fn wait_for_stat(&self, part: &str, at_least: u64) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.stat(part).await < at_least {
            assert!(Instant::now() < deadline, "{part} stayed below {at_least}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The configuration that is in force.
    pub async fn config_dump(&self) -> Value {
        let text = self.admin("/config_dump").await.expect("the admin interface answers");
        serde_json::from_str(&text).expect("the dump is JSON")
    }

    async fn ready(&mut self) -> Result<(), String> {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.ended() {
                return Err(format!("envoy ended with {status}:\n{}", tail(&self.log())));
            }
            if self.admin("/ready").await.is_ok_and(|text| text.contains("LIVE")) {
                self.started_in = begin.elapsed();
                return Ok(());
            }
            if begin.elapsed() > START_LIMIT {
                return Err(format!("envoy is not ready:\n{}", tail(&self.log())));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Builder {
    /// Names the logs in `target/weir/logs`.
    pub fn name(mut self, name: &str) -> Self {
        self.name = name.into();
        self
    }

    /// Another release than the newest.
    pub fn version(mut self, version: &str) -> Self {
        self.version = version.into();
        self
    }

    /// Worker threads; one unless said otherwise.
    pub fn concurrency(mut self, workers: u32) -> Self {
        self.concurrency = workers;
        self
    }

    /// An environment variable.
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.environment.push((key.into(), value.into()));
        self
    }

    /// A command-line argument.
    pub fn arg(mut self, argument: &str) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Starts it and waits until it is live; the error holds the end of its log.
    pub async fn try_start(mut self) -> Result<Envoy, String> {
        let admin = free_port();
        self.config.0["admin"] =
            json!({"address": {"socket_address": {"address": "127.0.0.1", "port_value": admin}}});
        let file = paths::logs().join(format!("{}-{admin}.json", self.name));
        std::fs::write(&file, self.config.0.to_string()).expect("target/ is writable");
        let file = file.to_string_lossy();
        let concurrency = self.concurrency.to_string();
        let mut arguments = vec!["--concurrency", &concurrency, "-c", &file, "--disable-hot-restart"];
        arguments.extend(["--file-flush-interval-msec", "50", "--log-level", "warning"]);
        arguments.extend(self.arguments.iter().map(String::as_str));
        let child = Child::spawn(&self.name, &paths::envoy(&self.version), arguments, &self.environment);
        let http = reqwest::Client::builder().no_proxy().build().expect("a client without TLS");
        let mut envoy = Envoy { child, admin, http, started_in: Duration::ZERO };
        envoy.ready().await?;
        Ok(envoy)
    }

    /// Starts it and waits until it is live.
    pub async fn start(self) -> Envoy {
        self.try_start().await.unwrap_or_else(|error| panic!("{error}"))
    }
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().rev().take(20).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}
