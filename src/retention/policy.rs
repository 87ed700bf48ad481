//! What is to be kept of each kind: the options of the stage and their defaults.
//!
//! In configuration a kind's table may name some of its keys; those left out keep that kind's own
//! defaults, so that `keep_last = 5` alone does not lose the rungs. Zero switches a rule off, and so
//! does an empty list.

use serde::{Deserialize, Deserializer, Serialize};

use crate::state::{ByteSize, Kind, Span};

/// The options of retention.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Rules for `routine` checkpoints.
    #[serde(deserialize_with = "over_routine")]
    pub routine: KindPolicy,
    /// Rules for `pre_operation` checkpoints.
    #[serde(deserialize_with = "over_pre_operation")]
    pub pre_operation: KindPolicy,
    /// Rules for `recovery` checkpoints.
    #[serde(deserialize_with = "over_recovery")]
    pub recovery: KindPolicy,
    /// Labels that pin a checkpoint: `key`, whatever its value, or `key=value`.
    pub pin_labels: Vec<String>,
    /// An operation left open longer than this counts as failed, from then on.
    pub abandoned_after: Span,
    /// Room for the store; absent: the smaller of 20 GiB and a tenth of the disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_budget: Option<ByteSize>,
    /// Room the store leaves free on its disk; absent: the smaller of 256 MiB and a hundredth of
    /// the disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free_floor: Option<ByteSize>,
}

/// The rules for one kind; a checkpoint stays when any of them keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct KindPolicy {
    /// Keeps the newest so many, and so many of different content; 0 keeps none.
    pub keep_last: u64,
    /// Keeps what is younger; zero keeps none.
    pub keep_within: Span,
    /// Keeps the checkpoint that opened an operation until the operation is completed, and that of
    /// a failed one like a recovery checkpoint, counted from the failure. That of an open one is
    /// never forgotten either way.
    pub keep_until_closed: bool,
    /// Keeps rungs to go back to, further apart the older they are.
    pub anchors: Vec<Anchor>,
}

/// Keeps the newest sound, untainted checkpoint of each finished period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anchor {
    /// Length of a period, counted from the agent's first checkpoint; more than zero.
    #[serde(deserialize_with = "more_than_zero")]
    pub every: Span,
    /// How many finished periods keep theirs; the newest that hold a checkpoint count.
    pub keep: u64,
}

impl Default for Policy {
    fn default() -> Self {
        let anchor = |every, keep| Anchor { every, keep };
        Self {
            routine: KindPolicy {
                keep_last: 3,
                anchors: vec![
                    anchor(Span::from_minutes(10), 6),
                    anchor(Span::from_hours(1), 24),
                    anchor(Span::from_days(1), 7),
                ],
                ..KindPolicy::default()
            },
            pre_operation: KindPolicy { keep_until_closed: true, ..KindPolicy::default() },
            recovery: KindPolicy { keep_within: Span::from_days(7), ..KindPolicy::default() },
            pin_labels: vec!["keep".into()],
            abandoned_after: Span::from_days(7),
            disk_budget: None,
            free_floor: None,
        }
    }
}

impl Policy {
    /// The rules for `kind`.
    #[must_use]
    pub fn of(&self, kind: Kind) -> &KindPolicy {
        match kind {
            Kind::Routine => &self.routine,
            Kind::PreOperation => &self.pre_operation,
            Kind::Recovery => &self.recovery,
        }
    }

    /// The policy of a forget by hand: the count and the age given take the place of both rules of
    /// every kind; anchors, operations and pins stay. With neither given it is the same policy.
    #[must_use]
    pub fn narrowed(&self, keep_last: Option<u64>, keep_within: Option<Span>) -> Self {
        let mut policy = self.clone();
        if keep_last.is_some() || keep_within.is_some() {
            for rules in [&mut policy.routine, &mut policy.pre_operation, &mut policy.recovery] {
                rules.keep_last = keep_last.unwrap_or(0);
                rules.keep_within = keep_within.unwrap_or(Span::ZERO);
            }
        }
        policy
    }

