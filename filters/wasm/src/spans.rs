//! What a VM tells a collector of its exchanges: spans in bounded batches and metrics over OTLP, all of it on the
//! tick and nothing of it on the way of a request. Envoy's own statistics (`statistics`) are told with them.
//!
//! A batch that the collector cannot take now waits, with growing pauses; what does not fit is dropped and counted,
//! never waited for. A trap loses what waits here; the access log still has each exchange's record.

use weir_pipeline::cooling;
use weir_pipeline::io::{Headers, Now};
use weir_pipeline::metrics::{METRICS, Metrics};
use weir_pipeline::otlp::{self, METHOD, Signal, Source, TRACES};
use weir_pipeline::span::{Span, Try, hex};
use weir_sorted::Map;

use crate::host::{self, Call, UNAVAILABLE};
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
/// The gRPC status for those of HTTP after which OTLP does not want the same again.
const INVALID: u32 = 3;
/// Bytes of an answer that are read, at most.
const MAX_ANSWER: usize = 64 << 10;
/// Values of one label; what comes after is `other`.
const MAX_VALUES: usize = 1_000;
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// All of it.
#[derive(Default)]
pub struct Telemetry {
    cluster: Option<String>,
    /// Authority and path prefix where the collector speaks OTLP/HTTP.
    http: Option<String>,
    /// See [`Span::kept`].
    above: Option<u64>,
    root: u32,
    instance: String,
    waiting: Vec<Vec<u8>>,
    bytes: usize,
    sending: Option<(Call, Vec<Vec<u8>>)>,
    failures: u32,
    not_before: u64,
    complained: u64,
    /// Dropped since the last complaint.
    lost: u64,
    metrics: Metrics,
    /// The metrics' call under way, and when the last began.
    reporting: Option<Call>,
    reported: u64,
    /// Envoy's own.
    pub statistics: Statistics,
    labels: Map<String, Map<String, ()>>,
}

impl Telemetry {
    /// Takes where the collector is.
    pub fn configure(&mut self, telemetry: &weir_config::filter::Telemetry, root: u32) {
        self.cluster.clone_from(&telemetry.otlp_cluster);
        self.http.clone_from(&telemetry.otlp_http);
        self.above = telemetry.sample_above;
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
        if span.kept(self.above) {
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
        if root != self.root {
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
        let mut size = 0;
        let fits = |span: &&Vec<u8>| {
            size += span.len();
            size <= MAX_BATCH_BYTES
        };
        let many = self.waiting.iter().take(MAX_BATCH).take_while(fits).count().max(1);
        let batch: Vec<_> = self.waiting.drain(..many).collect();
        self.bytes -= batch.iter().map(Vec::len).sum::<usize>().min(self.bytes);
        let message = otlp::batch(&batch, &self.source());
        match self.send(&TRACES, &message) {
            Some(call) => self.sending = Some((call, batch)),
            None => self.failed(now, batch, true),
        }
    }

    /// Starts a call.
    fn send(&self, signal: &Signal, message: &[u8]) -> Option<Call> {
        let cluster = self.cluster.as_deref()?;
        let Some(at) = &self.http else {
            return host::grpc(self.root, cluster, signal.service, METHOD, message, TIMEOUT_MS).ok();
        };
        let (authority, prefix) = at.find('/').map_or((at.as_str(), ""), |slash| at.split_at(slash));
        let headers = [
            (":method", "POST".to_owned()),
            (":scheme", "http".to_owned()),
            (":authority", authority.to_owned()),
            (":path", [prefix, signal.path].concat()),
            ("content-type", "application/x-protobuf".to_owned()),
        ];
        host::http(self.root, cluster, &headers, message, TIMEOUT_MS).ok()
    }

    fn failed(&mut self, now: Now, mut batch: Vec<Vec<u8>>, again: bool) {
        self.statistics.add(FAILURES, 1);
        self.not_before = self.not_before.max(now.0 + (PAUSE_NS << self.failures.min(6)));
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
        if !self.exports() {
            return;
        }
        self.source();
        let source = Source { version: VERSION, instance: &self.instance };
        let Some(message) = self.metrics.export(now.0, &source) else { return };
        self.reported = now.0;
        self.reporting = self.send(&METRICS, &message);
        if self.reporting.is_none() {
            self.metrics_failed();
        }
    }

    fn metrics_failed(&mut self) {
        self.statistics.add(FAILURES, 1);
        // Sums only grow: the next export says all that this one did.
        self.metrics.again();
    }

    /// Sends what others have to tell to the same collector.
    pub fn call(&mut self, signal: &Signal, items: &[Vec<u8>]) -> Option<Call> {
        let message = otlp::batch(items, &self.source());
        self.send(signal, &message)
    }

    /// What the answer to an HTTP call says, as gRPC would say it. Where it says when to come again, nothing is sent
    /// before.
    pub fn heard(&mut self, now: Now, call: Call, size: usize) -> Result<Vec<u8>, u32> {
        let map = host::map(host::Map::CallAnswer).unwrap_or_default();
        let fields = host::pairs(&map);
        let headers = Headers(&fields);
        match headers.get(":status") {
            // Some collectors say 202.
            Some(status) if status.starts_with('2') => {
                return Ok(host::buffer(host::Buffer::CallBody, 0, size.min(MAX_ANSWER)).unwrap_or_default());
            }
            None | Some("429" | "502" | "503" | "504") => {}
            Some(_) => return Err(INVALID),
        }
        let asked = cooling::asked(0, &headers, now);
        if asked.told && self.sending.as_ref().is_some_and(|(sending, _)| *sending == call) {
            self.not_before = self.not_before.max(asked.until);
        }
        Err(UNAVAILABLE)
    }

    /// Whether `call` was ours; if so it is settled.
    pub fn answer(&mut self, now: Now, call: Call, answer: &Result<Vec<u8>, u32>) -> bool {
        if self.reporting.take_if(|reporting| *reporting == call).is_some() {
            if answer.is_err() {
                self.metrics_failed();
            }
            return true;
        }
        let Some((_, batch)) = self.sending.take_if(|(sending, _)| *sending == call) else { return false };
        match answer {
            Ok(message) => {
                let rejected = otlp::rejected(message).min(batch.len() as u64);
                self.failures = 0;
                self.statistics.add(SENT, batch.len() as u64 - rejected);
                self.statistics.add(REJECTED, rejected);
                let full = self.waiting.len() >= MAX_BATCH || self.bytes >= MAX_BATCH_BYTES;
                if full {
                    self.flush(now);
                }
            }
            Err(status) => self.failed(now, batch, *status < 32 && RETRIABLE >> status & 1 == 1),
        }
        true
    }
}
