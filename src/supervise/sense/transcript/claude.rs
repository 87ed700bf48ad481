//! The transcripts of Claude Code, `~/.claude/projects/DIR/SESSION.jsonl`.
//!
//! What its lines are made of was read from transcripts; no document promises it. Looked at are:
//!
//! ```text
//! type assistant: message.id, message.usage, message.stop_reason, message.content[] of type tool_use
//!                 with id, name, input
//! type user:      message.content: a text, or items of type text or tool_result with tool_use_id,
//!                 is_error, content
//! type system:    subtype compact_boundary
//! each:           isSidechain, isMeta, isCompactSummary
//! ```
//!
//! An action is told when its result comes. One message stands on several lines, each of which tells
//! its usage so far: what is told is the difference to what was told of it before, and not before
//! the message is known to be at its end. The end of a turn is the beginning of waiting, and a
//! person's words are its end. Of side chains, which have a context of their own, only usage counts.

use std::collections::VecDeque;

use serde_json::Value;

use super::{Said, digest, name};
use crate::drift::{Observation, Occasion};

/// Tool calls whose results are waited for; older ones are forgotten.
const CALLS_MAX: usize = 64;

/// Messages whose usage is remembered, because side chains come in between.
const MESSAGES_MAX: usize = 8;

/// The kinds of usage that are told, by their names in a line.
const USAGE: [&str; 4] =
    ["input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"];

/// Those that a sum over everything counts: what is read from the cache was counted when it was made.
const SUMMED: [bool; 4] = [true, true, false, true];

/// Kinds of lines that are known to say nothing here.
const QUIET: [&str; 6] = [
    "attachment",
    "file-history-snapshot",
    "last-prompt",
    "progress",
    "queue-operation",
    "summary",
];

/// What is remembered from line to line.
#[derive(Debug, Default)]
pub(crate) struct Claude {
    calls: VecDeque<Call>,
    messages: VecDeque<Message>,
}

/// A tool call whose result is not known yet.
#[derive(Debug)]
struct Call {
    id: String,
    name: String,
    input_digest: String,
}

/// What a message used.
#[derive(Debug)]
struct Message {
    id: String,
    seen: [f64; 4],
    told: [f64; 4],
}

impl Claude {
    pub(crate) fn read(&mut self, line: &Value) -> Said {
        let aside = flag(line, "isSidechain");
        let mut told = Vec::new();
        match line["type"].as_str() {
            Some("assistant") => self.hear_agent(&line["message"], aside, &mut told),
            Some("user") => {
                told.extend(self.settle());
                let person = !flag(line, "isMeta") && !flag(line, "isCompactSummary");
                if !aside {
                    self.hear_user(&line["message"]["content"], person, &mut told);
                }
            }
            Some("system") => {
                if line["subtype"] == "compact_boundary" && !aside {
                    told.push(Observation::event(Occasion::Compaction));
                }
            }
            Some(kind) if QUIET.contains(&kind) => {}
            _ => return Said::Unknown,
        }
        if told.is_empty() { Said::Nothing } else { Said::Told(told) }
    }

    /// Usage that was held back in case that the message goes on.
    pub(crate) fn settle(&mut self) -> Option<Observation> {
        let mut used = [0.0; 4];
        for message in &mut self.messages {
            for (used, more) in used.iter_mut().zip(message.take()) {
                *used += more;
            }
        }
        observed(used)
    }

    fn hear_agent(&mut self, message: &Value, aside: bool, told: &mut Vec<Observation>) {
        let id = message["id"].as_str().unwrap_or_default();
        if self.messages.back().is_some_and(|last| last.id != id) {
            told.extend(self.settle());
        }
        self.use_up(id, &message["usage"]);
        if message["stop_reason"].is_string() {
            told.extend(self.settle());
        }
        if aside {
            return;
        }
        for item in items(&message["content"], "tool_use") {
            self.expect(item);
        }
        if message["stop_reason"] == "end_turn" {
            told.push(Observation::event(Occasion::Waiting));
        }
    }

