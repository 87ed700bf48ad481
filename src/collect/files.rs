//! The changed files of a directory, read.

use std::ffi::OsString;
use std::path::Path;

use super::Error;
use super::known::{Doubt, Edit, Entry, FileFacts, What};
use super::reading::{Contents, Old, ReadError, Reader};
use super::walk::{Found, Walk};
use crate::disk::Stat;

/// A file to read.
pub(super) struct Wanted<'w> {
    pub name: OsString,
    /// What the listing said of it.
    pub stat: Stat,
    pub before: Option<&'w Entry>,
}

/// Reads files of the directory at `dir`.
pub(super) fn read<'w>(
    walk: &Walk<'w>,
    dir: &Path,
    files: Vec<Wanted<'w>>,
    (reader, found): (&mut Reader<'_>, &mut Found),
) -> Result<Vec<Edit>, Error> {
    let mut edits = Vec::with_capacity(files.len());
    for wanted in files {
        let path = dir.join(&wanted.name);
        let old = walk.old(reader, wanted.before);
        let is_mapped = walk.ground.mapped.contains(&wanted.stat.inode);
        edits.push(match reader.read(&path, &old, is_mapped) {
            Ok(contents) => {
                let list =
                    if contents.is_settled { &mut found.settled } else { &mut found.unsettled };
                list.push(path);
                Edit::Put(walk.entry(wanted.name, wanted.before, &contents))
            }
            Err(ReadError::Sink(error)) => return Err(error.into()),
            Err(ReadError::Disk(error)) => {
                let edit = walk.not_read(&path, &wanted.stat, error)?;
                found.is_moving |= matches!(edit, Edit::Drop(_));
                edit
            }
        });
    }
    Ok(edits)
}

impl Walk<'_> {
    /// What of a file's content need not be handed over again.
    fn old(&self, reader: &Reader<'_>, before: Option<&Entry>) -> Old {
        match before {
            // What is not stored was handed over by the first look of this scan.
            Some(Entry { what: What::File(file), stored, .. }) if *stored || self.round > 0 => {
                reader.old(file)
            }
            _ => Old::default(),
        }
    }

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
fn has_holes(stat: &Stat) -> bool {
    const BLOCK: u64 = 4096;
    stat.len >= BLOCK && stat.allocated < stat.len
}
