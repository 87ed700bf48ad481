//! Notices of change say where to look.

use super::*;

/// A bench that is watched.
fn watched() -> (Arc<FaultDisk>, Bench) {
    let disk = FaultDisk::new(RealDisk::shared());
    let mut bench = Bench::on(disk.clone(), later(), Options::default());
    (0..50).for_each(|n| bench.write(&format!("{}/deep/{n}", n % 7), "x"));
    bench.write("0/.statewardignore", "*.o\n");
    bench.scan_whole();
    bench.scan_whole();
    (disk, bench)
}

fn hinted(bench: &mut Bench) -> Scanned {
    let scanned = bench.depot.scan(&mut bench.workspace, Depth::Hinted);
    check_same(&bench.depot.tree(scanned.root.root), &live(&bench.root()));
    scanned
}

#[test]
fn nothing_is_looked_at_where_nothing_was_noticed() {
    let (disk, mut bench) = watched();
    for _ in 0..3 {
        disk.reset();
        let scanned = hinted(&mut bench);
        assert!(!scanned.changed);
        assert_eq!((disk.count(Op::TreeReadDir), disk.count(Op::MappedFiles)), (0, 0));
        assert!(disk.total() < 20, "{:?}", disk.calls());
    }
}

#[test]
fn what_was_noticed_is_looked_at_and_little_else() {
    let (disk, mut bench) = watched();
    bench.write("3/deep/3", "changed");
    disk.reset();
    assert!(hinted(&mut bench).changed);
    assert!(disk.count(Op::TreeReadDir) <= 4, "{:?}", disk.calls());
    assert_eq!(disk.count(Op::TreeOpen), 1);
}

#[test]
fn every_kind_of_change_is_noticed() {
    let changes: [(&str, fn(&Path)); 14] = [
        ("write", |root| write(root, "1/deep/1", "other")),
        ("append", |root| {
            let mut file = fs::File::options().append(true).open(root.join("1/deep/8")).unwrap();
            std::io::Write::write_all(&mut file, b"more").unwrap();
        }),
        ("new file", |root| write(root, "1/new", "n")),
        ("new in the root", |root| write(root, "new", "n")),
        ("remove", |root| fs::remove_file(root.join("2/deep/2")).unwrap()),
        ("mode", |root| {
            fs::set_permissions(root.join("1/deep/1"), fs::Permissions::from_mode(0o777)).unwrap();
        }),
        ("mode of a directory", |root| {
            fs::set_permissions(root.join("1/deep"), fs::Permissions::from_mode(0o711)).unwrap();
        }),
        ("time", |root| {
            let file = fs::File::open(root.join("1/deep/1")).unwrap();
            file.set_modified(std::time::UNIX_EPOCH).unwrap();
        }),
        ("directories at once", |root| write(root, "a/b/c/d/e/f", "deep down")),
        ("rename over", |root| fs::rename(root.join("new"), root.join("1/deep/1")).unwrap()),
        ("move a directory", |root| fs::rename(root.join("4/deep"), root.join("5/moved")).unwrap()),
        ("write where it went", |root| write(root, "5/moved/4", "after the move")),
        ("link", |root| std::os::unix::fs::symlink("x", root.join("6/link")).unwrap()),
        ("remove all", |root| fs::remove_dir_all(root.join("a")).unwrap()),
    ];
    let (disk, mut bench) = watched();
    for (name, change) in changes {
        println!("{name}");
        change(&bench.root());
        disk.reset();
        assert!(hinted(&mut bench).changed, "{name}");
        let looks = disk.count(Op::TreeReadDir);
        assert!(looks <= 20, "{name}: {looks} directories were looked into");
    }
}

#[test]
fn directories_that_trade_places_are_watched_where_they_went() {
    let (_, mut bench) = watched();
    for n in 0..20 {
        fs::rename(bench.path("1"), bench.path("aside")).unwrap();
        fs::rename(bench.path("2"), bench.path("1")).unwrap();
        fs::rename(bench.path("aside"), bench.path("2")).unwrap();
        assert!(hinted(&mut bench).changed);
        bench.write("1/deep/both", format!("{n} in one"));
        assert!(hinted(&mut bench).changed);
        bench.write("2/deep/both", format!("{n} in the other"));
        assert!(hinted(&mut bench).changed);
        fs::remove_dir_all(bench.path("3")).unwrap();
        bench.write("3/deep/again", format!("{n}"));
        assert!(hinted(&mut bench).changed);
        bench.write("3/deep/again", format!("{n} and more"));
        assert!(hinted(&mut bench).changed);
    }
}

#[test]
fn patterns_that_change_are_followed_below() {
    let (_, mut bench) = watched();
    bench.write("0/deep/a.o", "object");
    bench.write("0/deep/.o", "object");
    bench.depot.scan(&mut bench.workspace, Depth::Hinted);
    assert!(bench.workspace.left_out(Path::new("0/deep/a.o")).is_some());
    fs::remove_file(bench.path("0/.statewardignore")).unwrap();
    assert!(hinted(&mut bench).changed);
}

#[test]
fn too_many_changes_to_tell_have_everything_looked_at() {
    let (disk, mut bench) = watched();
    // More than the queue of notices holds, of which each write takes several.
    for n in 0..12_000 {
        bench.write(&format!("{}/deep/{n}", n % 7), "y");
    }
    disk.reset();
    assert_eq!(hinted(&mut bench).files, 12_001);
    bench.write("0/deep/0", "z");
    assert!(hinted(&mut bench).changed);
}

#[test]
fn a_walk_is_due_after_a_while() {
    let disk = FaultDisk::new(RealDisk::shared());
    let clock = ManualClock::starting_at(later().now());
    let mut bench = Bench::on(disk.clone(), clock.clone(), Options::default());
    bench.write("a/b", "x");
    bench.scan_whole();
    bench.scan_whole();
    let looks = |bench: &mut Bench| {
        disk.reset();
        hinted(bench);
        disk.count(Op::TreeReadDir)
    };
    assert_eq!(looks(&mut bench), 0);
    clock.advance(std::time::Duration::from_secs(299));
    assert_eq!(looks(&mut bench), 0);
    clock.advance(std::time::Duration::from_secs(1));
    assert_eq!(looks(&mut bench), 2);
    assert_eq!(looks(&mut bench), 0);
}

#[test]
fn a_root_that_was_replaced_is_walked_and_watched_anew() {
    let (_, mut bench) = watched();
    fs::rename(bench.root(), bench.home.path().join("old")).unwrap();
    bench.write("fresh/start", "1");
    assert!(hinted(&mut bench).changed);
    hinted(&mut bench);
    bench.write("fresh/start", "2");
    assert!(hinted(&mut bench).changed);
}

#[test]
fn without_a_watch_every_scan_looks_everywhere() {
    let disk = FaultDisk::new(RealDisk::shared());
    let options = Options { watch: false, ..Options::default() };
    let mut bench = Bench::on(disk.clone(), later(), options);
    bench.write("a/b", "x");
    for _ in 0..4 {
        disk.reset();
        hinted(&mut bench);
        assert!(disk.count(Op::TreeReadDir) >= 2);
    }
}

#[test]
fn a_failed_scan_loses_no_notice() {
    let (disk, mut bench) = watched();
    bench.write("1/deep/1", "changed");
    disk.inject(Fault::new(Errno::MFILE).on(Op::TreeOpen).at("1/deep/1").times(1));
    assert!(bench.depot.scan_while(&mut bench.workspace, Depth::Hinted, &|| {}).is_err());
    assert!(hinted(&mut bench).changed);
}
