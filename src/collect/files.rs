//! The changed files of a directory, read.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use super::Error;
use super::horizon::Horizon;
use super::known::{DirId, Doubt, Edit, Edits, Entry, FileFacts, What, is_same};
use super::reading::{Contents, Old, ReadError, Reader};
use super::sqlite::{self, Part, Taken, Unit};
use super::walk::{Found, Walk};
use crate::disk::Stat;
use crate::state::Why;

/// A file to read.
pub(super) struct Wanted<'w> {
    pub name: OsString,
    /// What the listing said of it.
    pub stat: Stat,
    pub before: Option<&'w Entry>,
    /// What belongs to it, if it is a database.
    pub beside: Vec<Beside<'w>>,
}

/// A file that may belong to a database.
pub(super) struct Beside<'w> {
    pub name: OsString,
    pub stat: Stat,
    pub before: Option<&'w Entry>,
    /// Why it is not kept if it does not belong to one.
    pub why_not: Option<Why>,
}

impl<'w> Wanted<'w> {
    pub(super) fn new(name: OsString, stat: Stat, before: Option<&'w Entry>) -> Self {
        Self { name, stat, before, beside: Vec::new() }
    }
}

/// A directory, by its slot and its path.
pub(super) struct At {
    pub dir: DirId,
    pub path: PathBuf,
}

/// Reads files of one directory.
pub(super) struct Reading<'r, 'w> {
    pub walk: &'r Walk<'w>,
    pub at: At,
    pub reader: &'r mut Reader<'w>,
    pub found: &'r mut Found,
}

