//! The plan: which files a restore writes, which stay as they are, and which it must not touch.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::state::lossy;

/// What becomes of files in a restore. In JSON, what is not UTF-8 in a path is replaced.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "server", schema(as = RestoredFiles))]
pub struct Files {
    /// Written anew.
    #[serde(serialize_with = "lossy::paths")]
    #[cfg_attr(feature = "server", schema(value_type = Vec<String>))]
    pub written: Vec<PathBuf>,
    /// Removed.
    #[serde(serialize_with = "lossy::paths")]
    #[cfg_attr(feature = "server", schema(value_type = Vec<String>))]
    pub removed: Vec<PathBuf>,
    /// Already as asked.
    #[serde(serialize_with = "lossy::paths")]
    #[cfg_attr(feature = "server", schema(value_type = Vec<String>))]
    pub unchanged: Vec<PathBuf>,
    /// Changed by someone else; not touched without force.
    #[serde(serialize_with = "lossy::paths")]
    #[cfg_attr(feature = "server", schema(value_type = Vec<String>))]
    pub conflicts: Vec<PathBuf>,
}

impl Files {
    /// Adds what becomes of other files.
    pub(crate) fn append(&mut self, other: Self) {
        self.written.extend(other.written);
        self.removed.extend(other.removed);
        self.unchanged.extend(other.unchanged);
        self.conflicts.extend(other.conflicts);
    }
}

/// Plans the putting back of a state file: `current` is what it holds now, `None` where it is
/// missing; `foreign` says that it was changed while no session of the agent was open.
#[must_use]
pub fn plan(path: PathBuf, current: Option<&[u8]>, wanted: &[u8], foreign: bool) -> Files {
    let mut files = Files::default();
    if current == Some(wanted) {
        files.unchanged.push(path);
    } else if foreign {
        files.conflicts.push(path);
    } else {
        files.written.push(path);
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_bytes_are_unchanged_even_where_someone_else_wrote_them() {
        let files = plan("s".into(), Some(b"{}"), b"{}", true);
        assert_eq!(files.unchanged, [PathBuf::from("s")]);
        assert!(files.conflicts.is_empty() && files.written.is_empty());
    }

    #[test]
    fn a_foreign_change_is_a_conflict_and_any_other_is_written() {
        assert_eq!(plan("s".into(), Some(b"x"), b"{}", true).conflicts.len(), 1);
        assert_eq!(plan("s".into(), Some(b"x"), b"{}", false).written.len(), 1);
        assert_eq!(plan("s".into(), None, b"{}", false).written.len(), 1);
    }
}
