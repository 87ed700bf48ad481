//! A directory, compared with what is known of it.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use super::Error;
use super::files::{At, Wanted};
use super::known::{Dir, DirId, Doubt, Edit, Edits, Entry, Position, What, is_same};
use super::rules::{
    IGNORE_BYTES_MAX, IGNORE_FILE, Patterns, STORE_FILES, Scope, TAG_FILE, TAG_SIGNATURE, Verdict,
    is_default_name,
};
use super::sqlite::database_of;
use super::walk::{Below, Found, Job, Look, Walk, is_one};
use crate::disk::{Listing, NodeKind, Stat};
use crate::state::Why;

/// Directories below the root that are kept, one in the other.
const DEPTH_MAX: u16 = 512;
/// What a restore puts aside at the root begins with this.
const STAGING: &[u8] = b".stateward-restore-";
/// Files read as one job.
const JOB_FILES: usize = 64;
const JOB_BYTES: u64 = 8 << 20;

/// Jobs, and such as can wait.
pub(super) type Jobs<'w> = (Vec<Job<'w>>, Vec<Job<'w>>);

/// Compares a listing with what is known; answers the jobs that follow.
pub(super) fn compare<'w>(
    walk: &Walk<'w>,
    look: &Look,
    listing: Listing,
    found: &mut Found,
) -> Result<Jobs<'w>, Error> {
    let known = walk.known.dir(look.id);
    let mut visit = Visit::new(walk, look, known);
    if let Some(below) = &look.below
        && visit.differs_from_known(entry_of(&listing, TAG_FILE), TAG_FILE)
        && visit.is_cache()?
    {
        return Ok((Vec::new(), vec![leave_out_cache(look, below, found)]));
    }
    if let Some(below) = &look.below
        && STORE_FILES.iter().all(|name| entry_of(&listing, name).is_some())
    {
        let Below { position: Position { parent, name, .. }, stat } = below;
        found.say(*parent, Edit::Put(Entry::left_out(name.clone(), *stat, Why::Store, None)));
        return Ok((Vec::new(), Vec::new()));
    }
    visit.find_patterns(entry_of(&listing, IGNORE_FILE))?;
    let own = listing.own;
    if look.below.is_none() {
        found.root = Some(own);
    }
    for (name, stat) in listing.entries {
        visit.entry(name, stat)?;
    }
    visit.weigh_beside()?;
    // Only the first look may be the only one.
    if walk.round == 0 && visit.names_moved() {
        found.is_young |= !walk.is_listing_old(&look.path, &own);
    }
    Ok(visit.finish(found))
}

fn entry_of<'l>(listing: &'l Listing, name: &str) -> Option<&'l Stat> {
    let entry = listing.entries.iter().find(|(found, _)| found == name);
    entry.map(|(_, stat)| stat).filter(|stat| stat.kind == NodeKind::File)
}

/// Leaves a tagged directory out; its parent's listing kept it.
fn leave_out_cache<'w>(look: &Look, below: &Below, found: &mut Found) -> Job<'w> {
    let Below { position: Position { parent, name, .. }, stat } = below;
    let what = Entry::left_out(name.clone(), *stat, Why::IgnoredByDefault, None);
    found.say(*parent, Edit::Put(what));
    let (path, name) = (look.path.clone(), name.to_os_string());
    Job::Measure { dir: *parent, path, name, stat: *stat }
}

pub(super) struct Visit<'v, 'w> {
    pub(super) walk: &'v Walk<'w>,
    pub(super) look: &'v Look,
    pub(super) known: Option<&'w Dir>,
    /// Which of the known entries were met.
    pub(super) met: Vec<bool>,
    /// The patterns that hold here, the directory's own included.
    scope: Option<Arc<Scope>>,
    rules_moved: bool,
    /// The directory's own, where they are others than before.
    #[expect(clippy::option_option, reason = "not looked for is not the same as not there")]
    patterns: Option<Option<Arc<Patterns>>>,
    pub(super) edits: Vec<Edit>,
    pub(super) wanted: Vec<Wanted<'w>>,
    /// What may lie beside a database.
    pub(super) beside: Vec<(OsString, Stat)>,
    jobs: Vec<Job<'w>>,
    later: Vec<Job<'w>>,
    is_moving: bool,
    /// A name came, or stands for another thing than before.
    has_new: bool,
}

