//! The claim on an agent: one session runs it at a time.
//!
//! An advisory lock on `STORE/runs/AGENT.lock` says that an agent is being run. It falls with the
//! process that holds it, so no claim is ever stale. The text in the file is one JSON object: the
//! fields of [`Holder`], and `child` while a command runs ([`Child`]). It stays when the lock falls:
//! whoever takes the claim next learns from it whether its predecessor died before it could see its
//! command's end, and which process group that left behind. The text needs no sync: what survives a
//! loss of power is no process.
//!
//! Whether the group is still there is not decided by its number alone, which may be another's by
//! now: boot, start time and session have to agree.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Error;
use crate::clock::Clock;
use crate::disk::process::{self, Process};
use crate::disk::{Disk, DiskLock, Holder, Retry, read, read_holder};
use crate::state::{AgentId, Timestamp};
use crate::store::Layout;

/// A command that runs, as its claim records it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Child {
    /// The process that was started; its group has the same number.
    pub pid: i32,
    /// Its session.
    pub session: i32,
    /// When it began, in clock ticks since the machine's start.
    pub process_start: u64,
    /// Which attempt it is.
    pub attempt: u32,
    /// When it was started, by the wall clock.
    pub started_at: Timestamp,
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    #[serde(flatten)]
    holder: Holder,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    child: Option<Child>,
}

/// What a predecessor left behind that did not see its command's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Left {
    /// The command it ran.
    pub child: Child,
    /// Those of its process group that still live.
    pub survivors: Vec<Process>,
}

/// The right to run an agent; it falls when this is dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    lock: Box<dyn DiskLock>,
    record: Record,
}

/// Where agents of a store are claimed, and how long a claim is waited for.
#[derive(Debug, Clone)]
pub(crate) struct Registry {
    pub disk: Arc<dyn Disk>,
    pub clock: Arc<dyn Clock>,
    pub store: PathBuf,
    pub wait: Duration,
}

impl Registry {
    /// Claims an agent, and tells what its predecessor left behind.
    pub(crate) fn claim(&self, agent: &AgentId) -> Result<(Claim, Option<Left>), Error> {
        let layout = Layout::new(&self.store);
        let path = layout.run_of(agent);
        let failed = |source| Error::Claim { path: path.clone(), source };
        match self.disk.create_dir(&layout.runs()) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failed(error));
            }
            _ => {}
        }
        let mut held = false;
        let patience = Retry {
            attempts_max: u32::MAX,
            total_ms_max: u64::try_from(self.wait.as_millis()).unwrap_or(u64::MAX),
            ..Retry::default()
        };
        let taken = patience.run(&*self.clock, "claim the agent", || {
            let lock = self.disk.try_lock(&path)?;
            held = lock.is_none();
            lock.ok_or_else(|| io::ErrorKind::WouldBlock.into())
        });
        let lock = match taken {
            Ok(lock) => lock,
            Err(_) if held => {
                let holder = read_holder(&*self.disk, &path).map(Box::new);
                return Err(Error::Claimed { agent: agent.clone(), holder });
            }
            Err(error) => return Err(failed(error.last)),
        };
        let text = read(&*self.disk, &path).map_err(failed)?;
        let before: Option<Record> = serde_json::from_slice(&text).ok();
        let holder = Holder::this_process(self.clock.now(), None);
        let left = before.and_then(|before| before.left(&holder));
        // What was left behind stays recorded until it was dealt with.
        let record = Record { holder, child: left.as_ref().map(|left| left.child) };
        let mut claim = Claim { lock, record };
        claim.write();
        Ok((claim, left))
    }
}

impl Record {
    /// What this one's writer left behind, as seen from the machine as it is now.
    fn left(&self, now: &Holder) -> Option<Left> {
        let child = self.child?;
        let here = self.holder.host == now.host && self.holder.boot_id == now.boot_id;
        let survivors = if here { child.group() } else { Vec::new() };
        Some(Left { child, survivors })
    }
}

impl Child {
    /// Whether the process that was started has not ended.
    pub(crate) fn lives(&self) -> bool {
        process::process(self.pid).is_some_and(|found| {
            found.start == self.process_start && found.standing != process::Standing::Ended
        })
    }

