//! After the command ended: what is kept of it, what is put back, and what follows.
//!
//! A crash is met with a recovery checkpoint of everything as it was found, damaged or not. Then what
//! the configuration says is put back, and only then is another attempt made: damaged state never
//! turns into a fresh start.

use std::time::Duration;

use super::attend::Attended;
use super::claim::Child;
use super::error::Error;
use super::exit::Exit;
use super::keeper::{Ask, Due, Kept, PutBack, Responded, Wanted};
use super::life::Life;
use super::options::{OnCrash, OnSuccess};
use super::report::span;
use super::restarts::{Cause, Ended, Next};
use super::schedule::Parts;
use crate::server::client::ClientError;
use crate::state::{CheckpointId, Digest, Timestamp};

/// What the next attempt is told.
#[derive(Debug, Default)]
pub(super) struct Beginning {
    /// What was put back before it.
    pub restored: Option<CheckpointId>,
    /// Operations that died with the attempt before.
    pub failed_operations: Vec<String>,
    /// How long to wait before it.
    pub after: Duration,
}

/// What follows an attempt.
#[derive(Debug)]
pub(super) enum After {
    Again(Beginning),
    Over(Exit),
    /// Drift asked for a person.
    Halted {
        exit: Exit,
        why: String,
    },
}

impl Life {
    /// Keeps what there is, puts back what has to be, and decides what follows.
    pub(super) async fn settle(
        &mut self,
        attended: Attended,
        child: Child,
    ) -> Result<After, Error> {
        self.wait_for_checkpoint().await;
        let Attended { exit, cause, lived } = attended;
        let mut ended = Ended { exit, cause, lived, content: None };
        let why = format!("attempt {} ended with {exit} after {}", self.attempt, span(lived));
        let mut beginning = if matches!(cause, Cause::Restore | Cause::Drift) {
            // What it leaves is kept by whoever goes back, before it is replaced.
            let failed_operations = self.fail_operations(&why, child.started_at).await;
            Beginning { failed_operations, ..Beginning::default() }
        } else if ended.is_crash() {
            self.talk.say(&why);
            let (beginning, content) = self.recover(&why, child.started_at).await?;
            ended.content = content;
            beginning
        } else {
            self.conclude(&why, child.started_at).await
        };
        if let Some(why) = self.answer_drift(&mut ended, &mut beginning).await? {
            return Ok(After::Halted { exit, why });
        }
        match self.restarts.after(&ended, self.setup.clock.monotonic()) {
            Next::Again { after } => {
                beginning.after = after;
                return Ok(After::Again(beginning));
            }
            Next::Done if cause == Cause::Itself => self.let_go().await,
            Next::Done | Next::Stay => {}
            Next::CrashLoop { exits } => self.tell_loop(exits, ended.content).await,
            Next::Exhausted { restarts } => {
                let within = self.setup.options.restarts_within;
                self.talk.say(&format!("started again {restarts} times within {within}: enough"));
            }
        }
        Ok(After::Over(exit))
    }

    /// Shows how the command ended, and does what drift asks for then; why the agent is not to be
    /// started again, where it is not.
    async fn answer_drift(
        &mut self,
        ended: &mut Ended,
        beginning: &mut Beginning,
    ) -> Result<Option<String>, Error> {
        let due = self.see_the_end(ended).await;
        let asked = self.senses.end.take();
        let told_before = asked.clone();
        let over = ended.cause == Cause::Asked || !ended.is_crash() && ended.cause == Cause::Itself;
        let why = match (due, asked) {
            _ if over => return Ok(None),
            (Some(Due::Halted(why)), _) => return Ok(Some(why)),
            (Some(Due::End(why)), _) | (_, Some(why)) => why,
            // A file that a crash left damaged was put back as `on_crash` says.
            (Some(Due::PutBack(_)) | None, None) => return Ok(None),
        };
        if told_before.as_ref() != Some(&why) {
            self.talk.say(&format!("drift: {why}"));
        }
        let done: Responded = self.ask_patiently(Ask::Respond { why }).await?;
        done.said.iter().for_each(|text| self.talk.say(text));
        if let Some(put_back) = done.restored {
            beginning.restored = Some(self.note_put_back(&put_back));
        }
        ended.cause = Cause::Drift;
        Ok(done.halted)
    }

    /// Meets a crash; what the next attempt is told, and the content it will find.
    pub(super) async fn recover(
        &mut self,
        why: &str,
        since: Timestamp,
    ) -> Result<(Beginning, Option<Digest>), Error> {
        let failed_operations = self.fail_operations(why, since).await;
        let content = match self.keep_left(Wanted::recovery(why.to_owned())).await {
            Ok(kept) => kept.receipt.map(|receipt| receipt.digest),
            // What the crash left is still there; an agent that stands still helps nobody.
            Err(error) => {
                self.talk.say(&format!("no recovery checkpoint could be taken: {error}"));
                None
            }
        };
        let put_back: Option<PutBack> = match self.setup.options.on_crash {
            OnCrash::Keep => None,
            OnCrash::State => self.ask_patiently(Ask::Mend).await?,
            OnCrash::Both => {
                let (reference, why) = ("latest".to_owned(), why.to_owned());
                self.ask_patiently(Ask::Restore { reference, why }).await?
            }
        };
        let restored = put_back.as_ref().map(|it| self.note_put_back(it));
        let content = put_back.map(|it| it.from.digest).or(content);
        Ok((Beginning { restored, failed_operations, after: Duration::ZERO }, content))
    }

