//! Restores of workspaces, from the plan to the last sync.

mod crash;
mod fault;
mod forest;
mod meddling;
mod planning;
mod random;
mod surprises;

use std::convert::Infallible;
use std::path::Path;

use self::forest::{Forest, Shelf, build, look, normal, scan};
use super::*;
use crate::disk::{Disk, DiskTree, MemoryDisk};
use crate::state::CheckpointId;

/// The recovery checkpoint of every restore here.
fn id() -> CheckpointId {
    "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap()
}

/// No path at all.
const NOWHERE: [PathBuf; 0] = [];

/// What lets everything be touched.
fn free(scope: &Scope) -> Rules<'_> {
    Rules { scope, keep: &|_, _| false, holds: &|_| false, foreign: &|_| false, force: false }
}

/// Two trees that are kept, and what turns one into the other.
struct Case {
    shelf: Shelf,
    plan: TreePlan,
}

impl Case {
    fn new(now: &Forest, wanted: &Forest) -> Self {
        Self::by(now, wanted, &free(&Scope::default()))
    }

    fn by(now: &Forest, wanted: &Forest, rules: &Rules<'_>) -> Self {
        let mut shelf = Shelf::default();
        let (now, wanted) = (shelf.keep(now), shelf.keep(wanted));
        let list = |_: &Path, dir: &_| Ok::<_, Infallible>(shelf.list(dir));
        let now = Side { root: Some(now), list: &list };
        let wanted = Side { root: Some(wanted), list: &list };
        let Ok(plan) = plan_tree(&now, &wanted, rules);
        Self { shelf, plan }
    }

    /// The whole way through a restore that nothing disturbs.
    fn restore(&self, tree: &dyn DiskTree) {
        let seen = scan(tree);
        let content = self.shelf.content();
        let restore = Restore::new(tree, &self.plan, id(), &content);
        restore.stage(&|_| {}).unwrap();
        let outcome = restore.apply(&|path| seen.get(path).copied(), false).unwrap();
        let Outcome::Done(report) = outcome else { panic!("{outcome:?}") };
        assert!(report.left.is_empty() && report.kept.is_empty(), "{report:?}");
        assert_eq!(restore.clear(Way::Forward, Some(&report)).unwrap(), NOWHERE);
    }
}

fn memory(forest: &Forest) -> (MemoryDisk, std::sync::Arc<dyn DiskTree>) {
    let disk = MemoryDisk::new();
    disk.create_dir("/w".as_ref()).unwrap();
    disk.sync_dir("/".as_ref()).unwrap();
    let tree = disk.tree("/w".as_ref()).unwrap();
    build(&*tree, forest);
    (disk, tree)
}
