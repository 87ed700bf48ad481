//! Workspaces on the real disk and in memory, scanned into a depot that checks what it is given.

#![expect(clippy::disallowed_methods, reason = "tests change workspaces past the seam they test")]
#![expect(clippy::cast_possible_truncation, reason = "small numbers of the tests' own")]
#![expect(clippy::needless_pass_by_value, reason = "disks are made where they are handed over")]
#![expect(clippy::type_complexity, reason = "lists of changes, each with its name")]

mod caching;
mod databases;
mod entries;
mod ignoring;
mod model;
mod moving;
mod watching;

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::*;
use crate::clock::{Clock, ManualClock, SystemClock};
use rustix::io::Errno;

use crate::disk::{Disk, Fault, FaultDisk, Op, RealDisk};
use crate::encode::directory::{self, Node, PAGE_LEVEL, Root};
use crate::encode::{self, Block, ChildRef};
use crate::state::Digest;

/// What a path is, as far as it is kept: the same from a depot and from a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Kept {
    File { bytes: Vec<u8>, mode: u32, modified: (i64, u32) },
    Dir { mode: u32, modified: (i64, u32) },
    Link { target: PathBuf, modified: (i64, u32) },
}

type Tree = BTreeMap<PathBuf, Kept>;

/// Keeps blocks, and refuses what is not named by its digest or names what was not there before.
#[derive(Default)]
struct Depot {
    blocks: Mutex<HashMap<Root, Vec<u8>>>,
    put: Mutex<usize>,
}

impl Depot {
    fn put(&self, blocks: Vec<Block>) {
        let mut held = self.blocks.lock();
        for block in blocks {
            assert_eq!(Digest::of(&block.data), block.digest);
            for named in directory::references(block.level, &block.data).unwrap() {
                assert!(held.contains_key(&named), "a parent before its child");
            }
            *self.put.lock() += 1;
            held.insert((block.digest, block.level), block.data.to_vec());
        }
    }

    fn chunks_of(&self, root: Root) -> Vec<ChildRef> {
        let held = self.blocks.lock();
        let mut refs = vec![ChildRef { digest: root.0, len: 0 }];
        for level in (1..=root.1).rev() {
            let children =
                refs.iter().map(|one| encode::children(level, &held[&(one.digest, level)]));
            refs = children.collect::<Result<Vec<_>, _>>().unwrap().concat();
        }
        refs
    }

    /// How many blocks were put since this was asked last.
    fn take_count(&self) -> usize {
        std::mem::take(&mut *self.put.lock())
    }

    /// Scans and confirms.
    fn scan(&self, workspace: &mut Workspace, depth: Depth) -> Scanned {
        let scanned = self.scan_while(workspace, depth, &|| {}).unwrap();
        workspace.confirm();
        scanned
    }

    /// Scans with something going on each time blocks are handed over.
    fn scan_while(
        &self,
        workspace: &mut Workspace,
        depth: Depth,
        meanwhile: &(dyn Fn() + Sync),
    ) -> Result<Scanned, Error> {
        let put = |blocks| {
            meanwhile();
            self.put(blocks);
            Ok(())
        };
        let sink = Sink { put: &put, chunks_of: &|root| self.chunks_of(root), progress: &|_| {} };
        workspace.scan(depth, &sink)
    }

    fn bytes(&self, root: Option<Root>) -> Vec<u8> {
        let held = self.blocks.lock();
        let Some((digest, level)) = root else { return Vec::new() };
        let fetch = |digest: &Digest, level: u8| Ok::<_, String>(held[&(*digest, level)].clone());
        let mut bytes = Vec::new();
        let mut waiting = vec![(digest, level)];
        while let Some((digest, level)) = waiting.pop() {
            let block = fetch(&digest, level).unwrap();
            if level == 0 {
                bytes.extend_from_slice(&block);
            } else {
                waiting.extend(directory::references(level, &block).unwrap().into_iter().rev());
            }
        }
        bytes
    }

    fn entries(&self, root: Root) -> Vec<directory::TreeEntry> {
        let block = self.blocks.lock()[&root].clone();
        if root.1 == PAGE_LEVEL {
            return directory::decode(&block).unwrap();
        }
        let below = directory::references(root.1, &block).unwrap();
        below.into_iter().flat_map(|root| self.entries(root)).collect()
    }

