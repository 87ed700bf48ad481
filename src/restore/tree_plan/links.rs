//! Which files end as names of one and the same.
//!
//! Group numbers tell hard links apart within one tree only, so the two sides are compared as
//! partitions. A file that is there (an inode, with one name or several) can go on as at most one of
//! the files that are wanted; names that the plan does not touch decide first, then the first name
//! that is already as wanted. Whoever else has a name of it gets a file of its own: no file is ever
//! written through, so nobody else's name shows other content.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use crate::encode::directory::{FileNode, Node};

/// A name whose file has several names on either side.
#[derive(Debug)]
pub(super) struct Member {
    pub path: PathBuf,
    pub now: Option<Node>,
    pub wanted: Option<FileNode>,
    /// What is there is as wanted, but for its other names.
    pub same: bool,
    /// It is not touched.
    pub pinned: bool,
}

/// What becomes of a name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Stays,
    /// It gets a file of its own.
    Anew,
    /// It becomes a further name of the file there.
    SameAs(PathBuf),
}

/// A file that is wanted: a group, or a name alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum File {
    Group(u64),
    Alone(usize),
}

impl Member {
    fn now_group(&self) -> Option<u64> {
        match self.now {
            Some(Node::File(file)) => file.group,
            _ => None,
        }
    }

    fn file(&self, index: usize) -> Option<File> {
        self.wanted.map(|wanted| wanted.group.map_or(File::Alone(index), File::Group))
    }
}

/// What becomes of each name, in the members' order.
pub(super) fn settle(members: &[Member]) -> Vec<Fate> {
    let owners = owners(members);
    let mut files: BTreeMap<File, Vec<usize>> = BTreeMap::new();
    for (index, member) in members.iter().enumerate().filter(|(_, member)| !member.pinned) {
        if let Some(file) = member.file(index) {
            files.entry(file).or_default().push(index);
        }
    }
    let mut fates: Vec<Fate> = members.iter().map(|_| Fate::Stays).collect();
    for (file, names) in files {
        let goes_on = |index: &usize| {
            let group = members[*index].now_group();
            members[*index].same && group.is_none_or(|group| owners[&group] == Some(file))
        };
        let found = names.iter().copied().find(goes_on);
        let base = found.unwrap_or(names[0]);
        for index in names {
            let group = members[index].now_group();
            let is_of_base = group.is_some() && group == members[base].now_group();
            fates[index] = match found {
                Some(_) if index == base || (is_of_base && members[index].same) => Fate::Stays,
                None if index == base => Fate::Anew,
                _ => Fate::SameAs(members[base].path.clone()),
            };
        }
    }
    fates
}

/// Which wanted file each group that is there goes on as.
fn owners(members: &[Member]) -> HashMap<u64, Option<File>> {
    let mut owners: HashMap<u64, Option<File>> = HashMap::new();
    let grouped = || {
        let all = members.iter().enumerate();
        all.filter_map(|(index, member)| Some((index, member, member.now_group()?)))
    };
    for (index, member, group) in grouped().filter(|(_, member, _)| member.pinned) {
        let file = member.file(index);
        let owner = owners.entry(group).or_insert(file);
        if *owner != file {
            *owner = None;
        }
    }
    for (index, member, group) in grouped().filter(|(_, member, _)| !member.pinned && member.same) {
        owners.entry(group).or_insert(member.file(index));
    }
    for (_, _, group) in grouped() {
        owners.entry(group).or_default();
    }
    owners
}
