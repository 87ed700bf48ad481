//! State files: single files, in a workspace or outside, kept byte for byte.
//!
//! Each is read as a file of a workspace is: until it holds still, and a database of `SQLite` with
//! its log and its journal, which are then state files too. A link is not followed: the file it
//! leads to has to be named itself. What is missing, no file, or unreadable is skipped and listed.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Error;
use super::files::has_holes;
use super::horizon::Horizon;
use super::reading::{Contents, Old, ReadError, Reader};
use super::sink::{Sink, Tally};
use super::sqlite::{self, Part, Unit};
use crate::clock::Clock;
use crate::disk::{Disk, DiskTree, NodeKind};
use crate::encode::directory::FileNode;
use crate::state::{Skipped, Why};

/// What was found at the places of state files.
#[derive(Debug, Default)]
pub(crate) struct StateFilesFound {
    pub files: Vec<(PathBuf, FileNode)>,
    pub skipped: Vec<Skipped>,
    pub unsettled: Vec<PathBuf>,
}

/// What stood at one place: the file and what belongs to it, by name.
struct Taken {
    files: Vec<(PathBuf, Contents)>,
    is_settled: bool,
}

/// Reads state files by their absolute paths.
///
/// # Errors
/// When whoever takes the blocks fails; a file that cannot be read is listed.
pub(crate) fn state_files(
    disk: &Arc<dyn Disk>,
    clock: &Arc<dyn Clock>,
    paths: &[PathBuf],
    sink: &Sink<'_>,
) -> Result<StateFilesFound, Error> {
    let mut found = StateFilesFound::default();
    let mapped = disk.mapped_files().unwrap_or_default();
    let tally = Tally::default();
    for path in paths {
        let is_network = disk.file_system(path).is_ok_and(|found| found.network);
        let now = || Horizon { began: clock.now(), is_network };
        let taken = open(&**disk, path).and_then(|(tree, name)| {
            let mut reader = Reader::new(&*tree, sink, &tally);
            let is_mapped = |inode| mapped.contains(&inode);
            let taken = take(&mut reader, name, &is_mapped, &now)?;
            reader.finish()?;
            Ok(taken)
        });
        match taken {
            Ok(Some(taken)) => found.note(path, taken),
            Ok(None) => found.skip(path, Why::Special),
            Err(ReadError::Sink(error)) => return Err(error.into()),
            Err(ReadError::Disk(error)) => {
                let missing = error.kind() == io::ErrorKind::NotFound;
                found.skip(path, if missing { Why::Missing } else { Why::Unreadable });
            }
        }
    }
    Ok(found)
}

fn open<'p>(disk: &dyn Disk, path: &'p Path) -> Result<(Arc<dyn DiskTree>, &'p OsStr), ReadError> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::from(io::ErrorKind::InvalidInput).into());
    };
    Ok((disk.tree(dir)?, name))
}

/// Reads a file and what belongs to it; `None` where it is no file.
fn take(
    reader: &mut Reader<'_>,
    name: &OsStr,
    is_mapped: &dyn Fn(u64) -> bool,
    now: &dyn Fn() -> Horizon,
) -> Result<Option<Taken>, ReadError> {
    let path = PathBuf::from(name);
    let stat = reader.tree.stat(&path)?;
    if stat.kind != NodeKind::File {
        return Ok(None);
    }
    let contents = reader.read(&path, &Old::default(), is_mapped(stat.inode))?;
    if !contents.is_database {
        let is_settled = contents.is_settled;
        return Ok(Some(Taken { files: vec![(path, contents)], is_settled }));
    }
    let part = |path: PathBuf| Part { path, known: None, old: Old::default() };
    let [wal, journal, _] = sqlite::beside(name).map(PathBuf::from);
    let unit = Unit {
        database: part(path.clone()),
        wal: part(wal.clone()),
        journal: part(journal.clone()),
    };
    let sqlite::Taken { database, wal: log, journal: rollback, is_settled } =
        unit.read(reader, now)?;
    let mut files = vec![(path, database)];
    files.extend(log.map(|contents| (wal, contents)));
    files.extend(rollback.map(|contents| (journal, contents)));
    Ok(Some(Taken { files, is_settled }))
}

impl StateFilesFound {
    fn note(&mut self, path: &Path, taken: Taken) {
        if !taken.is_settled {
            self.unsettled.push(path.to_owned());
        }
        for (name, contents) in taken.files {
            let path = path.with_file_name(name);
            // The log of a database may have been named by itself too.
            if !self.files.iter().any(|(known, _)| *known == path) {
                self.files.push((path, node(&contents)));
            }
        }
    }

    fn skip(&mut self, path: &Path, why: Why) {
        self.skipped.push(Skipped { path: path.to_owned(), why, bytes: None, others: 0 });
    }
}

fn node(contents: &Contents) -> FileNode {
    FileNode {
        len: contents.len,
        content: contents.root,
        mode: contents.stat.mode,
        modified: contents.stat.modified,
        has_holes: has_holes(&contents.stat),
        group: None,
    }
}
