//! Writing a kept workspace, or a part of it, into an empty directory.
//!
//! Nothing is there that could be lost, so nothing is staged: files are written where they belong,
//! each proven as it is written, and everything is synced before the end. After an error what was
//! written is removed again; after a crash a part of it stays.

use std::path::Path;

use super::Error;
use super::staging::{is_full, is_gone};
use super::tree_plan::{Action, Step, TreePlan};
use super::write::{Content, Job, Progress, Writing};
use crate::disk::DiskTree;
use crate::encode::directory::Node;

/// Writes what `plan` brings, which was made with nothing there, into a directory that is empty.
///
/// # Errors
/// [`Error::NotEmpty`], and as the disk and the content give them.
pub(crate) fn materialise(
    tree: &dyn DiskTree,
    plan: &TreePlan,
    content: &Content<'_>,
    progress: &Progress<'_>,
) -> Result<(), Error> {
    let listing = tree.read_dir("".as_ref()).map_err(|e| Error::io("read", "", e))?;
    if let Some((name, _)) = listing.entries.into_iter().next() {
        return Err(Error::NotEmpty { path: name.into() });
    }
    let written = write(Writing { tree, content }, plan, progress);
    if written.is_err()
        && let Err(error) = remove(tree, plan)
    {
        tracing::warn!(%error, "a part of what was restored stays");
    }
    written
}

fn write(to: Writing<'_>, plan: &TreePlan, progress: &Progress<'_>) -> Result<(), Error> {
    let (mut files, mut names) = (Vec::new(), Vec::new());
    for Step { path, action } in &plan.steps {
        match action {
            Action::MakeDir => {
                to.tree.create_dir(path).map_err(|e| Error::io("make", path, e))?;
            }
            Action::Swap { same_as: Some(base), .. } => names.push((base, path)),
            Action::Swap { wanted: Some(node), .. } if !matches!(node, Node::Dir(_)) => {
                files.push(Job { at: path.clone(), node, path });
            }
            _ => {}
        }
    }
    to.write_all(&files, progress)?;
    for (base, path) in names {
        to.tree.hard_link(base, path).map_err(|e| Error::io("link", path, e))?;
    }
    for dir in &plan.dirs {
        if let Some(attributes) = dir.wanted {
            let failed = |e| Error::io("set the attributes of", &dir.path, e);
            to.tree.set_mode(&dir.path, attributes.mode).map_err(failed)?;
            to.tree.set_modified(&dir.path, attributes.modified).map_err(failed)?;
        }
    }
    sync(to.tree, plan)
}

fn sync(tree: &dyn DiskTree, plan: &TreePlan) -> Result<(), Error> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |e| Error::io("sync", path, e)
    };
    if tree.sync_all().map_err(failed("".as_ref()))? {
        return Ok(());
    }
    plan.dirs.iter().try_for_each(|dir| tree.sync_dir(&dir.path).map_err(failed(&dir.path)))
}

/// Removes what was written, children before parents.
fn remove(tree: &dyn DiskTree, plan: &TreePlan) -> Result<(), Error> {
    for dir in plan.dirs.iter().rev() {
        match tree.set_mode(&dir.path, 0o700) {
            Err(error) if !is_gone(&error) => return Err(Error::io("open", &dir.path, error)),
            _ => {}
        }
    }
    for step in plan.steps.iter().rev() {
        let removed = match step.action {
            Action::MakeDir => tree.remove_dir(&step.path),
            _ => tree.remove_file(&step.path),
        };
        match removed {
            Err(error) if !is_gone(&error) && !is_full(&error) => {
                return Err(Error::io("remove", &step.path, error));
            }
            _ => {}
        }
    }
    Ok(())
}
