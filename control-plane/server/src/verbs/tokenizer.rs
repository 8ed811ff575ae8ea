//! `weir tokenizer`: a model's own tokenizer, so that its tokens are counted exactly.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::{Failure, graft, module, tokenizers};

/// Add, list and remove tokenizers.
#[derive(Debug, Args)]
pub struct Tokenizer {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Compile a tokenizer.json of Hugging Face's library and deliver it to the filters under a name.
    Add {
        /// What a target's `tokenizer` says.
        name: String,
        /// The file that lies beside the model's weights.
        file: PathBuf,
        #[command(flatten)]
        place: Place,
    },
    /// What targets may name.
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Forget one that was added.
    Remove {
        /// Its name.
        name: String,
        #[command(flatten)]
        place: Place,
    },
    /// Write a module that has what was added, for gateways that bring their own.
    Module {
        /// Where to.
        out: PathBuf,
        /// The module as it was built. Left out: the one beside this program.
        #[arg(long, value_name = "PATH")]
        module: Option<PathBuf>,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, Args)]
struct Place {
    /// The control plane's data folder.
    #[arg(long, value_name = "DIR", default_value = "weir-data")]
    data: PathBuf,
}

impl Tokenizer {
    pub fn run(self) -> Result<(), Failure> {
        match self.verb {
            Verb::Add { name, file, place } => add(&name, &file, &place.data),
            Verb::List { place } => {
                tokenizers::expected(&place.data).iter().for_each(|name| println!("{name}"));
                Ok(())
            }
            Verb::Remove { name, place } => match tokenizers::remove(&place.data, &name)? {
                true => {
                    println!(
                        "{name}: removed; gateways of a control plane with this data folder lose it at once"
                    );
                    Ok(())
                }
                false => Err(Failure::new(format!("no tokenizer `{name}` was added"))),
            },
            Verb::Module { out, module, place } => write(module, &out, &place.data),
        }
    }
}

fn add(name: &str, file: &Path, data: &Path) -> Result<(), Failure> {
    let json = std::fs::read_to_string(file).map_err(|why| failure(file, &why))?;
    let size = tokenizers::add(data, name, &json)
        .map_err(|why| Failure { message: format!("{}: {}", file.display(), why.message), ..why })?;
    println!(
        "{name}: {:.1} MB of tables\nA control plane with this data folder lays them into the module within a second; \
         then targets may say `tokenizer: {name}`.",
        size as f64 / 1e6
    );
    Ok(())
}

fn write(from: Option<PathBuf>, out: &Path, data: &Path) -> Result<(), Failure> {
    let from = from
        .or_else(module::find)
        .ok_or_else(|| Failure::new("no weir.wasm beside this program: say --module PATH"))?;
    let bytes = std::fs::read(&from).map_err(|why| failure(&from, &why))?;
    let tables = tokenizers::read(&tokenizers::folder(data))?;
    let whole = graft::graft(&bytes, &tables)
        .map_err(|why| Failure::new(format!("module {}: {why}", from.display())))?;
    std::fs::write(out, &whole).map_err(|why| failure(out, &why))?;
    println!("{}: {} tokenizers added, {:.1} MB", out.display(), tables.len(), whole.len() as f64 / 1e6);
    Ok(())
}

fn failure(path: &Path, why: &std::io::Error) -> Failure {
    Failure::new(format!("{}: {why}", path.display()))
}
