//! The `_async` twins: the same calls for those who must not block their thread.
//!
//! Each twin runs its call on tokio's threads for blocking work, so it needs a running tokio runtime,
//! of either flavour. A call that has begun is finished, also when whoever waits for it goes away:
//! its outcome is then in the store, and nobody is told. References and texts are taken by value
//! where the call outlives the caller's borrow.

use serde::Serialize;

use super::agent::{Agent, Filter};
use super::differences::Differences;
use super::drift::{DriftReport, DriftResponse};
use super::error::Error;
use super::letting_go::{ForgetReport, ForgetRequest, PruneReport};
use super::operation::{Operation, OperationStatus};
use super::report::LogEntry;
use super::request::Request;
use super::restoring::{Loaded, RestoreOptions, Restored};
use super::{CheckpointManager, Options};
use crate::drift::Verdict;
use crate::encode::Change;
use crate::encode::event::Outcome;
use crate::state::{Checkpoint, Kind, Receipt};
use crate::verify::{Progress, VerifyOptions, VerifyReport};

/// Runs what blocks in a thread that may.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|died| Err(Error::Interrupted(died.to_string())))
}

impl CheckpointManager {
    /// Waits for [`CheckpointManager::open`] without blocking the caller's thread.
    ///
    /// # Errors
    /// As [`CheckpointManager::open`].
    pub async fn open_async(options: Options) -> Result<Self, Error> {
        blocking(move || Self::open(options)).await
    }

    /// Waits for [`CheckpointManager::open_to_look`] without blocking the caller's thread.
    ///
    /// # Errors
    /// As [`CheckpointManager::open_to_look`].
    pub async fn open_to_look_async(options: Options) -> Result<Self, Error> {
        blocking(move || Self::open_to_look(options)).await
    }

    /// Waits for [`CheckpointManager::settle`] without blocking the caller's thread.
    ///
    /// # Errors
    /// As [`CheckpointManager::settle`].
    pub async fn settle_async(&self) -> Result<(), Error> {
        let manager = self.clone();
        blocking(move || manager.settle()).await
    }

    /// Waits for [`CheckpointManager::log`] without blocking the caller's thread.
    ///
    /// # Errors
    /// As [`CheckpointManager::log`].
    pub async fn log_async(&self, limit: Option<usize>) -> Result<Vec<LogEntry>, Error> {
        let manager = self.clone();
        blocking(move || manager.log(limit)).await
    }

    /// Waits for [`CheckpointManager::verify`] without blocking the caller's thread; `progress` is
    /// called from another one.
    ///
    /// # Errors
    /// As [`CheckpointManager::verify`].
    pub async fn verify_async(
        &self,
        options: VerifyOptions,
        mut progress: impl FnMut(Progress) + Send + 'static,
    ) -> Result<Vec<VerifyReport>, Error> {
        let manager = self.clone();
        blocking(move || manager.verify(&options, &mut progress)).await
    }

    /// Waits for [`CheckpointManager::forget`] without blocking the caller's thread.
    ///
    /// # Errors
    /// As [`CheckpointManager::forget`].
    pub async fn forget_async(&self, request: ForgetRequest) -> Result<Vec<ForgetReport>, Error> {
        let manager = self.clone();
        blocking(move || manager.forget(&request)).await
    }

    /// Waits for [`CheckpointManager::prune`] without blocking the caller's thread; `progress` is
    /// called from another one.
    ///
    /// # Errors
    /// As [`CheckpointManager::prune`].
    pub async fn prune_async(
        &self,
        mut progress: impl FnMut(Progress) + Send + 'static,
    ) -> Result<PruneReport, Error> {
        let manager = self.clone();
        blocking(move || manager.prune(&mut progress)).await
    }
}

impl Request {
    /// Waits for [`Request::commit`] without blocking the caller's thread.
    ///
    /// # Errors
    /// As [`Request::commit`].
    pub async fn commit_async(self) -> Result<Receipt, Error> {
        blocking(move || self.commit()).await
    }
}

impl Agent {
    /// Waits for [`Agent::detect_drift`] without blocking the caller's thread.
    ///
    /// # Errors
    /// As [`Agent::detect_drift`].
    pub async fn detect_drift_async(&self) -> Result<Verdict, Error> {
        let agent = self.clone();
        blocking(move || agent.detect_drift()).await
    }

