//! What differs between two checkpoints, or between one and what is there now: states, state files,
//! workspaces.
//!
//! Nothing is kept and nothing is changed: a live workspace is scanned as before a restore, and what
//! the scan reads goes nowhere. Two trees are walked a name at a time ([`walk`]); directories that are
//! the same page for page are not entered. What one side left out of its tree (ignored, too large) is
//! not compared with what the other side holds there, but listed. Texts are told line by line within
//! bounds: of a file, [`TEXT_BYTES_MAX`]; of all files of a part, [`TOLD_BYTES_MAX`].

#[cfg(feature = "cli")]
mod changes;
mod live;
mod walk;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use self::walk::Pair;
use super::agent::Agent;
use super::error::Error;
use super::files::{FileFacts, FileKind, Reader};
use super::resolve::Resolved;
use super::tree_plan::{Kept, Now};
use crate::encode::directory::{FileNode, Node};
use crate::encode::{Change, ChangeKind, NoText, TEXT_BYTES_MAX, diff, unified};
use crate::state::Skipped;
use crate::state::lossy;

/// Diffs that are told of the files of a part; what is longer nobody reads.
const TOLD_BYTES_MAX: usize = 4 << 20;

/// What differs, part by part.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Differences {
    /// Between the states.
    pub state: Vec<Change>,
    /// Between the state files, by their absolute paths.
    pub state_files: Vec<FileDifference>,
    /// Between the workspaces, by paths from their root, a directory before what is in it. The root
    /// itself is `.`.
    pub files: Vec<FileDifference>,
    /// What one side left out and the other one holds; it is not compared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_compared: Vec<Skipped>,
    /// Parts of the checkpoint (`state`, `state_files`, `workspace`) that were not compared with what
    /// is there now, because it is not known where that is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unplaced: Vec<String>,
}

/// A file, directory or link that is not the same on both sides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct FileDifference {
    /// Where it is; in JSON, what is not UTF-8 is replaced.
    #[serde(serialize_with = "lossy::path")]
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub path: PathBuf,
    /// What happened to it.
    pub change: ChangeKind,
    /// What it is on the second side, or was where it is gone.
    pub kind: FileKind,
    /// In what it differs, where it is on both sides.
    pub what: Vec<Aspect>,
    /// What it is on the first side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<FileFacts>,
    /// What it is on the second side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<FileFacts>,
    /// Its lines as a unified diff, where it is a text and they differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff: Option<String>,
    /// Why there is no such diff, where the content differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_diff: Option<NoText>,
}

/// In what two things of one name may differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub enum Aspect {
    /// One is a file, the other a directory or a link.
    Kind,
    /// The bytes of a file.
    Content,
    /// Where a link leads.
    Target,
    /// The permission bits.
    Mode,
    /// The time of the last change of content.
    Modified,
}

impl Differences {
    /// Whether nothing differs but times.
    #[must_use]
    pub fn is_only_times(&self) -> bool {
        let mut files = self.state_files.iter().chain(&self.files);
        self.state.is_empty() && files.all(FileDifference::is_only_time)
    }
}

impl FileDifference {
    /// Whether nothing but the time of the last change differs.
    #[must_use]
    pub fn is_only_time(&self) -> bool {
        self.what == [Aspect::Modified]
    }
}

impl Agent {
    /// The differences from checkpoint `a` to checkpoint `b`, or without `b` to what is there now: the
    /// agent's source or the file that the state was read from, the state files, and the workspace of
    /// this handle or else the one that the checkpoint was taken from.
    ///
    /// # Errors
    /// `not_found`; `damaged` where a side cannot be read; what a scan of the workspace answers.
    pub fn differences(&self, a: &str, b: Option<&str>) -> Result<Differences, Error> {
        let a = Version::read(self, a)?;
        match b {
            Some(b) => a.compared_with(&Version::read(self, b)?),
            None => live::since(self, &a),
        }
    }
}

/// A checkpoint that is compared.
struct Version {
    state: Option<Vec<u8>>,
    /// Absent for a view that the log knows nothing of: it shows a state and nothing else.
    parts: Option<(Resolved, Reader)>,
}

