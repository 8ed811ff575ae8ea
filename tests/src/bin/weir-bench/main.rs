//! Benchmarks of Weir in real Envoy, each beside bare Envoy in the same run, since this machine is never quiet.

mod budget;
mod dialects;
mod everything;
mod load;
mod overhead;
mod redaction;
mod report;
mod single;
mod stats;
mod telemetry;
mod texts;
mod tokens;
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
    /// What each client's dialect costs at each kind of provider, beside bare Envoy.
    Dialects(dialects::Options),
    /// What the filters cost: bare Envoy, two filters that do nothing, Weir.
    Overhead(overhead::Options),
    /// Whether a hard budget holds: two Envoys, two hundred clients, and one thing after the other going wrong.
    Budget(budget::Options),
    /// Whether spans can be trusted, and what telemetry costs.
    Telemetry(telemetry::Options),
    /// What searching for personal data costs in Envoy.
    Redaction(redaction::Options),
    /// What counting a prompt costs in Envoy, beside other counters natively.
    Tokens(tokens::Options),
}

fn main() -> ExitCode {
    let done = match Options::parse().bench {
        Bench::Dialects(options) => dialects::run(&options),
        Bench::Overhead(options) => overhead::run(&options),
        Bench::Budget(options) => budget::run(&options),
        Bench::Telemetry(options) => telemetry::run(&options),
        Bench::Redaction(options) => redaction::run(&options),
        Bench::Tokens(options) => tokens::run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weir-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
