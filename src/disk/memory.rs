//! A file system held in memory.
//!
//! It behaves as POSIX says: open files outlive their names, a rename replaces, a directory must be
//! empty to go. A disk made by [`MemoryDisk::new`] also remembers, for each file and each directory,
//! what a sync has made durable and which changes came after it, in order; [`MemoryDisk::crash`]
//! builds from that what could be found after a power loss (see [`Loss`](super::Loss)). One made by
//! [`MemoryDisk::plain`] remembers nothing and is a store for tests of other things.
//!
//! Durable are, on a disk that remembers:
//! - the contents and the length of a file, after a sync of that file, under any of its names;
//! - a name, after a sync of its directory; the file behind it may still be empty;
//! - everything a disk was made with, and what [`MemoryDisk::put`] and its like did.
//!
//! After a sync that failed ([`MemoryDisk::fail_sync_dir`], and the fault disk for files), what was
//! pending is no longer made durable by a later sync: it may be on the disk or not, for good.
//!
//! Not modelled: hard links and symbolic links, modes, holes (every byte of a file counts against
//! the capacity), a disk that damages what it was not asked to write.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use rustix::io::Errno;

use super::crash::{Change, NameChange, Tracked};
use super::{Access, Disk, DiskFile, DiskLock, Entry, EntryKind, FileSystem, Metadata, Space};
use crate::clock::{Clock, SystemClock};
use crate::state::Timestamp;

/// What `space` reports as the whole where no capacity is set: 1 TiB.
const UNBOUNDED: u64 = 1 << 40;

/// A disk in memory; clones are handles to the same one.
#[derive(Clone)]
pub struct MemoryDisk(pub(super) Arc<Shared>);

pub(super) struct Shared {
    clock: Arc<dyn Clock>,
    pub(super) root: Arc<DirNode>,
    /// Taken before the lock of a node; whoever changes anything holds it.
    pub(super) state: Mutex<State>,
}

pub(super) struct State {
    /// Whether changes are remembered until they are synced.
    pub(super) tracked: bool,
    /// Orders all changes of the disk.
    pub(super) next_change: u64,
    /// The changes before this one that a journal has surely written; see `Loss::Ordered`.
    pub(super) journal: u64,
    next_inode: u64,
    used: u64,
    capacity: Option<u64>,
    file_system: FileSystem,
}

impl State {
    /// Takes the next number of a change, or `None` where changes are not remembered.
    fn number(&mut self) -> Option<u64> {
        self.next_change += u64::from(self.tracked);
        self.tracked.then_some(self.next_change)
    }

    fn inode(&mut self) -> u64 {
        self.next_inode += 1;
        self.next_inode
    }

    fn free(&self) -> u64 {
        self.capacity.unwrap_or(UNBOUNDED).saturating_sub(self.used)
    }

    fn account(&mut self, before: usize, after: usize) -> io::Result<()> {
        let grown = after.saturating_sub(before) as u64;
        if grown > self.free() {
            return Err(Errno::NOSPC.into());
        }
        self.used = self.used + grown - before.saturating_sub(after) as u64;
        Ok(())
    }
}

/// What a name stands for.
#[derive(Clone)]
pub(super) enum Node {
    File(Arc<FileNode>),
    Dir(Arc<DirNode>),
}

pub(super) struct FileNode {
    pub(super) inode: u64,
    pub(super) contents: Mutex<Contents>,
}

pub(super) struct Contents {
    pub(super) bytes: Tracked<Vec<u8>, Change>,
    pub(super) modified: Timestamp,
    /// Whether a name leads here; together with `handles` it says when the bytes are given back.
    named: bool,
    handles: usize,
    locked: bool,
}

pub(super) struct DirNode {
    pub(super) inode: u64,
    pub(super) names: Mutex<Names>,
}

pub(super) struct Names {
    pub(super) entries: Tracked<BTreeMap<OsString, Node>, NameChange>,
    pub(super) modified: Timestamp,
}

