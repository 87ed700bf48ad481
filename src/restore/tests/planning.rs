//! What a plan touches, and what it never does.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::forest::{Item, dir, file, forest, link, linked};
use super::random::pair;
use super::*;

fn plan(now: &Forest, wanted: &Forest, rules: &Rules<'_>) -> TreePlan {
    Case::by(now, wanted, rules).plan
}

/// Makes what is there now, restores by these rules, and reads what is there then.
fn restored(now: &Forest, wanted: &Forest, rules: &Rules<'_>) -> (Forest, TreePlan) {
    let case = Case::by(now, wanted, rules);
    let (_disk, tree) = memory(now);
    case.restore(&*tree);
    (look(&*tree), case.plan)
}

fn scoped(paths: &[&str]) -> Scope {
    Scope { paths: paths.iter().map(PathBuf::from).collect(), git: false }
}

fn reasons(plan: &TreePlan) -> Vec<(&str, Reason)> {
    let mut told: Vec<_> =
        plan.untouched.iter().map(|it| (it.path.to_str().unwrap(), it.reason)).collect();
    told.sort_unstable_by_key(|it| it.0);
    told
}

fn paths(paths: &[PathBuf]) -> Vec<&str> {
    let mut paths: Vec<_> = paths.iter().map(|path| path.to_str().unwrap()).collect();
    paths.sort_unstable();
    paths
}

#[test]
fn a_plan_tells_what_becomes_of_each_file() {
    let now = forest([("a/same", file("1")), ("a/new", file("2")), ("b/gone", file("3"))]);
    let wanted = forest([("a/same", file("1")), ("a/new", file("4")), ("c/link", link("x"))]);
    let files = plan(&now, &wanted, &free(&Scope::default())).files;
    assert_eq!(paths(&files.written), ["a/new", "c", "c/link"]);
    assert_eq!(paths(&files.removed), ["b", "b/gone"]);
    assert_eq!(paths(&files.unchanged), ["a/same"]);
}

#[test]
fn the_digest_is_that_of_the_steps() {
    let now = forest([("a", file("1")), ("b", file("2"))]);
    let wanted = forest([("a", file("3"))]);
    let scope = Scope::default();
    let digest = |now, wanted| plan(now, wanted, &free(&scope)).digest();
    assert_eq!(digest(&now, &wanted), digest(&now, &wanted));
    assert_ne!(digest(&now, &wanted), digest(&wanted, &now));
    let other =
        forest([("a", Item::File { bytes: b"3".into(), mode: 0o600, time: 1, group: None })]);
    assert_ne!(digest(&now, &wanted), digest(&now, &other));
}

#[test]
fn attributes_are_set_without_any_content() {
    let now = forest([("file", file("1")), ("link", link("x")), ("dir/in", file("2"))]);
    let other = |mode, time| Item::File { bytes: b"1".into(), mode, time, group: None };
    let wanted = forest([
        ("file", other(0o4755, 9)),
        ("link", Item::Link { target: "x".into(), time: 8 }),
        ("dir", Item::Dir { mode: 0o700, time: 7 }),
        ("dir/in", file("2")),
    ]);
    let scope = Scope::default();
    let plan = plan(&now, &wanted, &free(&scope));
    assert!(plan.steps.iter().all(|it| matches!(it.action, tree_plan::Action::Adjust { .. })));
    assert_eq!(restored(&now, &wanted, &free(&scope)).0, wanted);
}

#[test]
fn what_is_kept_is_never_touched_nor_what_holds_it() {
    let now = forest([
        ("mine/a", file("mine")),
        ("mine/b", file("agent's")),
        ("into_file/mine", file("mine")),
        ("into_file/b", file("agent's")),
        ("both", file("mine")),
    ]);
    let wanted = forest([
        ("into_file", file("wanted")),
        ("both", file("wanted")),
        ("new/mine", file("wanted")),
        ("new/b", file("wanted")),
    ]);
    let keep = |path: &Path, _: bool| {
        path.ends_with("mine") && path.components().count() > 1
            || path == Path::new("both")
            || path == Path::new("mine/a")
    };
    let scope = Scope::default();
    let (found, plan) = restored(&now, &wanted, &Rules { keep: &keep, ..free(&scope) });
    let expected = forest([
        ("mine/a", file("mine")),
        ("into_file/mine", file("mine")),
        ("into_file/b", file("agent's")),
        ("both", file("mine")),
        ("new/b", file("wanted")),
    ]);
    assert_eq!(found, expected);
    let kept = [
        ("both", Reason::Kept),
        ("into_file", Reason::Holds),
        ("mine", Reason::Holds),
        ("mine/a", Reason::Kept),
        ("new/mine", Reason::Kept),
    ];
    assert_eq!(reasons(&plan), kept);
}

