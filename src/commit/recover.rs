//! From a survey to a writer: what is believed is first made durable.
//!
//! A head that ends with a lone mark, and with nothing broken in it, is continued as it is. Any
//! other is sealed at its last mark, and a fresh segment takes, in its first batch, the whole
//! batches that lay beyond the mark. So a crash, a failed sync and a damaged tail have one answer,
//! and a second start finds nothing left to do.

use super::Options;
use super::frame::{self, Found, Outgoing, RecordType};
use super::summary::At;
use super::survey::{Head, Survey};
use super::writer::{Active, AppendError, Site, Writer, begin_room};
use crate::encode::event::{Event, What};
use crate::state::Timestamp;

/// A log that takes batches, and what recovery did to get there.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub writer: Writer,
    /// How many records were written again.
    pub rewritten: usize,
    /// These, and the events written along, with where they lie now.
    pub records: Vec<(Found, At)>,
}

/// What the caller knows of the tail beyond what the log itself shows.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    /// Records of a broken tail that are kept, because a view proves that the tail was durable.
    pub kept: Vec<Found>,
    /// Events to be written along.
    pub events: Vec<What>,
    /// A view names a place behind the end of the head: it is an older copy, and not continued.
    pub seal: bool,
}

/// Makes durable what the survey believes and returns the writer. Consumes the head of the survey.
pub(crate) fn recover(
    site: Site,
    survey: &mut Survey,
    tail: Tail,
) -> Result<Recovered, AppendError> {
    let head = survey.head.take();
    let Some(head) = head else {
        return begin_afresh(site, survey, tail, Vec::new());
    };
    if can_continue(&head, &survey.damage, &tail) {
        let writer = go_on(site, survey, head);
        return Ok(Recovered { writer, rewritten: 0, records: Vec::new() });
    }
    let records: Vec<Found> = head.tail.into_iter().flat_map(worth_rewriting).collect();
    if head.sealed.end > head.segment.header.first_batch() {
        survey.live.insert(head.sealed.segment, head.sealed);
        survey.segments.insert(head.sealed.segment, head.segment);
    } else {
        survey.empty.push(head.sealed.segment);
    }
    begin_afresh(site, survey, tail, records)
}

fn can_continue(head: &Head, damage: &[super::survey::Damage], tail: &Tail) -> bool {
    head.scan.ends_with_mark
        && head.tail.is_empty()
        && head.scan.tail.is_none()
        && tail.kept.is_empty()
        && tail.events.is_empty()
        && !tail.seal
        && !head.segment.is_short()
        && damage.iter().all(|one| one.segment != head.segment.number())
}

fn go_on(site: Site, survey: &mut Survey, head: Head) -> Writer {
    let active = Active {
        end: head.scan.end,
        data_end: head.sealed.end,
        before: head.sealed.checksum,
        marked: true,
        unbegun: false,
        refused: false,
        items: head.items,
        began: site.clock.monotonic(),
        segment: head.segment,
    };
    let live = survey.live.clone();
    let mut writer = Writer::resume(site, active, live, survey.highest + 1, survey.last_event + 1);
    for number in survey.empty.drain(..) {
        writer.add_void(number);
    }
    writer
}

fn begin_afresh(
    site: Site,
    survey: &mut Survey,
    tail: Tail,
    mut records: Vec<Found>,
) -> Result<Recovered, AppendError> {
    records.extend(tail.kept);
    records.retain(is_worth_rewriting);
    let rewritten = records.len();
    let Options { segment_bytes_min, batch_align, .. } = site.options;
    let events = (survey.last_event + 1..).zip(tail.events);
    records.extend(events.map(|(n, what)| event_record(n, site.clock.now(), what)));
    let outgoing: Vec<Outgoing<'_>> = records.iter().filter_map(again).collect();
    let need = frame::batch_len(&outgoing, batch_align) + begin_room(survey.live.len());
    let length = super::segment::length_for(need, batch_align).max(segment_bytes_min);
    let number = survey.highest + 1;
    let next_event = survey.last_event + 1 + (records.len() - rewritten) as u64;
    let mut writer = Writer::fresh(site, number, next_event, length, survey.live.clone())?;
    let appended = writer.begin(&outgoing)?;
    for number in survey.empty.drain(..) {
        writer.add_void(number);
    }
    let records = records.into_iter().zip(appended.records).collect();
    Ok(Recovered { writer, rewritten, records })
}

fn event_record(n: u64, now: Timestamp, what: What) -> Found {
    let code = RecordType::Event as u8;
    Found { code, offset: 0, payload: Event::new(n, now, what).encode() }
}

/// The records of a batch that are written again: none, where it only brought content ahead of a
/// checkpoint that never came.
fn worth_rewriting(batch: frame::ReadBatch) -> Vec<Found> {
    let names_something =
        batch.records.iter().any(|record| record.kind() != Some(RecordType::Block));
    if names_something { batch.records } else { Vec::new() }
}

/// A first batch's own event is left out: the fresh segment says the same of itself. Records of a
/// type this program does not know cannot be here: a newer store is never opened to write.
fn is_worth_rewriting(record: &Found) -> bool {
    match record.kind() {
        None => false,
        Some(RecordType::Event) => !Event::decode(&record.payload)
            .is_some_and(|event| matches!(event.what, What::SegmentBegun { .. })),
        Some(_) => true,
    }
}

fn again(record: &Found) -> Option<Outgoing<'_>> {
    record.kind().map(|kind| Outgoing::new(kind, &record.payload))
}
