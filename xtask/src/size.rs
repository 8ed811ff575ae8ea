//! `size`: where the module's code is from. What operators wait for at Envoy's start is V8 compiling the code section, so
//! its bytes are told apart by crate and by file.
//!
//! The module is built once more in a folder of its own, with debug information. Each function is as large as
//! `wasm-opt` leaves it, and is divided among the sources that its instructions were from before that.

mod functions;
mod origin;

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use functions::Function;
use origin::{Origin, Origins};

use crate::process::{Error, Result};
use crate::{build, paths};

/// Builds, and prints the tables; `largest` functions are listed.
pub fn show(largest: usize) -> Result {
    build::the_module()?;
    let (made, small) = build::with_names()?;
    let sizes = Sizes::of(&made, &small)?;
    let shipped = std::fs::read(paths::module()).ok().and_then(|module| functions::code_section(&module));
    print!("{}", sizes.tables(shipped.unwrap_or_default(), largest));
    Ok(())
}

/// Bytes of code.
struct Sizes {
    /// By source.
    origins: BTreeMap<Origin, f64>,
    /// Each function, by its name.
    functions: Vec<(String, usize)>,
    /// Of the code section itself.
    total: usize,
}

impl Sizes {
    fn of(made: &[u8], small: &[u8]) -> Result<Self> {
        let none = || Error::new("the built module is no whole wasm module");
        let total = functions::code_section(small).ok_or_else(none)?;
        let small = functions::functions(small).ok_or_else(none)?;
        let before = functions::functions(made).ok_or_else(none)?;
        let before: HashMap<&str, &Function<'_>> = before.iter().filter_map(|f| Some((f.name?, f))).collect();
        let sources = Origins::of(made)?;
        let mut origins: BTreeMap<Origin, f64> = BTreeMap::new();
        let mut functions = Vec::new();
        for function in &small {
            let name = function.name.unwrap_or("?");
            let size = function.code.len();
            functions.push((format!("{:#}", rustc_demangle::demangle(name)), size));
            let shares =
                before.get(name).map(|before| sources.shares(before.code.clone())).unwrap_or_default();
            let all: usize = shares.values().sum();
            if all == 0 {
                // What the linker or wasm-opt wrote, and exports that a host calls.
                *origins.entry(Origin::unknown()).or_default() += size as f64;
            }
            for (origin, share) in shares {
                *origins.entry(origin).or_default() += share as f64 * size as f64 / all as f64;
            }
        }
        functions.sort_by_key(|(_, size)| Reverse(*size));
        Ok(Self { origins, functions, total })
    }

    fn tables(&self, shipped: usize, largest: usize) -> String {
        let mut crates: BTreeMap<&str, f64> = BTreeMap::new();
        let mut parts: BTreeMap<&str, f64> = BTreeMap::new();
        let mut redaction = 0.0;
        for (origin, size) in &self.origins {
            *crates.entry(&origin.krate).or_default() += size;
            if origin.krate == "weir_pipeline" {
                *parts.entry(origin.part()).or_default() += size;
            }
            if origin.redaction {
                redaction += size;
            }
        }
        let sum: f64 = crates.values().sum();
        let mut text = String::new();
        table(&mut text, "crate", crates);
        line(&mut text, "all functions", sum);
        line(&mut text, "their sizes, and the section's head", self.total as f64 - sum);
        line(&mut text, "code section of this build", self.total as f64);
        line(&mut text, "code section of the shipped module", shipped as f64);
        line(&mut text, "redaction: weir_pii and what only it is for", redaction);
        line(&mut text, "shipped, without redaction", shipped as f64 - redaction);
        table(&mut text, "part of weir_pipeline", parts);
        if largest > 0 {
            let functions = self.functions.iter().take(largest);
            table(&mut text, "function", functions.map(|(name, size)| (name.as_str(), *size as f64)));
        }
        text
    }
}

fn table<'a>(text: &mut String, title: &str, rows: impl IntoIterator<Item = (&'a str, f64)>) {
    let mut rows: Vec<(&str, f64)> = rows.into_iter().collect();
    rows.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    text.push_str(&format!("\n{:>9}  {title}\n", "bytes"));
    for (name, size) in rows {
        line(text, name, size);
    }
}

fn line(text: &mut String, name: &str, size: f64) {
    text.push_str(&format!("{size:>9.0}  {name}\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(krate: &str, file: Option<&str>, redaction: bool) -> Origin {
        Origin { krate: krate.to_owned(), file: file.map(str::to_owned), redaction }
    }

    #[test]
    fn files_are_summed_by_crate_and_redaction_is_taken_off() {
        let origins = BTreeMap::from([
            (origin("weir_pii", Some("set.rs"), true), 30.0),
            (origin("weir_pipeline", Some("exchange/judge.rs"), false), 40.0),
            (origin("weir_pipeline", Some("exchange.rs"), false), 20.0),
            (origin("weir_pipeline", Some("search.rs"), true), 5.0),
            (origin("std", None, false), 5.0),
        ]);
        let sizes = Sizes { origins, functions: vec![("f".to_owned(), 60)], total: 110 };
        let text = sizes.tables(108, 1);
        let rows: Vec<(&str, &str)> =
            text.lines().filter_map(|line| line.trim_start().split_once("  ")).collect();
        for row in [
            ("65", "weir_pipeline"),
            ("30", "weir_pii"),
            ("60", "exchange"),
            ("5", "search"),
            ("100", "all functions"),
            ("35", "redaction: weir_pii and what only it is for"),
            ("73", "shipped, without redaction"),
            ("60", "f"),
        ] {
            assert!(rows.contains(&row), "{row:?} in {text}");
        }
    }
}
