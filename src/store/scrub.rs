//! What verification asks of a store: segments read from end to end, views compared.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::catalog::{BlockKey, Held};
use super::read::{ContentError, OpenPacks};
use super::views::{self, Listed, View, ViewError};
use super::{Store, quarantine};
use crate::commit::frame::Found;
use crate::commit::scan::{self, Broken, Until};
use crate::commit::segment::{self, Segment};
use crate::commit::summary;
use crate::commit::writer::AppendError;
use crate::encode::directory;
use crate::encode::event::Sealed;
use crate::encode::manifest::Manifest;
use crate::state::{AgentId, CheckpointId, Seq};

/// A part of a store that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "server", schema(as = DamageFinding))]
pub struct Finding {
    /// Where.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub file: PathBuf,
    /// What is wrong, in words.
    pub what: String,
    /// Offset of the first byte concerned.
    pub offset: u64,
    /// Bytes concerned.
    pub bytes: u64,
}

/// A checkpoint that cannot be read as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct DamagedCheckpoint {
    /// Whose.
    pub agent_id: AgentId,
    /// Its number.
    pub seq: Seq,
    /// Which.
    pub checkpoint_id: CheckpointId,
    /// What is wrong, in words.
    pub why: String,
}

/// What reading a segment found.
#[derive(Debug, Default)]
pub(crate) struct Scrubbed {
    pub bytes: u64,
    pub findings: Vec<Finding>,
}

/// How a view stands.
#[derive(Debug)]
pub(crate) enum ViewFault {
    None,
    Wrong(String),
    /// It shows a checkpoint that the log does not hold and nobody forgot.
    Lost(DamagedCheckpoint),
}

impl Store {
    /// The live segments, the newest included.
    pub(crate) fn segment_numbers(&self) -> Vec<u64> {
        self.segments.read().keys().copied().collect()
    }

    /// What is known to be damaged since the store was opened.
    pub(crate) fn standing_faults(&self) -> Vec<Finding> {
        self.shown.lock().faults.clone()
    }

    /// Notes that what was damaged is no longer part of the store.
    pub(crate) fn clear_faults(&self) {
        self.shown.lock().faults.clear();
    }

    /// Segments that something damaged lies in.
    pub(crate) fn broken_segments(&self) -> BTreeSet<u64> {
        let shown = self.shown.lock();
        let named = shown
            .faults
            .iter()
            .filter_map(|fault| segment::number_of(fault.file.file_name()?.to_str()?, "log"));
        named.chain(shown.broken.iter().copied()).collect()
    }

    /// Takes in what can be read of these segments now: at opening the disk may have refused part of
    /// it.
    pub(crate) fn read_again(&self, numbers: &BTreeSet<u64>) -> Result<(), ContentError> {
        let Some(writer) = &self.writer else { return Ok(()) };
        let live = writer.lock().live().clone();
        for sealed in live.values().filter(|sealed| numbers.contains(&sealed.segment)) {
            let number = sealed.segment;
            let Some(segment) = self.segments.read().get(&number).cloned() else { continue };
            let mut records = Vec::new();
            let scan = scan::scan(&segment, Until::Sealed(sealed.end), &mut |batch| {
                records.extend(batch.records);
            });
            let scan = scan.map_err(|source| ContentError::Io { segment: number, source })?;
            records.extend(scan.gaps.into_iter().chain(scan.tail).flat_map(|gap| gap.salvaged));
            let mut catalog = self.catalog.write();
            catalog.segments.remove(&number);
            for record in &records {
                summary::items_of(number, record, &mut |item| catalog.apply(&item));
            }
        }
        Ok(())
    }

    /// Whether a checkpoint is its agent's newest.
    pub(crate) fn is_newest(&self, held: &Held) -> bool {
        let catalog = self.catalog();
        let shelf = catalog.agents.get(&held.manifest.agent);
        shelf.and_then(|shelf| shelf.checkpoints.keys().next_back()) == Some(&held.manifest.seq)
    }

    /// Notes that a checkpoint was read and is sound.
    pub(crate) fn note_sound(&self, id: CheckpointId) {
        if self.catalog().is_damaged(id) {
            self.catalog.write().set_damaged(id, false);
        }
    }

