//! The thread that writes the decision log: what comes while the disk is busy shares the next sync, nobody is told that
//! a record is kept before it is, and a batch that comes twice is written once, after a restart too.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value, json};
use tokio::sync::oneshot;
use weir_lease::message::DecisionReport;

use super::chain::{From, Head, Line};
use super::disk::Disk;
use crate::fleet::unix_ms;

/// A longer record is none of ours, in bytes.
pub const MAX_RECORD: usize = 64 << 10;
/// Workers that are remembered.
const WORKERS: usize = 20_000;
/// Batches that share a sync.
const GROUP: usize = 256;

type Answer = oneshot::Sender<Result<(), String>>;

/// An open log and the thread that writes it.
pub struct Store {
    /// The log's file.
    pub path: PathBuf,
    reached: Arc<Mutex<(Head, u64)>>,
    queue: Sender<(DecisionReport, Answer)>,
}

impl Store {
    /// Opens or creates a log.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut log = Log { path: path.to_owned(), disk: None, workers: Workers::default() };
        let reached = Arc::new(Mutex::new(log.open()?.reached()));
        let (queue, work) = channel();
        let shared = reached.clone();
        std::thread::Builder::new()
            .name("weir-decisions".into())
            .spawn(move || write(&mut log, &shared, &work))?;
        Ok(Self { path: path.to_owned(), reached, queue })
    }

    /// Keeps a batch; done when it is on the disk.
    pub async fn take(&self, report: DecisionReport) -> Result<(), String> {
        let (answer, done) = oneshot::channel();
        let ended = || "decisions are not written any more".to_owned();
        self.queue.send((report, answer)).map_err(|_| ended())?;
        done.await.map_err(|_| ended())?
    }

    /// How far the log has come, and the length of its last file that is durable.
    pub fn reached(&self) -> (Head, u64) {
        *self.reached.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write(log: &mut Log, reached: &Mutex<(Head, u64)>, work: &Receiver<(DecisionReport, Answer)>) {
    while let Ok(first) = work.recv() {
        let group: Vec<_> = std::iter::once(first).chain(work.try_iter().take(GROUP - 1)).collect();
        let written = log.keep(unix_ms(), group.iter().map(|(report, _)| report));
        match &written {
            Ok(at) => *reached.lock().unwrap_or_else(PoisonError::into_inner) = *at,
            Err(why) => {
                // Nobody knows what the disk has of it: it is read again.
                log.disk = None;
                tracing::error!(%why, file = %log.path.display(), "decisions could not be kept");
            }
        }
        for (_, answer) in group {
            let told = written.as_ref().map(|_| ()).map_err(ToString::to_string);
            let _: Result<(), _> = answer.send(told);
        }
    }
}

struct Log {
    path: PathBuf,
    disk: Option<Disk>,
    workers: Workers,
}

impl Log {
    fn open(&mut self) -> io::Result<&mut Disk> {
        if self.disk.is_none() {
            let mut workers = Workers::default();
            let disk = Disk::open(&self.path, &mut |line| workers.replay(&line))?;
            // What was counted as dropped is nowhere else.
            workers.dropped = std::mem::take(&mut self.workers.dropped);
            self.workers = workers;
            self.disk = Some(disk);
        }
        self.disk.as_mut().ok_or_else(|| io::Error::other("no log"))
    }

    fn keep<'r>(
        &mut self,
        now: u64,
        group: impl Iterator<Item = &'r DecisionReport>,
    ) -> io::Result<(Head, u64)> {
        self.open()?;
        let Self { disk: Some(disk), workers, .. } = self else { return Err(io::Error::other("no log")) };
        for report in group {
            workers.take(now, report, disk);
        }
        disk.sync()?;
        Ok(disk.reached())
    }
}

/// What is known of the gateways' workers: their latest batches, which they may send again.
#[derive(Debug, Default)]
struct Workers {
    /// Number of the batch, how many of its records are kept, and when it came.
    latest: HashMap<u128, (u64, usize, u64)>,
    dropped: HashMap<u128, u64>,
}

impl Workers {
    fn replay(&mut self, line: &Line<'_>) {
        let Some(From { vm, batch }) = line.from else { return };
        self.bound();
        let known = self.latest.entry(vm).or_default();
        if known.0 != batch {
            (known.0, known.1) = (batch, 0);
        }
        known.1 += 1;
        known.2 = line.at_ms;
    }

    fn take(&mut self, now: u64, report: &DecisionReport, disk: &mut Disk) {
        let vm = u128::from(report.life) << 64 | u128::from(report.vm);
        self.bound();
        let dropped = self.dropped.entry(vm).or_default();
        if report.dropped > *dropped {
            let more = report.dropped - *dropped;
            *dropped = report.dropped;
            let notice = json!({"notice": "dropped", "records": more, "worker": format!("{vm:032x}")});
            disk.append(now, None, notice.to_string().as_bytes());
        }
        let known = self.latest.entry(vm).or_default();
        let kept = match known.0.cmp(&report.seq) {
            std::cmp::Ordering::Greater => return,
            std::cmp::Ordering::Equal => known.1,
            std::cmp::Ordering::Less => 0,
        };
        for record in report.records.iter().skip(kept) {
            let from = Some(From { vm, batch: report.seq });
            match acceptable(record) {
                true => disk.append(now, from, record),
                false => {
                    let notice = json!({"notice": "unreadable", "bytes": record.len()}).to_string();
                    disk.append(now, from, notice.as_bytes());
                }
            }
        }
        *known = (report.seq, kept.max(report.records.len()), now);
    }

