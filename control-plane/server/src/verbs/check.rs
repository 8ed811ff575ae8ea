//! `weir check`: whether a policy can run, without running it.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::Failure;
use crate::source::{Refused, load};

/// Validate a policy.
#[derive(Debug, Args)]
pub struct Check {
    /// The policy file.
    file: PathBuf,
    /// Judge it for gateways that listen here instead of at `gateway.listen`.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
}

impl Check {
    pub fn run(self) -> Result<(), Failure> {
        let text = std::fs::read_to_string(&self.file)
            .map_err(|why| Failure::new(format!("{}: {why}", self.file.display())))?;
        // A secret that is absent here may be there where the policy runs: said, and no reason to fail.
        match load(&text, "check", self.listen) {
            Ok(loaded) => {
                for warning in &loaded.warnings {
                    println!("warning: {warning}");
                }
                println!("{}: ok", self.file.display());
                Ok(())
            }
            Err(Refused::Unbuilt(fields)) => {
                let refused = Refused::Unbuilt(fields);
                Err(refused.failure(&self.file))
            }
            Err(refused) => Err(refused.failure(&self.file)),
        }
    }
}
