//! Trees as plain values: made on a disk, read from one, kept as a checkpoint keeps them.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use crate::disk::{DiskTree, FileTime, NodeKind, Stat};
use crate::encode::directory::{self, DirNode, FileNode, LinkNode, Node, Root, TreeEntry};
use crate::encode::encode_file;
use crate::restore::Content;

/// A tree by paths; the root is there under the empty one.
pub(super) type Forest = BTreeMap<PathBuf, Item>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item {
    File {
        bytes: Vec<u8>,
        mode: u32,
        time: i64,
        /// Files of one group are links of each other.
        group: Option<u64>,
    },
    Dir {
        mode: u32,
        time: i64,
    },
    Link {
        target: OsString,
        time: i64,
    },
}

pub(super) fn file(bytes: &str) -> Item {
    Item::File { bytes: bytes.into(), mode: 0o644, time: 1, group: None }
}

pub(super) fn linked(bytes: &str, group: u64) -> Item {
    Item::File { bytes: bytes.into(), mode: 0o644, time: 1, group: Some(group) }
}

pub(super) fn dir() -> Item {
    Item::Dir { mode: 0o755, time: 1 }
}

pub(super) fn link(target: &str) -> Item {
    Item::Link { target: target.into(), time: 1 }
}

/// A tree of these items, with the directories that they need.
pub(super) fn forest<P: AsRef<Path>>(items: impl IntoIterator<Item = (P, Item)>) -> Forest {
    let mut forest = Forest::from([(PathBuf::new(), dir())]);
    for (path, item) in items {
        for above in path.as_ref().ancestors().skip(1) {
            forest.entry(above.to_owned()).or_insert_with(dir);
        }
        forest.insert(path.as_ref().to_owned(), item);
    }
    forest
}

/// Trees that differ in every way.
pub(super) fn all_ways() -> (Forest, Forest) {
    let holes = |byte: u8| Item::File {
        bytes: [vec![byte; 5000], vec![0; 9000]].concat(),
        mode: 0o600,
        time: 1,
        group: None,
    };
    let adjusted = Item::File { bytes: b"same".into(), mode: 0o755, time: 2, group: None };
    let now = forest([
        ("changed", file("old")),
        ("big", holes(1)),
        ("adjusted", file("same")),
        ("gone/deep/file", file("gone")),
        ("gone/link", link("deep")),
        ("becomes_dir", file("file")),
        ("becomes_file/in/it", file("it")),
        ("link", link("here")),
        ("one", linked("linked", 1)),
        ("two", linked("linked", 1)),
        ("three", file("linked")),
        ("stays/file", file("stays")),
        ("shut", Item::Dir { mode: 0o500, time: 2 }),
        ("shut/file", file("in")),
    ]);
    let wanted = forest([
        ("changed", file("new")),
        ("big", holes(2)),
        ("adjusted", adjusted),
        ("becomes_dir/now", file("new")),
        ("becomes_file", file("file")),
        ("link", link("there")),
        ("one", file("linked")),
        ("two", linked("linked", 5)),
        ("three", linked("linked", 5)),
        ("stays/file", file("stays")),
        ("made/shut", Item::Dir { mode: 0o555, time: 3 }),
        ("made/shut/file", file("new")),
        ("shut", Item::Dir { mode: 0o555, time: 2 }),
        ("shut/other", file("in")),
    ]);
    (now, wanted)
}

fn moment(time: i64) -> FileTime {
    FileTime { secs: time, nanos: 7 }
}

/// The same tree with groups numbered in order, and none for files with one name.
pub(super) fn normal(forest: &Forest) -> Forest {
    let mut groups: BTreeMap<u64, (usize, u64)> = BTreeMap::new();
    for item in forest.values() {
        if let Item::File { group: Some(group), .. } = item {
            let next = groups.len() as u64;
            groups.entry(*group).or_insert((0, next)).0 += 1;
        }
    }
    let mut forest = forest.clone();
    let mut numbers = HashMap::new();
    for item in forest.values_mut() {
        if let Item::File { group, .. } = item
            && let Some(old) = *group
        {
            let next = numbers.len() as u64;
            *group = (groups[&old].0 > 1).then(|| *numbers.entry(old).or_insert(next));
        }
    }
    forest
}

