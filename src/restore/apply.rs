//! Carrying a plan out where the workspace is, and taking it back.
//!
//! Every step moves what stands in its place into the staging directory and what is wanted out of it,
//! both by renames that replace nothing. What was moved is looked at after it was moved, when nobody
//! can swap it any more: if it is not what was expected it is somebody's newer work, goes back to its
//! place, and the place is left alone. So a change that comes in between is never lost, whenever it
//! comes.
//!
//! There is one mover for all ways through a restore. The first time it goes by what the scan saw of
//! each place; after an error or a crash it looks at the contents of what it finds. A place that holds
//! neither what was there nor what is wanted is somebody else's and stays. Every step can be made
//! again from any state that a kill or a loss of power may leave, forward and back; what was lost from
//! the staging directory comes from the store again.
//!
//! The caller says in its log that the restore begins, after [`Restore::stage`] and before
//! [`Restore::apply`], and that it is finished or was taken back before [`Restore::clear`].

mod dirs;
mod look;
mod mover;
mod place;
mod relink;

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use self::mover::{Mover, Sight};
use super::Error;
use super::staging::{Staging, is_gone};
use super::tree_plan::{Action, Step, TreePlan};
use super::write::{Content, Writing};
use crate::disk::{DiskTree, NodeKind, Stat};
use crate::encode::directory::Node;
use crate::state::CheckpointId;

/// A restore of a workspace in place.
pub(crate) struct Restore<'a> {
    pub(super) tree: &'a dyn DiskTree,
    pub(super) plan: &'a TreePlan,
    pub(super) id: CheckpointId,
    pub(super) staging: Staging,
    pub(super) content: &'a Content<'a>,
}

/// Which end of a plan is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// What is wanted.
    Forward,
    /// What was there.
    Back,
}

impl Way {
    /// Of what was there and what is wanted, that at the end of this way.
    pub fn end<T>(self, now: T, wanted: T) -> T {
        match self {
            Self::Forward => wanted,
            Self::Back => now,
        }
    }

    pub(super) fn other(self) -> Self {
        self.end(Self::Forward, Self::Back)
    }
}

/// What the scan saw at a place.
pub(crate) type Seen<'a> = dyn Fn(&Path) -> Option<Stat> + 'a;

/// How a restore ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Everything is as wanted, but for what the report names; it is durable.
    Done(Report),
    /// Nothing was touched: these places changed since the scan.
    Changed(Vec<PathBuf>),
    /// An error came up on the way, and everything is as it was before, but for what the report names.
    RolledBack { why: Error, report: Report },
}

/// What was not simply done.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Left alone, with all beneath, because somebody changed them since.
    pub left: Vec<PathBuf>,
    /// Directories that should go and hold something else.
    pub stayed: Vec<PathBuf>,
    /// Where somebody's newer work lies now that could not go back to its place.
    pub kept: Vec<PathBuf>,
    /// What each file was right after it was moved into its slot.
    pub(super) moved: HashMap<PathBuf, Stat>,
}

impl Report {
    /// Whether everything was done as planned.
    pub fn is_empty(&self) -> bool {
        self.left.is_empty() && self.stayed.is_empty() && self.kept.is_empty()
    }
}

impl<'a> Restore<'a> {
    /// A restore by `plan` of the tree that is there; `id` is its recovery checkpoint's. `content`
    /// has the bytes of the files on both sides.
    pub fn new(
        tree: &'a dyn DiskTree,
        plan: &'a TreePlan,
        id: CheckpointId,
        content: &'a Content<'a>,
    ) -> Self {
        Self { tree, plan, id, staging: Staging::of(id), content }
    }

