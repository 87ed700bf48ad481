//! Follows files that lines are appended to.
//!
//! Files that are there when the following begins are followed from their end, later ones from their
//! beginning. A file that grew is kept open: when another stands under its name, the rest of it is
//! read first. A line that has no end yet waits for it; one that is too long is left out.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Mapping, Said};
use crate::disk::{Access, Disk, DiskFile, EntryKind};
use crate::drift::Observation;
use crate::supervise::patterns::{MATCHES_MAX, Pattern};
use crate::supervise::state_file;
use crate::supervise::transcript::Options;

/// Files that are kept open; of others the rest is lost when they are replaced.
const OPEN_MAX: usize = 16;

/// A longer line is left out.
const LINE_BYTES_MAX: usize = 4 << 20;

/// Bytes that are read of one file at one look.
const LOOK_BYTES_MAX: u64 = 4 << 20;

const PIECE: usize = 64 << 10;

/// What a look brought.
#[derive(Debug, Default)]
pub(crate) struct Polled {
    pub told: Vec<Observation>,
    /// What is wrong, each told once.
    pub trouble: Vec<String>,
}

/// The transcripts of one agent.
#[derive(Debug)]
pub(crate) struct Follower {
    disk: Arc<dyn Disk>,
    pattern: Pattern,
    mapping: Mapping,
    files: BTreeMap<PathBuf, Followed>,
    /// The first look is done: what was there already is past.
    begun: bool,
    looks: u64,
    told: Told,
}

/// What was told, so that it is told once.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a word of its own that is told once")]
struct Told {
    unknown: bool,
    long: bool,
    many: bool,
    unread: bool,
}

/// One file that is followed.
#[derive(Debug)]
struct Followed {
    identity: (u64, u64),
    offset: u64,
    file: Option<Arc<dyn DiskFile>>,
    /// The look at which it last grew.
    grew: u64,
    line: Vec<u8>,
    /// The line began before anybody looked, or is too long: its end is waited for.
    skipping: bool,
    /// Whether it is known if the line at the offset began before.
    begun: bool,
}

/// What was found in a file.
#[derive(Debug, Default)]
struct Found {
    lines: Vec<Vec<u8>>,
    long: u64,
}

impl Follower {
    /// Begins to follow; what is there already is past.
    pub(crate) fn begin(disk: Arc<dyn Disk>, pattern: Pattern, options: &Options) -> Self {
        let mapping = Mapping::of(options);
        let (files, told) = (BTreeMap::new(), Told::default());
        let mut follower = Self { disk, pattern, mapping, files, begun: false, looks: 0, told };
        let nothing = follower.poll();
        debug_assert!(nothing.told.is_empty(), "what is there already is past");
        follower.begun = true;
        follower
    }