impl Version {
    fn read(agent: &Agent, reference: &str) -> Result<Self, Error> {
        let loaded = agent.read_checkpoint(reference)?;
        let parts = match agent.resolve(&loaded.checkpoint().checkpoint_id.to_string()) {
            Ok(found) => {
                let reader = Reader::of(agent, &found);
                Some((found, reader))
            }
            Err(Error::NoCheckpoint { .. }) => None,
            Err(error) => return Err(error),
        };
        Ok(Self { state: loaded.state_bytes().map(<[u8]>::to_vec), parts })
    }

    fn tree(&self) -> Now<'_> {
        let kept = self.parts.as_ref().and_then(|(found, reader)| {
            let part = found.held.manifest.workspace.as_ref()?;
            Some(Kept { part, reader })
        });
        kept.map_or(Now::Nothing, Now::Kept)
    }

    fn state_files(&self) -> &[(PathBuf, FileNode)] {
        let part =
            self.parts.as_ref().and_then(|(found, _)| found.held.manifest.state_files.as_ref());
        part.map_or(&[], |part| &part.files)
    }

    /// The bytes of one of its files.
    fn bytes(&self, file: &FileNode) -> Result<Option<Vec<u8>>, Error> {
        self.parts.as_ref().map(|(_, reader)| reader.bytes(file)).transpose()
    }

    fn compared_with(&self, other: &Self) -> Result<Differences, Error> {
        let read_other = |_: &Path, file: &FileNode| other.bytes(file);
        let telling = || Telling::new(self, &read_other);
        let state_files = telling().state_files(self.state_files(), other.state_files())?;
        let (files, not_compared) = telling().trees(&self.tree(), &other.tree())?;
        let state = states(self.state.as_deref(), other.state.as_deref())?;
        Ok(Differences { state, state_files, files, not_compared, unplaced: Vec::new() })
    }
}

/// The differences between two states. One that is no JSON, as a state file may be found, is another
/// as a whole.
fn states(a: Option<&[u8]>, b: Option<&[u8]>) -> Result<Vec<Change>, Error> {
    let (a, b) = (a.unwrap_or(b"{}"), b.unwrap_or(b"{}"));
    if a == b {
        return Ok(Vec::new());
    }
    let is_object = |state| crate::encode::validate_object(state, usize::MAX).is_ok();
    if is_object(a) && is_object(b) {
        return diff(a, b).map_err(|error| Error::State(error.into()));
    }
    let text = |state: &[u8]| Some(String::from_utf8_lossy(state).into_owned());
    let (before, after) = (text(a), text(b));
    Ok(vec![Change { path: String::new(), kind: ChangeKind::Changed, before, after }])
}

/// Reads the file at a path; none where it cannot be had any more.
type ReadFile<'a> = &'a dyn Fn(&Path, &FileNode) -> Result<Option<Vec<u8>>, Error>;

/// Says of pairs how they differ, with their lines as long as there is room.
struct Telling<'a> {
    a: &'a Version,
    read_b: ReadFile<'a>,
    room: usize,
}

impl<'a> Telling<'a> {
    fn new(a: &'a Version, read_b: ReadFile<'a>) -> Self {
        Self { a, read_b, room: TOLD_BYTES_MAX }
    }

    fn trees(
        mut self,
        a: &Now<'_>,
        b: &Now<'_>,
    ) -> Result<(Vec<FileDifference>, Vec<Skipped>), Error> {
        let mut found = Vec::new();
        let not_compared = walk::compare(a, b, &mut |pair| found.extend(told(pair)))?;
        Ok((self.with_lines(found)?, not_compared))
    }

