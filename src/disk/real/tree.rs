//! A directory tree of the real file system.
//!
//! On Linux one `openat2` with `RESOLVE_BENEATH` and `RESOLVE_NO_SYMLINKS` walks a whole path in the
//! kernel. Where that call is missing or forbidden (before Linux 5.6, in some sandboxes, on other
//! systems), and for paths longer than the kernel takes at once, each component is opened by itself
//! with `O_NOFOLLOW`. Both ways end at an open directory, and what is done to the last name is done
//! relative to it, without following a link. So a directory that another process moves out of the
//! root in the middle of a call may still be acted on: no system call excludes that.
//!
//! A link on the way is `ELOOP` or `ENOTDIR`.

use std::ffi::{CStr, OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RenameFlags, Timespec, Timestamps, fstat, openat, statat,
};
use rustix::io::{Errno, retry_on_intr};

use super::super::tree::{plain, split};
use super::super::{DiskFile, DiskTree, FileTime, Listing, NodeKind, Stat};
use super::{RealFile, must_be_regular, sync_node};

/// How a directory on the way is opened: to pass through it, which needs no right to read it.
#[cfg(target_os = "linux")]
const PASS: OFlags = OFlags::PATH.union(OFlags::DIRECTORY);
#[cfg(not(target_os = "linux"))]
const PASS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);

const LIST: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);
const CREATE: OFlags = OFlags::RDWR.union(OFlags::CREATE).union(OFlags::EXCL);
// NONBLOCK keeps the opening of a pipe from waiting for its other end, NOCTTY a terminal from
// becoming ours; neither means anything for a regular file, and nothing else is let through.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY);
/// On every opening.
const ALWAYS: OFlags = OFlags::NOFOLLOW.union(OFlags::CLOEXEC);

/// An open directory, and how paths are walked from it.
#[derive(Debug)]
pub(in super::super) struct RealTree {
    root: OwnedFd,
    /// Whether the kernel walks a whole path in one call.
    at_once: bool,
}

/// The directory that holds a name: the root needs no opening.
enum Parent<'a> {
    Root(BorrowedFd<'a>),
    Opened(OwnedFd),
}

impl AsFd for Parent<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Root(root) => *root,
            Self::Opened(dir) => dir.as_fd(),
        }
    }
}

impl RealTree {
    pub(in super::super) fn open(path: &Path) -> io::Result<Self> {
        let flags = LIST | OFlags::CLOEXEC;
        let root = retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty()))?;
        let at_once = at_once::works(root.as_fd());
        Ok(Self { root, at_once })
    }

    /// Opens a tree where the kernel does not walk a path at once.
    #[cfg(test)]
    pub(in super::super) fn open_to_step(path: &Path) -> io::Result<Self> {
        Ok(Self { at_once: false, ..Self::open(path)? })
    }

    /// Opens what stands at a path.
    fn beneath(&self, path: &Path, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let path = plain(path)?;
        let (path, flags) = (if is_root(path) { Path::new(".") } else { path }, flags | ALWAYS);
        if self.at_once
            && let Some(done) = at_once::open(self.root.as_fd(), path, flags, mode)
        {
            return Ok(done?);
        }
        self.step_by_step(path, flags, mode)
    }

    fn step_by_step(&self, path: &Path, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let mut dir = Parent::Root(self.root.as_fd());
        let mut names = path.as_os_str().as_bytes().split(|byte| *byte == b'/').peekable();
        loop {
            let name = names.next().unwrap_or(b".");
            let last = names.peek().is_none();
            let (flags, mode) = if last { (flags, mode) } else { (PASS | ALWAYS, Mode::empty()) };
            let opened = retry_on_intr(|| openat(&dir, name, flags, mode))?;
            if last {
                return Ok(opened);
            }
            dir = Parent::Opened(opened);
        }
    }

    /// The directory that a path's last name lies in, and that name.
    fn parent<'a>(&'a self, path: &'a Path) -> io::Result<(Parent<'a>, &'a OsStr)> {
        let (dir, name) = split(path)?;
        let dir = if is_root(dir) {
            Parent::Root(self.root.as_fd())
        } else {
            Parent::Opened(self.beneath(dir, PASS, Mode::empty())?)
        };
        Ok((dir, name))
    }

    fn unlink(&self, path: &Path, flags: AtFlags) -> io::Result<()> {
        let (dir, name) = self.parent(path)?;
        Ok(rustix::fs::unlinkat(dir, name, flags)?)
    }
}

