//! `up`, `down`, `demo`.

use clap::Args;

use crate::process::{Error, Result};

/// Options of `up`.
#[derive(Args)]
pub struct Up {
    /// A policy file; without one a small example is used.
    #[arg(long)]
    pub config: Option<std::path::PathBuf>,
    /// Start no simulated providers.
    #[arg(long)]
    pub no_sim: bool,
    /// Return at once and keep running.
    #[arg(long)]
    pub detach: bool,
}

pub fn up(_options: &Up) -> Result {
    Err(Error::new("not yet"))
}
pub fn down() -> Result {
    Err(Error::new("not yet"))
}
pub fn demo(_name: &str) -> Result {
    Err(Error::new("not yet"))
}