    /// Ends the current segment, so that the next batch begins another.
    pub(crate) fn seal(&self) -> Result<(), AppendError> {
        if let Some(writer) = &self.writer {
            writer.lock().seal();
            self.write_events(Vec::new())?;
        }
        Ok(())
    }

    /// Reads a segment from end to end and proves every batch and both headers.
    pub(crate) fn scrub_segment(&self, number: u64) -> Result<Scrubbed, ContentError> {
        let Some(segment) = self.segments.read().get(&number).cloned() else {
            return Ok(Scrubbed::default());
        };
        let io = |source| ContentError::Io { segment: number, source };
        let mut found = Scrubbed::default();
        let sealed =
            self.writer.as_ref().and_then(|writer| writer.lock().live().get(&number).copied());
        let until = match &sealed {
            Some(sealed) => Until::Sealed(sealed.end),
            None => self.written_end(number),
        };
        let scan = scan::scan(&segment, until, &mut |batch| {
            for record in &batch.records {
                check_pack(number, record, &mut found.findings);
            }
        })
        .map_err(io)?;
        found.bytes = scan.end;
        for gap in scan.gaps.iter().chain(&scan.tail) {
            found.findings.push(self.set_aside(&segment, gap));
        }
        if let Some(sealed) = sealed {
            check_end(&segment, &scan, &sealed, &mut found.findings);
        }
        let here =
            Segment::open(self.disk(), &self.layout.log(), number, crate::disk::Access::Read);
        match here {
            Ok(here) if here.by_second => {
                found.findings.push(finding(number, 0, 512, "its first header is broken"));
            }
            Ok(here) if !here.second_header_is_sound().map_err(io)? => {
                let at = here.header.length.saturating_sub(512);
                found.findings.push(finding(number, at, 512, "its second header is broken"));
            }
            Ok(_) => {}
            Err(error) if error.is_absence() && self.may_have_gone(number) => {}
            Err(error) => found.findings.push(finding(number, 0, 0, &error.to_string())),
        }
        if !found.findings.is_empty() {
            self.shown.lock().broken.insert(number);
        }
        Ok(found)
    }

    /// Whether compaction, here or in the process that writes, may have taken a segment away while it
    /// was read through its open file.
    fn may_have_gone(&self, number: u64) -> bool {
        self.writer.is_none() || !self.segments.read().contains_key(&number)
    }

    /// How far the newest segment is read: to where this process has written.
    fn written_end(&self, number: u64) -> Until {
        let writer = self.writer.as_ref().map(|writer| writer.lock());
        match writer {
            Some(writer) if writer.active().number() == number => {
                Until::Sealed(writer.active().data_end)
            }
            Some(_) => Until::Head,
            // Beside a writer: what it is writing just now is none of the reader's business.
            None => match self.seen_end {
                Some(end) if end.segment == number => Until::Sealed(end.offset),
                _ => Until::Head,
            },
        }
    }

    fn set_aside(&self, segment: &Segment, gap: &Broken) -> Finding {
        let file = self.layout.log().join(segment::file_name(segment.number()));
        if self.is_writable()
            && !gap.range.is_empty()
            && let Err(error) = quarantine::keep_range(self.disk(), &self.layout, &file, &gap.range)
        {
            tracing::warn!(%error, "damage could not be copied aside");
        }
        let bytes = gap.range.end - gap.range.start;
        finding(segment.number(), gap.range.start, bytes, "a range holds no whole batch")
    }

    /// Compares every view with the log. A view that is wrong is made anew by the next pass.
    pub(crate) fn check_views(&self) -> Result<Vec<(PathBuf, ViewFault)>, ContentError> {
        let io = |source| ContentError::Io { segment: 0, source };
        let mut listed = views::list(self.disk(), &self.layout).map_err(io)?;
        if !self.is_writable() {
            // Another process may have made views since the log was read, and taken some away.
            let known = self.shown.lock().viewed.clone();
            listed.retain(|view| known.contains(&view.name.id));
            return Ok(listed.iter().map(|view| self.check_view(view)).collect());
        }
        let mut found: Vec<(PathBuf, ViewFault)> =
            listed.iter().map(|view| self.check_view(view)).collect();
        let seen = views::ids(&listed);
        let missing: Vec<CheckpointId> =
            self.catalog().ids().filter(|id| !seen.contains(id)).collect();
        let mut shown = self.shown.lock();
        for id in missing {
            if shown.viewed.remove(&id) {
                let path = PathBuf::from(format!("the view of {id}"));
                found.push((path, ViewFault::Wrong("it is missing".to_owned())));
            }
            shown.unviewed.insert(id);
        }
        Ok(found)
    }

