//! Reading kept directories and files: a block at a time, each proven before it is handed out.

use std::collections::HashSet;
use std::io;

use super::catalog::{BlockKey, Held};
use super::{ContentError, OpenPacks, Store};
use crate::encode::directory::{self, FileNode, PAGE_LEVEL, TreeEntry};
use crate::encode::{self, ChildRef};
use crate::state::Digest;

/// Why a file could not be handed out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error(transparent)]
    Content(#[from] ContentError),
    /// Whoever takes the bytes failed.
    #[error(transparent)]
    Taker(#[from] io::Error),
}

impl FileError {
    /// The failure to read; the taker's own as if it were one.
    pub(crate) fn into_content(self) -> ContentError {
        match self {
            Self::Content(error) => error,
            Self::Taker(source) => ContentError::Io { segment: 0, source },
        }
    }
}

impl Store {
    /// The bytes of a block, proven against its digest.
    pub(crate) fn read_proven(
        &self,
        key: &BlockKey,
        packs: &mut OpenPacks,
    ) -> Result<Vec<u8>, ContentError> {
        let bytes = self.read_block(key, packs)?;
        if Digest::of(&bytes) == key.0 {
            return Ok(bytes);
        }
        self.catalog.write().drop_block(key);
        Err(ContentError::Damaged(format!("block {} holds other bytes", key.0)))
    }

    /// The entries of a kept directory, in order of their names.
    pub(crate) fn read_directory(
        &self,
        root: BlockKey,
        packs: &mut OpenPacks,
    ) -> Result<Vec<TreeEntry>, ContentError> {
        let mut entries = Vec::new();
        let mut waiting = vec![root];
        while let Some(key) = waiting.pop() {
            let bytes = self.read_proven(&key, packs)?;
            let damaged = |error| ContentError::Damaged(format!("block {}: {error}", key.0));
            match key.1 {
                PAGE_LEVEL => entries.extend(directory::decode(&bytes).map_err(damaged)?),
                level if level > PAGE_LEVEL => {
                    let named = directory::references(level, &bytes).map_err(damaged)?;
                    waiting.extend(named.into_iter().rev());
                }
                _ => return Err(ContentError::Damaged(format!("block {} is no directory", key.0))),
            }
        }
        Ok(entries)
    }

    /// Hands out the bytes of a kept file, in order and chunk by chunk.
    pub(crate) fn read_file(
        &self,
        file: &FileNode,
        take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), FileError> {
        let mut packs = OpenPacks::default();
        let mut waiting: Vec<BlockKey> = file.content.into_iter().collect();
        let mut len = 0;
        while let Some(key) = waiting.pop() {
            let bytes = self.read_proven(&key, &mut packs)?;
            if key.1 == 0 {
                len += bytes.len() as u64;
                take(&bytes)?;
            } else {
                let children = node(&key, &bytes)?;
                waiting.extend(children.iter().rev().map(|child| (child.digest, key.1 - 1)));
            }
        }
        if len != file.len {
            let why = format!("a file has {len} bytes instead of {}", file.len);
            return Err(ContentError::Damaged(why).into());
        }
        Ok(())
    }

    /// The chunks of a kept file, in order; none where they lie in one block, or cannot be read.
    pub(crate) fn chunks_of(&self, root: BlockKey) -> Vec<ChildRef> {
        let mut packs = OpenPacks::default();
        let mut level = root.1;
        let mut refs = vec![ChildRef { digest: root.0, len: 0 }];
        while level > 0 {
            let children = refs.iter().map(|one| {
                let key = (one.digest, level);
                self.read_proven(&key, &mut packs).and_then(|bytes| node(&key, &bytes))
            });
            match children.collect::<Result<Vec<_>, _>>() {
                Ok(children) => refs = children.concat(),
                Err(error) => {
                    tracing::debug!(%error, "a file is read as if it were new");
                    return Vec::new();
                }
            }
            level -= 1;
        }
        if root.1 == 0 { Vec::new() } else { refs }
    }

    /// Reads every block of a checkpoint's workspace and state files that was not proven before.
    pub(crate) fn prove_parts(
        &self,
        held: &Held,
        proven: &mut HashSet<BlockKey>,
    ) -> Result<(), ContentError> {
        self.prove_roots(held.manifest.part_roots(), proven)
    }

    /// The same of some trees.
    pub(crate) fn prove_roots(
        &self,
        roots: impl Iterator<Item = BlockKey>,
        proven: &mut HashSet<BlockKey>,
    ) -> Result<(), ContentError> {
        let mut packs = OpenPacks::default();
        let mut waiting: Vec<BlockKey> = roots.collect();
        while let Some(key) = waiting.pop() {
            if proven.contains(&key) {
                continue;
            }
            let bytes = self.read_proven(&key, &mut packs)?;
            let named = directory::references(key.1, &bytes)
                .map_err(|error| ContentError::Damaged(format!("block {}: {error}", key.0)))?;
            waiting.extend(named);
            proven.insert(key);
        }
        Ok(())
    }
}

fn node(key: &BlockKey, bytes: &[u8]) -> Result<Vec<ChildRef>, ContentError> {
    encode::children(key.1, bytes)
        .map_err(|error| ContentError::Damaged(format!("block {}: {error}", key.0)))
}
