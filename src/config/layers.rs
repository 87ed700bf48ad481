//! Laying one source over the other, and remembering which won.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::{Table, Value};

use super::{AgentTable, Entry, Error, Origin, Settings, agents, check, environment, keys};
use crate::disk::{self, Disk};

/// Where values may come from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// What flags set.
    pub flags: Vec<Flag>,
    /// The file named by `--config`; it must exist.
    pub file: Option<PathBuf>,
    /// The environment.
    pub variables: Vec<(String, OsString)>,
    /// The working directory, absolute.
    pub directory: PathBuf,
}

/// A value given by a flag.
#[derive(Debug, Clone)]
pub struct Flag {
    /// The flag as it is written.
    pub name: &'static str,
    /// The key it sets.
    pub key: &'static str,
    /// The value.
    pub value: String,
}

/// The settings that hold, and how they came about.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// The settings.
    pub settings: Settings,
    /// The files that were read, the nearest first.
    pub files: Vec<PathBuf>,
    origins: BTreeMap<String, Origin>,
}

impl Configuration {
    /// Reads all sources.
    ///
    /// # Errors
    /// When a source holds an unknown key or a value that does not fit, or a file that was named
    /// or exists cannot be read.
    #[expect(clippy::missing_panics_doc, reason = "each layer was checked by itself")]
    pub fn load(disk: &dyn Disk, sources: &Sources) -> Result<Self, Error> {
        let mut layers = Vec::new();
        for flag in sources.flags.iter().rev() {
            layers.push(flag.layer()?);
        }
        layers.extend(environment::layers(&sources.variables)?);
        let mut files = Vec::new();
        for (path, required) in sources.candidates() {
            if let Some(table) = read(disk, &path, required)? {
                layers.push((table, Origin::File(path.clone())));
                files.push(path);
            }
        }
        let mut merged = Table::new();
        let mut origins = BTreeMap::new();
        let mut to_run = None;
        for (mut table, origin) in layers.into_iter().rev() {
            to_run = agents::take(&mut table).map(|tables| (tables, origin.clone())).or(to_run);
            let names = keys::leaves(&table).into_iter().map(|(key, _)| (key, origin.clone()));
            origins.extend(names);
            overlay(&mut merged, table);
        }
        let mut settings = Settings::deserialize_table(merged)
            .expect("values that fit one by one fit together, bounds apart");
        if let Some((tables, origin)) = to_run {
            let keys = tables.iter().flat_map(AgentTable::leaves);
            origins.extend(keys.map(|(key, _)| (key, origin.clone())));
            settings.agent.tables = tables;
        }
        let configuration = Self { settings, files, origins };
        check::bounds(&configuration)?;
        Ok(configuration)
    }

    /// Where the value of a key came from.
    #[must_use]
    pub fn origin(&self, key: &str) -> Origin {
        self.origins.get(key).cloned().unwrap_or(Origin::Default)
    }

    /// Where the values of a section came from: the nearest source that set one.
    pub(super) fn origin_within(&self, section: &str) -> Origin {
        let within = self.origins.iter().filter(|(key, _)| key.starts_with(section));
        within.map(|(_, origin)| origin.clone()).max().unwrap_or(Origin::Default)
    }

    /// Every key with its value and its origin, in order.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        let mut values: BTreeMap<_, _> =
            keys::leaves(&keys::table(&self.settings)).into_iter().collect();
        let to_run: BTreeMap<_, _> =
            self.settings.agent.tables.iter().flat_map(AgentTable::leaves).collect();
        let mut names = keys::all();
        names.extend(to_run.keys().cloned());
        names.sort();
        values.extend(to_run);
        let entry =
            |key: String| Entry { value: values.remove(&key), origin: self.origin(&key), key };
        names.into_iter().map(entry).collect()
    }
}

impl Settings {
    pub(super) fn deserialize_table(table: Table) -> Result<Self, toml::de::Error> {
        Self::deserialize(Value::Table(table))
    }
}

impl Flag {
    fn layer(&self) -> Result<(Table, Origin), Error> {
        let origin = Origin::Flag(self.name);
        let table = keys::single(self.key, Value::String(self.value.clone()));
        match Settings::deserialize_table(table.clone()) {
            Ok(_) => Ok((table, origin)),
            Err(error) => Err(Error::Value {
                origin,
                key: self.key.to_owned(),
                why: error.message().to_owned(),
            }),
        }
    }
}

