//! What a VM tells a collector of its exchanges: spans in bounded batches and metrics over OTLP/gRPC, all of it on the
//! tick and nothing of it on the way of a request. Envoy's own statistics (`statistics`) are told with them.
//!
//! A batch that the collector cannot take now waits, with growing pauses; what does not fit is dropped and counted,
//! never waited for. A trap loses what waits here; the access log still has each exchange's record.

use weir_pipeline::io::Now;
use weir_pipeline::metrics::{self, Metrics};
use weir_pipeline::otlp::{self, Source};
use weir_pipeline::span::{Span, Try, hex};
use weir_sorted::Map;

use crate::host;
use crate::statistics::{DROPPED, FAILURES, REJECTED, SENT, Statistics, UNSAMPLED};

/// Spans that wait, by number and by size.
const MAX_SPANS: usize = 4096;
const MAX_BYTES: usize = 4 << 20;
const MAX_BATCH: usize = 512;
/// Collectors take messages of 4 MiB; spans with content are large.
const MAX_BATCH_BYTES: usize = 1 << 20;
const TIMEOUT_MS: u32 = 5_000;
/// The first pause after a failure; it doubles with each, up to 64 times.
const PAUSE_NS: u64 = 250_000_000;
const METRICS_EVERY_NS: u64 = 5_000_000_000;
/// A collector that is gone is told of this often, not at every batch.
const COMPLAIN_EVERY_NS: u64 = 60_000_000_000;
/// gRPC statuses after which OTLP wants the same again: cancelled, deadline, exhausted, aborted, out of range,
/// unavailable, data loss.
const RETRIABLE: u32 = 1 << 1 | 1 << 4 | 1 << 8 | 1 << 10 | 1 << 11 | 1 << 14 | 1 << 15;
/// Values of one label; what comes after is `other`.
const MAX_VALUES: usize = 1_000;
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// All of it.
#[derive(Default)]
pub struct Telemetry {
    cluster: Option<String>,
    root: u32,
    instance: String,
    waiting: Vec<Vec<u8>>,
    bytes: usize,
    sending: Option<(u32, Vec<Vec<u8>>)>,
    failures: u32,
    not_before: u64,
    complained: u64,
    /// Dropped since the last complaint.
    lost: u64,
    metrics: Metrics,
    /// The metrics' call under way, and when the last began.
    reporting: Option<u32>,
    reported: u64,
    /// Envoy's own.
    pub statistics: Statistics,
    labels: Map<String, Map<String, ()>>,
}

impl Telemetry {
    /// Takes the collector's Envoy cluster.
    pub fn configure(&mut self, cluster: Option<&str>, root: u32) {
        self.cluster = cluster.map(str::to_owned);
        self.root = root;
    }

    /// Somebody takes spans.
    pub fn exports(&self) -> bool {
        self.cluster.is_some()
    }

    /// Bounds the number of values that each label has.
    pub fn limit(&mut self, labels: &mut [(String, String)]) {
        for (name, value) in labels {
            if !self.labels.contains_key(name) {
                self.labels.insert(name.clone(), Map::new());
            }
            let Some(known) = self.labels.get_mut(name) else { continue };
            if known.contains_key(value) {
                continue;
            }
            if known.len() < MAX_VALUES {
                known.insert(value.clone(), ());
            } else {
                "other".clone_into(value);
            }
        }
    }

    /// Takes an exchange that is over.
    pub fn exchange(&mut self, span: &Span) {
        self.statistics.exchange(span);
        if !self.exports() {
            return;
        }
        self.metrics.record(span);
        if span.kept() {
            self.push(otlp::encode(span));
        } else {
            self.statistics.add(UNSAMPLED, 1);
        }
    }

    /// Takes a try that is over.
    pub fn attempt(&mut self, one: &Try) {
        if one.kept() {
            self.push(otlp::encode_try(one));
        }
    }

    fn push(&mut self, span: Vec<u8>) {
        if self.waiting.len() >= MAX_SPANS || self.bytes + span.len() > MAX_BYTES {
            self.dropped(1);
            return;
        }
        self.bytes += span.len();
        self.waiting.push(span);
    }

    fn dropped(&mut self, spans: u64) {
        self.lost += spans;
        self.statistics.add(DROPPED, spans);
    }

