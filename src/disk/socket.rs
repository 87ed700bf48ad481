//! Sockets in the file system, which are of no simulated disk.
//!
//! A socket is opened only in a directory that is this user's alone: no link, owned by us, mode 0700.
//! So nobody else can connect, and nobody can put something else in its place. What stands at the
//! path already is taken away only if it is a socket, is ours, and nobody answers there.

use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{self, FileType, Mode};
use rustix::io::Errno;

use super::private;

/// The longest path that every system takes for a socket: macOS has 104 bytes with the closing zero.
pub const PATH_BYTES_MAX: usize = 100;

/// Why no socket was opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SocketError {
    /// The path does not fit into the address of a socket.
    #[error("the path of the socket, {}, is longer than {PATH_BYTES_MAX} bytes", path.display())]
    TooLong {
        /// The path.
        path: PathBuf,
    },
    /// The directory is not this user's alone.
    #[error("the directory {} is not fit for a socket: {why}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Something stands there that is not ours to take away.
    #[error("{} stands in the way of a socket: {why}", path.display())]
    Taken {
        /// The path.
        path: PathBuf,
        /// What it is.
        why: &'static str,
    },
    /// The system refused.
    #[error("cannot open a socket at {}: {source}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Opens a socket with mode 0600.
///
/// # Errors
/// Where the directory is not this user's alone, where something else stands at the path or another
/// process answers there, or as the system gives them.
pub fn listen(path: &Path) -> Result<UnixListener, SocketError> {
    if path.as_os_str().len() > PATH_BYTES_MAX {
        return Err(SocketError::TooLong { path: path.to_owned() });
    }
    let failed = |source| SocketError::Io { path: path.to_owned(), source };
    let directory = path.parent().unwrap_or(Path::new("/"));
    private::check_directory(directory)
        .map_err(|why| SocketError::Directory { path: directory.to_owned(), why })?;
    clear(path)?;
    let listener = UnixListener::bind(path).map_err(failed)?;
    // The directory keeps others out until this has happened.
    fs::chmod(path, Mode::RUSR | Mode::WUSR).map_err(|error| failed(error.into()))?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

/// Takes away the socket at a path, unless another one took its place.
///
/// # Errors
/// As the system gives them.
pub fn remove(path: &Path, ours: &UnixListenerId) -> io::Result<()> {
    match UnixListenerId::at(path) {
        Ok(there) if there == *ours => Ok(fs::unlink(path)?),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Which socket stands at a path: its device and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnixListenerId(u64, u64);

impl UnixListenerId {
    /// The one that stands there now.
    ///
    /// # Errors
    /// As the system gives them.
    pub fn at(path: &Path) -> io::Result<Self> {
        let stat = fs::lstat(path)?;
        Ok(Self(stat.st_dev, stat.st_ino))
    }
}

/// Takes away what a killed process left at the path.
fn clear(path: &Path) -> Result<(), SocketError> {
    let failed = |source| SocketError::Io { path: path.to_owned(), source };
    let taken = |why| SocketError::Taken { path: path.to_owned(), why };
    let stat = match fs::lstat(path) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(failed(error.into())),
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
        return Err(taken("it is no socket"));
    }
    if stat.st_uid != private::own_uid() {
        return Err(taken("it is another user's socket"));
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(taken("another process answers there")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::unlink(path).map_err(|error| failed(error.into()))
        }
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn home(mode: u32) -> tempfile::TempDir {
        tempfile::Builder::new()
            .permissions(std::fs::Permissions::from_mode(mode))
            .tempdir_in("/tmp")
            .unwrap()
    }

    #[test]
    fn a_socket_is_its_owners_alone_and_replaces_only_a_dead_one() {
        let home = home(0o700);
        let path = home.path().join("s");
        let first = listen(&path).unwrap();
        let mode = fs::lstat(&path).unwrap().st_mode & 0o7777;
        assert_eq!(mode, 0o600);
        let error = listen(&path).unwrap_err();
        assert!(error.to_string().contains("another process answers"), "{error}");
        drop(first);
        listen(&path).unwrap();
        remove(&path, &UnixListenerId::at(&path).unwrap()).unwrap();
        assert!(UnixListenerId::at(&path).is_err());
    }

    #[test]
    fn another_ones_socket_is_not_taken_away() {
        let home = home(0o700);
        let path = home.path().join("s");
        let _first = listen(&path).unwrap();
        let id = UnixListenerId::at(&path).unwrap();
        fs::rename(&path, home.path().join("aside")).unwrap();
        let _second = listen(&path).unwrap();
        remove(&path, &id).unwrap();
        assert!(UnixStream::connect(&path).is_ok());
    }

    #[test]
    fn what_is_no_socket_stays() {
        let home = home(0o700);
        for name in ["file", "link"] {
            let path = home.path().join(name);
            if name == "file" {
                drop(crate::disk::Disk::open(
                    &crate::disk::RealDisk,
                    &path,
                    crate::disk::Access::CreateNew,
                ));
            } else {
                symlink(home.path().join("file"), &path).unwrap();
            }
            let error = listen(&path).unwrap_err();
            assert!(error.to_string().contains("no socket"), "{error}");
            assert!(UnixListenerId::at(&path).is_ok());
        }
    }

    #[test]
    fn a_directory_that_others_may_enter_or_a_link_to_one_is_refused() {
        let open = home(0o755);
        let error = listen(&open.path().join("s")).unwrap_err();
        assert!(error.to_string().contains("0755"), "{error}");
        let closed = home(0o700);
        let link = open.path().join("link");
        symlink(closed.path(), &link).unwrap();
        let error = listen(&link.join("s")).unwrap_err();
        assert!(error.to_string().contains("it is a link"), "{error}");
        let long = closed.path().join("x".repeat(PATH_BYTES_MAX));
        assert!(matches!(listen(&long), Err(SocketError::TooLong { .. })));
    }
}
