//! A store with one of everything, and what must hold of it whatever was damaged.
//!
//! The store has sealed segments with their summaries, a head, a segment made ahead, packs, views,
//! states inline and in blocks, forgotten checkpoints, and two agents. [`Fixture::check`] opens a damaged
//! copy, reads everything, commits, opens it again, and holds it to the promises: nothing is returned
//! that was not kept, nothing goes without a word, and a second start changes nothing more.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use stateward::disk::{Disk, MemoryDisk};
use stateward::error::ErrorKind;
use stateward::state::{CheckpointId, Kind};
use stateward::verify::VerifyOptions;
use stateward::{Agent, CheckpointManager, Error, Filter, Options};

pub(crate) type Image = BTreeMap<PathBuf, Vec<u8>>;

/// A checkpoint made after the damage, by agent `a`, and its state.
pub(crate) type New = (CheckpointId, Vec<u8>);

pub(crate) const AGENTS: [&str; 2] = ["a", "b"];

/// A checkpoint that was acknowledged and never forgotten.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub agent: &'static str,
    pub id: CheckpointId,
    pub path: PathBuf,
    pub state: Vec<u8>,
}

pub(crate) struct Fixture {
    /// The closed store.
    pub image: Image,
    /// The same store as it stood after each commit.
    pub earlier: Vec<Image>,
    pub kept: Vec<Kept>,
}

/// What became of a damaged store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Outcome {
    /// Checkpoints that are neither listed nor readable.
    pub missing: usize,
    /// Checkpoints that are listed and fail as damaged.
    pub failing: usize,
    /// The opening spoke of damage.
    pub reported: bool,
    /// The opening cut an unfinished tail.
    pub cut: bool,
    /// `verify` found damage that it could not make good by itself.
    pub unsound: bool,
}

/// Options of the store: tiny segments, nothing in the background, nothing forgotten by itself.
pub(crate) fn options(disk: std::sync::Arc<dyn Disk>) -> Options {
    let mut options = Options { disk, background: false, ..Options::new("/store") };
    options.log.segment_bytes_min = 8 << 10;
    options.log.segment_bytes_max = 16 << 10;
    options.retention.routine.keep_last = 1000;
    options.retention.free_floor = Some("0B".parse().unwrap());
    options
}

fn text(seed: usize, len: usize) -> String {
    let mut x = seed as u64 * 2 + 1;
    let mut next = || {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'a' + u8::try_from(x >> 59).unwrap() % 26)
    };
    (0..len).map(|_| next()).collect()
}

/// The state of the `n`th checkpoint; every third is too long to lie in its record, and shares most
/// of its content with the one before it.
fn state_of(n: usize) -> Vec<u8> {
    let long = if n.is_multiple_of(3) { text(7, 20_000) } else { String::new() };
    let state = serde_json::json!({"n": n, "short": text(n, 300), "long": long});
    serde_json::to_vec(&state).unwrap()
}

fn commit(agent: &Agent, n: usize) -> (CheckpointId, PathBuf, Vec<u8>) {
    let state = state_of(n);
    let receipt = agent.checkpoint(Kind::Routine).state_bytes(state.clone()).commit().unwrap();
    (receipt.checkpoint.checkpoint_id, receipt.checkpoint.path, state)
}

