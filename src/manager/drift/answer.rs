//! What is done about a drift: evidence is kept, the agent goes back, a person is asked.
//!
//! The word on an answer is in the same batch as what it tells of: with a recovery checkpoint, or with
//! the checkpoint that finishes a restore, together with what the restore taints. Before that batch
//! nothing counts as done and the cause is answered again; a restore that was interrupted is finished
//! with its words by the next start. The hook is called after the batch; a crash between them leaves
//! it uncalled.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use super::super::agent::Agent;
use super::super::error::Error;
use super::super::restoring::{self, RestoreOptions, Restored, is_damage};
use super::judging::{Judged, judge};
use super::report::{self, DriftChoice};
use super::watches::Seat;
use super::{command, words};
use crate::drift::{Answer, Decision, Directive, Measure, Opinion, Policy, Question, Verdict};
use crate::encode::event::What;
use crate::state::{CheckpointId, Kind, Seq};

/// What was found, and what was done about it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DriftResponse {
    /// How the agent stood.
    pub verdict: Verdict,
    /// What was decided, and why; of a restart or a halt, what the caller is to do.
    pub decision: Decision,
    /// What the agent is told.
    pub directive: Directive,
    /// The recovery checkpoint that keeps how things stood.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery_checkpoint_id: Option<CheckpointId>,
    /// What was gone back to, and why to nothing newer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub choice: Option<DriftChoice>,
    /// What the restore did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restored: Option<Restored>,
    /// Why the hook was not heard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hook_failed: Option<String>,
}

/// An answer that is being given.
struct Giving<'a> {
    agent: &'a Agent,
    seat: &'a Arc<Seat>,
    verdict: Verdict,
    decision: Decision,
}

impl Agent {
    /// What [`Agent::respond`] would do now; keeps and changes nothing but the log's words on what
    /// was found.
    ///
    /// # Errors
    /// `refused` where the manager only looks.
    pub fn due_response(&self) -> Result<Decision, Error> {
        self.manager().must_write()?;
        let seat = self.committer().watches.seat(self.id());
        Ok(self.judged(&seat).decision)
    }

    /// Does what is due: keeps a recovery checkpoint, goes back to the newest sound checkpoint from
    /// before the onset and taints what came after it, calls the hook. That the agent is to be
    /// started again or stopped is told to the caller. Where nothing is due, nothing is done.
    ///
    /// # Errors
    /// As [`Agent::restore`] and
    /// [`Request::commit`](super::super::Request::commit); then nothing counts as done, and it is due
    /// again.
    pub fn respond(&self) -> Result<DriftResponse, Error> {
        self.manager().must_write()?;
        let seat = self.committer().watches.seat(self.id());
        let _turn = seat.turn.lock();
        let Judged { verdict, decision, halted } = self.judged(&seat);
        let measure = decision.measure.clone();
        let giving = Giving { agent: self, seat: &seat, verdict, decision };
        match measure {
            Measure::Nothing | Measure::Observe | Measure::Wait { .. } => {
                let mut response = giving.response();
                if halted {
                    response.directive = Directive::Stop;
                }
                Ok(response)
            }
            Measure::Checkpoint | Measure::Restart | Measure::Halt => giving.keep_evidence(),
            Measure::Restore { onset, tried } => giving.go_back(onset, tried),
        }
    }

    pub(super) fn judged(&self, seat: &Arc<Seat>) -> Judged {
        let watches = &self.committer().watches;
        self.watching(seat, |watching| {
            watching.watch.tick(watches.now());
            judge(self, watching)
        })
    }

