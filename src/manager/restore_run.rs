//! A restore in place, step by step.
//!
//! A `recovery` checkpoint of what is there, and with it the plan; what comes is staged in the
//! workspace; the word that the restore begins; the workspace, then the state files, then the state
//! get what is wanted; a checkpoint of its own says that it has finished. If one of the first three
//! fails, nothing was touched. If a later one fails, what was done is taken back. A crash leaves a
//! begun restore, which the next writing start finishes, or takes back where it cannot.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::admission::WantedPart;
use super::agent::Agent;
use super::error::Error;
use super::files::Reader;
use super::progress::Count;
use super::resolve::Resolved;
use super::restore_tree::{Begun, Target};
use super::restoring::{RestoreOptions, Restored, take_state};
use super::tree_plan::Asked;
use super::workplace::Parts;
use crate::disk::Disk;
use crate::encode::directory::FileNode;
use crate::encode::event::What;
use crate::encode::manifest::{self, Manifest};
use crate::encode::parts::StateFiles;
use crate::restore::{
    self, Files, Report, Scope, Sessions, Staging, TreePlan, Way, discard_staging,
};
use crate::state::{CheckpointId, Kind, Receipt, Seq};

/// What is to be put back, and where.
pub(super) struct Job<'a> {
    /// The agent with what is to be put back as its workspace and state files.
    agent: Agent,
    found: Resolved,
    how: How<'a>,
    sessions: Sessions,
    state: Option<Vec<u8>>,
    file: Option<PathBuf>,
    current: Option<Vec<u8>>,
    state_files: Vec<(PathBuf, FileNode)>,
    /// State files that were not there before the restore that is taken back.
    made: Vec<PathBuf>,
    target: Option<Target>,
    reader: Reader,
}

/// How something is to be put back.
pub(super) struct How<'a> {
    /// The finished restore that this one takes back.
    pub undoes: Option<CheckpointId>,
    pub options: &'a RestoreOptions,
    /// What is to be said in the batch that finishes it.
    pub then: Vec<What>,
    /// A state that the agent kept since its state last changed at this number stays its own.
    pub above: Option<Seq>,
}

/// What a restore does.
#[derive(Default)]
struct Planned {
    tree: Option<TreePlan>,
    files: Files,
    /// State files that are written.
    writes: Vec<(PathBuf, FileNode)>,
    /// State files that go: those that were not there, and journals whose database comes without
    /// them.
    strays: Vec<PathBuf>,
}

/// What a restore came to.
#[derive(Default)]
struct Done {
    recovery: Option<CheckpointId>,
    finished: Option<CheckpointId>,
    report: Report,
    kept_aside: Vec<PathBuf>,
}

#[tracing::instrument(
    name = "restore",
    level = "info",
    skip_all,
    fields(agent = %agent.id(), reference, dry_run = how.options.dry_run)
)]
pub(super) fn run(
    agent: &Agent,
    reference: &str,
    found: Resolved,
    how: How<'_>,
) -> Result<Restored, Error> {
    let options = how.options;
    let mut job = Job::new(agent, found, how)?;
    if options.dry_run {
        let planned = job.look()?;
        return Ok(job.answer(reference, planned, Done::default()));
    }
    if !options.live {
        check_quiet(agent)?;
    }
    // The recovery checkpoint is a commit like any other: what it lets go must not be this one.
    let _used = job.found.store.use_checkpoint(job.found.held.manifest.id);
    let (recovery, planned) = job.take_recovery()?;
    let done = job.replace(recovery, &planned)?;
    tracing::info!(seq = %job.found.held.manifest.seq, "restored");
    Ok(job.answer(reference, planned, done))
}

/// An agent that showed itself within this time may be writing.
const LIVE: Duration = Duration::from_secs(60);

/// Refuses a restore by hand under an agent that was alive a moment ago.
fn check_quiet(agent: &Agent) -> Result<(), Error> {
    let Some(seen) = agent.last_seen().filter(|_| agent.is_by_hand()) else {
        return Ok(());
    };
    let ago = agent.committer().clock.now().since(seen);
    if ago >= LIVE {
        return Ok(());
    }
    Err(Error::Refused {
        why: format!("agent {} was seen {} seconds ago", agent.id(), ago.as_secs()),
        way_out: "stop it first, or give --live if it will not mind".to_owned(),
    })
}

