//! `weir schema`: the JSON Schema of the policy file, for editors.

use clap::Args;

use crate::Failure;

/// Print the JSON Schema of the policy file.
#[derive(Debug, Args)]
pub struct Schema {}

impl Schema {
    pub fn run(self) -> Result<(), Failure> {
        println!("{:#}", weir_model::schema());
        Ok(())
    }
}
