//! The verbs and their arguments.

use clap::{Parser, Subcommand};

use crate::process::Result;
use crate::{bench, build, fuzz, lint, running, setup, size, test};

/// Build, test and run Weir.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Install what the other verbs need: Rust's standard library for wasm, Envoy, Redis, Python tools.
    Setup,
    /// Build `target/weir/weir.wasm` and `target/release/weir`.
    Build {
        /// Vocabularies of the module, in place of o200k and cl100k: of o200k, cl100k, p50k, r50k.
        #[arg(long, value_delimiter = ',')]
        tokenizers: Vec<String>,
    },
    /// Set up, build and run every test; arguments after `--` go to cargo test.
    Test {
        /// Handed to `cargo test`: `-p CRATE`, a name to filter by.
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Clippy with warnings denied, and the format check.
    Lint,
    /// Run a benchmark side by side with bare Envoy.
    Bench {
        /// Handed to the benchmark program: its name and options; none lists them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Search inputs that break a decoder: `fuzz TARGET --minutes 10`; `all` is every target, nothing lists them.
    Fuzz {
        /// Handed to the search: a target and options.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Where the module's code is from: bytes per crate and per file, of a build that keeps names.
    Size {
        /// Lists so many of the largest functions too.
        #[arg(long, default_value_t = 0)]
        functions: usize,
    },
    /// Start everything on this machine, send one request and say what happened.
    Up(running::Up),
    /// Stop what `up` started.
    Down,
    /// Show one ability on a running `up`.
    Demo {
        /// `failover` or `budget`.
        name: String,
    },
}

/// Reads the command line and does what it says.
pub fn run() -> Result {
    match Cli::parse().verb {
        Verb::Setup => setup::all(),
        Verb::Build { tokenizers } => {
            setup::for_build()?;
            build::with(&tokenizers)
        }
        Verb::Test { args } => test::all(&args),
        Verb::Lint => lint::all(),
        Verb::Bench { args } => bench::run(&args),
        Verb::Fuzz { args } => fuzz::run_with(&args),
        Verb::Size { functions } => {
            setup::for_build()?;
            size::show(functions)
        }
        Verb::Up(options) => running::up(&options),
        Verb::Down => running::down(),
        Verb::Demo { name } => running::demo(&name),
    }
}
