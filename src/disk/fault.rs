//! A disk that fails when it is told to.
//!
//! [`FaultDisk`] stands before another disk, counts and records every call in the order in which
//! they begin, and lets them fail, stop, end half-way or wait. Calls are numbered from 0, since the
//! disk was made or [`FaultDisk::reset`]. A call that fails does not reach the disk below, but for
//! the part of a write that was asked for.
//!
//! Over a [`MemoryDisk`] ([`FaultDisk::over`]) a sync that fails also means what it means on a real
//! machine: nothing that was pending is made durable by a later sync.
//!
//! A file is known by the path under which it was opened, also after a rename.

mod tree;

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rustix::io::Errno;

use self::tree::FaultTree;
use super::memory::MemoryFile;
use super::{
    Access, Disk, DiskFile, DiskLock, DiskTree, Entry, FileSystem, MemoryDisk, Metadata, Space,
    Stat,
};
use crate::clock::Clock;
use crate::protection::{self, Protection};

/// The calls of the seam, one for each method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Op {
    /// [`Disk::open`].
    Open,
    /// [`Disk::create_dir`].
    CreateDir,
    /// [`Disk::rename`].
    Rename,
    /// [`Disk::remove_file`].
    RemoveFile,
    /// [`Disk::remove_dir`].
    RemoveDir,
    /// [`Disk::sync_dir`].
    SyncDir,
    /// [`Disk::read_dir`].
    ReadDir,
    /// [`Disk::metadata`].
    Metadata,
    /// [`Disk::try_lock`].
    TryLock,
    /// [`Disk::space`].
    Space,
    /// [`Disk::file_system`].
    FileSystem,
    /// [`Disk::canonical`].
    Canonical,
    /// [`DiskFile::read_at`].
    Read,
    /// [`DiskFile::write_all_at`].
    Write,
    /// [`DiskFile::sync_data`].
    Sync,
    /// [`DiskFile::len`].
    Len,
    /// [`DiskFile::set_len`].
    SetLen,
    /// [`DiskLock::write_holder`].
    WriteHolder,
    /// [`Disk::tree`].
    Tree,
    /// [`Disk::mapped_files`].
    MappedFiles,
    /// [`DiskFile::sync_all`].
    SyncFile,
    /// [`DiskFile::stat`].
    StatFile,
    /// [`DiskTree::stat`].
    TreeStat,
    /// [`DiskTree::read_dir`].
    TreeReadDir,
    /// [`DiskTree::open`].
    TreeOpen,
    /// [`DiskTree::read_link`].
    TreeReadLink,
    /// [`DiskTree::create`].
    TreeCreate,
    /// [`DiskTree::create_dir`].
    TreeCreateDir,
    /// [`DiskTree::create_link`].
    TreeCreateLink,
    /// [`DiskTree::hard_link`].
    TreeHardLink,
    /// [`DiskTree::rename`].
    TreeRename,
    /// [`DiskTree::remove_file`].
    TreeRemoveFile,
    /// [`DiskTree::remove_dir`].
    TreeRemoveDir,
    /// [`DiskTree::set_mode`].
    TreeSetMode,
    /// [`DiskTree::set_modified`].
    TreeSetModified,
    /// [`DiskTree::sync_dir`].
    TreeSyncDir,
    /// [`DiskTree::sync_all`].
    TreeSyncAll,
}

/// One call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Which.
    pub op: Op,
    /// Of which path; for a rename or a hard link the new name. In a tree, the path under which the
    /// tree was opened stands before it.
    pub path: PathBuf,
    /// Where it reads or writes; for a change of length, the new length.
    pub offset: u64,
    /// How many bytes it reads (at most) or writes.
    pub bytes: u64,
}

impl Call {
    fn of(op: Op, path: &Path) -> Self {
        Self { op, path: path.to_owned(), offset: 0, bytes: 0 }
    }
}

