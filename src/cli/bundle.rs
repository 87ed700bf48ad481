//! `export` and `import`: one checkpoint in one file.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use uuid::Uuid;

use super::checkpoint::in_words;
use super::failure::Failure;
use super::output::size;
use super::session::Session;
use crate::disk::{DiskFile, Durability, publish_with};
use crate::server::api::{self, ImportBody};
use crate::server::reach::Reach;
use crate::state::{AgentId, Receipt};

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  stateward export good agent.stateward")]
pub(super) struct Export {
    /// A number, a path, an id or its first digits, latest, latest:KIND, or good
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
    let owner = arguments.owner.as_ref().unwrap_or_else(|| session.agent_id());
    let from_stdin = arguments.file == Path::new("-");
    let receipt = session.reach_or_make(&session.store(), |reach| match reach {
        Reach::Here(manager) if from_stdin => {
            let import = || manager.agent(owner.as_str())?.import_from(&mut io::stdin().lock());
            Ok(session.watching(manager, import)?)
        }
        Reach::There(_) if from_stdin => {
            let file = std::env::temp_dir().join(format!("stateward-import-{}", Uuid::new_v4()));
            keep_stdin(session, &file)?;
            let taken = take_in(session, reach, owner, file.clone());
            session
                .disk
                .remove_file(&file)
                .map_err(|source| Failure::Write { path: file, source })?;
            taken
        }
        _ => take_in(session, reach, owner, session.absolute(&arguments.file)),
    })?;
    session.out.data(&receipt, || in_words(&receipt))
}

fn take_in(
    session: &Session,
    reach: &Reach,
    owner: &AgentId,
    file: PathBuf,
) -> Result<Receipt, Failure> {
    let import = api::Import { agent: owner.clone(), body: ImportBody { file } };
    session.call(reach, import)
}

/// Brings what comes on stdin to a file, which a sidecar can read.
fn keep_stdin(session: &Session, file: &Path) -> Result<(), Failure> {
    publish_with(&*session.disk, file, Durability::Unsynced, |target| {
        io::copy(&mut io::stdin().lock(), &mut Cursor { file: target, at: 0 }).map(|_| ())
    })?;
    Ok(())
}

/// Bytes written at a time.
const BUFFER: usize = 1 << 20;

/// A file of the disk that is written from its beginning to its end.
struct Cursor<'a> {
    file: &'a dyn DiskFile,
    at: u64,
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