#[test]
fn a_directory_with_names_that_no_listing_has_stays() {
    let now = forest([("dir/in/file", file("1")), ("other/file", file("2"))]);
    let wanted = forest([("other", file("3"))]);
    let scope = Scope::default();
    let holds = |path: &Path| path == Path::new("dir/in") || path == Path::new("other");
    let (found, plan) = restored(&now, &wanted, &Rules { holds: &holds, ..free(&scope) });
    assert_eq!(found, forest([("dir/in", dir()), ("other/file", file("2"))]));
    assert_eq!(
        reasons(&plan),
        [("dir", Reason::Holds), ("dir/in", Reason::Holds), ("other", Reason::Holds)]
    );
}

#[test]
fn what_someone_else_changed_is_a_conflict_unless_forced() {
    let now = forest([
        ("changed", file("theirs")),
        ("same", file("1")),
        ("gone/theirs", file("theirs")),
        ("gone/mine", file("2")),
        ("into_file/theirs", file("theirs")),
    ]);
    let wanted = forest([("changed", file("3")), ("same", file("1")), ("into_file", file("4"))]);
    let foreign = |path: &Path| path.ends_with("theirs") || !path.starts_with("gone");
    let scope = Scope::default();
    let rules = Rules { foreign: &foreign, ..free(&scope) };
    let (found, plan) = restored(&now, &wanted, &rules);
    let mut expected = now.clone();
    expected.remove(Path::new("gone/mine"));
    assert_eq!(found, expected);
    assert_eq!(paths(&plan.files.conflicts), ["changed", "gone/theirs", "into_file/theirs"]);
    let (found, plan) = restored(&now, &wanted, &Rules { force: true, ..rules });
    assert_eq!(found, wanted);
    assert_eq!(plan.files.conflicts, NOWHERE);
}

#[test]
fn a_path_selects_itself_and_what_is_beneath() {
    let now = forest([
        ("a/b/changed", file("1")),
        ("a/other", file("1")),
        ("c", file("1")),
        ("in_the_way", file("1")),
    ]);
    let wanted = forest([
        ("a/b/changed", file("2")),
        ("a/other", file("2")),
        ("c", file("2")),
        ("d", Item::Dir { mode: 0o700, time: 5 }),
        ("d/e", file("2")),
        ("d/f", file("2")),
        ("in_the_way/x", file("2")),
    ]);
    let scope = scoped(&["a/b", "d/e", "in_the_way/x", "nowhere/at/all"]);
    let (found, plan) = restored(&now, &wanted, &free(&scope));
    let expected = forest([
        ("a/b/changed", file("2")),
        ("a/other", file("1")),
        ("c", file("1")),
        ("d", Item::Dir { mode: 0o700, time: 5 }),
        ("d/e", file("2")),
        ("in_the_way", file("1")),
    ]);
    assert_eq!(found, expected);
    assert_eq!(reasons(&plan), [("in_the_way", Reason::InTheWay)]);
    let (found, _) = restored(&wanted, &now, &free(&scoped(&["d/e", "a/b"])));
    let mut expected = wanted.clone();
    expected.remove(Path::new("d/e"));
    expected.insert("a/b/changed".into(), file("1"));
    assert_eq!(found, expected);
}

#[test]
fn git_gets_back_objects_and_nothing_else() {
    let now = forest([
        (".git/HEAD", file("now")),
        (".git/objects/aa/1", file("object")),
        (".git/objects/bb/2", file("object")),
        (".git/objects/info/packs", file("now")),
        (".git/refs/heads/main", file("now")),
        ("sub/.git", file("gitdir: elsewhere")),
        ("gone/.git/HEAD", file("now")),
        ("gone/file", file("now")),
        ("bare/objects/aa/1", file("now")),
    ]);
    let wanted = forest([
        (".git/HEAD", file("wanted")),
        (".git/index", file("wanted")),
        (".git/objects/aa/1", file("object")),
        (".git/objects/cc/3", file("object")),
        (".git/objects/info/packs", file("wanted")),
        (".git/refs/heads/other", file("wanted")),
        ("sub/.git", file("gitdir: here")),
        ("new/.git/HEAD", file("wanted")),
        ("bare/objects/aa/1", file("wanted")),
    ]);
    let (found, plan) = restored(&now, &wanted, &free(&Scope::default()));
    let mut expected = now.clone();
    for path in [
        ".git/objects/cc",
        ".git/objects/cc/3",
        "new",
        "new/.git",
        "new/.git/HEAD",
        "bare/objects/aa/1",
    ] {
        expected.insert(path.into(), wanted[Path::new(path)].clone());
    }
    expected.remove(Path::new("gone/file"));
    assert_eq!(found, expected);
    let told = [
        (".git/HEAD", Reason::Git),
        (".git/index", Reason::Git),
        (".git/objects/info/packs", Reason::Git),
        (".git/refs", Reason::Git),
        ("gone", Reason::Holds),
        ("gone/.git", Reason::Git),
        ("sub/.git", Reason::Git),
    ];
    assert_eq!(reasons(&plan), told);
    let scope = Scope { git: true, ..Scope::default() };
    assert_eq!(restored(&now, &wanted, &free(&scope)).0, wanted);
}

