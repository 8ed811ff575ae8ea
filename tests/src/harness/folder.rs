//! A folder for one test's files under `target/`, which goes with the test unless that failed.

use std::ops::Deref;
use std::path::{Path, PathBuf};

use super::paths;

/// It is removed with this value, and kept for reading when the test panics.
pub struct Folder(PathBuf);

impl Folder {
    /// A new, empty one.
    pub fn new(name: &str) -> Self {
        let path = paths::weir().join("tests").join(format!("{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("target/ is writable");
        Self(path)
    }
}

impl Deref for Folder {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}
