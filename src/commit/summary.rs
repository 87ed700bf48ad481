//! What a segment holds, without its data: made when the segment is sealed, so that opening a store
//! does not read everything in it.
//!
//! A summary is derived. It is published without a sync of its own, proves itself, names the segment
//! and the checksum of its last batch, and is made anew from the segment where it is missing, damaged
//! or of another time.
//!
//! ```text
//! summary   0 magic "STWDIDX1"   8 version u32   12 entries u32   16 segment u64   24 end u64
//!          32 checksum of the segment's last batch (16)   48 entries
//!           … checksum of all before (16), keyed by the segment's salt
//! entry     0 offset u64   8 slot u32   12 type u8   13 zeros   16 stored length u32
//!          20 summary length u32   24 summary
//! ```
//!
//! The summary of a block is its digest and level, that of a checkpoint its manifest without the
//! inline bytes, that of an event all of it. `slot` counts the records in a pack; a record that
//! stands by itself has the slot `u32::MAX`.

use super::frame::{self, FORMAT_VERSION, Found, Inner, RecordType};
use crate::encode::event::Sealed;
use crate::encode::manifest::Manifest;
use crate::encode::pack;

const MAGIC: &[u8; 8] = b"STWDIDX1";
const HEADER: usize = 48;
const ENTRY: usize = 24;
/// The slot of a record that stands by itself.
pub(crate) const ALONE: u32 = u32::MAX;
/// Bytes of a block record in front of the data: digest and level.
pub(crate) const BLOCK_PREFIX: usize = 33;
/// The largest pack that is believed when it is read; they are made far smaller.
pub(crate) const PACK_BYTES_MAX: usize = 64 << 20;

/// Where a record lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct At {
    pub segment: u64,
    pub offset: u64,
    pub slot: u32,
}

/// A record without its data.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Item<'a> {
    pub at: At,
    pub kind: RecordType,
    /// Bytes it takes in the log; within a pack, its share of them.
    pub stored_len: u32,
    pub summary: &'a [u8],
}

/// Hands the items of a record to `visit`: one, or one for each record in a pack. Records of a type
/// that only a newer program knows are passed over. `false` when a pack cannot be opened.
pub(crate) fn items_of(segment: u64, found: &Found, visit: &mut dyn FnMut(Item<'_>)) -> bool {
    let at = At { segment, offset: found.offset, slot: ALONE };
    let stored_len = clamp(found.stored_len());
    match found.kind() {
        None => true,
        Some(RecordType::Pack) => match unpack(&found.payload) {
            Some(inner) => {
                visit_pack(at, stored_len, &inner, visit);
                true
            }
            None => false,
        },
        Some(kind) => {
            visit(Item { at, kind, stored_len, summary: summary_of(kind, &found.payload) });
            true
        }
    }
}

/// Hands the items of a pack that lies at `at` to `visit`.
pub(crate) fn visit_pack(
    at: At,
    stored_len: u32,
    inner: &[Inner],
    visit: &mut dyn FnMut(Item<'_>),
) {
    let raw: u64 = inner.iter().map(|one| one.payload.len() as u64 + 1).sum();
    for (slot, one) in (0..).zip(inner) {
        let share = (one.payload.len() as u64 + 1) * u64::from(stored_len) / raw.max(1);
        let summary = summary_of(one.kind, &one.payload);
        visit(Item { at: At { slot, ..at }, kind: one.kind, stored_len: clamp(share), summary });
    }
}

/// The part of a payload that the index needs.
pub(crate) fn summary_of(kind: RecordType, payload: &[u8]) -> &[u8] {
    match kind {
        RecordType::Block => &payload[..payload.len().min(BLOCK_PREFIX)],
        RecordType::Checkpoint => match Manifest::split(payload) {
            Ok((manifest, _)) => &payload[..4 + manifest.len()],
            Err(_) => payload,
        },
        RecordType::Event | RecordType::Pack => payload,
    }
}

/// Joins records into a pack's payload.
pub(crate) fn pack_records(records: &[Inner], level: i32) -> Vec<u8> {
    let typed: Vec<Vec<u8>> = records
        .iter()
        .map(|record| [&[record.kind as u8], record.payload.as_slice()].concat())
        .collect();
    let slices: Vec<&[u8]> = typed.iter().map(Vec::as_slice).collect();
    pack::pack(&slices, level)
}

/// Takes a pack's payload apart.
pub(crate) fn unpack(payload: &[u8]) -> Option<Vec<Inner>> {
    let items = pack::unpack(payload, PACK_BYTES_MAX).ok()?;
    items
        .into_iter()
        .map(|mut item| {
            let kind = RecordType::from_code(*item.first()?)?;
            item.remove(0);
            Some(Inner { kind, payload: item })
        })
        .collect()
}

fn clamp(len: u64) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// Gathers the items of a segment as it is written.
#[derive(Debug, Default, Clone)]
pub(crate) struct Builder {
    count: u32,
    entries: Vec<u8>,
}

impl Builder {
    pub(crate) fn add(&mut self, item: &Item<'_>) {
        self.count += 1;
        self.entries.extend_from_slice(&item.at.offset.to_le_bytes());
        self.entries.extend_from_slice(&item.at.slot.to_le_bytes());
        self.entries.extend_from_slice(&[item.kind as u8, 0, 0, 0]);
        self.entries.extend_from_slice(&item.stored_len.to_le_bytes());
        self.entries.extend_from_slice(&clamp(item.summary.len() as u64).to_le_bytes());
        self.entries.extend_from_slice(item.summary);
    }

    /// The bytes of the summary file of a sealed segment.
    pub(crate) fn finish(&self, sealed: &Sealed, salt: &[u8; 32]) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER + self.entries.len() + 16);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&u32::from(FORMAT_VERSION).to_le_bytes());
        out.extend_from_slice(&self.count.to_le_bytes());
        out.extend_from_slice(&sealed.segment.to_le_bytes());
        out.extend_from_slice(&sealed.end.to_le_bytes());
        out.extend_from_slice(&sealed.checksum);
        out.extend_from_slice(&self.entries);
        let check = frame::checksum(salt, &[&out]);
        out.extend_from_slice(&check);
        out
    }
}

