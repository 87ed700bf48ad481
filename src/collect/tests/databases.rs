//! A database is kept so that the copy can be opened, whatever its writer does meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::Connection;

use super::*;
use crate::state::Why;

const COMMITS: u32 = 400;
/// What all accounts hold together, at any moment between two transactions.
const SUM: i64 = 100 * 1000;

fn open(path: &Path, journal: &str) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.pragma_update(None, "journal_mode", journal).unwrap();
    connection
}

fn make(path: &Path, journal: &str) -> Connection {
    let connection = open(path, journal);
    connection
        .execute_batch(
            "CREATE TABLE accounts (id INTEGER PRIMARY KEY, held INTEGER, padding BLOB);
             CREATE TABLE history (id INTEGER PRIMARY KEY, what TEXT);
             CREATE INDEX by_what ON history (what);
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100)
             INSERT INTO accounts SELECT i, 1000, randomblob(2000) FROM n;",
        )
        .unwrap();
    connection
}

/// One transaction that touches pages far apart.
fn transact(connection: &mut Connection, n: u32) {
    let transaction = connection.transaction().unwrap();
    let (from, to) = (n * 37 % 100 + 1, n * 61 % 100 + 1);
    let update = "UPDATE accounts SET held = held + ?1, padding = randomblob(1000 + ?3 % 1500) WHERE id = ?2";
    transaction.execute(update, (-7, from, n)).unwrap();
    transaction.execute(update, (7, to, n)).unwrap();
    transaction.execute("INSERT INTO history (what) VALUES (hex(randomblob(300)))", ()).unwrap();
    if n.is_multiple_of(5) {
        transaction.execute("DELETE FROM history WHERE id < ?1", [n / 2]).unwrap();
    }
    transaction.commit().unwrap();
}

/// Puts back what was kept of a database, and examines it.
fn examine(bench: &Bench, root: Root, name: &str) {
    let home = tempfile::tempdir().unwrap();
    let beside =
        ["", "-wal", "-journal", "-shm"].map(|suffix| PathBuf::from(format!("{name}{suffix}")));
    for (path, kept) in bench.depot.tree(root) {
        if let Kept::File { bytes, .. } = kept
            && beside.contains(&path)
        {
            fs::write(home.path().join(path), bytes).unwrap();
        }
    }
    let connection = Connection::open(home.path().join(name)).unwrap();
    let sound: String =
        connection.query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
    let sum: i64 =
        connection.query_row("SELECT sum(held) FROM accounts", (), |row| row.get(0)).unwrap();
    assert_eq!(sum, SUM);
}

/// Scans while a thread writes, until it is done; each copy must be whole.
fn scan_beside_a_writer(journal: &str, settings: &str) {
    let mut bench = Bench::new();
    bench.write("other", "x");
    let mut connection = make(&bench.path("a.db"), journal);
    connection.execute_batch(settings).unwrap();
    let is_done = AtomicBool::new(false);
    let (mut scans, mut unsettled) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (0..COMMITS).for_each(|n| transact(&mut connection, n));
            is_done.store(true, Ordering::Release);
        });
        loop {
            let was_done = is_done.load(Ordering::Acquire);
            let scanned = bench.scan();
            scans += 1;
            if scanned.unsettled.is_empty() {
                examine(&bench, scanned.root.root, "a.db");
            } else {
                let named = |path: &PathBuf| path.to_string_lossy().starts_with("a.db");
                assert!(scanned.unsettled.iter().all(named), "{:?}", scanned.unsettled);
                unsettled += 1;
            }
            if was_done {
                break;
            }
        }
    });
    println!("{journal}: {scans} scans, {unsettled} unsettled");
    assert!(unsettled < scans, "{unsettled} of {scans} scans were not settled");
    let scanned = bench.scan();
    assert_eq!(scanned.unsettled, [] as [PathBuf; 0]);
    // An index changes through a mapping, and is made anew by whoever opens the database first.
    let [mut kept, mut expected] = [bench.depot.tree(scanned.root.root), live(&bench.root())];
    for tree in [&mut kept, &mut expected] {
        tree.remove(Path::new("a.db-shm"));
    }
    check_same(&kept, &expected);
}

