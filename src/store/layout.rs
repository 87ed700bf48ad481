//! Every name and path in a store; nothing else in the crate knows one.
//!
//! ```text
//! STORE/                          0700
//!   .gitignore                    `*`: a store inside a repository is not part of it
//!   store.json                    identity; published last when a store is made
//!   lock                          advisory lock of the one writer
//!   reserve                       room for letting go on a full disk
//!   log/0000000000000001.log …    segments, and .idx summaries of the sealed ones
//!   checkpoints/AGENT/SEQ-KIND-ID.json     views; `/` in the agent's id is written `%2F`
//!   runs/AGENT.lock               advisory lock of the one that runs an agent, and what it runs
//!   quarantine/                   copies of what was found damaged or unfinished
//!   cache/PLACE.stat              what is known of a workspace's files; derived. PLACE is the first
//!                                 16 bytes of the BLAKE3 of its absolute path, in hexadecimal
//!   drill/                        what a sidecar's drill brings back, as long as it lasts
//! ```

use std::path::{Path, PathBuf};

use crate::state::{AgentId, CheckpointId, Kind, Seq};

/// The paths of one store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    root: PathBuf,
}

/// What a view's file name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ViewName {
    pub seq: Seq,
    pub kind: Kind,
    pub id: CheckpointId,
}

/// What a path to a view says: the store, the agent, and the checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ViewPath {
    pub store: PathBuf,
    pub agent: AgentId,
    pub name: ViewName,
}

impl Layout {
    pub(crate) fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn identity(&self) -> PathBuf {
        self.root.join("store.json")
    }

    pub(crate) fn git_ignore(&self) -> PathBuf {
        self.root.join(".gitignore")
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    pub(crate) fn views(&self) -> PathBuf {
        self.root.join("checkpoints")
    }

    pub(crate) fn views_of(&self, agent: &AgentId) -> PathBuf {
        self.views().join(agent_dir(agent))
    }

    pub(crate) fn view(&self, agent: &AgentId, name: &ViewName) -> PathBuf {
        self.views_of(agent).join(name.to_string())
    }

    pub(crate) fn reserve(&self) -> PathBuf {
        self.root.join("reserve")
    }

    pub(crate) fn caches(&self) -> PathBuf {
        self.root.join("cache")
    }

    pub(crate) fn stat_cache(&self, workspace: &Path) -> PathBuf {
        let place = blake3::hash(workspace.as_os_str().as_encoded_bytes()).to_hex();
        self.caches().join(format!("{}.stat", &place[..32]))
    }

    #[cfg(feature = "cli")]
    pub(crate) fn runs(&self) -> PathBuf {
        self.root.join("runs")
    }

    #[cfg(feature = "cli")]
    pub(crate) fn run_of(&self, agent: &AgentId) -> PathBuf {
        self.runs().join(format!("{}.lock", agent_dir(agent)))
    }

    #[cfg(feature = "cli")]
    pub(crate) fn drill(&self) -> PathBuf {
        self.root.join("drill")
    }

    pub(crate) fn quarantine(&self) -> PathBuf {
        self.root.join("quarantine")
    }
}

/// The directory name of an agent's views.
fn agent_dir(agent: &AgentId) -> String {
    agent.as_str().replace('/', "%2F")
}

/// The agent whose views lie in the directory of this name.
pub(crate) fn agent_of_dir(name: &str) -> Option<AgentId> {
    AgentId::new(&name.replace("%2F", "/")).ok().filter(|agent| agent_dir(agent) == name)
}

impl std::fmt::Display for ViewName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:010}-{}-{}.json", self.seq.0, self.kind, self.id)
    }
}

impl ViewName {
    /// Reads a view's file name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let (seq, rest) = name.strip_suffix(".json")?.split_once('-')?;
        let (kind, id) = rest.split_once('-')?;
        let digits = seq.len() >= 10 && seq.bytes().all(|byte| byte.is_ascii_digit());
        let parsed = Self {
            seq: Seq(seq.parse().ok().filter(|_| digits)?),
            kind: kind.parse().ok()?,
            id: id.parse().ok()?,
        };
        (parsed.to_string() == name).then_some(parsed)
    }
}

impl ViewPath {
    /// Takes a path apart that ends as the path of a view does.
    pub(crate) fn parse(path: &Path) -> Option<Self> {
        let name = ViewName::parse(path.file_name()?.to_str()?)?;
        let agent_dir = path.parent()?;
        let views = agent_dir.parent()?;
        let agent = agent_of_dir(agent_dir.file_name()?.to_str()?)?;
        let store = views.parent()?;
        (views.file_name()? == "checkpoints").then(|| Self { store: store.to_owned(), agent, name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workspaces_know_a_store_by_the_names_it_has() {
        let layout = Layout::new("/s");
        let names = crate::collect::STORE_FILES.map(|name| layout.root().join(name));
        assert_eq!(names, [layout.identity(), layout.lock()]);
    }

    #[test]
    fn a_view_path_says_what_it_was_made_of() {
        let agent = AgentId::new("tenant/agent-3").unwrap();
        let id = "0190a1b2-0000-7000-8000-000000000001".parse().unwrap();
        let name = ViewName { seq: Seq(42), kind: Kind::PreOperation, id };
        let path = Layout::new("/s").view(&agent, &name);
        assert_eq!(
            path.to_str().unwrap(),
            "/s/checkpoints/tenant%2Fagent-3/0000000042-pre_operation-0190a1b2-0000-7000-8000-000000000001.json"
        );
        assert_eq!(ViewPath::parse(&path), Some(ViewPath { store: "/s".into(), agent, name }));
    }

    #[test]
    fn other_names_are_no_views() {
        for name in ["1-routine-x.json", "0000000001-routine.json", "store.json", ""] {
            assert_eq!(ViewName::parse(name), None, "{name}");
        }
        assert_eq!(agent_of_dir("a%2f"), None);
    }
}
