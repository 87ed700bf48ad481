//! Ground that does not carry: what `doctor` and `validate` say, in plain words, on a disk in memory,
//! a full one, a read-only one, and as a user who may not write there.
//!
//! Disks of the wrong kind are mounted in a namespace of the test's own; where the system allows none,
//! the test says that it was skipped.

use std::path::Path;
use std::process::{Command, Output};

use crate::cli_home::Home;

/// Runs a script that may mount things; `None`, and a word about it, where that is not allowed.
fn in_a_namespace(home: &Home, script: &str) -> Option<String> {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c"]);
    let probe = command.arg("mkdir -p m && mount -t tmpfs -o size=64k none m");
    if !ran(within(probe, home)).is_some_and(|output| output.status.success()) {
        println!("skipped: this system allows no namespace with mounts of its own");
        return None;
    }
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script]);
    ran(within(&mut command, home)).map(text)
}

fn within<'a>(command: &'a mut Command, home: &Home) -> &'a mut Command {
    command.current_dir(home.path("")).env("HOME", home.path("")).env("S", program())
}

fn program() -> &'static str {
    env!("CARGO_BIN_EXE_stateward")
}

fn ran(command: &mut Command) -> Option<Output> {
    command.output().ok()
}

/// Everything that was said.
fn text(output: Output) -> String {
    let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr);
    for word in ["panicked", "backtrace", "RUST_"] {
        assert!(!text.contains(word), "{text}");
    }
    text
}

#[track_caller]
fn says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is not in\n{text}");
    }
}

const VALIDATE: &str = "$S validate old-format-read; echo \"ended with $?\"; ";

#[test]
fn a_disk_in_memory_is_said_to_go_with_the_power() {
    let home = Home::new();
    let script = format!(
        "mount -t tmpfs -o size=8m none m && cd m && {VALIDATE} $S doctor; echo \"then $?\""
    );
    let Some(said) = in_a_namespace(&home, &script) else { return };
    says(&said, &["promise 1 holds for a killed process, not for a loss of power"]);
    says(&said, &["ended with 0", "then 0", "the store may grow by", "which is little"]);
}

#[test]
fn a_full_disk_is_told_with_what_follows_and_leaves_no_damage() {
    let home = Home::new();
    let script = format!(
        "mount -t tmpfs -o size=1m none m && cd m && head -c 2000000 /dev/zero > fill; \
         {VALIDATE} $S doctor; echo \"then $?\"; echo '{{}}' | $S checkpoint --state -; $S list; \
         echo \"listed with $?\"; $S doctor; rm fill; echo '{{}}' | $S checkpoint --state - && \
         echo kept"
    );
    let Some(said) = in_a_namespace(&home, &script) else { return };
    says(&said, &["the disk is full", "checkpoints fail there as unstored", "ended with 4"]);
    says(&said, &["then 1", "free some room", "kept"]);
    // What was never made is not there; it is not damaged.
    says(&said, &["there is no store at", "listed with 3"]);
    assert!(!said.contains("no readable segment"), "{said}");
}

#[test]
fn a_read_only_disk_is_told_and_can_be_looked_at() {
    let home = Home::new();
    let script = format!(
        "mount -t tmpfs -o size=8m none m && cd m && echo '{{}}' | $S checkpoint --state - && \
         mount -o remount,ro none ../m && {VALIDATE} $S doctor; echo \"then $?\"; \
         echo '{{}}' | $S checkpoint --state -; $S drill; $S list && echo listed"
    );
    let Some(said) = in_a_namespace(&home, &script) else { return };
    says(&said, &["the file system is mounted read-only", "ended with 7", "then 1", "listed"]);
    says(&said, &["mount it writable, or name another place with --store", "with --dir"]);
    assert!(!said.contains("wait for it to end"), "nobody holds it:\n{said}");
}

#[test]
fn a_user_who_may_not_write_there_is_told_so() {
    let home = Home::new();
    let own = home.path("own");
    std::fs::create_dir(&own).unwrap();
    let Some(mut stranger) = stranger(&own) else { return };
    let script =
        format!("{VALIDATE} $S doctor; echo \"then $?\"; echo '{{}}' | $S checkpoint --state -");
    let said = text(stranger.args(["sh", "-c", &script]).output().unwrap());
    says(&said, &["this user may not write there", "ended with 7", "then 1"]);
    says(&said, &["run it as the user whom the store belongs to"]);
}

/// A command that runs in a directory which it may enter, and not write to.
fn stranger(dir: &Path) -> Option<Command> {
    use std::os::unix::fs::PermissionsExt;
    let mut mode = 0o555;
    let mut command = Command::new("env");
    if rustix::process::geteuid().is_root() {
        command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
        mode = 0o755;
        let above = dir.parent().unwrap();
        std::fs::set_permissions(above, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(mode)).unwrap();
    command.current_dir(dir).env("HOME", "/nonexistent").env("S", program());
    let mut probe = Command::new(command.get_program());
    probe.args(command.get_args()).current_dir(dir).args([program(), "--version"]);
    if !probe.output().is_ok_and(|output| output.status.success()) {
        println!("skipped: no other user can run the program here");
        return None;
    }
    Some(command)
}
