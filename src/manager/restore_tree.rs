//! A workspace that a restore changes: where it is, what is planned for it, and the staging of what
//! comes.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::agent::Agent;
use super::error::Error;
use super::files::Reader;
use super::restoring::RestoreOptions;
use super::tree_plan::{self, Asked, Kept, Now};
use super::workplace::Parts;
use crate::disk::{Disk, DiskTree, Stat, create_dir_all_durable};
use crate::encode::event::BegunTree;
use crate::encode::manifest::Manifest;
use crate::encode::parts;
use crate::restore::{
    self, Content, Progress, Report, Restore, Scope, Sessions, TreePlan, Way, discard_staging,
};
use crate::state::CheckpointId;

/// The workspace that is restored into.
pub(super) struct Target {
    /// Its root: absolute, links resolved.
    pub place: PathBuf,
    /// What it is to hold.
    part: parts::Workspace,
    disk: Arc<dyn Disk>,
    /// Absent as long as there is no such directory.
    open: Option<Open>,
}

struct Open {
    tree: Arc<dyn DiskTree>,
    root: Stat,
}

/// A restore of a workspace for which everything is staged.
pub(super) struct Begun<'a> {
    pub restore: Restore<'a>,
    id: CheckpointId,
    target: &'a Target,
    tree: &'a dyn DiskTree,
    root: Stat,
    plan: &'a TreePlan,
}

impl Target {
    /// The workspace that a checkpoint is restored into; `None` where it holds none.
    pub(super) fn of(
        agent: &Agent,
        manifest: &Manifest,
        options: &RestoreOptions,
    ) -> Result<Option<Self>, Error> {
        let Some(part) = &manifest.workspace else {
            if options.paths.is_empty() && options.workspace.is_none() {
                return Ok(None);
            }
            return Err(Error::Refused {
                why: format!("checkpoint {} holds no workspace", manifest.id),
                way_out: "name one that does; `stateward show REF --files` tells".to_owned(),
            });
        };
        let place = match &options.workspace {
            Some(named) => named.clone(),
            None if !manifest.imported => part.place.clone(),
            None => {
                return Err(Error::Refused {
                    why: "the checkpoint was imported, and its workspace was elsewhere".to_owned(),
                    way_out:
                        "name the place: --workspace DIR restores into it, --to DIR only writes \
                              it out"
                            .to_owned(),
                });
            }
        };
        for path in &options.paths {
            let is_within =
                path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
            if !is_within || path.as_os_str().is_empty() {
                return Err(Error::Refused {
                    why: format!("{} is no path within the workspace", path.display()),
                    way_out: "give paths from the workspace's root, without `..`".to_owned(),
                });
            }
        }
        Self::at(agent, place, part.clone()).map(Some)
    }

    /// The workspace of a restore that has begun: the very directory that it began in.
    pub(super) fn begun(
        agent: &Agent,
        manifest: &Manifest,
        begun: &BegunTree,
    ) -> Result<Self, Error> {
        let part = manifest.workspace.clone().ok_or_else(|| Error::Refused {
            why: format!("checkpoint {} holds no workspace", manifest.id),
            way_out: "`stateward reset` gives the restore up".to_owned(),
        })?;
        let target = Self::at(agent, begun.place.clone(), part)?;
        let is_same = target
            .open
            .as_ref()
            .is_some_and(|open| open.root.device == begun.device && open.root.inode == begun.inode);
        if is_same {
            return Ok(target);
        }
        Err(Error::Refused {
            why: format!(
                "{} is not the directory that the restore began in",
                begun.place.display()
            ),
            way_out: "put it back where it was, or mount its volume; `stateward reset` gives the \
                      restore up"
                .to_owned(),
        })
    }

    fn at(agent: &Agent, place: PathBuf, part: parts::Workspace) -> Result<Self, Error> {
        let disk = Arc::clone(agent.manager().shared_disk());
        let place = disk.canonical(&place).unwrap_or(place);
        let mut target = Self { place, part, disk, open: None };
        target.look()?;
        Ok(target)
    }

    fn look(&mut self) -> Result<(), Error> {
        let opened = self.disk.tree(&self.place).and_then(|tree| {
            let root = tree.stat(Path::new(""))?;
            Ok(Open { tree, root })
        });
        match opened {
            Ok(open) => self.open = Some(open),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(self.failed("open", source)),
        }
        Ok(())
    }

