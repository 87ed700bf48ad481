//! An agent's last bytes, with all that makes the next encoding cost only what changed.
//!
//! [`Tracked`] assumes that what it encoded last is in the store: the next encoding names only the
//! blocks that were not part of it. Whoever fails to store an encoding calls [`Tracked::forget`].
//! Contents and digests are the same as those of a complete encoding of the same bytes.
//!
//! Bytes are taken as they are: that they are one JSON object is for
//! [`validate_object`](super::validate_object) to say before [`Tracked::replace`].

use std::sync::Arc;

use super::Options;
use super::content::{Block, Content};
use super::hash::HashTree;
use super::regroup::{Group, Splice};
use super::tree::{Cutter, NewBlocks, Tree, moved_or_new, splices_by_comparing};
use crate::state::Digest;

/// A state on its way to the store.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// What the record says.
    pub content: Content,
    /// The BLAKE3 of the bytes.
    pub state_digest: Digest,
    /// Length of the state in bytes.
    pub len: u64,
    /// The blocks that were not part of the predecessor, children before parents, each once.
    pub blocks: Vec<Block>,
    /// The state.
    pub bytes: Arc<Vec<u8>>,
    /// Whether `blocks` are all there are, with no predecessor to lean on.
    pub complete: bool,
}

/// Encodes `bytes` with every block.
#[must_use]
pub fn encode_complete(bytes: Arc<Vec<u8>>, options: &Options) -> Encoded {
    Tracked::new(options.clone()).replace(bytes)
}

/// What is remembered of an agent's last state.
#[derive(Debug, Clone)]
pub struct Tracked {
    options: Options,
    bytes: Arc<Vec<u8>>,
    tree: Tree,
    hash: HashTree,
}

