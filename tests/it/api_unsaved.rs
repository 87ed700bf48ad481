//! What no store could take is kept in memory, reported, and stored as soon as one can.

use rustix::io::Errno;
use stateward::disk::{Fault, Op};

use crate::cli_home::Home;
use crate::run_home::until;
use crate::ward::{CHECKPOINTS, Ward};

#[test]
fn a_full_disk_costs_an_agent_nothing_that_it_handed_over() {
    let home = Home::new();
    let ward = Ward::open(&home);
    assert_eq!(ward.place.post(CHECKPOINTS, r#"{"state":{"n":1}}"#).status, 201);
    ward.disk.inject(Fault::new(Errno::NOSPC).on(Op::Write));
    for n in [2, 3] {
        let answer = ward.place.post(CHECKPOINTS, &format!(r#"{{"state":{{"n":{n}}}}}"#));
        let detail = answer.problem(507, "unstored");
        assert!(detail.contains("kept in memory"), "{detail}");
    }
    let unsaved = ward.app.unsaved();
    assert_eq!(unsaved.len(), 1, "{unsaved:?}");
    assert_eq!((unsaved[0].agent_id.as_str(), unsaved[0].bytes), ("a", 7));
    assert_eq!(ward.state(), r#"{"n":1}"#, "what is not durable is not shown as if it were");
    ward.disk.heal();
    until("it is stored", || ward.app.unsaved().is_empty());
    assert_eq!(ward.state(), r#"{"n":3}"#);
}

#[test]
fn what_an_agent_saves_meanwhile_takes_its_place() {
    let home = Home::new();
    let ward = Ward::open(&home);
    ward.disk.inject(Fault::new(Errno::NOSPC).on(Op::Write));
    ward.place.post(CHECKPOINTS, r#"{"state":{"n":1}}"#).problem(507, "unstored");
    ward.disk.heal();
    assert_eq!(ward.place.post(CHECKPOINTS, r#"{"state":{"n":2}}"#).status, 201);
    until("nothing is left", || ward.app.unsaved().is_empty());
    assert_eq!(ward.state(), r#"{"n":2}"#, "the older one does not come back");
}

#[test]
fn what_a_recovery_checkpoint_found_does_not_make_it_outdated() {
    let home = Home::new();
    let ward = Ward::open(&home);
    for body in [r#"{"state":{"n":1}}"#, r#"{"kind":"recovery","state":{"n":0}}"#] {
        assert_eq!(ward.place.post(CHECKPOINTS, body).status, 201);
    }
    ward.disk.inject(Fault::new(Errno::NOSPC).on(Op::Write));
    ward.place.post(CHECKPOINTS, r#"{"state":{"n":2}}"#).problem(507, "unstored");
    ward.disk.heal();
    until("it is stored", || ward.app.unsaved().is_empty());
    assert_eq!(ward.state(), r#"{"n":2}"#);
}
