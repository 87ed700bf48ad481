//! An `SQLite` database taken together with its log, so that the copy can be opened.
//!
//! A database is one file with up to three beside it. The `-journal` holds what pages were before a
//! transaction that is under way; the `-wal` holds pages that are newer than the database; the `-shm`
//! is an index of the `-wal` that is made anew, and is taken as it is. The database is read first,
//! then what is beside it, and then it is looked whether the two fit, from what is there before and
//! after ([file format](https://www.sqlite.org/fileformat2.html), sections 3 and 4;
//! [locking](https://www.sqlite.org/lockingv3.html); [WAL format](https://www.sqlite.org/walformat.html)).
//!
//! **With a write-ahead log**: the header of the `-wal` was there before and after, in the same file
//! and with the same salts. Salts are others as soon as the log starts over, and it starts over only
//! when all of it was copied into the database and synced. So all the time the log only grew. A page
//! of the database that was copied from the log while the database was read is in the log, which was
//! read later; so replaying the log as far as its checksums hold gives each page that changed since
//! the log began the version of the last commit that was read. What transactions under way left at
//! the end of the log, torn or overwritten, is behind the last commit whose checksums hold.
//!
//! **With a rollback journal**: it was there before and after, valid (its magic is written when its
//! content was synced, and taken away by the commit), in the same file and with the same nonce. So it
//! is the same transaction's, and each page that the database may show half-written was in the
//! journal before. Playing it back gives the state before the transaction. A journal that names a
//! super-journal (of a transaction across several databases) is only valid where that one lies, and
//! never fits.
//!
//! **Otherwise** the database itself did not change from before it was read until what is beside it
//! was read. Where its time of change is too young to prove that, two tries in a row found the same
//! bytes: the file has a counter of changes, so between them it was like that throughout.
//!
//! What does not fit is tried again, some times; then the database is called unsettled.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::horizon::Horizon;
use super::known::is_same;
use super::reading::{Contents, DATABASE_MAGIC, Old, ReadError, Reader, is_shortage};
use crate::disk::{DiskTree, Stat};

/// How often it is tried.
const TRIES: usize = 20;
/// A try beyond the second is not begun after so many bytes.
const TRIED_BYTES_MAX: u64 = 512 << 20;

const WAL: &str = "-wal";
const JOURNAL: &str = "-journal";
const SHM: &str = "-shm";

const JOURNAL_MAGIC: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
/// Magic, with either order of checksums, and version of a `-wal`.
const WAL_MAGICS: [[u8; 8]; 2] = [
    [0x37, 0x7f, 0x06, 0x82, 0x00, 0x2d, 0xe2, 0x18],
    [0x37, 0x7f, 0x06, 0x83, 0x00, 0x2d, 0xe2, 0x18],
];
/// Where the header of a database says that it is read and written through a `-wal`.
const VERSION_AT: usize = 18;
const VERSION_WAL: [u8; 2] = [2, 2];

/// Whether a file that begins so is a database, or a journal or log of one.
pub(crate) fn is_of_database(head: &[u8]) -> bool {
    head.starts_with(DATABASE_MAGIC)
        || head.starts_with(&JOURNAL_MAGIC)
        || WAL_MAGICS.iter().any(|magic| head.starts_with(magic))
}

/// The name of the database that a file of this name would be beside.
pub(crate) fn database_of(name: &OsStr) -> Option<&OsStr> {
    let base = |suffix: &str| name.as_bytes().strip_suffix(suffix.as_bytes());
    let base = [WAL, JOURNAL, SHM].into_iter().find_map(base)?;
    (!base.is_empty()).then(|| OsStr::from_bytes(base))
}

/// Whether a name is that of an index, which is taken as it is.
pub(crate) fn is_index(name: &OsStr) -> bool {
    name.as_bytes().ends_with(SHM.as_bytes())
}

/// A file of a database: what is known of it, and what the store holds.
pub(super) struct Part {
    pub path: PathBuf,
    /// What it held when it last was looked at, where its times prove that.
    pub known: Option<Contents>,
    pub old: Old,
}

