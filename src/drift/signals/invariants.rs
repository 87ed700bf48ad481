//! Invariants: what must be true of every state.
//!
//! Each rule is about the value at a JSON Pointer (RFC 6901) and may ask for several things: that it
//! is there, its type, bounds of its number or of its length, that it never falls or never rises from
//! state to state, and how it compares with the value at another pointer. Where the value is not there,
//! all but `required` is true. A state that breaks a rule is `drifting`: somebody said what must hold.
//! The onset is the first observation after the last state that held.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Evidence, Level, Reading, count};
use crate::drift::Error;

/// A rule about one value of the state.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Invariant {
    /// Where the value stands: `/plan/steps`; empty for the state itself.
    pub pointer: String,
    /// It must be there.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
    /// What it must be.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<JsonType>,
    /// The least its number may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The most its number may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// The least items of a list, members of an object, characters of a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length_min: Option<u64>,
    /// The most items of a list, members of an object, characters of a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length_max: Option<u64>,
    /// Its number never turns back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monotonic: Option<Direction>,
    /// How it must compare with another value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compare: Option<Comparison>,
    /// Where the other value stands; its number, or its length where `compare` says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other: Option<String>,
}

/// The types of JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JsonType {
    /// `null`.
    Null,
    /// `true` or `false`.
    Boolean,
    /// Any number.
    Number,
    /// A number without fraction.
    Integer,
    /// A text.
    String,
    /// A list.
    Array,
    /// An object.
    Object,
}

/// Which way a number may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// It never falls.
    Up,
    /// It never rises.
    Down,
}

/// How a value must compare with another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    /// The same JSON.
    Equal,
    /// Its number is not more than the other's.
    AtMost,
    /// Its number is not less than the other's.
    AtLeast,
    /// Its number is not more than the other's length.
    AtMostLength,
    /// Its number is the other's length.
    Length,
}

impl Invariant {
    /// Checks that the rule can be asked.
    ///
    /// # Errors
    /// [`Error::Option`] with what is wrong.
    pub fn check(&self) -> Result<(), Error> {
        let wrong = |why: String| Err(Error::Option { key: "invariants", why });
        for pointer in [Some(&self.pointer), self.other.as_ref()].into_iter().flatten() {
            if !pointer.is_empty() && !pointer.starts_with('/') {
                return wrong(format!("`{pointer}` is no JSON Pointer; it begins with `/`"));
            }
        }
        if self.compare.is_some() != self.other.is_some() {
            return wrong(format!("`{}`: `compare` and `other` go together", self.pointer));
        }
        let nothing = Self { pointer: self.pointer.clone(), ..Self::default() };
        if *self == nothing {
            return wrong(format!("`{}` asks for nothing", self.pointer));
        }
        Ok(())
    }

    /// What is wrong with `state`; `before` is the number the value had in the state before.
    fn breach(&self, state: &Value, before: Option<f64>) -> Option<String> {
        let Some(value) = state.pointer(&self.pointer) else {
            return self.required.then(|| "is missing".to_owned());
        };
        if let Some(kind) = self.kind.filter(|kind| !kind.is_of(value)) {
            return Some(format!("is no {kind:?}").to_lowercase());
        }
        let number = value.as_f64();
        let outside = |at: Option<f64>, order| {
            at.zip(number).filter(|(bound, it)| it.partial_cmp(bound) == Some(order))
        };
        if let Some((bound, it)) = outside(self.min, Ordering::Less) {
            return Some(format!("is {it}, less than {bound}"));
        }
        if let Some((bound, it)) = outside(self.max, Ordering::Greater) {
            return Some(format!("is {it}, more than {bound}"));
        }
        if let Some((bound, it)) = outside(before, self.turns_back()) {
            return Some(format!("went from {bound} to {it}"));
        }
        self.length_breach(value).or_else(|| self.comparison_breach(state, value))
    }

    /// The order of a new number to the one before that is not allowed.
    fn turns_back(&self) -> Ordering {
        match self.monotonic {
            Some(Direction::Up) => Ordering::Less,
            Some(Direction::Down) => Ordering::Greater,
            // Only a rule that is monotonic is handed the number before.
            None => Ordering::Equal,
        }
    }

