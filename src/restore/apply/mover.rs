//! The mover: goes through the steps of a plan one way or the other.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::look::is_same;
use super::{Report, Restore, Seen, Way};
use crate::disk::{DiskFile, DiskTree, NodeKind, Stat};
use crate::encode::directory::Node;
use crate::restore::Error;
use crate::restore::staging::{is_full, is_gone, is_there, part_of};
use crate::restore::tree_plan::{Action, Attributes, Step, same_content};
use crate::restore::write::{Job, SYNC_EACH_MAX, sync_files};

/// More directories than these are synced with the whole file system.
const SYNC_DIRS_MAX: usize = 64;
/// Needed of a directory to change names in it.
const OPEN: u32 = 0o700;

/// How the mover knows what it moves.
pub(super) enum Sight<'a> {
    /// It is what the scan saw; nothing was moved before.
    Seen(&'a Seen<'a>),
    /// It looks at the contents: anything may have happened.
    Looks,
}

pub(super) struct Mover<'a> {
    pub(super) restore: &'a Restore<'a>,
    way: Way,
    sight: Sight<'a>,
    /// Left alone from the beginning, with all beneath.
    out: HashSet<PathBuf>,
    /// The same, with what was found on the way.
    left: HashSet<PathBuf>,
    /// Files whose attributes were set in place, to be synced.
    adjusted: Vec<(Arc<dyn DiskFile>, PathBuf)>,
    /// Everything is synced at the end, by a call that the system is known to have.
    everything: bool,
    /// The directories to be synced.
    touched: Vec<&'a Path>,
    report: Report,
}

/// What a place holds.
enum Standing {
    Nothing,
    /// What goes, as it was seen.
    Leaving(Stat),
    /// What comes, but it is not yet a name of the file that it should be one of.
    Apart(Stat),
    /// What comes.
    Arrived(Stat),
    /// Somebody else's.
    Other,
}

/// A step on its way.
struct Turn<'a> {
    n: usize,
    path: &'a Path,
    from: Option<&'a Node>,
    to: Option<&'a Node>,
    same_as: Option<&'a Path>,
    /// What comes lies in its slot, and was proven.
    staged: bool,
}

impl<'a> Mover<'a> {
    pub(super) fn new(
        restore: &'a Restore<'a>,
        way: Way,
        sight: Sight<'a>,
        left: Vec<PathBuf>,
    ) -> Self {
        let report = Report { left: left.clone(), ..Report::default() };
        let out: HashSet<PathBuf> = left.into_iter().collect();
        Self {
            restore,
            way,
            sight,
            left: out.clone(),
            out,
            adjusted: Vec::new(),
            everything: false,
            touched: Vec::new(),
            report,
        }
    }

    pub(super) fn run(mut self) -> Result<Report, Error> {
        if self.looks() && !self.restore.plan.is_empty() {
            self.restore.make_staging()?;
        }
        self.open_dirs()?;
        let steps = &self.restore.plan.steps;
        match self.way {
            Way::Forward => steps.iter().enumerate().try_for_each(|(n, it)| self.turn(n, it))?,
            Way::Back => steps.iter().enumerate().rev().try_for_each(|(n, it)| self.turn(n, it))?,
        }
        if self.way == Way::Back {
            self.relink()?;
        }
        self.close_dirs()?;
        self.sync()?;
        Ok(self.report)
    }

    fn looks(&self) -> bool {
        matches!(self.sight, Sight::Looks)
    }