    /// Asks the detectors that are commands about the newest checkpoint.
    pub(super) fn ask_commands(&self) -> Result<(), Error> {
        let watches = &self.committer().watches;
        let detectors = &watches.options(self.id()).detectors;
        if detectors.is_empty() {
            return Ok(());
        }
        let newest = match self.read_checkpoint("latest") {
            Ok(newest) => newest,
            Err(Error::NoCheckpoint { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        let id = newest.checkpoint().checkpoint_id;
        let seat = watches.seat(self.id());
        let asked = self.watching(&seat, |watching| watching.asked.replace(id));
        if asked == Some(id) {
            return Ok(());
        }
        let observation = self.watching(&seat, |watching| watching.watch.number());
        let question = Question {
            agent_id: self.id().clone(),
            observation,
            checkpoint: newest.checkpoint().clone(),
            state: newest.state().ok(),
        };
        let question = serde_json::to_vec(&question)
            .map_err(|source| Error::Json { doing: "serialize", source })?;
        for detector in detectors {
            let timeout = Duration::from_millis(detector.timeout.as_ms());
            let answer = command::run(&detector.command, question.clone(), timeout);
            let opinion = answer.and_then(|answer| {
                serde_json::from_slice::<Opinion>(&answer).map_err(|error| error.to_string())
            });
            match opinion {
                Ok(opinion) => self.watching(&seat, |watching| {
                    watching.watch.hear(&detector.name, opinion);
                    watching.touch();
                }),
                Err(why) => {
                    let name = &detector.name;
                    tracing::warn!(agent = %self.id(), detector = %name, %why, "a detector failed");
                }
            }
        }
        self.manager().note_observed(&seat);
        Ok(())
    }
}

impl Giving<'_> {
    fn response(self) -> DriftResponse {
        DriftResponse {
            directive: self.decision.directive(),
            verdict: self.verdict,
            decision: self.decision,
            recovery_checkpoint_id: None,
            choice: None,
            restored: None,
            hook_failed: None,
        }
    }

    fn answer(&self, done: Policy, restored: Option<Seq>) -> Answer {
        Answer {
            agent_id: self.agent.id().clone(),
            at_ms: self.agent.committer().store_time_ms(),
            causes: self.decision.causes.clone(),
            done,
            restored,
        }
    }

    fn word(&self, answer: &Answer) -> What {
        words::answer_in_words(answer, self.verdict.observation, &self.decision.why)
    }

    /// Keeps how things stand, and says what is to be done.
    fn keep_evidence(self) -> Result<DriftResponse, Error> {
        let done = self.decision.strength().unwrap_or(Policy::Checkpoint);
        let answer = self.answer(done, None);
        // A cause that is shared was told of once, for all.
        let said = if self.decision.told { Vec::new() } else { vec![self.word(&answer)] };
        let request = self.agent.checkpoint(Kind::Recovery);
        let request = request.comment(format!("drift: {}", self.decision.why)).says(said.clone());
        let recovery = match request.commit() {
            Ok(receipt) => Some(receipt.checkpoint.checkpoint_id),
            // There is nothing yet that could be kept.
            Err(Error::NoState { .. }) => {
                self.agent.committer().write_words(|_| said.clone(), &[])?;
                None
            }
            Err(error) => return Err(error),
        };
        self.note(answer);
        let hook_failed = self.call_hook(done, &json!({ "recovery_checkpoint_id": recovery }));
        Ok(DriftResponse { recovery_checkpoint_id: recovery, hook_failed, ..self.response() })
    }

    fn note(&self, answer: Answer) {
        let committer = self.agent.committer();
        let halts = answer.done == Policy::Halt;
        committer.watches.ledger(committer).note(answer);
        if halts {
            self.agent.watching(self.seat, |watching| watching.halted = true);
        }
    }

    /// Goes back; where what was chosen turns out damaged, one further.
    fn go_back(mut self, onset: u64, tried: Option<Seq>) -> Result<DriftResponse, Error> {
        loop {
            let choice = report::choose_for(self.agent, onset, tried)?;
            let Some(chosen) = choice.chosen.clone() else {
                self.decision = self.decision.nowhere_to_go();
                let response = self.keep_evidence()?;
                return Ok(DriftResponse { choice: Some(choice), ..response });
            };
            match self.restore(&choice, chosen.checkpoint_id, chosen.seq) {
                Ok(restored) => {
                    self.note(self.answer(Policy::Restore, Some(chosen.seq)));
                    let told = json!({
                        "restored": chosen.checkpoint_id,
                        "restored_as": restored.restored_as,
                        "recovery_checkpoint_id": restored.recovery_checkpoint_id,
                    });
                    let hook_failed = self.call_hook(Policy::Restore, &told);
                    let recovery_checkpoint_id = restored.recovery_checkpoint_id;
                    let (choice, restored) = (Some(choice), Some(restored));
                    let response = self.response();
                    return Ok(DriftResponse {
                        recovery_checkpoint_id,
                        choice,
                        restored,
                        hook_failed,
                        ..response
                    });
                }
                // It is known from here on, so the next choice is another one.
                Err(error) if is_damage(&error) => {
                    let id = chosen.checkpoint_id;
                    tracing::error!(%id, %error, "what was chosen is damaged; one further back");
                    self.agent.resolve(&id.to_string())?.store.note_damaged(id);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn restore(&self, choice: &DriftChoice, id: CheckpointId, seq: Seq) -> Result<Restored, Error> {
        let options = RestoreOptions { force: true, live: true, ..RestoreOptions::default() };
        let foreign = self.foreign(id, &options)?;
        let mut said: Vec<What> = choice
            .taints
            .iter()
            .map(|taint| What::Marked {
                checkpoint_id: *taint,
                tainted: true,
                why: self.decision.why.clone(),
            })
            .collect();
        let mut word = self.word(&self.answer(Policy::Restore, Some(seq)));
        if let What::DriftAnswered { foreign: listed, .. } = &mut word {
            *listed = foreign;
        }
        said.push(word);
        restoring::restore_saying(self.agent, &id.to_string(), &options, (&said, None))
    }

    /// What others changed and the restore replaces.
    fn foreign(&self, id: CheckpointId, options: &RestoreOptions) -> Result<Vec<PathBuf>, Error> {
        let options = RestoreOptions { force: false, ..options.clone() };
        Ok(self.agent.plan_restore(&id.to_string(), &options)?.files.conflicts)
    }

    /// Tells the hook; answers why it was not heard.
    fn call_hook(&self, done: Policy, outcome: &serde_json::Value) -> Option<String> {
        let committer = self.agent.committer();
        let hook = &committer.watches.options(self.agent.id()).hook;
        if hook.command.is_empty() {
            return None;
        }
        let told = json!({
            "agent_id": self.agent.id(),
            "store": committer.targets.primary.path(),
            "done": done,
            "directive": self.decision.directive(),
            "verdict": self.verdict,
            "decision": self.decision,
            "outcome": outcome,
        });
        let timeout = Duration::from_millis(hook.timeout.as_ms());
        let why = command::run(&hook.command, told.to_string().into_bytes(), timeout).err()?;
        tracing::warn!(agent = %self.agent.id(), %why, "the hook failed");
        let said = committer.write_event(|_| What::DriftHookFailed {
            agent_id: self.agent.id().clone(),
            done: done.as_str().to_owned(),
            why: why.clone(),
        });
        if let Err(error) = said {
            tracing::error!(%error, "that the hook failed cannot be said in the log");
        }
        Some(why)
    }
}
