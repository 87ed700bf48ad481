//! What can be found on a [`MemoryDisk`] after the power went.
//!
//! The model is POSIX and powersafe overwrite, and nothing more is promised:
//! - Contents that were synced are there. Of each later write any sector of 512 bytes may be there
//!   or not, independently of the others and of the order of the writes; a sector that was being
//!   written may hold a prefix of the new bytes, followed by the old ones. Bytes that nobody wrote
//!   keep their value.
//! - A length that was synced is there. Of each later extension nothing, a part that ends with a
//!   sector, or all may be there, with zeros where the data was lost. A cut is there or not.
//! - Names that were synced are there. Of the later ones any subset; a rename within one directory
//!   is one change, and between two directories too, until one of the two is synced.
//! - A mode and times that were synced are there: a file's with the whole file (not with
//!   `sync_data`), a directory's with its names, a link's with everything. Of the later changes any
//!   subset. Times that moved by themselves, because contents or names changed, are as they were at
//!   the sync or as they are now; that is no change of its own to count.
//! - The subsets of contents, of names and of attributes are independent: a name may lead to an empty
//!   file, and new contents may stand under an old time.
//! - A file or directory to which no durable or surviving name leads is gone.
//!
//! [`Loss`] chooses among these states. Everything is a function of the disk's history and the
//! seed, so each state can be had again.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::ops::Range;
use std::sync::Arc;

use super::FileTime;
use super::memory::{DirNode, FileNode, LinkNode, MemoryDisk, Node, State};

/// Which of the changes that were not synced a crash takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Every one: only what was synced is there.
    All,
    /// None, as when the process is killed and the machine goes on.
    None,
    /// Any subset, writes torn by sector; the seed chooses how much and which.
    Random(u64),
    /// All but the first so many of the disk; of a write that is next, the first half survives.
    Prefix(usize),
    /// What a journaling file system with ordered data loses: names, attributes, lengths and cuts
    /// survive up to one moment that the seed chooses, with the data that the extensions brought; writes over
    /// existing bytes survive in any subset, before and after that moment. A sync of a directory,
    /// of a whole file, or of a file that changed its length, takes all earlier ones along.
    Ordered(u64),
}

const SECTOR: usize = 512;

/// A value, what of it is durable, and what happened in between.
pub(super) struct Tracked<T, C> {
    pub(super) live: T,
    durable: T,
    pending: Vec<Pending<C>>,
    make: fn(&C, &mut T),
}

struct Pending<C> {
    number: u64,
    fate: Fate,
    change: C,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// The next sync makes it durable.
    Dirty,
    /// Synced, but kept in the list because an abandoned change comes before it.
    Durable,
    /// A sync failed: no later one makes it durable.
    Abandoned,
}

/// A change of contents.
pub(super) enum Change {
    Write(usize, Box<[u8]>),
    SetLen(usize),
}

/// A change of names.
pub(super) enum NameChange {
    Insert(OsString, Node),
    Remove(OsString),
    Rename(OsString, OsString, Node),
}

/// What a node has besides contents or names.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attributes {
    pub(super) mode: u32,
    pub(super) modified: FileTime,
    pub(super) changed: FileTime,
}

/// A change of attributes.
pub(super) struct AttributeChange {
    pub(super) mode: Option<u32>,
    pub(super) modified: Option<FileTime>,
    pub(super) changed: FileTime,
    /// Asked for, and not only what a change of contents or names brings along.
    pub(super) asked: bool,
}

impl AttributeChange {
    fn make(&self, attributes: &mut Attributes) {
        attributes.mode = self.mode.unwrap_or(attributes.mode);
        attributes.modified = self.modified.unwrap_or(attributes.modified);
        attributes.changed = self.changed;
    }
}

impl Change {
    pub(super) fn len_after(&self, before: usize) -> usize {
        match self {
            Self::Write(offset, bytes) => before.max(offset + bytes.len()),
            Self::SetLen(len) => *len,
        }
    }

    fn make(&self, bytes: &mut Vec<u8>) {
        bytes.resize(self.len_after(bytes.len()), 0);
        if let Self::Write(offset, written) = self {
            bytes[*offset..offset + written.len()].copy_from_slice(written);
        }
    }
}

impl NameChange {
    fn make(&self, names: &mut BTreeMap<OsString, Node>) {
        match self {
            Self::Insert(name, node) => drop(names.insert(name.clone(), node.clone())),
            Self::Remove(name) => drop(names.remove(name)),
            Self::Rename(from, to, node) => {
                names.remove(from);
                names.insert(to.clone(), node.clone());
            }
        }
    }
}

