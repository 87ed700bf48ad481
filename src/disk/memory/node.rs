//! What a disk in memory consists of.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::io::Errno;

use super::super::crash::{AttributeChange, Attributes, Change, NameChange, Tracked};
use super::super::{FileTime, NodeKind, Stat};

/// All of it lies on one.
const DEVICE: u64 = 1;

/// What a name stands for.
#[derive(Clone)]
pub(in super::super) enum Node {
    File(Arc<FileNode>),
    Dir(Arc<DirNode>),
    Link(Arc<LinkNode>),
}

pub(in super::super) struct FileNode {
    pub(in super::super) inode: u64,
    pub(in super::super) contents: Mutex<Contents>,
}

pub(in super::super) struct Contents {
    pub(in super::super) bytes: Tracked<Vec<u8>, Change>,
    pub(in super::super) facts: Facts,
    /// Open files; together with the names they say when the bytes are given back.
    pub(super) handles: usize,
    pub(super) locked: bool,
}

pub(in super::super) struct DirNode {
    pub(in super::super) inode: u64,
    pub(in super::super) names: Mutex<Names>,
}

pub(in super::super) struct Names {
    pub(in super::super) entries: Tracked<BTreeMap<OsString, Node>, NameChange>,
    pub(in super::super) facts: Facts,
}

pub(in super::super) struct LinkNode {
    pub(in super::super) inode: u64,
    pub(in super::super) target: OsString,
    pub(in super::super) facts: Mutex<Facts>,
}

/// What every node has.
pub(in super::super) struct Facts {
    pub(in super::super) attributes: Tracked<Attributes, AttributeChange>,
    /// How many names lead here.
    pub(in super::super) links: u64,
}

/// When a change happens, and its number where changes are remembered.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    pub(super) number: Option<u64>,
    /// As the clock tells it.
    pub(super) now: FileTime,
    /// Later than that of any change before.
    pub(super) changed: FileTime,
}

impl Moment {
    pub(super) fn attributes(self, mode: u32) -> Attributes {
        Attributes { mode, modified: self.now, changed: self.changed }
    }
}

impl Facts {
    fn new(attributes: Attributes) -> Self {
        Self { attributes: Tracked::attributes(attributes), links: 1 }
    }

    /// Notes a change of contents or of the names in a directory.
    pub(super) fn content_changed(&mut self, moment: Moment) {
        self.attributes.touch(moment.number, Some(moment.now), moment.changed);
    }

    /// Notes a change of a node's own names.
    pub(super) fn name_changed(&mut self, moment: Moment) {
        self.attributes.touch(moment.number, None, moment.changed);
    }

    pub(super) fn set(&mut self, moment: Moment, mode: Option<u32>, modified: Option<FileTime>) {
        let change = AttributeChange { mode, modified, changed: moment.changed, asked: true };
        self.attributes.apply(moment.number, change);
    }

    fn stat(&self, kind: NodeKind, inode: u64, len: usize) -> Stat {
        let Attributes { mode, modified, changed } = self.attributes.live;
        let (len, links) = (len as u64, self.links);
        let allocated = if kind == NodeKind::File { len } else { 0 };
        Stat { kind, len, mode, modified, changed, device: DEVICE, inode, links, allocated }
    }
}

impl Node {
    pub(in super::super) fn inode(&self) -> u64 {
        match self {
            Self::File(file) => file.inode,
            Self::Dir(dir) => dir.inode,
            Self::Link(link) => link.inode,
        }
    }

    pub(in super::super) fn with_facts<T>(&self, with: impl FnOnce(&mut Facts) -> T) -> T {
        match self {
            Self::File(file) => with(&mut file.contents.lock().facts),
            Self::Dir(dir) => with(&mut dir.names.lock().facts),
            Self::Link(link) => with(&mut link.facts.lock()),
        }
    }

    /// Shows this node and all below it, each before what it holds.
    pub(super) fn each(&self, show: &mut impl FnMut(&Node)) {
        show(self);
        if let Self::Dir(dir) = self {
            for node in dir.names.lock().entries.live.values() {
                node.each(show);
            }
        }
    }

    pub(super) fn file(self) -> io::Result<Arc<FileNode>> {
        match self {
            Self::File(file) => Ok(file),
            Self::Dir(_) => Err(Errno::ISDIR.into()),
            Self::Link(_) => Err(Errno::LOOP.into()),
        }
    }

