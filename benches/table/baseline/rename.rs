//! What careful programs do without a log: a temporary file, `fsync`, a rename over the old one, and
//! an `fsync` of the directory.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// One file that is replaced by each commit.
#[derive(Debug)]
pub struct Replaced {
    dir: File,
    temporary: PathBuf,
    path: PathBuf,
}

impl Replaced {
    /// Prepares to replace the file `name` in `dir`.
    pub fn new(dir: &Path, name: &str) -> Self {
        Self {
            dir: File::open(dir).expect("the directory opens"),
            temporary: dir.join(format!("{name}.tmp")),
            path: dir.join(name),
        }
    }

    /// Replaces the file durably.
    pub fn commit(&self, bytes: &[u8]) {
        let mut file = File::create(&self.temporary).expect("a temporary file can be made");
        file.write_all(bytes).expect("it takes the bytes");
        file.sync_all().expect("it syncs");
        drop(file);
        fs::rename(&self.temporary, &self.path).expect("it can be renamed");
        self.dir.sync_all().expect("the directory syncs");
    }
}
