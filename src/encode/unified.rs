//! Two texts as a unified diff, as `diff -u` prints and `patch` reads it.
//!
//! A line ends with a line feed; a last line without one is marked. What the texts have in common is
//! searched for with git's bounded effort (crate `similar`), so texts that share little may be told
//! in more lines than the fewest. What is not UTF-8 or holds a NUL is no text. Control characters in
//! a name are escaped, and a name with a space ends with a tab, so that a name stays one name.

use std::path::Path;

use serde::{Deserialize, Serialize};
use similar::TextDiff;
use similar::udiff::UnifiedHunkHeader;

/// Longer texts are not compared: reading them is no pleasure, and nobody waits for it.
pub(crate) const TEXT_BYTES_MAX: u64 = 1 << 20;
/// Half a second of searching at worst, with lines of a letter drawn by lot; a MiB of source code has
/// fewer.
const LINES_MAX: usize = 50_000;
/// Lines that are the same, told before and after those that are not.
const CONTEXT_LINES: usize = 3;

/// Why the difference between two files is not told line by line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub enum NoText {
    /// One of them is no UTF-8 text.
    Binary,
    /// One of them is over 1 MiB, or over 50,000 lines.
    TooLarge,
    /// So much was told of others that nobody reads more.
    TooMuch,
    /// One of them is not there any more, or may not be read.
    Unreadable,
}

/// The diff from `a` to `b`, either of which may not be there; empty where no line differs.
///
/// # Errors
/// [`NoText::Binary`] and [`NoText::TooLarge`].
pub(crate) fn unified(path: &Path, a: Option<&[u8]>, b: Option<&[u8]>) -> Result<String, NoText> {
    let (old, new) = (lines(a)?, lines(b)?);
    let diff = TextDiff::configure().newline_terminated(true).diff_slices(&old, &new);
    let mut text = String::new();
    for hunk in diff.unified_diff().context_radius(CONTEXT_LINES).iter_hunks() {
        if text.is_empty() {
            let (from, to) = (name("a", path, a.is_some()), name("b", path, b.is_some()));
            text = format!("--- {from}\n+++ {to}\n");
        }
        text.push_str(&UnifiedHunkHeader::new(hunk.ops()).to_string());
        text.push('\n');
        for change in hunk.iter_changes() {
            let line = change.value();
            let end = if line.ends_with('\n') { "" } else { "\n\\ No newline at end of file\n" };
            text.extend([change.tag().to_string().as_str(), line, end]);
        }
    }
    Ok(text)
}

fn lines(bytes: Option<&[u8]>) -> Result<Vec<&str>, NoText> {
    let bytes = bytes.unwrap_or_default();
    if bytes.len() as u64 > TEXT_BYTES_MAX {
        return Err(NoText::TooLarge);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| NoText::Binary)?;
    if text.contains('\0') {
        return Err(NoText::Binary);
    }
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    if lines.len() > LINES_MAX { Err(NoText::TooLarge) } else { Ok(lines) }
}

fn name(side: &str, path: &Path, is_there: bool) -> String {
    if !is_there {
        return "/dev/null".to_owned();
    }
    let path = path.strip_prefix("/").unwrap_or(path).display().to_string();
    let mut name = format!("{side}/");
    for letter in path.chars() {
        if letter.is_control() {
            name.extend(letter.escape_default());
        } else {
            name.push(letter);
        }
    }
    if name.contains(' ') {
        name.push('\t');
    }
    name
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Makes the second text of the first, as `patch` does.
    fn patched(text: &str, diff: &str) -> String {
        let mut old = text.split_inclusive('\n');
        let (mut at, mut new) = (0, String::new());
        let mut said = diff.split_inclusive('\n').skip(2).peekable();
        while let Some(line) = said.next() {
            let no_end = said.next_if(|next| next.starts_with('\\')).is_some();
            let body = if no_end { line[1..].trim_end_matches('\n') } else { &line[1..] };
            match line.as_bytes()[0] {
                b'@' => {
                    let from = line[4..].split([',', ' ']).next().unwrap();
                    let is_empty = line[4..].split(' ').next().unwrap().ends_with(",0");
                    let start = from.parse::<usize>().unwrap() - usize::from(!is_empty);
                    new.extend(old.by_ref().take(start - at));
                    at = start;
                }
                b'+' => new.push_str(body),
                kind => {
                    assert_eq!(old.next(), Some(body));
                    at += 1;
                    if kind == b' ' {
                        new.push_str(body);
                    }
                }
            }
        }
        new.extend(old);
        new
    }

    fn text() -> impl Strategy<Value = String> {
        let line = prop_oneof![4 => "[ab]", 1 => "[-+@\\\\ ]{0,3}", 1 => "\r"];
        (prop::collection::vec(line, 0..40), any::<bool>())
            .prop_map(|(lines, ends)| lines.join("\n") + if ends { "\n" } else { "" })
    }

    proptest! {
        #[test]
        fn a_diff_makes_one_text_of_the_other(a in text(), b in text()) {
            let diff = unified(Path::new("f"), Some(a.as_bytes()), Some(b.as_bytes())).unwrap();
            prop_assert_eq!(diff.is_empty(), a == b);
            prop_assert_eq!(patched(&a, &diff), b, "{}", diff);
        }
    }

    #[test]
    fn names_stay_on_their_line_and_a_missing_side_is_nothing() {
        let diff = unified(Path::new("/a b\n.txt"), None, Some(b"x\n")).unwrap();
        assert_eq!(diff, "--- /dev/null\n+++ b/a b\\n.txt\t\n@@ -0,0 +1 @@\n+x\n");
        assert_eq!(unified(Path::new("e"), None, Some(b"")).unwrap(), "");
    }

    #[test]
    fn what_is_no_text_is_not_told() {
        for bytes in [&b"a\0b"[..], b"\xff\xfe"] {
            assert_eq!(unified(Path::new("f"), Some(b"a"), Some(bytes)), Err(NoText::Binary));
            assert_eq!(unified(Path::new("f"), Some(bytes), None), Err(NoText::Binary));
        }
        for bytes in [vec![b'a'; (1 << 20) + 1], b"\n".repeat(50_001)] {
            assert_eq!(unified(Path::new("f"), None, Some(&bytes)), Err(NoText::TooLarge));
        }
    }
}
