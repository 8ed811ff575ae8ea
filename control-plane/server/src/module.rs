//! The wasm module on its way to Envoy: tokenizers that were added are laid into it, and it is copied under the name of
//! its hash, because a new name is what makes a running Envoy load new code.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use weir_xds::Module;

use crate::{Failure, graft, tokenizers};

/// Copies that stay: a gateway may still be asked to go back to the one before.
const KEPT: usize = 4;
/// Length of `HASH.wasm`.
const HASHED_NAME: usize = 64 + 5;

/// Where the module comes from.
#[derive(Debug)]
pub struct ModuleFile {
    /// The file to watch, or the file as gateways on other machines see it.
    file: PathBuf,
    /// Where copies go; `None` when gateways have the file themselves.
    copies: Option<PathBuf>,
    /// The folder of tokenizers that were added.
    added: PathBuf,
    stamp: Option<Stamp>,
    /// Seen once and not taken yet: a file that is still being written changes between two looks.
    fresh: Option<Stamp>,
    hash: String,
    tokenizers: Vec<String>,
}

/// What tells that the module, or a tokenizer to lay into it, changed.
type Stamp = (SystemTime, u64, Vec<(PathBuf, SystemTime, u64)>);

impl ModuleFile {
    /// A module on this machine, for gateways on this machine.
    pub fn here(file: &Path, data: &Path) -> Self {
        let copies = std::path::absolute(data.join("modules")).unwrap_or_else(|_| data.join("modules"));
        Self { copies: Some(copies), ..Self::in_gateways(file, data) }
    }

    /// A module that every gateway has at this place in its own file system.
    pub fn in_gateways(file: &Path, data: &Path) -> Self {
        let added = tokenizers::folder(data);
        let (hash, tokenizers) = (String::new(), Vec::new());
        Self { file: file.to_owned(), copies: None, added, stamp: None, fresh: None, hash, tokenizers }
    }

    /// What targets may be counted by: what the module says that it has, or, of one that only gateways have, what
    /// modules have by default and what was added here (`weir tokenizer module` writes such a module).
    pub fn tokenizers(&self) -> &[String] {
        &self.tokenizers
    }

    /// SHA-256 of the module, hex; empty when only gateways have it.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The module as gateways see it, if that changed since the last call.
    pub fn poll(&mut self) -> Option<Result<Module, Failure>> {
        let Some(copies) = self.copies.clone() else {
            let first = self.stamp.replace((SystemTime::UNIX_EPOCH, 0, Vec::new())).is_none();
            let added = tokenizers::read(&self.added).unwrap_or_default();
            self.tokenizers = tokenizers::of_module(None);
            self.tokenizers.extend(added.into_iter().map(|(name, _)| name));
            let file = self.file.to_string_lossy().into_owned();
            return first.then(|| Ok(Module { file: file.clone(), fallback: file }));
        };
        let stamp = std::fs::metadata(&self.file)
            .and_then(|meta| Ok((meta.modified()?, meta.len(), tokenizers::stamp(&self.added))))
            .map_err(|why| Failure::new(format!("module {}: {why}", self.file.display())));
        match stamp {
            Ok(stamp) if self.stamp.as_ref() == Some(&stamp) => None,
            Ok(stamp) if self.stamp.is_some() && self.fresh.as_ref() != Some(&stamp) => {
                self.fresh = Some(stamp);
                None
            }
            Ok(stamp) => {
                let before = self.hash.clone();
                match self.copy(&copies) {
                    Ok(module) => {
                        self.stamp = Some(stamp);
                        (self.hash != before).then_some(Ok(module))
                    }
                    Err(why) => Some(Err(why)),
                }
            }
            Err(why) if self.hash.is_empty() => Some(Err(why)),
            // Being replaced just now; the copy stays.
            Err(_) => None,
        }
    }

    fn copy(&mut self, copies: &Path) -> Result<Module, Failure> {
        let place = |why: std::io::Error| Failure::new(format!("module {}: {why}", self.file.display()));
        let bytes = std::fs::read(&self.file).map_err(place)?;
        if !bytes.starts_with(b"\0asm") {
            return Err(Failure::new(format!("module {}: not a wasm module", self.file.display())));
        }
        let bytes = graft::graft(&bytes, &tokenizers::read(&self.added)?)
            .map_err(|why| Failure::new(format!("module {}: {why}", self.file.display())))?;
        std::fs::create_dir_all(copies).map_err(place)?;
        let hash: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let named = copies.join(format!("{hash}.wasm"));
        let fallback = copies.join("fallback.wasm");
        for to in [&named, &fallback] {
            // Whole or not at all: Envoy may read it at any time.
            let part = to.with_extension("part");
            std::fs::write(&part, &bytes).and_then(|()| std::fs::rename(&part, to)).map_err(place)?;
        }
        self.hash = hash;
        self.tokenizers = tokenizers::of_module(Some(&bytes));
        forget_old(copies);
        let text = |path: &Path| path.to_string_lossy().into_owned();
        Ok(Module { file: text(&named), fallback: text(&fallback) })
    }
}

/// Copies that no gateway of this control plane can be about to read are removed: all but the newest few.
fn forget_old(copies: &Path) {
    let files = std::fs::read_dir(copies).into_iter().flatten().flatten();
    let mut hashed: Vec<(SystemTime, PathBuf)> = files
        .filter(|file| file.file_name().to_string_lossy().len() == HASHED_NAME)
        .filter_map(|file| Some((file.metadata().ok()?.modified().ok()?, file.path())))
        .collect();
    hashed.sort();
    for (_, path) in hashed.iter().rev().skip(KEPT) {
        let _ = std::fs::remove_file(path);
    }
}

/// The module beside the running binary, or where `cargo xtask build` puts it.
pub fn find() -> Option<PathBuf> {
    let beside = std::env::current_exe().ok()?.with_file_name("weir.wasm");
    let built = PathBuf::from("target/weir/weir.wasm");
    // `target/release/weir` has its module in `target/weir`.
    let sibling = beside.parent()?.parent()?.join("weir/weir.wasm");
    [beside, built, sibling].into_iter().find(|path| path.is_file())
}
