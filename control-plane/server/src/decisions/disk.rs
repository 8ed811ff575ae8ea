//! The decision log on a disk: `FILE` that grows, older parts beside it as `FILE.N` by their first record's number,
//! `FILE.head` that says how far the log has come, and `FILE.lock` against a second writer.
//!
//! A line is durable before anybody is told that it is kept, and the head is written after that. So what is behind the
//! head may be torn by a crash and is cut off; what the head knows of is never cut: a damaged file is set aside as it is,
//! and the log goes on after its head in a new one.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::chain::{From, Head, Line, Walked, Writer, Wrong, walk};

/// A file is followed by the next when it has so many bytes.
const PART: u64 = 64 << 20;
/// Parts that are kept.
const PARTS: usize = 16;

/// An open log.
#[derive(Debug)]
pub struct Disk {
    path: PathBuf,
    file: File,
    head: File,
    writer: Writer,
    length: u64,
    part: u64,
    buffer: Vec<u8>,
    /// Kept as long as this lives.
    _lock: File,
}

impl Disk {
    /// Opens or creates the log, and tells what the latest parts have, for whoever must not write it twice.
    pub fn open(path: &Path, each: &mut dyn FnMut(Line<'_>)) -> io::Result<Self> {
        if let Some(folder) = folder(path) {
            std::fs::create_dir_all(folder)?;
        }
        let lock = open(&beside(path, "lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::other("another control plane writes this decision log"));
            }
            Err(TryLockError::Error(why)) => return Err(why),
        }
        let head = open(&beside(path, "head"))?;
        let known = std::fs::read(beside(path, "head"))?;
        let known = Head::parse(&known).unwrap_or_default();
        if let Some((_, last)) = parts(path)?.pop() {
            walk(&std::fs::read(last)?, each);
        }
        let mut file = open(path)?;
        let bytes = std::fs::read(path)?;
        let walked = walk(&bytes, each).filter(|walked| walked.writer.head.count >= known.count);
        let (writer, length) = match walked {
            Some(walked) => {
                if walked.good < bytes.len() {
                    tracing::warn!(cut = bytes.len() - walked.good, "the decision log had a torn end");
                    file.set_len(walked.good as u64)?;
                }
                (walked.writer, walked.good as u64)
            }
            None => {
                if !bytes.is_empty() && known.count > 0 {
                    // Later than every good part, and in the way of none.
                    let aside = beside(path, &format!("damaged-{}", known.count));
                    tracing::error!(file = %aside.display(), "the decision log is damaged: `weir why --verify` says where");
                    std::fs::rename(path, aside)?;
                    file = open(path)?;
                } else {
                    file.set_len(0)?;
                }
                let mut out = Vec::new();
                let writer = Writer::begin(known, &mut out);
                file.write_all_at(&out, 0)?;
                (writer, out.len() as u64)
            }
        };
        file.sync_all()?;
        sync_folder(path)?;
        let mut disk = Self {
            path: path.to_owned(),
            file,
            head,
            writer,
            length,
            part: PART,
            buffer: Vec::new(),
            _lock: lock,
        };
        disk.tell_head()?;
        Ok(disk)
    }

    /// Begins another file already at this length in bytes: for tests.
    #[cfg(test)]
    pub fn part_at(&mut self, bytes: u64) {
        self.part = bytes;
    }

    /// How far the log has come.
    pub fn reached(&self) -> (Head, u64) {
        (self.writer.head, self.length)
    }

    /// Appends a record. It is kept only once [`Disk::sync`] has returned.
    pub fn append(&mut self, at_ms: u64, from: Option<From>, record: &[u8]) {
        self.writer.append(at_ms, from, record, &mut self.buffer);
    }

    /// Writes what was appended, and returns when it is durable.
    pub fn sync(&mut self) -> io::Result<()> {
        self.file.write_all_at(&self.buffer, self.length)?;
        self.file.sync_data()?;
        self.length += self.buffer.len() as u64;
        self.buffer.clear();
        self.tell_head()?;
        if self.length >= self.part {
            self.next_part()?;
        }
        Ok(())
    }

    fn tell_head(&mut self) -> io::Result<()> {
        // Not waited for: one that is older than the file is only less to hold on to.
        self.head.write_all_at(self.writer.head.text().as_bytes(), 0)
    }

    fn next_part(&mut self) -> io::Result<()> {
        let mut out = Vec::new();
        let writer = Writer::begin(self.writer.head, &mut out);
        let next = beside(&self.path, "next");
        let mut file = OpenOptions::new().create(true).truncate(true).read(true).write(true).open(&next)?;
        file.write_all(&out)?;
        file.sync_all()?;
        let first = {
            let mut begin = vec![0; 256];
            let read = self.file.read_at(&mut begin, 0)?;
            walk(&begin[..read], &mut |_| ()).map_or(0, |walked| walked.begin.count) + 1
        };
        std::fs::rename(&self.path, beside(&self.path, &format!("{first:012}")))?;
        std::fs::rename(&next, &self.path)?;
        sync_folder(&self.path)?;
        (self.file, self.writer, self.length) = (file, writer, out.len() as u64);
        let mut old = parts(&self.path)?;
        old.truncate(old.len().saturating_sub(PARTS - 1));
        for (_, path) in old {
            std::fs::remove_file(path)?;
        }
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)
}

fn folder(path: &Path) -> Option<&Path> {
    path.parent().filter(|folder| !folder.as_os_str().is_empty())
}

/// The log's own file, with a further ending.
pub fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

/// Makes the names in the log's folder durable.
fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder(path).unwrap_or(Path::new(".")))?.sync_all()
}

