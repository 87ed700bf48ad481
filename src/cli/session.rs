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
use super::watch::{Waiting, Watch};
use crate::clock::{Clock, SystemClock};
use crate::collect;
use crate::config::{Configuration, Flag, Origin, Sources};
use crate::disk::{self, Disk, RealDisk};
use crate::error::ErrorKind;
use crate::manager::{self, Agent, CheckpointManager, Options, is_of_agent};
use crate::server::api::{Call, Settle, Show};
use crate::server::client::Client;
use crate::server::reach::{Reach, ReachError, socket_of};
use crate::state::AgentId;
use crate::store::{Layout, ViewPath};
use crate::supervise::{SidecarSetup, claude_files};

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
    /// Where Claude Code keeps what it keeps: `$CLAUDE_CONFIG_DIR`, or `~/.claude`.
    claude_home: Option<PathBuf>,
    /// The workspace that the command is about.
    workspace: Option<PathBuf>,
    sidecar: NamedSidecar,
    yes: bool,
    /// Where the configuration is read from.
    sources: Sources,
}

/// The sidecar that the surroundings name.
#[derive(Default)]
struct NamedSidecar {
    url: Option<String>,
    token: Option<String>,
}

impl std::fmt::Debug for NamedSidecar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NamedSidecar").field("url", &self.url).finish_non_exhaustive()
    }
}

