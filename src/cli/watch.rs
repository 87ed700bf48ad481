//! Shows how far long work has come, where people look.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use parking_lot::Mutex;

use super::output::{Output, count, size};
use crate::clock::Clock;
use crate::manager::{CheckpointManager, Work, WorkProgress};

/// Work that is over sooner shows nothing.
const SHOWN_AFTER: Duration = Duration::from_millis(300);
/// Often enough for the eye.
const EVERY: Duration = Duration::from_millis(80);

/// A line at the end of a terminal that goes when this does.
pub(super) struct Watch<'a>(Option<(&'a CheckpointManager, ProgressBar)>);

impl<'a> Watch<'a> {
    /// Watches what a manager does; nothing is shown where nobody looks.
    pub(super) fn over(
        manager: &'a CheckpointManager,
        out: Output,
        clock: &Arc<dyn Clock>,
    ) -> Self {
        let Some(bar) = bar(out) else { return Self(None) };
        let (shown, clock) = (bar.clone(), Arc::clone(clock));
        let next = Mutex::new(clock.monotonic() + SHOWN_AFTER);
        let work = Mutex::new(None);
        manager.on_progress(move |progress| {
            let now = clock.monotonic();
            let Some(mut next) = next.try_lock().filter(|next| now >= **next) else { return };
            *next = now + EVERY;
            if work.lock().replace(progress.work) != Some(progress.work) {
                shown.set_style(style(&progress));
            }
            show(&shown, &progress);
        });
        Self(Some((manager, bar)))
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if let Some((manager, bar)) = self.0.take() {
            manager.on_progress(|_| ());
            bar.finish_and_clear();
        }
    }
}

/// A line that says for how long a sidecar has been at work, which does not tell how far it is.
pub(super) struct Waiting(Option<Shown>);

struct Shown {
    bar: ProgressBar,
    end: Sender<()>,
    thread: JoinHandle<()>,
}

impl Waiting {
    /// Begins to wait; nothing is shown where nobody looks.
    pub(super) fn begin(out: Output) -> Self {
        let Some(bar) = bar(out) else { return Self(None) };
        let style = ProgressStyle::with_template("{spinner} the sidecar is at work, {elapsed}");
        bar.set_style(style.expect("the template is a constant that parses"));
        let ((end, ended), shown) = (channel(), bar.clone());
        let thread = thread::spawn(move || {
            if ended.recv_timeout(SHOWN_AFTER) == Err(RecvTimeoutError::Timeout) {
                shown.enable_steady_tick(EVERY);
            }
        });
        Self(Some(Shown { bar, end, thread }))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(Shown { bar, end, thread }) = self.0.take() {
            // This ends the thread, where the line is not shown yet.
            drop(end);
            thread.join().ok();
            bar.finish_and_clear();
        }
    }
}

fn bar(out: Output) -> Option<ProgressBar> {
    let looked_at = !out.json && !out.quiet && io::stderr().is_terminal();
    looked_at.then(|| ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()))
}

fn style(progress: &WorkProgress) -> ProgressStyle {
    let template = match progress.items_total {
        Some(_) => "{msg} {wide_bar} {percent}%",
        None => "{spinner} {msg}",
    };
    ProgressStyle::with_template(template).expect("the templates are constants that parse")
}

fn show(bar: &ProgressBar, progress: &WorkProgress) {
    // Bytes are closer to time than files are; where there are none, files count.
    let (done, total) = match (progress.bytes_total, progress.items_total) {
        (Some(bytes), _) if bytes > 0 => (progress.bytes, Some(bytes)),
        (_, items) => (progress.items, items),
    };
    if let Some(total) = total {
        bar.set_length(total);
        bar.set_position(done);
    }
    bar.set_message(in_words(progress));
    bar.tick();
}

fn in_words(progress: &WorkProgress) -> String {
    let WorkProgress { work, items, bytes, items_total, bytes_total } = *progress;
    let (doing, one, several) = match work {
        Work::Scanning => ("reading", "file", "files"),
        Work::Writing => ("writing", "file", "files"),
        Work::Exporting => ("exporting", "block", "blocks"),
        Work::Importing => ("importing", "block", "blocks"),
    };
    let number = |items: u64| usize::try_from(items).unwrap_or(usize::MAX);
    let items = match items_total {
        Some(total) => format!("{items} of {}", count(number(total), one, several)),
        None => count(number(items), one, several),
    };
    let bytes = match bytes_total {
        Some(total) => format!("{} of {}", size(bytes), size(total)),
        None => size(bytes),
    };
    format!("{doing} {items}, {bytes}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_is_known() {
        let scan = WorkProgress {
            work: Work::Scanning,
            items: 1,
            bytes: 2048,
            items_total: None,
            bytes_total: None,
        };
        assert_eq!(in_words(&scan), "reading 1 file, 2.0 KiB");
        let write = WorkProgress { work: Work::Writing, items_total: Some(3), ..scan };
        let write = WorkProgress { bytes_total: Some(4096), ..write };
        assert_eq!(in_words(&write), "writing 1 of 3 files, 2.0 KiB of 4.0 KiB");
        let export = WorkProgress { work: Work::Exporting, items_total: Some(9), ..scan };
        assert_eq!(in_words(&export), "exporting 1 of 9 blocks, 2.0 KiB");
    }
}
