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
//! - a name, after a sync of its directory; the file behind it may still be empty, a link has its
//!   target;
//! - the mode and the times of a file after a sync of all of it, those of a directory after a sync of
//!   its names, those of a link after a sync of everything;
//! - everything a disk was made with, and what [`MemoryDisk::put`] and its like did.
//!
//! Times come from the clock, but the time of the last change of anything moves on with every change
//! also while the clock stands.
//!
//! After a sync that failed ([`MemoryDisk::fail_sync_dir`], and the fault disk for files), what was
//! pending is no longer made durable by a later sync: it may be on the disk or not, for good.
//!
//! Not modelled: rights (modes are kept and hinder nobody), holes (every byte of a file counts against
//! the capacity), a disk that damages what it was not asked to write.

mod file;
mod node;
mod tree;

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::io::Errno;

pub(super) use self::file::MemoryFile;
use self::file::MemoryLock;
use self::node::{Contents, Facts, Moment};
pub(super) use self::node::{DirNode, FileNode, LinkNode, Node};
pub(super) use self::tree::MemoryTree;
use super::crash::{NameChange, Tracked};
use super::{
    Access, Disk, DiskFile, DiskLock, DiskTree, Entry, EntryKind, FileSystem, FileTime, Metadata,
    NodeKind, Space,
};
use crate::clock::{Clock, SystemClock};

/// What `space` reports as the whole where no capacity is set: 1 TiB.
const UNBOUNDED: u64 = 1 << 40;
/// Links followed on one way before it counts as a circle, as on Linux.
const LINKS_MAX: usize = 40;

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
    /// When something changed last.
    last_changed: FileTime,
    /// Whether trees can sync everything at once.
    syncs_everything: bool,
    mapped: HashSet<u64>,
}

