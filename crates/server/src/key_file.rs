//! The key that stored bodies are encrypted under: read, or made on the first start.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use picasso_store::SECRET_KEY_BYTES;
use rustix::rand::{GetRandomFlags, getrandom};

use crate::failure::{ServerFailure, say};

/// The key in `path`. Where there is none it is made, readable by this process's user only.
pub(crate) fn read_or_make(path: &Path) -> Result<Vec<u8>, ServerFailure> {
    match read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let key = make(path).map_err(|error| cannot("make", path, error))?;
            say(&format_args!(
                "made the key {}; keep a copy of it: what is stored cannot be read without it",
                path.display()
            ));
            Ok(key)
        }
        Err(error) => Err(cannot("read", path, error)),
        Ok(key) if key.len() == SECRET_KEY_BYTES => Ok(key),
        Ok(key) => Err(ServerFailure::new(format!(
            "{} holds {} bytes, a key is {SECRET_KEY_BYTES}",
            path.display(),
            key.len()
        ))
        .hint("bring back the copy of the key; a new one cannot read what is stored")),
    }
}

/// The key in `path`, which must be there.
pub(crate) fn read_only(path: &Path) -> Result<Vec<u8>, ServerFailure> {
    read(path).map_err(|error| cannot("read", path, error))
}

fn cannot(what: &str, path: &Path, error: std::io::Error) -> ServerFailure {
    ServerFailure::new(format!("cannot {what} the encryption key {}", path.display()))
        .because(error)
        .hint("encryption.key_file names it; start the server as the user who may read it")
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let file = File::open(path)?;
    if file.metadata()?.mode() & 0o007 != 0 {
        return Err(std::io::Error::new(
            ErrorKind::PermissionDenied,
            format!("other users may read it; chmod 600 {}", path.display()),
        ));
    }
    let mut key = Vec::new();
    // One more than a key, so that a longer file is noticed.
    file.take(SECRET_KEY_BYTES as u64 + 1).read_to_end(&mut key)?;
    Ok(key)
}

/// Written under another name first: a crash leaves no half key, and a second start that makes
/// one at the same time does not replace it.
fn make(path: &Path) -> std::io::Result<Vec<u8>> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut key = vec![0; SECRET_KEY_BYTES];
    let filled = getrandom(&mut key[..], GetRandomFlags::empty())?;
    if filled != SECRET_KEY_BYTES {
        return Err(std::io::Error::other("the kernel gave too few random bytes"));
    }
    let unfinished = path.with_extension(format!("new-{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    let placed = file
        .write_all(&key)
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::hard_link(&unfinished, path));
    std::fs::remove_file(&unfinished)?;
    match placed {
        Ok(()) => Ok(key),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => read(path),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("below/encryption.key");
        let made = read_or_make(&path).unwrap();
        assert_eq!(made.len(), SECRET_KEY_BYTES);
        assert_ne!(made, vec![0; SECRET_KEY_BYTES]);
        assert_eq!(read_or_make(&path).unwrap(), made);
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_key_of_the_wrong_length_or_open_to_others_is_refused_unchanged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("encryption.key");
        std::fs::write(&path, "short").unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        assert!(read_or_make(&path).unwrap_err().to_string().contains("holds 5 bytes"));
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        assert!(read_or_make(&path).unwrap_err().to_string().contains("chmod 600"));
        assert_eq!(std::fs::read(&path).unwrap(), b"short");
    }
}
