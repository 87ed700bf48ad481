//! What is left out, and that it is said.

use super::*;
use crate::state::Why;

#[test]
fn what_can_be_made_again_is_left_out_with_its_size() {
    let mut bench = Bench::new();
    bench.write("src/main", "kept");
    bench.write("node_modules/a/b", vec![1; 1500]);
    bench.write("src/target/debug/x", vec![1; 20]);
    bench.write("cache/CACHEDIR.TAG", b"Signature: 8a477f597d28d172789f06886806bc55\n# mine");
    bench.write("cache/deep/down", vec![1; 1000]);
    bench.write("no-cache/CACHEDIR.TAG", "Signature: something else");
    bench.write("no-cache/target", "a file");
    for _ in 0..2 {
        bench.scan();
        assert_eq!(
            bench.kept(),
            ["no-cache", "no-cache/CACHEDIR.TAG", "no-cache/target", "src", "src/main"]
        );
        assert_eq!(
            bench.skipped(),
            [
                "cache: ignored by default (1.0 KB)",
                "node_modules: ignored by default (1.5 KB)",
                "src/target: ignored by default (20 B)",
            ]
        );
    }
    let rules = bench.workspace.rules();
    assert!(rules.ignores(Path::new("cache/deep/down"), false));
    assert!(!rules.ignores(Path::new("no-cache/target"), false));
    assert_eq!(bench.workspace.left_out(Path::new("cache/deep")), Some(Why::IgnoredByDefault));

    fs::remove_file(bench.path("cache/CACHEDIR.TAG")).unwrap();
    bench.write("no-cache/CACHEDIR.TAG", b"Signature: 8a477f597d28d172789f06886806bc55");
    bench.write("node_modules/more", vec![1; 8]);
    bench.scan();
    assert_eq!(bench.kept(), ["cache", "cache/deep", "cache/deep/down", "src", "src/main"]);
    assert_eq!(bench.skipped()[0], "no-cache: ignored by default (49 B)");
    assert_eq!(bench.skipped()[1], "node_modules: ignored by default (1.5 KB)");
    assert!(!bench.workspace.rules().ignores(Path::new("cache"), true));
}

#[test]
fn a_store_is_no_part_of_a_workspace_whoever_s_it_is() {
    let mut bench = Bench::new();
    bench.write("src/main", "kept");
    bench.write("src/store.json", "a file of that name alone");
    bench.write(".stateward/log/1.log", "2");
    bench.scan();
    assert_eq!(
        bench.kept(),
        [
            ".stateward",
            ".stateward/log",
            ".stateward/log/1.log",
            "src",
            "src/main",
            "src/store.json"
        ]
    );
    bench.write(".stateward/store.json", "{}");
    bench.write(".stateward/lock", "");
    for _ in 0..2 {
        bench.scan();
        assert_eq!(bench.kept(), ["src", "src/main", "src/store.json"]);
        assert_eq!(bench.skipped(), [".stateward: a store"]);
        bench.write(".stateward/log/1.log", "longer than before");
    }
    fs::remove_file(bench.path(".stateward/store.json")).unwrap();
    bench.scan();
    assert_eq!(bench.kept().len(), 7, "it is a directory like another again");
}

#[test]
fn without_defaults_all_of_it_is_kept() {
    let mut bench = Bench::with(Options { ignore_defaults: false, ..Options::default() });
    bench.write("node_modules/a", "");
    bench.write("cache/CACHEDIR.TAG", b"Signature: 8a477f597d28d172789f06886806bc55");
    bench.scan_whole();
    assert!(bench.skipped().is_empty());
}

