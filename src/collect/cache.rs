//! What is known of a workspace, as bytes for the next process.
//!
//! All numbers are little-endian.
//!
//! ```text
//! magic    "SWKNOWN" · u8 version, 1
//! check    BLAKE3 (32) of all that follows
//! bound    u64 device · u64 inode of the root · u8 ignore_defaults · u64 file_bytes_max
//!          · bytes path of the root
//! clock    i64 wall clock of the last scan, in milliseconds since 1970
//! root     stat of the root
//! dirs     the root, then each directory in the order in which an entry names it:
//!          root of its pages · u32 count · count × digest (32) of its blocks
//!          · u32 count · count × entry
//! entry    bytes name · u8 doubt (0 none, 1 racy, 2 racy and read twice, 3 mapped) · stat · u8 type
//! file     type 1: u8 flags (1 has content, 2 has holes, 4 one of a group, 8 is a database)
//!          · u64 length · content root, where flag 1 is set · u64 group, where flag 4 is set
//! dir      type 2
//! link     type 3: bytes target
//! out      type 4: u8 why, in the order of `Why` · u8 has a size · u64 size, 0 without one
//! stat     u8 kind (0 file, 1 directory, 2 link, 3 other) · u64 length · u32 mode
//!          · time of the content · time of change · u64 device · u64 inode · u64 links · u64 allocated
//! time     i64 seconds · u32 nanoseconds
//! bytes    u32 length · that many
//! root     digest (32) · u8 level
//! ```
//!
//! It is a cache: a copy that is damaged, of another version, or of another workspace is not taken,
//! and everything is read once more. Only what lies in a store is carried along.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::Options;
use super::known::{Dir, DirId, Doubt, Entry, FileFacts, Known, Position, What};
use crate::disk::{FileTime, NodeKind, Stat};
use crate::encode::directory::Root;
use crate::state::Why;
use crate::state::{Digest, Timestamp};

const MAGIC: &[u8; 8] = b"SWKNOWN\x01";
const DIGEST_BYTES: usize = 32;

const KINDS: [NodeKind; 4] = [NodeKind::File, NodeKind::Dir, NodeKind::Link, NodeKind::Other];
const DOUBTS: [Doubt; 4] = [Doubt::None, Doubt::Racy, Doubt::RacyTwice, Doubt::Mapped];
const WHYS: [Why; 8] = [
    Why::IgnoredByDefault,
    Why::IgnoredByFile,
    Why::TooLarge,
    Why::Special,
    Why::Unreadable,
    Why::Store,
    Why::TooDeep,
    Why::Missing,
];

const HAS_CONTENT: u8 = 1;
const HAS_HOLES: u8 = 2;
const HAS_GROUP: u8 = 4;
const IS_DATABASE: u8 = 8;

/// What must be the same for what is known to be of use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound<'a> {
    pub place: &'a Path,
    pub device: u64,
    pub inode: u64,
    pub options: &'a Options,
}

impl Bound<'_> {
    fn write(&self, out: &mut Writer) {
        out.number(self.device);
        out.number(self.inode);
        out.byte(u8::from(self.options.ignore_defaults));
        out.number(self.options.file_bytes_max.0);
        out.bytes(self.place.as_os_str().as_bytes());
    }
}

/// What is known, and the wall clock of the scan that found it. Nothing where it is not whole.
pub(super) fn encode(known: &Known, clock: Timestamp, bound: &Bound<'_>) -> Option<Vec<u8>> {
    let mut out = Writer(Vec::new());
    out.0.extend_from_slice(MAGIC);
    out.0.extend_from_slice(&[0; DIGEST_BYTES]);
    bound.write(&mut out);
    out.number(clock.unix_ms().cast_unsigned());
    out.stat(&known.root_stat?);
    let mut waiting = VecDeque::from([DirId::ROOT]);
    while let Some(id) = waiting.pop_front() {
        let dir = known.dir(id)?;
        out.dir(dir)?;
        waiting.extend(dir.entries.iter().filter_map(|entry| match entry.what {
            What::Dir(id) => Some(id),
            _ => None,
        }));
    }
    let mut bytes = out.0;
    let (head, body) = bytes.split_at_mut(MAGIC.len() + DIGEST_BYTES);
    head[MAGIC.len()..].copy_from_slice(&Digest::of(body).0);
    Some(bytes)
}

/// Reads what [`encode`] wrote for the same workspace; nothing where anything is wrong with it.
pub(super) fn decode(bytes: &[u8], bound: &Bound<'_>) -> Option<(Known, Timestamp)> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (check, body) = rest.split_first_chunk::<DIGEST_BYTES>()?;
    if Digest::of(body).0 != *check {
        return None;
    }
    let mut expected = Writer(Vec::new());
    bound.write(&mut expected);
    let mut input = Reader(body.strip_prefix(expected.0.as_slice())?);
    let clock = Timestamp::from_unix_ms(input.number()?.cast_signed());
    let mut known = Known::default();
    known.root_stat = Some(input.stat()?);
    let mut slots = known.take_slots();
    let mut waiting = VecDeque::from([(DirId::ROOT, None)]);
    while let Some((id, position)) = waiting.pop_front() {
        let dir = input.dir(position, &mut || slots.take())?;
        let depth = dir.depth().checked_add(1)?;
        for entry in &dir.entries {
            if let What::Dir(below) = entry.what {
                let position = Position { parent: id, name: entry.name.clone(), depth };
                waiting.push_back((below, Some(position)));
            }
        }
        known.take_back(id, dir);
    }
    input.0.is_empty().then_some((known, clock))
}

