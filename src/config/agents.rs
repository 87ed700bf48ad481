//! The key `agent`: whom commands are about, or the agents that `serve` runs.
//!
//! A text names the agent that commands are about; tables, written as `[[agent]]`, say which agents
//! `serve` runs. TOML lets one file say one of the two. Tables of one source take the place of all
//! tables of farther ones, as lists do, and leave alone whom commands are about.
//!
//! What a table says of drift lies over the section `drift`, key by key, for that agent alone. What
//! concerns all agents of a store at once stands in the section and nowhere else.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use serde::de::value::StrDeserializer;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use toml::{Table, Value};

use super::{keys, layers};
use crate::drift;
use crate::state::{AgentId, Span};
use crate::supervise::{OnCrash, Restart};

/// The key with its sections, and the name of the tables.
pub(super) const KEY: &str = "agent";

/// Whom commands are about, and whom `serve` runs. Written out it is the first of the two.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Agents {
    /// The agent that commands are about where none is named.
    pub default: AgentId,
    /// The agents that `serve` runs.
    pub tables: Vec<AgentTable>,
}

/// An agent that `serve` runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentTable {
    /// Its id.
    pub id: AgentId,
    /// The command and its arguments; at least the command.
    #[serde(deserialize_with = "command")]
    pub command: Vec<String>,
    /// Its workspace; absent: it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<PathBuf>,
    /// The file that holds its state, one JSON object; absent: it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<PathBuf>,
    /// Files that are kept byte for byte, or patterns of such files.
    #[serde(default)]
    pub state_files: Vec<PathBuf>,
    /// As `run.every`, which holds where this is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Span>,
    /// As `run.restart`, which holds where this is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<Restart>,
    /// As `run.on_crash`, which holds where this is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_crash: Option<OnCrash>,
    /// Keys of the section `drift` that are otherwise for this agent.
    #[serde(default, skip_serializing_if = "Table::is_empty", deserialize_with = "drift_keys")]
    pub drift: Table,
}

impl AgentTable {
    /// What counts as drift of this agent, and what is done about it; none where nothing is said.
    pub(super) fn drift_over(&self, section: &drift::Options) -> Option<drift::Options> {
        if self.drift.is_empty() {
            return None;
        }
        let mut table = Table::try_from(section).expect("a section is a table");
        layers::overlay(&mut table, self.drift.clone());
        let over = drift::Options::deserialize(Value::Table(table));
        Some(over.expect("values that fit one by one fit together, bounds apart"))
    }

    /// Its keys with their values, as `status --config` shows them.
    pub(super) fn leaves(&self) -> Vec<(String, Value)> {
        let table = Table::try_from(self).expect("a table of an agent came from TOML");
        let named = |(name, value)| (format!("{KEY}.{}.{name}", self.id), value);
        keys::leaves(&table).into_iter().map(named).collect()
    }
}

/// Takes the tables out of a layer that was checked, so that whom commands are about stays.
pub(super) fn take(layer: &mut Table) -> Option<Vec<AgentTable>> {
    layer.get(KEY)?.as_array()?;
    let tables = layer.remove(KEY)?;
    Some(Vec::deserialize(tables).expect("the layer was checked by itself"))
}

/// Keys of the section `drift`, each as that would take it.
fn drift_keys<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Table, D::Error> {
    let table = Table::deserialize(deserializer)?;
    drift::Options::deserialize(Value::Table(table.clone()))
        .map_err(|error| D::Error::custom(format!("drift: {}", error.message())))?;
    let of_store = [("", "shared_cause"), ("restores", "per_hour_store")];
    let is_there = |(section, key): &(&str, &str)| match *section {
        "" => table.contains_key(*key),
        section => table.get(section).is_some_and(|it| it.get(*key).is_some()),
    };
    match of_store.into_iter().find(is_there) {
        None => Ok(table),
        Some((_, key)) => Err(D::Error::custom(format!(
            "drift: {key} concerns all agents of the store together: it stands in [drift]"
        ))),
    }
}

fn command<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let command = Vec::<String>::deserialize(deserializer)?;
    match command.first() {
        Some(program) if !program.is_empty() => Ok(command),
        _ => Err(D::Error::custom("command is empty: name a program, then its arguments")),
    }
}

impl Serialize for Agents {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.default.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Agents {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Either)
    }
}

/// Reads either form.
struct Either;

impl<'de> Visitor<'de> for Either {
    type Value = Agents;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the id of an agent, or tables [[agent]] of agents to run")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Agents, E> {
        let default = AgentId::deserialize(StrDeserializer::new(text))?;
        Ok(Agents { default, tables: Vec::new() })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Agents, A::Error> {
        let (mut tables, mut ids) = (Vec::new(), BTreeSet::new());
        while let Some(table) = sequence.next_element::<AgentTable>()? {
            if !ids.insert(table.id.clone()) {
                let id = &table.id;
                return Err(A::Error::custom(format!("id {id} stands in two tables [[agent]]")));
            }
            tables.push(table);
        }
        Ok(Agents { default: AgentId::default(), tables })
    }
}
