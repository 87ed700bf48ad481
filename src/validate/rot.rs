//! A store with one of everything, and what must hold of it whatever was damaged.
//!
//! The store has sealed segments with their summaries, a head, a segment made ahead, packs, views,
//! states inline and in blocks, forgotten checkpoints, and two agents. A damaged copy is looked at
//! while another holds its lock, then opened, read through, gone on with, and opened again twice:
//! nothing is served that was not kept, nothing goes without a word, and a second start changes
//! nothing more.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::life::clock;
use super::scenario::{Blow, Expectation, Files, Scenario};
use super::trial::{Broken, Case, Outcome, Trial, Tried, ensure};
use crate::disk::{Disk, MemoryDisk};
use crate::error::ErrorKind;
use crate::manager::{Agent, CheckpointManager, Error, Filter, Options};
use crate::state::{ByteSize, CheckpointId, Kind};
use crate::verify::VerifyOptions;

type Image = BTreeMap<PathBuf, Vec<u8>>;

const STORE: &str = "/store";
const AGENTS: [&str; 2] = ["a", "b"];
/// Enough that segments roll, are compacted, and one is made ahead.
const STATES: usize = 60;

/// A checkpoint that was acknowledged and never forgotten.
#[derive(Debug, Clone)]
struct Kept {
    agent: &'static str,
    id: CheckpointId,
    path: PathBuf,
    state: Vec<u8>,
}

struct Told<'a> {
    scenario: &'a Scenario,
    image: Image,
    /// The same store as it stood after each commit of late.
    earlier: Vec<Image>,
    kept: Vec<Kept>,
    harm: Harm<'a>,
}

/// What is done to the store.
#[derive(Debug, Clone, Copy)]
pub(super) enum Harm<'a> {
    Flip(Files),
    Strike(&'a [Blow]),
}

/// What became of a damaged store.
#[derive(Debug, Clone, Copy, Default)]
struct Found {
    /// Checkpoints that are neither listed nor readable.
    missing: usize,
    /// The checkpoint that was made last is one of them.
    last_is_missing: bool,
    /// Checkpoints that are listed and fail as damaged.
    failing: usize,
    /// The opening spoke of damage.
    reported: bool,
    /// `verify` found damage that it could not make good by itself.
    unsound: bool,
}

/// Whether another process writes in a store that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beside {
    Writer,
    Nobody,
}

/// A checkpoint made after the damage, by agent `a`, and its state.
type New = (CheckpointId, Vec<u8>);

pub(super) fn trial<'a>(scenario: &'a Scenario, harm: Harm<'a>) -> Result<Trial<'a>, Broken> {
    let mut told =
        Told { scenario, image: Image::new(), earlier: Vec::new(), kept: Vec::new(), harm };
    told.make()?;
    let cases = match harm {
        Harm::Flip(_) => told.image.values().map(|bytes| bytes.len() as u64 * 8).sum(),
        Harm::Strike(blows) => (told.image.len() * blows.len()) as u64,
    };
    let mut trial = Trial::simulated(cases, move |case, tried| told.try_case(case, tried));
    trial.is_endless = matches!(harm, Harm::Flip(_));
    Ok(trial)
}

fn options(disk: Arc<dyn Disk>) -> Options {
    let mut options = Options { disk, clock: clock(), background: false, ..Options::new(STORE) };
    options.log.segment_bytes_min = 8 << 10;
    options.log.segment_bytes_max = 16 << 10;
    options.retention.routine.keep_last = 1000;
    options.retention.free_floor = Some(ByteSize(0));
    options
}

fn text(seed: usize, len: usize) -> String {
    let mut x = seed as u64 * 2 + 1;
    let mut next = || {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'a' + u8::try_from((x >> 59) % 26).unwrap_or(0))
    };
    (0..len).map(|_| next()).collect()
}

/// The state of the `n`th checkpoint; every third is too long to lie in its record, and shares most
/// of its content with the one before it.
fn state_of(n: usize) -> Vec<u8> {
    let long = if n.is_multiple_of(3) { text(7, 20_000) } else { String::new() };
    format!("{{\"n\":{n},\"short\":\"{}\",\"long\":\"{long}\"}}", text(n, 300)).into_bytes()
}

