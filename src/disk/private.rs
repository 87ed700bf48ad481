//! What is this user's alone in the file system, which is no matter of any simulated disk.

use std::io;
use std::path::Path;

use rustix::fs::{self, FileType, Mode, Stat};
use rustix::io::Errno;

/// Who this process is to the file system.
#[must_use]
pub fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Checks that a directory is this user's alone: no link, owned by us, mode 0700 or less.
///
/// # Errors
/// What is wrong with it, in words.
pub fn check_directory(path: &Path) -> Result<(), String> {
    let stat = fs::lstat(path).map_err(|error| io::Error::from(error).to_string())?;
    check(&stat, FileType::Directory, "directory", "0700")
}

/// Checks that a file is this user's alone: no link, owned by us, mode 0600 or less.
///
/// # Errors
/// What is wrong with it, in words.
pub fn check_file(path: &Path) -> Result<(), String> {
    let stat = fs::lstat(path).map_err(|error| io::Error::from(error).to_string())?;
    check(&stat, FileType::RegularFile, "file", "0600")
}

fn check(stat: &Stat, wanted: FileType, name: &str, mode_wanted: &str) -> Result<(), String> {
    match FileType::from_raw_mode(stat.st_mode) {
        found if found == wanted => {}
        FileType::Symlink => return Err("it is a link".to_owned()),
        _ => return Err(format!("it is no {name}")),
    }
    if stat.st_uid != own_uid() {
        return Err(format!("it belongs to user {}", stat.st_uid));
    }
    let mode = stat.st_mode & 0o7777;
    if mode & 0o077 != 0 {
        return Err(format!(
            "its mode is {mode:04o}, and others may use it unless it is {mode_wanted}"
        ));
    }
    Ok(())
}

/// Makes a directory with mode 0700 where none is; whether it is fit is not checked.
///
/// # Errors
/// As the system gives them.
pub fn make_directory(path: &Path) -> io::Result<()> {
    match fs::mkdir(path, Mode::RWXU) {
        Err(error) if error != Errno::EXIST => Err(error.into()),
        _ => Ok(()),
    }
}
