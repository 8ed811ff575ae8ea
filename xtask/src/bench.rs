//! `bench`: builds the module and the benchmark program in release mode, then runs it; `redaction` has its own.

use crate::process::{self, Result, cargo, say};
use crate::{build, setup, test};

/// Runs `weir-bench` with these arguments.
pub fn run(args: &[String]) -> Result {
    // Needs neither the module nor Envoy.
    if let Some(("redaction", rest)) = args.split_first().map(|(name, rest)| (name.as_str(), rest)) {
        return crate::redaction::bench(rest);
    }
    setup::for_run()?;
    build::for_bench()?;
    say("building the benchmark");
    let mut command = cargo();
    command.args(["run", "--release", "--quiet", "-p", "weir-tests", "--bin", "weir-bench", "--"]).args(args);
    test::environment(&mut command)?;
    process::run(&mut command)
}