    pub(super) fn tree(&self) -> &'a dyn DiskTree {
        self.restore.tree
    }

    pub(super) fn leave(&mut self, path: &Path) {
        if self.left.insert(path.to_owned()) {
            self.report.left.push(path.to_owned());
        }
    }

    pub(super) fn is_left(&self, path: &Path) -> bool {
        !self.left.is_empty() && path.ancestors().any(|above| self.left.contains(above))
    }

    fn turn(&mut self, n: usize, step: &'a Step) -> Result<(), Error> {
        let path = step.path.as_path();
        if self.is_left(path) {
            return Ok(());
        }
        let (from, to) = (step.node(self.way.other()), step.node(self.way));
        match (&step.action, self.way) {
            (Action::Swap { same_as, .. }, way) => {
                let same_as = same_as.as_deref().filter(|_| way == Way::Forward);
                let staged = same_as.is_none() && !self.looks();
                self.swap(&Turn { n, path, from, to, same_as, staged })
            }
            (Action::Adjust { .. }, _) => {
                self.adjust(&Turn { n, path, from, to, same_as: None, staged: false })
            }
            (Action::RemoveDir, Way::Forward) | (Action::MakeDir, Way::Back) => self.dir_goes(path),
            (Action::MakeDir, Way::Forward) | (Action::RemoveDir, Way::Back) => {
                self.dir_comes(path)
            }
        }
    }

    fn swap(&mut self, turn: &Turn<'a>) -> Result<(), Error> {
        match self.standing(turn)? {
            Standing::Nothing => self.bring(turn),
            Standing::Leaving(seen) => {
                if self.take(turn, &seen)? {
                    self.bring(turn)
                } else {
                    Ok(())
                }
            }
            Standing::Apart(seen) => {
                if self.drop_own(turn, &seen)? {
                    self.bring(turn)
                } else {
                    Ok(())
                }
            }
            Standing::Arrived(found) => match turn.to {
                Some(to) => self.set(turn.path, &found, to),
                None => Ok(()),
            },
            Standing::Other => {
                self.leave(turn.path);
                Ok(())
            }
        }
    }

    fn standing(&self, turn: &Turn<'a>) -> Result<Standing, Error> {
        match (&self.sight, turn.from) {
            (Sight::Seen(_), None | Some(Node::Dir(_))) => Ok(Standing::Nothing),
            (Sight::Seen(seen), Some(_)) => {
                Ok(seen(turn.path).map_or(Standing::Other, Standing::Leaving))
            }
            (Sight::Looks, _) => self.look(turn),
        }
    }

    fn look(&self, turn: &Turn<'a>) -> Result<Standing, Error> {
        let Some(found) = self.restore.find(turn.path)? else {
            return Ok(Standing::Nothing);
        };
        if found.kind == NodeKind::Dir {
            let is_wanted = matches!(turn.to, Some(Node::Dir(_)));
            return Ok(if is_wanted { Standing::Arrived(found) } else { Standing::Other });
        }
        let is_to = self.restore.is_leaf(turn.path, &found, turn.to)?;
        let is_from = match (turn.from, turn.to) {
            (Some(from), Some(to)) if same_content(from, to) => is_to,
            (from, _) => self.restore.is_leaf(turn.path, &found, from)?,
        };
        match (is_from, is_to) {
            (false, false) => Ok(Standing::Other),
            (true, false) => Ok(Standing::Leaving(found)),
            (_, true) if turn.same_as.is_some() => self.look_at_name(turn, found, is_from),
            (false, true) => Ok(Standing::Arrived(found)),
            (true, true) => self.tell_apart(turn, found),
        }
    }

    /// Whether a file is already a name of the one that it should be the same as.
    fn look_at_name(&self, turn: &Turn<'a>, found: Stat, is_from: bool) -> Result<Standing, Error> {
        let base = turn.same_as.map_or(Ok(None), |base| self.restore.find(base))?;
        Ok(if base.is_some_and(|base| base.inode == found.inode) {
            Standing::Arrived(found)
        } else if is_from {
            Standing::Leaving(found)
        } else {
            Standing::Apart(found)
        })
    }

    /// Says which of two files with the same content stands in a place: the old one is still there as
    /// long as it does not lie in its slot.
    fn tell_apart(&self, turn: &Turn<'a>, found: Stat) -> Result<Standing, Error> {
        let old = self.restore.find(&self.restore.staging.slot(Way::Back, turn.n))?;
        let is_new = old.is_some_and(|old| old.inode != found.inode);
        // Its own name in the slot was lost with the power, and another file's name stands here.
        let is_strange = matches!(turn.to, Some(Node::File(to)) if to.group.is_none())
            && self.way == Way::Back
            && old.is_none()
            && found.links > 1;
        let arrived = self.way.end(!is_new && !is_strange, is_new);
        Ok(if arrived { Standing::Arrived(found) } else { Standing::Leaving(found) })
    }
}

/// What is done at a place.
impl<'a> Mover<'a> {
    /// Moves what stands in a place into its slot; says whether the place is free for what comes.
    fn take(&mut self, turn: &Turn<'a>, seen: &Stat) -> Result<bool, Error> {
        let slot = self.restore.staging.slot(self.way.other(), turn.n);
        if self.looks() {
            self.empty(turn, &slot, turn.from)?;
        }
        self.take_to(turn, seen, &slot)
    }