/// A directory, and a name there that stands for something or not.
type Place = (Arc<DirNode>, OsString);

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

    /// Gives a file other bytes, durably.
    fn set_bytes(&mut self, contents: &mut Contents, bytes: Vec<u8>) {
        self.used = self.used - contents.bytes.live.len() as u64 + bytes.len() as u64;
        contents.bytes = Tracked::bytes(bytes);
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
        let now = FileTime::from(clock.now());
        let moment = Moment { number: None, now, changed: now };
        let root = DirNode::with(1, moment.attributes(0o700), BTreeMap::new());
        let state = State {
            tracked,
            next_change: 0,
            journal: 0,
            next_inode: 1,
            used: 0,
            capacity: None,
            file_system: FileSystem { name: "memory".into(), network: false, volatile: true },
            last_changed: now,
            syncs_everything: true,
            mapped: HashSet::new(),
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

    /// Sets what `mapped_files` answers.
    pub fn set_mapped_files(&self, inodes: HashSet<u64>) {
        self.0.state.lock().mapped = inodes;
    }

    /// Says whether [`DiskTree::sync_all`] can do its work, as it can at first.
    pub fn set_syncs_everything(&self, can: bool) {
        self.0.state.lock().syncs_everything = can;
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
            Node::Dir(_) | Node::Link(_) => None,
        }
    }

    /// Places a file durably, with the directories on the way, over what stood there.
    ///
    /// # Panics
    /// When the path leads through a file or a link, or is that of a directory or a link.
    pub fn put(&self, path: &Path, bytes: &[u8]) {
        let mut state = self.0.state.lock();
        let moment = self.moment(&mut state);
        let (dirs, name) = split(path).expect("the path of a file has a name");
        let mut dir = self.0.root.clone();
        for part in dirs {
            let next =
                dir.get_or_settle(part, moment, || MemoryDisk::new_dir(state.inode(), moment));
            let Node::Dir(next) = next else { panic!("{} leads elsewhere", path.display()) };
            dir = next;
        }
        let node = dir.get_or_settle(name, moment, || MemoryDisk::new_file(state.inode(), moment));
        let Node::File(file) = node else { panic!("{} is no file", path.display()) };
        let mut contents = file.contents.lock();
        contents.facts.content_changed(moment);
        contents.facts.attributes.sync();
        state.set_bytes(&mut contents, bytes.to_vec());
    }

    /// Changes the bytes of a file durably and without any call of the seam, as damage does: no time
    /// moves. Says whether there was such a file.
    pub fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut state = self.0.state.lock();
        let Ok(Node::File(file)) = self.find(path) else { return false };
        let mut contents = file.contents.lock();
        let mut bytes = contents.bytes.live.clone();
        change(&mut bytes);
        state.set_bytes(&mut contents, bytes);
        true
    }

    /// Takes a file or a directory with all it holds away durably; says whether it was there.
    #[expect(clippy::must_use_candidate, reason = "the answer is for those who care")]
    pub fn remove(&self, path: &Path) -> bool {
        let mut state = self.0.state.lock();
        let Ok((dir, name)) = self.parent(path) else { return false };
        let Ok(node) = dir.get(&name) else { return false };
        let moment = self.moment(&mut state);
        dir.settle(moment, NameChange::Remove(name));
        drop_names(&mut state, moment, &node);
        true
    }

    /// Acts as a failed sync of a directory: its pending names are never made durable by a later
    /// sync, and may be found after a crash or not.
    ///
    /// # Errors
    /// When there is no such directory.
    pub fn fail_sync_dir(&self, path: &Path) -> io::Result<()> {
        let _state = self.0.state.lock();
        self.dir(path)?.abandon();
        Ok(())
    }

    /// A disk with the settings of this one, whose state is given, and another tree.
    pub(super) fn successor(&self, state: &State, root: Arc<DirNode>, used: u64) -> Self {
        let state = State {
            used,
            journal: state.next_change,
            file_system: state.file_system.clone(),
            mapped: HashSet::new(),
            ..*state
        };
        Self(Arc::new(Shared { clock: self.0.clock.clone(), root, state: Mutex::new(state) }))
    }

    /// Opens a file as [`Disk::open`] does, with its type known.
    pub(super) fn open_file(&self, path: &Path, access: Access) -> io::Result<Arc<MemoryFile>> {
        let mut state = self.0.state.lock();
        let (dir, name) = self.parent(path)?;
        let file = match (dir.get(&name), access) {
            (Err(_), Access::CreateNew) => self.add(&mut state, (dir, name), Self::new_file)?,
            (Ok(_), Access::CreateNew) => return Err(Errno::EXIST.into()),
            (found, _) => found?,
        };
        Ok(MemoryFile::new(self, file.file()?, access != Access::Read))
    }

    /// Opens a tree as [`Disk::tree`] does, with its type known.
    pub(super) fn open_tree(&self, path: &Path) -> io::Result<MemoryTree> {
        Ok(MemoryTree::new(self, self.dir(path)?))
    }

    /// The moment of the next change.
    fn moment(&self, state: &mut State) -> Moment {
        let now = FileTime::from(self.0.clock.now());
        state.last_changed = now.max(state.last_changed.next());
        Moment { number: state.number(), now, changed: state.last_changed }
    }

    fn new_file(inode: u64, moment: Moment) -> Node {
        Node::File(FileNode::with(inode, moment.attributes(0o600), Vec::new()))
    }

    fn new_dir(inode: u64, moment: Moment) -> Node {
        Node::Dir(DirNode::with(inode, moment.attributes(0o700), BTreeMap::new()))
    }

    /// Walks from the root and follows links: the last name's only where that is asked for. Gives
    /// the names on the way that is really gone, and what stands at its end.
    fn walk(&self, path: &Path, follow_last: bool) -> io::Result<(PathBuf, Node)> {
        let mut way = vec![(OsString::from("/"), Node::Dir(self.0.root.clone()))];
        let mut ahead = steps(path);
        let mut links = 0;
        while let Some(step) = ahead.pop() {
            let Some(name) = step else {
                way.truncate(way.len().saturating_sub(1).max(1));
                continue;
            };
            let (_, Node::Dir(dir)) = &way[way.len() - 1] else { return Err(Errno::NOTDIR.into()) };
            match dir.get(&name)? {
                Node::Link(link) if follow_last || !ahead.is_empty() => {
                    links += 1;
                    if links > LINKS_MAX {
                        return Err(Errno::LOOP.into());
                    }
                    let target = Path::new(&link.target);
                    way.truncate(if target.is_absolute() { 1 } else { way.len() });
                    ahead.extend(steps(target));
                }
                node => way.push((name, node)),
            }
        }
        let (names, mut nodes): (PathBuf, Vec<Node>) = way.into_iter().unzip();
        Ok((names, nodes.pop().expect("the way begins with the root")))
    }

    fn find(&self, path: &Path) -> io::Result<Node> {
        Ok(self.walk(path, false)?.1)
    }

    fn dir(&self, path: &Path) -> io::Result<Arc<DirNode>> {
        self.walk(path, true)?.1.dir()
    }

    fn parent(&self, path: &Path) -> io::Result<Place> {
        let (dirs, name) = split(path).ok_or(Errno::BUSY)?;
        Ok((self.dir(&dirs.iter().collect::<PathBuf>())?, name))
    }

    /// Makes a name, which must not be there yet.
    fn add(
        &self,
        state: &mut State,
        (dir, name): Place,
        make: impl FnOnce(u64, Moment) -> Node,
    ) -> io::Result<Node> {
        if dir.get(&name).is_ok() {
            return Err(Errno::EXIST.into());
        }
        dir.must_be_there()?;
        let moment = self.moment(state);
        let node = make(state.inode(), moment);
        dir.change(moment, NameChange::Insert(name, node.clone()));
        Ok(node)
    }

    fn remove_at(
        &self,
        state: &mut State,
        (dir, name): Place,
        may_go: impl Fn(&Node) -> io::Result<()>,
    ) -> io::Result<()> {
        let node = dir.get(&name)?;
        may_go(&node)?;
        let moment = self.moment(state);
        dir.change(moment, NameChange::Remove(name));
        drop_names(state, moment, &node);
        Ok(())
    }

    /// Renames over what may be replaced, if anything is there.
    fn move_name(&self, state: &mut State, from: Place, to: Place) -> io::Result<()> {
        let ((from_dir, from), (to_dir, to)) = (from, to);
        let node = from_dir.get(&from)?;
        let replaced = to_dir.get(&to).ok();
        if replaced.as_ref().is_some_and(|replaced| replaced.inode() == node.inode()) {
            return Ok(());
        }
        replaced.as_ref().map_or(Ok(()), |replaced| may_replace(&node, replaced))?;
        to_dir.must_be_there()?;
        let moment = self.moment(state);
        node.with_facts(|facts| facts.name_changed(moment));
        if Arc::ptr_eq(&from_dir, &to_dir) {
            from_dir.change(moment, NameChange::Rename(from, to, node));
        } else {
            // One number, so one fate, until the sync of one directory tells the halves apart.
            to_dir.change(moment, NameChange::Insert(to, node));
            from_dir.change(moment, NameChange::Remove(from));
        }
        if let Some(replaced) = replaced {
            drop_names(state, moment, &replaced);
        }
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
        let place = self.parent(path).map_err(|error| at_root(path, error))?;
        self.add(&mut state, place, Self::new_dir).map(drop)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.0.state.lock();
        let (from_place, to_place) = (self.parent(from)?, self.parent(to)?);
        let (from, to) = (parts(from), parts(to));
        let into_itself = to.len() > from.len() && to.starts_with(&from);
        if into_itself && from_place.0.get(&from_place.1)?.dir().is_ok() {
            return Err(Errno::INVAL.into());
        }
        self.move_name(&mut state, from_place, to_place)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.state.lock();
        let place = self.parent(path)?;
        self.remove_at(&mut state, place, Node::must_not_be_dir)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.state.lock();
        let place = self.parent(path)?;
        self.remove_at(&mut state, place, Node::must_be_empty_dir)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.state.lock();
        self.dir(path)?.sync();
        state.journal = state.next_change;
        Ok(())
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let dir = self.dir(path)?;
        let names = dir.names.lock();
        let entry = |(name, node): (&OsString, &Node)| Entry {
            name: name.clone(),
            kind: kind(node.stat().kind),
        };
        Ok(names.entries.live.iter().map(entry).collect())
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        let found = self.find(path)?.stat();
        Ok(Metadata {
            kind: kind(found.kind),
            len: found.len,
            modified: found.modified.into(),
            device: found.device,
            inode: found.inode,
        })
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn DiskLock>>> {
        let file = match self.open_file(path, Access::CreateNew) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.open_file(path, Access::Write)
            }
            made => made,
        }?;
        Ok(if file.lock() {
            Some(Box::new(MemoryLock { file, path: path.to_owned() }))
        } else {
            None
        })
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
        Ok(self.walk(path, true)?.0)
    }

    fn tree(&self, path: &Path) -> io::Result<Arc<dyn DiskTree>> {
        Ok(Arc::new(self.open_tree(path)?))
    }

    fn mapped_files(&self) -> io::Result<HashSet<u64>> {
        Ok(self.0.state.lock().mapped.clone())
    }
}