    /// Reads what was added since the last look.
    pub(crate) fn poll(&mut self) -> Polled {
        let mut polled = Polled::default();
        self.looks += 1;
        let files = self.pattern.files(&*self.disk);
        if files.len() >= MATCHES_MAX {
            let words = || format!("{MATCHES_MAX} transcripts and more: further ones are not read");
            note(&mut self.told.many, &mut polled, words);
        }
        for path in files {
            let place = state_file::place(&*self.disk, &path);
            match self.look(&place) {
                Ok(found) => self.hear(&found, &place, &mut polled),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    let place = place.display();
                    let words = || format!("the transcript {place} cannot be read: {error}");
                    note(&mut self.told.unread, &mut polled, words);
                }
            }
        }
        if polled.told.is_empty() {
            polled.told.extend(self.mapping.settle());
        }
        polled
    }

    /// Reads on in one file.
    fn look(&mut self, place: &Path) -> io::Result<Found> {
        let standing = self.disk.metadata(place)?;
        let mut found = Found::default();
        if standing.kind != EntryKind::File {
            return Ok(found);
        }
        let identity = (standing.device, standing.inode);
        if let Some(old) = self.files.get_mut(place)
            && old.identity != identity
        {
            old.read_on(&mut found)?;
            self.files.remove(place);
        }
        let new = || Followed::of(identity, if self.begun { 0 } else { standing.len });
        let followed = self.files.entry(place.to_owned()).or_insert_with(new);
        if standing.len != followed.offset {
            followed.grew = self.looks;
            if followed.file.is_none() {
                followed.file = Some(self.disk.open(place, Access::Read)?);
            }
            followed.read_on(&mut found)?;
            self.close_the_stillest();
        }
        Ok(found)
    }

    fn close_the_stillest(&mut self) {
        let open = self.files.values_mut().filter(|followed| followed.file.is_some());
        let mut open: Vec<&mut Followed> = open.collect();
        if open.len() > OPEN_MAX
            && let Some(stillest) = open.iter_mut().min_by_key(|followed| followed.grew)
        {
            stillest.file = None;
        }
    }

    fn hear(&mut self, found: &Found, place: &Path, polled: &mut Polled) {
        let place = place.display();
        if found.long > 0 {
            let words =
                || format!("a line of {place} is longer than {LINE_BYTES_MAX} bytes: left out");
            note(&mut self.told.long, polled, words);
        }
        for line in &found.lines {
            match self.mapping.read(line) {
                Said::Told(told) => polled.told.extend(told),
                Said::Nothing => {}
                Said::Unknown => {
                    let words = || format!("lines of {place} are not understood and let be");
                    note(&mut self.told.unknown, polled, words);
                }
            }
        }
    }
}

/// Says something for the first time.
fn note(told: &mut bool, polled: &mut Polled, words: impl FnOnce() -> String) {
    if !std::mem::replace(told, true) {
        polled.trouble.push(words());
    }
}

impl Followed {
    fn of(identity: (u64, u64), offset: u64) -> Self {
        let (file, line) = (None, Vec::new());
        Self { identity, offset, file, grew: 0, line, skipping: false, begun: false }
    }

    fn read_on(&mut self, found: &mut Found) -> io::Result<()> {
        let Some(file) = self.file.clone() else { return Ok(()) };
        let len = file.len()?;
        if len < self.offset {
            // It was cut, and what is in it now is new.
            (self.offset, self.skipping) = (0, false);
            self.line.clear();
        }
        if !std::mem::replace(&mut self.begun, true) && self.offset > 0 {
            let mut last = [b'\n'];
            file.read_at(&mut last, self.offset - 1)?;
            self.skipping = last != *b"\n";
        }
        let until = len.min(self.offset.saturating_add(LOOK_BYTES_MAX));
        let mut piece = vec![0; PIECE];
        while self.offset < until {
            let read = file.read_at(&mut piece, self.offset)?;
            if read == 0 {
                break;
            }
            self.offset += read as u64;
            self.take(&piece[..read], found);
        }
        Ok(())
    }

