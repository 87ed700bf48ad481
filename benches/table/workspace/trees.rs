//! The trees that are measured, and how they change.
//!
//! A source tree has files of 100 bytes to 45 KB, drawn evenly on a log scale, and one in 67 of
//! 100 KB to 1 MB: 13 KB on average, twenty to a directory, directories nested up to four deep.
//! Every tree and every change follows from numbers, so that each run does the same work.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::source::Source;
use crate::chat::Draw;

const FILES_IN_DIRECTORY: usize = 20;

/// Directories beside each other in one directory.
const FAN_OUT: usize = 8;

/// One file in so many is large.
const LARGE_EVERY: usize = 67;

const SMALL_BYTES: (f64, f64) = (100.0, 45e3);
const LARGE_BYTES: (f64, f64) = (100e3, 1e6);

/// Pieces of one sort in a binary file.
const PIECE_BYTES: usize = 64 << 10;

/// Bytes that are moved at once where a byte is inserted.
const MOVED_BYTES: u64 = 8 << 20;

/// Files of a source tree that are made, and as many that go, in [`SourceTree::disturb`].
const STRAYS: usize = 10;

/// A tree like a program's sources.
pub struct SourceTree {
    files: Vec<PathBuf>,
}

impl SourceTree {
    /// Makes a tree of so many files.
    pub fn create(root: &Path, files: usize) -> Self {
        let mut draw = Draw::seeded(files as u64);
        let paths: Vec<PathBuf> = (0..files).map(|at| root.join(path(at))).collect();
        for (at, path) in paths.iter().enumerate() {
            if at.is_multiple_of(FILES_IN_DIRECTORY) {
                let dir = path.parent().expect("a file lies in a directory");
                fs::create_dir_all(dir).expect("a directory can be made");
            }
            let text = Source::seeded(at as u64).text(size(&mut draw, at));
            fs::write(path, text).expect("a file can be written");
        }
        Self { files: paths }
    }

    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| length(file)).sum()
    }

    /// Edits one small file, another one in each round.
    pub fn edit_one(&self, round: usize) {
        edit(&self.files[(round * 997 + 1) % self.files.len()], round);
    }

    /// Edits one file in a hundred, other ones in each round.
    pub fn edit_some(&self, round: usize) {
        self.files.iter().skip(round % 100).step_by(100).for_each(|file| edit(file, round));
    }

    /// Edits one file in a hundred, the same ones in each round, takes some away and adds as many.
    pub fn disturb(&self, round: usize) {
        self.files.iter().step_by(100).for_each(|file| edit(file, round));
        for file in self.files.iter().skip(50).step_by(100).take(STRAYS) {
            fs::remove_file(file).expect("a file can be removed");
            let text = Source::seeded((1 << 40) + round as u64).text(5000);
            fs::write(file.with_extension("stray"), text).expect("a file can be written");
        }
    }
}

/// Where a file lies: `m3/m1/m7/f12345.src`.
fn path(at: usize) -> PathBuf {
    let mut directory = at / FILES_IN_DIRECTORY;
    let mut names = vec![format!("f{at}.src")];
    while directory > 0 {
        names.push(format!("m{}", directory % FAN_OUT));
        directory /= FAN_OUT;
    }
    names.iter().rev().collect()
}

fn size(draw: &mut Draw, at: usize) -> usize {
    let (low, high) = if at % LARGE_EVERY == LARGE_EVERY / 2 { LARGE_BYTES } else { SMALL_BYTES };
    let share = draw.below(1 << 20) as f64 / f64::from(1 << 20);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a size lies between the two bounds"
    )]
    let bytes = (low * (high / low).powf(share)) as usize;
    bytes
}

/// Puts a line of its own into the middle of a file and saves it in place.
fn edit(file: &Path, round: usize) {
    let mut text = fs::read(file).expect("a file can be read");
    let middle = text.len() / 2;
    let line = format!("// edited in round {round}\n");
    text.splice(middle..middle, line.into_bytes());
    fs::write(file, text).expect("a file can be written");
}

/// A tree of one large binary file.
pub struct LargeFile {
    path: PathBuf,
}

impl LargeFile {
    pub fn create(root: &Path, bytes: u64) -> Self {
        fs::create_dir_all(root).expect("a directory can be made");
        let path = root.join("large.bin");
        let mut file = File::create_new(&path).expect("a file can be made");
        for at in 0..bytes / PIECE_BYTES as u64 {
            let mut source = Source::seeded((1 << 41) + at);
            let piece =
                if at % 3 == 2 { source.text(PIECE_BYTES) } else { source.noise(PIECE_BYTES) };
            file.write_all(&piece).expect("a file can be written");
        }
        Self { path }
    }

    /// Puts one byte into the middle, and so moves all that follows.
    pub fn insert_byte(&self, round: usize) {
        let file = File::options().read(true).write(true).open(&self.path);
        let file = file.expect("the file opens");
        let length = length(&self.path);
        let middle = length / 2;
        let mut end = length;
        let mut buffer = Vec::new();
        while end > middle {
            let begin = end.saturating_sub(MOVED_BYTES).max(middle);
            buffer.resize(usize::try_from(end - begin).expect("8 MiB fit"), 0);
            file.read_exact_at(&mut buffer, begin).expect("the file can be read");
            file.write_all_at(&buffer, begin + 1).expect("the file can be written");
            end = begin;
        }
        let byte = u8::try_from(round % 256).expect("it was made to fit");
        file.write_all_at(&[byte], middle).expect("the file can be written");
    }
}

fn length(file: &Path) -> u64 {
    fs::metadata(file).expect("the file is there").len()
}

/// A digest of all files below a directory, their names and contents: equal for trees that hold the
/// same.
pub fn digest(root: &Path) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    add(&mut hasher, root, root);
    hasher.finalize()
}

fn add(hasher: &mut blake3::Hasher, root: &Path, dir: &Path) {
    let entries = fs::read_dir(dir).expect("the directory can be listed");
    let mut paths: Vec<PathBuf> = entries.map(|it| it.expect("it can be listed").path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            add(hasher, root, &path);
            continue;
        }
        let name = path.strip_prefix(root).expect("it lies beneath the root");
        hasher.update(name.as_os_str().as_encoded_bytes());
        hasher.update(&length(&path).to_le_bytes());
        let file = File::open(&path).expect("the file opens");
        hasher.update_reader(file).expect("the file can be read");
    }
}
