//! Reading: every byte is proven before it is handed out.

use std::sync::Arc;

use super::catalog::{BlockKey, Held};
use super::write::DraftState;
use super::{Store, views};
use crate::commit::frame::{Found, Inner, RecordType};
use crate::commit::segment::RecordFault;
use crate::commit::summary::{self, ALONE, At};
use crate::encode::event::Event;
use crate::encode::manifest::{Lies, Manifest};
use crate::encode::{self, Content};
use crate::protection::{self, Protection};
use crate::state::{Checkpoint, Digest, Durable};

/// Why content cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ContentError {
    /// It is not as it was written.
    #[error("{0}")]
    Damaged(String),
    /// The disk refused.
    #[error("cannot read segment {segment}: {source}")]
    Io { segment: u64, source: std::io::Error },
}

/// Packs that were opened during one reading.
#[derive(Debug, Default)]
pub(crate) struct OpenPacks {
    last: Vec<(At, Arc<Vec<Inner>>)>,
}

const OPEN_PACKS_MAX: usize = 16;

impl OpenPacks {
    fn get(&self, at: At) -> Option<Arc<Vec<Inner>>> {
        self.last.iter().find(|(known, _)| *known == at).map(|(_, pack)| Arc::clone(pack))
    }

    fn put(&mut self, at: At, pack: Arc<Vec<Inner>>) {
        if self.last.len() == OPEN_PACKS_MAX {
            self.last.remove(0);
        }
        self.last.push((at, pack));
    }
}

impl Store {
    /// A checkpoint as it is listed and shown.
    pub(crate) fn facts(&self, held: &Held) -> Checkpoint {
        self.facts_of(&held.manifest, held.digest)
    }

    /// The same of a manifest that was just written.
    pub(crate) fn facts_of(&self, manifest: &Manifest, digest: Digest) -> Checkpoint {
        let state = manifest.state.as_ref();
        let workspace = manifest.workspace.as_ref();
        let files = manifest.state_files.as_ref();
        let inherited = [
            ("state", state.and_then(|part| part.inherited_from)),
            ("state_files", files.and_then(|part| part.inherited_from)),
            ("workspace", workspace.and_then(|part| part.inherited_from)),
        ];
        Checkpoint {
            checkpoint_id: manifest.id,
            agent_id: manifest.agent.clone(),
            kind: manifest.kind,
            seq: manifest.seq,
            parent: manifest.parent,
            path: self.layout().view(&manifest.agent, &views::name_of(manifest)),
            created_at: manifest.created_at,
            digest,
            state_digest: state.map(|part| part.digest),
            state_bytes: state.map_or(0, |part| part.len),
            workspace_files: workspace.map_or(0, |part| part.files),
            workspace_bytes: workspace.map_or(0, |part| part.bytes),
            workspace: workspace.map(|part| part.place.clone()),
            state_files: files
                .into_iter()
                .flat_map(|part| &part.files)
                .map(|(path, _)| path.clone())
                .collect(),
            stored_bytes: manifest.stored_bytes,
            durable: self.durable(),
            seq_provisional: manifest.seq_provisional,
            inherited: inherited
                .into_iter()
                .filter_map(|(part, seq)| Some((part.to_owned(), seq?)))
                .collect(),
            tainted: self.catalog().is_tainted(manifest.id),
            observation: manifest.watched.as_ref().map(|watched| watched.observation),
            drift: manifest.watched.as_ref().map(|watched| watched.level),
            comment: manifest.comment.clone(),
            labels: manifest.labels.clone(),
            metadata: manifest.metadata.clone(),
            operation: manifest.operation.clone(),
            restored_from: manifest.restored.as_ref().map(|restored| restored.from),
            state_file: manifest.state_file.clone(),
        }
    }

    fn durable(&self) -> Durable {
        if self.identity().home.is_some() { Durable::Fallback } else { Durable::Local }
    }

    /// Every event that is held, in the order it happened.
    pub(crate) fn events(&self) -> Result<Vec<Event>, ContentError> {
        let places: Vec<At> = self.catalog().events.values().map(|event| event.at).collect();
        let mut packs = OpenPacks::default();
        let mut events = Vec::with_capacity(places.len());
        for at in places {
            match self.read_record(at, &mut packs) {
                Ok((_, payload)) => events.extend(Event::decode(&payload)),
                Err(ContentError::Damaged(why)) => tracing::error!(%why, "an event is damaged"),
                Err(error) => return Err(error),
            }
        }
        Ok(events)
    }

    /// The payload of the record at a place, and its type.
    pub(crate) fn read_record(
        &self,
        at: At,
        packs: &mut OpenPacks,
    ) -> Result<(RecordType, Vec<u8>), ContentError> {
        let pack_at = At { slot: ALONE, ..at };
        if at.slot == ALONE {
            let found = self.read_found(at)?;
            let kind = found.kind().ok_or_else(|| damaged(at, "its type is not known"))?;
            return Ok((kind, found.payload));
        }
        let pack = if let Some(pack) = packs.get(pack_at) {
            pack
        } else {
            let found = self.read_found(pack_at)?;
            let inner = summary::unpack(&found.payload)
                .ok_or_else(|| damaged(at, "its pack cannot be opened"))?;
            let pack = Arc::new(inner);
            packs.put(pack_at, Arc::clone(&pack));
            pack
        };
        let inner = usize::try_from(at.slot).ok().and_then(|slot| pack.get(slot));
        let inner = inner.ok_or_else(|| damaged(at, "its pack has no such slot"))?;
        Ok((inner.kind, inner.payload.clone()))
    }

