//! The tokenizers that were added: compiled tables as files of a folder below the data folder. What is there, the
//! control plane lays into the module that it serves.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use weir_tokens::compile;

use crate::{Failure, graft, module};

/// The folder below the data folder.
const FOLDER: &str = "tokenizers";
/// What a compiled table's file ends with.
const EXTENSION: &str = "tables";

/// The folder of added tokenizers below a data folder.
pub fn folder(data: &Path) -> PathBuf {
    data.join(FOLDER)
}

/// The files there, in the order of their names.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == EXTENSION))
        .collect();
    files.sort();
    files
}

/// What tells whether any of them changed.
pub fn stamp(folder: &Path) -> Vec<(PathBuf, SystemTime, u64)> {
    let stamp = |path: PathBuf| {
        let meta = std::fs::metadata(&path).ok()?;
        Some((path, meta.modified().ok()?, meta.len()))
    };
    files(folder).into_iter().filter_map(stamp).collect()
}

/// All of them, under their names.
pub fn read(folder: &Path) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let one = |path: PathBuf| {
        let place = |why: String| Failure::new(format!("tokenizer {}: {why}", path.display()));
        let bytes = std::fs::read(&path).map_err(|why| place(why.to_string()))?;
        let name = compile::name_of(&bytes).map(str::to_owned);
        let name = name.ok_or_else(|| place("not tables of this version: add it again".to_owned()))?;
        Ok((name, bytes))
    };
    files(folder).into_iter().map(one).collect()
}

/// Compiles a `tokenizer.json` and keeps it; gives the size of its tables.
pub fn add(data: &Path, name: &str, json: &str) -> Result<usize, Failure> {
    let block = compile::compile(name, json).map_err(|why| Failure { code: 2, message: why.to_string() })?;
    let folder = folder(data);
    let file = folder.join(format!("{name}.{EXTENSION}"));
    let part = file.with_extension("part");
    std::fs::create_dir_all(&folder)
        .and_then(|()| std::fs::write(&part, &block))
        .and_then(|()| std::fs::rename(&part, &file))
        .map_err(|why| Failure::new(format!("{}: {why}", file.display())))?;
    Ok(block.len())
}

/// Forgets one; false where there is none of that name.
pub fn remove(data: &Path, name: &str) -> Result<bool, Failure> {
    let file = folder(data).join(format!("{name}.{EXTENSION}"));
    match std::fs::remove_file(&file) {
        Ok(()) => Ok(true),
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(why) => Err(Failure::new(format!("{}: {why}", file.display()))),
    }
}

/// What a module has by its own word; where that cannot be had, what modules are built with by default.
pub fn of_module(module: Option<&[u8]>) -> Vec<String> {
    module.and_then(graft::tokenizers).unwrap_or_else(|| weir_model::TOKENIZERS.map(str::to_owned).into())
}

/// What a control plane with this data folder would serve, for verbs that ask no running one: the module beside this
/// program and what was added.
pub fn expected(data: &Path) -> Vec<String> {
    let bytes = module::find().and_then(|path| std::fs::read(path).ok());
    let mut names = of_module(bytes.as_deref());
    names.extend(read(&folder(data)).unwrap_or_default().into_iter().map(|(name, _)| name));
    names
}

/// Makes the added ones known to this process, which then counts as the filters do.
pub fn know(data: &Path) -> Result<(), Failure> {
    for (_, block) in read(&folder(data))? {
        weir_tokens::add(block.leak());
    }
    Ok(())
}
