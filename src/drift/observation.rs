//! What an agent says of itself: one observation, and its limits.
//!
//! In JSON it is the body of `observe`; every field may be left out and no other is allowed:
//!
//! ```json
//! {"step": 7, "action": {"name": "edit", "input_digest": "blake3:…"}, "ok": true,
//!  "result_digest": "blake3:…", "progress": 0.4, "metrics": {"latency_s": 2.1},
//!  "event": "compaction", "heartbeat": true}
//! ```
//!
//! A digest is any text that is equal where the thing is equal; nothing is computed from it. Names
//! and digests have at most 128 bytes and names at least one, there are at most 64 metrics, and
//! numbers are finite: JSON that breaks this is refused when it is read. An observation that was
//! built in Rust is checked by [`Observation::check`]; a number in it that is not finite is skipped
//! and counted where the observation is looked at.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::Error;

/// Longest name of an action or a metric, and longest digest, in bytes.
pub const NAME_BYTES_MAX: usize = 128;

/// Most metrics in one observation.
pub const METRICS_MAX: usize = 64;

/// One thing an agent says of itself, usually once for each action.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Observation {
    /// The agent's own count of its steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<u64>,
    /// What it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
    /// Whether that went well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ok: Option<bool>,
    /// What came of it; equal for equal results.
    #[serde(deserialize_with = "bounded_option", skip_serializing_if = "Option::is_none")]
    pub result_digest: Option<String>,
    /// How far the work is, in a unit of the agent's own; usually a share from 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<f64>,
    /// Numbers by name: seconds, tokens, costs.
    #[serde(deserialize_with = "bounded_metrics", skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, f64>,
    /// A moment that changes what is to be expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<Occasion>,
    /// Nothing but a sign of life.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub heartbeat: bool,
}

/// What an agent did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Action {
    /// The name of the tool or the kind of step.
    #[serde(deserialize_with = "bounded_name")]
    pub name: String,
    /// What it was given; equal for equal inputs.
    #[serde(default, deserialize_with = "bounded_option", skip_serializing_if = "Option::is_none")]
    pub input_digest: Option<String>,
}

/// A moment that changes what is to be expected of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub enum Occasion {
    /// It shortened its memory on purpose.
    Compaction,
    /// It waits for somebody and does nothing meanwhile.
    Waiting,
    /// It goes on.
    Resumed,
}

impl Observation {
    /// An action and what it was given; `input_digest` is any text that is equal for equal inputs.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "a digest is handed over like a name")]
    pub fn action(name: impl Into<String>, input_digest: impl ToString) -> Self {
        Self::default().with_action(name, Some(input_digest.to_string()))
    }

    /// An action whose input is not known; repetition does not see it.
    #[must_use]
    pub fn bare_action(name: impl Into<String>) -> Self {
        Self::default().with_action(name, None)
    }

    /// A moment that changes what is to be expected.
    #[must_use]
    pub fn event(event: Occasion) -> Self {
        Self { event: Some(event), ..Self::default() }
    }

    /// A sign of life and nothing else.
    #[must_use]
    pub fn heartbeat() -> Self {
        Self { heartbeat: true, ..Self::default() }
    }

    fn with_action(self, name: impl Into<String>, input_digest: Option<String>) -> Self {
        Self { action: Some(Action { name: name.into(), input_digest }), ..self }
    }

    /// The agent's own count of its steps.
    #[must_use]
    pub fn step(self, step: u64) -> Self {
        Self { step: Some(step), ..self }
    }

    /// Whether the action went well.
    #[must_use]
    pub fn ok(self, ok: bool) -> Self {
        Self { ok: Some(ok), ..self }
    }

    /// What came of the action; any text that is equal for equal results.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "a digest is handed over like a name")]
    pub fn result(self, digest: impl ToString) -> Self {
        Self { result_digest: Some(digest.to_string()), ..self }
    }

    /// How far the work is.
    #[must_use]
    pub fn progress(self, progress: f64) -> Self {
        Self { progress: Some(progress), ..self }
    }

    /// A number by name; the last one given under a name counts.
    #[must_use]
    pub fn metric(mut self, name: impl Into<String>, value: f64) -> Self {
        self.metrics.insert(name.into(), value);
        self
    }

    /// Checks the limits on names and their number.
    ///
    /// # Errors
    /// [`Error::Name`] or [`Error::Metrics`].
    pub fn check(&self) -> Result<(), Error> {
        let action = self.action.iter();
        let names = action.clone().map(|action| &action.name).chain(self.metrics.keys());
        names.into_iter().try_for_each(|name| check_name(name))?;
        let digests = action.filter_map(|action| action.input_digest.as_ref());
        digests.chain(&self.result_digest).try_for_each(|digest| check_length(digest))?;
        check_count(self.metrics.len())
    }
}

