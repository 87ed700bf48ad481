//! The parts of a checkpoint beside its state: the workspace and the state files, as the manifest
//! tells them.
//!
//! ```text
//! workspace    tagged fields: 1 place (bytes of the absolute path) · 2 the root's fields as a
//!              directory ([`super::directory`]) · 3 files · 4 bytes of files · 5 rules (1 what is
//!              ignored by default was kept) · 6 list of what was left out: varint count · varint
//!              length · root (33) · 7 seq it was inherited from
//! state files  tagged fields: 1 files: each varint length of the path · path · its fields as a file ·
//!              2 seq they were inherited from
//! ```
//!
//! The list of what was left out is JSON in blocks: an array of objects, as receipts show them. It is
//! absent where nothing was left out. Numbers have eight bytes at most, low ones first. Fields that
//! are not known are kept as they are.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use super::directory::{self, DirNode, FileNode, Root};
use super::fields::{self, FieldError, Writer};
use super::varint;
use crate::state::Seq;

/// State files that one checkpoint holds at most: they stand in its record.
pub(crate) const STATE_FILES_MAX: usize = 1000;

/// A kept workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Workspace {
    /// Where it was: absolute.
    pub place: PathBuf,
    /// The root's pages and attributes.
    pub root: DirNode,
    pub files: u64,
    pub bytes: u64,
    /// What is ignored by default was kept.
    pub keeps_defaults: bool,
    pub left_out: Option<LeftOut>,
    pub inherited_from: Option<Seq>,
    pub unknown: Vec<(u8, Vec<u8>)>,
}

/// The list of what was left out of a workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeftOut {
    pub count: u64,
    pub len: u64,
    pub root: Root,
}

/// The kept state files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct StateFiles {
    /// Absolute paths, in their order.
    pub files: Vec<(PathBuf, FileNode)>,
    pub inherited_from: Option<Seq>,
    pub unknown: Vec<(u8, Vec<u8>)>,
}

const KEEPS_DEFAULTS: u64 = 1;

impl Workspace {
    pub(crate) fn roots(&self) -> impl Iterator<Item = Root> + use<> {
        std::iter::once(self.root.root).chain(self.left_out.map(|list| list.root))
    }

    /// What of it counts for the digest of a checkpoint.
    pub(super) fn name_content(&self, hasher: &mut blake3::Hasher) {
        let mut bytes = Vec::new();
        directory::write_dir(&mut bytes, &self.root);
        hasher.update(b"workspace\0").update(&bytes);
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.bytes(1, self.place.as_os_str().as_bytes());
        let mut root = Vec::new();
        directory::write_dir(&mut root, &self.root);
        writer.bytes(2, &root);
        writer.number(3, self.files);
        writer.number(4, self.bytes);
        writer.number(5, if self.keeps_defaults { KEEPS_DEFAULTS } else { 0 });
        if let Some(list) = &self.left_out {
            let mut value = Vec::new();
            varint::write(&mut value, list.count);
            varint::write(&mut value, list.len);
            directory::write_root(&mut value, list.root);
            writer.bytes(6, &value);
        }
        if let Some(seq) = self.inherited_from {
            writer.number(7, seq.0);
        }
        for (tag, value) in &self.unknown {
            writer.bytes(*tag, value);
        }
        writer.finish()
    }

    pub(crate) fn decode(outer: u8, value: &[u8]) -> Result<Self, FieldError> {
        let form = || FieldError::Form(outer);
        let (mut place, mut root, mut left_out, mut inherited_from) = (None, None, None, None);
        let (mut files, mut bytes, mut rules) = (0, 0, 0);
        let mut unknown = Vec::new();
        for field in fields::read(value) {
            match field? {
                (1, value) => place = Some(path_of(value)),
                (2, mut value) => {
                    let node = directory::read_dir(&mut value).map_err(|_| form())?;
                    root = Some(node).filter(|_| value.is_empty());
                }
                (3, value) => files = fields::number(outer, value)?,
                (4, value) => bytes = fields::number(outer, value)?,
                (5, value) => rules = fields::number(outer, value)?,
                (6, value) => left_out = Some(LeftOut::decode(value).ok_or_else(form)?),
                (7, value) => inherited_from = Some(Seq(fields::number(outer, value)?)),
                (tag, value) => unknown.push((tag, value.to_vec())),
            }
        }
        let keeps_defaults = rules & KEEPS_DEFAULTS != 0;
        let place = place.ok_or_else(form)?;
        let root = root.ok_or_else(form)?;
        Ok(Self { place, root, files, bytes, keeps_defaults, left_out, inherited_from, unknown })
    }
}

