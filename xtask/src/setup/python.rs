//! Python in a virtual environment: fetches Envoy's wheel, and holds the official SDKs that tests are judged by.

use std::process::Command;

use super::apt_install;
use crate::paths;
use crate::process::{Context, Error, Result, make_dir, run_quietly, say, succeeds};

/// Exact versions, so that a test judges the same thing tomorrow.
const PACKAGES: &str = include_str!("../../python-packages.txt");

/// Makes sure that a virtual environment with pip is there.
pub fn venv() -> Result {
    if has_pip() {
        return Ok(());
    }
    say("making a Python virtual environment");
    make_dir(&paths::weir())?;
    if !make() {
        apt_install(&["python3", "python3-venv", "python3-pip"], "Python's venv is missing")?;
        if !make() {
            return Err(Error::new("python3 -m venv still fails; is another python3 first on PATH?"));
        }
    }
    Ok(())
}

/// Makes sure that the packages are in it.
pub fn packages() -> Result {
    venv()?;
    let stamp = paths::venv().join("weir-packages.txt");
    if std::fs::read_to_string(&stamp).is_ok_and(|done| done == PACKAGES) {
        return Ok(());
    }
    say("installing Python packages for tests");
    let list = paths::root().join("xtask/python-packages.txt");
    let mut pip = Command::new(paths::python());
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]).arg(list);
    run_quietly(&mut pip)?;
    std::fs::write(&stamp, PACKAGES).context("cannot note the installed packages")
}

fn make() -> bool {
    succeeds(Command::new("python3").args(["-m", "venv", "--clear"]).arg(paths::venv())) && has_pip()
}

fn has_pip() -> bool {
    paths::python().exists() && succeeds(Command::new(paths::python()).args(["-m", "pip", "--version"]))
}
