//! What is known of an agent's drift, for people: signals, findings, the checkpoint to go back to.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::super::agent::Agent;
use super::super::error::Error;
use super::super::resolve;
use super::{watches, words};
use crate::drift::{
    Candidate, Decision, Directive, Passed, SignalStatus, SourceStatus, Verdict, choose,
};
use crate::encode::event::What;
use crate::state::{Checkpoint, CheckpointId, Seq};
use crate::store::{Held, Store};

/// How an agent stands, and what would follow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct DriftReport {
    /// How it stands, and why.
    pub verdict: Verdict,
    /// What it is told.
    pub directive: Directive,
    /// What would be done now, and why.
    pub decision: Decision,
    /// Why it was halted, and what a person can do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halted: Option<String>,
    /// Every place that sightings come from, blind ones too.
    pub sources: Vec<SourceStatus>,
    /// Every signal, blind ones too.
    pub signals: Vec<SignalStatus>,
    /// Samples that were no numbers, and such of series beyond the bound.
    #[cfg_attr(feature = "server", schema(value_type = Vec<u64>))]
    pub left_out: (u64, u64),
    /// The checkpoint that would be gone back to: for the onset that is suspected, else for a drift
    /// that began now.
    pub choice: DriftChoice,
    /// What was done so far, oldest first, as the log tells it.
    pub answers: Vec<serde_json::Value>,
}

/// A checkpoint to go back to, and why to nothing newer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct DriftChoice {
    /// For a drift that began with this observation.
    pub onset: u64,
    /// The checkpoint; none where there is none.
    pub chosen: Option<Checkpoint>,
    /// The newer ones, the newest first; all where none was chosen.
    pub passed: Vec<DriftPassed>,
    /// What going back taints.
    #[serde(skip)]
    pub(super) taints: Vec<CheckpointId>,
}

/// A checkpoint that was passed by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct DriftPassed {
    /// Its number.
    pub seq: Seq,
    /// Which.
    pub checkpoint_id: CheckpointId,
    /// Why, by name.
    pub why: Passed,
    /// Why, in words.
    pub words: String,
}

/// Answers that a report shows at most, the newest.
const ANSWERS_MAX: usize = 50;

impl Agent {
    /// Tells how the agent stands: its signals, what was found, which checkpoint it would go back to
    /// and why to nothing newer, and what was done so far.
    ///
    /// # Errors
    /// `unavailable` where no store can be seen.
    pub fn drift_report(&self) -> Result<DriftReport, Error> {
        let verdict = self.detect_drift()?;
        let committer = self.committer();
        let seat = committer.watches.seat(self.id());
        let (sources, signals, left_out, number) = self.watching(&seat, |watching| {
            let watch = &watching.watch;
            (watch.sources(), watch.signals(), watch.left_out(), watch.number())
        });
        let onset = verdict.onset.unwrap_or(number + 1);
        let halted = self.halted();
        let decision = self.judged(&seat).decision;
        let directive = if halted.is_some() { Directive::Stop } else { decision.directive() };
        Ok(DriftReport {
            directive,
            decision,
            halted,
            sources,
            signals,
            left_out,
            choice: choose_for(self, onset, None)?,
            answers: answers(self),
            verdict,
        })
    }
}

fn answers(agent: &Agent) -> Vec<serde_json::Value> {
    let mut all = Vec::new();
    for store in agent.committer().targets.sighted() {
        let catalog = store.catalog();
        let own = catalog.drift.values().filter(|what| match what {
            What::DriftAnswered { agent_id, .. } => agent_id == agent.id(),
            _ => false,
        });
        all.extend(
            own.filter_map(|what| Some((words::answer_of(what)?.at_ms, words::detail(what)))),
        );
    }
    all.sort_by_key(|(at, _)| *at);
    let skip = all.len().saturating_sub(ANSWERS_MAX);
    all.into_iter().skip(skip).map(|(_, answer)| answer).collect()
}

/// The newest checkpoint of an agent that is sound, untainted and older than the onset.
pub(super) fn choose_for(
    agent: &Agent,
    onset: u64,
    tried: Option<Seq>,
) -> Result<DriftChoice, Error> {
    agent.manager().seen("the checkpoints")?;
    let committer = agent.committer();
    let began = watches::began(committer, agent.id());
    let line = committer.targets.in_one_view(|stores| {
        let start = resolve::fresh_start(stores, agent.id());
        let mut line: BTreeMap<Seq, (Candidate, Held, Arc<Store>)> = BTreeMap::new();
        for store in stores {
            let catalog = store.catalog();
            let shelf = catalog.agents.get(agent.id()).into_iter();
            for held in shelf.flat_map(|shelf| shelf.checkpoints.values()) {
                let manifest = &held.manifest;
                let candidate = Candidate {
                    seq: manifest.seq,
                    kind: manifest.kind,
                    observation: held.observation(began),
                    sound: !catalog.is_damaged(manifest.id),
                    taint: resolve::taint(&catalog, held),
                    before_reset: manifest.seq <= start,
                    digest: held.digest,
                };
                let known = (candidate, held.clone(), Arc::clone(store));
                line.entry(manifest.seq).or_insert(known);
            }
        }
        line
    });
    let candidates: Vec<Candidate> = line.values().map(|(candidate, ..)| *candidate).collect();
    let choice = choose(&candidates, onset, tried);
    let id = |seq: &Seq| line[seq].1.manifest.id;
    let chosen = choice.chosen.map(|seq| {
        let (_, held, store) = &line[&seq];
        store.facts(held)
    });
    let passed = choice.passed.iter().map(|passed| DriftPassed {
        seq: passed.seq,
        checkpoint_id: id(&passed.seq),
        why: passed.why,
        words: passed.why.to_string(),
    });
    let passed = passed.collect();
    let taints = choice.taints.iter().map(id).collect();
    Ok(DriftChoice { onset, chosen, passed, taints })
}
