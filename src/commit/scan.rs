//! Reading a segment from front to end: whole batches in order, and what is broken between them.
//!
//! The scanner decides nothing. It reports whole batches (lone marks too) as it meets them, and ranges
//! that hold none; whether such a range is damage or an unfinished tail depends on the marks, and
//! that is recovery's to say.

use std::io;
use std::ops::Range;

use super::frame::{
    self, BatchHead, Checksum, Found, Place, RECORD_HEADER_LEN, ReadBatch, lone_mark_len,
};
use super::segment::Segment;

const WINDOW: usize = 1 << 20;
/// Bytes that are looked through at once for records.
const STRETCH: usize = 64 << 10;
/// Bytes that are hashed to save records, for each byte of a broken range: content made to look like
/// record headers cannot make a scan take long.
const EFFORT_PER_BYTE: u64 = 8;
/// What is tried after a failed read of a window, to find the part that can be read.
const PIECE: usize = 4096;

/// A range that holds no whole batch.
#[derive(Debug, Clone)]
pub(crate) struct Broken {
    pub range: Range<u64>,
    /// Records in it that verify alone.
    pub salvaged: Vec<Found>,
    /// The disk refused to read part of it.
    pub unreadable: bool,
}

/// What a scan found besides the batches it reported.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// End of the last whole batch.
    pub end: u64,
    /// End of the last whole batch that is no lone mark.
    pub data_end: u64,
    /// Checksum of the last whole batch that is no lone mark.
    pub before: Option<Checksum>,
    /// The furthest mark of any whole batch.
    pub mark: Place,
    /// The last whole batch is a lone mark.
    pub ends_with_mark: bool,
    /// Ranges without a whole batch, with a whole one behind them.
    pub gaps: Vec<Broken>,
    /// Bytes behind the last whole batch that are not zero.
    pub tail: Option<Broken>,
}

/// How far a scan goes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Until {
    /// To where the successor says this segment ends; what cannot be read is reported.
    Sealed(u64),
    /// To the last byte; a read error stops the scan.
    Head,
}

/// Scans `segment` and hands each whole batch to `visit`, in order.
pub(crate) fn scan(
    segment: &Segment,
    until: Until,
    visit: &mut dyn FnMut(ReadBatch),
) -> io::Result<Scan> {
    let limit = match until {
        Until::Sealed(end) => end.min(segment.header.batches_end()),
        Until::Head => segment.header.batches_end(),
    };
    let mut scanner = Scanner {
        segment,
        limit,
        tolerant: matches!(until, Until::Sealed(_)),
        window: Vec::new(),
        window_start: 0,
        unreadable: Vec::new(),
        found: Scan {
            end: segment.header.first_batch(),
            data_end: segment.header.first_batch(),
            ..Scan::default()
        },
        expected: None,
    };
    scanner.run(visit)?;
    Ok(scanner.found)
}

struct Scanner<'a> {
    segment: &'a Segment,
    limit: u64,
    tolerant: bool,
    window: Vec<u8>,
    window_start: u64,
    unreadable: Vec<Range<u64>>,
    found: Scan,
    /// What the next batch must name as its predecessor, where that is known.
    expected: Option<Checksum>,
}

