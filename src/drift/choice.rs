//! Which checkpoint to go back to: the newest one that is sound, untainted, and older than the onset.
//!
//! A checkpoint is older than the onset when the observation it records is before it. Numbers of
//! observations never go back, so what precedes such a checkpoint is older too, also where nothing
//! was recorded; what follows the last such one and records nothing is passed by. So is what was made
//! while the agent was drifting, also where that drift was answered by less than a restore and tainted
//! nothing. `recovery` checkpoints hold what was about to be replaced and are passed by, like those
//! from before a fresh start. Where an earlier restore for the same cause did not help, the choice
//! goes on behind what was restored then, to other content.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

use crate::state::{Digest, Kind, Seq, Taint};

/// What the choice needs to know of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Its place in the agent's order.
    pub seq: Seq,
    /// Its kind.
    pub kind: Kind,
    /// The newest observation when it was made; none where nobody watched.
    pub observation: Option<u64>,
    /// Not known to be damaged.
    pub sound: bool,
    /// Whether a drift stands against it.
    pub taint: Taint,
    /// Made before the last fresh start.
    pub before_reset: bool,
    /// Digest of its content.
    pub digest: Digest,
}

/// Why a checkpoint was not chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub enum Passed {
    /// It was made at this observation, and the drift began before it or with it.
    AfterOnset(u64),
    /// It records no observation, and no later one is known to be older than the onset.
    NoObservation,
    /// It was made after an earlier drift's onset.
    Tainted,
    /// The agent was drifting when it was made, whatever was done about that.
    WhileDrifting,
    /// It is damaged.
    Damaged,
    /// It holds what a restore replaced, or what went wrong.
    Recovery,
    /// It was made before a fresh start.
    BeforeReset,
    /// It was restored for the same cause, or is newer than what was, and that did not help.
    Tried,
    /// Its content is what was restored for the same cause and did not help.
    SameAsTried,
}

impl std::fmt::Display for Passed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::AfterOnset(at) => return write!(f, "made at observation {at}, after the onset"),
            Self::NoObservation => "not known to be older than the onset",
            Self::Tainted => "tainted by an earlier drift",
            Self::WhileDrifting => "made while the agent was drifting",
            Self::Damaged => "damaged",
            Self::Recovery => "a recovery checkpoint",
            Self::BeforeReset => "made before the last fresh start",
            Self::Tried => "going back that far did not help",
            Self::SameAsTried => "the same content as one that did not help",
        })
    }
}

/// A checkpoint that was passed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassedBy {
    /// Which.
    pub seq: Seq,
    /// Why.
    pub why: Passed,
}

/// What was chosen, and why nothing newer.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Choice {
    /// The checkpoint to go back to; none where there is none.
    pub chosen: Option<Seq>,
    /// The newer ones, the newest first; all of them where none was chosen.
    pub passed: Vec<PassedBy>,
    /// What going back taints: everything newer, recovery checkpoints apart.
    pub taints: Vec<Seq>,
}

/// Chooses for a drift that began with the observation `onset`; `tried` is the oldest checkpoint that
/// was restored for the same cause and did not help. Candidates may come in any order.
#[must_use]
pub fn choose(candidates: &[Candidate], onset: u64, tried: Option<Seq>) -> Choice {
    let mut line: Vec<&Candidate> = candidates.iter().collect();
    line.sort_by_key(|candidate| Reverse(candidate.seq));
    let tried_digest = line.iter().find(|it| Some(it.seq) == tried).map(|it| it.digest);
    let mut choice = Choice::default();
    let mut older = false;
    for candidate in line {
        older |= candidate.observation.is_some_and(|observation| observation < onset);
        let again = tried.is_some_and(|tried| candidate.seq >= tried);
        let same = tried_digest == Some(candidate.digest);
        let why = match candidate.unfit().or_else(|| candidate.too_young(older)) {
            Some(why) => why,
            None if again => Passed::Tried,
            None if same => Passed::SameAsTried,
            None => {
                choice.chosen = Some(candidate.seq);
                return choice;
            }
        };
        choice.passed.push(PassedBy { seq: candidate.seq, why });
        if candidate.taint != Taint::Marked && candidate.kind != Kind::Recovery {
            choice.taints.push(candidate.seq);
        }
    }
    choice.taints.clear();
    choice
}

/// The first checkpoint made at or after the observation `onset`, which is what retention asks for.
#[must_use]
pub fn first_from(candidates: &[Candidate], onset: u64) -> Option<Seq> {
    let later = candidates.iter().filter(|it| it.observation.is_some_and(|at| at >= onset));
    later.map(|candidate| candidate.seq).min()
}

impl Candidate {
    fn unfit(&self) -> Option<Passed> {
        [
            (self.kind == Kind::Recovery, Passed::Recovery),
            (self.taint == Taint::Marked, Passed::Tainted),
            (self.taint == Taint::WhileDrifting, Passed::WhileDrifting),
            (!self.sound, Passed::Damaged),
            (self.before_reset, Passed::BeforeReset),
        ]
        .into_iter()
        .find_map(|(unfit, why)| unfit.then_some(why))
    }

