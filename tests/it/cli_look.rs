//! What `show`, `diff`, `list` and the plan of a restore say of files.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};
use stateward::{Aspect, ChangeKind, CheckpointManager, Kind, Options, Work};

use crate::cli_home::{Answer, Home};

/// Everything that a workspace may hold, and what it leaves out.
fn workspace() -> Home {
    let home = Home::new();
    home.write("w/a.txt", "one\ntwo\n");
    home.write("w/code/deep/x.rs", "fn x() {}\n");
    home.write("w/code/run.sh", "#!/bin/sh\n");
    home.write("w/picture", b"\x89PNG\0one");
    home.write("w/old/1", "1");
    home.write("w/old/2", "2");
    home.write("w/same", "same");
    home.write("w/node_modules/m/index.js", "x");
    std::fs::create_dir(home.path("w/empty")).unwrap();
    symlink("a.txt", home.path("w/link")).unwrap();
    home
}

/// Changes each thing in its own way.
fn change(home: &Home) {
    home.write("w/a.txt", "one\n2\nthree");
    mode(home, "w/code/run.sh", 0o755);
    home.write("w/picture", b"\x89PNG\0another");
    std::fs::remove_dir_all(home.path("w/old")).unwrap();
    home.write("w/new/n", "n\n");
    touch(home, "w/same");
    std::fs::remove_file(home.path("w/link")).unwrap();
    symlink("code", home.path("w/link")).unwrap();
    std::fs::remove_dir(home.path("w/empty")).unwrap();
    home.write("w/empty", "a file now\n");
    home.write("w/node_modules/m/index.js", "y");
}

fn mode(home: &Home, name: &str, mode: u32) {
    std::fs::set_permissions(home.path(name), std::fs::Permissions::from_mode(mode)).unwrap();
}

fn touch(home: &Home, name: &str) {
    let file = std::fs::File::open(home.path(name)).unwrap();
    file.set_modified(UNIX_EPOCH + Duration::from_secs(1_000_000_000)).unwrap();
}

fn keep(home: &Home) -> String {
    let receipt = home.json(&["checkpoint", "--workspace", "w"]);
    receipt["checkpoint_id"].as_str().unwrap().to_owned()
}

/// Runs a command from within the workspace, from where its store is found.
fn within(home: &Home, arguments: &[&str]) -> Answer {
    let mut command = home.command(arguments);
    let answer = Answer::of(command.current_dir(home.path("w")));
    assert_eq!(answer.code, 0, "{arguments:?}: {answer}");
    answer
}

fn within_json(home: &Home, arguments: &[&str]) -> Value {
    within(home, &[arguments, &["--json"]].concat()).json()
}

/// The differences of a workspace by path.
fn by_path(differences: &Value) -> BTreeMap<String, Value> {
    let files = differences["files"].as_array().unwrap().iter();
    files.map(|one| (one["path"].as_str().unwrap().to_owned(), one.clone())).collect()
}

#[test]
fn the_files_of_a_checkpoint_are_those_that_were_there() {
    let home = workspace();
    mode(&home, "w/a.txt", 0o640);
    let id = keep(&home);
    let listed = within_json(&home, &["show", &id, "--files"]);
    let listed = listed.as_array().unwrap();
    let mut paths: Vec<&str> = listed.iter().map(|it| it["path"].as_str().unwrap()).collect();
    for it in listed {
        let found = home.path("w").join(it["path"].as_str().unwrap()).symlink_metadata().unwrap();
        let kind = if found.is_dir() {
            "dir"
        } else if found.is_symlink() {
            "link"
        } else {
            assert_eq!(it["bytes"], found.len());
            "file"
        };
        assert_eq!(it["kind"], kind);
        if kind != "link" {
            assert_eq!(it["mode"], found.mode() & 0o7777);
        }
        let time: stateward::Timestamp = it["modified_at"].as_str().unwrap().parse().unwrap();
        assert_eq!(time, stateward::Timestamp::from_system(found.modified().unwrap()));
    }
    assert!(paths.is_sorted(), "{paths:?}");
    paths.retain(|path| !path.contains('/'));
    assert_eq!(paths, ["a.txt", "code", "empty", "link", "old", "picture", "same"]);
    let text = within(&home, &["show", "latest", "--files"]);
    assert!(text.text().contains("file  0640        8 B  20"), "{text}");
    assert!(text.text().contains("link -> a.txt\n") && text.text().contains(" code/deep/\n"));
    assert!(text.text().contains("Left out:\n  node_modules: ignored by default"), "{text}");
}

