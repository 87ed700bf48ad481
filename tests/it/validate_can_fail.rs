//! The validation suite can fail: with each protection switched off in turn, a scenario that proves
//! it is broken; with all of them standing, the same cases hold.

use stateward::clock::SystemClock;
use stateward::disk::RealDisk;
use stateward::protection::Protection;
use stateward::validate::{Depth, Ground, Options, Report, Scenario, Verdict, run};

/// The scenario that notices, and how many of its cases it takes.
const NOTICED_BY: [(Protection, &str, u64); 9] = [
    (Protection::Sync, "power-loss-at-every-write", 60),
    (Protection::DirectorySync, "power-loss-while-segments-roll", 80),
    (Protection::Checksum, "rot-in-the-log-without-views", 40),
    (Protection::Mark, "rot-in-the-log-without-views", 80),
    (Protection::LateAcknowledgement, "power-loss-at-every-write", 60),
    (Protection::DurableRecovery, "power-loss-at-every-write", 100),
    (Protection::RetentionGuard, "retention-under-pressure", 4),
    (Protection::StagedRestore, "crash-during-workspace-restore", 4000),
    (Protection::FallbackIdentity, "two-homes-one-fallback", 6),
];

fn outcome(name: &str, cases: u64, without: Option<Protection>) -> Report {
    let home = tempfile::tempdir().unwrap();
    let ground = Ground {
        dir: home.path().to_owned(),
        program: env!("CARGO_BIN_EXE_stateward").into(),
        disk: RealDisk::shared(),
        clock: SystemClock::shared(),
    };
    let all = Scenario::shipped().unwrap();
    let scenarios: Vec<Scenario> = all.into_iter().filter(|one| one.name == name).collect();
    assert_eq!(scenarios.len(), 1, "there is no scenario {name}");
    let depth = Depth::Exactly(cases);
    let options = Options { depth, without, ..Options::new(scenarios) };
    run(&options, &ground, &|_, _| {})
}

fn is_noticed(which: Protection) {
    let (_, name, cases) = NOTICED_BY.into_iter().find(|(known, ..)| *known == which).unwrap();
    let broken = outcome(name, cases, Some(which));
    let told = &broken.scenarios[0];
    assert_eq!(told.verdict, Verdict::Broken, "{name} holds without {which:?}: {:?}", told.tried);
    assert!(!broken.holds && !told.failed.is_empty());
    let failed = &told.failed[0];
    assert!(failed.command.contains(&format!("validate {name} --seed 1 --case ")), "{failed:?}");
    println!("{which:?}: {} ({} of {cases} cases)", failed.why, told.tried.cases);
}

#[test]
fn every_protection_is_on_the_list() {
    let listed: Vec<Protection> = NOTICED_BY.into_iter().map(|(which, ..)| which).collect();
    assert_eq!(listed, Protection::ALL);
}

#[test]
fn with_every_protection_standing_the_same_cases_hold() {
    for (which, name, cases) in NOTICED_BY {
        let report = outcome(name, cases, None);
        assert!(report.holds, "{which:?}: {:#?}", report.scenarios[0].failed);
        assert_eq!(report.tried.lost, 0);
    }
}

#[test]
fn without_syncs() {
    is_noticed(Protection::Sync);
}

#[test]
fn without_syncs_of_directories() {
    is_noticed(Protection::DirectorySync);
}

#[test]
fn without_checksums() {
    is_noticed(Protection::Checksum);
}

#[test]
fn without_marks() {
    is_noticed(Protection::Mark);
}

#[test]
fn with_acknowledgements_before_the_sync() {
    is_noticed(Protection::LateAcknowledgement);
}

#[test]
fn with_a_recovery_that_believes_without_making_durable() {
    is_noticed(Protection::DurableRecovery);
}

#[test]
fn with_a_retention_that_guards_nothing() {
    is_noticed(Protection::RetentionGuard);
}

#[test]
fn with_files_restored_in_place() {
    is_noticed(Protection::StagedRestore);
}

#[test]
fn with_fallbacks_that_belong_to_nobody() {
    is_noticed(Protection::FallbackIdentity);
}
