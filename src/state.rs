//! The nouns: what everything else is about.
//!
//! Names here are the names in the API, on the command line and in JSON. Nothing in this file
//! touches a disk or a clock.

pub(crate) mod lossy;
mod skipped;

pub use skipped::{Skipped, Why};

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// Why a text is not one of the nouns.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} `{text}` is not valid: {why}")]
pub struct NounError {
    what: &'static str,
    text: String,
    why: &'static str,
}

impl NounError {
    fn new(what: &'static str, text: &str, why: &'static str) -> Self {
        let text = text.chars().take(80).collect();
        Self { what, text, why }
    }
}

/// One writer of state: `[A-Za-z0-9][A-Za-z0-9._-]{0,127}`, optionally several joined by `/`, at
/// most 200 bytes. Compared whole.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "server", schema(value_type = String, example = "agent-3", pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}(/[A-Za-z0-9][A-Za-z0-9._-]{0,127})*$", max_length = 200))]
pub struct AgentId(Arc<str>);

impl AgentId {
    /// Checks and takes an agent id.
    ///
    /// # Errors
    /// When the text breaks the rule above.
    pub fn new(text: &str) -> Result<Self, NounError> {
        let fail = |why| Err(NounError::new("agent id", text, why));
        if text.is_empty() {
            return fail("it is empty");
        }
        if text.len() > 200 {
            return fail("it is longer than 200 bytes");
        }
        for part in text.split('/') {
            let bytes = part.as_bytes();
            match bytes.first() {
                None => return fail("a part between slashes is empty"),
                Some(first) if !first.is_ascii_alphanumeric() => {
                    return fail("each part starts with a letter or a digit");
                }
                Some(_) if bytes.len() > 128 => return fail("a part is longer than 128 bytes"),
                Some(_) => {}
            }
            if !bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(b)) {
                return fail(
                    "only letters, digits, `.`, `_`, `-` and `/` between parts are allowed",
                );
            }
        }
        Ok(Self(text.into()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for AgentId {
    fn default() -> Self {
        Self("default".into())
    }
}

/// The three kinds of checkpoint; each has its own retention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub enum Kind {
    /// Taken as the work goes on.
    Routine,
    /// Taken before a risky operation.
    PreOperation,
    /// Taken when something is about to be replaced, or went wrong.
    Recovery,
}

impl Kind {
    /// Every kind, in the order of their codes on disk.
    pub const ALL: [Self; 3] = [Self::Routine, Self::PreOperation, Self::Recovery];

    /// The word used in the API and in file names.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Routine => "routine",
            Self::PreOperation => "pre_operation",
            Self::Recovery => "recovery",
        }
    }
}

impl FromStr for Kind {
    type Err = NounError;

    fn from_str(text: &str) -> Result<Self, NounError> {
        match text {
            "routine" => Ok(Self::Routine),
            "pre_operation" | "pre-operation" => Ok(Self::PreOperation),
            "recovery" => Ok(Self::Recovery),
            _ => Err(NounError::new("kind", text, "it is one of routine, pre_operation, recovery")),
        }
    }
}

/// Orders the checkpoints of one agent; given once, never reused.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Seq(pub u64);

impl Seq {
    /// The number after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// The identity of a checkpoint, everywhere and for good: a `UUIDv7`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "server", schema(value_type = String, format = "uuid"))]
pub struct CheckpointId(pub Uuid);

impl FromStr for CheckpointId {
    type Err = NounError;

    fn from_str(text: &str) -> Result<Self, NounError> {
        Uuid::from_str(text)
            .map(Self)
            .map_err(|_| NounError::new("checkpoint id", text, "it is not a UUID"))
    }
}

/// A BLAKE3 digest; its text is `blake3:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "server", schema(value_type = String, example = "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"))]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of some bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

impl FromStr for Digest {
    type Err = NounError;

    fn from_str(text: &str) -> Result<Self, NounError> {
        let hex = text.strip_prefix("blake3:").unwrap_or(text);
        blake3::Hash::from_hex(hex).map(|hash| Self(*hash.as_bytes())).map_err(|_| {
            NounError::new("digest", text, "it is `blake3:` and 64 hexadecimal digits")
        })
    }
}

/// A moment in UTC, to the millisecond; its text is RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "server", schema(value_type = String, format = "date-time"))]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since the Unix epoch.
    #[must_use]
    pub fn from_unix_ms(ms: i64) -> Self {
        Self(ms)
    }

