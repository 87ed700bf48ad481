//! Directories for one case each, under the directory that the suite was given; taken away when the
//! case held, kept as evidence when it did not.

use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::Ground;
use super::trial::{Broken, Case, Outcome};
use crate::disk::{Disk, EntryKind};

/// A directory for one case; what is left when it goes unasked is taken away too.
pub(super) struct Scratch<'a> {
    disk: &'a dyn Disk,
    pub path: PathBuf,
    is_kept: std::cell::Cell<bool>,
}

impl<'a> Scratch<'a> {
    pub fn new(ground: &'a Ground, case: Case) -> Result<Self, Broken> {
        Self::named(ground, &format!("case-{}", case.number))
    }

    pub fn named(ground: &'a Ground, name: &str) -> Result<Self, Broken> {
        let path = ground.dir.join(format!("{name}-{}", Uuid::new_v4().simple()));
        ground.disk.create_dir(&path)?;
        Ok(Self { disk: &*ground.disk, path, is_kept: std::cell::Cell::new(false) })
    }

    /// Says where the evidence is, and keeps it.
    pub fn kept(&self, broken: Broken) -> Broken {
        self.is_kept.set(true);
        let why = format!("{} (kept in {})", broken.why, self.path.display());
        Broken { why, ..broken }
    }

    pub fn remove(self) -> Outcome {
        self.is_kept.set(true);
        Ok(remove_all(self.disk, &self.path)?)
    }
}

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        if !self.is_kept.get()
            && let Err(error) = remove_all(self.disk, &self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove what was tried");
        }
    }
}

/// Removes a directory of ours with everything in it; links are not followed.
pub(crate) fn remove_all(disk: &dyn Disk, dir: &Path) -> std::io::Result<()> {
    empty(disk, dir)?;
    disk.remove_dir(dir)
}

/// Removes everything in a directory of ours.
pub(super) fn empty(disk: &dyn Disk, dir: &Path) -> std::io::Result<()> {
    for entry in disk.read_dir(dir)? {
        let path = dir.join(&entry.name);
        if entry.kind == EntryKind::Dir {
            // What was restored may lie in directories that even their owner may not write to.
            disk.tree(dir)?.set_mode(Path::new(&entry.name), 0o700)?;
            remove_all(disk, &path)?;
        } else {
            disk.remove_file(&path)?;
        }
    }
    Ok(())
}
