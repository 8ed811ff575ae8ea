//! `test`: sets up, builds, and runs every test of the workspace; the last line is `N passed, N failed`.

use std::process::Command;

use crate::process::{Error, Result, cargo, say};
use crate::{build, paths, setup, tally};

/// Runs them; `args` go to cargo test in place of the whole workspace.
pub fn all(args: &[String]) -> Result {
    setup::all()?;
    build::for_tests()?;
    say("running the tests");
    let mut command = cargo();
    command.arg("test").args(["--no-fail-fast"]);
    if args.is_empty() {
        command.arg("--workspace")
    } else {
        command.args(args)
    };
    // The real thing: tests that need it fail rather than skip.
    environment(&mut command)?;
    let tally = tally::run(&mut command)?;
    println!("{} passed, {} failed", tally.passed, tally.failed);
    if tally.failed == 0 { Ok(()) } else { Err(Error::new(format!("{} failed", tally.failed))) }
}

/// Tells tests and benchmarks where the built things are.
pub fn environment(command: &mut Command) -> Result {
    command.env("WEIR_WASM", paths::module());
    command.env("WEIR_ENVOY", setup::envoy::install(paths::ENVOY)?);
    command.env("WEIR_REQUIRE_ALL", "1");
    Ok(())
}
