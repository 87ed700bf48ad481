//! What the promises rest on here: this file system, this device, this user.
//!
//! Each check tries one thing out, in a directory of its own that is taken away again, and answers
//! with one plain sentence that says what follows for the promises. Nothing here fails: what cannot
//! be tried is a finding too. What only the store or the configuration can tell is not looked at.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use uuid::Uuid;

use crate::clock::Clock;
use crate::disk::{self, Access, Disk, FileTime};

/// A sync below this did not wait for any device; flash takes 20 µs and more.
const SYNC_MIN: Duration = Duration::from_micros(15);
/// A sync above this is felt at each checkpoint.
const SYNC_SLOW: Duration = Duration::from_millis(100);
const SYNCS: usize = 9;
/// A store begins with a segment, its successor and a reserve of half a mebibyte each; below this
/// there is room for little else.
pub(crate) const ROOM_MIN: u64 = 8 << 20;
/// Times this coarse let two writes of one second look like one.
const TIME_STEP_MAX: Duration = Duration::from_millis(100);

const NAMES: [&str; 6] = ["probe", "lock", "old", "new", "synced", "timed"];

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As it should be.
    Ok,
    /// It works, and a promise is weaker than it could be.
    Warning,
    /// It does not work, or a promise does not hold.
    Problem,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What was found and what follows.
    pub message: String,
}

impl Finding {
    pub(crate) fn new(check: &'static str, level: Level, message: impl Into<String>) -> Self {
        Self { check, level, message: message.into() }
    }
}

/// A directory of its own beneath the ground, gone when this is.
struct Scratch<'a> {
    disk: &'a dyn Disk,
    dir: PathBuf,
}

impl<'a> Scratch<'a> {
    fn new(disk: &'a dyn Disk, ground: &Path) -> io::Result<Self> {
        let dir = ground.join(format!(".stateward-doctor-{}", Uuid::now_v7().simple()));
        disk.create_dir(&dir)?;
        Ok(Self { disk, dir })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.disk.open(&self.path(name), Access::CreateNew)?.write_all_at(bytes, 0)
    }
}

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        for name in NAMES {
            // Most were never made, or have been renamed.
            self.disk.remove_file(&self.path(name)).ok();
        }
        if let Err(error) = self.disk.remove_dir(&self.dir) {
            tracing::warn!(path = %self.dir.display(), %error, "cannot remove what was tried out");
        }
    }
}

/// The directory itself, or what stands nearest above it; links resolved.
pub(crate) fn standing_ground(disk: &dyn Disk, dir: &Path) -> PathBuf {
    let there = dir.ancestors().find_map(|path| disk.canonical(path).ok());
    there.unwrap_or_else(|| "/".into())
}

/// Looks at everything that does not need a store: the file system of `ground`, its room, and what
/// trying it out shows. `ground` is a directory that is there.
#[must_use]
pub fn examine(disk: &dyn Disk, clock: &dyn Clock, ground: &Path) -> Vec<Finding> {
    let mut findings = vec![file_system(disk, ground), room(disk, ground)];
    findings.extend(try_out(disk, clock, ground));
    findings
}

fn file_system(disk: &dyn Disk, ground: &Path) -> Finding {
    let finding = |level, message: String| Finding::new("file system", level, message);
    let found = match disk.file_system(ground) {
        Ok(found) => found,
        Err(error) => {
            return finding(Level::Warning, format!("its kind cannot be told: {error}"));
        }
    };
    let name = &found.name;
    if found.network {
        let message = format!(
            "{name} is shared between machines, where the lock does not hold: promise 10 (one \
             writer) is not kept, and a store is refused unless store.allow_network is set"
        );
        return finding(Level::Problem, message);
    }
    if found.volatile {
        let message = format!(
            "{name} is gone with the power, and checkpoints with it: promise 1 holds for a killed \
             process, not for a loss of power"
        );
        return finding(Level::Warning, message);
    }
    if name.contains("overlay") {
        let message = format!(
            "{name} belongs to a container and goes with it: put the store on a volume, or \
             checkpoints last as long as the container"
        );
        return finding(Level::Warning, message);
    }
    finding(Level::Ok, name.clone())
}

