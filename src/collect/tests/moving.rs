//! What changes while a scan runs, or so fast that its times do not show it.

use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

/// Scans a tree, with a change as soon as a call of this kind is made on a path; also where all that
/// is there is clearly older than the scan. Then one look may do, and the tree is kept as it was when
/// the scan began.
fn scan_around(op: Op, part: &str, change: fn(&Path)) {
    for is_old in [false, true] {
        scan_around_aged(op, part, change, is_old);
    }
}

/// Waits until what was written before is clearly older than what comes.
fn grow_old() {
    let clock = SystemClock::shared();
    let until = clock.now().plus(std::time::Duration::from_millis(50));
    while clock.now() < until {
        std::thread::yield_now();
    }
}

fn scan_around_aged(op: Op, part: &str, change: fn(&Path), is_old: bool) {
    let disk = FaultDisk::new(RealDisk::shared());
    let mut bench = Bench::on(disk.clone(), SystemClock::shared(), Options::default());
    bench.write("before", "1");
    bench.write("dir/victim", "the first content");
    bench.write("dir/other", "2");
    bench.write("dir/sub/deep", "3");
    symlink("before", bench.path("dir/link")).unwrap();
    if is_old {
        grow_old();
    }
    let before = live(&bench.root());
    let (root, gate) = (bench.root(), disk.hold(op, part));
    let scanned = std::thread::scope(|scope| {
        let scan = scope.spawn(|| bench.scan());
        gate.wait_for(1);
        change(&root);
        gate.release();
        scan.join().unwrap()
    });
    let found = bench.depot.tree(scanned.root.root);
    if !(is_old && found == before) {
        check_same(&found, &live(&root));
    }
    assert_eq!(scanned.unsettled, [] as [PathBuf; 0]);
    assert!(scanned.skipped.is_empty());
}

/// Scans, and counts the directories that were listed.
fn listed(bench: &mut Bench, disk: &FaultDisk) -> usize {
    disk.reset();
    bench.scan_whole();
    disk.count(Op::TreeReadDir)
}

#[test]
fn what_changed_clearly_before_the_scan_is_looked_at_once() {
    let disk = FaultDisk::new(RealDisk::shared());
    let mut bench = Bench::on(disk.clone(), SystemClock::shared(), Options::default());
    bench.write("a/victim", "1");
    bench.write("b/goes", "2");
    grow_old();
    assert_eq!(listed(&mut bench, &disk), 3);
    bench.write("a/victim", "1 changed");
    fs::rename(bench.path("b/goes"), bench.path("a/went")).unwrap();
    grow_old();
    assert_eq!(listed(&mut bench, &disk), 3);
    bench.write("a/victim", "so lately that it may change again");
    assert!(listed(&mut bench, &disk) > 3);
}

#[test]
fn what_moves_ahead_of_the_look_is_not_kept_twice_or_lost() {
    // Listed one after the other: what leaves one may come to the other behind the look's back.
    let options = Options { threads: 1, ..Options::default() };
    for (from, to) in [("one", "other"), ("other", "one")] {
        let disk = FaultDisk::new(RealDisk::shared());
        let mut bench = Bench::on(disk.clone(), SystemClock::shared(), options.clone());
        bench.write(&format!("{from}/wanders"), "1");
        bench.write(&format!("{to}/stays"), "2");
        grow_old();
        bench.scan_whole();
        bench.write(&format!("{from}/lets it be read"), "3");
        grow_old();
        let (before, root) = (live(&bench.root()), bench.root());
        let gate = disk.hold(Op::TreeReadDir, "other");
        let scanned = std::thread::scope(|scope| {
            let scan = scope.spawn(|| bench.scan());
            gate.wait_for(1);
            fs::rename(root.join(from).join("wanders"), root.join(to).join("wanders")).unwrap();
            gate.release();
            scan.join().unwrap()
        });
        let found = bench.depot.tree(scanned.root.root);
        if found != before {
            check_same(&found, &live(&root));
        }
    }
}

