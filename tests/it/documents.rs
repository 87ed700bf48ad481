//! The documents are true: the commands in the README answer as they are shown to, and the files
//! that a document names are there.

use std::path::Path;
use std::process::Command;

fn document(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The commands of a document's `console` blocks, each with what it is shown to print.
fn shown(text: &str) -> Vec<(String, String)> {
    let mut commands: Vec<(String, String)> = Vec::new();
    let blocks = text.split("```console\n").skip(1).filter_map(|rest| rest.split("```").next());
    for line in blocks.flat_map(str::lines) {
        match line.strip_prefix("$ ") {
            Some(command) => commands.push((command.to_owned(), String::new())),
            None => commands.last_mut().unwrap().1 += &[line, "\n"].concat(),
        }
    }
    commands
}

/// The words of an answer that are the same every time: no ids, times, sizes or absolute paths.
fn lasting(answer: &str) -> Vec<&str> {
    let changes = |word: &str| word.contains(|letter: char| letter.is_ascii_digit());
    let units = ["B", "KiB", "MiB", "B,"];
    answer
        .split_whitespace()
        .filter(|word| !changes(word) && !word.starts_with('/') && !units.contains(word))
        .collect()
}

#[test]
fn the_readme_can_be_followed_word_for_word() {
    let home = tempfile::tempdir().unwrap();
    let binaries = Path::new(env!("CARGO_BIN_EXE_stateward")).parent().unwrap();
    let path = std::env::var("PATH").unwrap();
    let commands = shown(&document("README.md"));
    assert!(commands.len() > 10, "{commands:?}");
    for (command, answer) in commands {
        let ran = Command::new("sh")
            .args(["-c", &format!("exec 2>&1\n{command}")])
            .current_dir(home.path())
            .env_clear()
            .env("HOME", home.path())
            .env("PATH", format!("{}:{path}", binaries.display()))
            .output()
            .unwrap();
        let told = String::from_utf8(ran.stdout).unwrap();
        assert!(ran.status.success(), "{command}\n{told}");
        assert_eq!(lasting(&told), lasting(&answer), "{command}\n{told}");
    }
}

/// The `text` blocks of the README: what its first command prints, and the end of the lives.
fn pictures() -> [String; 2] {
    let readme = document("README.md");
    let blocks = readme.split("```text\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.map(str::to_owned).collect::<Vec<_>>().try_into().unwrap()
}

#[test]
fn the_lives_in_the_readme_are_those_of_the_example() {
    let [_, lives] = pictures();
    let told = crate::example::told();
    assert!(told.contains(&lives), "{told}");
}

#[test]
fn the_first_command_of_the_readme_prints_what_it_shows() {
    if Command::new("python3").arg("--version").output().is_err() {
        return eprintln!("python3 is not installed");
    }
    let readme = document("README.md");
    let command = readme.lines().find_map(|line| line.strip_prefix("cargo run -- ")).unwrap();
    let home = tempfile::tempdir().unwrap();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    std::os::unix::fs::symlink(examples, home.path().join("examples")).unwrap();
    let mut words = command.split(' ');
    let ran = Command::new(env!("CARGO_BIN_EXE_stateward"))
        .args(&mut words)
        .current_dir(home.path())
        .env("HOME", home.path())
        .output()
        .unwrap();
    let [picture, _] = pictures();
    let said = String::from_utf8(ran.stdout).unwrap();
    let told = String::from_utf8(ran.stderr).unwrap();
    let (of_us, of_it): (Vec<&str>, Vec<&str>) =
        picture.lines().partition(|line| line.starts_with("stateward: "));
    assert_eq!(said.lines().collect::<Vec<_>>(), of_it, "{told}");
    assert_eq!(lasting(&told), lasting(&of_us.join("\n")), "{told}");
    assert!(ran.status.success());
}

fn is_called(word: &str, extension: &str) -> bool {
    Path::new(word).extension().is_some_and(|found| found == extension)
}

#[test]
fn the_files_that_documents_name_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let documents = [
        "README.md",
        "docs/architecture.md",
        "docs/drift.md",
        "docs/format.md",
        "docs/guarantees.md",
    ];
    let mut missing = Vec::new();
    for name in documents {
        let text = document(name);
        for word in text.split(|letter: char| "`() \n".contains(letter)) {
            let word = word.trim_end_matches([',', '.', ':', ';']);
            let path = if word.contains('/') || is_called(word, "md") {
                word.into()
            } else if is_called(word, "rs") && name == "docs/guarantees.md" {
                format!("tests/it/{word}")
            } else {
                continue;
            };
            let ours =
                ["src/", "tests/", "docs/", "examples/"].iter().any(|it| path.starts_with(it));
            let beside = Path::new(name).parent().unwrap();
            let there = root.join(&path).exists() || root.join(beside).join(&path).exists();
            if ours && !there {
                missing.push(format!("{name}: {path}"));
            }
        }
    }
    assert_eq!(missing, Vec::<String>::new());
}
