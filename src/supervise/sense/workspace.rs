//! A workspace as drift sees it: what changed from one checkpoint to the next, and a digest that is
//! equal where contents are equal, whatever their times.
//!
//! The digest is the sum, by exclusive or, of one digest for each file and its content, counted from
//! the first checkpoint that was seen. So it is known from the changes alone, and a content that
//! comes back brings back its digest. Whoever makes up files could make two digests equal; nothing
//! is promised against that.

use std::path::{Path, PathBuf};

use crate::drift::sighting::WorkspaceSeen;
use crate::encode::ChangeKind;
use crate::manager::{Aspect, FileDifference, FileFacts, FileKind};
use crate::state::Digest;

/// Paths that are told of one change; protected ones among more are found in part.
const TOUCHED_MAX: usize = 1000;

/// The sum of what a workspace holds, counted from when it was first seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Contents([u8; 32]);

impl Contents {
    /// Takes changes; what is to be told of a workspace of so many files.
    pub(crate) fn take(&mut self, changes: &[FileDifference], files: u64) -> WorkspaceSeen {
        let real: Vec<&FileDifference> = changes.iter().filter(|it| is_of_content(it)).collect();
        for change in &real {
            for facts in change.before.iter().chain(&change.after) {
                self.mix(&change.path, facts);
            }
        }
        let gone = |it: &&&FileDifference| it.change == ChangeKind::Removed;
        let deleted = real.iter().filter(gone).count();
        let touched: Vec<PathBuf> =
            real.iter().map(|it| it.path.clone()).take(TOUCHED_MAX).collect();
        WorkspaceSeen {
            digest: Digest(self.0),
            files,
            changed: (real.len() - deleted) as u64,
            deleted: deleted as u64,
            touched,
        }
    }

    fn mix(&mut self, path: &Path, facts: &FileFacts) {
        let mut hasher = blake3::Hasher::new();
        let path = path.as_os_str().as_encoded_bytes();
        let target = facts.target.as_ref().map(|target| target.as_os_str().as_encoded_bytes());
        hasher.update(&(path.len() as u64).to_le_bytes()).update(path);
        hasher.update(&facts.bytes.to_le_bytes());
        hasher.update(&facts.digest.map_or([0; 32], |digest| digest.0));
        hasher.update(target.unwrap_or_default());
        for (sum, byte) in self.0.iter_mut().zip(hasher.finalize().as_bytes()) {
            *sum ^= byte;
        }
    }
}

/// Whether a file or a link is another than before, and not only its times or its mode.
fn is_of_content(it: &FileDifference) -> bool {
    let another = it.change != ChangeKind::Changed
        || it
            .what
            .iter()
            .any(|what| matches!(what, Aspect::Kind | Aspect::Content | Aspect::Target));
    it.kind != FileKind::Dir && another
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Timestamp;

    fn file(content: u8) -> FileFacts {
        FileFacts {
            kind: FileKind::File,
            bytes: 3,
            mode: Some(0o644),
            modified_at: Timestamp::from_unix_ms(i64::from(content)),
            digest: Some(Digest([content; 32])),
            target: None,
        }
    }

    fn change(path: &str, before: Option<u8>, after: Option<u8>) -> FileDifference {
        let (change, what) = match (before, after) {
            (Some(_), None) => (ChangeKind::Removed, Vec::new()),
            (None, _) => (ChangeKind::Added, Vec::new()),
            (Some(a), Some(b)) if a == b => (ChangeKind::Changed, vec![Aspect::Modified]),
            (Some(_), Some(_)) => (ChangeKind::Changed, vec![Aspect::Content, Aspect::Modified]),
        };
        FileDifference {
            path: path.into(),
            change,
            kind: FileKind::File,
            what,
            before: before.map(file),
            after: after.map(file),
            diff: None,
            no_diff: None,
        }
    }

    #[test]
    fn a_content_that_comes_back_has_the_digest_it_had() {
        let mut contents = Contents::default();
        let first = contents.take(&[change("a", None, Some(1))], 1);
        assert_eq!((first.changed, first.deleted, first.files), (1, 0, 1));
        let other = contents.take(&[change("a", Some(1), Some(2)), change("b", None, Some(1))], 2);
        assert_ne!(other.digest, first.digest);
        assert_eq!(other.touched, [PathBuf::from("a"), PathBuf::from("b")]);
        let back = contents.take(&[change("a", Some(2), Some(1)), change("b", Some(1), None)], 1);
        assert_eq!((back.digest, back.changed, back.deleted), (first.digest, 1, 1));
        let moved = contents.take(&[change("a", Some(1), None), change("c", None, Some(1))], 1);
        assert_ne!(moved.digest, first.digest, "the name counts");
    }

    #[test]
    fn times_alone_are_no_change() {
        let mut contents = Contents::default();
        let seen = contents.take(&[change("a", Some(1), Some(1))], 1);
        assert_eq!((seen.changed, seen.touched.len()), (0, 0));
        assert_eq!(contents, Contents::default());
    }
}
