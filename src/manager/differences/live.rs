//! What is there now, compared with a checkpoint.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::agent::Agent;
use super::super::error::Error;
use super::super::restore_run::in_place_target;
use super::super::tree_plan::Now;
use super::{Differences, FileDifference, Telling, Version, states};
use crate::collect::{self, Sink};
use crate::disk::{Access, DiskFile, DiskTree};
use crate::encode::directory::FileNode;
use crate::encode::manifest::Manifest;
use crate::encode::{Change, TEXT_BYTES_MAX};
use crate::restore;
use crate::state::{Skipped, Why};

/// What changed since a checkpoint.
pub(super) fn since(agent: &Agent, a: &Version) -> Result<Differences, Error> {
    let mut differences = Differences::default();
    let manifest = a.parts.as_ref().map(|(found, _)| &found.held.manifest);
    match state(agent, a, manifest)? {
        Some(changes) => differences.state = changes,
        None if a.state.is_some() => differences.unplaced.push("state".to_owned()),
        None => {}
    }
    let is_elsewhere = manifest.is_some_and(|manifest| manifest.imported);
    if is_elsewhere && !a.state_files().is_empty() {
        differences.unplaced.push("state_files".to_owned());
    } else {
        (differences.state_files, differences.not_compared) = state_files(agent, a)?;
    }
    match place(agent, manifest) {
        Some(place) => {
            let (files, not_compared) = workspace(agent, a, &place)?;
            differences.files = files;
            differences.not_compared.extend(not_compared);
        }
        None if manifest.is_some_and(|manifest| manifest.workspace.is_some()) => {
            differences.unplaced.push("workspace".to_owned());
        }
        None => {}
    }
    Ok(differences)
}

/// What changed in the state; `None` where it is not known where it lies.
fn state(
    agent: &Agent,
    a: &Version,
    manifest: Option<&Manifest>,
) -> Result<Option<Vec<Change>>, Error> {
    let before = a.state.as_deref();
    if let Some(now) = agent.collect()? {
        return states(before, Some(&now)).map(Some);
    }
    let Some(file) = manifest.and_then(in_place_target) else { return Ok(None) };
    let now = restore::read_current(agent.disk(), &file)?;
    states(before, now.as_deref()).map(Some)
}

/// Reads the state files as a checkpoint would, and keeps nothing.
fn state_files(agent: &Agent, a: &Version) -> Result<(Vec<FileDifference>, Vec<Skipped>), Error> {
    let own = agent.place().map(|place| place.state_files.as_slice()).unwrap_or_default();
    let kept = a.state_files().iter().map(|(path, _)| path);
    let paths: BTreeSet<&PathBuf> = kept.chain(own).collect();
    let paths: Vec<PathBuf> = paths.into_iter().cloned().collect();
    let committer = agent.committer();
    let nowhere = Sink {
        put: &|_| Ok(()),
        chunks_of: &|_| Vec::new(),
        progress: &|progress| committer.tell_progress(progress.into()),
    };
    let disk = agent.manager().shared_disk();
    let mut found = collect::state_files(disk, &committer.clock, &paths, &nowhere)?;
    found.skipped.retain(|one| one.why != Why::Missing);
    let is_known = |path: &Path| found.skipped.iter().all(|one| one.path != path);
    let before = a.state_files().iter().filter(|(path, _)| is_known(path)).cloned();
    let read = |path: &Path, _: &FileNode| Ok(text(disk.open(path, Access::Read)));
    let told = Telling::new(a, &read).state_files(&before.collect::<Vec<_>>(), &found.files)?;
    Ok((told, found.skipped))
}

/// Where the workspace is.
fn place(agent: &Agent, manifest: Option<&Manifest>) -> Option<PathBuf> {
    let own = agent.place().and_then(|place| place.workspace.as_ref());
    let kept = manifest.filter(|manifest| !manifest.imported);
    own.map(|own| own.root.clone()).or_else(|| Some(kept?.workspace.as_ref()?.place.clone()))
}

fn workspace(
    agent: &Agent,
    a: &Version,
    place: &Path,
) -> Result<(Vec<FileDifference>, Vec<Skipped>), Error> {
    let failed = |source| collect::Error::Io { doing: "open", path: place.to_owned(), source };
    let tree: Arc<dyn DiskTree> = match agent.disk().tree(place) {
        Ok(tree) => tree,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Telling::new(a, &|_, _| Ok(None)).trees(&a.tree(), &Now::Nothing);
        }
        Err(error) => return Err(failed(error).into()),
    };
    let read = |path: &Path, _: &FileNode| Ok(text(tree.open(path)));
    let telling = Telling::new(a, &read);
    let agent = match agent.place().and_then(|own| own.workspace.as_ref()) {
        Some(_) => agent.clone(),
        None => agent.at_workspace(place)?,
    };
    let Some(workplace) = agent.place() else { return telling.trees(&a.tree(), &Now::Nothing) };
    workplace.look(|parts| {
        workplace.with_scanned(|workspace| {
            let now = Now::Scanned { workspace, left_out: &parts.left_out };
            telling.trees(&a.tree(), &now)
        })
    })
}

/// The bytes of a file, as far as they can be told as a text; none where they cannot be had.
fn text(opened: io::Result<Arc<dyn DiskFile>>) -> Option<Vec<u8>> {
    let read = opened.and_then(|file| {
        let len = file.len()?.min(TEXT_BYTES_MAX + 1);
        let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
        let mut filled = 0;
        while filled < bytes.len() {
            match file.read_at(&mut bytes[filled..], filled as u64)? {
                0 => break,
                read => filled += read,
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    });
    match read {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            tracing::debug!(%error, "a file that differs is not told line by line");
            None
        }
    }
}
