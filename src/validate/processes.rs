//! Real processes on the real disk: killed, two at one store, read beside, and with the ground taken
//! from under them.
//!
//! The process is this program, started again with a part to play.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use super::play::Part;
use super::scenario::{Expectation, Scenario};
use super::trial::{Broken, Case, Outcome, Trial, Tried, ensure};
use super::{Ground, scratch};
use crate::disk::Disk;
use crate::error::ErrorKind;
use crate::manager::{CheckpointManager, Filter};
use crate::state::{CheckpointId, Digest, Durable};

/// A process that plays its part; killed when this goes.
struct Player {
    child: Child,
    said: Lines<BufReader<ChildStdout>>,
}

impl Player {
    fn start(ground: &Ground, part: &Part, tried: &mut Tried) -> Result<Self, Broken> {
        let words = serde_json::to_string(part).map_err(|error| Broken::new(error.to_string()))?;
        let mut child = Command::new(&ground.program)
            .args(["validate", "--play", &words])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| Broken::from(error).after("cannot start a process"))?;
        tried.processes += 1;
        let said = child.stdout.take().map(|out| BufReader::new(out).lines());
        let said = said.ok_or_else(|| Broken::new("the process has no output"))?;
        let mut player = Self { child, said };
        let ready = player.hear()?;
        ensure(ready == "ready", || format!("the process says {ready}"))?;
        Ok(player)
    }

    fn hear(&mut self) -> Result<String, Broken> {
        match self.said.next() {
            Some(line) => Ok(line?),
            None => Err(Broken::new("the process that writes ended by itself")),
        }
    }

    /// Ends it at once; gives what it had said by then.
    fn kill(mut self) -> Result<Vec<String>, Broken> {
        self.child.kill()?;
        self.child.wait()?;
        let mut left = Vec::new();
        for line in self.said.by_ref() {
            left.push(line?);
        }
        Ok(left)
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        // Both fail where it was ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// What is known of an agent.
#[derive(Default)]
struct Known {
    /// What it was acknowledged: by number, the checkpoint and the digest of its state.
    acknowledged: BTreeMap<u64, (CheckpointId, String)>,
    /// The newest number that was found: what was under way at a kill may have been kept.
    found: u64,
}

/// What each agent was acknowledged.
#[derive(Default)]
struct Acknowledged(BTreeMap<String, Known>);

impl Acknowledged {
    fn take(&mut self, line: &str) -> Outcome {
        let words: Vec<&str> = line.split(' ').collect();
        let [agent, id, seq, digest] = words[..] else {
            return Err(Broken::new(format!("the process says {line:?}")));
        };
        let seq = seq.parse().map_err(|_| Broken::new(format!("{seq} is no number")))?;
        let id = id.parse().map_err(|_| Broken::new(format!("{id} is no id")))?;
        let known = self.0.entry(agent.to_owned()).or_default();
        known.acknowledged.insert(seq, (id, digest.to_owned()));
        Ok(())
    }

    fn hear(&mut self, player: &mut Player, lines: u64) -> Outcome {
        (0..lines).try_for_each(|_| self.take(&player.hear()?))
    }

    /// Everything that retention cannot have let go is listed and restores.
    fn check(&mut self, manager: &CheckpointManager, keep: u64, tried: &mut Tried) -> Outcome {
        for (name, known) in &mut self.0 {
            let Known { acknowledged, found } = known;
            let agent = manager.agent(name)?;
            let listed = agent.list_checkpoints(Filter::default())?;
            let newest = listed.first().map_or(0, |one| one.seq.0);
            let last = acknowledged.last_key_value().map_or(0, |(seq, _)| *seq);
            if newest < last {
                let lost = usize::try_from(last - newest).unwrap_or(usize::MAX);
                return Err(Broken::lost(lost, format!("{name} ends at {newest}, not {last}")));
            }
            // One commit of each agent may have been under way.
            let asked = last.max(*found) + 1;
            ensure(newest <= asked, || format!("nobody asked for {newest} of {name}"))?;
            *found = newest;
            for (seq, (id, digest)) in acknowledged.range((newest + 1).saturating_sub(keep)..) {
                let read = agent.read_checkpoint(id.to_string());
                let read = read.map_err(|e| Broken::lost(1, format!("{name} lost {seq}: {e}")))?;
                let bytes = read.state_bytes().unwrap_or_default();
                tried.read(bytes.len());
                let same = Digest::of(bytes).to_string() == *digest;
                ensure(same, || format!("{seq} of {name} is read as other bytes"))?;
            }
        }
        Ok(())
    }
}

/// What the workload of the scenario asks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub threads: u64,
    pub keep_last: u64,
}

