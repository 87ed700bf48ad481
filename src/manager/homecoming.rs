//! Homecoming: what fallback stores took is brought to the primary once it is back.
//!
//! The primary is opened, and so locked and recovered, first. Then the commits it lacks go home in
//! the fallback's order, each durable there before the next; forgets, closed operations and fresh
//! starts follow. Only when everything is home does the fallback let go. A homecoming that is
//! interrupted begins again: what is home already is known by its id.

use std::sync::Arc;

use super::committer::Committer;
use super::error::Error;
use super::{fallback_knows, retained};
use crate::encode::event::{Event, What};
use crate::encode::{self};
use crate::state::{AgentId, Seq};
use crate::store::{self, Draft, DraftState, Held, IfMissing, Store, Target, Which};

/// Brings everything home that fallback stores hold, where the primary is there or comes back now.
pub(super) fn come_home(committer: &Committer) {
    let _turn = committer.homecoming.lock();
    let primary = &committer.targets.primary;
    if primary.trouble().is_some() && !(primary.is_due() && reopen(committer)) {
        return;
    }
    let Some(home) = primary.ready() else { return };
    for fallback in &committer.targets.fallbacks {
        if fallback.trouble().is_some() && fallback.is_due() {
            retry_fallback(fallback);
        }
        let Some(away) = fallback.ready() else { continue };
        if away.catalog().held().next().is_none() {
            continue;
        }
        match bring_home(committer, &home, &away) {
            Ok(brought) => {
                let from = away.path().display();
                tracing::info!(checkpoints = brought, %from, "brought commits home");
            }
            Err(error) => {
                tracing::warn!(%error, from = %away.path().display(), "homecoming is put off");
                return;
            }
        }
    }
}

/// Opens a primary that failed once more; `true` when it takes commits again.
fn reopen(committer: &Committer) -> bool {
    let targets = &committer.targets;
    let if_missing = if targets.primary.store().is_none() && !fallback_knows(targets) {
        IfMissing::Make { home: None }
    } else {
        IfMissing::Fail
    };
    match targets.primary.open(&if_missing) {
        Ok(_) => true,
        Err(error) => {
            targets.primary.fail(error.to_string());
            false
        }
    }
}

fn retry_fallback(fallback: &Target) {
    match fallback.is_there() {
        Ok(true) => {
            if let Err(error) = fallback.open(&IfMissing::Fail) {
                fallback.fail(error.to_string());
            }
        }
        Ok(false) => {}
        Err(error) => fallback.fail(error.to_string()),
    }
}

fn bring_home(committer: &Committer, home: &Arc<Store>, away: &Arc<Store>) -> Result<u64, Error> {
    let mut brought = 0;
    let travellers: Vec<Held> = {
        let catalog = away.catalog();
        catalog.held().cloned().collect()
    };
    for held in &travellers {
        let known = {
            let catalog = home.catalog();
            catalog.get(held.manifest.id).is_some() || catalog.is_forgotten(held.manifest.id)
        };
        if !known {
            bring_one(committer, home, away, held)?;
            brought += 1;
        }
    }
    bring_events(home, away)?;
    if brought > 0 {
        let from = away.path().to_owned();
        write(home, vec![What::CameHome { from, checkpoints: brought }])?;
    }
    let_go(away, &travellers)?;
    retain(committer, home, &travellers)?;
    Ok(brought)
}

/// Brings one checkpoint home: under its number where that is free, under the next free one where it
/// was provisional or was given to another meanwhile.
fn bring_one(
    committer: &Committer,
    home: &Arc<Store>,
    away: &Arc<Store>,
    held: &Held,
) -> Result<(), Error> {
    let id = held.manifest.id;
    let state = away.read_state(held).map_err(|error| super::committer::unreadable(id, &error))?;
    let mut manifest = held.manifest.clone();
    let was = manifest.seq;
    let taken = {
        let catalog = home.catalog();
        let shelf = catalog.agents.get(&manifest.agent);
        shelf.is_some_and(|shelf| shelf.checkpoints.contains_key(&was))
    };
    if manifest.seq_provisional || taken {
        manifest.seq = committer.take_number(&manifest.agent, &[], std::slice::from_ref(home));
        if manifest.state_changed == was {
            manifest.state_changed = manifest.seq;
        }
    }
    let mut events = Vec::new();
    if taken && !manifest.seq_provisional {
        let agent_id = manifest.agent.clone();
        events.push(What::Diverged { agent_id, checkpoint_id: id, was, is: manifest.seq });
    }
    manifest.seq_provisional = false;
    let state = match state {
        Some(bytes) => DraftState::Given {
            encoded: encode::encode_complete(Arc::new(bytes), &committer.encode),
            base: None,
        },
        None => DraftState::Kept(Vec::new()),
    };
    home.write(&mut [Draft { manifest, state }], events, &committer.encode)
        .map_err(store::Error::from)?;
    Ok(())
}

