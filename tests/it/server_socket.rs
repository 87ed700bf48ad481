//! The socket is its owner's alone, where it lies and who comes through it.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;

use crate::cli_home::{Answer, Home};
use crate::server_home::{Place, Sidecar, request};

fn mode(path: &Path) -> u32 {
    std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

fn refusal(home: &Home, flags: &[&str]) -> String {
    let command = home.raw(&[&["serve", "--json"], flags].concat());
    let (code, error) = Answer::of(&mut assert_cmd::Command::from_std(command)).error();
    assert_eq!((code, &error["kind"]), (7, &"refused".into()), "{error}");
    error["message"].as_str().unwrap().to_owned()
}

#[test]
fn the_socket_lies_in_a_directory_of_ours_and_nobody_elses() {
    let home = Home::new();
    let sidecar = home.serve(&[]);
    let Place::Socket(path) = sidecar.socket() else { unreachable!() };
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    drop(sidecar);

    let open = home.path("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert!(refusal(&home, &["--socket", "open/s"]).contains("0755"));
    let closed = home.path("closed");
    std::fs::create_dir(&closed).unwrap();
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o700)).unwrap();
    symlink(&closed, home.path("link")).unwrap();
    assert!(refusal(&home, &["--socket", "link/s"]).contains("a link"));
    home.serve(&["--socket", "closed/s"]);
}

#[test]
fn only_a_dead_socket_of_ours_is_taken_away() {
    let home = Home::new();
    let mut first = home.serve(&[]);
    first.kill();
    let path = home.store().join("stateward.sock");
    assert!(path.exists(), "a killed sidecar leaves its socket");
    drop(home.serve(&[]));

    home.write(".stateward/file", "mine");
    let file = home.store().join("file");
    assert!(refusal(&home, &["--socket", file.to_str().unwrap()]).contains("no socket"));
    assert_eq!(std::fs::read(&file).unwrap(), b"mine");
    let live = home.store().join("live");
    let _listener = UnixListener::bind(&live).unwrap();
    let told = refusal(&home, &["--socket", live.to_str().unwrap()]);
    assert!(told.contains("another process answers"), "{told}");
    assert!(UnixStream::connect(&live).is_ok());
}

#[test]
fn another_user_is_turned_away_at_the_socket() {
    let home = Home::new();
    let may_change_users = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    if !may_change_users {
        eprintln!("skipped: only root can be two users");
        return;
    }
    // The sidecar is somebody else's; the modes of files do not keep root out.
    let there = home.path("theirs");
    std::fs::create_dir(&there).unwrap();
    let user = 65_534;
    std::os::unix::fs::chown(&there, Some(user), None).unwrap();
    std::fs::set_permissions(home.path(""), std::fs::Permissions::from_mode(0o755)).unwrap();
    let store = there.join("store");
    let mut command = home.raw(&["serve", "--json", "--store", store.to_str().unwrap()]);
    std::os::unix::process::CommandExt::uid(&mut command, user);
    let sidecar = Sidecar::start(&mut command);
    let mut wire = sidecar.socket().connect();
    // Nothing is read of what another user asks.
    std::io::Write::write_all(&mut wire, &request("GET", "/livez", &[], b"")).ok();
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut wire, &mut bytes).ok();
    assert!(bytes.is_empty(), "{}", String::from_utf8_lossy(&bytes));
    let (_, log) = sidecar.stop();
    assert!(log.contains("user 0 is not user 65534"), "{log}");
}

#[test]
fn a_path_that_is_too_long_for_a_socket_leads_to_the_runtime_directory() {
    let home = Home::new();
    let deep = home.path(&"d".repeat(120));
    let runtime = home.path("runtime");
    std::fs::create_dir(&runtime).unwrap();
    std::fs::set_permissions(&runtime, std::fs::Permissions::from_mode(0o700)).unwrap();
    let mut command = home.raw(&["serve", "--json", "--store", deep.to_str().unwrap()]);
    let sidecar = Sidecar::start(command.env("XDG_RUNTIME_DIR", &runtime));
    let Place::Socket(path) = sidecar.socket() else { unreachable!() };
    assert!(path.starts_with(runtime.join("stateward")), "{path:?}");
    assert_eq!(crate::server_home::holder(&deep)["socket"], path.to_str().unwrap());
    assert_eq!(sidecar.get("/livez").status, 200);
}

#[test]
fn a_token_file_that_others_can_read_is_refused_and_one_is_made_for_us_alone() {
    let home = Home::new();
    let flags = ["--listen", "127.0.0.1:0", "--token-file", "token"];
    let sidecar = home.serve(&flags);
    assert_eq!(sidecar.told["token_made"], true);
    let token = String::from_utf8(home.read("token")).unwrap();
    assert_eq!((mode(&home.path("token")), token.trim().len()), (0o600, 64));
    let cmdline = std::fs::read(format!("/proc/{}/cmdline", sidecar.pid())).unwrap();
    assert!(!String::from_utf8_lossy(&cmdline).contains(token.trim()));
    drop(sidecar);
    let wide = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(home.path("token"), wide).unwrap();
    let told = refusal(&home, &flags);
    assert!(told.contains("0644") && !told.contains(token.trim()), "{told}");
    let answer = home.run(&["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(answer.code, 2, "TCP is never without a token: {answer}");
}
