//! Keeps the table of spend on disk: batches as they came in a log, and from time to time the whole table. A batch
//! that is replayed twice counts once, so that a crash at any moment between the two loses and doubles nothing.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prost::Message;
use tokio::sync::oneshot;
use weir_lease::message::SpendReport;

use super::table::Table;
use crate::fleet::unix_ms;

/// The log is replaced by a table when it is this long.
const LONG: u64 = 16 << 20;
/// Length and checksum, time.
const HEAD: usize = 4 + 4 + 8;
/// A longer batch is not believed.
const MAX_BATCH: usize = 8 << 20;

type Answer = oneshot::Sender<Result<(), String>>;

/// The table and the thread that writes.
pub struct Store {
    table: Arc<Mutex<Table>>,
    queue: Sender<(SpendReport, Answer)>,
}

impl Store {
    /// Opens or creates it in the folder `data`.
    pub fn open(data: &Path) -> io::Result<Self> {
        let (disk, table) = Disk::open(data)?;
        let table = Arc::new(Mutex::new(table));
        let (queue, work) = channel();
        let shared = table.clone();
        std::thread::Builder::new().name("weir-spend".into()).spawn(move || write(disk, &shared, &work))?;
        Ok(Self { table, queue })
    }

    /// Keeps a batch; done when it is on the disk.
    pub async fn take(&self, report: SpendReport) -> Result<(), String> {
        let (answer, done) = oneshot::channel();
        let ended = || "spend is not written any more".to_owned();
        self.queue.send((report, answer)).map_err(|_| ended())?;
        done.await.map_err(|_| ended())?
    }

    /// The table as it is now.
    pub fn table(&self) -> MutexGuard<'_, Table> {
        lock(&self.table)
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    // A half-taken batch would be a wrong sum, not an unsafe one.
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes until nobody can ask any more. What came while the disk was busy shares the next sync.
fn write(mut disk: Disk, table: &Mutex<Table>, work: &Receiver<(SpendReport, Answer)>) {
    while let Ok(first) = work.recv() {
        let batch: Vec<_> = std::iter::once(first).chain(work.try_iter().take(255)).collect();
        let now = unix_ms();
        let mut written = Ok(());
        for (report, _) in &batch {
            if lock(table).take(now, report) && written.is_ok() {
                written = disk.append(now, report);
            }
        }
        written = written.and_then(|()| disk.sync());
        if written.is_ok() && disk.length > LONG {
            let whole = lock(table).clone();
            written = disk.replace(&whole);
        }
        if let Err(why) = &written {
            tracing::error!(%why, "spend records could not be kept");
        }
        for (_, answer) in batch {
            let told = written.as_ref().copied().map_err(ToString::to_string);
            let _: Result<(), _> = answer.send(told);
        }
    }
}

struct Disk {
    log: File,
    length: u64,
    whole: PathBuf,
}

impl Disk {
    fn open(data: &Path) -> io::Result<(Self, Table)> {
        let whole = data.join("spend.json");
        let mut table = match std::fs::read(&whole) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::other)?,
            Err(why) if why.kind() == io::ErrorKind::NotFound => Table::default(),
            Err(why) => return Err(why),
        };
        let mut how = OpenOptions::new();
        how.create(true).truncate(false).read(true).write(true);
        let mut log = how.open(data.join("spend.log"))?;
        let mut bytes = Vec::new();
        log.read_to_end(&mut bytes)?;
        let length = replay(&bytes, &mut table) as u64;
        if length < bytes.len() as u64 {
            tracing::warn!(cut = bytes.len() as u64 - length, "spend.log had a torn end");
            log.set_len(length)?;
        }
        log.seek(SeekFrom::Start(length))?;
        Ok((Self { log, length, whole }, table))
    }

    fn append(&mut self, now: u64, report: &SpendReport) -> io::Result<()> {
        let body = report.encode_to_vec();
        let mut frame = Vec::with_capacity(HEAD + body.len());
        frame.extend_from_slice(&(body.len() as u32).to_le_bytes());
        frame.extend_from_slice(&checksum(now, &body).to_le_bytes());
        frame.extend_from_slice(&now.to_le_bytes());
        frame.extend_from_slice(&body);
        self.log.write_all(&frame)?;
        self.length += frame.len() as u64;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.log.sync_data()
    }

    fn replace(&mut self, table: &Table) -> io::Result<()> {
        let part = self.whole.with_extension("part");
        let mut file = File::create(&part)?;
        file.write_all(&serde_json::to_vec(table).map_err(io::Error::other)?)?;
        file.sync_all()?;
        std::fs::rename(&part, &self.whole)?;
        if let Some(folder) = self.whole.parent() {
            File::open(folder)?.sync_all()?;
        }
        // From here on the log says nothing new.
        self.log.set_len(0)?;
        self.log.seek(SeekFrom::Start(0))?;
        self.length = 0;
        Ok(())
    }
}