    /// Makes the directory where it is missing.
    pub(super) fn make(&mut self) -> Result<(), Error> {
        if self.open.is_none() {
            create_dir_all_durable(&*self.disk, &self.place)
                .map_err(|source| self.failed("make", source))?;
            self.look()?;
        }
        Ok(())
    }

    fn failed(&self, doing: &'static str, source: io::Error) -> Error {
        restore::Error::Io { doing, path: self.place.clone(), source }.into()
    }

    pub(super) fn is_there(&self) -> bool {
        self.open.is_some()
    }

    /// Whether its content was kept from this very place.
    pub(super) fn is_in_its_place(&self) -> bool {
        self.part.place == self.place
    }

    /// Plans what makes it as wanted, from what was just collected.
    pub(super) fn plan(
        &self,
        agent: &Agent,
        reader: &Reader,
        parts: Option<&Parts>,
        asked: &Asked<'_>,
    ) -> Result<TreePlan, Error> {
        let wanted = Kept { part: &self.part, reader };
        match (parts, agent.place()) {
            (Some(parts), Some(place)) => place.with_scanned(|workspace| {
                let now = Now::Scanned { workspace, left_out: &parts.left_out };
                tree_plan::plan(&wanted, &now, asked)
            }),
            _ => tree_plan::plan(&wanted, &Now::Nothing, asked),
        }
    }

    /// The plan of a restore that has begun, made again.
    pub(super) fn plan_again(
        &self,
        reader: &Reader,
        recovery: &Manifest,
        begun: &BegunTree,
    ) -> Result<TreePlan, Error> {
        let wanted = Kept { part: &self.part, reader };
        let now = match &recovery.workspace {
            Some(part) => Now::Kept(Kept { part, reader }),
            None => Now::Nothing,
        };
        let scope = Scope { paths: begun.paths.clone(), git: begun.git };
        let sessions = Sessions::default();
        let asked = Asked { scope: &scope, sessions: &sessions, force: true, left: &begun.left };
        let plan = tree_plan::plan(&wanted, &now, &asked)?;
        if plan.digest() == begun.plan {
            return Ok(plan);
        }
        Err(Error::Refused {
            why: "the plan of the restore that has begun cannot be made again".to_owned(),
            way_out: "use the program that began it, or give it up with `stateward reset`"
                .to_owned(),
        })
    }

    /// Stages what a plan brings, and tells of each file.
    pub(super) fn begin<'a>(
        &'a self,
        plan: &'a TreePlan,
        id: CheckpointId,
        content: &'a Content<'a>,
        progress: &Progress<'_>,
    ) -> Result<Begun<'a>, Error> {
        let begun = self.resume(plan, id, content)?;
        begun.restore.stage(progress)?;
        Ok(begun)
    }

    /// A restore that has begun before.
    pub(super) fn resume<'a>(
        &'a self,
        plan: &'a TreePlan,
        id: CheckpointId,
        content: &'a Content<'a>,
    ) -> Result<Begun<'a>, Error> {
        let Some(open) = &self.open else {
            return Err(self.failed("open", io::ErrorKind::NotFound.into()));
        };
        let (tree, root) = (&*open.tree, open.root);
        let restore = Restore::new(tree, plan, id, content);
        Ok(Begun { restore, id, target: self, tree, root, plan })
    }
}

impl Begun<'_> {
    /// What the log is told.
    pub(super) fn event(&self, options: &RestoreOptions) -> BegunTree {
        BegunTree {
            place: self.target.place.clone(),
            device: self.root.device,
            inode: self.root.inode,
            paths: options.paths.clone(),
            git: options.git,
            left: Vec::new(),
            plan: self.plan.digest(),
        }
    }

    /// The restore does not begin after all.
    pub(super) fn discard(&self) {
        if let Err(error) = discard_staging(self.tree, self.id, Some(self.root.modified)) {
            tracing::warn!(%error, "what was staged for a restore stays behind");
        }
    }

    /// Takes the staging directory away; answers where somebody's work lies that was found in it.
    /// What cannot be taken away now is when the workspace is next opened.
    pub(super) fn clear(&self, way: Way, report: Option<&Report>) -> Vec<PathBuf> {
        self.restore.clear(way, report).unwrap_or_else(|error| {
            let place = self.target.place.display();
            tracing::warn!(%place, %error, "the staging directory of a restore stays behind");
            Vec::new()
        })
    }
}
