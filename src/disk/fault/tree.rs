//! A tree that fails when it is told to.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::memory::MemoryTree;
use super::super::{DiskFile, DiskTree, FileTime, Listing, NodeKind, Stat};
use super::{Below, Call, FaultDisk, FaultFile, Op, Shared};

#[derive(Debug)]
enum Inner {
    Memory(MemoryTree),
    Other(Arc<dyn DiskTree>),
}

impl Inner {
    fn tree(&self) -> &dyn DiskTree {
        match self {
            Self::Memory(tree) => tree,
            Self::Other(tree) => &**tree,
        }
    }
}

/// A tree of a [`FaultDisk`].
pub(super) struct FaultTree {
    inner: Inner,
    /// Under which it was opened.
    path: PathBuf,
    shared: Arc<Shared>,
}

impl FaultTree {
    pub(super) fn open(disk: &FaultDisk, path: &Path) -> io::Result<Self> {
        let inner = match &disk.memory {
            Some(memory) => Inner::Memory(memory.open_tree(path)?),
            None => Inner::Other(disk.inner.tree(path)?),
        };
        Ok(Self { inner, path: path.to_owned(), shared: disk.shared.clone() })
    }

    fn full(&self, path: &Path) -> PathBuf {
        if path.as_os_str().is_empty() { self.path.clone() } else { self.path.join(path) }
    }

    /// Lets a call through, or not, and gives what it is to be done on.
    fn pass(&self, op: Op, path: &Path) -> io::Result<&dyn DiskTree> {
        self.shared.pass(op, &self.full(path))?;
        Ok(self.inner.tree())
    }

    /// The same for a call that makes a name.
    fn pass_new(&self, op: Op, path: &Path) -> io::Result<&dyn DiskTree> {
        let tree = self.pass(op, path)?;
        self.shared.room_for_a_name()?;
        Ok(tree)
    }

    /// The same for a sync, which has consequences where it fails.
    fn pass_sync(
        &self,
        op: Op,
        path: &Path,
        fail: impl FnOnce(&MemoryTree) -> io::Result<()>,
    ) -> io::Result<&dyn DiskTree> {
        let Err(refusal) = self.shared.enter(&Call::of(op, &self.full(path))) else {
            return Ok(self.inner.tree());
        };
        match &self.inner {
            Inner::Memory(tree) if !refusal.dead => fail(tree)?,
            _ => {}
        }
        Err(refusal.error)
    }

    fn file(&self, below: Below, path: &Path) -> Arc<dyn DiskFile> {
        Arc::new(FaultFile { below, path: self.full(path), shared: self.shared.clone() })
    }
}

impl fmt::Debug for FaultTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultTree").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl DiskTree for FaultTree {
    fn stat(&self, path: &Path) -> io::Result<Stat> {
        self.pass(Op::TreeStat, path)?.stat(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Listing> {
        self.pass(Op::TreeReadDir, path)?.read_dir(path)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.pass(Op::TreeOpen, path)?;
        let below = match &self.inner {
            Inner::Memory(tree) => Below::Memory(tree.open_file(path)?),
            Inner::Other(tree) => Below::Other(tree.open(path)?),
        };
        Ok(self.file(below, path))
    }

    fn read_link(&self, path: &Path) -> io::Result<OsString> {
        self.pass(Op::TreeReadLink, path)?.read_link(path)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.pass_new(Op::TreeCreate, path)?;
        let below = match &self.inner {
            Inner::Memory(tree) => Below::Memory(tree.create_file(path)?),
            Inner::Other(tree) => Below::Other(tree.create(path)?),
        };
        Ok(self.file(below, path))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.pass_new(Op::TreeCreateDir, path)?.create_dir(path)
    }

    fn create_link(&self, target: &OsStr, path: &Path) -> io::Result<()> {
        self.pass_new(Op::TreeCreateLink, path)?.create_link(target, path)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.pass_new(Op::TreeHardLink, to)?.hard_link(from, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.pass(Op::TreeRename, to)?.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let tree = self.pass(Op::TreeRemoveFile, path)?;
        let alone = |found: &Stat| found.kind == NodeKind::File && found.links == 1;
        let len = tree.stat(path).ok().filter(alone).map_or(0, |found| found.len);
        tree.remove_file(path)?;
        self.shared.script.lock().give_room(len);
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.pass(Op::TreeRemoveDir, path)?.remove_dir(path)
    }

    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.pass(Op::TreeSetMode, path)?.set_mode(path, mode)
    }

    fn set_modified(&self, path: &Path, modified: FileTime) -> io::Result<()> {
        self.pass(Op::TreeSetModified, path)?.set_modified(path, modified)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.pass_sync(Op::TreeSyncDir, path, |tree| tree.fail_sync_dir(path))?.sync_dir(path)
    }

    fn sync_all(&self) -> io::Result<bool> {
        let fail = |tree: &MemoryTree| {
            tree.fail_sync_all();
            Ok(())
        };
        self.pass_sync(Op::TreeSyncAll, Path::new(""), fail)?.sync_all()
    }
}
