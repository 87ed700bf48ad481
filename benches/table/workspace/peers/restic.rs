//! restic with a local repository and its cache, each snapshot with the one before as its parent.

use std::path::{Path, PathBuf};

use super::Tool;
use crate::retention::stored;
use crate::workspace::errand::Step;

pub const RESTIC: Tool = Tool {
    name: "restic",
    program: "restic",
    prepare: |home| vec![restic("restic", home).args("init --quiet")],
    keep: |home, tree| vec![restic("restic", home).args("backup --quiet").arg(tree)],
    write_to: |home, tree, place| write_to("restic", home, tree, place),
    put_back: None,
    stored_bytes: |home| stored(&repository(home)),
};

fn repository(home: &Path) -> PathBuf {
    home.join("repository")
}

fn restic(program: &str, home: &Path) -> Step {
    Step::new(program, home)
        .env("RESTIC_REPOSITORY", repository(home))
        .env("RESTIC_PASSWORD", "bench")
        .env("RESTIC_CACHE_DIR", home.join("cache"))
}

/// It makes the whole path of the tree again beneath the place.
fn write_to(program: &str, home: &Path, tree: &Path, place: &Path) -> (Vec<Step>, PathBuf) {
    let step = restic(program, home).args("restore --quiet latest --target").arg(place);
    let beneath = tree.strip_prefix("/").expect("a tree's path is absolute");
    (vec![step], place.join(beneath))
}