impl Node {
    fn kind(&self) -> EntryKind {
        match self {
            Self::File(_) => EntryKind::File,
            Self::Dir(_) => EntryKind::Dir,
        }
    }
}

impl DirNode {
    pub(super) fn with(
        inode: u64,
        modified: Timestamp,
        entries: BTreeMap<OsString, Node>,
    ) -> Arc<Self> {
        let names = Names { entries: Tracked::names(entries), modified };
        Arc::new(Self { inode, names: Mutex::new(names) })
    }

    fn get(&self, name: &OsStr) -> io::Result<Node> {
        self.names.lock().entries.live.get(name).cloned().ok_or_else(|| Errno::NOENT.into())
    }

    fn change(&self, number: Option<u64>, modified: Timestamp, change: NameChange) {
        let mut names = self.names.lock();
        names.modified = modified;
        names.entries.apply(number, change);
    }
}

impl FileNode {
    pub(super) fn with(inode: u64, modified: Timestamp, bytes: Vec<u8>) -> Arc<Self> {
        let bytes = Tracked::bytes(bytes);
        let contents = Contents { bytes, modified, named: true, handles: 0, locked: false };
        Arc::new(Self { inode, contents: Mutex::new(contents) })
    }
}

impl MemoryDisk {
    /// An empty disk that remembers what was not synced.
    #[must_use]
    pub fn new() -> Self {
        Self::with_clock(true, SystemClock::shared())
    }

    /// An empty disk that remembers nothing: a crash loses nothing there.
    #[must_use]
    pub fn plain() -> Self {
        Self::with_clock(false, SystemClock::shared())
    }

    /// An empty disk whose times of change come from `clock`.
    #[must_use]
    pub fn with_clock(tracked: bool, clock: Arc<dyn Clock>) -> Self {
        let root = DirNode::with(1, clock.now(), BTreeMap::new());
        let state = State {
            tracked,
            next_change: 0,
            journal: 0,
            next_inode: 1,
            used: 0,
            capacity: None,
            file_system: FileSystem { name: "memory".into(), network: false, volatile: true },
        };
        Self(Arc::new(Shared { clock, root, state: Mutex::new(state) }))
    }

    /// A disk that remembers and durably holds these files, and the directories they lie in.
    ///
    /// # Panics
    /// When one of the paths leads through another.
    #[must_use]
    pub fn from_image(image: &BTreeMap<PathBuf, Vec<u8>>) -> Self {
        let disk = Self::new();
        for (path, bytes) in image {
            disk.put(path, bytes);
        }
        disk
    }

    /// This disk as the seam the stages take.
    #[must_use]
    pub fn shared(&self) -> Arc<dyn Disk> {
        Arc::new(self.clone())
    }