#[test]
fn a_checkpoint_tells_its_workspace_and_what_it_left_out() {
    let home = workspace();
    let id = keep(&home);
    let shown = within_json(&home, &["show", &id]);
    assert_eq!(
        (&shown["workspace_files"], &shown["workspace"]),
        (&7.into(), &json!(home.path("w")))
    );
    assert_eq!(shown["skipped"][0]["path"], "node_modules");
    let text = within(&home, &["show", &id]);
    assert!(text.text().contains("7 files of ") && text.text().contains("1 left out"), "{text}");
    let list = within(&home, &["list"]);
    assert!(list.text().starts_with("SEQ  KIND     AGE  STATE  FILES "), "{list}");
    home.checkpoint("{}");
    let list = home.done(&["list", "--store", ".stateward"]);
    assert!(list.text().starts_with("SEQ  KIND     AGE  STATE  ID\n"), "{list}");
}

#[test]
fn each_way_to_differ_is_told() {
    let home = workspace();
    let first = keep(&home);
    change(&home);
    let second = keep(&home);
    let told = by_path(&within_json(&home, &["diff", &first, &second]));
    let how = |path: &str| {
        let one = told.get(path).unwrap_or_else(|| panic!("{path} is not in {told:?}"));
        let what = one["what"].as_array().unwrap().iter().filter(|what| *what != "modified");
        let what: Vec<&str> = what.map(|what| what.as_str().unwrap()).collect();
        format!(
            "{} {} {}",
            one["change"].as_str().unwrap(),
            one["kind"].as_str().unwrap(),
            what.join(",")
        )
    };
    assert_eq!(how("a.txt"), "changed file content");
    assert_eq!(how("code/run.sh"), "changed file mode");
    assert_eq!(
        (&told["code/run.sh"]["before"]["mode"], &told["code/run.sh"]["after"]["mode"]),
        (&0o644.into(), &0o755.into())
    );
    assert_eq!(how("picture"), "changed file content");
    assert_eq!(how("link"), "changed link target");
    assert_eq!(told["link"]["after"]["target"], "code");
    assert_eq!(how("empty"), "changed file kind");
    assert_eq!((how("old"), how("old/1")), ("removed dir ".into(), "removed file ".into()));
    assert_eq!((how("new"), how("new/n")), ("added dir ".into(), "added file ".into()));
    assert_eq!(told["same"]["what"], json!(["modified"]));
    assert_eq!(told.get("code/deep"), None, "equal directories are not told");
    assert_eq!(
        told["a.txt"]["diff"],
        "--- a/a.txt\n+++ b/a.txt\n@@ -1,2 +1,3 @@\n one\n-two\n+2\n+three\n\\ No newline at end of file\n"
    );
    assert_eq!(
        (&told["picture"]["no_diff"], told["picture"].get("diff")),
        (&"binary".into(), None)
    );
}

#[test]
fn what_is_there_now_differs_as_a_checkpoint_of_it_does() {
    let home = workspace();
    home.write("state.json", "{\"n\":1}");
    home.json(&["checkpoint", "--workspace", "w", "--state", "state.json"]);
    assert_eq!(within(&home, &["diff", "latest"]).text(), "The two are the same.\n");
    change(&home);
    home.write("state.json", "{\"n\":2}");
    let live = within_json(&home, &["diff", "latest"]);
    let before = within_json(&home, &["list"])[0]["checkpoint_id"].clone();
    home.json(&["checkpoint", "--workspace", "w", "--state", "state.json"]);
    let kept = within_json(&home, &["diff", before.as_str().unwrap(), "latest"]);
    assert_eq!(live, kept);
    assert_eq!(live["state"][0]["path"], "/n");
    assert_eq!(within_json(&home, &["list"]).as_array().unwrap().len(), 2, "looking keeps nothing");
}

