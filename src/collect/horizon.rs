//! Which times of change prove something.
//!
//! A file that is the same by length, times and inode is taken to hold the same bytes. That is only
//! right where a later change would have shown another time, and times move in steps: so a change
//! that lies too close before the scan proves nothing, and neither does one in the future. Such a
//! file is read again by the next scan. The scan's own beginning is the measure, not the moment a
//! file is looked at: which files are mapped was asked at the beginning, and a mapping made after it
//! shows as a change after it.
//!
//! A wall clock that went back since the last scan could pass the same moments once more; then no
//! time proves anything for one scan.

use crate::disk::FileTime;
use crate::state::Timestamp;

/// The kernel's clock for files moves in steps of up to 10 ms.
const MARGIN_MS: i64 = 20;
/// Where times have whole seconds only; FAT has every second one.
const MARGIN_COARSE_MS: i64 = 2000;
/// Where another machine's clock sets the times.
const MARGIN_NETWORK_MS: i64 = 60_000;

/// Tells times that prove something from those that are too young.
#[derive(Debug, Clone, Copy)]
pub(super) struct Horizon {
    /// The wall clock when the scan began.
    pub began: Timestamp,
    /// The files lie on another machine.
    pub is_network: bool,
}

impl Horizon {
    /// Whether something that changes after the beginning could show this time of change.
    pub(super) fn is_racy(&self, changed: FileTime) -> bool {
        let margin = match changed.nanos {
            _ if self.is_network => MARGIN_NETWORK_MS,
            0 => MARGIN_COARSE_MS,
            _ => MARGIN_MS,
        };
        Timestamp::from(changed).unix_ms() >= self.began.unix_ms().saturating_sub(margin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_racy(is_network: bool, before_ms: i64, nanos: u32) -> bool {
        let changed = FileTime { secs: 1000, nanos };
        let ms = Timestamp::from(changed).unix_ms() + before_ms;
        Horizon { began: Timestamp::from_unix_ms(ms), is_network }.is_racy(changed)
    }

    #[test]
    fn only_what_is_clearly_older_proves_something() {
        for (is_network, margin, nanos) in
            [(false, 20, 5_000_000), (false, 2000, 0), (true, 60_000, 7)]
        {
            assert!(is_racy(is_network, margin, nanos), "{margin} ms before");
            assert!(!is_racy(is_network, margin + 1, nanos), "{margin} ms before and more");
            assert!(is_racy(is_network, -1_000_000, nanos), "in the future");
        }
    }
}