    /// Limits the bytes that all files together may hold; writes beyond fail with `ENOSPC`.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.0.state.lock().capacity = bytes;
    }

    /// Bytes that all files together hold, open ones without a name included.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.0.state.lock().used
    }

    /// Sets what `file_system` answers.
    pub fn set_file_system(&self, file_system: FileSystem) {
        self.0.state.lock().file_system = file_system;
    }

    /// Every file as it stands now, synced or not.
    #[must_use]
    pub fn image(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut image = BTreeMap::new();
        collect_files(&self.0.root, Path::new("/"), &mut image);
        image
    }

    /// The bytes of a file as they stand now; `None` where no file is.
    #[must_use]
    pub fn get(&self, path: &Path) -> Option<Vec<u8>> {
        match self.find(path).ok()? {
            Node::File(file) => Some(file.contents.lock().bytes.live.clone()),
            Node::Dir(_) => None,
        }
    }

    /// Places a file durably, with the directories on the way, over what stood there.
    ///
    /// # Panics
    /// When the path leads through a file or is a directory's.
    pub fn put(&self, path: &Path, bytes: &[u8]) {
        let mut state = self.0.state.lock();
        let now = self.0.clock.now();
        let (dirs, name) = split(path).expect("the path of a file has a name");
        let mut dir = self.0.root.clone();
        for part in dirs {
            let found = dir.get(&part);
            let next = found
                .unwrap_or_else(|_| Node::Dir(DirNode::with(state.inode(), now, BTreeMap::new())));
            dir.names.lock().entries.settle(NameChange::Insert(part, next.clone()));
            let Node::Dir(next) = next else { panic!("{} leads through a file", path.display()) };
            dir = next;
        }
        let found = dir.get(&name);
        let node =
            found.unwrap_or_else(|_| Node::File(FileNode::with(state.inode(), now, Vec::new())));
        dir.names.lock().entries.settle(NameChange::Insert(name, node.clone()));
        let Node::File(file) = node else { panic!("{} is a directory", path.display()) };
        let mut contents = file.contents.lock();
        state.used = state.used - contents.bytes.live.len() as u64 + bytes.len() as u64;
        contents.bytes = Tracked::bytes(bytes.to_vec());
    }

    /// Changes the bytes of a file durably and without any call of the seam, as damage does; says
    /// whether there was such a file.
    pub fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> bool {
        let Some(mut bytes) = self.get(path) else { return false };
        change(&mut bytes);
        self.put(path, &bytes);
        true
    }

    /// Takes a file or a directory with all it holds away durably; says whether it was there.
    #[expect(clippy::must_use_candidate, reason = "the answer is for those who care")]
    pub fn remove(&self, path: &Path) -> bool {
        let mut state = self.0.state.lock();
        let Ok((dir, name)) = self.parent(path) else { return false };
        let Ok(node) = dir.get(&name) else { return false };
        dir.names.lock().entries.settle(NameChange::Remove(name));
        drop_names(&mut state, &node);
        true
    }

    /// Acts as a failed sync of a directory: its pending names are never made durable by a later
    /// sync, and may be found after a crash or not.
    ///
    /// # Errors
    /// When there is no such directory.
    pub fn fail_sync_dir(&self, path: &Path) -> io::Result<()> {
        let _state = self.0.state.lock();
        self.dir(path)?.names.lock().entries.abandon();
        Ok(())
    }

    /// A disk with the settings of this one, whose state is given, and another tree.
    pub(super) fn successor(&self, state: &State, root: Arc<DirNode>, used: u64) -> Self {
        let state = State {
            used,
            journal: state.next_change,
            file_system: state.file_system.clone(),
            ..*state
        };
        Self(Arc::new(Shared { clock: self.0.clock.clone(), root, state: Mutex::new(state) }))
    }

    /// Opens a file as [`Disk::open`] does, with its type known.
    pub(super) fn open_file(&self, path: &Path, access: Access) -> io::Result<Arc<MemoryFile>> {
        let mut state = self.0.state.lock();
        let (dir, name) = self.parent(path)?;
        let file = match (dir.get(&name), access) {
            (Ok(_), Access::CreateNew) => return Err(Errno::EXIST.into()),
            (Ok(Node::Dir(_)), _) => return Err(Errno::ISDIR.into()),
            (Ok(Node::File(file)), _) => file,
            (Err(_), Access::CreateNew) => self.create_file(&mut state, &dir, name),
            (Err(error), _) => return Err(error),
        };
        file.contents.lock().handles += 1;
        Ok(Arc::new(MemoryFile { disk: self.clone(), file, writable: access != Access::Read }))
    }

    fn create_file(&self, state: &mut State, dir: &DirNode, name: OsString) -> Arc<FileNode> {
        let now = self.0.clock.now();
        let file = FileNode::with(state.inode(), now, Vec::new());
        dir.change(state.number(), now, NameChange::Insert(name, Node::File(file.clone())));
        file
    }

    fn find(&self, path: &Path) -> io::Result<Node> {
        let mut node = Node::Dir(self.0.root.clone());
        for part in parts(path) {
            let Node::Dir(dir) = node else { return Err(Errno::NOTDIR.into()) };
            node = dir.get(&part)?;
        }
        Ok(node)
    }

    fn dir(&self, path: &Path) -> io::Result<Arc<DirNode>> {
        match self.find(path)? {
            Node::Dir(dir) => Ok(dir),
            Node::File(_) => Err(Errno::NOTDIR.into()),
        }
    }

    fn parent(&self, path: &Path) -> io::Result<(Arc<DirNode>, OsString)> {
        let (dirs, name) = split(path).ok_or(Errno::BUSY)?;
        Ok((self.dir(&dirs.iter().collect::<PathBuf>())?, name))
    }

    fn remove_node(&self, path: &Path, may_go: impl Fn(&Node) -> io::Result<()>) -> io::Result<()> {
        let mut state = self.0.state.lock();
        let (dir, name) = self.parent(path)?;
        let node = dir.get(&name)?;
        may_go(&node)?;
        dir.change(state.number(), self.0.clock.now(), NameChange::Remove(name));
        drop_names(&mut state, &node);
        Ok(())
    }
}

