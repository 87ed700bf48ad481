//! One large binary file.

use super::field::{Field, Plan};
use super::neighbour;
use super::peers::Tool;
use super::peers::borg::BORG;
use super::peers::git::GIT;
use super::peers::restic::RESTIC;
use super::peers::stateward::STATEWARD;
use super::trees::LargeFile;
use crate::arguments::Arguments;
use crate::row::{Row, Unit};

/// git once: each byte inserted costs it the whole file again, in time and on the disk.
const TOOLS: [&Tool; 4] = [&STATEWARD, &GIT, &RESTIC, &BORG];

const FULL_BYTES: u64 = 1_000_000_000;
const QUICK_BYTES: u64 = 256_000_000;

/// What a snapshot may take of memory, up to 1 GB.
const PEAK_BYTES: f64 = 64e6;

/// What the store may grow by where one byte was inserted.
const ADDED_BYTES: f64 = 200e3;

pub fn rows(arguments: &Arguments) -> Vec<Row> {
    let (bytes, name) = if arguments.quick {
        (QUICK_BYTES, "one file of 256 MB (for 1 GB)")
    } else {
        (FULL_BYTES, "one file of 1 GB")
    };
    let field = Field::new(arguments, name, &TOOLS);
    let file = LargeFile::create(&field.root, bytes);
    let plan = |what, full| Plan { what, warm_up: 1, rounds: arguments.rounds(full) };

    let first = field.keep_first(plan("first snapshot", 3));
    let same = field.keep_after(plan("nothing changed", 10), &mut |_| {});
    let inserted =
        field.keep_after(plan("one byte inserted", 3), &mut |round| file.insert_byte(round));
    let plain = field.write_elsewhere(plan("restore of all", 3), false);
    let synced = field.write_elsewhere(plan("restore of all, synced", 3), true);

    let mut rows = first.times(&[]);
    rows.extend(first.added());
    rows.extend(first.peaks());
    rows.push(first.peak().at_most(PEAK_BYTES));
    rows.extend(same.times(&[]));
    rows.extend(inserted.times(&[("borg", 0.25)]));
    rows.extend(inserted.added());
    let work = format!("{}: bytes added", inserted.work);
    rows.push(Row::alone(work, Unit::Bytes, &inserted.ours().added()).at_most(ADDED_BYTES));
    rows.push(inserted.peak().at_most(PEAK_BYTES));
    rows.extend(plain.times(&[]));
    rows.extend(synced.times(&[]));
    rows.push(neighbour::row(arguments, name, &field.root));
    rows
}
