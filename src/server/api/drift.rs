//! Drift: what an agent says of itself, how it stands, and a person's word on a checkpoint.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Call, Wire, agent_path, reference_path};
use crate::drift::{Directive, Observation, Verdict};
use crate::manager::{CheckpointManager, DriftReport, Error, Observed, Word};
use crate::state::AgentId;

/// Observations in one request at most.
const OBSERVATIONS_MAX: usize = 10_000;

/// One observation, or several in their order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Observations(pub Vec<Observation>);

impl<'de> Deserialize<'de> for Observations {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let read = |value| serde_json::from_value(value).map_err(D::Error::custom);
        match Value::deserialize(deserializer)? {
            Value::Array(all) if all.len() > OBSERVATIONS_MAX => {
                Err(D::Error::custom(format!("more than {OBSERVATIONS_MAX} observations at once")))
            }
            Value::Array(all) => all.into_iter().map(read).collect::<Result<_, _>>().map(Self),
            one => Ok(Self(vec![read(one)?])),
        }
    }
}

/// What an agent says of itself.
#[derive(Debug, Clone)]
pub(crate) struct Observe {
    pub agent: AgentId,
    pub observations: Observations,
}

/// How the agent stands, and what it is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ObserveAnswer {
    pub verdict: Verdict,
    pub directive: Directive,
    /// Something is still to be done about it.
    #[serde(default)]
    pub due: bool,
}

impl Observe {
    /// Takes the observations, and does what is due then. Where that fails it stays due.
    pub(crate) fn perform_and_respond(
        self,
        manager: &CheckpointManager,
    ) -> Result<ObserveAnswer, Error> {
        let id = self.agent.clone();
        let mut answer = self.perform(manager)?;
        if !answer.due {
            return Ok(answer);
        }
        match manager.agent(id.as_str()).and_then(|agent| agent.respond()) {
            Ok(done) => (answer.directive, answer.due) = (done.directive, false),
            // What was observed is taken all the same.
            Err(error) => tracing::error!(agent = %id, %error, "drift could not be answered"),
        }
        Ok(answer)
    }
}

impl Call for Observe {
    type Answer = ObserveAnswer;

    fn perform(self, manager: &CheckpointManager) -> Result<ObserveAnswer, Error> {
        let agent = manager.agent(self.agent.as_str())?;
        let mut newest = None;
        for observation in self.observations.0 {
            newest = Some(agent.observe(observation)?);
        }
        // Nothing said is no sign of life, and asks how the agent stands all the same.
        let Observed { verdict, directive, due } = match newest {
            Some(observed) => observed,
            None => agent.tick()?,
        };
        Ok(ObserveAnswer { verdict, directive, due })
    }

    fn wire(&self) -> Result<Wire, serde_json::Error> {
        Wire::post(agent_path(&self.agent, "/observe"), &self.observations.0)
    }
}

/// How an agent stands, with every signal.
#[derive(Debug, Clone)]
pub(crate) struct Drift {
    pub agent: AgentId,
}

impl Call for Drift {
    type Answer = DriftReport;

    fn perform(self, manager: &CheckpointManager) -> Result<DriftReport, Error> {
        manager.agent(self.agent.as_str())?.drift_report()
    }

    fn wire(&self) -> Result<Wire, serde_json::Error> {
        Ok(Wire::get(agent_path(&self.agent, "/drift")))
    }
}

/// A person's word on a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MarkBody {
    /// `good`: it may be gone back to; `bad`: it is never chosen by itself.
    #[schema(value_type = String, example = "bad")]
    pub word: Word,
    /// Why, in words.
    #[serde(default)]
    pub why: String,
}

/// A checkpoint that is marked.
#[derive(Debug, Clone)]
pub(crate) struct Mark {
    pub agent: AgentId,
    pub reference: String,
    pub body: MarkBody,
}

impl Call for Mark {
    type Answer = ();

    fn perform(self, manager: &CheckpointManager) -> Result<(), Error> {
        let agent = manager.agent(self.agent.as_str())?;
        agent.mark(&self.reference, self.body.word, &self.body.why)
    }

    fn wire(&self) -> Result<Wire, serde_json::Error> {
        Wire::post(reference_path(&self.agent, &self.reference, "/mark"), &self.body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_observation_or_several_are_taken() {
        let read = |text: &str| serde_json::from_str::<Observations>(text);
        assert_eq!(read(r#"{"step":1}"#).unwrap().0.len(), 1);
        assert_eq!(read(r#"[{"step":1},{"ok":true}]"#).unwrap().0.len(), 2);
        assert!(read("[]").unwrap().0.is_empty());
        for wrong in [r#"{"stp":1}"#, r#"[[{"step":1}]]"#, "7", r#"[{"step":-1}]"#] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
