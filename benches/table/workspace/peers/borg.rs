//! borg with a local repository without encryption, and its caches.

use std::path::{Path, PathBuf};

use super::Tool;
use crate::retention::stored;
use crate::workspace::errand::Step;

pub const BORG: Tool = Tool {
    name: "borg",
    program: "borg",
    prepare: |home| vec![borg(home, home).args("init --encryption none").arg(repository(home))],
    keep,
    write_to,
    put_back: None,
    stored_bytes: |home| stored(&repository(home)),
};

fn repository(home: &Path) -> PathBuf {
    home.join("repository")
}

fn archive(home: &Path, name: &str) -> String {
    format!("{}::{name}", repository(home).display())
}

fn borg(home: &Path, dir: &Path) -> Step {
    Step::new("borg", dir)
        .env("BORG_BASE_DIR", home)
        .env("BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK", "yes")
}

fn keep(home: &Path, tree: &Path) -> Vec<Step> {
    let unheard_of = archive(home, "{now:%Y-%m-%dT%H-%M-%S.%f}");
    vec![borg(home, tree).args("create").arg(unheard_of).arg(".")]
}

/// It knows an archive by its name alone, which is asked for before the clock starts.
fn write_to(home: &Path, _: &Path, place: &Path) -> (Vec<Step>, PathBuf) {
    let last = borg(home, home).args("list --short --last 1").arg(repository(home)).said();
    let step = borg(home, place).args("extract").arg(archive(home, last.trim()));
    (vec![step], place.to_owned())
}
