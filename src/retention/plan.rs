//! The plan for one agent: what is kept and why, what is forgotten and why.
//!
//! *Usable* checkpoints are the sound and untainted ones; the others are kept as evidence. Each kind
//! is looked at in two lines, usable and not, so that damaged or tainted ones never push a usable one
//! out of a count.
//!
//! `keep_last N` keeps the newest N of a line and, where neighbours in it are equal, as many more as
//! it takes to reach N of different content, of equal neighbours the newest.
//!
//! An anchor looks at usable ones only. The period of the newest of them is the running one and keeps
//! its newest; before it, the newest N periods that hold any keep theirs. A finished period whose
//! newest equals the rung after it gives its next newest that differs, and counts for nothing where
//! none does. Periods are told by the checkpoints alone, not by what time it is now, so waiting lets
//! no rung go.
//!
//! Where an agent is watched, the same is done by the numbers of its observations, for going back from
//! a drift that began so many observations ago: the newest usable checkpoint before the earliest onset
//! that any detector could still name is kept, or the oldest there is where none is before it, so that
//! one is there when the onset moves on. Between it and now there are rungs: of each length that is a
//! power of two, from 8 observations up to as far back as that onset lies and to 64 at least, the last
//! two finished periods keep their newest. So whatever the onset turns out to be, not much more is
//! given up than was lost.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Serialize, Serializer};

use super::policy::{Anchor, Policy};
use crate::protection::{self, Protection};
use crate::state::{Digest, Kind, Seq, Span};

/// Where store time stands, in milliseconds of a counter that advances only by credible amounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreTime {
    /// Now.
    pub now_ms: u64,
    /// When the agent's first checkpoint was made, even if it is long forgotten: anchors count
    /// their periods from it.
    pub first_ms: u64,
}

/// What retention needs to know of a checkpoint.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Its place in the agent's order.
    pub seq: Seq,
    /// Its kind.
    pub kind: Kind,
    /// Store time when it was made.
    pub made_at_ms: u64,
    /// Digest of its content.
    pub digest: Digest,
    /// The newest observation when it was made, or a later one where that is not known; none where
    /// nobody watched.
    pub observation: Option<u64>,
    /// Made after a drift's onset.
    pub tainted: bool,
    /// Not known to be damaged.
    pub sound: bool,
    /// Its labels.
    pub labels: &'a BTreeMap<String, String>,
    /// The operation it opened.
    pub operation: Option<Operation<'a>>,
    /// Bytes it added to the store.
    pub stored_bytes: u64,
}

impl Facts<'_> {
    fn usable(&self) -> bool {
        self.sound && !self.tainted
    }
}

/// The operation a checkpoint opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation<'a> {
    /// Its name.
    pub name: &'a str,
    /// How it stands.
    pub state: OperationState,
}

/// How an operation stands; times are store time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperationState {
    /// Not closed yet.
    Open {
        /// When it was opened.
        since_ms: u64,
    },
    /// Closed with success.
    Completed {
        /// When it was closed.
        at_ms: u64,
    },
    /// Closed without.
    Failed {
        /// When it failed.
        at_ms: u64,
    },
}

impl OperationState {
    /// How it stands when one left open for `abandoned_after` counts as failed from then on.
    fn seen_at(self, now_ms: u64, abandoned_after: Span) -> Self {
        match self {
            Self::Open { since_ms }
                if now_ms.saturating_sub(since_ms) > abandoned_after.as_ms() =>
            {
                Self::Failed { at_ms: since_ms.saturating_add(abandoned_after.as_ms()) }
            }
            state => state,
        }
    }
}

/// What recovery needs; kept whatever the policy says.
#[derive(Debug, Clone, Default)]
pub struct Protect {
    /// What `latest` means now.
    pub latest: Option<Seq>,
    /// The last known good.
    pub good: Option<Seq>,
    /// The earliest observation that any detector could still name as an onset; the newest usable
    /// checkpoint before it is kept, recovery checkpoints apart.
    pub earliest_onset: Option<u64>,
    /// Checkpoints up to here were made before the last fresh start: nothing goes back to them.
    pub fresh_start: Seq,
    /// Checkpoints that an undo still needs: what was there before restores, and the word on them.
    pub undo: BTreeSet<Seq>,
    /// Held by something else at work: an export, a restore, a checkpoint that inherits from it.
    pub other: BTreeSet<Seq>,
}