impl Load {
    fn part(self, store: &Path) -> Part {
        let Self { threads, keep_last } = self;
        Part { store: store.to_owned(), fallback: None, threads, keep_last }
    }
}

/// One store, written to by a process that is killed, again and again.
pub(super) fn killed(ground: &Ground, load: Load) -> Trial<'_> {
    Trial::real(1, move |case, tried| {
        let dir = scratch::Scratch::new(ground, case)?;
        let part = load.part(&dir.path.join("store"));
        let mut acknowledged = Acknowledged::default();
        for round in 0..4 {
            let mut player = Player::start(ground, &part, tried)?;
            // Now and then before the first, mostly in the midst of it.
            acknowledged.hear(&mut player, case.draw(round, 150))?;
            player.kill()?.iter().try_for_each(|line| acknowledged.take(line))?;
            tried.crash_points += 1;
            let manager = CheckpointManager::open(part.options())?;
            let damage = manager.status().damage;
            ensure(damage.is_empty(), || format!("round {round}: {damage:?}"))?;
            acknowledged
                .check(&manager, load.keep_last, tried)
                .map_err(|broken| dir.kept(broken.after(format!("round {round}"))))?;
        }
        dir.remove()
    })
}

/// A second process wants to write: it is told who holds the store, and looking works all the same.
pub(super) fn second_writer(ground: &Ground, load: Load) -> Trial<'_> {
    Trial::real(1, move |case, tried| {
        let dir = scratch::Scratch::new(ground, case)?;
        let part = load.part(&dir.path.join("store"));
        let mut player = Player::start(ground, &part, tried)?;
        let mut acknowledged = Acknowledged::default();
        acknowledged.hear(&mut player, 20)?;
        let pid = player.child.id();
        let mut second = Command::new(&ground.program)
            .args(["checkpoint", "--json", "--state", "-", "--store"])
            .arg(&part.store)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut input) = second.stdin.take() {
            // It may have ended without reading it.
            input.write_all(b"{}").ok();
        }
        let answer = second.wait_with_output()?;
        tried.processes += 1;
        let told = String::from_utf8_lossy(&answer.stderr).into_owned();
        let code = answer.status.code();
        let locked = code == Some(i32::from(ErrorKind::Locked.exit_code()));
        ensure(locked, || format!("the second writer ends with {code:?}: {told}"))?;
        ensure(told.contains(&format!("process {pid}")), || {
            format!("the second writer is not told who holds it: {told}")
        })?;
        player.kill()?.iter().try_for_each(|line| acknowledged.take(line))?;
        let manager = CheckpointManager::open(part.options())?;
        acknowledged.check(&manager, load.keep_last, tried).map_err(|it| dir.kept(it))?;
        drop(manager);
        dir.remove()
    })
}

/// Another process reads all the while.
pub(super) fn reader(ground: &Ground, load: Load) -> Trial<'_> {
    Trial::real(1, move |case, tried| {
        let dir = scratch::Scratch::new(ground, case)?;
        let part = load.part(&dir.path.join("store"));
        let mut player = Player::start(ground, &part, tried)?;
        let mut acknowledged = Acknowledged::default();
        acknowledged.hear(&mut player, 40)?;
        for round in 0..6 {
            let reader = CheckpointManager::open_to_look(part.options())?;
            let damage = reader.status().damage;
            ensure(damage.is_empty(), || format!("round {round}: {damage:?}"))?;
            for name in acknowledged.0.keys() {
                let agent = reader.agent(name)?;
                let listed = agent.list_checkpoints(Filter::default())?;
                ensure(!listed.is_empty(), || format!("round {round}: {name} has nothing"))?;
                for one in listed {
                    let read = agent.read_checkpoint(one.checkpoint_id.to_string())?;
                    let bytes = read.state_bytes().unwrap_or_default();
                    tried.read(bytes.len());
                    let same = Some(Digest::of(bytes)) == one.state_digest;
                    ensure(same, || format!("{} of {name} is read half", one.seq))?;
                }
            }
            acknowledged.hear(&mut player, 20)?;
        }
        player.kill()?.iter().try_for_each(|line| acknowledged.take(line))?;
        let manager = CheckpointManager::open(part.options())?;
        acknowledged.check(&manager, load.keep_last, tried).map_err(|it| dir.kept(it))?;
        drop(manager);
        dir.remove()
    })
}

