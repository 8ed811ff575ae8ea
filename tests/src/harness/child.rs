//! A program with its output in files, which ends when its holder does: by drop, or with the whole test process.

use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::paths;

/// Holds the program and ends it when standard input closes, which the kernel does for a test that is killed.
/// Statics are never dropped in Rust, so drop alone would leave shared Envoys behind.
const GUARD: &str = r#"
out=$1; err=$2; pid=$3; shift 3
exec 3<&0
"$@" </dev/null >"$out" 2>"$err" 3<&- &
child=$!
echo $child >"$pid.part"; mv "$pid.part" "$pid"
( cat <&3 >/dev/null; kill -9 $child 2>/dev/null ) &
exec 3<&-
wait $child
"#;

/// A running program.
pub struct Child {
    guard: std::process::Child,
    pid: u32,
    out: PathBuf,
    err: PathBuf,
}

impl Child {
    /// Starts a program in the repository's root. `name` names its logs in `target/weir/logs`.
    pub fn spawn<A: AsRef<OsStr>>(
        name: &str,
        program: &Path,
        arguments: impl IntoIterator<Item = A>,
        environment: &[(String, String)],
    ) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let base = paths::logs().join(format!("{name}-{}-{count}", std::process::id()));
        let [out, err, pid_file] = ["out", "err", "pid"].map(|extension| base.with_extension(extension));
        let _ = std::fs::remove_file(&pid_file);
        let mut command = Command::new("sh");
        command.current_dir(paths::repo_root()).args(["-c", GUARD, "guard"]);
        command.arg(&out).arg(&err).arg(&pid_file).arg(program).args(arguments);
        command.envs(environment.iter().map(|(key, value)| (key, value)));
        // The shell would report each program that it ended as killed.
        let guard = command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().expect("sh starts");
        let deadline = Instant::now() + Duration::from_secs(10);
        let pid = loop {
            if let Some(pid) =
                std::fs::read_to_string(&pid_file).ok().and_then(|text| text.trim().parse().ok())
            {
                break pid;
            }
            assert!(Instant::now() < deadline, "{} did not start", program.display());
            std::thread::sleep(Duration::from_millis(2));
        };
        let _ = std::fs::remove_file(&pid_file);
        Self { guard, pid, out, err }
    }

    /// The program's own process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What it wrote to standard output.
    pub fn out(&self) -> &Path {
        &self.out
    }

    /// What it wrote to standard error so far.
    pub fn err_text(&self) -> String {
        let mut bytes = Vec::new();
        if let Ok(mut file) = std::fs::File::open(&self.err) {
            let _ = file.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.guard.try_wait().ok().flatten()
    }

    /// Sends a signal: `TERM`, `KILL`, `STOP`, `CONT`.
    pub fn signal(&self, name: &str) {
        let _ = Command::new("kill").arg(format!("-{name}")).arg(self.pid.to_string()).status();
    }

    /// CPU time so far, user and system together, over all threads that still live.
    pub fn cpu(&self) -> Duration {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid)).into_iter().flatten().flatten();
        // schedstat counts nanoseconds where stat counts ticks of 10 ms.
        let nanos = tasks.filter_map(|task| {
            let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(nanos.sum())
    }

    /// Resident memory in bytes.
    pub fn rss(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kib.unwrap_or(0) * 1024
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}
