//! The registry: which stores this user has made, so that an unmounted volume is told from a fresh
//! start.
//!
//! One small JSON file for each store, in the user's state directory, named by the digest of the
//! store's path. It decides one thing only: where a path is known and holds nothing, no new store is
//! made there without being asked for. A registry that cannot be read or written is passed over.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::disk::{Disk, Durability, PublishError, create_dir_all_durable, publish, read};
use crate::state::Digest;

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    path: PathBuf,
    store_id: Uuid,
}

fn file_of(registry: &Path, store: &Path) -> PathBuf {
    let digest = Digest::of(store.as_os_str().as_encoded_bytes()).to_string();
    registry.join(format!("{}.json", &digest["blake3:".len()..][..32]))
}

/// The identity of the store that was made at this path, where the registry knows one.
pub(crate) fn known(disk: &dyn Disk, registry: &Path, store: &Path) -> Option<Uuid> {
    let bytes = read(disk, &file_of(registry, store)).ok()?;
    let entry: Entry = serde_json::from_slice(&bytes).ok()?;
    (entry.path == store).then_some(entry.store_id)
}

/// Notes that a store is at this path.
pub(crate) fn note(
    disk: &dyn Disk,
    registry: &Path,
    store: &Path,
    store_id: Uuid,
) -> io::Result<()> {
    if known(disk, registry, store) == Some(store_id) {
        return Ok(());
    }
    create_dir_all_durable(disk, registry)?;
    let entry = Entry { path: store.to_owned(), store_id };
    let text = serde_json::to_vec(&entry).map_err(io::Error::other)?;
    publish(disk, &file_of(registry, store), &text, Durability::Unsynced)
        .map_err(PublishError::into_io)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;

    #[test]
    fn a_noted_store_is_known_by_its_path_alone() {
        let disk = MemoryDisk::new();
        let (registry, store, id) = (Path::new("/r/stores"), Path::new("/s"), Uuid::new_v4());
        assert_eq!(known(&disk, registry, store), None);
        note(&disk, registry, store, id).unwrap();
        assert_eq!(known(&disk, registry, store), Some(id));
        assert_eq!(known(&disk, registry, Path::new("/t")), None);
    }
}