/// Makes a tree durably in an empty directory.
pub(super) fn build(tree: &dyn DiskTree, forest: &Forest) {
    let mut groups: HashMap<u64, &Path> = HashMap::new();
    for (path, item) in forest.iter().filter(|(path, _)| !path.as_os_str().is_empty()) {
        match item {
            Item::Dir { .. } => tree.create_dir(path).unwrap(),
            Item::Link { target, time } => {
                tree.create_link(target, path).unwrap();
                tree.set_modified(path, moment(*time)).unwrap();
            }
            Item::File { group: Some(group), .. } if groups.contains_key(group) => {
                tree.hard_link(groups[group], path).unwrap();
            }
            Item::File { bytes, mode, time, group } => {
                groups.extend(group.map(|group| (group, path.as_path())));
                tree.create(path).unwrap().write_all_at(bytes, 0).unwrap();
                tree.set_mode(path, *mode).unwrap();
                tree.set_modified(path, moment(*time)).unwrap();
            }
        }
    }
    for (path, item) in forest.iter().rev() {
        if let Item::Dir { mode, time } = item {
            tree.set_mode(path, *mode).unwrap();
            tree.set_modified(path, moment(*time)).unwrap();
        }
    }
    assert!(tree.sync_all().unwrap());
}

/// What the file system says of every path.
pub(super) fn scan(tree: &dyn DiskTree) -> BTreeMap<PathBuf, Stat> {
    let mut seen = BTreeMap::from([(PathBuf::new(), tree.stat(Path::new("")).unwrap())]);
    let mut waiting = vec![PathBuf::new()];
    while let Some(dir) = waiting.pop() {
        for (name, stat) in tree.read_dir(&dir).unwrap().entries {
            let path = dir.join(name);
            if stat.kind == NodeKind::Dir {
                waiting.push(path.clone());
            }
            seen.insert(path, stat);
        }
    }
    seen
}

/// Reads a tree as it stands.
pub(super) fn look(tree: &dyn DiskTree) -> Forest {
    let seen = scan(tree);
    let item = |path: &PathBuf, stat: &Stat| {
        let time = stat.modified.secs;
        assert!(stat.modified.nanos == 7 || time > 1_000_000, "{} {stat:?}", path.display());
        match stat.kind {
            NodeKind::Dir => Item::Dir { mode: stat.mode, time },
            NodeKind::Link => Item::Link { target: tree.read_link(path).unwrap(), time },
            NodeKind::File => {
                let bytes = read(tree, path);
                Item::File { bytes, mode: stat.mode, time, group: Some(stat.inode) }
            }
            NodeKind::Other => panic!("nothing else is made"),
        }
    };
    normal(&seen.iter().map(|(path, stat)| (path.clone(), item(path, stat))).collect())
}

pub(super) fn read(tree: &dyn DiskTree, path: &Path) -> Vec<u8> {
    let file = tree.open(path).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    let mut at = 0;
    while at < bytes.len() {
        at += file.read_at(&mut bytes[at..], at as u64).unwrap();
    }
    bytes
}

/// What checkpoints keep of trees.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    dirs: HashMap<Root, Vec<TreeEntry>>,
    files: HashMap<Root, Vec<u8>>,
}

impl Shelf {
    pub fn keep(&mut self, forest: &Forest) -> DirNode {
        self.keep_dir(forest, Path::new(""))
    }

    fn keep_dir(&mut self, forest: &Forest, path: &Path) -> DirNode {
        let Item::Dir { mode, time } = forest[path] else { panic!("{} is no dir", path.display()) };
        let is_in = |at: &&PathBuf| at.parent() == Some(path);
        let mut entries = Vec::new();
        for at in forest.keys().filter(is_in) {
            let name = at.file_name().unwrap().to_owned();
            entries.push(TreeEntry { name, node: self.keep_item(forest, at) });
        }
        let root = directory::encode(&entries).root;
        self.dirs.insert(root, entries);
        DirNode { root, mode, modified: moment(time) }
    }

    fn keep_item(&mut self, forest: &Forest, path: &Path) -> Node {
        match &forest[path] {
            Item::Dir { .. } => Node::Dir(self.keep_dir(forest, path)),
            Item::Link { target, time } => {
                Node::Link(LinkNode { target: target.clone(), modified: moment(*time) })
            }
            Item::File { bytes, mode, time, group } => {
                let (len, content) = root_of(bytes);
                self.files.extend(content.map(|root| (root, bytes.clone())));
                Node::File(FileNode {
                    len,
                    content,
                    mode: *mode,
                    modified: moment(*time),
                    has_holes: bytes.len() > 4096,
                    group: *group,
                })
            }
        }
    }

    pub fn list(&self, dir: &DirNode) -> Vec<TreeEntry> {
        self.dirs[&dir.root].clone()
    }

    pub fn content(&self) -> Box<Content<'_>> {
        Box::new(|node, take| {
            for piece in self.files[&node.content.expect("asked for what has bytes")].chunks(3000) {
                take(piece)?;
            }
            Ok(())
        })
    }
}

fn root_of(bytes: &[u8]) -> (u64, Option<Root>) {
    let mut rest = bytes;
    let mut read = |buffer: &mut [u8]| {
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        rest = &rest[len..];
        Ok::<_, io::Error>(len)
    };
    encode_file(&mut read, &[], &mut |_| Ok(())).unwrap()
}
