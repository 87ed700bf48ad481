//! Directories of a workspace as content.
//!
//! A directory is a list of entries, sorted by the bytes of their names, cut into *pages*. A page is
//! a block of level [`PAGE_LEVEL`]; where there are several, nodes of the levels above list them, in
//! the form of [`super::content`]'s nodes with entries counted instead of bytes. So one more file in
//! a directory of a hundred thousand costs a page and a node or two, and a block is told by digest
//! and level, as all are.
//!
//! A page ends after an entry whose name's BLAKE3 begins with a byte below 4 (one name in 64), but
//! holds at least [`PAGE_ITEMS_MIN`] and at most [`PAGE_ITEMS_MAX`] entries, and ends where it passes
//! [`PAGE_BYTES_MAX`]. An empty directory is one empty page. The same entries are the same pages.
//!
//! ```text
//! page    u8 version, 1 · entries until the end of the block
//! entry   varint length of the name · name · u8 type · fields
//! file    type 1: varint mode · time · u8 flags (1 has holes, 2 one of several hard links)
//!                 · varint length · content root (33) where the length is not 0
//!                 · varint group, where flag 2 is set
//! dir     type 2: varint mode · time · root of its pages (33)
//! link    type 3: time · varint length of the target · target
//! time    varint zigzag seconds · varint nanoseconds
//! root    digest (32) · level u8
//! ```
//!
//! Names and targets are bytes, as the file system has them. Files of one `group` within a tree are
//! hard links of each other.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::content::{Block, ChildRef, NodeError, Slice, node_items, write_node};
use super::varint;
use crate::disk::FileTime;
use crate::state::Digest;

/// The level of a page; nodes over pages have the levels above.
pub(crate) const PAGE_LEVEL: u8 = 128;
const PAGE_VERSION: u8 = 1;
const PAGE_ITEMS_MIN: usize = 16;
const PAGE_ITEMS_MAX: usize = 256;
const PAGE_BYTES_MAX: usize = 64 << 10;
/// One name in 64 ends a page.
const PAGE_BOUNDARY_BELOW: u8 = 4;

/// A block by its digest and level.
pub(crate) type Root = (Digest, u8);

/// What a name in a kept directory stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    File(FileNode),
    Dir(DirNode),
    Link(LinkNode),
}

/// A kept file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileNode {
    pub len: u64,
    /// The root of its bytes; absent where it is empty.
    pub content: Option<Root>,
    pub mode: u32,
    pub modified: FileTime,
    pub has_holes: bool,
    /// Files of the same group within a tree are hard links of each other.
    pub group: Option<u64>,
}

/// A kept directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DirNode {
    pub root: Root,
    pub mode: u32,
    pub modified: FileTime,
}

/// A kept symbolic link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LinkNode {
    pub target: OsString,
    pub modified: FileTime,
}

/// One name of a kept directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TreeEntry {
    pub name: OsString,
    pub node: Node,
}

/// A directory's pages, cut and named.
#[derive(Debug)]
pub(crate) struct Pages {
    /// The topmost block.
    pub root: Root,
    /// Pages and nodes, children before parents.
    pub blocks: Vec<Block>,
}

