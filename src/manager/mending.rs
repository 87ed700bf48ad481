//! What supervision asks beside what everybody asks: a checkpoint only where something moved, and
//! single state files put back.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::CheckpointManager;
use super::admission::WantedPart;
use super::agent::Agent;
use super::error::Error;
use super::files::Reader;
use super::request::Request;
use super::resolve;
use super::workplace::{Parts, Pulse};
use crate::disk::Disk;
use crate::encode;
use crate::encode::manifest::Manifest;
use crate::restore;
use crate::state::Receipt;

impl CheckpointManager {
    /// How states are checked.
    pub(crate) fn state_limits(&self) -> encode::Options {
        self.committer().encode
    }

    /// Labels that pin a checkpoint.
    pub(crate) fn pin_labels(&self) -> Vec<String> {
        self.committer().policy.read().pin_labels.clone()
    }

    /// Where files lie.
    pub(crate) fn disk_in_use(&self) -> Arc<dyn Disk> {
        Arc::clone(self.shared_disk())
    }
}

impl Request {
    /// Makes the checkpoint durable where the workspace or the state files are not as the newest
    /// checkpoint holds them; `None` where they are, or none are collected.
    pub(crate) fn commit_if_moved(self) -> Result<Option<Receipt>, Error> {
        let agent = self.agent().clone();
        let mut stands_still = false;
        let answer = self.commit_after(&mut |parts| {
            stands_still = !parts.is_some_and(|parts| agent.have_moved(parts));
            if stands_still {
                let (why, way_out) = ("nothing moved since the newest checkpoint", "");
                return Err(Error::Refused { why: why.to_owned(), way_out: way_out.to_owned() });
            }
            Ok(())
        });
        if stands_still { Ok(None) } else { answer.map(|(receipt, _)| Some(receipt)) }
    }
}

impl Agent {
    fn have_moved(&self, parts: &Parts) -> bool {
        let Some(newest) = self.newest() else { return true };
        let workspace = match (&parts.workspace, &newest.workspace) {
            (WantedPart::Given(now), Some(kept)) => {
                now.place != kept.place || now.root != kept.root
            }
            (WantedPart::Given(_), None) => true,
            _ => false,
        };
        let state_files = match (&parts.state_files, &newest.state_files) {
            (WantedPart::Given(now), Some(kept)) => now.files != kept.files,
            (WantedPart::Given(_), None) => true,
            _ => false,
        };
        workspace || state_files
    }

    fn newest(&self) -> Option<Manifest> {
        resolve::of_latest(&self.committer().targets.sighted(), self.id(), Manifest::clone)
    }

    /// What is known of changes in its workspace.
    pub(crate) fn workspace_pulse(&self) -> Pulse {
        self.place().map_or(Pulse::Unwatched, |place| place.pulse())
    }

    /// Where the state files are that a checkpoint holds.
    ///
    /// # Errors
    /// `not_found` where there is no such checkpoint.
    pub(crate) fn kept_state_files(&self, reference: &str) -> Result<Vec<PathBuf>, Error> {
        let found = self.resolve(reference)?;
        let files = found.held.manifest.state_files.iter().flat_map(|part| &part.files);
        Ok(files.map(|(path, _)| path.clone()).collect())
    }

    /// Replaces a state file by what a checkpoint holds under its path.
    ///
    /// # Errors
    /// `not_found` where there is no such checkpoint, or it holds no such file; `damaged` where the
    /// file cannot be read as it was kept.
    pub(crate) fn put_state_file_back(&self, reference: &str, path: &Path) -> Result<(), Error> {
        let found = self.resolve(reference)?;
        let mut files = found.held.manifest.state_files.iter().flat_map(|part| &part.files);
        let Some((_, node)) = files.find(|(known, _)| known == path) else {
            let reference = format!("{reference} of {}", path.display());
            return Err(Error::NoCheckpoint { agent: self.id().clone(), reference });
        };
        let reader = Reader::of(self, &found);
        // How things stood is kept already.
        restore::put_back_file(self.disk(), path, node, &reader.content_of_files(), None)?;
        Ok(())
    }
}
