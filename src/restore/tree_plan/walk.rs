//! Comparing two trees, a pair of directories at a time.
//!
//! The pairs that wait are a list, not the call stack: a tree may be as deep as its paths are long.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::links::{self, Fate, Member};
use super::rules::{Reach, Reason, Rules, Untouched, Zone, is_git, is_staging};
use super::{Action, Attributes, DirStep, Files, Step, TreePlan, same, same_content};
use crate::encode::directory::{DirNode, FileNode, Node, TreeEntry};

/// One of the two trees: its root, where there is a tree, and how its directories are read.
pub(crate) struct Side<'a, E> {
    pub root: Option<DirNode>,
    pub list: &'a List<'a, E>,
}

/// Reads a directory of a kept tree.
pub(crate) type List<'a, E> = dyn Fn(&Path, &DirNode) -> Result<Vec<TreeEntry>, E> + 'a;

impl<E> Side<'_, E> {
    fn entries(&self, path: &Path, dir: Option<&DirNode>) -> Result<Vec<TreeEntry>, E> {
        dir.map_or(Ok(Vec::new()), |dir| (self.list)(path, dir))
    }
}

/// Plans what turns `now` into `wanted`, as far as `rules` let it.
///
/// # Errors
/// As the sides are read.
pub(crate) fn plan_tree<E>(
    now: &Side<'_, E>,
    wanted: &Side<'_, E>,
    rules: &Rules<'_>,
) -> Result<TreePlan, E> {
    let root = Pair {
        path: PathBuf::new(),
        now: now.root,
        wanted: wanted.root,
        zone: Zone::Free,
        reach: rules.scope.reach(Path::new("")),
    };
    let mut walk = Walk { now, wanted, rules, waiting: vec![root], draft: Draft::default() };
    // The root itself never goes.
    walk.draft.stays.insert(PathBuf::new());
    while let Some(pair) = walk.waiting.pop() {
        let known = walk.waiting.len();
        walk.visit(&pair)?;
        walk.waiting[known..].reverse();
    }
    Ok(walk.draft.finish())
}

/// A directory on both sides, or on one.
struct Pair {
    path: PathBuf,
    now: Option<DirNode>,
    wanted: Option<DirNode>,
    zone: Zone,
    reach: Reach,
}

/// A name in a pair of directories, with what it stands for on each side.
struct Name {
    path: PathBuf,
    now: Option<Node>,
    wanted: Option<Node>,
    reach: Reach,
}

impl Pair {
    /// Whether its attributes become what is wanted, and it goes where nothing is.
    fn is_free(&self) -> bool {
        self.reach == Reach::All && self.zone == Zone::Free
    }

    fn goes(&self) -> bool {
        self.is_free() && self.wanted.is_none()
    }

    fn step(&self) -> DirStep {
        let now = self.now.as_ref().map(Attributes::from);
        let wanted = self.wanted.as_ref().map(Attributes::from);
        let wanted = if self.is_free() || now.is_none() { wanted } else { now };
        DirStep { path: self.path.clone(), now, wanted }
    }
}

struct Walk<'a, E> {
    now: &'a Side<'a, E>,
    wanted: &'a Side<'a, E>,
    rules: &'a Rules<'a>,
    waiting: Vec<Pair>,
    draft: Draft,
}

