//! Rust's standard library for `wasm32-unknown-unknown`: from rustup, else built from Debian's copy of its source.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::apt_install;
use crate::process::{Error, Result, cargo, output, run_quietly, say, succeeds};

/// The target that proxy-wasm modules are built for.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// What builds for [`TARGET`] on this machine.
pub enum Toolchain {
    /// The usual cargo: its sysroot has the target.
    Usual,
    /// Debian's cargo and rustc build the standard library along.
    Debian {
        /// A linker that knows wasm.
        linker: PathBuf,
    },
}

/// Makes sure that some toolchain can build for wasm.
pub fn install() -> Result {
    if find().is_some() {
        return Ok(());
    }
    say(format!("adding the Rust target {TARGET}"));
    if succeeds(Command::new("rustup").args(["target", "add", TARGET])) && usual() {
        return Ok(());
    }
    apt_install(
        &["rustc-web", "cargo-web", "rust-web-src", "lld"],
        "rustup cannot add the target, so Debian's Rust builds the standard library",
    )?;
    find().map(drop).ok_or_else(|| {
        Error::new(format!("no toolchain for {TARGET}: neither rustup's nor Debian's Rust can build it"))
    })
}

/// The toolchain to use, if one is there.
pub fn find() -> Option<Toolchain> {
    if usual() {
        return Some(Toolchain::Usual);
    }
    let source = Path::new("/usr/bin/cargo").exists() && debian_source();
    source.then(linker).flatten().map(|linker| Toolchain::Debian { linker })
}

impl Toolchain {
    /// A cargo that builds for wasm; the caller adds what to build.
    pub fn cargo_build(&self) -> Command {
        match self {
            Self::Usual => {
                let mut command = cargo();
                command.args(["build", "--target", TARGET]);
                command
            }
            Self::Debian { linker } => {
                let mut command = Command::new("/usr/bin/cargo");
                command.current_dir(crate::paths::root());
                command.args(["build", "--target", TARGET, "-Zbuild-std=std,panic_abort"]);
                command.env("RUSTC_BOOTSTRAP", "1").env("RUSTC", "/usr/bin/rustc");
                command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
                command.env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO");
                command
            }
        }
    }
}

fn usual() -> bool {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let Some(folder) = output(Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]))
    else {
        return false;
    };
    // The folder may be named without being there.
    std::fs::read_dir(folder).is_ok_and(|mut files| {
        files.any(|file| file.is_ok_and(|file| file.file_name().to_string_lossy().starts_with("libstd-")))
    })
}

fn debian_source() -> bool {
    let sysroot = output(Command::new("/usr/bin/rustc").args(["--print", "sysroot"]));
    sysroot.is_some_and(|sysroot| Path::new(&sysroot).join("lib/rustlib/src/rust/library/std").exists())
}

fn linker() -> Option<PathBuf> {
    let mut places = Vec::new();
    if let Some(sysroot) = output(Command::new("rustc").args(["--print", "sysroot"])) {
        places.push(Path::new(&sysroot).join("lib/rustlib/x86_64-unknown-linux-gnu/bin/rust-lld"));
    }
    places.push("/usr/bin/rust-lld".into());
    places.push("/usr/bin/wasm-ld".into());
    places.extend((14..=22).rev().map(|version| PathBuf::from(format!("/usr/bin/wasm-ld-{version}"))));
    places.into_iter().find(|place| place.exists())
}

/// Runs a build that was prepared by [`Toolchain::cargo_build`], with cargo's own progress.
pub fn run_build(command: &mut Command, what: &str) -> Result {
    say(format!("building {what}"));
    if std::env::var_os("CI").is_some() { run_quietly(command) } else { crate::process::run(command) }
}
