//! Where the store lies when nobody says, and which workspace a command is about.
//!
//! The store of a workspace lies outside of it, under `$XDG_STATE_HOME/stateward`, so that what an
//! agent does in its workspace (`git clean -fdx`, `git add -A`, `rm -rf`) does not reach what was
//! kept of it. Its name is the workspace's last component and the first 16 hexadecimal digits of the
//! BLAKE3 of its absolute path, so that every command finds it from within the workspace.

use std::path::{Path, PathBuf};

use clap::Args;

use super::failure::Failure;
use super::session::Session;
use crate::disk::{Disk, EntryKind};
use crate::server::api::OwnerWords;

/// The parts of a checkpoint beside its state.
#[derive(Debug, Args)]
pub(super) struct PartArguments {
    /// The agent's workspace: a directory that is kept whole; a restore puts it back
    #[arg(long, value_name = "DIR")]
    pub workspace: Option<PathBuf>,
    /// A file that is kept byte for byte, whatever its format; may be given several times
    #[arg(long = "state-file", value_name = "PATH")]
    pub state_files: Vec<PathBuf>,
    /// Allow a home directory or / as workspace
    #[arg(long, requires = "workspace")]
    pub force: bool,
    /// Allow the workspace to overlap with another agent's
    #[arg(long, requires = "workspace")]
    pub shared: bool,
}

impl PartArguments {
    /// These parts as a person names them.
    pub(super) fn words(&self, session: &Session) -> Result<OwnerWords, Failure> {
        Ok(OwnerWords {
            workspace: session.workspace_at(self.workspace.as_deref(), self.force)?,
            force: self.force,
            shared: self.shared,
            state_files: self.state_files.iter().map(|path| session.absolute(path)).collect(),
            ..OwnerWords::by_hand()
        })
    }
}

/// The place of a workspace's store in the directory that keeps state.
pub(super) fn of_workspace(state_home: &Path, workspace: &Path) -> PathBuf {
    let name = workspace.file_name().unwrap_or_default().to_string_lossy();
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    let name: String =
        name.chars().map(|letter| if plain(letter) { letter } else { '_' }).take(64).collect();
    let hash = blake3::hash(workspace.as_os_str().as_encoded_bytes()).to_hex();
    state_home.join("stateward").join(format!("{name}-{}", &hash[..16]))
}

/// The store of the innermost workspace that a directory lies in.
pub(super) fn from_within(disk: &dyn Disk, state_home: &Path, directory: &Path) -> Option<PathBuf> {
    let directory = disk.canonical(directory).ok()?;
    let is_there =
        |store: &PathBuf| disk.metadata(store).is_ok_and(|found| found.kind == EntryKind::Dir);
    directory.ancestors().map(|place| of_workspace(state_home, place)).find(is_there)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workspaces_of_one_name_have_stores_of_their_own() {
        let home = Path::new("/state");
        let one = of_workspace(home, Path::new("/a/my project"));
        let other = of_workspace(home, Path::new("/b/my project"));
        assert!(one.to_str().unwrap().starts_with("/state/stateward/my_project-"), "{one:?}");
        assert_ne!(one, other);
    }
}