impl Default for MemoryDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryDisk").field("used", &self.used()).finish_non_exhaustive()
    }
}

impl Disk for MemoryDisk {
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.open_file(path, access)?)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.state.lock();
        let (dir, name) = self.parent(path).map_err(|error| at_root(path, error))?;
        if dir.get(&name).is_ok() {
            return Err(Errno::EXIST.into());
        }
        let now = self.0.clock.now();
        let made = Node::Dir(DirNode::with(state.inode(), now, BTreeMap::new()));
        dir.change(state.number(), now, NameChange::Insert(name, made));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.0.state.lock();
        let (from_dir, from_name) = self.parent(from)?;
        let (to_dir, to_name) = self.parent(to)?;
        let node = from_dir.get(&from_name)?;
        let replaced = to_dir.get(&to_name).ok();
        if replaced.as_ref().is_some_and(|replaced| same(replaced, &node)) {
            return Ok(());
        }
        may_replace(&node, replaced.as_ref())?;
        if matches!(node, Node::Dir(_)) && parts(to).starts_with(&parts(from)) {
            return Err(Errno::INVAL.into());
        }
        let (number, now) = (state.number(), self.0.clock.now());
        if Arc::ptr_eq(&from_dir, &to_dir) {
            from_dir.change(number, now, NameChange::Rename(from_name, to_name, node));
        } else {
            // One number, so one fate, until the sync of one directory tells the halves apart.
            to_dir.change(number, now, NameChange::Insert(to_name, node));
            from_dir.change(number, now, NameChange::Remove(from_name));
        }
        if let Some(replaced) = replaced {
            drop_names(&mut state, &replaced);
        }
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.remove_node(path, |node| match node {
            Node::File(_) => Ok(()),
            Node::Dir(_) => Err(Errno::ISDIR.into()),
        })
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.remove_node(path, |node| match node {
            Node::File(_) => Err(Errno::NOTDIR.into()),
            Node::Dir(dir) => must_be_empty(dir),
        })
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.state.lock();
        self.dir(path)?.names.lock().entries.sync();
        state.journal = state.next_change;
        Ok(())
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let dir = self.dir(path)?;
        let names = dir.names.lock();
        let entry =
            |(name, node): (&OsString, &Node)| Entry { name: name.clone(), kind: node.kind() };
        Ok(names.entries.live.iter().map(entry).collect())
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        Ok(match self.find(path)? {
            Node::File(file) => {
                let contents = file.contents.lock();
                let len = contents.bytes.live.len() as u64;
                metadata(EntryKind::File, file.inode, len, contents.modified)
            }
            Node::Dir(dir) => {
                let modified = dir.names.lock().modified;
                metadata(EntryKind::Dir, dir.inode, 0, modified)
            }
        })
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn DiskLock>>> {
        let file = match self.open_file(path, Access::CreateNew) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.open_file(path, Access::Write)
            }
            made => made,
        }?;
        let held = std::mem::replace(&mut file.file.contents.lock().locked, true);
        Ok(if held { None } else { Some(Box::new(MemoryLock(file))) })
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.find(path)?;
        let state = self.0.state.lock();
        Ok(Space { free: state.free(), total: state.capacity.unwrap_or(UNBOUNDED) })
    }

    fn file_system(&self, path: &Path) -> io::Result<FileSystem> {
        self.find(path)?;
        Ok(self.0.state.lock().file_system.clone())
    }

    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        self.find(path)?;
        Ok(Path::new("/").join(parts(path).iter().collect::<PathBuf>()))
    }
}

