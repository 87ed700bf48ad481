//! The one who appends: one contiguous write and one sync for each batch, then the next segment.
//!
//! The writer promises that what [`Writer::append`] returned for is durable, and that nothing is
//! ever written behind bytes it no longer trusts: after a failed write or sync the segment takes no
//! more batches, and the batch goes to the next one. It assumes that its caller is the only writer
//! of the directory (the store's lock sees to that) and that batches come one after another.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::Options;
use super::frame::{
    self, BatchHead, Checksum, Layout, Outgoing, Place, RecordType, SegmentHeader, lone_mark_len,
};
use super::segment::{self, Segment};
use super::summary::{self, At, Builder, Item};
use crate::clock::Clock;
use crate::disk::Disk;
use crate::encode::event::{Event, Sealed, What};
use crate::protection::{self, Protection};

/// The longest segment that is zeroed while a commit waits for it.
const UNEXPECTED_BYTES_MAX: u64 = 4 << 20;

/// What every part of the log needs to know of its surroundings.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    pub disk: Arc<dyn Disk>,
    pub clock: Arc<dyn Clock>,
    pub dir: PathBuf,
    pub store_id: [u8; 16],
    pub options: Options,
}

/// Why a batch could not be made durable.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppendError {
    /// The next segment could not be made.
    #[error("cannot make segment {number}: {source}")]
    Segment { number: u64, source: io::Error },
    /// The write failed.
    #[error("cannot write to segment {segment}: {source}")]
    Write { segment: u64, source: io::Error },
    /// The sync failed.
    #[error("cannot sync segment {segment}: {source}")]
    Sync { segment: u64, source: io::Error },
    /// More than one batch can hold.
    #[error("a batch of {bytes} bytes is more than the log takes at once")]
    TooLarge { bytes: u64 },
}

impl AppendError {
    /// The error of the disk, with the words of the stage around it.
    pub(crate) fn into_io(self) -> io::Error {
        let words = self.to_string();
        match self {
            Self::Segment { source, .. }
            | Self::Write { source, .. }
            | Self::Sync { source, .. } => match source.raw_os_error() {
                // The code decides whether another try may help, and words would hide it.
                Some(code) => io::Error::from_raw_os_error(code),
                None => io::Error::new(source.kind(), words),
            },
            Self::TooLarge { .. } => io::Error::new(io::ErrorKind::InvalidInput, words),
        }
    }

    pub(crate) fn io(&self) -> Option<&io::Error> {
        match self {
            Self::Segment { source, .. }
            | Self::Write { source, .. }
            | Self::Sync { source, .. } => Some(source),
            Self::TooLarge { .. } => None,
        }
    }
}

/// Where a batch came to lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Appended {
    /// Where each record lies, in the order they were given.
    pub records: Vec<At>,
    /// End of the batch: everything before is durable.
    pub end: Place,
    pub bytes: u64,
}

/// A sealed segment whose summary is still to be written.
#[derive(Debug)]
pub(crate) struct Unsummarised {
    pub sealed: Sealed,
    pub salt: [u8; 32],
    pub items: Builder,
}

/// The segment that takes batches.
#[derive(Debug)]
pub(crate) struct Active {
    pub segment: Segment,
    /// Where the next batch goes.
    pub end: u64,
    /// End and checksum of the last batch that is no lone mark.
    pub data_end: u64,
    pub before: Checksum,
    /// The last batch is a lone mark.
    pub marked: bool,
    /// It holds no batch yet; the first one names its predecessor.
    pub unbegun: bool,
    /// It takes no more batches.
    pub refused: bool,
    pub items: Builder,
    pub began: Duration,
}

