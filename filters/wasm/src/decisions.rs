//! The VM's decision records between the streams that end and the control plane's log.

use weir_config::filter;
use weir_lease::{DECISION_METHOD, DECISION_SERVICE, DECISION_TIMEOUT_MS, Decided};
use weir_pipeline::io::Now;

use crate::host::{self, Call, Statistic};

/// The records of a VM.
#[derive(Default)]
pub struct Decisions {
    records: Decided,
    cluster: String,
    root: u32,
    /// The call in flight.
    sending: Option<Call>,
    /// Random bits that tell this VM apart.
    vm: [u64; 2],
    /// What of it Envoy's statistics have.
    told: u64,
}

impl Decisions {
    /// Takes the log's address. What waits outlives configurations.
    pub fn configure(&mut self, log: Option<&filter::Decisions>, root: u32) {
        self.root = root;
        if let Some(log) = log {
            self.cluster.clone_from(&log.cluster);
        }
    }

    /// Whether one record more has a place.
    pub fn room(&self) -> bool {
        self.records.room()
    }

    /// A request is let in whose record will come.
    pub fn admit(&mut self) {
        self.records.admit();
    }

    /// Takes a record.
    pub fn push(&mut self, now: Now, record: &[u8], placed: bool) {
        self.records.push(now.0, record, placed);
    }

    /// Tells Envoy's statistics what was dropped.
    fn count(&mut self) {
        let dropped = self.records.dropped();
        if dropped > self.told
            && let Ok(id) = host::statistic(Statistic::Counter, "weir_decisions_dropped_total")
            && host::count(id, dropped - self.told).is_ok()
        {
            self.told = dropped;
        }
    }

    /// Sends what waits.
    pub fn tick(&mut self, now: Now, root: u32) {
        if root != self.root || self.cluster.is_empty() {
            return;
        }
        if self.vm == [0; 2] {
            let [a, b, ..] = host::entropy();
            self.vm = [a, b];
        }
        self.count();
        let Some(batch) = self.records.batch(now.0, self.vm) else { return };
        let sent =
            host::grpc(root, &self.cluster, DECISION_SERVICE, DECISION_METHOD, batch, DECISION_TIMEOUT_MS);
        match sent {
            Ok(call) => self.sending = Some(call),
            Err(_) => self.records.answer(now.0, false),
        }
    }

    /// Whether `call` was ours; if so it is settled.
    pub fn answer(&mut self, now: Now, call: Call, kept: bool) -> bool {
        let ours = self.sending.take_if(|sending| *sending == call).is_some();
        if ours {
            self.records.answer(now.0, kept);
        }
        ours
    }
}
