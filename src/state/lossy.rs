//! Paths in JSON: what is not UTF-8 in them is replaced, because JSON has no bytes.
//!
//! For `#[serde(serialize_with)]` on paths within a workspace, whose names may be anything.

use std::path::{Path, PathBuf};

use serde::Serializer;
use serde::ser::SerializeSeq;

pub(crate) fn path<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

pub(crate) fn paths<S: Serializer>(paths: &[PathBuf], serializer: S) -> Result<S::Ok, S::Error> {
    let mut sequence = serializer.serialize_seq(Some(paths.len()))?;
    for path in paths {
        sequence.serialize_element(&path.to_string_lossy())?;
    }
    sequence.end()
}

#[expect(clippy::ref_option, reason = "serde hands over references")]
pub(crate) fn optional<S: Serializer>(
    found: &Option<PathBuf>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match found {
        Some(found) => path(found, serializer),
        None => serializer.serialize_none(),
    }
}