#[test]
fn patterns_are_followed_as_they_change() {
    let mut bench = Bench::new();
    bench.write("a.log", "1");
    bench.write("sub/b.log", "2");
    bench.write("sub/build/c", "3");
    bench.write("sub/target/d", "4");
    bench.write(".statewardignore", "*.log\nbuild/\n");
    bench.scan();
    assert_eq!(bench.kept(), [".statewardignore", "sub"]);
    let ignored = "ignored by .statewardignore";
    assert_eq!(
        bench.skipped(),
        [
            format!("a.log: {ignored}"),
            format!("sub/b.log: {ignored}"),
            format!("sub/build: {ignored}"),
            "sub/target: ignored by default (1 B)".into(),
        ]
    );
    bench.depot.take_count();
    bench.write("sub/.statewardignore", "!*.log\n!target\n");
    bench.scan();
    assert_eq!(
        bench.kept(),
        [
            ".statewardignore",
            "sub",
            "sub/.statewardignore",
            "sub/b.log",
            "sub/target",
            "sub/target/d"
        ]
    );
    bench.write(".statewardignore", "build/\n");
    fs::remove_file(bench.path("sub/.statewardignore")).unwrap();
    bench.scan();
    assert_eq!(bench.kept(), [".statewardignore", "a.log", "sub", "sub/b.log"]);
    fs::remove_file(bench.path(".statewardignore")).unwrap();
    bench.scan();
    assert_eq!(bench.kept(), ["a.log", "sub", "sub/b.log", "sub/build", "sub/build/c"]);
}

#[test]
fn new_patterns_have_nothing_read_again_that_is_kept() {
    let disk = FaultDisk::new(RealDisk::shared());
    let mut bench = Bench::on(disk.clone(), later(), Options::default());
    (0..50).for_each(|n| bench.write(&format!("many/{n}"), "x"));
    bench.write("early", "");
    bench.scan();
    bench.write(".statewardignore", "1?\n");
    disk.reset();
    bench.scan();
    assert_eq!(bench.scan().files, 50 - 10 + 2);
    let opened = disk.calls().into_iter().filter(|call| call.op == Op::TreeOpen);
    let many = opened.filter(|call| call.path.to_string_lossy().contains("many")).count();
    assert_eq!(many, 0);
}

#[test]
fn ignored_paths_are_listed_to_a_limit_and_then_counted() {
    let mut bench = Bench::new();
    bench.write(".statewardignore", "x*\n");
    (0..1234).for_each(|n| bench.write(&format!("x{n:04}"), ""));
    let pipe = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, bench.path("z"), pipe, rustix::fs::Mode::RUSR, 0).unwrap();
    bench.scan();
    let skipped = bench.workspace.skipped();
    assert_eq!((skipped.len(), skipped[998].others, skipped[999].others), (1001, 0, 234));
    assert_eq!(skipped[1000].why, Why::Special);
}

#[test]
fn large_files_are_listed_until_they_are_small() {
    let mut bench = Bench::with(Options { file_bytes_max: ByteSize(1000), ..Options::default() });
    bench.write("large", vec![0; 1001]);
    bench.write("fits", vec![0; 1000]);
    bench.scan();
    assert_eq!(bench.kept(), ["fits"]);
    assert_eq!(bench.skipped(), ["large: larger than allowed (1.0 KB)"]);
    bench.write("large", "small");
    bench.write("fits", vec![0; 5000]);
    bench.scan();
    assert_eq!(bench.kept(), ["large"]);
    assert_eq!(bench.skipped(), ["fits: larger than allowed (5.0 KB)"]);
}

#[test]
fn a_store_is_left_out_wherever_it_lies() {
    let mut bench = Bench::new();
    bench.write("deep/here/log/1", "the store");
    bench.write("deep/kept", "");
    // The place that was given for the store leads there only now.
    std::os::unix::fs::symlink(bench.path("deep/here"), bench.home.path().join("store")).unwrap();
    bench.scan();
    assert_eq!(bench.kept(), ["deep", "deep/kept"]);
    assert_eq!(bench.skipped(), ["deep/here: a store"]);
}

#[test]
fn a_store_made_later_is_left_out_from_then_on() {
    let mut bench = Bench::new();
    bench.write("s/f", "");
    bench.scan_whole();
    std::os::unix::fs::symlink(bench.path("s"), bench.home.path().join("store")).unwrap();
    bench.scan();
    assert_eq!(bench.kept(), [] as [&str; 0]);
    fs::remove_file(bench.home.path().join("store")).unwrap();
    bench.scan_whole();
}

#[test]
fn what_a_restore_stages_is_neither_kept_nor_listed() {
    let mut bench = Bench::new();
    bench.write(".stateward-restore-1/new/x", "");
    bench.write(".stateward-restore-file", "");
    bench.write("sub/.stateward-restore-1/x", "");
    bench.scan();
    assert_eq!(
        bench.kept(),
        [
            ".stateward-restore-file",
            "sub",
            "sub/.stateward-restore-1",
            "sub/.stateward-restore-1/x"
        ]
    );
    assert!(bench.skipped().is_empty());
}

