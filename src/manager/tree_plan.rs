//! What a restore would do to a workspace: the two trees, and what may not be touched.
//!
//! The plan is made twice where a crash comes between: once from the workspace as it was just
//! scanned, and again from the recovery checkpoint that holds that scan. Both must come to the same
//! steps, so everything that decides is in the two checkpoints: their trees, the `.statewardignore`
//! in them, and their lists of what was left out.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::ops::Bound;
use std::path::{Path, PathBuf};

use super::error::Error;
use super::files::Reader;
use super::left_out::LeftOut;
use crate::collect::{Rules, Workspace};
use crate::encode::directory::{DirNode, Node, TreeEntry};
use crate::encode::parts;
use crate::restore::{self, Scope, Sessions, Side, TreePlan};

/// The name of the files with patterns.
const IGNORE_FILE: &str = ".statewardignore";

/// A kept workspace, and where it is read.
pub(super) struct Kept<'a> {
    pub part: &'a parts::Workspace,
    pub reader: &'a Reader,
}

/// The workspace as it is now.
pub(super) enum Now<'a> {
    /// As it was just scanned.
    Scanned { workspace: &'a Workspace, left_out: &'a LeftOut },
    /// As the recovery checkpoint holds it.
    Kept(Kept<'a>),
    /// There is none.
    Nothing,
}

/// What is asked of a plan.
pub(super) struct Asked<'a> {
    pub scope: &'a Scope,
    pub sessions: &'a Sessions,
    pub force: bool,
    /// Paths that are left as they are.
    pub left: &'a [PathBuf],
}

impl Kept<'_> {
    /// The list of what the checkpoint left out.
    pub(super) fn left_out(&self) -> Result<LeftOut, Error> {
        let Some(list) = self.part.left_out else { return Ok(LeftOut::default()) };
        let bytes = self.reader.content(list.root, list.len)?;
        LeftOut::decode(&bytes).map_err(|source| Error::Json { doing: "read", source })
    }

    /// The patterns in the directories that are not the same in another tree.
    fn ignore_files(&self, other: Option<&Now<'_>>) -> Result<BTreeMap<PathBuf, Vec<u8>>, Error> {
        let mut files = BTreeMap::new();
        let mut waiting = vec![(PathBuf::new(), self.part.root, other.and_then(Now::root))];
        while let Some((path, dir, there)) = waiting.pop() {
            if there.is_some_and(|there| there.root == dir.root) {
                continue;
            }
            let mut others = dirs_of(other, &path, there)?;
            for TreeEntry { name, node } in self.reader.directory(dir.root)? {
                match node {
                    Node::File(file) if name == IGNORE_FILE => {
                        files.insert(path.clone(), self.reader.bytes(&file)?);
                    }
                    Node::Dir(dir) => {
                        let there = others.remove(&name);
                        waiting.push((path.join(name), dir, there));
                    }
                    Node::File(_) | Node::Link(_) => {}
                }
            }
        }
        Ok(files)
    }
}

fn dirs_of(
    side: Option<&Now<'_>>,
    path: &Path,
    dir: Option<DirNode>,
) -> Result<BTreeMap<OsString, DirNode>, Error> {
    let (Some(side), Some(dir)) = (side, dir) else { return Ok(BTreeMap::new()) };
    let is_dir = |entry: TreeEntry| match entry.node {
        Node::Dir(dir) => Some((entry.name, dir)),
        Node::File(_) | Node::Link(_) => None,
    };
    Ok(side.list(path, &dir)?.into_iter().filter_map(is_dir).collect())
}