#[test]
fn a_clock_that_goes_back_during_a_scan_lets_it_look_again() {
    let disk = FaultDisk::new(RealDisk::shared());
    let start = SystemClock::shared().now().plus(std::time::Duration::from_secs(3600));
    let clock = ManualClock::starting_at(start);
    let mut bench = Bench::on(disk.clone(), clock.clone(), Options::default());
    bench.write("a", "1");
    let back = || clock.jump_to(crate::state::Timestamp::from_unix_ms(start.unix_ms() - 1000));
    let scanned = bench.depot.scan_while(&mut bench.workspace, Depth::Thorough, &back).unwrap();
    check_same(&bench.depot.tree(scanned.root.root), &live(&bench.root()));
    assert_eq!(disk.count(Op::TreeReadDir), 2);
}

/// Changes of `dir/victim`.
const CHANGES: [(&str, fn(&Path)); 8] = [
    ("written", |root| write(root, "dir/victim", "other content, longer")),
    ("written over", |root| write(root, "dir/victim", "the other content")),
    ("removed", |root| fs::remove_file(root.join("dir/victim")).unwrap()),
    ("replaced", |root| {
        write(root, "dir/new", "by rename");
        fs::rename(root.join("dir/new"), root.join("dir/victim")).unwrap();
    }),
    ("a directory", |root| {
        fs::remove_file(root.join("dir/victim")).unwrap();
        write(root, "dir/victim/now", "in it");
    }),
    ("a link", |root| {
        fs::remove_file(root.join("dir/victim")).unwrap();
        symlink("../before", root.join("dir/victim")).unwrap();
    }),
    ("moved", |root| fs::rename(root.join("dir"), root.join("elsewhere")).unwrap()),
    ("all gone", |root| fs::remove_dir_all(root.join("dir")).unwrap()),
];

fn scan_around_changes(op: Op, part: &str) {
    for (name, change) in CHANGES {
        println!("{name}");
        scan_around(op, part, change);
    }
}

#[test]
fn a_file_that_changes_before_it_is_opened_is_kept_as_it_became() {
    scan_around_changes(Op::TreeOpen, "victim");
}

#[test]
fn a_file_that_changes_while_it_is_read_is_kept_as_it_became() {
    scan_around_changes(Op::Read, "victim");
}

#[test]
fn a_directory_that_changes_before_it_is_listed_is_kept_as_it_became() {
    scan_around_changes(Op::TreeReadDir, "dir");
    scan_around(Op::TreeReadDir, "dir", |root| {
        fs::rename(root.join("dir"), root.join("away")).unwrap();
        symlink("/etc", root.join("dir")).unwrap();
    });
}

#[test]
fn a_link_that_changes_before_it_is_read_is_kept_as_it_became() {
    scan_around(Op::TreeReadLink, "link", |root| {
        fs::remove_file(root.join("dir/link")).unwrap();
        symlink("elsewhere", root.join("dir/link")).unwrap();
    });
    scan_around(Op::TreeReadLink, "link", |root| {
        fs::remove_file(root.join("dir/link")).unwrap();
        write(root, "dir/link", "a file");
    });
}

#[test]
fn what_was_passed_already_is_seen_by_the_second_look() {
    // The other thread's directories are done by the time this file is opened.
    let options = Options { threads: 1, ..Options::default() };
    let disk = FaultDisk::new(RealDisk::shared());
    let mut bench = Bench::on(disk.clone(), SystemClock::shared(), options);
    bench.write("a/first", "1");
    bench.write("b/second", "2");
    let (a, b) = (bench.path("a/first"), bench.path("b/second"));
    let calls = AtomicU64::new(0);
    let scanned = bench.depot.scan_while(&mut bench.workspace, Depth::Thorough, &|| {
        if calls.fetch_add(1, Ordering::Relaxed) == 0 {
            fs::write(&a, "1 changed").unwrap();
            fs::write(&b, "2 changed").unwrap();
        }
    });
    let scanned = scanned.unwrap();
    check_same(&bench.depot.tree(scanned.root.root), &live(&bench.root()));
}

