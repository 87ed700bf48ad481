//! The real disk, with its syncs counted.

use std::cell::Cell;
use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use stateward::disk::{
    Access, Disk, DiskFile, DiskLock, DiskTree, Entry, FileSystem, Metadata, RealDisk, Space, Stat,
};

thread_local! {
    static HERE: Cell<u64> = const { Cell::new(0) };
}

/// Syncs made by the calling thread, of files and of directories.
pub fn syncs_here() -> u64 {
    HERE.get()
}

/// Counts syncs of files and of directories, by all threads.
#[derive(Debug, Default)]
pub struct CountingDisk {
    syncs: Arc<AtomicU64>,
}

impl CountingDisk {
    /// Syncs so far, those of background work included.
    pub fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }
}

fn count(syncs: &AtomicU64) {
    syncs.fetch_add(1, Ordering::Relaxed);
    HERE.set(HERE.get() + 1);
}

impl Disk for CountingDisk {
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        let file = RealDisk.open(path, access)?;
        Ok(Arc::new(CountingFile { file, syncs: Arc::clone(&self.syncs) }))
    }
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.create_dir(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove_file(path)
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove_dir(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        count(&self.syncs);
        RealDisk.sync_dir(path)
    }
    fn read_dir(&self, path: &Path) -> io::Result<Vec<Entry>> {
        RealDisk.read_dir(path)
    }
    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        RealDisk.metadata(path)
    }
    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn DiskLock>>> {
        RealDisk.try_lock(path)
    }
    fn space(&self, path: &Path) -> io::Result<Space> {
        RealDisk.space(path)
    }
    fn file_system(&self, path: &Path) -> io::Result<FileSystem> {
        RealDisk.file_system(path)
    }
    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        RealDisk.canonical(path)
    }
    fn tree(&self, path: &Path) -> io::Result<Arc<dyn DiskTree>> {
        RealDisk.tree(path)
    }
    fn mapped_files(&self) -> io::Result<HashSet<u64>> {
        RealDisk.mapped_files()
    }
}

#[derive(Debug)]
struct CountingFile {
    file: Arc<dyn DiskFile>,
    syncs: Arc<AtomicU64>,
}

impl DiskFile for CountingFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }
    fn sync_data(&self) -> io::Result<()> {
        count(&self.syncs);
        self.file.sync_data()
    }
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn sync_all(&self) -> io::Result<()> {
        count(&self.syncs);
        self.file.sync_all()
    }
    fn stat(&self) -> io::Result<Stat> {
        self.file.stat()
    }
}
