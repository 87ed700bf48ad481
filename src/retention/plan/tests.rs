//! Properties of the plan: what it never forgets, how much it keeps, what is left of a long run.

use proptest::prelude::*;

use super::*;
use crate::retention::KindPolicy;

const MINUTE: u64 = 60_000;
const DAY: u64 = 24 * 60 * MINUTE;
static NO_LABELS: BTreeMap<String, String> = BTreeMap::new();

/// A sound routine checkpoint with content of its own.
fn routine(seq: u64, made_at_ms: u64) -> Facts<'static> {
    Facts {
        seq: Seq(seq),
        kind: Kind::Routine,
        made_at_ms,
        digest: Digest::of(&seq.to_le_bytes()),
        observation: None,
        tainted: false,
        sound: true,
        labels: &NO_LABELS,
        operation: None,
        stored_bytes: 10,
    }
}

fn of_kind(kind: Kind, seq: u64, made_at_ms: u64) -> Facts<'static> {
    Facts { kind, ..routine(seq, made_at_ms) }
}

fn opening(seq: u64, state: OperationState) -> Facts<'static> {
    let operation = Some(Operation { name: "deploy", state });
    Facts { operation, ..of_kind(Kind::PreOperation, seq, 0) }
}

fn at(now_ms: u64) -> StoreTime {
    StoreTime { now_ms, first_ms: 0 }
}

fn plain(keep_last: u64) -> Policy {
    let rules = KindPolicy { keep_last, ..KindPolicy::default() };
    Policy { routine: rules, ..Policy::default() }
}

fn kept(plan: &Plan) -> Vec<u64> {
    plan.kept.iter().map(|kept| kept.seq.0).collect()
}

fn words(plan: &Plan, seq: u64) -> Vec<String> {
    let kept = plan.kept.iter().filter(|kept| kept.seq.0 == seq).flat_map(|kept| &kept.reasons);
    let forgotten = plan.forgotten.iter().filter(|gone| gone.seq.0 == seq).map(|gone| &gone.reason);
    kept.map(ToString::to_string).chain(forgotten.map(ToString::to_string)).collect()
}

#[test]
fn the_last_few_stay_and_the_rest_goes_with_a_reason() {
    let facts: Vec<_> = (1..=5).map(|seq| routine(seq, 0)).collect();
    let plan = plan(&facts, &plain(3), &Protect::default(), at(0));
    assert_eq!(kept(&plan), [3, 4, 5]);
    assert_eq!(words(&plan, 5), ["last 3 of routine"]);
    assert_eq!(words(&plan, 1), ["beyond the last 3 of routine"]);
    assert_eq!((plan.forgotten_bytes(), plan.protected_bytes()), (20, 0));
}

#[test]
fn equal_content_counts_once() {
    let same = |seq, content: u64| Facts { digest: routine(content, 0).digest, ..routine(seq, 0) };
    let contents = [1, 2, 3, 4, 4, 4, 4, 4];
    let facts: Vec<_> = (1..).zip(contents).map(|(seq, content)| same(seq, content)).collect();
    let plan = plan(&facts, &plain(3), &Protect::default(), at(0));
    assert_eq!(kept(&plan), [2, 3, 6, 7, 8]);
    assert_eq!(words(&plan, 4), ["same content as 8"]);
}

#[test]
fn what_cannot_be_used_pushes_nothing_usable_out() {
    let mut facts: Vec<_> = (1..=9).map(|seq| routine(seq, 0)).collect();
    for facts in &mut facts[5..] {
        facts.tainted = facts.seq.0 < 8;
        facts.sound = facts.tainted;
    }
    let plan = plan(&facts, &plain(2), &Protect::default(), at(0));
    assert_eq!(kept(&plan), [4, 5, 8, 9]);
    assert_eq!(words(&plan, 9), ["evidence: last 2 tainted or damaged of routine"]);
}

#[test]
fn age_keeps_recovery_ones() {
    let facts = [of_kind(Kind::Recovery, 1, 0), of_kind(Kind::Recovery, 2, 1)];
    let plan = plan(&facts, &Policy::default(), &Protect::default(), at(7 * DAY + 1));
    assert_eq!(words(&plan, 1), ["older than 7d"]);
    assert_eq!(words(&plan, 2), ["younger than 7d"]);
}