/// The names on the way from the root; relative paths begin there too.
fn parts(path: &Path) -> Vec<OsString> {
    let mut parts = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => parts.push(name.to_owned()),
            Component::ParentDir => drop(parts.pop()),
            Component::Prefix(_) | Component::RootDir | Component::CurDir => {}
        }
    }
    parts
}

fn split(path: &Path) -> Option<(Vec<OsString>, OsString)> {
    let mut parts = parts(path);
    let name = parts.pop()?;
    Some((parts, name))
}

/// Making the root answers that it is there, as `mkdir /` does.
fn at_root(path: &Path, error: io::Error) -> io::Error {
    if split(path).is_none() { Errno::EXIST.into() } else { error }
}

fn same(a: &Node, b: &Node) -> bool {
    match (a, b) {
        (Node::File(a), Node::File(b)) => Arc::ptr_eq(a, b),
        (Node::Dir(a), Node::Dir(b)) => Arc::ptr_eq(a, b),
        _ => false,
    }
}

fn may_replace(node: &Node, replaced: Option<&Node>) -> io::Result<()> {
    match (node, replaced) {
        (_, None) | (Node::File(_), Some(Node::File(_))) => Ok(()),
        (Node::File(_), Some(Node::Dir(_))) => Err(Errno::ISDIR.into()),
        (Node::Dir(_), Some(Node::File(_))) => Err(Errno::NOTDIR.into()),
        (Node::Dir(_), Some(Node::Dir(dir))) => must_be_empty(dir),
    }
}

fn must_be_empty(dir: &DirNode) -> io::Result<()> {
    if dir.names.lock().entries.live.is_empty() { Ok(()) } else { Err(Errno::NOTEMPTY.into()) }
}

fn metadata(kind: EntryKind, inode: u64, len: u64, modified: Timestamp) -> Metadata {
    Metadata { kind, len, modified, device: 1, inode }
}

fn collect_files(dir: &DirNode, at: &Path, image: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for (name, node) in &dir.names.lock().entries.live {
        match node {
            Node::File(file) => {
                image.insert(at.join(name), file.contents.lock().bytes.live.clone());
            }
            Node::Dir(dir) => collect_files(dir, &at.join(name), image),
        }
    }
}

/// Notes that no name leads to a file any more, and to none below a directory.
fn drop_names(state: &mut State, node: &Node) {
    match node {
        Node::File(file) => {
            let mut contents = file.contents.lock();
            contents.named = false;
            give_back(state, &contents);
        }
        Node::Dir(dir) => {
            for node in dir.names.lock().entries.live.values() {
                drop_names(state, node);
            }
        }
    }
}

fn give_back(state: &mut State, contents: &Contents) {
    if !contents.named && contents.handles == 0 {
        state.used -= contents.bytes.live.len() as u64;
    }
}

/// An open file of a [`MemoryDisk`].
pub(super) struct MemoryFile {
    disk: MemoryDisk,
    file: Arc<FileNode>,
    writable: bool,
}

impl MemoryFile {
    /// Acts as a failed sync: what is pending is never made durable by a later sync.
    #[cfg(any(feature = "cli", feature = "testing", test))]
    pub(super) fn fail_sync(&self) {
        let _state = self.disk.0.state.lock();
        self.file.contents.lock().bytes.abandon();
    }

