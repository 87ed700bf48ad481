//! The manifest: what a checkpoint record says.
//!
//! ```text
//! checkpoint record   manifest length u32 · manifest (tagged fields) · inline bytes of the state
//! ```
//!
//! Field tags: 1 `checkpoint_id` (16 bytes) · 2 agent · 3 seq · 4 kind (0 routine, 1 `pre_operation`,
//! 2 recovery) · 5 parent (16) · 6 `created_at` (ms, zigzag) · 7 store time (ms) · 8 flags (1
//! provisional seq, 2 imported, 4 raw, 8 by hand) · 9 state part · 10 seq of the last change of state · 11 state file
//! · 12 comment · 13 labels (JSON) · 14 metadata (JSON) · 15 operation (JSON) · 16 idempotency key
//! (digest of the body, key) · 17 restore (JSON) · 18 stored bytes · 19 workspace part · 20 state
//! files part · 21 what drift's detectors stood at ([`super::watched`]).
//!
//! A state part is its length (u64), its plain BLAKE3 digest (32), where it lies (u8: 0 inline, 1
//! tree; a tree adds its root (32) and level (u8)) and, where it was inherited, the seq it came from
//! (u64). The workspace and the state files are told by [`super::parts`]. Fields that are not known
//! are kept as they are.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::directory::Root;
use super::fields::{self, FieldError, Writer};
use super::parts::{StateFiles, Workspace};
use super::watched::Watched;
use crate::state::{AgentId, CheckpointId, Digest, Kind, OperationRef, Seq, Timestamp};

/// Where the bytes of a part lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lies {
    /// Behind the manifest, in the same record.
    Inline,
    /// In blocks.
    Tree { root: Digest, level: u8 },
}

/// One part of a checkpoint's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub len: u64,
    pub digest: Digest,
    pub lies: Lies,
    pub inherited_from: Option<Seq>,
}

/// What a checkpoint that finished a restore says of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Restored {
    /// What was restored.
    pub from: CheckpointId,
    /// What was there before.
    pub recovery: Option<CheckpointId>,
    /// The finished restore that this one takes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<CheckpointId>,
}

/// An idempotency key and what was asked under it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Idempotency {
    pub key: String,
    pub body: Digest,
}

/// Everything a checkpoint says of itself.
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own in the record")]
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Manifest {
    pub id: CheckpointId,
    pub agent: AgentId,
    pub seq: Seq,
    pub seq_provisional: bool,
    pub imported: bool,
    /// The state is what a file was found to hold, and no JSON object.
    pub raw: bool,
    /// Made by a person or a script from the command line, not by the agent itself.
    pub by_hand: bool,
    pub kind: Kind,
    pub parent: Option<CheckpointId>,
    pub created_at: Timestamp,
    /// The store's own time, which a jumping clock does not move; milliseconds.
    pub store_time_ms: u64,
    pub state: Option<Part>,
    pub state_changed: Seq,
    pub state_file: Option<PathBuf>,
    pub comment: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub metadata: Option<serde_json::Value>,
    pub operation: Option<OperationRef>,
    pub idempotency: Option<Idempotency>,
    pub restored: Option<Restored>,
    pub stored_bytes: u64,
    pub workspace: Option<Workspace>,
    pub state_files: Option<StateFiles>,
    /// How the agent stood, where it was watched.
    pub watched: Option<Watched>,
    pub unknown: Vec<(u8, Vec<u8>)>,
}

/// Why bytes are not a manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The fields are wrong.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// The record is shorter than it says.
    #[error("the record is cut short")]
    Short,
}

const FLAG_PROVISIONAL: u64 = 1;
const FLAG_IMPORTED: u64 = 2;
const FLAG_RAW: u64 = 4;
const FLAG_BY_HAND: u64 = 8;