#[test]
fn what_never_holds_still_is_named_and_the_scan_ends() {
    let disk = FaultDisk::new(RealDisk::shared());
    let mut bench = Bench::on(disk, SystemClock::shared(), Options::default());
    bench.write("still", "1");
    bench.write("moving", "0");
    let (path, count) = (bench.path("moving"), AtomicU64::new(0));
    // Each look ends with something handed over; then the file changes again.
    let scanned = bench.depot.scan_while(&mut bench.workspace, Depth::Thorough, &|| {
        fs::write(&path, "x".repeat(count.fetch_add(1, Ordering::Relaxed) as usize + 2)).unwrap();
    });
    assert_eq!(scanned.unwrap().unsettled, [PathBuf::from("moving")]);
    bench.workspace.confirm();
    bench.scan_whole();
}

#[test]
fn writes_too_fast_for_their_times_are_not_missed() {
    let mut bench = Bench::new();
    bench.write("other", "x");
    for n in 0..200 {
        // The same length, and as a program may do it, the same time of the content.
        bench.write("racy", format!("{n:05}"));
        let file = fs::File::options().write(true).open(bench.path("racy")).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        bench.scan_whole();
    }
}

#[test]
fn a_clock_that_goes_back_lets_everything_be_read_again() {
    let disk = FaultDisk::new(RealDisk::shared());
    let start = SystemClock::shared().now().plus(std::time::Duration::from_secs(3600));
    let clock = ManualClock::starting_at(start);
    let mut bench = Bench::on(disk.clone(), clock.clone(), Options::default());
    (0..20).for_each(|n| bench.write(&format!("{n}"), "x"));
    bench.scan();
    let opened = |bench: &mut Bench| {
        disk.reset();
        bench.scan_whole();
        disk.count(Op::TreeOpen)
    };
    assert_eq!(opened(&mut bench), 0);
    clock.jump_to(crate::state::Timestamp::from_unix_ms(start.unix_ms() - 1000));
    assert_eq!(opened(&mut bench), 20);
    assert_eq!(opened(&mut bench), 0);
}

#[test]
fn thirty_thousand_fast_writes_are_all_there() {
    let mut bench = Bench::new();
    (0..30_000).for_each(|n| bench.write(&format!("{}/{n}", n % 40), n.to_string()));
    assert_eq!(bench.scan_whole().files, 30_000);
    (0..30_000).step_by(3).for_each(|n| bench.write(&format!("{}/{n}", n % 40), "changed"));
    (1..30_000)
        .step_by(300)
        .for_each(|n| fs::remove_file(bench.path(&format!("{}/{n}", n % 40))).unwrap());
    assert_eq!(bench.scan_whole().files, 29_900);
}

/// Writes through a mapping do not change times until the system writes the page back.
#[test]
#[cfg(target_os = "linux")]
fn writes_through_a_mapping_are_not_missed() {
    use std::io::{BufRead, BufReader, Write};
    use std::process::{Command, Stdio};

    const WRITER: &str = "
import mmap, sys
f = open(sys.argv[1], 'r+b')
m = mmap.mmap(f.fileno(), 0)
for line in sys.stdin:
    m[0:8] = line.strip().encode().ljust(8)
    print('done', flush=True)
";
    let mut bench = Bench::new();
    bench.write("mapped", vec![b'-'; 4096]);
    let writer = Command::new("python3")
        .args(["-c", WRITER])
        .arg(bench.path("mapped"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut writer) = writer else {
        println!("skipped: there is no python3");
        return;
    };
    let mut input = writer.stdin.take().unwrap();
    let mut output = BufReader::new(writer.stdout.take().unwrap()).lines();
    for n in 0..20 {
        writeln!(input, "{n}").unwrap();
        output.next().unwrap().unwrap();
        bench.scan_whole();
    }
    // The last write is seen also when the writer is gone.
    writeln!(input, "last").unwrap();
    output.next().unwrap().unwrap();
    drop(input);
    writer.wait().unwrap();
    bench.scan_whole();
    assert_eq!(&fs::read(bench.path("mapped")).unwrap()[..8], b"last    ");
}
