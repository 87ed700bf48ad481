//! Operations: a risky piece of work between a `pre_operation` checkpoint and a word on how it
//! ended.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::agent::Agent;
use super::error::Error;
use super::request::Request;
use super::restoring::{RestoreOptions, Restored};
use crate::encode::event::{Outcome, What};
use crate::state::{AgentId, CheckpointId, OperationRef, Receipt, Seq, Timestamp};
use crate::store::{Held, Store};

/// How an operation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub enum Standing {
    /// Not closed.
    Open,
    /// Closed with success.
    Completed,
    /// Closed without, or abandoned.
    Failed,
}

/// An operation as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct OperationStatus {
    /// Its id: that of the checkpoint that opened it.
    pub operation_id: CheckpointId,
    /// Its name.
    pub name: String,
    /// Whose.
    pub agent_id: AgentId,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// The number of the checkpoint that opened it.
    pub seq: Seq,
    /// How it stands.
    pub status: Standing,
    /// When it was closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<Timestamp>,
    /// Why it ended so, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

/// An open operation. Dropped without [`Operation::complete`], it has failed.
#[derive(Debug)]
pub struct Operation {
    agent: Agent,
    reference: OperationRef,
    receipt: Receipt,
    closed: bool,
}

impl Operation {
    /// Takes charge of the operation that a request opens.
    pub(super) fn begin(agent: &Agent, request: Request) -> Result<Self, Error> {
        let receipt = request.commit()?;
        let reference = receipt.checkpoint.operation.clone().ok_or_else(|| Error::NoOperation {
            agent: agent.id().clone(),
            name: receipt.checkpoint.checkpoint_id.to_string(),
        })?;
        Ok(Self { agent: agent.clone(), reference, receipt, closed: false })
    }

    /// Its id and name.
    #[must_use]
    pub fn reference(&self) -> &OperationRef {
        &self.reference
    }

    /// The receipt of the checkpoint taken before it.
    #[must_use]
    pub fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    /// Leaves the operation open beyond this process; its id closes it later.
    #[must_use]
    pub fn detach(mut self) -> OperationRef {
        self.closed = true;
        self.reference.clone()
    }

    /// Says that it went well.
    ///
    /// # Errors
    /// `unstored` when no target took the word.
    pub fn complete(mut self) -> Result<(), Error> {
        self.closed = true;
        close(&self.agent, &self.reference, Outcome::Completed, "")
    }

    /// Says that it went wrong.
    ///
    /// # Errors
    /// `unstored` when no target took the word.
    pub fn fail(mut self, why: &str) -> Result<(), Error> {
        self.closed = true;
        close(&self.agent, &self.reference, Outcome::Failed, why)
    }

    /// Says that it went wrong, and restores what was before it.
    ///
    /// # Errors
    /// As [`Agent::restore`].
    pub fn roll_back(mut self, why: &str) -> Result<Restored, Error> {
        self.closed = true;
        close(&self.agent, &self.reference, Outcome::Failed, why)?;
        self.agent.restore(&self.reference.id.to_string(), &RestoreOptions::default())
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        if self.closed {
            return;
        }
        let why = "it was left without a word";
        if let Err(error) = close(&self.agent, &self.reference, Outcome::Failed, why) {
            tracing::error!(operation = %self.reference.name, %error, "cannot say that it failed");
        }
    }
}

pub(super) fn close(
    agent: &Agent,
    operation: &OperationRef,
    outcome: Outcome,
    why: &str,
) -> Result<(), Error> {
    tracing::debug!(agent = %agent.id(), operation = %operation.name, ?outcome, "closes an operation");
    agent.manager().write_event(|store| What::OperationClosed {
        agent_id: agent.id().clone(),
        operation_id: operation.id,
        outcome,
        store_time_ms: store.store_time_ms(),
        why: why.to_owned(),
    })
}

/// How the operation stands that a checkpoint opened; `None` where it opened none. The word that it
/// ended may be in another store than the checkpoint.
pub(super) fn status_of(stores: &[Arc<Store>], held: &Held) -> Option<OperationStatus> {
    let manifest = &held.manifest;
    let operation = manifest.operation.as_ref().filter(|one| one.id == manifest.id)?;
    let closed = stores.iter().find_map(|store| store.catalog().closed(operation.id).cloned());
    let closed = closed.as_ref();
    Some(OperationStatus {
        operation_id: operation.id,
        name: operation.name.clone(),
        agent_id: manifest.agent.clone(),
        opened_at: manifest.created_at,
        seq: manifest.seq,
        status: closed.map_or(Standing::Open, |closed| match closed.outcome {
            Outcome::Completed => Standing::Completed,
            Outcome::Failed => Standing::Failed,
        }),
        closed_at: closed.map(|closed| closed.at),
        why: closed.map(|closed| closed.why.clone()).unwrap_or_default(),
    })
}
