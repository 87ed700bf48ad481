//! Grouping a sequence again after a change.
//!
//! Chunks group bytes, nodes group chunks or nodes. In both cases a group's end depends on nothing
//! but the group's own items, the item after it, and whether the sequence ends within two items
//! after it. So after a change only the groups it touches are cut anew, until a cut falls on an old
//! group's end beyond the change; the result is what cutting the whole anew would give.

use std::ops::Range;

use crate::state::Digest;

/// Items after a group that have a say in where it ends: `FastCDC` tests a cut with the byte after
/// it, looks at bytes in pairs, and does not test the last of an odd number.
pub(super) const LOOKAHEAD: usize = 2;

/// A run of consecutive items that became a block: bytes in a chunk, children in a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Group {
    /// The block's digest.
    pub(super) digest: Digest,
    /// Bytes of content it stands for.
    pub(super) len: u64,
    /// Items in it; for a chunk the same as `len`.
    pub(super) items: usize,
}

/// A stretch of the old sequence and what stands there in the new one; what lies between the
/// regions is equal. Regions are in order and do not touch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Region {
    pub(super) old: Range<usize>,
    pub(super) new: Range<usize>,
}

/// Old groups to be replaced by new ones, which are ranges of new items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Splice<T> {
    pub(super) old: Range<usize>,
    pub(super) items: Vec<T>,
}

/// What has to change in the groups of an old sequence, where `regions` of it changed. `len` is the
/// number of new items, and `cut` says where the group that begins at an item of the new sequence
/// ends.
pub(super) fn regroup(
    groups: &[Group],
    regions: &[Region],
    len: usize,
    mut cut: impl FnMut(usize) -> usize,
) -> Vec<Splice<Range<usize>>> {
    let mut splices = Vec::new();
    let mut group = 0;
    let mut group_start = 0;
    // Where the equal stretch before the next region begins, in the old and in the new sequence.
    let (mut old_base, mut new_base) = (0, 0);
    let mut regions = regions.iter().peekable();
    while let Some(region) = regions.peek() {
        while group < groups.len()
            && group_start + groups[group].items + LOOKAHEAD <= region.old.start
        {
            group_start += groups[group].items;
            group += 1;
        }
        let first = group;
        let mut at = new_base + (group_start - old_base);
        let mut items = Vec::new();
        loop {
            if at < len {
                let end = cut(at);
                items.push(at..end);
                at = end;
            }
            while let Some(passed) = regions.next_if(|region| region.new.start < at || at == len) {
                (old_base, new_base) = (passed.old.end, passed.new.end);
            }
            if at == len {
                group = groups.len();
                break;
            }
            if at < new_base {
                continue;
            }
            let old_at = old_base + (at - new_base);
            while group < groups.len() && group_start < old_at {
                group_start += groups[group].items;
                group += 1;
            }
            if group_start == old_at {
                break;
            }
        }
        splices.push(Splice { old: first..group, items });
    }
    splices
}

/// Carries the splices out, each in the place its old range names.
pub(super) fn apply<T>(list: &mut Vec<T>, splices: Vec<Splice<T>>) {
    for splice in splices.into_iter().rev() {
        list.splice(splice.old, splice.items);
    }
}

/// The regions that the splices of a list make in it.
pub(super) fn regions<T>(splices: &[Splice<T>]) -> Vec<Region> {
    let (mut added, mut removed) = (0, 0);
    let mut regions = Vec::with_capacity(splices.len());
    for splice in splices {
        let start = splice.old.start + added - removed;
        regions.push(Region { old: splice.old.clone(), new: start..start + splice.items.len() });
        added += splice.items.len();
        removed += splice.old.len();
    }
    regions
}

#[cfg(test)]
mod tests {
    use fastcdc::v2020::FastCDC;

    use super::*;

    fn groups(bytes: &[u8], old: &[Group], regions: &[Region]) -> Vec<Group> {
        let cdc = FastCDC::new(bytes, 64, 256, 1024);
        let splices = regroup(old, regions, bytes.len(), |at| cdc.cut(at, bytes.len() - at).1);
        let group = |range: Range<usize>| {
            let (items, digest) = (range.len(), Digest::of(&bytes[range]));
            Group { digest, len: items as u64, items }
        };
        let splice = |Splice { old, items }: Splice<Range<usize>>| Splice {
            old,
            items: items.into_iter().map(group).collect(),
        };
        let mut groups = old.to_vec();
        apply(&mut groups, splices.into_iter().map(splice).collect());
        groups
    }

    fn anew(bytes: &[u8]) -> Vec<Group> {
        groups(bytes, &[], &[Region { old: 0..0, new: 0..bytes.len() }])
    }

    #[test]
    fn an_end_that_moves_by_a_byte_is_no_special_case() {
        let mut bytes = vec![0; 6000];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        for len in 64..bytes.len() - 3 {
            let old = anew(&bytes[..len]);
            for new_len in [len - 3, len - 2, len - 1, len + 1, len + 2, len + 3] {
                let kept = len.min(new_len);
                let region = Region { old: kept..len, new: kept..new_len };
                let new = &bytes[..new_len];
                assert_eq!(groups(new, &old, &[region]), anew(new), "from {len} to {new_len}");
            }
        }
    }

    #[test]
    fn a_byte_that_changes_matters_to_the_group_before() {
        let mut bytes = vec![0; 6000];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        let old = anew(&bytes);
        for at in 0..bytes.len() {
            let mut new = bytes.clone();
            new[at] ^= 0xff;
            let region = Region { old: at..at + 1, new: at..at + 1 };
            assert_eq!(groups(&new, &old, &[region]), anew(&new), "byte {at}");
        }
    }
}