#[test]
fn a_name_that_is_not_touched_keeps_its_file_from_changing() {
    let now = forest([("kept", linked("1", 1)), ("a", linked("1", 1)), ("b", linked("1", 1))]);
    let wanted = forest([("kept", file("1")), ("a", linked("1", 2)), ("b", linked("1", 2))]);
    let scope = Scope::default();
    let keep = |path: &Path, _: bool| path == Path::new("kept");
    let (found, plan) = restored(&now, &wanted, &Rules { keep: &keep, ..free(&scope) });
    assert_eq!(found, normal(&wanted));
    assert_eq!(paths(&plan.files.unchanged), ["kept"]);
}

#[test]
fn links_that_are_as_wanted_need_no_step_whatever_their_number() {
    let now = forest([("a/x", linked("1", 7)), ("b/y", linked("1", 7)), ("c", file("2"))]);
    let wanted = forest([("a/x", linked("1", 3)), ("b/y", linked("1", 3)), ("c", file("3"))]);
    let plan = plan(&now, &wanted, &free(&Scope::default()));
    assert_eq!(paths(&plan.files.written), ["c"]);
    assert_eq!(paths(&plan.files.unchanged), ["a/x", "b/y"]);
}

#[test]
fn a_staging_directory_is_never_planned_for() {
    let name = Staging::of(id()).dir.join("new");
    let wanted = forest([(name, file("1"))]);
    assert!(
        plan(&forest([("a", file("1"))]), &wanted, &free(&Scope::default()))
            .files
            .written
            .is_empty()
    );
}

/// What stands at each path after a restore that keeps some paths, worked out path by path.
fn expected(now: &Forest, wanted: &Forest, kept: &BTreeSet<PathBuf>) -> Forest {
    let is_dir = |forest: &Forest, path: &Path| matches!(forest.get(path), Some(Item::Dir { .. }));
    let is_kept = |path: &Path| path.ancestors().any(|above| kept.contains(above));
    let holds = |path: &Path| now.keys().any(|it| it.starts_with(path) && is_kept(it));
    // A directory that cannot give way to a file, and a file that cannot to a directory.
    let stays = |path: &Path| {
        let blocked = is_dir(now, path) && wanted.contains_key(path) && !is_dir(wanted, path);
        blocked && holds(path)
    };
    let as_now = |path: &Path| is_kept(path) || path.ancestors().any(stays);
    let mut found = Forest::new();
    for path in now.keys().chain(wanted.keys()) {
        let holds_on = is_dir(now, path) && !wanted.contains_key(path) && holds(path);
        let from = if as_now(path) || holds_on { now } else { wanted };
        found.extend(from.get(path).map(|item| (path.clone(), item.clone())));
    }
    // What cannot be put anywhere.
    let roots: BTreeSet<PathBuf> = found.keys().cloned().collect();
    found.retain(|path, _| path.ancestors().skip(1).all(|above| roots.contains(above)));
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn kept_paths_stay_and_all_others_become_what_is_wanted(
        (now, wanted) in pair(), chosen in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let all: Vec<&PathBuf> = now.keys().chain(wanted.keys()).filter(|it| !it.as_os_str().is_empty()).collect();
        let kept: BTreeSet<PathBuf> = if all.is_empty() {
            BTreeSet::new()
        } else {
            chosen.iter().map(|index| (*index.get(&all)).clone()).collect()
        };
        let keep = |path: &Path, _: bool| path.ancestors().any(|above| kept.contains(above));
        let scope = Scope::default();
        let (found, plan) = restored(&now, &wanted, &Rules { keep: &keep, ..free(&scope) });
        let alone = |forest: Forest| -> Forest {
            forest.into_iter().map(|(path, item)| match item {
                Item::File { bytes, mode, time, .. } => (path, Item::File { bytes, mode, time, group: None }),
                other => (path, other),
            }).collect()
        };
        prop_assert_eq!(alone(found), alone(expected(&now, &wanted, &kept)), "{:?} {:#?}", kept, plan);
    }
}