/// Appends batches to the newest segment.
#[derive(Debug)]
pub(crate) struct Writer {
    site: Site,
    active: Active,
    live: BTreeMap<u64, Sealed>,
    next_number: u64,
    next_event: u64,
    length: u64,
    /// Bytes of the largest batch of late; it fades as smaller ones follow.
    largest: u64,
    spare: Option<Segment>,
    /// What is appended is content ahead of its checkpoint: much more of it follows.
    is_ahead: bool,
    /// Segments that hold nothing and may be unlinked once a batch is durable elsewhere.
    void: Vec<u64>,
    unsummarised: Vec<Unsummarised>,
    layout: Layout,
}

/// An order to make a segment ahead of need.
#[derive(Debug, Clone)]
pub(crate) struct SpareOrder {
    header: SegmentHeader,
    site: Site,
}

impl SpareOrder {
    /// Makes the segment; takes as long as writing that many zeros and two syncs take.
    pub(crate) fn make(&self) -> io::Result<Segment> {
        Segment::make(&*self.site.disk, &self.site.dir, self.header.clone(), true)
    }
}

impl Writer {
    /// Starts the log of a new store: its first segment is made, and holds nothing yet.
    pub(crate) fn create(site: Site) -> Result<Self, AppendError> {
        let length = site.options.segment_bytes_min;
        Self::fresh(site, 1, 1, length, BTreeMap::new())
    }