#[test]
fn an_operation_keeps_its_checkpoint_until_it_is_completed() {
    let check = |state, now_ms, expected: &str| {
        let facts = [opening(1, state)];
        let plan = plan(&facts, &Policy::default(), &Protect::default(), at(now_ms));
        assert_eq!(words(&plan, 1), [expected], "{state:?} at {now_ms}");
    };
    let open = OperationState::Open { since_ms: 0 };
    check(open, 7 * DAY, "operation \"deploy\" is open");
    check(open, 7 * DAY + 1, "operation \"deploy\" failed within 7d");
    check(open, 14 * DAY, "operation \"deploy\" failed within 7d");
    check(open, 14 * DAY + 1, "operation \"deploy\" failed more than 7d ago");
    check(OperationState::Completed { at_ms: 5 }, 6, "operation \"deploy\" is completed");
    check(OperationState::Failed { at_ms: DAY }, 8 * DAY, "operation \"deploy\" failed within 7d");
    check(
        OperationState::Failed { at_ms: DAY },
        8 * DAY + 1,
        "operation \"deploy\" failed more than 7d ago",
    );
}

#[test]
fn without_keep_until_closed_only_an_open_operation_keeps_its_checkpoint() {
    let mut policy = Policy::default();
    policy.pre_operation.keep_until_closed = false;
    let facts = [
        opening(1, OperationState::Open { since_ms: 0 }),
        opening(2, OperationState::Failed { at_ms: 0 }),
    ];
    let plan = plan(&facts, &policy, &Protect::default(), at(1));
    assert_eq!(words(&plan, 1), ["operation \"deploy\" is open"]);
    assert_eq!(words(&plan, 2), ["nothing keeps this pre_operation one"]);
}

#[test]
fn a_forget_by_hand_leaves_an_open_operation_alone() {
    let facts = [
        opening(1, OperationState::Open { since_ms: 0 }),
        opening(2, OperationState::Failed { at_ms: 0 }),
        routine(3, 0),
        routine(4, 0),
    ];
    let mut policy = Policy::default().narrowed(Some(0), None);
    policy.routine.anchors.clear();
    let protect = Protect { latest: Some(Seq(4)), ..Protect::default() };
    assert_eq!(kept(&plan(&facts, &policy, &protect, at(1))), [1, 4]);
}

#[test]
fn labels_pin_by_key_or_by_value() {
    let labels = BTreeMap::from([("keep".to_owned(), "1".to_owned())]);
    let facts = [Facts { labels: &labels, ..routine(1, 0) }, routine(2, 0)];
    for (pin, pinned) in [("keep", true), ("keep=1", true), ("keep=2", false), ("kee", false)] {
        let policy = Policy { pin_labels: vec![pin.into()], ..plain(1) };
        let plan = plan(&facts, &policy, &Protect::default(), at(0));
        assert_eq!(kept(&plan).contains(&1), pinned, "{pin}");
        assert!(!pinned || words(&plan, 1) == ["pinned by label keep=1"]);
    }
}

#[test]
fn before_a_suspected_onset_the_newest_usable_one_stays() {
    let mut facts: Vec<_> = (1..=9).map(|seq| routine(seq, 0)).collect();
    facts[3].sound = false;
    facts[4].kind = Kind::Recovery;
    for facts in &mut facts {
        facts.observation = Some(10 * facts.seq.0);
    }
    let protect = Protect { earliest_onset: Some(60), ..Protect::default() };
    let plan = plan(&facts, &plain(1), &protect, at(30 * DAY));
    assert_eq!(words(&plan, 3)[0], "before the earliest onset that could be named");
    assert!(words(&plan, 5)[0].starts_with("older than"), "a recovery checkpoint is no way back");
}

#[test]
fn where_none_is_before_the_onset_the_oldest_stays_for_when_it_moves_on() {
    let mut facts: Vec<_> = (1..=9).map(|seq| routine(seq, 0)).collect();
    for facts in &mut facts {
        facts.observation = Some(10 * facts.seq.0);
    }
    let protect = Protect { earliest_onset: Some(3), ..Protect::default() };
    assert!(kept(&plan(&facts, &plain(1), &protect, at(0))).contains(&1));
    let protect = Protect { fresh_start: Seq(4), ..protect };
    let plan = plan(&facts, &plain(1), &protect, at(0));
    assert!(kept(&plan).contains(&5) && !kept(&plan).contains(&1), "{plan:?}");
}

