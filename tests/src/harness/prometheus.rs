//! A real Prometheus over what a test emits, and `promtool`, which judges rules over series that a test plants.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Child, Folder, free_port};

/// A running one. It scrapes and evaluates every second.
pub struct Prometheus {
    process: Child,
    port: u16,
    http: reqwest::Client,
    _folder: Folder,
}

impl Prometheus {
    /// Scrapes each (job, port, path), and evaluates the rules of a file's text.
    pub async fn start(name: &str, targets: &[(&str, u16, &str)], rules: &str) -> Self {
        let folder = Folder::new(&format!("{name}-prometheus"));
        let mut config = String::from(
            "global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\n\
             rule_files: [rules.yaml]\nscrape_configs:\n",
        );
        for (job, port, path) in targets {
            config.push_str(&format!(
                "- {{job_name: {job}, metrics_path: {path}, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}\n"
            ));
        }
        std::fs::write(folder.join("rules.yaml"), rules).expect("target/ is writable");
        std::fs::write(folder.join("prometheus.yaml"), config).expect("target/ is writable");
        let port = free_port();
        let arguments = [
            format!("--config.file={}", folder.join("prometheus.yaml").display()),
            format!("--storage.tsdb.path={}", folder.join("data").display()),
            format!("--web.listen-address=127.0.0.1:{port}"),
        ];
        let process = Child::spawn(&format!("{name}-prometheus"), &program("prometheus"), arguments, &[]);
        let http = reqwest::Client::builder().no_proxy().build().expect("a client without TLS");
        let this = Self { process, port, http, _folder: folder };
        let deadline = Instant::now() + Duration::from_secs(30);
        let ready = format!("http://127.0.0.1:{port}/-/ready");
        while !this.http.get(&ready).send().await.is_ok_and(|answer| answer.status().is_success()) {
            assert!(Instant::now() < deadline, "{}", this.process.err_text());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        this
    }

    async fn get(&self, path: &str, query: &[(&str, &str)]) -> Value {
        let url = format!("http://127.0.0.1:{}/api/v1/{path}", self.port);
        let url = reqwest::Url::parse_with_params(&url, query).expect("a URL");
        let answer = self.http.get(url).send().await.expect("Prometheus answers");
        let answer: Value = answer.json().await.expect("JSON");
        assert_eq!(answer["status"], "success", "{query:?}: {answer}");
        answer["data"].clone()
    }

    /// What an expression is now: labels and value of each sample.
    pub async fn query(&self, expression: &str) -> Vec<(Value, f64)> {
        let data = self.get("query", &[("query", expression)]).await;
        let samples = data["result"].as_array().cloned().unwrap_or_default();
        let value = |sample: &Value| sample["value"][1].as_str().and_then(|v| v.parse().ok());
        samples.iter().filter_map(|one| Some((one["metric"].clone(), value(one)?))).collect()
    }

    /// What an expression was, each `step` seconds between two moments (seconds since 1970): the labels and the points of
    /// each series, moment and value.
    pub async fn range(
        &self,
        expression: &str,
        between: (f64, f64),
        step: u32,
    ) -> Vec<(Value, Vec<(f64, f64)>)> {
        let (start, end, step) = (between.0.to_string(), between.1.to_string(), step.to_string());
        let query = [("query", expression), ("start", &start), ("end", &end), ("step", &step)];
        let data = self.get("query_range", &query).await;
        let point = |point: &Value| Some((point[0].as_f64()?, point[1].as_str()?.parse().ok()?));
        let series = data["result"].as_array().cloned().unwrap_or_default();
        let points = |one: &Value| one["values"].as_array().into_iter().flatten().filter_map(point).collect();
        series.iter().map(|one| (one["metric"].clone(), points(one))).collect()
    }

    /// Names of the alerts that fire now, one for each set of labels.
    pub async fn firing(&self) -> Vec<String> {
        let data = self.get("alerts", &[]).await;
        let alerts = data["alerts"].as_array().cloned().unwrap_or_default();
        let firing = alerts.iter().filter(|alert| alert["state"] == "firing");
        firing.filter_map(|alert| Some(alert["labels"]["alertname"].as_str()?.to_owned())).collect()
    }
}

/// Runs `promtool test rules` over a file's text, beside `rules.yaml` of another text: what it says where it fails.
pub fn promtool(name: &str, rules: &str, tests: &str) -> Result<(), String> {
    let folder = Folder::new(name);
    std::fs::write(folder.join("rules.yaml"), rules).expect("target/ is writable");
    std::fs::write(folder.join("tests.yaml"), tests).expect("target/ is writable");
    let mut command = Command::new(program("promtool"));
    let output = command.args(["test", "rules"]).arg(folder.join("tests.yaml")).output();
    let output = output.expect("promtool starts");
    match output.status.success() {
        true => Ok(()),
        false => {
            Err([output.stdout, output.stderr].map(|it| String::from_utf8_lossy(&it).into_owned()).concat())
        }
    }
}

fn program(name: &str) -> PathBuf {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&paths).map(|folder| folder.join(name)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{name} is not on PATH: run cargo xtask setup"))
}
