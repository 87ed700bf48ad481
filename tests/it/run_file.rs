//! `run` and the file that an agent keeps its state in: nothing in it goes without being kept, and no
//! other file's state comes into it.

use crate::cli_home::Home;

#[test]
fn a_state_file_that_is_not_whole_is_kept_before_it_is_put_back() {
    let home = Home::new();
    home.done(&["checkpoint", "--state-command", "echo '{\"later\":1}'"]);
    let edited = b"{\"goal\":\"mine\",}";
    home.write("m.json", edited);
    let ran = home.done(&["run", "--state", "m.json", "--", "true"]);
    assert!(ran.err.contains("put back from checkpoint 1"), "{ran}");
    assert_eq!(home.read("m.json"), b"{\"later\":1}\n");
    let kept = home.done(&["restore", "latest:recovery", "--state-out", "-"]);
    assert_eq!(kept.out, edited, "{kept}");
}

#[test]
fn a_file_that_was_never_kept_is_not_made_from_the_state_of_another() {
    let home = Home::new();
    home.write("old.json", "{\"of\":\"old\"}");
    home.done(&["checkpoint", "--state", "old.json"]);
    let ran = home.done(&["run", "--state", "new.json", "--", "test", "!", "-e", "new.json"]);
    assert!(ran.err.contains("new.json") && ran.err.contains("--agent"), "{ran}");
    assert!(!home.path("new.json").exists());
    std::fs::remove_file(home.path("old.json")).unwrap();
    home.done(&["run", "--state", "old.json", "--", "test", "-e", "old.json"]);
}

#[test]
fn a_directory_that_was_moved_takes_its_state_file_with_it() {
    let home = Home::new();
    home.write("here/m.json", "{\"n\":1}");
    let mut keep = home.command(&["checkpoint", "--state", "m.json"]);
    keep.current_dir(home.path("here")).assert().success();
    std::fs::rename(home.path("here"), home.path("there")).unwrap();
    std::fs::remove_file(home.path("there/m.json")).unwrap();
    let mut run = home.command(&["run", "--state", "m.json", "--", "test", "-e", "m.json"]);
    run.current_dir(home.path("there")).assert().success();
}

#[test]
fn names_that_no_file_has_in_the_end_are_told() {
    let home = Home::new();
    let named = ["m.json", "notes-*.txt", "t.jsonl"];
    let flags = ["run", "--state", named[0], "--state-file", named[1], "--transcript", named[2]];
    let ran = home.done(&[&flags[..], &["--", "true"]].concat());
    for name in named {
        let line = format!("there is no file {}", home.path(name).display());
        assert!(ran.err.contains(&line), "{ran}");
    }
    let makes = "echo '{}' > m.json; echo > notes-1.txt; echo '{}' > t.jsonl";
    let ran = home.done(&[&flags[..], &["--", "sh", "-c", makes]].concat());
    assert!(!ran.err.contains("there is no file"), "{ran}");
}
