//! Workspaces and state files through the command line: what comes back is what was there, compared
//! by tools that know nothing of this one, and what is somebody else's stays.

use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::cli_home::Home;

/// A workspace with one of everything that is kept, and a copy of it beside.
struct Scene {
    home: Home,
    root: PathBuf,
    copy: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let home = Home::new();
        home.write("stateward.toml", "[store]\npath = \".stateward\"\n");
        let (root, copy) = (home.path("w"), home.path("copy"));
        for dir in ["src/deep", "empty", "private"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        fs::write(root.join("a"), "one\n").unwrap();
        fs::write(root.join("src/big"), vec![7; 3_000_000]).unwrap();
        fs::write(root.join("src/deep/none"), "").unwrap();
        fs::write(root.join(std::ffi::OsStr::from_bytes(b"odd \xff\n name")), "odd").unwrap();
        fs::hard_link(root.join("a"), root.join("src/again")).unwrap();
        symlink("../a", root.join("src/link")).unwrap();
        symlink("/nowhere", root.join("dangling")).unwrap();
        fs::set_permissions(root.join("private"), Permissions::from_mode(0o500)).unwrap();
        fs::set_permissions(root.join("src/big"), Permissions::from_mode(0o4755)).unwrap();
        let scene = Self { home, root, copy };
        scene.keep_copy();
        scene
    }

    fn keep_copy(&self) {
        let done = Command::new("cp").arg("-a").arg(&self.root).arg(&self.copy).status();
        assert!(done.unwrap().success());
    }

    /// What an independent comparison tells apart: contents, modes, times, links, names.
    fn differences(&self) -> Vec<String> {
        compare(&self.copy, &self.root)
    }

    /// Does what agents do to their files.
    fn break_everything(&self) {
        fs::write(self.root.join("a"), "broken").unwrap();
        fs::remove_dir_all(self.root.join("src")).unwrap();
        fs::write(self.root.join("src"), "a file now").unwrap();
        fs::remove_file(self.root.join("dangling")).unwrap();
        fs::remove_dir(self.root.join("empty")).unwrap();
        fs::create_dir_all(self.root.join("made/by/agent")).unwrap();
        fs::write(self.root.join("made/by/agent/x"), "x").unwrap();
    }

    fn json(&self, arguments: &[&str]) -> Value {
        self.home.json(arguments)
    }
}

/// Tells two trees apart with `find`, which prints what `stat` says of each name, and `cmp`.
fn compare(a: &Path, b: &Path) -> Vec<String> {
    let list = |root: &Path| {
        let printed = Command::new("find")
            .args([".", "-printf", "%P\\0%y %m %l %s %T@ %n\\0"])
            .current_dir(root)
            .output()
            .unwrap();
        assert!(printed.status.success());
        let mut names: Vec<(String, String)> = printed
            .stdout
            .split(|byte| *byte == 0)
            .map(|part| String::from_utf8_lossy(part).into_owned())
            .collect::<Vec<_>>()
            .chunks_exact(2)
            // What a directory takes on the disk is the file system's own matter.
            .map(|pair| (pair[0].clone(), without_dir_size(&pair[1])))
            .collect();
        names.sort();
        names
    };
    let (left, right) = (list(a), list(b));
    let only = |these: &[(String, String)], those: &[(String, String)], side: &str| {
        let not_there = these.iter().filter(|one| !those.contains(one));
        not_there.map(|(name, facts)| format!("{side} {name}: {facts}")).collect::<Vec<_>>()
    };
    let mut told = only(&left, &right, "-");
    told.extend(only(&right, &left, "+"));
    let diff = Command::new("diff").args(["-r", "--no-dereference"]).arg(a).arg(b).output();
    told.extend(String::from_utf8_lossy(&diff.unwrap().stdout).lines().map(str::to_owned));
    told
}

fn without_dir_size(facts: &str) -> String {
    let mut parts: Vec<&str> = facts.split(' ').collect();
    if parts[0] == "d" {
        parts[3] = "-";
        parts[5] = "-";
    }
    parts.join(" ")
}

