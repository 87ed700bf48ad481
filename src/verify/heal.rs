//! Mending what has a second copy.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use super::{DamagedCheckpoint, VerifyReport};
use crate::disk::Retry;
use crate::encode::event::What;
use crate::encode::manifest::Manifest;
use crate::encode::{self, encode_complete};
use crate::state::CheckpointId;
use crate::store::{Ahead, CompactionError, Draft, DraftState, Store, Which};

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
    if let Some(from) = heal_in_place(store, others, id)? {
        report.healed.push(format!("checkpoint {id} of {} was healed from {from}", one.agent_id));
        return Ok(true);
    }
    let Some((manifest, state, from)) = second_copy(store, others, id) else { return Ok(false) };
    // Nothing that this checkpoint named may count as present: it is all written anew.
    store.note_damaged(id);
    store.forget_blocks_of(id);
    let encoded = encode_complete(Arc::new(state), options);
    let manifest = without_lost_parts(store, manifest);
    let draft = Draft::new(manifest, DraftState::Given { encoded, base: None });
    let event = What::Healed { what: format!("checkpoint {id}"), from: from.clone() };
    store.write(&mut [draft], vec![event], options)?;
    store.note_sound(id);
    report.healed.push(format!("checkpoint {id} of {} was healed from {from}", one.agent_id));
    Ok(true)
}

/// Writes the blocks anew that a held checkpoint lacks and another store has sound, and answers which
/// that was; `None` where the checkpoint is not whole after all.
fn heal_in_place(
    store: &Arc<Store>,
    others: &[Arc<Store>],
    id: CheckpointId,
) -> Result<Option<String>, CompactionError> {
    let Some(held) = store.catalog().get(id).cloned() else { return Ok(None) };
    store.forget_blocks_of(id);
    let mut from = None;
    for other in others {
        let ahead = Ahead::new(store, Retry::default());
        let copied = held.manifest.content_roots().try_for_each(|root| ahead.copy(other, root));
        let Ok(()) = copied else { continue };
        let brought = ahead.finish();
        store.write_blocks(&brought.rest)?;
        from = Some(other.path().display().to_string());
        break;
    }
    let whole = store.read_state(&held).and_then(|_| store.prove_parts(&held, &mut HashSet::new()));
    if whole.is_err() || from.is_none() {
        return Ok(None);
    }
    let event =
        What::Healed { what: format!("checkpoint {id}"), from: from.clone().unwrap_or_default() };
    store.write_events(vec![event])?;
    store.note_sound(id);
    Ok(from)
}

/// What a checkpoint can still hold: a part whose blocks are lost is left out, and that is told.
fn without_lost_parts(store: &Store, mut manifest: Manifest) -> Manifest {
    if store.prove_roots(manifest.part_roots(), &mut HashSet::new()).is_err() {
        tracing::error!(id = %manifest.id, "its workspace and state files are lost");
        manifest.workspace = None;
        manifest.state_files = None;
    }
    manifest
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