impl Tracked {
    /// Nothing is known yet; the first encoding is complete.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { options, bytes: Arc::default(), tree: Tree::default(), hash: HashTree::default() }
    }

    /// The bytes of the last encoding; none before the first.
    #[must_use]
    pub fn bytes(&self) -> &Arc<Vec<u8>> {
        &self.bytes
    }

    /// Lets go of what is known to be stored: the next encoding is complete. The bytes stay.
    pub fn forget(&mut self) {
        self.tree = Tree::default();
    }

    /// Encodes a whole new state by what differs from the last one.
    pub fn replace(&mut self, new: Arc<Vec<u8>>) -> Encoded {
        let old = std::mem::replace(&mut self.bytes, new);
        self.encode(|chunks, cutter, blocks| splices_by_comparing(&old, chunks, cutter, blocks))
    }

    fn encode(
        &mut self,
        splices: impl FnOnce(&[Group], &Cutter, &mut NewBlocks) -> Vec<Splice<Group>>,
    ) -> Encoded {
        if self.bytes.len() <= self.options.inline_bytes_max.max(1) {
            return self.encode_inline();
        }
        let chunks = self.tree.chunks();
        let complete = chunks.is_empty();
        let mut blocks = NewBlocks::new(&self.bytes, complete);
        let cutter = Cutter::new(&self.bytes, self.options.chunks);
        let splices = splices(chunks, &cutter, &mut blocks);
        let dirty = moved_or_new(chunks, &splices);
        self.tree.splice(splices, &mut blocks);
        Encoded {
            content: self.tree.content(),
            state_digest: self.hash.update(&self.bytes, &dirty),
            len: self.bytes.len() as u64,
            blocks: blocks.finish(),
            bytes: Arc::clone(&self.bytes),
            complete,
        }
    }

    fn encode_inline(&mut self) -> Encoded {
        self.tree = Tree::default();
        Encoded {
            content: Content::Inline(self.bytes.to_vec()),
            state_digest: self.hash.update(&self.bytes, &[0..self.bytes.len()]),
            len: self.bytes.len() as u64,
            blocks: Vec::new(),
            bytes: Arc::clone(&self.bytes),
            complete: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::super::content::{ChildRef, ChunkParams, ReadError, Slice, children, read};
    use super::*;

    type Blocks = HashMap<(Digest, u8), Slice>;

    fn small() -> Options {
        let chunks = ChunkParams { min_bytes: 64, avg_bytes: 256, max_bytes: 1024 };
        Options { inline_bytes_max: 100, chunks, ..Options::default() }
    }

    fn noise(len: usize, seed: u64) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }

    fn store(blocks: &mut Blocks, encoded: &Encoded) {
        for block in &encoded.blocks {
            assert_eq!(Digest::of(&block.data), block.digest);
            if block.level > 0 {
                for ChildRef { digest, .. } in children(block.level, &block.data).unwrap() {
                    let child = (digest, block.level - 1);
                    assert!(blocks.contains_key(&child), "children come before parents");
                }
            }
            blocks.insert((block.digest, block.level), block.data.clone());
        }
    }

    fn read_back(blocks: &Blocks, content: &Content) -> Vec<u8> {
        let mut fetch = |digest: &Digest, level| blocks.get(&(*digest, level)).ok_or("missing");
        read(content, &mut fetch).unwrap()
    }

    /// Encodes `new` after whatever came before, and checks all that is promised of it.
    fn check_replace(tracked: &mut Tracked, blocks: &mut Blocks, new: Vec<u8>) -> Encoded {
        let encoded = tracked.replace(Arc::new(new.clone()));
        store(blocks, &encoded);
        assert_eq!(read_back(blocks, &encoded.content), new);
        assert_eq!(encoded.state_digest, Digest::of(&new));
        let complete = encode_complete(Arc::new(new), &tracked.options);
        assert_eq!(encoded.content, complete.content, "equal bytes have equal roots");
        encoded
    }

    fn messages(count: usize) -> Vec<u8> {
        let text: Vec<String> = (0..count)
            .map(|n| {
                let words = blake3::hash(&n.to_le_bytes()).to_hex();
                format!(r#"{{"role":"user","content":"{}"}}"#, words.repeat(8))
            })
            .collect();
        format!(r#"{{"turn":{count},"messages":[{}]}}"#, text.join(",")).into_bytes()
    }

    fn counts(encoded: &Encoded) -> (usize, usize) {
        let chunks = encoded.blocks.iter().filter(|block| block.level == 0).count();
        (chunks, encoded.blocks.len() - chunks)
    }

    #[test]
    fn a_message_more_and_a_counter_cost_themselves() {
        let mut tracked = Tracked::new(Options::default());
        let mut blocks = Blocks::new();
        check_replace(&mut tracked, &mut blocks, messages(1980));
        let mut sums = (0, 0);
        for count in 1981..=2020 {
            let encoded = check_replace(&mut tracked, &mut blocks, messages(count));
            let Content::Tree { level: 2, .. } = encoded.content else { panic!("two levels") };
            let (chunks, nodes) = counts(&encoded);
            assert!(chunks <= 4, "{chunks} chunks for two places");
            assert!(nodes <= 5, "{nodes} nodes for two places");
            sums = (sums.0 + chunks, sums.1 + nodes);
        }
        assert!(sums.0 <= 40 * 3 && sums.1 <= 40 * 4, "{sums:?} blocks for 40 changes");
    }

    #[test]
    fn what_moved_is_found_again() {
        let (a, b, c) = (noise(200_000, 1), noise(200_000, 2), noise(200_000, 3));
        let mut tracked = Tracked::new(Options::default());
        let mut blocks = Blocks::new();
        check_replace(&mut tracked, &mut blocks, [&a[..], &b, &c].concat());
        for new in [[&a[..], &c].concat(), [&a[..], &b[..9], &c].concat(), a.clone()] {
            let (chunks, _) = counts(&check_replace(&mut tracked, &mut blocks, new));
            assert!(chunks <= 6, "{chunks} new chunks");
        }
    }

    #[test]
    fn forgetting_makes_the_next_encoding_complete() {
        let mut tracked = Tracked::new(Options::default());
        let first = tracked.replace(Arc::new(messages(100)));
        let again = tracked.replace(Arc::new(messages(100)));
        assert!(first.complete && !again.complete);
        assert!(again.blocks.is_empty());
        tracked.forget();
        let complete = tracked.replace(Arc::new(messages(100)));
        assert!(complete.complete);
        assert_eq!(complete.blocks, first.blocks);
    }

    #[test]
    fn few_new_blocks_do_not_hold_the_state() {
        let mut tracked = Tracked::new(Options::default());
        tracked.replace(Arc::new(messages(1000)));
        let Encoded { blocks, bytes, .. } = tracked.replace(Arc::new(messages(1001)));
        assert!(!blocks.is_empty());
        assert_eq!(Arc::strong_count(&bytes), 2);
    }

    #[test]
    fn inline_up_to_the_limit() {
        let options = Options::default();
        for (len, inline) in [(0, true), (1, true), (16 << 10, true), ((16 << 10) + 1, false)] {
            let encoded = encode_complete(Arc::new(noise(len, 4)), &options);
            assert_eq!(matches!(encoded.content, Content::Inline(_)), inline, "{len} bytes");
            assert_eq!(encoded.content.len(), len as u64);
        }
    }

    #[test]
    fn reading_believes_nothing() {
        let encoded = encode_complete(Arc::new(noise(300_000, 5)), &Options::default());
        let mut blocks = Blocks::new();
        store(&mut blocks, &encoded);
        for ((digest, _), data) in &blocks {
            for at in [0, data.len() / 2, data.len() - 1] {
                let mut damaged = data.to_vec();
                damaged[at] ^= 1;
                let mut fetch = |wanted: &Digest, at_level: u8| {
                    let sound = || blocks[&(*wanted, at_level)].to_vec();
                    let found = if wanted == digest { damaged.clone() } else { sound() };
                    Ok::<_, Infallible>(found)
                };
                let result = read(&encoded.content, &mut fetch);
                assert!(matches!(result, Err(ReadError::Digest { .. })), "{result:?}");
            }
        }
        let Content::Tree { root, level, len } = encoded.content else { panic!("a tree") };
        let wrong = Content::Tree { root, level, len: len + 1 };
        let mut fetch = |digest: &Digest, level| blocks.get(&(*digest, level)).ok_or("missing");
        assert!(matches!(read(&wrong, &mut fetch), Err(ReadError::Length { .. })));
    }

    #[derive(Debug, Clone)]
    enum Edit {
        Splice(prop::sample::Index, usize, usize),
        Truncate(prop::sample::Index),
        Double,
        Fill(usize),
    }

    fn edit() -> impl Strategy<Value = Edit> {
        prop_oneof![
            6 => (any::<prop::sample::Index>(), 0..2000usize, 0..2000usize)
                .prop_map(|(at, removed, inserted)| Edit::Splice(at, removed, inserted)),
            1 => any::<prop::sample::Index>().prop_map(Edit::Truncate),
            1 => Just(Edit::Double),
            1 => (0..5000usize).prop_map(Edit::Fill),
        ]
    }

    fn edited(mut bytes: Vec<u8>, edit: &Edit) -> Vec<u8> {
        match edit {
            Edit::Splice(at, removed, inserted) => {
                let at = at.index(bytes.len() + 1);
                let removed = (*removed).min(bytes.len() - at);
                bytes.splice(at..at + removed, noise(*inserted, at as u64));
            }
            Edit::Truncate(at) => bytes.truncate(at.index(bytes.len() + 1)),
            Edit::Double => bytes.extend_from_within(..bytes.len().min(30_000)),
            Edit::Fill(len) => bytes.resize(bytes.len() + len, b' '),
        }
        bytes
    }

    proptest! {
        #[test]
        fn follows_any_edits(
            start in 0..60_000usize,
            steps in prop::collection::vec(prop::collection::vec(edit(), 1..4), 1..6),
        ) {
            let mut tracked = Tracked::new(small());
            let mut blocks = Blocks::new();
            let mut bytes = noise(start, 6);
            check_replace(&mut tracked, &mut blocks, bytes.clone());
            for edits in steps {
                bytes = edits.iter().fold(bytes, edited);
                check_replace(&mut tracked, &mut blocks, bytes.clone());
            }
        }
    }
}
