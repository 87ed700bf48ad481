//! Open files of a disk in memory.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::MutexGuard;
use rustix::io::Errno;

use super::super::crash::Change;
use super::super::{Disk, DiskFile, DiskLock, Stat};
use super::node::{Contents, FileNode};
use super::{MemoryDisk, State};

/// An open file of a [`MemoryDisk`].
pub(in super::super) struct MemoryFile {
    disk: MemoryDisk,
    file: Arc<FileNode>,
    writable: bool,
}

impl MemoryFile {
    /// Opens a file; whoever looked it up still holds the state, so that it has not gone meanwhile.
    pub(super) fn new(disk: &MemoryDisk, file: Arc<FileNode>, writable: bool) -> Arc<Self> {
        file.contents.lock().handles += 1;
        Arc::new(Self { disk: disk.clone(), file, writable })
    }

    /// Acts as a failed sync: what is pending is never made durable by a later sync.
    #[cfg(any(feature = "cli", feature = "testing", test))]
    pub(in super::super) fn fail_sync(&self) {
        let _state = self.disk.0.state.lock();
        self.contents().bytes.abandon();
    }

    /// The same for contents and attributes.
    #[cfg(any(feature = "cli", feature = "testing", test))]
    pub(in super::super) fn fail_sync_all(&self) {
        let _state = self.disk.0.state.lock();
        self.contents().abandon();
    }

    fn change(&self, change: Change) -> io::Result<()> {
        if !self.writable {
            return Err(Errno::BADF.into());
        }
        let mut state = self.disk.0.state.lock();
        let mut contents = self.file.contents.lock();
        let before = contents.bytes.live.len();
        state.account(before, change.len_after(before))?;
        let moment = self.disk.moment(&mut state);
        contents.facts.content_changed(moment);
        contents.bytes.apply(moment.number, change);
        Ok(())
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.file.contents.lock()
    }

    /// Takes the lock; false where another holds it.
    pub(super) fn lock(&self) -> bool {
        !std::mem::replace(&mut self.contents().locked, true)
    }
}

impl Contents {
    pub(super) fn sync(&mut self) {
        self.bytes.sync();
        self.facts.attributes.sync();
    }

    #[cfg(any(feature = "cli", feature = "testing", test))]
    pub(super) fn abandon(&mut self) {
        self.bytes.abandon();
        self.facts.attributes.abandon();
    }

    pub(super) fn give_back(&self, state: &mut State) {
        if self.facts.links == 0 && self.handles == 0 {
            state.used -= self.bytes.live.len() as u64;
        }
    }
}

impl fmt::Debug for MemoryFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryFile").field("inode", &self.file.inode).finish_non_exhaustive()
    }
}

impl Drop for MemoryFile {
    fn drop(&mut self) {
        let mut state = self.disk.0.state.lock();
        let mut contents = self.file.contents.lock();
        contents.handles -= 1;
        contents.give_back(&mut state);
    }
}

impl DiskFile for MemoryFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let contents = self.contents();
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let found = contents.bytes.live.get(start..).unwrap_or_default();
        let len = found.len().min(buf.len());
        buf[..len].copy_from_slice(&found[..len]);
        Ok(len)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let offset = usize::try_from(offset).map_err(|_| Errno::FBIG)?;
        if bytes.is_empty() { Ok(()) } else { self.change(Change::Write(offset, bytes.into())) }
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.0.state.lock();
        if self.contents().bytes.sync_bytes() {
            state.journal = state.next_change;
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.contents().bytes.live.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(|_| Errno::FBIG)?;
        self.change(Change::SetLen(len))
    }

    fn sync_all(&self) -> io::Result<()> {
        let mut state = self.disk.0.state.lock();
        self.contents().sync();
        state.journal = state.next_change;
        Ok(())
    }

    fn stat(&self) -> io::Result<Stat> {
        Ok(self.file.stat())
    }
}

/// A lock that falls with the value; a crash image never holds one.
#[derive(Debug)]
pub(super) struct MemoryLock {
    pub(super) file: Arc<MemoryFile>,
    pub(super) path: PathBuf,
}

impl DiskLock for MemoryLock {
    fn write_holder(&self, text: &[u8]) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.write_all_at(text, 0)
    }

    fn is_in_place(&self) -> io::Result<bool> {
        match self.file.disk.metadata(&self.path) {
            Ok(there) => Ok(there.inode == self.file.stat()?.inode),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.file.contents().locked = false;
    }
}
