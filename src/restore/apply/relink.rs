//! Files that had several names get them again when a restore is taken back.
//!
//! As long as the old files lie in their slots, moving them back is enough. Where a loss of power took
//! one, it was written anew from the store, as a file of its own.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::Way;
use super::mover::Mover;
use crate::disk::{NodeKind, Stat};
use crate::encode::directory::Node;
use crate::restore::Error;
use crate::restore::staging::{is_gone, is_there, part_of};

/// The steps that a file with several names had, by place.
type Steps<'a> = HashMap<&'a Path, (usize, &'a Node)>;

impl<'a> Mover<'a> {
    pub(super) fn relink(&mut self) -> Result<(), Error> {
        let plan = self.restore.plan;
        if plan.now_links.is_empty() {
            return Ok(());
        }
        let steps = plan.steps.iter().enumerate();
        let steps: Steps<'a> = steps
            .filter_map(|(n, step)| Some((step.path.as_path(), (n, step.leaf(Way::Back)?))))
            .collect();
        // A file can be only one of those that were.
        let mut taken = HashSet::new();
        for names in &plan.now_links {
            let mut there = Vec::new();
            for path in names.iter().filter(|path| !self.is_left(path)) {
                let found = self.restore.find(path)?;
                there.extend(found.filter(|it| it.kind == NodeKind::File).map(|it| (path, it)));
            }
            let there: Vec<(&'a Path, Stat)> =
                there.into_iter().map(|(path, found)| (path.as_path(), found)).collect();
            let Some(base) = self.base(&there, &steps, &taken)? else { continue };
            taken.insert(base.1);
            for (path, found) in there.iter().filter(|(_, found)| found.inode != base.1) {
                if let Some(&(n, node)) = steps.get(path)
                    && self.restore.is_leaf(path, found, Some(node))?
                {
                    self.rename_to_base(n, path, found, base)?;
                }
            }
        }
        Ok(())
    }

    /// The name, and the inode, that the others become names of: best one that was never moved.
    fn base(
        &mut self,
        there: &[(&'a Path, Stat)],
        steps: &Steps<'a>,
        taken: &HashSet<u64>,
    ) -> Result<Option<(&'a Path, u64)>, Error> {
        let Some(node) = there.iter().find_map(|(path, _)| steps.get(path)) else {
            return Ok(None);
        };
        let (moved, unmoved): (Vec<_>, Vec<_>) =
            there.iter().partition(|(path, _)| steps.contains_key(path));
        for (path, found) in unmoved.iter().chain(&moved) {
            if !taken.contains(&found.inode) && self.restore.is_leaf(path, found, Some(node.1))? {
                return Ok(Some((path, found.inode)));
            }
        }
        match moved.first() {
            Some((path, found)) => self.anew(path, found, steps[path]),
            None => Ok(None),
        }
    }

    /// Gives a place a file of its own.
    fn anew(
        &mut self,
        path: &'a Path,
        found: &Stat,
        (n, node): (usize, &Node),
    ) -> Result<Option<(&'a Path, u64)>, Error> {
        let part = part_of(&self.restore.staging.slot(Way::Back, n));
        self.write_part(path, node, &part)?;
        let made = self.restore.find(&part)?.map(|made| (path, made.inode));
        Ok(if self.exchange(n, path, found)? { made } else { None })
    }

    fn rename_to_base(
        &mut self,
        n: usize,
        path: &Path,
        found: &Stat,
        (base, inode): (&Path, u64),
    ) -> Result<(), Error> {
        let part = part_of(&self.restore.staging.slot(Way::Back, n));
        self.remove_part(&part)?;
        match self.tree().hard_link(base, &part) {
            Ok(()) => {}
            Err(error) if is_gone(&error) => return Ok(()),
            Err(error) => return Err(Error::io("link", path, error)),
        }
        if self.restore.find(&part)?.is_some_and(|it| it.inode == inode) {
            self.exchange(n, path, found)?;
        }
        Ok(())
    }

    /// Puts what lies ready in the part of the old slot into a place, and drops what stood there.
    fn exchange(&mut self, n: usize, path: &Path, seen: &Stat) -> Result<bool, Error> {
        let comes = part_of(&self.restore.staging.slot(Way::Back, n));
        let goes = part_of(&self.restore.staging.slot(Way::Forward, n));
        self.remove_part(&goes)?;
        self.tree().rename(path, &goes).map_err(|e| Error::io("move", path, e))?;
        let moved = self.tree().stat(&goes).map_err(|e| Error::io("look at", path, e))?;
        let node = self.restore.plan.steps[n].leaf(Way::Back);
        if !self.is_unchanged(seen, &moved, (&goes, node))? {
            self.give_back(&goes, path)?;
            self.leave(path);
            return Ok(false);
        }
        match self.tree().rename(&comes, path) {
            Ok(()) => {}
            Err(error) if is_there(&error) || is_gone(&error) => self.leave(path),
            Err(error) => return Err(Error::io("put back", path, error)),
        }
        self.remove_part(&goes)?;
        Ok(true)
    }
}
