//! `observe`: what an agent says of itself, from a script.

use std::io::{self, IsTerminal};
use std::path::Path;

use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::{Deserializer, Value};

use super::drift::in_words;
use super::failure::Failure;
use super::session::Session;
use super::source::bounded;
use crate::drift::{Observation, Occasion};
use crate::manager::{Agent, Observed};
use crate::server::api::{Observations, Observe, ObserveAnswer};
use crate::server::reach::Reach;
use crate::state::Digest;

/// What is read from standard input at most.
const INPUT_BYTES_MAX: usize = 64 << 20;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  stateward observe --action edit --input \"$PATCH\" --ok --metric \
                        latency_s=2.1\n  stateward observe --event waiting\n  tail -f actions.jsonl | \
                        head -20 | stateward observe --json\n\nWithout flags observations are read \
                        from standard input: JSON objects one after the other, or arrays of them."
)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(super) struct Arguments {
    /// What it did
    #[arg(long, value_name = "NAME", help_heading = "The observation")]
    action: Option<String>,
    /// What the action was given; only its digest is kept
    #[arg(long, value_name = "TEXT", requires = "action", conflicts_with = "input_digest")]
    #[arg(help_heading = "The observation")]
    input: Option<String>,
    /// A text that is equal where the input is equal
    #[arg(long, value_name = "DIGEST", requires = "action", help_heading = "The observation")]
    input_digest: Option<String>,
    /// It went well
    #[arg(long, conflicts_with = "failed", help_heading = "The observation")]
    ok: bool,
    /// It did not
    #[arg(long, help_heading = "The observation")]
    failed: bool,
    /// What came of it; only its digest is kept
    #[arg(long, value_name = "TEXT", conflicts_with = "result_digest")]
    #[arg(help_heading = "The observation")]
    result: Option<String>,
    /// A text that is equal where the result is equal
    #[arg(long, value_name = "DIGEST", help_heading = "The observation")]
    result_digest: Option<String>,
    /// The agent's own count of its steps
    #[arg(long, value_name = "N", help_heading = "The observation")]
    step: Option<u64>,
    /// How far the work is
    #[arg(long, value_name = "SHARE", help_heading = "The observation")]
    progress: Option<f64>,
    /// A number by name; may be given several times
    #[arg(long, value_name = "NAME=NUMBER", value_parser = metric)]
    #[arg(help_heading = "The observation")]
    metric: Vec<(String, f64)>,
    /// A moment that changes what is to be expected
    #[arg(long, value_name = "EVENT", help_heading = "The observation")]
    event: Option<Event>,
    /// Nothing but a sign of life
    #[arg(long, help_heading = "The observation")]
    heartbeat: bool,
    /// Do what is due: keep a recovery checkpoint, go back, call the hook
    #[arg(long)]
    respond: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Event {
    Compaction,
    Waiting,
    Resumed,
}

impl From<Event> for Occasion {
    fn from(event: Event) -> Self {
        match event {
            Event::Compaction => Self::Compaction,
            Event::Waiting => Self::Waiting,
            Event::Resumed => Self::Resumed,
        }
    }
}

/// What is answered: how the agent stands after the last of the observations.
#[derive(Serialize)]
struct Told<'a> {
    observations: usize,
    #[serde(flatten)]
    observed: &'a Observed,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<Value>,
}

fn metric(text: &str) -> Result<(String, f64), String> {
    let (name, number) = text.split_once('=').ok_or("it is written NAME=NUMBER")?;
    let number: f64 = number.parse().map_err(|_| format!("`{number}` is no number"))?;
    Ok((name.to_owned(), number))
}

fn digest_of(text: Option<&String>) -> Option<String> {
    text.map(|text| Digest::of(text.as_bytes()).to_string())
}

impl Arguments {
    /// The observation that the flags tell; `None` where none was given.
    fn told(&self) -> Option<Observation> {
        let input = self.input_digest.clone().or_else(|| digest_of(self.input.as_ref()));
        let told = match (&self.action, input) {
            (Some(name), Some(input)) => Observation::action(name, input),
            (Some(name), None) => Observation::bare_action(name),
            (None, _) => Observation::default(),
        };
        let ok = (self.ok || self.failed).then_some(self.ok);
        let told = Observation {
            step: self.step,
            ok,
            result_digest: self.result_digest.clone().or_else(|| digest_of(self.result.as_ref())),
            progress: self.progress,
            metrics: self.metric.iter().cloned().collect(),
            event: self.event.map(Occasion::from),
            heartbeat: self.heartbeat,
            ..told
        };
        (told != Observation::default()).then_some(told)
    }
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let told = match arguments.told() {
        Some(told) => vec![told],
        None if io::stdin().is_terminal() => {
            return Err(Failure::Usage {
                message: "nothing was observed".to_owned(),
                hint: "say what with flags, or give JSON on standard input",
            });
        }
        None => read_all()?,
    };
    let count = told.len();
    session.reach_or_make(&session.store(), |reach| {
        let (observed, response) = tell(session, reach, told, arguments.respond)?;
        let told = Told { observations: count, observed: &observed, response };
        session.out.data(&told, || in_words(session.agent_id(), &observed))
    })
}

fn tell(
    session: &Session,
    reach: &Reach,
    told: Vec<Observation>,
    respond: bool,
) -> Result<(Observed, Option<Value>), Failure> {
    match reach {
        Reach::Here(manager) => {
            observe(&manager.agent(session.agent_id().as_str())?, told, respond)
        }
        Reach::There(_) if respond => Err(Failure::Refused {
            message: "a sidecar holds the store, and responds by itself".to_owned(),
            hint: "leave --respond away; what drift asks for is done",
        }),
        Reach::There(_) => {
            let (agent, observations) = (session.agent_id().clone(), Observations(told));
            let answer = session.call(reach, Observe { agent, observations })?;
            let ObserveAnswer { verdict, directive, due } = answer;
            Ok((Observed { verdict, directive, due }, None))
        }
    }
}

fn observe(
    agent: &Agent,
    told: Vec<Observation>,
    respond: bool,
) -> Result<(Observed, Option<Value>), Failure> {
    let mut last = agent.tick()?;
    let mut response = None;
    for observation in told {
        last = agent.observe(observation)?;
        if respond && last.due {
            let done = agent.respond()?;
            last.directive = done.directive;
            response = serde_json::to_value(&done).ok();
        }
    }
    Ok((last, response))
}

fn read_all() -> Result<Vec<Observation>, Failure> {
    let bytes = bounded(io::stdin().lock(), INPUT_BYTES_MAX, Path::new("standard input"))?;
    let wrong = |at: usize, error: &serde_json::Error| Failure::Usage {
        message: format!("observation {at} on standard input: {error}"),
        hint: "one looks like {\"action\": {\"name\": \"edit\", \"input_digest\": \"…\"}, \"ok\": true}",
    };
    let mut told = Vec::new();
    for value in Deserializer::from_slice(&bytes).into_iter::<Value>() {
        let value = value.map_err(|error| wrong(told.len() + 1, &error))?;
        let each = match value {
            Value::Array(each) => each,
            one => vec![one],
        };
        for one in each {
            told.push(serde_json::from_value(one).map_err(|error| wrong(told.len() + 1, &error))?);
        }
    }
    Ok(told)
}
