//! Which directories a look goes into.

use std::collections::{HashMap, HashSet};

use super::known::{DirId, Known};

/// Which known directories a look goes into; unknown ones always, and all below them.
#[derive(Debug)]
pub(super) enum Extent {
    All,
    Marked(Marks),
}

/// Directories to look into, and the way to them from the root.
#[derive(Debug, Default)]
pub(super) struct Marks {
    looks: HashSet<DirId>,
    under: HashMap<DirId, Vec<DirId>>,
}

impl Marks {
    pub(super) fn of(known: &Known, dirs: impl IntoIterator<Item = DirId>) -> Self {
        let mut marks = Self::default();
        let mut reached = HashSet::new();
        for id in dirs.into_iter().filter(|id| known.dir(*id).is_some()) {
            marks.looks.insert(id);
            let mut at = id;
            while reached.insert(at) {
                let above = known.dir(at).and_then(|dir| dir.position.as_ref());
                let Some(position) = above else { break };
                marks.under.entry(position.parent).or_default().push(at);
                at = position.parent;
            }
        }
        marks
    }

    /// The directories that are looked into.
    pub(super) fn looks(&self) -> impl Iterator<Item = DirId> {
        self.looks.iter().copied()
    }

    /// What the way leads into right below a directory.
    pub(super) fn under(&self, id: DirId) -> &[DirId] {
        self.under.get(&id).map_or(&[], Vec::as_slice)
    }
}

impl Extent {
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Marked(marks) if marks.looks.is_empty())
    }

    /// Whether the way leads into a known directory.
    pub(super) fn reaches(&self, id: DirId) -> bool {
        match self {
            Self::All => true,
            Self::Marked(marks) => marks.looks.contains(&id) || marks.under.contains_key(&id),
        }
    }

    /// Whether a known directory is looked into, and not only passed.
    pub(super) fn looks_into(&self, id: DirId) -> bool {
        match self {
            Self::All => true,
            Self::Marked(marks) => marks.looks.contains(&id),
        }
    }
}