/// The file a restore in place replaces. An imported checkpoint names none: it came from elsewhere.
pub(super) fn in_place_target(manifest: &Manifest) -> Option<PathBuf> {
    manifest.state_file.clone().filter(|_| !manifest.imported)
}

impl<'a> Job<'a> {
    fn new(agent: &Agent, mut found: Resolved, how: How<'a>) -> Result<Self, Error> {
        let options = how.options;
        let only_files = !options.paths.is_empty();
        let state = if only_files { None } else { take_state(agent, &mut found)? };
        let manifest = &found.held.manifest;
        let file = in_place_target(manifest).filter(|_| state.is_some());
        let current = match &file {
            Some(path) => restore::read_current(agent.disk(), path)?,
            None => None,
        };
        let target = if options.only_state { None } else { Target::of(agent, manifest, options)? };
        let takes_files = !(only_files || options.only_state || manifest.imported);
        let state_files = match &manifest.state_files {
            Some(part) if takes_files => part.files.clone(),
            _ => Vec::new(),
        };
        let made = if only_files { Vec::new() } else { made_by(agent, how.undoes, manifest) };
        let sessions = agent.sessions();
        let reader = Reader::of(agent, &found);
        let mut agent = agent.clone();
        if let Some(target) = target.as_ref().filter(|target| target.is_there()) {
            agent = agent.at_workspace(&target.place)?;
        }
        for path in state_files.iter().map(|(path, _)| path).chain(&made) {
            agent = agent.state_file(path)?;
        }
        Ok(Self {
            agent,
            found,
            how,
            sessions,
            state,
            file,
            current,
            state_files,
            made,
            target,
            reader,
        })
    }

    /// Plans without changing or keeping anything.
    fn look(&mut self) -> Result<Planned, Error> {
        match (&self.target, self.agent.place()) {
            (Some(target), Some(place)) if target.is_there() => {
                let place = place.clone();
                place.look(|parts| self.plan(Some(parts)))
            }
            _ => self.plan(None),
        }
    }

    fn plan(&self, parts: Option<&Parts>) -> Result<Planned, Error> {
        let mut planned = Planned::default();
        if let (Some(path), Some(state)) = (&self.file, &self.state) {
            planned.files = restore::plan(path.clone(), self.current.as_deref(), state, false);
        }
        self.plan_state_files(&mut planned)?;
        self.check_kept(&planned, parts)?;
        if let Some(target) = &self.target {
            let (paths, git) = (self.how.options.paths.clone(), self.how.options.git);
            let scope = Scope { paths, git };
            let asked = Asked {
                scope: &scope,
                sessions: &self.sessions,
                force: self.how.options.force,
                left: &[],
            };
            let plan = target.plan(&self.agent, &self.reader, parts, &asked)?;
            planned.files.append(plan.files.clone());
            planned.tree = Some(plan);
        }
        Ok(planned)
    }

    fn plan_state_files(&self, planned: &mut Planned) -> Result<(), Error> {
        let disk = self.agent.disk();
        let is_wanted = |path: &Path| self.state_files.iter().any(|(wanted, _)| wanted == path);
        for (path, node) in &self.state_files {
            let found = restore::look_at_state_file(disk, path, node)?;
            match found {
                Some(found) if found.is_wanted => planned.files.unchanged.push(path.clone()),
                Some(found)
                    if !self.how.options.force && self.sessions.is_foreign(found.stat.changed) =>
                {
                    planned.files.conflicts.push(path.clone());
                }
                _ => planned.files.written.push(path.clone()),
            }
            if found.is_none_or(|found| !found.is_wanted) {
                planned.writes.push((path.clone(), *node));
            }
            planned.strays.extend(restore::stray_companions(disk, path, is_wanted)?);
        }
        let is_there = |path: &&PathBuf| disk.metadata(path).is_ok();
        planned.strays.extend(self.made.iter().filter(is_there).cloned());
        planned.files.removed.extend(planned.strays.iter().cloned());
        Ok(())
    }

