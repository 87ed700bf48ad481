//! Every kind of entry is kept as it is.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use super::*;
use crate::state::Why;

#[test]
fn every_kind_of_entry_comes_back() {
    let mut bench = Bench::new();
    bench.write("a file", "hello");
    bench.write("empty", "");
    bench.write("deep/er/and/deeper", vec![7; 3_000_000]);
    fs::create_dir(bench.path("nothing in it")).unwrap();
    symlink("../outside", bench.path("link")).unwrap();
    symlink("a file", bench.path("deep/to a file")).unwrap();
    fs::set_permissions(bench.path("a file"), fs::Permissions::from_mode(0o6751)).unwrap();
    fs::set_permissions(bench.path("deep"), fs::Permissions::from_mode(0o1700)).unwrap();
    let scanned = bench.scan_whole();
    assert_eq!((scanned.files, scanned.bytes), (3, 3_000_005));
    assert!(scanned.changed && scanned.skipped.is_empty());
}

#[test]
fn what_did_not_change_is_not_put_again() {
    let mut bench = Bench::new();
    bench.write("large", noise(1, 4_000_000));
    (0..300).for_each(|n| bench.write(&format!("many/{n}"), n.to_string()));
    bench.scan_whole();
    bench.depot.take_count();
    for _ in 0..3 {
        let scanned = bench.scan_whole();
        assert!(!scanned.changed);
        assert_eq!(bench.depot.take_count(), 0);
    }
    bench.write("many/7", "changed");
    assert!(bench.scan_whole().changed);
    // A file, a page of its directory and the nodes above it, the root.
    let count = bench.depot.take_count();
    assert!(count <= 6, "{count} blocks");
    fs::File::options().write(true).open(bench.path("large")).unwrap().set_len(3_900_000).unwrap();
    bench.scan_whole();
    let count = bench.depot.take_count();
    assert!(count <= 12, "{count} blocks");
}

#[test]
fn names_that_lead_to_one_file_share_a_group() {
    let mut bench = Bench::new();
    bench.write("b/one", "linked");
    bench.write("alone", "has a name outside");
    fs::create_dir(bench.path("a")).unwrap();
    fs::hard_link(bench.path("b/one"), bench.path("a/two")).unwrap();
    fs::hard_link(bench.path("alone"), bench.home.path().join("outside")).unwrap();
    let groups = |bench: &Bench| {
        let files = bench.depot.files(bench.workspace.root().unwrap().root);
        ["a/two", "b/one", "alone"]
            .map(|path| files.get(Path::new(path)).and_then(|file| file.group))
    };
    bench.scan_whole();
    let first = u64::from_le_bytes(*blake3::hash(b"a/two").as_bytes().first_chunk().unwrap());
    assert_eq!(groups(&bench), [Some(first), Some(first), None]);

    fs::remove_file(bench.path("a/two")).unwrap();
    bench.scan_whole();
    assert_eq!(groups(&bench), [None, None, None]);

    fs::hard_link(bench.path("alone"), bench.path("a/two")).unwrap();
    bench.scan_whole();
    assert_eq!(groups(&bench), [Some(first), None, Some(first)]);
}

#[test]
fn files_with_holes_are_told_from_full_ones() {
    let mut bench = Bench::new();
    bench.write("full", vec![0; 100_000]);
    bench.write("small", "x");
    fs::File::create(bench.path("sparse")).unwrap().set_len(10_000_000).unwrap();
    let scanned = bench.scan_whole();
    let files = bench.depot.files(scanned.root.root);
    let holes = ["full", "small", "sparse"].map(|path| files[Path::new(path)].has_holes);
    assert_eq!(holes, [false, false, true]);
}

#[test]
fn odd_names_are_names() {
    let mut bench = Bench::new();
    let names: [&[u8]; 8] =
        [b"\xff\xfe not text", b"new\nline", b"-rf", b" ", b"..hidden", b"*", &[b'x'; 255], b"\\"];
    for name in names {
        fs::write(bench.root().join(OsStr::from_bytes(name)), name).unwrap();
        fs::create_dir_all(bench.path("in").join(OsStr::from_bytes(name))).unwrap();
    }
    bench.scan_whole();
    assert_eq!(bench.scan_whole().files, names.len() as u64);
}

#[test]
fn sockets_and_pipes_are_listed() {
    let mut bench = Bench::new();
    bench.write("file", "");
    let _socket = std::os::unix::net::UnixListener::bind(bench.path("socket")).unwrap();
    let mode = rustix::fs::Mode::RUSR;
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, bench.path("pipe"), fifo, mode, 0).unwrap();
    bench.scan();
    assert_eq!(bench.kept(), ["file"]);
    assert_eq!(
        bench.skipped(),
        ["pipe: neither a file nor a directory", "socket: neither a file nor a directory"]
    );
    assert_eq!(bench.workspace.left_out(Path::new("pipe")), Some(Why::Special));
    assert_eq!(bench.workspace.left_out(Path::new("file")), None);
}

#[test]
fn directories_end_at_a_depth() {
    let mut bench = Bench::new();
    let mut path = bench.root();
    (0..515).for_each(|_| path.push("d"));
    fs::create_dir_all(&path).unwrap();
    bench.scan();
    assert_eq!(bench.kept().len(), 512);
    assert_eq!(bench.skipped(), [format!("{}d: too deep", "d/".repeat(512))]);
}

#[test]
fn what_is_listed_is_what_was_kept() {
    let mut bench = Bench::new();
    bench.write("a/b", "1");
    bench.write("c", "22");
    assert!(bench.workspace.list(Path::new("")).is_none() && bench.workspace.root().is_none());
    bench.scan();
    let list = bench.workspace.list(Path::new("")).unwrap();
    let names: Vec<_> = list.iter().map(|(entry, _)| entry.name.clone()).collect();
    assert_eq!(names, ["a", "c"]);
    let found = fs::symlink_metadata(bench.path("a/b")).unwrap();
    let stat = bench.workspace.stat(Path::new("a/b")).unwrap();
    assert_eq!((stat.inode, stat.len, list[1].1.len), (found.ino(), 1, 2));
    for path in ["a/b/c", "a/x", "x/y"] {
        assert_eq!(bench.workspace.stat(Path::new(path)), None);
        assert!(bench.workspace.list(Path::new(path)).is_none());
    }
    assert_eq!(bench.workspace.stat(Path::new("")).unwrap().kind, crate::disk::NodeKind::Dir);
}