#[test]
fn people_read_lines_and_not_times() {
    let home = workspace();
    home.write("state.json", "{\"n\":1}");
    home.json(&["checkpoint", "--workspace", "w", "--state", "state.json"]);
    touch(&home, "w/same");
    let times = within(&home, &["diff", "latest"]);
    assert_eq!(times.text(), "The two are the same but for 1 time.\n");
    change(&home);
    home.write("state.json", "{\"n\":2}");
    let told = within(&home, &["diff", "latest"]);
    for line in [
        "state:\n~ /n  1 → 2\n",
        "workspace:\n--- a/a.txt\n",
        "\n-two\n+2\n",
        "\n~ code/run.sh  mode 0644 → 0755\n",
        "\n~ empty  dir → file\n",
        "\n~ link  -> a.txt, now -> code\n",
        "\n+ new/\n--- /dev/null\n+++ b/new/n\n",
        "\n~ picture  8 B → 12 B (binary)\n",
        "\n5 changed, 2 added, 3 removed; 3 lines added, 3 removed; only the time differs of ",
    ] {
        assert!(told.text().contains(line), "{line:?} is not in {told}");
    }
    assert!(!told.text().contains("same\n"), "{told}");
    let names = within(&home, &["diff", "latest", "--name-only"]);
    assert!(names.text().contains("\n~ a.txt  8 B → 11 B\n"), "{names}");
    assert!(!names.text().contains("@@"), "{names}");
}

#[test]
fn nothing_in_a_file_or_a_name_moves_the_cursor() {
    let home = workspace();
    keep(&home);
    home.write("w/a.txt", "\x1b[2Jone\r\n");
    home.write("w/na\x1b[31mme\n", "x\n");
    let told = within(&home, &["diff", "latest"]);
    assert!(!told.out.contains(&0x1b) && told.text().contains("+^[[2Jone^M\n"), "{told}");
    assert!(told.text().contains("+++ b/na\\u{1b}[31mme\\n\n"), "{told}");
    let names = within(&home, &["diff", "latest", "--name-only"]);
    assert!(names.text().contains("\n+ na^[[31mme^J  2 B\n"), "{names}");
    keep(&home);
    let listed = within(&home, &["show", "latest", "--files"]);
    assert!(listed.text().contains("na^[[31mme^J\n"), "{listed}");
}

#[test]
fn what_was_left_out_is_not_called_gone_or_new() {
    let home = workspace();
    home.write("w/big", vec![b'x'; 5000]);
    let small: (&str, &str) = ("STATEWARD_WORKSPACE__FILE_BYTES_MAX", "4KiB");
    let run = |arguments: &[&str], limited: bool| {
        let mut command = home.command(arguments);
        if limited {
            command.env(small.0, small.1);
        }
        let answer = Answer::of(command.current_dir(home.path("w")));
        assert_eq!(answer.code, 0, "{answer}");
        answer
    };
    run(&["checkpoint", "--workspace", "."], false);
    let now_too_large = run(&["diff", "latest", "--json"], true).json();
    run(&["checkpoint", "--workspace", "."], true);
    let was_too_large = run(&["diff", "latest", "--json"], false).json();
    for told in [now_too_large, was_too_large] {
        assert_eq!(by_path(&told).get("big"), None, "{told}");
        assert_eq!(told["not_compared"][0]["path"], "big", "{told}");
        assert_eq!(told["not_compared"][0]["why"], "too_large");
    }
    let told = run(&["diff", "latest"], false);
    assert!(told.err.contains("not compared: big: larger than allowed"), "{told}");
}

