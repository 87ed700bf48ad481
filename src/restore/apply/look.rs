//! Telling what a thing is that was found in a place or a slot: by its contents, since a crash leaves
//! nothing else to go by.

use std::io;
use std::path::Path;

use super::Restore;
use crate::disk::{NodeKind, Stat};
use crate::encode::directory::{FileNode, LinkNode, Node, Root};
use crate::encode::encode_file;
use crate::restore::Error;
use crate::restore::staging::is_gone;

impl Restore<'_> {
    /// Whether a thing has the content of `node`, whatever its attributes are.
    pub(in crate::restore) fn is_leaf(
        &self,
        at: &Path,
        found: &Stat,
        node: Option<&Node>,
    ) -> Result<bool, Error> {
        match node {
            Some(Node::File(file)) => self.is_file(at, found, file),
            Some(Node::Link(link)) => self.is_link(at, found, link),
            Some(Node::Dir(_)) | None => Ok(false),
        }
    }

    fn is_link(&self, at: &Path, found: &Stat, link: &LinkNode) -> Result<bool, Error> {
        if found.kind != NodeKind::Link {
            return Ok(false);
        }
        match self.tree.read_link(at) {
            Ok(target) => Ok(target == link.target),
            Err(error) if is_gone(&error) || error.kind() == io::ErrorKind::InvalidInput => {
                Ok(false)
            }
            Err(error) => Err(Error::io("read", at, error)),
        }
    }

    fn is_file(&self, at: &Path, found: &Stat, file: &FileNode) -> Result<bool, Error> {
        if found.kind != NodeKind::File || found.len != file.len {
            return Ok(false);
        }
        match self.content_of(at) {
            Ok(content) => Ok(content == (file.len, file.content)),
            Err(error) if is_gone(&error) => Ok(false),
            // What nobody may read, no checkpoint holds.
            Err(error)
                if error.kind() == io::ErrorKind::PermissionDenied && found.mode & 0o400 == 0 =>
            {
                Ok(false)
            }
            Err(error) => Err(Error::io("read", at, error)),
        }
    }

    fn content_of(&self, at: &Path) -> io::Result<(u64, Option<Root>)> {
        let file = self.tree.open(at)?;
        let mut offset = 0;
        let mut read = |buffer: &mut [u8]| {
            let read = file.read_at(buffer, offset)?;
            offset += read as u64;
            Ok::<_, io::Error>(read)
        };
        encode_file(&mut read, &[], &mut |_| Ok(()))
    }
}

/// Whether a thing that was moved is the one that was seen before, unchanged. The time of the last
/// change of anything is left out: the move itself changes it.
pub(super) fn is_same(seen: &Stat, moved: &Stat) -> bool {
    let told = |it: &Stat| (it.kind, it.len, it.mode, it.modified, it.device, it.inode);
    told(seen) == told(moved)
}