impl<'v, 'w> Visit<'v, 'w> {
    fn new(walk: &'v Walk<'w>, look: &'v Look, known: Option<&'w Dir>) -> Self {
        Self {
            walk,
            look,
            known,
            met: vec![false; known.map_or(0, |dir| dir.entries.len())],
            scope: None,
            rules_moved: look.rules_moved,
            patterns: None,
            edits: Vec::new(),
            wanted: Vec::new(),
            beside: Vec::new(),
            jobs: Vec::new(),
            later: Vec::new(),
            is_moving: false,
            has_new: false,
        }
    }

    /// Whether a name came or went, or stands for another thing.
    fn names_moved(&self) -> bool {
        self.known.is_none() || self.has_new || self.met.contains(&false)
    }

    /// Whether a name is there and is not what it was.
    fn differs_from_known(&self, now: Option<&Stat>, name: &str) -> bool {
        let before = self.known.and_then(|dir| dir.get(OsStr::new(name)));
        now.is_some_and(|now| !before.is_some_and(|before| self.is_proven(before, now)))
    }

    /// Whether an entry is as it was, and nothing speaks against it.
    fn is_proven(&self, before: &Entry, now: &Stat) -> bool {
        is_same(&before.stat, now) && !self.walk.must_read(before, now)
    }

    /// Whether the directory is tagged as a cache, and no pattern keeps it.
    fn is_cache(&self) -> Result<bool, Error> {
        let may_be =
            self.walk.ground.options.ignore_defaults && self.look.verdict() != Some(Verdict::Kept);
        Ok(may_be && self.walk.is_tagged(&self.look.path)?)
    }

    fn find_patterns(&mut self, now: Option<&Stat>) -> Result<(), Error> {
        let before = self.known.and_then(|dir| dir.patterns.as_ref());
        let is_other = self.differs_from_known(now, IGNORE_FILE);
        let own = match (now, before) {
            (None, None) => None,
            (Some(_), Some(before)) if !is_other => Some(before.clone()),
            _ => {
                self.rules_moved |= is_other || now.is_none();
                let read = now.map(|_| self.walk.read_patterns(&self.look.path)).transpose()?;
                let own = read.flatten().map(Arc::new);
                self.patterns = Some(own.clone());
                own
            }
        };
        self.scope = self.look.scope_inside(own.as_ref());
        Ok(())
    }

    fn entry(&mut self, name: OsString, stat: Stat) -> Result<(), Error> {
        let is_staging = stat.kind == NodeKind::Dir && name.as_bytes().starts_with(STAGING);
        if self.look.below.is_none() && is_staging {
            return Ok(());
        }
        let before = self.known.and_then(|dir| Some((dir, dir.find(&name).ok()?)));
        if let Some((_, at)) = before {
            self.met[at] = true;
        }
        self.has_new |= before.is_none_or(|(dir, at)| !is_one(&dir.entries[at].stat, &stat));
        if stat.kind == NodeKind::File && database_of(&name).is_some() {
            self.beside.push((name, stat));
            return Ok(());
        }
        self.weigh(before.map(|(dir, at)| &dir.entries[at]), name, stat)
    }

    /// Decides what becomes of a name.
    pub(super) fn weigh(
        &mut self,
        before: Option<&'w Entry>,
        name: OsString,
        stat: Stat,
    ) -> Result<(), Error> {
        if let Some(before) = before
            && self.holds(before, &stat)
        {
            return self.as_before(before, name, stat);
        }
        if let Some(why) = self.why_not(&name, &stat) {
            self.leave_out(before, name, stat, why);
            return Ok(());
        }
        match before {
            Some(before) if before.is_kept() && is_same(&before.stat, &stat) => {
                self.as_before(before, name, stat)
            }
            _ => self.keep(before, name, stat),
        }
    }

    /// Whether what was found of an entry before needs no second thought.
    fn holds(&self, before: &Entry, now: &Stat) -> bool {
        if now.kind == NodeKind::Dir && self.walk.is_store(now) {
            return matches!(before.what, What::Out(Why::Store, _));
        }
        if before.stat.kind != now.kind || self.rules_moved {
            return false;
        }
        match before.what {
            What::Out(Why::Store, _) => self.walk.holds_store(&self.look.path.join(&*before.name)),
            What::Out(Why::Unreadable, _) => false,
            What::Out(Why::IgnoredByFile | Why::TooDeep | Why::Special, _) => true,
            _ => is_same(&before.stat, now),
        }
    }