fn is_root(path: &Path) -> bool {
    path.as_os_str().is_empty()
}

impl DiskTree for RealTree {
    fn stat(&self, path: &Path) -> io::Result<Stat> {
        if is_root(path) {
            return Ok(told(&fstat(&self.root)?));
        }
        let (dir, name) = self.parent(path)?;
        Ok(told(&statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?))
    }

    fn read_dir(&self, path: &Path) -> io::Result<Listing> {
        let dir = self.beneath(path, LIST, Mode::empty())?;
        let own = told(&fstat(&dir)?);
        let mut entries = Vec::new();
        each_name(dir.as_fd(), |name| {
            match statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(found) => {
                    let name = OsStr::from_bytes(name.to_bytes()).to_owned();
                    entries.push((name, told(&found)));
                }
                Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
            Ok(())
        })?;
        Ok(Listing { own, entries })
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = File::from(self.beneath(path, READ, Mode::empty())?);
        Ok(Arc::new(RealFile(must_be_regular(file)?)))
    }

    fn read_link(&self, path: &Path) -> io::Result<OsString> {
        let (dir, name) = self.parent(path)?;
        let target = rustix::fs::readlinkat(dir, name, Vec::new())?;
        Ok(OsString::from_vec(target.into_bytes()))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        split(path)?;
        let file = self.beneath(path, CREATE, Mode::RUSR | Mode::WUSR)?;
        Ok(Arc::new(RealFile(File::from(file))))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let (dir, name) = self.parent(path)?;
        Ok(rustix::fs::mkdirat(dir, name, Mode::RWXU)?)
    }

