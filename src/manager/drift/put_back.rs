//! A drift that is answered by less than a restore: what is wrong is put right by itself.

use super::super::agent::Agent;
use super::super::error::Error;
use super::judging::{Judged, judge};
use super::words;
use crate::drift::{Answer, Cause, Policy, Signal};
use crate::state::Seq;

impl Agent {
    /// Puts right what a signal found, and writes down that this is answered: from a checkpoint, or
    /// from none where there was nothing to do. It counts as a restore, so that the agent is left
    /// alone for a while, and halted where it happens again and again.
    ///
    /// # Errors
    /// What `work` answers; `unstored` when no target took the word. Then it is due again.
    pub(crate) fn put_right<T>(
        &self,
        signal: Signal,
        work: impl FnOnce() -> Result<(T, Option<Seq>), Error>,
    ) -> Result<T, Error> {
        let committer = self.committer();
        let seat = committer.watches.seat(self.id());
        let _turn = seat.turn.lock();
        // Before the work, which may bring the detectors back to where nothing was found.
        let Judged { verdict, decision, .. } = self.watching(&seat, |it| judge(self, it));
        let (done, restored) = work()?;
        let findings = verdict.findings.iter().filter(|finding| finding.signal == signal);
        let causes: Vec<Cause> = findings.map(Cause::of).collect();
        if causes.is_empty() {
            return Ok(done);
        }
        let (agent_id, at_ms) = (self.id().clone(), committer.store_time_ms());
        let answer = Answer { agent_id, at_ms, causes, done: Policy::Restore, restored };
        let word = words::answer_in_words(&answer, verdict.observation, &decision.why);
        committer.write_words(|_| vec![word.clone()], &[])?;
        committer.watches.ledger(committer).note(answer);
        Ok(done)
    }
}
