//! The blocks of the content an agent handed over last, and how they follow a change.
//!
//! [`Tree`] knows every block's digest and extent, level by level, but not their bytes. A change of
//! the chunks is carried up: on each level only the nodes it touches are written anew. The outcome
//! is the same as building the tree anew from all bytes.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use fastcdc::v2020::FastCDC;

use super::content::{Block, ChildRef, ChunkParams, Content, Slice, node_items, write_node};
use super::regroup::{Group, LOOKAHEAD, Region, Splice, apply, regions, regroup};
use crate::state::Digest;

/// Old chunks looked at for the one the new bytes go on with, before digests are asked.
const ALIGN_CHUNKS: usize = 4;

/// The digests of all blocks of one content; empty where nothing is known.
#[derive(Debug, Clone, Default)]
pub(super) struct Tree {
    levels: Vec<Vec<Group>>,
}

impl Tree {
    /// The chunks in order.
    pub(super) fn chunks(&self) -> &[Group] {
        self.levels.first().map_or(&[], Vec::as_slice)
    }

    /// Replaces chunks, and the nodes above them.
    pub(super) fn splice(&mut self, splices: Vec<Splice<Group>>, blocks: &mut NewBlocks) {
        if self.levels.is_empty() {
            self.levels.push(Vec::new());
        }
        let mut changed = regions(&splices);
        apply(&mut self.levels[0], splices);
        let mut level = 0;
        while self.levels[level].len() > 1 {
            level += 1;
            if self.levels.len() == level {
                self.levels.push(Vec::new());
                let all = self.levels[level - 1].len();
                changed = vec![Region { old: 0..0, new: 0..all }];
            }
            changed = self.rebuild_nodes(level, &changed, blocks);
        }
        self.levels.truncate(level + 1);
    }

    fn rebuild_nodes(
        &mut self,
        level: usize,
        changed: &[Region],
        blocks: &mut NewBlocks,
    ) -> Vec<Region> {
        let (below, above) = self.levels.split_at_mut(level);
        let (children, nodes) = (&below[level - 1], &mut above[0]);
        let cuts = regroup(nodes, changed, children.len(), |at| {
            at + node_items(children[at..].iter().map(|child| &child.digest))
        });
        let code = u8::try_from(level).expect("a level halves the count, and counts fit 64 bits");
        let splices: Vec<Splice<Group>> = cuts
            .into_iter()
            .map(|cut| {
                let replaced = &nodes[cut.old.clone()];
                let write = |range| blocks.add_node(code, &children[range], replaced);
                Splice { items: cut.items.into_iter().map(write).collect(), old: cut.old }
            })
            .collect();
        let changed = regions(&splices);
        apply(nodes, splices);
        changed
    }

    /// The content's name; the tree holds at least one chunk.
    pub(super) fn content(&self) -> Content {
        let level = self.levels.len() - 1;
        let root = self.levels[level][0];
        let level = u8::try_from(level).expect("a level halves the count, and counts fit 64 bits");
        Content::Tree { root: root.digest, level, len: root.len }
    }
}

/// The blocks that an encoding adds to what its predecessor had.
pub(super) struct NewBlocks<'a> {
    bytes: &'a Arc<Vec<u8>>,
    /// Chunks are copied as long as they are together no more than this: a few small blocks must
    /// not keep a large state in memory, nor keep it from being patched in place.
    copied_max: usize,
    own: Vec<u8>,
    list: Vec<(Digest, u8, Place)>,
    seen: HashSet<(Digest, u8)>,
}

enum Place {
    State(Range<usize>),
    Own(Range<usize>),
}

impl<'a> NewBlocks<'a> {
    /// For the encoding of `bytes`; `complete` when it has no predecessor.
    pub(super) fn new(bytes: &'a Arc<Vec<u8>>, complete: bool) -> Self {
        let copied_max = if complete { 0 } else { bytes.len() / 4 };
        Self { bytes, copied_max, own: Vec::new(), list: Vec::new(), seen: HashSet::new() }
    }

