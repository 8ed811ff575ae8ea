//! An Envoy of one's own: found, started with a bootstrap that names only the control plane, watched.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};
use weir_xds::Address;
use weir_xds::bootstrap::{Bootstrap, bootstrap};

use crate::Failure;

/// The release that everything is tested with.
pub const RELEASE: &str = "1.40.0";

/// Between an end and the next start; doubled at each end that comes early.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// An Envoy that lived that long had a good start.
const GOOD_LIFE: Duration = Duration::from_secs(30);
/// For streams to end after the first signal.
const GRACE: Duration = Duration::from_secs(10);

const NO_METADATA: &str = "AWS_EC2_METADATA_DISABLED";

/// How an Envoy is started.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The program.
    pub program: PathBuf,
    /// Envoy's admin interface.
    pub admin: Address,
    /// The control plane's xDS.
    pub control: Address,
    /// Worker threads; `None` is one per core.
    pub concurrency: Option<u32>,
    /// Folder of the bootstrap.
    pub data: PathBuf,
}

/// `ENVOY_BIN`, else `envoy` on `PATH`, else where `cargo xtask setup` puts it.
pub fn find() -> Result<PathBuf, Failure> {
    if let Some(path) = std::env::var_os("ENVOY_BIN") {
        let path = PathBuf::from(path);
        return match path.is_file() {
            true => Ok(path),
            false => Err(Failure::new(format!("ENVOY_BIN={} is not a file", path.display()))),
        };
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join("envoy"));
    let fetched = Path::new("target/weir/envoy").join(RELEASE).join("envoy");
    on_path
        .chain([fetched])
        .find(|file| file.is_file())
        .ok_or_else(|| Failure::new("no Envoy: set ENVOY_BIN, put envoy on PATH, or run `cargo xtask setup`"))
}

/// Keeps an Envoy running until `stop` is done, then ends it: first politely, so that streams may end.
pub async fn keep(plan: &Plan, stop: impl Future<Output = ()>) -> Result<(), Failure> {
    let file = write_bootstrap(plan)?;
    tokio::pin!(stop);
    let mut pause = FIRST_PAUSE;
    loop {
        let begin = Instant::now();
        let mut child = start(plan, &file)?;
        let pid = child.id().unwrap_or_default();
        tracing::info!(pid, program = %plan.program.display(), "envoy started");
        tokio::select! {
            status = child.wait() => {
                let status = status.map_or_else(|why| why.to_string(), |status| status.to_string());
                tracing::error!(pid, status, "envoy ended");
            }
            () = &mut stop => return end(child).await,
        }
        pause = if begin.elapsed() > GOOD_LIFE { FIRST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = &mut stop => return Ok(()),
        }
    }
}

fn write_bootstrap(plan: &Plan) -> Result<PathBuf, Failure> {
    let of = Bootstrap {
        node: format!("weir-up-{}", std::process::id()),
        cluster: "weir".to_owned(),
        admin: plan.admin.clone(),
        control: plan.control.clone(),
    };
    let file = plan.data.join("envoy.json");
    let text = format!("{:#}\n", bootstrap(&of));
    std::fs::write(&file, text).map_err(|why| Failure::new(format!("{}: {why}", file.display())))?;
    Ok(file)
}

fn start(plan: &Plan, bootstrap: &Path) -> Result<Child, Failure> {
    let mut command = Command::new(&plan.program);
    command.arg("-c").arg(bootstrap).args(["--disable-hot-restart", "--log-level", "warning"]);
    if let Some(workers) = plan.concurrency {
        command.args(["--concurrency", &workers.to_string()]);
    }
    // Envoy asks the cloud's metadata service for credentials even when it has some, and begins to serve only
    // when that has answered or timed out.
    if std::env::var_os("AWS_ACCESS_KEY_ID").is_some() && std::env::var_os(NO_METADATA).is_none() {
        command.env(NO_METADATA, "true");
    }
    // It does not outlive this process's orderly end; after a kill it goes on serving, as gateways should.
    command.stdin(Stdio::null()).kill_on_drop(true);
    command.spawn().map_err(|why| Failure::new(format!("{}: {why}", plan.program.display())))
}

async fn end(mut child: Child) -> Result<(), Failure> {
    let Some(pid) = child.id() else { return Ok(()) };
    // By its own id, and through `kill`: the standard library knows only the impolite signal.
    let _ = Command::new("kill").args(["-TERM", &pid.to_string()]).status().await;
    if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
    Ok(())
}
