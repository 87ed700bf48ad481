//! The files an agent keeps its state in, as they are found.
//!
//! What is read is settled: the file was the same before and after. Whether a file is whole is told
//! by its form: the state is one JSON object; a file called `.json` is one JSON value; one called
//! `.jsonl` or `.ndjson` ends with a whole line; of any other nothing is known. What is sound but
//! beyond the limits is neither kept nor replaced.

use std::io;
use std::path::{Path, PathBuf};

use serde::de::IgnoredAny;

use crate::collect;
use crate::disk::{self, Access, Disk, EntryKind};
use crate::encode;
use crate::state::Timestamp;

/// A file that is written again and again while it is read is read so often.
const READS: u32 = 3;

/// No state that is deeper is kept by any configuration.
const DEPTH_MAX: usize = 120;

/// A last line that is longer is not looked at.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// A file of JSON that is longer is not looked at.
const JSON_BYTES_MAX: u64 = 64 << 20;

/// What a file looks like from outside: it changes when the content does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Print {
    modified: Timestamp,
    len: u64,
    inode: u64,
}

/// What is in the file that is the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// There is none.
    Missing,
    /// One JSON object.
    Whole(Vec<u8>),
    /// Something else: half a write, or none of ours.
    Damaged {
        /// What it is.
        bytes: Vec<u8>,
        /// Why it is no state.
        why: String,
    },
    /// It cannot be kept, and is not known to be damaged.
    Unfit(String),
}

/// How a file is told to be whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Lines,
    Any,
}

/// What is wrong with a file that is not whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wrong {
    Missing,
    Damaged(String),
}

impl Print {
    /// What stands at a place; `None` where that is no file.
    pub(crate) fn of(disk: &dyn Disk, place: &Path) -> Option<Self> {
        let found = disk.metadata(place).ok()?;
        let print = Self { modified: found.modified, len: found.len, inode: found.inode };
        (found.kind == EntryKind::File).then_some(print)
    }
}

/// Where a file is, links resolved as far as they lead somewhere; it need not be there yet.
pub(crate) fn place(disk: &dyn Disk, path: &Path) -> PathBuf {
    let beneath = |parent: &Path| Some(disk.canonical(parent).ok()?.join(path.file_name()?));
    disk.canonical(path).ok().or_else(|| beneath(path.parent()?)).unwrap_or_else(|| path.to_owned())
}

/// Where a database of `SQLite` is written to before it is written to itself.
pub(crate) fn write_ahead(place: &Path) -> PathBuf {
    let [log, ..] = collect::beside(place.as_os_str());
    log.into()
}