impl Scanner<'_> {
    fn run(&mut self, visit: &mut dyn FnMut(ReadBatch)) -> io::Result<()> {
        loop {
            let at = self.found.end;
            if let Some(batch) = self.whole_batch(at)? {
                self.accept(batch, visit);
                continue;
            }
            let Some(batch) = self.next_whole(at)? else { break };
            if !self.held_only_a_mark(at, &batch) {
                let gap = self.broken(at..batch.head.place.offset)?;
                self.found.gaps.push(gap);
                self.expected = None;
            }
            self.accept(batch, visit);
        }
        self.read_tail()
    }

    /// The bytes missing before `batch` are those of one lone mark, and the chain is unbroken.
    fn held_only_a_mark(&self, at: u64, batch: &ReadBatch) -> bool {
        batch.head.place.offset == at + lone_mark_len(self.align())
            && self.expected == Some(batch.head.before)
    }

    fn accept(&mut self, batch: ReadBatch, visit: &mut dyn FnMut(ReadBatch)) {
        let head = batch.head;
        if self.expected.is_some_and(|expected| expected != head.before) {
            let range = head.place.offset..head.place.offset;
            self.found.gaps.push(Broken { range, salvaged: Vec::new(), unreadable: false });
        }
        self.found.end = head.place.offset + head.extent(self.align());
        self.found.mark = self.found.mark.max(head.mark);
        self.found.ends_with_mark = head.lone_mark;
        if head.lone_mark {
            self.expected = Some(head.before);
        } else {
            self.expected = batch.closing;
            self.found.before = batch.closing;
            self.found.data_end = self.found.end;
        }
        visit(batch);
    }

    fn align(&self) -> u32 {
        self.segment.header.batch_align
    }

    fn head_at(&mut self, at: u64) -> io::Result<Option<BatchHead>> {
        if at + lone_mark_len(self.align()) > self.limit {
            return Ok(None);
        }
        let place = Place { segment: self.segment.number(), offset: at };
        let salt = self.segment.header.salt;
        let align = self.align();
        let limit = self.limit;
        let bytes = self.bytes(at, usize::try_from(lone_mark_len(align)).unwrap_or(PIECE))?;
        Ok(BatchHead::decode(bytes, &salt, place).filter(|head| at + head.extent(align) <= limit))
    }

    fn read_batch(&mut self, head: BatchHead) -> io::Result<ReadBatch> {
        let len = usize::try_from(head.extent(self.align())).unwrap_or(usize::MAX);
        let salt = self.segment.header.salt;
        Ok(frame::read_batch(head, self.bytes(head.place.offset, len)?, &salt))
    }

    fn whole_batch(&mut self, at: u64) -> io::Result<Option<ReadBatch>> {
        let Some(head) = self.head_at(at)? else { return Ok(None) };
        Ok(Some(self.read_batch(head)?).filter(|batch| batch.closing.is_some()))
    }

    /// The first whole batch behind `at`.
    fn next_whole(&mut self, at: u64) -> io::Result<Option<ReadBatch>> {
        let mut from = at + u64::from(self.align());
        while let Some(candidate) = self.next_magic(from)? {
            if let Some(batch) = self.whole_batch(candidate)? {
                return Ok(Some(batch));
            }
            from = candidate + u64::from(self.align());
        }
        Ok(None)
    }

    fn next_magic(&mut self, mut from: u64) -> io::Result<Option<u64>> {
        let align = self.align();
        let overlap = lone_mark_len(align);
        while from + overlap <= self.limit {
            let len = usize::try_from(self.limit - from).unwrap_or(WINDOW).min(WINDOW);
            let bytes = self.bytes(from, len)?;
            let read = bytes.len() as u64;
            if let Some(at) = frame::next_magic(bytes, 0, align) {
                return Ok(Some(from + at as u64));
            }
            if read <= overlap {
                break;
            }
            from += (read - overlap) / u64::from(align) * u64::from(align);
            if read < len as u64 || from + overlap > self.limit || read < WINDOW as u64 {
                break;
            }
        }
        Ok(None)
    }

    fn read_tail(&mut self) -> io::Result<()> {
        let start = self.found.end;
        let mut last = None;
        let mut at = start;
        while at < self.limit {
            let len = usize::try_from(self.limit - at).unwrap_or(WINDOW).min(WINDOW);
            let bytes = self.bytes(at, len)?;
            if bytes.is_empty() {
                break;
            }
            if let Some(index) = last_non_zero(bytes) {
                last = Some(at + index as u64 + 1);
            }
            at += bytes.len() as u64;
        }
        // All of a sealed segment was written, so that its rest is broken to the end: the same range
        // at every look.
        if let Some(end) = last.map(|end| if self.tolerant { self.limit } else { end }) {
            self.found.tail = Some(self.broken(start..end)?);
        } else if self.unreadable.iter().any(|range| range.end > start) {
            let end = self.limit;
            self.found.tail = Some(self.broken(start..end)?);
        }
        Ok(())
    }

    fn broken(&mut self, range: Range<u64>) -> io::Result<Broken> {
        let salvaged = self.salvage(&range)?;
        let unreadable = self.unreadable.iter().any(|bad| overlap(bad, &range));
        Ok(Broken { range, salvaged, unreadable })
    }

    /// The records that begin in a range and verify alone, wherever in it they begin: neither a
    /// broken batch header nor a broken record before them hides them.
    fn salvage(&mut self, range: &Range<u64>) -> io::Result<Vec<Found>> {
        let mut salvaged = Vec::new();
        let mut effort = (range.end - range.start).saturating_mul(EFFORT_PER_BYTE);
        let mut at = range.start;
        while at < range.end {
            let bytes = self.bytes(at, STRETCH)?;
            let Some(index) = frame::next_record(bytes) else {
                if bytes.len() < STRETCH {
                    break;
                }
                at += (STRETCH - RECORD_HEADER_LEN) as u64;
                continue;
            };
            at += index as u64;
            match self.record_at(at, &mut effort)? {
                Some(record) => {
                    at += record.stored_len();
                    salvaged.push(record);
                }
                None => at += 1,
            }
        }
        salvaged.retain(|record| record.offset < range.end);
        Ok(salvaged)
    }

    fn record_at(&mut self, at: u64, effort: &mut u64) -> io::Result<Option<Found>> {
        let bytes = self.bytes(at, RECORD_HEADER_LEN)?;
        let Some(header) = bytes.first_chunk() else { return Ok(None) };
        let len = frame::stored_len_of(header);
        if len > *effort || at + len > self.limit {
            return Ok(None);
        }
        *effort -= len;
        let salt = self.segment.header.salt;
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        Ok(frame::read_record(self.bytes(at, len)?, &salt, at))
    }

    /// Up to `len` bytes at `at`, from the window where they are in it.
    fn bytes(&mut self, at: u64, len: usize) -> io::Result<&[u8]> {
        let in_window = at >= self.window_start
            && at + len as u64 <= self.window_start + self.window.len() as u64;
        if !in_window {
            let room = usize::try_from(self.limit.saturating_sub(at)).unwrap_or(usize::MAX);
            self.window = self.read(at, len.max(WINDOW).min(room))?;
            self.window_start = at;
        }
        let start = usize::try_from(at - self.window_start).unwrap_or(usize::MAX);
        let end = (start + len).min(self.window.len());
        Ok(&self.window[start.min(end)..end])
    }

    fn read(&mut self, at: u64, len: usize) -> io::Result<Vec<u8>> {
        match self.segment.read_at(at, len) {
            Err(_) if self.tolerant => Ok(self.read_in_pieces(at, len)),
            other => other,
        }
    }

    /// Reads what can be read; pieces that cannot are zeros and remembered.
    fn read_in_pieces(&mut self, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len);
        while bytes.len() < len {
            let start = at + bytes.len() as u64;
            let piece = PIECE.min(len - bytes.len());
            match self.segment.read_at(start, piece) {
                Ok(read) if read.is_empty() => break,
                Ok(read) => bytes.extend_from_slice(&read),
                Err(error) => {
                    tracing::warn!(segment = self.segment.number(), offset = start, %error, "unreadable");
                    self.unreadable.push(start..start + piece as u64);
                    bytes.resize(bytes.len() + piece, 0);
                }
            }
        }
        bytes
    }
}

