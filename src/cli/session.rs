//! What a command works with: settings, output, and the way to the store.

use std::ffi::OsString;
use std::io::{self, BufRead, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Surroundings;
use super::arguments::Global;
use super::failure::Failure;
use super::output::{Output, talk};
use super::place;
use super::watch::Watch;
use crate::clock::{Clock, SystemClock};
use crate::config::{Configuration, Flag, Origin, Sources};
use crate::disk::{Disk, RealDisk};
use crate::manager::{Agent, CheckpointManager, Options};
use crate::state::AgentId;
use crate::store::ViewPath;

/// What a command works with.
#[derive(Debug)]
pub(super) struct Session {
    pub configuration: Configuration,
    pub out: Output,
    pub disk: Arc<dyn Disk>,
    pub clock: Arc<dyn Clock>,
    directory: PathBuf,
    /// Where state is kept: `$XDG_STATE_HOME`, or `~/.local/state`.
    state_home: Option<PathBuf>,
    /// Where sockets are kept: `$XDG_RUNTIME_DIR`.
    runtime_home: Option<PathBuf>,
    /// The workspace that the command is about.
    workspace: Option<PathBuf>,
    yes: bool,
    /// Where the configuration is read from.
    sources: Sources,
}

/// What a reference names: a store and an agent of their own where it is a path.
#[derive(Debug)]
pub(super) struct Named {
    pub store: PathBuf,
    pub agent: Option<AgentId>,
}

/// `$XDG_STATE_HOME`, or `~/.local/state`.
fn state_home(variables: &[(String, OsString)]) -> Option<PathBuf> {
    let variable = |name| absolute_path(variables, name);
    variable("XDG_STATE_HOME").or_else(|| variable("HOME").map(|home| home.join(".local/state")))
}

/// The path that a variable holds; none where it is not absolute.
fn absolute_path(variables: &[(String, OsString)], name: &str) -> Option<PathBuf> {
    let found = variables.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| PathBuf::from(value)).filter(|path| path.is_absolute())
}

impl Session {
    pub(super) fn new(
        global: &Global,
        surroundings: &Surroundings,
        workspace: Option<&Path>,
    ) -> Result<Self, Failure> {
        let disk = RealDisk::shared();
        let Surroundings { variables, directory } = surroundings.clone();
        let flags = flags(global, &directory)?;
        let state_home = state_home(&variables);
        let runtime_home = absolute_path(&variables, "XDG_RUNTIME_DIR");
        let workspace = workspace.map(|path| {
            let path = directory.join(path);
            disk.canonical(&path).unwrap_or(path)
        });
        let sources =
            Sources { flags, file: global.config.clone(), variables, directory: directory.clone() };
        Ok(Self {
            configuration: Configuration::load(&*disk, &sources)?,
            sources,
            out: Output { json: global.json, quiet: global.quiet },
            disk,
            clock: SystemClock::shared(),
            directory,
            state_home,
            runtime_home,
            workspace,
            yes: global.yes,
        })
    }

    /// Reads the configuration again, from where it came.
    pub(super) fn read_again(&self) -> Result<Configuration, Failure> {
        Ok(Configuration::load(&*self.disk, &self.sources)?)
    }

    /// The store that is meant, absolute: the one that is named, else that of the workspace that is
    /// named or that the working directory lies in, else `./.stateward`.
    pub(super) fn store(&self) -> PathBuf {
        let settings = &self.configuration.settings.store;
        let by_default = || {
            let home = self.state_home.as_deref()?;
            match &self.workspace {
                Some(workspace) => Some(place::of_workspace(home, workspace)),
                None => place::from_within(&*self.disk, home, &self.directory),
            }
        };
        let store = settings.path.clone().or_else(by_default);
        self.directory.join(store.unwrap_or_else(|| settings.place()))
    }

    /// Where sockets are kept, where the surroundings say so.
    pub(super) fn runtime_home(&self) -> Option<&Path> {
        self.runtime_home.as_deref()
    }

    pub(super) fn agent_id(&self) -> &AgentId {
        &self.configuration.settings.agent
    }

    /// Whether `--agent` was given.
    pub(super) fn agent_is_named(&self) -> bool {
        matches!(self.configuration.origin("agent"), Origin::Flag(_))
    }

    /// Whether `--store` was given.
    fn store_is_named(&self) -> bool {
        matches!(self.configuration.origin("store.path"), Origin::Flag(_))
    }

    /// The absolute form of a path that was written on the command line.
    pub(super) fn absolute(&self, path: &Path) -> PathBuf {
        self.directory.join(path)
    }

