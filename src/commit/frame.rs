//! The bytes of the log: segment headers, batches, records, and how each proves itself.
//!
//! Both hands of the format are here, the writer's and the reader's. All integers are little
//! endian. Checksums are BLAKE3 keyed by the segment's random salt, cut to 16 bytes, so that bytes
//! of another segment, or of an earlier life of the same one, never pass.
//!
//! ```text
//! segment   header (512) · batch · batch · … · zeros · header again (512)
//!
//! header    0 magic "STWDLOG1"   8 version u32   12 batch_align u32   16 store id (16)
//!          32 number u64        40 length u64   48 salt (32)         80 created_ms i64
//!          88 zeros            480 BLAKE3 of bytes 0..480 (32)
//!
//! batch     0 magic "STWB"       4 version u16    6 flags u16 (1 first, 2 lone mark)
//!           8 body length u32   12 records u32   16 segment u64      24 offset u64
//!          32 mark segment u64  40 mark offset u64
//!          48 checksum of the batch before (16)
//!          64 checksum of bytes 0..64 (16)
//!          80 records
//!           … checksum of bytes 0..80 and of every record header (16), zeros up to batch_align
//!
//! record    0 type u8   1 zero u8   2 version u16   4 payload length u32
//!           8 checksum of bytes 0..8 and of the payload (16)   24 payload
//! ```
//!
//! A batch's closing checksum covers the record headers, and each of those covers its payload, so
//! it covers the whole batch while a record can also be proven alone.

use crate::protection::{self, Protection};
use crate::state::Timestamp;

/// Length of a segment header; it stands in the first and in the last bytes of the file.
pub(crate) const SEGMENT_HEADER: u64 = 512;
/// The same, for arrays.
pub(crate) const SEGMENT_HEADER_LEN: usize = 512;
const BATCH_HEADER: usize = 80;
const RECORD_HEADER: usize = 24;
const CHECKSUM: usize = 16;
/// Length of a batch without records, before alignment.
const EMPTY_BATCH: usize = BATCH_HEADER + CHECKSUM;
/// The largest body a batch may declare; more is taken for damage before anything is allocated.
pub(crate) const BODY_BYTES_MAX: u32 = 128 << 20;
/// Batches begin at multiples of at least this many bytes.
pub(crate) const BATCH_ALIGN_MIN: u32 = 8;
/// The largest sector that batches are aligned to.
pub(crate) const BATCH_ALIGN_MAX: u32 = 64 << 10;
/// The version of every structure in this file.
pub(crate) const FORMAT_VERSION: u16 = 1;

const SEGMENT_MAGIC: &[u8; 8] = b"STWDLOG1";
const BATCH_MAGIC: &[u8; 4] = b"STWB";
const FLAG_FIRST: u16 = 1;
const FLAG_LONE_MARK: u16 = 2;

/// A keyed checksum, cut to 16 bytes.
pub(crate) type Checksum = [u8; CHECKSUM];

/// A position in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(crate) struct Place {
    pub segment: u64,
    pub offset: u64,
}

/// The first and last bytes of a segment file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub store_id: [u8; 16],
    pub number: u64,
    pub length: u64,
    pub salt: [u8; 32],
    pub batch_align: u32,
    pub created_at: Timestamp,
}

