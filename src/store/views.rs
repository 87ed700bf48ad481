//! Views: a checkpoint as a file that a person can read, and that heals the log.
//!
//! A view is JSON that proves itself ([`proof`]). A small state stands in it byte for byte, followed by a line break. It is
//! published atomically after the sync of the log and without a sync of its own: that it is there
//! proves that the log was durable up to the place it names.
//!
//! ```text
//! {"format": 1,
//!  "checkpoint": { … the facts … },
//!  "manifest": "hex of the manifest",
//!  "place": {"segment": 1, "offset": 1024},
//!  "state": { … the bytes as given … },
//!  "check": "blake3:…"}
//! ```

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::layout::{Layout, ViewName, agent_of_dir};
use super::proof;
use crate::disk::publish::is_temporary;
use crate::disk::{Disk, EntryKind};
use crate::encode::manifest::Manifest;
use crate::state::{AgentId, Checkpoint, CheckpointId};

const FORMAT: u32 = 1;

/// Where the record of a view's checkpoint lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct ViewPlace {
    pub segment: u64,
    pub offset: u64,
}

/// A view as it was read.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub checkpoint: Checkpoint,
    pub manifest: Manifest,
    pub place: ViewPlace,
    /// The state, where it is small.
    pub state: Option<Vec<u8>>,
}

/// Why a view cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ViewError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the view is damaged: {0}")]
    Damaged(String),
}

#[derive(Serialize, Deserialize)]
struct Body<'a> {
    format: u32,
    checkpoint: Checkpoint,
    manifest: String,
    place: ViewPlace,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    state: Option<&'a RawValue>,
}

impl View {
    /// The bytes of the view's file.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(2048 + self.state.as_ref().map_or(0, Vec::len));
        out.extend_from_slice(format!("{{\"format\": {FORMAT},\n\"checkpoint\": ").as_bytes());
        let facts = serde_json::to_vec_pretty(&self.checkpoint).expect("facts are plain values");
        out.extend_from_slice(&facts);
        let manifest = hex(&self.manifest.encode());
        out.extend_from_slice(format!(",\n\"manifest\": \"{manifest}\"").as_bytes());
        let ViewPlace { segment, offset } = self.place;
        let place = format!(",\n\"place\": {{\"segment\": {segment}, \"offset\": {offset}}}");
        out.extend_from_slice(place.as_bytes());
        if let Some(state) = &self.state {
            out.extend_from_slice(b",\n\"state\": ");
            out.extend_from_slice(state);
        }
        proof::close(&mut out);
        out
    }

    /// Reads and proves a view.
    pub(crate) fn read(disk: &dyn Disk, path: &Path) -> Result<Self, ViewError> {
        Self::decode(&crate::disk::read(disk, path)?).map_err(ViewError::Damaged)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let body = proof::proven(bytes).ok_or("it is not the text that was written")?;
        let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
        let read: Body<'_> = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if read.format > FORMAT {
            return Err(format!("it has format {}, newer than this program", read.format));
        }
        let manifest = unhex(&read.manifest).ok_or("its manifest is not hexadecimal")?;
        let manifest = Manifest::decode(&manifest).map_err(|error| error.to_string())?;
        let state = manifest.state.as_ref().and_then(|part| {
            let state = read.state?.get();
            exact_state(body, state, part.len)
        });
        Ok(Self { checkpoint: read.checkpoint, manifest, place: read.place, state })
    }
}

/// The state with the white space around it, which a JSON reader leaves out: it ends the body.
fn exact_state(body: &[u8], trimmed: &str, len: u64) -> Option<Vec<u8>> {
    let len = usize::try_from(len).ok()?;
    let state = &body[body.len().checked_sub(len)?..];
    let inner = std::str::from_utf8(state).ok()?.trim_matches([' ', '\t', '\n', '\r']);
    (inner == trimmed).then(|| state.to_vec())
}

/// A view's file in the directory of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub agent: AgentId,
    pub name: ViewName,
}

/// Every view's name, in no particular order; other names are passed over.
pub(crate) fn list(disk: &dyn Disk, layout: &Layout) -> io::Result<Vec<Listed>> {
    Ok(list_all(disk, layout)?.0)
}

/// The same, with the temporary files that killed processes left beside the views.
pub(crate) fn list_all(
    disk: &dyn Disk,
    layout: &Layout,
) -> io::Result<(Vec<Listed>, Vec<PathBuf>)> {
    let (mut views, mut left) = (Vec::new(), Vec::new());
    for entry in entries(disk, &layout.views())? {
        let agent = entry.name.to_str().and_then(agent_of_dir);
        let (EntryKind::Dir, Some(agent)) = (entry.kind, agent) else { continue };
        let dir = layout.views_of(&agent);
        for file in entries(disk, &dir)? {
            if is_temporary(&file.name) && file.kind == EntryKind::File {
                left.push(dir.join(&file.name));
            }
            let name = file.name.to_str().and_then(ViewName::parse);
            views.extend(name.map(|name| Listed { agent: agent.clone(), name }));
        }
    }
    Ok((views, left))
}

fn entries(disk: &dyn Disk, dir: &Path) -> io::Result<Vec<crate::disk::Entry>> {
    match disk.read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other,
    }
}

/// The name of the view of a checkpoint.
pub(crate) fn name_of(manifest: &Manifest) -> ViewName {
    ViewName { seq: manifest.seq, kind: manifest.kind, id: manifest.id }
}

/// The identities among listed views.
pub(crate) fn ids(views: &[Listed]) -> std::collections::HashSet<CheckpointId> {
    views.iter().map(|view| view.name.id).collect()
}

/// Bytes in hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
        text
    })
}

/// The bytes that hexadecimal digits stand for.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    pairs.iter().map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}
