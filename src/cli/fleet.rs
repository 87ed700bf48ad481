//! The agents of the configuration's tables, each as the `run` that would be written by hand.

use std::ffi::OsString;
use std::path::Path;

use clap::ValueEnum;

use super::failure::Failure;
use super::session::Session;
use crate::config::AgentTable;
use crate::server;
use crate::supervise::Member;

/// The agents that `serve` runs over a store.
pub(super) fn members(session: &Session, store: &Path) -> Result<Vec<Member>, Failure> {
    let tables = &session.configuration.settings.agent.tables;
    let system = |source| server::Error::System { doing: "find this program", source };
    let program = std::env::current_exe().map_err(system)?;
    let member = |table: &AgentTable| Member {
        agent: table.id.clone(),
        program: program.clone(),
        arguments: arguments(session, store, table),
    };
    Ok(tables.iter().map(member).collect())
}

fn arguments(session: &Session, store: &Path, table: &AgentTable) -> Vec<OsString> {
    let mut all: Vec<OsString> = Vec::new();
    let mut flag = |name: &str, value: OsString| all.extend([name.into(), value]);
    flag("--store", store.into());
    flag("--agent", table.id.as_str().into());
    if let Some(file) = session.configuration_file() {
        flag("--config", file.into());
    }
    all.push("run".into());
    let mut flag = |name: &str, value: OsString| all.extend([name.into(), value]);
    flag("--kept-by", std::process::id().to_string().into());
    for (name, path) in [("--workspace", &table.workspace), ("--state", &table.state)] {
        if let Some(path) = path {
            flag(name, session.absolute(path).into());
        }
    }
    for path in &table.state_files {
        flag("--state-file", session.absolute(path).into());
    }
    if let Some(every) = table.every {
        flag("--every", every.to_string().into());
    }
    if let Some(name) = table.restart.as_ref().and_then(named) {
        flag("--restart", name);
    }
    if let Some(name) = table.on_crash.as_ref().and_then(named) {
        flag("--on-crash", name);
    }
    all.push("--".into());
    all.extend(table.command.iter().map(OsString::from));
    all
}

/// A value as it is written on the command line.
fn named(value: &impl ValueEnum) -> Option<OsString> {
    value.to_possible_value().map(|it| it.get_name().into())
}