    /// Has the restores carried out that were ordered, one after the other; what the next attempt is
    /// told.
    pub(super) async fn carry_orders(&mut self, mut beginning: Beginning) -> Beginning {
        while let Some(order) = self.orders.pop_front() {
            match self.ask::<Option<PutBack>>(Ask::Carry { order }).await {
                Ok(Some(it)) => {
                    self.tell_put_back(&it);
                    self.report.ordered(it.from.seq);
                    beginning.restored = Some(it.from.checkpoint_id);
                }
                Ok(None) => self.talk.say("what was ordered could not be restored"),
                Err(error) => self.talk.say(&format!("nothing was restored: {error}")),
            }
        }
        beginning
    }

    /// Puts back a state file that is missing or damaged; from which checkpoint.
    pub(super) async fn mend(&mut self) -> Result<Option<CheckpointId>, Error> {
        if self.setup.options.on_crash == OnCrash::Keep {
            return Ok(None);
        }
        let put_back: Option<PutBack> = self.ask(Ask::Mend).await?;
        Ok(put_back.map(|it| self.note_put_back(&it)))
    }

    /// Says what was put back, and how far it lies from what was not.
    pub(super) fn note_put_back(&mut self, it: &PutBack) -> CheckpointId {
        self.tell_put_back(it);
        self.report.put_back(it, self.setup.clock.now());
        it.from.checkpoint_id
    }

    fn tell_put_back(&self, it: &PutBack) {
        let now = self.setup.clock.now();
        let age = span(now.since(it.from.created_at));
        let seq = it.from.seq;
        self.talk.say(&format!("put back from checkpoint {seq}, which is {age} old:"));
        for what in &it.what {
            self.talk.say(&format!("  {what}"));
        }
        match it.apart {
            Some(0) => self.talk.say("  the workspace is as it was then"),
            Some(apart) => {
                let names = if apart == 1 { "name differs" } else { "names differ" };
                self.talk
                    .say(&format!("  the workspace stays as it is: {apart} {names} from then"));
            }
            None => {}
        }
    }

    /// Keeps what an attempt left that ended as it should.
    async fn conclude(&mut self, why: &str, since: Timestamp) -> Beginning {
        let failed_operations = self.fail_operations(why, since).await;
        // Where it cannot be kept the report says so in the end.
        self.keep_left(Wanted::routine(Parts::ALL)).await.ok();
        Beginning { failed_operations, ..Beginning::default() }
    }

    /// Keeps what an attempt left.
    async fn keep_left(&mut self, wanted: Wanted) -> Result<Kept, ClientError> {
        let kept = self.ask::<Kept>(Ask::Take(wanted)).await;
        self.report.left(kept.as_ref().err().map(ClientError::to_string));
        if let Ok(kept) = &kept {
            self.note_kept(kept);
        }
        kept
    }

    async fn fail_operations(&mut self, why: &str, since: Timestamp) -> Vec<String> {
        let ask = Ask::FailOperations { since, why: why.to_owned() };
        match self.ask::<Vec<String>>(ask).await {
            Ok(failed) => {
                for name in &failed {
                    self.talk.say(&format!("operation {name} failed: its process is gone"));
                }
                failed
            }
            Err(error) => {
                self.talk.say(&format!("open operations could not be closed: {error}"));
                Vec::new()
            }
        }
    }

    /// Lets old checkpoints go after a success, where that is wanted.
    async fn let_go(&mut self) {
        if self.setup.options.on_success == OnSuccess::Keep {
            return;
        }
        let told = match self.ask::<usize>(Ask::ForgetButNewest).await {
            Ok(forgotten) => format!("forgot the checkpoints but the newest: {forgotten}"),
            Err(error) => format!("the checkpoints could not be forgotten: {error}"),
        };
        self.talk.say(&told);
    }

    /// Names the way out of a crash loop.
    async fn tell_loop(&mut self, exits: u32, content: Option<Digest>) {
        self.talk.say(&format!(
            "crash loop: {exits} quick exits on the same content; it is not started again"
        ));
        let Some(content) = content else { return };
        let (agent, store) = (&self.setup.agent, self.setup.sidecar.store.path.display());
        let to = match self.ask::<Option<CheckpointId>>(Ask::FurtherBack { content }).await {
            Ok(Some(id)) => {
                format!("one further back: stateward --store {store} --agent {agent} restore {id}")
            }
            Ok(None) => "there is no checkpoint with other content to go back to".to_owned(),
            Err(error) => format!("what lies further back cannot be told: {error}"),
        };
        self.talk.say(&to);
    }
}
