//! Prometheus and `promtool` from the system's packages: tests evaluate every query and rule of `envoy/observe` by them.

use std::process::Command;

use super::apt_install;
use crate::process::{Error, Result, succeeds};

/// Makes sure that both are on `PATH`.
pub fn install() -> Result {
    if !installed() {
        apt_install(&["prometheus"], "prometheus is missing, by which tests judge dashboards and alerts")?;
    }
    match installed() {
        true => Ok(()),
        false => Err(Error::new("prometheus is installed and does not start: is its folder on PATH?")),
    }
}

fn installed() -> bool {
    ["prometheus", "promtool"].iter().all(|name| succeeds(Command::new(name).arg("--version")))
}
