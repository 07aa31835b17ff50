//! The socket that the platform waits for.
//!
//! Whoever waits for a name must find a socket that everybody may connect to and that somebody
//! listens on: it is made under another name and put in place by a symlink beside it.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use tokio::net::UnixListener;

/// Listens on `unix:/some/path`.
pub fn bind(listener: &str) -> io::Result<UnixListener> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidInput, format!("not a listener: {listener}"));
    let path = Path::new(listener.strip_prefix("unix:").ok_or_else(invalid)?);
    let mut hidden = path.file_name().ok_or_else(invalid)?.to_owned();
    hidden.push(".made");
    let made = path.with_file_name(&hidden);
    let socket = UnixListener::bind(&made)?;
    std::fs::set_permissions(&made, Permissions::from_mode(0o666))?;
    symlink(&hidden, path)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::bind;

    #[tokio::test]
    async fn the_name_shows_up_as_a_link_to_a_socket_that_takes_connections() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lsnr.sock");
        let _listener = bind(&format!("unix:{}", path.display())).unwrap();
        assert_eq!(std::fs::read_link(&path).unwrap().to_str(), Some("lsnr.sock.made"));
        tokio::net::UnixStream::connect(&path).await.unwrap();
    }

    #[tokio::test]
    async fn a_name_that_is_no_unix_socket_is_refused() {
        assert!(bind("tcp://127.0.0.1:1").is_err());
    }
}
