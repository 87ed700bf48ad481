//! What every tree does, whatever disk it lies on.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::PathBuf;

use super::*;
use crate::disk::real::RealTree;
use crate::disk::{Disk, MemoryDisk, RealDisk};

/// A directory with `outside`, which nothing must reach, and `inside`, of which the tree is made.
struct World {
    home: Arc<dyn DiskTree>,
    tree: Arc<dyn DiskTree>,
    _dir: Option<tempfile::TempDir>,
}

impl World {
    fn new(open: impl Fn(&Path) -> Arc<dyn DiskTree>, dir: Option<tempfile::TempDir>) -> Self {
        let path = dir.as_ref().map_or(Path::new("/"), tempfile::TempDir::path);
        let home = open(path);
        for dir in ["outside", "outside/dir", "inside"] {
            home.create_dir(at(dir)).unwrap();
        }
        let tree = open(&path.join("inside"));
        make(&*home, "outside/secret", b"secret");
        Self { home, tree, _dir: dir }
    }
}

/// Shows a behaviour on the disk in memory and on the real one, walked in both ways.
fn check(behaviour: impl Fn(&World)) {
    let real = || Some(tempfile::tempdir().unwrap());
    let memory = MemoryDisk::new();
    println!("in memory");
    behaviour(&World::new(|path| memory.tree(path).unwrap(), None));
    println!("on the real disk");
    behaviour(&World::new(|path| RealDisk.tree(path).unwrap(), real()));
    println!("on the real disk, step by step");
    behaviour(&World::new(|path| Arc::new(RealTree::open_to_step(path).unwrap()), real()));
}

fn at(path: &str) -> &Path {
    Path::new(path)
}

fn make(tree: &dyn DiskTree, path: &str, bytes: &[u8]) -> Arc<dyn DiskFile> {
    let file = tree.create(at(path)).unwrap();
    file.write_all_at(bytes, 0).unwrap();
    file
}

fn read(tree: &dyn DiskTree, path: &str) -> Vec<u8> {
    let file = tree.open(at(path)).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    let len = file.read_at(&mut bytes, 0).unwrap();
    assert_eq!(len, bytes.len());
    bytes
}

fn stat(tree: &dyn DiskTree, path: &str) -> Stat {
    tree.stat(at(path)).unwrap()
}

fn names(tree: &dyn DiskTree, path: &str) -> Vec<OsString> {
    let mut names: Vec<_> =
        tree.read_dir(at(path)).unwrap().entries.into_iter().map(|(name, _)| name).collect();
    names.sort();
    names
}

fn kind<T>(result: io::Result<T>) -> ErrorKind {
    result.err().expect("it must fail").kind()
}

const MOMENT: FileTime = FileTime { secs: 1_234_567_890, nanos: 123_456_789 };

/// What each call that takes a path answers; `f` is a file that is there.
fn every_call(tree: &dyn DiskTree, path: &Path) -> BTreeMap<&'static str, io::Result<()>> {
    BTreeMap::from([
        ("stat", tree.stat(path).map(drop)),
        ("read_dir", tree.read_dir(path).map(drop)),
        ("open", tree.open(path).map(drop)),
        ("read_link", tree.read_link(path).map(drop)),
        ("create", tree.create(path).map(drop)),
        ("create_dir", tree.create_dir(path)),
        ("create_link", tree.create_link("t".as_ref(), path)),
        ("hard_link from", tree.hard_link(path, at("new"))),
        ("hard_link to", tree.hard_link(at("f"), path)),
        ("rename from", tree.rename(path, at("new"))),
        ("rename to", tree.rename(at("f"), path)),
        ("remove_file", tree.remove_file(path)),
        ("remove_dir", tree.remove_dir(path)),
        ("set_mode", tree.set_mode(path, 0o777)),
        ("set_modified", tree.set_modified(path, MOMENT)),
        ("sync_dir", tree.sync_dir(path)),
    ])
}

/// All facts of `outside`.
fn outside(world: &World) -> BTreeMap<OsString, Stat> {
    let listing = world.home.read_dir(at("outside")).unwrap();
    let own = stat(&*world.home, "outside");
    listing.entries.into_iter().chain([("".into(), own)]).collect()
}

