//! Editing JSON in place: an outline of where values lie, and edits that leave every other byte
//! alone.
//!
//! The outline is a tree of lengths, not of positions, so that an edit changes only the lengths of
//! what encloses it. It is filled in only where edits went: a state of many megabytes whose patches
//! all append to one list has two opened nodes. [`Editor`] keeps bytes and outline in step, collects
//! the regions that changed, and can take everything back.
//!
//! The bytes are sound JSON. Where an object has a key twice, the last one counts, as most parsers
//! have it; removing the key removes both.

use std::ops::Range;

use super::json::{Part, parts};
use super::regroup::Region;
use super::text::unquote;

/// Where the values of a JSON text lie.
#[derive(Debug, Clone)]
pub(super) struct Outline {
    /// White space before the outermost value.
    lead: usize,
    root: Node,
}

impl Outline {
    /// The outline of sound JSON; nothing is opened yet.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let space = |byte: &u8| b" \n\r\t".contains(byte);
        let lead = bytes.iter().position(|byte| !space(byte)).unwrap_or(bytes.len());
        let end = bytes.iter().rposition(|byte| !space(byte)).map_or(lead, |last| last + 1);
        Self { lead, root: Node::closed(end - lead) }
    }

    /// How many values the opened ones hold: what the outline takes in memory.
    pub(super) fn known(&self) -> usize {
        let mut count = 0;
        let mut waiting = vec![&self.root];
        while let Some(node) = waiting.pop() {
            let children = node.open.as_ref().map_or(&[][..], |open| &open.children);
            count += children.len();
            waiting.extend(
                children.iter().map(|child| &child.node).filter(|node| node.open.is_some()),
            );
        }
        count
    }
}

/// A value: its length, and what it holds once someone asked.
#[derive(Debug, Clone)]
struct Node {
    len: usize,
    open: Option<Box<Open>>,
}

#[derive(Debug, Clone)]
struct Open {
    children: Vec<Child>,
    /// White space before the closing bracket.
    tail: usize,
}

#[derive(Debug, Clone)]
struct Child {
    lead: usize,
    key: usize,
    colon: usize,
    node: Node,
}

impl Child {
    fn len(&self) -> usize {
        self.lead + self.key + self.colon + self.node.len
    }
}

impl Node {
    fn closed(len: usize) -> Self {
        Self { len, open: None }
    }

    /// What the value at `at` holds; `None` for one that holds nothing by nature.
    fn open(&mut self, bytes: &[u8], at: usize) -> Option<&mut Open> {
        if self.open.is_none() {
            let (parts, tail) = parts(bytes, at)?;
            let child = |Part { lead, key, colon, value }| Child {
                lead,
                key,
                colon,
                node: Node::closed(value),
            };
            let children = parts.into_iter().map(child).collect();
            self.open = Some(Box::new(Open { children, tail }));
        }
        self.open.as_deref_mut()
    }

    /// Where the lead of the `nth` child begins, in a value that begins at `at` and is open. Counts
    /// from the nearer end: most edits are at the end of a long list.
    fn child_at(&self, at: usize, nth: usize) -> usize {
        let Some(Open { children, tail }) = self.open.as_deref() else { return at };
        let total = |range: Range<usize>| children[range].iter().map(Child::len).sum::<usize>();
        if nth * 2 < children.len() {
            at + 1 + total(0..nth)
        } else {
            at + self.len - 1 - tail - total(nth..children.len())
        }
    }
}

/// A value in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spot {
    /// Which child to take, from the outermost value inwards.
    path: Vec<usize>,
    /// Its bytes.
    pub(super) range: Range<usize>,
}

/// Edits a JSON text and its outline together.
pub(super) struct Editor<'a> {
    bytes: &'a mut Vec<u8>,
    outline: &'a mut Outline,
    changes: Vec<Region>,
    undo: Vec<Undo>,
}

struct Undo {
    inserted: Range<usize>,
    removed: Vec<u8>,
}

impl<'a> Editor<'a> {
    pub(super) fn new(bytes: &'a mut Vec<u8>, outline: &'a mut Outline) -> Self {
        Self { bytes, outline, changes: Vec::new(), undo: Vec::new() }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes
    }

    /// What differs from before the first edit.
    pub(super) fn finish(self) -> Vec<Region> {
        self.changes
    }

    /// Puts the bytes back as they were before the first edit; the outline is of no use after that.
    pub(super) fn roll_back(self) {
        for Undo { inserted, removed } in self.undo.into_iter().rev() {
            self.bytes.splice(inserted, removed);
        }
    }

    /// The outermost value.
    pub(super) fn root(&self) -> Spot {
        let Outline { lead, root } = &*self.outline;
        Spot { path: Vec::new(), range: *lead..lead + root.len }
    }

    /// The value of a key in the object `parent`, or of an item in the array `parent`.
    pub(super) fn child(&mut self, parent: &Spot, nth: usize) -> Spot {
        let at = parent.range.start;
        let node = node(&mut self.outline.root, &parent.path);
        let lead_at = node.child_at(at, nth);
        let mut path = parent.path.clone();
        path.push(nth);
        let Some(child) = node.open.as_ref().and_then(|open| open.children.get(nth)) else {
            return Spot { path, range: lead_at..lead_at };
        };
        let start = lead_at + child.lead + child.key + child.colon;
        Spot { path, range: start..start + child.node.len }
    }

