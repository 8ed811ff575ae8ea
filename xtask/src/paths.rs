//! Where things are. All that `xtask` makes is below `target/`, so that deleting that folder undoes it.

use std::path::{Path, PathBuf};

/// The Envoy that the whole suite runs on.
pub const ENVOY: &str = "1.40.0";
/// Older releases that a smaller table of tests runs on.
pub const OLDER_ENVOYS: [&str; 2] = ["1.39.3", "1.36.4"];

/// The repository.
pub fn root() -> PathBuf {
    let own = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").to_owned());
    let own = PathBuf::from(own);
    own.parent().map(Path::to_path_buf).unwrap_or(own)
}

/// Cargo's output.
pub fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// What `xtask` installs and builds, next to cargo's own output.
pub fn weir() -> PathBuf {
    target().join("weir")
}

/// The module of both filters.
pub fn module() -> PathBuf {
    weir().join("weir.wasm")
}

/// A release of Envoy from its wheel.
pub fn envoy(version: &str) -> PathBuf {
    weir().join("envoy").join(version).join("envoy")
}

/// Python with the SDKs that tests use.
pub fn venv() -> PathBuf {
    weir().join("venv")
}

/// The Python in [`venv`].
pub fn python() -> PathBuf {
    venv().join("bin/python")
}
