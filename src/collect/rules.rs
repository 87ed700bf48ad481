//! What is ignored.
//!
//! A `.statewardignore` in any directory holds patterns in gitignore syntax for what lies below that
//! directory. The deepest file with a pattern that matches decides, and in it the last such pattern;
//! one that begins with `!` keeps what would be ignored otherwise, by default too. What lies in an
//! ignored directory is ignored, whatever its own patterns say. Where no file decides, the defaults
//! do: directories that can be made again, by name or by a `CACHEDIR.TAG`
//! (<https://bford.info/cachedir/>). The root itself is never ignored.
//!
//! Lines that are no pattern are passed over, as git does. Of a `.statewardignore` longer than 1 MiB
//! only the lines that end within the first MiB count.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

/// The name of a file with patterns.
pub(crate) const IGNORE_FILE: &str = ".statewardignore";
/// More of such a file is not looked at.
pub(super) const IGNORE_BYTES_MAX: usize = 1 << 20;
/// The file that says of its directory that it is a cache.
pub(super) const TAG_FILE: &str = "CACHEDIR.TAG";
/// What such a file begins with.
pub(super) const TAG_SIGNATURE: &[u8; 43] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// Files that stand together in every store: none is part of a workspace, whoever's it is.
pub(crate) const STORE_FILES: [&str; 2] = ["store.json", "lock"];

const DEFAULT_NAMES: [&str; 4] = ["node_modules", ".venv", "__pycache__", "target"];

/// Whether a directory of this name can be made again.
pub(super) fn is_default_name(name: &OsStr) -> bool {
    DEFAULT_NAMES.iter().any(|default| name == *default)
}

/// What a rule says of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Ignored,
    Kept,
}

/// The patterns of one `.statewardignore`.
#[derive(Debug, Clone)]
pub(super) struct Patterns(Gitignore);

impl Patterns {
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let bytes = match bytes.get(..IGNORE_BYTES_MAX) {
            Some(start) if bytes.len() > IGNORE_BYTES_MAX => {
                let end = start.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
                &start[..end]
            }
            _ => bytes,
        };
        let text = String::from_utf8_lossy(bytes);
        // Patterns are matched against paths from their own directory.
        let mut builder = GitignoreBuilder::new(".");
        for line in text.trim_start_matches('\u{feff}').lines() {
            if let Err(error) = builder.add_line(None, line) {
                tracing::debug!(line, %error, "not a pattern");
            }
        }
        Self(builder.build().unwrap_or_else(|error| {
            tracing::warn!(%error, "the patterns of a .statewardignore are too much, none counts");
            Gitignore::empty()
        }))
    }

    /// What they say of a path from their own directory.
    fn verdict(&self, path: &Path, is_dir: bool) -> Option<Verdict> {
        match self.0.matched(path, is_dir) {
            Match::None => None,
            Match::Ignore(_) => Some(Verdict::Ignored),
            Match::Whitelist(_) => Some(Verdict::Kept),
        }
    }
}

/// The patterns that hold in one directory: its own, and those of the directories above.
#[derive(Debug)]
pub(super) struct Scope {
    dir: PathBuf,
    patterns: Arc<Patterns>,
    above: Option<Arc<Scope>>,
}

impl Scope {
    pub(super) fn new(dir: &Path, patterns: Arc<Patterns>, above: Option<Arc<Self>>) -> Arc<Self> {
        Arc::new(Self { dir: dir.to_owned(), patterns, above })
    }

    /// What the files say of a name; `path` is that from the root.
    pub(super) fn verdict(&self, path: &Path, is_dir: bool) -> Option<Verdict> {
        let inner = path.strip_prefix(&self.dir).unwrap_or(path);
        let above = || self.above.as_ref()?.verdict(path, is_dir);
        self.patterns.verdict(inner, is_dir).or_else(above)
    }
}

/// The rules of a whole tree.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    ignore_defaults: bool,
    files: BTreeMap<PathBuf, Arc<Patterns>>,
    /// Directories that a tag calls a cache.
    caches: BTreeSet<PathBuf>,
}

impl Rules {
    /// The rules of a kept tree: each directory that has a `.statewardignore` with its bytes. Which
    /// directories were tagged as caches is not among what a tree keeps.
    pub(crate) fn of_files(
        files: impl IntoIterator<Item = (PathBuf, Vec<u8>)>,
        ignore_defaults: bool,
    ) -> Self {
        let files = files.into_iter().map(|(dir, bytes)| (dir, Arc::new(Patterns::parse(&bytes))));
        Self { ignore_defaults, files: files.collect(), caches: BTreeSet::new() }
    }

