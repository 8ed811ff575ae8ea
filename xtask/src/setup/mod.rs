//! `setup`: what a fresh machine lacks. Each part looks first and does nothing when all is there.

pub mod binaryen;
pub mod envoy;
pub mod prometheus;
pub mod python;
pub mod redis;
pub mod wasm;

use std::process::Command;

use crate::paths;
use crate::process::{Error, Result, output, run_quietly, say, succeeds};

/// Everything, for tests.
pub fn all() -> Result {
    wasm::install()?;
    binaryen::install()?;
    redis::install()?;
    prometheus::install()?;
    python::venv()?;
    let newest = envoy::install(paths::ENVOY)?;
    say(format!("Envoy {} is {}", paths::ENVOY, newest.display()));
    for version in paths::OLDER_ENVOYS {
        envoy::install(version)?;
    }
    python::packages()
}

/// What building alone needs.
pub fn for_build() -> Result {
    wasm::install()
}

/// What running a gateway needs.
pub fn for_run() -> Result {
    wasm::install()?;
    envoy::install(paths::ENVOY).map(drop)
}

/// Installs Debian packages where that is possible, or says what to do.
fn apt_install(packages: &[&str], why: &str) -> Result {
    let hint = format!("{why}; install it with: apt-get install {}", packages.join(" "));
    if !succeeds(Command::new("apt-get").arg("--version")) {
        return Err(Error::new(format!("{hint} (this machine has no apt-get: use its own packages)")));
    }
    if output(Command::new("id").arg("-u")).as_deref() != Some("0") {
        return Err(Error::new(format!("{hint} (as root)")));
    }
    say(format!("{why}: apt-get install {}", packages.join(" ")));
    run_quietly(&mut apt_get(&["update"]))?;
    let mut arguments = vec!["install", "-y", "--no-install-recommends"];
    arguments.extend(packages);
    run_quietly(&mut apt_get(&arguments))
}

fn apt_get(arguments: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    command
}