    fn create_link(&self, target: &OsStr, path: &Path) -> io::Result<()> {
        let (dir, name) = self.parent(path)?;
        Ok(rustix::fs::symlinkat(target, dir, name)?)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let ((from_dir, from), (to_dir, to)) = (self.parent(from)?, self.parent(to)?);
        Ok(rustix::fs::linkat(from_dir, from, to_dir, to, AtFlags::empty())?)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let ((from_dir, from), (to_dir, to)) = (self.parent(from)?, self.parent(to)?);
        match rustix::fs::renameat_with(&from_dir, from, &to_dir, to, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                look_and_rename(&from_dir, from, &to_dir, to)
            }
            done => Ok(done?),
        }
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.unlink(path, AtFlags::empty())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.unlink(path, AtFlags::REMOVEDIR)
    }

    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()> {
        let mode = Mode::from_raw_mode(fit(mode & 0o7777));
        if is_root(path) {
            return Ok(rustix::fs::fchmod(&self.root, mode)?);
        }
        chmod(self, path, mode)
    }

    fn set_modified(&self, path: &Path, modified: FileTime) -> io::Result<()> {
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT },
            last_modification: Timespec { tv_sec: modified.secs, tv_nsec: fit(modified.nanos) },
        };
        if is_root(path) {
            return Ok(rustix::fs::futimens(&self.root, &times)?);
        }
        let (dir, name) = self.parent(path)?;
        Ok(rustix::fs::utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        sync_node(self.beneath(path, LIST, Mode::empty())?)
    }

    #[cfg(target_os = "linux")]
    fn sync_all(&self) -> io::Result<bool> {
        match rustix::fs::syncfs(&self.root) {
            Err(Errno::NOSYS) => Ok(false),
            done => Ok(done.map(|()| true)?),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn sync_all(&self) -> io::Result<bool> {
        Ok(false)
    }
}

/// Renames where the file system cannot rename and refuse in one call (NFS, old FUSE): what another
/// process makes at `to` between the look and the rename is replaced.
fn look_and_rename(
    from_dir: &Parent<'_>,
    from: &OsStr,
    to_dir: &Parent<'_>,
    to: &OsStr,
) -> io::Result<()> {
    match statat(to_dir, to, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(rustix::fs::renameat(from_dir, from, to_dir, to)?),
        Ok(_) => Err(Errno::EXIST.into()),
        Err(error) => Err(error.into()),
    }
}

/// Walking a path in one call.
#[cfg(target_os = "linux")]
mod at_once {
    use std::os::fd::{BorrowedFd, OwnedFd};
    use std::path::Path;

    use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
    use rustix::io::Errno;

    use super::{ALWAYS, PASS};

    const RESOLVE: ResolveFlags =
        ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);
    /// `PATH_MAX`, with the byte that ends it.
    const PATH_BYTES_MAX: usize = 4096;
    /// `EAGAIN` says that something was renamed meanwhile; after that often each step is made alone.
    const TRIES: usize = 16;

    /// Whether the kernel and the sandbox allow it.
    pub(super) fn works(root: BorrowedFd<'_>) -> bool {
        openat2(root, c".", PASS | ALWAYS, Mode::empty(), RESOLVE).is_ok()
    }

    /// Opens what stands at a path, or `None` where it takes single steps.
    pub(super) fn open(
        root: BorrowedFd<'_>,
        path: &Path,
        flags: OFlags,
        mode: Mode,
    ) -> Option<Result<OwnedFd, Errno>> {
        if path.as_os_str().len() >= PATH_BYTES_MAX {
            return None;
        }
        let open = || openat2(root, path, flags, mode, RESOLVE);
        std::iter::repeat_with(open)
            .take(TRIES)
            .find(|done| !matches!(done, Err(Errno::AGAIN | Errno::INTR)))
    }
}

#[cfg(not(target_os = "linux"))]
mod at_once {
    use std::os::fd::{BorrowedFd, OwnedFd};
    use std::path::Path;

    use rustix::fs::{Mode, OFlags};
    use rustix::io::Errno;

    pub(super) fn works(_: BorrowedFd<'_>) -> bool {
        false
    }

    pub(super) fn open(
        _: BorrowedFd<'_>,
        _: &Path,
        _: OFlags,
        _: Mode,
    ) -> Option<Result<OwnedFd, Errno>> {
        None
    }
}

/// Opening only the place (`O_PATH`) neither needs the right to read nor wakes a device, but
/// `fchmod` refuses such a handle: its name under `/proc` leads to the very inode it was opened on.
#[cfg(target_os = "linux")]
fn chmod(tree: &RealTree, path: &Path, mode: Mode) -> io::Result<()> {
    use std::os::fd::AsRawFd;

    let node = tree.beneath(path, OFlags::PATH, Mode::empty())?;
    must_have_a_mode(&fstat(&node)?)?;
    let handle = format!("/proc/self/fd/{}", node.as_raw_fd());
    match rustix::fs::chmodat(rustix::fs::CWD, handle, mode, AtFlags::empty()) {
        // No `/proc` is mounted here.
        Err(Errno::NOENT | Errno::NOTDIR) => {
            Ok(rustix::fs::fchmod(tree.beneath(path, READ, Mode::empty())?, mode)?)
        }
        done => Ok(done?),
    }
}

#[cfg(not(target_os = "linux"))]
fn chmod(tree: &RealTree, path: &Path, mode: Mode) -> io::Result<()> {
    let (dir, name) = tree.parent(path)?;
    must_have_a_mode(&statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW)?)?;
    Ok(rustix::fs::chmodat(dir, name, mode, AtFlags::SYMLINK_NOFOLLOW)?)
}