    /// The rules found by a scan.
    pub(super) fn found(
        files: BTreeMap<PathBuf, Arc<Patterns>>,
        caches: BTreeSet<PathBuf>,
        ignore_defaults: bool,
    ) -> Self {
        Self { ignore_defaults, files, caches }
    }

    /// Whether what stands at a path from the root is ignored, or lies in what is.
    pub(crate) fn ignores(&self, path: &Path, is_dir: bool) -> bool {
        let mut at = PathBuf::new();
        let mut parts = path.iter().peekable();
        while let Some(part) = parts.next() {
            at.push(part);
            if self.ignores_alone(&at, is_dir || parts.peek().is_some()) {
                return true;
            }
        }
        false
    }

    fn ignores_alone(&self, path: &Path, is_dir: bool) -> bool {
        let above = path.ancestors().skip(1);
        let said = above.filter_map(|dir| {
            let inner = path.strip_prefix(dir).ok()?;
            self.files.get(dir)?.verdict(inner, is_dir)
        });
        match said.into_iter().next() {
            Some(verdict) => verdict == Verdict::Ignored,
            None => self.ignore_defaults && is_dir && self.is_cache(path),
        }
    }

    fn is_cache(&self, path: &Path) -> bool {
        path.file_name().is_some_and(is_default_name) || self.caches.contains(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(files: &[(&str, &str)]) -> Rules {
        let files = files.iter().map(|(dir, text)| ((*dir).into(), text.as_bytes().to_vec()));
        Rules::of_files(files, true)
    }

    fn ignored<'a>(rules: &Rules, paths: &[&'a str]) -> Vec<&'a str> {
        let is = |path: &&&str| {
            rules.ignores(Path::new(path.trim_end_matches('/')), path.ends_with('/'))
        };
        paths.iter().filter(is).copied().collect()
    }

    #[test]
    fn the_deepest_pattern_decides() {
        let rules = rules(&[
            (
                "",
                "*.log\n/only-here\nbuild/\n!keep.log\ndeep/**/x\n# a comment\n\nwith\\ space\r\n",
            ),
            ("sub", "!*.log\nsecret.log\n"),
        ]);
        let paths = [
            "a.log",
            "keep.log",
            "sub/a.log",
            "sub/secret.log",
            "sub/more/b.log",
            "only-here",
            "sub/only-here",
            "build",
            "build/",
            "build/x",
            "sub/build/",
            "deep/a/b/x",
            "with space",
            "# a comment",
            "a.txt",
        ];
        let expected = [
            "a.log",
            "sub/secret.log",
            "only-here",
            "build/",
            "build/x",
            "sub/build/",
            "deep/a/b/x",
            "with space",
        ];
        assert_eq!(ignored(&rules, &paths), expected);
    }

    #[test]
    fn what_lies_in_an_ignored_directory_is_ignored() {
        let rules = rules(&[("", "out/\n"), ("out", "!kept\n")]);
        assert_eq!(ignored(&rules, &["out/kept", "kept"]), ["out/kept"]);
    }

    #[test]
    fn defaults_hold_for_directories_that_no_pattern_keeps() {
        let rules = rules(&[("mine", "!target/\n")]);
        let paths = [
            "node_modules/",
            "node_modules",
            "a/.venv/lib/x",
            "mine/target/x",
            "target/",
            "targets/",
        ];
        assert_eq!(ignored(&rules, &paths), ["node_modules/", "a/.venv/lib/x", "target/"]);
        let all = Rules { ignore_defaults: false, ..rules };
        assert!(ignored(&all, &paths).is_empty());
    }

    #[test]
    fn lines_that_are_no_pattern_are_passed_over() {
        let rules = rules(&[("", "\u{feff}first\na{b\n**\u{0}\n[\nlast\n")]);
        assert_eq!(ignored(&rules, &["first", "last", "other"]), ["first", "last"]);
    }

    #[test]
    fn a_file_of_patterns_is_read_to_a_limit() {
        let mut text = vec![b'\n'; IGNORE_BYTES_MAX - 8];
        text.extend_from_slice(b"in\nbeyond\n");
        let rules = Rules::of_files([(PathBuf::new(), text)], true);
        assert_eq!(ignored(&rules, &["in", "beyond", "beyo", "b"]), ["in"]);
    }
}