/// Why a header cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderFault {
    /// The bytes are not what was written.
    Broken,
    /// Written by a newer program.
    Newer(u32),
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; SEGMENT_HEADER_LEN] {
        let mut out = [0; SEGMENT_HEADER_LEN];
        out[0..8].copy_from_slice(SEGMENT_MAGIC);
        out[8..12].copy_from_slice(&u32::from(FORMAT_VERSION).to_le_bytes());
        out[12..16].copy_from_slice(&self.batch_align.to_le_bytes());
        out[16..32].copy_from_slice(&self.store_id);
        out[32..40].copy_from_slice(&self.number.to_le_bytes());
        out[40..48].copy_from_slice(&self.length.to_le_bytes());
        out[48..80].copy_from_slice(&self.salt);
        out[80..88].copy_from_slice(&self.created_at.unix_ms().to_le_bytes());
        let check = blake3::hash(&out[..480]);
        out[480..].copy_from_slice(check.as_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, HeaderFault> {
        let whole = bytes.len() == SEGMENT_HEADER_LEN
            && &bytes[0..8] == SEGMENT_MAGIC
            && blake3::hash(&bytes[..480])
                == *<&[u8; 32]>::try_from(&bytes[480..]).expect("32 bytes");
        if !whole {
            return Err(HeaderFault::Broken);
        }
        let version = u32_at(bytes, 8);
        if version > u32::from(FORMAT_VERSION) {
            return Err(HeaderFault::Newer(version));
        }
        let header = Self {
            store_id: array_at(bytes, 16),
            number: u64_at(bytes, 32),
            length: u64_at(bytes, 40),
            salt: array_at(bytes, 48),
            batch_align: u32_at(bytes, 12),
            created_at: Timestamp::from_unix_ms(i64::from_le_bytes(array_at(bytes, 80))),
        };
        let align = header.batch_align;
        let sane = header.length >= 2 * SEGMENT_HEADER
            && align.is_power_of_two()
            && (BATCH_ALIGN_MIN..=BATCH_ALIGN_MAX).contains(&align);
        if sane { Ok(header) } else { Err(HeaderFault::Broken) }
    }

    /// Where the first batch of a segment stands.
    pub(crate) fn first_batch(&self) -> u64 {
        align_up(SEGMENT_HEADER, self.batch_align)
    }

    /// Where batches must end: the second header follows.
    pub(crate) fn batches_end(&self) -> u64 {
        self.length - SEGMENT_HEADER
    }
}

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum RecordType {
    /// A piece of content.
    Block = 1,
    /// A checkpoint's manifest.
    Checkpoint = 2,
    /// Something that happened.
    Event = 3,
    /// Several records compressed together; made by compaction only.
    Pack = 4,
}

impl RecordType {
    pub(crate) fn from_code(code: u8) -> Option<Self> {
        [Self::Block, Self::Checkpoint, Self::Event, Self::Pack]
            .into_iter()
            .find(|kind| *kind as u8 == code)
    }
}

/// A record to be written: its type and its payload in parts, joined on the way out.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing<'a> {
    pub kind: RecordType,
    pub parts: [&'a [u8]; 2],
    /// What a pack holds, so that noting it does not mean opening it.
    pub packed: &'a [Inner],
}

/// A record taken out of a pack, or on its way into one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Inner {
    pub kind: RecordType,
    pub payload: Vec<u8>,
}

impl<'a> Outgoing<'a> {
    pub(crate) fn new(kind: RecordType, payload: &'a [u8]) -> Self {
        Self::in_parts(kind, [payload, &[]])
    }

    pub(crate) fn in_parts(kind: RecordType, parts: [&'a [u8]; 2]) -> Self {
        Self { kind, parts, packed: &[] }
    }

    pub(crate) fn pack(payload: &'a [u8], packed: &'a [Inner]) -> Self {
        Self { kind: RecordType::Pack, parts: [payload, &[]], packed }
    }

    pub(crate) fn payload_len(&self) -> usize {
        self.parts[0].len() + self.parts[1].len()
    }
}

/// A record as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Its type; a code this program does not know stays readable as a number.
    pub code: u8,
    /// Offset of its header in the segment.
    pub offset: u64,
    pub payload: Vec<u8>,
}

impl Found {
    pub(crate) fn kind(&self) -> Option<RecordType> {
        RecordType::from_code(self.code)
    }

    /// Bytes it takes in the log.
    pub(crate) fn stored_len(&self) -> u64 {
        (RECORD_HEADER + self.payload.len()) as u64
    }
}

/// What a batch says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchHead {
    pub place: Place,
    /// How far this log was durable when the batch was written.
    pub mark: Place,
    pub before: Checksum,
    pub first: bool,
    pub lone_mark: bool,
    body: u32,
    records: u32,
}

impl BatchHead {
    pub(crate) fn data(place: Place, mark: Place, before: Checksum) -> Self {
        Self { place, mark, before, first: false, lone_mark: false, body: 0, records: 0 }
    }

    pub(crate) fn lone_mark(place: Place, before: Checksum) -> Self {
        Self { mark: place, lone_mark: true, ..Self::data(place, place, before) }
    }

    /// Bytes from the start of the batch to the start of the next.
    pub(crate) fn extent(&self, align: u32) -> u64 {
        align_up(EMPTY_BATCH as u64 + u64::from(self.body), align)
    }

