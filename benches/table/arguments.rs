//! The command line of the table.

use std::path::{Path, PathBuf};

/// A part of the table that runs on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    Commits,
    Handover,
    History,
    Interference,
    Opening,
    Retention,
    Fallback,
    Process,
    Memory,
    Workspace,
    Sidecar,
}

impl Group {
    pub const ALL: [Self; 11] = [
        Self::Commits,
        Self::Handover,
        Self::History,
        Self::Interference,
        Self::Opening,
        Self::Retention,
        Self::Fallback,
        Self::Process,
        Self::Memory,
        Self::Workspace,
        Self::Sidecar,
    ];

    fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

/// What was asked for.
#[derive(Debug)]
pub struct Arguments {
    pub groups: Vec<Group>,
    /// Fewer rounds, for a look.
    pub quick: bool,
    dir: PathBuf,
}

impl Arguments {
    pub fn parse(words: Vec<String>) -> Result<Self, String> {
        let mut arguments = Self {
            groups: Vec::new(),
            quick: false,
            dir: PathBuf::from(env!("CARGO_TARGET_TMPDIR")),
        };
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                // Cargo adds it.
                "--bench" => {}
                "--quick" => arguments.quick = true,
                "--dir" => arguments.dir = words.next().ok_or("--dir takes a path")?.into(),
                name => arguments.groups.push(group(name)?),
            }
        }
        if arguments.groups.is_empty() {
            arguments.groups.extend(Group::ALL);
        }
        Ok(arguments)
    }

    /// How many rounds to run where a full run takes `full`.
    pub fn rounds(&self, full: usize) -> usize {
        if self.quick { (full / 5).max(3) } else { full }
    }

    /// Where the measuring happens.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A fresh directory to measure in, removed when it is dropped.
    pub fn scratch(&self) -> tempfile::TempDir {
        std::fs::create_dir_all(&self.dir).expect("the directory to measure in can be made");
        tempfile::Builder::new()
            .prefix("stateward-bench-")
            .tempdir_in(&self.dir)
            .expect("a directory can be made where the measuring is to happen")
    }
}

fn group(name: &str) -> Result<Group, String> {
    let known = || Group::ALL.map(Group::name).join(", ");
    Group::ALL
        .into_iter()
        .find(|group| group.name() == name)
        .ok_or_else(|| format!("`{name}` is no group; there are {}", known()))
}
