//! The reserve, and what is done when the disk is full.
//!
//! A file of zeros keeps room for one small segment and the live half of a large one. When the disk
//! is full the segment made ahead goes first, then what retention already let go is compacted, with
//! the reserve's room to copy into. The reserve serves forgets, compaction and events; before a new
//! checkpoint is tried again it is filled again.

use std::io;
use std::sync::atomic::Ordering;

use super::compaction::{Compacted, CompactionError, Which};
use super::{Store, remove_if_there};
use crate::disk::{Durability, PublishError, publish_with};

static PIECE: [u8; 64 << 10] = [0; 64 << 10];

impl Store {
    /// Bytes the reserve should have: what compaction may have to copy before it frees anything, half
    /// the largest segment or all that is held, and no less than a smallest segment.
    fn reserve_bytes(&self) -> u64 {
        let largest = self.segments.read().values().map(|segment| segment.header.length).max();
        let smallest = self.ground.commit.segment_bytes_min;
        let held = self.catalog().held_bytes();
        (largest.unwrap_or(0) / 2).min(held).max(smallest)
    }

    /// Fills the reserve where it is missing or too small.
    pub(crate) fn fill_reserve(&self) -> io::Result<()> {
        if self.writer.is_none() {
            return Ok(());
        }
        let _tenure = self.tenure()?;
        let path = self.layout.reserve();
        let wanted = self.reserve_bytes();
        let there = match self.disk().metadata(&path) {
            Ok(found) => found.len,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        if there < wanted {
            self.write_reserve(wanted)?;
        }
        self.reserve_is_out.store(false, Ordering::Relaxed);
        Ok(())
    }

    fn write_reserve(&self, wanted: u64) -> io::Result<()> {
        publish_with(self.disk(), &self.layout.reserve(), Durability::Unsynced, |file| {
            let mut at = 0;
            while at < wanted {
                let piece = usize::try_from(wanted - at).unwrap_or(PIECE.len()).min(PIECE.len());
                file.write_all_at(&PIECE[..piece], at)?;
                at += piece as u64;
            }
            Ok(())
        })
        .map_err(PublishError::into_io)
    }

    /// Whether the reserve was let go and not filled again.
    #[cfg(feature = "server")]
    pub(crate) fn is_without_reserve(&self) -> bool {
        self.reserve_is_out.load(Ordering::Relaxed)
    }

    /// Whether a new checkpoint, or what can be made anew, may be written: not into the room that the
    /// reserve left behind.
    pub(crate) fn takes_checkpoints(&self) -> io::Result<()> {
        if self.reserve_is_out.load(Ordering::Relaxed) { self.fill_reserve() } else { Ok(()) }
    }

    /// Frees what can be freed on a full disk; an error where a new checkpoint must not be tried.
    pub(crate) fn make_room(&self) -> Result<(), CompactionError> {
        self.compact_in_reserve()?;
        self.fill_reserve().map_err(CompactionError::Reserve)
    }

    /// Compacts while the reserve is out and words fill the segment that its room went into. Full, it
    /// would not even take the word that another segment is compacted. Looked at again whenever half
    /// of the room that was left is gone.
    pub(crate) fn make_room_for_words(&self) -> Result<(), CompactionError> {
        let Some(writer) = &self.writer else { return Ok(()) };
        if !self.reserve_is_out.load(Ordering::Relaxed) {
            self.room_looked_at.store(0, Ordering::Relaxed);
            return Ok(());
        }
        let left = writer.lock().active().room();
        let before = self.room_looked_at.load(Ordering::Relaxed);
        if left <= before && left > before / 2 {
            return Ok(());
        }
        self.room_looked_at.store(left, Ordering::Relaxed);
        if self.fill_reserve().is_ok() { Ok(()) } else { self.compact_in_reserve().map(drop) }
    }

    /// Compacts what retention let go, in the room that the reserve keeps; what needs no copy first.
    pub(crate) fn compact_in_reserve(&self) -> Result<Compacted, CompactionError> {
        self.release_reserve()?;
        let dead = self.compact(Which::Dead, &mut |_, _| {})?;
        let rest = self.compact(Which::UnderHalfLive, &mut |_, _| {})?;
        self.unlink_void()?;
        let segments_removed = dead.segments_removed + rest.segments_removed;
        Ok(Compacted { segments_removed, before_bytes: dead.before_bytes, ..rest })
    }

    /// Compacts everything. Where the disk has no room for a copy of all that is live, it frees what
    /// can be freed without; what was copied until then counts.
    pub(crate) fn compact_all(
        &self,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Compacted, CompactionError> {
        let before_bytes = self.log_bytes();
        match self.compact(Which::All, progress) {
            Err(error) if error.is_full() => {
                tracing::info!(%error, "there is no room to rewrite the whole log at once");
                let done = self.compact_in_reserve()?;
                Ok(Compacted { before_bytes, ..done })
            }
            done => done,
        }
    }

    /// Lets the segment made ahead and the reserve go, so that a word (a forget, an event) or
    /// compaction finds room.
    pub(crate) fn release_reserve(&self) -> io::Result<()> {
        let Some(writer) = &self.writer else { return Ok(()) };
        let _tenure = self.tenure()?;
        writer.lock().drop_spare();
        self.unlink_void()?;
        self.reserve_is_out.store(true, Ordering::Relaxed);
        remove_if_there(self.disk(), &self.layout.reserve())
    }
}