    /// A state file that the recovery checkpoint cannot hold, because it cannot be read, is not
    /// replaced: nobody could take that back.
    fn check_kept(&self, planned: &Planned, parts: Option<&Parts>) -> Result<(), Error> {
        let left_out = parts.into_iter().flat_map(|parts| &parts.files_left_out.skipped);
        let replaced = |path: &PathBuf| {
            let is_written = planned.writes.iter().any(|(written, _)| written == path);
            is_written || planned.strays.contains(path)
        };
        let mut lost = left_out.map(|skipped| &skipped.path).filter(|path| replaced(path));
        match lost.find(|path| self.agent.disk().metadata(path).is_ok()) {
            None => Ok(()),
            Some(path) => Err(Error::Refused {
                why: format!("{} cannot be read, so nothing could bring it back", path.display()),
                way_out: "make it readable, or move it away, and restore again".to_owned(),
            }),
        }
    }

    /// Keeps what is about to be replaced: the workspace and the state files as they are, the state
    /// file whatever it holds, or the agent's own state, or the newest one.
    fn take_recovery(&mut self) -> Result<(Option<Receipt>, Planned), Error> {
        if let Some(target) = self.target.as_mut().filter(|target| !target.is_there()) {
            target.make()?;
            self.agent = self.agent.at_workspace(&target.place)?;
        }
        let request = self.agent.checkpoint(Kind::Recovery).comment("before a restore");
        let request = match &self.current {
            Some(bytes) => request.found_bytes(bytes.clone()),
            None => request,
        };
        let request = match &self.file {
            Some(path) => request.state_file(path),
            None => request,
        };
        let mut planned = None;
        let taken = request.commit_after(&mut |parts| {
            let plan = self.plan(parts)?;
            self.check_conflicts(&plan.files)?;
            planned = Some(plan);
            Ok(())
        });
        let planned = planned.unwrap_or_default();
        match taken {
            Ok((receipt, _)) => Ok((Some(receipt), planned)),
            // There is nothing yet that could be replaced.
            Err(Error::NoState { .. }) => Ok((None, planned)),
            Err(error) => Err(error),
        }
    }

    fn check_conflicts(&self, files: &Files) -> Result<(), Error> {
        if files.conflicts.is_empty() || self.how.options.force {
            return Ok(());
        }
        Err(Error::Conflicts { paths: files.conflicts.clone() })
    }

    fn replace(&self, recovery: Option<Receipt>, planned: &Planned) -> Result<Done, Error> {
        let recovery = recovery.map(|receipt| receipt.checkpoint.checkpoint_id);
        let content = self.reader.content_of_files();
        let tree = match (&self.target, &planned.tree, recovery) {
            (Some(target), Some(plan), Some(id)) if !plan.is_empty() => {
                let count = Count::of_plan(self.agent.committer(), plan);
                Some(target.begin(plan, id, &content, &|bytes| count.add(bytes))?)
            }
            _ => None,
        };
        if let Some(recovery) = recovery {
            self.say_begun(recovery, tree.as_ref())?;
        }
        let mut report = Report::default();
        if let Some(tree) = &tree {
            report = self.replace_tree(tree)?;
        }
        match self.replace_files(planned, recovery) {
            Ok(left) => report.left.extend(left),
            Err(error) => {
                self.take_back(recovery, tree.as_ref(), &error)?;
                return Err(error);
            }
        }
        if let Some(state) = &self.state {
            self.agent.apply(state)?;
        }
        let whole = self.is_whole(planned, &report);
        let finished = self.finish(recovery, whole, &report)?;
        let kept_aside = match &tree {
            Some(tree) => tree.clear(Way::Forward, Some(&report)),
            None => Vec::new(),
        };
        let finished = Some(finished.checkpoint.checkpoint_id);
        Ok(Done { recovery, finished, report, kept_aside })
    }

    fn say_begun(&self, recovery: CheckpointId, tree: Option<&Begun<'_>>) -> Result<(), Error> {
        let said = self.agent.manager().write_event(|_| What::RestoreBegun {
            agent_id: self.agent.id().clone(),
            from: self.found.held.manifest.id,
            recovery,
            undoes: self.how.undoes,
            state_file: self.file.clone(),
            state_files: !(self.state_files.is_empty() && self.made.is_empty()),
            workspace: tree.map(|tree| tree.event(self.how.options)),
            then: self.how.then.clone(),
        });
        if let (Err(_), Some(tree)) = (&said, tree) {
            tree.discard();
        }
        said
    }