impl Sources {
    fn variable(&self, name: &str) -> Option<PathBuf> {
        let found = self.variables.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| PathBuf::from(value)).filter(|value| !value.as_os_str().is_empty())
    }

    /// The files that may hold configuration, the nearest first, and whether each must exist.
    fn candidates(&self) -> Vec<(PathBuf, bool)> {
        let named = self.file.clone().or_else(|| self.variable("STATEWARD_CONFIG"));
        let home = || self.variable("HOME").map(|home| home.join(".config"));
        let user = self.variable("XDG_CONFIG_HOME").or_else(home);
        let mut files: Vec<_> = named.into_iter().map(|path| (path, true)).collect();
        files.push(("stateward.toml".into(), false));
        files.extend(user.map(|dir| (dir.join("stateward/config.toml"), false)));
        files.push(("/etc/stateward/config.toml".into(), false));
        files.into_iter().map(|(path, needed)| (self.directory.join(path), needed)).collect()
    }
}

/// Reads and checks one file; none where it need not exist and does not.
fn read(disk: &dyn Disk, path: &Path, required: bool) -> Result<Option<Table>, Error> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    let wrong = |source| Error::File { path: path.to_owned(), source: Box::new(source) };
    // The disk follows no link in a last component, and people keep such files elsewhere.
    let bytes = match disk.canonical(path).and_then(|path| disk::read(disk, &path)) {
        Ok(bytes) => bytes,
        Err(error) if is_absent(&error) && !required => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let text = String::from_utf8(bytes).map_err(|error| failed(io::Error::other(error)))?;
    toml::from_str::<Settings>(&text).map_err(wrong)?;
    let mut table: Table = text.parse().map_err(wrong)?;
    if let Some(directory) = path.parent() {
        make_paths_absolute(&mut table, directory);
    }
    Ok(Some(table))
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn make_paths_absolute(table: &mut Table, directory: &Path) {
    let beneath = |value: &mut Value| {
        let Value::String(text) = value else { return };
        // The path of a file that holds text is text itself, or the value stays relative.
        if let Some(path) = directory.join(&*text).to_str() {
            path.clone_into(text);
        }
    };
    if let Some(store) = table.get_mut("store").and_then(Value::as_table_mut) {
        store.get_mut("path").into_iter().for_each(beneath);
        let fallbacks = store.get_mut("fallbacks").and_then(Value::as_array_mut);
        fallbacks.into_iter().flatten().for_each(beneath);
    }
    let agents = table.get_mut(agents::KEY).and_then(Value::as_array_mut);
    for agent in agents.into_iter().flatten().filter_map(Value::as_table_mut) {
        for key in ["workspace", "state"] {
            agent.get_mut(key).into_iter().for_each(beneath);
        }
        let files = agent.get_mut("state_files").and_then(Value::as_array_mut);
        files.into_iter().flatten().for_each(beneath);
        let schema = agent.get_mut("drift").and_then(|drift| drift.get_mut("schema"));
        schema.into_iter().for_each(beneath);
    }
    let schema = table.get_mut("drift").and_then(|drift| drift.get_mut("schema"));
    schema.into_iter().for_each(beneath);
    let log = table.get_mut("server").and_then(|server| server.get_mut("log"));
    log.and_then(|log| log.get_mut("dir")).into_iter().for_each(beneath);
}

/// Lays `over` on top of `under`: sections are joined, values replaced.
pub(super) fn overlay(under: &mut Table, over: Table) {
    for (name, value) in over {
        match (under.get_mut(&name), value) {
            (Some(Value::Table(under)), Value::Table(over)) => overlay(under, over),
            (_, value) => {
                under.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;

    const EXAMPLE: &str = include_str!("../../config.toml");

    fn sources() -> Sources {
        let variables = [("XDG_CONFIG_HOME", "/user"), ("STATEWARD_CONFIG", "named.toml")];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.into())).to_vec();
        Sources { variables, directory: "/work".into(), ..Sources::default() }
    }

    fn disk(files: &[(&str, &str)]) -> MemoryDisk {
        let disk = MemoryDisk::new();
        for dir in ["/work", "/user", "/user/stateward", "/etc", "/etc/stateward"] {
            disk.create_dir(Path::new(dir)).unwrap();
        }
        for (path, text) in files {
            disk.put(Path::new(path), text.as_bytes());
        }
        disk
    }

    #[test]
    fn the_nearer_layer_wins_key_by_key() {
        let disk = disk(&[
            (
                "/etc/stateward/config.toml",
                "agent = \"etc\"\n[store]\npath = \"here\"\n[retry]\nattempts_max = 1",
            ),
            ("/user/stateward/config.toml", "agent = \"user\"\n[retry]\ndelay_ms_max = 2"),
            ("/work/stateward.toml", "agent = \"work\"\n[retention.routine]\nkeep_last = 3"),
            ("/work/named.toml", "[store]\nlock_wait_ms = 4\nfallbacks = [\"../b\"]"),
        ]);
        let mut sources = sources();
        sources.variables.push(("STATEWARD_RETRY__JITTER".into(), "0.25".into()));
        sources.variables.push(("STATEWARD_AGENT".into(), "variable".into()));
        sources.flags.push(Flag { name: "--agent", key: "agent", value: "flag".into() });
        let found = Configuration::load(&disk, &sources).unwrap();

        let settings = &found.settings;
        assert_eq!(settings.agent.default.as_str(), "flag");
        assert_eq!(settings.store.place(), Path::new("/etc/stateward/here"));
        assert_eq!(settings.store.fallbacks, [Path::new("/work/../b")]);
        let retry = settings.retry;
        assert_eq!((retry.attempts_max, retry.delay_ms_max), (1, 2));
        let origins = [
            ("agent", "--agent"),
            ("store.path", "/etc/stateward/config.toml"),
            ("store.lock_wait_ms", "/work/named.toml"),
            ("retention.routine.keep_last", "/work/stateward.toml"),
            ("retention.recovery.keep_last", "default"),
            ("retry.jitter", "STATEWARD_RETRY__JITTER"),
        ];
        for (key, origin) in origins {
            assert_eq!(found.origin(key).to_string(), origin, "{key}");
        }
        assert_eq!(found.files.len(), 4);
    }

    #[test]
    fn tables_of_agents_leave_alone_whom_commands_are_about() {
        let near = "[[agent]]\nid = \"a/b\"\ncommand = [\"x\", \"y\"]\nstate = \"m.json\"\n\
                    every = \"5m\"\n[[agent]]\nid = \"c\"\ncommand = [\"z\"]";
        let disk = disk(&[
            ("/etc/stateward/config.toml", "[[agent]]\nid = \"gone\"\ncommand = [\"q\"]"),
            ("/user/stateward/config.toml", "agent = \"user\""),
            ("/work/named.toml", near),
        ]);
        let found = Configuration::load(&disk, &sources()).unwrap();
        let agents = &found.settings.agent;
        assert_eq!(agents.default.as_str(), "user");
        let ids: Vec<&str> = agents.tables.iter().map(|table| table.id.as_str()).collect();
        assert_eq!(ids, ["a/b", "c"]);
        assert_eq!(agents.tables[0].state.as_deref(), Some(Path::new("/work/m.json")));
        let shown = found.entries();
        let every = shown.iter().find(|entry| entry.key == "agent.a/b.every").unwrap();
        assert_eq!(every.value, Some("5m".into()));
        assert_eq!(every.origin, Origin::File("/work/named.toml".into()));
        assert!(!shown.iter().any(|entry| entry.key.contains("gone")), "{shown:?}");
    }

    #[test]
    fn a_file_that_was_named_must_exist_and_others_need_not() {
        let mut sources = sources();
        let error = Configuration::load(&disk(&[]), &sources).unwrap_err();
        assert!(error.to_string().contains("/work/named.toml"), "{error}");
        sources.variables.retain(|(name, _)| name != "STATEWARD_CONFIG");
        let found = Configuration::load(&disk(&[]), &sources).unwrap();
        assert_eq!(found.settings, Settings::default());
        assert!(found.entries().iter().all(|entry| entry.origin == Origin::Default));
    }

    #[test]
    fn what_a_table_says_of_drift_lies_over_the_section_for_that_agent_alone() {
        let text = "[drift]\ncalm = 7\n[drift.policies]\nbudget = \"halt\"\n
            [[agent]]\nid = \"a\"\ncommand = [\"x\"]
            [agent.drift]\nsensitivity = \"high\"\npolicies.shrinkage = \"restore\"
            [[agent]]\nid = \"b\"\ncommand = [\"x\"]";
        let found = Configuration::load(&disk(&[("/work/named.toml", text)]), &sources()).unwrap();
        let options = found.settings.options();
        assert_eq!(options.drift_of.len(), 1, "b has no rules of its own");
        let own = &options.drift_of[&crate::state::AgentId::new("a").unwrap()];
        let mut wanted = options.drift.clone();
        assert_eq!(wanted.calm, 7);
        wanted.sensitivity = crate::drift::Sensitivity::High;
        wanted.policies.shrinkage = crate::drift::Policy::Restore;
        assert_eq!(*own, wanted);
        let shown = found.entries();
        let key = "agent.a.drift.policies.shrinkage";
        let entry = shown.iter().find(|entry| entry.key == key).unwrap();
        assert_eq!(entry.value, Some(Value::String("restore".to_owned())));
        assert_eq!(entry.origin, Origin::File("/work/named.toml".into()));
    }

    #[test]
    fn what_does_not_fit_in_an_agents_drift_is_told_with_its_name() {
        let text = "[[agent]]\nid = \"a\"\ncommand = [\"x\"]\ndrift.policies.limit = \"restore\"";
        let error = Configuration::load(&disk(&[("/work/named.toml", text)]), &sources());
        let shown = error.unwrap_err().to_string();
        for part in ["agent.a.drift", "/work/named.toml", "policies.limit"] {
            assert!(shown.contains(part), "{part} is not in {shown}");
        }
    }

    #[test]
    fn a_mistake_is_shown_where_it_stands() {
        for (text, wanted) in [
            ("[store]\npaths = \"x\"", ["line 2, column 1", "expected one of", "`path`"]),
            ("[retry]\njitter = \"much\"", ["line 2, column 10", "f64", "jitter = \"much\""]),
            ("agent = \"-x\"", ["line 1, column 9", "letter or a digit", "^"]),
            ("[store", ["line 1", "^", "/work/named.toml"]),
            ("[[agent]]\nid = \"a\"\ncommand = []", ["line 3, column 11", "command is empty", "^"]),
            (
                "[[agent]]\nid = \"a\"\nkommand = []",
                ["line 3, column 1", "`command`", "named.toml"],
            ),
            ("[[agent]]\ncommand = [\"x\"]", ["line 1", "missing field `id`", "named.toml"]),
            (
                "[[agent]]\nid = \"a\"\ncommand = [\"x\"]\n[[agent]]\nid = \"a\"\ncommand = [\"x\"]",
                ["line 1", "id a stands in two tables", "named.toml"],
            ),
            (
                "[[agent]]\nid = \"a\"\ncommand = [\"x\"]\ndrift.policy.shrinkage = \"halt\"",
                ["line 4", "`policy`", "`policies`"],
            ),
            (
                "[[agent]]\nid = \"a\"\ncommand = [\"x\"]\n[agent.drift]\nresponse = \"much\"",
                ["line 4", "`much`", "`observe`"],
            ),
            (
                "[[agent]]\nid = \"a\"\ncommand = [\"x\"]\ndrift.restores.per_hour_store = 1",
                ["line 4", "per_hour_store concerns all", "it stands in [drift]"],
            ),
            (
                "agent = \"a\"\n[[agent]]\nid = \"a\"\ncommand = [\"x\"]",
                ["line 2", "agent", "named.toml"],
            ),
        ] {
            let error = Configuration::load(&disk(&[("/work/named.toml", text)]), &sources());
            let shown = error.unwrap_err().to_string();
            for part in wanted {
                assert!(shown.contains(part), "{part} is not in {shown}");
            }
        }
    }

    #[test]
    fn the_example_shows_the_defaults_and_every_key() {
        let found: Settings = toml::from_str(EXAMPLE).unwrap();
        assert_eq!(found, Settings::default());
        let table: Table = EXAMPLE.parse().unwrap();
        let shown: Vec<String> = keys::leaves(&table).into_iter().map(|(key, _)| key).collect();
        for key in keys::all() {
            let name = key.rsplit('.').next().unwrap();
            let commented = EXAMPLE.lines().any(|line| line.starts_with(&format!("# {name} = ")));
            assert!(shown.contains(&key) || commented, "config.toml does not show {key}");
        }
    }

    #[test]
    fn each_key_of_the_example_has_its_why() {
        let mut why = false;
        for line in EXAMPLE.lines() {
            let key = line.split_once(" = ").filter(|(name, _)| !name.starts_with([' ', '#']));
            if let Some((name, _)) = key {
                assert!(why, "{name} has no line of why");
            }
            why = line.starts_with("# ") || (why && !line.is_empty() && key.is_none());
        }
    }
}