    /// From the system's time; times before 1970 count as negative milliseconds.
    #[must_use]
    pub fn from_system(time: SystemTime) -> Self {
        let ms = |d: Duration| i64::try_from(d.as_millis()).unwrap_or(i64::MAX);
        match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => Self(ms(after)),
            Err(before) => Self(-ms(before.duration())),
        }
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub fn unix_ms(self) -> i64 {
        self.0
    }

    /// This moment and `by` later, stopping at the end of time.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }

    /// The time from `earlier` to this moment; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The same moment for `chrono`; moments beyond its range stop at its ends.
    #[must_use]
    pub fn to_chrono(self) -> DateTime<Utc> {
        let end = if self.0 < 0 { DateTime::<Utc>::MIN_UTC } else { DateTime::<Utc>::MAX_UTC };
        DateTime::from_timestamp_millis(self.0).unwrap_or(end)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_chrono().to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl FromStr for Timestamp {
    type Err = NounError;

    fn from_str(text: &str) -> Result<Self, NounError> {
        DateTime::parse_from_rfc3339(text)
            .map(|time| Self(time.timestamp_millis()))
            .map_err(|_| NounError::new("time", text, "it is not RFC 3339"))
    }
}

/// A length of time to the millisecond, as configuration writes it: a whole number and a unit,
/// `250ms`, `30s`, `10m`, `24h`, `7d`, `2w`. Printed in the largest unit up to days that leaves no
/// remainder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Span {
    ms: u64,
}

impl Span {
    const UNITS: [(&'static str, u64); 6] = [
        ("w", 7 * 24 * 60 * 60 * 1000),
        ("d", 24 * 60 * 60 * 1000),
        ("h", 60 * 60 * 1000),
        ("m", 60 * 1000),
        ("s", 1000),
        ("ms", 1),
    ];

    /// No time at all; for most rules the same as switching them off.
    pub const ZERO: Self = Self { ms: 0 };

    /// A number of milliseconds.
    #[must_use]
    pub const fn from_ms(ms: u64) -> Self {
        Self { ms }
    }

    /// A number of seconds.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self { ms: secs.saturating_mul(1000) }
    }

    /// A number of minutes.
    #[must_use]
    pub const fn from_minutes(minutes: u64) -> Self {
        Self::from_secs(minutes.saturating_mul(60))
    }

    /// A number of hours.
    #[must_use]
    pub const fn from_hours(hours: u64) -> Self {
        Self::from_minutes(hours.saturating_mul(60))
    }

    /// A number of days of 24 hours.
    #[must_use]
    pub const fn from_days(days: u64) -> Self {
        Self::from_hours(days.saturating_mul(24))
    }

    /// Its length in milliseconds.
    #[must_use]
    pub const fn as_ms(self) -> u64 {
        self.ms
    }

    /// The same length for `std`.
    #[must_use]
    pub const fn as_duration(self) -> Duration {
        Duration::from_millis(self.ms)
    }
}

impl FromStr for Span {
    type Err = NounError;

    fn from_str(text: &str) -> Result<Self, NounError> {
        let fail = |why| NounError::new("duration", text, why);
        let (number, unit) = number_and_unit(text);
        let (_, factor) = Self::UNITS
            .into_iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(|| fail("it is a whole number and one of ms, s, m, h, d, w"))?;
        let count: u64 = number.parse().map_err(|_| fail("its number is missing or too large"))?;
        count.checked_mul(factor).map(Self::from_ms).ok_or_else(|| fail("it is too long"))
    }
}

/// A number of bytes, as configuration writes it: `20GiB`, `64MB`, `512 KiB`, or a plain number.
/// `KB`, `MB`, `GB`, `TB` are powers of 1000, `KiB`, `MiB`, `GiB`, `TiB` of 1024.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct ByteSize(pub u64);

impl ByteSize {
    const UNITS: [(&'static str, u64); 9] = [
        ("TiB", 1 << 40),
        ("TB", 1_000_000_000_000),
        ("GiB", 1 << 30),
        ("GB", 1_000_000_000),
        ("MiB", 1 << 20),
        ("MB", 1_000_000),
        ("KiB", 1 << 10),
        ("KB", 1000),
        ("B", 1),
    ];
}

impl FromStr for ByteSize {
    type Err = NounError;

