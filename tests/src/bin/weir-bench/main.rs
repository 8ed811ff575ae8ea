//! Benchmarks of Weir in real Envoy, each beside bare Envoy in the same run, since this machine is never quiet.

mod everything;
mod load;
mod overhead;
mod report;
mod stats;
mod texts;
mod upstream;
mod variants;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
struct Options {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// What the filters cost: bare Envoy, two filters that do nothing, Weir.
    Overhead(overhead::Options),
}

fn main() -> ExitCode {
    let Options { bench: Bench::Overhead(options) } = Options::parse();
    match overhead::run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weir-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