    /// Waits for [`Agent::respond`] without blocking the caller's thread.
    ///
    /// # Errors
    /// As [`Agent::respond`].
    pub async fn respond_async(&self) -> Result<DriftResponse, Error> {
        let agent = self.clone();
        blocking(move || agent.respond()).await
    }

    /// Waits for [`Agent::drift_report`] without blocking the caller's thread.
    ///
    /// # Errors
    /// As [`Agent::drift_report`].
    pub async fn drift_report_async(&self) -> Result<DriftReport, Error> {
        let agent = self.clone();
        blocking(move || agent.drift_report()).await
    }

    /// Waits for [`Agent::create_checkpoint`] without blocking the caller's thread; the state is
    /// serialized before the first wait.
    ///
    /// # Errors
    /// As [`Agent::create_checkpoint`].
    pub fn create_checkpoint_async<T: Serialize + ?Sized>(
        &self,
        kind: Kind,
        state: &T,
    ) -> impl Future<Output = Result<Receipt, Error>> + Send + use<T> {
        let request = self.checkpoint(kind).state(state);
        async { request?.commit_async().await }
    }

    /// Waits for [`Agent::restore_checkpoint`] without blocking the caller's thread.
    ///
    /// # Errors
    /// As [`Agent::restore_checkpoint`].
    pub async fn restore_checkpoint_async(
        &self,
        reference: impl AsRef<std::path::Path>,
    ) -> Result<Restored, Error> {
        let (agent, reference) = (self.clone(), reference.as_ref().to_owned());
        blocking(move || agent.restore_checkpoint(reference)).await
    }

    /// Waits for [`Agent::restore`] without blocking the caller's thread.
    ///
    /// # Errors
    /// As [`Agent::restore`].
    pub async fn restore_async(
        &self,
        reference: &str,
        options: &RestoreOptions,
    ) -> Result<Restored, Error> {
        let (agent, reference, options) = (self.clone(), reference.to_owned(), options.clone());
        blocking(move || agent.restore(&reference, &options)).await
    }

    /// Waits for [`Agent::plan_restore`] without blocking the caller's thread.
    ///
    /// # Errors
    /// As [`Agent::plan_restore`].
    pub async fn plan_restore_async(
        &self,
        reference: &str,
        options: &RestoreOptions,
    ) -> Result<Restored, Error> {
        let (agent, reference, options) = (self.clone(), reference.to_owned(), options.clone());
        blocking(move || agent.plan_restore(&reference, &options)).await
    }

    /// Waits for [`Agent::read_checkpoint`] without blocking the caller's thread.
    ///
    /// # Errors
    /// As [`Agent::read_checkpoint`].
    pub async fn read_checkpoint_async(
        &self,
        reference: impl AsRef<std::path::Path>,
    ) -> Result<Loaded, Error> {
        let (agent, reference) = (self.clone(), reference.as_ref().to_owned());
        blocking(move || agent.read_checkpoint(reference)).await
    }

    /// Waits for [`Agent::show`] without blocking the caller's thread.
    ///
    /// # Errors
    /// As [`Agent::show`].
    pub async fn show_async(&self, reference: &str) -> Result<Checkpoint, Error> {
        let (agent, reference) = (self.clone(), reference.to_owned());
        blocking(move || agent.show(&reference)).await
    }

    /// Waits for [`Agent::get_latest_checkpoint`] without blocking the caller's thread.
    ///
    /// # Errors
    /// As [`Agent::get_latest_checkpoint`].
    pub async fn get_latest_checkpoint_async(
        &self,
        kind: Kind,
    ) -> Result<Option<Checkpoint>, Error> {
        let agent = self.clone();
        blocking(move || agent.get_latest_checkpoint(kind)).await
    }

    /// Waits for [`Agent::list_checkpoints`] without blocking the caller's thread.
    ///
    /// # Errors
    /// As [`Agent::list_checkpoints`].
    pub async fn list_checkpoints_async(&self, filter: Filter) -> Result<Vec<Checkpoint>, Error> {
        let agent = self.clone();
        blocking(move || agent.list_checkpoints(filter)).await
    }

    /// Waits for [`Agent::diff`] without blocking the caller's thread.
    ///
    /// # Errors
    /// As [`Agent::diff`].
    pub async fn diff_async(&self, a: &str, b: &str) -> Result<Vec<Change>, Error> {
        let (agent, a, b) = (self.clone(), a.to_owned(), b.to_owned());
        blocking(move || agent.diff(&a, &b)).await
    }