impl<E> Walk<'_, E> {
    fn visit(&mut self, pair: &Pair) -> Result<(), E> {
        self.draft.dirs.push(pair.step());
        if let (Some(now), Some(wanted)) = (&pair.now, &pair.wanted)
            && now.root == wanted.root
        {
            return self.unchanged(&pair.path, *now, pair.reach, pair.zone != Zone::Free);
        }
        if pair.goes() {
            self.draft.removals.push(Step { path: pair.path.clone(), action: Action::RemoveDir });
            if (self.rules.holds)(&pair.path) {
                self.draft.stay(&pair.path);
            }
        }
        let now = self.now.entries(&pair.path, pair.now.as_ref())?;
        let wanted = self.wanted.entries(&pair.path, pair.wanted.as_ref())?;
        for (name, (now, wanted)) in merged(now, wanted) {
            let path = pair.path.join(&name);
            let reach = self.reach(pair.reach, &path);
            if reach == Reach::Nothing || is_staging(&path) {
                continue;
            }
            self.draft.note_links(&path, now.as_ref());
            let zone = zone(pair.zone, &name, (&now, &wanted), self.rules.scope.git);
            self.name(zone, Name { path, now, wanted, reach })?;
        }
        Ok(())
    }

    fn reach(&self, above: Reach, path: &Path) -> Reach {
        if above == Reach::All { above } else { self.rules.scope.reach(path) }
    }

    fn name(&mut self, zone: Option<Zone>, name: Name) -> Result<(), E> {
        let kept = |node: &Node| (self.rules.keep)(&name.path, matches!(node, Node::Dir(_)));
        if name.now.iter().chain(&name.wanted).any(kept) {
            return self.leave(&name, Reason::Kept);
        }
        match zone {
            Some(zone) => self.differ(zone, name),
            None => self.leave(&name, Reason::Git),
        }
    }

    fn differ(&mut self, zone: Zone, name: Name) -> Result<(), E> {
        let Name { path, now, wanted, reach } = name;
        let pair = |path, now, wanted| Pair { path, now, wanted, zone, reach };
        match (now, wanted) {
            (Some(Node::Dir(now)), Some(Node::Dir(wanted))) => {
                self.waiting.push(pair(path, Some(now), Some(wanted)));
            }
            (None, Some(Node::Dir(wanted))) => {
                self.draft.come(path.clone(), reach);
                self.waiting.push(pair(path, None, Some(wanted)));
            }
            (Some(Node::Dir(now)), wanted) if wanted.is_none() || reach == Reach::Beneath => {
                self.waiting.push(pair(path, Some(now), None));
            }
            (Some(Node::Dir(now)), Some(wanted)) => return self.dir_gives_way(path, now, wanted),
            (Some(_), Some(Node::Dir(_))) if reach == Reach::Beneath => {
                self.draft.untouched.push(Untouched { path, reason: Reason::InTheWay });
            }
            _ if reach == Reach::Beneath => {}
            (Some(now), Some(Node::Dir(wanted))) => {
                if self.may_replace(&path, &now) {
                    self.draft.go(path.clone(), now, Some(Node::Dir(wanted)));
                    self.draft.come(path.clone(), reach);
                    self.waiting.push(pair(path, None, Some(wanted)));
                }
            }
            (Some(now), None) => {
                if self.may_replace(&path, &now) {
                    self.draft.files.removed.push(path.clone());
                    self.draft.go(path, now, None);
                }
            }
            (None, Some(wanted)) => self.draft.put(path, None, wanted),
            (Some(now), Some(wanted)) => self.leaf(path, now, wanted),
            (None, None) => {}
        }
        Ok(())
    }

    /// A file or link on both sides.
    fn leaf(&mut self, path: PathBuf, now: Node, wanted: Node) {
        let grouped = group(&now).is_some() || group(&wanted).is_some();
        if same(&now, &wanted) {
            match wanted {
                Node::File(file) if grouped => {
                    self.draft.member(path, Some(now), Some(file), (true, false));
                }
                _ => self.draft.files.unchanged.push(path),
            }
        } else if self.may_replace(&path, &now) {
            if grouped || !same_content(&now, &wanted) {
                self.draft.put(path, Some(now), wanted);
            } else {
                self.draft.files.written.push(path.clone());
                self.draft.adjusts.push(Step { path, action: Action::Adjust { now, wanted } });
            }
        }
    }

    /// A directory where a file or link is wanted: all of it goes, or nothing.
    fn dir_gives_way(&mut self, path: PathBuf, now: DirNode, wanted: Node) -> Result<(), E> {
        let (held, foreign) = self.obstacles(&path, now)?;
        if held || !foreign.is_empty() {
            if held {
                self.draft.untouched.push(Untouched { path: path.clone(), reason: Reason::Holds });
            }
            self.draft.files.conflicts.extend(foreign);
            self.draft.stay_above(&path);
            return self.pin(path, now);
        }
        self.draft.replaced.insert(path.clone());
        self.draft.put(path.clone(), Some(Node::Dir(now)), wanted);
        let now = Some(now);
        self.waiting.push(Pair { path, now, wanted: None, zone: Zone::Free, reach: Reach::All });
        Ok(())
    }

    /// Whether a directory holds what may not be touched, and what in it someone else changed.
    fn obstacles(&self, path: &Path, dir: DirNode) -> Result<(bool, Vec<PathBuf>), E> {
        let (mut held, mut foreign) = (false, Vec::new());
        let mut waiting = vec![(path.to_owned(), dir)];
        while let Some((path, dir)) = waiting.pop() {
            held |= (self.rules.holds)(&path);
            for TreeEntry { name, node } in (self.now.list)(&path, &dir)? {
                let path = path.join(&name);
                held |= is_git(&name) && !self.rules.scope.git;
                held |= (self.rules.keep)(&path, matches!(node, Node::Dir(_)));
                match node {
                    Node::Dir(dir) => waiting.push((path, dir)),
                    _ if self.is_foreign(&path) => foreign.push(path),
                    _ => {}
                }
            }
        }
        Ok((held, foreign))
    }

    fn is_foreign(&self, path: &Path) -> bool {
        !self.rules.force && (self.rules.foreign)(path)
    }

    /// Whether a file or link may give way; where not, that is a conflict.
    fn may_replace(&mut self, path: &Path, now: &Node) -> bool {
        if !self.is_foreign(path) {
            return true;
        }
        self.draft.files.conflicts.push(path.to_owned());
        self.draft.stay_above(path);
        if group(now).is_some() {
            self.draft.member(path.to_owned(), Some(now.clone()), None, (false, true));
        }
        false
    }

    /// Leaves a name as it is, and says so where it would change.
    fn leave(&mut self, name: &Name, reason: Reason) -> Result<(), E> {
        let Name { path, now, wanted, reach } = name;
        match (now, wanted) {
            (Some(Node::Dir(dir)), Some(other)) if now.as_ref() == Some(other) => {
                return self.unchanged(path, *dir, *reach, true);
            }
            (Some(node), Some(other)) if same(node, other) => {
                self.pin_leaf(path.clone(), node.clone(), Some(other));
                return Ok(());
            }
            // Objects that were added since do no harm, and times in there mean nothing.
            (Some(_), None) if reason == Reason::Git && is_beneath_objects(path) => {}
            (Some(now), Some(wanted)) if reason == Reason::Git && same_content(now, wanted) => {}
            _ => self.draft.untouched.push(Untouched { path: path.clone(), reason }),
        }
        if let Some(node) = now {
            self.draft.stay_above(path);
            match node {
                Node::Dir(dir) => return self.pin(path.clone(), *dir),
                leaf => self.pin_leaf(path.clone(), leaf.clone(), None),
            }
        }
        Ok(())
    }

    /// Notes the files with several names in a directory that is not touched.
    fn pin(&mut self, path: PathBuf, dir: DirNode) -> Result<(), E> {
        let mut waiting = vec![(path, dir)];
        while let Some((path, dir)) = waiting.pop() {
            for TreeEntry { name, node } in (self.now.list)(&path, &dir)? {
                let path = path.join(name);
                self.draft.note_links(&path, Some(&node));
                match node {
                    Node::Dir(dir) => waiting.push((path, dir)),
                    leaf => self.pin_leaf(path, leaf, None),
                }
            }
        }
        Ok(())
    }

    fn pin_leaf(&mut self, path: PathBuf, now: Node, wanted: Option<&Node>) {
        let file = wanted.and_then(file);
        if group(&now).is_some() || file.is_some_and(|file| file.group.is_some()) {
            self.draft.member(path, Some(now), file, (wanted.is_some(), true));
        } else if wanted.is_some() {
            self.draft.files.unchanged.push(path);
        }
    }

    /// Lists a directory that is the same on both sides.
    fn unchanged(
        &mut self,
        path: &Path,
        dir: DirNode,
        reach: Reach,
        pinned: bool,
    ) -> Result<(), E> {
        let mut waiting = vec![(path.to_owned(), dir, reach, pinned)];
        while let Some((path, dir, reach, pinned)) = waiting.pop() {
            let known = waiting.len();
            for TreeEntry { name, node } in (self.now.list)(&path, &dir)? {
                let path = path.join(name);
                let reach = self.reach(reach, &path);
                if reach == Reach::Nothing || is_staging(&path) {
                    continue;
                }
                self.draft.note_links(&path, Some(&node));
                match node {
                    Node::Dir(dir) => {
                        let attributes = Some(Attributes::from(&dir));
                        let (now, wanted) = (attributes, attributes);
                        self.draft.dirs.push(DirStep { path: path.clone(), now, wanted });
                        let pinned = pinned || (self.rules.keep)(&path, true);
                        waiting.push((path, dir, reach, pinned));
                    }
                    _ if reach == Reach::Beneath => {}
                    Node::File(file) if file.group.is_some() => {
                        let pinned = pinned || (self.rules.keep)(&path, false);
                        self.draft.member(path, Some(node), Some(file), (true, pinned));
                    }
                    _ => self.draft.files.unchanged.push(path),
                }
            }
            waiting[known..].reverse();
        }
        Ok(())
    }
}

