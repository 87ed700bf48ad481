//! The mover: goes through the steps of a plan one way or the other.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::look::{is_same, may_show_again};
use super::{Report, Restore, Seen, Way};
use crate::disk::{DiskFile, DiskTree, FileTime, NodeKind, Stat};
use crate::encode::directory::Node;
use crate::restore::Error;
use crate::restore::tree_plan::{Action, Step, same_content};

/// How the mover knows what it moves.
pub(super) enum Sight<'a> {
    /// It is what the scan saw; nothing was moved before. `began` is when the restore made its staging
    /// directory, by the clock of the file system; later all was looked at once more.
    Seen { seen: &'a Seen<'a>, began: Option<FileTime> },
    /// It looks at the contents: anything may have happened.
    Looks,
}

pub(super) struct Mover<'a> {
    pub restore: &'a Restore<'a>,
    pub way: Way,
    pub sight: Sight<'a>,
    /// Left alone from the beginning, with all beneath.
    pub out: HashSet<PathBuf>,
    /// The same, with what was found on the way.
    pub left: HashSet<PathBuf>,
    /// Files whose attributes were set in place, to be synced.
    pub adjusted: Vec<(Arc<dyn DiskFile>, PathBuf)>,
    /// Everything is synced at the end, by a call that the system is known to have.
    pub everything: bool,
    /// The directories to be synced.
    pub touched: Vec<&'a Path>,
    /// One of them cannot be opened to be synced.
    pub has_unreadable: bool,
    pub report: Report,
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

/// A step as one way takes it.
pub(super) struct Turn<'a> {
    pub n: usize,
    pub path: &'a Path,
    /// What goes; a directory is another step's to move.
    pub from: Option<&'a Node>,
    /// What comes; the same.
    pub to: Option<&'a Node>,
    /// The file that it becomes a further name of.
    pub same_as: Option<&'a Path>,
    /// What comes lies in its slot, and was proven.
    pub staged: bool,
}

impl<'a> Turn<'a> {
    /// The file or link that comes.
    pub fn leaf(&self) -> Option<&'a Node> {
        self.to.filter(|to| !matches!(to, Node::Dir(_)))
    }
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
            has_unreadable: false,
            report,
        }
    }

    /// Goes all the way. Forward it stops at the first error. Back it does what it can and tells the
    /// first error in the end, so that as little as possible is out of its place.
    pub(super) fn run(&mut self) -> Result<(), Error> {
        if self.looks() && !self.restore.plan.is_empty() {
            self.restore.make_staging()?;
        }
        self.open_dirs()?;
        let mut steps = self.restore.plan.steps.iter().enumerate();
        match self.way {
            Way::Forward => {
                steps.try_for_each(|(n, step)| self.turn(n, step))?;
                self.close_dirs()?;
                self.sync()
            }
            Way::Back => {
                let turns = steps.rev().map(|(n, step)| self.turn(n, step));
                let taken_back = turns.fold(Ok(()), Result::and);
                taken_back.and(self.relink()).and(self.close_dirs()).and(self.sync())
            }
        }
    }

    pub(super) fn looks(&self) -> bool {
        matches!(self.sight, Sight::Looks)
    }

    /// Whether what was moved to `at` is what was seen in its place, which held `node`. Where its time
    /// of change could be that of a later one too, its contents tell.
    pub(super) fn is_unchanged(
        &self,
        seen: &Stat,
        moved: &Stat,
        (at, node): (&Path, Option<&Node>),
    ) -> Result<bool, Error> {
        if !is_same(seen, moved) {
            return Ok(false);
        }
        Ok(!self.is_doubtful(seen) || self.restore.is_leaf(at, moved, node)?)
    }

    /// Whether somebody could have changed a file after it was seen without another time to show.
    pub(super) fn is_doubtful(&self, seen: &Stat) -> bool {
        match &self.sight {
            Sight::Seen { began, .. } => {
                began.is_none_or(|began| may_show_again(seen.modified, began))
            }
            Sight::Looks => true,
        }
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
        let turn = Turn { n, path, from, to, same_as: None, staged: false };
        match (&step.action, self.way) {
            (Action::Swap { same_as: Some(base), .. }, Way::Forward) => {
                self.swap(&Turn { same_as: Some(base), ..turn })
            }
            (Action::Swap { .. }, _) => self.swap(&Turn { staged: !self.looks(), ..turn }),
            (Action::Adjust { .. }, _) => self.adjust(&turn),
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
            Standing::Arrived(found) => {
                if let Some(to) = turn.leaf()
                    && !self.set(turn.path, &found, to)?
                {
                    self.leave(turn.path);
                }
                Ok(())
            }
            Standing::Other => {
                self.leave(turn.path);
                Ok(())
            }
        }
    }

    fn standing(&self, turn: &Turn<'a>) -> Result<Standing, Error> {
        match (&self.sight, turn.from) {
            (Sight::Seen { .. }, None | Some(Node::Dir(_))) => Ok(Standing::Nothing),
            (Sight::Seen { seen, .. }, Some(_)) => {
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
