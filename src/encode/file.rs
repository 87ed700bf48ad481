//! The bytes of a file as content, read once and held a window at a time.
//!
//! A file is cut with the sizes of [`ChunkParams::FILE`] and named as [`super::content`] says, so the
//! same bytes have the same root wherever they lie. Where the chunks are known that the file had
//! before, each is first looked for where the bytes stand now: what is found there is hashed and no
//! more; only what is not found is cut. A chunk that moved is found again by its digest.

use std::collections::HashMap;

use fastcdc::v2020::FastCDC;

use super::content::{Block, ChildRef, ChunkParams, Slice, node_items, write_node};
use super::directory::Root;
use super::regroup::LOOKAHEAD;
use crate::state::Digest;

/// Bytes of a file that are held at once.
const WINDOW: usize = 1 << 20;

/// Reads a file to its end through `read`, which fills a buffer from where it stands and answers 0
/// only at the end, and hands the blocks that are not among `old` to `emit`, children before
/// parents. `old` are the chunks of the file's content before, in order; empty where none are known.
/// Answers the length and the root of the content; none for an empty file.
///
/// # Errors
/// As `read` and `emit` give them.
pub(crate) fn encode_file<E>(
    read: &mut dyn FnMut(&mut [u8]) -> Result<usize, E>,
    old: &[ChildRef],
    emit: &mut dyn FnMut(Block) -> Result<(), E>,
) -> Result<(u64, Option<Root>), E> {
    let mut window = Window::new(read)?;
    let mut walk = Walk { old, next: 0, by_digest: None };
    let mut chunks = Vec::new();
    while !window.bytes().is_empty() {
        let (chunk, is_new) = walk.chunk(&window);
        let len = usize::try_from(chunk.len).expect("a chunk lies in the window");
        if is_new {
            let data = Slice::from(window.bytes()[..len].to_vec());
            emit(Block { digest: chunk.digest, level: 0, data })?;
        }
        chunks.push(chunk);
        window.advance(len)?;
    }
    let len = chunks.iter().map(|chunk| chunk.len).sum();
    Ok((len, raise(chunks, emit)?))
}

/// Builds the nodes over chunks.
fn raise<E>(
    chunks: Vec<ChildRef>,
    emit: &mut dyn FnMut(Block) -> Result<(), E>,
) -> Result<Option<Root>, E> {
    let mut level = 0;
    let mut refs = chunks;
    while refs.len() > 1 {
        level += 1;
        let mut above = Vec::with_capacity(refs.len() / 16 + 1);
        let mut rest = refs.as_slice();
        while !rest.is_empty() {
            let (own, after) = rest.split_at(node_items(rest.iter().map(|child| &child.digest)));
            let mut bytes = Vec::new();
            write_node(&mut bytes, level, own.iter().copied());
            let digest = Digest::of(&bytes);
            emit(Block { digest, level, data: Slice::from(bytes) })?;
            above.push(ChildRef { digest, len: own.iter().map(|child| child.len).sum() });
            rest = after;
        }
        refs = above;
    }
    Ok(refs.first().map(|top| (top.digest, level)))
}

/// The old chunks, and how far into them the file has gone.
struct Walk<'a> {
    old: &'a [ChildRef],
    next: usize,
    by_digest: Option<HashMap<Digest, usize>>,
}

impl Walk<'_> {
    /// The chunk that begins the window, and whether it was not there before.
    fn chunk<E>(&mut self, window: &Window<'_, E>) -> (ChildRef, bool) {
        if let Some(known) = self.stands_here(window) {
            self.next += 1;
            return (known, false);
        }
        let ChunkParams { min_bytes, avg_bytes, max_bytes } = ChunkParams::FILE;
        let bytes = window.bytes();
        let (_, end) = FastCDC::new(bytes, min_bytes, avg_bytes, max_bytes).cut(0, bytes.len());
        let chunk = ChildRef { digest: Digest::of(&bytes[..end]), len: end as u64 };
        let found = self.look_up(&chunk.digest);
        if let Some(at) = found {
            self.next = at + 1;
        }
        (chunk, found.is_none())
    }

    /// The next old chunk, where its bytes stand here and would be cut here.
    fn stands_here<E>(&self, window: &Window<'_, E>) -> Option<ChildRef> {
        let known = *self.old.get(self.next)?;
        let len = usize::try_from(known.len).ok()?;
        let bytes = window.bytes();
        let was_last = self.next + 1 == self.old.len();
        let ends_alike = if window.is_last() && bytes.len() == len {
            true
        } else {
            !was_last && bytes.len() >= len + LOOKAHEAD
        };
        (ends_alike && Digest::of(&bytes[..len]) == known.digest).then_some(known)
    }

    fn look_up(&mut self, digest: &Digest) -> Option<usize> {
        let old = self.old;
        let index = self.by_digest.get_or_insert_with(|| {
            old.iter().enumerate().rev().map(|(at, chunk)| (chunk.digest, at)).collect()
        });
        index.get(digest).copied()
    }
}