#[test]
fn no_link_on_the_way_is_followed() {
    check(|world| {
        let tree = &*world.tree;
        tree.create_dir(at("dir")).unwrap();
        tree.create_dir(at("dir/dir")).unwrap();
        make(tree, "f", b"");
        make(tree, "dir/secret", b"");
        tree.create_link("../outside".as_ref(), at("way")).unwrap();
        tree.create_link("dir".as_ref(), at("within")).unwrap();
        let before = outside(world);
        for way in ["way", "within", "dir/../way"] {
            for name in ["secret", "dir", "none", "dir/deeper"] {
                for (call, answer) in every_call(tree, &at(way).join(name)) {
                    assert!(answer.is_err(), "{call} {way}/{name}");
                }
            }
        }
        assert_eq!(outside(world), before);
        assert_eq!(names(tree, "dir"), ["dir", "secret"]);
    });
}

#[test]
fn no_link_at_the_end_is_followed() {
    check(|world| {
        let tree = &*world.tree;
        make(tree, "f", b"");
        let before = outside(world);
        for target in ["../outside/secret", "../outside", "../outside/none"] {
            tree.create_link(target.as_ref(), at("link")).unwrap();
            for call in ["read_dir", "open", "create", "create_dir", "create_link", "hard_link to"]
                .into_iter()
                .chain(["rename to", "remove_dir", "set_mode", "sync_dir"])
            {
                assert!(one_call(tree, call, at("link")).is_err(), "{call} {target}");
            }
            tree.set_modified(at("link"), MOMENT).unwrap();
            let found = stat(tree, "link");
            assert_eq!((found.kind, found.modified), (NodeKind::Link, MOMENT));
            assert_eq!(found.len, target.len() as u64);
            assert_eq!(tree.read_link(at("link")).unwrap(), target);
            tree.hard_link(at("link"), at("same")).unwrap();
            assert_eq!(stat(tree, "same").kind, NodeKind::Link);
            tree.rename(at("same"), at("other")).unwrap();
            tree.remove_file(at("link")).unwrap();
            tree.remove_file(at("other")).unwrap();
        }
        assert_eq!(outside(world), before);
        assert_eq!(names(tree, ""), ["f"]);
    });
}

fn one_call(tree: &dyn DiskTree, call: &str, path: &Path) -> io::Result<()> {
    match call {
        "read_dir" => tree.read_dir(path).map(drop),
        "open" => tree.open(path).map(drop),
        "create" => tree.create(path).map(drop),
        "create_dir" => tree.create_dir(path),
        "create_link" => tree.create_link("t".as_ref(), path),
        "hard_link to" => tree.hard_link(at("f"), path),
        "rename to" => tree.rename(at("f"), path),
        "remove_dir" => tree.remove_dir(path),
        "set_mode" => tree.set_mode(path, 0o777),
        "sync_dir" => tree.sync_dir(path),
        _ => panic!("{call} is not one of the calls"),
    }
}

#[test]
fn a_link_that_took_the_place_of_a_directory_leads_nowhere() {
    check(|world| {
        let tree = &*world.tree;
        tree.create_dir(at("d")).unwrap();
        make(tree, "d/secret", b"mine");
        assert_eq!(read(tree, "d/secret"), b"mine");
        tree.rename(at("d"), at("e")).unwrap();
        tree.create_link("../outside".as_ref(), at("d")).unwrap();
        assert!(tree.open(at("d/secret")).is_err() && tree.read_dir(at("d")).is_err());
        assert!(tree.remove_file(at("d/secret")).is_err());
        assert_eq!(read(&*world.home, "outside/secret"), b"secret");
        assert_eq!(read(tree, "e/secret"), b"mine");
    });
}

#[test]
fn a_link_that_comes_and_goes_never_leads_out() {
    check(|world| {
        let tree = &*world.tree;
        tree.create_dir(at("d")).unwrap();
        make(tree, "d/secret", b"mine");
        tree.create_link("../outside".as_ref(), at("l")).unwrap();
        let swaps = [("d", "x"), ("l", "d"), ("d", "l"), ("x", "d")];
        std::thread::scope(|scope| {
            let swapper = scope.spawn(|| {
                for (from, to) in swaps.iter().cycle().take(4 * 500) {
                    tree.rename(at(from), at(to)).unwrap();
                }
            });
            while !swapper.is_finished() {
                if let Ok(file) = tree.open(at("d/secret")) {
                    assert_eq!(file.len().unwrap(), 4, "outside it has more bytes");
                }
                drop(tree.set_mode(at("d/secret"), 0o640));
                drop(tree.create(at("d/new")));
            }
        });
        assert_eq!(stat(&*world.home, "outside/secret").mode, 0o600);
        assert_eq!(names(&*world.home, "outside"), ["dir", "secret"]);
        assert_eq!(read(tree, "d/secret"), b"mine");
    });
}

