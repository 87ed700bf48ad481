//! The file an agent keeps its state in, as it is found.
//!
//! What is read is settled: the file was the same before and after. What is not one JSON object is
//! damaged, and what is sound but beyond the limits is neither kept nor replaced.

use std::io;
use std::path::{Path, PathBuf};

use crate::disk::{self, Disk, EntryKind};
use crate::encode;
use crate::state::Timestamp;

/// A file that is written again and again while it is read is read so often.
const READS: u32 = 3;

/// No JSON that is deeper is kept by any configuration.
const DEPTH_MAX: usize = 120;

/// What a file looks like from outside: it changes when the content does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Print {
    modified: Timestamp,
    len: u64,
    inode: u64,
}

/// What is in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// There is none.
    Missing,
    /// One JSON object.
    Whole(Vec<u8>),
    /// Something else: half a write, or none of ours.
    Damaged {
        /// What it is.
        bytes: Vec<u8>,
        /// Why it is no state.
        why: String,
    },
    /// It cannot be kept, and is not known to be damaged.
    Unfit(String),
}

/// The file an agent keeps its state in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StateFile {
    path: PathBuf,
}

impl StateFile {
    /// The file at an absolute path; it need not be there yet.
    pub(crate) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where it is, links resolved as far as they lead somewhere.
    pub(crate) fn place(&self, disk: &dyn Disk) -> PathBuf {
        let beneath = |parent: &Path| {
            let parent = disk.canonical(parent).ok()?;
            Some(parent.join(self.path.file_name()?))
        };
        disk.canonical(&self.path)
            .ok()
            .or_else(|| beneath(self.path.parent()?))
            .unwrap_or_else(|| self.path.clone())
    }

    /// What it looks like; `None` where it is missing or cannot be looked at.
    pub(crate) fn print(&self, disk: &dyn Disk) -> Option<Print> {
        let found = disk.metadata(&self.place(disk)).ok()?;
        let print = Print { modified: found.modified, len: found.len, inode: found.inode };
        (found.kind == EntryKind::File).then_some(print)
    }

    /// What is in it.
    pub(crate) fn read(&self, disk: &dyn Disk, limits: &encode::Options) -> io::Result<Found> {
        let place = self.place(disk);
        for _ in 0..READS {
            let Some(before) = self.print(disk) else { return missing(disk, &place) };
            if before.len > limits.state_bytes_max as u64 {
                let max = limits.state_bytes_max;
                return Ok(Found::Unfit(format!("it is longer than {max} bytes")));
            }
            let bytes = match disk::read(disk, &place) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            if self.print(disk) == Some(before) && bytes.len() as u64 == before.len {
                return Ok(judge(bytes, limits));
            }
        }
        Ok(Found::Unfit("it changes while it is read".to_owned()))
    }
}

fn missing(disk: &dyn Disk, place: &Path) -> io::Result<Found> {
    match disk.metadata(place) {
        Ok(_) => Ok(Found::Unfit("it is not a regular file".to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Missing),
        Err(error) => Err(error),
    }
}

fn judge(bytes: Vec<u8>, limits: &encode::Options) -> Found {
    let Err(why) = limits.check_state(&bytes) else { return Found::Whole(bytes) };
    let widest = encode::Options { depth_max: DEPTH_MAX, state_bytes_max: usize::MAX, ..*limits };
    match widest.check_state(&bytes) {
        Ok(()) => Found::Unfit(why.to_string()),
        Err(why) => Found::Damaged { bytes, why: why.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;

    fn read(disk: &MemoryDisk) -> Found {
        let limits = encode::Options { state_bytes_max: 40, depth_max: 3, ..Default::default() };
        StateFile::at("/memory.json".into()).read(disk, &limits).unwrap()
    }

    #[test]
    fn what_is_no_object_is_damaged_and_what_is_too_much_is_not() {
        let disk = MemoryDisk::new();
        assert_eq!(read(&disk), Found::Missing);
        let path = Path::new("/memory.json");
        disk.put(path, b"{\"a\":1}");
        assert_eq!(read(&disk), Found::Whole(b"{\"a\":1}".to_vec()));
        for torn in [&b"{\"a\":1"[..], b"", b"[1]", b"{\"a\":1}}", b"\0\0\0\0"] {
            disk.put(path, torn);
            assert!(matches!(read(&disk), Found::Damaged { bytes, .. } if bytes == torn));
        }
        for unfit in [&b"{\"a\":[[[1]]]}"[..], &[b' '; 41]] {
            disk.put(path, unfit);
            assert!(matches!(read(&disk), Found::Unfit(_)));
        }
    }

    #[test]
    fn a_directory_in_its_place_is_left_alone() {
        let disk = MemoryDisk::new();
        disk.create_dir(Path::new("/memory.json")).unwrap();
        assert!(matches!(read(&disk), Found::Unfit(_)));
    }
}
