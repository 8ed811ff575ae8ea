//! Running other programs: what is said before, and what is said when one fails.

use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};

/// Why a verb stopped, in words for the person who ran it.
#[derive(Debug)]
pub struct Error(String);

/// What every step answers.
pub type Result<T = ()> = std::result::Result<T, Error>;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error {
    /// An error in one's own words.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// Says what an I/O error was about.
pub trait Context<T> {
    /// Puts `what` before the error.
    fn context(self, what: impl fmt::Display) -> Result<T>;
}

impl<T, E: fmt::Display> Context<T> for std::result::Result<T, E> {
    fn context(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|error| Error(format!("{what}: {error}")))
    }
}

/// One line of progress.
pub fn say(text: impl fmt::Display) {
    println!("▸ {text}");
}

/// Runs a program whose output the person sees.
pub fn run(command: &mut Command) -> Result {
    let status = command.status().context(format!("cannot start {}", shown(command)))?;
    if status.success() { Ok(()) } else { Err(Error(format!("{} ended with {status}", shown(command)))) }
}

/// Runs a program quietly; its output is shown only when it fails.
pub fn run_quietly(command: &mut Command) -> Result {
    let output = command.stdin(Stdio::null()).output().context(format!("cannot start {}", shown(command)))?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let tail: Vec<&str> = text.lines().rev().take(25).collect();
    let tail: Vec<&str> = tail.into_iter().rev().collect();
    Err(Error(format!("{} ended with {}\n{}", shown(command), output.status, tail.join("\n"))))
}

/// Whether a program starts and ends well, whatever it says.
pub fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// What a program prints, or nothing when it fails.
pub fn output(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The cargo that runs `xtask`, in the repository.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(crate::paths::root());
    // Set by `cargo run` for xtask itself; a nested cargo must find its own.
    for name in ["CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "CARGO_PKG_NAME", "CARGO_PKG_VERSION"] {
        command.env_remove(name);
    }
    command
}

/// A folder that exists afterwards.
pub fn make_dir(path: &Path) -> Result {
    std::fs::create_dir_all(path).context(format!("cannot make {}", path.display()))
}

/// Copies a file unless the copy is the same already, so that what depends on it stays fresh.
pub fn copy_if_changed(from: &Path, to: &Path) -> Result<bool> {
    let new = std::fs::read(from).context(format!("cannot read {}", from.display()))?;
    if std::fs::read(to).is_ok_and(|old| old == new) {
        return Ok(false);
    }
    if let Some(folder) = to.parent() {
        make_dir(folder)?;
    }
    // By rename: a running Envoy must never see half of a module.
    let part = to.with_extension("part");
    std::fs::write(&part, &new).context(format!("cannot write {}", part.display()))?;
    std::fs::rename(&part, to).context(format!("cannot write {}", to.display()))?;
    Ok(true)
}

fn shown(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}
