//! What is seen of an agent is shown to its detectors, and what they ask for is done, or said.
//!
//! A state file that is missing or damaged is put back by itself: the agent's work is in the other
//! parts, and none of it is undone for a file. Everything else that goes back waits until the command
//! has ended.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Keeper, Kept, PutBack, Wanted};
use crate::drift::{Level, Measure, Sighting, Signal};
use crate::manager::{Agent, DriftResponse, Error, Observed};
use crate::state::{Checkpoint, CheckpointId, Digest, Receipt};
use crate::supervise::schedule::Parts;
use crate::supervise::sense::Contents;

/// How an agent stands after something was seen of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// How it stands.
    pub level: Level,
    /// What there is to say of what was done already.
    pub said: Vec<String>,
    /// What has to be done by whoever runs the command.
    pub due: Option<Due>,
}

/// What has to be done, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Due {
    /// State files are to be put back.
    PutBack(String),
    /// The command is to be ended; then [`Keeper::respond`] says how it goes on.
    End(String),
    /// The agent was halted, and nobody has let it go on.
    Halted(String),
}

/// What was done after the command had ended.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Responded {
    pub said: Vec<String>,
    /// Everything was put back.
    pub restored: Option<PutBack>,
    /// The agent is not to be started again.
    pub halted: Option<String>,
}

/// The workspace as it was last kept.
#[derive(Debug, Default)]
pub(super) struct Tree {
    newest: Option<CheckpointId>,
    contents: Contents,
}

impl Keeper {
    /// Shows what was seen, in its order, and that time passed.
    pub(super) fn see(&self, sightings: Vec<Sighting>, terminal: bool) -> Result<Seen, Error> {
        let agent = self.bare_agent();
        agent.on_terminal(terminal);
        for sighting in sightings {
            agent.see(sighting)?;
        }
        let observed = agent.tick()?;
        let level = observed.verdict.level;
        let (said, due) = self.due(&agent, &observed)?;
        Ok(Seen { level, said, due })
    }

    /// What is due, after what can be done under a running command was done.
    fn due(&self, agent: &Agent, observed: &Observed) -> Result<(Vec<String>, Option<Due>), Error> {
        if let Some(why) = agent.halted() {
            return Ok((Vec::new(), Some(Due::Halted(why))));
        }
        if !observed.due {
            return Ok((Vec::new(), None));
        }
        let decision = agent.due_response()?;
        let of_a_file = decision.causes.iter().any(|cause| cause.signal == Signal::StateFile);
        Ok(match decision.measure {
            Measure::Checkpoint => (words_of(&self.agent()?.respond()?), None),
            Measure::Restore { .. } if of_a_file => (Vec::new(), Some(Due::PutBack(decision.why))),
            Measure::Restart | Measure::Restore { .. } | Measure::Halt => {
                (Vec::new(), Some(Due::End(decision.why)))
            }
            Measure::Nothing | Measure::Observe | Measure::Wait { .. } => (Vec::new(), None),
        })
    }

    /// Puts state files back that are missing or damaged, and writes down that their drift is
    /// answered with that. What was found is kept first.
    pub(super) fn put_back(&self, why: &str) -> Result<Option<PutBack>, Error> {
        self.take(&Wanted::recovery(format!("drift: {why}")))?;
        self.bare_agent().put_right(Signal::StateFile, || {
            let put_back = self.mend()?;
            // Where there was nothing to put back it is answered too: later it will be no other.
            let from = put_back.as_ref().map(|it| it.from.seq);
            Ok((put_back, from))
        })
    }

    /// Does what is due now that the command has ended; what it left is kept first.
    pub(super) fn respond(&self, why: &str) -> Result<Responded, Error> {
        self.take(&Wanted::recovery(format!("drift: {why}")))?;
        let response = self.agent()?.respond()?;
        // Why it was ended was told before.
        let said = words_of(&response).into_iter().skip(1).collect();
        let from = response.choice.and_then(|choice| choice.chosen);
        let restored = response.restored.zip(from).map(|(restored, from)| {
            let foreign = restored.files.conflicts.iter();
            let mut what = vec![format!("everything: {}", response.decision.why)];
            what.extend(
                foreign.map(|path| format!("also {}, which others changed", path.display())),
            );
            PutBack { from, what, apart: None }
        });
        Ok(Responded { said, restored, halted: self.bare_agent().halted() })
    }