    fn change(&self, change: Change) -> io::Result<()> {
        if !self.writable {
            return Err(Errno::BADF.into());
        }
        let mut state = self.disk.0.state.lock();
        let mut contents = self.file.contents.lock();
        let before = contents.bytes.live.len();
        state.account(before, change.len_after(before))?;
        contents.modified = self.disk.0.clock.now();
        contents.bytes.apply(state.number(), change);
        Ok(())
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.file.contents.lock()
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
        give_back(&mut state, &contents);
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
}

/// A lock that falls with the value; a crash image never holds one.
#[derive(Debug)]
struct MemoryLock(Arc<MemoryFile>);

impl DiskLock for MemoryLock {
    fn write_holder(&self, text: &[u8]) -> io::Result<()> {
        self.0.set_len(0)?;
        self.0.write_all_at(text, 0)
    }
}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.0.contents().locked = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use std::time::Duration;

    fn at(path: &str) -> &Path {
        Path::new(path)
    }

    fn code<T: fmt::Debug>(result: io::Result<T>) -> Errno {
        Errno::from_io_error(&result.unwrap_err()).unwrap()
    }

    #[test]
    fn contents_are_read_where_they_were_written() {
        let disk = MemoryDisk::new();
        let file = disk.open(at("/f"), Access::CreateNew).unwrap();
        file.write_all_at(b"world", 6).unwrap();
        file.write_all_at(b"hello", 0).unwrap();
        let mut buf = [9; 20];
        assert_eq!(file.read_at(&mut buf, 0).unwrap(), 11);
        assert_eq!(&buf[..11], b"hello\0world");
        assert_eq!(file.read_at(&mut buf, 11).unwrap(), 0);
        assert_eq!(file.read_at(&mut buf, u64::MAX).unwrap(), 0);
        file.set_len(3).unwrap();
        file.set_len(5).unwrap();
        assert_eq!(disk.get(at("/f")).unwrap(), b"hel\0\0");
    }

    #[test]
    fn errors_are_those_of_posix() {
        let disk = MemoryDisk::new();
        disk.put(at("/d/f"), b"x");
        assert_eq!(code(disk.open(at("/none"), Access::Write)), Errno::NOENT);
        assert_eq!(code(disk.open(at("/d/f"), Access::CreateNew)), Errno::EXIST);
        assert_eq!(code(disk.open(at("/d"), Access::Read)), Errno::ISDIR);
        assert_eq!(code(disk.open(at("/d/f/g"), Access::Read)), Errno::NOTDIR);
        assert_eq!(code(disk.open(at("/none/f"), Access::CreateNew)), Errno::NOENT);
        assert_eq!(code(disk.create_dir(at("/d"))), Errno::EXIST);
        assert_eq!(code(disk.create_dir(at("/"))), Errno::EXIST);
        assert_eq!(code(disk.remove_dir(at("/d"))), Errno::NOTEMPTY);
        assert_eq!(code(disk.remove_dir(at("/d/f"))), Errno::NOTDIR);
        assert_eq!(code(disk.remove_file(at("/d"))), Errno::ISDIR);
        assert_eq!(code(disk.rename(at("/d/f"), at("/d"))), Errno::ISDIR);
        assert_eq!(code(disk.rename(at("/d"), at("/d/e"))), Errno::INVAL);
        assert_eq!(code(disk.sync_dir(at("/d/f"))), Errno::NOTDIR);
        let read = disk.open(at("/d/f"), Access::Read).unwrap();
        assert_eq!(code(read.write_all_at(b"y", 0)), Errno::BADF);
    }

    #[test]
    fn an_open_file_outlives_its_name_and_gives_its_room_back_at_the_end() {
        let disk = MemoryDisk::new();
        disk.set_capacity(Some(10));
        disk.put(at("/f"), b"12345678");
        disk.put(at("/g"), b"9");
        let file = disk.open(at("/f"), Access::Write).unwrap();
        disk.rename(at("/g"), at("/f")).unwrap();
        let mut buf = [0; 8];
        file.read_at(&mut buf, 0).unwrap();
        assert_eq!((&buf, disk.used()), (b"12345678", 9));
        assert_eq!(code(file.write_all_at(b"abc", 8)), Errno::NOSPC);
        assert_eq!(file.len().unwrap(), 8, "a write that does not fit changes nothing");
        drop(file);
        assert_eq!((disk.used(), disk.space(at("/")).unwrap()), (1, Space { free: 9, total: 10 }));
    }