impl<T: Clone, C> Tracked<T, C> {
    fn settled(value: T, make: fn(&C, &mut T)) -> Self {
        Self { durable: value.clone(), live: value, pending: Vec::new(), make }
    }

    /// Changes the live value, and remembers it under its number where there is one.
    pub(super) fn apply(&mut self, number: Option<u64>, change: C) {
        (self.make)(&change, &mut self.live);
        if let Some(number) = number {
            self.pending.push(Pending { number, fate: Fate::Dirty, change });
        }
    }

    /// Makes a change durable, and all before it.
    pub(super) fn settle(&mut self, change: C) {
        self.apply(Some(0), change);
        self.sync();
    }

    pub(super) fn sync(&mut self) {
        if self.pending.iter().any(|pending| pending.fate == Fate::Abandoned) {
            self.turn_dirty(Fate::Durable);
        } else {
            for pending in self.pending.drain(..) {
                (self.make)(&pending.change, &mut self.durable);
            }
        }
    }

    pub(super) fn abandon(&mut self) {
        self.turn_dirty(Fate::Abandoned);
    }

    fn turn_dirty(&mut self, into: Fate) {
        for pending in self.pending.iter_mut().filter(|pending| pending.fate == Fate::Dirty) {
            pending.fate = into;
        }
    }

    fn undecided(&self) -> impl Iterator<Item = u64> + '_ {
        let undecided = self.pending.iter().filter(|pending| pending.fate != Fate::Durable);
        undecided.map(|pending| pending.number)
    }
}

impl Tracked<Vec<u8>, Change> {
    pub(super) fn bytes(value: Vec<u8>) -> Self {
        Self::settled(value, Change::make)
    }

    /// Makes the contents durable and says whether the length changed with it.
    pub(super) fn sync_bytes(&mut self) -> bool {
        let changed = self.durable.len() != self.live.len();
        self.sync();
        changed
    }
}

impl Tracked<BTreeMap<OsString, Node>, NameChange> {
    pub(super) fn names(value: BTreeMap<OsString, Node>) -> Self {
        Self::settled(value, NameChange::make)
    }
}

impl Tracked<Attributes, AttributeChange> {
    pub(super) fn attributes(value: Attributes) -> Self {
        Self::settled(value, AttributeChange::make)
    }

    /// Moves the times; together with what moved them just before it is one change, so that a file
    /// that is written for ever and never synced whole does not gather changes for ever.
    pub(super) fn touch(
        &mut self,
        number: Option<u64>,
        modified: Option<FileTime>,
        changed: FileTime,
    ) {
        let joins = |last: &mut Pending<AttributeChange>| {
            number.is_some() && last.fate == Fate::Dirty && !last.change.asked
        };
        let before = self.pending.pop_if(joins).and_then(|last| last.change.modified);
        let modified = modified.or(before);
        self.apply(number, AttributeChange { mode: None, modified, changed, asked: false });
    }

    /// The changes that were asked for: the others stand and fall unseen.
    fn undecided_asked(&self) -> impl Iterator<Item = u64> + '_ {
        let asked = |pending: &&Pending<AttributeChange>| {
            pending.change.asked && pending.fate != Fate::Durable
        };
        self.pending.iter().filter(asked).map(|pending| pending.number)
    }
}

impl MemoryDisk {
    /// A new disk, independent of this one, in a state that a crash at this moment could leave;
    /// nothing is pending and no lock is held there. A plain disk loses nothing.
    #[must_use]
    pub fn crash(&self, loss: Loss) -> Self {
        let state = self.0.state.lock();
        let loss = if state.tracked { loss } else { Loss::None };
        let choice = Choice::new(loss, &self.0.root, &state);
        let mut rebuild =
            Rebuild { choice, dirs: BTreeSet::new(), named: BTreeMap::new(), used: 0 };
        let root = rebuild.dir(&self.0.root);
        self.successor(&state, root, rebuild.used)
    }

    /// How many changes of the disk are not durable; the bound of [`Loss::Prefix`].
    #[must_use]
    pub fn pending_changes(&self) -> usize {
        let _state = self.0.state.lock();
        undecided(&self.0.root).len()
    }
}

impl Choice {
    fn new(loss: Loss, root: &DirNode, state: &State) -> Self {
        let (last, torn) = match loss {
            Loss::All | Loss::None | Loss::Random(_) => (0, None),
            Loss::Prefix(count) => {
                let numbers: Vec<u64> = undecided(root).into_iter().collect();
                let last = count.min(numbers.len()).checked_sub(1);
                (last.map_or(0, |last| numbers[last]), numbers.get(count).copied())
            }
            Loss::Ordered(seed) => {
                let moments = state.next_change - state.journal + 1;
                (state.journal + mix(&[seed]) % moments, None)
            }
        };
        Self { loss, last, torn }
    }
}

