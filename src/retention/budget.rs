//! Making the plans of all agents fit a disk budget.
//!
//! What is kept only by count or by age is spare. Spare ones go in rounds: in each round every agent
//! gives its oldest, those of a round by age, until the rest fits; so no agent is stripped while
//! another keeps everything. Protected ones are never cut; where they alone are too much, the store
//! is over its budget and nothing is refused.

use std::cmp::Reverse;

use super::plan::Plan;
use crate::state::Seq;

/// A checkpoint that the budget cannot hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Index of its plan among those given.
    pub plan: usize,
    /// Which one.
    pub seq: Seq,
    /// Bytes it added to the store.
    pub stored_bytes: u64,
}

/// How plans fit a budget.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fit {
    /// What goes beyond the plans, in the order in which it was chosen.
    pub cuts: Vec<Cut>,
    /// Too much is left even so.
    pub over_budget: bool,
}

/// Chooses what must go beyond the plans so that `allowed_bytes` suffice.
///
/// `used_bytes` is what the live records of the store take before the plans are applied. What a
/// checkpoint would free is taken to be what it added; content that a newer one shares stays, so
/// the next plan may have to cut again.
#[must_use]
pub fn fit(plans: &[&Plan], used_bytes: u64, allowed_bytes: u64) -> Fit {
    let forgotten = plans.iter().map(|plan| plan.forgotten_bytes()).sum();
    let mut left = used_bytes.saturating_sub(forgotten);
    let mut fit = Fit::default();
    if left > allowed_bytes {
        for cut in spare_in_rounds(plans) {
            if left <= allowed_bytes {
                break;
            }
            left = left.saturating_sub(cut.stored_bytes);
            fit.cuts.push(cut);
        }
    }
    fit.over_budget = left > allowed_bytes;
    fit
}

fn spare_in_rounds(plans: &[&Plan]) -> Vec<Cut> {
    let mut spare = Vec::new();
    for (index, plan) in plans.iter().enumerate() {
        let of_plan = plan.kept.iter().filter(|kept| !kept.protected());
        spare.extend(of_plan.enumerate().map(|(round, kept)| {
            let cut = Cut { plan: index, seq: kept.seq, stored_bytes: kept.stored_bytes };
            (round, kept.made_at_ms, Reverse(kept.stored_bytes), cut)
        }));
    }
    spare.sort_by_key(|(round, made_at_ms, size, _)| (*round, *made_at_ms, *size));
    spare.into_iter().map(|(.., cut)| cut).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::plan::{Cause, Forgotten, Kept, Reason};
    use super::*;
    use crate::state::{Kind, Span};

    fn kept(seq: u64, made_at_ms: u64, stored_bytes: u64, protected: bool) -> Kept {
        let spare = Reason::Within(Span::from_days(7));
        let reasons = if protected { vec![spare, Reason::Good] } else { vec![spare] };
        Kept { seq: Seq(seq), made_at_ms, stored_bytes, reasons }
    }

    fn plan_of(kept: Vec<Kept>) -> Plan {
        Plan { kept, forgotten: Vec::new() }
    }

    #[test]
    fn what_fits_is_left_alone() {
        let plan = plan_of(vec![kept(1, 0, 100, false)]);
        assert_eq!(fit(&[&plan], 100, 100), Fit::default());
    }

    #[test]
    fn each_agent_gives_its_oldest_before_any_gives_a_second() {
        let busy = plan_of((1..=4).map(|n| kept(n, n, 10, false)).collect());
        let calm = plan_of(vec![kept(1, 50, 10, false), kept(2, 60, 10, false)]);
        let fitted = fit(&[&busy, &calm], 60, 35);
        let order: Vec<_> = fitted.cuts.iter().map(|cut| (cut.plan, cut.seq.0)).collect();
        assert_eq!(order, [(0, 1), (1, 1), (0, 2)]);
        assert!(!fitted.over_budget);
    }

    #[test]
    fn what_the_plans_forget_is_reckoned_first() {
        let mut plan = plan_of(vec![kept(2, 0, 10, false)]);
        plan.forgotten.push(Forgotten {
            seq: Seq(1),
            stored_bytes: 50,
            reason: Cause::Outlived { kind: Kind::Routine, keep_last: 1, keep_within: Span::ZERO },
        });
        assert_eq!(fit(&[&plan], 60, 10), Fit::default());
    }

    #[test]
    fn protected_ones_alone_go_over_the_budget() {
        let plan = plan_of(vec![kept(1, 0, 100, true), kept(2, 0, 5, false)]);
        let fitted = fit(&[&plan], 105, 50);
        assert_eq!(fitted.cuts.iter().map(|cut| cut.seq.0).collect::<Vec<_>>(), [2]);
        assert!(fitted.over_budget);
    }

    proptest! {
        #[test]
        fn cuts_are_spare_needed_and_enough(
            agents in prop::collection::vec(
                prop::collection::vec((0..1000_u64, 0..500_u64, any::<bool>()), 0..8), 0..5),
            allowed in 0..6000_u64,
        ) {
            let plan = |agent: &Vec<_>| {
                let one = |(seq, &(at, bytes, keep))| kept(seq, at, bytes, keep);
                plan_of((1..).zip(agent).map(one).collect())
            };
            let plans: Vec<_> = agents.iter().map(plan).collect();
            let used: u64 = agents.iter().flatten().map(|(_, bytes, _)| bytes).sum();
            let protected: u64 = plans.iter().map(Plan::protected_bytes).sum();
            let fitted = fit(&plans.iter().collect::<Vec<_>>(), used, allowed);
            let freed: u64 = fitted.cuts.iter().map(|cut| cut.stored_bytes).sum();
            for cut in &fitted.cuts {
                let of = plans[cut.plan].kept.iter().find(|kept| kept.seq == cut.seq).unwrap();
                prop_assert!(!of.protected());
            }
            prop_assert_eq!(fitted.over_budget, protected > allowed);
            prop_assert!(fitted.over_budget || used - freed <= allowed);
            if let Some(last) = fitted.cuts.last() {
                prop_assert!(used - (freed - last.stored_bytes) > allowed, "one cut too many");
            }
        }
    }
}