#[test]
fn too_much_or_in_a_store_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let open = |root: &Path, stores: &[&str], force| {
        let stores = stores.iter().map(|store| home.path().join(store)).collect();
        let place = Place { root: root.to_owned(), stores, force };
        Workspace::open(&RealDisk::shared(), SystemClock::shared(), place, Options::default())
    };
    fs::create_dir_all(home.path().join("store/log")).unwrap();
    fs::create_dir_all(home.path().join("beside")).unwrap();
    fs::write(home.path().join("file"), "").unwrap();
    let kind = |result: Result<Workspace, Error>| result.unwrap_err().kind();
    assert_eq!(kind(open(Path::new("/"), &[], false)), ErrorKind::Refused);
    assert_eq!(kind(open(&home.path().join("none"), &[], false)), ErrorKind::NotFound);
    assert_eq!(kind(open(&home.path().join("file"), &[], true)), ErrorKind::NotFound);
    for inside in ["store", "store/log"] {
        let result = open(&home.path().join(inside), &["elsewhere", "store"], true);
        assert_eq!(kind(result), ErrorKind::Refused, "{inside}");
    }
    assert!(open(&home.path().join("beside"), &["store"], false).is_ok());
    assert!(open(home.path(), &["store"], false).is_ok());
    assert!(open(Path::new("/"), &[], true).is_ok());
    if let Some(user) = std::env::var_os("HOME").filter(|user| Path::new(user).is_dir()) {
        assert_eq!(kind(open(Path::new(&user), &[], false)), ErrorKind::Refused);
        assert!(open(Path::new(&user), &[], true).is_ok());
    }
    let nonsense = Options { threads: 1000, ..Options::default() };
    let place = Place { root: home.path().to_owned(), stores: Vec::new(), force: false };
    let result = Workspace::open(&RealDisk::shared(), SystemClock::shared(), place, nonsense);
    assert_eq!(kind(result), ErrorKind::Usage);
}

#[test]
fn what_cannot_be_read_is_listed_until_it_can() {
    let disk = FaultDisk::new(RealDisk::shared());
    let mut bench = Bench::on(disk.clone(), SystemClock::shared(), Options::default());
    for path in ["open", "closed", "shut/inside", "broken"] {
        bench.write(path, path);
    }
    bench.scan_whole();
    disk.inject(Fault::new(Errno::ACCESS).on(Op::TreeOpen).at("closed"));
    disk.inject(Fault::new(Errno::ACCESS).on(Op::TreeReadDir).at("shut"));
    disk.inject(Fault::new(Errno::IO).on(Op::Read).at("broken"));
    // Only what changed is opened, only a directory is read each time.
    bench.write("broken", "again");
    bench.write("closed", "again");
    for _ in 0..2 {
        let scanned = bench.scan();
        assert_eq!(bench.kept(), ["open"]);
        assert_eq!(scanned.unsettled, [] as [PathBuf; 0]);
        let lines = ["broken", "closed", "shut"].map(|path| format!("{path}: cannot be read"));
        assert_eq!(bench.skipped(), lines);
    }
    disk.heal();
    bench.scan_whole();
    assert!(bench.skipped().is_empty());
}

#[test]
fn a_shortage_says_nothing_about_what_is_there() {
    for (errno, op) in [
        (Errno::MFILE, Op::TreeOpen),
        (Errno::NFILE, Op::TreeReadDir),
        (Errno::NOMEM, Op::TreeReadLink),
    ] {
        let disk = FaultDisk::new(RealDisk::shared());
        let mut bench = Bench::on(disk.clone(), SystemClock::shared(), Options::default());
        bench.write("sub/file", "x");
        std::os::unix::fs::symlink("x", bench.path("sub/link")).unwrap();
        disk.inject(Fault::new(errno).on(op).at("sub"));
        let result = bench.depot.scan_while(&mut bench.workspace, Depth::Thorough, &|| {});
        assert!(matches!(result, Err(Error::Io { .. })), "{op:?}");
        disk.heal();
        bench.scan_whole();
    }
}