impl Fixture {
    /// The store; made once.
    pub(crate) fn get() -> &'static Self {
        static FIXTURE: OnceLock<Fixture> = OnceLock::new();
        FIXTURE.get_or_init(Self::make)
    }

    fn make() -> Self {
        let disk = MemoryDisk::plain();
        let mut kept = Vec::new();
        {
            let manager = CheckpointManager::open(options(disk.shared())).unwrap();
            for n in 0..8 {
                keep(&manager, n, &mut kept);
            }
            let forgotten = kept.remove(2);
            manager.agent("a").unwrap().forget(&[&forgotten.id.to_string()], false).unwrap();
            manager.prune(&mut |_| {}).unwrap();
            for n in 8..12 {
                keep(&manager, n, &mut kept);
            }
            manager.settle().unwrap();
        }
        let earlier = make_ahead(&disk, &mut kept);
        Self { image: disk.image(), earlier, kept }
    }

    pub(crate) fn disk(&self) -> MemoryDisk {
        MemoryDisk::from_image(&self.image)
    }

    pub(crate) fn newest(&self, agent: &str) -> &Kept {
        self.kept.iter().rfind(|one| one.agent == agent).unwrap()
    }

    /// The segment files in order, the head and the spare included.
    pub(crate) fn segments(&self) -> Vec<PathBuf> {
        self.image
            .keys()
            .filter(|path| path.extension().is_some_and(|ext| ext == "log"))
            .cloned()
            .collect()
    }

    pub(crate) fn spare(&self) -> PathBuf {
        self.segments().into_iter().find(|path| is_blank(&self.image[path])).unwrap()
    }

    pub(crate) fn head(&self) -> PathBuf {
        let spare = self.spare();
        self.segments().into_iter().rfind(|path| *path != spare).unwrap()
    }

    /// The newest sealed segment that there is an older copy of.
    pub(crate) fn sealed(&self) -> PathBuf {
        let head = self.head();
        let mut sealed = logs(&self.image).filter(|path| **path < head);
        sealed.rfind(|path| self.older_copy(path).is_some()).unwrap().clone()
    }

    /// The newest earlier copy of a file that differs from what it is now.
    pub(crate) fn older_copy(&self, path: &Path) -> Option<Vec<u8>> {
        let copies = self.earlier.iter().rev().filter_map(|image| image.get(path));
        copies.into_iter().find(|copy| Some(*copy) != self.image.get(path)).cloned()
    }

    /// Opens the damaged store to write and holds it to everything; opens it again, twice. `added`
    /// are checkpoints that were made beyond the fixture's.
    pub(crate) fn check(&self, disk: &MemoryDisk, what: &str, added: &[New]) -> Outcome {
        let manager = CheckpointManager::open(options(disk.shared()))
            .unwrap_or_else(|error| panic!("{what}: it does not open: {error}"));
        let outcome = self.hold(&manager, what, added);
        let new = self.goes_on(&manager, what);
        manager.settle().unwrap_or_else(|error| panic!("{what}: it does not settle: {error}"));
        drop(manager);
        let before = still(disk);
        let manager = CheckpointManager::open(options(disk.shared())).unwrap();
        assert_eq!(manager.status().cut_bytes, 0, "{what}: the second opening cuts");
        for (id, state) in &new {
            let loaded = manager.agent("a").unwrap().read_checkpoint(id.to_string()).unwrap();
            assert_eq!(loaded.state_bytes(), Some(&state[..]), "{what}: what came after");
        }
        drop(manager);
        assert_same(&before, &still(disk), what);
        let manager = CheckpointManager::open(options(disk.shared())).unwrap();
        let again = self.hold(&manager, what, &[added, &new].concat());
        assert!(again.missing <= outcome.missing, "{what}: {outcome:?}, and later {again:?}");
        outcome
    }

    /// Looks at the damaged store while another holds its lock; nothing may change.
    pub(crate) fn check_looking(&self, disk: &MemoryDisk, what: &str) {
        let lock = disk.shared().try_lock(Path::new("/store/lock")).unwrap().unwrap();
        let before = disk.image();
        let manager = CheckpointManager::open_to_look(options(disk.shared()))
            .unwrap_or_else(|error| panic!("{what}: it cannot be looked at: {error}"));
        self.hold(&manager, what, &[]);
        drop((manager, lock));
        assert_same(&before, &disk.image(), what);
    }

    /// Reads everything through an open manager.
    pub(crate) fn hold(&self, manager: &CheckpointManager, what: &str, added: &[New]) -> Outcome {
        let status = manager.status();
        let mut outcome = Outcome {
            reported: !status.damage.is_empty(),
            cut: status.cut_bytes > 0,
            ..Outcome::default()
        };
        for name in AGENTS {
            self.hold_agent(&manager.agent(name).unwrap(), what, added, &mut outcome);
        }
        let latest: Vec<bool> = AGENTS
            .iter()
            .map(|name| self.latest_is_newest(&manager.agent(name).unwrap(), what, added))
            .collect();
        let report = manager.verify(&VerifyOptions::default(), &mut |_| {}).unwrap();
        outcome.unsound = report.iter().any(|one| !one.sound);
        let told = outcome.reported || outcome.unsound;
        assert!(told || latest.iter().all(|is| *is), "{what}: latest went back without a word");
        assert!(told || outcome.missing == 0, "{what}: {outcome:?}: gone without a word");
        assert!(outcome.unsound || outcome.failing == 0, "{what}: {outcome:?}: verify is blind");
        outcome
    }

    fn hold_agent(&self, agent: &Agent, what: &str, added: &[New], outcome: &mut Outcome) {
        let listed: Vec<CheckpointId> = agent
            .list_checkpoints(Filter::default())
            .unwrap()
            .iter()
            .map(|one| one.checkpoint_id)
            .collect();
        for id in &listed {
            let known = self.kept.iter().any(|kept| kept.id == *id)
                || added.iter().any(|(added, _)| added == id)
                || outcome.reported;
            assert!(known, "{what}: {id} was forgotten and is back");
        }
        for kept in self.kept.iter().filter(|kept| kept.agent == agent.id().as_str()) {
            let by_id = agent.read_checkpoint(kept.id.to_string());
            let by_path = agent.read_checkpoint(&kept.path);
            if !listed.contains(&kept.id) {
                outcome.missing += 1;
                assert_eq!(by_id.unwrap_err().kind(), ErrorKind::NotFound, "{what}");
                if let Ok(alone) = by_path {
                    assert_eq!(alone.state_bytes(), Some(&kept.state[..]), "{what}: its view lies");
                }
                continue;
            }
            outcome.failing += usize::from(by_id.is_err());
            for read in [by_id, by_path] {
                match read {
                    Ok(loaded) => {
                        assert_eq!(
                            loaded.state_bytes(),
                            Some(&kept.state[..]),
                            "{what}: other bytes"
                        );
                    }
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Damaged, "{what}: {error}"),
                }
            }
        }
    }

    /// Whether `latest` is the newest checkpoint, or says that it passed it over.
    fn latest_is_newest(&self, agent: &Agent, what: &str, added: &[New]) -> bool {
        let newest = self.newest(agent.id().as_str());
        match agent.read_checkpoint("latest") {
            Ok(loaded) => {
                let id = loaded.checkpoint().checkpoint_id;
                let state = self
                    .kept
                    .iter()
                    .map(|kept| (kept.id, &kept.state))
                    .chain(added.iter().map(|(id, state)| (*id, state)))
                    .find(|(known, _)| *known == id)
                    .map(|(_, state)| &state[..]);
                if state.is_some() {
                    assert_eq!(loaded.state_bytes(), state, "{what}: latest has other bytes");
                }
                id == newest.id
                    || added.iter().any(|(added, _)| *added == id)
                    || loaded.walked_past().iter().any(|past| past.checkpoint_id == newest.id)
            }
            Err(Error::AllDamaged { .. }) => true,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::NotFound, "{what}: {error}");
                false
            }
        }
    }

    /// The store takes commits, of new content and of content it held before.
    pub(crate) fn goes_on(&self, manager: &CheckpointManager, what: &str) -> Vec<New> {
        let agent = manager.agent("a").unwrap();
        let last = self.kept.len();
        let seqs: Vec<_> = manager.agents().iter().map(|one| one.last_seq).collect();
        let added: Vec<_> = [900, 901, last - 1, last - 2, last - 3]
            .into_iter()
            .map(|n| {
                let (id, _, state) = commit(&agent, n);
                (id, state)
            })
            .collect();
        for (id, state) in &added {
            let loaded = agent
                .read_checkpoint(id.to_string())
                .unwrap_or_else(|error| panic!("{what}: a new checkpoint cannot be read: {error}"));
            assert_eq!(loaded.state_bytes(), Some(&state[..]), "{what}: a new checkpoint");
        }
        let after: Vec<_> = manager.agents().iter().map(|one| one.last_seq).collect();
        assert!(after[0] > seqs[0], "{what}: numbers went back");
        added
    }
}