impl LeftOut {
    fn decode(mut value: &[u8]) -> Option<Self> {
        let count = directory::read_number(&mut value).ok()?;
        let len = directory::read_number(&mut value).ok()?;
        let root = directory::read_root(&mut value).ok()?;
        value.is_empty().then_some(Self { count, len, root })
    }
}

impl StateFiles {
    pub(crate) fn roots(&self) -> impl Iterator<Item = Root> + '_ {
        self.files.iter().filter_map(|(_, file)| file.content)
    }

    /// What of them counts for the digest of a checkpoint.
    pub(super) fn name_content(&self, hasher: &mut blake3::Hasher) {
        hasher.update(b"state_files\0").update(&self.encode_files());
    }

    fn encode_files(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (path, file) in &self.files {
            directory::write_bytes(&mut out, path.as_os_str().as_bytes());
            directory::write_file(&mut out, file);
        }
        out
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.bytes(1, &self.encode_files());
        if let Some(seq) = self.inherited_from {
            writer.number(2, seq.0);
        }
        for (tag, value) in &self.unknown {
            writer.bytes(*tag, value);
        }
        writer.finish()
    }

    pub(crate) fn decode(outer: u8, value: &[u8]) -> Result<Self, FieldError> {
        let mut files = Self::default();
        for field in fields::read(value) {
            match field? {
                (1, value) => {
                    files.files = files_of(value).ok_or(FieldError::Form(outer))?;
                }
                (2, value) => files.inherited_from = Some(Seq(fields::number(outer, value)?)),
                (tag, value) => files.unknown.push((tag, value.to_vec())),
            }
        }
        Ok(files)
    }
}

fn files_of(mut bytes: &[u8]) -> Option<Vec<(PathBuf, FileNode)>> {
    let mut files = Vec::new();
    while !bytes.is_empty() {
        let path = path_of(directory::read_bytes(&mut bytes).ok()?);
        files.push((path, directory::read_file(&mut bytes).ok()?));
    }
    Some(files)
}

fn path_of(bytes: &[u8]) -> PathBuf {
    OsString::from_vec(bytes.to_vec()).into()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::disk::FileTime;
    use crate::state::Digest;

    pub(crate) fn workspace() -> Workspace {
        Workspace {
            place: OsString::from_vec(b"/w/\xff".to_vec()).into(),
            root: DirNode {
                root: (Digest([5; 32]), 129),
                mode: 0o755,
                modified: FileTime { secs: -1, nanos: 999_999_999 },
            },
            files: 20_000,
            bytes: 260 << 20,
            keeps_defaults: true,
            left_out: Some(LeftOut { count: 2, len: 300, root: (Digest([6; 32]), 0) }),
            inherited_from: Some(Seq(7)),
            unknown: vec![(99, b"later".to_vec())],
        }
    }

    pub(crate) fn state_files() -> StateFiles {
        let file = FileNode {
            len: 9,
            content: Some((Digest([7; 32]), 0)),
            mode: 0o600,
            modified: FileTime { secs: 5, nanos: 6 },
            has_holes: false,
            group: None,
        };
        let empty = FileNode { len: 0, content: None, ..file };
        StateFiles {
            files: vec![("/a/b.db".into(), file), ("/c".into(), empty)],
            inherited_from: Some(Seq(3)),
            unknown: vec![(98, b"later".to_vec())],
        }
    }

    #[test]
    fn a_cut_part_is_refused_or_smaller() {
        let (workspace, files) = (workspace().encode(), state_files().encode());
        for cut in 0..workspace.len() {
            let read = Workspace::decode(19, &workspace[..cut]);
            assert!(read.is_err() || read.unwrap() != self::workspace(), "cut at {cut}");
        }
        for cut in 0..files.len() {
            let read = StateFiles::decode(20, &files[..cut]);
            assert!(read.is_err() || read.unwrap() != state_files(), "cut at {cut}");
        }
    }

    #[test]
    fn where_a_workspace_was_does_not_count_for_its_content() {
        let named = |workspace: &Workspace| {
            let mut hasher = blake3::Hasher::new();
            workspace.name_content(&mut hasher);
            hasher.finalize()
        };
        let moved = Workspace { place: "/elsewhere".into(), inherited_from: None, ..workspace() };
        assert_eq!(named(&moved), named(&workspace()));
        let root = DirNode { mode: 0o700, ..moved.root };
        assert_ne!(named(&Workspace { root, ..moved }), named(&workspace()));
    }
}
