//! The lock of the one writer.
//!
//! An advisory lock (`flock`) on the file `lock` of a store says who may write there. It falls with
//! the process that holds it, so no lock is ever stale; the text in the file only says who it is,
//! for people and for finding the sidecar's socket, and decides nothing. The file stays when the
//! lock falls, with its last text.
//!
//! Text: one JSON object with the fields of [`Holder`]. Whoever takes the lock replaces it; for a
//! moment it may name the one before, or nobody.
//!
//! On a network file system the lock does not exclude other machines: the store refuses those.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Access, Disk, DiskLock, Retry, process};
use crate::clock::Clock;
use crate::state::Timestamp;

/// More than any holder's text; what is longer is not one of ours.
const TEXT_BYTES_MAX: usize = 16 * 1024;

/// Who holds a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The machine's name.
    pub host: String,
    /// Changes with every start of the machine; absent where the system does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// The process.
    pub pid: u32,
    /// When the process began, in clock ticks since the machine's start (field 22 of
    /// `/proc/PID/stat`), which tells two processes with one number apart; absent elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process_start: Option<u64>,
    /// When it took the lock.
    pub started_at: Timestamp,
    /// Where it answers, for a sidecar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket: Option<PathBuf>,
}

impl Holder {
    /// This process, as of `now`.
    #[must_use]
    pub fn this_process(now: Timestamp, socket: Option<PathBuf>) -> Self {
        let pid = std::process::id();
        Self {
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            boot_id: process::boot_id(),
            pid,
            process_start: i32::try_from(pid).ok().and_then(process::process).map(|it| it.start),
            started_at: now,
            socket,
        }
    }

    fn text(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a holder has only fields that JSON can carry")
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { host, pid, started_at, .. } = self;
        write!(f, "process {pid} on {host} since {started_at}")
    }
}

/// Why the lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process, or another handle in this one, holds it.
    #[error("{} is held by {}", path.display(), describe(holder.as_deref()))]
    Held {
        /// The lock file.
        path: PathBuf,
        /// Who holds it, where that can be read.
        holder: Option<Box<Holder>>,
    },
    /// The lock file could not be made or locked.
    #[error("cannot lock {}: {source}", path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn describe(holder: Option<&Holder>) -> String {
    holder.map_or_else(
        || "another process, which did not say who it is".to_owned(),
        Holder::to_string,
    )
}

/// The held lock of a store; it falls when this is dropped.
#[derive(Debug)]
pub struct StoreLock {
    lock: Box<dyn DiskLock>,
    path: PathBuf,
    holder: Holder,
}

impl StoreLock {
    /// Takes the lock at `path`, waiting for at most `wait` while another holds it.
    ///
    /// The lock is held even when the holder's text cannot be written (the disk may be full, and
    /// freeing it needs the lock); that is logged.
    ///
    /// # Errors
    /// [`LockError::Held`] when another still holds it then.
    pub fn acquire(
        disk: &dyn Disk,
        path: &Path,
        holder: &Holder,
        wait: Duration,
        clock: &dyn Clock,
    ) -> Result<Self, LockError> {
        let mut held = false;
        let patience = Retry {
            attempts_max: u32::MAX,
            total_ms_max: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            ..Retry::default()
        };
        let taken = patience.run(clock, "take the lock", || {
            let lock = disk.try_lock(path)?;
            held = lock.is_none();
            lock.ok_or_else(|| io::ErrorKind::WouldBlock.into())
        });
        let path = path.to_owned();
        match taken {
            Ok(lock) => {
                let lock = Self { lock, path, holder: holder.clone() };
                lock.name(holder);
                Ok(lock)
            }
            Err(_) if held => {
                let holder = read_holder(disk, &path).map(Box::new);
                Err(LockError::Held { path, holder })
            }
            Err(error) => Err(LockError::Io { path, source: error.last }),
        }
    }

    /// Whether the lock still excludes others: its file may have been removed, or replaced, or gone
    /// with its directory.
    ///
    /// # Errors
    /// As the disk gives them.
    pub fn is_in_place(&self) -> io::Result<bool> {
        self.lock.is_in_place()
    }

    /// Says in the lock file where its holder answers from now on; nowhere, where that is `None`.
    pub fn name_socket(&self, socket: Option<PathBuf>) {
        self.name(&Holder { socket, ..self.holder.clone() });
    }

    /// Replaces what the lock file says about its holder.
    pub fn name(&self, holder: &Holder) {
        if let Err(error) = self.lock.write_holder(&holder.text()) {
            let path = self.path.display();
            tracing::warn!(%path, %error, "cannot write who holds the lock");
        }
    }
}

