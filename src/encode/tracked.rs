//! An agent's last bytes, with all that makes the next encoding cost only what changed.
//!
//! [`Tracked`] assumes that what it encoded last is in the store: the next encoding names only the
//! blocks that were not part of it. Whoever fails to store an encoding calls [`Tracked::forget`].
//! Contents and digests are the same as those of a complete encoding of the same bytes.
//!
//! Bytes are taken as they are: that they are one JSON object is for
//! [`validate_object`](super::validate_object) to say before [`Tracked::replace`].

use std::sync::Arc;

use super::content::{Block, Content};
use super::hash::HashTree;
use super::outline::Outline;
use super::patch::{self, Limits};
use super::regroup::{Group, Region, Splice};
use super::tree::{
    Cutter, NewBlocks, Tree, moved_or_new, splices_by_comparing, splices_of_regions,
};
use super::{Error, Options, validate_object};
use crate::state::Digest;

/// A value in the outline takes some 40 bytes; where values are shorter than that, an outline may
/// become much larger than the state, and is made anew for each patch instead.
const OUTLINE_BYTES_PER_VALUE: usize = 40;
/// An outline this small is kept in any case.
const OUTLINE_VALUES_MIN: usize = 10_000;

/// A state on its way to the store.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// What the record says.
    pub content: Content,
    /// The BLAKE3 of the bytes.
    pub state_digest: Digest,
    /// Length of the state in bytes.
    pub len: u64,
    /// All blocks that were not part of the predecessor, and seldom one that was; children before
    /// parents, each once.
    pub blocks: Vec<Block>,
    /// The state.
    pub bytes: Arc<Vec<u8>>,
    /// Whether `blocks` are all there are, with no predecessor to lean on.
    pub complete: bool,
}

/// Encodes `bytes` with every block.
#[must_use]
pub fn encode_complete(bytes: Arc<Vec<u8>>, options: &Options) -> Encoded {
    Tracked::new(*options).replace(bytes)
}

/// What is remembered of an agent's last state.
#[derive(Debug, Clone)]
pub struct Tracked {
    options: Options,
    bytes: Arc<Vec<u8>>,
    tree: Tree,
    hash: HashTree,
    /// Of `bytes`, once a patch asked for it.
    outline: Option<Outline>,
}