#[test]
fn long_and_odd_files_are_told_as_changed() {
    let home = workspace();
    let long = "a line of some length\n".repeat(60_000);
    home.write("w/long", &long);
    let odd = home.path("w").join(OsStr::from_bytes(b"odd\xff"));
    std::fs::write(&odd, "1\n").unwrap();
    let first = keep(&home);
    home.write("w/long", long + "end\n");
    std::fs::write(&odd, "2\n").unwrap();
    let told = by_path(&within_json(&home, &["diff", "latest"]));
    assert_eq!((&told["long"]["no_diff"], told["long"].get("diff")), (&"too_large".into(), None));
    assert!(told["odd\u{fffd}"]["diff"].as_str().unwrap().contains("\n-1\n+2\n"), "{told:?}");
    let restored = within_json(&home, &["restore", &first]);
    assert!(restored["files"]["written"].as_array().unwrap().contains(&json!("odd\u{fffd}")));
    assert_eq!(std::fs::read(&odd).unwrap(), b"1\n");
}

#[test]
fn state_files_are_compared_by_their_paths() {
    let home = Home::new();
    let (log, gone) = (home.write("log.txt", "1\n"), home.write("gone.bin", b"\0"));
    let keep = ["checkpoint", "--state-file", "log.txt", "--state-file", "gone.bin"];
    let first = home.json(&keep)["checkpoint_id"].clone();
    home.write("log.txt", "1\n2\n");
    std::fs::remove_file(&gone).unwrap();
    let live = home.json(&["diff", "latest"]);
    let told: Vec<_> = live["state_files"].as_array().unwrap().iter().collect();
    assert_eq!(
        (told.len(), &told[0]["path"], &told[0]["change"]),
        (2, &json!(gone), &json!("removed"))
    );
    assert_eq!((&told[1]["path"], &told[1]["after"]["bytes"]), (&json!(log), &4.into()));
    assert!(told[1]["diff"].as_str().unwrap().ends_with("@@ -1 +1,2 @@\n 1\n+2\n"), "{live}");
    home.json(&keep);
    assert_eq!(home.json(&["diff", first.as_str().unwrap(), "latest"]), live);
    let text = home.done(&["diff", first.as_str().unwrap(), "latest"]);
    assert!(text.text().starts_with("state files:\n- /"), "{text}");
}

#[test]
fn a_state_file_that_is_gone_or_broken_is_told() {
    let home = Home::new();
    home.checkpoint("{\"n\":1}");
    home.write("state.json", "{\"n\":");
    let told = home.done(&["diff", "latest"]);
    assert_eq!(told.text(), "~ (the whole)  {\"n\":1} → {\"n\":\n");
    std::fs::remove_file(home.path("state.json")).unwrap();
    assert_eq!(home.done(&["diff", "latest"]).text(), "- /n  1\n");
    home.run_with_input(&["checkpoint", "--state", "-"], "{\"n\":2}");
    let told = home.done(&["diff", "latest"]);
    assert!(told.err.contains("state: not compared"), "{told}");
}

#[test]
fn a_workspace_that_is_gone_has_lost_everything() {
    let home = workspace();
    let first = keep(&home);
    let store =
        home.json(&["show", &first, "--store", store_of(&home).to_str().unwrap()])["path"].clone();
    std::fs::rename(home.path("w"), home.path("elsewhere")).unwrap();
    let told = home.json(&["diff", store.as_str().unwrap()]);
    assert!(by_path(&told).values().all(|one| one["change"] == "removed"), "{told}");
    assert_eq!(by_path(&told).len(), 12);
    let path = home.path("elsewhere");
    let moved = ["diff", store.as_str().unwrap(), "--workspace", path.to_str().unwrap()];
    assert_eq!(home.done(&moved).text(), "The two are the same.\n");
}

/// The store of the workspace, as its newest checkpoint's path names it.
fn store_of(home: &Home) -> std::path::PathBuf {
    let path = within_json(home, &["list"])[0]["path"].as_str().unwrap().to_owned();
    Path::new(&path).ancestors().nth(3).unwrap().to_owned()
}

#[test]
fn what_was_imported_is_compared_where_it_is_told_to() {
    let home = workspace();
    home.write("state.json", "{}");
    home.json(&["checkpoint", "--workspace", "w", "--state", "state.json"]);
    within(&home, &["export", "latest", "../bundle"]);
    within(&home, &["import", "../bundle", "--as", "guest"]);
    let told = within_json(&home, &["diff", "latest", "--agent", "guest"]);
    assert_eq!(told["unplaced"], json!(["state", "workspace"]));
    let told = within(&home, &["diff", "latest", "--agent", "guest"]);
    assert!(told.err.contains("--workspace"), "{told}");
    home.write("w/new/n", "n\n");
    let arguments = ["diff", "latest", "--agent", "guest", "--workspace", "."];
    assert_eq!(by_path(&within_json(&home, &arguments))["new/n"]["change"], "added");
}

