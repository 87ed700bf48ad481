//! The state files of an agent, as they stand and as they are judged.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::Disk;
use crate::drift::sighting::Condition;
use crate::encode;
use crate::supervise::keeper::StateFiles;
use crate::supervise::life::Setup;
use crate::supervise::state_file::{self, Found, Print, Wrong};

/// Where an agent's state files are.
#[derive(Debug)]
pub(crate) struct Places {
    disk: Arc<dyn Disk>,
    limits: encode::Options,
    files: StateFiles,
}

impl Places {
    pub(crate) fn of(setup: &Setup, files: &StateFiles) -> Self {
        let limits = setup.sidecar.store.state;
        Self { disk: Arc::clone(&setup.disk), limits, files: files.clone() }
    }

    /// Every state file there should be, and what it looks like from outside.
    pub(crate) fn standing(&self) -> Vec<(PathBuf, Option<Print>)> {
        let places = self.files.all().into_iter().map(|path| state_file::place(&*self.disk, &path));
        places.map(|place| (place.clone(), Print::of(&*self.disk, &place))).collect()
    }

    /// What a file looks like from outside now.
    pub(crate) fn print(&self, place: &Path) -> Option<Print> {
        Print::of(&*self.disk, place)
    }

    /// How a state file is found; none where nobody can tell.
    pub(crate) fn judge(&self, place: &Path) -> io::Result<Option<Condition>> {
        let state = self.files.state().map(|path| state_file::place(&*self.disk, path));
        if state.is_some_and(|state| state == place) {
            return Ok(match state_file::read(&*self.disk, place, &self.limits)? {
                Found::Whole(_) => Some(Condition::Whole),
                Found::Missing => Some(Condition::Missing),
                Found::Damaged { why, .. } => Some(Condition::Damaged(why)),
                Found::Unfit(_) => None,
            });
        }
        Ok(Some(match state_file::wrong(&*self.disk, place)? {
            None => Condition::Whole,
            Some(Wrong::Missing) => Condition::Missing,
            Some(Wrong::Damaged(why)) => Condition::Damaged(why),
        }))
    }
}