/// Checkpoints at every observation with an onset that may be named so far back: the worst that is
/// given up beyond what was lost, for every onset there could be at every moment.
fn worst_step(observations: u64, lag: u64) -> u64 {
    let mut facts: Vec<Facts<'static>> = Vec::new();
    let mut worst = 0;
    for now in 1..=observations {
        facts.push(Facts { observation: Some(now), ..routine(now, now) });
        let onset = now.saturating_sub(lag).max(1);
        let protect = Protect { earliest_onset: Some(onset), ..Protect::default() };
        let kept = plan(&facts, &plain(3), &protect, at(now)).kept;
        facts.retain(|facts| kept.iter().any(|kept| kept.seq == facts.seq));
        for onset in onset.max(2)..=now {
            let older = facts.iter().filter_map(|facts| facts.observation).filter(|at| *at < onset);
            let newest = older.max().expect("something is always before the onset");
            worst = worst.max((onset - 1 - newest).saturating_sub(2 * (now - onset)));
        }
    }
    assert!(facts.len() < 40, "{} are kept", facts.len());
    worst
}

#[test]
fn whatever_the_onset_there_is_a_rung_before_it_and_not_far() {
    for lag in [0, 12, 50, 96, 700] {
        let worst = worst_step(1500, lag);
        assert!(worst <= 2 * 8, "{worst} observations beyond twice what was lost, at {lag}");
    }
}

/// Commits at each of `times` with content from `content`, planning after each as a store does.
fn run(
    times: impl Iterator<Item = u64>,
    policy: &Policy,
    content: fn(u64) -> u64,
) -> Vec<Facts<'static>> {
    let mut facts: Vec<Facts<'static>> = Vec::new();
    for (seq, time) in (1..).zip(times) {
        let digest = routine(content(seq), 0).digest;
        facts.push(Facts { digest, ..routine(seq, time) });
        let protect = Protect { latest: Some(Seq(seq)), ..Protect::default() };
        let kept = plan(&facts, policy, &protect, at(time)).kept;
        facts.retain(|facts| kept.iter().any(|kept| kept.seq == facts.seq));
    }
    facts
}

/// When the newest of each of the last `keep` finished periods was made, all in minutes.
fn rungs_due(now: u64, every: u64, keep: u64) -> impl Iterator<Item = u64> {
    let running = now / every;
    (running.saturating_sub(keep)..running).map(move |period| (period + 1) * every - 1)
}

#[test]
fn ten_days_of_a_commit_a_minute_leave_a_rung_in_each_finished_period() {
    for end in [10 * 24 * 60, 10 * 24 * 60 + 95, 601, 59] {
        let facts = run((0..=end).map(|n| n * MINUTE), &Policy::default(), |seq| seq);
        let left: BTreeSet<u64> = facts.iter().map(|facts| facts.made_at_ms / MINUTE).collect();
        let expected: BTreeSet<u64> = (end - 2..=end)
            .chain(rungs_due(end, 10, 6))
            .chain(rungs_due(end, 60, 24))
            .chain(rungs_due(end, 24 * 60, 7))
            .collect();
        assert_eq!(left, expected, "after {end} minutes");
    }
}

#[test]
fn content_that_stands_still_takes_no_more_room_and_costs_no_rung() {
    let still = |seq: u64| if seq < 600 { seq } else { 0 };
    let facts = run((0..3000).map(|n| n * MINUTE), &Policy::default(), still);
    let standing = facts.iter().filter(|facts| facts.seq.0 >= 600).count();
    let hours = facts.iter().filter(|facts| facts.seq.0 < 600 && facts.seq.0 % 60 == 0).count();
    assert!(standing <= 3 + 3, "{standing} of the same content");
    assert_eq!(hours, 9, "the hours before it stood still");
}

#[test]
fn an_equal_neighbour_across_a_boundary_does_not_cost_a_period_its_rung() {
    let across = |seq: u64| if seq == 61 { 60 } else { seq };
    let facts = run((0..300).map(|n| n * MINUTE), &Policy::default(), across);
    assert!(facts.iter().any(|facts| facts.seq == Seq(60)));
}

