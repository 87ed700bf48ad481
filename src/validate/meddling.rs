//! Somebody writes to the workspace while it is kept or restored.
//!
//! Two files always change together. A checkpoint holds both of one moment, or names one of them as
//! unsettled; a database and its journal are such a pair. What somebody wrote while a restore ran is
//! left where it is and named, or the recovery checkpoint has it: it is never gone.

use std::path::Path;

use super::life::clock;
use super::scenario::{During, Expectation, Scenario};
use super::tree::{ROOT, options};
use super::trial::{Broken, Case, Outcome, Trial, Tried, ensure};
use crate::disk::{Disk, FaultDisk, MemoryDisk};
use crate::manager::{CheckpointManager, RestoreOptions};
use crate::state::Kind;

/// Versions of both files: which they are is their first line.
fn version(n: u8, file: &str) -> Vec<u8> {
    // A database and its journal are told by how they begin.
    let magic: &[u8] = match Path::new(file).extension().and_then(|it| it.to_str()) {
        Some("db") => b"SQLite format 3\0",
        Some("db-wal") => b"\x37\x7f\x06\x82\0\0\0\0",
        _ => b"",
    };
    [magic, format!("version {n} ").repeat(400).as_bytes()].concat()
}

fn put_both(disk: &MemoryDisk, files: &[String; 2], n: u8) {
    for file in files {
        disk.put(&Path::new(ROOT).join(file), &version(n, file));
    }
}

/// A disk whose clock stands still: nothing that happens meanwhile shows another time of change.
fn disk() -> MemoryDisk {
    MemoryDisk::with_clock(true, clock())
}

fn which(bytes: &[u8], file: &str) -> Option<u8> {
    (1..=3).find(|n| bytes == version(*n, file))
}

pub(super) fn trial<'a>(
    scenario: &'a Scenario,
    files: &'a [String; 2],
    during: During,
) -> Result<Trial<'a>, Broken> {
    let told = Told { scenario, files, during };
    let calls = told.play(u64::MAX, &disk(), &mut Tried::default())?;
    Ok(Trial::simulated(calls, move |case, tried| told.try_case(case, calls, tried)))
}

struct Told<'a> {
    scenario: &'a Scenario,
    files: &'a [String; 2],
    during: During,
}

impl Told<'_> {
    fn try_case(&self, case: Case, calls: u64, tried: &mut Tried) -> Outcome {
        let call = case.number % calls;
        tried.faults += 1;
        let memory = disk();
        let played = self.play(call, &memory, tried);
        let tale = format!("both files changed at call {call} of {calls}");
        played.map(drop).map_err(|it| it.after(tale).on(&memory))
    }

    /// Keeps the first version, lets the agent write the second, and does what is meddled with;
    /// answers how many calls that took.
    fn play(&self, call: u64, memory: &MemoryDisk, tried: &mut Tried) -> Result<u64, Broken> {
        memory.create_dir(ROOT.as_ref())?;
        put_both(memory, self.files, 1);
        let disk = FaultDisk::over(memory);
        let manager = CheckpointManager::open(options(disk.clone()))?;
        let agent = manager.agent("a")?.workspace(ROOT)?;
        let first = agent.checkpoint(Kind::PreOperation).commit()?;
        put_both(memory, self.files, 2);
        disk.reset();
        let (meddled, files) = (memory.clone(), self.files.clone());
        disk.at_call(call, move || put_both(&meddled, &files, 3));
        match self.during {
            During::Snapshot => {
                let receipt = agent.checkpoint(Kind::PreOperation).commit()?;
                let calls = disk.total();
                let id = receipt.checkpoint.checkpoint_id.to_string();
                self.check_kept(&manager, &id, &receipt.unsettled, memory, tried)?;
                Ok(calls)
            }
            During::Restore => {
                let id = first.checkpoint.checkpoint_id.to_string();
                let restored = agent.restore(&id, &RestoreOptions::default());
                let calls = disk.total();
                let recovery = match &restored {
                    Ok(told) => told.recovery_checkpoint_id.map(|id| id.to_string()),
                    Err(_) => None,
                };
                self.check_restored(&manager, recovery.as_deref(), memory, call < calls)?;
                Ok(calls)
            }
        }
    }

    /// What the checkpoint holds of the files, written out elsewhere.
    fn read_back(
        &self,
        manager: &CheckpointManager,
        id: &str,
        memory: &MemoryDisk,
    ) -> Result<[Vec<u8>; 2], Broken> {
        let to = Path::new("/elsewhere").join(id);
        memory.create_dir("/elsewhere".as_ref()).ok();
        manager.agent("a")?.write_files_to(id, &to, &[], false)?;
        let read = |file: &String| memory.get(&to.join(file)).unwrap_or_default();
        Ok([read(&self.files[0]), read(&self.files[1])])
    }

    fn check_kept<U: std::fmt::Debug>(
        &self,
        manager: &CheckpointManager,
        id: &str,
        unsettled: &[U],
        memory: &MemoryDisk,
        tried: &mut Tried,
    ) -> Outcome {
        let kept = self.read_back(manager, id, memory)?;
        tried.read(kept[0].len() + kept[1].len());
        if !self.scenario.expects(Expectation::OneMoment) || !unsettled.is_empty() {
            return Ok(());
        }
        let [one, other] = [0, 1].map(|at| which(&kept[at], &self.files[at]));
        ensure(one.is_some() && one == other, || {
            format!("it holds version {one:?} of one file and {other:?} of the other")
        })
    }

    fn check_restored(
        &self,
        manager: &CheckpointManager,
        recovery: Option<&str>,
        memory: &MemoryDisk,
        was_meddled: bool,
    ) -> Outcome {
        if !self.scenario.expects(Expectation::OthersKept) || !was_meddled {
            return Ok(());
        }
        let kept = match recovery {
            Some(id) => self.read_back(manager, id, memory)?,
            None => [Vec::new(), Vec::new()],
        };
        let image = memory.image();
        for (at, file) in self.files.iter().enumerate() {
            let theirs = version(3, file);
            let in_workspace =
                image.iter().any(|(path, bytes)| path.starts_with(ROOT) && *bytes == theirs);
            let is_kept = in_workspace || kept[at] == theirs;
            if !is_kept {
                return Err(Broken::lost(1, format!("what somebody wrote to {file} is gone")));
            }
        }
        Ok(())
    }
}
