//! What drift's verdicts and answers are in the log, and back.

use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::drift::{Answer, Cause, Evidence, Finding, Ledger};
use crate::encode::event::{DriftCause, What};
use crate::state::AgentId;
use crate::store::Store;

pub(super) fn cause_in_words(cause: &Cause) -> DriftCause {
    let Cause { signal, subject, raised_at } = cause;
    DriftCause { signal: signal.to_string(), subject: subject.clone(), raised_at: *raised_at }
}

/// `None` for a signal that only a newer program knows.
fn cause_of(word: &DriftCause) -> Option<Cause> {
    let DriftCause { signal, subject, raised_at } = word;
    Some(Cause { signal: named(signal)?, subject: subject.clone(), raised_at: *raised_at })
}

fn named<T: DeserializeOwned>(name: &str) -> Option<T> {
    serde_json::from_value(serde_json::Value::String(name.to_owned())).ok()
}

pub(super) fn found_in_words(agent: &AgentId, finding: &Finding, store_time_ms: u64) -> What {
    What::DriftFound {
        agent_id: agent.clone(),
        store_time_ms,
        cause: cause_in_words(&Cause::of(finding)),
        level: finding.level,
        onset: finding.onset,
        why: finding.evidence.words.clone(),
    }
}

pub(super) fn answer_in_words(answer: &Answer, observation: u64, why: &str) -> What {
    What::DriftAnswered {
        agent_id: answer.agent_id.clone(),
        store_time_ms: answer.at_ms,
        observation,
        causes: answer.causes.iter().map(cause_in_words).collect(),
        done: answer.done.as_str().to_owned(),
        restored: answer.restored,
        foreign: Vec::new(),
        why: why.to_owned(),
    }
}

/// The answer that an event tells; `None` for what only a newer program knows, and other events.
pub(super) fn answer_of(what: &What) -> Option<Answer> {
    let What::DriftAnswered { agent_id, store_time_ms, causes, done, restored, .. } = what else {
        return None;
    };
    Some(Answer {
        agent_id: agent_id.clone(),
        at_ms: *store_time_ms,
        causes: causes.iter().filter_map(cause_of).collect(),
        done: named(done)?,
        restored: *restored,
    })
}

/// The memory of responses, from what the log tells.
pub(super) fn ledger_of(stores: &[Arc<Store>]) -> Ledger {
    let mut words: Vec<(u64, What)> = Vec::new();
    for store in stores {
        let catalog = store.catalog();
        words.extend(catalog.drift.values().filter_map(|what| Some((when(what)?, what.clone()))));
    }
    words.sort_by_key(|(at, _)| *at);
    let mut ledger = Ledger::default();
    for (at, what) in &words {
        take(&mut ledger, *at, what);
    }
    ledger
}

fn when(what: &What) -> Option<u64> {
    match what {
        What::DriftFound { store_time_ms, .. }
        | What::DriftShared { store_time_ms, .. }
        | What::DriftAnswered { store_time_ms, .. } => Some(*store_time_ms),
        _ => None,
    }
}

fn take(ledger: &mut Ledger, at: u64, what: &What) {
    match what {
        What::DriftFound { agent_id, cause, level, onset, .. } => {
            let Some(Cause { signal, subject, raised_at }) = cause_of(cause) else { return };
            let (level, onset, evidence) = (*level, *onset, Evidence::default());
            let finding = Finding { signal, subject, level, onset, raised_at, evidence };
            ledger.alarm(agent_id, &[finding], at);
        }
        What::DriftShared { cause, .. } => {
            if let Some(cause) = cause_of(cause) {
                ledger.announce(&cause, at);
            }
        }
        other => {
            if let Some(answer) = answer_of(other) {
                ledger.note(answer);
            }
        }
    }
}

/// What an event tells, as JSON.
pub(super) fn detail(what: &What) -> serde_json::Value {
    match serde_json::to_value(what) {
        Ok(serde_json::Value::Object(map)) => map.into_iter().next().map(|(_, detail)| detail),
        _ => None,
    }
    .unwrap_or_default()
}