/// A fault: which calls it meets, how often, and what happens then. Made with [`Fault::new`] it
/// meets every call for ever; the other methods narrow it.
#[derive(Debug, Clone)]
pub struct Fault {
    errno: Errno,
    op: Option<Op>,
    part: String,
    range: Range<u64>,
    skip: u64,
    times: u64,
    bytes: usize,
}

impl Fault {
    /// Every call fails with `errno`, for ever.
    #[must_use]
    pub fn new(errno: Errno) -> Self {
        let (part, range) = (String::new(), 0..u64::MAX);
        Self { errno, op: None, part, range, skip: 0, times: u64::MAX, bytes: 0 }
    }

    /// Only calls of this kind.
    #[must_use]
    pub fn on(self, op: Op) -> Self {
        Self { op: Some(op), ..self }
    }

    /// Only calls whose path contains `part`.
    #[must_use]
    pub fn at(self, part: &str) -> Self {
        Self { part: part.to_owned(), ..self }
    }

    /// Only reads and writes that touch this range of a file.
    #[must_use]
    pub fn within(self, range: Range<u64>) -> Self {
        Self { range, ..self }
    }

    /// Lets the first `count` calls it meets pass.
    #[must_use]
    pub fn skipping(self, count: u64) -> Self {
        Self { skip: count, ..self }
    }

    /// Passes away after it struck so many times.
    #[must_use]
    pub fn times(self, count: u64) -> Self {
        Self { times: count, ..self }
    }

    /// Lets the first `count` bytes of a write reach the disk.
    #[must_use]
    pub fn after_bytes(self, count: usize) -> Self {
        Self { bytes: count, ..self }
    }

    fn meets(&self, call: &Call) -> bool {
        let whole = self.range == (0..u64::MAX);
        self.op.is_none_or(|op| op == call.op)
            && call.path.to_string_lossy().contains(&self.part)
            && (whole
                || (call.offset < self.range.end && call.offset + call.bytes > self.range.start))
    }

    fn strikes(&mut self, call: &Call) -> bool {
        if self.times == 0 || !self.meets(call) {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        self.times -= 1;
        true
    }
}

/// Why a call does not go through, and how much of it does.
struct Refusal {
    error: io::Error,
    bytes: usize,
    /// A dead process never asked the disk, so a sync of it did not fail there.
    dead: bool,
}

#[derive(Default)]
struct Script {
    calls: Vec<Call>,
    /// The process is dead from the call of this number on.
    stop: Option<u64>,
    faults: Vec<Fault>,
    gates: Vec<Hold>,
    gates_made: u64,
    /// What happens just before the call of this number.
    event: Option<(u64, Event)>,
    /// How long each call of this kind takes, by which clock.
    slow: Option<(Op, Duration, Arc<dyn Clock>)>,
    /// Bytes that files may still grow by.
    room: Option<u64>,
}

/// Something that happens on the disk while the process is in the midst of its work.
type Event = Box<dyn FnOnce() + Send>;

struct Hold {
    id: u64,
    op: Op,
    part: String,
    waiting: usize,
}

impl Script {
    fn dead(&self, number: u64) -> bool {
        self.stop.is_some_and(|stop| number >= stop)
    }

    fn holds(&mut self, id: u64) -> Option<&mut Hold> {
        self.gates.iter_mut().find(|gate| gate.id == id)
    }

    fn refusal(&mut self, number: u64, call: &Call) -> Result<(), Refusal> {
        if self.dead(number) {
            let error = io::Error::other("the process is dead");
            return Err(Refusal { error, bytes: 0, dead: true });
        }
        match self.faults.iter_mut().find_map(|fault| fault.strikes(call).then_some(&*fault)) {
            Some(fault) => {
                Err(Refusal { error: fault.errno.into(), bytes: fault.bytes, dead: false })
            }
            None => Ok(()),
        }
    }

    /// Takes room for a file that grows by `bytes`; says how many did not fit.
    fn take_room(&mut self, bytes: u64) -> u64 {
        let Some(room) = &mut self.room else { return 0 };
        let taken = bytes.min(*room);
        *room -= taken;
        bytes - taken
    }

