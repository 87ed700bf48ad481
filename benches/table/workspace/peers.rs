//! Who is measured side by side: what keeps trees of files with one command, each with a repository
//! of its own, and each at its defaults where it does not say otherwise.
//!
//! All of them keep the same tree, which lies apart from their repositories and is changed for all of
//! them at once. None of them changes it, except where it puts back what was changed; what they touch
//! then is the same for each.

pub mod borg;
pub mod git;
pub mod restic;
pub mod rustic;
pub mod stateward;

use std::fs;
use std::path::{Path, PathBuf};

use super::errand::{self, Spent, Step};

/// A program, and the commands that make it do the work of a row. Each is given the directory for its
/// repository and caches.
pub struct Tool {
    pub name: &'static str,
    pub program: &'static str,
    /// Makes an empty repository.
    pub prepare: fn(home: &Path) -> Vec<Step>,
    /// Keeps a tree as it is now.
    pub keep: fn(home: &Path, tree: &Path) -> Vec<Step>,
    /// Writes what was kept last into an empty directory, and says where the tree then lies in it.
    pub write_to: fn(home: &Path, tree: &Path, place: &Path) -> (Vec<Step>, PathBuf),
    /// Makes the tree again what was kept last, writing what differs alone; not all can.
    pub put_back: Option<fn(home: &Path, tree: &Path) -> Vec<Step>>,
    /// Bytes that the repository takes.
    pub stored_bytes: fn(home: &Path) -> u64,
}

/// A tool with a repository.
pub struct Peer {
    pub tool: &'static Tool,
    home: PathBuf,
}

impl Peer {
    /// Those of `tools` that are there to be run, each in a directory of its own below `dir`.
    pub fn all(dir: &Path, tools: &[&'static Tool]) -> Vec<Self> {
        let here = tools.iter().filter(|tool| errand::is_there(tool.program));
        here.map(|tool| Self { tool, home: dir.join(tool.name) }).collect()
    }

    /// Begins again with an empty repository and no caches.
    pub fn prepare(&self) {
        if self.home.exists() {
            fs::remove_dir_all(&self.home).expect("a repository can be removed");
        }
        fs::create_dir_all(&self.home).expect("a directory can be made");
        errand::run(&(self.tool.prepare)(&self.home));
    }

    pub fn keep(&self, tree: &Path) -> Spent {
        errand::run(&(self.tool.keep)(&self.home, tree))
    }

    pub fn stored_bytes(&self) -> f64 {
        (self.tool.stored_bytes)(&self.home) as f64
    }

    /// Restores all into a new directory; `synced` counts a sync of it too. Answers where the tree
    /// lies.
    pub fn write_to(&self, tree: &Path, place: &Path, synced: bool) -> (Spent, PathBuf) {
        fs::create_dir(place).expect("a directory can be made");
        let (mut steps, root) = (self.tool.write_to)(&self.home, tree, place);
        if synced {
            steps.push(Step::new("sync", place).args("--file-system ."));
        }
        (errand::run(&steps), root)
    }

    pub fn put_back(&self, tree: &Path) -> Spent {
        let put_back = self.tool.put_back.expect("only those that can are asked");
        errand::run(&put_back(&self.home, tree))
    }
}
