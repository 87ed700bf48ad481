//! Random trees under random changes: a scan that knows the ones before finds the same as one that
//! knows nothing, and both find what is there.

use std::os::unix::fs::symlink;

use proptest::prelude::*;

use super::*;

/// What is done to a tree; paths are chosen among a few, so that changes meet each other.
#[derive(Debug, Clone)]
enum Change {
    Write(u8, u16),
    Append(u8),
    Remove(u8),
    MakeDir(u8),
    Link(u8, u8),
    HardLink(u8, u8),
    Rename(u8, u8),
    Mode(u8, u32),
    Time(u8, u64),
    Ignore(u8, u8),
    Sparse(u8),
}

const PATHS: [&str; 14] = [
    "a", "b", "d", "d/a", "d/b", "d/e", "d/e/a", "d/e/f/g", "x.log", "d/x.log", "target",
    "target/a", "e", "e/d/a",
];
const PATTERNS: [&str; 5] = ["*.log\n", "!*.log\n", "d/\n/a\n", "!target\n", ""];

fn change() -> impl Strategy<Value = Change> {
    let path = 0..PATHS.len() as u8;
    prop_oneof![
        6 => (path.clone(), any::<u16>()).prop_map(|(path, seed)| Change::Write(path, seed)),
        1 => path.clone().prop_map(Change::Append),
        2 => path.clone().prop_map(Change::Remove),
        1 => path.clone().prop_map(Change::MakeDir),
        1 => (path.clone(), path.clone()).prop_map(|(a, b)| Change::Link(a, b)),
        1 => (path.clone(), path.clone()).prop_map(|(a, b)| Change::HardLink(a, b)),
        2 => (path.clone(), path.clone()).prop_map(|(a, b)| Change::Rename(a, b)),
        1 => (path.clone(), 0..0o1000u32).prop_map(|(path, mode)| Change::Mode(path, mode | 0o700)),
        1 => (path.clone(), any::<u32>()).prop_map(|(path, secs)| Change::Time(path, secs.into())),
        1 => (0..3u8, 0..PATTERNS.len() as u8).prop_map(|(dir, text)| Change::Ignore(dir, text)),
        1 => path.prop_map(Change::Sparse),
    ]
}

/// Does it; what cannot be done, because something stands in the way, is left undone.
fn make(root: &Path, change: &Change) -> std::io::Result<()> {
    let path = |at: u8| root.join(PATHS[at as usize]);
    match change {
        Change::Write(at, seed) => {
            fs::create_dir_all(path(*at).parent().unwrap())?;
            let bytes = noise((*seed).into(), usize::from(*seed) * usize::from(seed % 9));
            fs::write(path(*at), bytes)
        }
        Change::Append(at) => {
            let mut file = fs::File::options().append(true).open(path(*at))?;
            std::io::Write::write_all(&mut file, b"more")
        }
        Change::Remove(at) => fs::remove_file(path(*at)).or_else(|_| fs::remove_dir_all(path(*at))),
        Change::MakeDir(at) => fs::create_dir_all(path(*at)),
        Change::Link(target, at) => symlink(PATHS[*target as usize], path(*at)),
        Change::HardLink(from, to) => fs::hard_link(path(*from), path(*to)),
        Change::Rename(from, to) => fs::rename(path(*from), path(*to)),
        Change::Mode(at, mode) => {
            let found = fs::symlink_metadata(path(*at))?;
            if found.is_symlink() {
                return Ok(());
            }
            fs::set_permissions(path(*at), fs::Permissions::from_mode(*mode))
        }
        Change::Time(at, secs) => {
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(*secs);
            fs::File::open(path(*at))?.set_modified(time)
        }
        Change::Ignore(dir, text) => {
            let dir = root.join(["", "d", "d/e"][*dir as usize]);
            fs::write(dir.join(".statewardignore"), PATTERNS[*text as usize])
        }
        Change::Sparse(at) => fs::File::create(path(*at))?.set_len(50_000),
    }
}

/// What of a tree the rules leave, decided path by path.
fn without_ignored(tree: Tree, rules: &Rules) -> Tree {
    let is_kept = |path: &Path, kept: &Kept| !rules.ignores(path, matches!(kept, Kept::Dir { .. }));
    tree.into_iter().filter(|(path, kept)| is_kept(path, kept)).collect()
}

/// The rules, from the files that are there.
fn rules_of(root: &Path) -> Rules {
    let files = live(root).into_iter().filter_map(|(path, kept)| match kept {
        Kept::File { bytes, .. } if path.ends_with(".statewardignore") => {
            Some((path.parent().unwrap().to_owned(), bytes))
        }
        _ => None,
    });
    Rules::of_files(files.collect::<Vec<_>>(), true)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 400, ..ProptestConfig::default() })]
    #[test]
    fn what_is_known_makes_no_difference(
        steps in prop::collection::vec((prop::collection::vec(change(), 1..12), 0..3u8), 1..8),
    ) {
        let mut bench = Bench::new();
        for (changes, how) in steps {
            for change in &changes {
                // Something may stand in the way.
                let _done = make(&bench.root(), change);
            }
            let depth = if how == 0 { Depth::Hinted } else { Depth::Thorough };
            let scanned = bench.depot.scan(&mut bench.workspace, depth);
            let expected = without_ignored(live(&bench.root()), &rules_of(&bench.root()));
            check_same(&bench.depot.tree(scanned.root.root), &expected);
            prop_assert_eq!(scanned.files, expected.values().filter(|kept| matches!(kept, Kept::File { .. })).count() as u64);

            let mut afresh = Workspace::open(&RealDisk::shared(), later(), bench.place(), Options::default()).unwrap();
            let again = bench.depot.scan(&mut afresh, Depth::Thorough);
            prop_assert_eq!(again.root, scanned.root);
            // How large what is ignored is was found out when it was met first.
            let left_out = |scanned: &Scanned| {
                scanned.skipped.iter().map(|one| (one.path.clone(), one.why)).collect::<Vec<_>>()
            };
            prop_assert_eq!(left_out(&again), left_out(&scanned));
            prop_assert_eq!((again.files, again.bytes), (scanned.files, scanned.bytes));
            if how == 2 {
                let bytes = bench.workspace.cache().unwrap();
                bench.workspace = Workspace::open(&RealDisk::shared(), SystemClock::shared(), bench.place(), Options::default()).unwrap();
                prop_assert!(bench.workspace.take_cache(&bytes));
            }
        }
    }
}