    fn add_chunk(&mut self, chunk: &Group, range: Range<usize>) {
        if !self.seen.insert((chunk.digest, 0)) {
            return;
        }
        let place = if self.own.len() + range.len() <= self.copied_max {
            let start = self.own.len();
            self.own.extend_from_slice(&self.bytes[range]);
            Place::Own(start..self.own.len())
        } else {
            Place::State(range)
        };
        self.list.push((chunk.digest, 0, place));
    }

    fn add_node(&mut self, level: u8, children: &[Group], replaced: &[Group]) -> Group {
        let start = self.own.len();
        let refs = children.iter().map(|child| ChildRef { digest: child.digest, len: child.len });
        write_node(&mut self.own, level, refs);
        let digest = Digest::of(&self.own[start..]);
        let node = Group {
            digest,
            len: children.iter().map(|child| child.len).sum(),
            items: children.len(),
        };
        if was_there(replaced, &node) || !self.seen.insert((digest, level)) {
            self.own.truncate(start);
        } else {
            self.list.push((digest, level, Place::Own(start..self.own.len())));
        }
        node
    }

    /// The blocks, children before parents.
    pub(super) fn finish(self) -> Vec<Block> {
        let own = Arc::new(self.own);
        let block = |(digest, level, place)| {
            let data = match place {
                Place::State(range) => Slice::new(Arc::clone(self.bytes), range),
                Place::Own(range) => Slice::new(Arc::clone(&own), range),
            };
            Block { digest, level, data }
        };
        self.list.into_iter().map(block).collect()
    }
}

/// Cuts bytes and names the chunks.
pub(super) struct Cutter<'a> {
    bytes: &'a [u8],
    cdc: FastCDC<'a>,
}

impl<'a> Cutter<'a> {
    pub(super) fn new(bytes: &'a [u8], params: ChunkParams) -> Self {
        let ChunkParams { min_bytes, avg_bytes, max_bytes } = params;
        Self { bytes, cdc: FastCDC::new(bytes, min_bytes, avg_bytes, max_bytes) }
    }

    fn end(&self, at: usize) -> usize {
        self.cdc.cut(at, self.bytes.len() - at).1
    }

    fn chunk(&self, range: Range<usize>) -> Group {
        let items = range.len();
        Group { digest: Digest::of(&self.bytes[range]), len: items as u64, items }
    }
}

/// Whether a group was cut anew for its neighbour's sake only; those stand at the front.
fn was_there(replaced: &[Group], group: &Group) -> bool {
    replaced.iter().take(ALIGN_CHUNKS).any(|old| old == group)
}

/// How the chunks change where the changed regions of the bytes are known.
pub(super) fn splices_of_regions(
    chunks: &[Group],
    changed: &[Region],
    cutter: &Cutter,
    blocks: &mut NewBlocks,
) -> Vec<Splice<Group>> {
    let cuts = regroup(chunks, changed, cutter.bytes.len(), |at| cutter.end(at));
    let splice = |cut: Splice<Range<usize>>| {
        let name = |range: Range<usize>| {
            let chunk = cutter.chunk(range.clone());
            if !was_there(&chunks[cut.old.clone()], &chunk) {
                blocks.add_chunk(&chunk, range);
            }
            chunk
        };
        Splice { items: cut.items.into_iter().map(name).collect(), old: cut.old.clone() }
    };
    cuts.into_iter().map(splice).collect()
}

/// How the chunks change from `old` bytes to the cutter's, found by comparing. A chunk that is found
/// where the new bytes stand is kept; what is not found is cut, hashed, and looked up by digest, so
/// that bytes which moved are found again wherever they are.
pub(super) fn splices_by_comparing(
    old: &[u8],
    chunks: &[Group],
    cutter: &Cutter,
    blocks: &mut NewBlocks,
) -> Vec<Splice<Group>> {
    let mut walk = Walk::new(old, chunks, cutter);
    while walk.at < cutter.bytes.len() {
        match walk.aligned() {
            Some(chunk) => walk.keep(chunk),
            None => walk.cut(blocks),
        }
    }
    walk.close(chunks.len());
    walk.splices
}

