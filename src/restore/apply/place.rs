//! What the mover does at one place: taking away, bringing, setting attributes.

use std::path::Path;

use super::Way;
use super::mover::{Mover, Sight, Turn};
use crate::disk::{NodeKind, Stat};
use crate::encode::directory::Node;
use crate::restore::Error;
use crate::restore::staging::{is_full, is_gone, is_there, part_of};
use crate::restore::tree_plan::Attributes;
use crate::restore::write::{Job, SYNC_EACH_MAX, sync_files};

impl<'a> Mover<'a> {
    /// Moves what stands in a place into its slot; says whether the place is free for what comes.
    pub(super) fn take(&mut self, turn: &Turn<'a>, seen: &Stat) -> Result<bool, Error> {
        let slot = self.restore.staging.slot(self.way.other(), turn.n);
        if self.looks() {
            self.empty(turn, &slot, turn.from)?;
        }
        self.take_to(turn, seen, (&slot, turn.from))
    }

    /// Moves what stands in a place and holds `node` into a slot.
    fn take_to(
        &mut self,
        turn: &Turn<'a>,
        seen: &Stat,
        (slot, node): (&Path, Option<&Node>),
    ) -> Result<bool, Error> {
        match self.tree().rename(turn.path, slot) {
            Ok(()) => {}
            Err(error) if is_gone(&error) && self.restore.is_staging_there()? => {
                let comes = turn.leaf().is_some();
                if comes {
                    self.leave(turn.path);
                }
                return Ok(!comes);
            }
            Err(error) => return Err(Error::io("move", turn.path, error)),
        }
        let moved = self.tree().stat(slot).map_err(|e| Error::io("look at", slot, e))?;
        if self.is_unchanged(seen, &moved, (slot, node))? {
            // What is doubtful is told by its contents when its slot is cleared, too.
            if !self.is_doubtful(seen) {
                self.report.moved.insert(slot.to_owned(), moved);
            }
            return Ok(true);
        }
        self.give_back(slot, turn.path)?;
        self.leave(turn.path);
        Ok(false)
    }

    /// Takes a file away that is one of ours and of no use.
    pub(super) fn drop_own(&mut self, turn: &Turn<'a>, seen: &Stat) -> Result<bool, Error> {
        let part = part_of(&self.restore.staging.slot(self.way, turn.n));
        self.remove_part(&part)?;
        let taken = self.take_to(turn, seen, (&part, turn.to))?;
        if taken {
            self.remove_part(&part)?;
        }
        Ok(taken)
    }

    /// Somebody's work goes back to its place, or beside it.
    pub(super) fn give_back(&mut self, slot: &Path, path: &Path) -> Result<(), Error> {
        match self.tree().rename(slot, path) {
            Ok(()) => Ok(()),
            Err(error) if is_there(&error) || is_gone(&error) => self.keep_aside(slot, path),
            Err(error) => Err(Error::io("put back", path, error)),
        }
    }

    fn keep_aside(&mut self, slot: &Path, path: &Path) -> Result<(), Error> {
        self.report.kept.push(self.restore.keep_aside(slot, path)?);
        Ok(())
    }

    /// Puts what comes into its place; where something has come in between, that stays.
    pub(super) fn bring(&mut self, turn: &Turn<'a>) -> Result<(), Error> {
        let Some(to) = turn.leaf() else { return Ok(()) };
        let slot = self.restore.staging.slot(self.way, turn.n);
        let is_named = match turn.same_as {
            Some(base) => self.name(turn, base, &slot)?,
            None => false,
        };
        if !(turn.staged || is_named) {
            self.ready(turn, to, &slot)?;
        }
        match self.tree().rename(&slot, turn.path) {
            Ok(()) => Ok(()),
            Err(error) if is_there(&error) => {
                self.leave(turn.path);
                Ok(())
            }
            Err(error) if is_gone(&error) && self.restore.find(&slot)?.is_some() => {
                self.leave(turn.path);
                Ok(())
            }
            Err(error) => Err(Error::io("put", turn.path, error)),
        }
    }

    /// Makes a slot a further name of the file at `base`, if that is as it should be.
    fn name(&mut self, turn: &Turn<'a>, base: &Path, slot: &Path) -> Result<bool, Error> {
        if self.looks() {
            self.empty(turn, slot, turn.to)?;
        }
        match self.tree().hard_link(base, slot) {
            Ok(()) => {}
            Err(error) if is_gone(&error) => return Ok(false),
            Err(error) => return Err(Error::io("link", turn.path, error)),
        }
        let found = self.tree().stat(slot).map_err(|e| Error::io("look at", slot, e))?;
        let is_right = match turn.to {
            Some(to) if self.looks() => self.restore.is_leaf(slot, &found, Some(to))?,
            Some(Node::File(file)) => {
                (found.len, found.mode, found.modified) == (file.len, file.mode, file.modified)
            }
            _ => false,
        };
        if !is_right {
            self.tree().remove_file(slot).map_err(|e| Error::io("remove", slot, e))?;
        }
        Ok(is_right)
    }