/// The steps of a path, the last first; `None` is one up.
fn steps(path: &Path) -> Vec<Option<OsString>> {
    let step = |component: Component<'_>| match component {
        Component::Normal(name) => Some(Some(name.to_owned())),
        Component::ParentDir => Some(None),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    };
    path.components().rev().filter_map(step).collect()
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

fn may_replace(node: &Node, replaced: &Node) -> io::Result<()> {
    match node {
        Node::Dir(_) => replaced.must_be_empty_dir(),
        Node::File(_) | Node::Link(_) => replaced.must_not_be_dir(),
    }
}

fn kind(found: NodeKind) -> EntryKind {
    match found {
        NodeKind::File => EntryKind::File,
        NodeKind::Dir => EntryKind::Dir,
        NodeKind::Link | NodeKind::Other => EntryKind::Other,
    }
}

fn collect_files(dir: &DirNode, at: &Path, image: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for (name, node) in &dir.names.lock().entries.live {
        match node {
            Node::File(file) => {
                image.insert(at.join(name), file.contents.lock().bytes.live.clone());
            }
            Node::Dir(dir) => collect_files(dir, &at.join(name), image),
            Node::Link(_) => {}
        }
    }
}

/// Notes that one name fewer leads to a node, and to each below it.
fn drop_names(state: &mut State, moment: Moment, node: &Node) {
    node.each(&mut |node| {
        let drop_name = |facts: &mut Facts| {
            facts.links -= 1;
            facts.name_changed(moment);
        };
        if let Node::File(file) = node {
            let mut contents = file.contents.lock();
            drop_name(&mut contents.facts);
            contents.give_back(state);
        } else {
            node.with_facts(drop_name);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::state::Timestamp;
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
    fn every_change_is_seen_in_the_time_of_the_last_one_while_the_clock_stands() {
        let clock = ManualClock::starting_at(Timestamp::from_unix_ms(1000));
        for tracked in [true, false] {
            let disk = MemoryDisk::with_clock(tracked, clock.clone());
            let tree = disk.tree(at("/")).unwrap();
            let file = tree.create(at("f")).unwrap();
            let mut last = file.stat().unwrap().changed;
            let changes: [(&str, &dyn Fn() -> io::Result<()>); 8] = [
                ("write", &|| file.write_all_at(b"x", 0)),
                ("the same again", &|| file.write_all_at(b"x", 0)),
                ("set_len", &|| file.set_len(4)),
                ("set_mode", &|| tree.set_mode(at("f"), 0o600)),
                ("set_modified", &|| tree.set_modified(at("f"), FileTime::default())),
                ("hard_link", &|| tree.hard_link(at("f"), at("g"))),
                ("remove_file", &|| tree.remove_file(at("f"))),
                ("rename", &|| tree.rename(at("g"), at("h"))),
            ];
            for (what, change) in changes {
                change().unwrap();
                let changed = file.stat().unwrap().changed;
                assert!(changed > last && changed.secs == 1, "{what}");
                last = changed;
            }
            let root = || tree.stat(at("")).unwrap().changed;
            let before = root();
            tree.create_link("h".as_ref(), at("l")).unwrap();
            assert!(root() > before);
        }
    }

    #[test]
    fn what_is_put_is_seen_and_damage_is_not() {
        let disk = MemoryDisk::new();
        disk.put(at("/d/f"), b"abc");
        let tree = disk.tree(at("/d")).unwrap();
        let before = tree.stat(at("f")).unwrap();
        assert!(disk.damage(at("/d/f"), |bytes| bytes[1] ^= 1));
        assert_eq!(tree.stat(at("f")).unwrap(), before);
        disk.put(at("/d/f"), b"abc");
        assert!(tree.stat(at("f")).unwrap().changed > before.changed);
        disk.put(at("/d/g"), b"");
        let after = disk.crash(super::super::Loss::All).tree(at("/d")).unwrap();
        assert_eq!(after.stat(at("f")).unwrap(), tree.stat(at("f")).unwrap());
        assert_eq!(after.stat(at("")).unwrap(), tree.stat(at("")).unwrap());
    }

    #[test]
    fn mapped_files_are_those_it_was_told() {
        let disk = MemoryDisk::new();
        assert!(disk.mapped_files().unwrap().is_empty());
        disk.set_mapped_files([3, 5].into());
        assert_eq!(disk.mapped_files().unwrap(), [5, 3].into());
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