    /// Writes the first batch of a fresh log or of what recovery rewrites, and a mark behind it, so
    /// that a start that follows at once finds nothing to do.
    pub(crate) fn begin(&mut self, records: &[Outgoing<'_>]) -> Result<Appended, AppendError> {
        let appended = protection::durably(Protection::DurableRecovery, || self.append(records))?;
        if let Err(error) = self.mark() {
            tracing::warn!(%error, "no mark behind the first batch; the next start begins another segment");
        }
        Ok(appended)
    }

    /// Starts a fresh segment behind the live ones.
    pub(crate) fn fresh(
        site: Site,
        number: u64,
        next_event: u64,
        length: u64,
        live: BTreeMap<u64, Sealed>,
    ) -> Result<Self, AppendError> {
        let header = new_header(&site, number, length);
        let segment = Segment::make(&*site.disk, &site.dir, header, true)
            .map_err(|source| AppendError::Segment { number, source })?;
        let active = Active::unbegun(segment, site.clock.monotonic());
        Ok(Self::resume(site, active, live, number + 1, next_event))
    }

    /// Goes on in a segment: a fresh one, or one whose last batch is a lone mark.
    pub(crate) fn resume(
        site: Site,
        active: Active,
        live: BTreeMap<u64, Sealed>,
        next_number: u64,
        next_event: u64,
    ) -> Self {
        Self {
            length: active.segment.header.length,
            largest: 0,
            site,
            active,
            live,
            next_number,
            next_event,
            spare: None,
            is_ahead: false,
            void: Vec::new(),
            unsummarised: Vec::new(),
            layout: Layout::default(),
        }
    }

    /// Numbers an event.
    pub(crate) fn event(&mut self, what: What) -> Event {
        let n = self.next_event;
        self.next_event += 1;
        Event::new(n, self.site.clock.now(), what)
    }

    /// Appends one batch and makes it durable. After an error none of it counts; the segment is
    /// left as it was at its last good sync, and the next call begins another.
    pub(crate) fn append(&mut self, records: &[Outgoing<'_>]) -> Result<Appended, AppendError> {
        let need = frame::batch_len(records, self.site.options.batch_align);
        if need > u64::from(frame::BODY_BYTES_MAX) {
            return Err(AppendError::TooLarge { bytes: need });
        }
        let begin = if self.active.unbegun { begin_room(self.live.len()) } else { 0 };
        if self.active.refused || !self.active.fits(need + begin) {
            self.roll(need)?;
        }
        match self.try_append(records) {
            // The disk may only have lost this place: a new one is tried once.
            Err(error) if error.io().is_some_and(is_of_the_place) => {
                tracing::warn!(%error, "the segment takes no more batches; trying the next one");
                self.roll(need)?;
                self.try_append(records)
            }
            other => other,
        }
    }

    /// Appends a batch of content that goes ahead of its checkpoint, as [`Writer::append`] does; the
    /// segments that are made for it are long and not zeroed.
    pub(crate) fn append_ahead(
        &mut self,
        records: &[Outgoing<'_>],
    ) -> Result<Appended, AppendError> {
        self.is_ahead = true;
        let appended = self.append(records);
        self.is_ahead = false;
        appended
    }

    fn try_append(&mut self, records: &[Outgoing<'_>]) -> Result<Appended, AppendError> {
        let begun = self.active.unbegun.then(|| self.begin_event().encode());
        let Some(begun) = &begun else { return self.write(records, false) };
        let mut all = Vec::with_capacity(records.len() + 1);
        all.push(Outgoing::new(RecordType::Event, begun));
        all.extend_from_slice(records);
        let mut appended = self.write(&all, true)?;
        appended.records.remove(0);
        Ok(appended)
    }

    fn begin_event(&mut self) -> Event {
        let predecessor = self.live.values().next_back().copied();
        let live = self.live.values().copied().collect();
        self.event(What::SegmentBegun { predecessor, live })
    }

    fn write(&mut self, records: &[Outgoing<'_>], first: bool) -> Result<Appended, AppendError> {
        let place = Place { segment: self.active.number(), offset: self.active.end };
        let mark = match self.live.values().next_back() {
            Some(before) if first => Place { segment: before.segment, offset: before.end },
            _ => place,
        };
        let mark = if protection::stands(Protection::Mark) { mark } else { Place::default() };
        let mut head = BatchHead::data(place, mark, self.active.before);
        head.first = first;
        let align = self.site.options.batch_align;
        let salt = self.active.segment.header.salt;
        self.layout.fill(head, records, &salt, align);
        self.active.store(&self.layout)?;
        let records = self.note(records);
        let bytes = self.layout.bytes.len() as u64;
        tracing::debug!(segment = place.segment, offset = place.offset, bytes, "durable");
        Ok(Appended { records, end: self.active.place(), bytes })
    }

    fn note(&mut self, records: &[Outgoing<'_>]) -> Vec<At> {
        let segment = self.active.number();
        let mut places = Vec::with_capacity(records.len());
        for (record, offset) in records.iter().zip(&self.layout.records) {
            self.active.note(segment, record, *offset);
            places.push(At { segment, offset: *offset, slot: summary::ALONE });
        }
        places
    }

    /// Writes a lone mark, without a sync: a true statement need not be durable.
    pub(crate) fn mark(&mut self) -> io::Result<()> {
        let active = &mut self.active;
        let is_off = !protection::stands(Protection::Mark);
        if active.marked || active.unbegun || active.refused || is_off {
            return Ok(());
        }
        let place = active.place();
        let align = active.segment.header.batch_align;
        let salt = active.segment.header.salt;
        self.layout.fill(BatchHead::lone_mark(place, active.before), &[], &salt, align);
        if let Err(error) = active.segment.write_at(&self.layout.bytes, active.end) {
            active.refused = true;
            return Err(error);
        }
        active.end += self.layout.bytes.len() as u64;
        active.marked = true;
        Ok(())
    }

    /// Moves on to the next segment, which takes a batch of at least `need` bytes.
    fn roll(&mut self, need: u64) -> Result<(), AppendError> {
        // The one that is left becomes live.
        let need = need + begin_room(self.live.len() + 1);
        let spare = self.spare.take().filter(|spare| self.spare_serves(spare, need));
        let segment = match spare {
            Some(spare) => spare,
            None => self.make_segment(need)?,
        };
        let next = Active::unbegun(segment, self.site.clock.monotonic());
        let last = std::mem::replace(&mut self.active, next);
        self.retire(last);
        Ok(())
    }

    fn spare_serves(&mut self, spare: &Segment, need: u64) -> bool {
        let first = spare.header.first_batch();
        let end = spare.header.batches_end();
        let serves = first + need + lone_mark_len(spare.header.batch_align) <= end;
        if !serves {
            self.void.push(spare.number());
        }
        serves
    }

    fn make_segment(&mut self, need: u64) -> Result<Segment, AppendError> {
        let align = self.site.options.batch_align;
        // A commit waits for this one: it is kept short, and what big content needs is a hole.
        let length = self.next_length();
        let length = if self.is_ahead { length } else { length.min(UNEXPECTED_BYTES_MAX) };
        let needed = segment::length_for(need, align);
        let zeroed = !self.is_ahead && needed <= UNEXPECTED_BYTES_MAX;
        let length = length.max(needed);
        match self.try_make(length, zeroed) {
            // What a failed directory sync leaves under a name is never used; another name may do.
            Err(error) if error.io().is_some_and(is_of_the_place) => self.try_make(length, zeroed),
            // A full disk may have room for a shorter one; the reserve is made for the shortest.
            Err(error) if error.io().is_some_and(is_full) => {
                let shortest = needed.max(self.site.options.segment_bytes_min);
                if shortest < length { self.try_make(shortest, zeroed) } else { Err(error) }
            }
            other => other,
        }
    }

    fn try_make(&mut self, length: u64, zeroed: bool) -> Result<Segment, AppendError> {
        let number = self.take_number();
        let header = new_header(&self.site, number, length);
        Segment::make(&*self.site.disk, &self.site.dir, header, zeroed).map_err(|source| {
            self.void.push(number);
            AppendError::Segment { number, source }
        })
    }

    fn take_number(&mut self) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        number
    }

    fn retire(&mut self, last: Active) {
        if last.unbegun {
            self.void.push(last.number());
            return;
        }
        let sealed = Sealed { segment: last.number(), end: last.data_end, checksum: last.before };
        tracing::debug!(segment = sealed.segment, end = sealed.end, "sealed");
        self.live.insert(sealed.segment, sealed);
        let salt = last.segment.header.salt;
        self.unsummarised.push(Unsummarised { sealed, salt, items: last.items });
    }

    /// Segments double while they fill within two seconds and shrink when they do not, and hold
    /// several batches of the size that is usual.
    fn next_length(&mut self) -> u64 {
        let Options { segment_bytes_min: min, segment_bytes_max: max, .. } = self.site.options;
        let took = self.site.clock.monotonic().saturating_sub(self.active.began);
        let length = if took < Duration::from_secs(2) { self.length * 2 } else { self.length / 2 };
        let several = segment::length_for(8 * self.largest, self.site.options.batch_align);
        self.length = length.max(several).clamp(min, max.max(min));
        self.length
    }

    /// Whether the current segment is half full.
    pub(crate) fn is_half_full(&self) -> bool {
        let header = &self.active.segment.header;
        self.active.end > header.first_batch() + header.length / 2
    }

    /// An order for the next segment, where there is none ahead.
    pub(crate) fn order_spare(&mut self) -> Option<SpareOrder> {
        if self.spare.is_some() || self.active.unbegun {
            return None;
        }
        let length = self.next_length();
        let number = self.take_number();
        let header = new_header(&self.site, number, length);
        Some(SpareOrder { header, site: self.site.clone() })
    }

    /// Takes a segment made ahead; one that came too late is let go.
    pub(crate) fn give_spare(&mut self, spare: Segment) {
        if self.spare.is_some() || spare.number() < self.active.number() {
            self.void.push(spare.number());
        } else {
            self.spare = Some(spare);
        }
    }

    /// Lets the segment made ahead go, to free its space.
    pub(crate) fn drop_spare(&mut self) {
        self.void.extend(self.spare.take().map(|spare| spare.number()));
    }

    /// Segments that hold nothing and may be unlinked.
    pub(crate) fn take_void(&mut self) -> Vec<u64> {
        if self.active.unbegun { Vec::new() } else { std::mem::take(&mut self.void) }
    }

    /// Counts a found segment among those that hold nothing.
    pub(crate) fn add_void(&mut self, number: u64) {
        self.void.push(number);
    }

    /// Sealed segments that have no summary yet.
    pub(crate) fn take_unsummarised(&mut self) -> Vec<Unsummarised> {
        std::mem::take(&mut self.unsummarised)
    }

    /// Takes a compacted segment off the list of live ones.
    pub(crate) fn drop_live(&mut self, segment: u64) {
        self.live.remove(&segment);
    }

    pub(crate) fn live(&self) -> &BTreeMap<u64, Sealed> {
        &self.live
    }

    pub(crate) fn active(&self) -> &Active {
        &self.active
    }

    /// Seals the current segment, so that the next batch begins another.
    pub(crate) fn seal(&mut self) {
        self.active.refused = true;
    }
}

impl Active {
    fn unbegun(segment: Segment, began: Duration) -> Self {
        let first = segment.header.first_batch();
        Self {
            segment,
            end: first,
            data_end: first,
            before: Checksum::default(),
            marked: false,
            unbegun: true,
            refused: false,
            items: Builder::default(),
            began,
        }
    }

    pub(crate) fn number(&self) -> u64 {
        self.segment.number()
    }

    pub(crate) fn place(&self) -> Place {
        Place { segment: self.number(), offset: self.end }
    }

    /// Bytes that batches may still take.
    pub(crate) fn room(&self) -> u64 {
        let header = &self.segment.header;
        header.batches_end().saturating_sub(self.end + lone_mark_len(header.batch_align))
    }

    fn fits(&self, need: u64) -> bool {
        let header = &self.segment.header;
        self.end + need + lone_mark_len(header.batch_align) <= header.batches_end()
    }

    /// Writes and syncs a batch; only then does it count.
    fn store(&mut self, layout: &Layout) -> Result<(), AppendError> {
        let segment = self.number();
        // Without the protection the batch before is synced, and this one counts already.
        let is_early =
            !protection::stands(Protection::LateAcknowledgement) && self.segment.sync().is_ok();
        let stored = self
            .segment
            .write_at(&layout.bytes, self.end)
            .map_err(|source| AppendError::Write { segment, source })
            .and_then(|()| {
                if is_early {
                    return Ok(());
                }
                self.segment.sync().map_err(|source| AppendError::Sync { segment, source })
            });
        if stored.is_err() {
            self.refused = true;
            return stored;
        }
        self.end += layout.bytes.len() as u64;
        self.data_end = self.end;
        self.before = layout.checksum;
        self.marked = false;
        self.unbegun = false;
        Ok(())
    }

    fn note(&mut self, segment: u64, record: &Outgoing<'_>, offset: u64) {
        let at = At { segment, offset, slot: summary::ALONE };
        let stored_len = u32::try_from(record.payload_len()).unwrap_or(u32::MAX);
        if record.kind == RecordType::Pack {
            let opened;
            let packed = if record.packed.is_empty() {
                opened = summary::unpack(record.parts[0]).unwrap_or_default();
                &opened
            } else {
                record.packed
            };
            summary::visit_pack(at, stored_len, packed, &mut |item| self.items.add(&item));
            return;
        }
        // A record in two parts has all of its summary in the first.
        let summary = summary::summary_of(record.kind, record.parts[0]);
        self.items.add(&Item { at, kind: record.kind, stored_len, summary });
    }
}

/// Bytes to keep for the event that begins a segment: it lists every live one, each in at most 106
/// bytes of JSON.
pub(crate) fn begin_room(live: usize) -> u64 {
    512 + 128 * (live as u64 + 1)
}

fn new_header(site: &Site, number: u64, length: u64) -> SegmentHeader {
    SegmentHeader {
        store_id: site.store_id,
        number,
        length,
        salt: salt(),
        batch_align: site.options.batch_align,
        created_at: site.clock.now(),
    }
}

/// 32 bytes that no other segment has: two random UUIDs, hashed.
fn salt() -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(uuid::Uuid::new_v4().as_bytes()).update(uuid::Uuid::new_v4().as_bytes());
    *hasher.finalize().as_bytes()
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Errors that may be of this place on the disk only, so that another place may do.
fn is_of_the_place(error: &io::Error) -> bool {
    const EIO: i32 = rustix::io::Errno::IO.raw_os_error();
    error.kind() == io::ErrorKind::Interrupted || error.raw_os_error() == Some(EIO)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::disk::MemoryDisk;

    /// A log of small segments in a memory of its own.
    pub(crate) fn site(disk: &MemoryDisk) -> Site {
        let dir = PathBuf::from("/log");
        disk.create_dir(&dir).unwrap();
        let options = Options { segment_bytes_min: 4096, segment_bytes_max: 8192, batch_align: 8 };
        let clock = SystemClock::shared();
        Site { disk: disk.shared(), clock, dir, store_id: [1; 16], options }
    }

    pub(crate) fn block(payload: &[u8]) -> Outgoing<'_> {
        Outgoing::new(RecordType::Block, payload)
    }

    fn fill(writer: &mut Writer) -> Vec<u64> {
        let first = writer.active().number();
        let mut offsets = Vec::new();
        while writer.active().number() == first {
            offsets.push(writer.append(&[block(&[5; 300])]).unwrap().records[0].offset);
        }
        offsets
    }

    #[test]
    fn a_full_segment_is_followed_by_a_new_one_that_names_it() {
        let disk = MemoryDisk::new();
        let mut writer = Writer::create(site(&disk)).unwrap();
        fill(&mut writer);
        assert_eq!(writer.active().number(), 2);
        let sealed = writer.live()[&1];
        assert!(sealed.end <= 4096 - 512 - lone_mark_len(8), "no room for a mark is left");
        assert_eq!(writer.take_unsummarised().len(), 1);
        assert_eq!(writer.take_void(), [0_u64; 0]);
    }

    #[test]
    fn a_segment_made_ahead_is_taken_and_one_that_comes_too_late_is_let_go() {
        let disk = MemoryDisk::new();
        let mut writer = Writer::create(site(&disk)).unwrap();
        let order = loop {
            writer.append(&[block(&[5; 300])]).unwrap();
            if let Some(order) = writer.order_spare() {
                break order;
            }
        };
        let spare = order.make().unwrap();
        fill(&mut writer);
        assert_eq!(writer.active().number(), 3, "the ordered number is not given twice");
        writer.give_spare(spare);
        assert_eq!(writer.take_void(), [2]);
        let order = loop {
            writer.append(&[block(&[5; 300])]).unwrap();
            if let Some(order) = writer.order_spare() {
                break order;
            }
        };
        writer.give_spare(order.make().unwrap());
        fill(&mut writer);
        assert_eq!(writer.active().number(), 4);
    }

    #[test]
    fn a_batch_larger_than_a_segment_gets_one_of_its_size() {
        let disk = MemoryDisk::new();
        let mut writer = Writer::create(site(&disk)).unwrap();
        let big = vec![1; 100_000];
        let appended = writer.append(&[block(&big)]).unwrap();
        assert_eq!(appended.records[0].segment, 2);
        let segment = &writer.active().segment;
        assert_eq!(segment.read_record(appended.records[0].offset).unwrap().payload, big);
        assert!(writer.active().end <= segment.header.batches_end());
    }

    #[test]
    fn the_longest_list_of_live_segments_has_room() {
        let sealed = Sealed { segment: u64::MAX, end: u64::MAX, checksum: [0xff; 16] };
        for count in [0, 1, 100] {
            let what = What::SegmentBegun { predecessor: Some(sealed), live: vec![sealed; count] };
            let event = Event::new(u64::MAX, crate::state::Timestamp::from_unix_ms(0), what);
            let taken = event.encode().len() + 24;
            assert!(taken as u64 <= begin_room(count), "{count}: {taken}");
        }
    }
}
