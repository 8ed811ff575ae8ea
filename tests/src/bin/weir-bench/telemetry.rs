//! `telemetry`: whether spans can be trusted, and what they cost. Many requests of all kinds, a part of them left by
//! their clients, whose spans, ledger and providers' books are laid side by side; a collector that is away, slow and
//! choosy while requests go on; and the same load with and without telemetry.

mod away;
mod cost;
mod picture;

use std::path::PathBuf;
use std::time::Duration;

use weir_tests::reconcile;

#[derive(clap::Args)]
pub struct Options {
    /// Requests whose books are compared.
    #[arg(long, default_value_t = 50_000)]
    requests: u64,
    /// Of a hundred of them, so many are left by their clients.
    #[arg(long, default_value_t = 20)]
    aborted: u64,
    /// Clients at once.
    #[arg(long, default_value_t = 64)]
    clients: usize,
    /// Seconds that the collector is away, and then slow, and then choosy.
    #[arg(long, default_value_t = 30)]
    away: u64,
    /// Rounds with and without telemetry.
    #[arg(long, default_value_t = 8)]
    rounds: usize,
    /// Draw the dashboard over the run of the books, as SVG, here.
    #[arg(long)]
    picture: Option<PathBuf>,
    /// What to run.
    #[arg(long, value_delimiter = ',', default_value = "books,away,cost")]
    parts: Vec<Part>,
    /// Write the report here too.
    #[arg(long)]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Spans, ledger and providers' books.
    Books,
    /// A collector that is away, slow and choosy.
    Away,
    /// Telemetry on and off.
    Cost,
}

pub fn run(options: &Options) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|e| e.to_string())?;
    let (mut text, mut problems) = (String::new(), Vec::new());
    for part in &options.parts {
        let (table, wrong) = match part {
            Part::Books => {
                let plan = reconcile::Plan {
                    requests: options.requests,
                    aborted_percent: options.aborted,
                    clients: options.clients,
                    workers: 2,
                    seed: 7,
                };
                let verdict = runtime.block_on(async {
                    match &options.picture {
                        Some(path) => picture::run(plan, path).await,
                        None => reconcile::run(plan).await,
                    }
                })?;
                (verdict.table(), verdict.problems())
            }
            Part::Away => runtime.block_on(away::run(Duration::from_secs(options.away)))?,
            Part::Cost => (cost::run(options.rounds)?, Vec::new()),
        };
        println!("{table}");
        text.push_str(&table);
        text.push('\n');
        problems.extend(wrong);
    }
    if let Some(path) = &options.out {
        std::fs::write(path, &text).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\n")) }
}
