//! Which source each byte of code is from, by the debug information of a build that kept it. What was inlined counts
//! where its innermost line of ours stands: a loop of the standard library inside a function of ours is ours, and what
//! the linker made one function of two crates is divided between them.

use std::collections::BTreeMap;
use std::ops::Range;

use addr2line::gimli::{Dwarf, EndianSlice, LittleEndian};

use super::functions::custom;
use crate::process::{Context, Error, Result};

type Bytes<'a> = EndianSlice<'a, LittleEndian>;

/// Files below the pipeline that only redaction needs.
const REDACTION_FILES: [&str; 3] = ["search.rs", "outside.rs", "exchange/outside.rs"];
/// And functions elsewhere in it, as they are mangled: a request's redaction, and its rules made ready.
const REDACTION_FUNCTIONS: [&str; 2] = ["6prompt6redact", "9build_set"];

/// A crate and, if it is ours, a file of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// `weir_pii`, `std`, `dlmalloc`.
    pub krate: String,
    /// Below `src/`: `exchange/judge.rs`.
    pub file: Option<String>,
    /// Without redaction it would not be there.
    pub redaction: bool,
}

impl Origin {
    /// Of what no source is known.
    pub fn unknown() -> Self {
        Self { krate: "unknown".to_owned(), file: None, redaction: false }
    }

    /// The part of its crate: a file of `src/` with its folder.
    pub fn part(&self) -> &str {
        let file = self.file.as_deref().unwrap_or_default();
        file.split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }
}

/// Sources by the debug information of one module.
pub struct Origins<'a> {
    context: addr2line::Context<Bytes<'a>>,
}

impl<'a> Origins<'a> {
    /// Of a module that has it.
    pub fn of(module: &'a [u8]) -> Result<Self> {
        let section = |id: addr2line::gimli::SectionId| {
            let bytes = custom(module, id.name()).unwrap_or_default();
            Ok::<_, addr2line::gimli::Error>(EndianSlice::new(bytes, LittleEndian))
        };
        if custom(module, ".debug_line").is_none() {
            return Err(Error::new("the module was built without debug information"));
        }
        let dwarf = Dwarf::load(section).context("cannot read the debug information")?;
        let context = addr2line::Context::from_dwarf(dwarf).context("cannot read the debug information")?;
        Ok(Self { context })
    }

    /// How many bytes of a function are from which source. What no line names, as a function's locals, is from where
    /// most of the rest is.
    pub fn shares(&self, code: Range<usize>) -> BTreeMap<Origin, usize> {
        let mut shares = BTreeMap::new();
        let ranges = self.context.find_location_range(code.start as u64, code.end as u64);
        for (start, size, _) in ranges.into_iter().flatten() {
            let start = usize::try_from(start).unwrap_or(usize::MAX).max(code.start);
            let end = start.saturating_add(usize::try_from(size).unwrap_or(0)).min(code.end);
            if let Some(origin) = self.origin(start) {
                *shares.entry(origin).or_default() += end.saturating_sub(start);
            }
        }
        let named: usize = shares.values().sum();
        if let Some((_, most)) = shares.iter_mut().max_by_key(|(_, size)| **size) {
            *most += code.len().saturating_sub(named);
        }
        shares
    }

    fn origin(&self, address: usize) -> Option<Origin> {
        let mut frames = self.context.find_frames(address as u64).skip_all_loads().ok()?;
        let mut found: Option<Origin> = None;
        let mut redaction = false;
        while let Ok(Some(frame)) = frames.next() {
            let name =
                frame.function.as_ref().and_then(|function| function.raw_name().ok()).unwrap_or_default();
            redaction |= REDACTION_FUNCTIONS.iter().any(|function| name.contains(function));
            let Some(origin) = frame.location.and_then(|location| of_path(location.file?)) else { continue };
            redaction |= origin.redaction;
            if found.as_ref().is_none_or(|found| found.file.is_none() && origin.file.is_some()) {
                found = Some(origin);
            }
        }
        found.map(|found| Origin { redaction, ..found })
    }
}

/// Whose source a path is.
fn of_path(path: &str) -> Option<Origin> {
    if let Some((_, ours)) = path.rsplit_once("filters/")
        && let Some((name, file)) = ours.split_once("/src/")
    {
        let redaction = name == "pii" || name == "pipeline" && REDACTION_FILES.contains(&file);
        return Some(Origin { krate: format!("weir_{name}"), file: Some(file.to_owned()), redaction });
    }
    let krate = match path.split_once("library/") {
        Some((_, library)) if library.starts_with("compiler-builtins") => "compiler_builtins".to_owned(),
        Some(_) => "std".to_owned(),
        // A registry's or the toolchain's copy: `NAME-1.2.3/src/lib.rs`.
        None => {
            let folder = path.rsplit_once("/src/")?.0.rsplit('/').next()?;
            folder.rsplit_once('-').map_or(folder, |(name, _)| name).replace('-', "_")
        }
    };
    Some(Origin { krate, file: None, redaction: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_its_crate() {
        let crates = [
            ("filters/pipeline/src/exchange/judge.rs", "weir_pipeline", Some("exchange/judge.rs")),
            ("/b/filters/pii/src/set.rs", "weir_pii", Some("set.rs")),
            ("/rustc/59807616e1fa2540724bfbac14d7976d7e4a3860/library/alloc/src/vec/mod.rs", "std", None),
            ("/rust/deps/dlmalloc-0.2.10/src/dlmalloc.rs", "dlmalloc", None),
            ("/a/registry/src/index.example-6f17d22bba15001f/sha2-0.10.9/src/sha256.rs", "sha2", None),
            ("/b/library/compiler-builtins/compiler-builtins/src/int/udiv.rs", "compiler_builtins", None),
        ];
        for (path, krate, file) in crates {
            let redaction = krate == "weir_pii";
            let expected = Origin { krate: krate.to_owned(), file: file.map(str::to_owned), redaction };
            assert_eq!(of_path(path), Some(expected), "{path}");
        }
        assert_eq!(of_path("nowhere"), None);
    }
}