    /// Takes everything as it is found, and then shows what is another than at the newest checkpoint:
    /// nothing of the command ran since, so others changed it. It is kept as they left it.
    pub(super) fn arrive(&self) -> Result<Kept, Error> {
        let before = match self.bare_agent().show("latest") {
            Err(Error::NoCheckpoint { .. }) => None,
            other => Some(other?),
        };
        let kept = self.take(&Wanted::routine(Parts::ALL))?;
        if let (Some(before), Some(receipt)) = (before, &kept.receipt) {
            let agent = self.bare_agent();
            let shown = self.changed_between(&agent, &before, receipt).and_then(|paths| {
                if paths.is_empty() {
                    return Ok(());
                }
                agent.see(Sighting::Foreign(paths)).map(drop)
            });
            if let Err(error) = shown {
                tracing::warn!(agent = %agent.id(), %error, "what others changed is not shown");
            }
        }
        Ok(kept)
    }

    /// The files of parts that both hold which are not the same: those of the workspace by their
    /// paths in it.
    fn changed_between(
        &self,
        agent: &Agent,
        before: &Checkpoint,
        after: &Checkpoint,
    ) -> Result<Vec<PathBuf>, Error> {
        let mut paths = Vec::new();
        let (old, new) = (before.checkpoint_id.to_string(), after.checkpoint_id.to_string());
        if before.workspace.is_some() && before.workspace == after.workspace {
            let changes = agent.workspace_changes(&old, &new)?;
            paths.extend(changes.into_iter().map(|change| change.path));
        }
        let both = [before.state_digest, after.state_digest];
        if let (Some(file), [Some(old), Some(new)]) = (self.files.state(), both)
            && old != new
        {
            paths.push(file.to_owned());
        }
        let in_both = after.state_files.iter().filter(|file| before.state_files.contains(file));
        if in_both.count() > 0 {
            let digests = |of: &str| -> Result<BTreeMap<PathBuf, Option<Digest>>, Error> {
                let all = agent.files(of)?.into_iter().filter(|file| file.path.is_absolute());
                Ok(all.map(|file| (file.path, file.facts.digest)).collect())
            };
            let (old, new) = (digests(&old)?, digests(&new)?);
            let other = |path: &&PathBuf| old.get(*path).is_some_and(|it| *it != new[*path]);
            paths.extend(new.keys().filter(other).cloned());
        }
        Ok(paths)
    }

    /// Shows a workspace that was scanned for a checkpoint. What cannot be shown is not missed by
    /// whoever asked for the checkpoint.
    pub(super) fn show_workspace(&self, receipt: &Receipt) {
        if receipt.workspace.is_none() || receipt.inherited.contains_key("workspace") {
            return;
        }
        let agent = self.bare_agent();
        let mut tree = self.tree.lock();
        let before = tree.newest.replace(receipt.checkpoint_id);
        let changes = before.map_or(Ok(Vec::new()), |before| {
            agent.workspace_changes(&before.to_string(), &receipt.checkpoint_id.to_string())
        });
        let shown = changes.and_then(|changes| {
            let seen = tree.contents.take(&changes, receipt.workspace_files);
            agent.see(Sighting::Workspace(seen))
        });
        if let Err(error) = shown {
            tracing::warn!(agent = %agent.id(), %error, "a workspace is not shown to detectors");
        }
    }
}

/// What there is to say of a response.
fn words_of(response: &DriftResponse) -> Vec<String> {
    if response.decision.why.is_empty() {
        return Vec::new();
    }
    let mut said = vec![format!("drift: {}", response.decision.why)];
    if let Some(id) = response.recovery_checkpoint_id {
        said.push(format!("  how it stands is kept as {id}"));
    }
    said.extend(response.hook_failed.as_ref().map(|why| format!("  the hook failed: {why}")));
    said
}