/// Who the lock file says holds or last held the lock; `None` when it does not say.
#[must_use]
pub fn read_holder(disk: &dyn Disk, path: &Path) -> Option<Holder> {
    let file = disk.open(path, Access::Read).ok()?;
    let mut text = vec![0; TEXT_BYTES_MAX];
    let mut len = 0;
    loop {
        match file.read_at(&mut text[len..], len as u64).ok()? {
            0 => break,
            read => len += read,
        }
    }
    serde_json::from_slice(&text[..len]).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustix::io::Errno;

    use super::*;
    use crate::clock::ManualClock;
    use crate::disk::{Fault, FaultDisk, MemoryDisk, Op, RealDisk};

    const PATH: &str = "/lock";

    fn clock() -> Arc<ManualClock> {
        ManualClock::starting_at(Timestamp::from_unix_ms(1_700_000_000_000))
    }

    fn me() -> Holder {
        Holder::this_process(clock().now(), None)
    }

    fn acquire(disk: &dyn Disk, path: &Path) -> Result<StoreLock, LockError> {
        StoreLock::acquire(disk, path, &me(), Duration::ZERO, &*clock())
    }

    #[test]
    fn a_second_handle_is_refused_and_told_who_holds_it() {
        let home = tempfile::tempdir().unwrap();
        let real = home.path().join("lock");
        let memory = MemoryDisk::new();
        for (disk, path) in [(&RealDisk as &dyn Disk, &*real), (&memory, Path::new(PATH))] {
            let lock = acquire(disk, path).unwrap();
            let error = acquire(disk, path).unwrap_err();
            let LockError::Held { holder: Some(holder), .. } = &error else { panic!("{error}") };
            assert_eq!(**holder, me());
            let (pid, text) = (std::process::id(), error.to_string());
            let named = format!("process {pid} on {} since 2023-11-14T22:13:20.000Z", holder.host);
            assert!(text.contains(&named), "{text}");
            drop(lock);
            acquire(disk, path).unwrap();
        }
    }

    #[test]
    fn text_that_cannot_be_read_is_an_unknown_holder() {
        let memory = MemoryDisk::new();
        let _lock = acquire(&memory, Path::new(PATH)).unwrap();
        for text in [&b""[..], b"{\"host\"", b"\xff", &vec![b' '; 100_000]] {
            memory.put(Path::new(PATH), text);
            let error = acquire(&memory, Path::new(PATH)).unwrap_err();
            assert!(matches!(error, LockError::Held { holder: None, .. }), "{error}");
            assert!(error.to_string().contains("another process"), "{error}");
        }
    }

    #[test]
    fn waiting_ends_with_its_time_and_not_before() {
        let memory = MemoryDisk::new();
        let _lock = acquire(&memory, Path::new(PATH)).unwrap();
        let clock = clock();
        let wait = Duration::from_secs(3);
        StoreLock::acquire(&memory, Path::new(PATH), &me(), wait, &*clock).unwrap_err();
        assert_eq!(clock.monotonic(), wait);
    }

    #[test]
    fn an_error_of_the_disk_is_no_holder() {
        let disk = FaultDisk::over(&MemoryDisk::new());
        disk.inject(Fault::new(Errno::ROFS).on(Op::TryLock).times(1));
        let error = acquire(&*disk, Path::new(PATH)).unwrap_err();
        let LockError::Io { source, .. } = &error else { panic!("{error}") };
        assert_eq!(Errno::from_io_error(source), Some(Errno::ROFS));
    }

    #[test]
    fn a_full_disk_can_still_be_locked() {
        let memory = MemoryDisk::new();
        memory.set_capacity(Some(0));
        let _lock = acquire(&memory, Path::new(PATH)).unwrap();
        assert!(acquire(&memory, Path::new(PATH)).is_err());
    }

    #[test]
    fn the_text_is_small_and_carries_the_socket() {
        let memory = MemoryDisk::new();
        let lock = acquire(&memory, Path::new(PATH)).unwrap();
        let named = Holder { socket: Some("/run/stateward.sock".into()), ..me() };
        lock.name_socket(named.socket.clone());
        assert_eq!(read_holder(&memory, Path::new(PATH)), Some(named));
        lock.name_socket(None);
        assert_eq!(read_holder(&memory, Path::new(PATH)), Some(me()));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_process_is_told_from_others_with_its_number() {
        let holder = me();
        assert_eq!(holder.boot_id.unwrap().len(), 36);
        assert!(holder.process_start.unwrap() > 0);
        assert!(!holder.host.is_empty());
    }
}
