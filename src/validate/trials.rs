//! From a scenario to its cases: which workload goes with which fault.

use std::time::Duration;

use super::processes::{self, Load, Loss};
use super::rot::Harm;
use super::scenario::{Fault, Scenario, Workload};
use super::trial::{Broken, Trial};
use super::{
    Ground, away, crash, drifting, failing, meddling, old_store, pressure, rot, sidecar, tree,
};

/// A scenario that can be run here, or why it cannot.
pub(super) enum Prepared<'a> {
    Ready(Trial<'a>),
    Skipped(String),
}

/// Gets a scenario ready.
pub(super) fn prepare<'a>(
    scenario: &'a Scenario,
    ground: &'a Ground,
) -> Result<Prepared<'a>, Broken> {
    let simulated = match (&scenario.workload, &scenario.fault) {
        (Workload::Life { steps }, fault) => of_life(scenario, steps, fault)?,
        (Workload::Workspace, Fault::Crash { then, recovery_too, syncs_take_s: 0 }) => {
            tree::crash(scenario, then, *recovery_too)?
        }
        (Workload::Workspace, Fault::Failing { with, .. }) => tree::failing(scenario, with)?,
        (Workload::Pair { files }, Fault::Meddling { during }) => {
            meddling::trial(scenario, files, *during)?
        }
        (Workload::StoreOfEverything, Fault::Flip { files }) => {
            rot::trial(scenario, Harm::Flip(*files))?
        }
        (Workload::StoreOfEverything, Fault::Strike { by }) => {
            rot::trial(scenario, Harm::Strike(by))?
        }
        (Workload::Away { before, while_away }, Fault::PrimaryFails { by, when }) => {
            let (before, while_away, when) = (*before, *while_away, *when);
            away::trial(scenario, away::Plan { before, while_away, by, when })
        }
        (Workload::Away { before, while_away }, Fault::CrashComingHome) => {
            away::homecoming(*before, *while_away)?
        }
        (Workload::SharedFallback, Fault::PrimaryFails { by, .. }) => {
            away::shared_fallback(scenario, by)
        }
        (Workload::Pressure { acts }, Fault::None) => pressure::trial(scenario, *acts, 0),
        (Workload::Pressure { acts }, Fault::ClockJumps { days_max }) => {
            pressure::trial(scenario, *acts, *days_max)
        }
        (Workload::Filling { disk_bytes }, Fault::None) => pressure::filling(scenario, *disk_bytes),
        (Workload::Wandering, Fault::LateDrift { checkpoints_max }) => {
            drifting::trial(scenario, drifting::Plan::Late(*checkpoints_max))
        }
        (Workload::Wandering, Fault::Flapping) => {
            drifting::trial(scenario, drifting::Plan::Flapping)
        }
        (Workload::OldStore, Fault::None) => old_store::trial(),
        _ => return of_processes(scenario, ground),
    };
    Ok(Prepared::Ready(simulated))
}

fn of_life<'a>(
    scenario: &'a Scenario,
    steps: &'a [super::steps::Step],
    fault: &'a Fault,
) -> Result<Trial<'a>, Broken> {
    match fault {
        Fault::Crash { then, recovery_too, syncs_take_s } => {
            let syncs_take = Duration::from_secs(*syncs_take_s);
            let plan = crash::Plan { fates: then, recovery_too: *recovery_too, syncs_take };
            crash::trial(scenario, steps, plan)
        }
        Fault::Failing { with, lasting, of } => {
            failing::trial(scenario, steps, failing::Plan { with, lasting: *lasting, of })
        }
        _ => Err(unfit()),
    }
}

fn unfit() -> Broken {
    Broken::new("this workload does not go with this fault")
}

fn of_processes<'a>(scenario: &'a Scenario, ground: &'a Ground) -> Result<Prepared<'a>, Broken> {
    if let Workload::Making = scenario.workload {
        return Ok(Prepared::Ready(processes::making(ground)));
    }
    match (&scenario.workload, &scenario.fault) {
        (Workload::Sidecar, Fault::Kill) => return Ok(Prepared::Ready(sidecar::killed(ground))),
        (Workload::Sidecar, Fault::HangUp) => {
            return Ok(Prepared::Ready(sidecar::hung_up(ground)));
        }
        _ => {}
    }
    let Workload::Writers { threads, keep_last } = scenario.workload else {
        return Err(unfit());
    };
    let load = Load { threads, keep_last };
    let trial = match scenario.fault {
        Fault::Kill => processes::killed(ground, load),
        Fault::SecondWriter => processes::second_writer(ground, load),
        Fault::Reader => processes::reader(ground, load),
        Fault::DirectoryGone => processes::ground_lost(ground, scenario, load, Loss::Directory),
        Fault::PermissionLost if processes::is_kept_out(ground)? => {
            processes::ground_lost(ground, scenario, load, Loss::Permission)
        }
        Fault::PermissionLost => {
            let why = "this user is kept out by no permission; the same is simulated";
            return Ok(Prepared::Skipped(why.to_owned()));
        }
        Fault::FullFileSystem => match processes::can_mount(ground) {
            Ok(()) => processes::full(ground, load),
            Err(why) => {
                let why = format!("no small file system can be mounted ({why}); simulated instead");
                return Ok(Prepared::Skipped(why));
            }
        },
        _ => return Err(unfit()),
    };
    Ok(Prepared::Ready(trial))
}
