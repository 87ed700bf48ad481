//! Values from the environment: `STATEWARD_SECTION__KEY`.
//!
//! Names are in capitals with two underscores between the parts of a key: `store.lock_wait_ms` is
//! `STATEWARD_STORE__LOCK_WAIT_MS`. `STATEWARD_AGENT` sets `agent`. Other names without a double
//! underscore belong to others (`STATEWARD_CONFIG`, `STATEWARD_LOG`, `STATEWARD_URL`, …) and are let
//! be; a name with one that is no key is an error. A value is TOML, or the bare text where the key
//! takes text, or texts with commas between where it takes a list. An empty value sets nothing.

use std::ffi::OsString;

use toml::{Table, Value};

use super::{Error, Origin, Settings, keys};

const PREFIX: &str = "STATEWARD_";

/// The tables that the variables set, one each.
pub(super) fn layers(variables: &[(String, OsString)]) -> Result<Vec<(Table, Origin)>, Error> {
    let all = keys::all();
    let mut layers = Vec::new();
    for (name, value) in variables {
        let Some(key) = key_of(name) else { continue };
        if !all.contains(&key) {
            return Err(unknown(name, &key, &all));
        }
        if !value.is_empty() {
            layers.push((table(name, &key, value)?, Origin::Variable(name.clone())));
        }
    }
    Ok(layers)
}

/// The key that a variable means; none where it is not one of the configuration's.
fn key_of(name: &str) -> Option<String> {
    let rest = name.strip_prefix(PREFIX)?;
    let is_key = rest == "AGENT" || rest.contains("__");
    is_key.then(|| rest.to_lowercase().replace("__", "."))
}

/// The variable that sets a key.
pub(super) fn variable_of(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase().replace('.', "__"))
}

/// Names what could have been meant: the keys of the same section, or all sections.
fn unknown(name: &str, key: &str, all: &[String]) -> Error {
    let section = key.split('.').next().unwrap_or_default();
    let within = format!("{section}.");
    let near: Vec<String> =
        all.iter().filter(|key| key.starts_with(&within)).map(|key| variable_of(key)).collect();
    let allowed = if near.is_empty() {
        let mut sections: Vec<String> = all
            .iter()
            .filter_map(|key| key.split_once('.'))
            .map(|(section, _)| format!("{PREFIX}{}__…", section.to_uppercase()))
            .collect();
        sections.dedup();
        sections
    } else {
        near
    };
    Error::UnknownVariable { name: name.to_owned(), allowed: allowed.join(", ") }
}

/// Takes the first reading of the text that the key accepts.
fn table(name: &str, key: &str, value: &OsString) -> Result<Table, Error> {
    let wrong = |why: String| Error::Value {
        origin: Origin::Variable(name.to_owned()),
        key: key.to_owned(),
        why,
    };
    let text = value.to_str().ok_or_else(|| wrong("it is not UTF-8".to_owned()))?;
    let mut why = None;
    for reading in readings(text) {
        let table = keys::single(key, reading);
        match Settings::deserialize_table(table.clone()) {
            Ok(_) => return Ok(table),
            Err(error) => why = why.or(Some(error.message().to_owned())),
        }
    }
    Err(wrong(why.expect("a text has at least one reading")))
}

fn readings(text: &str) -> Vec<Value> {
    let literal = format!("value = {text}").parse::<Table>().ok();
    let literal = literal.filter(|table| table.len() == 1).and_then(|mut it| it.remove("value"));
    let list = text.split(',').map(|item| Value::String(item.trim().to_owned())).collect();
    literal.into_iter().chain([Value::String(text.to_owned()), Value::Array(list)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, value: &str) -> Result<Settings, Error> {
        let layers = layers(&[(name.to_owned(), value.into())])?;
        let table = layers.into_iter().next().map(|(table, _)| table).unwrap_or_default();
        Ok(Settings::deserialize_table(table).unwrap())
    }

    #[test]
    fn text_numbers_and_lists_are_read_as_the_key_wants_them() {
        assert_eq!(set("STATEWARD_AGENT", "a/b").unwrap().agent.default.as_str(), "a/b");
        assert_eq!(set("STATEWARD_AGENT", "17").unwrap().agent.default.as_str(), "17");
        assert_eq!(set("STATEWARD_STORE__LOCK_WAIT_MS", "7").unwrap().store.lock_wait_ms, 7);
        let path = set("STATEWARD_STORE__PATH", "/a dir/true").unwrap().store.path;
        assert_eq!(path, Some("/a dir/true".into()));
        let fallbacks = set("STATEWARD_STORE__FALLBACKS", "/a, /b").unwrap().store.fallbacks;
        assert_eq!(fallbacks, ["/a", "/b"].map(std::path::PathBuf::from));
        let anchors = "[{ every = \"1h\", keep = 2 }]";
        let policy = set("STATEWARD_RETENTION__ROUTINE__ANCHORS", anchors).unwrap().retention;
        assert_eq!(policy.routine.anchors.len(), 1);
        assert_eq!(policy.routine.keep_last, 3, "what is not set keeps its default");
    }

    #[test]
    fn what_belongs_to_others_or_is_empty_sets_nothing() {
        for name in ["STATEWARD_CONFIG", "STATEWARD_LOG", "STATEWARD_TOKEN", "PATH", "A__B"] {
            assert_eq!(set(name, "x").unwrap(), Settings::default(), "{name}");
        }
        assert_eq!(set("STATEWARD_AGENT", "").unwrap(), Settings::default());
    }

    #[test]
    fn mistakes_name_the_variable_and_what_is_allowed() {
        let text = set("STATEWARD_STORE__PATHS", "x").unwrap_err().to_string();
        assert!(
            text.contains("STATEWARD_STORE__PATHS is") && text.ends_with("STATEWARD_STORE__PATH")
        );
        let text = set("STATEWARD_SHOP__PATH", "x").unwrap_err().to_string();
        assert!(text.contains("STATEWARD_RETENTION__…"), "{text}");
        let text = set("STATEWARD_STORE__LOCK_WAIT_MS", "soon").unwrap_err().to_string();
        assert!(text.contains("store.lock_wait_ms") && text.contains("soon"), "{text}");
        assert!(set("STATEWARD_STORE__LOCK_WAIT_MS", "1\nagent = \"x\"").is_err());
    }
}
