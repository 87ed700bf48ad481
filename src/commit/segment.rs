//! Segment files: made durable before they are used, read with every byte checked.
//!
//! A segment is made under a temporary name, filled, synced, renamed, and its directory synced; only
//! then may a batch be written into it. A segment whose directory sync failed is never used, and
//! neither is its name.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::frame::{
    self, Found, HeaderFault, RECORD_HEADER_LEN, SEGMENT_HEADER, SegmentHeader, align_up,
};
use crate::disk::{Access, Disk, DiskFile, Durability, PublishError, publish_with};

/// Zeros are written in pieces of this size.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// The file name of segment `number`.
pub(crate) fn file_name(number: u64) -> String {
    format!("{number:016}.log")
}

/// The file name of the summary of segment `number`.
pub(crate) fn summary_name(number: u64) -> String {
    format!("{number:016}.idx")
}

/// The number in a segment's or a summary's file name.
pub(crate) fn number_of(name: &str, extension: &str) -> Option<u64> {
    let digits = name.strip_suffix(extension)?.strip_suffix('.')?;
    let number = digits.parse().ok()?;
    (digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_digit())).then_some(number)
}

/// Why a segment file cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SegmentFault {
    #[error("cannot read it: {0}")]
    Io(#[from] io::Error),
    #[error("neither of its headers is sound")]
    Headers,
    #[error("its header names segment {0}")]
    OtherNumber(u64),
    #[error("it belongs to another store")]
    OtherStore,
    #[error("it was written by a newer program (format {0})")]
    Newer(u32),
}

impl SegmentFault {
    /// There is no such file.
    pub(crate) fn is_absence(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordFault {
    #[error("cannot read it: {0}")]
    Io(#[from] io::Error),
    #[error("its checksum does not match")]
    Checksum,
}

/// An open segment file.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    pub header: SegmentHeader,
    /// Its first header is broken: it is served by the second, and not continued.
    pub by_second: bool,
    /// Bytes in the file; fewer than the header says where it was cut short.
    pub file_len: u64,
    file: Arc<dyn DiskFile>,
}

impl Segment {
    /// Makes a segment durable under its name. Without `zeroed` only the headers are written and
    /// the rest is a hole.
    pub(crate) fn make(
        disk: &dyn Disk,
        dir: &Path,
        header: SegmentHeader,
        zeroed: bool,
    ) -> io::Result<Self> {
        let path = dir.join(file_name(header.number));
        publish_with(disk, &path, Durability::Synced, |file| fill(file, &header, zeroed))
            .map_err(PublishError::into_io)?;
        let file = disk.open(&path, Access::Write)?;
        Ok(Self { file_len: header.length, header, by_second: false, file })
    }

    /// Opens the segment that stands under `number` and checks that it is that one.
    pub(crate) fn open(
        disk: &dyn Disk,
        dir: &Path,
        number: u64,
        access: Access,
    ) -> Result<Self, SegmentFault> {
        let file = disk.open(&dir.join(file_name(number)), access)?;
        let file_len = file.len()?;
        let first = header_at(&*file, 0)?;
        let (header, by_second) = match first {
            Ok(header) => (header, false),
            Err(HeaderFault::Newer(version)) => return Err(SegmentFault::Newer(version)),
            Err(HeaderFault::Broken) => {
                let at = file_len.checked_sub(SEGMENT_HEADER).ok_or(SegmentFault::Headers)?;
                (header_at(&*file, at)?.map_err(|_| SegmentFault::Headers)?, true)
            }
        };
        if header.number != number {
            return Err(SegmentFault::OtherNumber(header.number));
        }
        Ok(Self { header, by_second, file_len, file })
    }

    pub(crate) fn number(&self) -> u64 {
        self.header.number
    }

    /// The file is shorter than its header says.
    pub(crate) fn is_short(&self) -> bool {
        self.file_len < self.header.length
    }

    /// Whether the header at the end is what the one at the start says.
    pub(crate) fn second_header_is_sound(&self) -> io::Result<bool> {
        if self.is_short() {
            return Ok(false);
        }
        Ok(header_at(&*self.file, self.header.length - SEGMENT_HEADER)? == Ok(self.header.clone()))
    }

    pub(crate) fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Reads up to `len` bytes at `offset`, fewer only where the file ends.
    pub(crate) fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let there = self.file_len.saturating_sub(offset);
        let len = len.min(usize::try_from(there).unwrap_or(usize::MAX));
        let mut bytes = vec![0; len];
        let mut filled = 0;
        while filled < len {
            let read = self.file.read_at(&mut bytes[filled..], offset + filled as u64)?;
            if read == 0 {
                break;
            }
            filled += read;
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    /// Reads and proves the record whose header stands at `offset`.
    pub(crate) fn read_record(&self, offset: u64) -> Result<Found, RecordFault> {
        // Most records fit the first read, which spares the second one.
        const GUESS: usize = 4096;
        let mut bytes = self.read_at(offset, GUESS)?;
        let header = bytes.first_chunk::<RECORD_HEADER_LEN>().ok_or(RecordFault::Checksum)?;
        let len = frame::stored_len_of(header);
        if len > self.header.length {
            return Err(RecordFault::Checksum);
        }
        let len = usize::try_from(len).map_err(|_| RecordFault::Checksum)?;
        if len > bytes.len() {
            let rest = self.read_at(offset + bytes.len() as u64, len - bytes.len())?;
            bytes.extend_from_slice(&rest);
        }
        bytes.truncate(len);
        frame::read_record(&bytes, &self.header.salt, offset).ok_or(RecordFault::Checksum)
    }
}

fn fill(file: &dyn DiskFile, header: &SegmentHeader, zeroed: bool) -> io::Result<()> {
    let bytes = header.encode();
    file.write_all_at(&bytes, 0)?;
    let end = header.length - SEGMENT_HEADER;
    let mut at = SEGMENT_HEADER;
    while zeroed && at < end {
        let piece = (end - at).min(ZEROS.len() as u64);
        file.write_all_at(&ZEROS[..usize::try_from(piece).unwrap_or(ZEROS.len())], at)?;
        at += piece;
    }
    file.write_all_at(&bytes, end)
}

fn header_at(file: &dyn DiskFile, at: u64) -> io::Result<Result<SegmentHeader, HeaderFault>> {
    let mut bytes = [0; frame::SEGMENT_HEADER_LEN];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], at + filled as u64)? {
            0 => return Ok(Err(HeaderFault::Broken)),
            read => filled += read,
        }
    }
    Ok(SegmentHeader::decode(&bytes))
}