#[test]
fn only_plain_paths_are_taken() {
    check(|world| {
        let tree = &*world.tree;
        make(tree, "f", b"");
        tree.create_dir(at("a")).unwrap();
        let before = (outside(world), names(tree, ""));
        for path in ["..", "../outside/secret", "a/../f", "a/..", "/", "/etc", ".", "./f", "a/."] {
            for (call, answer) in every_call(tree, at(path)) {
                assert_eq!(kind(answer), ErrorKind::InvalidInput, "{call} {path}");
            }
        }
        for path in ["a/./f", "a//f", "a/", "f\0", "a\0/f"] {
            for (call, answer) in every_call(tree, at(path)) {
                assert_eq!(kind(answer), ErrorKind::InvalidInput, "{call} {path:?}");
            }
        }
        assert_eq!((outside(world), names(tree, "")), before);
    });
}

#[test]
fn the_root_is_a_directory_without_a_name() {
    check(|world| {
        let tree = &*world.tree;
        make(tree, "f", b"");
        let named = ["create", "create_dir", "create_link", "hard_link to", "rename to"];
        for call in named.into_iter().chain(["open", "remove_dir"]) {
            assert!(one_call(tree, call, at("")).is_err(), "{call}");
        }
        assert!(tree.rename(at(""), at("r")).is_err() && tree.remove_file(at("")).is_err());
        tree.set_mode(at(""), 0o750).unwrap();
        tree.set_modified(at(""), MOMENT).unwrap();
        tree.sync_dir(at("")).unwrap();
        let own = stat(tree, "");
        assert_eq!((own.kind, own.mode, own.modified), (NodeKind::Dir, 0o750, MOMENT));
        assert_eq!(own, stat(&*world.home, "inside"));
        assert_eq!(tree.read_dir(at("")).unwrap().own, own);
    });
}

#[test]
fn a_rename_replaces_nothing() {
    check(|world| {
        let tree = &*world.tree;
        for dir in ["d", "empty"] {
            tree.create_dir(at(dir)).unwrap();
        }
        make(tree, "f", b"f");
        make(tree, "g", b"g");
        tree.create_link("f".as_ref(), at("l")).unwrap();
        for (from, to) in [("f", "g"), ("f", "empty"), ("d", "empty"), ("f", "l"), ("f", "f")] {
            let answer = kind(tree.rename(at(from), at(to)));
            assert_eq!(answer, ErrorKind::AlreadyExists, "{from} to {to}");
        }
        assert_eq!(kind(tree.rename(at("d"), at("d/e"))), ErrorKind::InvalidInput);
        assert_eq!(kind(tree.rename(at("none"), at("n"))), ErrorKind::NotFound);
        assert_eq!(kind(tree.rename(at("f"), at("none/f"))), ErrorKind::NotFound);
        let inode = stat(tree, "f").inode;
        tree.rename(at("f"), at("d/f")).unwrap();
        tree.rename(at("d"), at("e")).unwrap();
        assert_eq!((stat(tree, "e/f").inode, read(tree, "e/f")), (inode, b"f".to_vec()));
        assert_eq!(names(tree, ""), ["e", "empty", "g", "l"]);
    });
}

#[test]
#[cfg(target_os = "linux")]
fn names_are_bytes() {
    use std::os::unix::ffi::OsStringExt;

    check(|world| {
        let tree = &*world.tree;
        let odd = [b"\xff\xfe".to_vec(), b"a\nb".to_vec(), b"-rf *".to_vec(), b" ".to_vec()];
        let mut odd: Vec<_> = odd.into_iter().map(OsString::from_vec).collect();
        odd.extend(["\u{e9}".into(), "e\u{301}".into(), "...".into(), "x".repeat(255).into()]);
        odd.sort();
        for name in &odd {
            let file = tree.create(Path::new(name)).unwrap();
            file.write_all_at(name.as_bytes(), 0).unwrap();
        }
        assert_eq!(names(tree, ""), odd);
        for name in &odd {
            let found = tree.open(Path::new(name)).unwrap().stat().unwrap();
            assert_eq!(found, tree.stat(Path::new(name)).unwrap());
            assert_eq!(found.len, name.len() as u64);
        }
        let link = OsString::from_vec(b"\xff/../\xfe".to_vec());
        tree.create_link(&link, at("link")).unwrap();
        assert_eq!(tree.read_link(at("link")).unwrap(), link);
        let long = "x".repeat(256);
        assert_eq!(kind(tree.create(at(&long))), ErrorKind::InvalidFilename);
    });
}

