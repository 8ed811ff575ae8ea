//! The clients: each asks, reads or leaves, and asks again at once; refused ones come back sooner than they were told.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;
use weir_tests::harness::Client;

use super::stage::{CEILING, Stage};

/// The key of the only tenant.
const KEY: &str = "weir-demo";
/// The protocol promises the edge of a window to one round trip of the ledger: a refusal read later than this after it,
/// in microseconds, is one of the new window, whenever it was asked for. Gateways and ledger share two cores with two
/// hundred clients.
const EDGE_US: u32 = 100_000;
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
    /// When requests that were admitted began and ended, in microseconds of the run.
    admitted_us: Mutex<Vec<(u32, u32)>>,
    /// When requests that were refused began and ended.
    refused_us: Mutex<Vec<(u32, u32)>>,
    /// When windows began, by the wall clock.
    edges_us: Mutex<Vec<u32>>,
    /// What the provider's book left of the limit, over time.
    room: Mutex<Vec<(u32, u64)>>,
    /// Microseconds from the request to the answer's head, for those that were answered.
    pub head_us: Mutex<Vec<u32>>,
    /// Refused while the ledger pauses grants, after it may have forgotten some: neither true nor false.
    pub quarantine: AtomicU64,
    /// Refusals by status and code.
    pub codes: Mutex<BTreeMap<String, u64>>,
    /// The first unexpected answers.
    pub odd: Mutex<Vec<String>>,
    pub stop: AtomicBool,
}

/// What the provider's book says of the refusals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Refused while enough was free.
    pub free: u64,
    /// Asked in one window and refused in the next, whatever was free.
    pub across: u64,
    /// How long after the edge the last of these was read, in microseconds.
    pub latest_us: u32,
}

/// What decides whether a refusal was false.
#[derive(Debug)]
pub struct Judge {
    /// The limit in force; 0 where nobody can say what is free.
    pub limit: AtomicU64,
    /// What one request reserves.
    pub reservation: AtomicU64,
    begun: Instant,
}

impl Judge {
    fn now(&self) -> u32 {
        u32::try_from(self.begun.elapsed().as_micros()).unwrap_or(u32::MAX)
    }
}

impl Met {
    pub fn refused(&self) -> u64 {
        self.terminal.load(Ordering::Relaxed) + self.transient.load(Ordering::Relaxed)
    }

    pub fn get(of: &AtomicU64) -> u64 {
        of.load(Ordering::Relaxed)
    }

    /// Refusals while more was free than `floor` by the provider's book: what it had not billed, less a full
    /// reservation for each request that was on its way at that moment and was admitted in the end.
    ///
    /// A refusal may be decided before a window's end and be read after it, when the book has just been closed and
    /// everything is free. Of which window it speaks is not asked of the refusal: whoever asked before the edge, by the
    /// wall clock, and was refused within [`EDGE_US`] after it, is judged by the last moment of the window it asked in.
    pub fn free_by_book(&self, reservation: u64, floor: u64) -> Verdict {
        /// In the order in which they count at the same instant.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        enum At {
            Begin,
            Room(u64),
            Refused,
            End,
        }
        let (Ok(admitted), Ok(refused), Ok(room), Ok(edges)) =
            (self.admitted_us.lock(), self.refused_us.lock(), self.room.lock(), self.edges_us.lock())
        else {
            return Verdict::default();
        };
        let mut verdict = Verdict::default();
        let mut all: Vec<(u32, At)> = Vec::new();
        all.extend(admitted.iter().flat_map(|(begin, end)| [(*begin, At::Begin), (*end, At::End)]));
        for (begun, at) in refused.iter().copied() {
            let Some(edge) = edges.iter().copied().find(|edge| (begun + 1..=at).contains(edge)) else {
                all.push((at, At::Refused));
                continue;
            };
            let late = at - edge;
            verdict.across += 1;
            verdict.latest_us = verdict.latest_us.max(late);
            all.push((if late <= EDGE_US { edge - 1 } else { at }, At::Refused));
        }
        all.extend(room.iter().map(|(at, room)| (*at, At::Room(*room))));
        all.sort_unstable();
        let (mut running, mut left) = (0u64, 0u64);
        for (_, what) in all {
            match what {
                At::Begin => running += 1,
                At::End => running = running.saturating_sub(1),
                At::Room(room) => left = room,
                At::Refused => {
                    verdict.free += u64::from(left.saturating_sub(running * reservation) >= floor);
                }
            }
        }
        verdict
    }
}

