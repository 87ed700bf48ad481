//! Opening a store: to write, with recovery; or to look, changing nothing.
//!
//! Opening to write takes the lock, finishes an interrupted making, sets aside what is damaged or
//! unfinished, makes durable what is believed, and leaves a store in which a second opening finds
//! nothing to do. Views are listed before the log is read: a view proves that its checkpoint was
//! durable, so that what it names and the log lacks is damage, not a tail.

use std::collections::HashSet;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::catalog::Catalog;
pub(crate) use super::identity::Home;
use super::identity::{FORMAT, Found, Identity};
use super::layout::Layout;
use super::lost::{self, Lost};
use super::news::News;
use super::quarantine::{self, Kept};
use super::views::{self, Listed};
use super::{Error, Options, Store};
use crate::clock::Clock;
use crate::commit;
use crate::commit::frame::{Found as FoundRecord, Place, ReadBatch};
use crate::commit::recover::{self, Recovered, Tail};
use crate::commit::scan::Broken;
use crate::commit::summary::{self, At, Item};
use crate::commit::survey::{Damage, Survey, survey};
use crate::commit::writer::{Site, Writer};
use crate::disk::{
    Access, Disk, EntryKind, Holder, StoreLock, create_dir_all_durable, publish, sweep_temporaries,
};
use crate::encode::event::What;
use crate::encode::manifest::Manifest;
use crate::state::CheckpointId;

/// Where a store is and how it is reached.
#[derive(Debug, Clone)]
pub(crate) struct Ground {
    pub disk: Arc<dyn Disk>,
    pub clock: Arc<dyn Clock>,
    pub path: PathBuf,
    pub store: Options,
    pub commit: commit::Options,
    pub news: News,
}

/// What to do where no store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum IfMissing {
    /// Make one; a fallback store names the store whose commits it takes.
    Make {
        home: Option<Home>,
    },
    Fail,
}

/// What opening found and did.
#[derive(Debug, Clone, Default)]
pub struct OpenReport {
    /// The store was made just now.
    pub made: bool,
    /// Batches that were whole and unproven, and are durable now.
    pub rewritten: usize,
    /// Bytes of an unfinished tail that were cut; a copy is in the quarantine.
    pub cut_bytes: u64,
    /// What is damaged, in words.
    pub damage: Vec<String>,
    /// Other things set right, in words.
    pub notes: Vec<String>,
    /// Opened to look only, and whole batches are shown that no recovery has made durable.
    pub unrecovered: bool,
}

impl Ground {
    fn layout(&self) -> Layout {
        Layout::new(&self.path)
    }

    fn site(&self, store_id: Uuid) -> Site {
        Site {
            disk: Arc::clone(&self.disk),
            clock: Arc::clone(&self.clock),
            dir: self.layout().log(),
            store_id: *store_id.as_bytes(),
            options: self.commit.clone(),
        }
    }

