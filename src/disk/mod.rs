//! All file access goes through here.
//!
//! [`Disk`] is the seam: the real file system ([`RealDisk`]) and one held in memory that tells what
//! was written from what was synced, for contents and for names ([`MemoryDisk`]). A [`DiskTree`] is
//! the way to a directory tree that belongs to someone else, a workspace. Above the seam stand the
//! durable publish ([`mod@publish`]), the one retry loop ([`retry`]) and the lock ([`lock`]).
//!
//! The stage assumes POSIX and nothing more: what was not synced may be on the disk in any part, a
//! name is durable only after its directory was synced, and after a failed sync nothing that was
//! written to that file since its last good sync can be trusted.

pub(crate) mod children;
mod crash;
#[cfg(any(feature = "cli", feature = "testing", test))]
#[cfg_attr(
    not(feature = "testing"),
    allow(dead_code, reason = "the command line uses a part of what tests use")
)]
mod fault;
pub mod lock;
mod memory;
pub mod private;
pub mod process;
pub mod publish;
mod real;
pub mod retry;
pub mod socket;
mod tree;

pub use crash::Loss;
#[cfg(all(feature = "cli", not(feature = "testing")))]
pub(crate) use fault::Call;
#[cfg(feature = "testing")]
pub use fault::{Call, Fault, FaultDisk, Gate, Op};
#[cfg(all(any(feature = "cli", test), not(feature = "testing")))]
pub(crate) use fault::{Fault, FaultDisk, Op};
pub use lock::{Holder, LockError, StoreLock, read_holder};
pub use memory::MemoryDisk;
pub use publish::{
    Durability, PublishError, create_dir_all_durable, publish, publish_with, sweep_temporaries,
};
pub use real::RealDisk;
pub use retry::{Class, Retry, RetryError};
pub use tree::{DiskTree, FileTime, Listing, NodeKind, Stat};

use std::collections::HashSet;
use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::state::Timestamp;

/// How a file is opened. Files are made with mode 0600.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// An existing file, to read.
    Read,
    /// An existing file, to read and write.
    Write,
    /// A new file, to read and write; fails when the name exists.
    CreateNew,
}

/// What a name in a directory stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// Anything else: a link, a socket, a device.
    Other,
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name without its directory.
    pub name: std::ffi::OsString,
    /// What it stands for; links are not followed.
    pub kind: EntryKind,
}

/// What the file system says about a path; links are not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metadata {
    /// What it is.
    pub kind: EntryKind,
    /// Bytes, for a file.
    pub len: u64,
    /// Last change of content.
    pub modified: Timestamp,
    /// The device it lies on.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
}

/// Room on the file system that holds a path, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Free to an ordinary user.
    pub free: u64,
    /// In all.
    pub total: u64,
}

/// What kind of file system holds a path, as far as the promises depend on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSystem {
    /// Its name as people know it: `ext4`, `tmpfs`, `nfs`, or the hexadecimal magic number.
    pub name: String,
    /// Shared between machines: a lock taken here does not hold there.
    pub network: bool,
    /// Gone with the power: tmpfs, ramfs.
    pub volatile: bool,
}

/// The file system, as Stateward needs it.
#[expect(clippy::missing_errors_doc, reason = "each answers as the system does")]
pub trait Disk: Send + Sync + Debug {
    /// Opens a file.
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>>;
    /// Makes one directory with mode 0700; its parent must exist.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Renames, replacing a file that stands at `to`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty directory.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// The names in a directory, in no particular order.
    fn read_dir(&self, path: &Path) -> io::Result<Vec<Entry>>;
    /// What stands at a path.
    fn metadata(&self, path: &Path) -> io::Result<Metadata>;
    /// Takes the advisory lock on an existing or new file without waiting; `None` when another
    /// holds it. The lock falls when the value is dropped or the process dies.
    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn DiskLock>>>;
    /// Room on the file system of `path`.
    fn space(&self, path: &Path) -> io::Result<Space>;
    /// Kind of the file system of `path`.
    fn file_system(&self, path: &Path) -> io::Result<FileSystem>;
    /// The absolute form of `path`, links resolved.
    fn canonical(&self, path: &Path) -> io::Result<PathBuf>;
    /// Opens the tree whose root is the directory at `path`; `path` itself may lead through links.
    fn tree(&self, path: &Path) -> io::Result<Arc<dyn DiskTree>>;
    /// The inode numbers, of any device, of the files that any process this one may look at has
    /// mapped shared and writable: their contents can change without their times. Where the system
    /// does not tell (anything but Linux, or `/proc` is missing), none.
    fn mapped_files(&self) -> io::Result<HashSet<u64>>;
}

/// An open file of a [`Disk`].
#[expect(clippy::missing_errors_doc, reason = "each answers as the system does")]
pub trait DiskFile: Send + Sync + Debug {
    /// Reads up to `buf.len()` bytes at `offset`; 0 only at the end of the file.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `bytes` at `offset`, extending the file where needed.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes the contents durable, and the length where it changed (`fdatasync`; `F_FULLFSYNC` on
    /// macOS). An error means that nothing since the last good sync can be trusted.
    fn sync_data(&self) -> io::Result<()>;
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file holds no byte.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Cuts or extends with zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes contents, mode and times durable (`fsync`). An error means as much as one of
    /// [`DiskFile::sync_data`].
    fn sync_all(&self) -> io::Result<()>;
    /// Lets what was written start on its way to the disk, where the system can be told to; nothing is
    /// durable by that, and what goes wrong the next sync says. Many files that are to be synced one
    /// by one come to their blocks together, and their syncs share a commit of the journal.
    fn start_writing(&self) {}
    /// What the file system says of the open file, whatever its name leads to by now.
    fn stat(&self) -> io::Result<Stat>;
}

/// A held lock, and the file it lies on (the holder writes who it is there).
#[expect(clippy::missing_errors_doc, reason = "each answers as the system does")]
pub trait DiskLock: Send + Sync + Debug {
    /// Replaces the text in the lock file; it need not be durable.
    fn write_holder(&self, text: &[u8]) -> io::Result<()>;

    /// Whether the file that is locked still stands where it was: whoever comes to another one there
    /// gets a lock of its own.
    fn is_in_place(&self) -> io::Result<bool>;
}

/// Reads a whole file.
///
/// # Errors
/// As the disk gives them.
pub fn read(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    let file = disk.open(path, Access::Read)?;
    let mut bytes = vec![0; usize::try_from(file.len()?).map_err(io::Error::other)?];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}
