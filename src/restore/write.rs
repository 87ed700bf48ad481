//! Writing what a restore brings: whole, proven, durable.
//!
//! A file is hashed as its bytes arrive and again as they are read back; both must agree before
//! anything relies on it. Few files are synced one by one, when all were written and are on their way
//! to the disk; many with the whole file system, where the system can, because that costs one
//! journal commit instead of thousands. Names are the caller's to
//! sync.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::Error;
use crate::disk::{DiskFile, DiskTree};
use crate::encode::directory::{FileNode, LinkNode, Node};

/// Hands out the bytes of a kept file, in order; an error of the taker ends it.
pub(crate) type Content<'a> =
    dyn Fn(&FileNode, &mut dyn FnMut(&[u8]) -> io::Result<()>) -> Result<(), Cause> + Sync + 'a;
/// Why content could not be handed out.
pub(crate) type Cause = Box<dyn std::error::Error + Send + Sync>;
/// Told of each file that was written, with its bytes.
pub(crate) type Progress<'a> = dyn Fn(u64) + Sync + 'a;

/// More files than these are synced with the whole file system.
pub(super) const SYNC_EACH_MAX: usize = 256;
/// Fewer files are not worth a thread.
const SHARED_FROM: usize = 64;
const WRITERS: usize = 2;
/// Syncs wait for the disk and not for the processor, and a journal takes those that come together.
const SYNCERS: usize = 8;
/// What a hole is made of: the block of the file systems that people use.
const HOLE_BYTES: usize = 4096;
const PROOF_BYTES: usize = 1 << 20;

/// A file or link to write.
pub(super) struct Job<'a> {
    pub at: PathBuf,
    pub node: &'a Node,
    /// What it is to people.
    pub path: &'a Path,
}

/// Where it is written, and where its bytes come from.
#[derive(Clone, Copy)]
pub(super) struct Writing<'a> {
    pub tree: &'a dyn DiskTree,
    pub content: &'a Content<'a>,
}

impl Writing<'_> {
    /// Writes files and links that are not there yet, with their attributes, and makes all but their
    /// names durable.
    pub fn write_all(&self, jobs: &[Job<'_>], progress: &Progress<'_>) -> Result<(), Error> {
        let too_many = jobs.len() > SYNC_EACH_MAX;
        let each = !(too_many && self.sync_all()?);
        let files = Mutex::new(Vec::new());
        shared(jobs.len(), if jobs.len() < SHARED_FROM { 1 } else { WRITERS }, &|index| {
            let job = &jobs[index];
            if let Some(file) = self.write(job)? {
                match (each, too_many) {
                    (true, true) => file.sync_all().map_err(|e| Error::io("sync", job.path, e))?,
                    (true, false) => {
                        file.start_writing();
                        files.lock().push((file, job.path));
                    }
                    (false, _) => {}
                }
            }
            progress(if let Node::File(file) = job.node { file.len } else { 0 });
            Ok(())
        })?;
        // The times of a link have no sync of their own.
        let has_links = jobs.iter().any(|job| matches!(job.node, Node::Link(_)));
        if (has_links || !each) && self.sync_all()? {
            return Ok(());
        }
        sync_files(&files.into_inner())
    }

    fn sync_all(&self) -> Result<bool, Error> {
        self.tree.sync_all().map_err(|e| Error::io("sync", Path::new(""), e))
    }

    /// Writes one file or link; answers the open file.
    pub fn write(&self, job: &Job<'_>) -> Result<Option<Arc<dyn DiskFile>>, Error> {
        match job.node {
            Node::File(file) => self.write_file(job, file).map(Some),
            Node::Link(link) => self.write_link(job, link).map(|()| None),
            Node::Dir(_) => Ok(None),
        }
    }

    fn write_link(&self, job: &Job<'_>, link: &LinkNode) -> Result<(), Error> {
        self.tree
            .create_link(&link.target, &job.at)
            .and_then(|()| self.tree.set_modified(&job.at, link.modified))
            .map_err(|e| Error::io("write", job.path, e))
    }

    fn write_file(&self, job: &Job<'_>, node: &FileNode) -> Result<Arc<dyn DiskFile>, Error> {
        let failed = |e| Error::io("write", job.path, e);
        let file = self.tree.create(&job.at).map_err(failed)?;
        let mut sink = Sink::new(&*file, node.has_holes);
        if node.len > 0 {
            let handed = (self.content)(node, &mut |bytes| sink.take(bytes));
            if let Some(error) = sink.failed.take() {
                return Err(failed(error));
            }
            handed.map_err(|source| Error::Content { path: job.path.to_owned(), source })?;
        }
        if sink.at != node.len {
            let source = format!("{} bytes came instead of {}", sink.at, node.len).into();
            return Err(Error::Content { path: job.path.to_owned(), source });
        }
        if sink.end < node.len {
            file.set_len(node.len).map_err(failed)?;
        }
        let expected = sink.hasher.finalize();
        self.tree.set_mode(&job.at, node.mode).map_err(failed)?;
        self.tree.set_modified(&job.at, node.modified).map_err(failed)?;
        let found = hash(&*file, node.len).map_err(|e| Error::io("read back", job.path, e))?;
        if found == Some(expected) {
            Ok(file)
        } else {
            Err(Error::Unproven { path: job.path.to_owned() })
        }
    }
}

