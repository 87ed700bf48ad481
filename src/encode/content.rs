//! Content: how a byte string is named, cut into blocks, and put together again.
//!
//! Short content lies inline in its record. Longer content is a tree. Level 0 are *chunks*, the
//! bytes themselves, cut by `FastCDC` (2020, normalization level 1, the default gear table) with the
//! sizes of [`ChunkParams`]. A *node* of level n lists the blocks of level n-1 it stands for, in
//! order. A node ends after a child whose digest ends in five zero bits, but has at least
//! [`NODE_ITEMS_MIN`] and at most [`NODE_ITEMS_MAX`] children (the last of its level may have fewer);
//! so nodes hold 33 on average, and a change touches one node per level. The first level with a
//! single block is the root. The same bytes cut with the same sizes have the same root.
//!
//! A block's digest is the plain BLAKE3 of its bytes. A node's bytes are, in format version 1:
//!
//! ```text
//! u8  version, 1
//! u8  level, 1 or more
//! u8  count of children, 1 to 128
//! count times:
//!   [u8; 32]  digest of the child
//!   varint    bytes of content the child stands for, 1 or more (LEB128, shortest form)
//! ```
//!
//! Reading trusts nothing it is given: each block must have the digest and stand for the length its
//! parent says. A chunk may happen to hold the bytes of a node: a block is told by digest *and*
//! level, never by looking at it. This module does not compress and does not know where blocks lie.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use super::varint::{self, VarintError};
use crate::protection::{self, Protection};
use crate::state::Digest;

/// Children a node has at least, so that each level is at most half as long as the one below.
pub const NODE_ITEMS_MIN: usize = 2;
/// Children a node has at most.
pub const NODE_ITEMS_MAX: usize = 128;
const NODE_VERSION: u8 = 1;
/// One child in 32 ends a node.
const NODE_BOUNDARY_MASK: u8 = 0x1f;
/// What is set aside before the first block was seen to be what its parent says.
const READ_RESERVE_MAX: usize = 64 << 20;

/// A byte string as a record names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// The bytes themselves.
    Inline(Vec<u8>),
    /// A tree of blocks.
    Tree {
        /// Digest of the topmost block.
        root: Digest,
        /// Its level; 0 is a single chunk.
        level: u8,
        /// Length of the whole in bytes.
        len: u64,
    },
}

impl Content {
    /// Length of the whole in bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "nobody asks whether content is empty")]
    pub fn len(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::Tree { len, .. } => *len,
        }
    }
}

/// Where content is cut: sizes of chunks in bytes, each even, `min <= avg <= max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChunkParams {
    /// No chunk but the last is shorter; 64 or more.
    pub min_bytes: usize,
    /// What chunks come near to; 256 or more, a power of two.
    pub avg_bytes: usize,
    /// No chunk is longer; 1024 or more.
    pub max_bytes: usize,
}

impl ChunkParams {
    /// Sizes for states: 1, 4 and 16 KiB.
    pub const STATE: Self = Self { min_bytes: 1 << 10, avg_bytes: 4 << 10, max_bytes: 16 << 10 };
    /// Sizes for large files: 16, 64 and 256 KiB.
    pub const FILE: Self = Self { min_bytes: 16 << 10, avg_bytes: 64 << 10, max_bytes: 256 << 10 };
}

impl Default for ChunkParams {
    fn default() -> Self {
        Self::STATE
    }
}

/// A shared range of bytes; cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Slice {
    bytes: Arc<Vec<u8>>,
    range: Range<usize>,
}

impl Slice {
    /// The bytes of `range`, which lies within `bytes`.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn new(bytes: Arc<Vec<u8>>, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= bytes.len(), "range outside the bytes");
        Self { bytes, range }
    }
}

impl From<Vec<u8>> for Slice {
    fn from(bytes: Vec<u8>) -> Self {
        let range = 0..bytes.len();
        Self { bytes: Arc::new(bytes), range }
    }
}

impl Deref for Slice {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.range.clone()]
    }
}

impl AsRef<[u8]> for Slice {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slice({} bytes)", self.range.len())
    }
}

/// A piece of content as the store keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The BLAKE3 of `data`.
    pub digest: Digest,
    /// 0 for a chunk, else the level of the node.
    pub level: u8,
    /// The bytes.
    pub data: Slice,
}

