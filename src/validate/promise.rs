//! The ten promises, by number and in words; `docs/guarantees.md` has them with their limits.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const WORDS: [&str; 10] = [
    "Acknowledged means durable",
    "Never half",
    "Never silent",
    "Damage is found, never believed",
    "Retention cannot delete what recovery needs",
    "A restore can be undone",
    "Others' work is respected",
    "Everything is bounded",
    "Private by default",
    "One writer",
];

/// One of the promises; written as its number and its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Promise(u8);

impl Promise {
    /// Every promise, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (1..=10).map(Self)
    }

    /// Its number, from 1.
    #[must_use]
    pub fn number(self) -> u8 {
        self.0
    }

    /// Its words.
    #[must_use]
    pub fn words(self) -> &'static str {
        WORDS[usize::from(self.0) - 1]
    }
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}. {}", self.0, self.words())
    }
}

impl Serialize for Promise {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Promise {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::all().find(|one| one.to_string() == text).ok_or_else(|| {
            let known: Vec<String> = Self::all().map(|one| format!("\"{one}\"")).collect();
            let known = known.join(", ");
            serde::de::Error::custom(format!("\"{text}\" is no promise; they are {known}"))
        })
    }
}
