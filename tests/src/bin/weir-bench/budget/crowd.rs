//! The clients: each asks, reads or leaves, and asks again at once; refused ones come back sooner than they were told.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;
use weir_tests::harness::Client;

use super::stage::{CEILING, Stage};

/// The key of the only tenant.
const KEY: &str = "weir-demo";
/// How long a refused client stays away.
const AWAY: Duration = Duration::from_millis(50);

/// What the clients met.
#[derive(Debug, Default)]
pub struct Met {
    pub asked: AtomicU64,
    pub answered: AtomicU64,
    /// 429: nothing will be left before the window ends.
    pub terminal: AtomicU64,
    /// 429: others' reservations may come back.
    pub transient: AtomicU64,
    /// 503: the ledger cannot be asked.
    pub unavailable: AtomicU64,
    /// Streams that the client itself left.
    pub left: AtomicU64,
    /// Broken off by a gateway that died, or by what went wrong.
    pub broken: AtomicU64,
    /// Refused while more was free than a request needs and than 2 % of the limit, by the refusal's own figures.
    pub free_by_word: AtomicU64,
    /// The same by the provider's book: what it has not billed, less a full reservation for each that it still answers.
    pub free_by_book: AtomicU64,
    /// Microseconds from the request to the answer's head, for those that were answered.
    pub head_us: Mutex<Vec<u32>>,
    /// The first of each kind of unexpected answer.
    pub odd: Mutex<Vec<String>>,
    pub stop: AtomicBool,
}

/// What decides whether a refusal was false.
#[derive(Debug)]
pub struct Judge {
    /// The limit in force.
    pub limit: AtomicU64,
    /// Billed so far in this window, by the book.
    pub billed: AtomicU64,
    /// Requests that the provider is answering.
    pub open: AtomicU64,
    /// What one request reserves.
    pub reservation: AtomicU64,
    /// Held by a gateway that is dead: gone, but not in the book.
    pub dead: AtomicU64,
}

impl Met {
    pub fn refused(&self) -> u64 {
        self.terminal.load(Ordering::Relaxed) + self.transient.load(Ordering::Relaxed)
    }

    pub fn get(of: &AtomicU64) -> u64 {
        of.load(Ordering::Relaxed)
    }
}

/// The crowd, running.
pub struct Crowd {
    pub met: Arc<Met>,
    pub judge: Arc<Judge>,
    running: JoinSet<()>,
}

impl Crowd {
    /// Starts the clients. With `leaving` every second one leaves its streams in the middle.
    pub fn start(stage: &Stage, clients: usize, limit: u64, leaving: bool) -> Self {
        let met = Arc::new(Met::default());
        let judge = Arc::new(Judge {
            limit: limit.into(),
            billed: 0.into(),
            open: 0.into(),
            reservation: (CEILING + 100).into(),
            dead: 0.into(),
        });
        let mut running = JoinSet::new();
        for number in 0..clients {
            let one = One {
                number,
                client: Client::new(stage.port, KEY),
                leaves: leaving && number % 2 == 1,
                met: met.clone(),
                judge: judge.clone(),
            };
            running.spawn(one.run());
        }
        Self { met, judge, running }
    }

    /// Tells the judge what the book says.
    pub fn look(&self, stage: &Stage, before: u64) -> u64 {
        let (billed, open) = stage.book();
        let billed = billed.saturating_sub(before);
        self.judge.billed.store(billed, Ordering::Relaxed);
        self.judge.open.store(open, Ordering::Relaxed);
        billed
    }

    /// Ends the clients; running requests are read to their end.
    pub async fn stop(mut self) -> Arc<Met> {
        self.met.stop.store(true, Ordering::Relaxed);
        let ended = async { while self.running.join_next().await.is_some() {} };
        if tokio::time::timeout(Duration::from_secs(70), ended).await.is_err() {
            self.running.abort_all();
        }
        self.met
    }
}

struct One {
    number: usize,
    client: Client,
    leaves: bool,
    met: Arc<Met>,
    judge: Arc<Judge>,
}

impl One {
    async fn run(self) {
        for round in 0.. {
            if self.met.stop.load(Ordering::Relaxed) {
                return;
            }
            let stream = (self.number + round) % 2 == 0;
            if !self.ask(round, stream).await {
                tokio::time::sleep(AWAY).await;
            }
        }
    }

    /// One request; whether it was answered.
    async fn ask(&self, round: usize, stream: bool) -> bool {
        let add = |to: &AtomicU64| to.fetch_add(1, Ordering::Relaxed);
        let text = format!(
            "Client {} asks question {round} of very many, and hopes for a short answer.",
            self.number
        );
        let mut body = json!({
            "model": "fast", "max_tokens": CEILING, "messages": [{"role": "user", "content": text}],
        });
        if stream {
            body["stream"] = json!(true);
        }
        add(&self.met.asked);
        let begun = Instant::now();
        let Ok(mut response) = self.client.post("/v1/chat/completions", body.to_string()).send().await else {
            add(&self.met.broken);
            return false;
        };
        let status = response.status().as_u16();
        let again = response.headers().get("x-should-retry").is_none_or(|value| value != "false");
        if status != 200 {
            let text = response.text().await.unwrap_or_default();
            match status {
                429 => {
                    add(if again { &self.met.transient } else { &self.met.terminal });
                    self.judge(&text);
                }
                503 => {
                    add(&self.met.unavailable);
                }
                _ => {
                    add(&self.met.broken);
                    self.odd(&format!("{status}: {text}"));
                }
            }
            return false;
        }
        let head = u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX);
        if self.leaves && stream {
            let _ = response.chunk().await;
            add(&self.met.left);
            return true;
        }
        match response.bytes().await {
            Ok(body) if !stream || body.ends_with(b"data: [DONE]\n\n") => {
                add(&self.met.answered);
                if let Ok(mut all) = self.met.head_us.lock() {
                    all.push(head);
                }
                true
            }
            _ => {
                add(&self.met.broken);
                false
            }
        }
    }

    /// Whether a refusal was false: by its own figures, and by the provider's book.
    fn judge(&self, text: &str) {
        let limit = Met::get(&self.judge.limit);
        let floor = Met::get(&self.judge.reservation).max(limit / 50);
        if let Some(free) = free(text)
            && free >= floor
        {
            self.met.free_by_word.fetch_add(1, Ordering::Relaxed);
        }
        let open = Met::get(&self.judge.open) * Met::get(&self.judge.reservation);
        let gone = Met::get(&self.judge.billed) + open + Met::get(&self.judge.dead);
        if limit.saturating_sub(gone) >= floor {
            self.met.free_by_book.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn odd(&self, text: &str) {
        if let Ok(mut odd) = self.met.odd.lock()
            && odd.len() < 5
        {
            odd.push(text.chars().take(300).collect());
        }
    }
}

/// What a refusal says is leased or left.
fn free(text: &str) -> Option<u64> {
    let before = |mark: &str| {
        let (head, _) = text.split_once(mark)?;
        let figure = head.rsplit(|c: char| !(c.is_ascii_digit() || c == ',')).next()?;
        figure.replace(',', "").parse::<u64>().ok()
    };
    Some(before(" tokens left;")? + before(" tokens leased to").unwrap_or(0))
}