    fn from_str(text: &str) -> Result<Self, NounError> {
        let fail = |why| NounError::new("size", text, why);
        let (number, unit) = number_and_unit(text);
        let factor = if unit.is_empty() {
            1
        } else {
            Self::UNITS
                .into_iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(unit))
                .map(|(_, factor)| factor)
                .ok_or_else(|| fail("its unit is none of B, KB, KiB, MB, MiB, GB, GiB, TB, TiB"))?
        };
        let count: u64 = number.parse().map_err(|_| fail("its number is missing or too large"))?;
        count.checked_mul(factor).map(Self).ok_or_else(|| fail("it is too large"))
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a size is a number of bytes or a text such as `20GiB`")]
        enum Written {
            Bytes(u64),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Bytes(bytes) => Ok(Self(bytes)),
            Written::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The digits a text begins with, and what follows them without the space between.
fn number_and_unit(text: &str) -> (&str, &str) {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    (number, unit.trim_start())
}

/// Writes `value` in the first of `units`, largest first, that divides it without remainder.
fn write_in_whole_units(
    f: &mut fmt::Formatter<'_>,
    value: u64,
    units: &[(&str, u64)],
) -> fmt::Result {
    match units.iter().find(|(_, factor)| value.is_multiple_of(*factor)) {
        Some((unit, factor)) => write!(f, "{}{unit}", value / factor),
        None => write!(f, "{value}"),
    }
}

/// How an agent stands, by one signal or by all of them.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Nothing is wrong, as far as can be seen.
    #[default]
    Ok,
    /// Something changed that may be nothing.
    Suspect,
    /// The agent left the behaviour or the state it should have.
    Drifting,
}

/// Whether a drift stands against a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taint {
    /// None does.
    None,
    /// The agent was drifting when it was made, and nobody called it good since.
    WhileDrifting,
    /// It was made after the onset of a drift that was gone back from, or a person called it bad.
    Marked,
}

/// How far a commit's durability reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub enum Durable {
    /// In the primary store.
    Local,
    /// In a fallback store.
    Fallback,
}

/// An immutable record of an agent's parts at one moment, as it is listed and shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Checkpoint {
    /// Its identity.
    pub checkpoint_id: CheckpointId,
    /// Whose it is.
    pub agent_id: AgentId,
    /// Its kind.
    pub kind: Kind,
    /// Its place in the agent's order.
    pub seq: Seq,
    /// What its content descends from.
    pub parent: Option<CheckpointId>,
    /// Its view; what takes a path takes this one, whether the view is there yet or not.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub path: PathBuf,
    /// Wall clock at the commit.
    pub created_at: Timestamp,
    /// Digest of the root object: equal content, equal digest.
    pub digest: Digest,
    /// Digest of the state's bytes; absent where there is no state.
    pub state_digest: Option<Digest>,
    /// Length of the state in bytes.
    pub state_bytes: u64,
    /// Files in the workspace tree.
    pub workspace_files: u64,
    /// Bytes in them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub workspace_bytes: u64,
    /// Where the workspace was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(value_type = Option<String>))]
    pub workspace: Option<PathBuf>,
    /// The state files that are kept with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "server", schema(value_type = Vec<String>))]
    pub state_files: Vec<PathBuf>,
    /// Bytes this checkpoint added to the store.
    pub stored_bytes: u64,
    /// How far its durability reaches.
    pub durable: Durable,
    /// Given without sight of the primary: the number may change at home.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub seq_provisional: bool,
    /// Parts taken over from an earlier checkpoint, by name.
    pub inherited: BTreeMap<String, Seq>,
    /// Made after a drift's onset: kept as evidence, never chosen automatically.
    pub tainted: bool,
    /// The newest observation of the agent when it was made; absent where nobody watched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observation: Option<u64>,
    /// How the agent stood then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<Level>,
    /// The user's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// The user's labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The user's own JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<serde_json::Value>,
    /// The operation this checkpoint opened or belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<OperationRef>,
    /// The restore this checkpoint finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored_from: Option<CheckpointId>,
    /// The file the state was read from; a restore in place puts it back there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(value_type = Option<String>))]
    pub state_file: Option<PathBuf>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The operation a checkpoint belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct OperationRef {
    /// Its id: the `checkpoint_id` of the checkpoint that opened it.
    pub id: CheckpointId,
    /// Its name.
    pub name: String,
}

/// What a commit answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Receipt {
    /// The facts of the checkpoint.
    #[serde(flatten)]
    pub checkpoint: Checkpoint,
    /// The store is not whole: a fallback took the commit, the budget is exceeded, or the like.
    pub degraded: bool,
    /// Why, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub degraded_why: Vec<String>,
    /// Protected checkpoints alone exceed the disk budget.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub over_budget: bool,
    /// The tries it took, the successful one included.
    pub attempts: Vec<Attempt>,
    /// What was left out, and why.
    pub skipped: Vec<Skipped>,
    /// What changed while it was read.
    #[serde(serialize_with = "lossy::paths")]
    #[cfg_attr(feature = "server", schema(value_type = Vec<String>))]
    pub unsettled: Vec<PathBuf>,
}

