//! `weir prices`: the table of prices that a policy names. Whatever watches the policy takes a changed table at once,
//! so that writing the file is all there is to do; it is judged with the policy before, and replaced as a whole.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use weir_config::policy::PriceTable;

use crate::source::{beside, load};
use crate::{Failure, tokenizers};

/// What models cost.
#[derive(Debug, Args)]
pub struct Prices {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Put a new table into the place of the policy's: judged first, the difference is shown. Live in a fifth of a second.
    Update(Update),
}

#[derive(Debug, Args)]
struct Update {
    /// The new table: `prices: [{provider, model, price: {input, output, …}}]`.
    file: PathBuf,
    /// The policy file, whose `prices` names the table.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Show the difference and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// The control plane's data folder: tokenizers that were added there are known.
    #[arg(long, value_name = "DIR", default_value = "weir-data")]
    data: PathBuf,
}

impl Prices {
    pub fn run(self) -> Result<(), Failure> {
        match self.what {
            What::Update(update) => update.run(),
        }
    }
}

impl Update {
    fn run(self) -> Result<(), Failure> {
        let read = |path: &Path| {
            std::fs::read_to_string(path).map_err(|why| Failure::new(format!("{}: {why}", path.display())))
        };
        let (policy, new) = (read(&self.config)?, read(&self.file)?);
        let invalid = |file: &Path, problems: Vec<weir_model::Problem>| {
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            Failure { code: 2, message: format!("{}:\n  {}", file.display(), lines.join("\n  ")) }
        };
        let table = weir_model::prices::read(&new).map_err(|why| invalid(&self.file, why))?;
        let parsed = weir_model::parse(&policy).map_err(|why| invalid(&self.config, why))?;
        let Some(name) = &parsed.prices else {
            return Err(Failure::new(format!(
                "{} names no table of prices: add `prices: prices.yaml`",
                self.config.display()
            )));
        };
        let place = self.config.parent().unwrap_or(Path::new("")).join(name);
        // A table that is not there yet, or broken, is as good as empty.
        let old = beside(&self.config, name).ok();
        let old = old.and_then(|text| weir_model::prices::read(&text).ok()).unwrap_or_default();
        let changes = weir_model::prices::diff(&old, &table);
        for line in &changes {
            println!("{line}");
        }
        for line in strangers(&parsed, &table) {
            println!("warning: {line}");
        }
        // The policy is judged with it: a budget in USD needs a price for each target.
        let part = place.with_extension(format!("part-{}", std::process::id()));
        let failed = |why: std::io::Error| Failure::new(format!("{}: {why}", place.display()));
        std::fs::write(&part, &new).map_err(failed)?;
        let judged = judge(&self.config, &policy, &part, &self.data);
        if self.dry_run || judged.is_err() || changes.is_empty() {
            let _ = std::fs::remove_file(&part);
            judged?;
            println!("{}", if changes.is_empty() { "nothing differs" } else { "nothing was changed" });
            return Ok(());
        }
        std::fs::File::open(&part).and_then(|file| file.sync_all()).map_err(failed)?;
        std::fs::rename(&part, &place).map_err(failed)?;
        println!("{}: {} prices changed", place.display(), changes.len());
        Ok(())
    }
}

/// Whether the policy can run with the table in `part`.
fn judge(config: &Path, policy: &str, part: &Path, data: &Path) -> Result<(), Failure> {
    let mut document: serde_json::Value =
        serde_json::to_value(weir_model::parse(policy).map_err(|_| Failure::new("the policy is not valid"))?)
            .map_err(|why| Failure::new(why.to_string()))?;
    document["prices"] = part.file_name().map(|name| name.to_string_lossy().into_owned()).into();
    let beside = part.with_file_name("policy");
    load(&beside, &document.to_string(), "prices", None, &tokenizers::expected(data))
        .map(drop)
        .map_err(|refused| refused.failure(config))
}

/// Rows of models that the policy does not have.
fn strangers(policy: &weir_config::policy::Policy, table: &PriceTable) -> Vec<String> {
    let targets: Vec<_> = policy.models.iter().flat_map(|model| &model.targets).collect();
    let known = |provider: &str, model: &str| {
        targets.iter().any(|target| target.provider == provider && target.model == model)
    };
    let strange = table.prices.iter().filter(|row| !known(&row.provider, &row.model));
    strange.map(|row| format!("no target is `{}` at `{}`", row.model, row.provider)).collect()
}
