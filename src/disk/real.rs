//! The real file system.
//!
//! Files are made with mode 0600 and directories with 0700. The last component of a path that is
//! opened is never followed when it is a link, and only regular files are opened, so that neither a
//! planted link nor a pipe leads elsewhere or blocks. Errors are the operating system's own; paths
//! are added by the stages above, which know what they were doing.
//!
//! Writes go on after `EINTR` and after a short write. Syncs are called once and their error is
//! returned as it is, `EINTR` included: what became of the data is then unknown. (The standard
//! library's `sync_data` calls again after `EINTR`, which is why it is not used here.)

#![expect(clippy::disallowed_methods, reason = "this is the seam the ban points to")]

mod mapped;
mod tree;

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
#[cfg(target_os = "linux")]
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;
use rustix::io::Errno;

pub(super) use self::tree::RealTree;
use super::{
    Access, Disk, DiskFile, DiskLock, DiskTree, Entry, EntryKind, FileSystem, Metadata, Space, Stat,
};
use crate::state::Timestamp;

/// The machine's own file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

impl RealDisk {
    /// A shared handle.
    #[must_use]
    pub fn shared() -> Arc<dyn Disk> {
        Arc::new(Self)
    }
}

impl Disk for RealDisk {
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(access != Access::Read).create_new(access == Access::CreateNew);
        Ok(Arc::new(RealFile(open_regular(&mut options, path)?)))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let flags = OFlags::DIRECTORY.bits().cast_signed();
        let dir = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        sync_node(&dir)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let entry = |entry: io::Result<fs::DirEntry>| {
            let entry = entry?;
            Ok(Entry { name: entry.file_name(), kind: kind(entry.file_type()?) })
        };
        fs::read_dir(path)?.map(entry).collect()
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        let found = fs::symlink_metadata(path)?;
        Ok(Metadata {
            kind: kind(found.file_type()),
            len: found.len(),
            modified: Timestamp::from_system(found.modified()?),
            device: found.dev(),
            inode: found.ino(),
        })
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn DiskLock>>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = open_regular(&mut options, path)?;
        // Written in full: since Rust 1.89 `File` has a method of the same name.
        match fs2::FileExt::try_lock_exclusive(&file) {
            Ok(()) => Ok(Some(Box::new(RealLock { file, path: path.to_owned() }))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let found = fs2::statvfs(path)?;
        Ok(Space { free: found.available_space(), total: found.total_space() })
    }

    fn file_system(&self, path: &Path) -> io::Result<FileSystem> {
        let name = file_system_name(&rustix::fs::statfs(path)?);
        let network = NETWORK.contains(&name.as_str());
        let volatile = VOLATILE.contains(&name.as_str());
        Ok(FileSystem { name, network, volatile })
    }

    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        fs::canonicalize(path)
    }

    fn tree(&self, path: &Path) -> io::Result<Arc<dyn DiskTree>> {
        Ok(Arc::new(RealTree::open(path)?))
    }

    fn mapped_files(&self) -> io::Result<HashSet<u64>> {
        Ok(mapped::inodes())
    }
}

/// Opens a regular file without following a link in its last component.
fn open_regular(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    // NONBLOCK keeps the opening of a pipe from waiting for its other end; it means nothing for a
    // regular file, and nothing else is let through. The standard library adds CLOEXEC.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    must_be_regular(options.mode(0o600).custom_flags(flags).open(path)?)
}

fn must_be_regular(file: File) -> io::Result<File> {
    let kind = file.metadata()?.file_type();
    if kind.is_file() {
        Ok(file)
    } else if kind.is_dir() {
        Err(Errno::ISDIR.into())
    } else {
        Err(super::tree::odd("it is not a regular file"))
    }
}

/// What the kernel tells under `/proc`, which is no file of any disk.
#[cfg(target_os = "linux")]
pub(super) fn kernel_text(path: &str) -> Option<String> {
    String::from_utf8(kernel_bytes(path)?).ok()
}