/// Syncs open files, several at a time where there are many.
pub(super) fn sync_files<P: AsRef<Path> + Sync>(
    files: &[(Arc<dyn DiskFile>, P)],
) -> Result<(), Error> {
    shared(files.len(), if files.len() < SYNCERS { 1 } else { SYNCERS }, &|index| {
        let (file, path) = &files[index];
        file.sync_all().map_err(|e| Error::io("sync", path.as_ref(), e))
    })
}

/// Does `work` for every index below `count` on some threads; the first error ends it.
fn shared(
    count: usize,
    threads: usize,
    work: &(dyn Fn(usize) -> Result<(), Error> + Sync),
) -> Result<(), Error> {
    if threads == 1 {
        return (0..count).try_for_each(work);
    }
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let worker = || {
        while !failed.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                break;
            }
            work(index).inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        let done = workers.into_iter().map(|worker| match worker.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        // All are waited for before any error is told.
        done.collect::<Vec<_>>().into_iter().collect()
    })
}

/// A new file that takes bytes as they come.
struct Sink<'a> {
    file: &'a dyn DiskFile,
    hasher: blake3::Hasher,
    /// How many bytes came.
    at: u64,
    /// Where the last byte lies that was written.
    end: u64,
    /// Zeros are left out.
    sparse: bool,
    failed: Option<io::Error>,
}

impl<'a> Sink<'a> {
    fn new(file: &'a dyn DiskFile, sparse: bool) -> Self {
        Self { file, hasher: blake3::Hasher::new(), at: 0, end: 0, sparse, failed: None }
    }

    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        let written =
            if self.sparse { self.write_around_zeros(bytes) } else { self.write(0, bytes) };
        self.at += bytes.len() as u64;
        written.map_err(|error| {
            let told = io::Error::from(error.kind());
            self.failed = Some(error);
            told
        })
    }

    fn write(&mut self, from: usize, bytes: &[u8]) -> io::Result<()> {
        let at = self.at + from as u64;
        self.end = at + bytes.len() as u64;
        self.file.write_all_at(bytes, at)
    }

    /// Writes the blocks of the file that hold anything, neighbours at once.
    fn write_around_zeros(&mut self, bytes: &[u8]) -> io::Result<()> {
        let into_block = usize::try_from(self.at % HOLE_BYTES as u64).expect("below 4096");
        let (mut run, mut at) = (0, 0);
        while at < bytes.len() {
            let block = if at == 0 { HOLE_BYTES - into_block } else { HOLE_BYTES };
            let next = bytes.len().min(at + block);
            if bytes[at..next].iter().all(|byte| *byte == 0) {
                if run < at {
                    self.write(run, &bytes[run..at])?;
                }
                run = next;
            }
            at = next;
        }
        if run < bytes.len() { self.write(run, &bytes[run..]) } else { Ok(()) }
    }
}

/// The hash of the first `len` bytes of a file; none where it has not as many.
fn hash(file: &dyn DiskFile, len: u64) -> io::Result<Option<blake3::Hash>> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; usize::try_from(len).unwrap_or(usize::MAX).min(PROOF_BYTES)];
    let mut at = 0;
    while at < len {
        match file.read_at(&mut buffer, at)? {
            0 => return Ok(None),
            read => {
                hasher.update(&buffer[..read]);
                at += read as u64;
            }
        }
    }
    Ok(Some(hasher.finalize()))
}
