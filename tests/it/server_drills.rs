//! Drills of the sidecar: what does not come back is noticed before somebody needs it.

use std::path::Path;

use serde_json::json;

use crate::cli_home::Home;
use crate::run_home::until;
use crate::server_home::Sidecar;

fn serve(home: &Home, every: &str) -> Sidecar {
    let mut command = home.raw(&["serve", "--json"]);
    command.env("STATEWARD_SERVER__DRILL_EVERY", every);
    Sidecar::start(&mut command)
}

fn keep(sidecar: &Sidecar, agent: &str, state: &serde_json::Value) {
    let path = format!("/v1/agents/{agent}/checkpoints");
    let reply = sidecar.post(&path, &json!({ "state": state }).to_string());
    assert_eq!(reply.status, 201, "{reply}");
}

/// The figure of this name and these labels.
fn figure(sidecar: &Sidecar, name: &str) -> Option<f64> {
    let reply = sidecar.get("/metrics");
    let line = reply.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map(|value| value.parse().unwrap())
}

fn drills(sidecar: &Sidecar) -> f64 {
    figure(sidecar, "stateward_drills_total").unwrap()
}

/// Waits for a whole drill that began after now.
fn await_a_drill(sidecar: &Sidecar) {
    let before = drills(sidecar);
    until("a drill was made", || drills(sidecar) >= before + 2.0);
}

/// Breaks every copy of this text in the log.
fn damage(log: &Path, text: &[u8]) {
    let mut broken = 0;
    for entry in std::fs::read_dir(log).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        while let Some(at) = bytes.windows(text.len()).position(|it| it == text) {
            bytes[at] ^= 1;
            broken += 1;
        }
        std::fs::write(&path, bytes).unwrap();
    }
    assert!(broken > 0, "the state is not in the log");
}

#[test]
fn the_newest_checkpoints_are_brought_back_again_and_again() {
    let home = Home::new();
    // What a sidecar leaves that was killed while it drilled.
    home.checkpoint(r#"{"n":0}"#);
    home.write(".stateward/drill/left/behind", "x");
    let sidecar = serve(&home, "50ms");
    keep(&sidecar, "a", &json!({ "n": 1 }));
    await_a_drill(&sidecar);
    assert_eq!(figure(&sidecar, "stateward_drill_failures"), Some(0.0));
    assert_eq!(figure(&sidecar, "stateward_drills_failed_total"), Some(0.0));
    for name in ["stateward_drill_recovery_point_seconds", "stateward_drill_recovery_time_seconds"]
    {
        let seconds = figure(&sidecar, &format!("{name}{{agent=\"a\"}}"));
        assert!(seconds.is_some_and(|it| (0.0..3600.0).contains(&it)), "{name}: {seconds:?}");
    }
    let last = figure(&sidecar, "stateward_drill_last_timestamp_seconds").unwrap();
    assert!(last > 1.0e9, "{last} is no time of ours");
    assert_eq!(sidecar.get("/readyz").status, 200);
    assert_eq!(home.json(&["list", "--agent", "a"]).as_array().unwrap().len(), 1);
    let (exit, err) = sidecar.stop();
    assert!(exit.success(), "{err}");
    until("what was brought back is taken away", || !home.store().join("drill").exists());
}

#[test]
fn a_newest_checkpoint_that_is_damaged_makes_a_drill_fail_loudly() {
    let home = Home::new();
    let sidecar = serve(&home, "50ms");
    keep(&sidecar, "a", &json!({ "text": "the first" }));
    keep(&sidecar, "a", &json!({ "text": "the second" }));
    keep(&sidecar, "b", &json!({ "text": "another one" }));
    await_a_drill(&sidecar);
    assert_eq!(sidecar.get("/readyz").status, 200);
    damage(&home.store().join("log"), b"the second");
    until("a drill fails", || figure(&sidecar, "stateward_drill_failures") == Some(1.0));
    let ready = sidecar.get("/readyz");
    assert_eq!(ready.status, 503, "{ready}");
    let told = ready.json()["reasons"].to_string();
    assert!(told.contains("the drill failed") && told.contains("of agent a"), "{told}");
    assert!(!told.contains("agent b"), "{told}");
    assert!(figure(&sidecar, "stateward_drills_failed_total").unwrap() >= 1.0);
    // A newer sound one is a newest one that comes back.
    keep(&sidecar, "a", &json!({ "text": "the third" }));
    until("a drill succeeds again", || figure(&sidecar, "stateward_drill_failures") == Some(0.0));
    assert!(!sidecar.get("/readyz").text().contains("the drill failed"));
    let (_, err) = sidecar.stop();
    assert!(err.contains("the drill failed"), "{err}");
}

#[test]
fn without_a_schedule_nothing_is_drilled() {
    let home = Home::new();
    let sidecar = serve(&home, "0s");
    keep(&sidecar, "a", &json!({ "n": 1 }));
    assert!(drills(&sidecar) < 0.5);
    assert_eq!(figure(&sidecar, "stateward_drill_recovery_point_seconds{agent=\"a\"}"), None);
    let (exit, err) = sidecar.stop();
    assert!(exit.success() && !err.contains("drilled"), "{err}");
}
