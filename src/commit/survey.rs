//! Looking at a log as it was left: what is live, what is whole, what is durable, what is broken.
//!
//! A survey changes nothing. A reader serves what it found up to the last mark; a writer goes on
//! from it through [`super::recover`]. It reads summaries of sealed segments where they are sound
//! and everything else in full, and hands each record it believes to its caller.
//!
//! Three rules decide what a survey says. The head is the highest-numbered segment that holds a
//! sound batch. What lies before the last mark was durable once, so that what is broken there is
//! damage. What lies beyond it may never have been, so that what is broken there is an unfinished
//! tail, and what is whole there is held back for the caller to decide on.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::path::PathBuf;

use super::frame::{Found, Place, ReadBatch, RecordType};
use super::scan::{self, Broken, Scan, Until};
use super::segment::{self, Segment, SegmentFault};
use super::summary::{self, Builder, Item};
use super::writer::Site;
use crate::disk::Access;
use crate::encode::event::{Event, Sealed, What};

/// Something that is not as it was written.
#[derive(Debug, Clone)]
pub(crate) struct Damage {
    pub file: PathBuf,
    pub segment: u64,
    pub range: Range<u64>,
    pub what: String,
    /// Records in the range that verify alone and are served.
    pub salvaged: usize,
}

/// Why a log cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SurveyError {
    #[error("cannot list {dir}: {source}")]
    List { dir: PathBuf, source: io::Error },
    #[error("cannot read segment {number}: {source}")]
    Read { number: u64, source: io::Error },
    #[error("segment {number} was written by a newer program (format {version})")]
    Newer { number: u64, version: u32 },
    #[error("a segment went away while the log was read")]
    WentAway,
}

/// The head of the log.
#[derive(Debug)]
pub(crate) struct Head {
    pub segment: Segment,
    pub scan: Scan,
    /// Whole batches beyond the last mark, in order.
    pub tail: Vec<ReadBatch>,
    /// Where the last data batch before the tail ends, and its checksum.
    pub sealed: Sealed,
    pub items: Builder,
}

/// What a log directory holds.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// Live sealed segments that can be read.
    pub segments: BTreeMap<u64, Segment>,
    pub live: BTreeMap<u64, Sealed>,
    pub head: Option<Head>,
    pub damage: Vec<Damage>,
    /// Sound segments that hold no batch.
    pub empty: Vec<u64>,
    /// What those hold that are not all zeros: a first batch that was never finished, or is broken.
    pub unfinished: BTreeMap<u64, Broken>,
    /// Segments with batches that the log does not count as its own (any more).
    pub stale: Vec<u64>,
    /// Files under a segment's name that are none, and why.
    pub unreadable: BTreeMap<u64, String>,
    /// The highest number any name carries.
    pub highest: u64,
    /// The highest event number.
    pub last_event: u64,
    /// Sealed segments that had no sound summary, with the items to make one from.
    pub unsummarised: Vec<super::writer::Unsummarised>,
    /// The store the segments belong to.
    pub store_id: Option<[u8; 16]>,
    compacted: BTreeSet<u64>,
    /// The last live segment before the head, as the head's first batch names it; 0 for none.
    predecessor: Option<u64>,
    /// Where the last whole batch of the head ends.
    pub seen_end: Option<Place>,
}