/// The length a segment needs to hold `batch` bytes beside its headers and one lone mark.
pub(crate) fn length_for(batch: u64, align: u32) -> u64 {
    let batches = align_up(SEGMENT_HEADER, align) + batch + frame::lone_mark_len(align);
    align_up(batches + SEGMENT_HEADER, 4096)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;
    use crate::state::Timestamp;

    const LENGTH: u64 = 8192;

    fn made() -> MemoryDisk {
        let disk = MemoryDisk::new();
        disk.create_dir(Path::new("/log")).unwrap();
        let created_at = Timestamp::from_unix_ms(0);
        let header = SegmentHeader {
            store_id: [1; 16],
            number: 4,
            length: LENGTH,
            salt: [2; 32],
            batch_align: 8,
            created_at,
        };
        Segment::make(&disk, Path::new("/log"), header, true).unwrap();
        disk
    }

    fn opened(damage: impl FnOnce(&mut Vec<u8>)) -> Result<Segment, SegmentFault> {
        let disk = made();
        disk.damage(&Path::new("/log").join(file_name(4)), damage);
        Segment::open(&disk, Path::new("/log"), 4, Access::Read)
    }

    #[test]
    fn either_header_serves() {
        let whole = opened(|_| {}).unwrap();
        assert!(!whole.by_second && !whole.is_short());
        assert!(whole.second_header_is_sound().unwrap());
        let by_second = opened(|bytes| bytes[20] ^= 1).unwrap();
        assert!(by_second.by_second && by_second.header == whole.header);
        let first_only = opened(|bytes| bytes[8000] ^= 1).unwrap();
        assert!(!first_only.by_second && !first_only.second_header_is_sound().unwrap());
    }

    #[test]
    fn a_file_is_refused_without_a_header_and_under_another_number() {
        let neither = opened(|bytes| {
            bytes[20] ^= 1;
            bytes[8000] ^= 1;
        });
        assert!(matches!(neither, Err(SegmentFault::Headers)));
        assert!(matches!(opened(Vec::clear), Err(SegmentFault::Headers)));
        let disk = made();
        let bytes = disk.get(&Path::new("/log").join(file_name(4))).unwrap();
        disk.put(&Path::new("/log").join(file_name(5)), &bytes);
        let other = Segment::open(&disk, Path::new("/log"), 5, Access::Read);
        assert!(matches!(other, Err(SegmentFault::OtherNumber(4))));
    }

    #[test]
    fn a_file_cut_short_is_known_and_read_to_its_end() {
        let short = opened(|bytes| bytes.truncate(1000)).unwrap();
        assert!(short.is_short() && !short.second_header_is_sound().unwrap());
        assert_eq!(short.read_at(900, 500).unwrap().len(), 100);
        assert_eq!(short.read_at(2000, 500).unwrap().len(), 0);
        assert!(matches!(short.read_record(990), Err(RecordFault::Checksum)));
    }

    #[test]
    fn only_sixteen_digits_name_a_segment() {
        assert_eq!(number_of(&file_name(12), "log"), Some(12));
        assert_eq!(number_of(&summary_name(12), "idx"), Some(12));
        for name in
            ["12.log", "000000000000001x.log", "+000000000000012.log", "0000000000000012log"]
        {
            assert_eq!(number_of(name, "log"), None, "{name}");
        }
    }
}
