//! `export` and `import`: one checkpoint in one file.

use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::checkpoint::in_words;
use super::failure::Failure;
use super::output::size;
use super::session::Session;
use crate::disk::{Access, DiskFile, Durability, publish_with};
use crate::state::AgentId;

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  stateward export good agent.stateward")]
pub(super) struct Export {
    /// A path, an id or its first digits, latest, latest:KIND, or good
    #[arg(value_name = "REF")]
    reference: String,
    /// The file to write, or - for stdout
    file: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  stateward import agent.stateward --as agent-3")]
pub(super) struct Import {
    /// The file to read, or - for stdin
    file: PathBuf,
    /// Whose it becomes; without it, that of --agent or the configuration
    #[arg(long = "as", value_name = "AGENT")]
    owner: Option<AgentId>,
}

pub(super) fn export(session: &Session, arguments: &Export) -> Result<(), Failure> {
    let Export { reference, file } = arguments;
    let named = session.named_by(reference, false)?;
    let manager = session.look(&named.store)?;
    let agent = session.agent_of(&manager, reference, &named)?;
    if file == Path::new("-") {
        let mut out = io::stdout().lock();
        session.watching(&manager, || agent.export_to(reference, &mut out))?;
        return out.flush().map_err(Failure::of_output);
    }
    let file = session.absolute(file);
    let mut exported = Ok(0);
    let published = publish_with(&*session.disk, &file, Durability::Synced, |target| {
        let mut out = BufWriter::with_capacity(BUFFER, Cursor { file: target, at: 0 });
        exported = session.watching(&manager, || agent.export_to(reference, &mut out));
        match &exported {
            Ok(_) => out.flush(),
            Err(error) => Err(io::Error::other(error.to_string())),
        }
    });
    // What the library says tells more than that the file could not be written.
    let bytes = exported?;
    published?;
    let told = json!({ "requested": reference, "file": file, "bytes": bytes });
    session
        .out
        .data(&told, || format!("Wrote {reference} to {} ({}).", file.display(), size(bytes)))
}

pub(super) fn import(session: &Session, arguments: &Import) -> Result<(), Failure> {
    let owner = arguments.owner.as_ref().unwrap_or_else(|| session.agent_id()).as_str();
    let receipt = session.write(&session.store(), |manager| {
        let agent = manager.agent(owner)?;
        if arguments.file == Path::new("-") {
            let import = || agent.import_from(&mut io::stdin().lock());
            return Ok(session.watching(manager, import)?);
        }
        let file = session.absolute(&arguments.file);
        let opened = session.disk.canonical(&file);
        let opened = opened.and_then(|path| session.disk.open(&path, Access::Read));
        let opened = opened.map_err(|source| Failure::Read { path: file, source })?;
        let cursor = Cursor { file: &*opened, at: 0 };
        let mut bundle = BufReader::with_capacity(BUFFER, cursor);
        Ok(session.watching(manager, || agent.import_from(&mut bundle))?)
    })?;
    session.out.data(&receipt, || in_words(&receipt))
}

/// Bytes read or written at a time.
const BUFFER: usize = 1 << 20;

/// A file of the disk from its beginning to its end.
struct Cursor<'a> {
    file: &'a dyn DiskFile,
    at: u64,
}

impl Read for Cursor<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Write for Cursor<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all_at(bytes, self.at)?;
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
