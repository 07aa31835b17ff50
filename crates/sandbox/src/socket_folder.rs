//! The folder in which a function makes the Unix socket that its calls come through.
//!
//! Everything in it is the function's to write, so nothing of it is followed as a path: the
//! socket is opened with `openat2` below the folder (a symlink may lead to a sibling, never out
//! of it), and connected to through the descriptor, so that what was checked is what is used.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use tokio::net::UnixStream;

/// The folder, as a descriptor.
#[derive(Debug)]
pub struct SocketFolder {
    folder: OwnedFd,
}

/// A socket of the folder, opened once: whatever happens to its name later, connections go to it.
#[derive(Debug)]
pub struct FolderSocket {
    /// `O_PATH`.
    socket: OwnedFd,
}

impl SocketFolder {
    /// Takes a descriptor of the folder, which may be `O_PATH`.
    pub fn new(folder: OwnedFd) -> Self {
        Self { folder }
    }

    /// Opens the socket `name`. `NotFound` while there is none; any other error means that what
    /// is there is no socket of this folder.
    pub fn open(&self, name: &str) -> io::Result<FolderSocket> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let socket = rustix::fs::openat2(self.folder.as_fd(), name, flags, Mode::empty(), resolve)?;
        let stat = rustix::fs::fstat(&socket)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{name} is not a socket")));
        }
        Ok(FolderSocket { socket })
    }
}

impl FolderSocket {
    /// Connects to the socket. `ConnectionRefused` while nothing listens on it.
    pub async fn connect(&self) -> io::Result<UnixStream> {
        UnixStream::connect(format!("/proc/self/fd/{}", self.socket.as_raw_fd())).await
    }
}