/// Why a checkpoint is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// It is `latest`.
    Latest,
    /// It is the last known good.
    Good,
    /// It is the newest usable one before the earliest onset that could be named, or the oldest.
    BeforeOnset,
    /// It is the newest usable one of a finished period of so many observations.
    Rung(u64),
    /// An undo needs it.
    Undo,
    /// Something at work holds it.
    InUse,
    /// The operation of this name is open.
    OperationOpen(String),
    /// This label pins it.
    Pinned(String),
    /// It is the rung of a finished period of this length.
    Anchor(Span),
    /// It is the newest usable one, in the running period of this length.
    RunningAnchor(Span),
    /// It is among the last so many of its kind.
    Last(u64, Kind),
    /// It is tainted or damaged, and among the last so many such of its kind.
    Evidence(u64, Kind),
    /// It is younger than this.
    Within(Span),
    /// The operation of this name failed less long ago than this.
    OperationFailed(String, Span),
}

impl Reason {
    /// Whether a disk budget must leave it alone as well.
    #[must_use]
    pub fn protects(&self) -> bool {
        !matches!(
            self,
            Self::Last(..) | Self::Evidence(..) | Self::Within(_) | Self::OperationFailed(..)
        )
    }
}

/// Why a checkpoint is forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// A newer one, which is kept, has the same content.
    SameAs(Seq),
    /// Its operation, of this name, was completed.
    OperationCompleted(String),
    /// Its operation, of this name, failed or was left open, longer ago than this.
    OperationFailed(String, Span),
    /// No rule of its kind keeps it any more.
    Outlived {
        /// Its kind.
        kind: Kind,
        /// How many of the kind are kept; 0 where none by count.
        keep_last: u64,
        /// How long the kind is kept; zero where none by age.
        keep_within: Span,
    },
}

/// A checkpoint that stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// Which.
    pub seq: Seq,
    /// Store time when it was made.
    #[serde(skip)]
    pub made_at_ms: u64,
    /// Bytes it added to the store.
    pub stored_bytes: u64,
    /// Why; at least one.
    pub reasons: Vec<Reason>,
}

impl Kept {
    /// Whether a disk budget must leave it alone.
    #[must_use]
    pub fn protected(&self) -> bool {
        self.reasons.iter().any(Reason::protects)
    }
}

/// A checkpoint that goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Forgotten {
    /// Which.
    pub seq: Seq,
    /// Bytes it added to the store.
    pub stored_bytes: u64,
    /// Why.
    pub reason: Cause,
}

/// What stays and what goes, both oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Plan {
    /// What stays.
    pub kept: Vec<Kept>,
    /// What goes.
    pub forgotten: Vec<Forgotten>,
}

impl Plan {
    /// Bytes of what a disk budget must leave alone.
    #[must_use]
    pub fn protected_bytes(&self) -> u64 {
        self.kept.iter().filter(|kept| kept.protected()).map(|kept| kept.stored_bytes).sum()
    }

    /// Bytes of what goes.
    #[must_use]
    pub fn forgotten_bytes(&self) -> u64 {
        self.forgotten.iter().map(|forgotten| forgotten.stored_bytes).sum()
    }
}

/// Decides what stays and what goes of one agent's checkpoints, given in any order.
#[must_use]
pub fn plan(facts: &[Facts<'_>], policy: &Policy, protect: &Protect, time: StoreTime) -> Plan {
    let mut draft = Draft::new(facts);
    draft.keep_what_recovery_needs(protect);
    draft.keep_the_way_back(protect);
    draft.keep_by_itself(policy, time.now_ms);
    for kind in Kind::ALL {
        let rules = policy.of(kind);
        draft.keep_last(kind, true, rules.keep_last);
        draft.keep_last(kind, false, rules.keep_last);
        for anchor in &rules.anchors {
            draft.keep_rungs(kind, *anchor, time.first_ms);
        }
    }
    draft.finish(policy)
}

/// Observations of the shortest periods that keep rungs.
const RUNG_MIN: u64 = 8;

/// How many finished periods of each length keep theirs.
const RUNGS: usize = 2;

/// Rungs reach back so many observations at least: what a person or a detector of the user's own
/// names as an onset, nobody could foresee.
const RUNGS_BACK_MIN: u64 = 64;

/// A checkpoint with what was found out about it so far.
struct Entry<'a> {
    facts: &'a Facts<'a>,
    reasons: Vec<Reason>,
    twin: Option<Seq>,
}

/// The plan while it is made, newest first.
struct Draft<'a> {
    entries: Vec<Entry<'a>>,
}