/// A reference to a block of the level below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChildRef {
    /// The child's digest.
    pub digest: Digest,
    /// Bytes of content it stands for.
    pub len: u64,
}

/// Why the bytes of a node are not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// Written by a later version, or no node.
    #[error("node format version {0} is not known")]
    Version(u8),
    /// Not the level its parent says.
    #[error("node is of level {found}, not {expected}")]
    Level {
        /// What the parent says.
        expected: u8,
        /// What the node says.
        found: u8,
    },
    /// No children, or too many.
    #[error("node claims {0} children")]
    Count(u8),
    /// Ends before its last child.
    #[error("node is cut short")]
    Short,
    /// Goes on after its last child.
    #[error("node has {0} bytes too many")]
    Trailing(usize),
    /// A child's length is zero, not in shortest form, or the sum is beyond 64 bits.
    #[error("node has a child of impossible length")]
    Length,
}

impl From<VarintError> for NodeError {
    fn from(error: VarintError) -> Self {
        match error {
            VarintError::Short => Self::Short,
            VarintError::Form => Self::Length,
        }
    }
}

/// Why content cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError<E> {
    /// A block could not be had.
    #[error("cannot fetch block {digest}: {source}")]
    Fetch {
        /// Which.
        digest: Digest,
        /// Why.
        source: E,
    },
    /// A block is not what its name says.
    #[error("block {digest} holds other bytes: their digest is {found}")]
    Digest {
        /// What was asked for.
        digest: Digest,
        /// What came.
        found: Digest,
    },
    /// A block stands for another length than its parent says.
    #[error("block {digest} stands for {found} bytes, not {expected}")]
    Length {
        /// Which.
        digest: Digest,
        /// What the parent says.
        expected: u64,
        /// What the block says.
        found: u64,
    },
    /// A node has the right digest and is none.
    #[error("block {digest}: {source}")]
    Node {
        /// Which.
        digest: Digest,
        /// Why.
        source: NodeError,
    },
}

/// Puts content together again from blocks, each asked for by digest and level in the order of the
/// bytes. Never holds more than `content.len()` bytes, which the caller has found acceptable.
///
/// # Errors
/// When a block cannot be fetched or is not what its parent says.
pub fn read<B: AsRef<[u8]>, E>(
    content: &Content,
    fetch: &mut dyn FnMut(&Digest, u8) -> Result<B, E>,
) -> Result<Vec<u8>, ReadError<E>> {
    let (root, level, len) = match content {
        Content::Inline(bytes) => return Ok(bytes.clone()),
        Content::Tree { root, level, len } => (*root, *level, *len),
    };
    let reserve = usize::try_from(len).unwrap_or(READ_RESERVE_MAX).min(READ_RESERVE_MAX);
    let mut bytes = Vec::with_capacity(reserve);
    let mut wanted = vec![(ChildRef { digest: root, len }, level)];
    while let Some((want, level)) = wanted.pop() {
        let ChildRef { digest, len: expected } = want;
        let block = fetch(&digest, level).map_err(|source| ReadError::Fetch { digest, source })?;
        let block = block.as_ref();
        let found = Digest::of(block);
        if found != digest && protection::stands(Protection::Checksum) {
            return Err(ReadError::Digest { digest, found });
        }
        let mut found = block.len() as u64;
        if level == 0 {
            bytes.extend_from_slice(block);
        } else {
            let children =
                children(level, block).map_err(|source| ReadError::Node { digest, source })?;
            found = children.iter().map(|child| child.len).sum();
            wanted.extend(children.into_iter().rev().map(|child| (child, level - 1)));
        }
        if found != expected {
            return Err(ReadError::Length { digest, expected, found });
        }
    }
    Ok(bytes)
}

