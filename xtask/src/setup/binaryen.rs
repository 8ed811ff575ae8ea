//! `wasm-opt` from Debian's `binaryen`: Envoy compiles the whole module before it listens, and this takes some 6 % off
//! the code section in three seconds. Tests need it, because the section's size is one of them; a build without it says so.

use std::process::Command;

use super::apt_install;
use crate::process::{Error, Result, output};

/// Makes sure that `wasm-opt` is on `PATH`.
pub fn install() -> Result {
    if found() {
        return Ok(());
    }
    apt_install(&["binaryen"], "wasm-opt is missing, which makes the module smaller")?;
    if found() {
        return Ok(());
    }
    Err(Error::new("binaryen is installed and wasm-opt does not start: is its folder on PATH?"))
}

/// Whether it is there.
pub fn found() -> bool {
    output(Command::new("wasm-opt").arg("--version")).is_some()
}