#[test]
fn before_an_operation_kept_broken_restored_everything_is_as_before() {
    let scene = Scene::new();
    let kept = scene.json(&["checkpoint", "--kind", "pre_operation", "--workspace", "w"]);
    assert_eq!(kept["workspace_files"], 5, "{kept}");
    scene.break_everything();
    let plan = scene.json(&["restore", "latest:pre_operation", "--dry-run"]);
    assert!(!scene.differences().is_empty(), "a dry run changes nothing");
    let restored = scene.json(&["restore", "latest:pre_operation"]);
    assert_eq!(restored["files"], plan["files"], "what was planned was done");
    assert_eq!(scene.differences(), Vec::<String>::new());
    scene.home.done(&["undo"]);
    assert_eq!(fs::read(scene.root.join("src")).unwrap(), b"a file now");
    assert_eq!(fs::read(scene.root.join("made/by/agent/x")).unwrap(), b"x");
    scene.home.done(&["restore", "latest:pre_operation"]);
    assert_eq!(scene.differences(), Vec::<String>::new());
}

#[test]
fn the_files_come_out_into_an_empty_directory_and_by_bundle() {
    let scene = Scene::new();
    scene.home.done(&["checkpoint", "--workspace", "w"]);
    scene.home.done(&["restore", "latest", "--to", "out"]);
    assert_eq!(compare(&scene.copy, &scene.home.path("out")), Vec::<String>::new());
    let (code, error) = scene.home.error(&["restore", "latest", "--to", "out"]);
    assert_eq!((code, &error["kind"]), (7, &"refused".into()), "{error}");
    scene.home.done(&["export", "latest", "one.bundle"]);
    scene.home.done(&["import", "one.bundle", "--as", "other"]);
    let in_place = ["restore", "latest", "--agent", "other"];
    let (code, error) = scene.home.error(&in_place);
    assert_eq!((code, &error["kind"]), (7, &"refused".into()), "{error}");
    scene.home.done(&["restore", "latest", "--agent", "other", "--to", "from-bundle"]);
    assert_eq!(compare(&scene.copy, &scene.home.path("from-bundle")), Vec::<String>::new());
}

#[test]
fn a_path_alone_is_restored() {
    let scene = Scene::new();
    scene.home.done(&["checkpoint", "--workspace", "w"]);
    scene.break_everything();
    let told = scene.json(&["restore", "latest", "--path", "src"]);
    assert!(told["files"]["removed"].as_array().unwrap().iter().all(|it| it == "src"), "{told}");
    assert_eq!(fs::read(scene.root.join("src/big")).unwrap().len(), 3_000_000);
    assert_eq!(fs::read(scene.root.join("a")).unwrap(), b"broken");
    assert!(scene.root.join("made/by/agent/x").exists());
    for outside in ["../x", "/etc/passwd", "."] {
        let (code, error) = scene.home.error(&["restore", "latest", "--path", outside]);
        assert_eq!(code, 7, "{outside}: {error}");
    }
}

#[test]
fn what_is_ignored_or_too_large_is_never_touched() {
    let scene = Scene::new();
    fs::create_dir_all(scene.root.join("node_modules/x")).unwrap();
    fs::write(scene.root.join("node_modules/x/y"), "dependency").unwrap();
    fs::write(scene.root.join(".statewardignore"), "*.log\n").unwrap();
    fs::write(scene.root.join("src/a.log"), "before").unwrap();
    let small = [("STATEWARD_WORKSPACE__FILE_BYTES_MAX", "1MB")];
    let mut command = scene.home.command(&["checkpoint", "--workspace", "w", "--json"]);
    let kept = crate::cli_home::Answer::of(command.envs(small)).json();
    let skipped = kept["skipped"].to_string();
    for name in ["node_modules", "src/a.log", "src/big"] {
        assert!(skipped.contains(name), "{name} in {skipped}");
    }
    fs::write(scene.root.join("node_modules/x/y"), "changed").unwrap();
    fs::write(scene.root.join("src/a.log"), "after").unwrap();
    fs::write(scene.root.join("src/big"), vec![8; 3_000_000]).unwrap();
    fs::remove_file(scene.root.join("a")).unwrap();
    fs::remove_file(scene.root.join(".statewardignore")).unwrap();
    let mut command = scene.home.command(&["restore", "latest", "--force", "--json"]);
    let told = crate::cli_home::Answer::of(command.envs(small));
    assert_eq!(told.code, 0, "{told}");
    assert_eq!(fs::read(scene.root.join("node_modules/x/y")).unwrap(), b"changed");
    assert_eq!(fs::read(scene.root.join("src/a.log")).unwrap(), b"after");
    assert_eq!(fs::read(scene.root.join("src/big")).unwrap(), vec![8; 3_000_000]);
    assert_eq!(fs::read(scene.root.join("a")).unwrap(), b"one\n");
}

