//! The terminal, given to the command and taken back.
//!
//! Where this process begins as the foreground of its terminal, the command's group becomes the
//! foreground instead: it reads the keyboard, it gets Ctrl-C, Ctrl-Z and the size changes, and it may
//! set the terminal's modes. When it is stopped or has ended, the terminal and its modes come back
//! here, so that a shell finds them as it left them; when it goes on, it finds its own again.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::signal::{SigSet, SigmaskHow, Signal as Named};
use rustix::process::{Pid, getpgrp};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr, tcsetpgrp};

/// This process's terminal.
#[derive(Debug)]
pub(crate) struct Terminal {
    handle: OwnedFd,
    own: Pid,
    modes: Termios,
    /// The command's modes while it does not have the terminal.
    theirs: Option<Termios>,
}

impl Terminal {
    /// The terminal on stdin, where it is one and controls this process.
    pub(crate) fn of_stdin() -> Option<Self> {
        let handle = io::stdin().as_fd().try_clone_to_owned().ok()?;
        tcgetpgrp(&handle).ok()?;
        let modes = tcgetattr(&handle).ok()?;
        Some(Self { handle, own: getpgrp(), modes, theirs: None })
    }

    /// Whether this process's group is the foreground.
    pub(crate) fn is_ours(&self) -> bool {
        self.is_held_by(self.own)
    }

    /// Whether a group is the foreground.
    pub(crate) fn is_held_by(&self, group: Pid) -> bool {
        tcgetpgrp(&self.handle).is_ok_and(|foreground| foreground == group)
    }

    /// Makes a group the foreground, where this process is it; whether it was.
    pub(crate) fn give(&mut self, group: Pid) -> bool {
        if !self.is_ours() {
            return false;
        }
        if let Some(modes) = self.theirs.take() {
            self.set_modes(&modes);
        }
        self.set_foreground(group)
    }

    /// Becomes the foreground again where a group is it, with the modes from before it.
    pub(crate) fn take_from(&mut self, group: Pid) {
        if self.is_held_by(group) {
            self.theirs = tcgetattr(&self.handle).ok();
            if self.set_foreground(self.own) {
                self.set_modes(&self.modes);
            }
        }
    }

    /// Forgets the modes of a command that is gone.
    pub(crate) fn forget_modes(&mut self) {
        self.theirs = None;
    }

    fn set_modes(&self, modes: &Termios) {
        if let Err(error) = tcsetattr(&self.handle, OptionalActions::Drain, modes) {
            tracing::debug!(%error, "cannot set the terminal's modes");
        }
    }

    fn set_foreground(&self, group: Pid) -> bool {
        // From the background the change would stop this process, unless the signal is blocked.
        let mut stop = SigSet::empty();
        stop.add(Named::SIGTTOU);
        let before = stop.thread_swap_mask(SigmaskHow::SIG_BLOCK);
        let done = tcsetpgrp(&self.handle, group);
        if let Ok(before) = before
            && let Err(error) = before.thread_set_mask()
        {
            tracing::debug!(%error, "cannot restore the signal mask");
        }
        if let Err(error) = done {
            tracing::debug!(%error, "cannot change the terminal's foreground");
        }
        done.is_ok()
    }
}
