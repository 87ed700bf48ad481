//! `restore`, `undo` and `reset`: the way back.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use serde_json::value::RawValue;

use super::failure::Failure;
use super::output::{self, size, talk};
use super::session::{Session, ask};
use super::show::no_state;
use crate::disk::{Durability, publish};
use crate::manager::{Agent, Loaded, RestoreOptions, Restored, WalkedPast};
use crate::restore::Files;
use crate::state::CheckpointId;

const EXAMPLES: &str = "\
Examples:
  stateward restore latest                      put the newest one back in place
  stateward restore good --dry-run              tell what that would do
  stateward restore 0190a1b2 --state-out old.json
  stateward restore .stateward/checkpoints/default/0000000007-routine-….json

In place means: the state goes back into the file it was read from, after a recovery checkpoint of
what is there; `stateward undo` takes it back. With --state-out the state is only written to another
place, and nothing in the store changes.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// A path, an id or its first digits, latest, latest:KIND, or good
    #[arg(value_name = "REF")]
    reference: String,
    /// Only write the state to this file, or - for stdout
    #[arg(long, value_name = "FILE|-", conflicts_with_all = ["force", "live"])]
    state_out: Option<PathBuf>,
    #[command(flatten)]
    manner: Manner,
    /// Take a checkpoint of another agent, or of another store than --store names
    #[arg(long)]
    any_agent: bool,
}

#[derive(Debug, Args)]
pub(super) struct Undo {
    #[command(flatten)]
    manner: Manner,
}

/// How anything is put back in place.
#[derive(Debug, Clone, Copy, Args)]
struct Manner {
    /// Only tell what would be done
    #[arg(long)]
    dry_run: bool,
    /// Replace also what someone else changed
    #[arg(long)]
    force: bool,
    /// Although the agent was seen within the last minute
    #[arg(long)]
    live: bool,
}

impl Manner {
    fn options(self, any_agent: bool) -> RestoreOptions {
        let Self { dry_run, force, live } = self;
        RestoreOptions { dry_run, force, live, any_agent }
    }
}

/// A restore as it is told: the state goes with it where it went nowhere else.
#[derive(Serialize)]
struct Told<'a> {
    requested: &'a str,
    checkpoint_id: CheckpointId,
    walked_past: &'a [WalkedPast],
    tainted: bool,
    recovery_checkpoint_id: Option<CheckpointId>,
    restored_as: Option<CheckpointId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'a RawValue>,
    files: &'a Files,
    dry_run: bool,
}

pub(super) fn restore(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    if let Some(target) = &arguments.state_out {
        return write_out(session, arguments, target);
    }
    let options = arguments.manner.options(arguments.any_agent);
    let reference = &arguments.reference;
    let named = session.named_by(reference, arguments.any_agent)?;
    let restored = session.write(&named.store, |manager| {
        let agent = session.agent_of(manager, reference, &named)?;
        agreed(session, options, |options| Ok(agent.restore(reference, options)?))
    })?;
    tell(session, &restored)
}

pub(super) fn undo(session: &Session, arguments: &Undo) -> Result<(), Failure> {
    let options = arguments.manner.options(false);
    let restored =
        session.with_agent(|agent| agreed(session, options, |options| Ok(agent.undo(options)?)))?;
    tell(session, &restored)
}

pub(super) fn reset(session: &Session) -> Result<(), Failure> {
    let agent = session.agent_id();
    if session.can_ask() {
        ask(&format!("Start agent {agent} afresh? What was kept stays as evidence."))?;
    }
    session.with_agent(|agent| Ok(agent.reset()?))?;
    session.out.data(&serde_json::json!({ "agent_id": agent }), || {
        format!("Agent {agent} starts afresh; what was kept before stays as evidence.")
    })
}

/// Restores; where somebody can be asked, after showing what it will do.
fn agreed(
    session: &Session,
    options: RestoreOptions,
    restore: impl Fn(&RestoreOptions) -> Result<Restored, Failure>,
) -> Result<Restored, Failure> {
    if session.can_ask() && !options.dry_run {
        let plan = restore(&RestoreOptions { dry_run: true, ..options })?;
        talk(&format!("{}\n", in_words(&plan)));
        ask("Do it?")?;
    }
    restore(&options)
}

