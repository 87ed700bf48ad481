//! A command and everything it starts: one process group, watched, signalled, ended, reaped.
//!
//! A command runs in a process group of its own. This process is the subreaper of its descendants,
//! so one that outlives its parent comes here and is neither an orphan nor a zombie. The reaper
//! waits for *every* child of this process and tells the group it belongs to, but for those that were
//! started to be waited for ([`children`]).
//!
//! A group that outlived a killed predecessor is no child of ours. It can be adopted: its end is
//! seen, but not how it ended, which the system tells the parent alone.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
use tokio::signal::unix::{self, SignalKind};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::sleep;

use super::claim::{Child, Leader};
use super::exit::Exit;
use crate::disk::children;
use crate::disk::process::{self, Process, Standing};

/// How often it is looked whether what was told to stop or to end has done so.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// How often it is looked whether an adopted command still lives.
const ADOPTED_EVERY: Duration = Duration::from_millis(100);

/// A stop signal takes effect at once, except in the middle of a system call that cannot be
/// interrupted; nobody waits for that.
const FREEZE_WITHIN: u32 = 100;

/// What became of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// A signal of this number stopped it.
    Stopped(i32),
    /// It ended.
    Ended(Exit),
}

/// Waits for every child of this process.
#[derive(Debug, Default)]
pub(crate) struct Reaper {
    watched: Mutex<HashMap<i32, UnboundedSender<Change>>>,
}

/// A command that runs, and everything it started.
#[derive(Debug)]
pub(crate) struct Group {
    pid: Pid,
    watch: Watch,
    reaper: Arc<Reaper>,
}

/// The number of a group.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Handle(Pid);

#[derive(Debug)]
enum Watch {
    Child { changes: UnboundedReceiver<Change>, children: unix::Signal },
    Adopted(Leader),
}

impl Reaper {
    /// Makes this process the one that its descendants come to when their parents are gone.
    pub(crate) fn begin() -> io::Result<Arc<Self>> {
        #[cfg(target_os = "linux")]
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        Ok(Arc::default())
    }

    /// Starts a command in a process group of its own.
    pub(crate) fn spawn(self: &Arc<Self>, command: &mut Command) -> io::Result<Group> {
        let children = unix::signal(SignalKind::child())?;
        let (sender, changes) = unbounded_channel();
        // Held while the command starts: a child that fails to start is waited for by the standard
        // library, and one that ends at once must not be reaped before it is known.
        let mut watched = self.watched.lock();
        let child = command.process_group(0).spawn()?;
        let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
        watched.insert(pid, sender);
        drop(watched);
        self.group(pid, Watch::Child { changes, children })
    }

    /// Takes charge of a group that a predecessor started and whose leader still lives.
    pub(crate) fn adopt(self: &Arc<Self>, leader: Leader) -> io::Result<Group> {
        if !leader.lives() {
            return Err(Errno::SRCH.into());
        }
        self.group(leader.pid, Watch::Adopted(leader))
    }

    fn group(self: &Arc<Self>, pid: i32, watch: Watch) -> io::Result<Group> {
        let pid = Pid::from_raw(pid).ok_or_else(|| io::Error::from(Errno::SRCH))?;
        Ok(Group { pid, watch, reaper: Arc::clone(self) })
    }

    /// Reaps what has ended, and tells those who wait. What others in this process wait for is left
    /// to them.
    pub(crate) fn reap(&self) {
        let mut watched = self.watched.lock();
        let pids: Vec<i32> = watched.keys().copied().collect();
        for pid in pids {
            while let Some(status) = changed(pid) {
                tell(&mut watched, pid, status);
            }
        }
        let theirs = children::waited_for();
        let of_others =
            |one: &Process| u32::try_from(one.pid).is_ok_and(|pid| theirs.contains(&pid));
        for one in process::own_children() {
            let ended = one.standing == Standing::Ended;
            if ended && !watched.contains_key(&one.pid) && !of_others(&one) {
                changed(one.pid);
            }
        }
    }

    /// Orphans that came to this process: its children that nobody watches.
    fn orphans(&self) -> Vec<Process> {
        let own = rustix::process::getpid().as_raw_nonzero().get();
        let watched = self.watched.lock();
        let orphan = |one: &Process| one.parent == own && !watched.contains_key(&one.group);
        let mut all = process::processes();
        all.retain(|one| orphan(one) && one.standing != Standing::Ended);
        all
    }
}

/// What became of a child since this was last asked; of one that ended it is told once.
fn changed(pid: i32) -> Option<WaitStatus> {
    let pid = Pid::from_raw(pid)?;
    loop {
        match rustix::process::waitpid(Some(pid), WaitOptions::NOHANG | WaitOptions::UNTRACED) {
            Ok(told) => return told.map(|(_, status)| status),
            Err(Errno::INTR) => {}
            Err(_) => return None,
        }
    }
}

