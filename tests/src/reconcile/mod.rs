//! One run that is told four times: by clients, by the simulated providers' books, by the spans at a collector, and by
//! the budget ledger. [`run`] makes it happen on a real Envoy and lays the four side by side; it decides nothing but
//! what [`Verdict::problems`] says.

mod books;
mod crowd;
mod stage;

pub use books::{Group, Verdict};
pub use crowd::{LEAVES, STAYS};
pub use stage::Stage;

use std::time::{Duration, Instant};

use crate::harness::Collector;
use crate::harness::collector::Span;

/// How large a run is.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Requests of all kinds.
    pub requests: u64,
    /// Of a hundred of them, so many are left by their clients at a random moment.
    pub aborted_percent: u64,
    /// Clients at once.
    pub clients: usize,
    /// Envoy's workers.
    pub workers: u32,
    /// The same requests for the same seed.
    pub seed: u64,
}

/// Everything that a run needs, up and unused.
pub struct Run {
    pub stage: Stage,
    collector: Collector,
    plan: Plan,
}

/// Runs it and compares.
pub async fn run(plan: Plan) -> Result<Verdict, String> {
    Run::start(plan).await?.finish().await
}

impl Run {
    /// Starts what is needed.
    pub async fn start(plan: Plan) -> Result<Self, String> {
        let collector = Collector::start().await;
        let stage = Stage::start(collector.port(), plan.workers).await?;
        Ok(Self { stage, collector, plan })
    }

    /// Sends the requests and compares.
    pub async fn finish(self) -> Result<Verdict, String> {
        let Self { stage, collector, plan } = self;
        let begun = Instant::now();
        let met = crowd::send(&plan, stage.port).await?;
        let took = begun.elapsed();
        // Whatever is on its way arrives: spans within a batch or two, the ledger's with the next report.
        let mut last = (0, Instant::now());
        loop {
            let arrived = collector.count(Span::is_exchange);
            if arrived != last.0 {
                last = (arrived, Instant::now());
            }
            let all = arrived as u64 >= plan.requests && stage.settled().await? && stage.providers_rest();
            let quiet = last.1.elapsed();
            if (all && quiet > Duration::from_secs(2)) || quiet > Duration::from_secs(25) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        books::compare(&plan, &stage, &collector, &met, took).await
    }
}
