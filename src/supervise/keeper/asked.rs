//! Checkpoints that an agent asks for itself.

use super::super::schedule::Parts;
use super::{Keeper, Look, Wanted, looking_again};
use crate::manager::{Agent, Error};
use crate::server::api::{Made, MakeCheckpoint};

impl Keeper {
    /// Makes a checkpoint of everything. Where the agent says nothing of a state it is the one in its
    /// file. One that cannot be read, or is not whole just then, is named in the receipt, and the
    /// newest state goes on.
    pub(crate) fn make(&self, asked: MakeCheckpoint) -> Result<Made, Error> {
        let agent = self.agent()?;
        if asked.says_which_state() {
            return asked.make(&agent);
        }
        let make = |look| self.make_with_file(&agent, asked.clone(), look);
        // Whoever names a condition is told that it does not hold.
        if asked.condition.is_some() { make(Look::First) } else { looking_again(make) }
    }

    fn make_with_file(
        &self,
        agent: &Agent,
        asked: MakeCheckpoint,
        look: Look,
    ) -> Result<Made, Error> {
        let wanted = Wanted { kind: asked.body.kind, parts: Parts::ALL, comment: None };
        let request = asked.request(agent)?.unsaid_state();
        let (request, left_out) = match self.with_state(request.clone(), &wanted, look) {
            Ok((request, _, left_out)) => (request, left_out),
            Err(error) => (request, Some(error.to_string())),
        };
        let (mut receipt, repeated) = request.commit_once()?;
        if let Some(why) = left_out.filter(|_| !repeated) {
            tracing::info!(agent = %agent.id(), why, "the state goes on from the newest checkpoint");
            receipt.unsettled.extend(self.files.state.clone());
        }
        Ok(Made { receipt, repeated })
    }
}
