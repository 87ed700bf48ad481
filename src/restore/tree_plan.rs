//! The plan for a workspace: what turns the tree that is there into the one that is wanted.
//!
//! A plan is a function of two kept trees, of what may be touched, and of nothing else: it knows no
//! disk. It is made once before anything is touched, and again after a crash, from the checkpoint
//! that is restored and the recovery checkpoint; [`TreePlan::digest`] proves that it is the same one.
//! So a step is known by its number for as long as the restore lasts.
//!
//! Steps come in an order in which each can be made where it stands: what goes, children before
//! their directory; what comes, directories before their children; further names of files that have
//! one already; attributes of files. The attributes of directories follow by themselves, from the
//! deepest up, because every change of a name in a directory moves its time.
//!
//! Subtrees that are equal on both sides are not compared. Where a directory that should go holds
//! something that may not be touched, it stays.

mod links;
mod rules;
mod walk;

use std::path::{Path, PathBuf};

pub use rules::{Reason, Untouched};
pub(crate) use rules::{Rules, STAGING_PREFIX, Scope};
pub(crate) use walk::{Side, plan_tree};

use super::Files;
use crate::disk::FileTime;
use crate::encode::directory::{self, DirNode, FileNode, LinkNode, Node, TreeEntry};
use crate::state::Digest;

/// What turns one tree into another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TreePlan {
    /// In the order in which they are made; a step's number is its place here.
    pub steps: Vec<Step>,
    /// The directories whose attributes are set when all steps are made, children before parents.
    pub dirs: Vec<DirStep>,
    /// The names of each file that has several now and loses one by a step.
    pub now_links: Vec<Vec<PathBuf>>,
    /// What becomes of files, by path beneath the root: for people.
    pub files: Files,
    /// What would change and may not be touched.
    pub untouched: Vec<Untouched>,
}

/// One thing to do at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    /// Beneath the root.
    pub path: PathBuf,
    pub action: Action,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// A file or link goes, comes, or gives way to another. A directory on either side is the
    /// business of another step at the same place.
    Swap {
        now: Option<Node>,
        wanted: Option<Node>,
        /// The file that is wanted is the one at this place, under a further name.
        same_as: Option<PathBuf>,
    },
    /// A file or link gets other attributes where it stands.
    Adjust { now: Node, wanted: Node },
    /// A directory goes, if it is empty by then.
    RemoveDir,
    /// A directory is made.
    MakeDir,
}

/// The attributes of a directory, before and after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DirStep {
    /// Beneath the root; empty for the root itself.
    pub path: PathBuf,
    /// None where the directory is not there now.
    pub now: Option<Attributes>,
    /// None where it goes.
    pub wanted: Option<Attributes>,
}

/// What is kept of a directory besides its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub mode: u32,
    pub modified: FileTime,
}

impl From<&DirNode> for Attributes {
    fn from(dir: &DirNode) -> Self {
        Self { mode: dir.mode, modified: dir.modified }
    }
}

impl TreePlan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.dirs.is_empty()
    }

    /// The directories that are made.
    pub fn made_dirs(&self) -> Vec<PathBuf> {
        self.places(&Action::MakeDir)
    }

    /// The directories that go.
    pub fn gone_dirs(&self) -> Vec<PathBuf> {
        self.places(&Action::RemoveDir)
    }

    fn places(&self, action: &Action) -> Vec<PathBuf> {
        let steps = self.steps.iter().filter(|step| step.action == *action);
        steps.map(|step| step.path.clone()).collect()
    }

    /// The files and links that are written, and their bytes.
    pub fn brings(&self) -> (u64, u64) {
        let nodes = self.steps.iter().filter_map(|step| match &step.action {
            Action::Swap { wanted: Some(node), same_as: None, .. } => Some(node),
            _ => None,
        });
        nodes.fold((0, 0), |(files, bytes), node| match node {
            Node::File(file) => (files + 1, bytes + file.len),
            Node::Link(_) => (files + 1, bytes),
            Node::Dir(_) => (files, bytes),
        })
    }

    /// What the plan does, in a name: equal for equal steps.
    pub fn digest(&self) -> Digest {
        let mut told = Vec::new();
        for Step { path, action } in &self.steps {
            match action {
                Action::Swap { now, wanted, same_as } => {
                    told.push(entry("swap", path, None));
                    told.extend(now.iter().map(|node| entry("now", path, Some(node))));
                    told.extend(wanted.iter().map(|node| entry("wanted", path, Some(node))));
                    told.extend(same_as.iter().map(|other| entry("same as", other, None)));
                }
                Action::Adjust { now, wanted } => {
                    told.push(entry("adjust", path, Some(now)));
                    told.push(entry("wanted", path, Some(wanted)));
                }
                Action::RemoveDir => told.push(entry("remove dir", path, None)),
                Action::MakeDir => told.push(entry("make dir", path, None)),
            }
        }
        for DirStep { path, now, wanted } in &self.dirs {
            told.push(entry("dir now", path, now.map(plain_dir).as_ref()));
            told.push(entry("dir wanted", path, wanted.map(plain_dir).as_ref()));
        }
        for names in &self.now_links {
            told.extend(names.iter().map(|path| entry("name", path, None)));
            told.push(entry("links", Path::new(""), None));
        }
        directory::encode(&told).root.0
    }
}

/// A line of what the digest is over: the form that entries of directories have, so that every field
/// of a node counts, with a word and a path for the name.
fn entry(word: &str, path: &Path, node: Option<&Node>) -> TreeEntry {
    let mut name = std::ffi::OsString::from(word);
    name.push("\0");
    name.push(path);
    let nothing = || Node::Link(LinkNode { target: "".into(), modified: FileTime::default() });
    TreeEntry { name, node: node.cloned().unwrap_or_else(nothing) }
}

fn plain_dir(attributes: Attributes) -> Node {
    let root = (Digest::default(), directory::PAGE_LEVEL);
    Node::Dir(DirNode { root, mode: attributes.mode, modified: attributes.modified })
}

/// Whether two nodes are the same to whoever looks at the tree: which files are links of each other,
/// and where a file has holes, is told apart elsewhere.
fn same(a: &Node, b: &Node) -> bool {
    match (a, b) {
        (Node::File(a), Node::File(b)) => same_file(a, b),
        _ => a == b,
    }
}

fn same_file(a: &FileNode, b: &FileNode) -> bool {
    let plain = |file: &FileNode| FileNode { has_holes: false, group: None, ..*file };
    plain(a) == plain(b)
}

/// Whether two nodes differ in their attributes at most.
pub(super) fn same_content(a: &Node, b: &Node) -> bool {
    match (a, b) {
        (Node::File(a), Node::File(b)) => a.len == b.len && a.content == b.content,
        (Node::Link(a), Node::Link(b)) => a.target == b.target,
        _ => false,
    }
}