fn room(disk: &dyn Disk, ground: &Path) -> Finding {
    let finding = |level, message: String| Finding::new("room", level, message);
    let found = match disk.space(ground) {
        Ok(found) => found,
        Err(error) => return finding(Level::Warning, format!("it cannot be told: {error}")),
    };
    let (kib, mib) = (found.free >> 10, found.free >> 20);
    if found.free < ROOM_MIN {
        let message = format!(
            "{kib} KiB are free, and a store wants {} KiB to begin with: checkpoints fail as \
             unstored until there is room; what was acknowledged stays (promises 1 and 2 hold)",
            ROOM_MIN >> 10
        );
        return finding(Level::Problem, message);
    }
    finding(Level::Ok, format!("{mib} MiB are free"))
}

/// Tries out renames, locks, syncs and times; one finding where nothing can be written.
#[must_use]
pub fn try_out(disk: &dyn Disk, clock: &dyn Clock, ground: &Path) -> Vec<Finding> {
    // A disk that is full to the brim may still take a name.
    let scratch = Scratch::new(disk, ground).and_then(|scratch| {
        scratch.write("probe", &[1; 4096])?;
        Ok(scratch)
    });
    match scratch {
        Ok(it) => vec![renames(&it), locks(&it), syncs(&it, clock), times(&it, clock)],
        Err(error) => vec![unwritable(ground, &error)],
    }
}

/// What it means that nothing can be written there, and what to do about it.
fn unwritable(ground: &Path, error: &io::Error) -> Finding {
    let keeps_nothing = "checkpoints fail there as unstored";
    let sight = "looking and `restore --to` another place still work";
    let (why, follows) = match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem => (
            "the file system is mounted read-only",
            format!("{keeps_nothing}, {sight}; mount it writable"),
        ),
        io::ErrorKind::PermissionDenied => (
            "this user may not write there",
            format!(
                "{keeps_nothing}, and what is kept can be seen only where this user may read it; \
                 run it as the owner"
            ),
        ),
        io::ErrorKind::StorageFull => {
            ("the disk is full", format!("{keeps_nothing} until there is room, {sight}; free some"))
        }
        io::ErrorKind::QuotaExceeded => (
            "this user's quota is used up",
            format!("{keeps_nothing} until there is room, {sight}; free some"),
        ),
        io::ErrorKind::NotFound => ("there is no such directory", keeps_nothing.to_owned()),
        _ => ("the disk refuses", format!("{keeps_nothing}, {sight}")),
    };
    let message = format!(
        "{} cannot be written: {why} ({error}); {follows}, or name another place",
        ground.display()
    );
    Finding::new("writing", Level::Problem, message)
}

fn failed(check: &'static str, error: &io::Error) -> Finding {
    Finding::new(check, Level::Problem, format!("it fails: {error}"))
}

fn renames(scratch: &Scratch<'_>) -> Finding {
    let tried = || {
        scratch.write("old", b"old")?;
        scratch.write("new", b"new")?;
        // Whoever holds the old file open keeps the old bytes: the name moved, not the content.
        let before = scratch.disk.open(&scratch.path("old"), Access::Read)?;
        scratch.disk.rename(&scratch.path("new"), &scratch.path("old"))?;
        let mut held = [0; 3];
        let read = before.read_at(&mut held, 0)?;
        let found = disk::read(scratch.disk, &scratch.path("old"))?;
        let gone = scratch.disk.metadata(&scratch.path("new")).is_err();
        Ok((found == b"new", gone && read == 3 && held == *b"old"))
    };
    let problem = |message: &str| Finding::new("rename", Level::Problem, message);
    match tried() {
        Ok((true, true)) => {
            Finding::new("rename", Level::Ok, "it replaces a file in one step, as promise 2 needs")
        }
        Ok((true, false)) => problem(
            "it copies instead of moving: a crash could leave a restored file half (promise 2)",
        ),
        Ok((false, _)) => {
            problem("it leaves the old file in place: views and restored files would be stale")
        }
        Err(error) => failed("rename", &error),
    }
}

fn locks(scratch: &Scratch<'_>) -> Finding {
    let tried = || {
        let first = scratch.disk.try_lock(&scratch.path("lock"))?;
        let second = scratch.disk.try_lock(&scratch.path("lock"))?;
        Ok((first.is_some(), second.is_some()))
    };
    match tried() {
        Ok((true, false)) => Finding::new("locking", Level::Ok, "a second lock is refused"),
        Ok((true, true)) => Finding::new(
            "locking",
            Level::Problem,
            "a second lock is granted: two processes could write at once and harm the store \
             (promise 10)",
        ),
        Ok((false, _)) => Finding::new("locking", Level::Problem, "a free lock is not granted"),
        Err(error) => failed("locking", &error),
    }
}