fn keep(manager: &CheckpointManager, n: usize, kept: &mut Vec<Kept>) {
    let agent = AGENTS[usize::from(n % 4 == 3)];
    let (id, path, state) = commit(&manager.agent(agent).unwrap(), n);
    kept.push(Kept { agent, id, path, state });
}

/// Goes on until a segment was made ahead and the head holds more than one commit, and closes the
/// store.
fn make_ahead(disk: &MemoryDisk, kept: &mut Vec<Kept>) -> Vec<Image> {
    let options = Options { background: true, ..options(disk.shared()) };
    let manager = CheckpointManager::open(options).unwrap();
    let mut earlier = Vec::new();
    for n in 12.. {
        keep(&manager, n, kept);
        manager.settle().unwrap();
        earlier.push(disk.image());
        // The newest is one of `a`, with its state inline.
        if n > 16 && n % 12 == 1 && has_spare_and_aged_head(&earlier) {
            break;
        }
        assert!(n < 300, "no segment was made ahead");
        std::thread::yield_now();
    }
    drop(manager);
    earlier
}

fn logs(image: &Image) -> impl DoubleEndedIterator<Item = &PathBuf> {
    image.keys().filter(|path| path.extension().is_some_and(|extension| extension == "log"))
}

fn has_spare_and_aged_head(earlier: &[Image]) -> bool {
    let [.., before, now] = earlier else { return false };
    let head = logs(now).rfind(|path| !is_blank(&now[*path])).unwrap();
    let has_spare = logs(now).any(|path| is_blank(&now[path]));
    has_spare && before.get(head).is_some_and(|bytes| !is_blank(bytes))
}

fn is_blank(segment: &[u8]) -> bool {
    let end = segment.len() - 512;
    segment[512..end].iter().all(|byte| *byte == 0)
}

/// Everything but the lock, whose text names who opened the store.
fn still(disk: &MemoryDisk) -> Image {
    let mut image = disk.image();
    image.remove(Path::new("/store/lock"));
    image
}

fn assert_same(before: &Image, after: &Image, what: &str) {
    for (path, bytes) in before {
        assert!(after.get(path) == Some(bytes), "{what}: {} was changed", path.display());
    }
    for path in after.keys() {
        assert!(before.contains_key(path), "{what}: {} was made", path.display());
    }
}

#[test]
fn the_store_has_one_of_everything_and_is_sound() {
    let fixture = Fixture::get();
    let has = |part: &str| fixture.image.keys().any(|path| path.to_str().unwrap().contains(part));
    assert!(has(".idx") && has("checkpoints/a/") && has("checkpoints/b/") && has("/reserve"));
    assert!(fixture.segments().len() >= 5, "{:?}", fixture.segments());
    let outcome = fixture.check(&fixture.disk(), "nothing", &[]);
    assert_eq!(outcome, Outcome::default());
    fixture.check_looking(&fixture.disk(), "nothing");
}
