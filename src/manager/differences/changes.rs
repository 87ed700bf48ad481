//! The files that differ, without their lines: for those who count and do not read.

use super::{FileDifference, Version, told, walk};
use crate::manager::agent::Agent;
use crate::manager::error::Error;

impl Agent {
    /// The files that differ between the workspaces of two checkpoints; their lines are not told.
    pub(crate) fn workspace_changes(&self, a: &str, b: &str) -> Result<Vec<FileDifference>, Error> {
        let (a, b) = (Version::read(self, a)?, Version::read(self, b)?);
        let mut found = Vec::new();
        walk::compare(&a.tree(), &b.tree(), &mut |pair| {
            found.extend(told(pair).map(|(_, told)| told));
        })?;
        Ok(found)
    }
}