    fn hear_user(&mut self, content: &Value, person: bool, told: &mut Vec<Observation>) {
        for item in items(content, "tool_result") {
            let id = item["tool_use_id"].as_str().unwrap_or_default();
            let Some(at) = self.calls.iter().position(|call| call.id == id) else { continue };
            let Some(Call { name, input_digest, .. }) = self.calls.remove(at) else { continue };
            let result = digest(&item["content"]);
            let action = Observation::action(name, input_digest).result(result);
            told.push(action.ok(!flag(item, "is_error")));
        }
        let words = content.is_string() || items(content, "text").next().is_some();
        if words && person {
            told.push(Observation::event(Occasion::Resumed));
        }
    }

    fn expect(&mut self, item: &Value) {
        let name = item["name"].as_str().and_then(name);
        let (Some(id), Some(name)) = (item["id"].as_str(), name) else { return };
        if self.calls.iter().any(|call| call.id == id) {
            return;
        }
        if self.calls.len() == CALLS_MAX {
            self.calls.pop_front();
        }
        let input_digest = digest(&item["input"]);
        self.calls.push_back(Call { id: id.to_owned(), name, input_digest });
    }

    fn use_up(&mut self, id: &str, usage: &Value) {
        if !usage.is_object() {
            return;
        }
        let known = self.messages.iter().position(|message| message.id == id);
        let message = known.and_then(|at| self.messages.remove(at));
        let mut message = message.unwrap_or_else(|| Message {
            id: id.to_owned(),
            seen: [0.0; 4],
            told: [0.0; 4],
        });
        for (seen, key) in message.seen.iter_mut().zip(USAGE) {
            *seen = usage[key].as_f64().unwrap_or(0.0).max(*seen);
        }
        if self.messages.len() == MESSAGES_MAX {
            self.messages.pop_front();
        }
        self.messages.push_back(message);
    }
}

impl Message {
    /// What it used and was not told yet.
    fn take(&mut self) -> [f64; 4] {
        let mut more = self.seen;
        for (more, told) in more.iter_mut().zip(&self.told) {
            *more -= told;
        }
        self.told = self.seen;
        more
    }
}

/// Usage as numbers by name, with their sum; none where nothing was used.
fn observed(used: [f64; 4]) -> Option<Observation> {
    let some = USAGE.iter().zip(used).filter(|(_, used)| *used > 0.0);
    let told = some.fold(Observation::default(), |told, (key, used)| told.metric(*key, used));
    let sum: f64 =
        used.iter().zip(SUMMED).filter(|(_, counts)| *counts).map(|(used, _)| used).sum();
    (!told.metrics.is_empty()).then(|| told.metric("tokens", sum))
}

fn items<'a>(content: &'a Value, kind: &'static str) -> impl Iterator<Item = &'a Value> {
    content.as_array().into_iter().flatten().filter(move |item| item["type"] == kind)
}