impl<'a> Draft<'a> {
    fn new(facts: &'a [Facts<'a>]) -> Self {
        let entry = |facts| Entry { facts, reasons: Vec::new(), twin: None };
        let mut entries: Vec<_> = facts.iter().rev().map(entry).collect();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.facts.seq));
        Self { entries }
    }

    /// The usable ones of a kind or the others, newest first.
    fn line(&mut self, kind: Kind, usable: bool) -> impl Iterator<Item = &mut Entry<'a>> {
        self.entries
            .iter_mut()
            .filter(move |entry| entry.facts.kind == kind && entry.facts.usable() == usable)
    }

    fn keep_what_recovery_needs(&mut self, protect: &Protect) {
        if !protection::stands(Protection::RetentionGuard) {
            return;
        }
        for Entry { facts, reasons, .. } in &mut self.entries {
            let seq = facts.seq;
            let needs = [
                (protect.latest == Some(seq), Reason::Latest),
                (protect.good == Some(seq), Reason::Good),
                (protect.undo.contains(&seq), Reason::Undo),
                (protect.other.contains(&seq), Reason::InUse),
            ];
            reasons.extend(needs.into_iter().filter(|(needed, _)| *needed).map(|(_, why)| why));
        }
    }

    /// What a drift can be gone back from, however late it is found.
    fn keep_the_way_back(&mut self, protect: &Protect) {
        let Some(onset) = protect.earliest_onset else { return };
        let mut line: Vec<(u64, &mut Entry<'a>)> = self
            .entries
            .iter_mut()
            .filter(|entry| {
                let Facts { kind, seq, .. } = *entry.facts;
                entry.facts.usable() && kind != Kind::Recovery && seq > protect.fresh_start
            })
            .filter_map(|entry| Some((entry.facts.observation?, entry)))
            .collect();
        let Some(newest) = line.first().map(|(at, _)| *at) else { return };
        let before = line.iter().position(|(at, _)| *at < onset).unwrap_or(line.len() - 1);
        line[before].1.reasons.push(Reason::BeforeOnset);
        // The newest of the period that runs: the periods are told by it.
        line[0].1.reasons.push(Reason::Rung(RUNG_MIN));
        let back = newest.saturating_sub(onset).max(RUNGS_BACK_MIN);
        let mut period = RUNG_MIN;
        loop {
            let mut newer = newest / period;
            let mut rungs = 0;
            for (at, entry) in line.iter_mut().skip(1) {
                if *at / period < newer && rungs < RUNGS {
                    newer = *at / period;
                    rungs += 1;
                    entry.reasons.push(Reason::Rung(period));
                }
            }
            if period >= back {
                return;
            }
            period *= 2;
        }
    }

    /// The rules that look at one checkpoint at a time: pins, age, operations.
    fn keep_by_itself(&mut self, policy: &Policy, now_ms: u64) {
        for Entry { facts, reasons, .. } in &mut self.entries {
            let younger = |since_ms: u64, span: Span| {
                span > Span::ZERO && now_ms.saturating_sub(since_ms) <= span.as_ms()
            };
            let rules = policy.of(facts.kind);
            reasons.extend(pin(facts.labels, &policy.pin_labels).map(Reason::Pinned));
            if younger(facts.made_at_ms, rules.keep_within) {
                reasons.push(Reason::Within(rules.keep_within));
            }
            let Some(Operation { name, state }) = facts.operation else { continue };
            let patience = policy.recovery.keep_within;
            match state.seen_at(now_ms, policy.abandoned_after) {
                OperationState::Open { .. } if !protection::stands(Protection::RetentionGuard) => {}
                OperationState::Open { .. } => reasons.push(Reason::OperationOpen(name.into())),
                OperationState::Failed { at_ms }
                    if rules.keep_until_closed && younger(at_ms, patience) =>
                {
                    reasons.push(Reason::OperationFailed(name.into(), patience));
                }
                OperationState::Failed { .. } | OperationState::Completed { .. } => {}
            }
        }
    }

    fn keep_last(&mut self, kind: Kind, usable: bool, keep: u64) {
        let mut newest_of_content: Option<&Facts<'_>> = None;
        let mut contents = 0;
        for (place, entry) in (0_u64..).zip(self.line(kind, usable)) {
            let twin = newest_of_content.filter(|newer| newer.digest == entry.facts.digest);
            if let Some(newer) = twin {
                entry.twin = Some(newer.seq);
            } else if contents == keep {
                break;
            } else {
                contents += 1;
                newest_of_content = Some(entry.facts);
            }
            if twin.is_none() || place < keep {
                let why = if usable { Reason::Last } else { Reason::Evidence };
                entry.reasons.push(why(keep, kind));
            }
        }
    }

    fn keep_rungs(&mut self, kind: Kind, anchor: Anchor, first_ms: u64) {
        let Anchor { every, keep } = anchor;
        let period =
            |facts: &Facts<'_>| facts.made_at_ms.saturating_sub(first_ms) / every.as_ms().max(1);
        let mut line = self.line(kind, true);
        let Some(newest) = line.next().filter(|_| keep > 0) else { return };
        newest.reasons.push(Reason::RunningAnchor(every));
        let mut newer_period = period(newest.facts);
        let mut newer_rung: Option<&Facts<'_>> = None;
        let mut rungs = 0;
        for entry in line {
            if period(entry.facts) >= newer_period {
                continue;
            }
            if let Some(newer) = newer_rung.filter(|newer| newer.digest == entry.facts.digest) {
                entry.twin = entry.twin.or(Some(newer.seq));
                continue;
            }
            if rungs == keep {
                break;
            }
            rungs += 1;
            newer_period = period(entry.facts);
            newer_rung = Some(entry.facts);
            entry.reasons.push(Reason::Anchor(every));
        }
    }

    fn finish(self, policy: &Policy) -> Plan {
        let mut plan = Plan::default();
        for Entry { facts, reasons, twin } in self.entries.into_iter().rev() {
            let Facts { seq, made_at_ms, stored_bytes, .. } = *facts;
            if reasons.is_empty() {
                let reason = cause(facts, twin, policy);
                plan.forgotten.push(Forgotten { seq, stored_bytes, reason });
            } else {
                plan.kept.push(Kept { seq, made_at_ms, stored_bytes, reasons });
            }
        }
        plan
    }
}

