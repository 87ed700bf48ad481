//! How things are printed: data on stdout, talk on stderr, sizes and ages for people.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::failure::Failure;
use crate::manager::FileKind;

/// Where a command's answers go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    pub json: bool,
    pub quiet: bool,
}

impl Output {
    /// Prints data: as JSON on one line, or in the words of `people`, with colours where they are
    /// wanted.
    pub(super) fn data<T: Serialize + ?Sized>(
        self,
        value: &T,
        people: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        let mut text = if self.json {
            serde_json::to_string(value).map_err(|error| Failure::of_output(error.into()))?
        } else {
            people()
        };
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        let mut out = anstream::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Failure::of_output)
    }

    /// Says something that is not data.
    pub(super) fn say(self, text: &str) {
        if !self.quiet && !text.is_empty() {
            talk(&format!("{text}\n"));
        }
    }

    /// A bar for long work; it shows only where people look.
    pub(super) fn progress(self, what: &'static str) -> Progress {
        let seen = io::stderr().is_terminal() && !self.quiet && !self.json;
        let target = if seen { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(0), target).with_message(what);
        let style = ProgressStyle::with_template("{msg} {wide_bar} {percent}%  {eta}")
            .expect("the template is a constant that parses");
        Progress(bar.with_style(style))
    }
}

/// A bar that goes away when its work is over.
pub(super) struct Progress(ProgressBar);

impl Progress {
    pub(super) fn show(&self, done: u64, total: u64) {
        self.0.set_length(total);
        self.0.set_position(done);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Writes data to stdout as it is.
pub(super) fn bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(Failure::of_output)
}

/// Writes to stderr. Where nobody listens any more there is nobody to be told so.
pub(super) fn talk(text: &str) {
    let mut out = anstream::stderr().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).ok();
}

/// A table without lines; the first row is its head.
pub(super) fn table<const N: usize>(head: [&str; N], rows: Vec<[String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(head);
    for row in rows {
        table.add_row(row);
    }
    // Each cell has a blank on both sides; the outermost stand for nothing.
    let bare = |line: String| line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned() + "\n";
    table.lines().map(bare).collect()
}

/// Names and values, one to a line, the values in a column of their own.
pub(super) fn facts(facts: &[(&str, String)]) -> String {
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines = facts.iter().map(|(name, value)| format!("{name:width$}  {value}\n"));
    lines.collect::<Vec<_>>().concat()
}

/// A number of bytes as people read it.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut tenths = u128::from(bytes) * 10 / 1024;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        (tenths, unit) = (tenths / 1024, unit + 1);
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// A length of time as people read it, in its two largest units.
pub(super) fn span(duration: Duration) -> String {
    let secs = duration.as_secs();
    let (days, hours, minutes) = (secs / 86_400, secs / 3600 % 24, secs / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{secs}s"),
        (0, 0, minutes) => format!("{minutes}m {}s", secs % 60),
        (0, hours, minutes) => format!("{hours}h {minutes}m"),
        (days, hours, _) => format!("{days}d {hours}h"),
    }
}

/// One of something, or several.
pub(super) fn count(number: usize, one: &str, several: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {several}") }
}

/// A list for people: so many lines of it, and how many more there are.
pub(super) fn more(
    lines: impl ExactSizeIterator<Item = String>,
    indent: &str,
) -> impl Iterator<Item = String> {
    const LINES_MAX: usize = 20;
    let rest = lines.len().saturating_sub(LINES_MAX);
    let end = (rest > 0).then(|| format!("{indent}and {rest} more"));
    lines.take(LINES_MAX).chain(end)
}

/// A path on one line, whatever letters are in it.
pub(super) fn name(path: &Path) -> String {
    visible(path.display())
}

/// A text that does nothing to a terminal: control characters are shown as `^` and a letter.
pub(super) fn visible(text: impl Display) -> String {
    let text = text.to_string();
    let is_control = |letter: char| letter.is_control() && letter != '\t';
    if !text.contains(is_control) {
        return text;
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for letter in text.chars() {
        match u8::try_from(letter) {
            Ok(code) if is_control(letter) && code.is_ascii() => {
                shown.extend(['^', char::from(code ^ 0x40)]);
            }
            _ if is_control(letter) => shown.extend(letter.escape_default()),
            _ => shown.push(letter),
        }
    }
    shown
}

/// Permission bits as `chmod` takes them.
pub(super) fn mode(bits: u32) -> String {
    format!("{bits:04o}")
}

/// What a name stands for, in a word.
pub(super) fn kind(kind: FileKind) -> &'static str {
    match kind {
        FileKind::File => "file",
        FileKind::Dir => "dir",
        FileKind::Link => "link",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_ages_read_well() {
        let sizes = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (5 << 20, "5.0 MiB"),
            (20 << 30, "20.0 GiB"),
        ];
        for (bytes, text) in sizes {
            assert_eq!(size(bytes), text);
        }
        assert_eq!(size(u64::MAX), "16777215.9 TiB");
        for (secs, text) in [(0, "0s"), (75, "1m 15s"), (7260, "2h 1m"), (90_000, "1d 1h")] {
            assert_eq!(span(Duration::from_secs(secs)), text);
        }
    }

    #[test]
    fn no_text_moves_the_cursor() {
        assert_eq!(visible("a\tb ä"), "a\tb ä");
        assert_eq!(visible("\u{1b}[2J\r\u{7f}\u{9b}x\n"), "^[[2J^M^?\\u{9b}x^J");
    }

    #[test]
    fn columns_stand_beneath_each_other() {
        let rows = vec![["1".into(), "a b".into()], ["200".into(), String::new()]];
        assert_eq!(table(["SEQ", "WHAT"], rows), "SEQ  WHAT\n1    a b\n200\n");
        assert_eq!(facts(&[("a", "1".into()), ("long", "2".into())]), "a     1\nlong  2\n");
    }
}