impl Manifest {
    /// The digest of the root object: the names, lengths and digests of the parts, so that equal
    /// content has an equal digest however it is stored.
    pub(crate) fn digest(&self) -> Digest {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"stateward root 1\n");
        if let Some(state) = &self.state {
            hasher.update(b"state\0").update(&state.len.to_le_bytes()).update(&state.digest.0);
        }
        if let Some(files) = &self.state_files {
            files.name_content(&mut hasher);
        }
        if let Some(workspace) = &self.workspace {
            workspace.name_content(&mut hasher);
        }
        Digest(*hasher.finalize().as_bytes())
    }

    /// The topmost blocks of everything the checkpoint holds.
    pub(crate) fn roots(&self) -> impl Iterator<Item = Root> + '_ {
        let state = self.state.as_ref().and_then(Part::root);
        state.into_iter().chain(self.part_roots()).chain(self.memory())
    }

    /// The block that what drift's detectors remember lies in.
    pub(crate) fn memory(&self) -> Option<Root> {
        self.watched.as_ref().and_then(Watched::root)
    }

    /// The topmost blocks of the workspace and the state files.
    pub(crate) fn part_roots(&self) -> impl Iterator<Item = Root> + '_ {
        let files = self.state_files.iter().flat_map(StateFiles::roots);
        files.chain(self.workspace.iter().flat_map(Workspace::roots))
    }

    /// The length prefix and the fields; inline bytes follow them in the record.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        self.encode_identity(&mut writer);
        self.encode_content(&mut writer);
        self.encode_words(&mut writer);
        for (tag, value) in &self.unknown {
            writer.bytes(*tag, value);
        }
        let fields = writer.finish();
        let len =
            u32::try_from(fields.len()).expect("bounded by the limits on what a caller gives");
        let mut out = Vec::with_capacity(4 + fields.len());
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&fields);
        out
    }

    fn encode_identity(&self, writer: &mut Writer) {
        writer.bytes(1, self.id.0.as_bytes());
        writer.bytes(2, self.agent.as_str().as_bytes());
        writer.number(3, self.seq.0);
        writer.number(4, self.kind as u64);
        if let Some(parent) = self.parent {
            writer.bytes(5, parent.0.as_bytes());
        }
        writer.number(6, zigzag(self.created_at.unix_ms()));
        writer.number(7, self.store_time_ms);
        let flags = [
            (self.seq_provisional, FLAG_PROVISIONAL),
            (self.imported, FLAG_IMPORTED),
            (self.raw, FLAG_RAW),
            (self.by_hand, FLAG_BY_HAND),
        ];
        let flags = flags.iter().filter(|(set, _)| *set).map(|(_, flag)| flag).sum();
        writer.number(8, flags);
    }

    fn encode_content(&self, writer: &mut Writer) {
        if let Some(state) = &self.state {
            writer.bytes(9, &state.encode());
        }
        writer.number(10, self.state_changed.0);
        if let Some(path) = &self.state_file {
            writer.bytes(11, path.as_os_str().as_encoded_bytes());
        }
        writer.number(18, self.stored_bytes);
        if let Some(workspace) = &self.workspace {
            writer.bytes(19, &workspace.encode());
        }
        if let Some(files) = &self.state_files {
            writer.bytes(20, &files.encode());
        }
    }

    fn encode_words(&self, writer: &mut Writer) {
        if let Some(comment) = &self.comment {
            writer.bytes(12, comment.as_bytes());
        }
        if !self.labels.is_empty() {
            writer.bytes(13, &json(&self.labels));
        }
        if let Some(metadata) = &self.metadata {
            writer.bytes(14, &json(metadata));
        }
        if let Some(operation) = &self.operation {
            writer.bytes(15, &json(operation));
        }
        if let Some(idempotency) = &self.idempotency {
            let mut value = idempotency.body.0.to_vec();
            value.extend_from_slice(idempotency.key.as_bytes());
            writer.bytes(16, &value);
        }
        if let Some(restored) = &self.restored {
            writer.bytes(17, &json(restored));
        }
        if let Some(watched) = &self.watched {
            writer.bytes(21, &watched.encode());
        }
    }

    /// Splits a checkpoint record's payload into its manifest bytes and the inline bytes.
    pub(crate) fn split(payload: &[u8]) -> Result<(&[u8], &[u8]), ManifestError> {
        let (len, rest) = payload.split_first_chunk::<4>().ok_or(ManifestError::Short)?;
        rest.split_at_checked(u32::from_le_bytes(*len) as usize).ok_or(ManifestError::Short)
    }

    /// Reads the manifest of a checkpoint record's payload (or of its summary, which lacks the
    /// inline bytes).
    pub(crate) fn decode(payload: &[u8]) -> Result<Self, ManifestError> {
        let (bytes, _) = Self::split(payload)?;
        let mut draft = Draft::default();
        for field in fields::read(bytes) {
            let (tag, value) = field?;
            draft.take(tag, value)?;
        }
        draft.finish()
    }
}