    fn as_before(&mut self, before: &'w Entry, name: OsString, stat: Stat) -> Result<(), Error> {
        match before.what {
            What::Dir(id) => self.go_into(id, name.into(), stat, false),
            What::File(_) if self.walk.must_read(before, &stat) => {
                self.wanted.push(Wanted::new(name, stat, Some(before)));
            }
            What::Link(_) if self.walk.must_read(before, &stat) => {
                self.link(Some(before), name, stat)?;
            }
            What::Out(Why::IgnoredByDefault, _)
                if !is_default_name(&name)
                    && !self.walk.is_tagged(&self.look.path.join(&name))? =>
            {
                self.keep(None, name, stat)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Why a name is not kept, if it is not.
    pub(super) fn why_not(&self, name: &OsStr, stat: &Stat) -> Option<Why> {
        let options = self.walk.ground.options;
        let is_dir = stat.kind == NodeKind::Dir;
        if is_dir && self.walk.is_store(stat) {
            return Some(Why::Store);
        }
        let verdict = |scope: &Arc<Scope>| scope.verdict(&self.look.path.join(name), is_dir);
        match self.scope.as_ref().and_then(verdict) {
            Some(Verdict::Ignored) => return Some(Why::IgnoredByFile),
            None if is_dir && options.ignore_defaults && is_default_name(name) => {
                return Some(Why::IgnoredByDefault);
            }
            _ => {}
        }
        match stat.kind {
            NodeKind::Other => Some(Why::Special),
            NodeKind::File if stat.len > options.file_bytes_max.0 => Some(Why::TooLarge),
            NodeKind::Dir if self.look.depth() >= DEPTH_MAX => Some(Why::TooDeep),
            _ => None,
        }
    }

    pub(super) fn leave_out(
        &mut self,
        before: Option<&Entry>,
        name: OsString,
        stat: Stat,
        why: Why,
    ) {
        let before = before.filter(|before| before.stat.kind == stat.kind);
        let old_bytes = match before.map(|before| &before.what) {
            Some(What::Out(old, bytes)) if *old == why => Some(*bytes),
            _ => None,
        };
        let is_same = before.is_some_and(|before| is_same(&before.stat, &stat));
        let has_size = matches!(why, Why::TooLarge | Why::IgnoredByDefault);
        if old_bytes.is_some() && (is_same || !has_size) {
            return;
        }
        if why == Why::IgnoredByDefault {
            let path = self.look.path.join(&name);
            self.later.push(Job::Measure { dir: self.look.id, path, name: name.clone(), stat });
        }
        let bytes = if why == Why::TooLarge { Some(stat.len) } else { old_bytes.flatten() };
        self.edits.push(Edit::Put(Entry::left_out(name.into(), stat, why, bytes)));
    }

    fn keep(&mut self, before: Option<&'w Entry>, name: OsString, stat: Stat) -> Result<(), Error> {
        match stat.kind {
            NodeKind::File => self.wanted.push(Wanted::new(name, stat, before)),
            NodeKind::Dir => self.directory(before, name.into(), stat),
            NodeKind::Link | NodeKind::Other => self.link(before, name, stat)?,
        }
        Ok(())
    }

    fn directory(&mut self, before: Option<&'w Entry>, name: Box<OsStr>, stat: Stat) {
        let (id, is_other) = match before {
            Some(Entry { what: What::Dir(id), stat: old, .. }) => (*id, !is_one(old, &stat)),
            _ => (self.walk.take_slot(), true),
        };
        let (what, doubt) = (What::Dir(id), Doubt::None);
        self.edits.push(Edit::Put(Entry { name: name.clone(), stat, what, doubt, stored: true }));
        self.go_into(id, name, stat, is_other);
    }

    fn go_into(&mut self, id: DirId, name: Box<OsStr>, stat: Stat, is_other: bool) {
        let path = self.look.path.join(&*name);
        let is_deep =
            self.look.is_deep || is_other || self.rules_moved || !self.walk.is_watched(&path);
        if is_deep || self.walk.extent.reaches(id) {
            let position = Position { parent: self.look.id, name, depth: self.look.depth() + 1 };
            let (scope, below) = (self.scope.clone(), Some(Below { position, stat }));
            let rules_moved = self.rules_moved;
            self.jobs.push(Job::Look(Look { id, path, below, scope, rules_moved, is_deep }));
        }
    }

    fn link(&mut self, before: Option<&Entry>, name: OsString, stat: Stat) -> Result<(), Error> {
        let path = self.look.path.join(&name);
        match self.walk.ground.tree.read_link(&path) {
            Ok(target) => {
                let what = What::Link(target.into());
                let doubt = self.walk.doubt(before, &what, &stat);
                let entry = Entry { name: name.into(), stat, what, doubt, stored: true };
                self.edits.push(Edit::Put(entry));
            }
            Err(error) => {
                let edit = self.walk.not_read(&path, &stat, error)?;
                self.is_moving |= matches!(edit, Edit::Drop(_));
                self.edits.push(edit);
            }
        }
        Ok(())
    }

    fn finish(mut self, found: &mut Found) -> Jobs<'w> {
        let gone = self.known.into_iter().flat_map(|dir| dir.entries.iter().zip(&self.met));
        let gone = gone.filter(|(_, met)| !**met).map(|(entry, _)| Edit::Drop(entry.name.clone()));
        self.edits.extend(gone);
        found.is_moving |= self.is_moving;
        if self.known.is_none() || self.patterns.is_some() || !self.edits.is_empty() {
            let is_new = self.known.is_none();
            let below = self.look.below.as_ref().filter(|_| is_new);
            found.edits.push(Edits {
                dir: self.look.id,
                rank: 0,
                position: below.map(|below| below.position.clone()),
                patterns: self.patterns,
                list: self.edits,
            });
        }
        let at = || At { dir: self.look.id, path: self.look.path.clone() };
        let reads = in_portions(self.wanted).map(|files| Job::Read { at: at(), files });
        // Read first: what waits to be read holds memory.
        self.jobs.extend(reads);
        (self.jobs, self.later)
    }
}

fn in_portions(wanted: Vec<Wanted<'_>>) -> impl Iterator<Item = Vec<Wanted<'_>>> {
    let mut rest = wanted.into_iter().peekable();
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let mut portion = Vec::new();
        while portion.len() < JOB_FILES && bytes < JOB_BYTES {
            let Some(next) = rest.next() else { break };
            bytes += next.stat.len;
            portion.push(next);
        }
        (!portion.is_empty()).then_some(portion)
    })
}

impl Look {
    /// What the patterns above say of this directory.
    fn verdict(&self) -> Option<Verdict> {
        self.scope.as_ref()?.verdict(&self.path, true)
    }
}

impl Walk<'_> {
    fn is_tagged(&self, dir: &Path) -> Result<bool, Error> {
        let path = dir.join(TAG_FILE);
        let start = self.read_start(&path, TAG_SIGNATURE.len());
        self.unless_shortage(&path, start)
            .map(|start| start.is_some_and(|start| start == TAG_SIGNATURE))
    }