    /// Sees to it that what comes lies in its slot, whole.
    fn ready(&mut self, turn: &Turn<'a>, to: &Node, slot: &Path) -> Result<(), Error> {
        if let Some(found) = self.restore.find(slot)? {
            if self.restore.is_leaf(slot, &found, Some(to))? {
                return self.set(slot, &found, to).map(drop);
            }
            self.keep_aside(slot, turn.path)?;
        }
        let part = part_of(slot);
        self.write_part(turn.path, to, &part)?;
        self.tree().rename(&part, slot).map_err(|e| Error::io("move", &part, e))
    }

    pub(super) fn write_part(
        &mut self,
        path: &Path,
        node: &Node,
        part: &Path,
    ) -> Result<(), Error> {
        self.remove_part(part)?;
        let job = Job { at: part.to_owned(), node, path };
        match self.restore.writing().write(&job)? {
            Some(file) => file.sync_all().map_err(|e| Error::io("sync", path, e)),
            None => self.sync_everything().map(drop),
        }
    }

    pub(super) fn remove_part(&self, part: &Path) -> Result<(), Error> {
        match self.tree().remove_file(part) {
            Err(error) if !is_gone(&error) => Err(Error::io("remove", part, error)),
            _ => Ok(()),
        }
    }

    /// Makes room in a slot: what is expected there can go, anything else is somebody's.
    fn empty(
        &mut self,
        turn: &Turn<'a>,
        slot: &Path,
        expected: Option<&Node>,
    ) -> Result<(), Error> {
        let Some(found) = self.restore.find(slot)? else { return Ok(()) };
        if self.restore.is_leaf(slot, &found, expected)? {
            self.tree().remove_file(slot).map_err(|e| Error::io("remove", slot, e))
        } else {
            self.keep_aside(slot, turn.path)
        }
    }

    /// Sets the attributes of a file or link that stays. A file with other names gives way to one of
    /// its own: they may lie outside.
    pub(super) fn adjust(&mut self, turn: &Turn<'a>) -> Result<(), Error> {
        let (Some(to), found) = (turn.to, self.restore.find(turn.path)?) else { return Ok(()) };
        let is_right = match (&self.sight, &found) {
            (Sight::Seen { seen, .. }, found) => found.is_some() && seen(turn.path) == *found,
            (Sight::Looks, Some(found)) => self.restore.is_leaf(turn.path, found, Some(to))?,
            (Sight::Looks, None) => return self.bring(turn),
        };
        let Some(found) = found.filter(|_| is_right) else {
            self.leave(turn.path);
            return Ok(());
        };
        let old = self.restore.staging.slot(Way::Back, turn.n);
        let was_moved = self.way == Way::Back && self.restore.find(&old)?.is_some();
        let is_shared = found.links > 1 && found.kind == NodeKind::File;
        if was_moved || (is_shared && differs(&found, to)) {
            return if self.take(turn, &found)? { self.bring(turn) } else { Ok(()) };
        }
        if !self.set(turn.path, &found, to)? {
            self.leave(turn.path);
        }
        Ok(())
    }

    /// Gives what stands in a place or a slot the attributes of a node; says whether it was there.
    pub(super) fn set(&mut self, at: &Path, found: &Stat, node: &Node) -> Result<bool, Error> {
        if !differs(found, node) {
            return Ok(true);
        }
        // Opened first: the new mode may not let anybody read.
        match (node, self.tree().open(at)) {
            _ if self.everything => {}
            (Node::File(_), Ok(file)) => self.adjusted.push((file, at.to_owned())),
            _ => drop(self.sync_everything()?),
        }
        let (mode, modified) = match node {
            Node::File(file) => (file.mode, file.modified),
            Node::Link(link) => (found.mode, link.modified),
            Node::Dir(dir) => (dir.mode, dir.modified),
        };
        let was_there = self.set_both(at, found, &Attributes { mode, modified })?;
        if self.adjusted.len() > SYNC_EACH_MAX {
            if !self.sync_everything()? {
                sync_files(&self.adjusted)?;
            }
            self.adjusted.clear();
        }
        Ok(was_there)
    }

    pub(super) fn dir_goes(&mut self, path: &Path) -> Result<(), Error> {
        match self.tree().remove_dir(path) {
            Ok(()) => Ok(()),
            Err(error) if is_gone(&error) => Ok(()),
            Err(error) if is_full(&error) => {
                self.report.stayed.push(path.to_owned());
                Ok(())
            }
            Err(error) => Err(Error::io("remove", path, error)),
        }
    }

    pub(super) fn dir_comes(&mut self, path: &Path) -> Result<(), Error> {
        let is_there = match self.tree().create_dir(path) {
            Ok(()) => true,
            Err(error) if is_there(&error) => {
                self.restore.find(path)?.is_some_and(|found| found.kind == NodeKind::Dir)
            }
            Err(error) if is_gone(&error) => false,
            Err(error) => return Err(Error::io("make", path, error)),
        };
        if !is_there {
            self.leave(path);
        }
        Ok(())
    }
}

/// Whether what was found has other attributes than a node.
fn differs(found: &Stat, node: &Node) -> bool {
    match node {
        Node::File(file) => (found.mode, found.modified) != (file.mode, file.modified),
        Node::Link(link) => found.modified != link.modified,
        Node::Dir(dir) => (found.mode, found.modified) != (dir.mode, dir.modified),
    }
}
