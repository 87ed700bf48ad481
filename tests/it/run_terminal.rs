//! `run` on a terminal: the command is the foreground, Ctrl-C and Ctrl-Z reach it, a shell sees one
//! job, and nothing is drawn over a full-screen program.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::cli_home::Home;

/// A full-screen program: raw keys, its own screen, told of size changes.
const EDITOR: &str = r#"
import os, shutil, signal, termios, tty
before = termios.tcgetattr(0)
def show(text):
    os.write(1, text.encode())
def enter(*_):
    tty.setraw(0)
    draw()
def draw(*_):
    size = shutil.get_terminal_size()
    show("\x1b[?1049h\x1b[2J\x1b[Hscreen %dx%d\r\n" % (size.lines, size.columns))
def leave(*_):
    show("\x1b[?1049l")
    termios.tcsetattr(0, termios.TCSADRAIN, before)
def suspend(*_):
    leave()
    signal.signal(signal.SIGTSTP, signal.SIG_DFL)
    os.kill(0, signal.SIGTSTP)
    signal.signal(signal.SIGTSTP, suspend)
    enter()
signal.signal(signal.SIGWINCH, draw)
signal.signal(signal.SIGTSTP, suspend)
enter()
while True:
    key = os.read(0, 1)
    if key == b"q":
        break
    if key == b"k":
        os.kill(os.getpid(), signal.SIGKILL)
    if key == b"\x1a":
        suspend()
    else:
        show("key %r\r\n" % key)
leave()
"#;

/// Types and looks; what was on the screen.
#[track_caller]
fn at_the_keyboard(home: &Home, steps: &[&str]) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/run_terminal.py");
    let binaries = std::path::Path::new(env!("CARGO_BIN_EXE_stateward")).parent().unwrap();
    let path = format!("{}:{}", binaries.display(), std::env::var("PATH").unwrap());
    let mut python = Command::new("python3")
        .arg(script)
        .current_dir(home.path(""))
        .env_clear()
        .env("HOME", home.path(""))
        .env("PATH", path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(steps.join("\n").as_bytes()).unwrap();
    let ended = python.wait_with_output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    String::from_utf8(ended.stdout).unwrap()
}

#[test]
fn a_full_screen_program_has_the_terminal_to_itself() {
    let home = Home::new();
    home.write("editor.py", EDITOR);
    let told = at_the_keyboard(
        &home,
        &[
            "see ready>",
            r"send stateward run -- python3 editor.py\n",
            "see screen 24x80",
            r"send x\x03",
            "see key b'x'",
            r"see key b'\\x03'",
            "resize 30 100",
            "see screen 30x100",
            "send q",
            "see ready>",
            r"send stty -a | grep -q ' icanon'; echo cooked $?\n",
            "see cooked 0",
        ],
    );
    let screen = told.split("\x1b[?1049h").nth(1).unwrap();
    assert!(!screen.contains("stateward"), "something was drawn over it: {told:?}");
}

#[test]
fn a_full_screen_program_that_crashes_leaves_the_terminal_as_it_was() {
    let home = Home::new();
    home.write("editor.py", EDITOR);
    at_the_keyboard(
        &home,
        &[
            "see ready>",
            r"send stateward run -- python3 editor.py; echo code $?\n",
            "see screen",
            "send k",
            "see code 137",
            r"send stty -a | grep -q ' icanon .* echo '; echo cooked $?\n",
            "see cooked 0",
            r"send stateward run --restart always -- python3 editor.py; echo code $?\n",
            "see screen",
            "send k",
            "see starting again",
            "see screen",
            r"send x\x03",
            "see key b'x'",
            r"see key b'\\x03'",
            "send q",
            "see code 0",
            r"send stty -a | grep -q ' icanon .* echo '; echo cooked $?\n",
            "see cooked 0",
        ],
    );
}

#[test]
fn an_editor_that_people_use_runs_as_it_does_alone() {
    if Command::new("vim").arg("--version").output().is_err() {
        eprintln!("vim is not installed");
        return;
    }
    let home = Home::new();
    home.write("notes.txt", "first line\n");
    at_the_keyboard(
        &home,
        &[
            "see ready>",
            r"send stateward run --state-file notes.txt -- vim -u NONE -N notes.txt; echo code $?\n",
            "see first line",
            r"send osecond line\x1b",
            "see second line",
            r"send \x1a",
            "see Stopped",
            r"send fg\n",
            "see second line",
            "resize 40 100",
            r"see \x1b[39;1H",
            r"send :echo \x22rows\x22 &lines\n",
            "see rows 40",
            r"send :wq\n",
            "see code 0",
            r"send stty -a | grep -q ' icanon .* echo '; echo cooked $?\n",
            "see cooked 0",
        ],
    );
    assert_eq!(home.read("notes.txt"), b"first line\nsecond line\n");
}

#[test]
fn on_a_terminal_drift_starts_nothing_again_unless_asked() {
    for (asked, answer) in [(false, "checkpoint"), (true, "restart")] {
        let home = Home::new();
        home.configure(&format!(
            "[run]\nlook_every = \"200ms\"\n[drift.restores]\non_terminal = {asked}\n\
             [[drift.budgets]]\nmetric = \"tokens\"\nmost = 10\n\
             [drift.policies]\nbudget = \"restart\"\n"
        ));
        let line = r#"{"action":"think","ok":true,"metrics":{"tokens":60}}"#;
        home.agent(&format!(
            "echo \"attempt $STATEWARD_ATTEMPT\"; [ $STATEWARD_ATTEMPT = 1 ] || exit 0
             echo '{line}' >> t.jsonl; until grep -q found end 2> /dev/null; do sleep 0.05; done"
        ));
        let told = |home: &Home| {
            let (script, mut steps) = ("./agent.sh", vec!["see ready>"]);
            let run =
                format!("send stateward run --transcript t.jsonl -- {script}; echo code $?\\n");
            steps.extend([run.as_str(), "see attempt 1"]);
            steps.extend(if asked {
                &["see attempt 2", "see code 0"][..]
            } else {
                &["see drift: budget", r"send \x03", "see code 130"]
            });
            at_the_keyboard(home, &steps)
        };
        let told = told(&home);
        assert_eq!(home.answers(), [answer], "{told}");
        assert_eq!(told.contains("attempt 2"), asked, "{told}");
    }
}

