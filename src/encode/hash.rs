//! The plain BLAKE3 digest of a state, kept up to date as the state changes.
//!
//! BLAKE3 is a binary tree over pieces of 1 KiB in which every left subtree is complete. The tree is
//! kept from groups of [`GROUP`] bytes upwards, so that a change costs the groups it touches and
//! their ancestors. Pairing neighbours and passing an odd last one on unchanged builds exactly that
//! tree (BLAKE3 paper, section 2.1).
//!
//! The caller says which bytes changed; what it leaves out is taken to be as before, at the same
//! offset. The result is the same as `blake3::hash` of the whole.

use std::ops::Range;

use blake3::Hasher;
use blake3::hazmat::{
    ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root,
};

use crate::state::Digest;

/// Bytes whose chaining value is kept: 16 pieces, as many as the widest SIMD unit hashes at once.
const GROUP: usize = 16 * 1024;

/// The chaining values of a byte string's groups and of the subtrees above them.
#[derive(Debug, Clone, Default)]
pub(super) struct HashTree {
    len: usize,
    /// Groups first; each further level holds half as many; the last holds two. Empty for a byte
    /// string of at most one group.
    levels: Vec<Vec<ChainingValue>>,
}

impl HashTree {
    /// The digest of `bytes`, of which only `dirty` (in any order) may differ from the last call.
    /// A change of length needs no mention beyond the bytes it brought.
    pub(super) fn update(&mut self, bytes: &[u8], dirty: &[Range<usize>]) -> Digest {
        let groups = bytes.len().div_ceil(GROUP);
        let known = if self.levels.is_empty() { 0 } else { self.len };
        self.len = bytes.len();
        if groups <= 1 {
            self.levels.clear();
            return Digest::of(bytes);
        }
        let mut stale = stale_groups(known, bytes.len(), dirty);
        self.hash_groups(bytes, &stale);
        let mut level = 0;
        while self.levels[level].len() > 2 {
            stale = stale.iter().map(|range| range.start / 2..range.end.div_ceil(2)).collect();
            self.merge_into(level + 1, &stale);
            level += 1;
        }
        self.levels.truncate(level + 1);
        let top = &self.levels[level];
        Digest(*merge_subtrees_root(&top[0], &top[1], Mode::Hash).as_bytes())
    }

    fn hash_groups(&mut self, bytes: &[u8], stale: &[Range<usize>]) {
        if self.levels.is_empty() {
            self.levels.push(Vec::new());
        }
        self.levels[0].resize(bytes.len().div_ceil(GROUP), [0; 32]);
        for group in stale.iter().cloned().flatten() {
            let start = group * GROUP;
            let end = bytes.len().min(start + GROUP);
            self.levels[0][group] = Hasher::new()
                .set_input_offset(start as u64)
                .update(&bytes[start..end])
                .finalize_non_root();
        }
    }

    fn merge_into(&mut self, level: usize, stale: &[Range<usize>]) {
        if self.levels.len() == level {
            self.levels.push(Vec::new());
        }
        let (below, above) = self.levels.split_at_mut(level);
        let (below, above) = (&below[level - 1], &mut above[0]);
        above.resize(below.len().div_ceil(2), [0; 32]);
        for at in stale.iter().cloned().flatten() {
            above[at] = match below.get(2 * at + 1) {
                Some(right) => merge_subtrees_non_root(&below[2 * at], right, Mode::Hash),
                None => below[2 * at],
            };
        }
    }
}

/// The groups to hash again, in order and disjoint.
fn stale_groups(known: usize, len: usize, dirty: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = dirty.to_vec();
    if known != len {
        // The last group of the shorter one ends elsewhere now, even where its bytes are equal.
        ranges.push(known.min(len).saturating_sub(1)..len);
    }
    ranges.retain(|range| range.start < range.end.min(len));
    ranges.sort_unstable_by_key(|range| range.start);
    let mut groups: Vec<Range<usize>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        let (start, end) = (range.start / GROUP, range.end.min(len).div_ceil(GROUP));
        match groups.last_mut() {
            Some(last) if start <= last.end => last.end = last.end.max(end),
            _ => groups.push(start..end),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn noise(len: usize, seed: u64) -> Vec<u8> {
        let mut bytes = vec![0; len];
        Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }

    #[test]
    fn lengths_around_every_boundary() {
        for groups in 0..9 {
            for len in [groups * GROUP, groups * GROUP + 1, (groups + 1) * GROUP - 1] {
                let bytes = noise(len, 1);
                let mut tree = HashTree::default();
                assert_eq!(tree.update(&bytes, &[]), Digest::of(&bytes), "{len} bytes");
            }
        }
    }

    proptest! {
        #[test]
        fn follows_edits(
            len in 0..9 * GROUP,
            edits in prop::collection::vec((any::<prop::sample::Index>(), 0..3 * GROUP, 0..3 * GROUP), 1..6),
        ) {
            let mut bytes = noise(len, 2);
            let mut tree = HashTree::default();
            tree.update(&bytes, &[]);
            for (at, removed, inserted) in edits {
                let at = at.index(bytes.len() + 1);
                let removed = removed.min(bytes.len() - at);
                bytes.splice(at..at + removed, noise(inserted, at as u64));
                let end = if removed == inserted { at + inserted } else { bytes.len() };
                prop_assert_eq!(tree.update(&bytes, std::slice::from_ref(&(at..end))), Digest::of(&bytes));
            }
        }
    }
}
