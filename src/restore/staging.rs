//! Where a restore keeps what comes and what went, on the workspace's own file system.
//!
//! ```text
//! .stateward-restore-ID/    0700, at the root of the workspace; ID is the recovery checkpoint's
//!   new/N                   what step N brings, whole and synced before anything else is touched
//!   old/N                   what step N took away
//!   new/N.part, old/N.part  being written, or on its way out
//! ```
//!
//! Nothing else is ever made in there, and nothing else is removed. A thing in `old/` is removed only
//! when it is what the recovery checkpoint holds: a file can still be written to by whoever had it
//! open when it was moved. Then it is kept beside its place under [`KEPT_SUFFIX`].

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::Error;
use super::apply::{Report, Restore, Way};
use super::tree_plan::{Action, STAGING_PREFIX};
use super::write::{Job, Progress};
use crate::disk::{DiskTree, FileTime, Stat};
use crate::encode::directory::Node;
use crate::state::CheckpointId;

/// Ends the name of what was somebody's work in the way of a restore.
pub(crate) const KEPT_SUFFIX: &str = ".stateward-kept";
/// The root of a workspace, as a path in it.
const ROOT: &str = "";
const PART_SUFFIX: &str = ".part";
/// As long as a name may be on the file systems that people use.
const NAME_BYTES_MAX: usize = 255;
/// Names tried beside a place before its parent is.
const KEPT_NAMES_MAX: u32 = 100;

/// The paths of a restore's staging directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Staging {
    pub dir: PathBuf,
    pub new: PathBuf,
    pub old: PathBuf,
}

impl Staging {
    pub fn of(id: CheckpointId) -> Self {
        let dir = PathBuf::from(format!("{STAGING_PREFIX}{}", id.0));
        Self { new: dir.join("new"), old: dir.join("old"), dir }
    }

    /// The restore that a name at a workspace's root belongs to, where it is a staging directory's.
    pub fn owner(name: &OsStr) -> Option<CheckpointId> {
        name.to_str()?.strip_prefix(STAGING_PREFIX)?.parse().ok()
    }

    /// Where a step's thing lies that stands in place at the end of that way, as long as it does not.
    pub(super) fn slot(&self, way: Way, step: usize) -> PathBuf {
        way.end(&self.old, &self.new).join(step.to_string())
    }
}

/// The name of a thing that is being written, or on its way out.
pub(super) fn part_of(slot: &Path) -> PathBuf {
    let mut name = slot.as_os_str().to_owned();
    name.push(PART_SUFFIX);
    name.into()
}

/// Whether an error says that a place is not there any more, or cannot be reached without a link.
pub(super) fn is_gone(error: &io::Error) -> bool {
    let is_link = error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error());
    is_link || matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Whether an error says that something stands in a place already.
pub(super) fn is_there(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AlreadyExists
}

/// Whether an error says that a directory cannot go.
pub(super) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{AlreadyExists, DirectoryNotEmpty, ResourceBusy};
    matches!(error.kind(), DirectoryNotEmpty | AlreadyExists | ResourceBusy)
}

/// The directory of the slots of the things that stand in place at the end of a way.
fn way_dir(staging: &Staging, end: Way) -> &Path {
    end.end(&staging.old, &staging.new)
}

impl Restore<'_> {
    /// Writes everything new where nobody sees it, proves it and makes it durable. Where that fails,
    /// the staging directory is gone again and nothing was touched.
    pub fn stage(&self, progress: &Progress<'_>) -> Result<(), Error> {
        let root = self.tree.stat(ROOT.as_ref()).map_err(|e| Error::io("look at", ROOT, e))?;
        let staged = self.write_staging(progress);
        if staged.is_err()
            && let Err(error) = discard_staging(self.tree, self.id, Some(root.modified))
        {
            let dir = self.staging.dir.display();
            tracing::warn!(%error, %dir, "what was staged for a restore stays behind");
        }
        staged
    }

    fn write_staging(&self, progress: &Progress<'_>) -> Result<(), Error> {
        if self.plan.is_empty() {
            return Ok(());
        }
        self.make_staging()?;
        let steps = self.plan.steps.iter().enumerate();
        let jobs = steps.filter_map(|(n, step)| match &step.action {
            Action::Swap { wanted: Some(node), same_as: None, .. } if !is_dir(node) => {
                Some(Job { at: self.staging.slot(Way::Forward, n), node, path: &step.path })
            }
            _ => None,
        });
        self.writing().write_all(&jobs.collect::<Vec<_>>(), progress)?;
        for dir in [&self.staging.new, &self.staging.old, &self.staging.dir, Path::new(ROOT)] {
            self.tree.sync_dir(dir).map_err(|e| Error::io("sync", dir, e))?;
        }
        Ok(())
    }

    /// Makes what is missing of the staging directory.
    pub(super) fn make_staging(&self) -> Result<(), Error> {
        for dir in [&self.staging.dir, &self.staging.new, &self.staging.old] {
            // A full disk makes nothing, not even what is there.
            if self.find(dir)?.is_none() {
                self.tree.create_dir(dir).map_err(|e| Error::io("make", dir, e))?;
            }
        }
        Ok(())
    }

    /// Whether things can still be moved out of the way.
    pub(super) fn is_staging_there(&self) -> Result<bool, Error> {
        Ok(self.find(&self.staging.new)?.is_some() && self.find(&self.staging.old)?.is_some())
    }

    /// Takes the staging directory away after a restore that was finished or taken back, as `way`
    /// says; doing it again does no harm. Answers what stays of it, and where somebody's work was
    /// moved that was found in there.
    ///
    /// `report` is what the mover told; without it every file in there is read.
    pub fn clear(&self, way: Way, report: Option<&Report>) -> Result<Vec<PathBuf>, Error> {
        let mut kept = Vec::new();
        for end in [Way::Back, Way::Forward] {
            self.clear_slots(end, report, &mut kept)?;
        }
        if !remove_dir(self.tree, &self.staging.dir)? {
            kept.push(self.staging.dir.clone());
        }
        let root = self.plan.dirs.last().filter(|dir| dir.path.as_os_str().is_empty());
        if let Some(attributes) = root.and_then(|root| way.end(root.now, root.wanted)) {
            set_root_time(self.tree, attributes.modified)?;
        }
        self.tree.sync_dir(ROOT.as_ref()).map_err(|e| Error::io("sync", ROOT, e))?;
        Ok(kept)
    }

    fn clear_slots(
        &self,
        end: Way,
        report: Option<&Report>,
        kept: &mut Vec<PathBuf>,
    ) -> Result<(), Error> {
        let dir = way_dir(&self.staging, end);
        for (name, stat) in slots(self.tree, dir)? {
            let slot = dir.join(&name);
            let Some(step) = number(&name).and_then(|n| self.plan.steps.get(n)) else {
                remove_part(self.tree, &slot, &name)?;
                continue;
            };
            let is_moved = report.is_some_and(|report| report.moved.get(&slot) == Some(&stat));
            if is_moved || self.is_leaf(&slot, &stat, step.leaf(end))? {
                self.tree.remove_file(&slot).map_err(|e| Error::io("remove", &slot, e))?;
            } else {
                kept.push(self.keep_aside(&slot, &step.path)?);
            }
        }
        remove_dir(self.tree, dir).map(drop)
    }

    /// Moves somebody's work out of a slot to beside its place; answers where it is now.
    pub(super) fn keep_aside(&self, slot: &Path, path: &Path) -> Result<PathBuf, Error> {
        let name = path.file_name().unwrap_or_default();
        for dir in path.ancestors().skip(1) {
            for again in 0..KEPT_NAMES_MAX {
                let to = dir.join(kept_name(name, again));
                match self.tree.rename(slot, &to) {
                    Ok(()) => {
                        self.tree.sync_dir(dir).map_err(|e| Error::io("sync", dir, e))?;
                        return Ok(to);
                    }
                    Err(error) if is_there(&error) => {}
                    Err(error) if is_gone(&error) => break,
                    Err(error) => return Err(Error::io("keep", &to, error)),
                }
            }
        }
        Err(Error::io("keep", slot, io::ErrorKind::AlreadyExists.into()))
    }
}

