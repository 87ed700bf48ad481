//! The list of what a checkpoint of a workspace does not hold, or holds as it was while it changed.
//!
//! It is kept with the checkpoint, because a restore must not touch what it names: what was left out
//! then is no part of what is wanted, and what was left out of a recovery checkpoint could not be
//! brought back. Paths are kept exactly, whatever bytes they are made of.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::agent::Agent;
use super::error::Error;
use super::files::Reader;
use super::tree_plan::Kept;
use crate::state::{Skipped, Why, lossy};

/// What a checkpoint's workspace does not hold, or holds as it was while it changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct LeftOut {
    /// Not held, nor anything beneath it.
    pub skipped: Vec<Skipped>,
    /// Held, but it changed while it was read. In JSON, what is not UTF-8 is replaced.
    #[serde(serialize_with = "lossy::paths")]
    #[cfg_attr(feature = "server", schema(value_type = Vec<String>))]
    pub unsettled: Vec<PathBuf>,
}

impl Agent {
    /// What the workspace of a checkpoint left out, as its receipt listed it.
    ///
    /// # Errors
    /// `not_found`; `damaged` where the list cannot be read.
    pub fn left_out(&self, reference: &str) -> Result<LeftOut, Error> {
        let found = self.resolve(reference)?;
        let Some(part) = &found.held.manifest.workspace else { return Ok(LeftOut::default()) };
        Kept { part, reader: &Reader::of(self, &found) }.left_out()
    }
}

#[derive(Serialize, Deserialize)]
struct Line {
    path: Name,
    why: Reason,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    others: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Name {
    Text(String),
    Bytes(Vec<u8>),
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Reason {
    Skipped(Why),
    Unsettled(Unsettled),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Unsettled {
    Unsettled,
}

impl Name {
    fn of(path: &Path) -> Self {
        match path.to_str() {
            Some(text) => Self::Text(text.to_owned()),
            None => Self::Bytes(path.as_os_str().as_bytes().to_vec()),
        }
    }

    fn into_path(self) -> PathBuf {
        match self {
            Self::Text(text) => text.into(),
            Self::Bytes(bytes) => OsString::from_vec(bytes).into(),
        }
    }
}

impl LeftOut {
    /// Whether everything is held, as it was at one moment.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.skipped.is_empty() && self.unsettled.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.skipped.len() + self.unsettled.len()
    }

    /// The list as it is kept.
    pub(super) fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        let skipped = self.skipped.iter().map(|one| Line {
            path: Name::of(&one.path),
            why: Reason::Skipped(one.why),
            bytes: one.bytes,
            others: Some(one.others).filter(|others| *others > 0),
        });
        let unsettled = self.unsettled.iter().map(|path| Line {
            path: Name::of(path),
            why: Reason::Unsettled(Unsettled::Unsettled),
            bytes: None,
            others: None,
        });
        serde_json::to_vec(&skipped.chain(unsettled).collect::<Vec<_>>())
    }

    /// Reads a list.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let mut list = Self::default();
        for Line { path, why, bytes, others } in serde_json::from_slice::<Vec<Line>>(bytes)? {
            let path = path.into_path();
            match why {
                Reason::Unsettled(_) => list.unsettled.push(path),
                Reason::Skipped(why) => {
                    let others = others.unwrap_or_default();
                    list.skipped.push(Skipped { path, why, bytes, others });
                }
            }
        }
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_comes_back_with_every_byte_of_its_names() {
        let odd = PathBuf::from(OsString::from_vec(b"a\xff/b".to_vec()));
        let skipped = |path: &Path, others| Skipped {
            path: path.to_owned(),
            why: Why::TooLarge,
            bytes: Some(7),
            others,
        };
        let list = LeftOut {
            skipped: vec![skipped(&odd, 0), skipped(Path::new("plain"), 3)],
            unsettled: vec![odd.clone(), "x".into()],
        };
        assert_eq!(LeftOut::decode(&list.encode().unwrap()).unwrap(), list);
    }
}