fn overlap(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start < b.end && b.start < a.end
}

fn last_non_zero(bytes: &[u8]) -> Option<usize> {
    // Whole words first: most of what is looked at is zeros.
    let (words, rest) = bytes.as_chunks::<64>();
    if let Some(index) = rest.iter().rposition(|byte| *byte != 0) {
        return Some(words.len() * 64 + index);
    }
    let word = words.iter().rposition(|word| *word != [0; 64])?;
    let index = words[word].iter().rposition(|byte| *byte != 0)?;
    Some(word * 64 + index)
}

#[cfg(test)]
mod tests {
    use super::super::segment::file_name;
    use super::super::writer::Writer;
    use super::super::writer::tests::{block, site};
    use super::*;
    use crate::disk::{Access, MemoryDisk};
    use std::path::Path;

    /// A segment with a first batch, one of three records, a mark, and one of one record; offsets
    /// of the last three.
    fn written() -> (MemoryDisk, [u64; 3]) {
        let disk = MemoryDisk::new();
        let mut writer = Writer::create(site(&disk)).unwrap();
        writer.append(&[]).unwrap();
        let three = writer.active().end;
        writer.append(&[block(&[1; 40]), block(&[2; 40]), block(&[3; 40])]).unwrap();
        let mark = writer.active().end;
        writer.mark().unwrap();
        let last = writer.active().end;
        writer.append(&[block(&[4; 40])]).unwrap();
        (disk, [three, mark, last])
    }

