//! How a command ended.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// As the system told its parent.
    Told(ExitStatus),
    /// Its parent was not there any more, and nobody else is told.
    Unknown,
}

impl Exit {
    /// Whether it ended with exit code 0.
    #[must_use]
    pub fn is_success(self) -> bool {
        matches!(self, Self::Told(status) if status.success())
    }

    /// The signal that ended it.
    #[must_use]
    pub fn signal(self) -> Option<i32> {
        match self {
            Self::Told(status) => status.signal(),
            Self::Unknown => None,
        }
    }

    /// The code it ended with; none where a signal ended it, or nobody saw it end.
    #[cfg(feature = "cli")]
    pub(crate) fn told_code(self) -> Option<i32> {
        match self {
            Self::Told(status) => status.code(),
            Self::Unknown => None,
        }
    }

    /// Whether a signal of this number ended it, or it says so as shells do.
    #[must_use]
    pub fn is_of(self, signal: i32) -> bool {
        self.signal() == Some(signal) || i32::from(self.code()) == 128 + signal
    }

    /// The exit code that passes this on: the command's own, or 128 and the number of the signal as
    /// shells have it, or 1 where it is not known.
    #[must_use]
    pub fn code(self) -> u8 {
        let Self::Told(status) = self else { return 1 };
        let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
        code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Told(status) => match (status.code(), status.signal()) {
                (Some(code), _) => write!(f, "exit code {code}"),
                (None, Some(_)) => f.write_str(&status.to_string().replacen(':', "", 1)),
                (None, None) => status.fmt(f),
            },
            Self::Unknown => f.write_str("an exit that nobody saw"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_signals_are_told_as_shells_tell_them() {
        for (raw, code, text) in
            [(0, 0, "exit code 0"), (3 << 8, 3, "exit code 3"), (15, 143, "signal 15 (SIGTERM)")]
        {
            let exit = Exit::Told(ExitStatus::from_raw(raw));
            assert_eq!((exit.code(), exit.to_string().as_str()), (code, text));
            assert_eq!(exit.is_success(), raw == 0);
        }
        assert_eq!(Exit::Unknown.code(), 1);
        assert!(!Exit::Unknown.is_success());
    }
}
