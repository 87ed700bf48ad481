//! A drift that was answered by less than a restore: what was wrong was put right by itself.

use super::super::agent::Agent;
use super::super::error::Error;
use super::judging::{Judged, judge};
use super::words;
use crate::drift::{Answer, Cause, Policy, Signal};
use crate::state::Seq;

impl Agent {
    /// Writes down that what a signal found is answered: it was put right from a checkpoint, or from
    /// none where there was nothing to do. It counts as a restore, so that the agent is left alone
    /// for a while, and halted where it happens again and again.
    ///
    /// # Errors
    /// `unstored` when no target took the word; then it is due again.
    pub(crate) fn note_put_back(&self, signal: Signal, from: Option<Seq>) -> Result<(), Error> {
        let committer = self.committer();
        let seat = committer.watches.seat(self.id());
        let _turn = seat.turn.lock();
        let Judged { verdict, decision, .. } = self.watching(&seat, |it| judge(self, it));
        let findings = verdict.findings.iter().filter(|finding| finding.signal == signal);
        let causes: Vec<Cause> = findings.map(Cause::of).collect();
        if causes.is_empty() {
            return Ok(());
        }
        let answer = Answer {
            agent_id: self.id().clone(),
            at_ms: committer.store_time_ms(),
            causes,
            done: Policy::Restore,
            restored: from,
        };
        let word = words::answer_in_words(&answer, verdict.observation, &decision.why);
        committer.write_words(|_| vec![word.clone()], &[])?;
        committer.watches.ledger(committer).note(answer);
        Ok(())
    }
}
