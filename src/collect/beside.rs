//! What lies beside an `SQLite` database is weighed together with it.
//!
//! The log of a database that is kept is kept, whatever its size and whatever the patterns say of it:
//! without it the database is not whole. The log of one that is left out is left out: put back beside
//! a database that went on, it would destroy it.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};

use super::Error;
use super::files::{Beside, Wanted};
use super::known::{Edit, Entry, What, is_same};
use super::reading::DATABASE_MAGIC;
use super::sqlite::{database_of, is_index};
use super::visit::Visit;
use crate::disk::Stat;
use crate::state::Why;

/// What became of a database's name.
enum Fate {
    /// It is a database, and as it was.
    Database,
    LeftOut(Why),
    /// It is not there, or no database.
    Other,
}

impl<'w> Visit<'_, 'w> {
    /// Weighs the names that were put aside because they look like a database's log.
    pub(super) fn weigh_beside(&mut self) -> Result<(), Error> {
        let beside = std::mem::take(&mut self.beside);
        if beside.is_empty() && !self.met.contains(&false) {
            return Ok(());
        }
        let names = self.wanted.iter().map(|wanted| wanted.name.clone());
        let mut wanted: HashMap<OsString, usize> = names.zip(0..).collect();
        for base in self.databases_that_lost_a_log() {
            self.want(&base, &mut wanted);
        }
        for (name, stat) in beside {
            let before = self.known.and_then(|dir| dir.get(&name));
            let base = database_of(&name).unwrap_or_default().to_owned();
            if let Some(at) = wanted.get(&base).copied() {
                let why_not = self.why_not(&name, &stat);
                self.wanted[at].beside.push(Beside { name, stat, before, why_not });
                continue;
            }
            match self.fate(&base) {
                Fate::Database if !self.must_read_beside(before, &name, &stat) => {}
                Fate::Database => {
                    if let Some(at) = self.want(&base, &mut wanted) {
                        self.wanted[at].beside.push(Beside { name, stat, before, why_not: None });
                    }
                }
                Fate::LeftOut(why) if self.goes_with(before, &base, (&stat, why)) => {
                    self.leave_out(before, name, stat, why);
                }
                _ => self.weigh(before, name, stat)?,
            }
        }
        Ok(())
    }

    fn fate(&self, base: &OsStr) -> Fate {
        let said = self.edits.iter().rev().find_map(|edit| match edit {
            Edit::Put(entry) if *entry.name == *base => Some(entry),
            _ => None,
        });
        let entry = said.or_else(|| self.met(base));
        match entry.map(|entry| &entry.what) {
            Some(What::File(file)) if file.is_database => Fate::Database,
            Some(What::Out(why, _)) => Fate::LeftOut(*why),
            _ => Fate::Other,
        }
    }

    /// What is known of a name that is there.
    fn met(&self, name: &OsStr) -> Option<&'w Entry> {
        let dir = self.known?;
        let at = dir.find(name).ok()?;
        self.met[at].then(|| &dir.entries[at])
    }

    fn databases_that_lost_a_log(&self) -> Vec<OsString> {
        let entries = self.known.into_iter().flat_map(|dir| dir.entries.iter().zip(&self.met));
        let lost = entries.filter(|(entry, met)| !**met && !is_index(&entry.name));
        let bases = lost.filter_map(|(entry, _)| database_of(&entry.name));
        bases
            .filter(|base| matches!(self.fate(base), Fate::Database))
            .map(OsStr::to_owned)
            .collect()
    }

    /// Has a database read that is as it was; answers its place among what is read.
    fn want(&mut self, base: &OsStr, wanted: &mut HashMap<OsString, usize>) -> Option<usize> {
        let before = self.met(base)?;
        let at = *wanted.entry(base.to_owned()).or_insert(self.wanted.len());
        if at == self.wanted.len() {
            self.wanted.push(Wanted::new(base.to_owned(), before.stat, Some(before)));
        }
        Some(at)
    }

    /// An index is made anew from the log: it is read when its facts say so, not for being mapped.
    fn must_read_beside(&self, before: Option<&Entry>, name: &OsStr, now: &Stat) -> bool {
        !before.is_some_and(|before| {
            before.is_kept()
                && is_same(&before.stat, now)
                && (is_index(name) || !self.walk.must_read(before, now))
        })
    }

    /// Whether a file beside one that is left out belongs to it.
    fn goes_with(&self, before: Option<&Entry>, base: &OsStr, (now, why): (&Stat, Why)) -> bool {
        let same = What::Out(why, Some(now.len));
        if before.is_some_and(|before| is_same(&before.stat, now) && before.what == same) {
            return true;
        }
        let path = self.look.path.join(base);
        let start = self.walk.read_start(&path, DATABASE_MAGIC.len());
        start.map_or(true, |start| start == DATABASE_MAGIC)
    }
}