/// Words that were said while away and decide something at home.
fn bring_events(home: &Arc<Store>, away: &Arc<Store>) -> Result<(), Error> {
    for event in away.events().map_err(|error| unreadable(&error))? {
        if decides_at_home(home, &event) {
            write(home, vec![event.what])?;
        }
    }
    Ok(())
}

fn decides_at_home(home: &Store, event: &Event) -> bool {
    let catalog = home.catalog();
    match &event.what {
        What::Forgotten { checkpoints, .. } => {
            checkpoints.iter().any(|one| catalog.get(one.id).is_some())
        }
        What::OperationClosed { operation_id, .. } => {
            catalog.get(*operation_id).is_some() && catalog.closed(*operation_id).is_none()
        }
        What::Marked { checkpoint_id, tainted, .. } => {
            catalog.is_tainted(*checkpoint_id) != *tainted
        }
        What::Reset { agent_id, seq } => {
            let shelf = catalog.agents.get(agent_id);
            shelf.is_none_or(|shelf| shelf.reset.is_none_or(|(_, known)| known < *seq))
        }
        What::RestoreBegun { agent_id, recovery, .. } => {
            catalog.agents.get(agent_id).is_some_and(|shelf| {
                shelf.ends_with(*recovery) && shelf.open_restore() != Some(&event.what)
            })
        }
        _ => false,
    }
}

/// Everything is home and durable there: the fallback lets its copies go.
fn let_go(away: &Arc<Store>, travellers: &[Held]) -> Result<(), Error> {
    let agents: std::collections::BTreeSet<&AgentId> =
        travellers.iter().map(|held| &held.manifest.agent).collect();
    for agent in agents {
        let word = {
            let catalog = away.catalog();
            let seqs: Vec<Seq> = travellers
                .iter()
                .filter(|held| held.manifest.agent == *agent)
                .map(|held| held.manifest.seq)
                .collect();
            retained::forgotten_event(&catalog, agent, &seqs, away, false)
        };
        if let Some(word) = word {
            write(away, vec![word])?;
        }
    }
    away.compact(Which::All, &mut |_, _| {}).map_err(|error| unreadable(&error))?;
    away.settle().map_err(|source| Error::Io { doing: "settle a fallback".to_owned(), source })
}

/// Retention looks at what came home.
fn retain(committer: &Committer, home: &Arc<Store>, travellers: &[Held]) -> Result<(), Error> {
    let agents: std::collections::BTreeSet<&AgentId> =
        travellers.iter().map(|held| &held.manifest.agent).collect();
    for agent in agents {
        let word = {
            let catalog = home.catalog();
            let now = home.store_time_ms();
            let plan = retained::plan_for(&catalog, agent, &[], &committer.policy, now);
            let seqs: Vec<Seq> = plan.forgotten.iter().map(|one| one.seq).collect();
            retained::forgotten_event(&catalog, agent, &seqs, home, false)
        };
        if let Some(word) = word {
            write(home, vec![word])?;
        }
    }
    Ok(())
}

fn write(store: &Arc<Store>, events: Vec<What>) -> Result<(), Error> {
    store.write_events(events).map_err(store::Error::from)?;
    Ok(())
}

fn unreadable(error: &dyn std::fmt::Display) -> Error {
    let source = std::io::Error::other(error.to_string());
    Error::Io { doing: "read a fallback store".to_owned(), source }
}
