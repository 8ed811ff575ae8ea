//! Spans on their way to the collector: one bounded batch per VM, sent on the tick over OTLP/gRPC.
//!
//! A batch that the collector does not take is sent once more; what does not fit is counted, never waited for.

use weir_pipeline::io::Now;
use weir_pipeline::otlp;

use crate::host;

const MAX_SPANS: usize = 2048;
const MAX_BATCH: usize = 256;
const TIMEOUT_MS: u32 = 5_000;
/// A collector that is gone is told of this often, not at every batch.
const COMPLAIN_EVERY_NS: u64 = 60_000_000_000;
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The batch.
#[derive(Default)]
pub struct Spans {
    cluster: Option<String>,
    waiting: Vec<Vec<u8>>,
    sending: Option<Sending>,
    dropped: u64,
    complained: u64,
}

struct Sending {
    token: u32,
    spans: Vec<Vec<u8>>,
    again: bool,
}

impl Spans {
    /// Sets the collector's Envoy cluster.
    pub fn configure(&mut self, cluster: Option<&str>) {
        self.cluster = cluster.map(str::to_owned);
    }

    /// Takes an encoded span.
    pub fn push(&mut self, span: Vec<u8>) {
        if self.cluster.is_none() {
            return;
        }
        if self.waiting.len() >= MAX_SPANS {
            self.dropped += 1;
            return;
        }
        self.waiting.push(span);
    }

    /// Sends what waits, one batch at a time.
    pub fn flush(&mut self, now: Now, root: u32) {
        if self.sending.is_some() || self.waiting.is_empty() || host::act_on(root).is_err() {
            return;
        }
        let batch = self.waiting.split_off(self.waiting.len().saturating_sub(MAX_BATCH));
        self.send(batch, true);
        if self.dropped > 0 && now.0.saturating_sub(self.complained) > COMPLAIN_EVERY_NS {
            self.complained = now.0;
            host::log(
                host::Level::Warn,
                &format!("weir: {} spans dropped: the collector is slow or gone", self.dropped),
            );
            self.dropped = 0;
        }
    }

    fn send(&mut self, spans: Vec<Vec<u8>>, again: bool) {
        let Some(cluster) = &self.cluster else { return };
        let message = otlp::batch(&spans, VERSION);
        match host::grpc(cluster, otlp::SERVICE, otlp::METHOD, &message, TIMEOUT_MS) {
            Ok(token) => self.sending = Some(Sending { token, spans, again }),
            Err(_) => self.dropped += spans.len() as u64,
        }
    }

    /// Whether `token` was a batch's; if so it is settled.
    pub fn answer(&mut self, token: u32, answer: &Result<Vec<u8>, u32>) -> bool {
        let Some(sending) = self.sending.take_if(|s| s.token == token) else { return false };
        if answer.is_err() {
            if sending.again && self.waiting.len() + sending.spans.len() <= MAX_SPANS {
                self.send(sending.spans, false);
            } else {
                self.dropped += sending.spans.len() as u64;
            }
        }
        true
    }
}