    /// Whether a directory that was a store, of this manager or of another, still is one.
    fn holds_store(&self, dir: &Path) -> bool {
        let is_file = |name: &str| {
            let found = self.ground.tree.stat(&dir.join(name));
            found.is_ok_and(|found| found.kind == NodeKind::File)
        };
        STORE_FILES.iter().all(|name| is_file(name))
    }

    fn read_patterns(&self, dir: &Path) -> Result<Option<Patterns>, Error> {
        let path = dir.join(IGNORE_FILE);
        let start = self.read_start(&path, IGNORE_BYTES_MAX + 1);
        self.unless_shortage(&path, start).map(|start| start.map(|start| Patterns::parse(&start)))
    }

    fn unless_shortage<T>(&self, path: &Path, read: io::Result<T>) -> Result<Option<T>, Error> {
        match read {
            Ok(read) => Ok(Some(read)),
            Err(error) => self.check_shortage(path, error).map(|()| None),
        }
    }

    /// The first bytes of a file.
    pub(super) fn read_start(&self, path: &Path, len_max: usize) -> io::Result<Vec<u8>> {
        let file = self.ground.tree.open(path)?;
        let mut bytes = Vec::new();
        let mut buffer = vec![0; len_max.min(64 << 10)];
        while bytes.len() < len_max {
            let want = buffer.len().min(len_max - bytes.len());
            match file.read_at(&mut buffer[..want], bytes.len() as u64)? {
                0 => break,
                count => bytes.extend_from_slice(&buffer[..count]),
            }
        }
        Ok(bytes)
    }
}
