//! Two trees, a name at a time.
//!
//! Names come in their order, a directory before what is in it. The names that wait are a list, not
//! the call stack: a tree may be as deep as its paths are long.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::super::error::Error;
use super::super::tree_plan::Now;
use crate::encode::directory::{DirNode, FileNode, Node, TreeEntry};
use crate::state::Skipped;

/// What a name stands for on each side.
pub(super) struct Pair {
    pub path: PathBuf,
    pub before: Option<Node>,
    pub after: Option<Node>,
}

impl Pair {
    /// The files to be told line by line, where there is a file on one side and another one, or
    /// nothing, on the other.
    pub(super) fn contents(&self) -> Option<(Option<&FileNode>, Option<&FileNode>)> {
        match (&self.before, &self.after) {
            (Some(Node::File(a)), Some(Node::File(b))) => {
                ((a.len, a.content) != (b.len, b.content)).then_some((Some(a), Some(b)))
            }
            (Some(Node::File(a)), None) => Some((Some(a), None)),
            (None, Some(Node::File(b))) => Some((None, Some(b))),
            _ => None,
        }
    }
}

fn dir(node: Option<&Node>) -> Option<&DirNode> {
    match node {
        Some(Node::Dir(dir)) => Some(dir),
        _ => None,
    }
}

/// One of the two trees, with what it left out.
struct Side<'a> {
    tree: &'a Now<'a>,
    left_out: BTreeMap<PathBuf, Skipped>,
}

impl<'a> Side<'a> {
    fn of(tree: &'a Now<'a>) -> Result<Self, Error> {
        let skipped = tree.left_out()?.skipped.into_iter();
        let left_out = skipped.map(|one| (one.path.clone(), one)).collect();
        Ok(Self { tree, left_out })
    }

    fn list(&self, path: &Path, dir: Option<&DirNode>) -> Result<Vec<TreeEntry>, Error> {
        dir.map_or(Ok(Vec::new()), |dir| self.tree.list(path, dir))
    }

    /// Why nothing of a name is kept although something may stand there.
    fn left_out(&self, path: &Path, node: Option<&Node>) -> Option<Skipped> {
        if node.is_some() {
            return None;
        }
        let listed = self.left_out.get(path).map(|one| Skipped { others: 0, ..one.clone() });
        // What a file with patterns ignores is listed up to a number only; a scan knows all of it.
        listed.or_else(|| match self.tree {
            Now::Scanned { workspace, .. } => {
                let why = workspace.left_out(path)?;
                Some(Skipped { path: path.to_owned(), why, bytes: None, others: 0 })
            }
            Now::Kept(_) | Now::Nothing => None,
        })
    }
}

/// Tells every pair that may differ; answers what is not compared because one side left it out.
pub(super) fn compare(
    a: &Now<'_>,
    b: &Now<'_>,
    found: &mut dyn FnMut(Pair),
) -> Result<Vec<Skipped>, Error> {
    let sides = [Side::of(a)?, Side::of(b)?];
    let mut not_compared = Vec::new();
    let (before, after) = (a.root().map(Node::Dir), b.root().map(Node::Dir));
    let root = Pair { path: PathBuf::new(), before, after };
    let mut waiting = beneath(&sides, &root)?;
    if root.before.is_some() && root.after.is_some() {
        found(Pair { path: ".".into(), ..root });
    }
    while let Some(pair) = waiting.pop() {
        let left_out = sides[0].left_out(&pair.path, pair.before.as_ref());
        let left_out = left_out.or_else(|| sides[1].left_out(&pair.path, pair.after.as_ref()));
        if let Some(left_out) = left_out {
            not_compared.push(left_out);
            continue;
        }
        waiting.extend(beneath(&sides, &pair)?);
        found(pair);
    }
    Ok(not_compared)
}

/// The names in the directories of a pair that may differ, the last one first.
fn beneath(sides: &[Side<'_>; 2], pair: &Pair) -> Result<Vec<Pair>, Error> {
    let (before, after) = (dir(pair.before.as_ref()), dir(pair.after.as_ref()));
    if before.map(|dir| dir.root) == after.map(|dir| dir.root) {
        return Ok(Vec::new());
    }
    let mut names: BTreeMap<OsString, (Option<Node>, Option<Node>)> = BTreeMap::new();
    for TreeEntry { name, node } in sides[0].list(&pair.path, before)? {
        names.entry(name).or_default().0 = Some(node);
    }
    for TreeEntry { name, node } in sides[1].list(&pair.path, after)? {
        names.entry(name).or_default().1 = Some(node);
    }
    let pairs = names.into_iter().rev().map(|(name, (before, after))| Pair {
        path: pair.path.join(name),
        before,
        after,
    });
    Ok(pairs.filter(|pair| pair.before != pair.after).collect())
}