impl Part {
    /// The topmost block, where the bytes lie in blocks.
    pub(crate) fn root(&self) -> Option<Root> {
        match self.lies {
            Lies::Inline => None,
            Lies::Tree { root, level } => Some((root, level)),
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(82);
        out.extend_from_slice(&self.len.to_le_bytes());
        out.extend_from_slice(&self.digest.0);
        match self.lies {
            Lies::Inline => out.push(0),
            Lies::Tree { root, level } => {
                out.push(1);
                out.extend_from_slice(&root.0);
                out.push(level);
            }
        }
        if let Some(seq) = self.inherited_from {
            out.extend_from_slice(&seq.0.to_le_bytes());
        }
        out
    }

    fn decode(tag: u8, value: &[u8]) -> Result<Self, FieldError> {
        let form = || FieldError::Form(tag);
        let (len, rest) = value.split_first_chunk::<8>().ok_or_else(form)?;
        let (digest, rest) = rest.split_first_chunk::<32>().ok_or_else(form)?;
        let (lies, rest) = match rest.split_first().ok_or_else(form)? {
            (0, rest) => (Lies::Inline, rest),
            (1, rest) => {
                let (root, rest) = rest.split_first_chunk::<32>().ok_or_else(form)?;
                let (level, rest) = rest.split_first().ok_or_else(form)?;
                (Lies::Tree { root: Digest(*root), level: *level }, rest)
            }
            _ => return Err(form()),
        };
        let inherited_from = match rest {
            [] => None,
            rest => Some(Seq(u64::from_le_bytes(fields::array(tag, rest)?))),
        };
        Ok(Self { len: u64::from_le_bytes(*len), digest: Digest(*digest), lies, inherited_from })
    }
}

/// A manifest that is being read.
#[derive(Default)]
struct Draft {
    id: Option<CheckpointId>,
    agent: Option<AgentId>,
    seq: Option<Seq>,
    kind: Option<Kind>,
    parent: Option<CheckpointId>,
    created_at: Timestamp,
    store_time_ms: u64,
    flags: u64,
    state: Option<Part>,
    state_changed: Seq,
    state_file: Option<PathBuf>,
    comment: Option<String>,
    labels: BTreeMap<String, String>,
    metadata: Option<serde_json::Value>,
    operation: Option<OperationRef>,
    idempotency: Option<Idempotency>,
    restored: Option<Restored>,
    stored_bytes: u64,
    workspace: Option<Workspace>,
    state_files: Option<StateFiles>,
    watched: Option<Watched>,
    unknown: Vec<(u8, Vec<u8>)>,
}

impl Draft {
    fn take(&mut self, tag: u8, value: &[u8]) -> Result<(), FieldError> {
        match tag {
            1 => self.id = Some(id(tag, value)?),
            2 => {
                let text = fields::text(tag, value)?;
                self.agent = Some(AgentId::new(text).map_err(|_| FieldError::Form(tag))?);
            }
            3 => self.seq = Some(Seq(fields::number(tag, value)?)),
            4 => self.kind = Some(kind(tag, value)?),
            5 => self.parent = Some(id(tag, value)?),
            6 => self.created_at = Timestamp::from_unix_ms(unzigzag(fields::number(tag, value)?)),
            7 => self.store_time_ms = fields::number(tag, value)?,
            8 => self.flags = fields::number(tag, value)?,
            9 => self.state = Some(Part::decode(tag, value)?),
            10 => self.state_changed = Seq(fields::number(tag, value)?),
            11 => self.state_file = Some(fields::text(tag, value)?.into()),
            12 => self.comment = Some(fields::text(tag, value)?.to_owned()),
            13 => self.labels = from_json(tag, value)?,
            14 => self.metadata = Some(from_json(tag, value)?),
            15 => self.operation = Some(from_json(tag, value)?),
            16 => {
                let (body, key) = value.split_first_chunk().ok_or(FieldError::Form(tag))?;
                let key = fields::text(tag, key)?.to_owned();
                self.idempotency = Some(Idempotency { key, body: Digest(*body) });
            }
            17 => self.restored = Some(from_json(tag, value)?),
            18 => self.stored_bytes = fields::number(tag, value)?,
            19 => self.workspace = Some(Workspace::decode(tag, value)?),
            20 => self.state_files = Some(StateFiles::decode(tag, value)?),
            21 => self.watched = Some(Watched::decode(tag, value)?),
            _ => self.unknown.push((tag, value.to_vec())),
        }
        Ok(())
    }