/// A database with what belongs to it.
pub(super) struct Unit {
    pub database: Part,
    pub wal: Part,
    pub journal: Part,
}

/// What was read; nothing of a file that is not there.
#[derive(Debug, Clone)]
pub(super) struct Taken {
    pub database: Contents,
    pub wal: Option<Contents>,
    pub journal: Option<Contents>,
    pub is_settled: bool,
}

/// The name of what lies beside a database.
pub(crate) fn beside(database: &OsStr) -> [OsString; 3] {
    [WAL, JOURNAL, SHM].map(|suffix| {
        let mut name = database.to_owned();
        name.push(suffix);
        name
    })
}

impl Unit {
    /// Reads all of it until it fits.
    pub(super) fn read(
        &self,
        reader: &mut Reader<'_>,
        now: &dyn Fn() -> Horizon,
    ) -> Result<Taken, ReadError> {
        let mut last: Option<Taken> = None;
        let mut bytes = 0;
        for attempt in 0..TRIES {
            let (taken, fit) = self.attempt(reader, now())?;
            let agrees = || last.as_ref().is_some_and(|last| last.agrees(&taken));
            let is_settled = fit == Fit::Proven || (fit == Fit::Still && agrees());
            bytes += taken.bytes();
            let taken = Taken { is_settled, ..taken };
            if is_settled || (attempt > 0 && bytes > TRIED_BYTES_MAX) {
                return Ok(taken);
            }
            last = Some(taken);
        }
        last.ok_or_else(|| ReadError::Disk(io::ErrorKind::NotFound.into()))
    }

    fn attempt(
        &self,
        reader: &mut Reader<'_>,
        horizon: Horizon,
    ) -> Result<(Taken, Fit), ReadError> {
        let before = self.look(reader.tree)?;
        let database = self.database.take(reader, &before.database)?;
        let wal = self.wal.take_beside(reader, before.wal.as_ref())?;
        let journal = self.journal.take_beside(reader, before.journal.as_ref())?;
        let after = self.look(reader.tree)?;
        let taken = Taken { database, wal, journal, is_settled: false };
        let fit = taken.fit(&before, &after, horizon);
        Ok((taken, fit))
    }

    fn look(&self, tree: &dyn DiskTree) -> io::Result<Sight> {
        let mut is_hidden = false;
        let mut beside = |part: &Part| match start_of(tree, &part.path) {
            Ok(start) => Ok(Some(start)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) if is_shortage(&error) => Err(error),
            Err(_) => {
                is_hidden = true;
                Ok(None)
            }
        };
        let (wal, journal) = (beside(&self.wal)?, beside(&self.journal)?);
        Ok(Sight { database: start_of(tree, &self.database.path)?, wal, journal, is_hidden })
    }
}

impl Part {
    /// Reads it, unless it is known.
    fn take(&self, reader: &mut Reader<'_>, now: &Start) -> Result<Contents, ReadError> {
        match self.known {
            Some(known) if is_same(&known.stat, &now.stat) => Ok(known),
            _ => reader.read_once(&self.path, &self.old),
        }
    }

    /// The same, where it was there; nothing where it is gone.
    fn take_beside(
        &self,
        reader: &mut Reader<'_>,
        now: Option<&Start>,
    ) -> Result<Option<Contents>, ReadError> {
        match now.map(|now| self.take(reader, now)).transpose() {
            Err(ReadError::Disk(error)) if !is_shortage(&error) => Ok(None),
            done => done,
        }
    }
}

/// A file as it stands, with its first bytes and its last.
#[derive(Debug, Clone, Copy)]
struct Start {
    stat: Stat,
    head: [u8; 32],
    tail: [u8; 8],
}

/// A database and what is beside it, as they stand at a moment.
#[derive(Debug)]
struct Sight {
    database: Start,
    wal: Option<Start>,
    journal: Option<Start>,
    /// Something is beside it that cannot be opened.
    is_hidden: bool,
}