/// Where a name lies in a repository's own record; none where it stays as it is.
fn zone(
    above: Zone,
    name: &OsString,
    (now, wanted): (&Option<Node>, &Option<Node>),
    git: bool,
) -> Option<Zone> {
    let both = matches!((now, wanted), (Some(Node::Dir(_)), Some(Node::Dir(_))));
    let can_be_added = now.is_none() || both;
    match above {
        Zone::Free if git || !is_git(name) || now.is_none() => Some(Zone::Free),
        Zone::Free => both.then_some(Zone::Git),
        Zone::Git if name == "objects" => {
            let dir = matches!(wanted, Some(Node::Dir(_)));
            (dir && can_be_added).then_some(Zone::Objects)
        }
        Zone::Git => None,
        Zone::Objects => can_be_added.then_some(Zone::Objects),
    }
}

fn is_beneath_objects(path: &Path) -> bool {
    let mut names = path.iter().skip_while(|name| !is_git(name)).skip(1);
    names.next().is_some_and(|name| name == "objects") && names.next().is_some()
}

fn file(node: &Node) -> Option<FileNode> {
    match node {
        Node::File(file) => Some(*file),
        _ => None,
    }
}

fn group(node: &Node) -> Option<u64> {
    file(node)?.group
}

/// Both listings by name.
fn merged(
    now: Vec<TreeEntry>,
    wanted: Vec<TreeEntry>,
) -> BTreeMap<OsString, (Option<Node>, Option<Node>)> {
    let mut names: BTreeMap<OsString, (Option<Node>, Option<Node>)> = BTreeMap::new();
    for TreeEntry { name, node } in now {
        names.entry(name).or_default().0 = Some(node);
    }
    for TreeEntry { name, node } in wanted {
        names.entry(name).or_default().1 = Some(node);
    }
    names
}

