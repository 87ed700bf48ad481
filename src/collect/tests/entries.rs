//! Every kind of entry is kept as it is.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use super::*;

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
    // A file, a page of its directory and what is above it, the root.
    let count = bench.depot.take_count();
    assert!(count <= 4, "{count} blocks");
    fs::File::options().write(true).open(bench.path("large")).unwrap().set_len(3_900_000).unwrap();
    bench.scan_whole();
    let count = bench.depot.take_count();
    assert!(count <= 5, "{count} blocks");
}