    fn give_room(&mut self, bytes: u64) {
        self.room = self.room.map(|room| room + bytes);
    }
}

#[derive(Default)]
struct Shared {
    script: Mutex<Script>,
    /// Told when a call begins to wait at a gate, and when a gate opens.
    moved: Condvar,
}

impl Shared {
    /// Records a call, lets it wait where it is held, and says whether it goes through.
    fn enter(&self, call: &Call) -> Result<(), Refusal> {
        let mut script = self.script.lock();
        let number = script.calls.len() as u64;
        script.calls.push(call.clone());
        let event = script.event.take_if(|(at, _)| *at <= number);
        let slow = script.slow.as_ref().filter(|(op, ..)| *op == call.op);
        if let Some((_, time, clock)) = slow {
            clock.sleep(*time);
        }
        if let Some((_, event)) = event {
            drop(script);
            event();
            script = self.script.lock();
        }
        let holds = |gate: &&mut Hold| {
            gate.op == call.op && call.path.to_string_lossy().contains(&gate.part)
        };
        let held = script.gates.iter_mut().find(holds).map(|gate| {
            gate.waiting += 1;
            gate.id
        });
        if let Some(id) = held {
            self.moved.notify_all();
            while script.holds(id).is_some() && !script.dead(number) {
                self.moved.wait(&mut script);
            }
        }
        script.refusal(number, call)
    }

    fn pass(&self, op: Op, path: &Path) -> io::Result<()> {
        self.enter(&Call::of(op, path)).map_err(|refusal| refusal.error)
    }

    fn room_for_a_name(&self) -> io::Result<()> {
        let full = self.script.lock().room == Some(0);
        if full { Err(Errno::NOSPC.into()) } else { Ok(()) }
    }
}

/// Holds calls back until it is released or dropped.
#[must_use = "a gate opens when it is dropped"]
pub struct Gate {
    shared: Arc<Shared>,
    id: u64,
}

impl Gate {
    /// Blocks until `count` calls wait at the gate.
    pub fn wait_for(&self, count: usize) {
        let mut script = self.shared.script.lock();
        while script.holds(self.id).is_some_and(|gate| gate.waiting < count) {
            self.shared.moved.wait(&mut script);
        }
    }

    /// Lets the calls that wait go on, and later ones pass.
    pub fn release(self) {
        drop(self);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.shared.script.lock().gates.retain(|gate| gate.id != self.id);
        self.shared.moved.notify_all();
    }
}

/// A disk that records its calls and fails on demand.
pub struct FaultDisk {
    inner: Arc<dyn Disk>,
    memory: Option<MemoryDisk>,
    shared: Arc<Shared>,
}

impl FaultDisk {
    /// Stands before any disk.
    #[must_use]
    pub fn new(inner: Arc<dyn Disk>) -> Arc<Self> {
        Arc::new(Self { inner, memory: None, shared: Arc::default() })
    }

    /// Stands before a disk in memory, which learns of the syncs that failed.
    #[must_use]
    pub fn over(memory: &MemoryDisk) -> Arc<Self> {
        let memory = memory.clone();
        Arc::new(Self { inner: memory.shared(), memory: Some(memory), shared: Arc::default() })
    }

    /// Adds a fault; the earliest added that meets a call decides.
    pub fn inject(&self, fault: Fault) {
        self.shared.script.lock().faults.push(fault);
    }

    /// The call of this number and every later one fails as if the process were dead.
    pub fn stop_at(&self, number: u64) {
        self.shared.script.lock().stop = Some(number);
        self.shared.moved.notify_all();
    }

    /// Lets files grow by `bytes` in all, then writes fail with `ENOSPC` where the room ends, and
    /// nothing new is made; what is removed or cut gives its room back.
    pub fn full_after(&self, bytes: u64) {
        self.shared.script.lock().room = Some(bytes);
    }

