//! `run`: what a command prints is passed on as it is.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;

use crate::cli_home::Home;
use crate::run_home::{signal, until};

#[test]
fn bytes_of_any_kind_come_through_each_stream_by_itself() {
    let home = Home::new();
    let bytes: Vec<u8> = (0..=255_u8).cycle().take(300_000).collect();
    home.write("bytes", &bytes);
    home.agent("cat bytes; printf 'to err, no end' >&2; exit 5");
    let ran = home.run_agent(&["--restart", "never"]);
    assert_eq!(ran.code, 5, "{}", ran.err);
    assert!(ran.out == bytes, "{} bytes came of {}", ran.out.len(), bytes.len());
    assert!(ran.err.starts_with("to err, no end"), "{}", ran.err);
}

#[test]
fn nothing_is_held_back_and_input_goes_in() {
    let home = Home::new();
    home.agent("printf 'name? '; read name; printf \"hello $name\"");
    let mut command = home.run_command(&[]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut run = command.spawn().unwrap();
    let mut out = run.stdout.take().unwrap();
    let mut asked = [0; 6];
    out.read_exact(&mut asked).unwrap();
    assert_eq!(&asked, b"name? ");
    run.stdin.take().unwrap().write_all(b"you\n").unwrap();
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "hello you");
    assert!(run.wait().unwrap().success());
}

#[test]
fn streams_to_one_place_keep_their_order() {
    let home = Home::new();
    home.agent("for n in $(seq 200); do echo \"out $n\"; echo \"err $n\" >&2; done");
    let both = std::fs::File::create(home.path("both")).unwrap();
    let mut command = home.run_command(&["--quiet"]);
    command.stdout(both.try_clone().unwrap()).stderr(both);
    assert!(command.status().unwrap().success());
    let wanted = (1..=200).map(|n| format!("out {n}\nerr {n}\n")).collect::<Vec<_>>().concat();
    assert_eq!(String::from_utf8(home.read("both")).unwrap(), wanted);
}

#[test]
fn a_reader_that_goes_away_ends_the_command_as_it_would_without() {
    let home = Home::new();
    home.agent("exec yes 'on and on'");
    let mut command = home.run_command(&[]);
    let mut run = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(run.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert_eq!(first, "on and on\n");
    assert_eq!(run.wait().unwrap().code(), Some(128 + 13));
}

#[test]
fn an_adopted_command_is_read_on() {
    let home = Home::new();
    home.agent(
        "trap '' PIPE; echo $$; while [ ! -e go ]; do sleep 0.02; done
         echo 'said while nobody listened'; echo more > said; exec sleep 1000",
    );
    let mut run = home.start_agent(&[]);
    let pid = run.hear_pid();
    run.kill();
    home.write("go", "");
    until("it speaks", || home.path("said").exists());
    let mut run = home.start_agent(&["--adopt"]);
    assert_eq!(run.hear(), "said while nobody listened");
    signal(pid, "KILL");
    run.signal("TERM");
    run.end();
}

#[test]
fn without_watching_the_command_has_the_streams_themselves() {
    let home = Home::new();
    home.configure("[run]\nwatch_output = false\n");
    home.agent("readlink /proc/$$/fd/1");
    let out = std::fs::File::create(home.path("out")).unwrap();
    let mut command = home.run_command(&["--quiet"]);
    assert!(command.stdout(out).status().unwrap().success());
    let there = String::from_utf8(home.read("out")).unwrap();
    assert_eq!(there.trim_end(), home.path("out").to_str().unwrap());
}