    pub(super) fn dir(self) -> io::Result<Arc<DirNode>> {
        match self {
            Self::Dir(dir) => Ok(dir),
            Self::File(_) => Err(Errno::NOTDIR.into()),
            Self::Link(_) => Err(Errno::LOOP.into()),
        }
    }

    pub(super) fn must_not_be_dir(&self) -> io::Result<()> {
        match self {
            Self::File(_) | Self::Link(_) => Ok(()),
            Self::Dir(_) => Err(Errno::ISDIR.into()),
        }
    }

    pub(super) fn must_be_empty_dir(&self) -> io::Result<()> {
        match self {
            Self::File(_) | Self::Link(_) => Err(Errno::NOTDIR.into()),
            Self::Dir(dir) if dir.names.lock().entries.live.is_empty() => Ok(()),
            Self::Dir(_) => Err(Errno::NOTEMPTY.into()),
        }
    }

    pub(super) fn stat(&self) -> Stat {
        match self {
            Self::File(file) => file.stat(),
            Self::Dir(dir) => dir.names.lock().facts.stat(NodeKind::Dir, dir.inode, 0),
            Self::Link(link) => {
                link.facts.lock().stat(NodeKind::Link, link.inode, link.target.len())
            }
        }
    }
}

impl DirNode {
    pub(in super::super) fn with(
        inode: u64,
        attributes: Attributes,
        entries: BTreeMap<OsString, Node>,
    ) -> Arc<Self> {
        let names = Names { entries: Tracked::names(entries), facts: Facts::new(attributes) };
        Arc::new(Self { inode, names: Mutex::new(names) })
    }

    pub(super) fn get(&self, name: &OsStr) -> io::Result<Node> {
        self.names.lock().entries.live.get(name).cloned().ok_or_else(|| Errno::NOENT.into())
    }

    pub(super) fn change(&self, moment: Moment, change: NameChange) {
        let mut names = self.names.lock();
        names.facts.content_changed(moment);
        names.entries.apply(moment.number, change);
    }

    /// What stands at a name, or what is made there durably.
    pub(super) fn get_or_settle(
        &self,
        name: OsString,
        moment: Moment,
        make: impl FnOnce() -> Node,
    ) -> Node {
        self.get(&name).unwrap_or_else(|_| {
            let node = make();
            self.settle(moment, NameChange::Insert(name, node.clone()));
            node
        })
    }

    /// Makes a change durable, and all before it.
    pub(super) fn settle(&self, moment: Moment, change: NameChange) {
        let mut names = self.names.lock();
        names.facts.content_changed(moment);
        names.facts.attributes.sync();
        names.entries.settle(change);
    }

    /// Nothing is made in a directory that was removed.
    pub(super) fn must_be_there(&self) -> io::Result<()> {
        if self.names.lock().facts.links > 0 { Ok(()) } else { Err(Errno::NOENT.into()) }
    }

    /// Makes the names durable, and the directory's own attributes.
    pub(super) fn sync(&self) {
        let mut names = self.names.lock();
        names.entries.sync();
        names.facts.attributes.sync();
    }

    /// Acts as a failed sync.
    pub(super) fn abandon(&self) {
        let mut names = self.names.lock();
        names.entries.abandon();
        names.facts.attributes.abandon();
    }
}

impl FileNode {
    pub(in super::super) fn with(inode: u64, attributes: Attributes, bytes: Vec<u8>) -> Arc<Self> {
        let (bytes, facts) = (Tracked::bytes(bytes), Facts::new(attributes));
        let contents = Contents { bytes, facts, handles: 0, locked: false };
        Arc::new(Self { inode, contents: Mutex::new(contents) })
    }

    pub(super) fn stat(&self) -> Stat {
        let contents = self.contents.lock();
        contents.facts.stat(NodeKind::File, self.inode, contents.bytes.live.len())
    }
}

impl LinkNode {
    pub(in super::super) fn with(
        inode: u64,
        attributes: Attributes,
        target: OsString,
    ) -> Arc<Self> {
        Arc::new(Self { inode, target, facts: Mutex::new(Facts::new(attributes)) })
    }
}