    fn replace_tree(&self, tree: &Begun<'_>) -> Result<Report, Error> {
        let force = self.how.options.force;
        let applied = match self.agent.place() {
            Some(place) => place.with_scanned(|workspace| {
                Ok(tree.restore.apply(&|path| workspace.stat(path), force)?)
            }),
            None => Ok(tree.restore.apply(&|_| None, force)?),
        };
        let (why, report) = match applied? {
            restore::Outcome::Done(report) => return Ok(report),
            restore::Outcome::Changed(paths) => (Error::Conflicts { paths }, None),
            restore::Outcome::RolledBack { why, report } => (why.into(), Some(report)),
        };
        self.say_rolled_back(&why)?;
        tree.clear(Way::Back, report.as_ref());
        Err(why)
    }

    /// Puts the state files and the state back. Answers what it left alone where that is allowed: what
    /// came since the recovery checkpoint nobody could bring back.
    fn replace_files(
        &self,
        planned: &Planned,
        recovery: Option<CheckpointId>,
    ) -> Result<Vec<PathBuf>, Error> {
        let disk = self.agent.disk();
        let content = self.reader.content_of_files();
        let kept = recovery.map(|id| self.agent.resolve(&id.to_string())).transpose()?;
        let to = &self.found.held.manifest;
        let and = kept.as_ref().map_or(to, |kept| &kept.held.manifest);
        let between = Between { to, and, root: self.root(), reader: &self.reader };
        let mut left = BTreeSet::new();
        let touched = planned.strays.iter().chain(planned.writes.iter().map(|(path, _)| path));
        for file in touched.map(|path| restore::owner_of(path)).collect::<BTreeSet<_>>() {
            if !between.is_as_kept(disk, &file)? {
                left.insert(file);
            }
        }
        self.check_left(&left)?;
        let alone = left.clone();
        let is_ours = |path: &Path| !alone.contains(&restore::owner_of(path));
        for stray in planned.strays.iter().filter(|stray| is_ours(stray)) {
            restore::remove(disk, stray)?;
        }
        for (path, node) in planned.writes.iter().filter(|(path, _)| is_ours(path)) {
            let known = between.known(path)?;
            if !restore::put_back_file(disk, path, node, &content, Some(&known))? {
                left.insert(path.clone());
                self.check_left(&left)?;
            }
        }
        if let (Some(state), Some(path)) = (&self.state, &self.file)
            && !between.put_state_back(disk, path, state, self.current.as_deref())?
        {
            left.insert(path.clone());
            self.check_left(&left)?;
        }
        Ok(left.into_iter().collect())
    }

    /// Refuses to leave anything alone, unless that is forced.
    fn check_left(&self, left: &BTreeSet<PathBuf>) -> Result<(), Error> {
        if left.is_empty() || self.how.options.force {
            return Ok(());
        }
        Err(Error::Conflicts { paths: left.iter().cloned().collect() })
    }

    /// The workspace that is put back.
    fn root(&self) -> Option<&Path> {
        self.target.as_ref().map(|target| &*target.place)
    }

    /// Takes back what was replaced before an error.
    fn take_back(
        &self,
        recovery: Option<CheckpointId>,
        tree: Option<&Begun<'_>>,
        why: &Error,
    ) -> Result<(), Error> {
        let report = tree.map(|tree| tree.restore.roll_back()).transpose()?;
        if let Some(recovery) = recovery {
            let reference = recovery.to_string();
            let kept = self.agent.resolve(&reference)?;
            let (to, and) = (&kept.held.manifest, &self.found.held.manifest);
            let between = Between { to, and, root: self.root(), reader: &self.reader };
            put_state_files_back(&self.agent, &between, &[])?;
        }
        self.say_rolled_back(why)?;
        if let Some(tree) = tree {
            tree.clear(Way::Back, report.as_ref());
        }
        Ok(())
    }