fn commit(agent: &Agent, n: usize) -> Result<(CheckpointId, PathBuf, Vec<u8>), Broken> {
    let state = state_of(n);
    let receipt = agent.checkpoint(Kind::Routine).state_bytes(state.clone()).commit()?;
    Ok((receipt.checkpoint.checkpoint_id, receipt.checkpoint.path, state))
}

/// Everything but the lock, whose text names who opened the store.
fn still(disk: &MemoryDisk) -> Image {
    let mut image = disk.image();
    image.remove(&Path::new(STORE).join("lock"));
    image
}

fn same(before: &Image, after: &Image) -> Outcome {
    let changed = before.iter().find(|(path, bytes)| after.get(*path) != Some(bytes));
    let made = after.keys().find(|path| !before.contains_key(*path));
    ensure(changed.is_none() && made.is_none(), || {
        let path = changed.map(|(path, _)| path).or(made);
        format!("it changed {path:?}")
    })
}

impl Told<'_> {
    fn make(&mut self) -> Result<(), Broken> {
        let disk = MemoryDisk::plain();
        let manager = CheckpointManager::open(options(disk.shared()))?;
        for n in 0..8 {
            self.keep(&manager, n)?;
        }
        let forgotten = self.kept.remove(2);
        manager.agent("a")?.forget(&[&forgotten.id.to_string()], false)?;
        manager.prune(&mut |_| {})?;
        for n in 8..STATES {
            self.keep(&manager, n)?;
            if n + 6 >= STATES {
                manager.settle()?;
                self.earlier.push(disk.image());
            }
        }
        manager.make_segments_ahead()?;
        manager.settle()?;
        drop(manager);
        self.image = disk.image();
        Ok(())
    }

    fn keep(&mut self, manager: &CheckpointManager, n: usize) -> Result<(), Broken> {
        let agent = AGENTS[usize::from(n % 4 == 3)];
        let (id, path, state) = commit(&manager.agent(agent)?, n)?;
        self.kept.push(Kept { agent, id, path, state });
        Ok(())
    }

    fn try_case(&self, case: Case, tried: &mut Tried) -> Outcome {
        let disk = MemoryDisk::from_image(&self.image);
        let tale = match self.harm {
            Harm::Flip(files) => self.flip(files, case, &disk),
            Harm::Strike(blows) => self.strike(blows, case, &disk),
        };
        tried.faults += 1;
        self.check_looking(&disk, tried)
            .map_err(|it| it.after("looked at"))
            .and_then(|()| self.check(&disk, tried))
            .map_err(|it| it.after(tale).on(&disk))
    }

    /// Flips a bit; all files have an equal part of the cases, and bytes that are not zero are
    /// preferred three to one.
    fn flip(&self, files: Files, case: Case, disk: &MemoryDisk) -> String {
        let may = |path: &&PathBuf| match files {
            Files::Any => true,
            Files::LogWithoutViews => path.extension().is_some_and(|it| it == "log"),
        };
        if files == Files::LogWithoutViews {
            for view in self.image.keys().filter(|path| path.starts_with("/store/checkpoints")) {
                disk.remove(view);
            }
        }
        let paths: Vec<&PathBuf> =
            self.image.keys().filter(may).filter(|path| !self.image[*path].is_empty()).collect();
        let path = paths[usize::try_from(case.number).unwrap_or(0) % paths.len()];
        let bytes = &self.image[path];
        let draw = |which| usize::try_from(case.draw(which, bytes.len() as u64)).unwrap_or(0);
        let at = (1..4).map(draw).find(|at| bytes[*at] != 0).unwrap_or_else(|| draw(4));
        let bit = case.draw(5, 8);
        disk.damage(path, |bytes| bytes[at] ^= 1 << bit);
        format!("bit {bit} of byte {at} of {} was flipped", path.display())
    }

    fn strike(&self, blows: &[Blow], case: Case, disk: &MemoryDisk) -> String {
        let number = usize::try_from(case.number).unwrap_or(0);
        let blow = blows[number % blows.len()];
        let paths: Vec<&PathBuf> = self.image.keys().collect();
        let path = paths[number / blows.len() % paths.len()];
        let bytes = &self.image[path];
        match blow {
            Blow::Zeroed => {
                let range = bytes.len() / 4..bytes.len() / 4 * 3;
                disk.damage(path, |bytes| bytes[range].fill(0));
            }
            Blow::CutShort => {
                disk.damage(path, |bytes| bytes.truncate(bytes.len() / 2));
            }
            Blow::Removed => {
                disk.remove(path);
            }
            Blow::Swapped => {
                let alike: Vec<&&PathBuf> = paths
                    .iter()
                    .filter(|other| other.extension() == path.extension() && **other != path)
                    .collect();
                let drawn = usize::try_from(case.draw(1, alike.len() as u64)).unwrap_or(0);
                let other = alike.get(drawn).map_or(path, |other| **other);
                disk.put(path, &self.image[other]);
                disk.put(other, bytes);
            }
            Blow::RolledBack => {
                let copies = self.earlier.iter().rev().filter_map(|image| image.get(path));
                if let Some(older) = copies.into_iter().find(|copy| *copy != bytes) {
                    disk.put(path, older);
                }
            }
        }
        format!("{} was {blow:?}", path.display())
    }

    /// Looks at the damaged store while another holds its lock; nothing may change.
    fn check_looking(&self, disk: &MemoryDisk, tried: &mut Tried) -> Outcome {
        let lock = disk.shared().try_lock(&Path::new(STORE).join("lock"))?;
        let before = disk.image();
        match CheckpointManager::open_to_look(options(disk.shared())) {
            Ok(manager) => self.hold(&manager, Beside::Writer, &[], tried).map(drop)?,
            Err(error) => self.may_not_open(&error)?,
        }
        drop(lock);
        same(&before, &disk.image())
    }

    /// A store in which a whole file was struck may be past opening; then it is told, and left alone.
    fn may_not_open(&self, error: &Error) -> Outcome {
        let told = matches!(error.kind(), ErrorKind::Damaged | ErrorKind::Refused);
        let is_struck = matches!(self.harm, Harm::Strike(_));
        ensure(told && is_struck, || format!("it does not open: {error}"))
    }

    /// Opens the damaged store to write and holds it to everything; opens it again, twice.
    fn check(&self, disk: &MemoryDisk, tried: &mut Tried) -> Outcome {
        let manager = match CheckpointManager::open(options(disk.shared())) {
            Ok(manager) => manager,
            Err(error) => return self.may_not_open(&error),
        };
        let found = self.hold(&manager, Beside::Nobody, &[], tried)?;
        let new = self.go_on(&manager)?;
        manager.settle()?;
        drop(manager);
        if !self.scenario.expects(Expectation::SecondStartIsQuiet) {
            return Ok(());
        }
        let before = still(disk);
        let manager = CheckpointManager::open(options(disk.shared()))?;
        ensure(manager.status().cut_bytes == 0, || "the second start cuts".to_owned())?;
        for (id, state) in &new {
            let loaded = manager.agent("a")?.read_checkpoint(id.to_string())?;
            let same = loaded.state_bytes() == Some(state);
            ensure(same, || "what came after the damage is other bytes".to_owned())?;
        }
        drop(manager);
        same(&before, &still(disk)).map_err(|it| it.after("the second start"))?;
        let manager = CheckpointManager::open(options(disk.shared()))?;
        let again = self.hold(&manager, Beside::Nobody, &new, tried)?;
        ensure(again.missing <= found.missing, || format!("{found:?}, and later {again:?}"))
    }

    /// Reads everything through an open manager.
    fn hold(
        &self,
        manager: &CheckpointManager,
        beside: Beside,
        added: &[New],
        tried: &mut Tried,
    ) -> Result<Found, Broken> {
        let reported = !manager.status().damage.is_empty();
        let mut found = Found { reported, ..Found::default() };
        let mut newest = true;
        for name in AGENTS {
            let agent = manager.agent(name)?;
            self.hold_agent(&agent, added, &mut found, tried)?;
            newest &= self.latest_is_newest(&agent, added)?;
        }
        let report = manager.verify(&VerifyOptions::default(), &mut |_| {})?;
        found.unsound = report.iter().any(|one| !one.sound);
        let told = found.reported || found.unsound;
        if self.scenario.expects(Expectation::NothingSilent) {
            let told = told || beside == Beside::Writer && self.may_hide(&found);
            ensure(told || newest, || "latest went back without a word".to_owned())?;
            if !told && found.missing > 0 {
                let why = format!("{} gone without a word", found.missing);
                return Err(Broken::lost(found.missing, why));
            }
            ensure(found.unsound || found.failing == 0, || format!("verify is blind: {found:?}"))?;
        }
        Ok(found)
    }

    /// Whether all that is missing is the checkpoint that was made last, and no view is left that tells
    /// of it: beside a writer its batch, where the mark behind it was struck, may be one that is being
    /// written. Whoever opens the store has it again.
    fn may_hide(&self, found: &Found) -> bool {
        let without_views = matches!(self.harm, Harm::Flip(Files::LogWithoutViews));
        without_views && found.missing == 1 && found.last_is_missing
    }

    fn hold_agent(
        &self,
        agent: &Agent,
        added: &[New],
        found: &mut Found,
        tried: &mut Tried,
    ) -> Outcome {
        let listed: Vec<CheckpointId> = agent
            .list_checkpoints(Filter::default())?
            .iter()
            .map(|one| one.checkpoint_id)
            .collect();
        for id in &listed {
            let known = self.kept.iter().any(|kept| kept.id == *id)
                || added.iter().any(|(added, _)| added == id)
                || found.reported;
            ensure(known, || format!("{id} was forgotten and is back"))?;
        }
        for kept in self.kept.iter().filter(|kept| kept.agent == agent.id().as_str()) {
            let by_id = agent.read_checkpoint(kept.id.to_string());
            let by_path = agent.read_checkpoint(&kept.path);
            let is_listed = listed.contains(&kept.id);
            found.missing += usize::from(!is_listed);
            let is_last = self.kept.last().is_some_and(|last| last.id == kept.id);
            found.last_is_missing |= is_last && !is_listed;
            found.failing += usize::from(is_listed && by_id.is_err());
            for read in [by_id, by_path] {
                self.check_read(read, kept, is_listed, tried)?;
            }
        }
        Ok(())
    }

    fn check_read(
        &self,
        read: Result<crate::manager::Loaded, Error>,
        kept: &Kept,
        is_listed: bool,
        tried: &mut Tried,
    ) -> Outcome {
        match read {
            Ok(loaded) => {
                tried.read(kept.state.len());
                let same = loaded.state_bytes() == Some(&*kept.state);
                let counts = self.scenario.expects(Expectation::NoOtherBytes);
                ensure(same || !counts, || format!("{} is served as other bytes", kept.id))
            }
            Err(error) => {
                let kinds: &[ErrorKind] = if is_listed {
                    &[ErrorKind::Damaged]
                } else {
                    &[ErrorKind::NotFound, ErrorKind::Damaged]
                };
                let fits = kinds.contains(&error.kind());
                ensure(fits, || format!("{} fails as {:?}: {error}", kept.id, error.kind()))
            }
        }
    }

    /// Whether `latest` is the newest checkpoint, or says that it passed it over.
    fn latest_is_newest(&self, agent: &Agent, added: &[New]) -> Result<bool, Broken> {
        let newest = self.kept.iter().rfind(|one| one.agent == agent.id().as_str());
        let Some(newest) = newest else { return Ok(true) };
        match agent.read_checkpoint("latest") {
            Ok(loaded) => {
                let id = loaded.checkpoint().checkpoint_id;
                let past = loaded.walked_past();
                Ok(id == newest.id
                    || added.iter().any(|(added, _)| *added == id)
                    || past.iter().any(|past| past.checkpoint_id == newest.id))
            }
            Err(Error::AllDamaged { .. }) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The store takes commits, of new content and of content it held before.
    fn go_on(&self, manager: &CheckpointManager) -> Result<Vec<New>, Broken> {
        let agent = manager.agent("a")?;
        let last_seq = || {
            let all = manager.agents();
            all.iter().find(|one| one.agent_id.as_str() == "a").map(|one| one.last_seq)
        };
        let before = last_seq();
        let last = self.kept.len();
        let mut added = Vec::new();
        for n in [900, 901, last - 1, last - 2, last - 3] {
            let (id, _, state) = commit(&agent, n)?;
            let loaded = agent.read_checkpoint(id.to_string())?;
            let same = loaded.state_bytes() == Some(&*state);
            ensure(same, || "a new checkpoint is read as other bytes".to_owned())?;
            added.push((id, state));
        }
        ensure(last_seq() > before, || "numbers went back".to_owned())?;
        Ok(added)
    }
}
