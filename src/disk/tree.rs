//! A directory tree that belongs to someone else: a workspace.
//!
//! A [`DiskTree`] is an open directory. Every path given to it is relative to that directory, has
//! plain components only (no `..`, no `.`, not absolute; the empty path is the root itself), and is
//! walked without following a link at any component: what was a directory a moment ago and is a
//! link now is an error (`ELOOP` or `ENOTDIR`), never another place. So nothing outside the root is
//! read or touched, whatever happens in the tree meanwhile; only a directory that is itself moved out
//! of the root during a call may still be the one it acts on.
//!
//! Another path, or the root where a name is needed, is an `InvalidInput`. The tree stays with its
//! directory when that is renamed. File systems mounted within it belong to it.

use std::ffi::{OsStr, OsString};
use std::fmt::Debug;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::DiskFile;
use crate::state::Timestamp;

/// A moment as a file system notes it.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub struct FileTime {
    /// Whole seconds since the Unix epoch, rounded down.
    pub secs: i64,
    /// Nanoseconds after them, below 1,000,000,000.
    pub nanos: u32,
}

impl FileTime {
    /// The next moment that can be told apart.
    pub(super) fn next(self) -> Self {
        if self.nanos < 999_999_999 {
            Self { nanos: self.nanos + 1, ..self }
        } else {
            Self { secs: self.secs + 1, nanos: 0 }
        }
    }
}

impl From<Timestamp> for FileTime {
    fn from(time: Timestamp) -> Self {
        let ms = time.unix_ms();
        // Below 1,000, so the nanoseconds fit.
        let nanos = u32::try_from(ms.rem_euclid(1000)).unwrap_or_default() * 1_000_000;
        Self { secs: ms.div_euclid(1000), nanos }
    }
}

impl From<FileTime> for Timestamp {
    fn from(time: FileTime) -> Self {
        let ms = i64::from(time.nanos / 1_000_000);
        Self::from_unix_ms(time.secs.saturating_mul(1000).saturating_add(ms))
    }
}

/// What a name in a tree stands for; links are not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NodeKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Link,
    /// A socket, a pipe, a device.
    Other,
}

/// What the file system says of one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: NodeKind,
    /// Bytes, for a file; the length of the target, for a link.
    pub len: u64,
    /// Permission bits, set-id and sticky bits included (`0o7777`).
    pub mode: u32,
    /// Last change of content; a program can set it.
    pub modified: FileTime,
    /// Last change of anything: only the system sets it.
    pub changed: FileTime,
    /// The device it lies on.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
    /// How many names it has.
    pub links: u64,
    /// Bytes it takes on the disk; fewer than `len` where it has holes.
    pub allocated: u64,
}

/// A directory as it was read.
#[derive(Debug, Clone)]
pub struct Listing {
    /// The directory's own facts, from before its names were read.
    pub own: Stat,
    /// Its names in no particular order; those that went away meanwhile are left out.
    pub entries: Vec<(OsString, Stat)>,
}

/// An open directory tree.
#[expect(clippy::missing_errors_doc, reason = "each answers as the system does")]
pub trait DiskTree: Send + Sync + Debug {
    /// What stands at a path; links are not followed.
    fn stat(&self, path: &Path) -> io::Result<Stat>;
    /// The names in a directory, with what each stands for. A name that cannot be looked up for
    /// another reason than having gone is an error of the whole.
    fn read_dir(&self, path: &Path) -> io::Result<Listing>;
    /// Opens a regular file to read. Anything else is an error (`IsADirectory`, or `InvalidInput` for
    /// a pipe and its like), and opening never waits.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// The target of a symbolic link, as it is written there.
    fn read_link(&self, path: &Path) -> io::Result<OsString>;
    /// Makes a file that is not there yet, mode 0600, to read and write.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Makes one directory, mode 0700.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes a symbolic link.
    fn create_link(&self, target: &OsStr, path: &Path) -> io::Result<()>;
    /// Gives a file or a link a second name.
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Renames; fails with `AlreadyExists` when something stands at `to`. A file system that cannot
    /// refuse by itself is asked before: there, what is made at `to` in that moment is replaced.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a name that is no directory.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty directory.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// Sets the permission bits (`0o7777`) of a file or directory; anything else is an error.
    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()>;
    /// Sets the time of the last change of content, of links too; that of the last access stays.
    fn set_modified(&self, path: &Path, modified: FileTime) -> io::Result<()>;
    /// Makes the names in a directory durable, and its mode and times.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes everything durable that was written to the root's file system (`syncfs`), where the
    /// system can; `false` where it cannot, and each file has to be synced by itself. What lies on
    /// other file systems mounted within is not covered, nor does Linux before 5.8 tell of writes
    /// that failed.
    fn sync_all(&self) -> io::Result<bool>;
}

/// Lets through a path that has plain components only.
pub(super) fn plain(path: &Path) -> io::Result<&Path> {
    let bytes = path.as_os_str().as_bytes();
    let is_odd = |name: &[u8]| matches!(name, b"" | b"." | b"..") || name.contains(&0);
    if bytes.is_empty() || !bytes.split(|byte| *byte == b'/').any(is_odd) {
        Ok(path)
    } else {
        Err(odd("a path in a tree has plain components only"))
    }
}

/// A path cut into the directory that holds its last name, and that name; the root has none.
pub(super) fn split(path: &Path) -> io::Result<(&Path, &OsStr)> {
    let bytes = plain(path)?.as_os_str().as_bytes();
    let (dir, name) = match bytes.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None if bytes.is_empty() => return Err(odd("the root of a tree has no name")),
        None => (&bytes[..0], bytes),
    };
    Ok((Path::new(OsStr::from_bytes(dir)), OsStr::from_bytes(name)))
}

/// An argument that no system would take.
pub(super) fn odd(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

#[cfg(test)]
mod tests;