    /// Lets something happen just before the call of this number.
    pub fn at_call(&self, number: u64, event: impl FnOnce() + Send + 'static) {
        self.shared.script.lock().event = Some((number, Box::new(event)));
    }

    /// Lets each call of this kind take so long by `clock`.
    pub fn slow(&self, op: Op, time: Duration, clock: Arc<dyn Clock>) {
        self.shared.script.lock().slow = Some((op, time, clock));
    }

    /// Takes all faults back, and the limit of room; a dead process stays dead.
    pub fn heal(&self) {
        let mut script = self.shared.script.lock();
        script.faults.clear();
        script.room = None;
    }

    /// Holds back each call of this kind whose path contains `part`.
    pub fn hold(&self, op: Op, part: &str) -> Gate {
        let mut script = self.shared.script.lock();
        script.gates_made += 1;
        let id = script.gates_made;
        script.gates.push(Hold { id, op, part: part.to_owned(), waiting: 0 });
        Gate { shared: self.shared.clone(), id }
    }

    /// The calls so far, failed ones included.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.shared.script.lock().calls.clone()
    }

    /// How many calls there were.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.shared.script.lock().calls.len() as u64
    }

    /// How many calls of a kind there were.
    #[must_use]
    pub fn count(&self, op: Op) -> usize {
        self.shared.script.lock().calls.iter().filter(|call| call.op == op).count()
    }

    /// Forgets the calls so far; numbers begin at 0 again.
    pub fn reset(&self) {
        self.shared.script.lock().calls.clear();
    }

    fn open_inner(&self, path: &Path, access: Access) -> io::Result<Below> {
        Ok(match &self.memory {
            Some(memory) => Below::Memory(memory.open_file(path, access)?),
            None => Below::Other(self.inner.open(path, access)?),
        })
    }
}

impl fmt::Debug for FaultDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultDisk").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl Disk for FaultDisk {
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        self.shared.pass(Op::Open, path)?;
        if access == Access::CreateNew {
            self.shared.room_for_a_name()?;
        }
        let below = self.open_inner(path, access)?;
        Ok(Arc::new(FaultFile { below, path: path.to_owned(), shared: self.shared.clone() }))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.shared.pass(Op::CreateDir, path)?;
        self.shared.room_for_a_name()?;
        self.inner.create_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.shared.pass(Op::Rename, to)?;
        self.inner.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.shared.pass(Op::RemoveFile, path)?;
        let len = self.inner.metadata(path).map_or(0, |found| found.len);
        self.inner.remove_file(path)?;
        self.shared.script.lock().give_room(len);
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.shared.pass(Op::RemoveDir, path)?;
        self.inner.remove_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        if let Err(refusal) = self.shared.enter(&Call::of(Op::SyncDir, path)) {
            if let Some(memory) = self.memory.as_ref().filter(|_| !refusal.dead) {
                memory.fail_sync_dir(path)?;
            }
            return Err(refusal.error);
        }
        if !protection::stands(Protection::DirectorySync) {
            return Ok(());
        }
        self.inner.sync_dir(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.shared.pass(Op::ReadDir, path)?;
        self.inner.read_dir(path)
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        self.shared.pass(Op::Metadata, path)?;
        self.inner.metadata(path)
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn DiskLock>>> {
        self.shared.pass(Op::TryLock, path)?;
        let lock = self.inner.try_lock(path)?;
        let (shared, path) = (self.shared.clone(), path.to_owned());
        Ok(lock.map(|inner| Box::new(FaultLock { inner, path, shared }) as Box<dyn DiskLock>))
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.shared.pass(Op::Space, path)?;
        let found = self.inner.space(path)?;
        let room = self.shared.script.lock().room;
        Ok(Space { free: found.free.min(room.unwrap_or(u64::MAX)), ..found })
    }

    fn file_system(&self, path: &Path) -> io::Result<FileSystem> {
        self.shared.pass(Op::FileSystem, path)?;
        self.inner.file_system(path)
    }

    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        self.shared.pass(Op::Canonical, path)?;
        self.inner.canonical(path)
    }

    fn tree(&self, path: &Path) -> io::Result<Arc<dyn DiskTree>> {
        self.shared.pass(Op::Tree, path)?;
        Ok(Arc::new(FaultTree::open(self, path)?))
    }

    fn mapped_files(&self) -> io::Result<HashSet<u64>> {
        self.shared.pass(Op::MappedFiles, Path::new(""))?;
        self.inner.mapped_files()
    }
}

