//! A directory tree of a disk in memory.
//!
//! Rights are not enforced: modes are kept and told, and hinder nobody.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustix::io::Errno;

use super::super::tree::{plain, split};
use super::super::{DiskFile, DiskTree, FileTime, Listing, Stat};
use super::file::MemoryFile;
use super::node::{DirNode, LinkNode, Moment, Node};
use super::{MemoryDisk, Place, State};

/// As the file systems have it that people use.
const NAME_BYTES_MAX: usize = 255;

/// A tree of a [`MemoryDisk`]; it stays with its directory wherever that is moved.
pub(in super::super) struct MemoryTree {
    disk: MemoryDisk,
    root: Arc<DirNode>,
}

impl MemoryTree {
    pub(super) fn new(disk: &MemoryDisk, root: Arc<DirNode>) -> Self {
        Self { disk: disk.clone(), root }
    }

    /// Opens a file as [`DiskTree::open`] does, with its type known.
    pub(in super::super) fn open_file(&self, path: &Path) -> io::Result<Arc<MemoryFile>> {
        let _state = self.disk.0.state.lock();
        Ok(MemoryFile::new(&self.disk, self.find(path)?.file()?, false))
    }

    /// Makes a file as [`DiskTree::create`] does, with its type known.
    pub(in super::super) fn create_file(&self, path: &Path) -> io::Result<Arc<MemoryFile>> {
        let mut state = self.disk.0.state.lock();
        let file = self.add(&mut state, path, MemoryDisk::new_file)?.file()?;
        Ok(MemoryFile::new(&self.disk, file, true))
    }

    /// Acts as a failed sync of a directory.
    #[cfg(any(feature = "cli", feature = "testing", test))]
    pub(in super::super) fn fail_sync_dir(&self, path: &Path) -> io::Result<()> {
        let _state = self.disk.0.state.lock();
        self.dir(path)?.abandon();
        Ok(())
    }

    /// Acts as a failed sync of everything: what is pending beneath the root is never made durable
    /// by a later sync.
    #[cfg(any(feature = "cli", feature = "testing", test))]
    pub(in super::super) fn fail_sync_all(&self) {
        let _state = self.disk.0.state.lock();
        Node::Dir(self.root.clone()).each(&mut |node| match node {
            Node::File(file) => file.contents.lock().abandon(),
            Node::Dir(dir) => dir.abandon(),
            Node::Link(link) => link.facts.lock().attributes.abandon(),
        });
    }

    fn find(&self, path: &Path) -> io::Result<Node> {
        let mut node = Node::Dir(self.root.clone());
        for part in plain(path)? {
            node = node.dir()?.get(part)?;
        }
        Ok(node)
    }

    fn dir(&self, path: &Path) -> io::Result<Arc<DirNode>> {
        self.find(path)?.dir()
    }

    fn place(&self, path: &Path) -> io::Result<Place> {
        let (dir, name) = split(path)?;
        if name.len() > NAME_BYTES_MAX {
            return Err(Errno::NAMETOOLONG.into());
        }
        Ok((self.dir(dir)?, name.to_owned()))
    }

    fn add(
        &self,
        state: &mut State,
        path: &Path,
        make: impl FnOnce(u64, Moment) -> Node,
    ) -> io::Result<Node> {
        self.disk.add(state, self.place(path)?, make)
    }

    fn set(&self, state: &mut State, node: &Node, mode: Option<u32>, modified: Option<FileTime>) {
        let moment = self.disk.moment(state);
        node.with_facts(|facts| facts.set(moment, mode, modified));
    }
}

impl fmt::Debug for MemoryTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryTree").field("inode", &self.root.inode).finish_non_exhaustive()
    }
}

impl DiskTree for MemoryTree {
    fn stat(&self, path: &Path) -> io::Result<Stat> {
        Ok(self.find(path)?.stat())
    }

    fn read_dir(&self, path: &Path) -> io::Result<Listing> {
        let _state = self.disk.0.state.lock();
        let dir = self.dir(path)?;
        dir.must_be_there()?;
        let own = Node::Dir(dir.clone()).stat();
        let names = dir.names.lock();
        let entry = |(name, node): (&OsString, &Node)| (name.clone(), node.stat());
        Ok(Listing { own, entries: names.entries.live.iter().map(entry).collect() })
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.open_file(path)?)
    }

    fn read_link(&self, path: &Path) -> io::Result<OsString> {
        match self.find(path)? {
            Node::Link(link) => Ok(link.target.clone()),
            Node::File(_) | Node::Dir(_) => Err(Errno::INVAL.into()),
        }
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.create_file(path)?)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.add(&mut self.disk.0.state.lock(), path, MemoryDisk::new_dir).map(drop)
    }

    fn create_link(&self, target: &OsStr, path: &Path) -> io::Result<()> {
        if target.is_empty() {
            return Err(Errno::NOENT.into());
        }
        let make = |inode, moment: Moment| {
            Node::Link(LinkNode::with(inode, moment.attributes(0o777), target.to_owned()))
        };
        self.add(&mut self.disk.0.state.lock(), path, make).map(drop)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.disk.0.state.lock();
        let node = self.find(from)?;
        if matches!(node, Node::Dir(_)) {
            return Err(Errno::PERM.into());
        }
        self.add(&mut state, to, |_, moment| {
            node.with_facts(|facts| {
                facts.links += 1;
                facts.name_changed(moment);
            });
            node.clone()
        })?;
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.disk.0.state.lock();
        let (from_place, to_place) = (self.place(from)?, self.place(to)?);
        from_place.0.get(&from_place.1)?;
        if to_place.0.get(&to_place.1).is_ok() {
            return Err(Errno::EXIST.into());
        }
        if to.starts_with(from) {
            return Err(Errno::INVAL.into());
        }
        self.disk.move_name(&mut state, from_place, to_place)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.disk.0.state.lock();
        let place = self.place(path)?;
        self.disk.remove_at(&mut state, place, Node::must_not_be_dir)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.disk.0.state.lock();
        let place = self.place(path)?;
        self.disk.remove_at(&mut state, place, Node::must_be_empty_dir)
    }

    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()> {
        let mut state = self.disk.0.state.lock();
        let node = self.find(path)?;
        if matches!(node, Node::Link(_)) {
            return Err(Errno::LOOP.into());
        }
        self.set(&mut state, &node, Some(mode & 0o7777), None);
        Ok(())
    }

    fn set_modified(&self, path: &Path, modified: FileTime) -> io::Result<()> {
        let mut state = self.disk.0.state.lock();
        let node = self.find(path)?;
        self.set(&mut state, &node, None, Some(modified));
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.disk.0.state.lock();
        self.dir(path)?.sync();
        state.journal = state.next_change;
        Ok(())
    }

    fn sync_all(&self) -> io::Result<bool> {
        let mut state = self.disk.0.state.lock();
        if !state.syncs_everything {
            return Ok(false);
        }
        Node::Dir(self.disk.0.root.clone()).each(&mut |node| match node {
            Node::File(file) => file.contents.lock().sync(),
            Node::Dir(dir) => dir.sync(),
            Node::Link(link) => link.facts.lock().attributes.sync(),
        });
        state.journal = state.next_change;
        Ok(true)
    }
}