    fn say_rolled_back(&self, why: &Error) -> Result<(), Error> {
        self.agent.manager().write_event(|_| What::RestoreRolledBack {
            agent_id: self.agent.id().clone(),
            from: self.found.held.manifest.id,
            why: why.to_string(),
        })
    }

    /// Whether the workspace is now just what the checkpoint holds.
    fn is_whole(&self, planned: &Planned, report: &Report) -> bool {
        let (Some(target), Some(plan)) = (&self.target, &planned.tree) else { return true };
        target.is_in_its_place()
            && self.how.options.paths.is_empty()
            && plan.untouched.is_empty()
            && report.is_empty()
    }

    fn finish(
        &self,
        recovery: Option<CheckpointId>,
        whole: bool,
        report: &Report,
    ) -> Result<Receipt, Error> {
        let from = &self.found.held.manifest;
        let undoes = self.how.undoes;
        let restored = manifest::Restored { from: from.id, recovery, undoes };
        let held = Held {
            state: self.state.as_deref(),
            state_files: (!self.state_files.is_empty()).then_some(report.left.is_empty()),
            workspace: self.target.as_ref().map(|_| whole),
        };
        let finish = |held, above| {
            finish(&self.agent, from, restored.clone(), held, (&self.how.then, above))
        };
        match finish(held, self.how.above) {
            Err(Error::Stale { .. }) => finish(Held { state: None, ..held }, None),
            other => other,
        }
    }

    fn answer(&self, reference: &str, planned: Planned, done: Done) -> Restored {
        let checkpoint = self.found.store.facts(&self.found.held);
        let tree = planned.tree.unwrap_or_default();
        let (made_dirs, gone_dirs) = (tree.made_dirs(), tree.gone_dirs());
        let mut files = planned.files;
        files.conflicts.extend(done.report.left.iter().cloned());
        Restored {
            requested: reference.to_owned(),
            checkpoint_id: checkpoint.checkpoint_id,
            walked_past: self.found.walked_past.clone(),
            tainted: checkpoint.tainted,
            recovery_checkpoint_id: done.recovery,
            restored_as: done.finished,
            files,
            untouched: tree.untouched,
            made_dirs,
            gone_dirs,
            kept_aside: [done.report.kept, done.kept_aside].concat(),
            dry_run: self.how.options.dry_run,
            checkpoint: Some(checkpoint),
            state: self.state.clone(),
        }
    }
}

/// Which parts a finished restore put back; of files, whether they are just as the checkpoint holds
/// them.
#[derive(Debug, Clone, Copy)]
struct Held<'a> {
    state: Option<&'a [u8]>,
    state_files: Option<bool>,
    workspace: Option<bool>,
}

fn finish(
    agent: &Agent,
    from: &Manifest,
    restored: manifest::Restored,
    held: Held<'_>,
    (then, above): (&[What], Option<Seq>),
) -> Result<Receipt, Error> {
    let mut agent = agent.clone();
    if held.state_files == Some(false) && !agent.collects().state_files {
        let files = from.state_files.iter().flat_map(|part| &part.files);
        for (path, _) in files {
            agent = agent.state_file(path)?;
        }
    }
    let mut request = agent.checkpoint(Kind::Routine).finishes(restored).says(then.to_vec());
    if let Some(seq) = above {
        request = request.if_match(seq);
    }
    request =
        if held.state.is_some() { request.state_of(from.id) } else { request.inherited_state() };
    // What is there may be neither of the two: it is looked at once more.
    request = match held.state_files {
        Some(true) => request.state_files_part(WantedPart::Of(from.id)),
        Some(false) => request,
        None => request.state_files_part(WantedPart::Inherited),
    };
    let request = match held.workspace {
        Some(true) => request.workspace_part(WantedPart::Of(from.id)),
        Some(false) => request.thorough(),
        None => request.workspace_part(WantedPart::Inherited),
    };
    if held.state.is_none() && held.workspace != Some(true) {
        // Parts of it alone: the agent's way up to here stays its own.
        return request.commit();
    }
    agent.bring_back(from, held.state, |told| request.told(told).commit())
}

