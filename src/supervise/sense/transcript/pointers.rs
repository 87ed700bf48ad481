//! The section `run.transcript`: where the transcript is, and where in a line what stands.

use serde::{Deserialize, Serialize};

/// The source that stands for the transcripts of Claude Code in the working directory.
pub(crate) const CLAUDE: &str = "claude";

/// Where a transcript is and how its lines are read.
///
/// The places are JSON Pointers (RFC 6901). A place that asks a question may name the value that
/// means yes, as in `/status=success`; without one, `true` does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// A file of JSON lines, a pattern of such files, or `claude`; absent: none is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The name of an action.
    pub action: String,
    /// What it was given.
    pub input: String,
    /// Whether it went well.
    pub ok: String,
    /// What came of it.
    pub result: String,
    /// How far the work is.
    pub progress: String,
    /// An object of numbers by name.
    pub metrics: String,
    /// Whether the agent shortened its memory here.
    pub compaction: String,
    /// Whether it waits for somebody from here on.
    pub waiting: String,
    /// Whether it goes on.
    pub resumed: String,
}

/// A place that is none.
#[derive(Debug, thiserror::Error)]
#[error("run.transcript.{key} is no JSON Pointer: `{place}`; it is empty or begins with `/`")]
pub struct Error {
    /// The key within the section.
    key: &'static str,
    /// What it says.
    place: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            source: None,
            action: "/action".into(),
            input: "/input".into(),
            ok: "/ok".into(),
            result: "/result".into(),
            progress: "/progress".into(),
            metrics: "/metrics".into(),
            compaction: "/event=compaction".into(),
            waiting: "/event=waiting".into(),
            resumed: "/event=resumed".into(),
        }
    }
}

impl Options {
    /// Checks that every place is one.
    ///
    /// # Errors
    /// The first that is none.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let places = [
            ("action", &self.action),
            ("input", &self.input),
            ("ok", &self.ok),
            ("result", &self.result),
            ("progress", &self.progress),
            ("metrics", &self.metrics),
            ("compaction", &self.compaction),
            ("waiting", &self.waiting),
            ("resumed", &self.resumed),
        ];
        let wrong = |(_, place): &(_, &String)| !place.is_empty() && !place.starts_with('/');
        match places.into_iter().find(wrong) {
            None => Ok(()),
            Some((key, place)) => Err(Error { key, place: place.clone() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_pointers() {
        Options::default().check().unwrap();
        let none = Options { result: String::new(), ..Options::default() };
        none.check().unwrap();
        let wrong = Options { ok: "status=fine".into(), ..Options::default() };
        assert!(wrong.check().unwrap_err().to_string().contains("run.transcript.ok"));
    }
}
