//! The real disk, of which one directory can be made to fail.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use stateward::disk::{
    Access, Disk, DiskFile, DiskLock, DiskTree, Entry, FileSystem, Metadata, RealDisk, Space, Stat,
};

/// Answers everything under one directory with an I/O error once it is told to.
#[derive(Debug, Clone)]
pub struct FailingDisk {
    dir: PathBuf,
    broken: Arc<AtomicBool>,
}

impl FailingDisk {
    /// `dir` is the one that can fail.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), broken: Arc::default() }
    }

    /// From now on everything fails there, files that are open included.
    pub fn fail(&self) {
        self.broken.store(true, Ordering::Release);
    }

    fn at(&self, path: &Path) -> io::Result<RealDisk> {
        works(!path.starts_with(&self.dir) || !self.broken.load(Ordering::Acquire))?;
        Ok(RealDisk)
    }
}

fn works(works: bool) -> io::Result<()> {
    // The number of EIO on Linux and on macOS.
    if works { Ok(()) } else { Err(io::Error::from_raw_os_error(5)) }
}

impl Disk for FailingDisk {
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.at(path)?.open(path, access)?;
        if !path.starts_with(&self.dir) {
            return Ok(file);
        }
        Ok(Arc::new(FailingFile { file, broken: Arc::clone(&self.broken) }))
    }
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.at(path)?.create_dir(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.at(from)?.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.at(path)?.remove_file(path)
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.at(path)?.remove_dir(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.at(path)?.sync_dir(path)
    }
    fn read_dir(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.at(path)?.read_dir(path)
    }
    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        self.at(path)?.metadata(path)
    }
    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn DiskLock>>> {
        self.at(path)?.try_lock(path)
    }
    fn space(&self, path: &Path) -> io::Result<Space> {
        self.at(path)?.space(path)
    }
    fn file_system(&self, path: &Path) -> io::Result<FileSystem> {
        self.at(path)?.file_system(path)
    }
    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        self.at(path)?.canonical(path)
    }
    fn tree(&self, path: &Path) -> io::Result<Arc<dyn DiskTree>> {
        self.at(path)?.tree(path)
    }
    fn mapped_files(&self) -> io::Result<HashSet<u64>> {
        RealDisk.mapped_files()
    }
}

#[derive(Debug)]
struct FailingFile {
    file: Arc<dyn DiskFile>,
    broken: Arc<AtomicBool>,
}

impl FailingFile {
    fn working(&self) -> io::Result<&dyn DiskFile> {
        works(!self.broken.load(Ordering::Acquire))?;
        Ok(&*self.file)
    }
}

impl DiskFile for FailingFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.working()?.read_at(buf, offset)
    }
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.working()?.write_all_at(bytes, offset)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.working()?.sync_data()
    }
    fn len(&self) -> io::Result<u64> {
        self.working()?.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.working()?.set_len(len)
    }
    fn sync_all(&self) -> io::Result<()> {
        self.working()?.sync_all()
    }
    fn stat(&self) -> io::Result<Stat> {
        self.working()?.stat()
    }
}
