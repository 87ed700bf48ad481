//! Views without a record: checkpoints that were durable and that the log no longer holds.
//!
//! A view is published after the sync of the log and goes only when the log says that its checkpoint
//! was forgotten. So a view of a checkpoint that the log neither holds nor calls forgotten proves that
//! part of the log was lost, however sound the rest looks: a segment that is gone, an older copy of
//! one, a tail that is broken. Its place says how far the log was durable.

use std::collections::BTreeMap;

use super::layout::Layout;
use super::views::{Listed, View, ViewError, ViewPlace};
use crate::commit::frame::Place;
use crate::disk::Disk;
use crate::state::{AgentId, CheckpointId};

/// What a view without a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Says {
    /// Its checkpoint was durable at this place.
    Durable(Place),
    /// Nothing: it is damaged.
    Nothing(String),
    /// It is the view of another checkpoint, under a name that is not its own.
    Another(CheckpointId),
}

/// A view whose checkpoint the log does not know.
#[derive(Debug, Clone)]
pub(super) struct Lost {
    pub view: Listed,
    pub says: Says,
}

/// Reads every listed view whose checkpoint is not known.
pub(super) fn find(
    disk: &dyn Disk,
    layout: &Layout,
    listed: &[Listed],
    is_known: impl Fn(CheckpointId) -> bool,
) -> Vec<Lost> {
    let unknown = listed.iter().filter(|view| !is_known(view.name.id));
    unknown
        .filter_map(|view| {
            let read = View::read(disk, &layout.view(&view.agent, &view.name));
            let says = match read {
                Ok(read) if read.manifest.id != view.name.id => Says::Another(read.manifest.id),
                Ok(View { place: ViewPlace { segment, offset }, .. }) => {
                    Says::Durable(Place { segment, offset })
                }
                // It went between two looks: the log has said since that it was forgotten.
                Err(ViewError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => {
                    return None;
                }
                Err(error) => Says::Nothing(error.to_string()),
            };
            Some(Lost { view: view.clone(), says })
        })
        .collect()
}

/// The furthest place that one of them proves to have been durable.
pub(super) fn furthest(lost: &[Lost]) -> Option<Place> {
    lost.iter()
        .filter_map(|one| match one.says {
            Says::Durable(place) => Some(place),
            Says::Nothing(_) | Says::Another(_) => None,
        })
        .max()
}

/// What was lost, in words: a sentence for each agent.
pub(super) fn damage(lost: &[Lost]) -> Vec<String> {
    let mut by_agent: BTreeMap<&AgentId, Vec<&Listed>> = BTreeMap::new();
    for one in lost.iter().filter(|one| !matches!(one.says, Says::Another(_))) {
        by_agent.entry(&one.view.agent).or_default().push(&one.view);
    }
    by_agent
        .into_iter()
        .filter_map(|(agent, views)| {
            let oldest = views.iter().map(|view| view.name.seq).min()?;
            let newest = views.iter().max_by_key(|view| view.name.seq)?;
            Some(format!(
                "agent {agent}: {} checkpoints that have views are not in the log, from seq {oldest} to {} ({})",
                views.len(),
                newest.name.seq,
                newest.name.id,
            ))
        })
        .collect()
}

/// Views under a name that is not their own, in words.
pub(super) fn notes(lost: &[Lost]) -> Vec<String> {
    lost.iter()
        .filter_map(|one| match one.says {
            Says::Another(id) => Some(format!(
                "the view {} of agent {} is that of {id}",
                one.view.name, one.view.agent
            )),
            Says::Durable(_) | Says::Nothing(_) => None,
        })
        .collect()
}
