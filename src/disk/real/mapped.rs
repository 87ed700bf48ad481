//! Which files processes have mapped to write into.
//!
//! Linux tells each process' mappings in `/proc/PID/maps`, one a line: the range of addresses, the
//! rights (`rw-s` is a shared mapping to write into), the offset, the device, the inode number and
//! the path (`proc_pid_maps(5)`).

use std::collections::HashSet;

#[cfg(target_os = "linux")]
pub(super) fn inodes() -> HashSet<u64> {
    use std::io::Read;
    use std::os::unix::ffi::OsStrExt;

    let mut inodes = HashSet::new();
    let Ok(processes) = std::fs::read_dir("/proc") else { return inodes };
    let mut text = Vec::new();
    for process in processes.flatten() {
        if !process.file_name().as_bytes().iter().all(u8::is_ascii_digit) {
            continue;
        }
        text.clear();
        let maps = std::fs::File::open(process.path().join("maps"));
        // A process that ended meanwhile has nothing mapped, and another user's shows nothing.
        if maps.and_then(|mut maps| maps.read_to_end(&mut text)).is_ok() {
            inodes.extend(text.split(|byte| *byte == b'\n').filter_map(written_inode));
        }
    }
    inodes
}

#[cfg(not(target_os = "linux"))]
pub(super) fn inodes() -> HashSet<u64> {
    HashSet::new()
}

/// The inode number of a line that tells of a shared mapping to write into, of a file that can have
/// a name: `/dev/zero`, `memfd_create` and System V memory have inode numbers of their own.
#[cfg(target_os = "linux")]
fn written_inode(line: &[u8]) -> Option<u64> {
    let mut fields = line.split(|byte| *byte == b' ').filter(|field| !field.is_empty());
    let rights = fields.nth(1)?;
    if rights.get(1) != Some(&b'w') || rights.get(3) != Some(&b's') {
        return None;
    }
    let inode = std::str::from_utf8(fields.nth(2)?).ok()?.parse().ok()?;
    let path = fields.next()?;
    let of_memory = [&b"/dev/zero"[..], b"/memfd:", b"/SYSV"];
    let is_file = path.starts_with(b"/") && !of_memory.iter().any(|of| path.starts_with(of));
    (is_file && inode != 0).then_some(inode)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::disk::{Disk, RealDisk};

    #[test]
    fn the_index_of_a_write_ahead_log_is_found() {
        let home = tempfile::tempdir().unwrap();
        let inode = |name: &str| RealDisk.metadata(&home.path().join(name)).unwrap().inode;
        let database = rusqlite::Connection::open(home.path().join("db")).unwrap();
        database.pragma_update(None, "journal_mode", "wal").unwrap();
        database.execute("create table t (x)", []).unwrap();
        let mapped = RealDisk.mapped_files().unwrap();
        assert!(mapped.contains(&inode("db-shm")) && !mapped.contains(&inode("db-wal")));
        let index = inode("db-shm");
        drop(database);
        assert!(!RealDisk.mapped_files().unwrap().contains(&index));
    }

    #[test]
    fn only_shared_mappings_of_files_that_can_be_written_count() {
        let line = |rights: &str, inode: &str, path: &str| {
            format!("7f6c1a2000-7f6c1a3000 {rights} 00000000 fe:00 {inode}                  {path}")
        };
        let found = |rights, inode, path| written_inode(line(rights, inode, path).as_bytes());
        assert_eq!(found("rw-s", "1234", "/home/a/data.db"), Some(1234));
        assert_eq!(found("rw-s", "7", "/dev/shm/a name (deleted)"), Some(7));
        for rights in ["r--s", "rw-p", "r-xp", "---p"] {
            assert_eq!(found(rights, "1234", "/home/a/data.db"), None, "{rights}");
        }
        for path in ["/dev/zero (deleted)", "/memfd:x (deleted)", "/SYSV00000000", "[heap]", ""] {
            assert_eq!(found("rw-s", "5", path), None, "{path}");
        }
        assert_eq!(found("rw-s", "0", "/home/a/data.db"), None);
        assert_eq!((written_inode(b""), written_inode(b"7f 00")), (None, None));
    }
}
