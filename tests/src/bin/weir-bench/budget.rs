//! `budget`: whether a hard budget holds when everything goes wrong at once, judged by the provider's own book.
//!
//! Two Envoys with two workers each share one listener, one control plane and one budget; two hundred clients, streams
//! and plain, ask for many times what it allows and do not go away when they are refused. Each variant is one thing
//! that goes wrong half-way. Everything is on loopback, bounded in count and time, and ends by itself.

mod crowd;
mod report;
mod stage;
mod variant;

use std::path::PathBuf;

use report::Row;
use variant::Variant;

#[derive(clap::Args)]
pub struct Options {
    /// What goes wrong; all, one after the other, unless said otherwise.
    #[arg(long, value_delimiter = ',')]
    variants: Vec<Variant>,
    /// The budget in tokens.
    #[arg(long, default_value_t = 400_000)]
    limit: u64,
    /// How many times the budget is asked for.
    #[arg(long, default_value_t = 10)]
    demand: u64,
    /// Clients at once.
    #[arg(long, default_value_t = 200)]
    clients: usize,
    /// Seconds that one variant may take.
    #[arg(long, default_value_t = 150)]
    seconds: u64,
    /// Who keeps the numbers.
    #[arg(long, value_enum, default_value = "embedded")]
    ledger: stage::Engine,
    /// Write the report here too.
    #[arg(long)]
    out: Option<PathBuf>,
}

pub fn run(options: &Options) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|e| e.to_string())?;
    let variants =
        if options.variants.is_empty() { Variant::all(options.ledger) } else { options.variants.clone() };
    let mut rows: Vec<Row> = Vec::new();
    for variant in variants {
        eprintln!("{}", variant.title());
        let row =
            runtime.block_on(variant.run(options)).map_err(|why| format!("{}: {why}", variant.title()))?;
        eprintln!("  {}", row.line());
        rows.push(row);
    }
    let text = report::table(options, &rows);
    println!("{text}");
    if let Some(path) = &options.out {
        std::fs::write(path, &text).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    let broken: Vec<String> = rows.iter().filter_map(Row::broken).collect();
    if broken.is_empty() { Ok(()) } else { Err(broken.join("\n")) }
}
