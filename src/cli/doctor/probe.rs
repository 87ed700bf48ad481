//! Trying out what the promises rest on, with files that matter to nobody.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use uuid::Uuid;

use super::super::session::Session;
use super::{Finding, Level};
use crate::clock::Clock;
use crate::disk::{self, Access, Disk};

/// A sync below this did not wait for any device; flash takes 20 µs and more.
const SYNC_MIN: Duration = Duration::from_micros(15);
/// A sync above this is felt at each checkpoint.
const SYNC_SLOW: Duration = Duration::from_millis(100);
const SYNCS: usize = 9;

const NAMES: [&str; 4] = ["lock", "old", "new", "synced"];

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
            tracing::warn!(path = %self.dir.display(), %error, "cannot remove what doctor made");
        }
    }
}

pub(super) fn all(session: &Session, ground: &Path) -> Vec<Finding> {
    let disk = &*session.disk;
    let scratch = match Scratch::new(disk, ground) {
        Ok(scratch) => scratch,
        Err(error) => {
            let shown = ground.display();
            let message = format!("{shown} cannot be written: {error}; checkpoints fail there");
            return vec![Finding::new("writing", Level::Problem, message)];
        }
    };
    vec![renames(&scratch), locks(&scratch), syncs(&scratch, &*session.clock)]
}

fn failed(check: &'static str, error: &io::Error) -> Finding {
    Finding::new(check, Level::Problem, format!("it fails: {error}"))
}

fn renames(scratch: &Scratch<'_>) -> Finding {
    let tried = || {
        scratch.write("old", b"old")?;
        scratch.write("new", b"new")?;
        scratch.disk.rename(&scratch.path("new"), &scratch.path("old"))?;
        disk::read(scratch.disk, &scratch.path("old"))
    };
    match tried() {
        Ok(found) if found == b"new" => {
            Finding::new("rename", Level::Ok, "it replaces a file in one step")
        }
        Ok(_) => Finding::new(
            "rename",
            Level::Problem,
            "it leaves the old file in place: views and restored files would be stale",
        ),
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
            "a second lock is granted: two processes could write at once and harm the store",
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
        (Level::Warning, "too fast to have reached a device: a power loss may take checkpoints")
    } else if median > SYNC_SLOW {
        (Level::Warning, "slow: each checkpoint waits that long")
    } else {
        (Level::Ok, "what a checkpoint waits for")
    };
    Finding::new("sync", level, format!("{median:.0?} (median of {SYNCS}), {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;

    #[test]
    fn a_sync_that_takes_no_time_is_not_believed() {
        assert_eq!(judged(Duration::from_micros(2)).level, Level::Warning);
        assert_eq!(judged(Duration::from_micros(90)).level, Level::Ok);
        assert_eq!(judged(Duration::from_millis(300)).level, Level::Warning);
    }

    #[test]
    fn trying_out_leaves_nothing_behind() {
        let disk = MemoryDisk::new();
        let scratch = Scratch::new(&disk, Path::new("/")).unwrap();
        assert_eq!(renames(&scratch).level, Level::Ok);
        assert_eq!(locks(&scratch).level, Level::Ok);
        drop(scratch);
        assert!(disk.read_dir(Path::new("/")).unwrap().is_empty());
    }
}
