//! State files named by a pattern: `*`, `?` and `[…]` within the parts of a path.
//!
//! A pattern is looked up again each time, so that files which come later are kept too. A file that
//! carries the pattern's own letters is meant by them.

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};

use crate::disk::{Disk, EntryKind};

/// No pattern names more files.
pub(crate) const MATCHES_MAX: usize = 1000;

/// A path, or a pattern of paths.
#[derive(Debug, Clone)]
pub struct Pattern {
    path: PathBuf,
    /// The path in parts, where any of them is a pattern.
    parts: Option<Vec<Part>>,
}

#[derive(Debug, Clone)]
enum Part {
    Plain(PathBuf),
    Matching(GlobMatcher),
}

impl Pattern {
    /// Reads an absolute path.
    ///
    /// # Errors
    /// What is wrong with the pattern.
    pub fn new(path: PathBuf) -> Result<Self, globset::Error> {
        let parts = path.components().map(Part::of).collect::<Result<Vec<_>, _>>()?;
        let any = parts.iter().any(|part| matches!(part, Part::Matching(_)));
        Ok(Self { path, parts: any.then_some(parts) })
    }

    /// The files that are meant, in their order; a plain path whether it is there or not.
    pub(crate) fn files(&self, disk: &dyn Disk) -> Vec<PathBuf> {
        let Some(parts) = &self.parts else { return vec![self.path.clone()] };
        if disk.metadata(&self.path).is_ok() {
            return vec![self.path.clone()];
        }
        let mut found = vec![PathBuf::new()];
        for (at, part) in parts.iter().enumerate() {
            let kind = if at + 1 == parts.len() { EntryKind::File } else { EntryKind::Dir };
            found = found.iter().flat_map(|dir| part.beneath(disk, dir, kind)).collect();
            found.sort();
            found.truncate(MATCHES_MAX);
        }
        found.retain(|path| disk.metadata(path).is_ok_and(|it| it.kind == EntryKind::File));
        found
    }

    /// As it was given.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether any file is meant that is there.
    pub(crate) fn finds(&self, disk: &dyn Disk) -> bool {
        self.files(disk).iter().any(|path| disk.metadata(path).is_ok())
    }
}

impl Part {
    fn of(component: Component<'_>) -> Result<Self, globset::Error> {
        let name = component.as_os_str();
        match name.to_str().filter(|name| name.contains(['*', '?', '['])) {
            Some(text) => {
                let glob = GlobBuilder::new(text).literal_separator(true).build()?;
                Ok(Self::Matching(glob.compile_matcher()))
            }
            None => Ok(Self::Plain(name.into())),
        }
    }

    fn beneath(&self, disk: &dyn Disk, dir: &Path, kind: EntryKind) -> Vec<PathBuf> {
        match self {
            Self::Plain(name) => vec![dir.join(name)],
            Self::Matching(glob) => {
                let hidden = |name: &OsStr| name.as_encoded_bytes().starts_with(b".");
                // A directory that is not there, or closed, holds no match.
                let entries = disk.read_dir(dir).unwrap_or_default();
                let fits = entries.into_iter().filter(|entry| {
                    entry.kind == kind && glob.is_match(&entry.name) && !hidden(&entry.name)
                });
                fits.map(|entry| dir.join(entry.name)).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;

    fn files(disk: &MemoryDisk, pattern: &str) -> Vec<String> {
        let found = Pattern::new(pattern.into()).unwrap().files(disk);
        found.iter().map(|path| path.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn patterns_match_within_the_parts_of_a_path() {
        let disk = MemoryDisk::new();
        for dir in ["/m", "/m/a", "/m/b"] {
            disk.create_dir(Path::new(dir)).unwrap();
        }
        for file in ["/m/a/1.json", "/m/a/2.json", "/m/b/1.json", "/m/b/1.db", "/m/b/.x.json"] {
            disk.put(Path::new(file), b"");
        }
        assert_eq!(files(&disk, "/m/*/1.*"), ["/m/a/1.json", "/m/b/1.db", "/m/b/1.json"]);
        assert_eq!(files(&disk, "/m/a/[2-3].json"), ["/m/a/2.json"]);
        assert_eq!(files(&disk, "/m/*.json"), [] as [&str; 0]);
        assert_eq!(files(&disk, "/m/gone.json"), ["/m/gone.json"], "a plain path is meant");
        assert!(Pattern::new("/m/[".into()).is_err());
    }

    #[test]
    fn a_file_that_is_called_like_a_pattern_is_meant_by_it() {
        let disk = MemoryDisk::new();
        for file in ["/[x].json", "/x.json"] {
            disk.put(Path::new(file), b"");
        }
        assert_eq!(files(&disk, "/[x].json"), ["/[x].json"]);
    }
}