struct Writer(Vec<u8>);

impl Writer {
    fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn short(&mut self, number: u32) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn len(&mut self, len: usize) {
        self.short(u32::try_from(len).unwrap_or(u32::MAX));
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.len(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    fn root(&mut self, (digest, level): Root) {
        self.0.extend_from_slice(&digest.0);
        self.byte(level);
    }

    fn time(&mut self, time: FileTime) {
        self.number(time.secs.cast_unsigned());
        self.short(time.nanos);
    }

    fn stat(&mut self, stat: &Stat) {
        self.byte(place(&KINDS, &stat.kind));
        self.number(stat.len);
        self.short(stat.mode);
        self.time(stat.modified);
        self.time(stat.changed);
        for number in [stat.device, stat.inode, stat.links, stat.allocated] {
            self.number(number);
        }
    }

    fn dir(&mut self, dir: &Dir) -> Option<()> {
        self.root(dir.pages?);
        self.len(dir.blocks.len());
        dir.blocks.iter().for_each(|digest| self.0.extend_from_slice(&digest.0));
        self.len(dir.entries.len());
        dir.entries.iter().for_each(|entry| self.entry(entry));
        Some(())
    }

    fn entry(&mut self, entry: &Entry) {
        self.bytes(entry.name.as_bytes());
        self.byte(place(&DOUBTS, &entry.doubt));
        self.stat(&entry.stat);
        match &entry.what {
            What::File(file) => {
                self.byte(1);
                self.file(file);
            }
            What::Dir(_) => self.byte(2),
            What::Link(target) => {
                self.byte(3);
                self.bytes(target.as_bytes());
            }
            What::Out(why, bytes) => {
                self.byte(4);
                self.byte(place(&WHYS, why));
                self.byte(u8::from(bytes.is_some()));
                self.number(bytes.unwrap_or(0));
            }
        }
    }

    fn file(&mut self, file: &FileFacts) {
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        self.byte(
            flag(file.content.is_some(), HAS_CONTENT)
                | flag(file.has_holes, HAS_HOLES)
                | flag(file.group.is_some(), HAS_GROUP)
                | flag(file.is_database, IS_DATABASE),
        );
        self.number(file.len);
        if let Some(root) = file.content {
            self.root(root);
        }
        if let Some(group) = file.group {
            self.number(group);
        }
    }
}

/// Where something stands in a list of all there is of its kind.
fn place<T: PartialEq>(all: &[T], one: &T) -> u8 {
    let at = all.iter().position(|other| other == one);
    at.and_then(|at| u8::try_from(at).ok()).expect("the list is complete and short")
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn byte(&mut self) -> Option<u8> {
        Some(self.array::<1>()?[0])
    }

    fn number(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.array()?))
    }

    fn short(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.array()?))
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = self.short()?;
        self.take(usize::try_from(len).ok()?)
    }

    fn text(&mut self) -> Option<Box<OsStr>> {
        Some(OsStr::from_bytes(self.bytes()?).into())
    }

    fn root(&mut self) -> Option<Root> {
        Some((Digest(self.array()?), self.byte()?))
    }

    fn time(&mut self) -> Option<FileTime> {
        Some(FileTime { secs: self.number()?.cast_signed(), nanos: self.short()? })
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> Option<T> {
        all.get(usize::from(self.byte()?)).copied()
    }

    fn stat(&mut self) -> Option<Stat> {
        Some(Stat {
            kind: self.one_of(&KINDS)?,
            len: self.number()?,
            mode: self.short()?,
            modified: self.time()?,
            changed: self.time()?,
            device: self.number()?,
            inode: self.number()?,
            links: self.number()?,
            allocated: self.number()?,
        })
    }

    fn dir(&mut self, position: Option<Position>, slot: &mut dyn FnMut() -> DirId) -> Option<Dir> {
        let pages = Some(self.root()?);
        let count = self.short()?;
        let blocks = (0..count).map(|_| Some(Digest(self.array()?))).collect::<Option<Vec<_>>>()?;
        let count = self.short()?;
        let mut entries = Vec::new();
        // What the bytes claim is only believed as far as they reach.
        entries.reserve_exact(usize::try_from(count).ok()?.min(self.0.len() / 80));
        for _ in 0..count {
            entries.push(self.entry(slot)?);
        }
        let (patterns, stored) = (None, true);
        Some(Dir { position, entries, patterns, pages, stored, blocks: blocks.into() })
    }

    fn entry(&mut self, slot: &mut dyn FnMut() -> DirId) -> Option<Entry> {
        let name = self.text()?;
        let doubt = self.one_of(&DOUBTS)?;
        let stat = self.stat()?;
        let what = match self.byte()? {
            1 => What::File(self.file()?),
            2 => What::Dir(slot()),
            3 => What::Link(self.text()?),
            4 => {
                let why = self.one_of(&WHYS)?;
                let (has_size, size) = (self.byte()? != 0, self.number()?);
                What::Out(why, has_size.then_some(size))
            }
            _ => return None,
        };
        Some(Entry { name, stat, what, doubt, stored: true })
    }

    fn file(&mut self) -> Option<FileFacts> {
        let flags = self.byte()?;
        Some(FileFacts {
            len: self.number()?,
            content: if flags & HAS_CONTENT == 0 { None } else { Some(self.root()?) },
            has_holes: flags & HAS_HOLES != 0,
            group: if flags & HAS_GROUP == 0 { None } else { Some(self.number()?) },
            is_database: flags & IS_DATABASE != 0,
        })
    }
}