#[derive(Debug)]
enum Below {
    Memory(Arc<MemoryFile>),
    Other(Arc<dyn DiskFile>),
}

impl Below {
    fn file(&self) -> &dyn DiskFile {
        match self {
            Self::Memory(file) => &**file,
            Self::Other(file) => &**file,
        }
    }
}

struct FaultFile {
    below: Below,
    path: PathBuf,
    shared: Arc<Shared>,
}

impl FaultFile {
    fn enter(&self, op: Op, offset: u64, bytes: usize) -> Result<(), Refusal> {
        self.shared.enter(&Call { op, path: self.path.clone(), offset, bytes: bytes as u64 })
    }

    /// Takes the room that a file needs to reach `end`; says how many bytes did not fit.
    fn grow(&self, end: u64) -> io::Result<u64> {
        if self.shared.script.lock().room.is_none() {
            return Ok(0);
        }
        let grown = end.saturating_sub(self.below.file().len()?);
        Ok(self.shared.script.lock().take_room(grown))
    }
}

impl fmt::Debug for FaultFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl DiskFile for FaultFile {
    fn start_writing(&self) {
        self.below.file().start_writing();
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.enter(Op::Read, offset, buf.len()).map_err(|refusal| refusal.error)?;
        self.below.file().read_at(buf, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if let Err(refusal) = self.enter(Op::Write, offset, bytes.len()) {
            let part = &bytes[..refusal.bytes.min(bytes.len())];
            self.below.file().write_all_at(part, offset)?;
            return Err(refusal.error);
        }
        let missing = self.grow(offset + bytes.len() as u64)?;
        let fits = bytes.len().saturating_sub(usize::try_from(missing).unwrap_or(usize::MAX));
        self.below.file().write_all_at(&bytes[..fits], offset)?;
        if missing > 0 { Err(Errno::NOSPC.into()) } else { Ok(()) }
    }

    fn sync_data(&self) -> io::Result<()> {
        if let Err(refusal) = self.enter(Op::Sync, 0, 0) {
            match &self.below {
                Below::Memory(file) if !refusal.dead => file.fail_sync(),
                _ => {}
            }
            return Err(refusal.error);
        }
        if !protection::stands(Protection::Sync) {
            return Ok(());
        }
        self.below.file().sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        self.enter(Op::Len, 0, 0).map_err(|refusal| refusal.error)?;
        self.below.file().len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.enter(Op::SetLen, len, 0).map_err(|refusal| refusal.error)?;
        let before = self.below.file().len()?;
        if self.grow(len)? > 0 {
            return Err(Errno::NOSPC.into());
        }
        self.below.file().set_len(len)?;
        self.shared.script.lock().give_room(before.saturating_sub(len));
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        if let Err(refusal) = self.enter(Op::SyncFile, 0, 0) {
            match &self.below {
                Below::Memory(file) if !refusal.dead => file.fail_sync_all(),
                _ => {}
            }
            return Err(refusal.error);
        }
        self.below.file().sync_all()
    }

    fn stat(&self) -> io::Result<Stat> {
        self.enter(Op::StatFile, 0, 0).map_err(|refusal| refusal.error)?;
        self.below.file().stat()
    }
}

struct FaultLock {
    inner: Box<dyn DiskLock>,
    path: PathBuf,
    shared: Arc<Shared>,
}

impl fmt::Debug for FaultLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultLock").field("path", &self.path).finish_non_exhaustive()
    }
}