/// Hands the items of a summary to `visit`; `false`, and none, where it is not a sound summary of
/// just this sealed segment.
pub(crate) fn read(
    bytes: &[u8],
    sealed: &Sealed,
    salt: &[u8; 32],
    visit: &mut dyn FnMut(Item<'_>),
) -> bool {
    let Some((body, check)) = bytes.split_last_chunk::<16>() else { return false };
    if body.len() < HEADER || frame::checksum(salt, &[body]) != *check {
        return false;
    }
    let this_one = body[..8] == *MAGIC
        && body[8..12] == u32::from(FORMAT_VERSION).to_le_bytes()
        && body[16..24] == sealed.segment.to_le_bytes()
        && body[24..32] == sealed.end.to_le_bytes()
        && body[32..48] == sealed.checksum;
    if this_one {
        let mut rest = &body[HEADER..];
        while let Some((item, next)) = entry(rest, sealed.segment) {
            visit(item);
            rest = next;
        }
    }
    this_one
}

fn entry(bytes: &[u8], segment: u64) -> Option<(Item<'_>, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<ENTRY>()?;
    let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let offset = u64::from(word(0)) | u64::from(word(4)) << 32;
    let (summary, rest) = rest.split_at_checked(word(20) as usize)?;
    let kind = RecordType::from_code(head[12])?;
    let at = At { segment, offset, slot: word(8) };
    Some((Item { at, kind, stored_len: word(16), summary }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: [u8; 32] = [3; 32];

    fn sealed() -> Sealed {
        Sealed { segment: 5, end: 4096, checksum: [6; 16] }
    }

    fn items(bytes: &[u8], sealed: &Sealed) -> Option<Vec<(At, RecordType, Vec<u8>)>> {
        let mut found = Vec::new();
        let visit = &mut |item: Item<'_>| found.push((item.at, item.kind, item.summary.to_vec()));
        read(bytes, sealed, &SALT, visit).then_some(found)
    }

    fn two_items() -> Vec<u8> {
        let mut builder = Builder::default();
        let block = [vec![7; BLOCK_PREFIX], b"data".to_vec()].concat();
        let pack = pack_records(
            &[
                Inner { kind: RecordType::Event, payload: b"{}".to_vec() },
                Inner { kind: RecordType::Block, payload: block.clone() },
            ],
            1,
        );
        for (code, offset, payload) in [(1, 600, block), (4, 700, pack)] {
            assert!(items_of(5, &Found { code, offset, payload }, &mut |item| builder.add(&item)));
        }
        builder.finish(&sealed(), &SALT)
    }

    #[test]
    fn what_was_put_in_comes_out_without_its_data() {
        let found = items(&two_items(), &sealed()).unwrap();
        let at = |offset, slot| At { segment: 5, offset, slot };
        let prefix = vec![7; BLOCK_PREFIX];
        assert_eq!(
            found,
            [
                (at(600, ALONE), RecordType::Block, prefix.clone()),
                (at(700, 0), RecordType::Event, b"{}".to_vec()),
                (at(700, 1), RecordType::Block, prefix),
            ]
        );
    }

    #[test]
    fn a_summary_of_another_time_or_with_any_byte_changed_is_none() {
        let bytes = two_items();
        assert_eq!(items(&bytes, &Sealed { end: 4104, ..sealed() }), None);
        assert_eq!(items(&bytes, &Sealed { checksum: [0; 16], ..sealed() }), None);
        assert_eq!(items(&bytes, &Sealed { segment: 6, ..sealed() }), None);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 2;
            assert_eq!(items(&changed, &sealed()), None, "byte {at}");
            assert_eq!(items(&bytes[..at], &sealed()), None, "cut at {at}");
        }
    }

    #[test]
    fn a_record_of_a_later_type_is_passed_over_and_a_broken_pack_is_told() {
        let mut seen = 0;
        let mut visit = |_: Item<'_>| seen += 1;
        assert!(items_of(1, &Found { code: 9, offset: 0, payload: vec![1] }, &mut visit));
        assert!(!items_of(1, &Found { code: 4, offset: 0, payload: vec![9] }, &mut visit));
        assert_eq!(seen, 0);
    }
}