    /// Waits for [`Agent::differences`] without blocking the caller's thread.
    ///
    /// # Errors
    /// As [`Agent::differences`].
    pub async fn differences_async(&self, a: &str, b: Option<&str>) -> Result<Differences, Error> {
        let (agent, a, b) = (self.clone(), a.to_owned(), b.map(str::to_owned));
        blocking(move || agent.differences(&a, b.as_deref())).await
    }

    /// Waits for [`Agent::begin_operation`] without blocking the caller's thread. Dropping the
    /// operation unclosed blocks; [`Operation::fail_async`] does not.
    ///
    /// # Errors
    /// As [`Agent::begin_operation`].
    pub async fn begin_operation_async(&self, name: &str) -> Result<Operation, Error> {
        let (agent, name) = (self.clone(), name.to_owned());
        blocking(move || agent.begin_operation(&name)).await
    }

    /// Waits for [`Agent::operations`] without blocking the caller's thread.
    ///
    /// # Errors
    /// As [`Agent::operations`].
    pub async fn operations_async(&self) -> Result<Vec<OperationStatus>, Error> {
        let agent = self.clone();
        blocking(move || agent.operations()).await
    }

    /// Waits for [`Agent::close_operation`] without blocking the caller's thread.
    ///
    /// # Errors
    /// As [`Agent::close_operation`].
    pub async fn close_operation_async(
        &self,
        name_or_id: &str,
        outcome: Outcome,
        why: &str,
    ) -> Result<OperationStatus, Error> {
        let (agent, operation, why) = (self.clone(), name_or_id.to_owned(), why.to_owned());
        blocking(move || agent.close_operation(&operation, outcome, &why)).await
    }

    /// Waits for [`Agent::undo`] without blocking the caller's thread.
    ///
    /// # Errors
    /// As [`Agent::undo`].
    pub async fn undo_async(&self, options: &RestoreOptions) -> Result<Restored, Error> {
        let (agent, options) = (self.clone(), options.clone());
        blocking(move || agent.undo(&options)).await
    }

    /// Waits for [`Agent::reset`] without blocking the caller's thread.
    ///
    /// # Errors
    /// As [`Agent::reset`].
    pub async fn reset_async(&self) -> Result<(), Error> {
        let agent = self.clone();
        blocking(move || agent.reset()).await
    }

    /// Waits for [`Agent::forget`] without blocking the caller's thread.
    ///
    /// # Errors
    /// As [`Agent::forget`].
    pub async fn forget_async(
        &self,
        references: &[&str],
        erase: bool,
    ) -> Result<Vec<Checkpoint>, Error> {
        let agent = self.clone();
        let references: Vec<String> = references.iter().map(ToString::to_string).collect();
        blocking(move || {
            let references: Vec<&str> = references.iter().map(String::as_str).collect();
            agent.forget(&references, erase)
        })
        .await
    }

    /// Waits for [`Agent::export`] without blocking the caller's thread.
    ///
    /// # Errors
    /// As [`Agent::export`].
    pub async fn export_async(&self, reference: &str) -> Result<Vec<u8>, Error> {
        let (agent, reference) = (self.clone(), reference.to_owned());
        blocking(move || agent.export(&reference)).await
    }

    /// Waits for [`Agent::import`] without blocking the caller's thread.
    ///
    /// # Errors
    /// As [`Agent::import`].
    pub async fn import_async(&self, bundle: Vec<u8>) -> Result<Receipt, Error> {
        let agent = self.clone();
        blocking(move || agent.import(&bundle)).await
    }
}

impl Operation {
    /// Waits for [`Operation::complete`] without blocking the caller's thread.
    ///
    /// # Errors
    /// As [`Operation::complete`].
    pub async fn complete_async(self) -> Result<(), Error> {
        blocking(move || self.complete()).await
    }

    /// Waits for [`Operation::fail`] without blocking the caller's thread.
    ///
    /// # Errors
    /// As [`Operation::fail`].
    pub async fn fail_async(self, why: &str) -> Result<(), Error> {
        let why = why.to_owned();
        blocking(move || self.fail(&why)).await
    }

    /// Waits for [`Operation::roll_back`] without blocking the caller's thread.
    ///
    /// # Errors
    /// As [`Operation::roll_back`].
    pub async fn roll_back_async(self, why: &str) -> Result<Restored, Error> {
        let why = why.to_owned();
        blocking(move || self.roll_back(&why)).await
    }
}
