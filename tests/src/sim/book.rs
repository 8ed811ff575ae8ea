//! A simulator's book: what every request looked like on the wire and what it was billed.
//!
//! It is the provider's side of the truth in budget tests: totals are kept apart from the records, so they
//! stay right when old records are dropped. It is bounded in records and in bytes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use super::control::Bill;

const MAX_RECORDS: usize = 50_000;
/// Bytes of request and answer bodies kept over all records.
const MAX_BYTES: usize = 512 << 20;
/// Bytes of one answer kept.
const MAX_ANSWER: usize = 4 << 20;

/// How an exchange ended, seen from the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The whole answer was handed to the socket.
    Answered,
    /// The client left before the end.
    Vanished,
    /// The simulator itself ended it, as it was told to.
    Faulted,
}

/// One request, as received, and what became of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// From 1, in order of arrival.
    pub number: u64,
    /// Microseconds since the server's start.
    pub at_us: u64,
    /// From 1: which connection it came on.
    pub connection: u64,
    pub method: String,
    /// As received: neither decoded nor normalised.
    pub path: String,
    pub query: Option<String>,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub version: String,
    /// In the order received, with the case received on HTTP/1; on HTTP/2 pseudo-headers come first.
    pub headers: Vec<(String, String)>,
    /// The body where it is UTF-8.
    pub body: Option<String>,
    pub body_b64: String,
    pub model: Option<String>,
    pub streamed: bool,
    /// 0 until the answer's head was made.
    pub status: u16,
    /// Whether the model id in the path is percent-encoded as AWS does; absent where the path has none.
    pub canonical_path: Option<bool>,
    /// What the simulator or its judge found wrong; empty where nothing.
    pub problems: Vec<String>,
    /// Tokens of the prompt as the provider counts them, cached ones included.
    pub prompt_tokens: u32,
    pub cached_tokens: u32,
    /// Of the prompt, written to the provider's cache; 0 where the simulator does not tell.
    pub cache_write_tokens: u32,
    /// Tokens of the whole reply.
    pub completion_tokens: u32,
    /// Tokens written so far.
    pub generated_tokens: u32,
    pub billed_prompt_tokens: u32,
    pub billed_completion_tokens: u32,
    /// The body of the answer as written, before HTTP framing (up to 4 MiB).
    pub answer_b64: String,
    pub answer_bytes: u64,
    /// Frames the answer was written in.
    pub frames: u64,
    /// Microseconds from arrival to the first byte of the answer's body.
    pub first_byte_us: Option<u64>,
    pub outcome: Option<Outcome>,
}

impl Record {
    /// The first value of a header, by name without regard to case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// The request's body.
    pub fn body_bytes(&self) -> Vec<u8> {
        BASE64.decode(&self.body_b64).unwrap_or_default()
    }

    /// The request's body as JSON; null where it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body_bytes()).unwrap_or_default()
    }

    /// The answer's body as written.
    pub fn answer(&self) -> Vec<u8> {
        BASE64.decode(&self.answer_b64).unwrap_or_default()
    }
}

/// Sums over every exchange since the book was last cleared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Totals {
    pub requests: u64,
    pub answered: u64,
    pub vanished: u64,
    pub faulted: u64,
    /// Answers with a status of 400 or more.
    pub errors: u64,
    pub billed_prompt_tokens: u64,
    pub billed_completion_tokens: u64,
    /// Of the prompts that were billed: read from the provider's cache, and written to it.
    pub billed_cache_read_tokens: u64,
    pub billed_cache_write_tokens: u64,
}

struct Held {
    record: Record,
    body: Vec<u8>,
    answer: Vec<u8>,
    bill: Bill,
    /// The answer has begun: from here on an abort costs the prompt.
    begun: bool,
}

struct Pages {
    held: VecDeque<Arc<Mutex<Held>>>,
    next: u64,
    bytes: usize,
    /// Raised by `clear`, so that an exchange opened before is not summed after.
    epoch: u64,
}

/// All records and the totals.
pub struct Book {
    started: Instant,
    pages: Mutex<Pages>,
    totals: Mutex<Totals>,
}

impl Default for Book {
    fn default() -> Self {
        let pages = Pages { held: VecDeque::new(), next: 1, bytes: 0, epoch: 0 };
        Self { started: Instant::now(), pages: Mutex::new(pages), totals: Mutex::default() }
    }
}

impl Book {
    /// Every record kept, oldest first.
    pub fn records(&self) -> Vec<Record> {
        let held: Vec<_> = self.pages.lock().unwrap().held.iter().cloned().collect();
        held.iter().map(|h| h.lock().unwrap().export()).collect()
    }

    /// The same without bodies and answers.
    pub fn summaries(&self) -> Vec<Record> {
        let held: Vec<_> = self.pages.lock().unwrap().held.iter().cloned().collect();
        held.iter().map(|one| one.lock().unwrap().record.clone()).collect()
    }

    /// The newest record.
    pub fn last(&self) -> Option<Record> {
        let held = self.pages.lock().unwrap().held.back().cloned();
        held.map(|h| h.lock().unwrap().export())
    }

    pub fn totals(&self) -> Totals {
        *self.totals.lock().unwrap()
    }

    pub fn clear(&self) {
        let mut pages = self.pages.lock().unwrap();
        pages.held.clear();
        pages.bytes = 0;
        pages.epoch += 1;
        *self.totals.lock().unwrap() = Totals::default();
    }

