//! The protections that can be switched off, to see that `validate` would notice.
//!
//! A switch belongs to a thread and exists with the feature `testing` alone; without it every
//! protection stands and asking costs nothing. What is switched off works as if whoever wrote it had
//! forgotten it.

/// Something that the promises rest on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protection {
    /// A batch is synced before it counts.
    Sync,
    /// The directory of a new name is synced before the name is used.
    DirectorySync,
    /// What was read is proven against its checksum.
    Checksum,
    /// A batch says how far the log was durable before it.
    Mark,
    /// A receipt is given after the sync, not before.
    LateAcknowledgement,
    /// What recovery believes it first makes durable.
    DurableRecovery,
    /// Retention leaves alone what recovery needs.
    RetentionGuard,
    /// A restored file takes its place whole, by a rename.
    StagedRestore,
    /// A fallback takes only what belongs to its home.
    FallbackIdentity,
}

impl Protection {
    /// Every one.
    pub const ALL: [Self; 9] = [
        Self::Sync,
        Self::DirectorySync,
        Self::Checksum,
        Self::Mark,
        Self::LateAcknowledgement,
        Self::DurableRecovery,
        Self::RetentionGuard,
        Self::StagedRestore,
        Self::FallbackIdentity,
    ];
}

#[cfg(feature = "testing")]
mod switch {
    use std::cell::Cell;

    use super::Protection;

    thread_local! {
        static OFF: Cell<Option<Protection>> = const { Cell::new(None) };
    }

    /// Does `work` in this thread with one protection switched off, or with all of them standing.
    pub fn without<T>(off: Option<Protection>, work: impl FnOnce() -> T) -> T {
        struct Back(Option<Protection>);
        impl Drop for Back {
            fn drop(&mut self) {
                OFF.set(self.0);
            }
        }
        let _back = Back(OFF.replace(off));
        work()
    }

    pub(crate) fn stands(which: Protection) -> bool {
        OFF.get() != Some(which)
    }

    /// Does `work`; where `off` is switched off, what it appends is acknowledged too early.
    pub(crate) fn durably<T>(off: Protection, work: impl FnOnce() -> T) -> T {
        if stands(off) { work() } else { without(Some(Protection::LateAcknowledgement), work) }
    }
}

#[cfg(feature = "testing")]
pub use switch::without;
#[cfg(feature = "testing")]
pub(crate) use switch::{durably, stands};

/// Whether the protection works: always.
#[cfg(not(feature = "testing"))]
pub(crate) const fn stands(_: Protection) -> bool {
    true
}

/// Does `work`.
#[cfg(not(feature = "testing"))]
pub(crate) fn durably<T>(_: Protection, work: impl FnOnce() -> T) -> T {
    work()
}
