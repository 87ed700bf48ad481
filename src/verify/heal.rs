//! Mending what has a second copy.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{DamagedCheckpoint, VerifyReport};
use crate::encode::event::What;
use crate::encode::manifest::Manifest;
use crate::encode::{self, encode_complete};
use crate::state::CheckpointId;
use crate::store::{CompactionError, Draft, DraftState, Store, Which};

/// Writes anew what a view or another store holds sound, then empties damaged segments of what is
/// sound in them and lets them go. What stays damaged stays in the report.
pub(crate) fn heal(
    store: &Arc<Store>,
    others: &[Arc<Store>],
    report: &mut VerifyReport,
    options: &encode::Options,
) -> Result<(), CompactionError> {
    let damaged = std::mem::take(&mut report.damaged_checkpoints);
    let lost = std::mem::take(&mut report.lost_checkpoints);
    for one in damaged {
        if !heal_one(store, others, &one, report, options)? {
            report.damaged_checkpoints.push(one);
        }
    }
    for one in lost {
        if !heal_one(store, others, &one, report, options)? {
            report.lost_checkpoints.push(one);
        }
    }
    let broken: BTreeSet<u64> = store.broken_segments();
    if !broken.is_empty() {
        store.seal()?;
        store.read_again(&broken)?;
        let removed = store.compact(Which::These(&broken), &mut |_, _| {})?.segments_removed;
        if removed == broken.len() as u64 {
            report.healed.push(format!("{removed} damaged segments were emptied and let go"));
            report.damage.clear();
            store.clear_faults();
        }
    }
    report.sound = super::scrub::is_sound(report);
    Ok(())
}

fn heal_one(
    store: &Arc<Store>,
    others: &[Arc<Store>],
    one: &DamagedCheckpoint,
    report: &mut VerifyReport,
    options: &encode::Options,
) -> Result<bool, CompactionError> {
    let id = one.checkpoint_id;
    let Some((manifest, state, from)) = second_copy(store, others, id) else { return Ok(false) };
    // Nothing that this checkpoint named may count as present: it is all written anew.
    store.note_damaged(id);
    store.forget_blocks_of(id);
    let encoded = encode_complete(Arc::new(state), options);
    let draft = Draft::new(manifest, DraftState::Given { encoded, base: None });
    let event = What::Healed { what: format!("checkpoint {id}"), from: from.clone() };
    store.write(&mut [draft], vec![event], options)?;
    store.note_sound(id);
    report.healed.push(format!("checkpoint {id} of {} was healed from {from}", one.agent_id));
    Ok(true)
}

/// A sound copy of a checkpoint's state elsewhere: its view, another store, or another checkpoint of
/// the same content.
fn second_copy(
    store: &Arc<Store>,
    others: &[Arc<Store>],
    id: CheckpointId,
) -> Option<(Manifest, Vec<u8>, String)> {
    if let Some((manifest, state)) = store.view_copy(id) {
        return Some((manifest, state, "its view".to_owned()));
    }
    for other in others {
        let held = other.catalog().get(id).cloned();
        if let Some(held) = held
            && let Ok(Some(state)) = other.read_state(&held)
        {
            return Some((held.manifest, state, other.path().display().to_string()));
        }
    }
    let held = store.catalog().get(id).cloned()?;
    let digest = held.manifest.state.as_ref()?.digest;
    let twin = {
        let catalog = store.catalog();
        let same = |other: &&crate::store::Held| {
            other.manifest.id != id
                && other.manifest.state.as_ref().is_some_and(|part| part.digest == digest)
        };
        catalog.held().find(same).cloned()
    }?;
    let state = store.read_state(&twin).ok()??;
    Some((held.manifest, state, format!("checkpoint {} of the same content", twin.manifest.id)))
}