    fn length_breach(&self, value: &Value) -> Option<String> {
        let length = length(value)?;
        if self.length_min.is_some_and(|least| length < least) {
            return Some(format!("has length {length}, too short"));
        }
        let long = self.length_max.is_some_and(|most| length > most);
        long.then(|| format!("has length {length}, too long"))
    }

    fn comparison_breach(&self, state: &Value, value: &Value) -> Option<String> {
        let pointer = self.other.as_deref()?;
        let other = state.pointer(pointer)?;
        let comparison = self.compare?;
        let other_number = match comparison {
            Comparison::Equal => {
                return (value != other).then(|| format!("is not what `{pointer}` is"));
            }
            Comparison::AtMost | Comparison::AtLeast => other.as_f64()?,
            Comparison::AtMostLength | Comparison::Length => count(length(other)?),
        };
        let number = value.as_f64()?;
        let order = number.partial_cmp(&other_number)?;
        let holds = match comparison {
            Comparison::AtMost | Comparison::AtMostLength => order.is_le(),
            Comparison::AtLeast => order.is_ge(),
            Comparison::Equal | Comparison::Length => order.is_eq(),
        };
        (!holds).then(|| format!("is {number} where `{pointer}` has {other_number}"))
    }

    /// Tells one rule from another.
    fn name(&self) -> String {
        if self.pointer.is_empty() { "the state".to_owned() } else { self.pointer.clone() }
    }
}

impl JsonType {
    fn is_of(self, value: &Value) -> bool {
        match self {
            Self::Null => value.is_null(),
            Self::Boolean => value.is_boolean(),
            Self::Number => value.is_number(),
            Self::Integer => value.as_f64().is_some_and(|number| number.fract() == 0.0),
            Self::String => value.is_string(),
            Self::Array => value.is_array(),
            Self::Object => value.is_object(),
        }
    }
}

/// Items, members or characters; none for what has no length.
fn length(value: &Value) -> Option<u64> {
    match value {
        Value::Array(items) => Some(items.len() as u64),
        Value::Object(members) => Some(members.len() as u64),
        Value::String(text) => Some(text.chars().count() as u64),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

/// What states break, and since when.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Breaches {
    /// What the last state broke, in words.
    broken: Vec<String>,
    onset: u64,
    /// The observation of the last state that held.
    held_at: u64,
    fed: bool,
}

impl Breaches {
    /// Takes what the state with this number breaks; whether it holds.
    pub fn take(&mut self, broken: Vec<String>, number: u64) -> bool {
        self.fed = true;
        let holds = broken.is_empty();
        if holds {
            self.held_at = number;
        } else if self.broken.is_empty() {
            self.onset = self.held_at + 1;
        }
        self.broken = broken;
        holds
    }

    pub fn reading(&self) -> Reading {
        if self.broken.is_empty() {
            return Reading::OK;
        }
        Reading { level: Level::Drifting, onset: self.onset }
    }

    pub fn explain(&self) -> Evidence {
        Evidence::new(self.broken.join("; "), &[("broken", count(self.broken.len() as u64))])
    }

    pub fn fed(&self) -> bool {
        self.fed
    }

    pub fn earliest_onset(&self) -> Option<u64> {
        self.fed.then_some(self.held_at + 1)
    }
}

/// What is remembered of the states.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Invariants {
    pub breaches: Breaches,
    /// The number at each monotonic pointer in the last state that held.
    numbers: BTreeMap<String, f64>,
}

impl Invariants {
    pub fn see(&mut self, rules: &[Invariant], state: &Value, number: u64) {
        if rules.is_empty() {
            return;
        }
        let breaches = rules.iter().filter_map(|rule| {
            let monotonic = rule.monotonic.is_some();
            let before = self.numbers.get(&rule.pointer).copied().filter(|_| monotonic);
            let what = rule.breach(state, before)?;
            Some(format!("`{}` {what}", rule.name()))
        });
        let broken = breaches.collect();
        // A number that turned back is not remembered, so that it must come back to where it was.
        if self.breaches.take(broken, number) {
            self.remember(rules, state);
        }
    }

    fn remember(&mut self, rules: &[Invariant], state: &Value) {
        for rule in rules.iter().filter(|rule| rule.monotonic.is_some()) {
            if let Some(number) = state.pointer(&rule.pointer).and_then(Value::as_f64) {
                self.numbers.insert(rule.pointer.clone(), number);
            }
        }
    }
}
