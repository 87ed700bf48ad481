//! Bounds that types do not express, and values that must agree with each other.

use super::{Configuration, Error, Settings};
use crate::drift;

/// A rule about one key: whether the settings break it, and what is allowed.
type Rule = (&'static str, fn(&Settings) -> bool, &'static str);

const RULES: [Rule; 5] = [
    (
        "log.batch_align",
        |it| !(it.log.batch_align.is_power_of_two() && (8..=4096).contains(&it.log.batch_align)),
        "it is a power of two from 8 to 4096",
    ),
    (
        "log.segment_bytes_min",
        |it| it.log.segment_bytes_min < 64 << 10,
        "a segment has at least 65536 bytes",
    ),
    (
        "log.segment_bytes_max",
        |it| it.log.segment_bytes_max < it.log.segment_bytes_min,
        "it is not smaller than log.segment_bytes_min",
    ),
    (
        "log.segment_bytes_max",
        |it| it.log.segment_bytes_max > 1 << 30,
        "a segment has at most 1073741824 bytes",
    ),
    ("state.depth_max", |it| it.state.depth_max > 120, "it is at most 120"),
];

/// Finds the first rule that is broken.
pub(super) fn bounds(found: &Configuration) -> Result<(), Error> {
    let wrong =
        |key: &str, why| Error::Bounds { key: key.to_owned(), origin: found.origin(key), why };
    if let Some((key, _, why)) = RULES.iter().find(|(_, broken, _)| broken(&found.settings)) {
        return Err(wrong(key, (*why).to_owned()));
    }
    found.settings.workspace.check().map_err(|error| Error::Bounds {
        key: "workspace".to_owned(),
        origin: found.origin_within("workspace."),
        why: error.to_string(),
    })?;
    found.settings.state.check().map_err(|error| Error::Bounds {
        key: "state".to_owned(),
        origin: found.origin_within("state."),
        why: error.to_string(),
    })?;
    found.settings.run.transcript.check().map_err(|error| Error::Bounds {
        key: "run.transcript".to_owned(),
        origin: found.origin_within("run.transcript."),
        why: error.to_string(),
    })?;
    #[cfg(feature = "server")]
    found.settings.server.check().map_err(|(key, why)| wrong(key, why.to_owned()))?;
    let unfit = |key: String, error: drift::Error| {
        let origin = found.origin_within(&format!("{key}."));
        Error::Bounds { key, origin, why: error.to_string() }
    };
    let section = &found.settings.drift;
    section.check().map_err(|error| unfit("drift".to_owned(), error))?;
    found.settings.agent.tables.iter().try_for_each(|table| {
        let own = table.drift_over(section).map_or(Ok(()), |own| own.check());
        own.map_err(|error| unfit(format!("agent.{}.drift", table.id), error))
    })
}
