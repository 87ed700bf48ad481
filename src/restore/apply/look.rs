//! Telling what a thing is that was found in a place or a slot: by its contents, since a crash leaves
//! nothing else to go by.

use std::io;
use std::path::Path;

use super::Restore;
use crate::disk::{FileTime, NodeKind, Stat};
use crate::encode::directory::{FileNode, LinkNode, Node, Root};
use crate::encode::encode_file;
use crate::restore::Error;
use crate::restore::staging::is_gone;
use crate::state::Timestamp;

/// The kernel's clock for files moves in steps of up to 10 ms.
const STEP_MS: i64 = 20;
/// Where times have whole seconds only; FAT has every second one.
const STEP_COARSE_MS: i64 = 2000;

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

/// Whether what is changed after `began` could show this time of change: both are by the clock of the
/// file system, which moves in steps.
pub(super) fn may_show_again(modified: FileTime, began: FileTime) -> bool {
    let step = if modified.nanos == 0 { STEP_COARSE_MS } else { STEP_MS };
    let ms = |time: FileTime| Timestamp::from(time).unix_ms();
    ms(modified).saturating_add(step) >= ms(began)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_time_that_is_clearly_past_shows_no_further_change() {
        let began = FileTime { secs: 1000, nanos: 500_000_000 };
        for (secs, nanos, may) in [
            (1000, 500_000_000, true),
            (1000, 480_000_000, true),
            (1000, 479_000_000, false),
            (1001, 1, true),
            (999, 0, true),
            (998, 0, false),
        ] {
            assert_eq!(may_show_again(FileTime { secs, nanos }, began), may, "{secs} s {nanos} ns");
        }
    }
}
