//! `bench`: builds the module and the benchmark program in release mode, then runs it; `redaction` has a program of its
//! own besides.

use crate::process::{self, Result, cargo, say};
use crate::{build, setup, test};

/// Runs `weir-bench` with these arguments.
pub fn run(args: &[String]) -> Result {
    if let Some(("redaction", rest)) = args.split_first().map(|(name, rest)| (name.as_str(), rest)) {
        return crate::redaction::bench(rest);
    }
    if args.first().is_some_and(|name| name == "ledger") {
        return ledger();
    }
    in_envoy(args)
}

/// The part of benchmarks that runs on Envoy.
pub fn in_envoy(args: &[String]) -> Result {
    setup::for_run()?;
    if args.iter().any(|name| name.contains("redis")) {
        setup::redis::install()?;
    }
    build::for_bench()?;
    say("building the benchmark");
    let mut command = cargo();
    command.args(["run", "--release", "--quiet", "-p", "weir-tests", "--bin", "weir-bench", "--"]).args(args);
    test::environment(&mut command)?;
    process::run(&mut command)
}

/// Throughput of both stores, the simulation at length, and many gateways on one budget.
fn ledger() -> Result {
    setup::redis::install()?;
    let test = |name: &str, rest: &[&str]| {
        let mut command = cargo();
        command.args(["test", "--release", "--quiet", "-p", "weir-ledger", "--test", name, "--"]);
        command.args(rest).args(["--nocapture", "--test-threads", "1"]);
        command
    };
    say("a lease hit");
    let mut hit = cargo();
    hit.args(["test", "--release", "--quiet", "-p", "weir-lease", "--test", "lessee", "--"]);
    process::run(hit.args(["--ignored", "--nocapture", "a_lease_hit"]))?;
    say("throughput");
    process::run(&mut test("figures", &["--ignored"]))?;
    say("ten thousand gateways on one budget");
    process::run(&mut test("simulation", &["--ignored", "ten_thousand_gateways"]))?;
    say("ten thousand seeds");
    process::run(test("simulation", &["nothing_overspends"]).env("WEIR_SEEDS", "10000"))?;
    say("four hundred sequences of calls, over Redis and without it");
    process::run(test("redis", &["random_calls"]).env("WEIR_SEEDS", "400"))
}