/// The state files that a restore which is taken back put where none was.
fn made_by(agent: &Agent, undoes: Option<CheckpointId>, recovery: &Manifest) -> Vec<PathBuf> {
    let paths = |manifest: &Manifest| -> Vec<PathBuf> {
        let files = manifest.state_files.iter().flat_map(|part| &part.files);
        files.map(|(path, _)| path.clone()).collect()
    };
    let held = |id: CheckpointId| agent.resolve(&id.to_string()).ok().map(|found| found.held);
    let restored = undoes.and_then(held).and_then(|done| done.manifest.restored);
    let Some(from) = restored.and_then(|restored| held(restored.from)) else { return Vec::new() };
    let before = paths(recovery);
    paths(&from.manifest).into_iter().filter(|path| !before.contains(path)).collect()
}

/// The state file of a path that a checkpoint holds.
fn state_file_in<'m>(manifest: &'m Manifest, path: &Path) -> Option<&'m FileNode> {
    let files = manifest.state_files.iter().flat_map(|part| &part.files);
    files.into_iter().find(|(held, _)| held == path).map(|(_, node)| node)
}

/// The two checkpoints of a restore. What a file holds that neither of them does, somebody else wrote.
struct Between<'a> {
    /// The one that is to be there.
    to: &'a Manifest,
    /// The other one.
    and: &'a Manifest,
    /// Where their workspaces lie, where one is put back.
    root: Option<&'a Path>,
    reader: &'a Reader,
}

impl Between<'_> {
    /// What the two hold of a file: by itself, and in the workspace.
    fn known(&self, path: &Path) -> Result<Vec<FileNode>, Error> {
        let mut known = Vec::new();
        for manifest in [self.to, self.and] {
            known.extend(state_file_in(manifest, path));
            let inside = self.root.and_then(|root| path.strip_prefix(root).ok());
            if let (Some(inside), Some(workspace)) = (inside, &manifest.workspace) {
                known.extend(self.reader.file_at(&workspace.root, inside)?);
            }
        }
        Ok(known)
    }

    /// Whether nobody else wrote a file, nor a journal of it where it is a database: what is in the
    /// one counts for the other, and each with an older other one is damage.
    fn is_as_kept(&self, disk: &dyn Disk, file: &Path) -> Result<bool, Error> {
        let mut held = Vec::new();
        for path in restore::with_journals(file) {
            let known = self.known(&path)?;
            if !known.is_empty() {
                if !restore::holds_one_of(disk, &path, &known)? {
                    return Ok(false);
                }
                held.push(path);
            }
        }
        for stray in restore::stray_companions(disk, file, |path| held.iter().any(|it| it == path))?
        {
            if !restore::is_spare(disk, &stray)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Puts a state into its file, unless that holds neither it nor `other`, the one of the other
    /// checkpoint, nor what a workspace had there. Answers whether it was put back.
    fn put_state_back(
        &self,
        disk: &dyn Disk,
        path: &Path,
        state: &[u8],
        other: Option<&[u8]>,
    ) -> Result<bool, Error> {
        let found = restore::read_current(disk, path)?;
        let is_known = found.is_none_or(|found| found == state || Some(&*found) == other);
        let is_ours = is_known || restore::holds_one_of(disk, path, &self.known(path)?)?;
        if is_ours {
            restore::put_back(disk, path, state)?;
        }
        Ok(is_ours)
    }
}

/// What is to be done to a file and the journals that belong to it.
#[derive(Default)]
struct Together<'a> {
    gone: Vec<&'a PathBuf>,
    wanted: Vec<(&'a PathBuf, &'a FileNode)>,
}