/// The first label that pins, as `key=value`.
pub(crate) fn pin(labels: &BTreeMap<String, String>, pins: &[String]) -> Option<String> {
    let pins = |key: &str, value: &str| {
        pins.iter().any(|pin| match pin.split_once('=') {
            None => pin == key,
            Some((pinned, wanted)) => pinned == key && wanted == value,
        })
    };
    let (key, value) = labels.iter().find(|(key, value)| pins(key, value))?;
    Some(format!("{key}={value}"))
}

fn cause(facts: &Facts<'_>, twin: Option<Seq>, policy: &Policy) -> Cause {
    let rules = policy.of(facts.kind);
    match (twin, facts.operation) {
        (Some(newer), _) => Cause::SameAs(newer),
        (None, Some(Operation { name, state: OperationState::Completed { .. } })) => {
            Cause::OperationCompleted(name.into())
        }
        (None, Some(Operation { name, .. })) if rules.keep_until_closed => {
            Cause::OperationFailed(name.into(), policy.recovery.keep_within)
        }
        (None, _) => Cause::Outlived {
            kind: facts.kind,
            keep_last: rules.keep_last,
            keep_within: rules.keep_within,
        },
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("latest"),
            Self::Good => f.write_str("last known good"),
            Self::BeforeOnset => f.write_str("before the earliest onset that could be named"),
            Self::Rung(period) => write!(f, "rung: newest of its {period} observations"),
            Self::Undo => f.write_str("an undo needs it"),
            Self::InUse => f.write_str("in use"),
            Self::OperationOpen(name) => write!(f, "operation \"{name}\" is open"),
            Self::Pinned(label) => write!(f, "pinned by label {label}"),
            Self::Anchor(every) => write!(f, "anchor: newest of its {every}"),
            Self::RunningAnchor(every) => write!(f, "anchor: newest of the running {every}"),
            Self::Last(keep, kind) => write!(f, "last {keep} of {kind}"),
            Self::Evidence(keep, kind) => {
                write!(f, "evidence: last {keep} tainted or damaged of {kind}")
            }
            Self::Within(span) => write!(f, "younger than {span}"),
            Self::OperationFailed(name, span) => {
                write!(f, "operation \"{name}\" failed within {span}")
            }
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SameAs(seq) => write!(f, "same content as {seq}"),
            Self::OperationCompleted(name) => write!(f, "operation \"{name}\" is completed"),
            Self::OperationFailed(name, span) => {
                write!(f, "operation \"{name}\" failed more than {span} ago")
            }
            Self::Outlived { kind, keep_last: 0, keep_within: Span::ZERO } => {
                write!(f, "nothing keeps this {kind} one")
            }
            Self::Outlived { kind, keep_last, keep_within: Span::ZERO } => {
                write!(f, "beyond the last {keep_last} of {kind}")
            }
            Self::Outlived { keep_last: 0, keep_within, .. } => {
                write!(f, "older than {keep_within}")
            }
            Self::Outlived { kind, keep_last, keep_within } => {
                write!(f, "beyond the last {keep_last} of {kind} and older than {keep_within}")
            }
        }
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Cause {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests;