/// Why the bytes of a page are not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// Written by a later version, or no page.
    #[error("page format version {0} is not known")]
    Version(u8),
    /// Ends in the middle of an entry.
    #[error("page is cut short")]
    Short,
    /// An entry says what no entry can.
    #[error("page has an impossible entry: {0}")]
    Entry(&'static str),
    /// A node over pages is none.
    #[error(transparent)]
    Node(#[from] NodeError),
}

/// Cuts the entries of a directory, sorted by name, into pages.
pub(crate) fn encode(entries: &[TreeEntry]) -> Pages {
    let mut blocks = Vec::new();
    let mut level: Vec<ChildRef> = pages(entries, &mut blocks);
    let mut height = PAGE_LEVEL;
    while level.len() > 1 {
        height += 1;
        level = nodes(&level, height, &mut blocks);
    }
    Pages { root: (level[0].digest, height), blocks }
}

fn pages(entries: &[TreeEntry], blocks: &mut Vec<Block>) -> Vec<ChildRef> {
    let mut refs = Vec::new();
    let mut page = vec![PAGE_VERSION];
    let mut items = 0;
    for (index, entry) in entries.iter().enumerate() {
        write_entry(&mut page, entry);
        items += 1;
        let is_last = index + 1 == entries.len();
        if is_last || ends_page(&entry.name, items, page.len()) {
            let bytes = std::mem::replace(&mut page, vec![PAGE_VERSION]);
            refs.push(push(blocks, PAGE_LEVEL, bytes, std::mem::take(&mut items) as u64));
        }
    }
    if refs.is_empty() {
        refs.push(push(blocks, PAGE_LEVEL, page, 0));
    }
    refs
}

fn ends_page(name: &OsStr, items: usize, bytes: usize) -> bool {
    let boundary = || blake3::hash(name.as_bytes()).as_bytes()[0] < PAGE_BOUNDARY_BELOW;
    items >= PAGE_ITEMS_MAX || bytes >= PAGE_BYTES_MAX || (items >= PAGE_ITEMS_MIN && boundary())
}

fn nodes(children: &[ChildRef], level: u8, blocks: &mut Vec<Block>) -> Vec<ChildRef> {
    let mut refs = Vec::new();
    let mut rest = children;
    while !rest.is_empty() {
        let (own, after) = rest.split_at(node_items(rest.iter().map(|child| &child.digest)));
        let mut bytes = Vec::new();
        write_node(&mut bytes, level, own.iter().copied());
        refs.push(push(blocks, level, bytes, own.iter().map(|child| child.len).sum()));
        rest = after;
    }
    refs
}

fn push(blocks: &mut Vec<Block>, level: u8, bytes: Vec<u8>, len: u64) -> ChildRef {
    let digest = Digest::of(&bytes);
    blocks.push(Block { digest, level, data: Slice::from(bytes) });
    ChildRef { digest, len }
}

/// The entries of a page, in order.
///
/// # Errors
/// When the bytes are no page, down to the last byte; names out of order are refused too.
pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<TreeEntry>, PageError> {
    let (version, mut rest) = bytes.split_first().ok_or(PageError::Short)?;
    if *version != PAGE_VERSION {
        return Err(PageError::Version(*version));
    }
    let mut entries: Vec<TreeEntry> = Vec::new();
    while !rest.is_empty() {
        let entry = read_entry(&mut rest)?;
        if entries.last().is_some_and(|last| last.name >= entry.name) {
            return Err(PageError::Entry("names out of order"));
        }
        entries.push(entry);
    }
    Ok(entries)
}

/// What a block of this level names: the children of a node, the contents and directories in a page.
///
/// # Errors
/// When the bytes are not a block of that level.
pub(crate) fn references(level: u8, bytes: &[u8]) -> Result<Vec<Root>, PageError> {
    if level == PAGE_LEVEL {
        let named = |entry: TreeEntry| match entry.node {
            Node::File(file) => file.content,
            Node::Dir(dir) => Some(dir.root),
            Node::Link(_) => None,
        };
        return Ok(decode(bytes)?.into_iter().filter_map(named).collect());
    }
    if level == 0 {
        return Ok(Vec::new());
    }
    let children = super::content::children(level, bytes)?;
    Ok(children.into_iter().map(|child| (child.digest, level - 1)).collect())
}

const FLAG_HOLES: u8 = 1;
const FLAG_GROUP: u8 = 2;

fn write_entry(out: &mut Vec<u8>, entry: &TreeEntry) {
    write_bytes(out, entry.name.as_bytes());
    match &entry.node {
        Node::File(file) => {
            out.push(1);
            write_file(out, file);
        }
        Node::Dir(dir) => {
            out.push(2);
            write_dir(out, dir);
        }
        Node::Link(link) => {
            out.push(3);
            write_time(out, link.modified);
            write_bytes(out, link.target.as_bytes());
        }
    }
}

/// Appends the fields of a file, as the module says.
pub(super) fn write_file(out: &mut Vec<u8>, file: &FileNode) {
    write_attributes(out, file.mode, file.modified);
    let holes = if file.has_holes { FLAG_HOLES } else { 0 };
    out.push(holes | if file.group.is_some() { FLAG_GROUP } else { 0 });
    varint::write(out, file.len);
    if let Some(content) = file.content {
        write_root(out, content);
    }
    if let Some(group) = file.group {
        varint::write(out, group);
    }
}

/// Appends the fields of a directory, as the module says.
pub(super) fn write_dir(out: &mut Vec<u8>, dir: &DirNode) {
    write_attributes(out, dir.mode, dir.modified);
    write_root(out, dir.root);
}

pub(super) fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    varint::write(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn write_attributes(out: &mut Vec<u8>, mode: u32, modified: FileTime) {
    varint::write(out, u64::from(mode));
    write_time(out, modified);
}

fn write_time(out: &mut Vec<u8>, time: FileTime) {
    varint::write(out, ((time.secs << 1) ^ (time.secs >> 63)).cast_unsigned());
    varint::write(out, u64::from(time.nanos));
}

pub(super) fn write_root(out: &mut Vec<u8>, (digest, level): Root) {
    out.extend_from_slice(&digest.0);
    out.push(level);
}

fn read_entry(rest: &mut &[u8]) -> Result<TreeEntry, PageError> {
    let name = read_name(rest)?;
    let node = match take(rest, 1)?[0] {
        1 => Node::File(read_file(rest)?),
        2 => Node::Dir(read_dir(rest)?),
        3 => {
            let modified = read_time(rest)?;
            let target = OsString::from_vec(read_bytes(rest)?.to_vec());
            Node::Link(LinkNode { target, modified })
        }
        _ => return Err(PageError::Entry("a type that is not known")),
    };
    Ok(TreeEntry { name, node })
}

/// A name that could stand in a directory: nothing read from a store leads out of one.
fn read_name(rest: &mut &[u8]) -> Result<OsString, PageError> {
    let name = read_bytes(rest)?;
    let is_name = !name.is_empty()
        && name != b"."
        && name != b".."
        && !name.contains(&b'/')
        && !name.contains(&0);
    if is_name {
        Ok(OsString::from_vec(name.to_vec()))
    } else {
        Err(PageError::Entry("a name that is none"))
    }
}

/// Reads the fields of a directory.
pub(super) fn read_dir(rest: &mut &[u8]) -> Result<DirNode, PageError> {
    let (mode, modified) = read_attributes(rest)?;
    let root = read_root(rest)?;
    if root.1 < PAGE_LEVEL {
        return Err(PageError::Entry("a directory without pages"));
    }
    Ok(DirNode { root, mode, modified })
}

/// Reads the fields of a file.
pub(super) fn read_file(rest: &mut &[u8]) -> Result<FileNode, PageError> {
    let (mode, modified) = read_attributes(rest)?;
    let flags = take(rest, 1)?[0];
    if flags & !(FLAG_HOLES | FLAG_GROUP) != 0 {
        return Err(PageError::Entry("flags that are not known"));
    }
    let len = read_number(rest)?;
    let content = if len == 0 { None } else { Some(read_root(rest)?) };
    if content.is_some_and(|(_, level)| level >= PAGE_LEVEL) {
        return Err(PageError::Entry("a file made of pages"));
    }
    let group = if flags & FLAG_GROUP == 0 { None } else { Some(read_number(rest)?) };
    Ok(FileNode { len, content, mode, modified, has_holes: flags & FLAG_HOLES != 0, group })
}

fn read_attributes(rest: &mut &[u8]) -> Result<(u32, FileTime), PageError> {
    let mode = u32::try_from(read_number(rest)?).ok().filter(|mode| *mode <= 0o7777);
    let mode = mode.ok_or(PageError::Entry("a mode beyond 07777"))?;
    Ok((mode, read_time(rest)?))
}

fn read_time(rest: &mut &[u8]) -> Result<FileTime, PageError> {
    let secs = read_number(rest)?;
    let secs = (secs >> 1).cast_signed() ^ -((secs & 1).cast_signed());
    let nanos = u32::try_from(read_number(rest)?).ok().filter(|nanos| *nanos < 1_000_000_000);
    Ok(FileTime { secs, nanos: nanos.ok_or(PageError::Entry("a time that is none"))? })
}

pub(super) fn read_root(rest: &mut &[u8]) -> Result<Root, PageError> {
    let (digest, after) = rest.split_first_chunk::<32>().ok_or(PageError::Short)?;
    let (level, after) = after.split_first().ok_or(PageError::Short)?;
    *rest = after;
    Ok((Digest(*digest), *level))
}

pub(super) fn read_number(rest: &mut &[u8]) -> Result<u64, PageError> {
    let (number, after) = varint::read(rest).map_err(NodeError::from)?;
    *rest = after;
    Ok(number)
}

pub(super) fn read_bytes<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], PageError> {
    let len = usize::try_from(read_number(rest)?).map_err(|_| PageError::Short)?;
    take(rest, len)
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8], PageError> {
    let (taken, after) = rest.split_at_checked(len).ok_or(PageError::Short)?;
    *rest = after;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name() -> impl Strategy<Value = OsString> {
        prop::collection::vec(1..=255u8, 1..40)
            .prop_map(|bytes| {
                bytes.into_iter().map(|byte| if byte == b'/' { b'_' } else { byte }).collect()
            })
            .prop_filter("a name", |name: &Vec<u8>| name != b"." && name != b"..")
            .prop_map(OsString::from_vec)
    }

    fn time() -> impl Strategy<Value = FileTime> {
        (any::<i64>(), 0..1_000_000_000u32).prop_map(|(secs, nanos)| FileTime { secs, nanos })
    }

    fn root(low: u8, high: u8) -> impl Strategy<Value = Root> {
        (any::<[u8; 32]>(), low..=high).prop_map(|(digest, level)| (Digest(digest), level))
    }

    fn node() -> impl Strategy<Value = Node> {
        let file =
            (0..3u64, root(0, 9), 0..0o10000u32, time(), any::<bool>(), any::<Option<u64>>());
        prop_oneof![
            file.prop_map(|(len, root, mode, modified, has_holes, group)| Node::File(FileNode {
                len,
                content: (len > 0).then_some(root),
                mode,
                modified,
                has_holes,
                group,
            })),
            (root(PAGE_LEVEL, 140), 0..0o10000u32, time())
                .prop_map(|(root, mode, modified)| Node::Dir(DirNode { root, mode, modified })),
            (name(), time())
                .prop_map(|(target, modified)| Node::Link(LinkNode { target, modified })),
        ]
    }

    fn directory(most: usize) -> impl Strategy<Value = Vec<TreeEntry>> {
        prop::collection::btree_map(name(), node(), 0..most)
            .prop_map(|all| all.into_iter().map(|(name, node)| TreeEntry { name, node }).collect())
    }

    /// Reads a directory back from its blocks.
    fn read(pages: &Pages) -> Vec<TreeEntry> {
        let find = |(digest, level): Root| {
            let found = |block: &&Block| block.digest == digest && block.level == level;
            pages.blocks.iter().find(found).expect("every block is there").data.clone()
        };
        let mut waiting = vec![pages.root];
        let mut entries = Vec::new();
        while let Some(root) = waiting.pop() {
            let bytes = find(root);
            if root.1 == PAGE_LEVEL {
                entries.extend(decode(&bytes).unwrap());
            } else {
                waiting.extend(references(root.1, &bytes).unwrap().into_iter().rev());
            }
        }
        entries
    }

    fn files(count: usize) -> Vec<TreeEntry> {
        let file = FileNode {
            len: 1,
            content: Some((Digest([1; 32]), 0)),
            mode: 0o644,
            modified: FileTime { secs: 1, nanos: 2 },
            has_holes: false,
            group: None,
        };
        let entry = |n| TreeEntry { name: format!("{n:06}").into(), node: Node::File(file) };
        (0..count).map(entry).collect()
    }

    #[test]
    fn one_more_file_among_many_costs_little() {
        let mut entries = files(20_000);
        let before = encode(&entries);
        let added = TreeEntry { name: "010000a".into(), ..entries[0].clone() };
        entries.insert(10_001, added);
        let after = encode(&entries);
        let new = after.blocks.iter().filter(|block| !before.blocks.contains(block));
        let bytes: usize = new.map(|block| block.data.len()).sum();
        assert!(bytes < 100_000, "{bytes} bytes");
        assert_eq!(read(&after), entries);
    }

    #[test]
    fn a_page_that_was_cut_or_leads_elsewhere_is_refused() {
        let pages = encode(&files(3));
        let bytes = &pages.blocks[0].data;
        for cut in 2..bytes.len() {
            let whole = (bytes.len() - 1) / 3;
            if (cut - 1) % whole != 0 {
                assert!(decode(&bytes[..cut]).is_err(), "cut to {cut}");
            }
        }
        for name in ["..", ".", "", "a/b", "a\0b"] {
            let entry = TreeEntry { name: name.into(), ..files(1)[0].clone() };
            assert!(decode(&encode(&[entry]).blocks[0].data).is_err(), "{name:?}");
        }
        let mut doubled = files(1);
        doubled.extend(files(1));
        assert!(decode(&encode(&doubled).blocks[0].data).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn directories_come_back(entries in directory(400)) {
            let pages = encode(&entries);
            prop_assert_eq!(read(&pages), entries);
        }

        #[test]
        fn what_is_read_is_written_the_same(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let page = [&[PAGE_VERSION], bytes.as_slice()].concat();
            if let Ok(entries) = decode(&page) {
                let pages = encode(&entries);
                prop_assert_eq!(&pages.blocks[0].data[..], &page[..]);
            }
        }
    }
}