/// Takes away what was staged for a restore that never began, as a crash leaves it. `root_modified` is
/// the time that the root gets back. Answers whether all of it is gone: what was moved out of a place
/// is never removed here.
///
/// # Errors
/// As the disk gives them.
pub(crate) fn discard_staging(
    tree: &dyn DiskTree,
    id: CheckpointId,
    root_modified: Option<FileTime>,
) -> Result<bool, Error> {
    let staging = Staging::of(id);
    for (name, _) in slots(tree, &staging.new)? {
        let slot = staging.new.join(&name);
        if number(&name).is_some() {
            tree.remove_file(&slot).map_err(|e| Error::io("remove", &slot, e))?;
        }
    }
    let mut whole = true;
    for dir in [&staging.new, &staging.old, &staging.dir] {
        whole &= remove_dir(tree, dir)?;
    }
    if let Some(modified) = root_modified {
        set_root_time(tree, modified)?;
    }
    tree.sync_dir(ROOT.as_ref()).map_err(|e| Error::io("sync", ROOT, e))?;
    Ok(whole)
}

/// The names in a directory of slots; none where there is no such directory.
fn slots(tree: &dyn DiskTree, dir: &Path) -> Result<Vec<(OsString, Stat)>, Error> {
    match tree.read_dir(dir) {
        Ok(listing) => Ok(listing.entries),
        Err(error) if is_gone(&error) => Ok(Vec::new()),
        Err(error) => Err(Error::io("read", dir, error)),
    }
}

fn number(name: &OsStr) -> Option<usize> {
    name.to_str()?.parse().ok()
}

/// Removes what was not finished; a name that is none of ours stays.
fn remove_part(tree: &dyn DiskTree, slot: &Path, name: &OsStr) -> Result<(), Error> {
    let is_part = name.to_str().and_then(|name| name.strip_suffix(PART_SUFFIX));
    if is_part.is_some_and(|n| n.parse::<usize>().is_ok()) {
        tree.remove_file(slot).map_err(|e| Error::io("remove", slot, e))?;
    }
    Ok(())
}

/// Removes a directory if it is empty; says whether it is gone.
fn remove_dir(tree: &dyn DiskTree, dir: &Path) -> Result<bool, Error> {
    match tree.remove_dir(dir) {
        Ok(()) => Ok(true),
        Err(error) if is_gone(&error) => Ok(true),
        Err(error) if is_full(&error) => Ok(false),
        Err(error) => Err(Error::io("remove", dir, error)),
    }
}

fn set_root_time(tree: &dyn DiskTree, modified: FileTime) -> Result<(), Error> {
    tree.set_modified(ROOT.as_ref(), modified).map_err(|e| Error::io("set the time of", ROOT, e))
}

fn kept_name(name: &OsStr, again: u32) -> OsString {
    let suffix = if again == 0 { KEPT_SUFFIX.to_owned() } else { format!("{KEPT_SUFFIX}-{again}") };
    let bytes = name.as_bytes();
    let mut kept = bytes[..bytes.len().min(NAME_BYTES_MAX - suffix.len())].to_vec();
    kept.extend_from_slice(suffix.as_bytes());
    OsString::from_vec(kept)
}

fn is_dir(node: &Node) -> bool {
    matches!(node, Node::Dir(_))
}