/// A receipt reads as the checkpoint it is for: `receipt.path`, `receipt.seq`.
impl std::ops::Deref for Receipt {
    type Target = Checkpoint;

    fn deref(&self) -> &Checkpoint {
        &self.checkpoint
    }
}

/// One try to commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Attempt {
    /// The store that was tried.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub target: PathBuf,
    /// What went wrong; absent for the try that succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

macro_rules! text_noun {
    ($($noun:ty),*) => {$(
        impl Serialize for $noun {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $noun {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
text_noun!(AgentId, Digest, Timestamp, Span);

impl FromStr for AgentId {
    type Err = NounError;

    fn from_str(text: &str) -> Result<Self, NounError> {
        Self::new(text)
    }
}

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ms {
            0 => f.write_str("0s"),
            ms => write_in_whole_units(f, ms, &Self::UNITS[1..]),
        }
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("0B"),
            bytes => write_in_whole_units(f, bytes, &Self::UNITS),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for CheckpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("blake3:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spans_read_their_units() {
        for (text, ms) in [("250ms", 250), ("30s", 30_000), ("10m", 600_000), ("24 h", 86_400_000)]
        {
            assert_eq!(text.parse(), Ok(Span::from_ms(ms)), "{text}");
        }
        assert_eq!("2w".parse(), Ok(Span::from_days(14)));
        for text in ["", "7", "d", "-1s", "1.5h", "1h30m", "99999999999999999999s", "999999999999w"]
        {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_read_their_units() {
        for (text, bytes) in
            [("20GiB", 20 << 30), ("64MB", 64_000_000), ("512 kib", 512 << 10), ("17", 17)]
        {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        for text in ["", "GiB", "1.5GB", "3 apples", "-1", "99999999TiB"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
        assert_eq!(serde_json::from_str::<ByteSize>("4096").unwrap(), ByteSize(4096));
        assert!(serde_json::from_str::<ByteSize>("-1").is_err());
    }

    #[test]
    fn whole_units_are_printed() {
        let spans = [
            (0, "0s"),
            (90_000, "90s"),
            (3_600_000, "1h"),
            (1001, "1001ms"),
            (1_209_600_000, "14d"),
        ];
        for (ms, text) in spans {
            assert_eq!(Span::from_ms(ms).to_string(), text);
        }
        for (bytes, text) in [(0, "0B"), (20 << 30, "20GiB"), (64_000_000, "64MB"), (1001, "1001B")]
        {
            assert_eq!(ByteSize(bytes).to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(value: u64) {
            let span = Span::from_ms(value);
            prop_assert_eq!(span.to_string().parse(), Ok(span));
            prop_assert_eq!(ByteSize(value).to_string().parse(), Ok(ByteSize(value)));
        }
    }
}
