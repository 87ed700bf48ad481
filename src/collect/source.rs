//! The place for state that an agent holds itself.
//!
//! The manager asks the source wherever a checkpoint is made without state being given, and hands
//! the state back to it when a restore has finished. It promises to pass the bytes through
//! unchanged; whether they are one JSON object is checked when they are encoded, not here.

/// What a source says when it cannot collect or apply; any error of the agent's own.
pub type SourceError = Box<dyn std::error::Error + Send + Sync>;

/// Collects an agent's own state and applies it again on restore.
///
/// Both calls may come from any thread and must not call back into the manager for the same agent:
/// the agent's commit is waiting for them.
pub trait StateSource: Send + Sync {
    /// The state of this moment, as the bytes of one JSON object.
    ///
    /// # Errors
    /// Whatever keeps the agent from giving a whole state; the checkpoint is then not made.
    fn collect(&self) -> Result<Vec<u8>, SourceError>;

    /// Takes over a restored state, byte for byte what [`collect`](Self::collect) once gave.
    ///
    /// # Errors
    /// Whatever keeps the agent from taking it over; it should then be as it was before the call.
    fn apply(&self, state: &[u8]) -> Result<(), SourceError>;
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    struct Counter(Mutex<u64>);

    impl StateSource for Counter {
        fn collect(&self) -> Result<Vec<u8>, SourceError> {
            Ok(format!("{{\"count\":{}}}", self.0.lock()).into_bytes())
        }

        fn apply(&self, state: &[u8]) -> Result<(), SourceError> {
            let state: serde_json::Value = serde_json::from_slice(state)?;
            *self.0.lock() = state["count"].as_u64().ok_or("`count` is missing")?;
            Ok(())
        }
    }

    #[test]
    fn a_source_can_be_shared_and_takes_back_what_it_gave() {
        let source: Arc<dyn StateSource> = Arc::new(Counter(Mutex::new(7)));
        let state = source.collect().unwrap();
        source.apply(br#"{"count":1}"#).unwrap();
        source.apply(&state).unwrap();
        assert_eq!(source.collect().unwrap(), state);
        assert_eq!(source.apply(b"{}").unwrap_err().to_string(), "`count` is missing");
    }
}