    fn too_young(&self, older: bool) -> Option<Passed> {
        (!older).then(|| self.observation.map_or(Passed::NoObservation, Passed::AfterOnset))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn candidate(seq: u64, observation: Option<u64>) -> Candidate {
        Candidate {
            seq: Seq(seq),
            kind: Kind::Routine,
            observation,
            sound: true,
            taint: Taint::None,
            before_reset: false,
            digest: Digest::of(&seq.to_le_bytes()),
        }
    }

    /// Ten checkpoints, ten observations apart: number 5 was made at observation 50.
    fn ten() -> Vec<Candidate> {
        (1..=10).map(|seq| candidate(seq, Some(10 * seq))).collect()
    }

    #[test]
    fn the_newest_before_the_onset_is_chosen_and_the_newer_ones_say_why_not() {
        let mut all = ten();
        all[4].sound = false;
        all[5].taint = Taint::Marked;
        all[6].kind = Kind::Recovery;
        all.reverse();
        let choice = choose(&all, 80, None);
        assert_eq!(choice.chosen, Some(Seq(4)));
        let why: Vec<(u64, Passed)> = choice.passed.iter().map(|it| (it.seq.0, it.why)).collect();
        let expected = [
            (10, Passed::AfterOnset(100)),
            (9, Passed::AfterOnset(90)),
            (8, Passed::AfterOnset(80)),
            (7, Passed::Recovery),
            (6, Passed::Tainted),
            (5, Passed::Damaged),
        ];
        assert_eq!(why, expected);
        assert_eq!(choice.taints, [10, 9, 8, 5].map(Seq));
    }

    #[test]
    fn where_it_did_not_help_the_choice_goes_one_further_back() {
        let mut all = ten();
        all[5].digest = all[6].digest;
        let choice = choose(&all, 80, Some(Seq(7)));
        assert_eq!(choice.chosen, Some(Seq(5)));
        assert_eq!(choice.passed[3].why, Passed::Tried);
        assert_eq!(choice.passed[4].why, Passed::SameAsTried);
        assert_eq!(choose(&all, 80, Some(Seq(1))).chosen, None);
    }

    #[test]
    fn what_records_nothing_is_chosen_only_where_it_must_be_older() {
        let mut all = ten();
        all[7].observation = None;
        assert_eq!(choose(&all, 75, None).chosen, Some(Seq(7)), "8 may be too young");
        assert_eq!(choose(&all, 95, None).chosen, Some(Seq(9)));
        all[8].sound = false;
        assert_eq!(choose(&all, 95, None).chosen, Some(Seq(8)), "9 proves that 8 is older");
        let unknown = [candidate(1, None), candidate(2, None)];
        let choice = choose(&unknown, 5, None);
        assert_eq!((choice.chosen, choice.taints.len()), (None, 0));
        assert!(choice.passed.iter().all(|it| it.why == Passed::NoObservation));
    }

    #[test]
    fn retention_is_told_the_first_checkpoint_that_may_be_bad() {
        assert_eq!(first_from(&ten(), 45), Some(Seq(5)));
        assert_eq!(first_from(&ten(), 50), Some(Seq(5)));
        assert_eq!(first_from(&ten(), 101), None);
    }

    fn any_line() -> impl Strategy<Value = Vec<Candidate>> {
        let taint = prop::sample::select(vec![
            Taint::None,
            Taint::None,
            Taint::WhileDrifting,
            Taint::Marked,
        ]);
        let watched = prop::bool::weighted(0.8);
        let one = (0..4_u64, watched, any::<[bool; 2]>(), taint, 0..3_u8, 0..3_usize);
        prop::collection::vec(one, 0..20).prop_map(|all| {
            let mut at = 0;
            (1..)
                .zip(all)
                .map(|(seq, (passed, watched, [sound, reset], taint, content, kind))| {
                    at += passed;
                    Candidate {
                        observation: watched.then_some(at),
                        sound,
                        taint,
                        before_reset: reset && seq < 4,
                        digest: Digest::of(&[content]),
                        kind: Kind::ALL[kind],
                        ..candidate(seq, None)
                    }
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn what_is_chosen_is_sound_untainted_and_older_than_the_onset(
            line in any_line(), onset in 0..40_u64, tried in prop::option::of((1..20_u64).prop_map(Seq)),
        ) {
            let choice = choose(&line, onset, tried);
            let fits = |it: &&Candidate| {
                let clean = it.taint == Taint::None && it.sound && !it.before_reset;
                clean && it.kind != Kind::Recovery
            };
            let older = |it: &&Candidate| {
                let proof = line.iter().filter(|other| other.seq >= it.seq);
                proof.filter_map(|other| other.observation).any(|at| at < onset)
            };
            let content = line.iter().find(|it| Some(it.seq) == tried).map(|it| it.digest);
            let further = |it: &&Candidate| {
                tried.is_none_or(|tried| it.seq < tried) && content != Some(it.digest)
            };
            let wanted = line.iter().filter(fits).filter(older).filter(further);
            prop_assert_eq!(choice.chosen, wanted.map(|it| it.seq).max());
            if let Some(chosen) = choice.chosen {
                let known = line.iter().find(|it| it.seq == chosen).unwrap().observation;
                prop_assert!(known.is_none_or(|at| at < onset));
                let newer = line.iter().filter(|it| it.seq > chosen).count();
                prop_assert_eq!(choice.passed.len(), newer);
                prop_assert!(choice.taints.iter().all(|seq| *seq > chosen));
            }
        }
    }
}