impl DiskLock for FaultLock {
    fn write_holder(&self, text: &[u8]) -> io::Result<()> {
        self.shared.pass(Op::WriteHolder, &self.path)?;
        self.inner.write_holder(text)
    }

    // Neither failed nor counted: it changes nothing, and each batch asks it.
    fn is_in_place(&self) -> io::Result<bool> {
        self.inner.is_in_place()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::disk::{FileTime, Loss};

    fn at(path: &str) -> &Path {
        Path::new(path)
    }

    fn set_up() -> (MemoryDisk, Arc<FaultDisk>, Arc<dyn DiskFile>) {
        let memory = MemoryDisk::new();
        memory.put(at("/f"), b"0123456789");
        let disk = FaultDisk::over(&memory);
        let file = disk.open(at("/f"), Access::Write).unwrap();
        disk.reset();
        (memory, disk, file)
    }

    fn code<T: fmt::Debug>(result: io::Result<T>) -> Option<Errno> {
        Errno::from_io_error(&result.unwrap_err())
    }

    #[test]
    fn calls_are_recorded_and_counted() {
        let (_, disk, file) = set_up();
        file.write_all_at(b"abc", 2).unwrap();
        disk.rename(at("/f"), at("/g")).unwrap();
        disk.inject(Fault::new(Errno::IO));
        file.sync_data().unwrap_err();
        let call = |op, path: &str, offset, bytes| Call { op, path: path.into(), offset, bytes };
        let expected =
            [call(Op::Write, "/f", 2, 3), call(Op::Rename, "/g", 0, 0), call(Op::Sync, "/f", 0, 0)];
        assert_eq!(disk.calls(), expected);
        assert_eq!((disk.total(), disk.count(Op::Write), disk.count(Op::Len)), (3, 1, 0));
    }

    #[test]
    fn a_stopped_process_does_nothing_any_more() {
        let (memory, disk, file) = set_up();
        disk.stop_at(1);
        file.write_all_at(b"a", 0).unwrap();
        assert_eq!(file.write_all_at(b"b", 1).unwrap_err().to_string(), "the process is dead");
        disk.heal();
        assert!(file.sync_data().is_err() && disk.read_dir(at("/")).is_err());
        assert_eq!(memory.get(at("/f")).unwrap(), b"a123456789");
        assert_eq!(memory.crash(Loss::All).get(at("/f")).unwrap(), b"0123456789");
    }

    #[test]
    fn a_fault_strikes_where_and_as_often_as_told() {
        let (_, disk, file) = set_up();
        disk.inject(Fault::new(Errno::IO).on(Op::Read).at("f").within(4..6).skipping(1).times(2));
        let read = |offset| file.read_at(&mut [0; 2], offset);
        assert!(read(4).is_ok(), "skipped");
        assert_eq!(code(read(5)), Some(Errno::IO));
        assert!(read(2).is_ok() && read(6).is_ok(), "beside the range");
        assert_eq!(code(read(3)), Some(Errno::IO));
        assert!(read(4).is_ok(), "spent");
    }

    #[test]
    fn a_fault_lasts_until_healed() {
        let (_, disk, file) = set_up();
        disk.inject(Fault::new(Errno::ROFS).on(Op::Write));
        for _ in 0..3 {
            assert_eq!(code(file.write_all_at(b"x", 0)), Some(Errno::ROFS));
        }
        disk.heal();
        file.write_all_at(b"x", 0).unwrap();
    }

    #[test]
    fn part_of_a_write_may_go_through() {
        let (memory, disk, file) = set_up();
        disk.inject(Fault::new(Errno::IO).on(Op::Write).after_bytes(2));
        assert_eq!(code(file.write_all_at(b"abcd", 0)), Some(Errno::IO));
        assert_eq!(memory.get(at("/f")).unwrap(), b"ab23456789");
    }

    #[test]
    fn room_ends_in_the_middle_of_a_write_and_comes_back() {
        let (memory, disk, file) = set_up();
        memory.put(at("/g"), b"1234");
        disk.full_after(3);
        file.write_all_at(b"abc", 0).unwrap();
        assert_eq!(code(file.write_all_at(b"defgh!", 8)), Some(Errno::NOSPC));
        assert_eq!(memory.get(at("/f")).unwrap(), b"abc34567defgh");
        assert_eq!(code(disk.open(at("/h"), Access::CreateNew)), Some(Errno::NOSPC));
        assert_eq!(disk.space(at("/")).unwrap().free, 0);
        disk.remove_file(at("/g")).unwrap();
        file.set_len(12).unwrap();
        assert_eq!(code(file.set_len(18)), Some(Errno::NOSPC));
        disk.heal();
        file.set_len(18).unwrap();
    }

    #[test]
    fn a_sync_that_failed_makes_a_later_one_lie() {
        let (memory, disk, file) = set_up();
        disk.inject(Fault::new(Errno::IO).on(Op::Sync).times(1));
        disk.inject(Fault::new(Errno::IO).on(Op::SyncDir).times(1));
        file.write_all_at(b"x", 0).unwrap();
        file.sync_data().unwrap_err();
        file.sync_data().unwrap();
        disk.rename(at("/f"), at("/g")).unwrap();
        disk.sync_dir(at("/")).unwrap_err();
        disk.sync_dir(at("/")).unwrap();
        assert_eq!(memory.crash(Loss::All).get(at("/f")).unwrap(), b"0123456789");
    }

    #[test]
    fn calls_in_a_tree_are_recorded_under_the_whole_path() {
        let (memory, disk, _) = set_up();
        memory.put(at("/d/f"), b"x");
        let tree = disk.tree(at("/d")).unwrap();
        tree.stat(at("f")).unwrap();
        tree.read_dir(at("")).unwrap();
        tree.create(at("g")).unwrap().sync_all().unwrap();
        tree.rename(at("g"), at("h")).unwrap();
        tree.open(at("h")).unwrap().stat().unwrap();
        tree.sync_all().unwrap();
        let expected = [
            (Op::Tree, "/d"),
            (Op::TreeStat, "/d/f"),
            (Op::TreeReadDir, "/d"),
            (Op::TreeCreate, "/d/g"),
            (Op::SyncFile, "/d/g"),
            (Op::TreeRename, "/d/h"),
            (Op::TreeOpen, "/d/h"),
            (Op::StatFile, "/d/h"),
            (Op::TreeSyncAll, "/d"),
        ];
        assert_eq!(disk.calls(), expected.map(|(op, path)| Call::of(op, at(path))));
    }

    #[test]
    fn every_call_of_a_tree_can_fail_and_then_does_nothing() {
        let (memory, disk, _) = set_up();
        memory.put(at("/d/f"), b"x");
        let tree = disk.tree(at("/d")).unwrap();
        tree.create_dir(at("e")).unwrap();
        let before = tree.read_dir(at("")).unwrap();
        disk.inject(Fault::new(Errno::IO).at("/d"));
        let time = FileTime::default();
        let answers = [
            tree.stat(at("f")).map(drop),
            tree.read_dir(at("")).map(drop),
            tree.open(at("f")).map(drop),
            tree.read_link(at("f")).map(drop),
            tree.create(at("g")).map(drop),
            tree.create_dir(at("g")),
            tree.create_link("f".as_ref(), at("g")),
            tree.hard_link(at("f"), at("g")),
            tree.rename(at("f"), at("g")),
            tree.remove_file(at("f")),
            tree.remove_dir(at("e")),
            tree.set_mode(at("f"), 0o777),
            tree.set_modified(at("f"), time),
            tree.sync_dir(at("")),
            tree.sync_all().map(drop),
            disk.tree(at("/d")).map(drop),
        ];
        for (number, answer) in answers.into_iter().enumerate() {
            assert_eq!(code(answer), Some(Errno::IO), "call {number}");
        }
        disk.heal();
        let after = tree.read_dir(at("")).unwrap();
        assert_eq!((after.own, after.entries), (before.own, before.entries));
    }

    #[test]
    fn a_sync_in_a_tree_that_failed_makes_a_later_one_lie() {
        let (memory, disk, _) = set_up();
        let tree = disk.tree(at("/")).unwrap();
        for op in [Op::SyncFile, Op::TreeSyncDir, Op::TreeSyncAll] {
            disk.inject(Fault::new(Errno::IO).on(op).times(1));
        }
        let file = tree.create(at("g")).unwrap();
        tree.sync_dir(at("")).unwrap_err();
        tree.sync_dir(at("")).unwrap();
        assert_eq!(memory.crash(Loss::All).get(at("/g")), None);
        tree.rename(at("g"), at("h")).unwrap();
        tree.sync_dir(at("")).unwrap();
        file.write_all_at(b"x", 0).unwrap();
        file.sync_all().unwrap_err();
        file.sync_all().unwrap();
        assert_eq!(memory.crash(Loss::All).get(at("/h")).unwrap(), b"");
        tree.create_dir(at("d")).unwrap();
        tree.sync_all().unwrap_err();
        assert!(tree.sync_all().unwrap());
        assert!(memory.crash(Loss::All).metadata(at("/d")).is_err());
    }

    #[test]
    fn room_holds_in_a_tree_and_comes_back_with_the_last_name() {
        let (memory, disk, _) = set_up();
        memory.put(at("/g"), b"1234");
        let tree = disk.tree(at("/")).unwrap();
        tree.hard_link(at("g"), at("h")).unwrap();
        disk.full_after(0);
        let link = || tree.create_link("g".as_ref(), at("l"));
        assert_eq!(code(link()), Some(Errno::NOSPC));
        tree.remove_file(at("g")).unwrap();
        assert_eq!(code(tree.create(at("g"))), Some(Errno::NOSPC));
        tree.remove_file(at("h")).unwrap();
        link().unwrap();
    }

    #[test]
    fn a_tree_may_be_changed_between_two_calls() {
        let (memory, disk, _) = set_up();
        let gate = disk.hold(Op::TreeOpen, "/f");
        let tree = disk.tree(at("/")).unwrap();
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let seen = tree.stat(at("f")).unwrap();
                (seen, tree.open(at("f")).unwrap().stat().unwrap())
            });
            gate.wait_for(1);
            memory.put(at("/f"), b"longer than before");
            gate.release();
            let (before, after) = reader.join().unwrap();
            assert_eq!((before.len, after.len), (10, 18));
            assert!(after.changed > before.changed);
        });
    }

    #[test]
    fn a_gate_holds_calls_until_it_opens() {
        let (_, disk, file) = set_up();
        let gate = disk.hold(Op::Sync, "f");
        let done = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    file.sync_data().unwrap();
                    done.fetch_add(1, Ordering::SeqCst);
                });
            }
            gate.wait_for(3);
            file.write_all_at(b"others pass", 0).unwrap();
            assert_eq!(done.load(Ordering::SeqCst), 0);
            gate.release();
        });
        assert_eq!(done.load(Ordering::SeqCst), 3);
    }

    #[test]
    fn a_process_may_die_at_a_gate() {
        let (_, disk, file) = set_up();
        let gate = disk.hold(Op::Sync, "f");
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| file.sync_data());
            gate.wait_for(1);
            disk.stop_at(0);
            assert!(waiting.join().unwrap().is_err());
        });
    }

    #[test]
    fn it_stands_before_any_disk() {
        let home = tempfile::tempdir().unwrap();
        let disk = FaultDisk::new(super::super::RealDisk::shared());
        disk.full_after(4);
        let file = disk.open(&home.path().join("f"), Access::CreateNew).unwrap();
        assert_eq!(code(file.write_all_at(b"123456", 0)), Some(Errno::NOSPC));
        assert_eq!(file.len().unwrap(), 4);
    }
}