    /// Bytes the store may take, on a disk of `disk_total` bytes with `disk_free` free, where it
    /// takes `used` now: the budget, or less where the floor of free space would be passed.
    #[must_use]
    pub fn allowed_bytes(&self, used: u64, disk_free: u64, disk_total: u64) -> u64 {
        let budget = self.disk_budget.map_or((20 << 30).min(disk_total / 10), |size| size.0);
        let floor = self.free_floor.map_or((256 << 20).min(disk_total / 100), |size| size.0);
        budget.min(used.saturating_add(disk_free).saturating_sub(floor))
    }
}

/// A kind's table as it is written, with what it leaves out.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Written {
    keep_last: Option<u64>,
    keep_within: Option<Span>,
    keep_until_closed: Option<bool>,
    anchors: Option<Vec<Anchor>>,
}

fn over<'de, D: Deserializer<'de>>(source: D, base: KindPolicy) -> Result<KindPolicy, D::Error> {
    let written = Written::deserialize(source)?;
    Ok(KindPolicy {
        keep_last: written.keep_last.unwrap_or(base.keep_last),
        keep_within: written.keep_within.unwrap_or(base.keep_within),
        keep_until_closed: written.keep_until_closed.unwrap_or(base.keep_until_closed),
        anchors: written.anchors.unwrap_or(base.anchors),
    })
}

fn over_routine<'de, D: Deserializer<'de>>(source: D) -> Result<KindPolicy, D::Error> {
    over(source, Policy::default().routine)
}

fn over_pre_operation<'de, D: Deserializer<'de>>(source: D) -> Result<KindPolicy, D::Error> {
    over(source, Policy::default().pre_operation)
}

fn over_recovery<'de, D: Deserializer<'de>>(source: D) -> Result<KindPolicy, D::Error> {
    over(source, Policy::default().recovery)
}

fn more_than_zero<'de, D: Deserializer<'de>>(source: D) -> Result<Span, D::Error> {
    let span = Span::deserialize(source)?;
    if span == Span::ZERO {
        return Err(serde::de::Error::custom("an anchor's period is longer than zero"));
    }
    Ok(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_keeps_the_defaults_of_its_kind_where_it_is_silent() {
        let policy: Policy = toml::from_str("[routine]\nkeep_last = 5\n[recovery]\n").unwrap();
        let mut expected = Policy::default();
        expected.routine.keep_last = 5;
        assert_eq!(policy, expected);
    }

    #[test]
    fn what_is_written_out_reads_back() {
        let mut policy = Policy::default().narrowed(Some(2), Some(Span::from_hours(36)));
        policy.disk_budget = Some(ByteSize(5_000_000_000));
        policy.pin_labels = vec!["release=yes".into()];
        let text = toml::to_string(&policy).unwrap();
        assert_eq!(toml::from_str::<Policy>(&text).unwrap(), policy);
        assert!(text.contains("keep_within = \"36h\""), "{text}");
    }

    #[test]
    fn mistakes_are_refused() {
        for text in [
            "keep_last = 3",
            "[routine]\nkeep = 3",
            "[routine]\nanchors = [{ every = \"0s\", keep = 1 }]",
            "[routine]\nanchors = [{ every = \"1h\", keep = 1, of = 2 }]",
            "[recovery]\nkeep_within = \"7 days\"",
        ] {
            assert!(toml::from_str::<Policy>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn room_is_the_budget_or_what_the_floor_leaves() {
        const GIB: u64 = 1 << 30;
        let policy = Policy::default();
        assert_eq!(policy.allowed_bytes(0, 900 * GIB, 1000 * GIB), 20 * GIB);
        assert_eq!(policy.allowed_bytes(0, 90 * GIB, 100 * GIB), 10 * GIB);
        assert_eq!(policy.allowed_bytes(GIB, 0, 1000 * GIB), GIB - (256 << 20));
        assert_eq!(policy.allowed_bytes(0, 0, GIB), 0);
        let given = Policy {
            disk_budget: Some(ByteSize(50 * GIB)),
            free_floor: Some(ByteSize(0)),
            ..policy
        };
        assert_eq!(given.allowed_bytes(GIB, 60 * GIB, 100 * GIB), 50 * GIB);
    }
}