#[test]
fn a_drift_found_late_still_has_a_sound_one_before_its_onset() {
    let end = 3000;
    let facts = run((0..end).map(|n| n * MINUTE), &Policy::default(), |seq| seq);
    for late in [1, 5, 50, 59, 60, 600, 1440, 1500] {
        let onset = Seq(end - late);
        let before = facts.iter().filter(|facts| facts.seq < onset).map(|facts| facts.seq).max();
        let back = onset.0 - before.unwrap_or_else(|| panic!("nothing before {late} late")).0;
        let bound = if late < 60 {
            10
        } else if late < 1440 {
            60
        } else {
            1440
        };
        assert!(back <= bound, "{late} samples late goes {back} back");
    }
}

#[test]
fn a_tainted_stretch_leaves_the_rungs_before_it_standing() {
    let mut facts = run((0..200).map(|n| n * MINUTE), &Policy::default(), |seq| seq);
    let before: Vec<_> = facts.iter().map(|facts| facts.seq).filter(|seq| seq.0 <= 150).collect();
    for seq in 201..2000 {
        facts.push(routine(seq, seq * MINUTE));
        for facts in &mut facts {
            facts.tainted = facts.seq.0 > 150;
        }
        let kept = plan(&facts, &Policy::default(), &Protect::default(), at(seq * MINUTE)).kept;
        facts.retain(|facts| kept.iter().any(|kept| kept.seq == facts.seq));
    }
    assert!(before.iter().all(|seq| facts.iter().any(|facts| facts.seq == *seq)));
    assert_eq!(facts.iter().filter(|facts| facts.tainted).count(), 3);
}

fn any_operation() -> impl Strategy<Value = Option<Operation<'static>>> {
    let state = (0..3, 0..20 * DAY).prop_map(|(which, ms)| match which {
        0 => OperationState::Open { since_ms: ms },
        1 => OperationState::Completed { at_ms: ms },
        _ => OperationState::Failed { at_ms: ms },
    });
    prop::option::weighted(0.3, state.prop_map(|state| Operation { name: "op", state }))
}

/// Checkpoints in order of seq, with few contents so that equal ones meet.
fn any_facts() -> impl Strategy<Value = Vec<Facts<'static>>> {
    let one = (
        prop::sample::select(&Kind::ALL[..]),
        0..4 * 60 * MINUTE,
        0..4_u64,
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.9),
        any_operation(),
        prop::option::of(0..40_u64),
    );
    prop::collection::vec(one, 0..60).prop_map(|all| {
        let (mut now, mut observed) = (0, 0);
        let with_seq =
            (1..).zip(all).map(|(seq, (kind, pause, content, tainted, sound, operation, seen))| {
                now += pause;
                let observation = seen.map(|seen| {
                    observed += seen;
                    observed
                });
                let digest = routine(content, 0).digest;
                let base = of_kind(kind, seq, now);
                Facts { digest, observation, tainted, sound, operation, ..base }
            });
        with_seq.collect()
    })
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let anchor = (1..36_u64, 0..5_u64)
        .prop_map(|(hours, keep)| Anchor { every: Span::from_hours(hours), keep });
    let rules = (0..5_u64, 0..48_u64, any::<bool>(), prop::collection::vec(anchor, 0..3)).prop_map(
        |(keep_last, hours, keep_until_closed, anchors)| KindPolicy {
            keep_last,
            keep_within: Span::from_hours(hours),
            keep_until_closed,
            anchors,
        },
    );
    [rules.clone(), rules.clone(), rules].prop_map(|[routine, pre_operation, recovery]| Policy {
        routine,
        pre_operation,
        recovery,
        ..Policy::default()
    })
}

fn any_protect() -> impl Strategy<Value = Protect> {
    let one = || prop::option::of((1..60_u64).prop_map(Seq));
    let some = || prop::collection::btree_set((1..60_u64).prop_map(Seq), 0..3);
    let onset = prop::option::of(0..1000_u64);
    let start = (0..20_u64).prop_map(Seq);
    (one(), one(), onset, start, some(), some()).prop_map(
        |(latest, good, earliest_onset, fresh_start, undo, other)| Protect {
            latest,
            good,
            earliest_onset,
            fresh_start,
            undo,
            other,
        },
    )
}

