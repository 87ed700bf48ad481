//! Putting a state file back.

use std::io;
use std::path::Path;

use super::Error;
use crate::disk::publish::Step;
use crate::disk::{self, Access, Disk, DiskFile, Durability, NodeKind, PublishError, publish_with};
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
    let failed = |source| Error::Io { doing: "put back", path: path.to_owned(), source };
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(failed(io::ErrorKind::InvalidInput.into()));
    };
    disk::create_dir_all_durable(disk, dir).map_err(failed)?;
    let name = Path::new(name);
    let tree = disk.tree(dir).map_err(failed)?;
    let before = tree.stat(name).ok().filter(|before| before.kind == NodeKind::File);
    replace(disk, path, |file| file.write_all_at(bytes, 0))
        .map_err(PublishError::into_io)
        .map_err(failed)?;
    match before {
        Some(before) => tree
            .set_mode(name, before.mode)
            .and_then(|()| tree.open(name)?.sync_all())
            .map_err(failed),
        None => Ok(()),
    }
}

/// Replaces a file by what `contents` writes: whoever looks meets the old one or the new one.
pub(super) fn replace(
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
