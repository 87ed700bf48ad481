//! The agents in `examples/`: each dies half-way and goes on, and each step is done once.

use std::process::Command;

use crate::cli_home::{Answer, Home};

fn example(program: &[&str], file: &str) -> Option<Answer> {
    if Command::new(program.first().unwrap_or(&"sh")).arg("--version").output().is_err() {
        eprintln!("{program:?} is not installed");
        return None;
    }
    let home = Home::new();
    let path = format!("{}/examples/{file}", env!("CARGO_MANIFEST_DIR"));
    let command = [&["run", "--state", "memory.json", "--"], program, &[&path, "memory.json"]];
    let mut command = home.raw(&command.concat());
    // Long enough for what was written to be kept before the file is torn.
    for (name, value) in [("PAUSE", "0.05"), ("THINKS", "4")] {
        command.env(name, value);
    }
    for (name, value) in [("RESTART_DELAY_INITIAL", "10ms"), ("STATE_SETTLE", "10ms")] {
        command.env(format!("STATEWARD_RUN__{name}"), value);
    }
    Some(Answer::of(&mut assert_cmd::Command::from_std(command)))
}

fn check(program: &[&str], file: &str) {
    let Some(ran) = example(program, file) else { return };
    assert_eq!(ran.code, 0, "{ran}");
    let lines: Vec<&str> = ran.text().lines().map(str::trim).collect();
    let steps: Vec<&&str> = lines.iter().filter(|line| line.starts_with("step ")).collect();
    assert_eq!(steps, [&"step 1", &"step 2", &"step 3", &"step 4", &"step 5", &"step 6"], "{ran}");
    assert!(lines.contains(&"attempt 1: goes on after step 0"), "{ran}");
    assert!(lines.contains(&"attempt 2: goes on after step 3"), "{ran}");
    assert_eq!(lines.last(), Some(&"did 1,2,3,4,5,6"), "{ran}");
}

#[test]
fn a_shell_agent_is_killed_and_goes_on() {
    check(&[], "agent.sh");
}

#[test]
fn a_python_agent_tears_its_memory_and_goes_on() {
    check(&["python3"], "agent.py");
}

#[test]
fn a_node_agent_throws_and_goes_on() {
    check(&["node"], "agent.mjs");
}
