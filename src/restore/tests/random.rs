//! Random trees, there and back.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use proptest::prelude::*;

use super::forest::{Item, dir};
use super::*;
use crate::disk::RealDisk;

const NAMES: [&[u8]; 6] = [b"a", b"B", b"b", b"\xff\xfe", b"a b\n", b"c"];

fn path() -> impl Strategy<Value = PathBuf> {
    prop::collection::vec(prop::sample::select(&NAMES[..]), 1..4)
        .prop_map(|names| names.into_iter().map(OsStr::from_bytes).collect())
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let holes =
        (0..4u8).prop_map(|byte| [vec![byte; 5000], vec![0; 9000], vec![byte; 100]].concat());
    prop_oneof![(0..3u8, 0..3usize).prop_map(|(byte, len)| vec![byte; len]), holes,]
}

fn item() -> impl Strategy<Value = Item> {
    let mode = prop::sample::select(&[0o644, 0o600, 0o4755, 0o444, 0o000][..]);
    let group = prop_oneof![2 => Just(None), 1 => (0..3u64).prop_map(Some)];
    let dir_mode = prop::sample::select(&[0o755, 0o700, 0o1777, 0o500, 0o000][..]);
    prop_oneof![
        4 => (bytes(), mode, 0..3i64, group)
            .prop_map(|(bytes, mode, time, group)| Item::File { bytes, mode, time, group }),
        1 => (dir_mode, 0..3i64).prop_map(|(mode, time)| Item::Dir { mode, time }),
        1 => (prop::sample::select(&["a", "../x", "/etc"][..]), 0..3i64)
            .prop_map(|(target, time)| Item::Link { target: target.into(), time }),
    ]
}

/// A tree of those items that fit.
fn grow(items: Vec<(PathBuf, Item)>) -> Forest {
    let mut forest = Forest::from([(PathBuf::new(), dir())]);
    for (path, item) in items {
        let mut above = path.ancestors().skip(1);
        let fits = above.all(|it| matches!(forest.get(it), None | Some(Item::Dir { .. })));
        if !fits || forest.contains_key(&path) {
            continue;
        }
        for above in path.ancestors().skip(1) {
            forest.entry(above.to_owned()).or_insert_with(dir);
        }
        forest.insert(path, item);
    }
    alike(forest)
}

/// Gives the files of a group one content and one set of attributes.
fn alike(mut forest: Forest) -> Forest {
    let mut first: std::collections::HashMap<u64, Item> = std::collections::HashMap::new();
    for item in forest.values_mut() {
        if let Item::File { group: Some(group), .. } = item {
            *item = first.entry(*group).or_insert_with(|| item.clone()).clone();
        }
    }
    forest
}

/// A tree, and another that has some of it.
pub(super) fn pair() -> impl Strategy<Value = (Forest, Forest)> {
    let items = || prop::collection::vec((path(), item()), 0..14);
    (items(), items(), any::<u16>()).prop_map(|(one, more, kept)| {
        let stays = |index: usize| kept >> index & 1 == 1;
        let some = one.iter().enumerate().filter(|(index, _)| stays(*index));
        let other = some.map(|(_, it)| it.clone()).chain(more).collect();
        (grow(one), grow(other))
    })
}

fn there_and_back(tree: &dyn DiskTree, now: &Forest, wanted: &Forest) {
    let (there, back) = (Case::new(now, wanted), Case::new(wanted, now));
    there.restore(tree);
    assert_eq!(look(tree), normal(wanted), "{:#?}", there.plan);
    back.restore(tree);
    assert_eq!(look(tree), normal(now), "{:#?}", back.plan);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_tree_becomes_any_other_and_comes_back((now, wanted) in pair()) {
        let (_disk, tree) = memory(&now);
        there_and_back(&*tree, &now, &wanted);
    }

    #[test]
    fn equal_trees_need_nothing((now, _) in pair()) {
        let plan = Case::new(&now, &now).plan;
        prop_assert!(plan.is_empty(), "{:?}", plan);
        let files = now.values().filter(|it| !matches!(it, Item::Dir { .. })).count();
        prop_assert_eq!(plan.files.unchanged.len(), files);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn it_is_the_same_on_a_real_disk((now, wanted) in pair()) {
        let dir = tempfile::tempdir().unwrap();
        let tree = RealDisk.tree(dir.path()).unwrap();
        super::build(&*tree, &now);
        there_and_back(&*tree, &now, &wanted);
        tree.set_mode("".as_ref(), 0o700).unwrap();
    }
}
