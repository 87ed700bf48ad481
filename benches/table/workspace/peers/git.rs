//! git with a shadow repository, as coding agents use it: `GIT_DIR` elsewhere, everything added and
//! committed; back with `reset --hard` and `clean`.
//!
//! As it is, git syncs loose objects; with `core.fsync=all` also what names them. Files that it
//! checks out it never syncs. Nothing is packed in the background, which would fall on others.

use std::path::{Path, PathBuf};

use super::Tool;
use crate::retention::stored;
use crate::workspace::errand::Step;

pub const GIT: Tool = Tool {
    name: "git",
    program: "git",
    prepare: |home| prepare(home, "committed,loose-object"),
    keep,
    write_to,
    put_back: Some(put_back),
    stored_bytes: |home| stored(&repository(home)),
};

pub const GIT_SYNCED: Tool =
    Tool { name: "git, core.fsync=all", prepare: |home| prepare(home, "all"), ..GIT };

fn repository(home: &Path) -> PathBuf {
    home.join("repository")
}

fn git(home: &Path, tree: &Path) -> Step {
    Step::new("git", tree)
        .env("GIT_DIR", repository(home))
        .env("GIT_WORK_TREE", tree)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
}

fn prepare(home: &Path, fsync: &str) -> Vec<Step> {
    let set = |setting: &str| git(home, home).args("config").args(setting);
    vec![
        git(home, home).args("init --quiet"),
        set("core.fsync").arg(fsync),
        set("gc.auto 0"),
        set("maintenance.auto false"),
        set("user.name bench"),
        set("user.email bench@localhost"),
    ]
}

fn keep(home: &Path, tree: &Path) -> Vec<Step> {
    vec![
        git(home, tree).args("add --all"),
        git(home, tree).args("commit --quiet --allow-empty --message checkpoint"),
    ]
}

/// With an index of its own, or the next look at the tree would find the other place's files in it.
fn write_to(home: &Path, _: &Path, place: &Path) -> (Vec<Step>, PathBuf) {
    let step = git(home, place).env("GIT_INDEX_FILE", home.join("other-index"));
    (vec![step.args("reset --quiet --hard")], place.to_owned())
}

fn put_back(home: &Path, tree: &Path) -> Vec<Step> {
    vec![git(home, tree).args("reset --quiet --hard"), git(home, tree).args("clean --quiet -fd")]
}