#[test]
fn looking_needs_no_lock() {
    let home = workspace();
    keep(&home);
    change(&home);
    let alone = within_json(&home, &["diff", "latest"]);
    let held = CheckpointManager::open(Options::new(store_of(&home))).unwrap();
    assert_eq!(within_json(&home, &["diff", "latest"]), alone);
    within(&home, &["show", "latest", "--files"]);
    drop(held);
}

#[test]
fn a_plan_is_short_and_the_end_of_a_restore_shorter() {
    let home = workspace();
    for n in 0..30 {
        home.write(&format!("w/many-{n}"), "x");
    }
    let first = keep(&home);
    change(&home);
    for n in 0..30 {
        home.write(&format!("w/many-{n}"), "changed");
    }
    let plan = within(&home, &["restore", &first, "--dry-run"]);
    let lines: Vec<&str> = plan.text().lines().collect();
    assert!(
        lines[0].starts_with("Would restore checkpoint 1 of default (routine, 37 files"),
        "{plan}"
    );
    assert!(lines[0].contains(" written, 2 removed, ") && lines.len() < 30, "{plan}");
    assert!(plan.text().contains("\n    and ") && plan.text().contains("    new/ and the 1 in it"));
    let json = within_json(&home, &["restore", &first, "--dry-run"]);
    assert!(json["files"]["written"].as_array().unwrap().len() > 30);
    let done = within(&home, &["restore", &first]);
    let lines: Vec<&str> = done.text().lines().collect();
    assert!(lines.len() == 2 && lines[0].starts_with("Restored checkpoint 1 of "), "{done}");
    assert!(lines[1].contains("`stateward undo` brings it back"), "{done}");
    assert_eq!(done.err, "", "no bar where nobody looks");
    assert_eq!(within(&home, &["diff", &first]).text(), "The two are the same.\n");
}

#[test]
fn the_library_tells_differences_and_how_far_it_has_come() {
    let home = workspace();
    let manager = CheckpointManager::open(Options::new(home.store())).unwrap();
    let told: Arc<[AtomicU64; 4]> = Arc::default();
    let seen = Arc::clone(&told);
    manager.on_progress(move |it| {
        let at = match it.work {
            Work::Scanning => 0,
            Work::Writing => 1,
            Work::Exporting => 2,
            _ => 3,
        };
        // Scans do not know their end; the others say so when they have come to it.
        if at == 0 || it.items_total == Some(it.items) {
            seen[at].fetch_max(it.items, Ordering::Relaxed);
        }
    });
    let agent = manager.agent("a").unwrap().workspace(home.path("w")).unwrap();
    let first = agent.create_checkpoint(Kind::Routine, &json!({})).unwrap();
    let first = first.checkpoint_id.to_string();
    home.write("w/a.txt", "another\n");
    home.write("notes.db", "n");
    let with_file = agent.clone().state_file(home.path("notes.db")).unwrap();
    let found = with_file.differences(&first, None).unwrap();
    let changed: Vec<_> = found.files.iter().filter(|one| !one.is_only_time()).collect();
    assert_eq!((changed.len(), changed[0].path.as_path()), (1, Path::new("a.txt")));
    assert!(changed[0].what.contains(&Aspect::Content));
    assert_eq!(found.state_files.len(), 1);
    assert_eq!(found.state_files[0].change, ChangeKind::Added);
    agent.restore_checkpoint(&first).unwrap();
    let bundle = agent.export(&first).unwrap();
    manager.agent("b").unwrap().import(&bundle).unwrap();
    let counts: Vec<u64> = told.iter().map(|count| count.load(Ordering::Relaxed)).collect();
    assert!(counts[0] >= 7 && counts[1] == 1, "{counts:?}");
    assert!(counts[2] > 7 && counts[2] == counts[3], "{counts:?}");
}
