//! What a command prints, passed on where it does not go to a terminal, and counted on the way.
//!
//! Each of stdout and stderr that is no terminal becomes a pipe, which a thread empties into what
//! this process was given: the same bytes, at once, each stream by itself. Where both lead to the
//! same place they share one pipe, so that their order stays. A reader that is slow holds the command
//! up as it would without; where the reader is gone, the command's first process gets `SIGPIPE` as
//! it would when it writes, and what is still printed goes nowhere.
//!
//! The command inherits the reading ends too. So a command whose `run` was killed does not die of
//! its next word: it goes on until the pipe is full, and a `run` that adopts it reads on where the
//! other stopped. The price is that only this side can tell it of a reader that is gone.

use std::fs::File;
use std::io::{self, IsTerminal, Write, pipe};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FileType, fstat};
use rustix::io::{Errno, FdFlags, fcntl_setfd};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::lines::{Count, Lines};
use crate::disk::process;

/// Bytes that are taken at once; as much as a pipe holds.
const PIECE: usize = 64 << 10;

/// The pipes in place of stdout and of stderr, by their inode numbers; absent where it is inherited.
pub(crate) type Pipes = [Option<u64>; 2];

/// Pipes that are laid for a command that is about to begin.
#[derive(Debug, Default)]
pub(crate) struct Laid {
    relay: Relay,
    /// The reading ends that the command inherits.
    held: Vec<OwnedFd>,
    pipes: Pipes,
}

/// The streams of one command.
#[derive(Debug, Default)]
pub(crate) struct Relay {
    streams: Vec<Stream>,
}

/// The lines that a command printed, as they are counted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counter(Vec<Arc<Shared>>);

#[derive(Debug)]
struct Stream {
    shared: Arc<Shared>,
    ended: oneshot::Receiver<()>,
}

#[derive(Debug, Default)]
struct Shared {
    lines: Mutex<Lines>,
    /// Something was taken and is not yet passed on.
    passing: AtomicBool,
    /// Nobody reads it any more.
    closed: AtomicBool,
    /// Why something could not be passed on, until it is told.
    trouble: Mutex<Option<String>>,
}

impl Laid {
    /// Lays pipes for a command in place of what is no terminal.
    pub(crate) fn before(command: &mut Command) -> io::Result<Self> {
        let mut laid = Self::default();
        let (out, err) = (io::stdout(), io::stderr());
        let out = (!out.is_terminal()).then(|| out.as_fd().try_clone_to_owned()).transpose()?;
        let err = (!err.is_terminal()).then(|| err.as_fd().try_clone_to_owned()).transpose()?;
        let shared = out.as_ref().zip(err.as_ref()).is_some_and(|(out, err)| is_same(out, err));
        if let Some(out) = out {
            let end = laid.way(0, out)?;
            if shared {
                laid.pipes[1] = laid.pipes[0];
                command.stderr(end.try_clone()?);
            }
            command.stdout(end);
        }
        if let Some(err) = err.filter(|_| !shared) {
            command.stderr(laid.way(1, err)?);
        }
        Ok(laid)
    }

    /// Lays one pipe to a place; its writing end.
    fn way(&mut self, stream: usize, to: OwnedFd) -> io::Result<OwnedFd> {
        let (reader, writer) = pipe()?;
        let held = OwnedFd::from(reader.try_clone()?);
        fcntl_setfd(&held, FdFlags::empty())?;
        self.pipes[stream] = Some(fstat(&reader)?.st_ino);
        self.held.push(held);
        self.relay.streams.push(Stream::start(OwnedFd::from(reader), to.into())?);
        Ok(writer.into())
    }

    pub(crate) fn pipes(&self) -> Pipes {
        self.pipes
    }

    /// Lets go of what the command inherited, now that it has it.
    pub(crate) fn begun(self) -> Relay {
        self.relay
    }
}

impl Relay {
    /// Reads on what a predecessor laid for a command that lives.
    pub(crate) fn over(pid: i32, pipes: Pipes) -> io::Result<Self> {
        let mut relay = Self::default();
        let targets: [OwnedFd; 2] = [
            io::stdout().as_fd().try_clone_to_owned()?,
            io::stderr().as_fd().try_clone_to_owned()?,
        ];
        let both = pipes[0].is_some() && pipes[0] == pipes[1];
        for (number, (inode, to)) in pipes.into_iter().zip(targets).enumerate() {
            let Some(inode) = inode.filter(|_| number == 0 || !both) else { continue };
            let Some(from) = process::stream(pid, number + 1) else { continue };
            let found = fstat(&from)?;
            let ours = FileType::from_raw_mode(found.st_mode) == FileType::Fifo;
            if ours && found.st_ino == inode {
                relay.streams.push(Stream::start(from, to.into())?);
            }
        }
        Ok(relay)
    }

