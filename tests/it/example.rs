//! The example a newcomer runs first: an agent that is killed half-way and loses nothing.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The example beside the binary under test; built now where only the tests were built anew.
fn example() -> PathBuf {
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_stateward"));
    let path = binary.with_file_name("examples").join("agent_loop");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/agent_loop.rs");
    let age = |path: &Path| path.metadata().and_then(|found| found.modified()).ok();
    if age(&path) < age(Path::new(source)) {
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--example", "agent_loop", "--manifest-path"])
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
            .arg("--target-dir")
            .arg(binary.parent().unwrap().parent().unwrap())
            .status();
        assert!(built.unwrap().success());
    }
    path
}

/// What the example prints.
pub fn told() -> String {
    let home = tempfile::tempdir().unwrap();
    let ran = Command::new(example()).arg(home.path().join("store")).output().unwrap();
    let told = String::from_utf8(ran.stdout).unwrap();
    assert!(ran.status.success(), "{told}{}", String::from_utf8_lossy(&ran.stderr));
    told
}

#[test]
fn the_agent_is_killed_half_way_and_goes_on_from_where_it_was() {
    let told = told();
    for word in [
        "went back to #2: 4 notes again",
        "kept #6 recovery",
        "refreshed after a long uptime",
        "Killed in the middle of \"publish\"",
        "Lost: nothing",
        "found \"publish\" open",
        "The end: 12 notes on 12 chapters, published: true",
    ] {
        assert!(told.contains(word), "`{word}` is not in:\n{told}");
    }
    let lives: Vec<&str> = told.split("Second life").collect();
    assert!(lives[0].contains("chapter 9 ") && !lives[0].contains("chapter 10"), "{told}");
    assert!(lives[1].contains("chapter 10") && !lives[1].contains("chapter 9 "), "{told}");
}