/// How its clients behave.
#[derive(Clone, Copy, Debug)]
pub struct Ways {
    /// Every second one leaves its streams in the middle.
    pub leaving: bool,
    /// Every second request offers a tool.
    pub tools: bool,
}

/// The crowd, running.
pub struct Crowd {
    pub met: Arc<Met>,
    pub judge: Arc<Judge>,
    running: JoinSet<()>,
}

impl Crowd {
    /// Starts the clients.
    pub fn start(stage: &Stage, clients: usize, limit: u64, ways: Ways) -> Self {
        let met = Arc::new(Met::default());
        let judge =
            Arc::new(Judge { limit: limit.into(), reservation: CEILING.into(), begun: Instant::now() });
        let mut running = JoinSet::new();
        for number in 0..clients {
            let one = One {
                number,
                client: Client::new(stage.port, KEY),
                leaves: ways.leaving && number % 2 == 1,
                tools: ways.tools,
                met: met.clone(),
                judge: judge.clone(),
            };
            running.spawn(one.run());
        }
        Self { met, judge, running }
    }

    /// Notes what the book says now; answers what it has billed beyond `before`.
    pub fn look(&self, stage: &Stage, before: u64) -> u64 {
        let billed = stage.book().0.saturating_sub(before);
        let left = Met::get(&self.judge.limit).saturating_sub(billed);
        if let Ok(mut room) = self.met.room.lock() {
            room.push((self.judge.now(), left));
        }
        billed
    }