/// The numbers of all changes that are not durable, in their order.
fn undecided(root: &DirNode) -> BTreeSet<u64> {
    let (mut numbers, mut seen) = (BTreeSet::new(), BTreeSet::new());
    gather_dir(root, &mut numbers, &mut seen);
    numbers
}

fn gather_dir(dir: &DirNode, numbers: &mut BTreeSet<u64>, seen: &mut BTreeSet<u64>) {
    if !seen.insert(dir.inode) {
        return;
    }
    let names = dir.names.lock();
    numbers.extend(names.entries.undecided());
    numbers.extend(names.facts.attributes.undecided_asked());
    // A file counts although its name is gone now: without the removal it is there again.
    let pending = names.entries.pending.iter().filter_map(|pending| match &pending.change {
        NameChange::Insert(_, node) | NameChange::Rename(_, _, node) => Some(node),
        NameChange::Remove(_) => None,
    });
    for node in names.entries.live.values().chain(names.entries.durable.values()).chain(pending) {
        match node {
            Node::Dir(dir) => gather_dir(dir, numbers, seen),
            Node::File(file) => {
                let contents = file.contents.lock();
                numbers.extend(contents.bytes.undecided());
                numbers.extend(contents.facts.attributes.undecided_asked());
            }
            Node::Link(link) => numbers.extend(link.facts.lock().attributes.undecided_asked()),
        }
    }
}

struct Rebuild {
    choice: Choice,
    /// A directory has one place: the halves of a rename may survive in both.
    dirs: BTreeSet<u64>,
    /// Anything else may have several names.
    named: BTreeMap<u64, Node>,
    used: u64,
}

impl Rebuild {
    fn dir(&mut self, old: &DirNode) -> Arc<DirNode> {
        let names = old.names.lock();
        let mut entries = BTreeMap::new();
        for (name, node) in self.choice.settled(&names.entries) {
            if let Some(node) = self.node(&node) {
                entries.insert(name, node);
            }
        }
        DirNode::with(old.inode, self.choice.settled(&names.facts.attributes), entries)
    }

    fn node(&mut self, old: &Node) -> Option<Node> {
        if let Some(placed) = self.named.get(&old.inode()) {
            placed.with_facts(|facts| facts.links += 1);
            return Some(placed.clone());
        }
        let node = match old {
            Node::Dir(dir) => {
                return self.dirs.insert(dir.inode).then(|| Node::Dir(self.dir(dir)));
            }
            Node::File(file) => Node::File(self.file(file)),
            Node::Link(link) => Node::Link(self.link(link)),
        };
        self.named.insert(node.inode(), node.clone());
        Some(node)
    }

    fn file(&mut self, old: &FileNode) -> Arc<FileNode> {
        let contents = old.contents.lock();
        let bytes = self.choice.contents(&contents.bytes);
        self.used += bytes.len() as u64;
        FileNode::with(old.inode, self.choice.settled(&contents.facts.attributes), bytes)
    }

    fn link(&self, old: &LinkNode) -> Arc<LinkNode> {
        let attributes = self.choice.settled(&old.facts.lock().attributes);
        LinkNode::with(old.inode, attributes, old.target.clone())
    }
}

struct Choice {
    loss: Loss,
    /// The number of the last change that survives, where the loss has one.
    last: u64,
    /// The number of the change that is torn, where the loss has one.
    torn: Option<u64>,
}

impl Choice {
    /// A value of whose changes each survives whole or not at all.
    fn settled<T: Clone, C>(&self, tracked: &Tracked<T, C>) -> T {
        if self.loss == Loss::None {
            return tracked.live.clone();
        }
        let mut found = tracked.durable.clone();
        for pending in &tracked.pending {
            if self.keeps(pending) {
                (tracked.make)(&pending.change, &mut found);
            }
        }
        found
    }

    fn contents(&self, contents: &Tracked<Vec<u8>, Change>) -> Vec<u8> {
        if self.loss == Loss::None {
            return contents.live.clone();
        }
        let mut found = contents.durable.clone();
        for pending in &contents.pending {
            match &pending.change {
                Change::Write(offset, bytes) if pending.fate != Fate::Durable => {
                    self.write(pending, *offset, bytes, &mut found);
                }
                change if self.keeps(pending) => change.make(&mut found),
                Change::Write(..) | Change::SetLen(_) => {}
            }
        }
        found
    }

    /// Whether a change that is not torn survives.
    fn keeps<C>(&self, pending: &Pending<C>) -> bool {
        match (pending.fate, self.loss) {
            (Fate::Durable, _) | (_, Loss::None) => true,
            (_, Loss::All) => false,
            (_, Loss::Prefix(_)) | (Fate::Dirty, Loss::Ordered(_)) => pending.number <= self.last,
            (_, Loss::Random(seed)) | (Fate::Abandoned, Loss::Ordered(seed)) => {
                chance(seed, &[pending.number])
            }
        }
    }

