//! `lint`: clippy with warnings denied and rustfmt's check, for every crate.

use crate::process::{Result, cargo, run, say};

/// Both; the first that finds something ends the verb.
pub fn all() -> Result {
    say("checking the format");
    run(cargo().args(["fmt", "--all", "--check"]))?;
    say("clippy");
    run(cargo().args(["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]))
}
