//! What is known of the files of a workspace, kept beside the log so that the next process need not
//! read them all.
//!
//! A cache is derived: it proves itself, counts only while a checkpoint here holds the tree it was
//! made with, and can be deleted at any time. It is published without a sync.

use std::io;
use std::path::Path;

use super::Store;
use crate::disk::{self, Durability, PublishError, publish};

/// Caches that are kept; those not written for longest go first.
const CACHES_MAX: usize = 64;

impl Store {
    /// The cache of the workspace at an absolute path, as it was written.
    pub(crate) fn read_stat_cache(&self, workspace: &Path) -> Option<Vec<u8>> {
        disk::read(self.disk(), &self.layout.stat_cache(workspace)).ok()
    }

    /// Replaces the cache of a workspace.
    ///
    /// # Errors
    /// As the disk gives them.
    pub(crate) fn write_stat_cache(&self, workspace: &Path, bytes: &[u8]) -> io::Result<()> {
        let _tenure = self.tenure()?;
        let dir = self.layout.caches();
        match self.disk().create_dir(&dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let path = self.layout.stat_cache(workspace);
        publish(self.disk(), &path, bytes, Durability::Unsynced).map_err(PublishError::into_io)?;
        self.bound_stat_caches(&dir)
    }

    fn bound_stat_caches(&self, dir: &Path) -> io::Result<()> {
        let names = self.disk().read_dir(dir)?;
        if names.len() <= CACHES_MAX {
            return Ok(());
        }
        let mut dated = Vec::with_capacity(names.len());
        for entry in names {
            let path = dir.join(entry.name);
            dated.push((self.disk().metadata(&path)?.modified, path));
        }
        dated.sort();
        let many = dated.len() - CACHES_MAX;
        dated.into_iter().take(many).try_for_each(|(_, path)| self.disk().remove_file(&path))
    }
}
