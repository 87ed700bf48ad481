//! When a state file is worth a look, and when what is found there is what is meant.
//!
//! A function of what files look like from outside and of the time that is passed in. A file is
//! looked at when it did not change for the settling time. What is not whole then may be half of what
//! is being written, so it counts only when it stays so for longer, and when nobody has it open to
//! write.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::supervise::state_file::Print;

/// What is not whole has stayed so for so many times the settling time before it is believed.
const PATIENCE: u32 = 3;

/// What is known of the state files of an agent.
#[derive(Debug)]
pub(crate) struct Settling {
    settle: Duration,
    files: BTreeMap<PathBuf, File>,
}

#[derive(Debug)]
struct File {
    print: Option<Print>,
    since: Duration,
    /// It was judged as it stands now.
    judged: bool,
    /// It was there once.
    existed: bool,
}

impl Settling {
    pub(crate) fn new(settle: Duration) -> Self {
        Self { settle, files: BTreeMap::new() }
    }

    /// Takes what the files look like; those that are to be looked at now.
    pub(crate) fn due(
        &mut self,
        prints: impl IntoIterator<Item = (PathBuf, Option<Print>)>,
        now: Duration,
    ) -> Vec<PathBuf> {
        let mut listed = BTreeMap::new();
        for (path, print) in prints {
            let before = self.files.remove(&path);
            let existed = print.is_some() || before.as_ref().is_some_and(|file| file.existed);
            let same = before.filter(|file| file.print == print);
            let file = same.unwrap_or(File { print, since: now, judged: false, existed });
            listed.insert(path, file);
        }
        self.files = listed;
        let settled = |file: &File| {
            !file.judged && file.existed && now.saturating_sub(file.since) >= self.settle
        };
        let due = self.files.iter().filter(|(_, file)| settled(file));
        due.map(|(path, _)| path.clone()).collect()
    }

    /// Whether a file that is not whole has been as it is for so long that it is meant.
    pub(crate) fn is_lasting(&self, path: &Path, now: Duration) -> bool {
        let patience = self.settle.saturating_mul(PATIENCE);
        self.files.get(path).is_some_and(|file| now.saturating_sub(file.since) >= patience)
    }

    /// Whether a file still looks as it did when it was last taken in.
    pub(crate) fn is_as_seen(&self, path: &Path, print: Option<Print>) -> bool {
        self.files.get(path).is_some_and(|file| file.print == print)
    }

    /// Notes that a file was judged as it stands.
    pub(crate) fn judged(&mut self, path: &Path) {
        if let Some(file) = self.files.get_mut(path) {
            file.judged = true;
        }
    }

    /// Forgets what was judged: a command begins, and others may have had their hands in it.
    pub(crate) fn begin(&mut self) {
        self.files.values_mut().for_each(|file| file.judged = false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Disk, MemoryDisk};

    const SETTLE: Duration = Duration::from_secs(1);
    const PATH: &str = "/m.json";

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    struct Case {
        disk: MemoryDisk,
        settling: Settling,
    }

    impl Case {
        fn new() -> Self {
            Self { disk: MemoryDisk::new(), settling: Settling::new(SETTLE) }
        }

        fn put(&self, text: &str) {
            self.disk.put(Path::new(PATH), text.as_bytes());
        }

        fn is_due(&mut self, ms: u64) -> bool {
            let print = Print::of(&self.disk, Path::new(PATH));
            !self.settling.due([(PATH.into(), print)], at(ms)).is_empty()
        }
    }

    #[test]
    fn what_was_written_since_the_look_is_not_as_it_was_seen() {
        let mut case = Case::new();
        case.put("");
        assert!(!case.is_due(0));
        let print = |case: &Case| Print::of(&case.disk, Path::new(PATH));
        assert!(case.settling.is_as_seen(Path::new(PATH), print(&case)));
        case.put("{}");
        assert!(!case.settling.is_as_seen(Path::new(PATH), print(&case)));
        assert!(!case.settling.is_as_seen(Path::new("/another"), None));
    }

    #[test]
    fn a_file_is_looked_at_once_it_settled() {
        let mut case = Case::new();
        case.put("{}");
        assert!(!case.is_due(0));
        case.put("{\"n\":1}");
        assert!(!case.is_due(900) && !case.is_due(1899));
        assert!(case.is_due(1900) && case.is_due(2000), "it stays due until it is judged");
        case.settling.judged(Path::new(PATH));
        assert!(!case.is_due(100_000));
        case.settling.begin();
        assert!(case.is_due(100_001));
    }

    #[test]
    fn what_is_not_whole_has_to_stay_so() {
        let mut case = Case::new();
        case.put("{\"n\"");
        case.is_due(0);
        assert!(case.is_due(1000) && !case.settling.is_lasting(Path::new(PATH), at(2999)));
        assert!(case.settling.is_lasting(Path::new(PATH), at(3000)));
        case.put("{\"n\":1");
        assert!(!case.is_due(3001) && !case.settling.is_lasting(Path::new(PATH), at(3001)));
    }

    #[test]
    fn a_file_that_never_was_is_not_missed() {
        let mut case = Case::new();
        assert!(!case.is_due(0) && !case.is_due(100_000));
        case.put("{}");
        case.is_due(100_001);
        case.disk.remove_file(Path::new(PATH)).unwrap();
        assert!(!case.is_due(200_000) && case.is_due(201_000));
    }
}