/// Puts the state files back as a checkpoint holds them, and takes away those that are not to be.
/// Answers those that it left alone because somebody wrote them since; a database is left alone with
/// its journals where any of them was written.
fn put_state_files_back(
    agent: &Agent,
    between: &Between<'_>,
    gone: &[PathBuf],
) -> Result<Vec<PathBuf>, Error> {
    let (disk, content) = (agent.disk(), between.reader.content_of_files());
    let none = StateFiles::default();
    let files = &between.to.state_files.as_ref().unwrap_or(&none).files;
    let is_wanted = |path: &Path| files.iter().any(|(wanted, _)| wanted == path);
    let mut all: BTreeMap<PathBuf, Together<'_>> = BTreeMap::new();
    for path in gone {
        all.entry(restore::owner_of(path)).or_default().gone.push(path);
    }
    for (path, node) in files {
        all.entry(restore::owner_of(path)).or_default().wanted.push((path, node));
    }
    let mut left = Vec::new();
    for (file, Together { gone, wanted }) in all {
        if !between.is_as_kept(disk, &file)? {
            left.extend(gone.into_iter().chain(wanted.into_iter().map(|(path, _)| path)).cloned());
            continue;
        }
        let strays = restore::stray_companions(disk, &file, is_wanted)?;
        for path in gone.into_iter().chain(&strays) {
            restore::remove(disk, path)?;
        }
        for (path, node) in wanted {
            let found = restore::look_at_state_file(disk, path, node)?;
            let known = between.known(path)?;
            if found.is_none_or(|found| !found.is_wanted)
                && !restore::put_back_file(disk, path, node, &content, Some(&known))?
            {
                left.push(path.clone());
            }
        }
    }
    for path in &left {
        tell_left(path);
    }
    Ok(left)
}

fn tell_left(path: &Path) {
    tracing::warn!(path = %path.display(), "left alone: somebody wrote it since");
}

/// How a restore ended that was found begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Finished,
    TakenBack,
}

/// A restore that was found begun.
struct Found<'a> {
    agent: Agent,
    from: &'a Manifest,
    recovery: &'a Manifest,
    state: Option<Vec<u8>>,
    state_file: Option<&'a Path>,
    state_files: bool,
    /// State files that are not to be there.
    made: Vec<PathBuf>,
    /// The workspace that is put back.
    root: Option<&'a Path>,
    reader: &'a Reader,
}

/// Finishes a restore that a crash left begun, or takes it back where that cannot be done. What was
/// done already is done again, which changes nothing.
pub(super) fn roll_on(agent: &Agent, begun: &What) -> Result<Ended, Error> {
    let What::RestoreBegun {
        from, recovery, undoes, state_file, state_files, workspace, then, ..
    } = begun
    else {
        return Ok(Ended::Finished);
    };
    let mut wanted = agent.resolve(&from.to_string())?;
    let kept = agent.resolve(&recovery.to_string())?;
    let only_files = workspace.as_ref().is_some_and(|begun| !begun.paths.is_empty());
    let state = if only_files { None } else { take_state(agent, &mut wanted)? };
    let reader = Reader::of(agent, &wanted);
    let (from, recovered) = (&wanted.held.manifest, &kept.held.manifest);
    let target = match workspace {
        Some(begun) => Some((Target::begun(agent, from, begun)?, begun)),
        None => None,
    };
    let mut own = agent.clone();
    if let Some((target, _)) = &target {
        own = own.at_workspace(&target.place)?;
    }
    let found = Found {
        agent: own,
        from,
        recovery: recovered,
        state,
        state_file: state_file.as_deref(),
        state_files: *state_files,
        made: made_by(agent, *undoes, from),
        root: target.as_ref().map(|(target, _)| &*target.place),
        reader: &reader,
    };
    let content = reader.content_of_files();
    let plan = match &target {
        Some((target, begun)) => Some(target.plan_again(&reader, recovered, begun)?),
        None => None,
    };
    let tree = match (&target, &plan) {
        (Some((target, _)), Some(plan)) => Some(target.resume(plan, *recovery, &content)?),
        _ => None,
    };
    match found.forward(tree.as_ref()) {
        Ok(report) => {
            let whole = target.as_ref().map(|(target, begun)| {
                begun.paths.is_empty()
                    && target.is_in_its_place()
                    && report.is_empty()
                    && plan.as_ref().is_some_and(|plan| plan.untouched.is_empty())
            });
            let restored =
                manifest::Restored { from: from.id, recovery: Some(*recovery), undoes: *undoes };
            let state = found.state.as_deref();
            let state_files = state_files.then_some(report.left.is_empty());
            let held = Held { state, state_files, workspace: whole };
            finish(&found.agent, from, restored, held, (then, None))?;
            if let Some(tree) = &tree {
                tree.clear(Way::Forward, Some(&report));
            }
            Ok(Ended::Finished)
        }
        Err(why) => {
            tracing::warn!(agent = %agent.id(), %why, "a restore that had begun is taken back");
            found.back(tree.as_ref(), &why)?;
            Ok(Ended::TakenBack)
        }
    }
}