    /// Everything that a tree holds, but for the root itself.
    fn tree(&self, root: Root) -> Tree {
        let mut tree = Tree::new();
        let mut waiting = vec![(PathBuf::new(), root)];
        while let Some((path, root)) = waiting.pop() {
            for entry in self.entries(root) {
                let path = path.join(&entry.name);
                let time = |time: crate::disk::FileTime| (time.secs, time.nanos);
                let kept = match entry.node {
                    Node::File(file) => {
                        let bytes = self.bytes(file.content);
                        assert_eq!(bytes.len() as u64, file.len);
                        Kept::File { bytes, mode: file.mode, modified: time(file.modified) }
                    }
                    Node::Dir(dir) => {
                        waiting.push((path.clone(), dir.root));
                        Kept::Dir { mode: dir.mode, modified: time(dir.modified) }
                    }
                    Node::Link(link) => {
                        Kept::Link { target: link.target.into(), modified: time(link.modified) }
                    }
                };
                tree.insert(path, kept);
            }
        }
        tree
    }

    /// The file nodes of a tree.
    fn files(&self, root: Root) -> BTreeMap<PathBuf, directory::FileNode> {
        let mut files = BTreeMap::new();
        let mut waiting = vec![(PathBuf::new(), root)];
        while let Some((path, root)) = waiting.pop() {
            for entry in self.entries(root) {
                let path = path.join(&entry.name);
                match entry.node {
                    Node::File(file) => drop(files.insert(path, file)),
                    Node::Dir(dir) => waiting.push((path, dir.root)),
                    Node::Link(_) => {}
                }
            }
        }
        files
    }
}

/// Fails with the first path that differs.
fn check_same(found: &Tree, expected: &Tree) {
    let paths = found.keys().chain(expected.keys());
    for path in paths {
        let (found, expected) = (found.get(path), expected.get(path));
        assert!(found == expected, "{}: {found:?}, not {expected:?}", path.display());
    }
}

/// Bytes that do not compress and are like no others.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// What stands below a directory, asked of the system.
fn live(root: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let found = fs::symlink_metadata(&path).unwrap();
            let modified = (found.mtime(), u32::try_from(found.mtime_nsec()).unwrap());
            let mode = found.permissions().mode() & 0o7777;
            let kept = if found.is_dir() {
                waiting.push(path.clone());
                Kept::Dir { mode, modified }
            } else if found.is_symlink() {
                Kept::Link { target: fs::read_link(&path).unwrap(), modified }
            } else {
                Kept::File { bytes: fs::read(&path).unwrap(), mode, modified }
            };
            tree.insert(path.strip_prefix(root).unwrap().to_owned(), kept);
        }
    }
    tree
}

/// Writes a file, with the directories on the way.
fn write(root: &Path, path: &str, bytes: impl AsRef<[u8]>) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// A clock by which everything that is written now is clearly old.
fn later() -> Arc<dyn Clock> {
    let now = SystemClock::shared().now();
    ManualClock::starting_at(now.plus(std::time::Duration::from_secs(3600)))
}

/// A workspace in a directory of its own, and where its content goes.
struct Bench {
    home: tempfile::TempDir,
    depot: Depot,
    workspace: Workspace,
}

impl Bench {
    fn new() -> Self {
        Self::with(Options::default())
    }

    fn with(options: Options) -> Self {
        Self::on(RealDisk::shared(), SystemClock::shared(), options)
    }

    fn on(disk: Arc<dyn Disk>, clock: Arc<dyn Clock>, options: Options) -> Self {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("w");
        fs::create_dir(&root).unwrap();
        let stores = vec![home.path().join("store")];
        let place = Place { root, stores, force: false };
        let workspace = Workspace::open(&disk, clock, place, options).unwrap();
        Self { home, depot: Depot::default(), workspace }
    }

    fn root(&self) -> PathBuf {
        self.home.path().join("w")
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    fn write(&self, path: &str, bytes: impl AsRef<[u8]>) {
        write(&self.root(), path, bytes);
    }

    fn scan(&mut self) -> Scanned {
        self.depot.scan(&mut self.workspace, Depth::Thorough)
    }

    /// Scans, and checks that what is kept is what is there.
    fn scan_whole(&mut self) -> Scanned {
        let scanned = self.scan();
        check_same(&self.depot.tree(scanned.root.root), &live(&self.root()));
        assert_eq!(scanned.unsettled, [] as [PathBuf; 0]);
        scanned
    }

    fn kept(&self) -> Vec<String> {
        let tree = self.depot.tree(self.workspace.root().unwrap().root);
        tree.keys().map(|path| path.to_string_lossy().into_owned()).collect()
    }

    fn skipped(&self) -> Vec<String> {
        self.workspace.skipped().iter().map(ToString::to_string).collect()
    }

    /// The same, where some paths are left out.
    fn scan_whole_but(&mut self, left_out: &[&str]) -> Scanned {
        let scanned = self.scan();
        let mut expected = live(&self.root());
        expected.retain(|path, _| !left_out.iter().any(|out| path == Path::new(out)));
        check_same(&self.depot.tree(scanned.root.root), &expected);
        scanned
    }

    fn place(&self) -> Place {
        let stores = vec![self.home.path().join("store")];
        Place { root: self.root(), stores, force: false }
    }
}