#[test]
fn git_keeps_its_own_record() {
    let scene = Scene::new();
    let git = |arguments: &[&str]| {
        let done = Command::new("git").args(arguments).current_dir(&scene.root).output();
        done.map(|it| String::from_utf8_lossy(&it.stdout).trim().to_owned())
    };
    if git(&["init", "-q"]).is_err() {
        println!("skipped: there is no git here");
        return;
    }
    let commit = ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"];
    git(&["add", "a"]).unwrap();
    git(&commit).unwrap();
    scene.home.done(&["checkpoint", "--workspace", "w"]);
    fs::write(scene.root.join("a"), "second\n").unwrap();
    git(&["add", "a"]).unwrap();
    git(&commit).unwrap();
    let head = git(&["rev-parse", "HEAD"]).unwrap();
    scene.home.done(&["restore", "latest"]);
    assert_eq!(fs::read(scene.root.join("a")).unwrap(), b"one\n");
    assert_eq!(git(&["rev-parse", "HEAD"]).unwrap(), head, "the commit made since is there");
    assert_eq!(git(&["fsck"]).unwrap(), "");
}

#[test]
fn state_files_and_the_journals_of_a_database_come_back_together() {
    let scene = Scene::new();
    let db = scene.home.path("memory.db");
    let open = || rusqlite::Connection::open(&db).unwrap();
    let first = open();
    first.pragma_update(None, "journal_mode", "wal").unwrap();
    first.execute_batch("create table t(x); insert into t values(1)").unwrap();
    scene.home.write("notes.txt", "kept");
    let keep = ["checkpoint", "--state-file", "memory.db", "--state-file", "notes.txt"];
    let kept = scene.json(&[&keep[..], &["--state-file", "missing.txt"]].concat());
    assert!(kept["state_files"].to_string().contains("memory.db-wal"), "{kept}");
    assert!(kept["skipped"].to_string().contains("missing.txt"), "{kept}");
    first.execute_batch("insert into t values(2); delete from t where x = 1").unwrap();
    drop(first);
    scene.home.write("notes.txt", "changed");
    scene.home.done(&["restore", "latest"]);
    let count = |sql: &str| open().query_row(sql, [], |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(count("pragma integrity_check"), "ok");
    assert_eq!(count("select group_concat(x) from t"), "1");
    assert_eq!(scene.home.read("notes.txt"), b"kept");
    scene.home.done(&["undo"]);
    assert_eq!(count("select group_concat(x) from t"), "2");
    assert_eq!(scene.home.read("notes.txt"), b"changed");
}

#[test]
fn a_workspace_has_its_store_outside_and_every_command_finds_it_from_within() {
    let scene = Scene::new();
    fs::remove_file(scene.home.path("stateward.toml")).unwrap();
    let state_home = scene.home.path("state");
    let run = |directory: &Path, arguments: &[&str]| {
        let mut command = scene.home.command(arguments);
        crate::cli_home::Answer::of(
            command.current_dir(directory).env("XDG_STATE_HOME", &state_home),
        )
    };
    assert_eq!(run(&scene.root, &["checkpoint", "--workspace", "."]).code, 0);
    assert!(!scene.root.join(".stateward").exists(), "nothing is put into the workspace");
    let listed = run(&scene.root.join("src/deep"), &["list", "--json"]);
    assert_eq!(listed.json().as_array().unwrap().len(), 1, "{listed}");
    fs::remove_dir_all(&scene.root).ok();
    fs::create_dir_all(&scene.root).unwrap();
    let restored = run(&scene.root, &["restore", "latest"]);
    assert_eq!(restored.code, 0, "{restored}");
    assert_eq!(scene.differences(), Vec::<String>::new());
}

#[test]
fn what_is_no_workspace_is_refused() {
    let scene = Scene::new();
    let store = scene.home.store();
    scene.home.checkpoint("{}");
    let inside = store.join("log");
    let home = scene.home.path(".");
    for place in ["/", home.to_str().unwrap(), inside.to_str().unwrap()] {
        let (code, error) = scene.home.error(&["checkpoint", "--workspace", place]);
        assert_eq!((code, &error["kind"]), (7, &"refused".into()), "{place}: {error}");
    }
    let (code, error) = scene.home.error(&["checkpoint", "--workspace", "not-there"]);
    assert_eq!((code, &error["kind"]), (3, &"not_found".into()), "{error}");
    scene.home.done(&["checkpoint", "--workspace", "w"]);
    let overlap = ["checkpoint", "--agent", "other", "--workspace", "w/src"];
    let (code, error) = scene.home.error(&overlap);
    assert_eq!((code, &error["kind"]), (7, &"refused".into()), "{error}");
    scene.home.done(&[&overlap[..], &["--shared"]].concat());
}
