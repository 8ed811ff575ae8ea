//! Where the built things are. `cargo xtask test` has made them; a test that misses one says so by failing.

use std::path::{Path, PathBuf};

/// The repository.
pub fn repo_root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_path_buf()
}

/// Cargo's output.
pub fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => repo_root().join(folder),
        None => repo_root().join("target"),
    }
}

/// What `xtask` builds and installs.
pub fn weir() -> PathBuf {
    target().join("weir")
}

/// Logs of everything that tests start.
pub fn logs() -> PathBuf {
    let folder = weir().join("logs");
    std::fs::create_dir_all(&folder).expect("target/ is writable");
    folder
}

/// A built module by name: `weir`, `weir-faults`, `probe`, `probe-2`.
pub fn module(name: &str) -> PathBuf {
    let path = match std::env::var_os("WEIR_WASM") {
        Some(path) if name == "weir" => path.into(),
        _ => weir().join(format!("{name}.wasm")),
    };
    assert!(path.exists(), "{} is missing: run cargo xtask test, or cargo xtask build", path.display());
    path
}

/// The built `weir` binary.
pub fn control_plane() -> PathBuf {
    let path = std::env::var_os("WEIR_BIN").map_or_else(|| target().join("release/weir"), PathBuf::from);
    assert!(path.exists(), "{} is missing: run cargo xtask build", path.display());
    path
}

/// An installed Envoy.
pub fn envoy(version: &str) -> PathBuf {
    let path = match std::env::var_os("WEIR_ENVOY").or_else(|| std::env::var_os("ENVOY_BIN")) {
        Some(path) if version == super::envoy::NEWEST => path.into(),
        _ => weir().join("envoy").join(version).join("envoy"),
    };
    assert!(path.exists(), "{} is missing: run cargo xtask setup", path.display());
    path
}

/// Python with the official SDKs.
pub fn python() -> PathBuf {
    let path = weir().join("venv/bin/python");
    assert!(path.exists(), "{} is missing: run cargo xtask setup", path.display());
    path
}

/// Recorded provider traffic and the like beside the repository, or `None` with one printed line.
pub fn shared_data() -> Option<PathBuf> {
    let folder = repo_root().join("../shared/data");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: ../shared/data is absent");
    None
}