#[test]
fn with_a_write_ahead_log() {
    scan_beside_a_writer("wal", "");
}

#[test]
fn with_a_write_ahead_log_that_starts_over_all_the_time() {
    scan_beside_a_writer("wal", "PRAGMA wal_autocheckpoint = 3;");
}

#[test]
fn with_a_journal_that_is_deleted() {
    scan_beside_a_writer("delete", "");
}

#[test]
fn with_a_journal_that_spills() {
    scan_beside_a_writer("delete", "PRAGMA cache_size = 2; PRAGMA cache_spill = 1;");
}

#[test]
fn with_a_journal_that_stays() {
    scan_beside_a_writer("persist", "");
}

#[test]
fn with_a_journal_that_is_cut() {
    scan_beside_a_writer("truncate", "");
}

#[test]
fn a_log_alone_is_read_when_it_alone_grew() {
    let disk = FaultDisk::new(RealDisk::shared());
    let mut bench = Bench::on(disk.clone(), later(), Options::default());
    let mut connection = make(&bench.path("a.db"), "wal");
    bench.scan();
    transact(&mut connection, 1);
    disk.reset();
    let scanned = bench.scan();
    examine(&bench, scanned.root.root, "a.db");
    let read = |part: &str| {
        let reads = disk.calls().into_iter().filter(|call| call.op == Op::Read);
        let reads = reads.filter(|call| call.path.to_string_lossy().ends_with(part));
        reads.map(|call| call.bytes).sum::<u64>()
    };
    assert!(
        read("a.db") < 1000 && read("a.db-wal") > 4096,
        "{} {}",
        read("a.db"),
        read("a.db-wal")
    );
    disk.reset();
    assert!(!bench.scan().changed);
    assert_eq!(read("a.db"), 0);
}

#[test]
fn a_log_is_kept_with_its_database_and_left_out_with_it() {
    let mut bench =
        Bench::with(Options { file_bytes_max: ByteSize(400_000), ..Options::default() });
    bench.write(".statewardignore", "*-wal\nignored.db\n");
    let connections: Vec<_> =
        ["a.db", "ignored.db"].map(|name| make(&bench.path(name), "wal")).into();
    bench.write("no-database", "text");
    bench.write("no-database-wal", "ignored by its name");
    bench.write("alone-journal", "kept");
    bench.scan();
    let kept = [".statewardignore", "a.db", "a.db-shm", "a.db-wal", "alone-journal", "no-database"];
    assert_eq!(bench.kept(), kept);
    assert_eq!(bench.workspace.left_out(Path::new("ignored.db-shm")), Some(Why::IgnoredByFile));

    let fill = "INSERT INTO history (what) VALUES (hex(randomblob(250000)))";
    connections[0].execute(fill, ()).unwrap();
    connections[0].pragma_update(None, "wal_checkpoint", "TRUNCATE").unwrap();
    for _ in 0..2 {
        bench.scan();
        assert_eq!(bench.kept(), [".statewardignore", "alone-journal", "no-database"]);
        for path in ["a.db", "a.db-shm", "a.db-wal"] {
            assert_eq!(bench.workspace.left_out(Path::new(path)), Some(Why::TooLarge), "{path}");
        }
    }
    connections[0].execute("DELETE FROM history", ()).unwrap();
    connections[0].execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE);").unwrap();
    bench.scan();
    assert_eq!(bench.kept(), kept);
}

#[test]
fn a_journal_of_several_databases_never_fits() {
    // What such a journal ends with: the name of the super-journal, its length and sum, the magic.
    let mut bench = Bench::with(Options { threads: 1, ..Options::default() });
    drop(make(&bench.path("a.db"), "delete"));
    let magic = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
    let journal =
        [&magic[..], &[0; 500], &b"/elsewhere/a.db-mj1"[..], &[0, 0, 0, 19, 0, 0, 0, 0], &magic];
    bench.write("a.db-journal", journal.concat());
    assert_eq!(bench.scan().unsettled, [PathBuf::from("a.db")]);
    bench.write("a.db-journal", journal[..2].concat());
    assert_eq!(bench.scan().unsettled, [] as [PathBuf; 0]);
}