/// The part of a file that is held: at least a chunk of the largest size, and what decides its end,
/// as long as the file has as much.
struct Window<'a, E> {
    read: &'a mut dyn FnMut(&mut [u8]) -> Result<usize, E>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    at_end: bool,
}

impl<'a, E> Window<'a, E> {
    fn new(read: &'a mut dyn FnMut(&mut [u8]) -> Result<usize, E>) -> Result<Self, E> {
        let mut window = Self { read, buffer: Vec::new(), start: 0, end: 0, at_end: false };
        window.fill()?;
        Ok(window)
    }

    fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Whether the window reaches to the end of the file.
    fn is_last(&self) -> bool {
        self.at_end
    }

    fn advance(&mut self, len: usize) -> Result<(), E> {
        self.start += len;
        let enough = ChunkParams::FILE.max_bytes + LOOKAHEAD;
        if self.at_end || self.end - self.start >= enough { Ok(()) } else { self.fill() }
    }

    fn fill(&mut self) -> Result<(), E> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        while !self.at_end {
            if self.end == self.buffer.len() {
                if self.end >= WINDOW {
                    break;
                }
                // Most files are small, and hold no window's worth.
                self.buffer.resize((self.end * 8).clamp(16 << 10, WINDOW), 0);
            }
            match (self.read)(&mut self.buffer[self.end..])? {
                0 => self.at_end = true,
                read => self.end += read,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::super::{Content, Encoded, Options, encode_complete};
    use super::*;

    fn encode(bytes: &[u8], old: &[ChildRef], step: usize) -> (u64, Option<Root>, Vec<Block>) {
        let mut rest = bytes;
        let mut blocks = Vec::new();
        let mut read = |buffer: &mut [u8]| {
            let len = buffer.len().min(rest.len()).min(step);
            buffer[..len].copy_from_slice(&rest[..len]);
            rest = &rest[len..];
            Ok::<_, Infallible>(len)
        };
        let mut emit = |block| {
            blocks.push(block);
            Ok(())
        };
        let Ok((len, root)) = encode_file(&mut read, old, &mut emit);
        (len, root, blocks)
    }

    /// What the encoder of whole byte strings makes of it.
    fn reference(bytes: &[u8]) -> Encoded {
        let options =
            Options { inline_bytes_max: 0, chunks: ChunkParams::FILE, ..Options::default() };
        encode_complete(Arc::new(bytes.to_vec()), &options)
    }

    fn noise(seed: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }

    fn chunks_of(bytes: &[u8]) -> Vec<ChildRef> {
        let (_, _, blocks) = encode(bytes, &[], usize::MAX);
        let chunks = blocks.into_iter().filter(|block| block.level == 0);
        chunks.map(|one| ChildRef { digest: one.digest, len: one.data.len() as u64 }).collect()
    }

    #[test]
    fn a_file_has_the_root_of_its_bytes_however_it_is_read() {
        for len in [1, 100, 16 << 10, 300_000, 3_000_001] {
            let bytes = noise(7, len);
            let (root, level) = match reference(&bytes).content {
                Content::Tree { root, level, .. } => (root, level),
                Content::Inline(bytes) => (Digest::of(&bytes), 0),
            };
            for step in [usize::MAX, 4096, 100_003] {
                let (found, top, _) = encode(&bytes, &[], step);
                assert_eq!((found, top), (len as u64, Some((root, level))), "{len} by {step}");
            }
        }
        assert_eq!(encode(&[], &[], 1).1, None);
    }

    #[test]
    fn what_moved_is_not_written_again() {
        let old = noise(1, 4_000_000);
        let mut new = old.clone();
        new.insert(1_500_000, 7);
        let (_, top, blocks) = encode(&new, &chunks_of(&old), usize::MAX);
        assert_eq!(top, encode(&new, &[], usize::MAX).1);
        let chunks = blocks.iter().filter(|block| block.level == 0).count();
        assert!(chunks <= 2, "{chunks} chunks written anew");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn knowing_the_old_chunks_changes_no_root(
            len in 0..900_000usize, cut in 0..900_000usize, gone in 0..200_000usize, added in 0..200_000usize,
        ) {
            let old = noise(3, len);
            let mut new = old.clone();
            let from = cut.min(len);
            new.splice(from..(from + gone).min(len), noise(4, added));
            let (found, top, _) = encode(&new, &chunks_of(&old), 65_537);
            prop_assert_eq!((found, top), { let (l, t, _) = encode(&new, &[], usize::MAX); (l, t) });
        }
    }
}