    /// What counts the lines, for those who do not pass them on.
    pub(crate) fn counter(&self) -> Counter {
        Counter(self.streams.iter().map(|stream| Arc::clone(&stream.shared)).collect())
    }

    /// Whether a reader is gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.streams.iter().any(|stream| stream.shared.closed.load(Ordering::Relaxed))
    }

    /// Waits until everything is passed on that the command printed, however slow the reader is;
    /// the waiting may be given up and begun again. What else holds a pipe open after the command's
    /// end and says nothing is not waited for longer than `patience`.
    pub(crate) async fn finish(&mut self, patience: Duration) {
        while let Some(Stream { shared, ended }) = self.streams.last_mut() {
            let over = timeout(patience, ended).await.is_ok();
            if over || !shared.passing.load(Ordering::Relaxed) {
                if !over {
                    tracing::warn!(
                        "a process that cannot be ended holds the command's output open"
                    );
                }
                self.streams.pop();
            }
        }
    }
}

impl Counter {
    /// What was printed since this was last asked.
    pub(crate) fn count(&self) -> Count {
        self.0.iter().map(|shared| shared.lines.lock().count()).fold(Count::default(), Count::and)
    }

    /// Why something could not be passed on; told once.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.0.iter().find_map(|shared| shared.trouble.lock().take())
    }
}

impl Stream {
    fn start(from: OwnedFd, to: File) -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let (end, ended) = oneshot::channel();
        let theirs = Arc::clone(&shared);
        let from = File::from(from);
        thread::Builder::new().name("stateward-output".into()).spawn(move || {
            theirs.pass_on(from, to);
            // Nobody may be waiting any more.
            end.send(()).ok();
        })?;
        Ok(Self { shared, ended })
    }
}

impl Shared {
    fn pass_on(&self, mut from: File, mut to: File) {
        let mut piece = vec![0; PIECE];
        loop {
            let read = match io::Read::read(&mut from, &mut piece) {
                Ok(0) => return,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return self.note(&error),
            };
            self.passing.store(true, Ordering::Relaxed);
            if !self.closed.load(Ordering::Relaxed)
                && let Err(error) = write_all(&mut to, &piece[..read])
            {
                self.note(&error);
            }
            self.lines.lock().take(&piece[..read]);
            self.passing.store(false, Ordering::Relaxed);
        }
    }

    fn note(&self, error: &io::Error) {
        let gone = [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset];
        if gone.contains(&error.kind()) {
            self.closed.store(true, Ordering::Relaxed);
        } else {
            *self.trouble.lock() = Some(format!("what it prints cannot be passed on: {error}"));
        }
    }
}

/// Writes all, also to what others made non-blocking.
fn write_all(to: &mut File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => until_writable(to)?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn until_writable(to: &File) -> io::Result<()> {
    match poll(&mut [PollFd::new(to, PollFlags::OUT)], None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Whether both lead to the same place, where the order of what they get can be seen.
fn is_same(a: &OwnedFd, b: &OwnedFd) -> bool {
    let place = |it| fstat(it).ok().map(|found| (found.st_dev, found.st_ino));
    place(a).is_some() && place(a) == place(b)
}

#[cfg(test)]
mod tests {
    use std::io::{PipeReader, Read};

    use super::*;

    fn shared_and_pipes() -> (Arc<Shared>, io::PipeWriter, PipeReader, thread::JoinHandle<()>) {
        let ((inner, command), (reader, outer)) = (pipe().unwrap(), pipe().unwrap());
        let shared = Arc::<Shared>::default();
        let theirs = Arc::clone(&shared);
        let (from, to) = (OwnedFd::from(inner).into(), OwnedFd::from(outer).into());
        let job = thread::spawn(move || theirs.pass_on(from, to));
        (shared, command, reader, job)
    }

    #[test]
    fn bytes_are_passed_on_as_they_are_and_their_lines_counted() {
        let (shared, mut command, mut reader, job) = shared_and_pipes();
        command.write_all(b"no line yet").unwrap();
        let mut begun = [0; 11];
        reader.read_exact(&mut begun).unwrap();
        assert_eq!(&begun, b"no line yet", "nothing waits for the end of a line");
        let bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
        let all = bytes.clone();
        let writer = thread::spawn(move || command.write_all(&all).unwrap());
        let mut got = Vec::new();
        reader.read_to_end(&mut got).unwrap();
        writer.join().unwrap();
        job.join().unwrap();
        assert!(got == bytes, "other bytes");
        assert_eq!(shared.lines.lock().count().lines, 1172);
    }

    #[test]
    fn a_reader_that_is_gone_is_told_and_the_command_is_not_held_up() {
        let (shared, mut command, reader, job) = shared_and_pipes();
        drop(reader);
        command.write_all(&vec![b'x'; 1 << 20]).unwrap();
        drop(command);
        job.join().unwrap();
        assert!(shared.closed.load(Ordering::Relaxed));
        assert_eq!(*shared.trouble.lock(), None);
    }
}
