//! `restore`, `undo` and `reset`: the way back.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use serde_json::value::RawValue;

use super::failure::Failure;
use super::output::{self, count, talk};
use super::plan::{done, planned};
use super::session::{Session, ask, elsewhere};
use super::show::no_state;
use crate::disk::{Durability, publish};
use crate::manager::{Agent, Loaded, RestoreOptions, WalkedPast};
use crate::restore::{Files, Untouched};
use crate::server::api::{
    self, OwnerWords, ReadState, Reset, Restore, RestoreAnswer, RestoreBody, Show,
};
use crate::server::reach::Reach;
use crate::state::{CheckpointId, lossy};

const EXAMPLES: &str = "\
Examples:
  stateward restore latest                      put the newest one back
  stateward restore good --dry-run              tell what that would do
  stateward restore good --path src --path Cargo.toml
  stateward restore good --to /tmp/as-it-was    only write the files out
  stateward restore 0190a1b2 --state-out old.json
  stateward restore .stateward/checkpoints/default/0000000007-routine-….json

In place means: state, state files and workspace go back to where they were taken from, after a \
recovery checkpoint of what is there; `stateward undo` takes it back. What is ignored or was left out \
is not touched. With --path only these files of the workspace go back. With --to and --state-out \
they are only written to another place, and nothing in the store changes.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// A number, a path, an id or its first digits, latest, latest:KIND, or good
    #[arg(value_name = "REF")]
    reference: String,
    /// Only write the state to this file, or - for stdout
    #[arg(long, value_name = "FILE|-", conflicts_with_all = ["force", "live"])]
    state_out: Option<PathBuf>,
    /// Only write the files of the workspace to this directory, which is made or empty
    #[arg(long, value_name = "DIR", conflicts_with_all = ["force", "live", "git", "workspace"])]
    to: Option<PathBuf>,
    /// Restore the workspace into this directory, where it is not the one it was taken from
    #[arg(long, value_name = "DIR")]
    pub(super) workspace: Option<PathBuf>,
    /// Only this path of the workspace, from its root, and what is beneath it
    #[arg(long = "path", value_name = "PATH")]
    paths: Vec<PathBuf>,
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
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
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
    /// Restore the refs, index and settings of git too; without it only missing objects are added
    #[arg(long)]
    git: bool,
}