    fn take_to(&mut self, turn: &Turn<'a>, seen: &Stat, slot: &Path) -> Result<bool, Error> {
        match self.tree().rename(turn.path, slot) {
            Ok(()) => {}
            Err(error) if is_gone(&error) && self.restore.is_staging_there()? => {
                let comes = turn.to.is_some_and(|to| !matches!(to, Node::Dir(_)));
                if comes {
                    self.leave(turn.path);
                }
                return Ok(!comes);
            }
            Err(error) => return Err(Error::io("move", turn.path, error)),
        }
        let moved = self.tree().stat(slot).map_err(|e| Error::io("look at", slot, e))?;
        if is_same(seen, &moved) {
            self.report.moved.insert(slot.to_owned(), moved);
            return Ok(true);
        }
        self.give_back(slot, turn.path)?;
        self.leave(turn.path);
        Ok(false)
    }

    /// Takes a file away that is one of ours and of no use.
    fn drop_own(&mut self, turn: &Turn<'a>, seen: &Stat) -> Result<bool, Error> {
        let part = part_of(&self.restore.staging.slot(self.way, turn.n));
        self.remove_part(&part)?;
        let taken = self.take_to(turn, seen, &part)?;
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
    fn bring(&mut self, turn: &Turn<'a>) -> Result<(), Error> {
        let Some(to) = turn.to.filter(|to| !matches!(to, Node::Dir(_))) else {
            return Ok(());
        };
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
                return self.set(slot, &found, to);
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
    fn adjust(&mut self, turn: &Turn<'a>) -> Result<(), Error> {
        let (Some(to), found) = (turn.to, self.restore.find(turn.path)?) else { return Ok(()) };
        let is_right = match (&self.sight, &found) {
            (Sight::Seen(seen), found) => found.is_some() && seen(turn.path) == *found,
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
        self.set(turn.path, &found, to)
    }

    /// Gives what stands in a place or a slot the attributes of a node.
    fn set(&mut self, at: &Path, found: &Stat, node: &Node) -> Result<(), Error> {
        if !differs(found, node) {
            return Ok(());
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
        if !self.set_both(at, found, &Attributes { mode, modified })? {
            self.leave(at);
        }
        if self.adjusted.len() > SYNC_EACH_MAX {
            if !self.sync_everything()? {
                sync_files(&self.adjusted)?;
            }
            self.adjusted.clear();
        }
        Ok(())
    }

    fn dir_goes(&mut self, path: &Path) -> Result<(), Error> {
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

    fn dir_comes(&mut self, path: &Path) -> Result<(), Error> {
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

/// What is done to directories, before and after the steps.
impl Mover<'_> {
    /// Makes directories writable whose names change; they get their modes in the end.
    fn open_dirs(&mut self) -> Result<(), Error> {
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
                self.set_both(&dir.path, &found, &open)?;
            }
        }
        Ok(())
    }

    /// Gives directories their attributes, the deepest first.
    fn close_dirs(&mut self) -> Result<(), Error> {
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
            }
        }
        Ok(())
    }

    /// Sets what differs of mode and time; says whether the place was still there.
    fn set_both(&self, at: &Path, found: &Stat, to: &Attributes) -> Result<bool, Error> {
        let mode = if found.mode == to.mode { Ok(()) } else { self.tree().set_mode(at, to.mode) };
        let set = mode.and_then(|()| match found.modified == to.modified {
            true => Ok(()),
            false => self.tree().set_modified(at, to.modified),
        });
        match set {
            Ok(()) => Ok(true),
            Err(error) if is_gone(&error) => Ok(false),
            Err(error) => Err(Error::io("set the attributes of", at, error)),
        }
    }

    /// Syncs everything now, where the system can, and then again at the end.
    fn sync_everything(&mut self) -> Result<bool, Error> {
        if !self.everything {
            self.everything = self.sync_all()?;
        }
        Ok(self.everything)
    }

    fn sync_all(&self) -> Result<bool, Error> {
        self.tree().sync_all().map_err(|e| Error::io("sync", "", e))
    }

    /// Makes all that was done durable.
    fn sync(&mut self) -> Result<(), Error> {
        let many = self.everything || self.touched.len() > SYNC_DIRS_MAX;
        if many && self.sync_all()? {
            return Ok(());
        }
        sync_files(&self.adjusted)?;
        let staging = &self.restore.staging;
        let own = [&staging.new, &staging.old, &staging.dir].map(PathBuf::as_path);
        for dir in self.touched.iter().copied().chain(own) {
            match self.tree().sync_dir(dir) {
                Ok(()) => {}
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(Error::io("sync", dir, error)),
            }
        }
        Ok(())
    }
}
