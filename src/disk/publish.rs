//! The durable publish: a file appears under its name whole, or not at all.
//!
//! A temporary file beside the name is written, synced, closed and renamed, then the directory is
//! synced; the order is the promise. Temporary files are called `.tmp-` and 32 hexadecimal digits,
//! and nothing else is ever swept.
//!
//! When the directory's sync fails, the file stands under its name and may be gone after a power
//! loss, and a second sync proves nothing: the caller publishes it again under another name
//! ([`PublishError::NameUnsure`]). Nothing here is retried.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::{Access, Disk, DiskFile, EntryKind};

/// Begins the name of every temporary file.
const PREFIX: &str = ".tmp-";

/// Whether a published file must survive a power loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Contents and name are synced.
    Synced,
    /// Neither is: after a power loss the name may be missing, or lead to part of the contents.
    Unsynced,
}

/// The step at which a publish failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Making the temporary file.
    Create,
    /// Writing it.
    Write,
    /// Syncing it.
    Sync,
    /// Giving it its name.
    Rename,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "create",
            Self::Write => "write",
            Self::Sync => "sync",
            Self::Rename => "rename",
        })
    }
}

/// A temporary file that a failed publish could not remove.
#[derive(Debug)]
pub struct Leftover {
    /// Where it lies.
    pub path: PathBuf,
    /// Why it could not be removed.
    pub error: io::Error,
}

/// Why a file was not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// What stood under the name before still stands there.
    #[error("cannot {step} {}: {source}{}", path.display(), also(leftover.as_ref()))]
    Failed {
        /// The name that was to be published.
        path: PathBuf,
        /// Where it failed.
        step: Step,
        /// Why.
        source: io::Error,
        /// The temporary file, where it could not be removed either.
        leftover: Option<Leftover>,
    },
    /// The file stands under its name, but the name may not survive a power loss, whatever later
    /// syncs say: it is to be published under another name.
    #[error("cannot make the name {} durable: {source}", path.display())]
    NameUnsure {
        /// The name.
        path: PathBuf,
        /// Why its directory could not be synced.
        source: io::Error,
    },
}

impl PublishError {
    /// The error of the file system behind it.
    #[must_use]
    pub fn io_error(&self) -> &io::Error {
        match self {
            Self::Failed { source, .. } | Self::NameUnsure { source, .. } => source,
        }
    }

    /// The same as an error of the file system, of the same kind and code, for those who pass on
    /// nothing else. What was being published is lost: its caller names it.
    #[must_use]
    pub fn into_io(self) -> io::Error {
        match self {
            Self::Failed { source, .. } | Self::NameUnsure { source, .. } => source,
        }
    }
}

fn also(leftover: Option<&Leftover>) -> String {
    leftover.map_or_else(String::new, |left| {
        format!("; {} is left over: {}", left.path.display(), left.error)
    })
}

/// Publishes `bytes` as the file at `path`, replacing what stood there.
///
/// # Errors
/// [`PublishError::Failed`] when nothing changed, [`PublishError::NameUnsure`] when the file is
/// there but its name is not durable.
pub fn publish(
    disk: &dyn Disk,
    path: &Path,
    bytes: &[u8],
    durability: Durability,
) -> Result<(), PublishError> {
    publish_with(disk, path, durability, |file| file.write_all_at(bytes, 0))
}

/// Publishes the file that `contents` writes, replacing what stood at `path`; for contents that are
/// not to be held in memory.
///
/// # Errors
/// As [`publish`].
pub fn publish_with(
    disk: &dyn Disk,
    path: &Path,
    durability: Durability,
    contents: impl FnOnce(&dyn DiskFile) -> io::Result<()>,
) -> Result<(), PublishError> {
    let dir = directory_of(path);
    let temporary = dir.join(format!("{PREFIX}{}", Uuid::new_v4().simple()));
    let written = write_temporary(disk, &temporary, durability, contents)
        .and_then(|()| disk.rename(&temporary, path).map_err(|source| (Step::Rename, source)));
    if let Err((step, source)) = written {
        let leftover = discard(disk, temporary);
        return Err(PublishError::Failed { path: path.to_owned(), step, source, leftover });
    }
    match durability {
        Durability::Synced => disk
            .sync_dir(dir)
            .map_err(|source| PublishError::NameUnsure { path: path.to_owned(), source }),
        Durability::Unsynced => Ok(()),
    }
}

