//! State files: what stands at their places, and putting them back.
//!
//! A state file is replaced as a whole: who reads it meets the old bytes or the new ones. Its mode
//! and time follow once it is in place; doing it again changes nothing more. The journals of a
//! database that is put back without them are removed, because with an older database they would
//! damage it.

use std::io;
use std::path::{Path, PathBuf};

use super::Error;
use super::put_back::put_in_place;
use super::write::Content;
use crate::collect;
use crate::disk::{self, Disk, NodeKind, Stat};
use crate::encode::directory::FileNode;
use crate::encode::encode_file;

/// What stands at the place of a state file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    pub stat: Stat,
    /// Whether it is, byte for byte and in mode and time, what is wanted.
    pub is_wanted: bool,
}

/// Looks at a state file; `None` where it is missing.
pub(crate) fn look(
    disk: &dyn Disk,
    path: &Path,
    wanted: &FileNode,
) -> Result<Option<Found>, Error> {
    let failed = |source| Error::Io { doing: "look at", path: path.to_owned(), source };
    let Some(stat) = stat(disk, path).map_err(failed)? else { return Ok(None) };
    let alike = stat.kind == NodeKind::File
        && stat.len == wanted.len
        && stat.mode == wanted.mode
        && stat.modified == wanted.modified;
    let is_wanted = alike && root_of(disk, path).map_err(failed)? == wanted.content;
    Ok(Some(Found { stat, is_wanted }))
}

pub(super) fn stat(disk: &dyn Disk, path: &Path) -> io::Result<Option<Stat>> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let found = disk.tree(dir).and_then(|tree| tree.stat(Path::new(name)));
    match found {
        Ok(stat) => Ok(Some(stat)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn root_of(disk: &dyn Disk, path: &Path) -> io::Result<Option<crate::encode::directory::Root>> {
    let file = disk.open(path, disk::Access::Read)?;
    let mut at = 0;
    let read = &mut |buffer: &mut [u8]| {
        let read = file.read_at(buffer, at)?;
        at += read as u64;
        Ok::<_, io::Error>(read)
    };
    Ok(encode_file(read, &[], &mut |_| Ok(()))?.1)
}

/// Puts a state file back, durably, unless what stands there holds none of the contents that are
/// `known`: then somebody wrote it since. Answers whether it was put back.
///
/// It is looked at last when all that is left to do is to move the new file into its place.
pub(crate) fn put_back_file(
    disk: &dyn Disk,
    path: &Path,
    wanted: &FileNode,
    content: &Content<'_>,
    known: Option<&[FileNode]>,
) -> Result<bool, Error> {
    let (mut unreadable, mut looked) = (None, Ok(true));
    let attributes = Some((wanted.mode, Some(wanted.modified)));
    let put = put_in_place(disk, path, attributes, |file| {
        let mut at = 0;
        let handed = content(wanted, &mut |bytes| {
            file.write_all_at(bytes, at)?;
            at += bytes.len() as u64;
            Ok(())
        });
        handed.map_err(|cause| {
            let told = io::Error::other(cause.to_string());
            unreadable = Some(cause);
            told
        })?;
        if let Some(known) = known {
            file.sync_all()?;
            looked = holds_one_of(disk, path, known);
        }
        if let Ok(true) = looked { Ok(()) } else { Err(io::ErrorKind::Interrupted.into()) }
    });
    if let Some(source) = unreadable {
        return Err(Error::Content { path: path.to_owned(), source });
    }
    if !looked? {
        return Ok(false);
    }
    let failed = |source| Error::Io { doing: "put back", path: path.to_owned(), source };
    put.map_err(failed)?;
    Ok(true)
}

/// The file that a journal belongs to by its name; any other file itself.
pub(crate) fn owner_of(path: &Path) -> PathBuf {
    let owner = path.file_name().and_then(collect::database_of);
    owner.map_or_else(|| path.to_owned(), |owner| path.with_file_name(owner))
}

/// What a file is put back or left alone with: itself, and the journals it has if it is a database.
/// The index is none of them, because `SQLite` makes it anew.
pub(crate) fn with_journals(file: &Path) -> [PathBuf; 3] {
    let [log, journal, _] = companions(file);
    [file.to_owned(), log, journal]
}

fn companions(file: &Path) -> [PathBuf; 3] {
    collect::beside(file.as_os_str()).map(PathBuf::from)
}

/// The journals that stand beside a database and are not among those that are wanted. What is only
/// named like one is somebody's file.
pub(crate) fn stray_companions(
    disk: &dyn Disk,
    path: &Path,
    wanted: impl Fn(&Path) -> bool,
) -> Result<Vec<PathBuf>, Error> {
    let is_of_database = |path: &Path| -> Result<bool, Error> {
        let head = head(disk, path).map_err(|source| Error::Io {
            doing: "read",
            path: path.to_owned(),
            source,
        })?;
        Ok(collect::is_of_database(&head))
    };
    let beside_database = is_of_database(path)?;
    let mut strays = Vec::new();
    for companion in companions(path) {
        let found = stat(disk, &companion).map_err(|source| Error::Io {
            doing: "look at",
            path: companion.clone(),
            source,
        })?;
        if found.is_some_and(|stat| stat.kind == NodeKind::File)
            && !wanted(&companion)
            && (beside_database || is_of_database(&companion)?)
        {
            strays.push(companion);
        }
    }
    Ok(strays)
}

/// What a file begins with; nothing where there is none.
fn head(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    let file = match disk.open(path, disk::Access::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        opened => opened?,
    };
    let mut head = vec![0; 16];
    let read = file.read_at(&mut head, 0)?;
    head.truncate(read);
    Ok(head)
}

/// Whether a journal holds nothing that would be missed: there is nothing in it, or `SQLite` makes it
/// anew from the others.
pub(crate) fn is_spare(disk: &dyn Disk, path: &Path) -> Result<bool, Error> {
    let failed = |source| Error::Io { doing: "look at", path: path.to_owned(), source };
    let is_index = path.file_name().is_some_and(collect::is_index);
    Ok(is_index || stat(disk, path).map_err(failed)?.is_none_or(|stat| stat.len == 0))
}

/// Whether nothing stands at a place, or just the content of one of these.
pub(crate) fn holds_one_of(
    disk: &dyn Disk,
    path: &Path,
    known: &[FileNode],
) -> Result<bool, Error> {
    let failed = |source| Error::Io { doing: "look at", path: path.to_owned(), source };
    let Some(stat) = stat(disk, path).map_err(failed)? else { return Ok(true) };
    if stat.kind != NodeKind::File {
        return Ok(false);
    }
    let content = root_of(disk, path).map_err(failed)?;
    Ok(known.iter().any(|node| node.content == content && node.len == stat.len))
}

/// Removes a file, durably; one that is gone already is no error.
pub(crate) fn remove(disk: &dyn Disk, path: &Path) -> Result<(), Error> {
    let removed = match disk.remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => path.parent().map_or(Ok(()), |dir| disk.sync_dir(dir)),
    };
    removed.map_err(|source| Error::Io { doing: "remove", path: path.to_owned(), source })
}
