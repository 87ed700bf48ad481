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
