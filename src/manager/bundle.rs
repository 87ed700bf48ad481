//! Bundles: a checkpoint in one file, to carry elsewhere.
//!
//! ```text
//! bundle   0 magic "STWDBNDL"   8 version u32   12 header length u32   16 header (JSON)
//!          … state, byte for byte   … BLAKE3 of all before (32)
//! ```
//!
//! The header holds the facts of the checkpoint. Whoever imports a bundle gets a new checkpoint, with
//! an id and a number of its own, that says where it came from; it names no state file, so that a
//! restore in place never writes to a path that came from elsewhere.

use serde::{Deserialize, Serialize};

use super::agent::Agent;
use super::error::Error;
use crate::state::{Checkpoint, Digest, Kind, Receipt};

const MAGIC: &[u8; 8] = b"STWDBNDL";
const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    checkpoint: Checkpoint,
    state_bytes: u64,
}

impl Agent {
    /// One file that holds a checkpoint.
    ///
    /// # Errors
    /// As [`Agent::read_checkpoint`].
    pub fn export(&self, reference: &str) -> Result<Vec<u8>, Error> {
        let loaded = self.read_checkpoint(reference)?;
        let state = loaded.state_bytes().unwrap_or_default();
        let header =
            Header { checkpoint: loaded.checkpoint().clone(), state_bytes: state.len() as u64 };
        let header = serde_json::to_vec(&header)
            .map_err(|source| Error::Json { doing: "serialize", source })?;
        let len = u32::try_from(header.len()).map_err(|_| bad("its facts are too long"))?;
        let mut out = Vec::with_capacity(48 + header.len() + state.len());
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&header);
        out.extend_from_slice(state);
        let digest = Digest::of(&out);
        out.extend_from_slice(&digest.0);
        Ok(out)
    }

    /// Takes a bundle in as a new checkpoint of this agent.
    ///
    /// # Errors
    /// `usage` for what is no bundle, or not whole; else as [`super::Request::commit`].
    pub fn import(&self, bundle: &[u8]) -> Result<Receipt, Error> {
        let (checkpoint, state) = open(bundle)?;
        let from = format!("imported: {} of {}", checkpoint.checkpoint_id, checkpoint.agent_id);
        let comment = match &checkpoint.comment {
            Some(comment) => format!("{comment} ({from})"),
            None => from,
        };
        let kind = match checkpoint.kind {
            // An imported pre_operation checkpoint guards nothing here.
            Kind::PreOperation => Kind::Routine,
            kind => kind,
        };
        let request = self
            .checkpoint(kind)
            .state_bytes(state.to_vec())
            .labels(checkpoint.labels)
            .comment(comment)
            .imported();
        match checkpoint.metadata {
            Some(metadata) => request.metadata(metadata).commit(),
            None => request.commit(),
        }
    }
}

/// The facts and the state in a bundle.
fn open(bundle: &[u8]) -> Result<(Checkpoint, &[u8]), Error> {
    let (body, digest) = bundle.split_last_chunk::<32>().ok_or_else(|| bad("it is too short"))?;
    if body.get(..8) != Some(MAGIC) {
        return Err(bad("it is no bundle"));
    }
    if Digest::of(body).0 != *digest {
        return Err(bad("it is damaged or cut short"));
    }
    let word = |at: usize| {
        body.get(at..at + 4)
            .and_then(|bytes| bytes.try_into().ok())
            .map(u32::from_le_bytes)
            .ok_or_else(|| bad("it is too short"))
    };
    let version = word(8)?;
    if version > VERSION {
        return Err(bad("it was made by a newer program"));
    }
    let rest = body.get(16..).ok_or_else(|| bad("it is too short"))?;
    let (header, state) =
        rest.split_at_checked(word(12)? as usize).ok_or_else(|| bad("its header is cut short"))?;
    let header: Header =
        serde_json::from_slice(header).map_err(|error| Error::Bundle(error.to_string()))?;
    if header.state_bytes != state.len() as u64 {
        return Err(bad("its state has another length than it says"));
    }
    Ok((header.checkpoint, state))
}

fn bad(why: &str) -> Error {
    Error::Bundle(why.to_owned())
}