#[test]
fn ctrl_z_stops_both_and_the_shell_lets_both_go_on() {
    let home = Home::new();
    home.write("editor.py", EDITOR);
    at_the_keyboard(
        &home,
        &[
            "see ready>",
            r"send stateward run -- python3 editor.py\n",
            "see screen",
            r"send \x1a",
            "see Stopped",
            "see ready>",
            r"send echo is $(ps -o stat= -p $(jobs -p) | cut -c1)\n",
            "see is T",
            r"send stty -a | grep -q ' icanon'; echo cooked $?\n",
            "see cooked 0",
            r"send fg\n",
            "see screen",
            "send y",
            "see key b'y'",
            r"send \x1a",
            "see Stopped",
            "see ready>",
            r"send fg\n",
            "see screen",
            "send q",
            "see ready>",
            r"send echo $((40 + 2))\n",
            "see 42",
        ],
    );
}

#[test]
fn ctrl_z_on_the_run_that_is_the_sidecar_leaves_those_that_joined_it_alone() {
    let home = Home::new();
    home.write("s.json", "{\"n\":1}");
    home.write("a.sh", "touch a-up; until [ -e b-up ]; do sleep 0.05; done; echo both up; read line; echo got $line");
    home.write(
        "b.sh",
        "touch b-up; until [ -e stopped ]; do sleep 0.05; done
         stateward checkpoint --state s.json > /dev/null; echo posted $?
         until [ -e told ]; do sleep 0.05; done",
    );
    home.write(
        "joins.sh",
        "until [ -e a-up ]; do sleep 0.05; done; stateward run --agent b -- sh b.sh > b.out 2>&1",
    );
    let told = at_the_keyboard(
        &home,
        &[
            "see ready>",
            r"send sh joins.sh < /dev/null &\n",
            "see ready>",
            r"send stateward run --agent a -- sh a.sh\n",
            "see both up",
            r"send \x1a",
            "see Stopped",
            r"send touch stopped; until grep posted b.out; do sleep 0.1; done\n",
            "see posted 0",
            r"send until grep 'keeps it now' b.out; do sleep 0.1; done; touch told\n",
            "see this run keeps it now",
            r"send echo $(stateward list --agent b | grep -c routine) kept\n",
            "see 1 kept",
            r"send fg\n",
            "see a.sh",
            r"send on\n",
            "see got on",
            "see ready>",
        ],
    );
    let shown = told.rsplit("got on").next().unwrap();
    assert!(!shown.contains("was lost"), "it let the store go itself: {told}");
}

#[test]
fn ctrl_c_is_the_commands_and_ends_it_without_another_attempt() {
    let home = Home::new();
    home.agent("echo here; exec sleep 1000");
    let told = at_the_keyboard(
        &home,
        &[
            "see ready>",
            r"send stateward run --restart always -- ./agent.sh; echo code $?\n",
            "see here",
            r"send \x03",
            "see code 130",
        ],
    );
    assert!(!told.contains("starting again"), "{told}");
}

#[test]
fn on_a_terminal_a_crash_is_not_started_again_unless_asked() {
    let home = Home::new();
    home.agent("echo \"attempt $STATEWARD_ATTEMPT\"; [ $STATEWARD_ATTEMPT = 2 ]");
    let told = at_the_keyboard(
        &home,
        &[
            "see ready>",
            r"send export STATEWARD_RUN__RESTART_DELAY_INITIAL=10ms\n",
            "see ready>",
            r"send stateward run -- ./agent.sh; echo code $?\n",
            "see code 1",
            r"send stateward run --restart always -- ./agent.sh; echo code $?\n",
            "see attempt 2",
            "see code 0",
        ],
    );
    assert_eq!(told.matches("attempt 1\r\n").count(), 2, "{told}");
}

#[test]
fn a_job_in_the_background_that_wants_to_read_stops_and_reads_in_the_foreground() {
    let home = Home::new();
    home.agent("read line; echo \"got $line\"");
    at_the_keyboard(
        &home,
        &[
            "see ready>",
            r"send set -b; stateward run -- ./agent.sh &\n",
            "see Stopped",
            r"send fg\n",
            "see ./agent.sh",
            r"send hello\n",
            "see got hello",
            "see ready>",
        ],
    );
}

#[test]
fn a_status_line_is_drawn_where_the_command_does_not_have_the_terminal() {
    let home = Home::new();
    home.agent("echo begins; sleep 1; echo ends");
    let told = at_the_keyboard(
        &home,
        &[
            "see ready>",
            r"send stateward run --agent x/y --state m.json -- ./agent.sh < /dev/null; echo code $?\n",
            r"see stateward \xc2\xb7 x/y \xc2\xb7 attempt 1",
            "see ends",
            "see code 0",
        ],
    );
    assert!(told.contains("begins"), "before the line or after it: {told:?}");
    assert!(told.contains("\x1b[1;23r") && told.contains("\x1b[r"), "{told:?}");
}
