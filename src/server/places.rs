//! Where a sidecar listens.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::error::Error;
use crate::disk::private;
use crate::disk::socket::{PATH_BYTES_MAX, SocketError};

/// The name of the socket in the directory of its store.
const NAME: &str = "stateward.sock";

/// Where a sidecar listens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places {
    /// The path of the socket, absolute; its directory is there, and nobody's but ours.
    pub socket: Option<PathBuf>,
    /// The address for TCP, where a token is asked for.
    pub listen: Option<SocketAddr>,
}

impl Places {
    /// The socket of a store and nothing else: in its directory, or in the runtime directory where
    /// that path would be too long or others may enter the store's directory. `runtime` is
    /// `$XDG_RUNTIME_DIR`, where it is set.
    ///
    /// # Errors
    /// When the runtime directory is not ours alone or cannot be made.
    pub fn of_store(store: &Path, runtime: Option<&Path>) -> Result<Self, Error> {
        let beside = store.join(NAME);
        let fits = beside.as_os_str().len() <= PATH_BYTES_MAX;
        if fits && private::check_directory(store).is_ok() {
            return Ok(Self { socket: Some(beside), listen: None });
        }
        let directory = runtime_directory(runtime)?;
        let name = blake3::hash(store.as_os_str().as_encoded_bytes()).to_hex();
        let path = directory.join(format!("{}.sock", &name[..16]));
        Ok(Self { socket: Some(path), listen: None })
    }
}

/// A directory of ours for sockets: in `$XDG_RUNTIME_DIR`, else in `/run/user/UID`, else in `/tmp`.
fn runtime_directory(runtime: Option<&Path>) -> Result<PathBuf, Error> {
    let of_user = PathBuf::from(format!("/run/user/{}", private::own_uid()));
    let candidates = runtime.map(Path::to_owned).into_iter().chain([of_user]);
    let given = candidates.into_iter().find(|path| private::check_directory(path).is_ok());
    let directory = match given {
        Some(runtime) => runtime.join("stateward"),
        None => PathBuf::from(format!("/tmp/stateward-{}", private::own_uid())),
    };
    private::make_directory(&directory)
        .map_err(|source| Error::System { doing: "make a directory for the socket", source })?;
    private::check_directory(&directory)
        .map_err(|why| SocketError::Directory { path: directory.clone(), why })?;
    Ok(directory)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_socket_lies_in_the_store_unless_that_does_not_do() {
        let private = std::fs::Permissions::from_mode(0o700);
        let home = tempfile::Builder::new().permissions(private).tempdir_in("/tmp").unwrap();
        let store = home.path().join("store");
        private::make_directory(&store).unwrap();
        let places = Places::of_store(&store, None).unwrap();
        assert_eq!(places.socket.unwrap(), store.join("stateward.sock"));

        let deep = home.path().join("x".repeat(PATH_BYTES_MAX));
        private::make_directory(&deep).unwrap();
        let runtime = home.path().join("runtime");
        private::make_directory(&runtime).unwrap();
        let path = Places::of_store(&deep, Some(&runtime)).unwrap().socket.unwrap();
        assert_eq!(path.parent().unwrap(), runtime.join("stateward"));
        let other = Places::of_store(&store.join("other"), Some(&runtime)).unwrap();
        assert_ne!(other.socket.unwrap(), path, "stores have sockets of their own");
    }
}