fn tell(session: &Session, restored: &Restored) -> Result<(), Failure> {
    let state = restored.state_bytes().and_then(raw);
    let told = Told {
        requested: &restored.requested,
        checkpoint_id: restored.checkpoint_id,
        walked_past: &restored.walked_past,
        tainted: restored.tainted,
        recovery_checkpoint_id: restored.recovery_checkpoint_id,
        restored_as: restored.restored_as,
        state: state.as_deref(),
        files: &restored.files,
        dry_run: restored.dry_run,
    };
    session.out.data(&told, || in_words(restored))?;
    session.out.say(&passed_over(&restored.walked_past));
    Ok(())
}

/// The state as it stands, for JSON; none where it is no JSON (a state file is kept as found).
fn raw(state: &[u8]) -> Option<Box<RawValue>> {
    RawValue::from_string(String::from_utf8(state.to_vec()).ok()?).ok()
}

fn in_words(restored: &Restored) -> String {
    let id = restored.checkpoint_id;
    let done = if restored.dry_run { "Would restore" } else { "Restored" };
    let mut lines = vec![match restored.checkpoint() {
        Some(it) => format!(
            "{done} checkpoint {} of {} ({}, {}, {id}).",
            it.seq,
            it.agent_id,
            it.kind,
            size(it.state_bytes)
        ),
        None => format!("{done} checkpoint {id}."),
    }];
    let Files { written, removed, unchanged, conflicts } = &restored.files;
    for (what, paths) in [
        ("written", written),
        ("removed", removed),
        ("already as it should be", unchanged),
        ("changed by someone else", conflicts),
    ] {
        lines.extend(paths.iter().map(|path| format!("  {what}: {}", path.display())));
    }
    if written.is_empty() && unchanged.is_empty() && conflicts.is_empty() {
        lines.push(
            "  The state was not read from a file, so there is none to put it back to; \
                    --state-out FILE writes it."
                .to_owned(),
        );
    }
    if restored.tainted {
        lines.push("  It was made after a drift's onset.".to_owned());
    }
    if let Some(recovery) = restored.recovery_checkpoint_id {
        lines.push(format!(
            "What was there is kept as {recovery}; `stateward undo` brings it back."
        ));
    }
    lines.join("\n")
}

fn passed_over(walked_past: &[WalkedPast]) -> String {
    let line =
        |it: &WalkedPast| format!("passed over {}, which is damaged: {}", it.checkpoint_id, it.why);
    walked_past.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Writes the state elsewhere; the store is only looked at.
fn write_out(session: &Session, arguments: &Arguments, target: &Path) -> Result<(), Failure> {
    let reference = &arguments.reference;
    let named = session.named_by(reference, arguments.any_agent)?;
    let manager = session.look(&named.store)?;
    let agent = session.agent_of(&manager, reference, &named)?;
    let loaded = agent.read_checkpoint(reference)?;
    refuse_others(&agent, arguments, &loaded)?;
    let state = loaded.state_bytes().ok_or_else(|| no_state(reference))?;
    let to_stdout = target == Path::new("-");
    let target = session.absolute(target);
    if !arguments.manner.dry_run {
        if to_stdout {
            output::bytes(state)?;
        } else {
            publish(&*session.disk, &target, state, Durability::Synced)?;
        }
    }
    tell_written(session, arguments, &loaded, (!to_stdout).then_some(target))
}

fn refuse_others(agent: &Agent, arguments: &Arguments, loaded: &Loaded) -> Result<(), Failure> {
    let owner = &loaded.checkpoint().agent_id;
    if owner == agent.id() || arguments.any_agent {
        return Ok(());
    }
    Err(Failure::Refused {
        message: format!("{} is a checkpoint of agent {owner}", arguments.reference),
        hint: "name that agent, or give --any-agent",
    })
}

/// Says what was written; where stdout holds the state, on stderr.
fn tell_written(
    session: &Session,
    arguments: &Arguments,
    loaded: &Loaded,
    target: Option<PathBuf>,
) -> Result<(), Failure> {
    let it = loaded.checkpoint();
    let mut files = Files::default();
    files.written.extend(target.clone());
    let told = Told {
        requested: &arguments.reference,
        checkpoint_id: it.checkpoint_id,
        walked_past: loaded.walked_past(),
        tainted: it.tainted,
        recovery_checkpoint_id: None,
        restored_as: None,
        state: None,
        files: &files,
        dry_run: arguments.manner.dry_run,
    };
    session.out.say(&passed_over(loaded.walked_past()));
    let Some(target) = target else { return Ok(()) };
    session.out.data(&told, || {
        let done = if arguments.manner.dry_run { "Would write" } else { "Wrote" };
        format!("{done} the state of checkpoint {} ({}) to {}.", it.seq, it.kind, target.display())
    })
}