fn syncs(scratch: &Scratch<'_>, clock: &dyn Clock) -> Finding {
    let tried = || {
        let file = scratch.disk.open(&scratch.path("synced"), Access::CreateNew)?;
        let mut took = Vec::with_capacity(SYNCS);
        for at in 0..SYNCS {
            file.write_all_at(&[1; 4096], at as u64 * 4096)?;
            let began = clock.monotonic();
            file.sync_data()?;
            took.push(clock.monotonic().saturating_sub(began));
        }
        took.sort_unstable();
        Ok(took[SYNCS / 2])
    };
    match tried() {
        Ok(median) => judged(median),
        Err(error) => failed("sync", &error),
    }
}

fn judged(median: Duration) -> Finding {
    let (level, what) = if median < SYNC_MIN {
        (
            Level::Warning,
            "too fast to have reached a device: a power loss may take checkpoints (promise 1)",
        )
    } else if median > SYNC_SLOW {
        (Level::Warning, "slow: each checkpoint waits that long")
    } else {
        (Level::Ok, "what a checkpoint waits for")
    };
    Finding::new("sync", level, format!("{median:.0?} (median of {SYNCS}), {what}"))
}

/// Whether times are kept as finely as a workspace's scan wants them: one that is set comes back.
fn times(scratch: &Scratch<'_>, clock: &dyn Clock) -> Finding {
    let tried = || {
        scratch.write("timed", b"x")?;
        let tree = scratch.disk.tree(&scratch.dir)?;
        let secs = clock.now().unix_ms() / 1000;
        let asked = FileTime { secs, nanos: 123_456_789 };
        tree.set_modified(Path::new("timed"), asked)?;
        let kept = tree.stat(Path::new("timed"))?.modified;
        Ok(if kept.secs == secs { asked.nanos.abs_diff(kept.nanos) } else { u32::MAX })
    };
    match tried() {
        Ok(off) if Duration::from_nanos(off.into()) <= TIME_STEP_MAX => {
            Finding::new("times", Level::Ok, "fine enough to tell one write from the next")
        }
        Ok(_) => Finding::new(
            "times",
            Level::Warning,
            "coarse: more of a workspace is read again, since a change could hide within one step",
        ),
        Err(error) => failed("times", &error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::disk::{Fault, FaultDisk, MemoryDisk, Op};

    #[test]
    fn a_sync_that_takes_no_time_is_not_believed() {
        assert_eq!(judged(Duration::from_micros(2)).level, Level::Warning);
        assert_eq!(judged(Duration::from_micros(90)).level, Level::Ok);
        assert_eq!(judged(Duration::from_millis(300)).level, Level::Warning);
    }

    #[test]
    fn trying_out_leaves_nothing_behind() {
        let disk = MemoryDisk::new();
        let found = try_out(&disk, &*SystemClock::shared(), Path::new("/"));
        let well =
            |check: &str| found.iter().any(|one| one.check == check && one.level == Level::Ok);
        assert!(well("rename") && well("locking") && well("times"), "{found:#?}");
        assert!(disk.read_dir(Path::new("/")).unwrap().is_empty());
    }

    #[test]
    fn a_disk_that_refuses_is_told_in_plain_words() {
        let refusals = [
            (rustix::io::Errno::ROFS, "mounted read-only"),
            (rustix::io::Errno::ACCESS, "may not write there"),
            (rustix::io::Errno::NOSPC, "is full"),
            (rustix::io::Errno::DQUOT, "quota"),
        ];
        for (errno, words) in refusals {
            let disk = FaultDisk::over(&MemoryDisk::new());
            disk.inject(Fault::new(errno).on(Op::CreateDir));
            let found = try_out(&*disk, &*SystemClock::shared(), Path::new("/"));
            assert_eq!(found.len(), 1);
            assert!(found[0].message.contains(words), "{found:?}");
        }
    }

    #[test]
    fn a_disk_that_takes_names_and_no_content_is_full() {
        let disk = FaultDisk::over(&MemoryDisk::new());
        disk.inject(Fault::new(rustix::io::Errno::NOSPC).on(Op::Write));
        let found = try_out(&*disk, &*SystemClock::shared(), Path::new("/"));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].message.contains("the disk is full"), "{found:?}");
        assert!(disk.read_dir(Path::new("/")).unwrap().is_empty());
    }

    #[test]
    fn a_disk_in_memory_is_said_to_go_with_the_power() {
        let found = file_system(&MemoryDisk::new(), Path::new("/"));
        assert_ne!(found.level, Level::Problem, "{found:?}");
    }
}