    fn encode(&self, key: &[u8; 32]) -> [u8; BATCH_HEADER] {
        let mut out = [0; BATCH_HEADER];
        let flags =
            (FLAG_FIRST * u16::from(self.first)) | (FLAG_LONE_MARK * u16::from(self.lone_mark));
        out[0..4].copy_from_slice(BATCH_MAGIC);
        out[4..6].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        out[6..8].copy_from_slice(&flags.to_le_bytes());
        out[8..12].copy_from_slice(&self.body.to_le_bytes());
        out[12..16].copy_from_slice(&self.records.to_le_bytes());
        out[16..24].copy_from_slice(&self.place.segment.to_le_bytes());
        out[24..32].copy_from_slice(&self.place.offset.to_le_bytes());
        out[32..40].copy_from_slice(&self.mark.segment.to_le_bytes());
        out[40..48].copy_from_slice(&self.mark.offset.to_le_bytes());
        out[48..64].copy_from_slice(&self.before);
        let check = checksum(key, &[&out[..64]]);
        out[64..].copy_from_slice(&check);
        out
    }

    /// Reads a header that stands at `place`; `None` when it is not one, or not of this place.
    pub(crate) fn decode(bytes: &[u8], key: &[u8; 32], place: Place) -> Option<Self> {
        let bytes = bytes.get(..BATCH_HEADER)?;
        if &bytes[..4] != BATCH_MAGIC || checksum(key, &[&bytes[..64]]) != bytes[64..] {
            return None;
        }
        let flags = u16::from_le_bytes(array_at(bytes, 6));
        let head = Self {
            place: Place { segment: u64_at(bytes, 16), offset: u64_at(bytes, 24) },
            mark: Place { segment: u64_at(bytes, 32), offset: u64_at(bytes, 40) },
            before: array_at(bytes, 48),
            first: flags & FLAG_FIRST != 0,
            lone_mark: flags & FLAG_LONE_MARK != 0,
            body: u32_at(bytes, 8),
            records: u32_at(bytes, 12),
        };
        (head.place == place && head.body <= BODY_BYTES_MAX).then_some(head)
    }
}

/// Length of a lone mark in a segment of this alignment; that much room is kept at its end.
pub(crate) fn lone_mark_len(align: u32) -> u64 {
    align_up(EMPTY_BATCH as u64, align)
}

/// Bytes a batch of these records takes.
pub(crate) fn batch_len(records: &[Outgoing<'_>], align: u32) -> u64 {
    let body: usize = records.iter().map(|record| RECORD_HEADER + record.payload_len()).sum();
    align_up((EMPTY_BATCH + body) as u64, align)
}

/// A batch laid out for one contiguous write.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    pub bytes: Vec<u8>,
    /// Offset in the segment of each record's header, in order.
    pub records: Vec<u64>,
    pub checksum: Checksum,
}

