//! `fuzz`: builds the fuzz targets with a counter on every edge, and searches. The stable compiler has all that is needed.

use std::process::Command;

use crate::paths;
use crate::process::{Error, Result, cargo, output, run, say};

/// Counters on edges in our own code and in what it uses. Whatever runs while building is built without.
const FLAGS: [&str; 3] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=3",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
];

/// Runs `weir-fuzz` with these arguments; none list the targets.
pub fn run_with(args: &[String]) -> Result {
    let rustc = output(Command::new("rustc").arg("-vV")).unwrap_or_default();
    let host = rustc.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.ok_or_else(|| Error::new("rustc does not say what machine this is"))?;
    let folder = paths::weir().join("build/fuzz");
    say("building the fuzz targets");
    let mut build = cargo();
    // With a target named, build scripts and macros do not get the flags.
    build
        .args(["build", "--profile", "fuzz", "-p", "weir-fuzz", "--target", host, "--target-dir"])
        .arg(&folder);
    run(build.env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}")))?;
    run(Command::new(folder.join(host).join("fuzz/weir-fuzz")).args(args))
}