fn check_length(text: &str) -> Result<(), Error> {
    match text.len() {
        0..=NAME_BYTES_MAX => Ok(()),
        bytes => Err(Error::Name { start: text.chars().take(40).collect(), bytes }),
    }
}

fn check_name(name: &str) -> Result<(), Error> {
    if name.is_empty() {
        return Err(Error::Name { start: String::new(), bytes: 0 });
    }
    check_length(name)
}

fn check_count(count: usize) -> Result<(), Error> {
    if count > METRICS_MAX { Err(Error::Metrics { count }) } else { Ok(()) }
}

fn bounded_name<'de, D: Deserializer<'de>>(source: D) -> Result<String, D::Error> {
    let name = String::deserialize(source)?;
    check_name(&name).map_err(D::Error::custom)?;
    Ok(name)
}

fn bounded_option<'de, D: Deserializer<'de>>(source: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(source)?;
    text.as_deref().map_or(Ok(()), check_length).map_err(D::Error::custom)?;
    Ok(text)
}

fn bounded_metrics<'de, D: Deserializer<'de>>(
    source: D,
) -> Result<BTreeMap<String, f64>, D::Error> {
    let metrics = BTreeMap::<String, f64>::deserialize(source)?;
    check_count(metrics.len()).map_err(D::Error::custom)?;
    metrics.keys().try_for_each(|name| check_name(name)).map_err(D::Error::custom)?;
    Ok(metrics)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Observation, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_built_is_what_the_body_says() {
        let built = Observation::action("edit", "blake3:00")
            .step(7)
            .ok(true)
            .result("r")
            .progress(0.5)
            .metric("latency_s", 2.1);
        let text = r#"{"step":7,"action":{"name":"edit","input_digest":"blake3:00"},"ok":true,
            "result_digest":"r","progress":0.5,"metrics":{"latency_s":2.1}}"#;
        assert_eq!(read(text).unwrap(), built);
        assert_eq!(read(&serde_json::to_string(&built).unwrap()).unwrap(), built);
        built.check().unwrap();
        assert_eq!(read("{}").unwrap(), Observation::default());
        assert_eq!(read(r#"{"event":"waiting"}"#).unwrap(), Observation::event(Occasion::Waiting));
        assert_eq!(read(r#"{"heartbeat":true}"#).unwrap(), Observation::heartbeat());
        let bare = read(r#"{"action":{"name":"think"}}"#).unwrap();
        assert_eq!(bare, Observation::bare_action("think"));
    }

    #[test]
    fn what_does_not_belong_there_is_refused() {
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        for text in [
            r#"{"steps":7}"#.to_owned(),
            r#"{"action":{"name":"edit","inputs":1}}"#.to_owned(),
            r#"{"action":{}}"#.to_owned(),
            r#"{"action":{"name":""}}"#.to_owned(),
            r#"{"event":"asleep"}"#.to_owned(),
            r#"{"metrics":{"a":1e400}}"#.to_owned(),
            r#"{"metrics":{"a":null}}"#.to_owned(),
            r#"{"metrics":{"":1}}"#.to_owned(),
            r#"{"step":-1}"#.to_owned(),
            format!(r#"{{"action":{{"name":"{long}"}}}}"#),
            format!(r#"{{"action":{{"name":"a","input_digest":"{long}"}}}}"#),
            format!(r#"{{"result_digest":"{long}"}}"#),
            format!(r#"{{"metrics":{{"{long}":1}}}}"#),
        ] {
            assert!(read(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_limits_hold_for_what_is_built_too() {
        let many = |count: usize| {
            (0..count).fold(Observation::default(), |it, n| it.metric(format!("m{n}"), 1.0))
        };
        many(METRICS_MAX).check().unwrap();
        let error = many(METRICS_MAX + 1).check().unwrap_err();
        assert!(matches!(error, Error::Metrics { count: 65 }), "{error}");
        let body = serde_json::to_string(&many(METRICS_MAX + 1)).unwrap();
        assert!(read(&body).unwrap_err().contains("65 metrics"));
        let long = "é".repeat(NAME_BYTES_MAX / 2 + 1);
        assert!(Observation::bare_action(&long).check().is_err());
        assert!(Observation::default().result(&long).check().is_err());
    }
}
