//! The `weir` command: reads its arguments, runs the verb, turns its result into an exit code.

use std::process::ExitCode;

use clap::Parser;

use weir_server::verbs::Cli;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("weir: {failure}");
            ExitCode::from(failure.code)
        }
    }
}
