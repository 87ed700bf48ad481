//! The least a durable commit can cost: the bytes appended to a file that is already there and
//! already zeroed, and one `fdatasync`.
//!
//! The file is made by writing zeros and syncing, so a sync later writes data and no metadata. When
//! it is full, appending starts over at its beginning: to the file system the same as the next file
//! of that kind, made ahead.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;

static ZEROS: [u8; 1 << 16] = [0; 1 << 16];

/// A pre-zeroed file and where the next bytes go.
#[derive(Debug)]
pub struct RawLog {
    file: File,
    length: u64,
    end: u64,
}

impl RawLog {
    /// Makes the file, `length` bytes long, and syncs it and its name.
    pub fn create(dir: &Path, length: u64) -> Self {
        let path = dir.join("raw.log");
        let mut file = File::create_new(&path).expect("the raw log can be made");
        for _ in 0..length / ZEROS.len() as u64 {
            file.write_all(&ZEROS).expect("zeros can be written");
        }
        file.sync_all().expect("the raw log can be synced");
        File::open(dir).and_then(|dir| dir.sync_all()).expect("its name can be synced");
        Self { file, length, end: 0 }
    }

    /// Appends the bytes and syncs.
    pub fn commit(&mut self, bytes: &[u8]) {
        if self.end + bytes.len() as u64 > self.length {
            self.end = 0;
        }
        self.file.write_all_at(bytes, self.end).expect("the raw log takes the bytes");
        self.file.sync_data().expect("the raw log syncs");
        self.end += bytes.len() as u64;
    }
}