/// A plan as it grows.
#[derive(Default)]
struct Draft {
    /// Each directory before its children.
    removals: Vec<Step>,
    makes: Vec<Step>,
    adjusts: Vec<Step>,
    /// Directories above what is selected that are missing, and made when something in them is.
    missing: HashSet<PathBuf>,
    /// Every directory that was seen, parents before children.
    dirs: Vec<DirStep>,
    /// Directories that cannot go, and all above them.
    stays: HashSet<PathBuf>,
    /// Directories that give way to a file or link.
    replaced: HashSet<PathBuf>,
    members: Vec<Member>,
    now_links: BTreeMap<u64, Vec<PathBuf>>,
    files: Files,
    untouched: Vec<Untouched>,
}

impl Draft {
    fn stay(&mut self, path: &Path) {
        for dir in path.ancestors() {
            if !self.stays.insert(dir.to_owned()) {
                break;
            }
        }
    }

    fn stay_above(&mut self, path: &Path) {
        if let Some(dir) = path.parent() {
            self.stay(dir);
        }
    }

    fn note_links(&mut self, path: &Path, now: Option<&Node>) {
        if let Some(group) = now.and_then(group) {
            self.now_links.entry(group).or_default().push(path.to_owned());
        }
    }

    fn member(
        &mut self,
        path: PathBuf,
        now: Option<Node>,
        wanted: Option<FileNode>,
        (same, pinned): (bool, bool),
    ) {
        self.members.push(Member { path, now, wanted, same, pinned });
    }

    /// A file or link goes.
    fn go(&mut self, path: PathBuf, now: Node, wanted: Option<Node>) {
        let action = Action::Swap { now: Some(now), wanted, same_as: None };
        self.removals.push(Step { path, action });
    }

    /// A directory comes; one above what is selected only with something in it.
    fn come(&mut self, path: PathBuf, reach: Reach) {
        if reach == Reach::All {
            self.make(path, Action::MakeDir);
        } else {
            self.missing.insert(path);
        }
    }

