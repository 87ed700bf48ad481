//! Agents under watch: what is seen of them is shown to their detectors, and what follows is done.
//!
//! [`Agent::observe`] takes what an agent says of itself, [`Agent::see`] what others see of it; states
//! that are kept through a handle of a watched agent are shown to its detectors before they are kept.
//! Each answers with the verdict, and [`Agent::respond`] does what is due: an event, a recovery
//! checkpoint, the hook, a restore. Starting and stopping an agent is left to the caller, who is told.
//!
//! What is seen is not acknowledged as durable ([`watches`]). What is done is: the word on a restore
//! and what it taints are in the batch that finishes it, so that after a crash there are both or
//! neither.

mod answer;
mod command;
mod judging;
#[cfg(feature = "cli")]
mod put_back;
mod report;
mod watches;
mod words;

use std::sync::Arc;

pub use answer::DriftResponse;
pub use judging::Observed;
pub use report::{DriftChoice, DriftPassed, DriftReport};
pub(crate) use watches::{Noted, WRITTEN_WITHIN, Watches};

use serde::{Deserialize, Serialize};

use super::CheckpointManager;
use super::admission::{Submission, Told, Wanted};
use super::agent::Agent;
use super::error::Error;
use super::resolve::WalkedPast;
use crate::drift::sighting::StateSeen;
use crate::drift::{Detector, Level, Observation, Sighting, Verdict};
use crate::encode::event::What;
use crate::encode::manifest::Manifest;
use crate::state::{Digest, Kind, Seq};
use judging::{is_quiet, judge};
use watches::{Seat, Watching};

/// A person's word on a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// It may be gone back to.
    Good,
    /// It is never chosen by itself.
    Bad,
}

impl Agent {
    /// Takes what the agent says of itself; answers how it stands and what it is told.
    ///
    /// What is observed is written down with the next checkpoint or within a second; it is not
    /// durable when this returns.
    ///
    /// # Errors
    /// `usage` for names, digests or metrics beyond their limits; `refused` where the manager only
    /// looks.
    pub fn observe(&self, observation: Observation) -> Result<Observed, Error> {
        observation.check()?;
        self.see(Sighting::Observation(observation))
    }

    /// Takes what others see of the agent, as [`Agent::observe`] does.
    ///
    /// # Errors
    /// As [`Agent::observe`].
    #[expect(clippy::needless_pass_by_value, reason = "a sighting is told once")]
    pub fn see(&self, sighting: Sighting) -> Result<Observed, Error> {
        self.manager().must_write()?;
        let watches = &self.committer().watches;
        let seat = watches.seat(self.id());
        let observed = self.watching(&seat, |watching| {
            let level = self.show_sighting(watching, &sighting);
            if is_quiet(watching, level) {
                return Observed::fine(watching.watch.number());
            }
            judge(self, watching).into()
        });
        self.manager().note_observed(&seat);
        Ok(observed)
    }

    /// Notes that time passes and nothing is seen, which is how silence and stalls are found.
    ///
    /// # Errors
    /// `refused` where the manager only looks.
    pub fn tick(&self) -> Result<Observed, Error> {
        self.manager().must_write()?;
        let watches = &self.committer().watches;
        let seat = watches.seat(self.id());
        Ok(self.watching(&seat, |watching| {
            let level = watching.watch.tick(watches.now());
            if is_quiet(watching, level) {
                return Observed::fine(watching.watch.number());
            }
            judge(self, watching).into()
        }))
    }

    /// How the agent stands now, and why. Detectors that are commands are asked here, each once for
    /// the newest checkpoint; one that fails is found as drift's own trouble and says nothing.
    ///
    /// # Errors
    /// `unavailable` where no store can be seen.
    pub fn detect_drift(&self) -> Result<Verdict, Error> {
        self.ask_commands()?;
        let watches = &self.committer().watches;
        let seat = watches.seat(self.id());
        Ok(self.watching(&seat, |watching| {
            let level = watching.watch.tick(watches.now());
            if self.manager().looks_only() || is_quiet(watching, level) {
                return watching.watch.verdict();
            }
            judge(self, watching).verdict
        }))
    }

    /// Adds a detector of the user's own; what one of its name remembered is handed to it. It is
    /// there until the manager is closed, for every handle of the agent.
    pub fn add_detector(&self, detector: Box<dyn Detector>) {
        let seat = self.committer().watches.seat(self.id());
        self.watching(&seat, |watching| {
            watching.watch.add(detector);
            watching.touch();
        });
    }

