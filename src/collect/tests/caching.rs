//! What is known, carried to the next process.

use super::*;

fn bench_with_something() -> Bench {
    let mut bench = Bench::on(RealDisk::shared(), later(), Options::default());
    bench.write("a", "1");
    bench.write("empty", "");
    bench.write("dir/deep/b", noise(2, 600_000));
    bench.write("target/x", "2");
    fs::hard_link(bench.path("a"), bench.path("dir/c")).unwrap();
    std::os::unix::fs::symlink("a", bench.path("link")).unwrap();
    fs::File::create(bench.path("sparse")).unwrap().set_len(100_000).unwrap();
    (0..300).for_each(|n| bench.write(&format!("many/{n}"), "x"));
    bench.scan_whole_but(&["target", "target/x"]);
    bench
}

/// A workspace of the same place that takes over what was known.
fn taken_over(bench: &Bench, disk: &Arc<dyn Disk>, bytes: &[u8]) -> (Workspace, bool) {
    let mut workspace = Workspace::open(disk, later(), bench.place(), Options::default()).unwrap();
    let is_taken = workspace.take_cache(bytes);
    (workspace, is_taken)
}

#[test]
fn nothing_is_read_again_by_who_takes_it_over() {
    let bench = bench_with_something();
    let bytes = bench.workspace.cache().unwrap();
    let disk = FaultDisk::new(RealDisk::shared());
    let (mut workspace, is_taken) = taken_over(&bench, &(disk.clone() as Arc<dyn Disk>), &bytes);
    assert!(is_taken);
    assert_eq!(workspace.root(), bench.workspace.root());
    assert_eq!(workspace.leans_on(), bench.workspace.leans_on());
    bench.depot.take_count();
    disk.reset();
    let scanned = bench.depot.scan(&mut workspace, Depth::Thorough);
    assert_eq!((scanned.changed, bench.depot.take_count()), (false, 0));
    assert_eq!((disk.count(Op::TreeOpen), disk.count(Op::TreeReadLink)), (0, 0));
    assert_eq!(scanned.files, 305);
    assert_eq!(workspace.skipped(), bench.workspace.skipped());
    assert_eq!(workspace.cache().unwrap().len(), bytes.len());

    bench.write("many/7", "changed");
    disk.reset();
    let scanned = bench.depot.scan(&mut workspace, Depth::Thorough);
    assert!(scanned.changed);
    assert_eq!(disk.count(Op::TreeOpen), 1);
    // A page of the directory, the nodes over it, the root's page, and the content. The nodes end
    // where digests say, so the file's time decides whether they are one or two with one above.
    let count = bench.depot.take_count();
    assert!(count <= 6, "{count} blocks");
}

#[test]
fn a_damaged_one_is_not_taken() {
    let bench = bench_with_something();
    let disk = RealDisk::shared();
    let bytes = bench.workspace.cache().unwrap();
    for at in 0..bytes.len() {
        // In a debug build each copy takes a while to check; the later ones are all alike.
        if at > 3000 && at % 97 != 0 {
            continue;
        }
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        assert!(!taken_over(&bench, &disk, &damaged).1, "byte {at}");
        assert!(!taken_over(&bench, &disk, &bytes[..at]).1, "cut to {at}");
    }
    assert!(!taken_over(&bench, &disk, &[bytes.as_slice(), &[0]].concat()).1);
    assert!(taken_over(&bench, &disk, &bytes).1);
}

#[test]
fn one_of_another_workspace_or_other_rules_is_not_taken() {
    let bench = bench_with_something();
    let bytes = bench.workspace.cache().unwrap();
    let open = |place, options| {
        let mut workspace = Workspace::open(&RealDisk::shared(), later(), place, options).unwrap();
        workspace.take_cache(&bytes)
    };
    let options = Options::default();
    assert!(open(bench.place(), Options { threads: 3, watch: false, ..options.clone() }));
    assert!(!open(bench.place(), Options { ignore_defaults: false, ..options.clone() }));
    assert!(!open(bench.place(), Options { file_bytes_max: ByteSize(7), ..options.clone() }));
    let elsewhere = Place { root: bench.path("dir"), ..bench.place() };
    assert!(!open(elsewhere, options.clone()));
    fs::rename(bench.root(), bench.home.path().join("moved")).unwrap();
    fs::create_dir(bench.root()).unwrap();
    assert!(!open(bench.place(), options));
}

#[test]
fn what_is_not_known_to_be_stored_is_handed_over_again() {
    let mut bench = bench_with_something();
    bench.write("a", "other");
    let stored = bench.workspace.leans_on();
    let scan = |bench: &mut Bench| {
        let scanned = bench.depot.scan_while(&mut bench.workspace, Depth::Hinted, &|| {});
        (scanned.unwrap(), bench.depot.take_count())
    };
    bench.depot.take_count();
    let (first, count) = scan(&mut bench);
    assert!(first.changed && count > 0);
    assert!(bench.workspace.cache().is_none());
    assert_eq!(bench.workspace.leans_on(), stored);
    let (second, again) = scan(&mut bench);
    assert_eq!((second.changed, again), (false, count));
    bench.workspace.confirm();
    assert_eq!(bench.workspace.leans_on(), Some(second.root.root));
    assert!(bench.workspace.cache().is_some());
    assert_eq!(scan(&mut bench).1, 0);

    bench.workspace.forget();
    assert_eq!((bench.workspace.leans_on(), bench.workspace.root()), (None, None));
    assert!(scan(&mut bench).1 > 300);
}

#[test]
fn a_scan_whose_blocks_are_not_taken_leaves_them_to_the_next() {
    let mut bench = bench_with_something();
    bench.write("a", "other");
    bench.write("new/file", "new");
    for refused in 0..4 {
        let calls = std::sync::atomic::AtomicUsize::new(0);
        let put = |blocks| {
            if calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == refused {
                return Err(SinkError("the store is full".into()));
            }
            bench.depot.put(blocks);
            Ok(())
        };
        let chunks_of = |root| bench.depot.chunks_of(root);
        let sink = Sink { put: &put, chunks_of: &chunks_of, progress: &|_| {} };
        let Err(error) = bench.workspace.scan(Depth::Thorough, &sink) else { break };
        assert!(
            matches!(error, Error::Sink(_)) && error.to_string().ends_with("the store is full")
        );
        assert!(bench.workspace.list(Path::new("")).is_none());
        bench.workspace.confirm();
    }
    bench.scan_whole_but(&["target", "target/x"]);
}