fn tell(watched: &mut HashMap<i32, UnboundedSender<Change>>, pid: i32, status: WaitStatus) {
    let change = match status.stopping_signal() {
        Some(signal) => Change::Stopped(signal),
        None => Change::Ended(Exit::Told(ExitStatus::from_raw(status.as_raw()))),
    };
    let Some(sender) = watched.get(&pid) else { return };
    let nobody_listens = sender.send(change).is_err();
    if nobody_listens || matches!(change, Change::Ended(_)) {
        watched.remove(&pid);
    }
}

impl Group {
    /// The number of the group, and of the process that was started.
    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// Waits for the next change. Nothing is missed where the waiting is given up and begun again.
    pub(crate) async fn changed(&mut self) -> Change {
        match &mut self.watch {
            Watch::Child { changes, children } => loop {
                self.reaper.reap();
                if let Ok(change) = changes.try_recv() {
                    return change;
                }
                children.recv().await;
            },
            Watch::Adopted(leader) => {
                // Only a parent is told of an end; others have to look.
                while leader.lives() {
                    sleep(ADOPTED_EVERY).await;
                }
                Change::Ended(Exit::Unknown)
            }
        }
    }

    /// Sends a signal to every process of the group; whether there was one.
    pub(crate) fn signal(&self, signal: Signal) -> bool {
        signal_group(self.pid, signal)
    }

    /// Sends a signal to the process that was started, and to no other.
    pub(crate) fn signal_first(&self, signal: Signal) {
        signal_one(self.pid.as_raw_nonzero().get(), signal);
    }

    /// Ends what the command left behind when it ended: others of its group, and orphans; how many
    /// there were.
    pub(crate) async fn clear(&self, grace: Duration) -> usize {
        let group = self.pid.as_raw_nonzero().get();
        let left = || {
            self.reaper.reap();
            let mut left = self.reaper.orphans();
            left.extend(members(group).into_iter().filter(|one| one.group == group));
            left
        };
        end_all(left, grace).await
    }

    /// What stops the group, for those who do not own it.
    pub(crate) fn handle(&self) -> Handle {
        Handle(self.pid)
    }
}

impl Handle {
    /// Stops every process of the group, and returns when they stand.
    pub(crate) async fn freeze(self) {
        if !signal_group(self.0, Signal::STOP) {
            return;
        }
        let group = self.0.as_raw_nonzero().get();
        for _ in 0..FREEZE_WITHIN {
            if members(group).iter().all(|one| one.standing != Standing::Running) {
                return;
            }
            sleep(LOOK_EVERY).await;
        }
    }
}

fn signal_group(group: Pid, signal: Signal) -> bool {
    match rustix::process::kill_process_group(group, signal) {
        Ok(()) => true,
        Err(error) => {
            if error != Errno::SRCH {
                tracing::warn!(%group, ?signal, %error, "cannot send a signal");
            }
            false
        }
    }
}

/// Those of a group that live.
fn members(group: i32) -> Vec<Process> {
    let mut all = process::processes();
    all.retain(|one| one.group == group && one.standing != Standing::Ended);
    all
}

/// Ends what a killed predecessor left; whether nothing is left of it.
pub(crate) async fn end_survivors(child: &Child, grace: Duration) -> bool {
    end_all(|| child.survivors(), grace).await;
    child.survivors().is_empty()
}

/// Asks all to end, kills after `grace` those that are left, and goes on while new ones come; how
/// many there were. Gives up on what a kill does not end within another `grace`.
async fn end_all(left: impl Fn() -> Vec<Process>, grace: Duration) -> usize {
    let mut asked = HashSet::new();
    let mut waited = Duration::ZERO;
    loop {
        let now = left();
        if now.is_empty() || waited > grace.saturating_mul(2).max(Duration::from_secs(5)) {
            return asked.len();
        }
        for one in now {
            let first = asked.insert((one.pid, one.start));
            if waited >= grace {
                signal_one(one.pid, Signal::KILL);
            } else if first {
                signal_one(one.pid, Signal::TERM);
                signal_one(one.pid, Signal::CONT);
            }
        }
        sleep(LOOK_EVERY).await;
        waited += LOOK_EVERY;
    }
}

fn signal_one(pid: i32, signal: Signal) {
    let Some(pid) = Pid::from_raw(pid) else { return };
    if let Err(error) = rustix::process::kill_process(pid, signal)
        && error != Errno::SRCH
    {
        tracing::warn!(%pid, ?signal, %error, "cannot send a signal");
    }
}