    fn take(&mut self, mut bytes: &[u8], found: &mut Found) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.add(&bytes[..end], found);
            let line = std::mem::take(&mut self.line);
            if !std::mem::take(&mut self.skipping) && !line.trim_ascii().is_empty() {
                found.lines.push(line);
            }
            bytes = &bytes[end + 1..];
        }
        self.add(bytes, found);
    }

    fn add(&mut self, bytes: &[u8], found: &mut Found) {
        if self.skipping {
            return;
        }
        if self.line.len() + bytes.len() > LINE_BYTES_MAX {
            found.long += 1;
            (self.line, self.skipping) = (Vec::new(), true);
        } else {
            self.line.extend_from_slice(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;

    const LOG: &str = "/t/a.jsonl";

    struct Case {
        disk: Arc<MemoryDisk>,
        follower: Follower,
    }

    impl Case {
        fn of(before: &[(&str, &str)], pattern: &str) -> Self {
            let disk = Arc::new(MemoryDisk::new());
            disk.create_dir(Path::new("/t")).unwrap();
            for (path, text) in before {
                disk.put(Path::new(path), text.as_bytes());
            }
            let pattern = Pattern::new(pattern.into()).unwrap();
            let shared: Arc<dyn Disk> = disk.clone();
            Self { follower: Follower::begin(shared, pattern, &Options::default()), disk }
        }

        fn append(&self, path: &str, text: &str) {
            let file = self.disk.open(Path::new(path), Access::Write).unwrap();
            file.write_all_at(text.as_bytes(), file.len().unwrap()).unwrap();
        }

        fn heard(&mut self) -> Vec<String> {
            let told = self.follower.poll().told;
            told.into_iter().map(|it| it.action.unwrap().name).collect()
        }
    }

    fn line(name: &str) -> String {
        format!("{{\"action\":\"{name}\"}}\n")
    }

    #[test]
    fn what_was_there_is_past_and_what_comes_is_read_once() {
        let before = line("old") + "{\"action\":\"half";
        let mut case = Case::of(&[(LOG, &before)], LOG);
        assert_eq!(case.heard(), [] as [&str; 0]);
        case.append(LOG, "-old\"}\n");
        case.append(LOG, &(line("a") + &line("b")));
        assert_eq!(case.heard(), ["a", "b"], "a line that began before is past too");
        case.append(LOG, "{\"action\"");
        assert_eq!(case.heard(), [] as [&str; 0]);
        case.append(LOG, ":\"c\"}\n\n");
        assert_eq!(case.heard(), ["c"]);
        assert_eq!(case.heard(), [] as [&str; 0]);
    }

    #[test]
    fn new_files_are_read_from_their_beginning() {
        let mut case = Case::of(&[(LOG, &line("old"))], "/t/*.jsonl");
        case.disk.put(Path::new("/t/b.jsonl"), line("b").as_bytes());
        case.disk.put(Path::new("/t/c.txt"), line("c").as_bytes());
        case.append(LOG, &line("a"));
        assert_eq!(case.heard(), ["a", "b"]);
    }

    #[test]
    fn many_files_are_followed_with_few_open() {
        let names: Vec<String> = (10..60).map(|n| format!("/t/{n}.jsonl")).collect();
        let before: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
        let mut case = Case::of(&before, "/t/*.jsonl");
        for round in 0..3 {
            for name in &names {
                case.append(name, &line(&format!("{round}{name}")));
            }
            let wanted: Vec<String> = names.iter().map(|name| format!("{round}{name}")).collect();
            assert_eq!(case.heard(), wanted);
        }
        let open = case.follower.files.values().filter(|followed| followed.file.is_some());
        assert!(open.count() <= OPEN_MAX);
    }

    #[test]
    fn a_file_that_was_cut_begins_anew() {
        let mut case = Case::of(&[(LOG, &line("a-long-name"))], LOG);
        let file = case.disk.open(Path::new(LOG), Access::Write).unwrap();
        file.set_len(0).unwrap();
        case.append(LOG, &line("a"));
        assert_eq!(case.heard(), ["a"]);
    }

    #[test]
    fn of_a_file_that_was_replaced_the_rest_is_read_first() {
        let mut case = Case::of(&[(LOG, "")], LOG);
        case.append(LOG, &line("first"));
        assert_eq!(case.heard(), ["first"]);
        case.append(LOG, &line("a"));
        case.disk.rename(Path::new(LOG), Path::new("/t/a.1")).unwrap();
        case.disk.put(Path::new(LOG), line("b").as_bytes());
        assert_eq!(case.heard(), ["a", "b"]);
    }

    #[test]
    fn a_line_that_is_too_long_or_not_understood_is_told_once() {
        let mut case = Case::of(&[], LOG);
        let long = format!("{{\"action\":\"{}\"}}\n", "x".repeat(LINE_BYTES_MAX));
        case.disk.put(Path::new(LOG), (long.clone() + "no JSON\n{}\n" + &line("a")).as_bytes());
        let mut polled = case.follower.poll();
        let more = case.follower.poll();
        polled.told.extend(more.told);
        polled.trouble.extend(more.trouble);
        assert_eq!(polled.told.len(), 1);
        assert_eq!(polled.trouble.len(), 2, "{:?}", polled.trouble);
        case.append(LOG, &(long + "[]\n"));
        let again = [case.follower.poll(), case.follower.poll()];
        assert!(again.iter().all(|polled| polled.trouble.is_empty()), "{again:?}");
    }
}