fn flag(value: &Value, key: &str) -> bool {
    value[key].as_bool().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(lines: &[Value]) -> Vec<Observation> {
        let mut claude = Claude::default();
        let told = |line: &Value| match claude.read(line) {
            Said::Told(told) => told,
            Said::Nothing => Vec::new(),
            Said::Unknown => panic!("{line} is known"),
        };
        lines.iter().flat_map(told).collect()
    }

    fn call(message: &str, id: &str, output: u32) -> Value {
        json!({"type": "assistant", "isSidechain": false, "uuid": "u", "message": {
            "id": message, "role": "assistant", "stop_reason": null,
            "content": [{"type": "tool_use", "id": id, "name": "Bash", "input": {"command": "ls"}}],
            "usage": {"input_tokens": 4, "cache_read_input_tokens": 900, "output_tokens": output}}})
    }

    fn answer(id: &str, failed: bool) -> Value {
        json!({"type": "user", "message": {"role": "user", "content": [
            {"tool_use_id": id, "type": "tool_result", "content": "a\nb", "is_error": failed}]}})
    }

    fn used(output: f64) -> Observation {
        Observation::default()
            .metric("input_tokens", 4.0)
            .metric("cache_read_input_tokens", 900.0)
            .metric("output_tokens", output)
            .metric("tokens", 4.0 + output)
    }

    fn ran(ok: bool) -> Observation {
        Observation::action("Bash", digest(&json!({"command": "ls"})))
            .result(digest(&json!("a\nb")))
            .ok(ok)
    }

    #[test]
    fn a_call_is_told_with_its_result_and_usage_once_for_each_message() {
        let lines = [
            call("m1", "t1", 1),
            call("m1", "t2", 50),
            answer("t1", false),
            answer("t2", true),
            call("m2", "t3", 7),
            answer("t3", false),
        ];
        assert_eq!(said(&lines), [used(50.0), ran(true), ran(false), used(7.0), ran(true)]);
    }

    #[test]
    fn usage_that_grows_after_it_was_told_is_told_as_the_difference() {
        let mut claude = Claude::default();
        assert_eq!(claude.read(&call("m1", "t1", 10)), Said::Nothing);
        assert_eq!(claude.settle(), Some(used(10.0)));
        assert_eq!(claude.settle(), None);
        assert_eq!(claude.read(&call("m1", "t1", 25)), Said::Nothing);
        let more = Observation::default().metric("output_tokens", 15.0).metric("tokens", 15.0);
        assert_eq!(claude.settle(), Some(more));
    }

    #[test]
    fn turns_compactions_and_side_chains_are_told_apart() {
        let aside = json!({"type": "assistant", "isSidechain": true, "message": {"id": "s",
            "stop_reason": "end_turn", "content": [{"type": "tool_use", "id": "x", "name": "Read",
            "input": {}}], "usage": {"output_tokens": 3}}});
        let end = json!({"type": "assistant", "message": {"id": "m", "stop_reason": "end_turn",
            "content": [{"type": "text", "text": "done"}]}});
        let lines = [
            json!({"type": "summary", "summary": "…"}),
            json!({"type": "user", "message": {"content": "go on"}}),
            aside,
            answer("x", false),
            json!({"type": "system", "subtype": "compact_boundary"}),
            json!({"type": "user", "isCompactSummary": true, "message": {"content": "what was"}}),
            json!({"type": "user", "isMeta": true, "message": {"content": "…"}}),
            json!({"type": "system", "subtype": "informational"}),
            end,
        ];
        let wanted = [
            Observation::event(Occasion::Resumed),
            Observation::default().metric("output_tokens", 3.0).metric("tokens", 3.0),
            Observation::event(Occasion::Compaction),
            Observation::event(Occasion::Waiting),
        ];
        assert_eq!(said(&lines), wanted);
    }

    #[test]
    fn lines_of_other_forms_are_unknown_and_harmless() {
        let mut claude = Claude::default();
        for line in [json!({}), json!({"type": 7}), json!({"type": "new-kind"})] {
            assert_eq!(claude.read(&line), Said::Unknown);
        }
        for line in [
            json!({"type": "assistant"}),
            json!({"type": "assistant", "message": "text"}),
            json!({"type": "assistant", "message": {"content": [{"type": "tool_use"}, 7]}}),
            json!({"type": "user", "message": {"content": [{"type": "tool_result"}]}}),
        ] {
            assert_eq!(claude.read(&line), Said::Nothing, "{line}");
        }
        for n in 0..10_000 {
            claude.read(&call(&format!("m{n}"), &format!("t{n}"), 1));
        }
        assert!(claude.calls.len() <= CALLS_MAX && claude.messages.len() <= MESSAGES_MAX);
    }
}