    /// Time passes on a plugin.
    pub fn tick(&mut self, now: Now, root: u32) {
        if root != self.root || host::act_on(root).is_err() {
            return;
        }
        self.statistics.tell();
        self.flush(now);
        self.report(now);
        if self.lost > 0 && now.0.saturating_sub(self.complained) > COMPLAIN_EVERY_NS {
            self.complained = now.0;
            let lost = std::mem::take(&mut self.lost);
            let text = format!("weir: {lost} spans dropped: the collector is slow or gone");
            host::log(host::Level::Warn, &text);
        }
    }

    fn source(&mut self) -> Source<'_> {
        if self.instance.is_empty() {
            let [a, b, ..] = host::entropy();
            hex(&mut self.instance, &a.to_be_bytes());
            hex(&mut self.instance, &b.to_be_bytes());
        }
        Source { version: VERSION, instance: &self.instance }
    }

    /// Sends what waits, one batch at a time.
    fn flush(&mut self, now: Now) {
        if self.sending.is_some() || self.waiting.is_empty() || now.0 < self.not_before {
            return;
        }
        let Some(cluster) = self.cluster.clone() else { return };
        let mut size = 0;
        let fits = |span: &&Vec<u8>| {
            size += span.len();
            size <= MAX_BATCH_BYTES
        };
        let many = self.waiting.iter().take(MAX_BATCH).take_while(fits).count().max(1);
        let batch: Vec<_> = self.waiting.drain(..many).collect();
        self.bytes -= batch.iter().map(Vec::len).sum::<usize>().min(self.bytes);
        let message = otlp::batch(&batch, &self.source());
        match host::grpc(&cluster, otlp::SERVICE, otlp::METHOD, &message, TIMEOUT_MS) {
            Ok(token) => self.sending = Some((token, batch)),
            Err(_) => self.failed(now, batch, true),
        }
    }

    fn failed(&mut self, now: Now, mut batch: Vec<Vec<u8>>, again: bool) {
        self.statistics.add(FAILURES, 1);
        self.not_before = now.0 + (PAUSE_NS << self.failures.min(6));
        self.failures += 1;
        // The newest are of more use than those that were not taken.
        let size = batch.iter().map(Vec::len).sum::<usize>();
        if !again || self.waiting.len() + batch.len() > MAX_SPANS || self.bytes + size > MAX_BYTES {
            self.dropped(batch.len() as u64);
            return;
        }
        self.bytes += size;
        batch.append(&mut self.waiting);
        self.waiting = batch;
    }

    /// Sends the metrics, where they changed and it is time.
    fn report(&mut self, now: Now) {
        if self.reporting.is_some() || now.0.saturating_sub(self.reported) < METRICS_EVERY_NS {
            return;
        }
        let Some(cluster) = self.cluster.clone() else { return };
        self.source();
        let source = Source { version: VERSION, instance: &self.instance };
        let Some(message) = self.metrics.export(now.0, &source) else { return };
        self.reported = now.0;
        let called = host::grpc(&cluster, metrics::SERVICE, otlp::METHOD, &message, TIMEOUT_MS);
        match called {
            Ok(token) => self.reporting = Some(token),
            Err(_) => self.metrics_failed(),
        }
    }

    fn metrics_failed(&mut self) {
        self.statistics.add(FAILURES, 1);
        // Sums only grow: the next export says all that this one did.
        self.metrics.again();
    }

    /// Sends what others have to tell to the same collector; the call's number.
    pub fn call(&mut self, service: &str, items: &[Vec<u8>]) -> Option<u32> {
        let cluster = self.cluster.clone()?;
        let message = otlp::batch(items, &self.source());
        host::act_on(self.root).ok()?;
        host::grpc(&cluster, service, otlp::METHOD, &message, TIMEOUT_MS).ok()
    }

    /// Whether `token` was a call of ours; if so it is settled.
    pub fn answer(&mut self, now: Now, token: u32, answer: &Result<Vec<u8>, u32>) -> bool {
        if self.reporting.take_if(|reporting| *reporting == token).is_some() {
            if answer.is_err() {
                self.metrics_failed();
            }
            return true;
        }
        let Some((_, batch)) = self.sending.take_if(|(sending, _)| *sending == token) else { return false };
        match answer {
            Ok(message) => {
                let rejected = otlp::rejected(message).min(batch.len() as u64);
                self.failures = 0;
                self.statistics.add(SENT, batch.len() as u64 - rejected);
                self.statistics.add(REJECTED, rejected);
                let full = self.waiting.len() >= MAX_BATCH || self.bytes >= MAX_BATCH_BYTES;
                if full && host::act_on(self.root).is_ok() {
                    self.flush(now);
                }
            }
            Err(status) => self.failed(now, batch, *status < 32 && RETRIABLE >> status & 1 == 1),
        }
        true
    }
}
