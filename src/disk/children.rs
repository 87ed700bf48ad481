//! Children of this process that somebody waits for by their number.
//!
//! Where a process takes charge of all its descendants it reaps whatever ends, and would take the
//! exit of a child from whoever waits for it. Children that are started here are left alone by it
//! until they were waited for.

use std::collections::BTreeSet;
use std::io;
use std::process::{Child, Command, ExitStatus};

use parking_lot::Mutex;

static WAITED_FOR: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// Starts a command that [`wait`] will be called for.
pub(crate) fn spawn(command: &mut Command) -> io::Result<Child> {
    // Held while it starts, because it may end before its number is known here.
    let mut waited_for = WAITED_FOR.lock();
    let child = command.spawn()?;
    waited_for.insert(child.id());
    Ok(child)
}

/// Waits for the end of a command that was started here.
pub(crate) fn wait(child: &mut Child) -> io::Result<ExitStatus> {
    let status = child.wait();
    WAITED_FOR.lock().remove(&child.id());
    status
}

/// Those that are waited for; none is started or forgotten while this is held.
#[cfg(feature = "cli")]
pub(crate) fn waited_for() -> parking_lot::MutexGuard<'static, BTreeSet<u32>> {
    WAITED_FOR.lock()
}