    /// A file or link comes, or takes the place of what is there.
    fn put(&mut self, path: PathBuf, now: Option<Node>, wanted: Node) {
        let grouped =
            group(&wanted).is_some() || now.as_ref().is_some_and(|now| group(now).is_some());
        match file(&wanted) {
            Some(file) if grouped => self.member(path, now, Some(file), (false, false)),
            _ => self.make(path, Action::Swap { now, wanted: Some(wanted), same_as: None }),
        }
    }

    fn make(&mut self, path: PathBuf, action: Action) {
        if !self.missing.is_empty() {
            let above: Vec<&Path> = path.ancestors().skip(1).collect();
            for dir in above.into_iter().rev() {
                if let Some(path) = self.missing.take(dir) {
                    self.files.written.push(path.clone());
                    self.makes.push(Step { path, action: Action::MakeDir });
                }
            }
        }
        self.files.written.push(path.clone());
        self.makes.push(Step { path, action });
    }

    fn finish(mut self) -> TreePlan {
        let joins = self.settle_links();
        let stays = &self.stays;
        self.removals
            .retain(|step| step.action != Action::RemoveDir || !stays.contains(&step.path));
        self.removals.reverse();
        for step in self.removals.iter().filter(|step| step.action == Action::RemoveDir) {
            if !self.replaced.contains(&step.path) {
                self.files.removed.push(step.path.clone());
            }
        }
        let mut steps = std::mem::take(&mut self.removals);
        steps.append(&mut self.makes);
        steps.extend(joins);
        steps.append(&mut self.adjusts);
        let dirs = self.settle_dirs(&steps);
        let now_links = self.broken_links(&steps);
        TreePlan { steps, dirs, now_links, files: self.files, untouched: self.untouched }
    }

    /// Decides which files with several names stay; answers the names that come last.
    fn settle_links(&mut self) -> Vec<Step> {
        let members = std::mem::take(&mut self.members);
        let fates = links::settle(&members);
        let mut joins = Vec::new();
        for (member, fate) in members.into_iter().zip(fates) {
            let Member { path, now, wanted, same, .. } = member;
            let wanted = wanted.map(Node::File);
            match fate {
                Fate::Stays if same => self.files.unchanged.push(path),
                Fate::Stays => {}
                Fate::Anew => self.make(path, Action::Swap { now, wanted, same_as: None }),
                Fate::SameAs(other) => {
                    self.make(path, Action::Swap { now, wanted, same_as: Some(other) });
                    joins.extend(self.makes.pop());
                }
            }
        }
        joins
    }

    /// The directories whose attributes are set: those that get others, and those whose names change.
    fn settle_dirs(&mut self, steps: &[Step]) -> Vec<DirStep> {
        // Adjusting a file replaces it, where it has a name elsewhere.
        let touched: HashSet<&Path> = steps.iter().filter_map(|step| step.path.parent()).collect();
        let mut dirs = Vec::new();
        for mut step in std::mem::take(&mut self.dirs).into_iter().rev() {
            if self.missing.contains(&step.path) {
                continue;
            }
            if step.wanted.is_none() && self.stays.contains(&step.path) {
                step.wanted = step.now;
                if !step.path.as_os_str().is_empty() {
                    let path = step.path.clone();
                    self.untouched.push(Untouched { path, reason: Reason::Holds });
                }
            }
            let is_root = step.path.as_os_str().is_empty();
            let differs = step.now != step.wanted;
            if differs && step.now.is_some() && step.wanted.is_some() && !is_root {
                self.files.written.push(step.path.clone());
            }
            // The staging directory moves the root's time with any restore.
            let root_moves = is_root && !(steps.is_empty() && dirs.is_empty());
            if differs || root_moves || touched.contains(step.path.as_path()) {
                dirs.push(step);
            }
        }
        dirs
    }

    fn broken_links(&mut self, steps: &[Step]) -> Vec<Vec<PathBuf>> {
        let moved = |step: &Step| match &step.action {
            Action::Swap { now: Some(now), .. } => group(now),
            _ => None,
        };
        let moved: HashSet<u64> = steps.iter().filter_map(moved).collect();
        let links = std::mem::take(&mut self.now_links).into_iter();
        links
            .filter(|(group, names)| moved.contains(group) && names.len() > 1)
            .map(|(_, n)| n)
            .collect()
    }
}