/// The older parts, oldest first, by their first record's number.
pub fn parts(path: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned() + ".";
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder(path).unwrap_or(Path::new(".")))? {
        let entry = entry?;
        let ending = entry.file_name().to_string_lossy().strip_prefix(&name).map(str::to_owned);
        let ending = ending.filter(|it| it.len() == 12 && it.bytes().all(|byte| byte.is_ascii_digit()));
        if let Some(number) = ending.and_then(|it| it.parse().ok()) {
            found.push((number, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

/// What a whole log is like.
#[derive(Debug)]
pub struct Verified {
    /// Number of the first record that is still there.
    pub first: u64,
    /// How far the chain holds.
    pub head: Head,
    /// Bytes of an unfinished last line: being written, or torn by a crash.
    pub unfinished: u64,
    /// What is wrong first, and in which file.
    pub wrong: Option<(PathBuf, Wrong)>,
}

/// Reads all parts of a log from the oldest on. `length` is how much of the last file is to be looked at, where it is
/// being written.
pub fn verify(path: &Path, length: Option<u64>) -> io::Result<Verified> {
    let mut verified = Verified { first: 1, head: Head::default(), unfinished: 0, wrong: None };
    verified.wrong = chained(path, length, &mut verified)?;
    Ok(verified)
}

fn chained(
    path: &Path,
    length: Option<u64>,
    verified: &mut Verified,
) -> io::Result<Option<(PathBuf, Wrong)>> {
    if let Some(aside) = damaged(path)? {
        let bytes = std::fs::read(&aside)?;
        let wrong = match walk(&bytes, &mut |_| ()) {
            None => first_line(&bytes, "the first line is not what was written"),
            Some(walked) => walked.wrong.unwrap_or_else(|| no_end(walked.good, &bytes, walked.writer.head)),
        };
        return Ok(Some((aside, wrong)));
    }
    let told = std::fs::read(beside(path, "head"))?;
    let head = Head::parse(&told);
    let mut met = false;
    let mut before: Option<Head> = None;
    let files = parts(path)?.into_iter().map(|(_, path)| path).chain([path.to_owned()]);
    for file in files {
        let mut bytes = std::fs::read(&file)?;
        if file == path {
            bytes.truncate(length.map_or(bytes.len(), |length| length as usize));
        }
        let mut meet = |of: Head| met |= head == Some(of);
        let walked = walk(&bytes, &mut |line| meet(Head { count: line.number, hash: line.hash }));
        let Some(Walked { begin, writer, good, wrong }) = walked else {
            return Ok(Some((file, first_line(&bytes, "the first line is not what was written"))));
        };
        meet(begin);
        let genuine = begin.count > 0 || begin == Head::default();
        if before.is_some_and(|before| before != begin) || !genuine {
            let what = "the file does not begin where the one before it ends";
            return Ok(Some((file, first_line(&bytes, what))));
        }
        if before.is_none() {
            verified.first = begin.count + 1;
        }
        verified.head = writer.head;
        before = Some(writer.head);
        if let Some(wrong) = wrong {
            return Ok(Some((file, wrong)));
        }
        let rest = bytes.len() - good;
        if file != path && rest > 0 {
            return Ok(Some((file, no_end(good, &bytes, writer.head))));
        }
        verified.unfinished = rest as u64;
        if file == path && head.is_some_and(|head| head.count > writer.head.count) {
            let what = "the end is cut off, or has no end of line: the head knows of more records";
            return Ok(Some((file, Wrong { what, ..no_end(good, &bytes, writer.head) })));
        }
    }
    let of_head = |what| (beside(path, "head"), Wrong { from: 0, to: told.len().max(1), record: 0, what });
    Ok(match head {
        None => Some(of_head("the head is not what was written")),
        Some(_) if !met => Some(of_head("the head names a hash that no record has")),
        Some(_) => None,
    })
}

fn first_line(bytes: &[u8], what: &'static str) -> Wrong {
    let to = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| end + 1);
    Wrong { from: 0, to: to.max(1), record: 0, what }
}

fn no_end(good: usize, bytes: &[u8], head: Head) -> Wrong {
    Wrong { from: good, to: bytes.len().max(good + 1), record: head.count + 1, what: "the line has no end" }
}

/// A file that was set aside.
fn damaged(path: &Path) -> io::Result<Option<PathBuf>> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned() + ".damaged-";
    let folder = std::fs::read_dir(folder(path).unwrap_or(Path::new(".")))?;
    let mut found: Vec<PathBuf> = folder
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&name))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    Ok(found.into_iter().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = weir_tests::harness::paths::weir().join("tests");
        let folder = folder.join(format!("decisions-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        folder.join("why.log")
    }

    fn write(disk: &mut Disk, from: u64, to: u64) {
        for n in from..=to {
            disk.append(n, None, format!("{{\"id\":\"req_{n}\"}}").as_bytes());
            disk.sync().unwrap();
        }
    }

    fn reopen(path: &Path) -> (Disk, Vec<u64>) {
        let mut seen = Vec::new();
        let disk = Disk::open(path, &mut |line| seen.push(line.number)).unwrap();
        (disk, seen)
    }

    #[test]
    fn a_log_goes_on_where_it_ended_and_a_torn_end_is_cut() {
        let path = folder("torn");
        let (mut disk, _) = reopen(&path);
        write(&mut disk, 1, 3);
        let kept = std::fs::read(&path).unwrap();
        drop(disk);
        for torn in [&b""[..], b"3f", &kept[kept.len() - 40..kept.len() - 1], b"\n", b"0 0\n"] {
            std::fs::write(&path, [&kept, torn].concat()).unwrap();
            let (mut disk, seen) = reopen(&path);
            assert_eq!((seen, disk.reached().0.count), (vec![1, 2, 3], 3));
            assert_eq!(std::fs::read(&path).unwrap(), kept);
            write(&mut disk, 4, 4);
            drop(disk);
            let verified = verify(&path, None).unwrap();
            assert_eq!((verified.head.count, verified.wrong, verified.unfinished), (4, None, 0));
            std::fs::write(&path, &kept).unwrap();
            std::fs::write(beside(&path, "head"), head_of(&kept)).unwrap();
        }
    }

    fn head_of(file: &[u8]) -> String {
        walk(file, &mut |_| ()).unwrap().writer.head.text()
    }

    #[test]
    fn a_flipped_byte_anywhere_is_found_where_it_is() {
        let path = folder("flip");
        let (mut disk, _) = reopen(&path);
        disk.part_at(400);
        write(&mut disk, 1, 9);
        drop(disk);
        let mut files: Vec<PathBuf> = parts(&path).unwrap().into_iter().map(|(_, path)| path).collect();
        assert!(files.len() >= 2, "{files:?}");
        files.extend([path.clone(), beside(&path, "head")]);
        assert_eq!(verify(&path, None).unwrap().wrong, None);
        for file in &files {
            let good = std::fs::read(file).unwrap();
            for at in 0..good.len() {
                for flip in [1, 0x20, 0x80] {
                    let mut bad = good.clone();
                    bad[at] ^= flip;
                    std::fs::write(file, &bad).unwrap();
                    let (told, wrong) = verify(&path, None).unwrap().wrong.unwrap_or_else(|| {
                        panic!("byte {at} of {} was flipped by {flip} and nobody noticed", file.display())
                    });
                    let here = told == *file && (wrong.from..wrong.to).contains(&at);
                    // Of a first line or a head that says something else, the file that it does not fit is named.
                    let first = good.iter().position(|byte| *byte == b'\n').unwrap_or(0);
                    let speaks_of_others = at <= first || *file == beside(&path, "head");
                    assert!(here || speaks_of_others, "byte {at} of {}: {told:?} {wrong:?}", file.display());
                }
            }
            std::fs::write(file, good).unwrap();
        }
        assert_eq!(verify(&path, None).unwrap().wrong, None);
    }

    #[test]
    fn a_cut_end_a_missing_part_and_a_removed_record_are_found() {
        let path = folder("cut");
        let (mut disk, _) = reopen(&path);
        disk.part_at(400);
        write(&mut disk, 1, 9);
        drop(disk);
        let good = std::fs::read(&path).unwrap();
        let ends: Vec<usize> = (0..good.len()).filter(|at| good[*at] == b'\n').collect();
        std::fs::write(&path, &good[..=ends[ends.len() - 2]]).unwrap();
        assert!(verify(&path, None).unwrap().wrong.unwrap().1.what.contains("head knows of more"));
        std::fs::write(&path, &good).unwrap();
        let all = parts(&path).unwrap();
        let middle = &all[all.len() - 1].1;
        let away = beside(&path, "away");
        std::fs::rename(middle, &away).unwrap();
        let wrong = verify(&path, None).unwrap().wrong.unwrap();
        assert!(wrong.1.what.contains("does not begin where"), "{wrong:?}");
        std::fs::rename(&away, middle).unwrap();
        // The oldest ones go by themselves: what is left is a good log of later records.
        std::fs::remove_file(&all[0].1).unwrap();
        let verified = verify(&path, None).unwrap();
        assert_eq!((verified.wrong, verified.first, verified.head.count), (None, all[1].0, 9));
    }

    #[test]
    fn what_the_head_knows_is_set_aside_and_never_cut() {
        let path = folder("aside");
        let (mut disk, _) = reopen(&path);
        write(&mut disk, 1, 3);
        drop(disk);
        let mut bad = std::fs::read(&path).unwrap();
        let last = bad.len() - 1;
        bad[last] = b' ';
        std::fs::write(&path, &bad).unwrap();
        assert!(verify(&path, None).unwrap().wrong.is_some());
        let (mut disk, _) = reopen(&path);
        assert_eq!(disk.reached().0.count, 3, "it goes on after the head");
        write(&mut disk, 4, 4);
        let aside = beside(&path, "damaged-3");
        assert_eq!(std::fs::read(&aside).unwrap(), bad);
        let (told, wrong) = verify(&path, None).unwrap().wrong.unwrap();
        assert_eq!((told, wrong.record), (aside.clone(), 3), "it stays told until somebody has looked at it");
        std::fs::remove_file(aside).unwrap();
        assert_eq!(verify(&path, None).unwrap().wrong, None);
    }

    #[test]
    fn so_many_parts_are_kept_and_no_more() {
        let path = folder("parts");
        let (mut disk, _) = reopen(&path);
        disk.part_at(1);
        write(&mut disk, 1, 40);
        assert_eq!(parts(&path).unwrap().len(), PARTS - 1);
        let verified = verify(&path, None).unwrap();
        assert_eq!((verified.wrong, verified.head.count, verified.first), (None, 40, 40 - PARTS as u64 + 2));
    }

    #[test]
    fn there_is_one_writer() {
        let path = folder("lock");
        let (_disk, _) = reopen(&path);
        let second = Disk::open(&path, &mut |_| ()).unwrap_err().to_string();
        assert!(second.contains("another control plane"), "{second}");
    }
}
