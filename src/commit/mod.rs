//! The transaction log: everything durable goes through it.
//!
//! The way of a record: [`writer`] lays it out in a batch ([`frame`]), appends the batch to the
//! newest [`segment`] and syncs it, once. The way back: [`survey`] finds out what a log holds
//! ([`scan`] reads a segment, [`summary`] spares reading a sealed one), and [`recover`] makes durable
//! what is believed before anything more is written. [`group`] lets many callers share one sync.
//!
//! The stage promises that what an append returned for survives any crash, and that nothing that was
//! not whole is ever believed. It assumes POSIX and no more (STORAGE: what was not synced may be
//! there in any part), one writer at a time, and that rewriting a sector with the same prefix leaves
//! the prefix alone. It does not know what checkpoints mean; the store does.

use serde::{Deserialize, Serialize};

pub(crate) mod frame;
pub(crate) mod group;
pub(crate) mod recover;
pub(crate) mod scan;
pub(crate) mod segment;
pub(crate) mod summary;
pub(crate) mod survey;
pub(crate) mod writer;

/// How the log is laid out on the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Bytes of a new store's first segment; segments grow from here with use.
    pub segment_bytes_min: u64,
    /// Bytes a segment grows to.
    pub segment_bytes_max: u64,
    /// Batches begin at multiples of this many bytes, a power of two: 8, or the sector size of a disk
    /// on which rewriting a sector can destroy what it held before.
    pub batch_align: u32,
}

impl Options {
    /// Checks that the numbers make sense.
    ///
    /// # Errors
    /// Says which does not.
    pub fn check(&self) -> Result<(), &'static str> {
        let Self { segment_bytes_min: min, segment_bytes_max: max, batch_align: align } = *self;
        if !(4 << 10..=1 << 30).contains(&min) {
            Err("log.segment_bytes_min is from 4 KiB to 1 GiB")
        } else if !(min..=1 << 30).contains(&max) {
            Err("log.segment_bytes_max is from segment_bytes_min to 1 GiB")
        } else if !(8..=64 << 10).contains(&align) || !align.is_power_of_two() {
            Err("log.batch_align is a power of two from 8 to 64 KiB")
        } else {
            Ok(())
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self { segment_bytes_min: 512 << 10, segment_bytes_max: 64 << 20, batch_align: 8 }
    }
}
