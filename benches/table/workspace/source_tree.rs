//! Many small files.

use super::TOOLS;
use super::field::{Field, Plan};
use super::trees::SourceTree;
use crate::arguments::Arguments;
use crate::row::Row;

/// What a snapshot may take of memory, up to 1 GB.
const PEAK_BYTES: f64 = 64e6;

/// The same for more files or bytes than that.
const PEAK_BYTES_MANY: f64 = 200e6;

pub fn rows(arguments: &Arguments, files: usize) -> Vec<Row> {
    let name = format!("{},000 files", files / 1000);
    let field = Field::new(arguments, &name, &TOOLS);
    let tree = SourceTree::create(&field.root, files);
    eprintln!("  {name}: {} MB", tree.bytes() / 1_000_000);
    let plan = |what, warm_up, full| Plan { what, warm_up, rounds: arguments.rounds(full) };
    let judged = files == 20_000;
    let bars = |bars: &'static [(&str, f64)]| if judged { bars } else { &[] };
    let peak_bytes = if judged { PEAK_BYTES } else { PEAK_BYTES_MANY };

    let first = field.keep_first(plan("first snapshot", 1, 5));
    let same = field.keep_after(plan("nothing changed", 2, 20), &mut |_| {});
    let one = field.keep_after(plan("one file changed", 2, 20), &mut |round| tree.edit_one(round));
    let some = field.keep_after(plan("1 % changed", 2, 20), &mut |round| tree.edit_some(round));
    let plain = field.write_elsewhere(plan("restore of all", 1, 5), false);
    let synced = field.write_elsewhere(plan("restore of all, synced", 1, 5), true);
    let back =
        field.put_back(plan("restore where 1 % differs", 2, 15), |round| tree.disturb(round));

    let mut rows = first.times(bars(&[("restic", 0.25)]));
    rows.extend(first.added());
    rows.extend(first.peaks());
    rows.push(first.peak(peak_bytes));
    rows.extend(same.times(bars(&[("git", 0.4)])));
    rows.push(same.peak(peak_bytes));
    rows.extend(one.times(&[]));
    rows.extend(one.added());
    rows.extend(some.times(bars(&[("git", 0.25)])));
    rows.extend(some.added());
    rows.extend(plain.times(bars(&[("rustic", 0.4)])));
    rows.extend(synced.times(bars(&[("rustic", 0.65)])));
    rows.extend(back.times(bars(&[("git", 0.8), ("git, core.fsync=all", 0.3)])));
    rows.push(back.peak(peak_bytes));
    rows
}