    fn write(&self, pending: &Pending<Change>, at: usize, bytes: &[u8], found: &mut Vec<u8>) {
        let number = pending.number;
        match self.loss {
            Loss::Random(seed) => {
                let len = extended(seed, number, found.len(), at + bytes.len());
                found.resize(len, 0);
                scatter(seed, number, at, bytes, found);
            }
            Loss::Ordered(seed) => {
                let old = found.len();
                if self.keeps(pending) && at + bytes.len() > old {
                    let new = old.saturating_sub(at);
                    found.resize(at + bytes.len(), 0);
                    found[at + new..].copy_from_slice(&bytes[new..]);
                }
                let over = bytes.len().min(old.saturating_sub(at));
                scatter(seed, number, at, &bytes[..over], found);
            }
            Loss::Prefix(_) if self.torn == Some(number) => {
                Change::Write(at, bytes[..bytes.len() / 2].into()).make(found);
            }
            _ if self.keeps(pending) => pending.change.make(found),
            _ => {}
        }
    }
}

/// The length a file may have after an extension that was not synced.
fn extended(seed: u64, number: u64, from: usize, to: usize) -> usize {
    if to <= from || !chance(seed, &[number, 1]) {
        return from;
    }
    let draw = draw(&[seed, number, 2]);
    if !draw.is_multiple_of(4) {
        return to;
    }
    let less = draw / 4 % (to - from);
    ((to - less) / SECTOR * SECTOR).max(from)
}

/// Lets each sector of a write survive, or a prefix of it, or nothing.
fn scatter(seed: u64, number: u64, at: usize, bytes: &[u8], found: &mut [u8]) {
    for piece in sectors(at, bytes.len().min(found.len().saturating_sub(at))) {
        let place = [number, 3, piece.start as u64];
        let kept = match draw(&[seed, number, 4, place[2]]) {
            _ if chance(seed, &place) => piece.len(),
            draw if draw.is_multiple_of(4) => draw / 4 % piece.len(),
            _ => 0,
        };
        let kept = piece.start..piece.start + kept;
        found[kept.clone()].copy_from_slice(&bytes[kept.start - at..kept.end - at]);
    }
}

/// The parts of a range that lie in one sector each.
fn sectors(at: usize, len: usize) -> impl Iterator<Item = Range<usize>> {
    let end = at + len;
    let first = if len == 0 { end } else { at - at % SECTOR };
    (first..end).step_by(SECTOR).map(move |start| start.max(at)..(start + SECTOR).min(end))
}

/// A coin whose bias the seed sets: some crashes take little, some nearly all.
fn chance(seed: u64, place: &[u64]) -> bool {
    let eighths = match seed % 3 {
        0 => 1,
        1 => 4,
        _ => 7,
    };
    place.iter().fold(mix(&[seed, 5]), |drawn, part| mix(&[drawn, *part])) % 8 < eighths
}

/// A number drawn from others: `splitmix64` (Steele, Lea, Flood 2014) over each in turn.
fn mix(parts: &[u64]) -> u64 {
    parts.iter().fold(0x9E37_79B9_7F4A_7C15, |drawn, part| {
        let mut z = (drawn ^ part).wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    })
}

