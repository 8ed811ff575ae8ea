//! `weir check`: whether a policy can run, without running it.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use weir_config::filter::{Exchange, Model, Target};

use crate::source::{Refused, load};
use crate::{Failure, tokenizers};

/// Validate a policy.
#[derive(Debug, Args)]
pub struct Check {
    /// The policy file.
    file: PathBuf,
    /// Judge it for gateways that listen here instead of at `gateway.listen`.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// The control plane's data folder: tokenizers that were added there are known.
    #[arg(long, value_name = "DIR", default_value = "weir-data")]
    data: PathBuf,
}

impl Check {
    pub fn run(self) -> Result<(), Failure> {
        let text = std::fs::read_to_string(&self.file)
            .map_err(|why| Failure::new(format!("{}: {why}", self.file.display())))?;
        // A secret that is absent here may be there where the policy runs: said, and no reason to fail.
        match load(&self.file, &text, "check", self.listen, &tokenizers::expected(&self.data)) {
            Ok(loaded) => {
                for warning in &loaded.warnings {
                    println!("warning: {warning}");
                }
                for line in bounds(&loaded.compiled.exchange) {
                    println!("{line}");
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

/// What budgets reserve for input that is not counted exactly, a line a target. None where no budget asks.
fn bounds(exchange: &Exchange) -> Vec<String> {
    let targets =
        exchange.models.iter().flat_map(|model| model.targets.iter().map(move |target| (model, target)));
    let bound = |target: &Target| match (target.tokenizer.is_some(), target.learned) {
        (true, true) => Some("for tools calibrated, by bytes until 1,000 such requests have settled"),
        (true, false) => None,
        (false, true) => Some("calibrated, by bytes until 1,000 requests of a kind have settled"),
        (false, false) => Some("proven, by bytes: `tokenizer: learned` lowers it"),
    };
    let line = |(model, target): (&Model, &Target)| {
        let bound = bound(target)?;
        Some(format!("bound: model {}, {}:{}: {bound}", model.name, target.provider, target.model))
    };
    if exchange.budgets.is_empty() { Vec::new() } else { targets.filter_map(line).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_told_where_budgets_reserve_it() {
        let target = |model: &str, tokenizer: Option<&str>, learned| Target {
            provider: "p".into(),
            model: model.into(),
            tokenizer: tokenizer.map(str::to_owned),
            learned,
            ..Target::default()
        };
        let targets = vec![
            target("counted", Some("o200k_base"), false),
            target("bytes", None, false),
            target("learned", None, true),
            target("tools", Some("o200k_base"), true),
        ];
        let mut exchange = Exchange {
            models: vec![Model { name: "m".into(), targets, ..Model::default() }],
            ..Exchange::default()
        };
        assert_eq!(bounds(&exchange), [""; 0]);
        exchange.budgets.push(Default::default());
        let lines = bounds(&exchange);
        assert_eq!(lines.len(), 3);
        assert!(lines[0].starts_with("bound: model m, p:bytes: proven"), "{lines:?}");
        assert!(lines[1].starts_with("bound: model m, p:learned: calibrated"), "{lines:?}");
        assert!(lines[2].contains("p:tools: for tools calibrated"), "{lines:?}");
    }
}