    /// Says whether the agent has a terminal: silence says nothing then, and nothing is answered by
    /// more than a checkpoint unless `drift.restores.on_terminal` asks for it.
    pub fn on_terminal(&self, terminal: bool) {
        let seat = self.committer().watches.seat(self.id());
        self.watching(&seat, |watching| {
            watching.terminal = terminal;
            watching.watch.on_terminal(terminal);
        });
    }

    /// Takes a person's word on a checkpoint: `Bad` taints it, `Good` takes the taint from it and
    /// lets an agent go on that was halted.
    ///
    /// # Errors
    /// `not_found`, `refused` for a checkpoint of another agent, `unstored` when no target took the
    /// word.
    pub fn mark(&self, reference: &str, word: Word, why: &str) -> Result<(), Error> {
        self.manager().must_write()?;
        let found = self.resolve(reference)?;
        let manifest = &found.held.manifest;
        if manifest.agent != *self.id() {
            return Err(Error::Refused {
                why: format!("{reference} is a checkpoint of agent {}", manifest.agent),
                way_out: "name that agent".to_owned(),
            });
        }
        let (checkpoint_id, tainted) = (manifest.id, word == Word::Bad);
        let mut words = vec![What::Marked { checkpoint_id, tainted, why: why.to_owned() }];
        if word == Word::Good && self.halted().is_some() {
            words.push(self.released(&format!("checkpoint {} was called good", manifest.seq)));
        }
        self.committer().write_words(|_| words.clone(), &[])?;
        self.note_released();
        Ok(())
    }

    /// Why the agent was halted, with what a person can do; none where it was not, or was let go on
    /// since: by a restore, a fresh start, or a word on what is good.
    #[must_use]
    pub fn halted(&self) -> Option<String> {
        watches::halted(self.committer(), self.id())
    }

    /// Refuses where the agent was halted.
    ///
    /// # Errors
    /// `refused`, with what a person can do.
    pub fn check_halted(&self) -> Result<(), Error> {
        let agent = self.id().clone();
        self.halted().map_or(Ok(()), |why| Err(Error::Halted { agent, why }))
    }

    fn released(&self, why: &str) -> What {
        What::DriftReleased { agent_id: self.id().clone(), why: why.to_owned() }
    }

    /// The word that lets a halted agent go on; none where it is not halted.
    pub(super) fn release(&self, why: &str) -> Option<What> {
        self.halted().map(|_| self.released(why))
    }

    /// Looks again whether the agent is halted, where it was.
    pub(super) fn note_released(&self) {
        let halted = self.halted().is_some();
        let watches = &self.committer().watches;
        if watches.verdict(self.id()).is_some() {
            let seat = watches.seat(self.id());
            self.watching(&seat, |watching| watching.halted = halted);
        }
    }

    fn watching<T>(&self, seat: &Arc<Seat>, work: impl FnOnce(&mut Watching) -> T) -> T {
        self.committer().watches.with(self.committer(), (self.id(), seat), work)
    }

    fn show_sighting(&self, watching: &mut Watching, sighting: &Sighting) -> Level {
        let committer = self.committer();
        if watching.watch.number() == 0 {
            watching.begin(watches::last_seq(committer, self.id()));
        }
        watching.see(sighting, committer.watches.now())
    }

    /// The earliest onset of anything that is suspected of the agent, and the newest checkpoint when
    /// watching began.
    pub(super) fn suspected_since(&self) -> Option<(u64, Seq)> {
        let committer = self.committer();
        if let Some((verdict, began)) = committer.watches.verdict(self.id()) {
            return verdict.suspected_since().map(|onset| (onset, began));
        }
        let told = watches::newest(committer, self.id())?;
        told.suspected_since.map(|onset| (onset, told.began))
    }

    /// Shows the state that is about to be kept to the detectors of a watched agent, and notes how
    /// it stands beside it. Not shown is what is no work of the agent's: recovery checkpoints,
    /// restores, imports. What was shown counts although it may not be kept in the end.
    pub(super) fn note_watched(&self, submission: &mut Submission) -> Option<Noted> {
        let watches = &self.committer().watches;
        if submission.told.is_some() || !watches.is_watched(self.committer(), self.id()) {
            return None;
        }
        let own = submission.kind != Kind::Recovery
            && submission.restored.is_none()
            && !(submission.imported || submission.raw);
        let state = match &submission.state {
            Wanted::Given { encoded, .. } if own => Some(encoded),
            _ => None,
        };
        let seat = watches.seat(self.id());
        let (told, words, noted) = self.watching(&seat, |watching| {
            if let Some(state) = state {
                self.show_state(watching, state.state_digest, &state.bytes);
            }
            watching.note(&seat)
        });
        self.manager().note_observed(&seat);
        submission.told = Some(told);
        submission.events.extend(words);
        Some(noted)
    }