/// Takes in all whole frames; where they end.
fn replay(bytes: &[u8], table: &mut Table) -> usize {
    let mut at = 0;
    while let Some((now, report, length)) = frame(&bytes[at..]) {
        table.take(now, &report);
        at += length;
    }
    at
}

fn frame(bytes: &[u8]) -> Option<(u64, SpendReport, usize)> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (sum, rest) = rest.split_first_chunk()?;
    let (now, rest) = rest.split_first_chunk()?;
    let (length, now) = (u32::from_le_bytes(*length) as usize, u64::from_le_bytes(*now));
    let body = rest.get(..length).filter(|_| length <= MAX_BATCH)?;
    if checksum(now, body) != u32::from_le_bytes(*sum) {
        return None;
    }
    Some((now, SpendReport::decode(body).ok()?, HEAD + length))
}

fn checksum(now: u64, body: &[u8]) -> u32 {
    let mut hash = crc32fast::Hasher::new();
    hash.update(&now.to_le_bytes());
    hash.update(body);
    hash.finalize()
}

#[cfg(test)]
mod tests {
    use weir_lease::message::SpentRecord;

    use super::*;

    fn report(seq: u64) -> SpendReport {
        let record = SpentRecord { tenant: "acme".into(), input: seq, ..SpentRecord::default() };
        SpendReport { sid: 1, vm: 1, seq, dropped: 0, records: vec![record] }
    }

    fn folder(name: &str) -> PathBuf {
        let folder = weir_tests::harness::paths::weir().join("tests");
        let folder = folder.join(format!("spend-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("target/ is writable");
        folder
    }

    fn input(table: &Table) -> u64 {
        table.days(0, u64::MAX).map(|(_, sums)| sums.input).sum()
    }

    #[test]
    fn a_log_cut_at_any_byte_keeps_every_whole_batch() {
        let folder = folder("cut");
        let (mut disk, _) = Disk::open(&folder).unwrap();
        let mut ends = vec![0];
        for seq in 1..=3 {
            disk.append(5, &report(seq)).unwrap();
            ends.push(disk.length as usize);
        }
        let bytes = std::fs::read(folder.join("spend.log")).unwrap();
        for cut in 0..=bytes.len() {
            let mut table = Table::default();
            let kept = replay(&bytes[..cut], &mut table);
            assert_eq!(Some(&kept), ends.iter().rev().find(|end| **end <= cut), "cut at {cut}");
            let whole = ends.iter().filter(|end| **end <= cut).count() as u64 - 1;
            assert_eq!(input(&table), whole * (whole + 1) / 2, "cut at {cut}");
        }
    }

    #[test]
    fn a_log_beside_the_table_that_already_has_it_counts_once() {
        let folder = folder("twice");
        let (mut disk, mut table) = Disk::open(&folder).unwrap();
        for seq in 1..=4 {
            table.take(5, &report(seq));
            disk.append(5, &report(seq)).unwrap();
        }
        let log = std::fs::read(folder.join("spend.log")).unwrap();
        disk.replace(&table).unwrap();
        drop(disk);
        // As if the crash had come before the log was emptied.
        std::fs::write(folder.join("spend.log"), log).unwrap();
        let (_, again) = Disk::open(&folder).unwrap();
        assert_eq!(input(&again), 10);
    }

    #[tokio::test]
    async fn what_was_taken_is_there_after_a_restart() {
        let folder = folder("restart");
        let store = Store::open(&folder).unwrap();
        for seq in [1, 2, 2, 3] {
            store.take(report(seq)).await.unwrap();
        }
        assert_eq!(input(&store.table()), 6);
        drop(store);
        assert_eq!(input(&Store::open(&folder).unwrap().table()), 6);
    }
}
