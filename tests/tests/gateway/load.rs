//! Clients that ask again and again beside what a test does. Every answer must be a good and complete one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinHandle;
use weir_tests::harness::{Answer, Client};

use crate::chat::{chat, said};

/// What a good answer must be besides; the text is what was asked.
type Check = fn(&Answer, &str) -> Result<(), String>;

pub struct Load {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    clients: Vec<JoinHandle<(Duration, Vec<String>)>>,
}

impl Load {
    /// This many clients, each on its own connection.
    pub fn start(
        client: impl Fn() -> Client,
        clients: usize,
        model: &'static str,
        stream: bool,
        check: Check,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let count = Arc::new(AtomicU64::new(0));
        let clients = (0..clients)
            .map(|number| {
                let (client, stop, count) = (client(), stop.clone(), count.clone());
                tokio::spawn(async move {
                    let (mut failures, mut longest) = (Vec::new(), Duration::ZERO);
                    let mut round = 0;
                    while !stop.load(Ordering::Relaxed) {
                        round += 1;
                        let text = format!("Client {number} asks {model} question {round}, stream {stream}.");
                        let begun = Instant::now();
                        if let Err(why) =
                            ask(&client, &chat(model, &text, stream), stream, &text, check).await
                        {
                            failures.push(format!("{text} {why}"));
                        }
                        longest = longest.max(begun.elapsed());
                        count.fetch_add(1, Ordering::Relaxed);
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    (longest, failures)
                })
            })
            .collect();
        Self { stop, count, clients }
    }

    /// How many there were so far.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Waits for this many more.
    pub async fn more(&self, wanted: u64) {
        let (before, begun) = (self.count(), Instant::now());
        while self.count() < before + wanted {
            assert!(begun.elapsed() < Duration::from_secs(60), "the load stands still");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Ends it; none may have failed. Answers how many there were, and how long the longest took.
    pub async fn end(self) -> (u64, Duration) {
        self.stop.store(true, Ordering::Relaxed);
        let (mut failures, mut longest) = (Vec::new(), Duration::ZERO);
        for client in self.clients {
            let (took, more) = client.await.expect("a client does not panic");
            longest = longest.max(took);
            failures.extend(more);
        }
        let count = self.count.load(Ordering::Relaxed);
        assert!(
            failures.is_empty(),
            "{} of {count} failed: {:#?}",
            failures.len(),
            &failures[..failures.len().min(5)]
        );
        (count, longest)
    }
}

async fn ask(client: &Client, body: &Value, stream: bool, text: &str, check: Check) -> Result<(), String> {
    let mut body = body.clone();
    body["max_tokens"] = json!(100);
    let request = client.post("/v1/chat/completions", body.to_string());
    let answer = Client::try_answer(request).await.map_err(|error| format!("{error:?}"))?;
    let said = said(&answer, stream)?;
    if !said.done || said.finish.is_none() {
        return Err(format!("cut: {said:?}"));
    }
    check(&answer, text)
}