    /// A window began so long ago.
    pub fn edge(&self, ago: Duration) {
        let ago = u32::try_from(ago.as_micros()).unwrap_or(u32::MAX);
        if let Ok(mut edges) = self.met.edges_us.lock() {
            edges.push(self.judge.now().saturating_sub(ago));
        }
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
    tools: bool,
    met: Arc<Met>,
    judge: Arc<Judge>,
}

impl One {
    async fn run(self) {
        for round in 0.. {
            if self.met.stop.load(Ordering::Relaxed) {
                return;
            }
            let stream = (self.number + round).is_multiple_of(2);
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
        if self.tools && (self.number / 2 + round).is_multiple_of(2) {
            body["tools"] = json!([{"type": "function", "function": {
                "name": "gauge", "description": "Reads a gauge.",
                "parameters": {"type": "object", "properties": {"river": {"type": "string"}}}
            }}]);
        }
        add(&self.met.asked);
        let (begun, begun_us) = (Instant::now(), self.judge.now());
        let Ok(response) = self.client.post("/v1/chat/completions", body.to_string()).send().await else {
            add(&self.met.broken);
            return false;
        };
        let status = response.status().as_u16();
        let again = response.headers().get("x-should-retry").is_none_or(|value| value != "false");
        if status != 200 {
            let text = response.text().await.unwrap_or_default();
            let code = text.split_once("\"code\":\"").and_then(|(_, rest)| rest.split('"').next());
            if let Ok(mut codes) = self.met.codes.lock() {
                *codes.entry(format!("{status} {}", code.unwrap_or_default())).or_default() += 1;
            }
            match status {
                429 | 503 if code == Some("budget_quarantine") => {
                    add(&self.met.quarantine);
                }
                429 => {
                    add(if again { &self.met.transient } else { &self.met.terminal });
                    self.judge(&text, begun_us);
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
        let admitted = self.answer(response, stream, begun).await;
        if let Ok(mut all) = self.met.admitted_us.lock() {
            all.push((begun_us, self.judge.now()));
        }
        admitted
    }

    /// Reads the answer, or leaves it; whether the client may go on at once.
    async fn answer(&self, mut response: reqwest::Response, stream: bool, begun: Instant) -> bool {
        let add = |to: &AtomicU64| to.fetch_add(1, Ordering::Relaxed);
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

    /// Whether a refusal was false by its own figures; the book decides later.
    fn judge(&self, text: &str, begun_us: u32) {
        let limit = Met::get(&self.judge.limit);
        let floor = Met::get(&self.judge.reservation).max(limit / 50);
        if free(text).is_some_and(|free| free >= floor) {
            self.met.free_by_word.fetch_add(1, Ordering::Relaxed);
        }
        if let Ok(mut all) = self.met.refused_us.lock() {
            all.push((begun_us, self.judge.now()));
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
    Some(before(" tokens left")? + before(" tokens leased to").unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_false_when_the_book_has_room_beyond_what_runs() {
        let met = Met::default();
        *met.room.lock().unwrap() = vec![(0, 1_000), (50, 400)];
        // Two run from 10 to 40 and from 20 to 60, each reserving 300.
        *met.admitted_us.lock().unwrap() = vec![(10, 40), (20, 60)];
        // Left: 1,000 at 5, 700 at 15, 400 at 30, 700 at 45, 100 at 55, 400 at 70.
        *met.refused_us.lock().unwrap() = [5, 15, 30, 45, 55, 70].map(|at| (at - 1, at)).to_vec();
        for (floor, count) in [(1_000, 1), (700, 3), (400, 5), (100, 6)] {
            assert_eq!(met.free_by_book(300, floor).free, count, "{floor}");
        }
    }

    #[test]
    fn a_refusal_asked_for_before_the_edge_and_read_soon_after_it_is_judged_by_the_old_window() {
        let met = Met::default();
        let edge = 1_000_000;
        // Nothing is left of the first window, all of the second.
        *met.room.lock().unwrap() = vec![(0, 0), (edge, 1_000)];
        *met.edges_us.lock().unwrap() = vec![edge];
        let late = edge + EDGE_US;
        for (begun, at, verdict) in [
            (edge - 5, edge + 7, Verdict { free: 0, across: 1, latest_us: 7 }),
            (edge - 5, edge, Verdict { free: 0, across: 1, latest_us: 0 }),
            // Nobody holds a question back so long without deciding it anew.
            (edge - 5, late + 1, Verdict { free: 1, across: 1, latest_us: EDGE_US + 1 }),
            (edge, edge + 7, Verdict { free: 1, across: 0, latest_us: 0 }),
            (edge - 9, edge - 2, Verdict::default()),
        ] {
            *met.refused_us.lock().unwrap() = vec![(begun, at)];
            assert_eq!(met.free_by_book(300, 500), verdict, "{begun} {at}");
        }
        // An old window that had room: the refusal was false in whichever window.
        *met.room.lock().unwrap() = vec![(0, 900), (edge, 1_000)];
        *met.refused_us.lock().unwrap() = vec![(edge - 5, edge + 7)];
        assert_eq!(met.free_by_book(300, 500).free, 1);
    }

    #[test]
    fn what_a_refusal_calls_free_is_what_is_left_and_what_is_leased() {
        let text = "Budget small (50,000 tokens per month, UTC) has too little free at the moment: 1,204 tokens \
                    settled, 48,000 tokens held by 9 running requests, 1,300 tokens leased to gateways, 0 tokens \
                    stranded by a lost gateway, 96 tokens left; this request needs at least 99 tokens.";
        assert_eq!(free(text), Some(1_396));
        assert_eq!(free("Budget small cannot be checked: its ledger does not answer."), None);
    }
}
