//! rustic with a local repository and its cache, each snapshot with the one before as its parent.

use std::path::{Path, PathBuf};

use super::Tool;
use crate::retention::stored;
use crate::workspace::errand::Step;

pub const RUSTIC: Tool = Tool {
    name: "rustic",
    program: "rustic",
    prepare: |home| vec![rustic(home).arg("init")],
    keep: |home, tree| vec![rustic(home).arg("backup").arg(tree)],
    write_to: |home, tree, place| (vec![restore(home, tree).arg(place)], place.to_owned()),
    put_back: Some(|home, tree| vec![restore(home, tree).arg(tree).arg("--delete")]),
    stored_bytes: |home| stored(&repository(home)),
};

fn repository(home: &Path) -> PathBuf {
    home.join("repository")
}

fn rustic(home: &Path) -> Step {
    Step::new("rustic", home)
        .env("RUSTIC_REPOSITORY", repository(home))
        .env("RUSTIC_PASSWORD", "bench")
        .env("RUSTIC_CACHE_DIR", home.join("cache"))
        .env("RUSTIC_NO_PROGRESS", "true")
        .env("RUSTIC_LOG_LEVEL", "warn")
}

/// It names the tree in the snapshot by its whole path.
fn restore(home: &Path, tree: &Path) -> Step {
    rustic(home).arg("restore").arg(format!("latest:{}", tree.display()))
}
