//! Bundles: a checkpoint with all its parts in one file, to carry elsewhere.
//!
//! ```text
//! bundle   0 magic "STWDBNDL"   8 version u32   12 header length u32   16 header (JSON)
//!          … state, byte for byte   … blocks   … BLAKE3 of all before (32)
//! block    level u8 · length u32 · digest (32) · bytes
//! ```
//!
//! The header holds the facts of the checkpoint, the length of the state, and, as hexadecimal fields
//! of its manifest, the workspace and the state files; the blocks are all that these name, each once,
//! with those that name others before what they name. Version 1 had no blocks.
//!
//! Whoever imports a bundle gets a new checkpoint, with an id and a number of its own, that says
//! where it came from; a restore in place never writes to a path that came from elsewhere.

use std::collections::HashSet;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::admission::WantedPart;
use super::agent::Agent;
use super::error::Error;
use super::files::Reader;
use super::progress::{Count, Work};
use crate::disk::{Access, DiskFile};
use crate::encode::directory::{self, Root};
use crate::encode::manifest::Manifest;
use crate::encode::parts::{StateFiles, Workspace};
use crate::encode::{Block, Slice};
use crate::state::{Checkpoint, Digest, Kind, Receipt};
use crate::store::{Ahead, Brought, hex, unhex};

const MAGIC: &[u8; 8] = b"STWDBNDL";
const VERSION: u32 = 2;
/// Longer headers and blocks are not believed: a header holds a checkpoint's facts, and a block is a
/// chunk, a node or a page.
const HEADER_BYTES_MAX: usize = 16 << 20;
const BLOCK_BYTES_MAX: usize = 32 << 20;

/// Bytes of a file that are read at a time.
const READ_BYTES: usize = 1 << 20;

/// A file of the disk from its beginning to its end.
struct FromStart<'a> {
    file: &'a dyn DiskFile,
    at: u64,
}

impl Read for FromStart<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    checkpoint: Checkpoint,
    state_bytes: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    workspace: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state_files: Option<String>,
    #[serde(default)]
    blocks: u64,
}

impl Agent {
    /// One byte string that holds a checkpoint.
    ///
    /// # Errors
    /// As [`Agent::export_to`].
    pub fn export(&self, reference: &str) -> Result<Vec<u8>, Error> {
        let mut bundle = Vec::new();
        self.export_to(reference, &mut bundle)?;
        Ok(bundle)
    }

    /// Writes a checkpoint with all its parts, and answers the bytes written.
    ///
    /// # Errors
    /// As [`Agent::read_checkpoint`]; and what `out` answers.
    pub fn export_to(&self, reference: &str, out: &mut dyn Write) -> Result<u64, Error> {
        let loaded = self.read_checkpoint(reference)?;
        let state = loaded.state_bytes().unwrap_or_default();
        let found = self.resolve(&loaded.checkpoint().checkpoint_id.to_string()).ok();
        let reader = found.as_ref().map(|found| Reader::of(self, found));
        let manifest = found.as_ref().map(|found| &found.held.manifest);
        let blocks = match (&reader, manifest) {
            (Some(reader), Some(manifest)) => all_blocks(reader, manifest)?,
            _ => Vec::new(),
        };
        let header = Header {
            checkpoint: loaded.checkpoint().clone(),
            state_bytes: state.len() as u64,
            workspace: manifest.and_then(|it| it.workspace.as_ref()).map(|it| hex(&it.encode())),
            state_files: manifest
                .and_then(|it| it.state_files.as_ref())
                .map(|it| hex(&it.encode())),
            blocks: blocks.len() as u64,
        };
        let mut out = Proving::over(out);
        out.put(&opening(&header)?)?;
        out.put(state)?;
        let count = Count::of(self.committer(), Work::Exporting, blocks.len() as u64);
        for root in blocks {
            let Some(reader) = &reader else { continue };
            let bytes = reader.block(root)?;
            let len = u32::try_from(bytes.len()).map_err(|_| bad("a block is too long"))?;
            out.put(&[root.1])?;
            out.put(&len.to_le_bytes())?;
            out.put(&root.0.0)?;
            out.put(&bytes)?;
            count.add(bytes.len() as u64);
        }
        out.close()
    }

