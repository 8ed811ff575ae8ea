//! `cargo xtask VERB`: set-up, build, tests, benchmarks and the running demo. What users run is the `weir` binary.

mod bench;
mod build;
mod cli;
mod fuzz;
mod lint;
mod paths;
mod process;
mod redaction;
mod running;
mod sections;
mod setup;
mod size;
mod tally;
mod test;

fn main() -> std::process::ExitCode {
    match cli::run() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}