/// Reads the file that is the state.
pub(crate) fn read(disk: &dyn Disk, place: &Path, limits: &encode::Options) -> io::Result<Found> {
    for _ in 0..READS {
        let Some(before) = Print::of(disk, place) else { return missing(disk, place) };
        if before.len > limits.state_bytes_max as u64 {
            let max = limits.state_bytes_max;
            return Ok(Found::Unfit(format!("it is longer than {max} bytes")));
        }
        let bytes = match disk::read(disk, place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        if Print::of(disk, place) == Some(before) && bytes.len() as u64 == before.len {
            return Ok(judge(bytes, limits));
        }
    }
    Ok(Found::Unfit("it changes while it is read".to_owned()))
}

fn missing(disk: &dyn Disk, place: &Path) -> io::Result<Found> {
    match disk.metadata(place) {
        Ok(_) => Ok(Found::Unfit("it is not a regular file".to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Missing),
        Err(error) => Err(error),
    }
}

fn judge(bytes: Vec<u8>, limits: &encode::Options) -> Found {
    let Err(why) = limits.check_state(&bytes) else { return Found::Whole(bytes) };
    let widest = encode::Options { depth_max: DEPTH_MAX, state_bytes_max: usize::MAX, ..*limits };
    match widest.check_state(&bytes) {
        Ok(()) => Found::Unfit(why.to_string()),
        Err(encode::Error::Json(why)) => Found::Damaged { bytes, why: why.to_string() },
        Err(why) => Found::Damaged { bytes, why: why.to_string() },
    }
}

/// What is wrong with a state file of any form; nothing where it is whole, or nobody can tell.
pub(crate) fn wrong(disk: &dyn Disk, place: &Path) -> io::Result<Option<Wrong>> {
    let Some(print) = Print::of(disk, place) else {
        return Ok(matches!(missing(disk, place)?, Found::Missing).then_some(Wrong::Missing));
    };
    let why = match Form::of(place) {
        Form::Json if print.len <= JSON_BYTES_MAX => {
            let bytes = disk::read(disk, place)?;
            serde_json::from_slice::<IgnoredAny>(&bytes).err().map(|why| why.to_string())
        }
        Form::Lines => {
            let line = last_line(disk, place, print.len)?;
            let bad = |line: Vec<u8>| serde_json::from_slice::<IgnoredAny>(&line).err();
            line.and_then(bad).map(|why| format!("its last line is not whole: {why}"))
        }
        Form::Json | Form::Any => None,
    };
    Ok(why.map(Wrong::Damaged))
}

impl Form {
    fn of(path: &Path) -> Self {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("json") => Self::Json,
            Some("jsonl" | "ndjson") => Self::Lines,
            _ => Self::Any,
        }
    }
}

/// The last line that is not empty; none where there is none, or it is too long to tell.
fn last_line(disk: &dyn Disk, place: &Path, len: u64) -> io::Result<Option<Vec<u8>>> {
    let from = len.saturating_sub(LINE_BYTES_MAX);
    let file = disk.open(place, Access::Read)?;
    let mut tail = vec![0; usize::try_from(len - from).map_err(io::Error::other)?];
    let mut filled = 0;
    while filled < tail.len() {
        match file.read_at(&mut tail[filled..], from + filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    let text = tail[..filled].trim_ascii_end();
    let begins = text.iter().rposition(|byte| *byte == b'\n').map(|at| at + 1);
    Ok(match begins {
        _ if text.is_empty() => None,
        None if from > 0 => None,
        begins => Some(text[begins.unwrap_or(0)..].to_vec()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;

    fn found(disk: &MemoryDisk) -> Found {
        let limits = encode::Options { state_bytes_max: 40, depth_max: 3, ..Default::default() };
        read(disk, Path::new("/memory.json"), &limits).unwrap()
    }

    #[test]
    fn what_is_no_object_is_damaged_and_what_is_too_much_is_not() {
        let disk = MemoryDisk::new();
        assert_eq!(found(&disk), Found::Missing);
        let path = Path::new("/memory.json");
        disk.put(path, b"{\"a\":1}");
        assert_eq!(found(&disk), Found::Whole(b"{\"a\":1}".to_vec()));
        for torn in [&b"{\"a\":1"[..], b"", b"[1]", b"{\"a\":1}}", b"\0\0\0\0"] {
            disk.put(path, torn);
            assert!(matches!(found(&disk), Found::Damaged { bytes, .. } if bytes == torn));
        }
        for unfit in [&b"{\"a\":[[[1]]]}"[..], &[b' '; 41]] {
            disk.put(path, unfit);
            assert!(matches!(found(&disk), Found::Unfit(_)));
        }
    }

    #[test]
    fn a_directory_in_its_place_is_left_alone() {
        let disk = MemoryDisk::new();
        disk.create_dir(Path::new("/memory.json")).unwrap();
        assert!(matches!(found(&disk), Found::Unfit(_)));
        assert_eq!(wrong(&disk, Path::new("/memory.json")).unwrap(), None);
    }

    #[test]
    fn each_form_is_whole_in_its_own_way() {
        let disk = MemoryDisk::new();
        let deep = "[".repeat(1000) + &"]".repeat(1000);
        let cases: [(&str, &str, bool); 11] = [
            ("/a.json", "[1]", true),
            ("/a.json", &deep, true),
            ("/a.json", "[1", false),
            ("/a.json", "", false),
            ("/a.jsonl", "", true),
            ("/a.jsonl", "{}\n{\"n\":1}\n", true),
            ("/a.jsonl", "{}\n{\"n\":1}", true),
            ("/a.jsonl", "{}\n{\"n\":", false),
            ("/a.ndjson", "{", false),
            ("/a.db", "{", true),
            ("/notes", "", true),
        ];
        for (path, text, whole) in cases {
            disk.put(Path::new(path), text.as_bytes());
            let found = wrong(&disk, Path::new(path)).unwrap();
            assert_eq!(found.is_none(), whole, "{path}: {found:?}");
        }
        assert_eq!(wrong(&disk, Path::new("/gone.db")).unwrap(), Some(Wrong::Missing));
    }

    #[test]
    fn a_last_line_is_found_at_the_end_of_a_long_file() {
        let disk = MemoryDisk::new();
        let path = Path::new("/long.jsonl");
        let mut text = "{\"n\":1}\n".repeat(200_000);
        disk.put(path, text.as_bytes());
        assert_eq!(wrong(&disk, path).unwrap(), None);
        text += "{\"n\"";
        disk.put(path, text.as_bytes());
        assert!(matches!(wrong(&disk, path).unwrap(), Some(Wrong::Damaged(_))));
    }
}
