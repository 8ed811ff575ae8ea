//! `redis-server` from the system's packages: the ledger's tests run against a real one, which they start themselves.

use std::process::Command;

use super::apt_install;
use crate::process::{Error, Result, output};

/// The first release with functions.
const OLDEST: u32 = 7;

/// Makes sure that a Redis of a release with functions is on `PATH`.
pub fn install() -> Result {
    if release().is_none() {
        apt_install(&["redis-server"], "redis-server is missing, which tests of the ledger start")?;
    }
    match release() {
        Some(major) if major >= OLDEST => Ok(()),
        Some(major) => Err(Error::new(format!(
            "redis-server on PATH is release {major}, tests need {OLDEST} or newer: install a newer redis-server"
        ))),
        None => Err(Error::new("redis-server is installed and does not start: is its folder on PATH?")),
    }
}

/// `Redis server v=7.0.15 sha=...`
fn release() -> Option<u32> {
    let said = output(Command::new("redis-server").arg("--version"))?;
    let (_, version) = said.split_once("v=")?;
    version.split('.').next()?.parse().ok()
}