proptest! {
    #[test]
    fn nothing_protected_is_ever_forgotten(
        facts in any_facts(), policy in any_policy(), protect in any_protect(), now in 0..30 * DAY,
    ) {
        let plan = plan(&facts, &policy, &protect, at(now));
        prop_assert_eq!(plan.kept.len() + plan.forgotten.len(), facts.len());
        prop_assert!(plan.kept.iter().all(|kept| !kept.reasons.is_empty()));
        let gone: BTreeSet<Seq> = plan.forgotten.iter().map(|gone| gone.seq).collect();
        let single = protect.latest.iter().chain(&protect.good);
        for seq in single.chain(&protect.undo).chain(&protect.other) {
            prop_assert!(!gone.contains(seq), "{} is gone", seq);
        }
        if let Some(onset) = protect.earliest_onset {
            let usable = |facts: &&Facts<'_>| {
                facts.observation.is_some_and(|at| at < onset) && facts.seq > protect.fresh_start
                    && facts.sound && !facts.tainted && facts.kind != Kind::Recovery
            };
            let newest = facts.iter().filter(usable).map(|facts| facts.seq).max();
            prop_assert!(newest.is_none_or(|seq| !gone.contains(&seq)));
        }
        for facts in facts.iter().filter(|facts| gone.contains(&facts.seq)) {
            let open = facts.operation.is_some_and(|operation| matches!(
                operation.state, OperationState::Open { since_ms } if now <= since_ms + 7 * DAY));
            prop_assert!(!open, "{} opened what is still open", facts.seq);
        }
    }

    #[test]
    fn planning_again_forgets_nothing_more(
        facts in any_facts(), policy in any_policy(), protect in any_protect(), now in 0..30 * DAY,
    ) {
        let first = plan(&facts, &policy, &protect, at(now));
        let left: Vec<_> =
            facts.iter().filter(|facts| kept(&first).contains(&facts.seq.0)).copied().collect();
        let second = plan(&left, &policy, &protect, at(now));
        prop_assert_eq!(second.kept, first.kept);
        prop_assert_eq!(second.forgotten, vec![]);
    }

    #[test]
    fn the_order_of_the_facts_does_not_matter(
        (forward, shuffled) in
            any_facts().prop_flat_map(|facts| (Just(facts.clone()), Just(facts).prop_shuffle())),
        policy in any_policy(),
        protect in any_protect(),
    ) {
        prop_assert_eq!(
            plan(&forward, &policy, &protect, at(DAY)),
            plan(&shuffled, &policy, &protect, at(DAY))
        );
    }

    #[test]
    fn a_plain_count_keeps_exactly_so_many(count in 0..60_u64, keep in 0..10_u64) {
        let facts: Vec<_> = (1..=count).map(|seq| routine(seq, seq)).collect();
        let plan = plan(&facts, &plain(keep), &Protect::default(), at(count));
        let first = count.saturating_sub(keep) + 1;
        prop_assert_eq!(kept(&plan), (first..=count).collect::<Vec<_>>());
    }

    #[test]
    fn time_alone_takes_only_what_is_kept_by_age(
        facts in any_facts(), mut policy in any_policy(), now in 0..30 * DAY, jump in 0..3650 * DAY,
    ) {
        for rules in [&mut policy.routine, &mut policy.pre_operation, &mut policy.recovery] {
            rules.keep_within = Span::ZERO;
        }
        policy.abandoned_after = Span::from_days(100_000);
        let before = plan(&facts, &policy, &Protect::default(), at(now));
        prop_assert_eq!(before, plan(&facts, &policy, &Protect::default(), at(now + jump)));
    }

    #[test]
    fn a_clock_that_goes_back_forgets_nothing_more(
        facts in any_facts(), policy in any_policy(), now in 0..30 * DAY, back in 0..30 * DAY,
    ) {
        let before = plan(&facts, &policy, &Protect::default(), at(now));
        let after = plan(&facts, &policy, &Protect::default(), at(now.saturating_sub(back)));
        prop_assert!(kept(&before).iter().all(|seq| kept(&after).contains(seq)));
    }
}
