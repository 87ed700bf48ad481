//! `export` and `import`: one checkpoint in one file.

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::checkpoint::in_words;
use super::failure::Failure;
use super::output::{self, size};
use super::session::Session;
use super::source::bounded;
use crate::disk::{self, Durability, publish};
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
    let bundle = agent.export(reference)?;
    if file == Path::new("-") {
        return output::bytes(&bundle);
    }
    let file = session.absolute(file);
    publish(&*session.disk, &file, &bundle, Durability::Synced)?;
    let told = json!({ "requested": reference, "file": file, "bytes": bundle.len() });
    session.out.data(&told, || {
        format!("Wrote {reference} to {} ({}).", file.display(), size(bundle.len() as u64))
    })
}

pub(super) fn import(session: &Session, arguments: &Import) -> Result<(), Failure> {
    let bundle = read(session, &arguments.file)?;
    let owner = arguments.owner.as_ref().unwrap_or_else(|| session.agent_id()).as_str();
    let receipt =
        session.write(&session.store(), |manager| Ok(manager.agent(owner)?.import(&bundle)?))?;
    session.out.data(&receipt, || in_words(&receipt))
}

fn read(session: &Session, file: &Path) -> Result<Vec<u8>, Failure> {
    // A bundle holds one state and a few words more.
    let limit = session.configuration.settings.state.state_bytes_max + (4 << 20);
    if file == Path::new("-") {
        return bounded(io::stdin().lock(), limit, file);
    }
    let file = session.absolute(file);
    let read = session.disk.canonical(&file).and_then(|path| disk::read(&*session.disk, &path));
    read.map_err(|source| Failure::Read { path: file, source })
}
