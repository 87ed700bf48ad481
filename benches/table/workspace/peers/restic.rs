//! restic with a local repository and its cache, each snapshot with the one before as its parent.

use std::path::{Path, PathBuf};

use super::Tool;
use crate::retention::stored;
use crate::workspace::errand::Step;

pub const RESTIC: Tool = Tool {
    name: "restic",
    program: "restic",
    prepare: |home| vec![restic(home).args("init --quiet")],
    keep: |home, tree| vec![restic(home).args("backup --quiet").arg(tree)],
    write_to,
    put_back: None,
    stored_bytes: |home| stored(&repository(home)),
};

fn repository(home: &Path) -> PathBuf {
    home.join("repository")
}

fn restic(home: &Path) -> Step {
    Step::new("restic", home)
        .env("RESTIC_REPOSITORY", repository(home))
        .env("RESTIC_PASSWORD", "bench")
        .env("RESTIC_CACHE_DIR", home.join("cache"))
}

/// It makes the whole path of the tree again beneath the place.
fn write_to(home: &Path, tree: &Path, place: &Path) -> (Vec<Step>, PathBuf) {
    let step = restic(home).args("restore --quiet latest --target").arg(place);
    let beneath = tree.strip_prefix("/").expect("a tree's path is absolute");
    (vec![step], place.join(beneath))
}