    pub(super) fn options(&self, store: &Path) -> Options {
        let mut options = self.configuration.settings.options();
        store.clone_into(&mut options.path);
        for fallback in &mut options.fallbacks {
            *fallback = self.directory.join(&*fallback);
        }
        options.disk = Arc::clone(&self.disk);
        options.clock = Arc::clone(&self.clock);
        // A command is over before a thread of its own is worth it: it settles before it ends.
        options.background = false;
        options.by_hand = true;
        options.registry = self.state_home.as_ref().map(|home| home.join("stateward/stores"));
        options
    }

    /// Works on the store with the right to write, and settles it.
    pub(super) fn write<T>(
        &self,
        store: &Path,
        work: impl FnOnce(&CheckpointManager) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let manager = CheckpointManager::open(self.options(store))?;
        let done = work(&manager);
        let settled = manager.settle();
        let done = done?;
        settled?;
        Ok(done)
    }

    /// Makes the store, or opens it, whatever the registry remembers: the user asked for it.
    pub(super) fn make(&self, store: &Path) -> Result<(), Failure> {
        let known = self.options(store);
        let fresh = CheckpointManager::open(Options { registry: None, ..known.clone() })?;
        fresh.settle()?;
        drop(fresh);
        CheckpointManager::open(known)?.settle()?;
        Ok(())
    }

    /// Works on the session's agent in the session's store.
    pub(super) fn with_agent<T>(
        &self,
        work: impl FnOnce(&Agent) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.write(&self.store(), |manager| {
            let agent = manager.agent(self.agent_id().as_str())?;
            self.watching(manager, || work(&agent))
        })
    }

    /// Shows how far long work has come while it lasts, where somebody looks.
    pub(super) fn watching<T>(&self, manager: &CheckpointManager, work: impl FnOnce() -> T) -> T {
        let _watch = Watch::over(manager, self.out, &self.clock);
        work()
    }

    /// Opens the store to look.
    pub(super) fn look(&self, store: &Path) -> Result<CheckpointManager, Failure> {
        let manager = CheckpointManager::open_to_look(self.options(store))?;
        Ok(manager)
    }

    /// Finds out which store a reference is about: a path names its own, which is refused where
    /// `--store` names another, unless `any` is allowed.
    pub(super) fn named_by(&self, reference: &str, any: bool) -> Result<Named, Failure> {
        let store = self.store();
        let path = self.absolute(Path::new(reference));
        let Some(view) = ViewPath::parse(&path).filter(|_| reference.contains('/')) else {
            return Ok(Named { store, agent: None });
        };
        let resolve = |path: &Path| self.disk.canonical(path).unwrap_or_else(|_| path.to_owned());
        if self.store_is_named() && !any && resolve(&store) != resolve(&view.store) {
            return Err(Failure::Refused {
                message: format!("{reference} is not in the store {}", store.display()),
                hint: "leave --store out, or add --any-agent where the command has it",
            });
        }
        Ok(Named { store: view.store, agent: Some(view.agent) })
    }

    /// The agent that a command about `reference` acts for: the one of `--agent`, else the one that
    /// a path or an id belongs to.
    pub(super) fn agent_of(
        &self,
        manager: &CheckpointManager,
        reference: &str,
        named: &Named,
    ) -> Result<Agent, Failure> {
        let of_session = matches!(reference, "latest" | "good") || reference.starts_with("latest:");
        let owner = match &named.agent {
            _ if of_session || self.agent_is_named() => self.agent_id().clone(),
            Some(owner) => owner.clone(),
            None => manager.find(self.agent_id(), reference)?.agent_id,
        };
        Ok(manager.agent(owner.as_str())?)
    }

    /// Whether somebody sits there to be asked.
    pub(super) fn can_ask(&self) -> bool {
        !self.yes && io::stdin().is_terminal() && io::stderr().is_terminal()
    }
}

/// Asks; what is not answered with yes is refused.
pub(super) fn ask(question: &str) -> Result<(), Failure> {
    talk(&format!("{question} [y/N] "));
    let mut answer = String::new();
    io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(|source| Failure::Read { path: "the answer".into(), source })?;
    if matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") {
        return Ok(());
    }
    Err(Failure::Refused { message: "not done".to_owned(), hint: "" })
}

fn flags(global: &Global, directory: &Path) -> Result<Vec<Flag>, Failure> {
    let mut flags = Vec::new();
    if let Some(store) = &global.store {
        let value = directory.join(store);
        let value = value.to_str().ok_or_else(|| Failure::Usage {
            message: format!("the path of the store, {}, is not UTF-8", value.display()),
            hint: "paths are shown in JSON, which is UTF-8: use another name",
        })?;
        flags.push(Flag { name: "--store", key: "store.path", value: value.to_owned() });
    }
    if let Some(agent) = &global.agent {
        flags.push(Flag { name: "--agent", key: "agent", value: agent.clone() });
    }
    Ok(flags)
}
