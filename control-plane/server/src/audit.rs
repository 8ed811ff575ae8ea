//! What operators did to this control plane, in an append-only file of JSON lines below its data folder. The ledger
//! keeps its own, shorter account beside it.

use std::fs::OpenOptions;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use crate::fleet::unix_ms;

/// So much of the file's end is shown.
const SHOWN: u64 = 256 << 10;

/// The file.
#[derive(Debug)]
pub struct Audit {
    path: PathBuf,
    writing: Mutex<()>,
}

impl Audit {
    /// The file in the folder `data`.
    pub fn new(data: &Path) -> Self {
        Self { path: data.join("audit.jsonl"), writing: Mutex::new(()) }
    }

    /// Adds a line: who, what, and why it failed if it did.
    pub fn write(&self, by: &str, what: &str, failed: Option<String>) {
        tracing::info!(by, what, failed, "operator");
        let mut line = json!({"at_ms": unix_ms(), "by": by, "what": what});
        if let Some(why) = failed {
            line["failed"] = why.into();
        }
        let alone = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let file = OpenOptions::new().create(true).append(true).open(&self.path);
        let written = file.and_then(|mut file| {
            file.write_all(format!("{line}\n").as_bytes())?;
            file.sync_data()
        });
        drop(alone);
        if let Err(why) = written {
            tracing::error!(%why, file = %self.path.display(), "the audit line above is in no file");
        }
    }

    /// The latest lines, oldest first.
    pub fn read(&self) -> io::Result<Vec<Value>> {
        let mut file = match OpenOptions::new().read(true).open(&self.path) {
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            file => file?,
        };
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(SHOWN)))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        // The first line may have been cut in two.
        let lines = text.split(|byte| *byte == b'\n');
        Ok(lines.filter_map(|line| serde_json::from_slice(line).ok()).collect())
    }
}
