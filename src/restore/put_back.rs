//! Putting a state file back.

use std::io;
use std::path::Path;

use super::Error;
use crate::disk::{Disk, Durability, PublishError, publish};

/// The bytes a state file holds now; `None` where it is missing.
pub(crate) fn read_current(disk: &dyn Disk, path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match crate::disk::read(disk, path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Io { doing: "read", path: path.to_owned(), source }),
    }
}

/// Replaces a state file durably. Doing it again changes nothing more.
pub(crate) fn put_back(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<(), Error> {
    publish(disk, path, bytes, Durability::Synced)
        .map_err(PublishError::into_io)
        .map_err(|source| Error::Io { doing: "put back", path: path.to_owned(), source })
}