impl Now<'_> {
    pub(super) fn root(&self) -> Option<DirNode> {
        match self {
            Self::Scanned { workspace, .. } => workspace.root(),
            Self::Kept(kept) => Some(kept.part.root),
            Self::Nothing => None,
        }
    }

    pub(super) fn list(&self, path: &Path, dir: &DirNode) -> Result<Vec<TreeEntry>, Error> {
        match self {
            Self::Scanned { workspace, .. } => {
                let entries = workspace.list(path).unwrap_or_default();
                Ok(entries.into_iter().map(|(entry, _)| entry).collect())
            }
            Self::Kept(kept) => kept.reader.directory(dir.root),
            Self::Nothing => Ok(Vec::new()),
        }
    }

    /// Whether someone else changed what stands at a path. After a crash that is settled already.
    fn is_foreign(&self, sessions: &Sessions, path: &Path) -> bool {
        match self {
            Self::Scanned { workspace, .. } => {
                workspace.stat(path).is_some_and(|stat| sessions.is_foreign(stat.changed))
            }
            Self::Kept(_) | Self::Nothing => false,
        }
    }

    pub(super) fn left_out(&self) -> Result<LeftOut, Error> {
        match self {
            Self::Scanned { left_out, .. } => Ok((*left_out).clone()),
            Self::Kept(kept) => kept.left_out(),
            Self::Nothing => Ok(LeftOut::default()),
        }
    }

    fn rules(&self) -> Result<Rules, Error> {
        match self {
            Self::Scanned { workspace, .. } => Ok(workspace.rules().clone()),
            Self::Kept(kept) => {
                Ok(Rules::of_files(kept.ignore_files(None)?, !kept.part.keeps_defaults))
            }
            Self::Nothing => Ok(Rules::default()),
        }
    }
}

/// Plans what makes a workspace as a checkpoint holds it.
pub(super) fn plan(wanted: &Kept<'_>, now: &Now<'_>, asked: &Asked<'_>) -> Result<TreePlan, Error> {
    let untouchable = Untouchable::of(wanted, now, asked.left)?;
    let wanted_side = Side {
        root: Some(wanted.part.root),
        list: &|_: &Path, dir: &DirNode| wanted.reader.directory(dir.root),
    };
    let now_side =
        Side { root: now.root(), list: &|path: &Path, dir: &DirNode| now.list(path, dir) };
    restore::plan_tree(
        &now_side,
        &wanted_side,
        &restore::Rules {
            scope: asked.scope,
            keep: &|path, is_dir| untouchable.covers(path, is_dir),
            holds: &|dir| untouchable.lies_in(dir),
            foreign: &|path| now.is_foreign(asked.sessions, path),
            force: asked.force,
        },
    )
}

/// What is never touched: what either side's rules ignore, what either left out, and what changed
/// while the recovery checkpoint was taken.
struct Untouchable {
    rules: [Rules; 2],
    paths: BTreeSet<PathBuf>,
    /// Of those, what stands in the workspace now and no listing shows.
    unlisted: BTreeSet<PathBuf>,
}

impl Untouchable {
    fn of(wanted: &Kept<'_>, now: &Now<'_>, left: &[PathBuf]) -> Result<Self, Error> {
        let then = Rules::of_files(wanted.ignore_files(Some(now))?, !wanted.part.keeps_defaults);
        let left_out = now.left_out()?;
        let skipped = |list: &LeftOut| -> Vec<PathBuf> {
            list.skipped.iter().map(|one| one.path.clone()).collect()
        };
        let unlisted: BTreeSet<PathBuf> = skipped(&left_out).into_iter().collect();
        let mut paths = unlisted.clone();
        paths.extend(skipped(&wanted.left_out()?));
        paths.extend(left_out.unsettled);
        paths.extend(left.iter().cloned());
        Ok(Self { rules: [then, now.rules()?], paths, unlisted })
    }

    fn covers(&self, path: &Path, is_dir: bool) -> bool {
        path.ancestors().any(|above| self.paths.contains(above))
            || self.rules.iter().any(|rules| rules.ignores(path, is_dir))
    }

    fn lies_in(&self, dir: &Path) -> bool {
        let from = (Bound::Excluded(dir), Bound::Unbounded);
        self.unlisted.range::<Path, _>(from).next().is_some_and(|path| path.starts_with(dir))
    }
}
