//! The file that holds the sidecar's token.
//!
//! It is this user's alone (mode 0600), and is made where there is none. The token is never written
//! anywhere else.

use std::io;
use std::path::Path;

use super::error::Error;
use super::tokens::Token;
use crate::disk::{self, Access, Disk, private};

/// Whether the token was there, or was made just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// It was there.
    Found,
    /// It was made.
    Now,
}

/// Reads the token in a file; makes both where there is no file.
///
/// # Errors
/// Where the file is somebody else's, open to others, a link, or holds no token of 256 bits.
pub fn read_or_make(disk: &dyn Disk, path: &Path) -> Result<(Token, Made), Error> {
    let wrong = |why: String| Error::TokenFile { path: path.to_owned(), why };
    let system = |error: io::Error| wrong(error.to_string());
    match disk.open(path, Access::CreateNew) {
        Ok(file) => {
            let token = Token::random();
            file.write_all_at(format!("{}\n", token.reveal()).as_bytes(), 0).map_err(system)?;
            file.sync_all().map_err(system)?;
            if let Some(directory) = path.parent() {
                disk.sync_dir(directory).map_err(system)?;
            }
            Ok((token, Made::Now))
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            private::check_file(path).map_err(wrong)?;
            let text = String::from_utf8(disk::read(disk, path).map_err(system)?)
                .map_err(|_| wrong("it is no text".to_owned()))?;
            Ok((Token::of(&text).map_err(wrong)?, Made::Found))
        }
        Err(error) => Err(system(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::disk::RealDisk;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the mode is set past the seam")]
    fn a_token_is_made_once_and_refused_where_others_could_read_it() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("token");
        let (made, how) = read_or_make(&RealDisk, &path).unwrap();
        assert_eq!(how, Made::Now);
        assert_eq!(read_or_make(&RealDisk, &path).unwrap(), (made.clone(), Made::Found));
        let link = home.path().join("link");
        symlink(&path, &link).unwrap();
        assert!(read_or_make(&RealDisk, &link).is_err());
        for mode in [0o640, 0o604, 0o660] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let error = read_or_make(&RealDisk, &path).unwrap_err().to_string();
            assert!(error.contains(&format!("{mode:04o}")), "{error}");
            assert!(!error.contains(made.reveal()), "{error}");
        }
        let short = home.path().join("short");
        let file = RealDisk.open(&short, Access::CreateNew).unwrap();
        file.write_all_at(b"0123456789abcdef", 0).unwrap();
        let error = read_or_make(&RealDisk, &short).unwrap_err().to_string();
        assert!(error.contains("16 letters") && !error.contains("0123"), "{error}");
    }
}
