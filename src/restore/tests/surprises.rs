//! What no plan knows of: names that were never listed, files with names elsewhere, changes after a
//! crash, a staging directory that is gone.

use rustix::io::Errno;

use super::forest::{Item, all_ways, file, forest};
use super::*;
use crate::disk::{Fault, FaultDisk, NodeKind, Op};

fn write(tree: &dyn DiskTree, path: &str, bytes: &str) {
    tree.create(path.as_ref()).unwrap().write_all_at(bytes.as_bytes(), 0).unwrap();
}

fn bytes(tree: &dyn DiskTree, path: &str) -> String {
    String::from_utf8(forest::read(tree, path.as_ref())).unwrap()
}

/// Stages, and applies with a scan of what is there.
fn apply(restore: &Restore<'_>, tree: &dyn DiskTree, force: bool) -> Result<Outcome, Error> {
    let seen = scan(tree);
    restore.stage(&|_| {}).unwrap();
    restore.apply(&|path| seen.get(path).copied(), force)
}

fn done(outcome: Result<Outcome, Error>) -> Report {
    match outcome.unwrap() {
        Outcome::Done(report) => report,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_directory_that_holds_an_unlisted_name_stays_as_it_was() {
    let now = forest([("gone/in/file", file("1")), ("gone/file", file("2"))]);
    let case = Case::new(&now, &forest([("new", file("3"))]));
    let (_disk, tree) = memory(&now);
    write(&*tree, "gone/in/unlisted", "mine");
    let content = case.shelf.content();
    let restore = Restore::new(&*tree, &case.plan, id(), &content);
    let report = done(apply(&restore, &*tree, false));
    assert_eq!(report.stayed, ["gone/in", "gone"].map(PathBuf::from));
    assert!(restore.clear(Way::Forward, Some(&report)).unwrap().is_empty());
    let mut found = look(&*tree);
    found.remove(Path::new("gone/in/unlisted"));
    assert_eq!(found, forest([("gone/in", forest::dir()), ("new", file("3"))]));
    assert_eq!(bytes(&*tree, "gone/in/unlisted"), "mine");
}

#[test]
fn a_directory_with_an_unlisted_name_does_not_give_way_to_a_file() {
    let now = forest([("into_file/in/file", file("1")), ("other", file("2"))]);
    let case = Case::new(&now, &forest([("into_file", file("3"))]));
    let (_disk, tree) = memory(&now);
    write(&*tree, "into_file/in/unlisted", "mine");
    let content = case.shelf.content();
    let restore = Restore::new(&*tree, &case.plan, id(), &content);
    let outcome = apply(&restore, &*tree, false).unwrap();
    assert!(
        matches!(&outcome, Outcome::Changed(it) if it == &[PathBuf::from("into_file")]),
        "{outcome:?}"
    );
    let seen = scan(&*tree);
    let report = done(restore.apply(&|path| seen.get(path).copied(), true));
    assert_eq!(report.left, [PathBuf::from("into_file")]);
    restore.clear(Way::Forward, Some(&report)).unwrap();
    assert_eq!(bytes(&*tree, "into_file/in/file"), "1");
    assert_eq!(bytes(&*tree, "into_file/in/unlisted"), "mine");
    assert!(tree.stat("other".as_ref()).is_err());
}

#[test]
fn a_name_outside_of_the_plan_keeps_its_attributes() {
    let now = forest([("dir/file", file("same"))]);
    let adjusted = Item::File { bytes: b"same".into(), mode: 0o600, time: 9, group: None };
    let wanted = forest([("dir/file", adjusted)]);
    for way in [Way::Forward, Way::Back] {
        let case = Case::new(&now, &wanted);
        let (_disk, tree) = memory(&now);
        tree.hard_link("dir/file".as_ref(), "elsewhere".as_ref()).unwrap();
        let content = case.shelf.content();
        let restore = Restore::new(&*tree, &case.plan, id(), &content);
        let mut report = done(apply(&restore, &*tree, false));
        if way == Way::Back {
            report = restore.roll_back().unwrap();
        }
        restore.clear(way, Some(&report)).unwrap();
        let mut found = look(&*tree);
        let elsewhere = found.remove(Path::new("elsewhere")).unwrap();
        match (way, elsewhere) {
            (Way::Forward, elsewhere) => {
                assert_eq!((elsewhere, found), (file("same"), wanted.clone()));
            }
            (Way::Back, _) => {
                assert_eq!(
                    tree.stat("dir/file".as_ref()).unwrap().links,
                    2,
                    "the old file is back"
                );
            }
        }
    }
}

#[test]
fn what_somebody_changed_after_a_crash_is_left_alone_and_told() {
    let (now, wanted) = all_ways();
    let case = Case::new(&now, &wanted);
    for way in [Way::Forward, Way::Back] {
        let (_disk, tree) = memory(&now);
        let content = case.shelf.content();
        let restore = Restore::new(&*tree, &case.plan, id(), &content);
        done(apply(&restore, &*tree, false));
        for path in ["big", "changed"] {
            tree.remove_file(path.as_ref()).unwrap();
            write(&*tree, path, "theirs");
        }
        let report = match way {
            Way::Forward => restore.roll_forward().unwrap(),
            Way::Back => restore.roll_back().unwrap(),
        };
        let mut left = report.left.clone();
        left.sort();
        assert_eq!(left, ["big", "changed"].map(PathBuf::from), "{way:?}");
        assert!(restore.clear(way, Some(&report)).unwrap().is_empty());
        let (mut found, mut end) = (look(&*tree), normal(way.end(&now, &wanted)));
        for path in ["big", "changed"] {
            assert_eq!(bytes(&*tree, path), "theirs");
            found.remove(Path::new(path));
            end.remove(Path::new(path));
        }
        assert_eq!(normal(&found), normal(&end), "{way:?}");
    }
}

#[test]
fn the_store_has_what_a_lost_staging_directory_held() {
    let (now, wanted) = all_ways();
    let case = Case::new(&now, &wanted);
    for way in [Way::Forward, Way::Back] {
        let (disk, tree) = memory(&now);
        let content = case.shelf.content();
        let restore = Restore::new(&*tree, &case.plan, id(), &content);
        done(apply(&restore, &*tree, false));
        assert!(disk.remove(&Path::new("/w").join(Staging::of(id()).dir)));
        let report = match way {
            Way::Forward => restore.roll_forward().unwrap(),
            Way::Back => restore.roll_back().unwrap(),
        };
        assert!(report.left.is_empty() && report.kept.is_empty(), "{way:?}: {report:?}");
        restore.clear(way, Some(&report)).unwrap();
        assert_eq!(look(&*tree), normal(way.end(&now, &wanted)), "{way:?}");
    }
}

#[test]
fn a_restore_that_cannot_be_taken_back_says_what_lies_where() {
    let (now, wanted) = all_ways();
    let case = Case::new(&now, &wanted);
    let (memory, tree) = memory(&now);
    let disk = FaultDisk::over(&memory);
    let faulty = disk.tree("/w".as_ref()).unwrap();
    let content = case.shelf.content();
    let restore = Restore::new(&*faulty, &case.plan, id(), &content);
    disk.inject(Fault::new(Errno::IO).on(Op::TreeRename).skipping(12));
    let error = apply(&restore, &*tree, false).unwrap_err();
    let Error::Stuck { places, .. } = &error else { panic!("{error}") };
    assert!(!places.is_empty());
    for (place, slot) in places {
        let kind = tree.stat(slot).unwrap().kind;
        assert_eq!(kind == NodeKind::Link, matches!(now[place], Item::Link { .. }));
        assert!(error.to_string().contains(slot.to_str().unwrap()) || places.len() > 10);
    }
    disk.heal();
    let report = restore.roll_back().unwrap();
    restore.clear(Way::Back, Some(&report)).unwrap();
    assert_eq!(look(&*tree), normal(&now));
}

#[test]
fn a_place_that_is_not_as_it_was_seen_ends_a_restore_before_it_begins() {
    let now = forest([("a", file("1")), ("b", file("2"))]);
    let case = Case::new(&now, &forest([("a", file("3")), ("b", file("4")), ("c", file("5"))]));
    let (_disk, tree) = memory(&now);
    let seen = scan(&*tree);
    tree.set_modified("a".as_ref(), crate::disk::FileTime { secs: 5, nanos: 7 }).unwrap();
    write(&*tree, "c", "theirs");
    let before = look(&*tree);
    let content = case.shelf.content();
    let restore = Restore::new(&*tree, &case.plan, id(), &content);
    let changed = restore.check(&|path| seen.get(path).copied()).unwrap();
    assert_eq!(changed, ["a", "c"].map(PathBuf::from));
    assert_eq!(look(&*tree), before);
}

mod elsewhere {
    use super::*;

    fn nothing() -> Forest {
        Forest::from([(PathBuf::new(), Item::Dir { mode: 0o700, time: 0 })])
    }

    fn from_nothing(wanted: &Forest, scope: &Scope) -> Case {
        let mut shelf = Shelf::default();
        let root = shelf.keep(wanted);
        let list = |_: &Path, dir: &_| Ok::<_, Infallible>(shelf.list(dir));
        let now = Side { root: None, list: &list };
        let wanted = Side { root: Some(root), list: &list };
        let Ok(plan) = plan_tree(&now, &wanted, &free(scope));
        Case { shelf, plan }
    }

    #[test]
    fn a_tree_is_written_whole_and_survives_the_loss_of_power() {
        for wanted in <[Forest; 2]>::from(all_ways()) {
            for all_at_once in [true, false] {
                let case = from_nothing(&wanted, &Scope::default());
                let (disk, tree) = memory(&nothing());
                disk.set_syncs_everything(all_at_once);
                materialise(&*tree, &case.plan, &case.shelf.content(), &|_| {}).unwrap();
                let tree = disk.crash(crate::disk::Loss::All).tree("/w".as_ref()).unwrap();
                let mut found = look(&*tree);
                let mut expected = normal(&wanted);
                if !all_at_once {
                    // The times of links are synced with everything or not at all.
                    for forest in [&mut found, &mut expected] {
                        forest.retain(|_, item| !matches!(item, Item::Link { .. }));
                    }
                }
                assert_eq!(found, expected);
            }
        }
    }

    #[test]
    fn a_part_of_a_tree_is_written_alone() {
        let wanted = forest([("a/b", file("1")), ("a/c", file("2")), ("d", file("3"))]);
        let scope = Scope { paths: vec!["a/b".into()], git: false };
        let case = from_nothing(&wanted, &scope);
        let (_disk, tree) = memory(&nothing());
        materialise(&*tree, &case.plan, &case.shelf.content(), &|_| {}).unwrap();
        assert_eq!(
            look(&*tree).into_keys().collect::<Vec<_>>(),
            ["", "a", "a/b"].map(PathBuf::from)
        );
    }

    #[test]
    fn a_directory_that_holds_something_is_refused() {
        let case = from_nothing(&forest([("a", file("1"))]), &Scope::default());
        let (_disk, tree) = memory(&forest([("b", file("2"))]));
        let error = materialise(&*tree, &case.plan, &case.shelf.content(), &|_| {}).unwrap_err();
        assert!(matches!(&error, Error::NotEmpty { path } if path == Path::new("b")), "{error}");
    }

    #[test]
    fn an_error_leaves_the_directory_empty() {
        let (_, wanted) = all_ways();
        let case = from_nothing(&wanted, &Scope::default());
        for call in 0.. {
            let (memory, tree) = memory(&nothing());
            let disk = FaultDisk::over(&memory);
            let faulty = disk.tree("/w".as_ref()).unwrap();
            disk.inject(Fault::new(Errno::NOSPC).skipping(call).times(1));
            match materialise(&*faulty, &case.plan, &case.shelf.content(), &|_| {}) {
                Err(_) => assert!(tree.read_dir("".as_ref()).unwrap().entries.is_empty(), "{call}"),
                Ok(()) => break,
            }
        }
    }
}