struct Walk<'a> {
    old: &'a [u8],
    chunks: &'a [Group],
    starts: Vec<usize>,
    cutter: &'a Cutter<'a>,
    /// The old chunk after the last one kept.
    next: usize,
    /// Where in the new bytes the walk stands.
    at: usize,
    /// New chunks since the last one kept.
    items: Vec<Group>,
    splices: Vec<Splice<Group>>,
    by_digest: Option<HashMap<Digest, usize>>,
}

impl<'a> Walk<'a> {
    fn new(old: &'a [u8], chunks: &'a [Group], cutter: &'a Cutter<'a>) -> Self {
        let mut end = 0;
        let starts = chunks
            .iter()
            .map(|chunk| {
                end += chunk.items;
                end - chunk.items
            })
            .collect();
        let (items, splices) = (Vec::new(), Vec::new());
        Self { old, chunks, starts, cutter, next: 0, at: 0, items, splices, by_digest: None }
    }

    fn aligned(&self) -> Option<usize> {
        let end = self.chunks.len().min(self.next + ALIGN_CHUNKS);
        (self.next..end).find(|&chunk| self.continues_with(chunk))
    }

    /// Whether the chunk stands here in the new bytes, and would be cut here.
    fn continues_with(&self, chunk: usize) -> bool {
        let len = self.chunks[chunk].items;
        let new = &self.cutter.bytes[self.at..];
        let start = self.starts[chunk];
        let seen = if new.len() == len {
            len
        } else if chunk + 1 < self.chunks.len() && new.len() >= len + LOOKAHEAD {
            len + 1
        } else {
            return false;
        };
        new[..seen] == self.old[start..start + seen]
    }

    fn keep(&mut self, chunk: usize) {
        self.close(chunk);
        self.at += self.chunks[chunk].items;
        self.next = chunk + 1;
    }

    fn close(&mut self, chunk: usize) {
        if self.next < chunk || !self.items.is_empty() {
            let items = std::mem::take(&mut self.items);
            self.splices.push(Splice { old: self.next..chunk, items });
        }
    }

    fn cut(&mut self, blocks: &mut NewBlocks) {
        let range = self.at..self.cutter.end(self.at);
        let chunk = self.cutter.chunk(range.clone());
        // One chunk that is not found is the usual edit in place: most often the next is aligned.
        let found = if self.items.is_empty() { None } else { self.look_up(&chunk.digest) };
        match found {
            Some(old) if old >= self.next => return self.keep(old),
            Some(_) => {}
            None => blocks.add_chunk(&chunk, range.clone()),
        }
        self.items.push(chunk);
        self.at = range.end;
    }

    fn look_up(&mut self, digest: &Digest) -> Option<usize> {
        let chunks = self.chunks;
        let index = self.by_digest.get_or_insert_with(|| {
            chunks.iter().enumerate().rev().map(|(at, chunk)| (chunk.digest, at)).collect()
        });
        index.get(digest).copied()
    }
}

/// The bytes of the new content that are not at the same place in the old one, as far as whole
/// chunks tell.
pub(super) fn moved_or_new(chunks: &[Group], splices: &[Splice<Group>]) -> Vec<Range<usize>> {
    let total = |groups: &[Group]| groups.iter().map(|group| group.items).sum::<usize>();
    let mut ranges = Vec::with_capacity(splices.len());
    let (mut chunk, mut old_at, mut new_at) = (0, 0, 0);
    for splice in splices {
        let kept = total(&chunks[chunk..splice.old.start]);
        if old_at != new_at {
            ranges.push(new_at..new_at + kept);
        }
        ranges.push(new_at + kept..new_at + kept + total(&splice.items));
        old_at += kept + total(&chunks[splice.old.clone()]);
        new_at += kept + total(&splice.items);
        chunk = splice.old.end;
    }
    if old_at != new_at {
        ranges.push(new_at..usize::MAX);
    }
    ranges
}