/// The same as 31 bits, which every `usize` holds.
fn draw(parts: &[u64]) -> usize {
    usize::try_from(mix(parts) >> 33).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::time::Duration;

    use super::*;
    use crate::clock::ManualClock;
    use crate::disk::{Access, Disk, DiskFile, DiskTree};
    use crate::state::Timestamp;

    fn at(path: &str) -> PathBuf {
        PathBuf::from(path)
    }

    fn make(disk: &MemoryDisk, path: &str, bytes: &[u8]) -> Arc<dyn DiskFile> {
        let file = disk.open(&at(path), Access::CreateNew).unwrap();
        file.write_all_at(bytes, 0).unwrap();
        file
    }

    fn make_durable(disk: &MemoryDisk, path: &str, bytes: &[u8]) -> Arc<dyn DiskFile> {
        let file = make(disk, path, bytes);
        file.sync_data().unwrap();
        disk.sync_dir(at(path).parent().unwrap()).unwrap();
        file
    }

    fn names(disk: &MemoryDisk) -> Vec<String> {
        disk.image().keys().map(|path| path.display().to_string()).collect()
    }

    /// What is found for each of many seeds.
    fn found<T: Ord>(disk: &MemoryDisk, look: impl Fn(&MemoryDisk) -> T) -> BTreeSet<T> {
        (0..600).map(|seed| look(&disk.crash(Loss::Random(seed)))).collect()
    }

    #[test]
    fn only_what_was_synced_is_sure() {
        let disk = MemoryDisk::new();
        let file = make_durable(&disk, "/f", b"old");
        file.write_all_at(b"new and longer", 0).unwrap();
        assert_eq!(disk.crash(Loss::All).get(&at("/f")).unwrap(), b"old");
        assert_eq!(disk.crash(Loss::None).get(&at("/f")).unwrap(), b"new and longer");
        file.sync_data().unwrap();
        assert_eq!(disk.crash(Loss::All).get(&at("/f")).unwrap(), b"new and longer");
        assert_eq!(disk.pending_changes(), 0);
    }

    #[test]
    fn synced_contents_without_a_synced_name_are_gone_and_the_other_way_round_empty() {
        let disk = MemoryDisk::new();
        make(&disk, "/contents", b"x").sync_data().unwrap();
        assert_eq!(names(&disk.crash(Loss::All)), [""; 0]);
        make(&disk, "/name", b"x");
        disk.sync_dir(&at("/")).unwrap();
        let after = disk.crash(Loss::All);
        assert_eq!(after.get(&at("/name")).unwrap(), b"");
        assert_eq!(after.get(&at("/contents")).unwrap(), b"x");
    }

    #[test]
    fn a_file_in_a_directory_whose_name_is_lost_is_gone() {
        let disk = MemoryDisk::new();
        disk.create_dir(&at("/d")).unwrap();
        make_durable(&disk, "/d/f", b"x");
        assert_eq!(names(&disk.crash(Loss::All)), [""; 0]);
        disk.sync_dir(&at("/")).unwrap();
        assert_eq!(names(&disk.crash(Loss::All)), ["/d/f"]);
    }

    #[test]
    fn the_sectors_of_a_write_are_lost_one_by_one_and_nothing_else_is_touched() {
        let disk = MemoryDisk::new();
        let file = make_durable(&disk, "/f", &[b'o'; 2048]);
        file.write_all_at(&[b'n'; 1024], 700).unwrap();
        let images = found(&disk, |disk| disk.get(&at("/f")).unwrap());
        let holds = |image: &Vec<u8>, range: Range<usize>| image[range].contains(&b'n');
        for image in &images {
            assert_eq!(image.len(), 2048);
            assert!(!holds(image, 0..700) && !holds(image, 1724..2048));
        }
        let kinds: BTreeSet<_> = images
            .iter()
            .map(|i| [holds(i, 700..1024), holds(i, 1024..1536), holds(i, 1536..1724)])
            .collect();
        assert_eq!(kinds.len(), 8, "every subset of the three sectors");
        let torn = |image: &&Vec<u8>| image[1024] == b'n' && image[1535] == b'o';
        let torn = images.iter().find(torn).expect("a sector torn inside");
        let cut = torn[1024..1536].iter().position(|b| *b == b'o').unwrap();
        assert!(!holds(torn, 1024 + cut..1536), "new bytes, then old ones");
    }

    #[test]
    fn an_extension_is_lost_or_cut_or_kept_with_zeros() {
        let disk = MemoryDisk::new();
        let file = make_durable(&disk, "/f", b"head");
        file.write_all_at(&[b'n'; 3000], 4).unwrap();
        let images = found(&disk, |disk| disk.get(&at("/f")).unwrap());
        assert!(images.iter().all(|image| image.starts_with(b"head")));
        let lens: BTreeSet<_> = images.iter().map(Vec::len).collect();
        assert!(lens.iter().all(|len| [4, 3004].contains(len) || len % 512 == 0), "{lens:?}");
        assert!(lens.contains(&4) && lens.contains(&3004) && lens.len() > 3, "{lens:?}");
        assert!(images.iter().any(|image| image.len() == 3004 && image[2048..2560] == [0; 512]));
    }

    #[test]
    fn a_later_write_may_survive_an_earlier_one() {
        let disk = MemoryDisk::new();
        let file = make_durable(&disk, "/f", &[0; 1024]);
        file.write_all_at(&[1; 512], 0).unwrap();
        file.write_all_at(&[1; 512], 512).unwrap();
        let images = found(&disk, |disk| disk.get(&at("/f")).unwrap());
        assert!(images.iter().any(|image| image[..512] == [0; 512] && image[512..] == [1; 512]));
    }

    #[test]
    fn names_are_lost_in_any_subset_and_a_rename_is_one_change() {
        let disk = MemoryDisk::new();
        make_durable(&disk, "/old", b"1");
        make_durable(&disk, "/target", b"2");
        make(&disk, "/new", b"3");
        disk.rename(&at("/old"), &at("/target")).unwrap();
        let all = found(&disk, |disk| {
            (disk.get(&at("/old")), disk.get(&at("/target")), names(disk).contains(&"/new".into()))
        });
        let before = (Some(b"1".to_vec()), Some(b"2".to_vec()));
        let after = (None, Some(b"1".to_vec()));
        let renames: BTreeSet<_> = all.iter().cloned().map(|(old, new, _)| (old, new)).collect();
        assert_eq!(renames, BTreeSet::from([before, after]));
        assert_eq!(all.len(), 4, "the new name comes and goes on its own");
    }

    #[test]
    fn a_rename_between_directories_is_one_change_until_one_of_them_is_synced() {
        let disk = MemoryDisk::from_image(&BTreeMap::from([
            (at("/a/f"), b"x".to_vec()),
            (at("/b/other"), Vec::new()),
        ]));
        disk.rename(&at("/a/f"), &at("/b/f")).unwrap();
        let place =
            |disk: &MemoryDisk| (disk.get(&at("/a/f")).is_some(), disk.get(&at("/b/f")).is_some());
        assert_eq!(found(&disk, place), BTreeSet::from([(true, false), (false, true)]));
        disk.sync_dir(&at("/b")).unwrap();
        assert_eq!(found(&disk, place), BTreeSet::from([(true, true), (false, true)]));
    }

    #[test]
    fn a_removed_name_may_be_back() {
        let disk = MemoryDisk::new();
        make_durable(&disk, "/f", b"x");
        disk.remove_file(&at("/f")).unwrap();
        assert_eq!(disk.get(&at("/f")), None);
        assert_eq!(disk.crash(Loss::All).get(&at("/f")).unwrap(), b"x");
    }

    #[test]
    fn a_prefix_ends_with_the_next_write_torn() {
        let disk = MemoryDisk::new();
        let file = make(&disk, "/f", b"one");
        file.write_all_at(b"two!", 3).unwrap();
        disk.rename(&at("/f"), &at("/g")).unwrap();
        assert_eq!(disk.pending_changes(), 4);
        let states: Vec<_> = (0..5).map(|n| disk.crash(Loss::Prefix(n)).image()).collect();
        let image = |path: &str, bytes: &[u8]| BTreeMap::from([(at(path), bytes.to_vec())]);
        assert_eq!(states[0], BTreeMap::new());
        assert_eq!(states[1], image("/f", b"o"));
        assert_eq!(states[2], image("/f", b"onetw"));
        assert_eq!(states[3], image("/f", b"onetwo!"));
        assert_eq!(states[4], image("/g", b"onetwo!"));
    }

    #[test]
    fn a_journal_keeps_names_in_order_and_brings_the_data_along() {
        let disk = MemoryDisk::new();
        make(&disk, "/a", b"first");
        make(&disk, "/b", b"second");
        let all: BTreeSet<_> =
            (0..200).map(|seed| disk.crash(Loss::Ordered(seed)).image()).collect();
        for image in &all {
            let (a, b) = (image.get(Path::new("/a")), image.get(Path::new("/b")));
            assert!(b.is_none() || a.is_some_and(|a| a == b"first"), "{image:?}");
        }
        assert_eq!(all.len(), 5, "before, and after each of the four changes");
        make_durable(&disk, "/c", b"");
        assert_eq!(disk.crash(Loss::Ordered(1)).image(), disk.image(), "a sync takes all along");
    }

    #[test]
    fn after_a_failed_sync_a_later_one_lies() {
        let disk = MemoryDisk::new();
        make_durable(&disk, "/f", &[0; 1024]);
        let file = disk.open_file(&at("/f"), Access::Write).unwrap();
        file.write_all_at(&[1; 512], 0).unwrap();
        file.fail_sync();
        file.write_all_at(&[1; 512], 512).unwrap();
        file.sync_data().unwrap();
        let after = disk.crash(Loss::All).get(&at("/f")).unwrap();
        assert_eq!((&after[..512], &after[512..]), (&[0; 512][..], &[1; 512][..]));
        assert_eq!(disk.get(&at("/f")).unwrap(), [1; 1024]);
        file.write_all_at(&[2; 512], 0).unwrap();
        file.sync_data().unwrap();
        let images = found(&disk, |disk| disk.get(&at("/f")).unwrap());
        assert!(
            images.iter().all(|image| image[..512] == [2; 512]),
            "a new write and its sync hold"
        );
    }

    #[test]
    fn after_a_failed_sync_of_a_directory_its_names_stay_unsure() {
        let disk = MemoryDisk::new();
        make(&disk, "/f", b"");
        disk.fail_sync_dir(&at("/")).unwrap();
        make_durable(&disk, "/g", b"");
        assert_eq!(names(&disk.crash(Loss::All)), ["/g"]);
    }

    fn tree(disk: &MemoryDisk) -> Arc<dyn DiskTree> {
        disk.tree(&at("/")).unwrap()
    }

    fn mode_and_time(disk: &MemoryDisk, path: &str) -> (u32, i64) {
        let found = tree(disk).stat(&at(path)).unwrap();
        (found.mode, found.modified.secs)
    }

    fn set(disk: &MemoryDisk, path: &str, mode: u32, secs: i64) {
        tree(disk).set_mode(&at(path), mode).unwrap();
        tree(disk).set_modified(&at(path), FileTime { secs, nanos: 0 }).unwrap();
    }

    #[test]
    fn a_mode_and_a_time_are_lost_each_by_itself_until_the_whole_file_is_synced() {
        let disk = MemoryDisk::new();
        let file = make_durable(&disk, "/f", b"x");
        set(&disk, "f", 0o640, 5);
        file.sync_all().unwrap();
        set(&disk, "f", 0o755, 7);
        file.sync_data().unwrap();
        disk.sync_dir(&at("/")).unwrap();
        assert_eq!(disk.pending_changes(), 2);
        assert_eq!(mode_and_time(&disk.crash(Loss::All), "f"), (0o640, 5));
        assert_eq!(mode_and_time(&disk.crash(Loss::None), "f"), (0o755, 7));
        let all = found(&disk, |disk| mode_and_time(disk, "f"));
        assert_eq!(all, BTreeSet::from([(0o640, 5), (0o640, 7), (0o755, 5), (0o755, 7)]));
        assert_eq!(mode_and_time(&disk.crash(Loss::Prefix(1)), "f"), (0o755, 5));
        file.sync_all().unwrap();
        assert_eq!(disk.pending_changes(), 0);
        assert_eq!(mode_and_time(&disk.crash(Loss::All), "f"), (0o755, 7));
    }

    #[test]
    fn new_contents_may_stand_under_old_times() {
        let clock = ManualClock::starting_at(Timestamp::from_unix_ms(1000));
        let disk = MemoryDisk::with_clock(true, clock.clone());
        let file = make_durable(&disk, "/f", b"old");
        file.sync_all().unwrap();
        let before = tree(&disk).stat(&at("f")).unwrap();
        clock.advance(Duration::from_secs(8));
        file.write_all_at(b"new", 0).unwrap();
        file.sync_data().unwrap();
        let after = disk.crash(Loss::All);
        assert_eq!(after.get(&at("/f")).unwrap(), b"new");
        assert_eq!(tree(&after).stat(&at("f")).unwrap(), before);
        assert_eq!(disk.pending_changes(), 0, "times that moved by themselves do not count");
        file.sync_all().unwrap();
        let after = tree(&disk.crash(Loss::All)).stat(&at("f")).unwrap();
        assert_eq!((after.modified.secs, after.changed.secs), (9, 9));
    }

    #[test]
    fn the_attributes_of_a_directory_are_synced_with_its_names_and_not_with_its_own() {
        let disk = MemoryDisk::new();
        disk.create_dir(&at("/d")).unwrap();
        set(&disk, "d", 0o755, 7);
        disk.sync_dir(&at("/")).unwrap();
        assert_eq!(tree(&disk.crash(Loss::All)).stat(&at("d")).unwrap().mode, 0o700);
        tree(&disk).sync_dir(&at("d")).unwrap();
        assert_eq!(mode_and_time(&disk.crash(Loss::All), "d"), (0o755, 7));
    }

    #[test]
    fn a_link_has_its_target_as_soon_as_its_name_and_its_time_when_all_is_synced() {
        let disk = MemoryDisk::new();
        let root = tree(&disk);
        root.create_link("target".as_ref(), &at("l")).unwrap();
        root.set_modified(&at("l"), FileTime { secs: 7, nanos: 0 }).unwrap();
        let target = |disk: &MemoryDisk| tree(disk).read_link(&at("l")).ok();
        assert_eq!(target(&disk.crash(Loss::All)), None);
        root.sync_dir(&at("")).unwrap();
        let after = disk.crash(Loss::All);
        assert_eq!(target(&after).unwrap(), "target");
        assert_ne!(mode_and_time(&after, "l").1, 7);
        assert!(root.sync_all().unwrap());
        assert_eq!(mode_and_time(&disk.crash(Loss::All), "l").1, 7);
    }

    #[test]
    fn a_file_with_two_names_has_those_that_were_synced() {
        let disk = MemoryDisk::from_image(&BTreeMap::from([
            (at("/a/f"), b"x".to_vec()),
            (at("/b/other"), Vec::new()),
        ]));
        tree(&disk).hard_link(&at("a/f"), &at("b/g")).unwrap();
        let lost = disk.crash(Loss::All);
        assert_eq!(tree(&lost).stat(&at("a/f")).unwrap().links, 1);
        assert!(lost.get(&at("/b/g")).is_none());
        tree(&disk).sync_dir(&at("b")).unwrap();
        let kept = disk.crash(Loss::All);
        assert_eq!((tree(&kept).stat(&at("a/f")).unwrap().links, kept.used()), (2, 1));
        kept.open(&at("/a/f"), Access::Write).unwrap().write_all_at(b"both", 0).unwrap();
        assert_eq!(kept.get(&at("/b/g")).unwrap(), b"both");
        kept.remove_file(&at("/a/f")).unwrap();
        assert_eq!((tree(&kept).stat(&at("b/g")).unwrap().links, kept.used()), (1, 4));
    }

    #[test]
    fn a_sync_of_everything_leaves_nothing_to_lose() {
        let disk = MemoryDisk::new();
        for dir in ["/d", "/d/e"] {
            disk.create_dir(&at(dir)).unwrap();
        }
        make(&disk, "/d/e/f", b"deep");
        make(&disk, "/beside", b"too");
        tree(&disk).hard_link(&at("beside"), &at("d/again")).unwrap();
        set(&disk, "d/e", 0o755, 7);
        set(&disk, "d/e/f", 0o640, 8);
        let before = disk.image();
        assert!(disk.tree(&at("/d")).unwrap().sync_all().unwrap());
        let after = disk.crash(Loss::All);
        assert_eq!((after.image(), disk.pending_changes()), (before, 0));
        assert_eq!(mode_and_time(&after, "d/e"), (0o755, 7));
        assert_eq!(mode_and_time(&after, "d/e/f"), (0o640, 8));
    }

    #[test]
    fn a_disk_may_be_unable_to_sync_everything() {
        let disk = MemoryDisk::new();
        disk.set_syncs_everything(false);
        make(&disk, "/f", b"x");
        assert!(!tree(&disk).sync_all().unwrap());
        assert_eq!(names(&disk.crash(Loss::All)), [""; 0]);
    }

    #[test]
    fn after_a_failed_sync_attributes_stay_unsure() {
        let disk = MemoryDisk::new();
        make_durable(&disk, "/f", b"x");
        let file = disk.open_file(&at("/f"), Access::Write).unwrap();
        set(&disk, "f", 0o755, 7);
        file.fail_sync_all();
        file.sync_all().unwrap();
        assert_eq!(tree(&disk.crash(Loss::All)).stat(&at("f")).unwrap().mode, 0o600);
        set(&disk, "f", 0o751, 9);
        file.sync_all().unwrap();
        assert_eq!(mode_and_time(&disk.crash(Loss::All), "f"), (0o751, 9), "new ones hold");
    }

    #[test]
    fn a_file_that_is_written_for_ever_gathers_no_changes_of_its_times() {
        let disk = MemoryDisk::new();
        let file = make_durable(&disk, "/f", b"x");
        for _ in 0..100 {
            file.write_all_at(b"y", 0).unwrap();
            file.sync_data().unwrap();
        }
        let Node::File(node) = &disk.0.root.names.lock().entries.live[&OsString::from("f")] else {
            panic!("it is a file");
        };
        assert_eq!(node.contents.lock().facts.attributes.pending.len(), 1);
    }

    #[test]
    fn a_crash_image_is_another_disk_with_free_locks_and_the_same_settings() {
        let disk = MemoryDisk::new();
        disk.set_capacity(Some(100));
        make_durable(&disk, "/f", b"1234");
        let _lock = disk.try_lock(&at("/f")).unwrap().unwrap();
        let after = disk.crash(Loss::All);
        assert!(after.try_lock(&at("/f")).unwrap().is_some());
        assert_eq!((after.used(), after.space(&at("/")).unwrap().free), (4, 96));
        let number = |disk: &MemoryDisk| disk.metadata(&at("/f")).unwrap().inode;
        assert_eq!(number(&disk), number(&after));
        after.put(&at("/f"), b"");
        assert_eq!(disk.get(&at("/f")).unwrap(), b"1234");
    }

    #[test]
    fn a_seed_always_chooses_the_same() {
        let disk = MemoryDisk::new();
        let file = make(&disk, "/f", &[7; 9000]);
        file.write_all_at(&[8; 5000], 3000).unwrap();
        for seed in 0..50 {
            for loss in [Loss::Random(seed), Loss::Ordered(seed)] {
                assert_eq!(disk.crash(loss).image(), disk.crash(loss).image());
            }
        }
    }
}
