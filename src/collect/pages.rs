//! Directories named from the bottom up.
//!
//! Only directories in which something changed are named again; of a long one only the pages that
//! are new are handed over. By then all that they name was handed over.

use super::known::{Dir, Known};
use super::sink::{Outbox, Sink, SinkError};
use crate::encode::Block;
use crate::encode::directory::{self, Pages};
use crate::state::Digest;

/// Names every directory whose pages no longer fit. What could not be handed over stays to be done.
pub(super) fn encode(known: &mut Known, sink: &Sink<'_>) -> Result<(), SinkError> {
    let mut outbox = Outbox::new(sink);
    while let Some(id) = known.pop_stale() {
        let Some(dir) = known.dir(id) else { continue };
        let Pages { root, blocks } = directory::encode(&known.tree_entries(dir));
        let all = digests(&blocks);
        let new: Vec<Block> =
            blocks.into_iter().filter(|block| !holds(dir, &block.digest)).collect();
        // Noted before it is handed over: then a failure leaves it to be handed over again.
        known.set_pages(id, root, all);
        for block in new {
            outbox.put(block)?;
        }
    }
    outbox.flush()
}

/// The digests of a directory's blocks, where there are several.
fn digests(blocks: &[Block]) -> Box<[Digest]> {
    if blocks.len() == 1 {
        return Box::default();
    }
    let mut all: Vec<Digest> = blocks.iter().map(|block| block.digest).collect();
    all.sort_unstable();
    all.into()
}

/// Whether a block is among those of a directory that lie in the store.
fn holds(dir: &Dir, digest: &Digest) -> bool {
    let is_root = dir.pages.is_some_and(|(root, _)| root == *digest);
    dir.stored && (is_root || dir.blocks.binary_search(digest).is_ok())
}