fn write_temporary(
    disk: &dyn Disk,
    temporary: &Path,
    durability: Durability,
    contents: impl FnOnce(&dyn DiskFile) -> io::Result<()>,
) -> Result<(), (Step, io::Error)> {
    let file = disk.open(temporary, Access::CreateNew).map_err(|source| (Step::Create, source))?;
    contents(&*file).map_err(|source| (Step::Write, source))?;
    if durability == Durability::Synced {
        file.sync_data().map_err(|source| (Step::Sync, source))?;
    }
    // Closed before the rename: network file systems rename an open file badly.
    drop(file);
    Ok(())
}

fn discard(disk: &dyn Disk, path: PathBuf) -> Option<Leftover> {
    match disk.remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Some(Leftover { path, error }),
        _ => None,
    }
}

/// Whether a name is one that [`publish`] gives to its temporary files.
#[must_use]
pub fn is_temporary(name: &OsStr) -> bool {
    let digits = name.to_str().and_then(|name| name.strip_prefix(PREFIX)).unwrap_or_default();
    digits.len() == 32 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// What a sweep did.
#[derive(Debug, Default)]
pub struct Sweep {
    /// Temporary files that were removed.
    pub removed: Vec<PathBuf>,
    /// Those that could not be.
    pub failed: Vec<Leftover>,
}

/// Removes the temporary files that killed processes left in `dir`, and nothing else; to be called
/// by the holder of the lock alone.
///
/// # Errors
/// When the directory cannot be read; single files that stay are in the report.
pub fn sweep_temporaries(disk: &dyn Disk, dir: &Path) -> io::Result<Sweep> {
    let mut sweep = Sweep::default();
    for entry in disk.read_dir(dir)? {
        if entry.kind != EntryKind::File || !is_temporary(&entry.name) {
            continue;
        }
        let path = dir.join(&entry.name);
        match discard(disk, path.clone()) {
            None => sweep.removed.push(path),
            Some(left) => sweep.failed.push(left),
        }
    }
    Ok(sweep)
}

/// Makes a directory and those above it that are missing, with durable names.
///
/// The name of the lowest directory that was there is synced too: whoever made it may have been
/// killed before its sync. Those above it are durable, because each is made and synced before the
/// next.
///
/// # Errors
/// When one cannot be made or its name not be synced; one whose name could not be synced is removed
/// again where that is possible.
pub fn create_dir_all_durable(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    let (found, missing) = standing(disk, path)?;
    sync_name_of_found(disk, found)?;
    for dir in missing.into_iter().rev() {
        match disk.create_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
        if let Err(error) = disk.sync_dir(directory_of(dir)) {
            if let Err(also) = disk.remove_dir(dir) {
                tracing::warn!(dir = %dir.display(), error = %also, "a directory is left over");
            }
            return Err(error);
        }
    }
    Ok(())
}

/// The lowest directory on the way to `path` that is there, and those below it, lowest first.
fn standing<'a>(disk: &dyn Disk, path: &'a Path) -> io::Result<(&'a Path, Vec<&'a Path>)> {
    let mut missing = Vec::new();
    for dir in path.ancestors().filter(|dir| !dir.as_os_str().is_empty()) {
        match disk.metadata(dir) {
            Ok(found) if found.kind == EntryKind::File => {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            Ok(_) => return Ok((dir, missing)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => missing.push(dir),
            Err(error) => return Err(error),
        }
    }
    Ok((Path::new("."), missing))
}

fn sync_name_of_found(disk: &dyn Disk, found: &Path) -> io::Result<()> {
    if found.parent().is_none() || found == Path::new(".") {
        return Ok(());
    }
    match disk.sync_dir(directory_of(found)) {
        // Where we may not even look, or nobody may write, no process of ours has just made it.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
            ) =>
        {
            Ok(())
        }
        synced => synced,
    }
}

/// The directory a name lies in; `.` for a name alone.
fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use rustix::io::Errno;

    use super::*;
    use crate::disk::{Fault, FaultDisk, Loss, MemoryDisk, Op, RealDisk};

    const PATH: &str = "/store/store.json";

    fn at(path: &str) -> &Path {
        Path::new(path)
    }

    fn with_old() -> (MemoryDisk, Arc<FaultDisk>) {
        let memory = MemoryDisk::new();
        memory.put(at(PATH), b"old");
        let disk = FaultDisk::over(&memory);
        (memory, disk)
    }

    fn publish_new(disk: &FaultDisk) -> Result<(), PublishError> {
        publish(disk, at(PATH), b"new", Durability::Synced)
    }

    #[test]
    fn it_writes_syncs_renames_and_syncs_the_directory() {
        let (memory, disk) = with_old();
        publish_new(&disk).unwrap();
        let ops: Vec<Op> = disk.calls().into_iter().map(|call| call.op).collect();
        assert_eq!(ops, [Op::Open, Op::Write, Op::Sync, Op::Rename, Op::SyncDir]);
        assert_eq!(memory.crash(Loss::All).get(at(PATH)).unwrap(), b"new");
        disk.reset();
        publish(&*disk, at(PATH), b"unsynced", Durability::Unsynced).unwrap();
        assert_eq!(disk.count(Op::Sync) + disk.count(Op::SyncDir), 0);
        assert_eq!(memory.crash(Loss::All).get(at(PATH)).unwrap(), b"new");
    }

    #[test]
    fn a_crash_at_every_call_leaves_the_old_or_the_new_and_nothing_between() {
        for stop in 0..5 {
            let (memory, disk) = with_old();
            disk.stop_at(stop);
            publish_new(&disk).unwrap_err();
            for seed in 0..60 {
                let after = memory.crash(Loss::Random(seed));
                let found = after.get(at(PATH)).unwrap();
                let allowed = if stop == 4 { [&b"old"[..], b"new"] } else { [&b"old"[..], b"old"] };
                assert!(allowed.contains(&&found[..]), "{stop} {seed}");
                sweep_temporaries(&after, at("/store")).unwrap();
                assert_eq!(after.image().len(), 1);
            }
        }
    }

    #[test]
    fn each_call_that_fails_is_named_and_the_temporary_is_removed() {
        let steps = [Step::Create, Step::Write, Step::Sync, Step::Rename];
        for (call, expected) in (0..).zip(steps) {
            let (memory, disk) = with_old();
            disk.inject(Fault::new(Errno::IO).skipping(call).times(1));
            match publish_new(&disk).unwrap_err() {
                PublishError::Failed { step, leftover: None, .. } => assert_eq!(step, expected),
                other => panic!("{other}"),
            }
            assert_eq!(memory.image(), with_old().0.image());
        }
    }

    #[test]
    fn a_failed_sync_of_the_directory_is_told_apart() {
        let (memory, disk) = with_old();
        disk.inject(Fault::new(Errno::IO).on(Op::SyncDir).times(1));
        let error = publish_new(&disk).unwrap_err();
        assert!(matches!(&error, PublishError::NameUnsure { path, .. } if path == at(PATH)));
        assert_eq!(memory.get(at(PATH)).unwrap(), b"new");
        let found: BTreeSet<_> =
            (0..50).map(|seed| memory.crash(Loss::Random(seed)).get(at(PATH)).unwrap()).collect();
        assert_eq!(found, BTreeSet::from([b"old".to_vec(), b"new".to_vec()]));
    }

    #[test]
    fn both_errors_are_told_when_the_temporary_stays() {
        let (memory, disk) = with_old();
        disk.inject(Fault::new(Errno::NOSPC).on(Op::Write).after_bytes(2));
        disk.inject(Fault::new(Errno::ACCESS).on(Op::RemoveFile));
        let error = publish_new(&disk).unwrap_err();
        assert_eq!(Errno::from_io_error(error.io_error()), Some(Errno::NOSPC));
        let PublishError::Failed { leftover: Some(left), .. } = &error else { panic!("{error}") };
        assert_eq!(Errno::from_io_error(&left.error), Some(Errno::ACCESS));
        assert_eq!(memory.get(&left.path).unwrap(), b"ne");
        assert!(error.to_string().contains(left.path.to_str().unwrap()), "{error}");
    }

    #[test]
    fn a_sweep_takes_only_our_own_and_reports_what_stays() {
        let memory = MemoryDisk::new();
        let ours = format!("/s/.tmp-{}", Uuid::new_v4().simple());
        let names =
            ["/s/.tmp-", "/s/.tmp-notes", "/s/a.tmp", "/s/.tmp-0123456789abcdef0123456789ABCDEF"];
        for name in names.into_iter().chain([&*ours]) {
            memory.put(at(name), b"");
        }
        memory.create_dir(&at("/s").join(format!(".tmp-{}", Uuid::new_v4().simple()))).unwrap();
        let disk = FaultDisk::over(&memory);
        disk.inject(Fault::new(Errno::PERM).on(Op::RemoveFile).times(1));
        let sweep = sweep_temporaries(&*disk, at("/s")).unwrap();
        assert_eq!((sweep.removed.len(), &*sweep.failed[0].path), (0, at(&ours)));
        let sweep = sweep_temporaries(&*disk, at("/s")).unwrap();
        assert_eq!(sweep.removed, [at(&ours)]);
        assert_eq!(memory.image().len(), names.len());
    }

    #[test]
    fn directories_are_durable_one_by_one() {
        let memory = MemoryDisk::new();
        create_dir_all_durable(&memory, at("/a/b/c")).unwrap();
        assert_eq!(memory.pending_changes(), 0);
        assert!(memory.read_dir(at("/a/b/c")).unwrap().is_empty());
        create_dir_all_durable(&memory, at("/a/b/c")).unwrap();
        memory.put(at("/a/f"), b"");
        assert!(create_dir_all_durable(&memory, at("/a/f/g")).is_err());
    }

    #[test]
    fn a_directory_that_a_killed_process_made_is_made_durable() {
        let memory = MemoryDisk::new();
        memory.create_dir(at("/a")).unwrap();
        create_dir_all_durable(&memory, at("/a/b")).unwrap();
        assert_eq!(memory.pending_changes(), 0);
    }

    #[test]
    fn a_directory_whose_name_is_unsure_is_taken_away() {
        let memory = MemoryDisk::new();
        let disk = FaultDisk::over(&memory);
        disk.inject(Fault::new(Errno::IO).on(Op::SyncDir));
        create_dir_all_durable(&*disk, at("/a/b")).unwrap_err();
        assert!(memory.read_dir(at("/")).unwrap().is_empty());
    }

    #[test]
    fn it_works_on_the_real_disk_too() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("a/b");
        create_dir_all_durable(&RealDisk, &dir).unwrap();
        publish(&RealDisk, &dir.join("f"), b"one", Durability::Synced).unwrap();
        publish(&RealDisk, &dir.join("f"), b"two", Durability::Synced).unwrap();
        let file = RealDisk.open(&dir.join("f"), Access::Read).unwrap();
        let mut buf = [0; 9];
        assert_eq!((file.read_at(&mut buf, 0).unwrap(), &buf[..3]), (3, &b"two"[..]));
        assert_eq!(RealDisk.read_dir(&dir).unwrap().len(), 1);
    }
}