/// The same for what need not be text.
#[cfg(target_os = "linux")]
pub(super) fn kernel_bytes(path: &str) -> Option<Vec<u8>> {
    // No length is told beforehand, so none is asked for: most of it is there in one read.
    let mut bytes = Vec::with_capacity(4096);
    File::open(path).ok()?.take(u64::MAX).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Opens, to read, what a link under `/proc` leads to.
#[cfg(target_os = "linux")]
pub(super) fn kernel_open(path: &str) -> Option<std::os::fd::OwnedFd> {
    Some(File::open(path).ok()?.into())
}

/// Where a link under `/proc` leads.
#[cfg(target_os = "linux")]
pub(super) fn kernel_link(path: &str) -> Option<PathBuf> {
    fs::read_link(path).ok()
}

/// The names in a directory under `/proc`.
#[cfg(target_os = "linux")]
pub(super) fn kernel_names(path: &str) -> Vec<String> {
    let name = |entry: io::Result<fs::DirEntry>| entry.ok()?.file_name().into_string().ok();
    fs::read_dir(path).into_iter().flatten().filter_map(name).collect()
}

fn kind(found: fs::FileType) -> EntryKind {
    if found.is_file() {
        EntryKind::File
    } else if found.is_dir() {
        EntryKind::Dir
    } else {
        EntryKind::Other
    }
}

// On Apple platforms `fsync` leaves the data in the drive's cache.
#[cfg(target_vendor = "apple")]
fn sync_contents(file: &File) -> io::Result<()> {
    Ok(rustix::fs::fcntl_fullfsync(file)?)
}

#[cfg(not(target_vendor = "apple"))]
fn sync_contents(file: &File) -> io::Result<()> {
    Ok(rustix::fs::fdatasync(file)?)
}

#[cfg(target_vendor = "apple")]
fn sync_node(node: impl AsFd) -> io::Result<()> {
    Ok(rustix::fs::fcntl_fullfsync(node)?)
}

/// Syncs a file with its mode and times, or a directory with its names.
#[cfg(not(target_vendor = "apple"))]
fn sync_node(node: impl AsFd) -> io::Result<()> {
    Ok(rustix::fs::fsync(node)?)
}

const NETWORK: &[&str] = &[
    "9p", "afpfs", "afs", "ceph", "cifs", "coda", "gfs2", "lustre", "ncp", "nfs", "ocfs2", "smb",
    "smb2", "smbfs", "webdav",
];

const VOLATILE: &[&str] = &["tmpfs", "ramfs"];

/// Magic numbers of `statfs(2)` and of the kernel's `include/uapi/linux/magic.h`.
#[cfg(target_os = "linux")]
const MAGIC: &[(u32, &str)] = &[
    // ext2 and ext3 carry the same number; today one driver serves all three.
    (0x0000_EF53, "ext4"),
    (0x5846_5342, "xfs"),
    (0x9123_683E, "btrfs"),
    (0x2FC1_2FC1, "zfs"),
    (0xF2F5_2010, "f2fs"),
    (0xCA45_1A4E, "bcachefs"),
    (0x3153_464A, "jfs"),
    (0x0102_1994, "tmpfs"),
    (0x8584_58F6, "ramfs"),
    (0x794C_7630, "overlayfs"),
    (0x0000_F15F, "ecryptfs"),
    (0x6573_5546, "fuse"),
    (0x0000_4D44, "vfat"),
    (0x2011_BAB0, "exfat"),
    (0x5346_544E, "ntfs"),
    (0x7366_746E, "ntfs3"),
    (0x0000_6969, "nfs"),
    (0xFF53_4D42, "cifs"),
    (0xFE53_4D42, "smb2"),
    (0x0000_517B, "smb"),
    (0x0102_1997, "9p"),
    (0x00C3_6400, "ceph"),
    (0x5346_414F, "afs"),
    (0x6B41_4653, "afs"),
    (0x7375_7245, "coda"),
    (0x0000_564C, "ncp"),
    (0x0BD0_0BD0, "lustre"),
    (0x0116_1970, "gfs2"),
    (0x7461_636F, "ocfs2"),
];

#[cfg(target_os = "linux")]
fn file_system_name(found: &rustix::fs::StatFs) -> String {
    // The width and the sign of the field differ between platforms; the number has 32 bits.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the number has 32 bits, whatever the width and the sign of the field"
    )]
    let magic = found.f_type as u32;
    let known = MAGIC.iter().find(|(number, _)| *number == magic);
    known.map_or_else(|| format!("{magic:#x}"), |(_, name)| (*name).to_owned())
}

#[cfg(not(target_os = "linux"))]
fn file_system_name(found: &rustix::fs::StatFs) -> String {
    let text = found.f_fstypename.iter().map(|c| c.cast_unsigned()).take_while(|c| *c != 0);
    String::from_utf8_lossy(&text.collect::<Vec<u8>>()).into_owned()
}

#[derive(Debug)]
struct RealFile(File);

impl DiskFile for RealFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match self.0.read_at(buf, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        sync_contents(&self.0)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_all(&self) -> io::Result<()> {
        sync_node(&self.0)
    }

    // Linux writes dirty pages out before it could drop them from its cache, and keeps those that are
    // still on their way.
    #[cfg(target_os = "linux")]
    fn start_writing(&self) {
        if let Err(error) = rustix::fs::fadvise(&self.0, 0, None, rustix::fs::Advice::DontNeed) {
            tracing::trace!(%error, "a file is only written when it is synced");
        }
    }

    fn stat(&self) -> io::Result<Stat> {
        Ok(tree::told(&rustix::fs::fstat(&self.0)?))
    }
}

