//! Programs that run on after `xtask`: their ids are in `target/weir/run`, their output in `target/weir/logs`.

use std::fs::File;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::paths;
use crate::process::{Context, Error, Result, make_dir, say};

/// A program that was started.
pub struct Running {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts a program in the repository's root and notes its id.
    pub fn start(
        name: &str,
        program: &Path,
        arguments: &[String],
        environment: &[(&str, String)],
    ) -> Result<Self> {
        let logs = paths::weir().join("logs");
        make_dir(&logs)?;
        make_dir(&notes())?;
        let log = logs.join(format!("{name}.log"));
        let output = File::create(&log).context(format!("cannot write {}", log.display()))?;
        let errors = output.try_clone().context("cannot write the log")?;
        let mut command = Command::new(program);
        command.args(arguments).current_dir(paths::root()).stdin(Stdio::null()).stdout(output).stderr(errors);
        command.envs(environment.iter().map(|(key, value)| (key, value)));
        let child = command.spawn().context(format!("cannot start {}", program.display()))?;
        let note = format!("{}\n{}\n", child.id(), program.display());
        std::fs::write(notes().join(name), note).context("cannot note the process id")?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// Waits until `ready`; a program that ends before is an error with the end of its log.
    pub fn until(&mut self, limit: Duration, ready: impl Fn() -> bool) -> Result {
        let began = Instant::now();
        while !ready() {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(Error::new(format!("{} ended with {status}\n{}", self.name, self.tail())));
            }
            if began.elapsed() > limit {
                return Err(Error::new(format!(
                    "{} is not ready after {limit:?}\n{}",
                    self.name,
                    self.tail()
                )));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Waits until it ends.
    pub fn wait(&mut self) -> Result {
        let status = self.child.wait().context("cannot wait")?;
        if status.success() {
            Ok(())
        } else {
            Err(Error::new(format!("{} ended with {status}\n{}", self.name, self.tail())))
        }
    }

    fn tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(15).collect();
        let lines: Vec<&str> = lines.into_iter().rev().collect();
        format!("{}\n(whole log: {})", lines.join("\n"), self.log.display())
    }
}

/// Ends everything that was noted, and only that: an id that belongs to another program by now is left alone.
pub fn stop_all() -> Result {
    let Ok(files) = std::fs::read_dir(notes()) else { return Ok(()) };
    for file in files.flatten() {
        let text = std::fs::read_to_string(file.path()).unwrap_or_default();
        let mut lines = text.lines();
        let (pid, program) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
        if is(pid, program) {
            say(format!("stopping {}", file.file_name().to_string_lossy()));
            stop(pid, program);
        }
        forget(&file.path())?;
    }
    Ok(())
}

/// Removes a note. `up` does so too, when `down` ends what it waits for.
fn forget(note: &Path) -> Result {
    match std::fs::remove_file(note) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed.context("cannot remove the note of a process"),
    }
}

/// Says who is in the way when a port is taken; one that is just being given back is waited for.
pub fn free(port: u16) -> Result {
    let began = Instant::now();
    while TcpListener::bind(("127.0.0.1", port)).is_err() {
        if began.elapsed() > Duration::from_secs(2) {
            return Err(Error::new(format!("port {port} is in use by another program: stop that one first")));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn notes() -> PathBuf {
    paths::weir().join("run")
}

fn is(pid: &str, program: &str) -> bool {
    std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|path| {
        !program.is_empty() && path.to_string_lossy().trim_end_matches(" (deleted)") == real(program)
    })
}

fn real(program: &str) -> String {
    std::fs::canonicalize(program)
        .map_or_else(|_| program.to_owned(), |path| path.to_string_lossy().into_owned())
}

fn stop(pid: &str, program: &str) {
    // The control plane lets its Envoy finish what streams; killed first it would leave it behind.
    for (signal, patience) in [("-TERM", 15), ("-KILL", 3)] {
        let _ = Command::new("kill").args([signal, pid]).status();
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(patience) {
            if !is(pid, program) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_that_somebody_else_removed_is_no_error() {
        let note = std::env::temp_dir().join(format!("weir-note-{}", std::process::id()));
        std::fs::write(&note, "1\nx\n").expect("the folder for temporary files can be written to");
        assert!(forget(&note).is_ok() && !note.exists());
        assert!(forget(&note).is_ok());
    }
}