    /// Takes a bundle in as a new checkpoint of this agent.
    ///
    /// # Errors
    /// As [`Agent::import_from`].
    pub fn import(&self, bundle: &[u8]) -> Result<Receipt, Error> {
        self.import_from(&mut &*bundle)
    }

    /// Takes in the bundle that a file holds.
    ///
    /// # Errors
    /// As [`Agent::import_from`]; `not_found` where there is no such file.
    pub fn import_file(&self, path: &Path) -> Result<Receipt, Error> {
        let disk = self.disk();
        let opened = disk.canonical(path).and_then(|path| disk.open(&path, Access::Read));
        let file = opened.map_err(|source| Error::Unread { path: path.to_owned(), source })?;
        let from = FromStart { file: &*file, at: 0 };
        self.import_from(&mut BufReader::with_capacity(READ_BYTES, from))
    }

    /// Reads a bundle to its end and takes it in as a new checkpoint of this agent.
    ///
    /// # Errors
    /// `usage` for what is no bundle, or not whole; else as [`super::Request::commit`].
    pub fn import_from(&self, bundle: &mut dyn Read) -> Result<Receipt, Error> {
        let mut bundle = Proven::over(bundle);
        let header = read_header(&mut bundle)?;
        let limit = self.committer().encode.state_bytes_max;
        let state_bytes = usize::try_from(header.state_bytes).ok().filter(|len| *len <= limit);
        let state = bundle.take(state_bytes.ok_or_else(|| bad("its state is too long"))?)?;
        let store = self.committer().store_for_content(&[], &mut Vec::new())?;
        let ahead = Ahead::new(&store, self.committer().retry);
        let mut content = Content::default();
        let count = Count::of(self.committer(), Work::Importing, header.blocks);
        for _ in 0..header.blocks {
            let block = read_block(&mut bundle)?;
            content.note(&block)?;
            count.add(block.data.len() as u64);
            ahead.put(vec![block]).map_err(|error| Error::Io {
                doing: "keep the bundle's content".to_owned(),
                source: error.last,
            })?;
        }
        bundle.close()?;
        self.take_in(header, state, (content, ahead.finish()))
    }

    fn take_in(
        &self,
        header: Header,
        state: Vec<u8>,
        (mut content, brought): (Content, Brought),
    ) -> Result<Receipt, Error> {
        let workspace = header.workspace.map(|it| part(&it, Workspace::decode)).transpose()?;
        let files = header.state_files.map(|it| part(&it, StateFiles::decode)).transpose()?;
        let workspace = workspace.map(|it| Workspace { inherited_from: None, ..it });
        let files = files.map(|it| StateFiles { inherited_from: None, ..it });
        content.named.extend(workspace.iter().flat_map(Workspace::roots));
        content.named.extend(files.iter().flat_map(StateFiles::roots));
        if !content.named.is_subset(&content.came) {
            return Err(bad("it lacks a part of what it names"));
        }
        let it = header.checkpoint;
        let from = format!("imported: {} of {}", it.checkpoint_id, it.agent_id);
        let comment = match &it.comment {
            Some(comment) => format!("{comment} ({from})"),
            None => from,
        };
        let kind = match it.kind {
            // An imported pre_operation checkpoint guards nothing here.
            Kind::PreOperation => Kind::Routine,
            kind => kind,
        };
        let request = self.checkpoint(kind).labels(it.labels).comment(comment).imported();
        let request = request.brought(
            Arc::new(brought),
            workspace.map_or(WantedPart::Nothing, WantedPart::Given),
            files.map_or(WantedPart::Nothing, WantedPart::Given),
        );
        let request = match it.state_digest {
            Some(_) => request.state_bytes(state),
            None => request.without_state(),
        };
        match it.metadata {
            Some(metadata) => request.metadata(metadata).commit(),
            None => request.commit(),
        }
    }
}

/// Everything that a checkpoint's parts name, each once, what names others first.
fn all_blocks(reader: &Reader, manifest: &Manifest) -> Result<Vec<Root>, Error> {
    let mut seen = HashSet::new();
    let mut all = Vec::new();
    let mut waiting: Vec<Root> = manifest.part_roots().collect();
    while let Some(root) = waiting.pop() {
        if !seen.insert(root) {
            continue;
        }
        all.push(root);
        if root.1 > 0 {
            waiting.extend(reader.references(root)?);
        }
    }
    Ok(all)
}

