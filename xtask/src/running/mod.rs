//! `up`, `down`, `demo`: the gateway on this machine, with simulated providers.

mod budget;
mod demo;
mod http;
mod process;
mod story;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;

use crate::process::{Error, Result, cargo, run, say};
use crate::{build, paths, setup};
pub use demo::demo;
use process::Running;

/// Where clients connect.
pub const GATEWAY: u16 = 8080;
/// The simulated vLLM.
pub const VLLM: u16 = 9101;
/// The simulated Bedrock.
pub const BEDROCK: u16 = 9103;
/// The control plane's API.
pub const API: u16 = 8090;

/// Options of `up`.
#[derive(Args)]
pub struct Up {
    /// A policy file; without one `envoy/first.yaml`.
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// Start no simulated providers.
    #[arg(long)]
    pub no_sim: bool,
    /// Return at once and keep running.
    #[arg(long)]
    pub detach: bool,
}

/// Sets up, builds, starts, sends one request and tells what happened.
pub fn up(options: &Up) -> Result {
    setup::for_run()?;
    build::all()?;
    if !options.no_sim {
        say("building the simulated providers");
        run(cargo().args(["build", "--quiet", "-p", "weir-tests", "--bin", "weir-sim"]))?;
    }
    down()?;
    let began = Instant::now();
    let providers = match options.no_sim {
        true => None,
        false => Some(start_providers()?),
    };
    let mut gateway = start_gateway(options)?;
    say(format!(
        "started in {:.1} s; listening on http://127.0.0.1:{GATEWAY}/v1",
        began.elapsed().as_secs_f64()
    ));
    story::tell(providers.is_some())?;
    if options.detach {
        say("running on; stop it with: cargo xtask down");
        return Ok(());
    }
    say("Ctrl-C stops it");
    let ended = gateway.wait();
    down()?;
    ended
}

/// Stops what `up` started.
pub fn down() -> Result {
    process::stop_all()
}

fn start_providers() -> Result<Running> {
    process::free(VLLM)?;
    process::free(BEDROCK)?;
    let program = paths::target().join("debug/weir-sim");
    let arguments = [format!("--vllm={VLLM}"), format!("--bedrock={BEDROCK}")];
    let mut sim = Running::start("weir-sim", &program, &arguments, &[])?;
    sim.until(Duration::from_secs(20), || {
        http::get(VLLM, "/sim/health").is_ok() && http::get(BEDROCK, "/sim/health").is_ok()
    })?;
    Ok(sim)
}

fn start_gateway(options: &Up) -> Result<Running> {
    process::free(GATEWAY)?;
    let policy = options.config.clone().unwrap_or_else(|| paths::root().join("envoy/first.yaml"));
    let program = paths::target().join("release/weir");
    let shown = |path: PathBuf| path.to_string_lossy().into_owned();
    let arguments = [
        ("--config", shown(policy)),
        ("--module", shown(paths::module())),
        // Spend and the last good policy outlive a restart.
        ("--data", shown(paths::weir().join("data"))),
    ];
    let mut words = vec!["up".to_owned()];
    words.extend(arguments.into_iter().flat_map(|(name, value)| [name.to_owned(), value]));
    let envoy = shown(setup::envoy::install(paths::ENVOY)?);
    let mut environment = vec![("ENVOY_BIN", envoy)];
    if !options.no_sim {
        // Of AWS's own documentation; the simulated Bedrock checks signatures made with it.
        environment.push(("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE".to_owned()));
        environment.push(("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned()));
    }
    let mut gateway = Running::start("weir", &program, &words, &environment)?;
    gateway.until(Duration::from_secs(30), || {
        http::get(GATEWAY, "/v1/models").is_ok_and(|answer| answer.status != 503)
    })?;
    Ok(gateway)
}

/// Answers an error that names what is missing.
fn must_run() -> Result {
    match http::get(GATEWAY, "/v1/models") {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::new("nothing is running: start it with cargo xtask up --detach")),
    }
}