    /// How many members or items `parent` has; `None` for a value that cannot have any.
    pub(super) fn count(&mut self, parent: &Spot) -> Option<usize> {
        let node = node(&mut self.outline.root, &parent.path);
        node.open(self.bytes, parent.range.start).map(|open| open.children.len())
    }

    /// The last member of the object `parent` with this key.
    pub(super) fn member(&mut self, parent: &Spot, key: &[u8]) -> Option<usize> {
        let at = parent.range.start;
        let open = node(&mut self.outline.root, &parent.path).open(self.bytes, at)?;
        let mut found = None;
        let mut at = at + 1;
        for (nth, child) in open.children.iter().enumerate() {
            let raw = &self.bytes[at + child.lead..][..child.key];
            if raw.len() >= key.len() + 2 && *unquote(raw) == *key {
                found = Some(nth);
            }
            at += child.len();
        }
        found
    }

    /// Replaces a value.
    pub(super) fn set(&mut self, spot: &Spot, value: &[u8]) {
        self.splice(spot.range.clone(), value, &spot.path);
        *node(&mut self.outline.root, &spot.path) = Node::closed(value.len());
    }

    /// Inserts a value before the `nth` child of `parent`, or behind its last one; in an object with
    /// `key` in quotes.
    pub(super) fn insert(&mut self, parent: &Spot, nth: usize, key: Option<&[u8]>, value: &[u8]) {
        let lead_at = node(&mut self.outline.root, &parent.path).child_at(parent.range.start, nth);
        let mut text = key.map_or(Vec::new(), |key| [key, b":"].concat());
        text.extend_from_slice(value);
        let (key, colon) = key.map_or((0, 0), |key| (key.len(), 1));
        let mut child = Child { lead: 0, key, colon, node: Node::closed(value.len()) };
        let Some(open) = &mut node(&mut self.outline.root, &parent.path).open else { return };
        let at = if let Some(after) = open.children.get_mut(nth) {
            text.push(b',');
            child.lead = std::mem::replace(&mut after.lead, 1);
            lead_at + child.lead
        } else {
            if nth > 0 {
                text.insert(0, b',');
                child.lead = 1;
            }
            lead_at
        };
        open.children.insert(nth, child);
        self.splice(at..at, &text, &parent.path);
    }

    /// Removes the `nth` child of `parent` and one comma.
    pub(super) fn remove(&mut self, parent: &Spot, nth: usize) {
        let lead_at = node(&mut self.outline.root, &parent.path).child_at(parent.range.start, nth);
        let Some(open) = &mut node(&mut self.outline.root, &parent.path).open else { return };
        let child = open.children.remove(nth);
        let end = lead_at + child.len();
        let range = if nth > 0 {
            lead_at..end
        } else if let Some(after) = open.children.first_mut() {
            let comma = std::mem::replace(&mut after.lead, child.lead);
            lead_at + child.lead..end + comma
        } else {
            open.tail += child.lead;
            lead_at + child.lead..end
        };
        self.splice(range, b"", &parent.path);
    }

    /// Replaces bytes within the value at `path`, whose length and those around it follow.
    fn splice(&mut self, range: Range<usize>, text: &[u8], path: &[usize]) {
        let resize = |node: &mut Node| node.len = node.len + text.len() - range.len();
        let mut node = &mut self.outline.root;
        resize(node);
        for &nth in path {
            let Some(open) = &mut node.open else { break };
            node = &mut open.children[nth].node;
            resize(node);
        }
        note_change(&mut self.changes, &range, text.len());
        let inserted = range.start..range.start + text.len();
        let removed = self.bytes.splice(range, text.iter().copied()).collect();
        self.undo.push(Undo { inserted, removed });
    }
}

fn node<'a>(root: &'a mut Node, path: &[usize]) -> &'a mut Node {
    path.iter().fold(root, |node, &nth| {
        let open = node.open.as_mut().expect("a spot leads through opened nodes");
        &mut open.children[nth].node
    })
}

/// Adds an edit of the current bytes to the regions that differ from the bytes before all edits.
fn note_change(regions: &mut Vec<Region>, removed: &Range<usize>, inserted: usize) {
    let first = regions.partition_point(|region| region.new.end < removed.start);
    let last = regions.partition_point(|region| region.new.start <= removed.end);
    let merged = if first < last {
        let (head, tail) = (&regions[first], &regions[last - 1]);
        let before = head.new.start.saturating_sub(removed.start);
        let after = removed.end.saturating_sub(tail.new.end);
        let end = tail.new.end + after - removed.len() + inserted;
        Region {
            old: head.old.start - before..tail.old.end + after,
            new: head.new.start - before..end,
        }
    } else {
        let (old_end, new_end) =
            regions[..first].last().map_or((0, 0), |region| (region.old.end, region.new.end));
        let start = old_end + (removed.start - new_end);
        Region { old: start..start + removed.len(), new: removed.start..removed.start + inserted }
    };
    for region in &mut regions[last..] {
        region.new.start = region.new.start + inserted - removed.len();
        region.new.end = region.new.end + inserted - removed.len();
    }
    regions.splice(first..last, [merged]);
}