impl Manner {
    fn options(self) -> RestoreOptions {
        let Self { dry_run, force, live, git } = self;
        RestoreOptions { dry_run, force, live, git, ..RestoreOptions::default() }
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
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    untouched: &'a [Untouched],
    #[serde(skip_serializing_if = "<[_]>::is_empty", serialize_with = "lossy::paths")]
    kept_aside: &'a [PathBuf],
    dry_run: bool,
}

pub(super) fn restore(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    if arguments.state_out.is_some() || arguments.to.is_some() {
        return write_out(session, arguments);
    }
    let options = RestoreOptions {
        any_agent: arguments.any_agent,
        paths: arguments.paths.clone(),
        workspace: arguments.workspace.as_ref().map(|path| session.absolute(path)),
        ..arguments.manner.options()
    };
    let reference = &arguments.reference;
    let named = session.named_by(reference, arguments.any_agent)?;
    let restored = session.reach(&named.store, |reach| {
        let agent = session.owner_of(reach, reference, &named)?;
        agreed(session, &options, |options| {
            let (agent, reference) = (agent.clone(), reference.clone());
            session.call(reach, Restore { agent, reference, body: by_hand(options) })
        })
    })?;
    tell(session, &restored)
}

pub(super) fn undo(session: &Session, arguments: &Undo) -> Result<(), Failure> {
    let options = arguments.manner.options();
    let agent = session.agent_id();
    let restored = session.reach(&session.store(), |reach| {
        agreed(session, &options, |options| {
            session.call(reach, api::Undo { agent: agent.clone(), body: by_hand(options) })
        })
    })?;
    tell(session, &restored)
}

/// A restore that a person asks for.
fn by_hand(options: &RestoreOptions) -> RestoreBody {
    RestoreBody { options: options.clone(), owner: Some(OwnerWords::by_hand()) }
}

pub(super) fn reset(session: &Session) -> Result<(), Failure> {
    let agent = session.agent_id();
    if session.can_ask() {
        ask(&format!("Start agent {agent} afresh? What was kept stays as evidence."))?;
    }
    let reset = Reset { agent: agent.clone() };
    session.reach(&session.store(), |reach| session.call(reach, reset))?;
    session.out.data(&serde_json::json!({ "agent_id": agent }), || {
        format!("Agent {agent} starts afresh; what was kept before stays as evidence.")
    })
}

/// Restores; where somebody can be asked, after showing what it will do.
fn agreed(
    session: &Session,
    options: &RestoreOptions,
    restore: impl Fn(&RestoreOptions) -> Result<RestoreAnswer, Failure>,
) -> Result<RestoreAnswer, Failure> {
    if session.can_ask() && !options.dry_run {
        let plan = restore(&RestoreOptions { dry_run: true, ..options.clone() })?;
        talk(&format!("{}\n", planned(&plan)));
        ask("Do it?")?;
    }
    restore(options)
}

fn tell(session: &Session, restored: &RestoreAnswer) -> Result<(), Failure> {
    let state = restored.state.as_ref().and_then(|state| raw(&state.0));
    let told = Told {
        requested: &restored.requested,
        checkpoint_id: restored.checkpoint_id,
        walked_past: &restored.walked_past,
        tainted: restored.tainted,
        recovery_checkpoint_id: restored.recovery_checkpoint_id,
        restored_as: restored.restored_as,
        state: state.as_deref(),
        files: &restored.files,
        untouched: &restored.untouched,
        kept_aside: &restored.kept_aside,
        dry_run: restored.dry_run,
    };
    session.out.data(
        &told,
        || {
            if restored.dry_run { planned(restored) } else { done(restored) }
        },
    )?;
    session.out.say(&passed_over(&restored.walked_past));
    Ok(())
}

/// The state as it stands, for JSON; none where it is no JSON (a state file is kept as found).
fn raw(state: &[u8]) -> Option<Box<RawValue>> {
    RawValue::from_string(String::from_utf8(state.to_vec()).ok()?).ok()
}

fn passed_over(walked_past: &[WalkedPast]) -> String {
    let line =
        |it: &WalkedPast| format!("passed over {}, which is damaged: {}", it.checkpoint_id, it.why);
    walked_past.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Writes the state or the workspace elsewhere; the store is only looked at.
fn write_out(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let reference = &arguments.reference;
    let named = session.named_by(reference, arguments.any_agent)?;
    let manager = match session.glance(&named.store)? {
        Reach::Here(manager) => manager,
        reach @ Reach::There(_) => return state_from_afar(session, &reach, arguments),
    };
    let agent = session.agent_of(&manager, reference, &named)?;
    let loaded = agent.read_checkpoint(reference)?;
    refuse_others(&agent, arguments, &loaded)?;
    let dry_run = arguments.manner.dry_run;
    let mut files = Files::default();
    if let Some(target) = &arguments.to {
        let target = session.absolute(target);
        let id = loaded.checkpoint().checkpoint_id.to_string();
        files = session
            .watching(&manager, || agent.write_files_to(&id, &target, &arguments.paths, dry_run))?;
    }
    let mut to_stdout = false;
    if let Some(target) = &arguments.state_out {
        let state = loaded.state_bytes().ok_or_else(|| no_state(reference))?;
        to_stdout = target == Path::new("-");
        if to_stdout && !dry_run {
            output::bytes(state)?;
        } else if !to_stdout {
            let target = session.absolute(target);
            if !dry_run {
                publish(&*session.disk, &target, state, Durability::Synced)?;
            }
            files.written.push(target);
        }
    }
    session.out.say(&passed_over(loaded.walked_past()));
    if to_stdout { Ok(()) } else { tell_written(session, arguments, &loaded, &files) }
}

/// Prints the state of a store that lies elsewhere.
fn state_from_afar(session: &Session, reach: &Reach, it: &Arguments) -> Result<(), Failure> {
    if it.to.is_some() || it.state_out.as_deref() != Some(Path::new("-")) || it.manner.dry_run {
        return Err(elsewhere("anything but --state-out -"));
    }
    let reference = it.reference.clone();
    let show = Show { agent: session.agent_id().clone(), reference: reference.clone() };
    let shown = session.call(reach, show)?;
    let agent = shown.checkpoint.agent_id;
    output::bytes(&session.call(reach, ReadState { agent, reference })?)
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

/// Says what was written elsewhere.
fn tell_written(
    session: &Session,
    arguments: &Arguments,
    loaded: &Loaded,
    files: &Files,
) -> Result<(), Failure> {
    let it = loaded.checkpoint();
    let told = Told {
        requested: &arguments.reference,
        checkpoint_id: it.checkpoint_id,
        walked_past: loaded.walked_past(),
        tainted: it.tainted,
        recovery_checkpoint_id: None,
        restored_as: None,
        state: None,
        files,
        untouched: &[],
        kept_aside: &[],
        dry_run: arguments.manner.dry_run,
    };
    session.out.data(&told, || {
        let verb = if arguments.manner.dry_run { "Would write" } else { "Wrote" };
        let what = match (&arguments.to, &arguments.state_out) {
            (Some(to), None) => {
                let names =
                    count(files.written.len(), "file or directory", "files and directories");
                format!("{names} to {}", to.display())
            }
            (None, Some(out)) => format!("the state to {}", out.display()),
            _ => "the state and the files".to_owned(),
        };
        format!("{verb} {what} (checkpoint {}, {}).", it.seq, it.kind)
    })
}
