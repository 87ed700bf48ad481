//! The claim on an agent: one session runs it at a time.
//!
//! An advisory lock on `STORE/runs/AGENT.lock` says that an agent is being run. It falls with the
//! process that holds it, so no claim is ever stale. The text in the file is one JSON object: the
//! fields of [`Holder`], and `child` while there is a command ([`Child`]). It stays when the lock
//! falls: whoever takes the claim next learns from it whether its predecessor died before it could
//! see its command's end, and which processes that left behind. The text needs no sync: what survives
//! a loss of power is no process.
//!
//! A child is recorded before it is started, with a mark that it gets in its environment and hands
//! on, and again with its number. So it is found whenever its `run` is killed, and so are those that
//! left its group. That a group is still the one that was recorded is not decided by its number
//! alone, which may be another's by now: boot, start time and session have to agree.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Error;
use super::sense::Pipes;
use crate::clock::Clock;
use crate::disk::process::{self, Process, Standing};
use crate::disk::{Disk, DiskLock, Holder, Retry, read, read_holder};
use crate::state::{AgentId, Timestamp};
use crate::store::Layout;

/// The variable that carries a child's mark.
pub(crate) const MARK: &str = "STATEWARD_RUN_ID";

/// A command that runs, or is about to, as its claim records it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Child {
    /// What it and its descendants carry in their environment.
    pub mark: Uuid,
    /// Which attempt it is.
    pub attempt: u32,
    /// When it was started, by the wall clock.
    pub started_at: Timestamp,
    /// The pipes that it prints into.
    #[serde(default)]
    pub output: Pipes,
    /// The process; absent until it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<Leader>,
}

/// The process that was started; its group has the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Leader {
    pub pid: i32,
    /// Its session.
    pub session: i32,
    /// When it began, in clock ticks since the machine's start.
    pub process_start: u64,
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
    /// The command it ran, with its leader where that lives.
    pub child: Child,
    /// What still lives of it.
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
        let mut child = self.child?;
        let here = self.holder.host == now.host && self.holder.boot_id == now.boot_id;
        let survivors = if here { child.survivors() } else { Vec::new() };
        let leads = |one: &&Process| match child.leader {
            Some(leader) => leader.is(one),
            None => one.pid == one.group,
        };
        child.leader = survivors.iter().find(leads).map(Leader::of);
        Some(Left { child, survivors })
    }
}

impl Child {
    /// The variable that tells its processes from others, as `NAME=VALUE`.
    fn variable(&self) -> String {
        format!("{MARK}={}", self.mark)
    }

    /// What lives of it: its group, and whoever carries its mark.
    pub(crate) fn survivors(&self) -> Vec<Process> {
        let variable = self.variable();
        let group = self.leader.filter(Leader::leads_still);
        let mut all = process::processes();
        all.retain(|one| {
            one.standing != Standing::Ended
                && (group.is_some_and(|leader| leader.has(one))
                    || process::was_given(one.pid, &variable))
        });
        all
    }
}

impl Leader {
    /// The leader of a group, as the system tells of it.
    pub(crate) fn of(one: &Process) -> Self {
        Self { pid: one.pid, session: one.session, process_start: one.start }
    }

    fn is(&self, one: &Process) -> bool {
        one.pid == self.pid && one.start == self.process_start
    }

    /// Whether it has not ended.
    pub(crate) fn lives(&self) -> bool {
        let found = process::process(self.pid);
        found.is_some_and(|it| self.is(&it) && it.standing != Standing::Ended)
    }

    /// Whether the number of its group is still its own.
    ///
    /// A group's number is not given to another process while anybody is in the group. So where its
    /// leader is gone, those in it are the old ones, unless the number came round again since: then
    /// a process of that number began at another time, or those in it are in another session.
    fn leads_still(&self) -> bool {
        process::process(self.pid).is_none_or(|it| self.is(&it))
    }

    fn has(&self, one: &Process) -> bool {
        one.group == self.pid && one.session == self.session && one.start >= self.process_start
    }
}

impl Claim {
    /// Records the command that runs now, or is about to.
    pub(crate) fn runs(&mut self, child: Child) {
        self.record.child = Some(child);
        self.write();
    }

    /// Records that no command runs.
    pub(crate) fn rests(&mut self) {
        self.record.child = None;
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

    use std::os::unix::process::CommandExt as _;

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
        let this = process::process(i32::try_from(std::process::id()).unwrap()).unwrap();
        let first = process::process(this.group).unwrap_or(this);
        let leader = Leader { pid: this.group, ..Leader::of(&first) };
        let started_at = Timestamp::from_unix_ms(1);
        Child {
            mark: Uuid::new_v4(),
            attempt: 3,
            started_at,
            output: [Some(7), None],
            leader: Some(leader),
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
        let mut group = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let pid = i32::try_from(group.id()).unwrap();
        let leader = Leader::of(&process::process(pid).unwrap());
        claim.runs(Child { leader: Some(leader), ..own() });
        drop(claim);
        for _ in 0..2 {
            let (_, left) = registry.claim(&agent("a")).unwrap();
            let left = left.unwrap();
            assert_eq!(left.child.attempt, 3);
            assert!(left.survivors.iter().any(|one| one.pid == pid), "{left:?}");
        }
        group.kill().unwrap();
        group.wait().unwrap();
        let (mut claim, _) = registry.claim(&agent("a")).unwrap();
        claim.rests();
        drop(claim);
        assert_eq!(registry.claim(&agent("a")).unwrap().1, None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_number_that_came_round_again_is_no_survivor() {
        let leader = own().leader.unwrap();
        let later = Leader { process_start: leader.process_start + 1, ..leader };
        assert_eq!(Child { leader: Some(later), ..own() }.survivors(), []);
        let elsewhere = Leader { session: leader.session + 1, ..leader };
        assert_eq!(Child { leader: Some(elsewhere), ..own() }.survivors(), []);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_child_whose_number_was_not_recorded_yet_is_found_by_its_mark() {
        let child = Child { leader: None, ..own() };
        let mut marked = std::process::Command::new("cat")
            .env(MARK, child.mark.to_string())
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let found = child.survivors();
        marked.kill().unwrap();
        marked.wait().unwrap();
        assert_eq!(
            found.iter().map(|one| one.pid.cast_unsigned()).collect::<Vec<_>>(),
            [marked.id()]
        );
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
