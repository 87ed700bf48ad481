//! What is said on stderr while a command runs: a line for what matters, and a status line at the
//! bottom of the terminal where the command does not have it.
//!
//! The status line lies below the scrolling region, so what the command writes scrolls above it.
//! Each piece is one write, so that the command's own do not come in between.

use std::io::{self, IsTerminal, Write};

use parking_lot::Mutex;
use rustix::termios::tcgetwinsize;

use crate::state::AgentId;

/// Where supervision speaks.
#[derive(Debug)]
pub(crate) struct Talk {
    quiet: bool,
    /// What each line begins with.
    name: String,
    /// Others speak in the same place.
    among_others: bool,
    /// Rows and columns of the terminal that the status line was made for.
    line: Mutex<Option<Line>>,
}

#[derive(Debug)]
struct Line {
    rows: u16,
    columns: u16,
    text: String,
}

impl Talk {
    /// Names the agent in each line where others speak in the same place.
    pub(crate) fn new(quiet: bool, among_others: Option<&AgentId>) -> Self {
        let name = among_others.map_or_else(String::new, |agent| format!(" {agent}"));
        let name = format!("stateward{name}");
        Self { quiet, name, among_others: among_others.is_some(), line: Mutex::new(None) }
    }

    /// Says something that matters, on a line of its own.
    pub(crate) fn say(&self, text: &str) {
        if !self.quiet && !text.is_empty() {
            let lines: Vec<String> =
                text.lines().map(|line| format!("{}: {line}\n", self.name)).collect();
            write(&lines.concat());
        }
    }

    /// Opens the status line, where stderr is a terminal that can show one.
    pub(crate) fn open_line(&self) {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        if self.quiet || self.among_others || dumb || !io::stderr().is_terminal() {
            return;
        }
        let mut line = self.line.lock();
        if line.is_none() {
            *line = lay_out(String::new());
        }
    }

    /// Shows how things stand.
    pub(crate) fn show(&self, text: &str) {
        if let Some(line) = &mut *self.line.lock()
            && line.text != text
        {
            text.clone_into(&mut line.text);
            line.draw();
        }
    }

    /// Lays the status line out anew after the terminal changed its size.
    pub(crate) fn resized(&self) {
        let mut line = self.line.lock();
        if let Some(before) = line.take() {
            *line = lay_out(before.text);
        }
    }

    /// Takes the status line away.
    pub(crate) fn close_line(&self) {
        if let Some(line) = self.line.lock().take() {
            write(&format!("\x1b7\x1b[r\x1b[{};1H\x1b[2K\x1b8", line.rows));
        }
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.close_line();
    }
}

/// Takes the last row out of the scrolling region; `None` where there are too few.
fn lay_out(text: String) -> Option<Line> {
    let size = tcgetwinsize(io::stderr()).ok()?;
    let (rows, columns) = (size.ws_row, size.ws_col);
    if rows < 3 || columns < 20 {
        return None;
    }
    // A line feed first: where the cursor is on the last row, what is there moves up.
    write(&format!("\n\x1b7\x1b[1;{}r\x1b8\x1b[1A", rows - 1));
    let line = Line { rows, columns, text };
    line.draw();
    Some(line)
}

impl Line {
    fn draw(&self) {
        let text: String = self.text.chars().take(usize::from(self.columns)).collect();
        write(&format!("\x1b7\x1b[{};1H\x1b[2K\x1b[2m{text}\x1b[0m\x1b8", self.rows));
    }
}

/// Where nobody listens any more there is nobody to be told so.
fn write(text: &str) {
    io::stderr().lock().write_all(text.as_bytes()).ok();
}