#[test]
fn times_are_kept_as_they_are_set() {
    check(|world| {
        let tree = &*world.tree;
        make(tree, "f", b"x");
        tree.create_dir(at("d")).unwrap();
        let times = [(0, 0), (-1, 999_999_999), (1_700_000_000, 1), (4_000_000_000, 7)];
        for (secs, nanos) in times {
            let modified = FileTime { secs, nanos };
            for path in ["f", "d"] {
                let before = stat(tree, path);
                tree.set_modified(at(path), modified).unwrap();
                let after = stat(tree, path);
                assert_eq!(after, Stat { modified, changed: after.changed, ..before });
                assert!(after.changed >= before.changed);
            }
        }
    });
}

#[test]
fn modes_are_kept_with_all_their_bits() {
    check(|world| {
        let tree = &*world.tree;
        let file = make(tree, "f", b"x");
        tree.create_dir(at("d")).unwrap();
        assert_eq!((stat(tree, "f").mode, stat(tree, "d").mode), (0o600, 0o700));
        for mode in [0o4751, 0o000, 0o222, 0o1777, 0o644] {
            for path in ["f", "d"] {
                tree.set_mode(at(path), mode).unwrap();
                assert_eq!(stat(tree, path).mode, mode, "{path}");
            }
        }
        tree.set_mode(at("f"), 0o100_640).unwrap();
        assert_eq!(file.stat().unwrap().mode, 0o640);
    });
}

#[test]
fn hard_links_are_counted() {
    check(|world| {
        let tree = &*world.tree;
        tree.create_dir(at("d")).unwrap();
        let file = make(tree, "f", b"one");
        tree.hard_link(at("f"), at("d/g")).unwrap();
        let (one, two) = (stat(tree, "f"), stat(tree, "d/g"));
        assert_eq!((one, one.links), (two, 2));
        file.write_all_at(b"two", 0).unwrap();
        assert_eq!(read(tree, "d/g"), b"two");
        assert_eq!(kind(tree.hard_link(at("f"), at("d/g"))), ErrorKind::AlreadyExists);
        assert_eq!(kind(tree.hard_link(at("d"), at("e"))), ErrorKind::PermissionDenied);
        tree.remove_file(at("f")).unwrap();
        assert_eq!(stat(tree, "d/g").links, 1);
        tree.remove_file(at("d/g")).unwrap();
        assert_eq!(file.stat().unwrap().links, 0);
    });
}

#[test]
fn only_regular_files_are_opened_and_only_to_read() {
    check(|world| {
        let tree = &*world.tree;
        tree.create_dir(at("d")).unwrap();
        make(tree, "d/f", b"bytes");
        assert_eq!(kind(tree.open(at("d"))), ErrorKind::IsADirectory);
        assert_eq!(kind(tree.open(at("none"))), ErrorKind::NotFound);
        assert_eq!(kind(tree.open(at("d/f/g"))), ErrorKind::NotADirectory);
        let file = tree.open(at("d/f")).unwrap();
        assert!(file.write_all_at(b"x", 0).is_err() && file.set_len(0).is_err());
        file.sync_all().unwrap();
        tree.rename(at("d/f"), at("g")).unwrap();
        assert_eq!(file.stat().unwrap(), stat(tree, "g"));
        assert_eq!((file.stat().unwrap().len, read(tree, "g")), (5, b"bytes".to_vec()));
    });
}

#[test]
fn a_directory_is_read_with_what_its_names_stand_for() {
    check(|world| {
        let tree = &*world.tree;
        tree.create_dir(at("d")).unwrap();
        tree.create_dir(at("d/e")).unwrap();
        make(tree, "d/f", b"12345").sync_all().unwrap();
        tree.create_link("f".as_ref(), at("d/l")).unwrap();
        let listing = tree.read_dir(at("d")).unwrap();
        assert_eq!((listing.own, listing.own.kind), (stat(tree, "d"), NodeKind::Dir));
        assert_eq!(listing.entries.len(), 3);
        for (name, found) in listing.entries {
            assert_eq!(found, tree.stat(&at("d").join(&name)).unwrap());
            let (kind, len) = match name.to_str().unwrap() {
                "e" => (NodeKind::Dir, found.len),
                "f" => (NodeKind::File, 5),
                _ => (NodeKind::Link, 1),
            };
            assert_eq!((found.kind, found.len), (kind, len), "{name:?}");
            assert_eq!(found.device, listing.own.device);
        }
        assert!(stat(tree, "d/f").allocated >= 5);
        assert_eq!(kind(tree.read_dir(at("d/f"))), ErrorKind::NotADirectory);
    });
}