/// The blocks that came with a bundle, and those that they name.
#[derive(Debug, Default)]
struct Content {
    came: HashSet<Root>,
    named: HashSet<Root>,
}

impl Content {
    fn note(&mut self, block: &Block) -> Result<(), Error> {
        let named = directory::references(block.level, &block.data);
        self.named.extend(named.map_err(|_| bad("a block is damaged"))?);
        self.came.insert((block.digest, block.level));
        Ok(())
    }
}

fn opening(header: &Header) -> Result<Vec<u8>, Error> {
    let header =
        serde_json::to_vec(header).map_err(|source| Error::Json { doing: "serialize", source })?;
    let len = u32::try_from(header.len()).map_err(|_| bad("its facts are too long"))?;
    Ok([&MAGIC[..], &VERSION.to_le_bytes(), &len.to_le_bytes(), &header].concat())
}

fn read_header(bundle: &mut Proven<'_>) -> Result<Header, Error> {
    if bundle.take(8)? != MAGIC {
        return Err(bad("it is no bundle"));
    }
    if bundle.number()? > VERSION {
        return Err(bad("it was made by a newer program"));
    }
    let len = usize::try_from(bundle.number()?).unwrap_or(usize::MAX);
    if len > HEADER_BYTES_MAX {
        return Err(bad("its header is too long"));
    }
    serde_json::from_slice(&bundle.take(len)?).map_err(|error| Error::Bundle(error.to_string()))
}

fn read_block(bundle: &mut Proven<'_>) -> Result<Block, Error> {
    let level = bundle.take(1)?[0];
    let len = usize::try_from(bundle.number()?).unwrap_or(usize::MAX);
    if len > BLOCK_BYTES_MAX {
        return Err(bad("a block is too long"));
    }
    let digest = bundle.take(32)?;
    let bytes = bundle.take(len)?;
    let found = Digest::of(&bytes);
    if found.0[..] != digest[..] {
        return Err(bad("a block is damaged"));
    }
    Ok(Block { digest: found, level, data: Slice::from(bytes) })
}

fn part<T, E>(text: &str, decode: impl Fn(u8, &[u8]) -> Result<T, E>) -> Result<T, Error> {
    let bytes = unhex(text).ok_or_else(|| bad("a part is not hexadecimal"))?;
    decode(0, &bytes).map_err(|_| bad("a part is damaged"))
}

/// Writes, and hashes what it writes.
struct Proving<'a> {
    out: &'a mut dyn Write,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl<'a> Proving<'a> {
    fn over(out: &'a mut dyn Write) -> Self {
        Self { out, hasher: blake3::Hasher::new(), bytes: 0 }
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        self.out.write_all(bytes).map_err(writing)
    }

    fn close(self) -> Result<u64, Error> {
        self.out.write_all(self.hasher.finalize().as_bytes()).map_err(writing)?;
        Ok(self.bytes + 32)
    }
}

fn writing(source: io::Error) -> Error {
    Error::Io { doing: "write the bundle".to_owned(), source }
}

/// Reads, and hashes what it reads.
struct Proven<'a> {
    from: &'a mut dyn Read,
    hasher: blake3::Hasher,
}

impl<'a> Proven<'a> {
    fn over(from: &'a mut dyn Read) -> Self {
        Self { from, hasher: blake3::Hasher::new() }
    }

    fn take(&mut self, len: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        let read = self.from.take(len as u64).read_to_end(&mut bytes).map_err(reading)?;
        if read < len {
            return Err(bad("it is cut short"));
        }
        self.hasher.update(&bytes);
        Ok(bytes)
    }

    fn number(&mut self) -> Result<u32, Error> {
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes(bytes.try_into().map_err(|_| bad("it is cut short"))?))
    }

    fn close(mut self) -> Result<(), Error> {
        let expected = *self.hasher.finalize().as_bytes();
        let found = self.take(32)?;
        let mut more = [0];
        let rest = self.from.read(&mut more).map_err(reading)?;
        if found[..] == expected[..] && rest == 0 { Ok(()) } else { Err(bad("it is damaged")) }
    }
}

fn reading(source: io::Error) -> Error {
    Error::Io { doing: "read the bundle".to_owned(), source }
}

fn bad(why: &str) -> Error {
    Error::Bundle(why.to_owned())
}
