//! `weir-fuzz TARGET --minutes N`: one search, what it found, and with `--keep` what it learned, added to the corpus.

use std::process::ExitCode;

use clap::Parser;
use weir_fuzz::engine::{self, Options};
use weir_fuzz::{TARGETS, Target, corpus};

/// Searches inputs that break a promise of a decoder.
#[derive(Parser)]
struct Cli {
    /// A target; `all` for one after the other, nothing for a list.
    target: Option<String>,
    /// Processor minutes for each target.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Where the search begins.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Most bytes of a usual input.
    #[arg(long, default_value_t = 4096)]
    most: usize,
    /// Add the small inputs that reached new code to the corpus.
    #[arg(long)]
    keep: bool,
}

/// Inputs longer than this are not worth a line in the corpus, nor are more than so many.
const LONGEST: usize = 400;
const MOST: usize = 150;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let name = cli.target.as_deref().unwrap_or_default();
    let chosen: Vec<&Target> = TARGETS.iter().filter(|one| name == "all" || one.name == name).collect();
    if chosen.is_empty() {
        TARGETS.iter().for_each(|one| println!("{:<20} {}", one.name, one.about));
        return if name.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let mut found = false;
    for target in chosen {
        found |= search(target, &cli);
    }
    if found { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// One search; whether it found something.
fn search(target: &Target, cli: &Cli) -> bool {
    let seconds = (cli.minutes * 60.0) as u64;
    let options = Options { seconds, most: cli.most, seed: cli.seed };
    let report = engine::search(target, &options);
    println!(
        "{}: {} runs in {:.1} CPU minutes, {} of {} edges and their counts, {} inputs kept beside {}, at most {} ns a byte",
        target.name,
        report.runs,
        seconds as f64 / 60.0,
        report.features,
        engine::edges(),
        report.kept.len() - report.known.min(report.kept.len()),
        report.known,
        report.slowest
    );
    if let Some((input, why)) = &report.finding {
        println!("FOUND in {}: {why}\n  {}", target.name, corpus::escape(input));
    }
    if cli.keep && report.finding.is_none() {
        let mut lines = corpus::read(target.name);
        let new = report.kept.iter().skip(report.known).filter(|input| input.len() <= LONGEST);
        lines.extend(new.take(MOST.saturating_sub(lines.len())).cloned());
        if let Err(why) = corpus::write(target.name, target.about, &lines) {
            println!("the corpus was not written: {why}");
        }
    }
    report.finding.is_some()
}