    fn io(&self, doing: &'static str) -> impl FnOnce(io::Error) -> Error + '_ {
        move |source| Error::Io { doing, path: self.path.clone(), source }
    }

    /// Whether anything of a store stands here.
    pub(crate) fn is_there(&self) -> io::Result<bool> {
        let layout = self.layout();
        for path in [layout.identity(), layout.log()] {
            match self.disk.metadata(&path) {
                Ok(_) => return Ok(true),
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// Opens to write. On a full disk recovery has the room that the reserve keeps.
    pub(crate) fn open(
        &self,
        if_missing: &IfMissing,
        socket: Option<PathBuf>,
    ) -> Result<Store, Error> {
        match self.try_to_open(if_missing, socket.clone()) {
            Err(error)
                if error.is_full() && self.disk.remove_file(&self.layout().reserve()).is_ok() =>
            {
                tracing::warn!(%error, "opening on the reserve");
                self.try_to_open(if_missing, socket)
            }
            other => other,
        }
    }

    fn try_to_open(&self, if_missing: &IfMissing, socket: Option<PathBuf>) -> Result<Store, Error> {
        let there = self.is_there().map_err(self.io("look at the store"))?;
        if !there {
            if *if_missing == IfMissing::Fail {
                return Err(Error::NoStore { path: self.path.clone() });
            }
            create_dir_all_durable(&*self.disk, &self.path)
                .map_err(self.io("make the directory of the store"))?;
        }
        self.refuse_network()?;
        let holder = Holder::this_process(self.clock.now(), socket);
        let wait = Duration::from_millis(self.store.lock_wait_ms);
        let lock =
            StoreLock::acquire(&*self.disk, &self.layout().lock(), &holder, wait, &*self.clock)?;
        let mut opening = Opening::new(self, Some(lock));
        let identity = opening.identify(if_missing)?;
        opening.recover(identity)
    }

    /// Opens to look: as a writer would where the lock is free and the store writable, otherwise
    /// reading up to the last mark and changing nothing.
    pub(crate) fn open_to_look(&self) -> Result<Store, Error> {
        let there = self.is_there().map_err(self.io("look at the store"))?;
        if !there {
            return Err(Error::NoStore { path: self.path.clone() });
        }
        let patient =
            Self { store: Options { lock_wait_ms: 0, ..self.store.clone() }, ..self.clone() };
        match patient.open(&IfMissing::Fail, None) {
            Err(Error::Locked(_)) => self.read_beside_writer(),
            Err(error) if error.is_unwritable() => self.read_only(true),
            other => other,
        }
    }

    /// Reads while another process writes; starts again where a segment went away under it, and
    /// calls something damaged only when a second look finds it so.
    fn read_beside_writer(&self) -> Result<Store, Error> {
        const LOOKS_MAX: usize = 20;
        let mut last = None;
        for look in 0..LOOKS_MAX {
            match self.read_only(false) {
                Ok(store) if store.report.damage.is_empty() => return Ok(store),
                Ok(store) => {
                    let same = matches!(&last, Some(before) if *before == store.report.damage);
                    if same {
                        return Ok(store);
                    }
                    last = Some(store.report.damage.clone());
                }
                Err(Error::Survey(error)) if look + 1 < LOOKS_MAX && error.may_pass() => {}
                Err(error) => return Err(error),
            }
        }
        self.read_only(false)
    }

    fn read_only(&self, show_beyond: bool) -> Result<Store, Error> {
        let listed = views::list(&*self.disk, &self.layout()).map_err(self.io("list the views"))?;
        let identity = match Identity::read(&*self.disk, &self.layout())
            .map_err(self.io("read store.json"))?
        {
            Found::Identity(identity) => Some(identity),
            Found::Missing | Found::Unreadable(_) => None,
        };
        let mut opening = Opening::new(self, None);
        let id = identity.as_ref().map(|identity| identity.store_id);
        let mut found = opening.survey(id, Access::Read)?;
        opening.show_tail(&found, &views::ids(&listed), show_beyond);
        opening.note_lost(&found, &listed);
        let id = found.store_id.ok_or_else(|| Error::NoSegments { path: self.path.clone() })?;
        let identity =
            identity.unwrap_or_else(|| Identity::new(Uuid::from_bytes(id), self.clock.now(), None));
        if let Some(head) = found.head.take() {
            found.segments.insert(head.segment.number(), head.segment);
        }
        opening.describe(&found.damage);
        Ok(opening.finish(identity, found, None, &listed))
    }

    fn refuse_network(&self) -> Result<(), Error> {
        if self.store.allow_network {
            return Ok(());
        }
        let system =
            self.disk.file_system(&self.path).map_err(self.io("tell the file system of"))?;
        if system.network {
            return Err(Error::Network { path: self.path.clone(), name: system.name });
        }
        Ok(())
    }
}

/// A store that is being opened.
struct Opening<'a> {
    ground: &'a Ground,
    layout: Layout,
    lock: Option<StoreLock>,
    catalog: Catalog,
    report: OpenReport,
    /// The identity was rebuilt and is to be published.
    identity_is_new: bool,
}

impl<'a> Opening<'a> {
    fn new(ground: &'a Ground, lock: Option<StoreLock>) -> Self {
        Self {
            ground,
            layout: ground.layout(),
            lock,
            catalog: Catalog::default(),
            report: OpenReport::default(),
            identity_is_new: false,
        }
    }

    fn disk(&self) -> &dyn Disk {
        &*self.ground.disk
    }

    /// Finds out which store this is; makes one, or finishes a making, where there is none.
    fn identify(&mut self, if_missing: &IfMissing) -> Result<Identity, Error> {
        let ground = self.ground;
        let found =
            Identity::read(self.disk(), &self.layout).map_err(ground.io("read store.json"))?;
        let why = match found {
            Found::Identity(identity) if identity.format > FORMAT => {
                return Err(Error::Newer { path: ground.path.clone(), format: identity.format });
            }
            Found::Identity(identity) => return Ok(identity),
            Found::Missing => "it was missing".to_owned(),
            Found::Unreadable(why) => why,
        };
        match if_missing {
            IfMissing::Make { home } if self.is_unfinished_making()? => self.make(home.clone()),
            IfMissing::Make { home } => self.rebuild_identity(&why, home.clone()),
            // Nothing was ever acknowledged here, so there is nothing to call damaged.
            IfMissing::Fail if self.is_unfinished_making()? => {
                Err(Error::NoStore { path: ground.path.clone() })
            }
            IfMissing::Fail => self.rebuild_identity(&why, None),
        }
    }

    /// Nothing here was ever acknowledged: no `store.json`, no batch, no view, nothing set aside,
    /// nothing unreadable.
    fn is_unfinished_making(&self) -> Result<bool, Error> {
        let ground = self.ground;
        if self.disk().metadata(&self.layout.identity()).is_ok() {
            return Ok(false);
        }
        if !exists(self.disk(), &self.layout.log()).map_err(ground.io("look at the log"))? {
            return self.holds_no_views();
        }
        let mut batches = false;
        let site = ground.site(Uuid::nil());
        let found = survey(&site, None, Access::Read, &mut |_| batches = true)?;
        let empty = found.head.is_none() && found.unreadable.is_empty() && !batches;
        Ok(empty && self.holds_no_views()?)
    }

    fn holds_no_views(&self) -> Result<bool, Error> {
        let ground = self.ground;
        let listed = views::list(self.disk(), &self.layout).map_err(ground.io("list the views"))?;
        let set_aside = quarantine::count(self.disk(), &self.layout)
            .map_err(ground.io("list the quarantine"))?;
        Ok(listed.is_empty() && set_aside == 0)
    }

    /// Makes the store; whatever step a crash interrupts, the next making starts over.
    fn make(&mut self, home: Option<Home>) -> Result<Identity, Error> {
        let ground = self.ground;
        let disk = self.disk();
        let log = self.layout.log();
        clear_dir(disk, &log).map_err(ground.io("take an unfinished log away from"))?;
        disk.create_dir(&log).map_err(ground.io("make the log of"))?;
        publish(disk, &self.layout.git_ignore(), b"*\n", crate::disk::Durability::Unsynced)
            .map_err(|error| ground.io("write .gitignore in")(error.into_io()))?;
        match disk.create_dir(&self.layout.views()) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(ground.io("make the views of")(error));
            }
            _ => {}
        }
        let identity = Identity::new(Uuid::new_v4(), ground.clock.now(), home);
        let mut writer = Writer::create(ground.site(identity.store_id))?;
        // Before the first batch: a log that holds one has a durable name.
        disk.sync_dir(&ground.path).map_err(ground.io("sync the directory of"))?;
        writer.begin(&[])?;
        identity.publish(disk, &self.layout).map_err(ground.io("publish store.json in"))?;
        self.report.made = true;
        Ok(identity)
    }

    /// `store.json` is gone or unreadable: the segments all name the store. Without a readable one
    /// nothing is touched.
    fn rebuild_identity(&mut self, why: &str, home: Option<Home>) -> Result<Identity, Error> {
        let ground = self.ground;
        let site = ground.site(Uuid::nil());
        let found = survey(&site, None, Access::Read, &mut |_| {})?;
        let (Some(id), Some(_)) = (found.store_id, found.head) else {
            return Err(Error::NoSegments { path: ground.path.clone() });
        };
        self.report.notes.push(format!("store.json was rebuilt from the log: {why}"));
        self.identity_is_new = true;
        Ok(Identity::new(Uuid::from_bytes(id), ground.clock.now(), home))
    }

    /// Publishes a rebuilt `store.json`, once what it was rebuilt from is durable; the text that
    /// could not be read is set aside.
    fn publish_identity(&self, identity: &Identity) -> Result<(), Error> {
        let ground = self.ground;
        if self.disk().metadata(&self.layout.identity()).is_ok() {
            quarantine::move_in(self.disk(), &self.layout, &self.layout.identity())
                .map_err(ground.io("set store.json aside in"))?;
        }
        identity.publish(self.disk(), &self.layout).map_err(ground.io("publish store.json in"))
    }

    fn survey(&mut self, id: Option<Uuid>, access: Access) -> Result<Survey, Error> {
        let site = self.ground.site(id.unwrap_or_default());
        let catalog = &mut self.catalog;
        let found =
            survey(&site, id.map(|id| *id.as_bytes()), access, &mut |item| catalog.apply(&item))?;
        if found.head.is_none() && found.segments.is_empty() {
            return Err(Error::NoSegments { path: self.ground.path.clone() });
        }
        Ok(found)
    }

    fn recover(mut self, identity: Identity) -> Result<Store, Error> {
        let ground = self.ground;
        let (listed, left) =
            views::list_all(self.disk(), &self.layout).map_err(ground.io("list the views"))?;
        let mut found = self.survey(Some(identity.store_id), Access::Write)?;
        let site = ground.site(identity.store_id);
        let lost = self.note_lost(&found, &listed);
        let mut tail = Tail { events: self.set_damage_aside(&found)?, ..Tail::default() };
        self.judge_tails(&mut found, &lost, &mut tail)?;
        let head = found.head.as_ref().map(|head| head.segment.clone());
        let Recovered { mut writer, rewritten, records } =
            recover::recover(site.clone(), &mut found, tail)?;
        if self.identity_is_new {
            self.publish_identity(&identity)?;
        }
        self.report.rewritten = rewritten;
        self.take_in(&records);
        if let Some(head) = head {
            found.segments.entry(head.number()).or_insert(head);
        }
        self.sweep(&left)?;
        self.clean_up(&mut found)?;
        self.unlink_void(&mut writer)?;
        Ok(self.finish(identity, found, Some(writer), &listed))
    }

    /// Finds the checkpoints that views name and the log does not hold. Their numbers are not given
    /// again.
    fn note_lost(&mut self, found: &Survey, listed: &[Listed]) -> Vec<Lost> {
        let in_tail = tail_ids(found);
        let catalog = &self.catalog;
        let lost = lost::find(self.disk(), &self.layout, listed, |id| {
            catalog.get(id).is_some() || catalog.is_forgotten(id) || in_tail.contains(&id)
        });
        self.report.damage.extend(lost::damage(&lost));
        self.report.notes.extend(lost::notes(&lost));
        for one in &lost {
            self.catalog.note_number(&one.view.agent, one.view.name.seq);
        }
        lost
    }

    /// Decides on what is broken behind the last whole batch of the head, and on first batches that
    /// are not whole: unfinished tails, unless a view names something in them.
    fn judge_tails(
        &mut self,
        found: &mut Survey,
        lost: &[Lost],
        tail: &mut Tail,
    ) -> Result<(), Error> {
        let durable = lost::furthest(lost);
        if let Some(head) = &found.head {
            let segment = head.segment.number();
            let end = Place { segment, offset: head.scan.end };
            tail.seal = durable.is_some_and(|place| place >= end);
            if let Some(broken) = &head.scan.tail {
                self.judge_tail(segment, broken, durable, tail)?;
            }
        }
        for (segment, broken) in &found.unfinished {
            self.judge_tail(*segment, broken, durable, tail)?;
        }
        // Places that views name are not given again.
        found.highest = found.highest.max(durable.map_or(0, |place| place.segment));
        Ok(())
    }

    fn judge_tail(
        &mut self,
        segment: u64,
        broken: &Broken,
        durable: Option<Place>,
        tail: &mut Tail,
    ) -> Result<(), Error> {
        let offset = broken.range.start;
        let bytes = broken.range.end - offset;
        let (copy, _) = self.keep(segment, &broken.range)?;
        if durable.is_some_and(|place| place > Place { segment, offset }) {
            tail.kept.extend_from_slice(&broken.salvaged);
            self.report.damage.push(format!(
                "segment {segment}: {bytes} bytes at {offset} are damaged; a view proves that they were durable"
            ));
            tail.events.push(What::DamageFound {
                file: file_in_log(segment),
                offset,
                bytes,
                what: "a durable tail is broken".to_owned(),
                copy: Some(copy),
            });
        } else {
            self.report.cut_bytes += bytes;
            tracing::warn!(segment, offset, bytes, "cut an unfinished tail");
            tail.events.push(What::TailCut { segment, offset, bytes, copy });
        }
        Ok(())
    }

    /// Copies a range of a segment aside; answers where, and whether the copy was made just now.
    fn keep(&self, segment: u64, range: &Range<u64>) -> Result<(PathBuf, bool), Error> {
        let file = self.layout.log().join(commit::segment::file_name(segment));
        let kept = quarantine::keep_range(self.disk(), &self.layout, &file, range)
            .map_err(self.ground.io("copy damage aside in"))?;
        let is_new = matches!(kept, Kept::New(_));
        let (Kept::New(path) | Kept::Known(path)) = kept;
        let path = path.strip_prefix(self.layout.root()).map(Path::to_owned).unwrap_or(path);
        Ok((path, is_new))
    }

    /// Copies every damaged range aside and words it for the report; answers events for what was
    /// not known before.
    fn set_damage_aside(&mut self, found: &Survey) -> Result<Vec<What>, Error> {
        let mut events = Vec::new();
        for one in &found.damage {
            if !self.is_in_file(one) {
                continue;
            }
            let (copy, is_new) = self.keep(one.segment, &one.range)?;
            if is_new {
                events.push(What::DamageFound {
                    file: file_in_log(one.segment),
                    offset: one.range.start,
                    bytes: one.range.end - one.range.start,
                    what: one.what.clone(),
                    copy: Some(copy),
                });
            }
        }
        self.describe(&found.damage);
        for (number, why) in &found.unreadable {
            if !found.live.contains_key(number) {
                self.report.damage.push(format!("segment {number} cannot be used: {why}"));
            }
        }
        Ok(events)
    }

    /// Whether some of the damaged bytes are there to be copied.
    fn is_in_file(&self, damage: &Damage) -> bool {
        let file = self.layout.log().join(&damage.file);
        let len = self.disk().metadata(&file).map_or(0, |found| found.len);
        damage.range.start < damage.range.end.min(len)
    }

    fn describe(&mut self, damage: &[Damage]) {
        for one in damage {
            self.report.damage.push(format!(
                "{}: bytes {} to {}: {}{}",
                one.file.display(),
                one.range.start,
                one.range.end,
                one.what,
                if one.salvaged > 0 {
                    format!("; {} records in it are sound", one.salvaged)
                } else {
                    String::new()
                }
            ));
        }
    }

    fn take_in(&mut self, records: &[(FoundRecord, At)]) {
        for (record, at) in records {
            let moved = FoundRecord { offset: at.offset, ..record.clone() };
            summary::items_of(at.segment, &moved, &mut |item| self.catalog.apply(&item));
        }
    }

    /// Takes whole batches beyond the last mark into the catalog of a reader: all of them where
    /// nobody can write, otherwise those whose checkpoint has a view.
    fn show_tail(&mut self, found: &Survey, viewed: &HashSet<CheckpointId>, all: bool) {
        let Some(head) = &found.head else { return };
        let segment = head.segment.number();
        let shown = head.tail.iter().take_while(|batch| all || batch_is_viewed(batch, viewed));
        for record in shown.flat_map(|batch| &batch.records) {
            summary::items_of(segment, record, &mut |item: Item<'_>| self.catalog.apply(&item));
        }
        self.report.unrecovered = all && !head.tail.is_empty();
    }

    /// Removes the temporary files of killed processes, those given and those in the other places.
    fn sweep(&self, beside_views: &[PathBuf]) -> Result<(), Error> {
        for path in beside_views {
            super::remove_if_there(self.disk(), path).map_err(self.ground.io("tidy"))?;
        }
        let (log, set_aside) = (self.layout.log(), self.layout.quarantine());
        for dir in [&log, &set_aside, self.layout.root()] {
            match sweep_temporaries(self.disk(), dir) {
                Ok(sweep) => {
                    for left in sweep.failed {
                        tracing::warn!(path = %left.path.display(), error = %left.error, "left behind");
                    }
                }
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(self.ground.io("tidy")(error)),
            }
        }
        Ok(())
    }

    /// Removes what earlier processes left behind, where it is certain that it is ours.
    fn clean_up(&mut self, found: &mut Survey) -> Result<(), Error> {
        let ground = self.ground;
        for number in std::mem::take(&mut found.stale) {
            let log = self.layout.log();
            let file = log.join(commit::segment::file_name(number));
            if found.was_compacted(number) || found.was_given_up(number) {
                super::remove_if_there(self.disk(), &file).map_err(ground.io("tidy"))?;
            } else {
                let path = quarantine::move_in(self.disk(), &self.layout, &file)
                    .map_err(ground.io("set a segment aside in"))?;
                let note = format!("segment {number} is not part of the log: {}", path.display());
                self.report.notes.push(note);
            }
            let summary = log.join(commit::segment::summary_name(number));
            super::remove_if_there(self.disk(), &summary).map_err(ground.io("tidy"))?;
        }
        Ok(())
    }

    /// Unlinks the segments that hold nothing, now that a batch is durable behind them.
    fn unlink_void(&self, writer: &mut Writer) -> Result<(), Error> {
        for number in writer.take_void() {
            let file = self.layout.log().join(commit::segment::file_name(number));
            super::remove_if_there(self.disk(), &file).map_err(self.ground.io("tidy"))?;
        }
        Ok(())
    }

    fn finish(
        self,
        identity: Identity,
        found: Survey,
        writer: Option<Writer>,
        listed: &[Listed],
    ) -> Store {
        let OpenReport { made, rewritten, cut_bytes, .. } = self.report;
        let store = self.ground.path.display();
        tracing::debug!(%store, made, rewritten, cut_bytes, writes = writer.is_some(), "opened");
        for one in &self.report.damage {
            tracing::error!(store = %self.ground.path.display(), "damage: {one}");
        }
        Store::assemble(super::Parts {
            ground: self.ground.clone(),
            identity,
            lock: self.lock,
            catalog: self.catalog,
            found,
            writer,
            viewed: views::ids(listed),
            report: self.report,
        })
    }
}

fn file_in_log(segment: u64) -> PathBuf {
    Path::new("log").join(commit::segment::file_name(segment))
}

fn tail_ids(found: &Survey) -> HashSet<CheckpointId> {
    let tail = found.head.as_ref().map(|head| head.tail.as_slice()).unwrap_or_default();
    tail.iter().flat_map(checkpoint_ids).collect()
}

fn checkpoint_ids(batch: &ReadBatch) -> Vec<CheckpointId> {
    let mut ids = Vec::new();
    for record in &batch.records {
        summary::items_of(0, record, &mut |item| {
            if item.kind == commit::frame::RecordType::Checkpoint
                && let Ok(manifest) = Manifest::decode(item.summary)
            {
                ids.push(manifest.id);
            }
        });
    }
    ids
}

fn batch_is_viewed(batch: &ReadBatch, viewed: &HashSet<CheckpointId>) -> bool {
    checkpoint_ids(batch).iter().any(|id| viewed.contains(id))
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn exists(disk: &dyn Disk, path: &Path) -> io::Result<bool> {
    match disk.metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if is_absent(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes a directory that holds files only, and the files.
fn clear_dir(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    if !exists(disk, dir)? {
        return Ok(());
    }
    for entry in disk.read_dir(dir)? {
        if entry.kind == EntryKind::File {
            disk.remove_file(&dir.join(entry.name))?;
        }
    }
    disk.remove_dir(dir)
}