    fn scanned(disk: &MemoryDisk, until: Until) -> (Scan, Vec<u64>) {
        let segment = Segment::open(disk, Path::new("/log"), 1, Access::Read).unwrap();
        let mut offsets = Vec::new();
        let scan =
            scan(&segment, until, &mut |batch| offsets.push(batch.head.place.offset)).unwrap();
        (scan, offsets)
    }

    fn zero(disk: &MemoryDisk, range: Range<u64>) {
        let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
        assert!(disk.damage(&Path::new("/log").join(file_name(1)), |bytes| bytes[range].fill(0)));
    }

    #[test]
    fn a_sound_segment_is_read_to_its_end() {
        let (disk, [three, mark, last]) = written();
        let (scan, offsets) = scanned(&disk, Until::Head);
        assert_eq!(offsets, [512, three, mark, last]);
        assert!(scan.gaps.is_empty() && scan.tail.is_none() && !scan.ends_with_mark);
        assert_eq!(scan.mark, Place { segment: 1, offset: last });
        assert_eq!(scan.end, scan.data_end);
    }

    #[test]
    fn a_lost_lone_mark_is_no_gap() {
        let (disk, [_, mark, last]) = written();
        zero(&disk, mark..last);
        let (scan, offsets) = scanned(&disk, Until::Head);
        assert_eq!(offsets.len(), 3);
        assert!(scan.gaps.is_empty(), "{:?}", scan.gaps);
    }

    #[test]
    fn a_broken_batch_is_a_gap_and_gives_the_records_that_verify() {
        let (disk, [three, mark, _]) = written();
        // The batch's header and the length of its first record.
        zero(&disk, three..three + 88);
        let (scan, offsets) = scanned(&disk, Until::Head);
        assert_eq!(offsets.len(), 3);
        assert_eq!(scan.gaps.len(), 1);
        assert_eq!(scan.gaps[0].range, three..mark);
        let saved: Vec<u8> = scan.gaps[0].salvaged.iter().map(|one| one.payload[0]).collect();
        assert_eq!(saved, [2, 3]);
    }

    #[test]
    fn a_broken_last_batch_is_the_tail() {
        let (disk, [.., last]) = written();
        zero(&disk, last..last + 8);
        let (scan, _) = scanned(&disk, Until::Head);
        assert!(scan.ends_with_mark && scan.gaps.is_empty());
        let tail = scan.tail.unwrap();
        assert_eq!((tail.range.start, tail.salvaged.len()), (last, 1));
        let end = last + 160;
        let (scan, _) = scanned(&disk, Until::Sealed(end));
        assert_eq!(scan.tail.unwrap().range, last..end);
    }
}