    /// `{"totals": …, "records": […]}`; `bodies` off leaves both bodies out.
    pub fn json(&self, bodies: bool) -> serde_json::Value {
        let mut records = self.records();
        if !bodies {
            for record in &mut records {
                record.body = None;
                record.body_b64.clear();
                record.answer_b64.clear();
            }
        }
        serde_json::json!({"totals": self.totals(), "records": records})
    }

    /// Opens a record; its end is told to the returned [`Entry`], or it counts as vanished.
    pub fn open(self: &Arc<Self>, mut record: Record) -> Entry {
        let mut pages = self.pages.lock().unwrap();
        record.number = pages.next;
        record.at_us = self.started.elapsed().as_micros() as u64;
        pages.next += 1;
        let held = Held { record, body: Vec::new(), answer: Vec::new(), bill: Bill::Stops, begun: false };
        let held = Arc::new(Mutex::new(held));
        pages.held.push_back(held.clone());
        self.totals.lock().unwrap().requests += 1;
        let epoch = pages.epoch;
        while pages.held.len() > MAX_RECORDS || pages.bytes > MAX_BYTES {
            let Some(old) = pages.held.pop_front() else { break };
            let old = old.lock().unwrap();
            pages.bytes = pages.bytes.saturating_sub(old.body.len() + old.answer.len());
        }
        drop(pages);
        Entry { book: self.clone(), held, epoch }
    }
}

impl Held {
    fn export(&self) -> Record {
        let mut record = self.record.clone();
        record.body = std::str::from_utf8(&self.body).ok().map(str::to_owned);
        record.body_b64 = BASE64.encode(&self.body);
        record.answer_b64 = BASE64.encode(&self.answer);
        record
    }
}

/// A handle on one open record. Cheap to clone; the guard that closes it is [`Open`].
#[derive(Clone)]
pub struct Entry {
    book: Arc<Book>,
    held: Arc<Mutex<Held>>,
    epoch: u64,
}

impl Entry {
    pub fn note(&self, change: impl FnOnce(&mut Record)) {
        change(&mut self.held.lock().unwrap().record);
    }

    pub fn read<T>(&self, look: impl FnOnce(&Record) -> T) -> T {
        look(&self.held.lock().unwrap().record)
    }

    pub fn number(&self) -> u64 {
        self.held.lock().unwrap().record.number
    }

    pub fn body(&self, body: &[u8]) {
        let mut pages = self.book.pages.lock().unwrap();
        if pages.epoch == self.epoch {
            pages.bytes += body.len();
        }
        self.held.lock().unwrap().body = body.to_vec();
    }

    pub fn bill(&self, bill: Bill) {
        self.held.lock().unwrap().bill = bill;
    }

    /// The provider has begun to work on the prompt.
    pub fn begin(&self) {
        self.held.lock().unwrap().begun = true;
    }

    pub fn generated(&self, tokens: u32) {
        let mut held = self.held.lock().unwrap();
        if held.record.outcome.is_none() {
            held.record.generated_tokens += tokens;
        }
    }

    pub fn wrote(&self, bytes: &[u8]) {
        let mut held = self.held.lock().unwrap();
        held.record.frames += 1;
        let now = self.book.started.elapsed().as_micros() as u64;
        let arrived = held.record.at_us;
        held.record.first_byte_us.get_or_insert(now.saturating_sub(arrived));
        held.record.answer_bytes += bytes.len() as u64;
        let room = MAX_ANSWER.saturating_sub(held.answer.len()).min(bytes.len());
        held.answer.extend_from_slice(&bytes[..room]);
        drop(held);
        let mut pages = self.book.pages.lock().unwrap();
        if pages.epoch == self.epoch {
            pages.bytes += room;
        }
    }

    /// Closes the record and bills it; the first call decides.
    pub fn settle(&self, outcome: Outcome) {
        let mut held = self.held.lock().unwrap();
        if held.record.outcome.is_some() {
            return;
        }
        held.record.outcome = Some(outcome);
        let (bill, begun) = (held.bill, held.begun);
        let record = &mut held.record;
        let whole = (record.prompt_tokens, record.completion_tokens);
        let billed = match (outcome, bill) {
            _ if record.status >= 400 => (0, 0),
            (Outcome::Answered, _) | (_, Bill::All) => whole,
            (_, Bill::Nothing) => (0, 0),
            (_, Bill::Stops) if begun => (record.prompt_tokens, record.generated_tokens),
            (_, Bill::Stops) => (0, 0),
        };
        (record.billed_prompt_tokens, record.billed_completion_tokens) = billed;
        let failed = record.status >= 400;
        let cache = if billed.0 > 0 { (record.cached_tokens, record.cache_write_tokens) } else { (0, 0) };
        drop(held);
        // The epoch is read under the totals' lock order of `clear`: pages, then totals.
        let pages = self.book.pages.lock().unwrap();
        if pages.epoch != self.epoch {
            return;
        }
        let mut totals = self.book.totals.lock().unwrap();
        match outcome {
            Outcome::Answered => totals.answered += 1,
            Outcome::Vanished => totals.vanished += 1,
            Outcome::Faulted => totals.faulted += 1,
        }
        totals.errors += u64::from(failed);
        totals.billed_prompt_tokens += u64::from(billed.0);
        totals.billed_completion_tokens += u64::from(billed.1);
        totals.billed_cache_read_tokens += u64::from(cache.0);
        totals.billed_cache_write_tokens += u64::from(cache.1);
    }
}

/// Closes a record as vanished when it is dropped before anything else closed it.
pub struct Open(pub Entry);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.settle(Outcome::Vanished);
    }
}
