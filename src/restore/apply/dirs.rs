//! What the mover does to directories before and after the steps, and the syncs at the end.

use std::io;
use std::path::{Path, PathBuf};

use super::mover::Mover;
use crate::disk::{NodeKind, Stat};
use crate::restore::Error;
use crate::restore::staging::is_gone;
use crate::restore::tree_plan::Attributes;
use crate::restore::write::sync_files;

/// More directories than these are synced with the whole file system.
const SYNC_DIRS_MAX: usize = 64;
/// Needed of a directory to change names in it.
const OPEN: u32 = 0o700;
/// Needed of a directory to be synced by itself.
const READABLE: u32 = 0o400;

impl Mover<'_> {
    /// Makes directories writable whose names change; they get their modes in the end.
    pub(super) fn open_dirs(&mut self) -> Result<(), Error> {
        let is_shut = |it: Option<Attributes>| it.is_some_and(|it| it.mode & OPEN != OPEN);
        for dir in self.restore.plan.dirs.iter().rev() {
            if !(is_shut(dir.now) || is_shut(dir.wanted)) || self.is_left(&dir.path) {
                continue;
            }
            if let Some(found) = self.restore.find(&dir.path)?
                && found.kind == NodeKind::Dir
                && found.mode & OPEN != OPEN
            {
                let open = Attributes { mode: found.mode | OPEN, modified: found.modified };
                match self.set_both(&dir.path, &found, &open) {
                    // Whose directory it is not, may yet have nothing to change in it.
                    Err(Error::Io { source, .. }) if is_denied(&source) => {}
                    done => drop(done?),
                }
            }
        }
        Ok(())
    }

    /// Gives directories their attributes, the deepest first.
    pub(super) fn close_dirs(&mut self) -> Result<(), Error> {
        for dir in &self.restore.plan.dirs {
            let path = dir.path.as_path();
            if !self.out.is_empty() && path.ancestors().any(|above| self.out.contains(above)) {
                continue;
            }
            let Some(found) = self.restore.find(path)? else { continue };
            // One that should be gone and holds something else stays as it was.
            let end = self.way.end(dir.now.or(dir.wanted), dir.wanted.or(dir.now));
            let (Some(end), NodeKind::Dir) = (end, found.kind) else { continue };
            if self.set_both(path, &found, &end)? {
                self.touched.push(path);
                self.has_unreadable |= end.mode & READABLE == 0;
            }
        }
        Ok(())
    }

    /// Sets what differs of mode and time; says whether the place was still there.
    pub(super) fn set_both(&self, at: &Path, found: &Stat, to: &Attributes) -> Result<bool, Error> {
        let mode = if found.mode == to.mode { Ok(()) } else { self.tree().set_mode(at, to.mode) };
        let set = mode.and_then(|()| {
            let is_set = found.modified == to.modified;
            if is_set { Ok(()) } else { self.tree().set_modified(at, to.modified) }
        });
        match set {
            Ok(()) => Ok(true),
            Err(error) if is_gone(&error) => Ok(false),
            Err(error) => Err(Error::io("set the attributes of", at, error)),
        }
    }

    /// Syncs everything now, where the system can, and then again at the end.
    pub(super) fn sync_everything(&mut self) -> Result<bool, Error> {
        if !self.everything {
            self.everything = self.sync_all()?;
        }
        Ok(self.everything)
    }

    fn sync_all(&self) -> Result<bool, Error> {
        self.tree().sync_all().map_err(|e| Error::io("sync", "", e))
    }

    /// Makes all that was done durable.
    pub(super) fn sync(&mut self) -> Result<(), Error> {
        let many = self.everything || self.touched.len() > SYNC_DIRS_MAX;
        if (many || self.has_unreadable) && self.sync_all()? {
            return Ok(());
        }
        sync_files(&self.adjusted)?;
        let staging = &self.restore.staging;
        let own = [&staging.new, &staging.old, &staging.dir].map(PathBuf::as_path);
        for dir in self.touched.iter().copied().chain(own) {
            match self.tree().sync_dir(dir) {
                Err(error) if !is_gone(&error) => return Err(Error::io("sync", dir, error)),
                _ => {}
            }
        }
        Ok(())
    }
}

fn is_denied(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}