    fn check_view(&self, listed: &Listed) -> (PathBuf, ViewFault) {
        let path = self.layout.view(&listed.agent, &listed.name);
        let id = listed.name.id;
        let (held, forgotten) = {
            let catalog = self.catalog();
            (catalog.get(id).cloned(), catalog.is_forgotten(id))
        };
        let read = View::read(self.disk(), &path);
        let fault = match (held, read) {
            (None, _) if forgotten => ViewFault::None,
            // A copy under another name shows nothing that is lost.
            (None, Ok(view)) if view.manifest.id != id => ViewFault::None,
            (None, read) => ViewFault::Lost(DamagedCheckpoint {
                agent_id: listed.agent.clone(),
                seq: listed.name.seq,
                checkpoint_id: id,
                why: match read {
                    Ok(_) => "the log does not hold it; its view does".to_owned(),
                    Err(error) => format!("the log does not hold it, and {error}"),
                },
            }),
            (Some(held), Ok(view)) if view.manifest == held.manifest => ViewFault::None,
            (Some(_), Ok(_)) => ViewFault::Wrong("it shows something else".to_owned()),
            (Some(_), Err(ViewError::Io(error))) => ViewFault::Wrong(error.to_string()),
            (Some(_), Err(ViewError::Damaged(why))) => ViewFault::Wrong(why),
        };
        if matches!(fault, ViewFault::Wrong(_)) {
            let mut shown = self.shown.lock();
            shown.viewed.remove(&id);
            shown.unviewed.insert(id);
        }
        (path, fault)
    }

    /// The manifest and state that a checkpoint's view holds sound.
    pub(crate) fn view_copy(&self, id: CheckpointId) -> Option<(Manifest, Vec<u8>)> {
        let listed = views::list(self.disk(), &self.layout).ok()?;
        let one = listed.iter().find(|listed| listed.name.id == id)?;
        self.read_view(&self.layout.view(&one.agent, &one.name))
    }

    /// The manifest and state of the view at a path, where they are sound and the state is in it.
    pub(crate) fn read_view(&self, path: &Path) -> Option<(Manifest, Vec<u8>)> {
        let view = View::read(self.disk(), path).ok()?;
        let state = view.state?;
        Some((view.manifest, state))
    }

    /// No damaged block of a checkpoint counts as present any more, as far as its nodes can be read.
    pub(crate) fn forget_blocks_of(&self, id: CheckpointId) {
        let mut waiting: Vec<BlockKey> = {
            let catalog = self.catalog();
            catalog.get(id).into_iter().flat_map(|held| held.manifest.content_roots()).collect()
        };
        let mut packs = OpenPacks::default();
        while let Some(key) = waiting.pop() {
            let bytes = self.read_block(&key, &mut packs);
            let sound = bytes.as_ref().is_ok_and(|bytes| crate::state::Digest::of(bytes) == key.0);
            if let (true, Ok(bytes)) = (sound, &bytes) {
                waiting.extend(directory::references(key.1, bytes).unwrap_or_default());
            }
            if !sound {
                self.catalog.write().drop_block(&key);
            }
        }
    }
}

fn check_pack(number: u64, record: &Found, findings: &mut Vec<Finding>) {
    if !summary::items_of(number, record, &mut |_| {}) {
        let what = "a pack cannot be opened";
        findings.push(finding(number, record.offset, record.stored_len(), what));
    }
}

fn finding(segment: u64, offset: u64, bytes: u64, what: &str) -> Finding {
    let file = Path::new("log").join(segment::file_name(segment));
    Finding { file, what: what.to_owned(), offset, bytes }
}

fn check_end(segment: &Segment, scan: &scan::Scan, sealed: &Sealed, findings: &mut Vec<Finding>) {
    let whole = scan.end >= sealed.end && scan.before == Some(sealed.checksum);
    if !whole && findings.is_empty() {
        let from = scan.end.min(sealed.end);
        let what = "it does not end as its successor says: an older copy, or cut short";
        findings.push(finding(segment.number(), from, sealed.end - from, what));
    }
}