/// How the ground goes from under a writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    Directory,
    Permission,
}

/// The directory of the store goes, or may not be written any more, under load; it comes back, and
/// everything is home.
pub(super) fn ground_lost<'a>(
    ground: &'a Ground,
    scenario: &'a Scenario,
    load: Load,
    loss: Loss,
) -> Trial<'a> {
    Trial::real(1, move |case, tried| {
        let dir = scratch::Scratch::new(ground, case)?;
        let lose = || try_losing(ground, scenario, (load, loss), &dir.path, (case, tried));
        let mut lose = lose;
        lose().map_err(|broken| dir.kept(broken))?;
        dir.remove()
    })
}

fn try_losing(
    ground: &Ground,
    scenario: &Scenario,
    (load, loss): (Load, Loss),
    dir: &Path,
    (case, tried): (Case, &mut Tried),
) -> Outcome {
    let disk = &*ground.disk;
    disk.create_dir(&dir.join("p"))?;
    let (store, elsewhere) = (dir.join("p/store"), dir.join("p/elsewhere"));
    let mut part = load.part(&store);
    part.fallback = Some(dir.join("fallback"));
    // Everything is kept, so that everything can be asked for.
    part.keep_last = 1_000_000;
    let mut player = Player::start(ground, &part, tried)?;
    let mut acknowledged = Acknowledged::default();
    acknowledged.hear(&mut player, 20 + case.draw(1, 60))?;
    tried.faults += 1;
    match loss {
        Loss::Directory => disk.rename(&store, &elsewhere)?,
        Loss::Permission => set_modes(disk, &store, 0o500)?,
    }
    // What is acknowledged until the loss is noticed is in the directory, wherever that is.
    acknowledged.hear(&mut player, 200)?;
    player.kill()?.iter().try_for_each(|line| acknowledged.take(line))?;
    match loss {
        Loss::Directory => {
            let left = disk.metadata(&store).is_err();
            ensure(left, || "a store was made afresh where one had been".to_owned())?;
            disk.rename(&elsewhere, &store)?;
        }
        Loss::Permission => set_modes(disk, &store, 0o700)?,
    }
    let manager = CheckpointManager::open(part.options())?;
    manager.settle()?;
    acknowledged.check(&manager, part.keep_last, tried)?;
    if scenario.expects(Expectation::ComesHome) {
        for name in acknowledged.0.keys() {
            let all = manager.agent(name)?.list_checkpoints(Filter::default())?;
            let away = all.iter().filter(|one| one.durable != Durable::Local).count();
            ensure(away == 0, || format!("{away} checkpoints of {name} are not home"))?;
        }
    }
    Ok(())
}

fn set_modes(disk: &dyn Disk, store: &Path, mode: u32) -> Result<(), Broken> {
    let tree = disk.tree(store)?;
    for dir in ["log", "checkpoints", ""] {
        tree.set_mode(Path::new(dir), mode)?;
    }
    Ok(())
}

/// A mounted file system of a fixed size; unmounted when it goes.
struct Mounted(PathBuf);

