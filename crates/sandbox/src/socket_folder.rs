//! The folder in which a function makes the Unix socket that its calls come through.
//!
//! Everything in it is the function's to write, so nothing of it is followed as a path: the
//! socket is opened with `openat2` below the folder (a symlink may lead to a sibling, never out
//! of it), and connected to through the descriptor, so that what was checked is what is used.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, inotify};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::net::UnixStream;

/// Waits between two tries to connect to a socket whose listener is full.
const SHORTEST_WAIT: Duration = Duration::from_micros(200);
const LONGEST_WAIT: Duration = Duration::from_millis(5);

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

/// Tells when something in a folder changed.
#[derive(Debug)]
pub struct FolderWatch {
    events: AsyncFd<OwnedFd>,
}

impl SocketFolder {
    /// Takes a descriptor of the folder, which may be `O_PATH`.
    pub fn new(folder: OwnedFd) -> Self {
        Self { folder }
    }

    /// Watches the folder from now on.
    #[expect(unsafe_code, reason = "what tokio asks for to watch a descriptor")]
    pub fn watch(&self) -> io::Result<FolderWatch> {
        let events = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?;
        // A link or a socket that shows up under its name, and the right to connect given to it.
        let what = inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO | inotify::WatchFlags::ATTRIB;
        let folder = format!("/proc/self/fd/{}", self.folder.as_raw_fd());
        inotify::add_watch(&events, folder, what | inotify::WatchFlags::ONLYDIR)?;
        // SAFETY: the descriptor is owned by what watches it and closed with it.
        Ok(FolderWatch { events: unsafe { AsyncFd::register(events)? } })
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

impl FolderWatch {
    /// Waits until something of the folder has changed since the watch began or this was last
    /// awaited. What it was is for the caller to look at.
    pub async fn changed(&self) -> io::Result<()> {
        self.events
            .async_io(tokio::io::Interest::READABLE, |events| {
                let mut any = false;
                // One event needs at most its header and a name.
                let mut buffer = [0_u8; 4096];
                loop {
                    match rustix::io::read(events, &mut buffer) {
                        Ok(read) if read > 0 => any = true,
                        Err(Errno::WOULDBLOCK) if any => return Ok(()),
                        Ok(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
                        Err(error) => return Err(error.into()),
                    }
                }
            })
            .await
    }
}

impl FolderSocket {
    /// Connects to the socket. `ConnectionRefused` while nothing listens on it. Where as many
    /// connections wait as its listener lets, this one waits too: a Unix socket says `EAGAIN` then
    /// and tells nobody when there is room.
    pub async fn connect(&self) -> io::Result<UnixStream> {
        let path = format!("/proc/self/fd/{}", self.socket.as_raw_fd());
        let mut wait = SHORTEST_WAIT;
        loop {
            match UnixStream::connect(&path).await {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => tokio::time::sleep(wait).await,
                done => return done,
            }
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    use std::path::Path;

    use super::*;

    fn folder(path: &Path) -> SocketFolder {
        let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
        SocketFolder::new(rustix::fs::open(path, flags, Mode::empty()).unwrap())
    }

    #[tokio::test]
    async fn a_link_to_a_sibling_leads_to_the_socket() {
        let dir = tempfile::tempdir().unwrap();
        let _listener = UnixListener::bind(dir.path().join("made")).unwrap();
        symlink("made", dir.path().join("lsnr.sock")).unwrap();
        folder(dir.path()).open("lsnr.sock").unwrap().connect().await.unwrap();
    }

    #[tokio::test]
    async fn every_way_out_of_the_folder_is_refused() {
        let outside = tempfile::tempdir().unwrap();
        let host = outside.path().join("host.sock");
        let _listener = UnixListener::bind(&host).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let up = format!("../{}/host.sock", outside.path().file_name().unwrap().display());
        symlink(&host, dir.path().join("absolute")).unwrap();
        symlink(up, dir.path().join("upwards")).unwrap();
        symlink("absolute", dir.path().join("chained")).unwrap();
        symlink(outside.path(), dir.path().join("folder")).unwrap();
        symlink("/proc/self/fd/0", dir.path().join("magic")).unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        let folder = folder(dir.path());
        for name in ["absolute", "upwards", "chained", "folder/host.sock", "magic", "file"] {
            let error = folder.open(name).unwrap_err();
            assert_ne!(error.kind(), io::ErrorKind::NotFound, "{name}: {error}");
        }
    }

    #[tokio::test]
    async fn a_name_that_is_exchanged_after_it_was_opened_changes_nothing() {
        let outside = tempfile::tempdir().unwrap();
        let host = outside.path().join("host.sock");
        let planted = UnixListener::bind(&host).unwrap();
        planted.set_nonblocking(true).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let name = dir.path().join("lsnr.sock");
        let own = UnixListener::bind(&name).unwrap();
        let socket = folder(dir.path()).open("lsnr.sock").unwrap();
        std::fs::remove_file(&name).unwrap();
        symlink(&host, &name).unwrap();
        socket.connect().await.unwrap();
        own.accept().unwrap();
        assert_eq!(planted.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[tokio::test]
    async fn a_watch_tells_of_what_came_after_it_began() {
        let dir = tempfile::tempdir().unwrap();
        let watch = folder(dir.path()).watch().unwrap();
        let _listener = UnixListener::bind(dir.path().join("made")).unwrap();
        watch.changed().await.unwrap();
        symlink("made", dir.path().join("lsnr.sock")).unwrap();
        watch.changed().await.unwrap();
    }
}
