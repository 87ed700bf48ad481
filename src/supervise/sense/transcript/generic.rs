//! Lines of any form, read by JSON Pointers.

use serde_json::Value;

use super::{Said, digest, name};
use crate::drift::observation::METRICS_MAX;
use crate::drift::{Action, Observation, Occasion};
use crate::supervise::transcript::Options;

/// Where in a line what stands.
#[derive(Debug)]
pub(crate) struct Generic {
    action: String,
    input: String,
    result: String,
    progress: String,
    metrics: String,
    ok: Question,
    events: [(Question, Occasion); 3],
}

/// A place, and the text there that means yes.
#[derive(Debug)]
struct Question {
    place: String,
    yes: Option<String>,
}

impl Generic {
    pub(crate) fn of(options: &Options) -> Self {
        let Options { action, input, result, progress, metrics, .. } = options.clone();
        Self {
            action,
            input,
            result,
            progress,
            metrics,
            ok: Question::of(&options.ok),
            events: [
                (Question::of(&options.compaction), Occasion::Compaction),
                (Question::of(&options.waiting), Occasion::Waiting),
                (Question::of(&options.resumed), Occasion::Resumed),
            ],
        }
    }

    pub(crate) fn read(&self, line: &Value) -> Said {
        let event = self.events.iter().find(|(question, _)| question.ask(line) == Some(true));
        let told = Observation {
            action: self.action(line),
            ok: self.ok.ask(line),
            result_digest: at(line, &self.result).map(digest),
            progress: at(line, &self.progress).and_then(Value::as_f64),
            metrics: numbers(at(line, &self.metrics)).collect(),
            event: event.map(|(_, event)| *event),
            ..Observation::default()
        };
        if told == Observation::default() { Said::Unknown } else { Said::Told(vec![told]) }
    }

    fn action(&self, line: &Value) -> Option<Action> {
        let name = name(at(line, &self.action)?.as_str()?)?;
        Some(Action { name, input_digest: at(line, &self.input).map(digest) })
    }
}

/// What stands at a place; an empty one is nowhere, and `null` is nothing.
fn at<'a>(line: &'a Value, place: &str) -> Option<&'a Value> {
    let found = (!place.is_empty()).then(|| line.pointer(place)).flatten()?;
    (!found.is_null()).then_some(found)
}

/// The numbers in an object by their names.
fn numbers(object: Option<&Value>) -> impl Iterator<Item = (String, f64)> {
    let members = object.and_then(Value::as_object).into_iter().flatten();
    let number = |(key, value): (&String, &Value)| Some((name(key)?, value.as_f64()?));
    members.filter_map(number).take(METRICS_MAX)
}

impl Question {
    fn of(text: &str) -> Self {
        match text.split_once('=') {
            Some((place, yes)) => Self { place: place.to_owned(), yes: Some(yes.to_owned()) },
            None => Self { place: text.to_owned(), yes: None },
        }
    }

    /// The answer; none where nothing stands there, or what stands there is no answer.
    fn ask(&self, line: &Value) -> Option<bool> {
        let found = at(line, &self.place)?;
        match (&self.yes, found) {
            (None, Value::Bool(answer)) => Some(*answer),
            (None, _) => None,
            (Some(yes), Value::String(text)) => Some(text == yes),
            (Some(yes), other) => {
                let said = other.to_string();
                Some(said == *yes)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(options: &Options, line: &Value) -> Said {
        Generic::of(options).read(line)
    }

    #[test]
    fn a_line_in_the_plain_form_needs_no_mapping() {
        let line = json!({"action": "edit", "input": {"path": "a"}, "ok": false, "result": "no",
            "progress": 0.5, "metrics": {"tokens": 12, "model": "x"}, "time": "…"});
        let told = Observation::action("edit", digest(&json!({"path": "a"})))
            .ok(false)
            .result(digest(&json!("no")))
            .progress(0.5)
            .metric("tokens", 12.0);
        assert_eq!(read(&Options::default(), &line), Said::Told(vec![told]));
        let compacted = Said::Told(vec![Observation::event(Occasion::Compaction)]);
        assert_eq!(read(&Options::default(), &json!({"event": "compaction"})), compacted);
        assert_eq!(read(&Options::default(), &json!({"text": "…", "ok": null})), Said::Unknown);
    }

    #[test]
    fn places_and_answers_are_as_they_are_given() {
        let options = Options {
            action: "/call/0/name".into(),
            input: String::new(),
            ok: "/code=0".into(),
            metrics: "/usage".into(),
            waiting: "/idle".into(),
            ..Options::default()
        };
        let line =
            json!({"call": [{"name": "run"}], "input": 1, "code": 0, "usage": {"cost": 0.25}});
        let told = Observation::bare_action("run").ok(true).metric("cost", 0.25);
        assert_eq!(read(&options, &line), Said::Told(vec![told]));
        let failed = Observation::bare_action("run").ok(false);
        let line = json!({"call": [{"name": "run"}], "code": 2});
        assert_eq!(read(&options, &line), Said::Told(vec![failed]));
        let waits = Said::Told(vec![Observation::event(Occasion::Waiting)]);
        assert_eq!(read(&options, &json!({"idle": true})), waits);
    }

    #[test]
    fn what_observations_do_not_take_is_cut() {
        let long = "é".repeat(200);
        let Said::Told(told) = read(&Options::default(), &json!({"action": long})) else {
            panic!("an action is something");
        };
        told[0].check().unwrap();
        let many: serde_json::Map<String, Value> =
            (0..100).map(|n| (format!("m{n}"), json!(n))).collect();
        let Said::Told(told) = read(&Options::default(), &json!({"metrics": many})) else {
            panic!("metrics are something");
        };
        told[0].check().unwrap();
    }
}