impl NamedSidecar {
    fn of(variables: &[(String, OsString)]) -> Self {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| known == name);
            found.and_then(|(_, value)| value.to_str().map(str::to_owned))
        };
        Self { url: variable("STATEWARD_URL"), token: variable("STATEWARD_TOKEN") }
    }
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
        let sidecar = NamedSidecar::of(&variables);
        let runtime_home = absolute_path(&variables, "XDG_RUNTIME_DIR");
        let claude_home = absolute_path(&variables, "CLAUDE_CONFIG_DIR")
            .or_else(|| Some(absolute_path(&variables, "HOME")?.join(".claude")));
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
            claude_home,
            workspace,
            sidecar,
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

    /// A store in the working directory, where another is meant because the directory lies in a
    /// workspace.
    pub(super) fn other_store(&self) -> Option<PathBuf> {
        let settings = &self.configuration.settings.store;
        let here = self.directory.join(settings.place());
        let is_there = || self.disk.metadata(&Layout::new(&here).identity()).is_ok();
        let another = settings.path.is_none() && is_there() && self.store() != here;
        another.then_some(here)
    }

    /// Where sockets are kept, where the surroundings say so.
    pub(super) fn runtime_home(&self) -> Option<&Path> {
        self.runtime_home.as_deref()
    }

    /// The file that `--config` named.
    pub(super) fn configuration_file(&self) -> Option<PathBuf> {
        self.sources.file.as_ref().map(|file| self.absolute(file))
    }

    pub(super) fn agent_id(&self) -> &AgentId {
        &self.configuration.settings.agent.default
    }

    /// Whether `--agent` was given.
    pub(super) fn agent_is_named(&self) -> bool {
        matches!(self.configuration.origin("agent"), Origin::Flag(_))
    }

    /// Whether `--store` was given.
    fn store_is_named(&self) -> bool {
        matches!(self.configuration.origin("store.path"), Origin::Flag(_))
    }

    /// The transcripts of Claude Code of its sessions in the working directory, as a pattern.
    pub(super) fn claude_transcripts(&self) -> Result<PathBuf, Failure> {
        let home = self.claude_home.as_ref().ok_or_else(|| Failure::Usage {
            message: "where Claude Code keeps its transcripts is not known".to_owned(),
            hint: "set HOME or CLAUDE_CONFIG_DIR, or name the files with --transcript",
        })?;
        let working = self.disk.canonical(&self.directory).unwrap_or(self.directory.clone());
        Ok(claude_files(home, &working))
    }

    /// The absolute form of a path to a workspace. One that can be none is refused before a store is
    /// made for it.
    pub(super) fn workspace_at(
        &self,
        path: Option<&Path>,
        force: bool,
    ) -> Result<Option<PathBuf>, Failure> {
        let Some(path) = path.map(|path| self.absolute(path)) else { return Ok(None) };
        collect::check_root(&*self.disk, &path, force).map_err(manager::Error::from)?;
        Ok(Some(path))
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

    /// Works on a store that is there with the right to write, through the sidecar that holds it where
    /// one does, and settles it.
    pub(super) fn reach<T>(
        &self,
        store: &Path,
        work: impl FnOnce(&Reach) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.work_on(&Options { create: false, ..self.options(store) }, work)
    }

    /// The same, and makes the store where none is.
    pub(super) fn reach_or_make<T>(
        &self,
        store: &Path,
        work: impl FnOnce(&Reach) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.work_on(&self.options(store), work)
    }

    fn work_on<T>(
        &self,
        store: &Options,
        work: impl FnOnce(&Reach) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let reach = self.way_to(store)?;
        let done = work(&reach);
        let settled = reach.call(Settle);
        let done = done?;
        // What was done is done, and durable; what could wait is left to whoever comes next.
        if let Err(error) = settled {
            tracing::warn!(%error, "what could wait is not done");
        }
        Ok(done)
    }

    fn way_to(&self, store: &Options) -> Result<Reach, Failure> {
        if let Some(client) = self.sidecar_of(&store.path)? {
            return Ok(Reach::There(client));
        }
        match CheckpointManager::open(store.clone()) {
            Ok(manager) => Ok(Reach::Here(manager)),
            // Whoever holds it may have begun to answer meanwhile.
            Err(error) if error.kind() == ErrorKind::Locked => {
                match self.sidecar_of(&store.path)? {
                    Some(client) => Ok(Reach::There(client)),
                    None => Err(error.into()),
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The sidecar that holds a store: the one that `STATEWARD_URL` names, where no other store is
    /// meant, else the one that the store's lock names; none where nobody answers.
    fn sidecar_of(&self, store: &Path) -> Result<Option<Client>, Failure> {
        let named = self.named_sidecar(store)?.filter(Client::answers);
        Ok(named.or_else(|| self.holder_of(store)))
    }

    /// The sidecar that a store's lock names; none where nobody answers.
    pub(super) fn holder_of(&self, store: &Path) -> Option<Client> {
        socket_of(&*self.disk, store).map(Client::of_socket).filter(Client::answers)
    }

    /// Who holds a store's lock, in words.
    pub(super) fn lock_holder(&self, store: &Path) -> String {
        let holder = disk::read_holder(&*self.disk, &Layout::new(store).lock());
        holder.map_or_else(
            || "a process that does not say which".to_owned(),
            |holder| holder.to_string(),
        )
    }

    /// The sidecar that `STATEWARD_URL` names, where no other store is meant.
    fn named_sidecar(&self, store: &Path) -> Result<Option<Client>, Failure> {
        let Some(url) = self.sidecar.url.as_deref().filter(|url| !url.is_empty()) else {
            return Ok(None);
        };
        if self.store_is_named() || store != self.store() {
            return Ok(None);
        }
        // Through the socket comes its owner; the token is an agent's, which may say less.
        let token = self.sidecar.token.clone().filter(|_| !url.starts_with("unix:"));
        let client = Client::of_url(url, token);
        Ok(Some(client.map_err(ReachError::from)?))
    }

    /// Asks something of the store, and shows how far it has come; of a sidecar, that it is at work.
    pub(super) fn call<C: Call>(&self, reach: &Reach, call: C) -> Result<C::Answer, Failure> {
        let answer = match reach {
            Reach::Here(manager) => self.watching(manager, || reach.call(call)),
            Reach::There(_) => {
                let _waiting = Waiting::begin(self.out);
                reach.call(call)
            }
        };
        Ok(answer?)
    }

    /// How a store is served by a command that goes on.
    pub(super) fn sidecar_setup(&self, store: &Path) -> SidecarSetup {
        SidecarSetup {
            store: Options { background: true, by_hand: false, ..self.options(store) },
            server: self.configuration.settings.server.clone(),
            runtime_home: self.runtime_home.clone(),
        }
    }

    /// Makes the store, or opens it, whatever the registry remembers: the user asked for it. One that
    /// a sidecar holds is made.
    pub(super) fn make(&self, store: &Path) -> Result<(), Failure> {
        let known = self.options(store);
        let fresh = match CheckpointManager::open(Options { registry: None, ..known.clone() }) {
            Err(error) if error.kind() == ErrorKind::Locked => {
                return match self.holder_of(store) {
                    Some(client) => Ok(Reach::There(client).call(Settle)?),
                    None => Err(error.into()),
                };
            }
            opened => opened?,
        };
        fresh.settle()?;
        drop(fresh);
        CheckpointManager::open(known)?.settle()?;
        Ok(())
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

    /// The store to look at: open here, or where it lies elsewhere through the sidecar that
    /// `STATEWARD_URL` names.
    pub(super) fn glance(&self, store: &Path) -> Result<Reach, Failure> {
        if self.disk.metadata(store).is_err()
            && let Some(client) = self.named_sidecar(store)?
        {
            return Ok(Reach::There(client));
        }
        self.look(store).map(Reach::Here)
    }

    /// The store as whoever holds it knows it: asked of its sidecar, else open here to look.
    pub(super) fn as_held(&self, store: &Path) -> Result<Reach, Failure> {
        match self.sidecar_of(store)? {
            Some(client) => Ok(Reach::There(client)),
            None => self.glance(store),
        }
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
        let owner = match &named.agent {
            _ if is_of_agent(reference) || self.agent_is_named() => self.agent_id().clone(),
            Some(owner) => owner.clone(),
            None => manager.find(self.agent_id(), reference)?.agent_id,
        };
        Ok(manager.agent(owner.as_str())?)
    }

    /// Whose checkpoint a writing command is about, as [`Session::agent_of`] has it.
    pub(super) fn owner_of(
        &self,
        reach: &Reach,
        reference: &str,
        named: &Named,
    ) -> Result<AgentId, Failure> {
        let show = || Show { agent: self.agent_id().clone(), reference: reference.to_owned() };
        match reach {
            Reach::Here(manager) => Ok(self.agent_of(manager, reference, named)?.id().clone()),
            Reach::There(_) if is_of_agent(reference) || self.agent_is_named() => {
                Ok(self.agent_id().clone())
            }
            Reach::There(_) => match &named.agent {
                Some(owner) => Ok(owner.clone()),
                None => Ok(self.call(reach, show())?.checkpoint.agent_id),
            },
        }
    }

    /// Whether somebody sits there to be asked.
    pub(super) fn can_ask(&self) -> bool {
        !self.yes && io::stdin().is_terminal() && io::stderr().is_terminal()
    }
}

/// What only a store whose files can be reached answers.
pub(super) fn elsewhere(what: &str) -> Failure {
    Failure::Refused {
        message: format!(
            "the store lies elsewhere, and {what} is not to be had through its sidecar"
        ),
        hint: "do it on the machine where the store is",
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
