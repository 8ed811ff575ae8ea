//! Envoy's access log as it grows: one JSON object a line.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Reads the file of one Envoy.
#[derive(Clone, Debug)]
pub struct AccessLog {
    path: PathBuf,
}

impl AccessLog {
    /// The log at this path.
    pub fn new(path: &Path) -> Self {
        Self { path: path.into() }
    }

    /// All whole lines so far.
    pub fn lines(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.path).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits for the first line that `wanted` accepts; Envoy writes a moment after the exchange.
    pub async fn find(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(line) = self.lines().into_iter().find(|line| wanted(line)) {
                return line;
            }
            assert!(Instant::now() < deadline, "no such line in {}", self.path.display());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until there are `count` lines and gives them all.
    pub async fn wait(&self, count: usize) -> Vec<Value> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let lines = self.lines();
            if lines.len() >= count {
                return lines;
            }
            assert!(Instant::now() < deadline, "{} of {count} lines came", lines.len());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