impl Tracked {
    /// Nothing is known yet; the first encoding is complete.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let (tree, hash) = (Tree::default(), HashTree::default());
        Self { options, bytes: Arc::default(), tree, hash, outline: None }
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
        self.outline = None;
        self.encode(|chunks, cutter, blocks| splices_by_comparing(&old, chunks, cutter, blocks))
    }

    /// Applies an RFC 6902 or RFC 7396 patch to the last state and encodes the outcome.
    ///
    /// The bytes are changed in place where nobody else holds them, and copied where someone does.
    ///
    /// # Errors
    /// When there is no last state, when it is not one JSON object, or when the patch does not
    /// apply; the state is as before then.
    pub fn patch(&mut self, patch: &[u8]) -> Result<Encoded, Error> {
        let Options { depth_max, state_bytes_max: bytes_max, .. } = self.options;
        let mut outline = if let Some(outline) = self.outline.take() {
            outline
        } else {
            validate_object(&self.bytes, depth_max)?;
            Outline::of(&self.bytes)
        };
        let limits = Limits { depth_max, bytes_max };
        let bytes = Arc::make_mut(&mut self.bytes);
        let mut changed = patch::apply(bytes, &mut outline, patch, limits)?;
        let remembered_max = OUTLINE_VALUES_MIN.max(self.bytes.len() / OUTLINE_BYTES_PER_VALUE);
        self.outline = Some(outline).filter(|outline| outline.known() <= remembered_max);
        if self.tree.chunks().is_empty() {
            changed = vec![Region { old: 0..0, new: 0..self.bytes.len() }];
        }
        Ok(self
            .encode(|chunks, cutter, blocks| splices_of_regions(chunks, &changed, cutter, blocks)))
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
            state_digest: self.hash.update(&self.bytes, std::slice::from_ref(&(0..usize::MAX))),
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
    fn an_end_that_moves_by_a_byte_is_no_special_case() {
        let bytes = noise(4000, 7);
        for len in 200..bytes.len() - 3 {
            let mut tracked = Tracked::new(small());
            for len in [len, len - 3, len + 3, len + 1, len + 2, len] {
                let encoded = tracked.replace(Arc::new(bytes[..len].to_vec()));
                let complete = encode_complete(Arc::clone(&encoded.bytes), &tracked.options);
                assert_eq!(encoded.content, complete.content, "{len} bytes");
            }
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

    fn tracked(state: &[u8]) -> (Tracked, Blocks) {
        let mut tracked = Tracked::new(small());
        let mut blocks = Blocks::new();
        check_replace(&mut tracked, &mut blocks, state.to_vec());
        (tracked, blocks)
    }

    /// Patches, and checks all that is promised of the encoding.
    fn check_patch(tracked: &mut Tracked, blocks: &mut Blocks, patch: &[u8]) -> Result<(), Error> {
        let encoded = tracked.patch(patch)?;
        store(blocks, &encoded);
        let bytes = encoded.bytes.to_vec();
        assert_eq!(read_back(blocks, &encoded.content), bytes);
        assert_eq!(encoded.state_digest, Digest::of(&bytes));
        drop(encoded.bytes);
        validate_object(&bytes, 96).expect("a patched state is sound");
        let complete = encode_complete(Arc::new(bytes), &tracked.options);
        assert_eq!(encoded.content, complete.content, "equal bytes have equal roots");
        Ok(())
    }

    #[test]
    fn a_patch_costs_the_chunks_it_touches_and_no_copy() {
        let mut tracked = Tracked::new(Options::default());
        tracked.replace(Arc::new(messages(4000)));
        // The first patch finds the outline, and may have to make room.
        tracked.patch(br#"[{"op":"add","path":"/messages/-","value":{}}]"#).unwrap();
        for turn in 0..50 {
            let text = blake3::hash(&[turn]).to_hex().repeat(8);
            let patch = format!(
                r#"[{{"op":"replace","path":"/turn","value":{turn}}},
                    {{"op":"add","path":"/messages/-","value":{{"content":"{text}"}}}}]"#
            );
            let before = tracked.bytes().as_ptr();
            let encoded = tracked.patch(patch.as_bytes()).unwrap();
            assert_eq!(before, encoded.bytes.as_ptr(), "changed in place");
            let (chunks, nodes) = counts(&encoded);
            assert!(chunks <= 5 && nodes <= 5, "{chunks} chunks and {nodes} nodes");
        }
    }

    #[test]
    fn a_patch_that_fails_leaves_the_state() {
        let state = messages(100);
        let (mut tracked, mut blocks) = tracked(&state);
        let fails = br#"[{"op":"remove","path":"/messages/3"},{"op":"remove","path":"/none"}]"#;
        assert!(matches!(tracked.patch(fails), Err(Error::Patch(_))));
        assert_eq!(**tracked.bytes(), state);
        check_patch(&mut tracked, &mut blocks, br#"{"turn":7}"#).unwrap();
        assert!(matches!(Tracked::new(small()).patch(b"{}"), Err(Error::Json(_))));
    }

    /// RFC 6902 on parsed values, written for plainness.
    mod reference {
        use serde_json::{Value, json};

        fn parent<'a>(root: &'a mut Value, path: &str) -> Option<(&'a mut Value, String)> {
            let (above, token) = path.rsplit_once('/')?;
            Some((root.pointer_mut(above)?, token.replace("~1", "/").replace("~0", "~")))
        }

        fn add(root: &mut Value, path: &str, value: Value) -> Option<()> {
            let (parent, token) = parent(root, path)?;
            match parent {
                Value::Object(members) => drop(members.insert(token, value)),
                Value::Array(items) => {
                    let at = if token == "-" { items.len() } else { token.parse().ok()? };
                    (at <= items.len()).then(|| items.insert(at, value))?;
                }
                _ => return None,
            }
            Some(())
        }

        fn remove(root: &mut Value, path: &str) -> Option<Value> {
            let (parent, token) = parent(root, path)?;
            match parent {
                Value::Object(members) => members.shift_remove(&token),
                Value::Array(items) => {
                    let at: usize = token.parse().ok()?;
                    (at < items.len()).then(|| items.remove(at))
                }
                _ => None,
            }
        }

        pub fn apply(root: &mut Value, operations: &Value) -> Option<()> {
            for operation in operations.as_array()? {
                let text = |name: &str| operation[name].as_str().unwrap();
                let path = text("path");
                let value = operation["value"].clone();
                match text("op") {
                    "add" => add(root, path, value)?,
                    "replace" => *root.pointer_mut(path)? = value,
                    "remove" => drop(remove(root, path)?),
                    "copy" => {
                        let copied = root.pointer(text("from"))?.clone();
                        add(root, path, copied)?;
                    }
                    "move" if path == text("from") => drop(root.pointer(path)?),
                    "move" if path.starts_with(&format!("{}/", text("from"))) => return None,
                    "move" => {
                        let moved = remove(root, text("from"))?;
                        add(root, path, moved)?;
                    }
                    "test" => (*root.pointer(path)? == value).then_some(())?,
                    _ => return None,
                }
            }
            Some(())
        }

        pub fn merge(target: &mut Value, patch: &Value) {
            let Value::Object(members) = patch else { return *target = patch.clone() };
            if !target.is_object() {
                *target = json!({});
            }
            let target = target.as_object_mut().unwrap();
            for (key, value) in members {
                if value.is_null() {
                    target.shift_remove(key);
                } else {
                    merge(target.entry(key).or_insert(Value::Null), value);
                }
            }
        }
    }

    const KEYS: [&str; 5] = ["a", "b", "", "k/~", "\"\u{e4}\n"];

    fn value(leaf_chars: usize) -> impl Strategy<Value = serde_json::Value> {
        use serde_json::Value;
        let leaf = prop_oneof![
            Just(Value::Null),
            (0..9i64).prop_map(Value::from),
            (0..=leaf_chars).prop_map(|len| Value::from("\u{e4}x\"".repeat(len))),
        ];
        leaf.prop_recursive(4, 24, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec((prop::sample::select(&KEYS[..]), inner), 0..5)
                    .prop_map(|members| members.into_iter().collect()),
            ]
        })
    }

    fn object() -> impl Strategy<Value = serde_json::Value> {
        prop::collection::vec((prop::sample::select(&KEYS[..]), value(200)), 1..6)
            .prop_map(|members| members.into_iter().collect())
    }

    fn pointer() -> impl Strategy<Value = String> {
        let token = prop_oneof![
            prop::sample::select(&KEYS[..])
                .prop_map(|key| key.replace('~', "~0").replace('/', "~1")),
            prop::sample::select(&["0", "1", "2", "-"][..]).prop_map(str::to_owned),
        ];
        prop::collection::vec(token, 1..4).prop_map(|tokens| {
            tokens.into_iter().fold(String::new(), |path, token| path + "/" + &token)
        })
    }

    fn operation() -> impl Strategy<Value = serde_json::Value> {
        let op =
            prop::sample::select(&["add", "add", "replace", "remove", "copy", "move", "test"][..]);
        (op, pointer(), pointer(), value(200)).prop_map(|(op, path, from, value)| {
            serde_json::json!({ "op": op, "path": path, "from": from, "value": value })
        })
    }

    fn check_against(
        state: &serde_json::Value,
        pretty: bool,
        sequence: &[serde_json::Value],
        apply: impl Fn(&mut serde_json::Value, &serde_json::Value) -> Option<()>,
    ) {
        let text =
            if pretty { serde_json::to_vec_pretty(state) } else { serde_json::to_vec(state) };
        let (mut tracked, mut blocks) = tracked(&text.unwrap());
        let mut expected = state.clone();
        for patch in sequence {
            let mut next = expected.clone();
            let applies = apply(&mut next, patch).is_some();
            let outcome = check_patch(&mut tracked, &mut blocks, patch.to_string().as_bytes());
            assert_eq!(outcome.is_ok(), applies, "{patch} on {expected}: {outcome:?}");
            if applies {
                expected = next;
            }
            let found: serde_json::Value = serde_json::from_slice(tracked.bytes()).unwrap();
            assert_eq!(found, expected, "after {patch}");
        }
    }

    proptest! {
        #[test]
        fn operations_do_what_they_do_to_values(
            state in object(),
            pretty: bool,
            patches in prop::collection::vec(prop::collection::vec(operation(), 1..4), 1..12),
        ) {
            let patches: Vec<serde_json::Value> = patches.into_iter().map(Into::into).collect();
            check_against(&state, pretty, &patches, reference::apply);
        }

        #[test]
        fn merges_do_what_they_do_to_values(
            state in object(),
            pretty: bool,
            patches in prop::collection::vec(object(), 1..6),
        ) {
            check_against(&state, pretty, &patches, |state, patch| {
                reference::merge(state, patch);
                Some(())
            });
        }
    }

    /// Prints what encodings take; run with `--release -- --ignored --nocapture encode`.
    #[test]
    #[ignore = "a measurement"]
    #[expect(clippy::disallowed_methods, reason = "it measures")]
    fn measure() {
        fn median(what: &str, mut once: impl FnMut() -> std::time::Duration) {
            let mut times: Vec<_> = (0..301).map(|_| once()).collect();
            times.sort();
            println!("{what}: p50 {:?}, p90 {:?}", times[150], times[270]);
        }
        let timed = |work: &mut dyn FnMut()| {
            let start = std::time::Instant::now();
            work();
            start.elapsed()
        };
        let count = (1 << 20) / 550;
        let base = Arc::new(messages(count));
        println!("{} bytes", base.len());
        median("validate", || timed(&mut || validate_object(&base, 96).unwrap()));
        median("blake3", || timed(&mut || assert_ne!(Digest::of(&base), Digest([0; 32]))));
        median("complete", || {
            let copy = Arc::new(base.to_vec());
            timed(&mut || drop(encode_complete(Arc::clone(&copy), &Options::default())))
        });
        let mut tail = base.to_vec();
        let more = format!(r#",{{"role":"user","content":"{}"}}"#, "Words, words. ".repeat(70));
        tail.splice(tail.len() - 2..tail.len() - 2, more.bytes());
        let mut changed = tail.clone();
        changed[8] = b'9';
        let mut longer = tail.clone();
        longer.splice(8..8, *b"1");
        for (what, new) in [
            ("replace, tail", tail),
            ("replace, tail and a digit at the head", changed),
            ("replace, tail and one digit more at the head", longer),
        ] {
            let mut known = Tracked::new(Options::default());
            known.replace(Arc::clone(&base));
            median(what, || {
                let mut tracked = known.clone();
                let new = Arc::new(new.clone());
                timed(&mut || drop(tracked.replace(Arc::clone(&new))))
            });
        }
        for count in [count, 2 * count, 16 * count] {
            let mut tracked = Tracked::new(Options::default());
            tracked.replace(Arc::new(messages(count)));
            let patch = format!(r#"[{{"op":"add","path":"/messages/-","value":{}}}]"#, &more[1..]);
            median(&format!("patch of {} bytes", tracked.bytes().len()), || {
                timed(&mut || drop(tracked.patch(patch.as_bytes()).unwrap()))
            });
        }
    }
}