fn start_of(tree: &dyn DiskTree, path: &Path) -> io::Result<Start> {
    let file = tree.open(path)?;
    let stat = file.stat()?;
    let (mut head, mut tail) = ([0; 32], [0; 8]);
    file.read_at(&mut head, 0)?;
    if let Some(at) = stat.len.checked_sub(tail.len() as u64) {
        file.read_at(&mut tail, at)?;
    }
    Ok(Start { stat, head, tail })
}

/// What tells one generation of a log from the next: its file, and its salts or its nonce.
type Generation = (u64, u64, [u8; 8]);

impl Sight {
    fn wal_generation(&self) -> Option<Generation> {
        let Start { stat, head, .. } = self.wal.as_ref()?;
        let is_used = self.database.head[VERSION_AT..VERSION_AT + 2] == VERSION_WAL;
        let is_valid = WAL_MAGICS.iter().any(|magic| head.starts_with(magic));
        let salts = *head[16..].first_chunk()?;
        (is_used && is_valid).then_some((stat.device, stat.inode, salts))
    }

    fn journal_generation(&self) -> Option<Generation> {
        let Start { stat, head, .. } = self.journal.as_ref()?;
        let nonce = [head[12], head[13], head[14], head[15], 0, 0, 0, 0];
        head.starts_with(&JOURNAL_MAGIC).then_some((stat.device, stat.inode, nonce))
    }

    fn names_super_journal(&self) -> bool {
        self.journal.as_ref().is_some_and(|journal| journal.tail == JOURNAL_MAGIC)
    }
}

/// How far what was read fits together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fit {
    Not,
    /// The database seems not to have changed, but its time does not prove it.
    Still,
    Proven,
}

impl Taken {
    fn fit(&self, before: &Sight, after: &Sight, horizon: Horizon) -> Fit {
        let inode = |stat: &Stat| (stat.device, stat.inode);
        let database = inode(&self.database.stat);
        let is_other = |sight: &&Sight| inode(&sight.database.stat) != database || sight.is_hidden;
        if [before, after].iter().any(is_other) {
            return Fit::Not;
        }
        let is_file = |(device, inode, _): Generation, taken: &Option<Contents>| {
            taken.is_some_and(|taken| (taken.stat.device, taken.stat.inode) == (device, inode))
        };
        match (before.wal_generation(), after.wal_generation()) {
            (Some(was), Some(is)) if was == is && is_file(was, &self.wal) => return Fit::Proven,
            (None, None) => {}
            _ => return Fit::Not,
        }
        if after.names_super_journal() || before.names_super_journal() {
            return Fit::Not;
        }
        match (before.journal_generation(), after.journal_generation()) {
            (Some(was), Some(is)) if was == is && is_file(was, &self.journal) => Fit::Proven,
            _ => self.stillness(before, after, horizon),
        }
    }

    fn stillness(&self, before: &Sight, after: &Sight, horizon: Horizon) -> Fit {
        let stat = before.database.stat;
        let is_still = is_same(&stat, &self.database.stat) && is_same(&stat, &after.database.stat);
        let wal = |sight: &Sight| sight.wal.map(|wal| wal.stat);
        let is_wal_still = match (wal(before), wal(after)) {
            (Some(was), Some(is)) => is_same(&was, &is),
            (was, is) => was.is_none() && is.is_none(),
        };
        match is_still && is_wal_still {
            false => Fit::Not,
            true if horizon.is_racy(stat.changed) => Fit::Still,
            true => Fit::Proven,
        }
    }

    /// Whether another try read the same bytes.
    fn agrees(&self, other: &Self) -> bool {
        let roots = |taken: &Self| {
            let Taken { database, wal, journal, .. } = taken;
            [Some(database.root), wal.map(|wal| wal.root), journal.map(|journal| journal.root)]
        };
        is_same(&self.database.stat, &other.database.stat) && roots(self) == roots(other)
    }

    fn bytes(&self) -> u64 {
        let beside = [self.wal, self.journal].into_iter().flatten().map(|beside| beside.len);
        self.database.len + beside.sum::<u64>()
    }
}