impl Layout {
    /// Lays out `records` behind `head`, reusing the buffers of an earlier batch.
    pub(crate) fn fill(
        &mut self,
        mut head: BatchHead,
        records: &[Outgoing<'_>],
        key: &[u8; 32],
        align: u32,
    ) {
        self.bytes.clear();
        self.records.clear();
        self.bytes.resize(BATCH_HEADER, 0);
        let mut closing = blake3::Hasher::new_keyed(key);
        for record in records {
            self.records.push(head.place.offset + self.bytes.len() as u64);
            let header = self.push_record(record, key);
            closing.update(&header);
        }
        head.body = u32::try_from(self.bytes.len() - BATCH_HEADER).expect("bounded by the writer");
        head.records = u32::try_from(records.len()).expect("bounded by the body");
        let header = head.encode(key);
        self.bytes[..BATCH_HEADER].copy_from_slice(&header);
        closing.update(&header);
        self.checksum = cut(&closing.finalize());
        self.bytes.extend_from_slice(&self.checksum);
        let padded = align_up(self.bytes.len() as u64, align);
        self.bytes.resize(usize::try_from(padded).expect("fits in memory already"), 0);
    }

    fn push_record(&mut self, record: &Outgoing<'_>, key: &[u8; 32]) -> [u8; RECORD_HEADER] {
        let mut header = [0; RECORD_HEADER];
        header[0] = record.kind as u8;
        header[2..4].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        let len = u32::try_from(record.payload_len()).expect("bounded by the writer");
        header[4..8].copy_from_slice(&len.to_le_bytes());
        let check = checksum(key, &[&header[..8], record.parts[0], record.parts[1]]);
        header[8..].copy_from_slice(&check);
        self.bytes.extend_from_slice(&header);
        self.bytes.extend_from_slice(record.parts[0]);
        self.bytes.extend_from_slice(record.parts[1]);
        header
    }
}

/// A batch as it was read: whole, or as much of it as proves itself.
#[derive(Debug)]
pub(crate) struct ReadBatch {
    pub head: BatchHead,
    pub records: Vec<Found>,
    /// The closing checksum; `None` when the batch is not whole.
    pub closing: Option<Checksum>,
}

/// Reads a batch whose header is sound from `bytes`, which start at it and hold its whole extent
/// (or less, where the file ends early). Records that do not verify are left out.
pub(crate) fn read_batch(head: BatchHead, bytes: &[u8], key: &[u8; 32]) -> ReadBatch {
    let body_end = BATCH_HEADER + head.body as usize;
    let mut closing = blake3::Hasher::new_keyed(key);
    let mut records = Vec::new();
    let mut at = BATCH_HEADER;
    let mut whole = true;
    while at < body_end {
        let Some(len) = record_len(bytes, at, body_end) else {
            whole = false;
            break;
        };
        closing.update(&bytes[at..at + RECORD_HEADER]);
        match read_record(&bytes[at..at + len], key, head.place.offset + at as u64) {
            Some(record) => records.push(record),
            None => whole = false,
        }
        at += len;
    }
    let closing = whole
        .then(|| {
            closing.update(&bytes[..BATCH_HEADER]);
            cut(&closing.finalize())
        })
        .filter(|sum| {
            !protection::stands(Protection::Checksum)
                || bytes.get(body_end..body_end + CHECKSUM) == Some(sum)
        })
        .filter(|_| records.len() == head.records as usize);
    ReadBatch { head, records, closing }
}

/// Length of the record whose header stands at `at`, if it lies within the body.
fn record_len(bytes: &[u8], at: usize, body_end: usize) -> Option<usize> {
    let header = bytes.get(at..at + RECORD_HEADER)?;
    let len = RECORD_HEADER + u32_at(header, 4) as usize;
    (at + len <= body_end.min(bytes.len())).then_some(len)
}

/// Length of a record, payload included, from its header bytes.
pub(crate) fn stored_len_of(header: &[u8; RECORD_HEADER]) -> u64 {
    (RECORD_HEADER as u64) + u64::from(u32_at(header, 4))
}

/// Length of a record's header.
pub(crate) const RECORD_HEADER_LEN: usize = RECORD_HEADER;

/// Proves one record alone; `bytes` are exactly its header and payload.
pub(crate) fn read_record(bytes: &[u8], key: &[u8; 32], offset: u64) -> Option<Found> {
    let (header, payload) = bytes.split_at_checked(RECORD_HEADER)?;
    let sound = u32_at(header, 4) as usize == payload.len()
        && (!protection::stands(Protection::Checksum)
            || checksum(key, &[&header[..8], payload]) == header[8..]);
    sound.then(|| Found { code: header[0], offset, payload: payload.to_vec() })
}

/// Where the header of a record that this program knows could stand next in `bytes`.
pub(crate) fn next_record(bytes: &[u8]) -> Option<usize> {
    let [version, _] = FORMAT_VERSION.to_le_bytes();
    bytes.windows(RECORD_HEADER).position(|header| {
        header[1..4] == [0, version, 0] && RecordType::from_code(header[0]).is_some()
    })
}

/// Where a batch header could stand next at or after `from`, in steps of the alignment.
pub(crate) fn next_magic(bytes: &[u8], from: usize, align: u32) -> Option<usize> {
    let step = align as usize;
    (from.next_multiple_of(step)..bytes.len().saturating_sub(BATCH_HEADER - 1))
        .step_by(step)
        .find(|at| &bytes[*at..*at + 4] == BATCH_MAGIC)
}

/// A keyed checksum over several pieces.
pub(crate) fn checksum(key: &[u8; 32], pieces: &[&[u8]]) -> Checksum {
    let mut hasher = blake3::Hasher::new_keyed(key);
    for piece in pieces {
        hasher.update(piece);
    }
    cut(&hasher.finalize())
}

pub(crate) fn align_up(at: u64, align: u32) -> u64 {
    at.next_multiple_of(u64::from(align))
}

fn cut(hash: &blake3::Hash) -> Checksum {
    array_at(hash.as_bytes(), 0)
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the slice has this length")
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [9; 32];
    const PLACE: Place = Place { segment: 3, offset: 1024 };

    fn header() -> SegmentHeader {
        SegmentHeader {
            store_id: [1; 16],
            number: 7,
            length: 8192,
            salt: [2; 32],
            batch_align: 8,
            created_at: Timestamp::from_unix_ms(-3),
        }
    }

    fn three_records() -> Layout {
        let payloads: [&[u8]; 3] = [b"first", b"", b"the third"];
        let records = payloads.map(|payload| Outgoing::new(RecordType::Block, payload));
        let mut layout = Layout::default();
        layout.fill(BatchHead::data(PLACE, PLACE, [4; 16]), &records, &KEY, 8);
        layout
    }

    fn read(bytes: &[u8]) -> Option<ReadBatch> {
        Some(read_batch(BatchHead::decode(bytes, &KEY, PLACE)?, bytes, &KEY))
    }

    #[test]
    fn the_header_lies_as_the_format_says() {
        let bytes = header().encode();
        assert_eq!(&bytes[..12], b"STWDLOG1\x01\0\0\0");
        assert_eq!(bytes[12..16], 8_u32.to_le_bytes());
        assert_eq!(bytes[16..32], [1; 16]);
        assert_eq!(bytes[32..40], 7_u64.to_le_bytes());
        assert_eq!(bytes[40..48], 8192_u64.to_le_bytes());
        assert_eq!(bytes[48..80], [2; 32]);
        assert_eq!(bytes[80..88], (-3_i64).to_le_bytes());
        assert_eq!(bytes[480..], *blake3::hash(&bytes[..480]).as_bytes());
        assert_eq!(SegmentHeader::decode(&bytes), Ok(header()));
    }

    #[test]
    fn a_header_is_refused_when_it_is_broken_newer_or_senseless() {
        let sealed = |header: &[u8]| {
            let mut bytes = header[..480].to_vec();
            bytes.extend_from_slice(blake3::hash(&header[..480]).as_bytes());
            SegmentHeader::decode(&bytes)
        };
        let mut bytes = header().encode();
        bytes[90] ^= 1;
        assert_eq!(SegmentHeader::decode(&bytes), Err(HeaderFault::Broken));
        bytes[8] = 2;
        assert_eq!(sealed(&bytes), Err(HeaderFault::Newer(2)));
        for odd in [
            SegmentHeader { batch_align: 12, ..header() },
            SegmentHeader { batch_align: 4, ..header() },
            SegmentHeader { batch_align: 1 << 20, ..header() },
            SegmentHeader { length: 1000, ..header() },
        ] {
            assert_eq!(sealed(&odd.encode()), Err(HeaderFault::Broken), "{odd:?}");
        }
    }

    #[test]
    fn a_batch_lies_as_the_format_says_and_comes_back() {
        let layout = three_records();
        let bytes = &layout.bytes;
        assert_eq!(&bytes[..8], b"STWB\x01\0\0\0");
        assert_eq!(bytes[8..12], (3 * 24 + 14_u32).to_le_bytes());
        assert_eq!(bytes[12..16], 3_u32.to_le_bytes());
        assert_eq!(bytes[16..24], 3_u64.to_le_bytes());
        assert_eq!(bytes[24..32], 1024_u64.to_le_bytes());
        assert_eq!(bytes[48..64], [4; 16]);
        assert_eq!(&bytes[80..88], b"\x01\0\x01\0\x05\0\0\0");
        assert_eq!(layout.records, [1104, 1133, 1157]);
        assert_eq!(bytes.len() % 8, 0);
        let read = read(bytes).unwrap();
        assert_eq!(read.closing, Some(layout.checksum));
        assert_eq!(read.head.extent(8), bytes.len() as u64);
        let payloads: Vec<&[u8]> = read.records.iter().map(|one| &one.payload[..]).collect();
        assert_eq!(payloads, [&b"first"[..], b"", b"the third"]);
    }

    #[test]
    fn a_batch_is_not_whole_with_any_byte_changed_and_the_padding_is_no_part_of_it() {
        let layout = three_records();
        let end = BATCH_HEADER + 3 * 24 + 14 + CHECKSUM;
        for at in 0..layout.bytes.len() {
            let mut bytes = layout.bytes.clone();
            bytes[at] ^= 0x40;
            let whole = read(&bytes).is_some_and(|batch| batch.closing.is_some());
            assert_eq!(whole, at >= end, "byte {at}");
        }
    }

    #[test]
    fn a_batch_with_one_broken_record_gives_the_others() {
        let mut bytes = three_records().bytes;
        bytes[105] ^= 1;
        let read = read(&bytes).unwrap();
        assert_eq!(read.closing, None);
        let offsets: Vec<u64> = read.records.iter().map(|one| one.offset).collect();
        assert_eq!(offsets, [1133, 1157]);
    }

    #[test]
    fn a_batch_is_of_its_place_and_its_segment_alone() {
        let layout = three_records();
        let elsewhere = Place { offset: 1032, ..PLACE };
        assert_eq!(BatchHead::decode(&layout.bytes, &KEY, elsewhere), None);
        assert_eq!(BatchHead::decode(&layout.bytes, &[8; 32], PLACE), None);
    }
}
