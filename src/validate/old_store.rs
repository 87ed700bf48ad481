//! Stores that earlier formats left, read by this program: everything they hold comes back.
//!
//! A frozen store is one compressed file: for each file of the store a line of JSON with its path and
//! length, then its bytes. Beside it stands what it holds.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::trial::{Broken, Outcome, Trial, Tried, ensure};
use crate::disk::MemoryDisk;
use crate::manager::{CheckpointManager, Filter, Options};
use crate::state::Digest;

/// Every format that was ever released, or is about to be.
const FROZEN: [(&str, &[u8]); 1] =
    [("format 1", include_bytes!("../../validate/stores/format-1.zst"))];

/// A frozen store is at most this long when it is opened up.
const OPENED_BYTES_MAX: usize = 64 << 20;

pub(super) fn trial() -> Trial<'static> {
    let mut trial = Trial::simulated(FROZEN.len() as u64, |case, tried| {
        let (name, frozen) = FROZEN[usize::try_from(case.number).unwrap_or(0) % FROZEN.len()];
        read(frozen, tried).map_err(|broken| broken.after(name))
    });
    trial.is_endless = false;
    trial
}

/// Takes a frozen store apart.
fn thaw(frozen: &[u8]) -> Result<BTreeMap<PathBuf, Vec<u8>>, Broken> {
    let bytes = zstd::bulk::decompress(frozen, OPENED_BYTES_MAX)?;
    let mut image = BTreeMap::new();
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'\n');
        let end = end.ok_or_else(|| Broken::new("a frozen store ends in a line"))?;
        let (path, len): (PathBuf, usize) = serde_json::from_slice(&rest[..end])
            .map_err(|error| Broken::new(format!("a frozen store is unreadable: {error}")))?;
        let (file, after) = rest[end + 1..]
            .split_at_checked(len)
            .ok_or_else(|| Broken::new("a frozen store is cut short"))?;
        image.insert(path, file.to_vec());
        rest = after;
    }
    Ok(image)
}

fn read(frozen: &[u8], tried: &mut Tried) -> Outcome {
    let disk = MemoryDisk::from_image(&thaw(frozen)?);
    let expected = disk.get("/expected.json".as_ref()).unwrap_or_default();
    let expected: BTreeMap<String, BTreeMap<u64, String>> = serde_json::from_slice(&expected)
        .map_err(|error| Broken::new(format!("what it holds is unreadable: {error}")))?;
    ensure(!expected.is_empty(), || "nobody knows what it holds".to_owned())?;
    let options = Options { disk: disk.shared(), background: false, ..Options::new("/store") };
    for looks in [true, false] {
        let manager = if looks {
            CheckpointManager::open_to_look(options.clone())?
        } else {
            CheckpointManager::open(options.clone())?
        };
        let damage = manager.status().damage;
        ensure(damage.is_empty(), || format!("it is called damaged: {damage:?}"))?;
        for (name, checkpoints) in &expected {
            let agent = manager.agent(name)?;
            let listed = agent.list_checkpoints(Filter::default())?;
            ensure(listed.len() == checkpoints.len(), || {
                format!("{} of {name} are listed, not {}", listed.len(), checkpoints.len())
            })?;
            for one in listed {
                let read = agent.read_checkpoint(one.checkpoint_id.to_string())?;
                let bytes = read.state_bytes().unwrap_or_default();
                tried.read(bytes.len());
                let same = checkpoints.get(&one.seq.0) == Some(&Digest::of(bytes).to_string());
                ensure(same, || format!("{} of {name} is read as other bytes", one.seq))?;
            }
        }
    }
    Ok(())
}
