//! Reading everything.

use std::collections::HashSet;
use std::sync::Arc;

use super::{DamagedCheckpoint, Finding, Progress, VerifyOptions, VerifyReport};
use crate::store::{BlockKey, ContentError, Held, Store, ViewFault};

/// Reads the whole log, the content of the checkpoints (or the share asked for, the newest of each
/// agent always), and every view; views that are wrong are made anew where the store is writable.
pub(crate) fn scrub(
    store: &Arc<Store>,
    options: &VerifyOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<VerifyReport, ContentError> {
    let mut report = VerifyReport { store: store.path().to_owned(), ..VerifyReport::default() };
    let held: Vec<Held> = store.catalog().held().cloned().collect();
    let total = store.log_bytes() + held.iter().map(weight).sum::<u64>();
    let mut done = 0;
    scrub_log(store, &mut report, &mut |bytes| {
        done += bytes;
        progress(Progress { done, total });
    })?;
    let mut chosen = 0.0;
    let mut proven = HashSet::new();
    for one in &held {
        chosen += options.subset_percent / 100.0;
        let newest = store.is_newest(one);
        if chosen >= 1.0 || newest {
            chosen -= f64::from(u8::from(chosen >= 1.0));
            scrub_checkpoint(store, one, &mut proven, &mut report)?;
        }
        done += weight(one);
        progress(Progress { done, total });
    }
    scrub_views(store, &mut report)?;
    report.sound = is_sound(&report);
    Ok(report)
}

pub(super) fn is_sound(report: &VerifyReport) -> bool {
    report.damage.is_empty()
        && report.damaged_checkpoints.is_empty()
        && report.lost_checkpoints.is_empty()
}

fn weight(held: &Held) -> u64 {
    let state = held.manifest.state.as_ref().map_or(0, |part| part.len);
    let files = held.manifest.state_files.iter().flat_map(|part| &part.files);
    let workspace = held.manifest.workspace.as_ref().map_or(0, |part| part.bytes);
    state + files.map(|(_, file)| file.len).sum::<u64>() + workspace
}

fn scrub_log(
    store: &Arc<Store>,
    report: &mut VerifyReport,
    done: &mut dyn FnMut(u64),
) -> Result<(), ContentError> {
    for fault in store.standing_faults() {
        report.damage.push(fault);
    }
    for number in store.segment_numbers() {
        let scrubbed = store.scrub_segment(number)?;
        report.segments += 1;
        report.bytes += scrubbed.bytes;
        report.damage.extend(scrubbed.findings);
        done(scrubbed.bytes);
    }
    Ok(())
}

fn scrub_checkpoint(
    store: &Arc<Store>,
    held: &Held,
    proven: &mut HashSet<BlockKey>,
    report: &mut VerifyReport,
) -> Result<(), ContentError> {
    report.checkpoints += 1;
    let manifest = &held.manifest;
    match store.read_state(held).and_then(|_| store.prove_parts(held, proven)) {
        Ok(()) => store.note_sound(manifest.id),
        Err(ContentError::Damaged(why)) => {
            store.note_damaged(manifest.id);
            report.damaged_checkpoints.push(DamagedCheckpoint {
                agent_id: manifest.agent.clone(),
                seq: manifest.seq,
                checkpoint_id: manifest.id,
                why,
            });
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

fn scrub_views(store: &Arc<Store>, report: &mut VerifyReport) -> Result<(), ContentError> {
    let mut wrong = 0;
    for (path, fault) in store.check_views()? {
        report.views += 1;
        match fault {
            ViewFault::None => {}
            ViewFault::Wrong(why) => {
                wrong += 1;
                tracing::warn!(view = %path.display(), %why, "a view is made anew");
                if !store.is_writable() {
                    let what = format!("the view is wrong: {why}");
                    report.damage.push(Finding { file: path, what, offset: 0, bytes: 0 });
                }
            }
            ViewFault::Lost(lost) => report.lost_checkpoints.push(lost),
        }
    }
    if store.is_writable() {
        store.make_views(&|| false).map_err(|source| ContentError::Io { segment: 0, source })?;
        report.rebuilt_views = wrong;
    }
    Ok(())
}