    pub(super) fn writing(&self) -> Writing<'a> {
        Writing { tree: self.tree, content: self.content }
    }

    /// The places that are not as the scan saw them.
    ///
    /// # Errors
    /// As the disk gives them; a place that is not there is no error.
    pub fn check(&self, seen: &Seen<'_>) -> Result<Vec<PathBuf>, Error> {
        let into_dirs: HashSet<&Path> = self.steps_at(|step| {
            matches!(&step.action, Action::Swap { wanted: Some(Node::Dir(_)), .. })
        });
        // Where a file becomes a directory, nothing can stand beneath.
        let is_within = |path: &Path| {
            !into_dirs.is_empty() && path.ancestors().any(|above| into_dirs.contains(above))
        };
        let mut changed = Vec::new();
        for Step { path, action } in &self.plan.steps {
            let as_seen = match action {
                Action::Swap { now: Some(Node::Dir(_)), .. } => true,
                Action::Swap { now: None, .. } | Action::MakeDir if is_within(path) => true,
                Action::Swap { now: None, .. } | Action::MakeDir => self.is_free(path)?,
                Action::Swap { now: Some(_), .. } | Action::Adjust { .. } => {
                    seen(path).is_some() && self.find(path)? == seen(path)
                }
                Action::RemoveDir => self.find(path)?.is_some_and(|it| it.kind == NodeKind::Dir),
            };
            if !as_seen {
                changed.push(path.clone());
            }
        }
        changed.extend(self.held(&changed)?);
        Ok(changed)
    }

    fn steps_at(&self, chosen: impl Fn(&Step) -> bool) -> HashSet<&'a Path> {
        let steps = self.plan.steps.iter().filter(|step| chosen(step));
        steps.map(|step| step.path.as_path()).collect()
    }

    /// Whether nothing stands at a place.
    fn is_free(&self, path: &Path) -> Result<bool, Error> {
        match self.tree.stat(path) {
            Ok(_) => Ok(false),
            Err(error) if is_gone(&error) => Ok(error.kind() == io::ErrorKind::NotFound),
            Err(error) => Err(Error::io("look at", path, error)),
        }
    }

    /// What stands at a place; none too where the place cannot be reached any more.
    pub(super) fn find(&self, path: &Path) -> Result<Option<Stat>, Error> {
        match self.tree.stat(path) {
            Ok(found) => Ok(Some(found)),
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(Error::io("look at", path, error)),
        }
    }

    /// The directories that should give way to a file or link and cannot: they hold something that
    /// the plan does not know, or one of `changed`.
    fn held(&self, changed: &[PathBuf]) -> Result<Vec<PathBuf>, Error> {
        let into_leaf =
            |step: &&Step| matches!(&step.action, Action::Swap { now: Some(Node::Dir(_)), .. });
        let given: Vec<&Path> =
            self.plan.steps.iter().filter(into_leaf).map(|step| step.path.as_path()).collect();
        if given.is_empty() {
            return Ok(Vec::new());
        }
        let known = self.steps_at(|step| match &step.action {
            Action::Swap { now, .. } => now.is_some(),
            Action::RemoveDir => true,
            _ => false,
        });
        let mut held = Vec::new();
        for dir in given {
            let within = known.iter().filter(|path| path.starts_with(dir));
            let mut holds = changed.iter().any(|path| path.starts_with(dir));
            for path in within {
                holds = holds || self.holds_more(path, &known)?;
            }
            if holds {
                held.push(dir.to_owned());
            }
        }
        Ok(held)
    }

    /// Whether a directory holds a name that is not known.
    fn holds_more(&self, dir: &Path, known: &HashSet<&Path>) -> Result<bool, Error> {
        if self.find(dir)?.is_none_or(|found| found.kind != NodeKind::Dir) {
            return Ok(false);
        }
        match self.tree.read_dir(dir) {
            Ok(listing) => {
                let mut names = listing.entries.iter();
                Ok(names.any(|(name, _)| !known.contains(dir.join(name).as_path())))
            }
            Err(error) if is_gone(&error) => Ok(false),
            Err(error) => Err(Error::io("read", dir, error)),
        }
    }

    /// Carries the plan out after it was staged. Where a place is not as `seen` by the scan, nothing
    /// is touched, or with `force` all but these places. After an error everything is taken back.
    ///
    /// # Errors
    /// Before anything is touched, as the disk gives them; after that only [`Error::Stuck`]: the
    /// workspace is neither as it was nor as wanted, and the error says what lies where.
    pub fn apply(&self, seen: &Seen<'_>, force: bool) -> Result<Outcome, Error> {
        let began = self.find(&self.staging.old)?.map(|old| old.changed);
        let changed = self.check(seen)?;
        if !(changed.is_empty() || force) {
            return Ok(Outcome::Changed(changed));
        }
        let mut there = Mover::new(self, Way::Forward, Sight::Seen { seen, began }, changed);
        let Err(why) = there.run() else {
            return Ok(Outcome::Done(there.report));
        };
        let mut back = Mover::new(self, Way::Back, Sight::Looks, Vec::new());
        back.report.kept = there.report.kept;
        match back.run() {
            Ok(()) => Ok(Outcome::RolledBack { why, report: back.report }),
            Err(error) => Err(self.stuck(why, error)),
        }
    }

    /// Finishes a restore that was interrupted, from whatever state it is found in.
    ///
    /// # Errors
    /// As the disk and the content give them; it can be done again, or taken back.
    pub fn roll_forward(&self) -> Result<Report, Error> {
        let mut mover = Mover::new(self, Way::Forward, Sight::Looks, self.held(&[])?);
        mover.run().map(|()| mover.report)
    }

    /// Takes a restore back that was interrupted, from whatever state it is found in.
    ///
    /// # Errors
    /// As the disk and the content give them; it can be done again, or finished.
    pub fn roll_back(&self) -> Result<Report, Error> {
        let mut mover = Mover::new(self, Way::Back, Sight::Looks, Vec::new());
        mover.run().map(|()| mover.report)
    }

    /// Says what lies where when neither end could be reached.
    fn stuck(&self, why: Error, back: Error) -> Error {
        let steps = self.plan.steps.iter().enumerate();
        let places = steps.filter_map(|(n, step)| {
            let slot = self.staging.slot(Way::Back, n);
            self.tree.stat(&slot).is_ok().then(|| (step.path.clone(), slot))
        });
        let places = places.collect();
        Error::Stuck { why: Box::new(why), back: Box::new(back), places }
    }
}

impl Step {
    /// What stands at the place at the end of a way, as far as this step brings it.
    fn node(&self, end: Way) -> Option<&Node> {
        match &self.action {
            Action::Swap { now, wanted, .. } => end.end(now.as_ref(), wanted.as_ref()),
            Action::Adjust { now, wanted } => Some(end.end(now, wanted)),
            Action::RemoveDir | Action::MakeDir => None,
        }
    }

    /// The same, where it is a file or link.
    pub(super) fn leaf(&self, end: Way) -> Option<&Node> {
        self.node(end).filter(|node| !matches!(node, Node::Dir(_)))
    }
}