impl Found<'_> {
    fn forward(&self, tree: Option<&Begun<'_>>) -> Result<Report, Error> {
        let mut report = match tree {
            Some(tree) => tree.restore.roll_forward()?,
            None => Report::default(),
        };
        if self.state_files {
            let between = self.between(self.from, self.recovery);
            report.left.extend(put_state_files_back(&self.agent, &between, &self.made)?);
        }
        if let (Some(path), Some(state)) = (self.state_file, &self.state) {
            report.left.extend(self.put_state_back(path, state, self.before()?.as_deref())?);
        }
        Ok(report)
    }

    /// The state that the recovery checkpoint keeps.
    fn before(&self) -> Result<Option<Vec<u8>>, Error> {
        let mut kept = self.agent.resolve(&self.recovery.id.to_string())?;
        take_state(&self.agent, &mut kept)
    }

    /// Puts the state into its file, unless that holds neither it nor `other`, the one of the other
    /// checkpoint: somebody wrote it since. Answers the file where it was left alone.
    fn put_state_back(
        &self,
        path: &Path,
        state: &[u8],
        other: Option<&[u8]>,
    ) -> Result<Option<PathBuf>, Error> {
        let between = self.between(self.from, self.recovery);
        if between.put_state_back(self.agent.disk(), path, state, other)? {
            return Ok(None);
        }
        tell_left(path);
        Ok(Some(path.to_owned()))
    }

    fn between<'a>(&'a self, to: &'a Manifest, and: &'a Manifest) -> Between<'a> {
        Between { to, and, root: self.root, reader: self.reader }
    }

    fn back(&self, tree: Option<&Begun<'_>>, why: &Error) -> Result<(), Error> {
        let report = tree.map(|tree| tree.restore.roll_back()).transpose()?;
        if self.state_files {
            let between = self.between(self.recovery, self.from);
            put_state_files_back(&self.agent, &between, &[])?;
        }
        if let Some(path) = self.state_file
            && let Some(state) = self.before()?
        {
            self.put_state_back(path, &state, self.state.as_deref())?;
        }
        self.agent.manager().write_event(|_| What::RestoreRolledBack {
            agent_id: self.agent.id().clone(),
            from: self.from.id,
            why: why.to_string(),
        })?;
        if let Some(tree) = tree {
            tree.clear(Way::Back, report.as_ref());
        }
        Ok(())
    }
}

/// Takes away what restores left staged in a workspace that never began, or that ended before their
/// process could clear up. What cannot be taken away stays for the next time.
pub(super) fn sweep_staging(agent: &Agent, root: &Path) {
    let found = agent.disk().tree(root).and_then(|tree| {
        let names = tree.read_dir(Path::new(""))?.entries;
        let owners: Vec<CheckpointId> =
            names.iter().filter_map(|(name, _)| Staging::owner(name)).collect();
        Ok((tree, owners))
    });
    let Ok((tree, owners)) = found else { return };
    for recovery in owners {
        let swept = match agent.begun_restore(recovery) {
            Some((begun, false)) => sweep(agent, &begun),
            // It is still to be finished.
            Some((_, true)) => Ok(()),
            None => discard_staging(&*tree, recovery, None).map(drop).map_err(Error::from),
        };
        if let Err(error) = swept {
            tracing::warn!(workspace = %root.display(), %error, "the staging of a restore stays");
        }
    }
}

fn sweep(agent: &Agent, begun: &What) -> Result<(), Error> {
    let What::RestoreBegun { from, recovery, workspace: Some(begun), .. } = begun else {
        return Ok(());
    };
    let (wanted, kept) = (agent.resolve(&from.to_string())?, agent.resolve(&recovery.to_string())?);
    let reader = Reader::of(agent, &wanted);
    let target = Target::begun(agent, &wanted.held.manifest, begun)?;
    let plan = target.plan_again(&reader, &kept.held.manifest, begun)?;
    let content = reader.content_of_files();
    let way = if agent.has_finished(*recovery) { Way::Forward } else { Way::Back };
    target.resume(&plan, *recovery, &content)?.clear(way, None);
    Ok(())
}
