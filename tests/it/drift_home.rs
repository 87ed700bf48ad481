//! What a store tells of the drift of an agent that is being run.

use serde_json::Value;

use crate::cli_home::Home;
use crate::server_home::Place;

/// Looks follow each other quickly, where waiting for them proves nothing.
pub const QUICK: &str = "[run]\nlook_every = \"200ms\"\n";

impl Home {
    /// Writes the configuration that commands here find.
    pub fn configure(&self, text: &str) {
        // Also beside a workspace, whose store would lie elsewhere.
        let text = format!("[store]\npath = \".stateward\"\n{text}");
        self.write("stateward.toml", &text);
    }

    /// What the log tells under a name, the oldest first.
    pub fn told(&self, entry: &str) -> Vec<Value> {
        let log = self.json(&["log"]);
        let all = log.as_array().unwrap().iter();
        all.filter(|it| it["entry"] == entry).map(|it| it["detail"].clone()).collect()
    }

    /// How the agent that is being run stands, as its sidecar tells it.
    pub fn standing(&self) -> Value {
        let socket = Place::Socket(self.store().join("stateward.sock"));
        socket.ask("GET", "/v1/agents/default/drift", &[], b"").json()
    }

    /// The number of the newest sighting of it.
    pub fn observation(&self) -> u64 {
        self.standing()["verdict"]["observation"].as_u64().unwrap()
    }

    /// The signals that found the agent drifting.
    pub fn drifted(&self) -> Vec<String> {
        let found = self.told("drift_found").into_iter();
        let found = found.filter(|it| it["level"] == "drifting");
        found.map(|it| it["signal"].as_str().unwrap().to_owned()).collect()
    }

    /// What was done about drift, but for events.
    pub fn answers(&self) -> Vec<String> {
        let done = self.told("drift_answered").into_iter();
        let done = done.map(|it| it["done"].as_str().unwrap().to_owned());
        done.filter(|done| done != "observe").collect()
    }
}