/// What the node `bytes` of `level` refers to, in order; the lengths add up within 64 bits.
///
/// # Errors
/// When the bytes are no node of that level, down to the last byte.
pub fn children(level: u8, bytes: &[u8]) -> Result<Vec<ChildRef>, NodeError> {
    let [version, found, count, rest @ ..] = bytes else { return Err(NodeError::Short) };
    if *version != NODE_VERSION {
        return Err(NodeError::Version(*version));
    }
    if *found != level || level == 0 {
        return Err(NodeError::Level { expected: level, found: *found });
    }
    if *count == 0 || usize::from(*count) > NODE_ITEMS_MAX {
        return Err(NodeError::Count(*count));
    }
    let mut rest = rest;
    let mut total: u64 = 0;
    let mut children = Vec::with_capacity(usize::from(*count));
    for _ in 0..*count {
        let (digest, after) = rest.split_first_chunk().ok_or(NodeError::Short)?;
        let (len, after) = varint::read(after)?;
        total = total.checked_add(len).filter(|_| len > 0).ok_or(NodeError::Length)?;
        children.push(ChildRef { digest: Digest(*digest), len });
        rest = after;
    }
    if rest.is_empty() { Ok(children) } else { Err(NodeError::Trailing(rest.len())) }
}

/// Appends the node of `level` that lists `children`, 1 to [`NODE_ITEMS_MAX`] of them.
pub(super) fn write_node(
    out: &mut Vec<u8>,
    level: u8,
    children: impl ExactSizeIterator<Item = ChildRef>,
) {
    let count = u8::try_from(children.len()).expect("at most NODE_ITEMS_MAX children");
    out.extend([NODE_VERSION, level, count]);
    for child in children {
        out.extend_from_slice(&child.digest.0);
        varint::write(out, child.len);
    }
}

/// Where the node that begins with the first of `children` ends.
pub(super) fn node_items<'a>(children: impl Iterator<Item = &'a Digest>) -> usize {
    let mut count = 0;
    for digest in children.take(NODE_ITEMS_MAX) {
        count += 1;
        if count >= NODE_ITEMS_MIN && digest.0[31] & NODE_BOUNDARY_MASK == 0 {
            break;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn node(level: u8, lens: &[u64]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let refs = lens.iter().map(|&len| ChildRef { digest: Digest::of(&len.to_le_bytes()), len });
        write_node(&mut bytes, level, refs);
        bytes
    }

    #[test]
    fn the_encoding_of_a_node_is_fixed() {
        let bytes = node(2, &[300]);
        assert_eq!(bytes[..3], [1, 2, 1]);
        assert_eq!(bytes[3..35], Digest::of(&300u64.to_le_bytes()).0);
        assert_eq!(bytes[35..], [0xac, 0x02]);
    }

    #[test]
    fn what_is_no_node_is_refused() {
        let sound = node(1, &[4096, 1, u64::from(u32::MAX)]);
        assert_eq!(children(1, &sound).unwrap().len(), 3);
        assert_eq!(children(2, &sound), Err(NodeError::Level { expected: 2, found: 1 }));
        for len in 0..sound.len() {
            assert_eq!(children(1, &sound[..len]), Err(NodeError::Short), "cut to {len} bytes");
        }
        let with = |at: usize, byte: u8| {
            let mut bytes = sound.clone();
            bytes[at] = byte;
            children(1, &bytes)
        };
        assert_eq!(with(0, 2), Err(NodeError::Version(2)));
        assert_eq!(with(2, 0), Err(NodeError::Count(0)));
        assert_eq!(with(2, 129), Err(NodeError::Count(129)));
        assert_eq!(with(2, 2), Err(NodeError::Trailing(37)));
        assert_eq!(children(1, &node(1, &[0])), Err(NodeError::Length));
        assert_eq!(children(1, &node(1, &[u64::MAX, 1])), Err(NodeError::Length));
        let long_form = [&node(1, &[1])[..35], &[0x81, 0x00]].concat();
        assert_eq!(children(1, &long_form), Err(NodeError::Length));
    }

    proptest! {
        #[test]
        fn nodes_come_back(lens in prop::collection::vec(1..u64::MAX / 128, 1..=NODE_ITEMS_MAX)) {
            let read = children(3, &node(3, &lens)).unwrap();
            prop_assert_eq!(read.iter().map(|child| child.len).collect::<Vec<_>>(), lens);
        }

        #[test]
        fn what_is_read_is_written_the_same(mut bytes in prop::collection::vec(any::<u8>(), 0..200), count in 0..5u8) {
            let head = [NODE_VERSION, 1, count];
            let known = bytes.len().min(3);
            bytes[..known].copy_from_slice(&head[..known]);
            if let Ok(read) = children(1, &bytes) {
                let mut written = Vec::new();
                write_node(&mut written, 1, read.into_iter());
                prop_assert_eq!(written, bytes);
            }
        }
    }
}
