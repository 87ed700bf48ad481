//! What a restore may touch.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What the names of staging directories begin with; they are never collected and never planned for.
pub(crate) const STAGING_PREFIX: &str = ".stateward-restore-";

/// The part of a workspace that is restored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Scope {
    /// Each selects itself and what is beneath, beneath the root; none selects everything.
    pub paths: Vec<PathBuf>,
    /// `.git` is restored like any other directory.
    pub git: bool,
}

/// How far a scope reaches at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// The place is selected, and all beneath.
    All,
    /// Something beneath it is.
    Beneath,
    Nothing,
}

impl Scope {
    pub(super) fn reach(&self, path: &Path) -> Reach {
        if self.paths.is_empty() || self.paths.iter().any(|chosen| path.starts_with(chosen)) {
            Reach::All
        } else if self.paths.iter().any(|chosen| chosen.starts_with(path)) {
            Reach::Beneath
        } else {
            Reach::Nothing
        }
    }
}

/// What may be touched, as the caller knows it.
pub(crate) struct Rules<'a> {
    pub scope: &'a Scope,
    /// Whether a path may never be touched, a directory with all that it holds. The second argument
    /// says whether it is a directory.
    pub keep: &'a dyn Fn(&Path, bool) -> bool,
    /// Whether a directory of the tree that is there holds names that its listing leaves out.
    pub holds: &'a dyn Fn(&Path) -> bool,
    /// Whether a file or link was changed by someone else.
    pub foreign: &'a dyn Fn(&Path) -> bool,
    /// What someone else changed is replaced all the same.
    pub force: bool,
}

/// Something that would change and may not be touched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Untouched {
    /// Beneath the root.
    #[serde(serialize_with = "crate::state::lossy::path")]
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub path: PathBuf,
    /// Why not.
    pub reason: Reason,
}

/// Why something is not touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "server", schema(as = UntouchedReason))]
pub enum Reason {
    /// It is ignored, or the recovery checkpoint does not hold it.
    Kept,
    /// It is part of a git repository's own record.
    Git,
    /// It is a directory that holds something of the kind.
    Holds,
    /// A parent that is needed is no directory and not selected.
    InTheWay,
}

/// Where in a repository's own record a directory lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Zone {
    /// Nowhere: everything may change.
    Free,
    /// A `.git` that is there: it stays as it is, but for its objects.
    Git,
    /// Beneath `.git/objects`: what is missing is added, nothing else.
    Objects,
}

pub(super) fn is_git(name: &OsStr) -> bool {
    name == ".git"
}

/// Whether a name at the root of a workspace is a staging directory's.
pub(super) fn is_staging(path: &Path) -> bool {
    let bytes = path.as_os_str().as_bytes();
    bytes.starts_with(STAGING_PREFIX.as_bytes()) && !bytes.contains(&b'/')
}