    /// A state that was not changed is not read again.
    fn show_state(&self, watching: &mut Watching, digest: Digest, bytes: &[u8]) {
        let content = if watching.is_new_state(digest) {
            serde_json::from_slice(bytes).ok().map(Arc::new)
        } else {
            None
        };
        let seen = StateSeen { digest, bytes: bytes.len() as u64, content };
        let level = self.show_sighting(watching, &Sighting::State(seen));
        if !is_quiet(watching, level) {
            judge(self, watching);
        }
    }

    /// Notes whether what was noted is durable now.
    pub(super) fn note_told(&self, noted: Option<Noted>, kept: bool) {
        if let Some(noted) = noted {
            self.committer().watches.settle(noted, kept);
        }
    }

    /// Does the last step of a restore, with the detectors back where they stood at what is restored;
    /// where the step fails they stand as before.
    pub(super) fn bring_back<T>(
        &self,
        from: &Manifest,
        state: Option<&[u8]>,
        finish: impl FnOnce(Option<Told>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let committer = self.committer();
        if !committer.watches.is_watched(committer, self.id()) {
            return finish(None);
        }
        let memory = from.memory().map(|(digest, _)| watches::read_memory(committer, digest));
        let seat = committer.watches.seat(self.id());
        self.watching(&seat, |watching| {
            let before = watching.watch.save();
            let brought = match memory {
                Some(Ok(memory)) => watching.watch.bring_back(&memory).map_err(|it| it.to_string()),
                Some(Err(why)) => Err(why),
                None => {
                    watching.watch.forget();
                    Ok(())
                }
            };
            if let Err(why) = brought {
                tracing::warn!(agent = %self.id(), %why, "the detectors begin anew");
                watching.watch.forget();
            }
            // A restore is a moment of its own: what comes next is counted from it.
            let number = watching.watch.number();
            if let Some(state) = state {
                let content = serde_json::from_slice(state).ok().map(Arc::new);
                let (digest, bytes) = (Digest::of(state), state.len() as u64);
                let seen = Sighting::State(StateSeen { digest, bytes, content });
                self.show_sighting(watching, &seen);
            }
            watching.watch.go_on_from(number + 1);
            watching.touch();
            let finished = finish(Some(watching.told()));
            if finished.is_ok() {
                watching.forget_findings();
            } else {
                let resumed = watching.watch.resume(&before);
                resumed.expect("it was written a moment ago");
                watching.touch();
            }
            finished
        })
    }

    /// Shows damage that was walked past to the detectors of a watched agent, once for each
    /// checkpoint.
    pub(super) fn note_damage(&self, walked_past: &[WalkedPast]) {
        let committer = self.committer();
        let watched = || committer.watches.is_watched(committer, self.id());
        if walked_past.is_empty() || self.manager().looks_only() || !watched() {
            return;
        }
        let seat = committer.watches.seat(self.id());
        for WalkedPast { checkpoint_id, why } in walked_past {
            self.watching(&seat, |watching| {
                if watching.damage.insert(*checkpoint_id) {
                    let what = format!("checkpoint {checkpoint_id}: {why}");
                    self.show_sighting(watching, &Sighting::Damage(what));
                    judge(self, watching);
                }
            });
        }
        self.manager().note_observed(&seat);
    }

    /// Shows files that others changed to the detectors of a watched agent.
    pub(super) fn note_foreign(&self, error: &Error) {
        let Error::Conflicts { paths } = error else { return };
        let committer = self.committer();
        if committer.watches.is_watched(committer, self.id())
            && let Err(error) = self.see(Sighting::Foreign(paths.clone()))
        {
            tracing::warn!(agent = %self.id(), %error, "foreign changes are not shown to detectors");
        }
    }
}

impl CheckpointManager {
    /// Notes that an agent was seen: it is written down within a second.
    fn note_observed(&self, seat: &Seat) {
        if self.committer().watches.note_seen(seat) {
            self.wake();
        }
    }
}