impl Mounted {
    /// Mounts one, or says why that cannot be.
    fn new(at: &Path, size: &str) -> Result<Self, String> {
        let size = format!("size={size}");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at).output();
        match mounted {
            Ok(output) if output.status.success() => Ok(Self(at.to_owned())),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn grow(&self, size: &str) -> Outcome {
        let options = format!("remount,size={size}");
        let done = Command::new("mount").args(["-o", &options]).arg(&self.0).status()?;
        ensure(done.success(), || format!("cannot remount with {options}"))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let done = Command::new("umount").arg("-l").arg(&self.0).status();
        if !done.is_ok_and(|status| status.success()) {
            tracing::warn!(path = %self.0.display(), "cannot unmount what was mounted");
        }
    }
}

/// Whether file systems can be mounted here; else why not.
pub(super) fn can_mount(ground: &Ground) -> Result<(), String> {
    let dir = scratch::Scratch::named(ground, "mount").map_err(|broken| broken.why)?;
    let mounted = Mounted::new(&dir.path, "1m").map(drop);
    dir.remove().map_err(|broken| broken.why)?;
    mounted
}

/// Whether this user is kept out by permissions at all: the superuser is not.
pub(super) fn is_kept_out(ground: &Ground) -> Result<bool, Broken> {
    let dir = scratch::Scratch::named(ground, "mode")?;
    ground.disk.tree(&dir.path)?.set_mode(Path::new(""), 0o500)?;
    let refused = ground.disk.create_dir(&dir.path.join("x")).is_err();
    ground.disk.tree(&dir.path)?.set_mode(Path::new(""), 0o700)?;
    dir.remove()?;
    Ok(refused)
}

/// A file system that is truly full: the fallback takes over, and everything comes home.
pub(super) fn full(ground: &Ground, load: Load) -> Trial<'_> {
    Trial::real(1, move |case, tried| {
        let dir = scratch::Scratch::new(ground, case)?;
        let at = dir.path.join("p");
        ground.disk.create_dir(&at)?;
        let mounted = Mounted::new(&at, "2m").map_err(Broken::new)?;
        let mut part = load.part(&at.join("store"));
        part.fallback = Some(dir.path.join("fallback"));
        part.keep_last = 1_000_000;
        let mut player = Player::start(ground, &part, tried)?;
        let mut acknowledged = Acknowledged::default();
        acknowledged.hear(&mut player, 400)?;
        player.kill()?.iter().try_for_each(|line| acknowledged.take(line))?;
        tried.faults += 1;
        mounted.grow("256m")?;
        let manager = CheckpointManager::open(part.options())?;
        manager.settle()?;
        acknowledged.check(&manager, part.keep_last, tried).map_err(|it| dir.kept(it))?;
        drop((manager, mounted));
        dir.remove()
    })
}

/// Everything that is made is for its owner alone.
pub(super) fn making(ground: &Ground) -> Trial<'_> {
    Trial::real(1, move |case, tried| {
        let dir = scratch::Scratch::new(ground, case)?;
        let load = Load { threads: 1, keep_last: 3 };
        let part = load.part(&dir.path.join("store"));
        let mut player = Player::start(ground, &part, tried)?;
        let mut acknowledged = Acknowledged::default();
        acknowledged.hear(&mut player, 60)?;
        player.kill()?.iter().try_for_each(|line| acknowledged.take(line))?;
        CheckpointManager::open(part.options())?.settle()?;
        check_modes(&*ground.disk, &part.store).map_err(|broken| dir.kept(broken))?;
        dir.remove()
    })
}

fn check_modes(disk: &dyn Disk, store: &Path) -> Outcome {
    use crate::disk::NodeKind;
    let tree = disk.tree(store)?;
    let mut waiting = vec![PathBuf::new()];
    while let Some(dir) = waiting.pop() {
        let listing = tree.read_dir(&dir)?;
        for (name, stat) in listing.entries {
            let path = dir.join(name);
            let is_dir = stat.kind == NodeKind::Dir;
            let expected = if is_dir { 0o700 } else { 0o600 };
            let mode = stat.mode & 0o777;
            ensure(mode == expected, || format!("{} has mode {mode:o}", path.display()))?;
            if is_dir {
                waiting.push(path);
            }
        }
    }
    let own = tree.stat(Path::new(""))?.mode & 0o777;
    ensure(own == 0o700, || format!("the store's directory has mode {own:o}"))
}
