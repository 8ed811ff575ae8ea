//! `bench`: builds the module and the benchmark program in release mode, then runs it.

use crate::process::{self, Result, cargo, say};
use crate::{build, setup, test};

/// Runs `weir-bench` with these arguments.
pub fn run(args: &[String]) -> Result {
    setup::for_run()?;
    build::for_bench()?;
    say("building the benchmark");
    let mut command = cargo();
    command.args(["run", "--release", "--quiet", "-p", "weir-tests", "--bin", "weir-bench", "--"]).args(args);
    test::environment(&mut command)?;
    process::run(&mut command)
}