    /// Those of its process group that live.
    ///
    /// A group's number is not given to another while anybody is in the group. So where its leader
    /// is gone, those in it are still the old ones, unless the number came round again since: then
    /// they are in another session, or the leader began at another time.
    pub(crate) fn group(&self) -> Vec<Process> {
        let foreign =
            |found: Process| found.start != self.process_start || found.session != self.session;
        if process::process(self.pid).is_some_and(foreign) {
            return Vec::new();
        }
        let mut all = process::processes();
        all.retain(|one| {
            one.group == self.pid
                && one.session == self.session
                && one.start >= self.process_start
                && one.standing != process::Standing::Ended
        });
        all
    }
}

impl Claim {
    /// Records the command that runs now.
    pub(crate) fn runs(&mut self, child: Child) {
        self.record.child = Some(child);
        self.write();
    }

    /// Records that no command runs.
    pub(crate) fn rests(&mut self) {
        self.record.child = None;
        self.write();
    }

    /// Names where this process answers.
    pub(crate) fn answers_at(&mut self, socket: PathBuf) {
        self.record.holder.socket = Some(socket);
        self.write();
    }

    fn write(&mut self) {
        let text = serde_json::to_vec(&self.record).expect("a record has only plain fields");
        if let Err(error) = self.lock.write_holder(&text) {
            tracing::warn!(%error, "cannot record what is run; a successor will not find it");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::clock::ManualClock;
    use crate::disk::MemoryDisk;

    fn registry(disk: &MemoryDisk) -> Registry {
        let clock = ManualClock::starting_at(Timestamp::from_unix_ms(1_700_000_000_000));
        let wait = Duration::from_secs(1);
        Registry { disk: Arc::new(disk.clone()), clock, store: "/".into(), wait }
    }

    fn agent(id: &str) -> AgentId {
        AgentId::new(id).unwrap()
    }

    fn own() -> Child {
        let own = process::process(i32::try_from(std::process::id()).unwrap()).unwrap();
        let started_at = Timestamp::from_unix_ms(1);
        Child {
            pid: own.group,
            session: own.session,
            process_start: process::process(own.group).map_or(own.start, |it| it.start),
            attempt: 3,
            started_at,
        }
    }

    #[test]
    fn the_second_is_told_who_runs_the_agent_and_others_are_free() {
        let disk = MemoryDisk::new();
        let registry = registry(&disk);
        let (held, left) = registry.claim(&agent("a")).unwrap();
        assert_eq!(left, None);
        let refused = registry.claim(&agent("a")).unwrap_err();
        let named = format!("process {} on ", std::process::id());
        assert!(refused.to_string().contains(&named), "{refused}");
        assert_eq!(refused.kind(), crate::error::ErrorKind::Locked);
        registry.claim(&agent("a/b")).unwrap();
        drop(held);
        registry.claim(&agent("a")).unwrap();
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn what_a_predecessor_left_is_found_until_it_was_dealt_with() {
        let disk = MemoryDisk::new();
        let registry = registry(&disk);
        let (mut claim, _) = registry.claim(&agent("a")).unwrap();
        claim.runs(own());
        drop(claim);
        for _ in 0..2 {
            let (_, left) = registry.claim(&agent("a")).unwrap();
            let left = left.unwrap();
            assert_eq!(left.child, own());
            let me = i32::try_from(std::process::id()).unwrap();
            assert!(left.survivors.iter().any(|one| one.pid == me), "{left:?}");
        }
        let (mut claim, _) = registry.claim(&agent("a")).unwrap();
        claim.rests();
        drop(claim);
        assert_eq!(registry.claim(&agent("a")).unwrap().1, None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_number_that_came_round_again_is_no_survivor() {
        let later = Child { process_start: own().process_start + 1, ..own() };
        assert_eq!(later.group(), []);
        let elsewhere = Child { session: own().session + 1, ..own() };
        assert_eq!(elsewhere.group(), []);
    }

    #[test]
    fn text_that_cannot_be_read_names_nobody_and_is_replaced() {
        let disk = MemoryDisk::new();
        let registry = registry(&disk);
        drop(registry.claim(&agent("a")).unwrap());
        disk.put(Path::new("/runs/a.lock"), b"{\"child\":");
        assert_eq!(registry.claim(&agent("a")).unwrap().1, None);
        assert!(read_holder(&disk, Path::new("/runs/a.lock")).is_some());
    }
}