/// Surveys the log of `site` and hands every record it believes to `visit`. `store_id` is `None`
/// where it is to be learned from the segments.
pub(crate) fn survey(
    site: &Site,
    store_id: Option<[u8; 16]>,
    access: Access,
    visit: &mut dyn FnMut(Item<'_>),
) -> Result<Survey, SurveyError> {
    let mut survey = Survey { store_id, ..Survey::default() };
    let mut found = survey.open_all(site, access)?;
    survey.find_head(&mut found, visit)?;
    survey.settle_live(&found);
    let live: Vec<Sealed> = survey.live.values().copied().collect();
    for sealed in live {
        match found.remove(&sealed.segment) {
            Some(segment) => survey.read_sealed(site, segment, sealed, visit)?,
            None => survey.missing(sealed),
        }
    }
    survey.stale.extend(found.into_keys());
    Ok(survey)
}

impl Survey {
    fn open_all(
        &mut self,
        site: &Site,
        access: Access,
    ) -> Result<BTreeMap<u64, Segment>, SurveyError> {
        let listed = site
            .disk
            .read_dir(&site.dir)
            .map_err(|source| SurveyError::List { dir: site.dir.clone(), source })?;
        let numbers: BTreeSet<u64> = listed
            .iter()
            .filter_map(|entry| segment::number_of(entry.name.to_str()?, "log"))
            .collect();
        self.highest = numbers.last().copied().unwrap_or(0);
        let mut found = BTreeMap::new();
        for number in numbers {
            match Segment::open(&*site.disk, &site.dir, number, access) {
                Ok(segment) if self.is_ours(&segment) => {
                    found.insert(number, segment);
                }
                Ok(_) => self.set_unreadable(number, &SegmentFault::OtherStore),
                Err(SegmentFault::Newer(version)) => {
                    return Err(SurveyError::Newer { number, version });
                }
                Err(SegmentFault::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(SurveyError::WentAway);
                }
                Err(SegmentFault::Io(source)) => return Err(SurveyError::Read { number, source }),
                Err(fault) => self.set_unreadable(number, &fault),
            }
        }
        Ok(found)
    }

    /// Whether the log says that everything live was copied out of this segment.
    pub(crate) fn was_compacted(&self, number: u64) -> bool {
        self.compacted.contains(&number)
    }

    /// Whether a stale segment was given up before its first batch counted: the head was begun
    /// behind it, and names an earlier one as its predecessor.
    pub(crate) fn was_given_up(&self, number: u64) -> bool {
        self.predecessor.is_some_and(|predecessor| number > predecessor)
    }

    fn is_ours(&mut self, segment: &Segment) -> bool {
        *self.store_id.get_or_insert(segment.header.store_id) == segment.header.store_id
    }

    fn set_unreadable(&mut self, number: u64, fault: &SegmentFault) {
        self.unreadable.insert(number, fault.to_string());
    }

    /// Finds the highest segment with a sound batch and reads it.
    fn find_head(
        &mut self,
        found: &mut BTreeMap<u64, Segment>,
        visit: &mut dyn FnMut(Item<'_>),
    ) -> Result<(), SurveyError> {
        let numbers: Vec<u64> = found.keys().rev().copied().collect();
        for number in numbers {
            let Some(segment) = found.get(&number).cloned() else { continue };
            let mut batches = HeldBack::default();
            let scan = scan::scan(&segment, Until::Head, &mut |batch| batches.take(batch))
                .map_err(|source| SurveyError::Read { number, source })?;
            if !batches.any {
                self.note_empty(&segment, scan);
                found.remove(&number);
                continue;
            }
            found.remove(&number);
            self.take_head(segment, scan, batches, visit);
            return Ok(());
        }
        Ok(())
    }

    /// A segment above the head without a batch: made ahead, or begun and never finished.
    fn note_empty(&mut self, segment: &Segment, scan: Scan) {
        self.empty.push(segment.number());
        self.unfinished.extend(scan.tail.map(|tail| (segment.number(), tail)));
    }

    fn take_head(
        &mut self,
        segment: Segment,
        scan: Scan,
        batches: HeldBack,
        visit: &mut dyn FnMut(Item<'_>),
    ) {
        self.seen_end = Some(Place { segment: segment.number(), offset: scan.end });
        let mut items = Builder::default();
        let (before, tail) = batches.split(scan.mark);
        let believed = before.iter().flat_map(|batch| &batch.records);
        let salvaged = scan.gaps.iter().flat_map(|gap| &gap.salvaged);
        for record in believed.chain(salvaged) {
            self.learn_live(record);
            self.believe(segment.number(), record, &mut items, visit);
        }
        // What a whole batch says of the segments before it is true whether it was durable or not.
        for record in tail.iter().flat_map(|batch| &batch.records) {
            self.learn_live(record);
        }
        for gap in &scan.gaps {
            self.damage.push(damage_of(&segment, gap));
        }
        if segment.by_second {
            self.damage.push(header_damage(&segment));
        }
        self.damage.extend(shortness(&segment));
        let sealed = sealed_at(&segment, &before, &scan.gaps);
        self.head = Some(Head { segment, scan, tail, sealed, items });
    }

    /// Hands a record's items on and learns from its events.
    fn believe(
        &mut self,
        segment: u64,
        record: &Found,
        items: &mut Builder,
        visit: &mut dyn FnMut(Item<'_>),
    ) {
        let opened = summary::items_of(segment, record, &mut |item| {
            items.add(&item);
            self.learn_event_number(&item);
            visit(item);
        });
        if !opened {
            let end = record.offset + record.stored_len();
            self.damage.push(Damage {
                file: segment::file_name(segment).into(),
                segment,
                range: record.offset..end,
                what: "a pack cannot be opened".to_owned(),
                salvaged: 0,
            });
        }
    }

    /// Learns from the head which segments are live; older segments' lists are out of date.
    fn learn_live(&mut self, record: &Found) {
        if record.kind() != Some(RecordType::Event) {
            return;
        }
        let Some(event) = Event::decode(&record.payload) else { return };
        self.last_event = self.last_event.max(event.n);
        match event.what {
            What::SegmentBegun { live, predecessor } => {
                self.predecessor = Some(predecessor.map_or(0, |sealed| sealed.segment));
                self.live.extend(live.into_iter().map(|sealed| (sealed.segment, sealed)));
            }
            What::SegmentCompacted { segment } => {
                self.compacted.insert(segment);
            }
            _ => {}
        }
    }

    fn learn_event_number(&mut self, item: &Item<'_>) {
        if item.kind == RecordType::Event
            && let Some(event) = Event::decode(item.summary)
        {
            self.last_event = self.last_event.max(event.n);
        }
    }

    /// Decides which segments below the head are live. Where the head's first batch is lost, every
    /// one that holds batches is.
    fn settle_live(&mut self, found: &BTreeMap<u64, Segment>) {
        let Some(head) = &self.head else { return };
        let head_number = head.segment.number();
        let first_batch_lost = head
            .scan
            .gaps
            .first()
            .is_some_and(|gap| gap.range.start == head.segment.header.first_batch());
        if first_batch_lost && self.live.is_empty() {
            for (number, segment) in found.range(..head_number) {
                let sealed = natural_end(segment);
                self.live.extend(sealed.map(|sealed| (*number, sealed)));
            }
        }
        let compacted = std::mem::take(&mut self.compacted);
        self.live.retain(|number, _| *number < head_number && !compacted.contains(number));
        self.compacted = compacted;
    }

    fn read_sealed(
        &mut self,
        site: &Site,
        segment: Segment,
        sealed: Sealed,
        visit: &mut dyn FnMut(Item<'_>),
    ) -> Result<(), SurveyError> {
        if segment.by_second {
            self.damage.push(header_damage(&segment));
        }
        self.damage.extend(shortness(&segment));
        let path = site.dir.join(segment::summary_name(sealed.segment));
        let bytes = match read_all(site, &path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a summary cannot be read");
                Vec::new()
            }
        };
        let salt = segment.header.salt;
        let served = summary::read(&bytes, &sealed, &salt, &mut |item| {
            self.learn_event_number(&item);
            visit(item);
        });
        if !served {
            self.scan_sealed(&segment, sealed, visit)?;
        }
        self.segments.insert(sealed.segment, segment);
        Ok(())
    }

    fn scan_sealed(
        &mut self,
        segment: &Segment,
        sealed: Sealed,
        visit: &mut dyn FnMut(Item<'_>),
    ) -> Result<(), SurveyError> {
        let number = sealed.segment;
        let mut items = Builder::default();
        let mut scan = scan::scan(segment, Until::Sealed(sealed.end), &mut |batch| {
            for record in &batch.records {
                self.believe(number, record, &mut items, visit);
            }
        })
        .map_err(|source| SurveyError::Read { number, source })?;
        let whole = scan.end >= sealed.end && scan.before == Some(sealed.checksum);
        let gaps: Vec<Broken> = scan.gaps.drain(..).chain(scan.tail.take()).collect();
        if !whole && gaps.is_empty() {
            let range = scan.end.min(sealed.end)..sealed.end;
            let what = "it does not end as its successor says: an older copy, or cut short";
            self.damage.push(Damage { range, ..damage(segment, what) });
        }
        for gap in &gaps {
            self.damage.push(damage_of(segment, gap));
            for record in &gap.salvaged {
                self.believe(number, record, &mut items, visit);
            }
        }
        if whole && gaps.is_empty() {
            let salt = segment.header.salt;
            self.unsummarised.push(super::writer::Unsummarised { sealed, salt, items });
        }
        Ok(())
    }

    fn missing(&mut self, sealed: Sealed) {
        let what = match self.unreadable.get(&sealed.segment) {
            Some(why) => format!("the segment cannot be used: {why}"),
            None => "the segment is gone".to_owned(),
        };
        self.damage.push(Damage {
            file: segment::file_name(sealed.segment).into(),
            segment: sealed.segment,
            range: 0..sealed.end,
            what,
            salvaged: 0,
        });
    }
}

/// Batches of the head, until it is known how far the marks reach.
#[derive(Default)]
struct HeldBack {
    any: bool,
    batches: Vec<ReadBatch>,
}

impl HeldBack {
    fn take(&mut self, batch: ReadBatch) {
        self.any = true;
        if !batch.head.lone_mark {
            self.batches.push(batch);
        }
    }

    /// Splits into what lies before the mark and what lies beyond.
    fn split(self, mark: Place) -> (Vec<ReadBatch>, Vec<ReadBatch>) {
        self.batches.into_iter().partition(|batch| batch.head.place < mark)
    }
}

/// Where the head ends that holds these durable batches and gaps. A gap behind the last batch was
/// durable too: it stays within, so that its damage and its sound records are found again.
fn sealed_at(segment: &Segment, before: &[ReadBatch], gaps: &[Broken]) -> Sealed {
    let align = segment.header.batch_align;
    let last = before.last();
    let end = last.map_or(segment.header.first_batch(), |last| {
        last.head.place.offset + last.head.extent(align)
    });
    let gaps_end = gaps.iter().map(|gap| gap.range.end).max().unwrap_or(end);
    Sealed {
        segment: segment.number(),
        end: end.max(gaps_end),
        checksum: last.and_then(|last| last.closing).unwrap_or_default(),
    }
}

fn natural_end(segment: &Segment) -> Option<Sealed> {
    let mut any = false;
    let scan = scan::scan(segment, Until::Sealed(u64::MAX), &mut |_| any = true).ok()?;
    any.then(|| Sealed {
        segment: segment.number(),
        end: scan.data_end,
        checksum: scan.before.unwrap_or_default(),
    })
}

fn read_all(site: &Site, path: &std::path::Path) -> io::Result<Vec<u8>> {
    crate::disk::read(&*site.disk, path)
}

fn damage(segment: &Segment, what: &str) -> Damage {
    Damage {
        file: segment::file_name(segment.number()).into(),
        segment: segment.number(),
        range: 0..0,
        what: what.to_owned(),
        salvaged: 0,
    }
}

fn damage_of(segment: &Segment, gap: &Broken) -> Damage {
    let what = if gap.unreadable {
        "a range cannot be read"
    } else if gap.range.is_empty() {
        "a batch does not follow the one before it"
    } else {
        "a range holds no whole batch"
    };
    Damage { range: gap.range.clone(), salvaged: gap.salvaged.len(), ..damage(segment, what) }
}

fn shortness(segment: &Segment) -> Option<Damage> {
    segment.is_short().then(|| Damage {
        range: segment.file_len..segment.header.length,
        ..damage(segment, "the file is shorter than its header says")
    })
}

fn header_damage(segment: &Segment) -> Damage {
    Damage { range: 0..512, ..damage(segment, "its first header is broken; the second serves") }
}
