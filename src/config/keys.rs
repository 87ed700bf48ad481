//! The names of all keys, and their values one by one.

use serde::Serialize;
use toml::{Table, Value};

use super::{Origin, Settings};

/// Keys that have no value by default, and so do not show in the defaults.
const WITHOUT_DEFAULT: [&str; if cfg!(feature = "server") { 8 } else { 7 }] = [
    "drift.schema",
    "retention.disk_budget",
    "retention.free_floor",
    "run.heartbeat_timeout",
    "run.max_uptime",
    "run.transcript.source",
    #[cfg(feature = "server")]
    "server.log.dir",
    "store.path",
];

/// One key with its value and where that came from.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// The key, with its sections: `retention.routine.keep_last`.
    pub key: String,
    /// Its value; none where nothing is set and the program decides.
    pub value: Option<Value>,
    /// Where it came from.
    pub origin: Origin,
}

/// The settings as a table, for what does not care for types.
pub(super) fn table(settings: &Settings) -> Table {
    Table::try_from(settings).expect("settings hold nothing that TOML cannot carry")
}

/// Every key there is, in order.
pub(super) fn all() -> Vec<String> {
    let mut keys: Vec<String> = WITHOUT_DEFAULT.map(String::from).to_vec();
    keys.extend(leaves(&table(&Settings::default())).into_iter().map(|(key, _)| key));
    keys.sort();
    keys
}

/// Every value in a table under its full key.
pub(super) fn leaves(table: &Table) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    gather(table, "", &mut found);
    found
}

fn gather(table: &Table, prefix: &str, found: &mut Vec<(String, Value)>) {
    for (name, value) in table {
        let key = format!("{prefix}{name}");
        match value {
            Value::Table(inner) => gather(inner, &format!("{key}."), found),
            value => found.push((key, value.clone())),
        }
    }
}

/// The table that sets `key` alone.
pub(super) fn single(key: &str, value: Value) -> Table {
    let mut parts: Vec<&str> = key.split('.').collect();
    let last = parts.pop().expect("splitting gives at least one part");
    let innermost = Table::from_iter([(last.to_owned(), value)]);
    parts
        .into_iter()
        .rev()
        .fold(innermost, |inner, part| Table::from_iter([(part.to_owned(), Value::Table(inner))]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_without_default_can_be_set_and_then_shows() {
        for key in WITHOUT_DEFAULT {
            let text = if key.starts_with("run.") { "1m" } else { "1MB" };
            let table = single(key, Value::String(text.into()));
            let settings = Settings::deserialize_table(table).unwrap();
            let shown = leaves(&super::table(&settings));
            assert!(shown.iter().any(|(name, _)| name == key), "{key}");
        }
    }

    #[test]
    fn keys_carry_their_sections() {
        let keys = all();
        for key in ["agent", "store.path", "retention.routine.keep_last", "state.depth_max"] {
            assert!(keys.iter().any(|name| name == key), "{key} is not in {keys:?}");
        }
        assert!(!keys.iter().any(|key| key == "retention.routine"), "a section is no key");
    }
}
