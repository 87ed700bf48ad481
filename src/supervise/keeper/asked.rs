//! Checkpoints that an agent asks for itself.

use super::super::schedule::Parts;
use super::{Keeper, Wanted};
use crate::manager::Error;
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
        let wanted = Wanted { kind: asked.body.kind, parts: Parts::ALL, comment: None };
        let request = asked.request(&agent)?.unsaid_state();
        let (request, torn) = match self.with_state(request.clone(), &wanted) {
            Ok((request, _, torn)) => (request, torn),
            Err(error) => (request, Some(error.to_string())),
        };
        let (mut receipt, repeated) = request.commit_once()?;
        if let Some(why) = torn.filter(|_| !repeated) {
            tracing::info!(agent = %agent.id(), why, "the state goes on from the newest checkpoint");
            receipt.unsettled.extend(self.files.state.clone());
        }
        Ok(Made { receipt, repeated })
    }
}
