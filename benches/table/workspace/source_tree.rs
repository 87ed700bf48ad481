//! Many small files.

use super::TOOLS;
use super::field::{Field, Plan};
use super::sample::Case;
use super::trees::SourceTree;
use crate::arguments::Arguments;
use crate::row::Row;

/// The tree that the bars are for.
pub const FILES_JUDGED: usize = 20_000;

/// What a snapshot may take of memory where there is less than 1 GB, and where there is more.
const PEAK_BYTES: f64 = 64e6;
const PEAK_BYTES_MANY: f64 = 200e6;

/// Every case, measured on one tree.
struct Cases {
    first: Case,
    same: Case,
    one: Case,
    some: Case,
    elsewhere: Case,
    elsewhere_synced: Case,
    back: Case,
}

pub fn rows(arguments: &Arguments, files: usize) -> Vec<Row> {
    let name = format!("{},000 files", files / 1000);
    let mut field = Field::new(arguments, &name, &TOOLS);
    let tree = SourceTree::create(&field.root, files);
    eprintln!("  {name}: {} MB", tree.bytes() / 1_000_000);
    let cases = Cases::measure(arguments, &mut field, &tree);
    if files == FILES_JUDGED { cases.judged() } else { cases.seen() }
}

impl Cases {
    fn measure(arguments: &Arguments, field: &mut Field, tree: &SourceTree) -> Self {
        let plan = |what, warm_up, full| Plan { what, warm_up, rounds: arguments.rounds(full) };
        let edit_one = &mut |round| tree.edit_one(round);
        let edit_some = &mut |round| tree.edit_some(round);
        let first = field.keep_first(Plan { what: "first snapshot", warm_up: 0, rounds: 1 });
        field.watch();
        let same = field.keep_after(plan("nothing changed", 2, 20), &mut |_| {});
        let one = field.keep_after(plan("one file changed", 2, 20), edit_one);
        let some = field.keep_after(plan("1 % changed", 2, 20), edit_some);
        field.stop_watching();
        let elsewhere = field.write_elsewhere(plan("restore of all", 1, 5), false);
        let synced = field.write_elsewhere(plan("restore of all, synced", 1, 5), true);
        let differing = plan("restore where 1 % differs", 2, 15);
        let back = field.put_back(differing, |round| tree.disturb(round));
        Self { first, same, one, some, elsewhere, elsewhere_synced: synced, back }
    }

    fn judged(&self) -> Vec<Row> {
        let Self { first, same, one, some, elsewhere, elsewhere_synced, back } = self;
        let mut rows = first.times(&[("restic", 0.25)]);
        rows.extend(first.added());
        rows.extend(first.peaks());
        rows.push(first.peak().at_most(PEAK_BYTES));
        rows.extend(same.times(&[("git", 0.4)]));
        rows.extend(same.warm().map(|row| row.at_most(0.003)));
        rows.extend(same.warm_against("git"));
        rows.push(same.peak().at_most(PEAK_BYTES));
        rows.extend(one.times(&[]));
        rows.extend(one.warm());
        rows.extend(one.warm_against("git"));
        rows.extend(one.added());
        rows.extend(some.times(&[("git", 0.25)]));
        rows.extend(some.warm_against("git").map(|row| row.at_most(0.1)));
        rows.extend(some.added());
        rows.extend(elsewhere.times(&[("rustic", 0.4)]));
        rows.extend(elsewhere_synced.times(&[("rustic", 0.65)]));
        rows.extend(back.times(&[("git", 0.8), ("git, core.fsync=all", 0.3)]));
        rows.push(back.peak().at_most(PEAK_BYTES));
        rows
    }

    /// More files: memory alone is judged.
    fn seen(&self) -> Vec<Row> {
        let Self { first, same, one, some, elsewhere_synced, back, .. } = self;
        let mut rows: Vec<Row> = [first, same, one, some, elsewhere_synced, back]
            .into_iter()
            .flat_map(|case| case.times(&[]))
            .collect();
        rows.extend([same, one, some].into_iter().filter_map(Case::warm));
        rows.extend([first, same, back].map(|case| case.peak().at_most(PEAK_BYTES_MANY)));
        rows
    }
}