    fn read_found(&self, at: At) -> Result<Found, ContentError> {
        let segment = self.segments.read().get(&at.segment).cloned();
        let segment = segment.ok_or_else(|| damaged(at, "its segment is gone"))?;
        segment.read_record(at.offset).map_err(|fault| match fault {
            RecordFault::Io(source) if source.kind() != std::io::ErrorKind::UnexpectedEof => {
                ContentError::Io { segment: at.segment, source }
            }
            fault => damaged(at, &fault.to_string()),
        })
    }

    /// The bytes of a block, not yet proven against its digest (the reader of the content does).
    pub(crate) fn read_block(
        &self,
        key: &BlockKey,
        packs: &mut OpenPacks,
    ) -> Result<Vec<u8>, ContentError> {
        let place = |store: &Self| store.catalog.read().blocks.get(key).copied();
        let Some(mut found) = place(self) else {
            return Err(ContentError::Damaged(format!("block {} is not held", key.0)));
        };
        // Compaction may move the block on between the two steps.
        while !self.segments.read().contains_key(&found.at.segment) {
            match place(self) {
                Some(moved) if moved.at != found.at => found = moved,
                _ => break,
            }
        }
        let place = found;
        let read = self.read_record(place.at, packs).and_then(|(_, mut payload)| {
            if payload.len() < summary::BLOCK_PREFIX {
                return Err(damaged(place.at, "it is too short for a block"));
            }
            payload.drain(..summary::BLOCK_PREFIX);
            Ok(payload)
        });
        if let Err(ContentError::Damaged(_)) = &read {
            // It no longer counts as present: the next commit that brings its content heals it.
            self.catalog.write().drop_blocks_at(place.at);
        }
        read
    }

    /// The state of a checkpoint, byte for byte, proven; `None` where it has none.
    pub(crate) fn read_state(&self, held: &Held) -> Result<Option<Vec<u8>>, ContentError> {
        let read = self.read_state_at(held);
        let moved = self.catalog().get(held.manifest.id).filter(|now| now.at != held.at).cloned();
        match (read, moved) {
            // Compaction moved it on while it was read.
            (Err(ContentError::Damaged(_)), Some(moved)) => self.read_state_at(&moved),
            (read, _) => read,
        }
    }

    fn read_state_at(&self, held: &Held) -> Result<Option<Vec<u8>>, ContentError> {
        let mut packs = OpenPacks::default();
        let (kind, payload) = self.read_record(held.at, &mut packs)?;
        if kind != RecordType::Checkpoint {
            return Err(damaged(held.at, "it is no checkpoint"));
        }
        let manifest =
            Manifest::decode(&payload).map_err(|error| damaged(held.at, &error.to_string()))?;
        if manifest.id != held.manifest.id {
            return Err(damaged(held.at, "it is another checkpoint"));
        }
        let Some(part) = &manifest.state else { return Ok(None) };
        let bytes = match part.lies {
            Lies::Inline => Manifest::split(&payload)
                .map(|(_, inline)| inline.to_vec())
                .map_err(|error| damaged(held.at, &error.to_string()))?,
            Lies::Tree { root, level } => {
                let content = Content::Tree { root, level, len: part.len };
                self.read_tree(&content, &mut packs)?
            }
        };
        let is_whole = bytes.len() as u64 == part.len && Digest::of(&bytes) == part.digest;
        if protection::stands(Protection::Checksum) && !is_whole {
            return Err(damaged(held.at, "the state does not have its digest"));
        }
        Ok(Some(bytes))
    }

    fn read_tree(&self, content: &Content, packs: &mut OpenPacks) -> Result<Vec<u8>, ContentError> {
        encode::read(content, &mut |digest: &Digest, level| {
            self.read_block(&(*digest, level), packs)
        })
        .map_err(|error| match error {
            encode::ReadError::Fetch { source, .. } => source,
            other => ContentError::Damaged(other.to_string()),
        })
    }

    /// The state of a held checkpoint as a draft takes it over: by naming its blocks, or with its
    /// inline bytes.
    pub(crate) fn carry(&self, held: &Held) -> Result<DraftState, ContentError> {
        if self.catalog().is_damaged(held.manifest.id) {
            // It may have been healed since: reading it tells.
            self.read_state(held)?;
        }
        Ok(DraftState::Kept(self.read_inline(held)?))
    }

    /// The inline bytes of a checkpoint's record, proven by the record's checksum.
    pub(crate) fn read_inline(&self, held: &Held) -> Result<Vec<u8>, ContentError> {
        if held.manifest.state.as_ref().is_none_or(|part| part.root().is_some()) {
            return Ok(Vec::new());
        }
        Ok(self.read_state(held)?.unwrap_or_default())
    }
}

fn damaged(at: At, why: &str) -> ContentError {
    ContentError::Damaged(format!("segment {} at {}: {why}", at.segment, at.offset))
}