    fn finish(self) -> Result<Manifest, ManifestError> {
        Ok(Manifest {
            id: self.id.ok_or(FieldError::Missing(1))?,
            agent: self.agent.ok_or(FieldError::Missing(2))?,
            seq: self.seq.ok_or(FieldError::Missing(3))?,
            kind: self.kind.ok_or(FieldError::Missing(4))?,
            seq_provisional: self.flags & FLAG_PROVISIONAL != 0,
            imported: self.flags & FLAG_IMPORTED != 0,
            raw: self.flags & FLAG_RAW != 0,
            by_hand: self.flags & FLAG_BY_HAND != 0,
            parent: self.parent,
            created_at: self.created_at,
            store_time_ms: self.store_time_ms,
            state: self.state,
            state_changed: self.state_changed,
            state_file: self.state_file,
            comment: self.comment,
            labels: self.labels,
            metadata: self.metadata,
            operation: self.operation,
            idempotency: self.idempotency,
            restored: self.restored,
            stored_bytes: self.stored_bytes,
            workspace: self.workspace,
            state_files: self.state_files,
            watched: self.watched,
            unknown: self.unknown,
        })
    }
}

fn id(tag: u8, value: &[u8]) -> Result<CheckpointId, FieldError> {
    Ok(CheckpointId(Uuid::from_bytes(fields::array(tag, value)?)))
}

fn kind(tag: u8, value: &[u8]) -> Result<Kind, FieldError> {
    let code = fields::number(tag, value)?;
    Kind::ALL.into_iter().find(|kind| *kind as u64 == code).ok_or(FieldError::Form(tag))
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain maps, texts and JSON values always serialize")
}

fn from_json<T: serde::de::DeserializeOwned>(tag: u8, value: &[u8]) -> Result<T, FieldError> {
    serde_json::from_slice(value).map_err(|_| FieldError::Form(tag))
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Manifest {
        let id = CheckpointId(Uuid::from_u128(7));
        Manifest {
            id,
            agent: AgentId::new("tenant/agent-3").unwrap(),
            seq: Seq(300),
            seq_provisional: true,
            imported: true,
            raw: true,
            by_hand: true,
            kind: Kind::Recovery,
            parent: Some(CheckpointId(Uuid::from_u128(6))),
            created_at: Timestamp::from_unix_ms(-5),
            store_time_ms: 99,
            state: Some(Part {
                len: 5,
                digest: Digest([3; 32]),
                lies: Lies::Tree { root: Digest([4; 32]), level: 2 },
                inherited_from: Some(Seq(298)),
            }),
            state_changed: Seq(298),
            state_file: Some("/tmp/s.json".into()),
            comment: Some("why".into()),
            labels: [("a".to_owned(), "b".to_owned())].into(),
            metadata: Some(serde_json::json!({"x": [1, 2]})),
            operation: Some(OperationRef { id, name: "deploy".into() }),
            idempotency: Some(Idempotency { key: "k".into(), body: Digest([1; 32]) }),
            restored: Some(Restored { from: id, recovery: Some(id), undoes: None }),
            stored_bytes: 1 << 40,
            workspace: Some(crate::encode::parts::tests::workspace()),
            state_files: Some(crate::encode::parts::tests::state_files()),
            watched: Some(crate::encode::watched::tests::watched()),
            unknown: vec![(200, b"later".to_vec())],
        }
    }

    #[test]
    fn a_manifest_comes_back_with_every_field_and_the_unknown_ones() {
        let manifest = full();
        assert_eq!(Manifest::decode(&manifest.encode()).unwrap(), manifest);
    }

    #[test]
    fn a_cut_manifest_is_refused() {
        let bytes = full().encode();
        for cut in 0..bytes.len() {
            assert!(Manifest::decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn the_digest_depends_on_the_content_alone() {
        let mut other = full();
        other.id = CheckpointId(Uuid::from_u128(1));
        other.state.as_mut().unwrap().lies = Lies::Inline;
        assert_eq!(other.digest(), full().digest());
        other.state.as_mut().unwrap().digest = Digest([9; 32]);
        assert_ne!(other.digest(), full().digest());
    }
}