#[test]
fn a_directory_that_went_away_is_not_found() {
    check(|world| {
        let tree = &*world.tree;
        tree.create_dir(at("d")).unwrap();
        tree.remove_dir(at("d")).unwrap();
        assert_eq!(kind(tree.read_dir(at("d"))), ErrorKind::NotFound);
        assert_eq!(kind(tree.stat(at("d/f"))), ErrorKind::NotFound);
        world.home.remove_dir(at("inside")).unwrap();
        assert_eq!(kind(tree.read_dir(at(""))), ErrorKind::NotFound);
        assert_eq!(kind(tree.create(at("f"))), ErrorKind::NotFound);
        assert_eq!(stat(tree, "").kind, NodeKind::Dir);
    });
}

#[test]
fn a_tree_stays_with_its_directory() {
    check(|world| {
        make(&*world.tree, "f", b"x");
        world.home.rename(at("inside"), at("outside/moved")).unwrap();
        assert_eq!(read(&*world.tree, "f"), b"x");
        make(&*world.tree, "g", b"y");
        assert_eq!(names(&*world.home, "outside/moved"), ["f", "g"]);
    });
}

#[test]
fn a_path_may_be_longer_than_one_call_takes() {
    check(|world| {
        let tree = &*world.tree;
        let mut path = PathBuf::new();
        for _ in 0..25 {
            path.push("d".repeat(200));
            tree.create_dir(&path).unwrap();
        }
        assert!(path.as_os_str().len() > 4096);
        let (file, moved) = (path.join("f"), path.join("g"));
        tree.create(&file).unwrap().write_all_at(b"deep", 0).unwrap();
        tree.rename(&file, &moved).unwrap();
        tree.set_mode(&moved, 0o640).unwrap();
        tree.sync_dir(&path).unwrap();
        let listing = tree.read_dir(&path).unwrap();
        assert_eq!(listing.entries, [("g".into(), tree.stat(&moved).unwrap())]);
        assert_eq!((listing.entries[0].1.len, listing.entries[0].1.mode), (4, 0o640));
        tree.create_link("../outside".as_ref(), &path.join("l")).unwrap();
        assert!(tree.open(&path.join("l/secret")).is_err());
    });
}

#[test]
#[cfg(target_os = "linux")]
fn everything_is_synced_at_once() {
    check(|world| {
        make(&*world.tree, "f", b"x");
        assert!(world.tree.sync_all().unwrap());
    });
}

#[test]
fn the_way_to_a_tree_may_lead_through_links() {
    let home = tempfile::tempdir().unwrap();
    let (memory, real) = (MemoryDisk::new(), RealDisk.tree(home.path()).unwrap());
    let memory: (&dyn Disk, _, &Path) = (&memory, memory.tree(at("/")).unwrap(), at("/"));
    for (disk, tree, path) in [memory, (&RealDisk, real, home.path())] {
        tree.create_dir(at("d")).unwrap();
        make(&*tree, "d/f", b"x");
        tree.create_link("d".as_ref(), at("l")).unwrap();
        tree.create_link("round".as_ref(), at("round")).unwrap();
        assert_eq!(read(&*disk.tree(&path.join("l")).unwrap(), "f"), b"x");
        assert_eq!(kind(disk.tree(&path.join("l/f"))), ErrorKind::NotADirectory);
        assert!(disk.tree(&path.join("round")).is_err());
        let canonical = disk.canonical(&path.join("l/f")).unwrap();
        assert_eq!(canonical, disk.canonical(path).unwrap().join("d/f"));
    }
}

#[test]
fn a_pipe_is_seen_and_neither_opened_nor_waited_for() {
    let home = tempfile::tempdir().unwrap();
    let tree = RealDisk.tree(home.path()).unwrap();
    let rights = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    let pipe = home.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rights, 0).unwrap();
    assert_eq!(kind(tree.open(at("pipe"))), ErrorKind::InvalidInput);
    assert_eq!(stat(&*tree, "pipe").kind, NodeKind::Other);
    assert_eq!(kind(tree.set_mode(at("pipe"), 0o777)), ErrorKind::InvalidInput);
    assert_eq!(stat(&*tree, "pipe").mode, 0o600);
    assert_eq!(tree.read_dir(at("")).unwrap().entries.len(), 1);
}
