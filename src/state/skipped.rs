//! What a scan left out, as it is listed.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Why something in a workspace is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub enum Why {
    /// It can be made again: a cache, a build, dependencies.
    IgnoredByDefault,
    /// A `.statewardignore` says so.
    IgnoredByFile,
    /// It is a file larger than allowed, or belongs to a database that is.
    TooLarge,
    /// It is a socket, a pipe or a device.
    Special,
    /// It cannot be read.
    Unreadable,
    /// It is a store.
    Store,
    /// It lies deeper than 512 directories.
    TooDeep,
    /// It is a state file, and nothing is there.
    Missing,
}

/// Something in a workspace that is not kept, nor anything below it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Skipped {
    /// Where it is, from the workspace's root; in JSON, what is not UTF-8 is replaced.
    #[serde(serialize_with = "super::lossy::path")]
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub path: PathBuf,
    /// Why it is not kept.
    pub why: Why,
    /// Its size, where that was found out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// How many more there are like it that are not listed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub others: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IgnoredByDefault => "ignored by default",
            Self::IgnoredByFile => "ignored by .statewardignore",
            Self::TooLarge => "larger than allowed",
            Self::Special => "neither a file nor a directory",
            Self::Unreadable => "cannot be read",
            Self::Store => "a store",
            Self::TooDeep => "too deep",
            Self::Missing => "missing",
        })
    }
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.why)?;
        if let Some(bytes) = self.bytes {
            write!(f, " ({})", Rounded(bytes))?;
        }
        if self.others > 0 {
            write!(f, ", and {} others", self.others)?;
        }
        Ok(())
    }
}

/// A size to be read at a glance.
struct Rounded(u64);

impl fmt::Display for Rounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 4] =
            [(1_000_000_000_000, "TB"), (1_000_000_000, "GB"), (1_000_000, "MB"), (1000, "KB")];
        match UNITS.iter().find(|(size, _)| self.0 >= *size) {
            Some((size, unit)) if self.0 / size < 10 => {
                write!(f, "{}.{} {unit}", self.0 / size, self.0 % size * 10 / size)
            }
            Some((size, unit)) => write!(f, "{} {unit}", self.0 / size),
            None => write!(f, "{} B", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    fn skipped(path: &[u8], bytes: Option<u64>, others: u64) -> Skipped {
        let path = PathBuf::from(OsStr::from_bytes(path));
        Skipped { path, why: Why::IgnoredByDefault, bytes, others }
    }

    #[test]
    fn it_reads_as_a_sentence() {
        let line = skipped(b"node_modules", Some(312_400_000), 0);
        assert_eq!(line.to_string(), "node_modules: ignored by default (312 MB)");
        let line = Skipped { why: Why::IgnoredByFile, ..skipped(b"a/b.o", None, 1234) };
        assert_eq!(line.to_string(), "a/b.o: ignored by .statewardignore, and 1234 others");
        let sizes = [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 KB"),
            (9_990, "9.9 KB"),
            (12_345_678, "12 MB"),
        ];
        for (bytes, text) in sizes {
            assert_eq!(Rounded(bytes).to_string(), text);
        }
    }

    #[test]
    fn json_takes_names_that_are_no_text() {
        let json = serde_json::to_string(&skipped(b"odd\xff", Some(7), 0)).unwrap();
        assert_eq!(json, "{\"path\":\"odd\u{fffd}\",\"why\":\"ignored_by_default\",\"bytes\":7}");
        let back: Skipped = serde_json::from_str(&json).unwrap();
        assert_eq!((back.why, back.bytes, back.others), (Why::IgnoredByDefault, Some(7), 0));
    }
}
