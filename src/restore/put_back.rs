//! Putting a state file back.

use std::io;
use std::path::Path;

use super::Error;
use super::state_file::stat;
use crate::disk::publish::Step;
use crate::disk::{
    self, Access, Disk, DiskFile, Durability, FileTime, NodeKind, PublishError, publish_with,
};
use crate::protection::{self, Protection};

/// The bytes a state file holds now; `None` where it is missing.
pub(crate) fn read_current(disk: &dyn Disk, path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match crate::disk::read(disk, path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Io { doing: "read", path: path.to_owned(), source }),
    }
}

/// Replaces a state file durably; whoever could read it still can. Doing it again changes nothing
/// more.
pub(crate) fn put_back(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<(), Error> {
    put_back_where(disk, path, bytes, || true).map(drop)
}

/// The same where it is still to be replaced once what replaces it is written; whether it was.
pub(crate) fn put_back_where(
    disk: &dyn Disk,
    path: &Path,
    bytes: &[u8],
    stands: impl FnOnce() -> bool,
) -> Result<bool, Error> {
    let failed = |source| Error::Io { doing: "put back", path: path.to_owned(), source };
    let before = stat(disk, path).map_err(failed)?.filter(|it| it.kind == NodeKind::File);
    let attributes = before.map(|it| (it.mode, None));
    let mut stood = true;
    let put = put_in_place(disk, path, attributes, |file| {
        file.write_all_at(bytes, 0)?;
        stood = stands();
        if stood { Ok(()) } else { Err(io::ErrorKind::Interrupted.into()) }
    });
    if stood { put.map(|()| true).map_err(failed) } else { Ok(false) }
}

/// Replaces a file, whose directory is made where it is gone; a mode, and a time where there is one,
/// follow once it is in place.
pub(super) fn put_in_place(
    disk: &dyn Disk,
    path: &Path,
    attributes: Option<(u32, Option<FileTime>)>,
    contents: impl FnOnce(&dyn DiskFile) -> io::Result<()>,
) -> io::Result<()> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    disk::create_dir_all_durable(disk, dir)?;
    replace(disk, path, contents).map_err(PublishError::into_io)?;
    let Some((mode, modified)) = attributes else { return Ok(()) };
    let (tree, name) = (disk.tree(dir)?, Path::new(name));
    tree.set_mode(name, mode)?;
    modified.map_or(Ok(()), |modified| tree.set_modified(name, modified))?;
    tree.open(name)?.sync_all()
}

/// Replaces a file by what `contents` writes: whoever looks meets the old one or the new one.
fn replace(
    disk: &dyn Disk,
    path: &Path,
    contents: impl FnOnce(&dyn DiskFile) -> io::Result<()>,
) -> Result<(), PublishError> {
    if protection::stands(Protection::StagedRestore) {
        return publish_with(disk, path, Durability::Synced, contents);
    }
    write_in_place(disk, path, contents).map_err(|source| PublishError::Failed {
        path: path.to_owned(),
        step: Step::Write,
        source,
        leftover: None,
    })
}

/// What is done without the protection: a crash leaves a part.
fn write_in_place(
    disk: &dyn Disk,
    path: &Path,
    contents: impl FnOnce(&dyn DiskFile) -> io::Result<()>,
) -> io::Result<()> {
    let access = if disk.metadata(path).is_ok() { Access::Write } else { Access::CreateNew };
    let file = disk.open(path, access)?;
    file.set_len(0)?;
    contents(&*file)?;
    file.sync_data()
}
