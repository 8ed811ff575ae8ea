//! The log on a disk: one directory with `ledger.log`, and `ledger.lock` that keeps a second writer out. When the log
//! has outgrown what it says, a new one with a snapshot as its first frame takes its place by renaming.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use crate::Error;
use crate::core::Core;
use crate::log::{Entry, Frames, recover};

/// A log shorter than this is not compacted, in bytes.
const SMALL: u64 = 8 << 20;

/// An open log.
#[derive(Debug)]
pub struct Disk {
    directory: PathBuf,
    file: File,
    frames: Frames,
    length: u64,
    /// Length right after the latest compaction.
    compact: u64,
    small: u64,
    buffer: Vec<u8>,
    /// Keeps the lock while this lives.
    _lock: File,
}

impl Disk {
    /// Opens the log in a directory, made if absent, and tells the core what it says. A torn tail is cut off.
    pub fn open(directory: &Path, core: &mut Core) -> Result<Disk, Error> {
        std::fs::create_dir_all(directory)?;
        let lock = directory.join("ledger.lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&lock)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Locked(lock)),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        let path = directory.join("ledger.log");
        let mut log = OpenOptions::new().create(true).truncate(false).read(true).append(true).open(&path)?;
        let mut bytes = Vec::new();
        log.read_to_end(&mut bytes)?;
        let (good, frames) = recover(&bytes, &mut |entry| core.restore(entry))?;
        if good < bytes.len() {
            tracing::warn!(cut = bytes.len() - good, "the ledger's log had a torn tail");
            log.set_len(good as u64)?;
        }
        log.sync_all()?;
        sync_directory(directory)?;
        Ok(Disk {
            directory: directory.to_owned(),
            file: log,
            frames,
            length: good as u64,
            compact: good as u64,
            small: SMALL,
            buffer: Vec::new(),
            _lock: file,
        })
    }

    /// Compacts already at this length in bytes: for tests.
    pub fn compact_at(&mut self, bytes: u64) {
        self.small = bytes;
    }

    /// Appends, without waiting for the disk.
    pub fn append(&mut self, entries: &[Entry]) -> Result<(), Error> {
        self.buffer.clear();
        self.frames.append(entries, &mut self.buffer);
        self.file.write_all(&self.buffer)?;
        self.length += self.buffer.len() as u64;
        Ok(())
    }

    /// Returns when all that was appended is durable.
    pub fn sync(&mut self) -> Result<(), Error> {
        self.file.sync_data()?;
        self.frames.synced();
        Ok(())
    }

    /// Whether the log says far more than it needs to.
    pub fn bloated(&self) -> bool {
        self.length > self.small && self.length > 4 * self.compact
    }

    /// Replaces the log by a snapshot.
    pub fn compact(&mut self, snapshot: &[Entry]) -> Result<(), Error> {
        let (fresh, path) = (self.directory.join("ledger.log.new"), self.directory.join("ledger.log"));
        let mut frames = Frames::default();
        self.buffer.clear();
        frames.append(snapshot, &mut self.buffer);
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(&fresh)?;
        file.write_all(&self.buffer)?;
        file.sync_all()?;
        std::fs::rename(&fresh, &path)?;
        sync_directory(&self.directory)?;
        frames.synced();
        self.file = OpenOptions::new().append(true).open(&path)?;
        self.frames = frames;
        self.length = self.buffer.len() as u64;
        self.compact = self.length;
        self.buffer.shrink_to(1 << 20);
        Ok(())
    }
}

/// Makes the names in a directory durable, not only the files' contents.
fn sync_directory(directory: &Path) -> Result<(), Error> {
    File::open(directory)?.sync_all()?;
    Ok(())
}