    fn state_files(
        mut self,
        a: &[(PathBuf, FileNode)],
        b: &[(PathBuf, FileNode)],
    ) -> Result<Vec<FileDifference>, Error> {
        let mut names: BTreeMap<&Path, (Option<Node>, Option<Node>)> = BTreeMap::new();
        for (path, file) in a {
            names.entry(path).or_default().0 = Some(Node::File(*file));
        }
        for (path, file) in b {
            names.entry(path).or_default().1 = Some(Node::File(*file));
        }
        let pairs = names.into_iter().map(|(path, (before, after))| Pair {
            path: path.to_owned(),
            before,
            after,
        });
        self.with_lines(pairs.filter_map(told).collect())
    }

    /// Adds the lines: of what changed first, because that is what is looked for in a long list.
    fn with_lines(
        &mut self,
        mut found: Vec<(Pair, FileDifference)>,
    ) -> Result<Vec<FileDifference>, Error> {
        for change in [ChangeKind::Changed, ChangeKind::Added, ChangeKind::Removed] {
            for (pair, told) in found.iter_mut().filter(|(_, told)| told.change == change) {
                match self.lines(pair)? {
                    Ok(text) => told.diff = Some(text).filter(|text| !text.is_empty()),
                    Err(why) => told.no_diff = Some(why),
                }
            }
        }
        Ok(found.into_iter().map(|(_, told)| told).collect())
    }

    /// The lines that differ; none where that is not a matter of lines.
    fn lines(&mut self, pair: &Pair) -> Result<Result<String, NoText>, Error> {
        let Some((before, after)) = pair.contents() else { return Ok(Ok(String::new())) };
        if before.iter().chain(&after).any(|file| file.len > TEXT_BYTES_MAX) {
            return Ok(Err(NoText::TooLarge));
        }
        if self.room == 0 {
            return Ok(Err(NoText::TooMuch));
        }
        let a = before.map(|file| self.a.bytes(file)).transpose()?;
        let b = after.map(|file| (self.read_b)(&pair.path, file)).transpose()?;
        if matches!(a, Some(None)) || matches!(b, Some(None)) {
            return Ok(Err(NoText::Unreadable));
        }
        let (a, b) = (a.flatten(), b.flatten());
        let told = unified(&pair.path, a.as_deref(), b.as_deref());
        if told.as_ref().is_ok_and(|text| text.len() > self.room) {
            self.room = 0;
            return Ok(Err(NoText::TooMuch));
        }
        self.room -= told.as_ref().map_or(0, String::len);
        Ok(told)
    }
}

/// How the two of a pair differ, if they do; without their lines.
fn told(pair: Pair) -> Option<(Pair, FileDifference)> {
    let (change, node, what) = match (&pair.before, &pair.after) {
        (Some(before), Some(after)) => (ChangeKind::Changed, after, aspects(before, after)),
        (Some(before), None) => (ChangeKind::Removed, before, Vec::new()),
        (None, after) => (ChangeKind::Added, after.as_ref()?, Vec::new()),
    };
    if change == ChangeKind::Changed && what.is_empty() {
        return None;
    }
    let told = FileDifference {
        path: pair.path.clone(),
        change,
        kind: FileFacts::of(node).kind,
        what,
        before: pair.before.as_ref().map(FileFacts::of),
        after: pair.after.as_ref().map(FileFacts::of),
        diff: None,
        no_diff: None,
    };
    Some((pair, told))
}

fn aspects(before: &Node, after: &Node) -> Vec<Aspect> {
    let differs = match (before, after) {
        (Node::File(a), Node::File(b)) => [
            ((a.len, a.content) != (b.len, b.content), Aspect::Content),
            (a.mode != b.mode, Aspect::Mode),
            (a.modified != b.modified, Aspect::Modified),
        ],
        (Node::Dir(a), Node::Dir(b)) => [
            (false, Aspect::Content),
            (a.mode != b.mode, Aspect::Mode),
            (a.modified != b.modified, Aspect::Modified),
        ],
        (Node::Link(a), Node::Link(b)) => [
            (a.target != b.target, Aspect::Target),
            (false, Aspect::Mode),
            (a.modified != b.modified, Aspect::Modified),
        ],
        _ => return vec![Aspect::Kind],
    };
    differs.into_iter().filter_map(|(differs, aspect)| differs.then_some(aspect)).collect()
}