/// `flock(2)` belongs to the open file, so a second handle in the same process is excluded too.
#[derive(Debug)]
struct RealLock {
    file: File,
    path: PathBuf,
}

impl DiskLock for RealLock {
    fn write_holder(&self, text: &[u8]) -> io::Result<()> {
        // One call, so that whoever is killed leaves the old text or the new one; blanks take the place
        // of what was longer, which no reader of JSON minds.
        let before = usize::try_from(self.file.metadata()?.len()).unwrap_or_default();
        let mut text = text.to_vec();
        text.resize(text.len().max(before), b' ');
        self.file.write_all_at(&text, 0)
    }

    fn is_in_place(&self) -> io::Result<bool> {
        let own = rustix::fs::fstat(&self.file)?;
        match fs::symlink_metadata(&self.path) {
            Ok(there) => Ok((there.dev(), there.ino()) == (own.st_dev, own.st_ino)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn files_and_directories_are_private() {
        let home = tempfile::tempdir().unwrap();
        let (dir, file, lock) =
            (home.path().join("d"), home.path().join("d/f"), home.path().join("lock"));
        RealDisk.create_dir(&dir).unwrap();
        RealDisk.open(&file, Access::CreateNew).unwrap();
        RealDisk.try_lock(&lock).unwrap().unwrap();
        assert_eq!((mode(&dir), mode(&file), mode(&lock)), (0o700, 0o600, 0o600));
    }

    #[test]
    fn contents_and_names_come_back() {
        let home = tempfile::tempdir().unwrap();
        let (one, two) = (home.path().join("one"), home.path().join("two"));
        let file = RealDisk.open(&one, Access::CreateNew).unwrap();
        file.write_all_at(b"world", 6).unwrap();
        file.write_all_at(b"hello", 0).unwrap();
        file.sync_data().unwrap();
        RealDisk.rename(&one, &two).unwrap();
        RealDisk.sync_dir(home.path()).unwrap();
        let file = RealDisk.open(&two, Access::Read).unwrap();
        let mut buf = [9; 20];
        assert_eq!(file.read_at(&mut buf, 0).unwrap(), 11);
        assert_eq!(&buf[..11], b"hello\0world");
        assert_eq!(file.read_at(&mut buf, 11).unwrap(), 0);
        assert!(file.write_all_at(b"x", 0).is_err(), "opened to read");
        let names: Vec<_> = RealDisk.read_dir(home.path()).unwrap();
        assert_eq!(names, [Entry { name: "two".into(), kind: EntryKind::File }]);
    }

    #[test]
    fn a_link_is_neither_opened_nor_locked_nor_hidden() {
        let home = tempfile::tempdir().unwrap();
        let (target, link) = (home.path().join("target"), home.path().join("link"));
        fs::write(&target, b"precious").unwrap();
        symlink(&target, &link).unwrap();
        for access in [Access::Read, Access::Write, Access::CreateNew] {
            assert!(RealDisk.open(&link, access).is_err(), "{access:?}");
        }
        assert!(RealDisk.try_lock(&link).is_err());
        assert_eq!(RealDisk.metadata(&link).unwrap().kind, EntryKind::Other);
    }

    #[test]
    fn only_regular_files_are_opened() {
        let home = tempfile::tempdir().unwrap();
        let pipe = home.path().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
            0,
        )
        .unwrap();
        assert!(RealDisk.open(&pipe, Access::Read).is_err());
        let error = RealDisk.open(home.path(), Access::Read).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::IsADirectory);
    }

    #[test]
    fn a_lock_excludes_a_second_handle_until_it_is_dropped() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("lock");
        let lock = RealDisk.try_lock(&path).unwrap().unwrap();
        lock.write_holder(b"a longer text").unwrap();
        lock.write_holder(b"me").unwrap();
        assert!(RealDisk.try_lock(&path).unwrap().is_none());
        assert_eq!(fs::read(&path).unwrap().trim_ascii_end(), b"me");
        drop(lock);
        assert!(RealDisk.try_lock(&path).unwrap().is_some());
    }

    #[test]
    fn the_file_system_is_named_and_has_room() {
        let home = tempfile::tempdir().unwrap();
        let space = RealDisk.space(home.path()).unwrap();
        assert!(space.free <= space.total && space.total > 0);
        assert!(!RealDisk.file_system(home.path()).unwrap().name.is_empty());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn names_that_a_promise_hangs_on_are_known() {
        for name in NETWORK.iter().filter(|name| !["afpfs", "smbfs", "webdav"].contains(name)) {
            assert!(MAGIC.iter().any(|(_, known)| known == name), "{name}");
        }
        for name in VOLATILE {
            assert!(MAGIC.iter().any(|(_, known)| known == name), "{name}");
        }
    }
}
