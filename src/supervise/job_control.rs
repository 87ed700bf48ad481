//! Ctrl-Z: the command stops, and this process with it, so that a shell sees one job.
//!
//! With the terminal in the command's hands, Ctrl-Z stops the command's group; this process notices,
//! takes the terminal back and stops its own group, as the shell expects of a job. When the shell
//! lets it go on, in the foreground or not, the command goes on likewise. Where nobody could let this
//! process go on (it is a session's leader, or its parent keeps no jobs), a stop by the keyboard is
//! undone at once.
//!
//! Other runs that joined the sidecar that this process is are not stopped with it: the store is let
//! go before, and one of them takes it up.

use rustix::process::{Signal, getpid, getppid, kill_current_process_group, kill_process};

use super::attend::Watch;
use super::group::Group;
use super::life::Life;
use crate::disk::process::{Process, process, processes};

impl Life {
    /// The command was stopped by a signal.
    pub(super) async fn on_stopped(&mut self, group: &Group, watch: &mut Watch, signal: i32) {
        let by = Signal::from_named_raw(signal);
        if by == Some(Signal::STOP) && (self.under_way.is_some() && self.setup.options.freeze) {
            return;
        }
        watch.stopped = true;
        let by_keyboard = matches!(by, Some(Signal::TSTP | Signal::TTIN | Signal::TTOU));
        if !by_keyboard && !self.on_terminal {
            // Somebody stopped the command by hand, and will let it go on likewise.
            return;
        }
        let for_lack_of_it = matches!(by, Some(Signal::TTIN | Signal::TTOU));
        let has_it = self.terminal.as_mut().is_some_and(|it| it.is_held_by(group.pid()));
        if (for_lack_of_it && has_it) || !can_be_resumed() {
            return self.resume(group, watch);
        }
        if let Some(terminal) = &mut self.terminal {
            terminal.take_from(group.pid());
        }
        self.stop_with_it().await;
    }

    /// Stops this process and its group, where somebody can let them go on. The sidecar that it may
    /// be steps aside: whoever joined it would wait for as long as this lasts.
    pub(super) async fn stop_with_it(&self) {
        if can_be_resumed() {
            let aside = self.post.step_aside().await;
            stop_this_process();
            drop(aside);
        }
    }

    /// This process was let go on, or the command is to go on.
    pub(super) fn resume(&mut self, group: &Group, watch: &mut Watch) {
        if let Some(terminal) = &mut self.terminal {
            terminal.give(group.pid());
        }
        watch.goes_on(self.now());
        group.signal(Signal::CONT);
    }
}

fn stop_this_process() {
    // The others of the group as the keyboard would have it; this process listens for that signal,
    // and so takes the one that cannot be listened for. It goes on with SIGCONT, which it hears.
    let others = kill_current_process_group(Signal::TSTP);
    let this = kill_process(getpid(), Signal::STOP);
    for error in [others, this].into_iter().filter_map(Result::err) {
        tracing::warn!(%error, "cannot stop with the command");
    }
}

/// Whether somebody is there who can let this process go on when it is stopped: a process in the
/// same session and another group, such as a shell with job control, is the parent of one of its
/// group (what POSIX calls a group that is not orphaned).
fn can_be_resumed() -> bool {
    let own = getpid().as_raw_nonzero().get();
    let Some(this) = process(own) else { return getppid().is_some() };
    let keeps_jobs = |member: Process| {
        let parent = process(member.parent);
        parent.is_some_and(|it| it.session == this.session && it.group != this.group)
    };
    processes().into_iter().filter(|one| one.group == this.group).any(keeps_jobs)
}