    #[test]
    fn directories_are_listed_moved_and_removed() {
        let disk = MemoryDisk::new();
        disk.create_dir(at("/a")).unwrap();
        disk.create_dir(at("/a/b")).unwrap();
        disk.put(at("/a/b/f"), b"x");
        disk.rename(at("/a/b"), at("/c")).unwrap();
        assert_eq!(disk.get(at("/c/f")).unwrap(), b"x");
        assert_eq!(disk.read_dir(at("/a")).unwrap(), []);
        let entry = |name: &str| Entry { name: name.into(), kind: EntryKind::Dir };
        assert_eq!(disk.read_dir(at("/")).unwrap(), [entry("a"), entry("c")]);
        disk.remove_dir(at("/a")).unwrap();
        assert!(disk.remove(at("/c")) && !disk.remove(at("/c")));
        assert_eq!((disk.image().len(), disk.used()), (0, 0));
    }

    #[test]
    fn paths_are_taken_from_the_root() {
        let disk = MemoryDisk::new();
        disk.put(at("store/log/1"), b"x");
        assert_eq!(disk.get(at("/store/log/../log/./1")).unwrap(), b"x");
        assert_eq!(disk.canonical(at("store/log/..")).unwrap(), at("/store"));
        assert_eq!(code(disk.canonical(at("none"))), Errno::NOENT);
    }

    #[test]
    fn a_lock_excludes_a_second_handle_until_it_is_dropped() {
        let disk = MemoryDisk::new();
        let lock = disk.try_lock(at("/lock")).unwrap().unwrap();
        lock.write_holder(b"a longer text").unwrap();
        lock.write_holder(b"me").unwrap();
        assert!(disk.try_lock(at("/lock")).unwrap().is_none());
        assert!(disk.clone().try_lock(at("/lock")).unwrap().is_none());
        assert_eq!(disk.get(at("/lock")).unwrap(), b"me");
        drop(lock);
        assert!(disk.try_lock(at("/lock")).unwrap().is_some());
    }

    #[test]
    fn times_of_change_come_from_the_clock() {
        let clock = ManualClock::starting_at(Timestamp::from_unix_ms(1000));
        let disk = MemoryDisk::with_clock(true, clock.clone());
        let file = disk.open(at("/f"), Access::CreateNew).unwrap();
        clock.advance(Duration::from_millis(5));
        file.write_all_at(b"x", 0).unwrap();
        let found = disk.metadata(at("/f")).unwrap();
        assert_eq!((found.len, found.modified), (1, Timestamp::from_unix_ms(1005)));
        assert_eq!(disk.metadata(at("/")).unwrap().modified, Timestamp::from_unix_ms(1000));
    }

    #[test]
    fn a_plain_disk_remembers_nothing_and_loses_nothing() {
        let disk = MemoryDisk::plain();
        let file = disk.open(at("/f"), Access::CreateNew).unwrap();
        file.write_all_at(b"x", 0).unwrap();
        assert_eq!(disk.pending_changes(), 0);
        assert_eq!(disk.crash(super::super::Loss::All).image(), disk.image());
    }

    #[test]
    fn damage_is_durable_and_needs_no_call() {
        let disk = MemoryDisk::new();
        disk.put(at("/f"), b"abc");
        let file = disk.open(at("/f"), Access::Read).unwrap();
        assert!(disk.damage(at("/f"), |bytes| bytes[1] ^= 1));
        assert!(!disk.damage(at("/none"), Vec::clear));
        let mut buf = [0; 3];
        file.read_at(&mut buf, 0).unwrap();
        assert_eq!(&buf, b"acc");
        assert_eq!(disk.crash(super::super::Loss::All).get(at("/f")).unwrap(), b"acc");
    }
}
