//! Setting aside: what is damaged or unfinished is copied before anything is done about it.
//!
//! A copy's name says what it is a copy of, so that the same damage is copied once. Copies are
//! evidence for a person; nothing reads them back.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::layout::Layout;
use crate::disk::{Access, Disk, Durability, EntryKind, PublishError, publish};

/// The largest copy that is made; longer ranges are copied up to here.
const COPY_BYTES_MAX: u64 = 64 << 20;
const PIECE: usize = 64 << 10;

/// What became of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kept {
    /// It was made now.
    New(PathBuf),
    /// It was there already.
    Known(PathBuf),
}

/// Copies a range of a file into the quarantine. Pieces that cannot be read are zeros in the copy.
pub(crate) fn keep_range(
    disk: &dyn Disk,
    layout: &Layout,
    file: &Path,
    range: &Range<u64>,
) -> io::Result<Kept> {
    let stem = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name = format!("{stem}-{}-{}", range.start, range.end);
    let path = layout.quarantine().join(name);
    if disk.metadata(&path).is_ok() {
        return Ok(Kept::Known(path));
    }
    keep(disk, layout, &path, &read_range(disk, file, range)?)?;
    Ok(Kept::New(path))
}

/// Moves a file into the quarantine.
pub(crate) fn move_in(disk: &dyn Disk, layout: &Layout, file: &Path) -> io::Result<PathBuf> {
    make_dir(disk, layout)?;
    let stem = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let path = layout.quarantine().join(format!("{stem}-{}", uuid::Uuid::new_v4().simple()));
    disk.rename(file, &path)?;
    Ok(path)
}

fn keep(disk: &dyn Disk, layout: &Layout, path: &Path, bytes: &[u8]) -> io::Result<()> {
    make_dir(disk, layout)?;
    publish(disk, path, bytes, Durability::Synced).map_err(PublishError::into_io)
}

fn make_dir(disk: &dyn Disk, layout: &Layout) -> io::Result<()> {
    match disk.create_dir(&layout.quarantine()) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
        Ok(()) => disk.sync_dir(layout.root()),
    }
}

fn read_range(disk: &dyn Disk, file: &Path, range: &Range<u64>) -> io::Result<Vec<u8>> {
    let file = disk.open(file, Access::Read)?;
    let end = range.end.min(file.len()?).min(range.start.saturating_add(COPY_BYTES_MAX));
    let mut bytes = Vec::new();
    let mut at = range.start;
    while at < end {
        let len = usize::try_from(end - at).unwrap_or(PIECE).min(PIECE);
        let start = bytes.len();
        bytes.resize(start + len, 0);
        let read = match file.read_at(&mut bytes[start..], at) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) => {
                tracing::warn!(offset = at, %error, "copied as zeros: it cannot be read");
                len
            }
        };
        bytes.truncate(start + read);
        at += read as u64;
    }
    Ok(bytes)
}

/// Removes every copy.
pub(crate) fn clear(disk: &dyn Disk, layout: &Layout) -> io::Result<()> {
    let entries = match disk.read_dir(&layout.quarantine()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries.iter().filter(|entry| entry.kind == EntryKind::File) {
        super::remove_if_there(disk, &layout.quarantine().join(&entry.name))?;
    }
    Ok(())
}

/// How many copies lie there.
pub(crate) fn count(disk: &dyn Disk, layout: &Layout) -> io::Result<usize> {
    match disk.read_dir(&layout.quarantine()) {
        Ok(entries) => Ok(entries.iter().filter(|entry| entry.kind == EntryKind::File).count()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}
