//! The decision log: why each request went where it went, without its content, in a file that shows when somebody has
//! changed it. Gateways send records by gRPC ([`service`]), a thread appends them ([`store`]) to files ([`disk`]) whose
//! lines are chained ([`chain`]).
//!
//! A record is JSON that a gateway wrote; here it is kept as it came and never interpreted, but for its id.

pub mod chain;
pub mod disk;
mod store;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use weir_lease::message::{DecisionReport, DecisionsKept};

use crate::records::Records;

pub use store::acceptable;

use store::Store;

/// Answers of one request that are looked for: a repeated id is a gateway's mistake.
const MOST: usize = 16;

/// The log of the policy in force.
#[derive(Default)]
pub struct Decisions {
    store: Mutex<Option<Arc<Store>>>,
    /// One reading at a time: each reads whole files.
    reading: tokio::sync::Mutex<()>,
}

impl Decisions {
    /// Writes to `file` from now on. `None` keeps what is open: gateways may still have records.
    pub fn set(&self, file: Option<&str>) -> io::Result<()> {
        let Some(file) = file else { return Ok(()) };
        let path = std::path::absolute(file)?;
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        if store.as_ref().is_none_or(|open| open.path != path) {
            *store = Some(Arc::new(Store::open(&path)?));
            tracing::info!(file = %path.display(), "decisions are logged");
        }
        Ok(())
    }

    fn open(&self) -> Option<Arc<Store>> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps a batch of a gateway; done when it is on the disk.
    async fn take(&self, report: DecisionReport) -> Result<(), String> {
        let store = self.open().ok_or("the policy names no decision log")?;
        store.take(report).await
    }

    /// The log's file, how many records it has, the hash of the last. `None` where there is no log.
    pub fn status(&self) -> Option<Value> {
        let store = self.open()?;
        let (head, _) = store.reached();
        Some(json!({"file": store.path, "records": head.count, "hash": head.hash.to_string()}))
    }

    /// What was decided on a request, by its id, its trace's id, or the provider's id of the answer. `None` where there is
    /// no log.
    pub async fn why(&self, id: &str) -> Option<io::Result<Value>> {
        let store = self.open()?;
        let _alone = self.reading.lock().await;
        let (id, length) = (id.to_owned(), store.reached().1);
        let found = tokio::task::spawn_blocking(move || why(&store.path, Some(length), &id));
        Some(found.await.unwrap_or_else(|why| Err(io::Error::other(why))))
    }

    /// Reads the whole log. `None` where there is none.
    pub async fn verify(&self) -> Option<io::Result<Value>> {
        let store = self.open()?;
        let _alone = self.reading.lock().await;
        let length = store.reached().1;
        let told = tokio::task::spawn_blocking(move || verify(&store.path, Some(length)));
        Some(told.await.unwrap_or_else(|why| Err(io::Error::other(why))))
    }
}

/// The records of a request, each with its place: the latest parts first. A part that holds one is verified up to it.
pub fn why(path: &Path, length: Option<u64>, id: &str) -> io::Result<Value> {
    let mut files: Vec<PathBuf> = disk::parts(path)?.into_iter().map(|(_, path)| path).collect();
    files.push(path.to_owned());
    let needle = format!("\"{id}\"");
    let mut found: Vec<Value> = Vec::new();
    for file in files.iter().rev() {
        let mut bytes = match std::fs::read(file) {
            // It went by while we looked.
            Err(why) if why.kind() == io::ErrorKind::NotFound && file != path => continue,
            bytes => bytes?,
        };
        if let Some(length) = length.filter(|_| file == path) {
            bytes.truncate(length as usize);
        }
        if !bytes.windows(needle.len()).any(|window| window == needle.as_bytes()) {
            continue;
        }
        let walked = chain::walk(&bytes, &mut |line| {
            let Ok(record) = serde_json::from_slice::<Value>(line.record) else { return };
            if ["id", "trace", "response_id"].iter().any(|name| record[*name] == id) && found.len() < MOST {
                found.push(json!({
                    "record": record,
                    "number": line.number,
                    "hash": line.hash.to_string(),
                    "kept_ms": line.at_ms,
                    "file": file,
                }));
            }
        });
        let wrong = walked.map_or(Some((0, 0)), |it| it.wrong.map(|wrong| (wrong.from, wrong.to)));
        if !found.is_empty() {
            return Ok(json!({"found": found}));
        }
        if let Some((from, to)) = wrong {
            return Ok(json!({"found": [], "damaged": {"file": file, "from": from, "to": to}}));
        }
    }
    Ok(json!({"found": found}))
}

/// Reads a whole log and says whether it is as it was written.
pub fn verify(path: &Path, length: Option<u64>) -> io::Result<Value> {
    let told = disk::verify(path, length)?;
    let wrong = told.wrong.map(|(file, wrong)| {
        json!({"file": file, "from": wrong.from, "to": wrong.to, "record": wrong.record, "what": wrong.what})
    });
    Ok(json!({
        "file": path,
        "first": told.first,
        "records": told.head.count,
        "hash": told.head.hash.to_string(),
        "unfinished": told.unfinished,
        "wrong": wrong,
    }))
}

impl Records for Decisions {
    const SERVICE: &'static str = weir_lease::DECISION_SERVICE;
    const METHOD: &'static str = weir_lease::DECISION_METHOD;
    /// More than a worker keeps.
    const MOST: usize = 64 << 20;
    type Report = DecisionReport;
    type Kept = DecisionsKept;

    fn keep(&self, report: Self::Report) -> impl Future<Output = Result<(), String>> + Send {
        self.take(report)
    }
}