fn must_have_a_mode(found: &rustix::fs::Stat) -> io::Result<()> {
    match told(found).kind {
        NodeKind::File | NodeKind::Dir => Ok(()),
        NodeKind::Link => Err(Errno::LOOP.into()),
        NodeKind::Other => Err(super::super::tree::odd("it is neither a file nor a directory")),
    }
}

/// Enough for some thousand names in one call.
#[cfg(target_os = "linux")]
const NAMES_BYTES: usize = 64 << 10;

#[cfg(target_os = "linux")]
fn each_name(dir: BorrowedFd<'_>, mut each: impl FnMut(&CStr) -> io::Result<()>) -> io::Result<()> {
    let mut buf = Vec::with_capacity(NAMES_BYTES);
    let mut names = rustix::fs::RawDir::new(dir, buf.spare_capacity_mut());
    while let Some(entry) = names.next() {
        let entry = entry?;
        if !is_dots(entry.file_name()) {
            each(entry.file_name())?;
        }
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn each_name(dir: BorrowedFd<'_>, mut each: impl FnMut(&CStr) -> io::Result<()>) -> io::Result<()> {
    for entry in rustix::fs::Dir::read_from(dir)? {
        let entry = entry?;
        if !is_dots(entry.file_name()) {
            each(entry.file_name())?;
        }
    }
    Ok(())
}

fn is_dots(name: &CStr) -> bool {
    matches!(name.to_bytes(), b"." | b"..")
}

/// What the system answered, in the seam's words.
pub(super) fn told(found: &rustix::fs::Stat) -> Stat {
    Stat {
        kind: match FileType::from_raw_mode(found.st_mode) {
            FileType::RegularFile => NodeKind::File,
            FileType::Directory => NodeKind::Dir,
            FileType::Symlink => NodeKind::Link,
            _ => NodeKind::Other,
        },
        len: fit(found.st_size),
        mode: fit::<_, u32>(found.st_mode) & 0o7777,
        modified: FileTime { secs: fit(found.st_mtime), nanos: fit(found.st_mtime_nsec) },
        changed: FileTime { secs: fit(found.st_ctime), nanos: fit(found.st_ctime_nsec) },
        device: fit(found.st_dev),
        inode: fit(found.st_ino),
        links: fit(found.st_nlink),
        // `stat(2)` counts in units of 512 bytes, whatever the blocks of the file system.
        allocated: fit::<_, u64>(found.st_blocks) * 512,
    }
}

/// The fields of `stat` have other widths on other platforms; none holds what does not fit.
fn fit<A: TryInto<B>, B: Default>(value: A) -> B {
    value.try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rename_that_has_to_look_first_replaces_nothing_it_sees() {
        let home = tempfile::tempdir().unwrap();
        let tree = RealTree::open(home.path()).unwrap();
        for name in ["a", "b"] {
            tree.create(Path::new(name)).unwrap();
        }
        tree.create_link("none".as_ref(), Path::new("l")).unwrap();
        let root = Parent::Root(tree.root.as_fd());
        let rename = |from: &str, to: &str| {
            let answer = look_and_rename(&root, from.as_ref(), &root, to.as_ref());
            answer.map_err(|error| error.kind())
        };
        for taken in ["a", "b", "l"] {
            assert_eq!(rename("a", taken), Err(io::ErrorKind::AlreadyExists), "{taken}");
        }
        assert_eq!(rename("none", "c"), Err(io::ErrorKind::NotFound));
        assert_eq!(rename("a", "c"), Ok(()));
        let mut names: Vec<_> = tree.read_dir(Path::new("")).unwrap().entries;
        names.sort_by(|(one, _), (two, _)| one.cmp(two));
        let names: Vec<_> = names.into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["b", "c", "l"]);
    }
}