    /// A worker that has been silent for longest does not repeat itself any more.
    fn bound(&mut self) {
        if self.latest.len() < WORKERS {
            return;
        }
        let mut times: Vec<u64> = self.latest.values().map(|(.., at)| *at).collect();
        let middle = times.len() / 2;
        let (_, middle, _) = times.select_nth_unstable(middle);
        let middle = *middle;
        self.latest.retain(|_, (.., at)| *at > middle);
        self.dropped.retain(|vm, _| self.latest.contains_key(vm));
    }
}

/// Whether a gateway's record is one: one line, an object with the request's id.
pub fn acceptable(record: &[u8]) -> bool {
    record.len() <= MAX_RECORD
        && !record.iter().any(|byte| matches!(byte, b'\n' | b'\r'))
        && serde_json::from_slice::<Map<String, Value>>(record)
            .is_ok_and(|map| map.get("id").is_some_and(Value::is_string))
}

#[cfg(test)]
mod tests {
    use super::super::chain::walk;
    use super::super::disk::verify;
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = weir_tests::harness::paths::weir().join("tests");
        let folder = folder.join(format!("decided-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        folder.join("why.log")
    }

    fn report(vm: u64, seq: u64, ids: &[&str]) -> DecisionReport {
        let records = ids.iter().map(|id| format!("{{\"id\":\"{id}\"}}").into_bytes()).collect();
        DecisionReport { life: 9, vm, seq, dropped: 0, records }
    }

    fn ids(path: &Path) -> Vec<String> {
        let mut all = Vec::new();
        let bytes = std::fs::read(path).unwrap();
        walk(&bytes, &mut |line| {
            let record: Value = serde_json::from_slice(line.record).unwrap();
            all.push(record["id"].as_str().or(record["notice"].as_str()).unwrap().to_owned());
        })
        .unwrap();
        assert_eq!(verify(path, None).unwrap().wrong, None);
        all
    }

    #[tokio::test]
    async fn a_batch_that_comes_again_is_written_once_after_a_restart_too() {
        let path = folder("again");
        let store = Store::open(&path).unwrap();
        store.take(report(1, 1, &["a", "b"])).await.unwrap();
        store.take(report(1, 1, &["a", "b"])).await.unwrap();
        store.take(report(2, 1, &["c"])).await.unwrap();
        let before = store.reached();
        drop(store);
        // The thread gives the lock back a moment later.
        let store = loop {
            match Store::open(&path) {
                Ok(store) => break store,
                Err(why) => assert!(why.to_string().contains("another"), "{why}"),
            }
        };
        assert_eq!(store.reached(), before);
        store.take(report(1, 1, &["a", "b"])).await.unwrap();
        store.take(report(2, 1, &["c"])).await.unwrap();
        store.take(report(2, 2, &["d"])).await.unwrap();
        store.take(report(2, 1, &["c"])).await.unwrap();
        assert_eq!(ids(&path), ["a", "b", "c", "d"]);
    }

    #[test]
    fn of_a_batch_torn_in_its_midst_the_rest_is_written_when_it_comes_again() {
        let path = folder("half");
        let mut log = Log { path: path.clone(), disk: None, workers: Workers::default() };
        let whole = report(1, 7, &["a", "b", "c"]);
        log.keep(5, [&whole].into_iter()).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let ends: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] == b'\n').collect();
        for cut in ends[0] + 1..bytes.len() {
            drop(log);
            std::fs::write(&path, &bytes[..cut]).unwrap();
            std::fs::remove_file(super::super::disk::beside(&path, "head")).unwrap();
            log = Log { path: path.clone(), disk: None, workers: Workers::default() };
            log.keep(6, [&whole].into_iter()).unwrap();
            assert_eq!(ids(&path), ["a", "b", "c"], "cut at {cut}");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn many_at_once_share_syncs_and_lose_nothing() {
        let path = folder("many");
        let store = Arc::new(Store::open(&path).unwrap());
        let tasks: Vec<_> = (0..64u64)
            .map(|vm| {
                let store = store.clone();
                tokio::spawn(async move {
                    for seq in 1..=10 {
                        let id = format!("{vm}-{seq}");
                        store.take(report(vm, seq, &[&id, &id])).await.unwrap();
                        let (head, length) = store.reached();
                        // Whoever is told so finds it on the disk.
                        let bytes = std::fs::read(&store.path).unwrap();
                        let kept = walk(&bytes[..length as usize], &mut |_| ()).unwrap();
                        assert!(kept.writer.head.count >= head.count.min(2 * seq));
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let mut all = ids(&path);
        all.sort();
        all.dedup();
        assert_eq!((store.reached().0.count, all.len()), (1_280, 640));
    }

    #[tokio::test]
    async fn what_is_no_record_is_noted_and_so_is_what_was_dropped() {
        let path = folder("notes");
        let store = Store::open(&path).unwrap();
        let mut bad = report(1, 1, &["a", "b"]);
        bad.records.extend([
            b"{\"id\":\"x\"\n}".to_vec(),
            b"[]".to_vec(),
            b"{}".to_vec(),
            vec![b' '; 70_000],
        ]);
        bad.dropped = 3;
        store.take(bad.clone()).await.unwrap();
        store.take(bad).await.unwrap();
        let unreadable = ["unreadable"; 4];
        assert_eq!(ids(&path), [&["dropped", "a", "b"][..], &unreadable].concat());
    }
}