impl<'w> Reading<'_, 'w> {
    pub(super) fn read(mut self, files: Vec<Wanted<'w>>) -> Result<(), Error> {
        let mut edits = Vec::with_capacity(files.len());
        for wanted in files {
            let is_known = wanted.before.is_some_and(Entry::is_database);
            let is_database = is_known || {
                let (edit, is_database) = self.plain(&wanted)?;
                edits.push(edit);
                is_database
            };
            if is_database {
                self.database(&wanted, &mut edits)?;
            } else {
                self.not_beside(wanted.beside, &mut edits)?;
            }
        }
        self.found.edits.push(Edits::new(self.at.dir, 1, edits));
        Ok(())
    }

    /// Reads a file for itself; says whether it is a database.
    fn plain(&mut self, wanted: &Wanted<'w>) -> Result<(Edit, bool), Error> {
        let path = self.at.path.join(&wanted.name);
        let old = self.old(wanted.before);
        let is_mapped = self.walk.ground.mapped.contains(&wanted.stat.inode);
        match self.reader.read(&path, &old, is_mapped) {
            Ok(contents) => {
                self.note(path, contents.is_settled);
                self.found.is_young |= !is_same(&contents.stat, &wanted.stat);
                let entry = self.walk.entry(wanted.name.clone(), wanted.before, &contents);
                let is_database = entry.is_database();
                Ok((Edit::Put(entry), is_database))
            }
            Err(ReadError::Sink(error)) => Err(error.into()),
            Err(ReadError::Disk(error)) => {
                let edit = self.walk.not_read(&path, &wanted.stat, error)?;
                self.found.is_moving |= matches!(edit, Edit::Drop(_));
                Ok((edit, false))
            }
        }
    }

    fn note(&mut self, path: PathBuf, is_settled: bool) {
        if !is_settled {
            self.found.unsettled.push(path);
        } else if self.walk.round > 0 {
            self.found.settled.push(path);
        }
    }

    /// What turned out not to lie beside a database.
    fn not_beside(&mut self, all: Vec<Beside<'w>>, edits: &mut Vec<Edit>) -> Result<(), Error> {
        for Beside { name, stat, before, why_not } in all {
            edits.push(match why_not {
                Some(why) => {
                    let bytes = (why == Why::TooLarge).then_some(stat.len);
                    Edit::Put(Entry::left_out(name.into(), stat, why, bytes))
                }
                None => self.plain(&Wanted::new(name, stat, before))?.0,
            });
        }
        Ok(())
    }

    /// Reads a database and what is beside it, together.
    fn database(&mut self, wanted: &Wanted<'w>, edits: &mut Vec<Edit>) -> Result<(), Error> {
        let [wal, journal, shm] = sqlite::beside(&wanted.name);
        let unit = Unit {
            database: self.part(&wanted.name),
            wal: self.part(&wal),
            journal: self.part(&journal),
        };
        let Horizon { is_network, .. } = self.walk.ground.horizon;
        let now = || Horizon { began: self.walk.ground.clock.now(), is_network };
        let taken = match unit.read(self.reader, &now) {
            Ok(taken) => taken,
            Err(ReadError::Sink(error)) => return Err(error.into()),
            Err(ReadError::Disk(error)) => {
                let edit = self.walk.not_read(&unit.database.path, &wanted.stat, error)?;
                self.found.is_moving |= matches!(edit, Edit::Drop(_));
                edits.push(edit);
                return Ok(());
            }
        };
        let Taken { database, is_settled, .. } = taken;
        self.note(unit.database.path, is_settled);
        edits.push(self.put(wanted.name.clone(), &Contents { is_settled, ..database }));
        self.fits(wanted.name.clone(), is_settled);
        for (name, contents) in [(wal, taken.wal), (journal, taken.journal)] {
            let listed = wanted.beside.iter().find(|beside| beside.name == name);
            edits.push(match (contents, listed) {
                (Some(contents), _) => self.put(name.clone(), &Contents { is_settled, ..contents }),
                (None, Some(Beside { stat, before, .. })) if !is_settled => {
                    self.plain(&Wanted::new(name.clone(), *stat, *before))?.0
                }
                _ => Edit::Drop(name.clone().into()),
            });
            self.fits(name, is_settled);
        }
        self.index(wanted, shm, edits)
    }

    fn fits(&mut self, name: OsString, is_settled: bool) {
        if is_settled {
            self.found.fitting.insert((self.at.dir, name.into()));
        }
    }

    /// Takes the index of a log as it is.
    fn index(
        &mut self,
        wanted: &Wanted<'w>,
        name: OsString,
        edits: &mut Vec<Edit>,
    ) -> Result<(), Error> {
        let Some(listed) = wanted.beside.iter().find(|beside| beside.name == name) else {
            return Ok(());
        };
        let old = self.old(listed.before);
        edits.push(match self.reader.read_once(&self.at.path.join(&name), &old) {
            Ok(contents) => {
                let contents = Contents { is_settled: true, ..contents };
                let entry = self.walk.entry(name.clone(), listed.before, &contents);
                Edit::Put(Entry { doubt: Doubt::None, ..entry })
            }
            Err(ReadError::Sink(error)) => return Err(error.into()),
            Err(ReadError::Disk(error)) => {
                self.walk.check_shortage(&self.at.path, error)?;
                Edit::Drop(name.clone().into())
            }
        });
        self.fits(name, true);
        Ok(())
    }

    fn put(&self, name: OsString, contents: &Contents) -> Edit {
        let before = self.before(&name);
        Edit::Put(self.walk.entry(name, before, contents))
    }

    fn before(&self, name: &OsStr) -> Option<&'w Entry> {
        self.walk.known.dir(self.at.dir)?.get(name)
    }

    /// What is known of a part of a database.
    fn part(&self, name: &OsStr) -> Part {
        let before = self.before(name);
        let known = before.and_then(|before| {
            let What::File(file) = &before.what else { return None };
            let is_proven =
                before.doubt == Doubt::None && !self.walk.must_read(before, &before.stat);
            let contents = Contents {
                stat: before.stat,
                len: file.len,
                root: file.content,
                is_database: file.is_database,
                is_settled: true,
            };
            is_proven.then_some(contents)
        });
        Part { path: self.at.path.join(name), known, old: self.old(before) }
    }

    /// What of a file's content need not be handed over again.
    fn old(&self, before: Option<&Entry>) -> Old {
        match before {
            // What is not stored was handed over by the first look of this scan.
            Some(Entry { what: What::File(file), stored, .. })
                if *stored || self.walk.round > 0 =>
            {
                self.reader.old(file)
            }
            _ => Old::default(),
        }
    }
}

impl Entry {
    pub(super) fn is_database(&self) -> bool {
        matches!(&self.what, What::File(file) if file.is_database)
    }
}

impl Walk<'_> {
    fn entry(&self, name: OsString, before: Option<&Entry>, contents: &Contents) -> Entry {
        let Contents { stat, len, root, is_database, is_settled } = *contents;
        let old = before.and_then(|before| match &before.what {
            What::File(file) => Some((before.stored, file)),
            _ => None,
        });
        let what = What::File(FileFacts {
            content: root,
            len,
            has_holes: has_holes(&stat),
            group: old.and_then(|(_, file)| file.group),
            is_database,
        });
        let is_held = old.is_some_and(|(stored, file)| stored && file.content == root);
        let doubt = if is_settled { self.doubt(before, &what, &stat) } else { Doubt::Racy };
        Entry { name: name.into(), stat, what, doubt, stored: root.is_none() || is_held }
    }
}

/// Whether a file takes less room than its bytes need. Files below a block may lie in their inode.
pub(super) fn has_holes(stat: &Stat) -> bool {
    const BLOCK: u64 = 4096;
    stat.len >= BLOCK && stat.allocated < stat.len
}
