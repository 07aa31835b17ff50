//! A function that plants things in its socket folder never gets us to a socket of the host's.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::poll;
use picasso_sandbox::{Channel, Endpoint, ProcessSpec, Sandbox, SandboxIo, SocketFolder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

use crate::kit::{Native, guest_process, pids_of, root, started_line, until};

/// A socket of the host's that everybody may connect to.
struct HostSocket {
    path: PathBuf,
    accepted: Arc<AtomicUsize>,
}

impl HostSocket {
    fn listen(native: &Native) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let path = native.dir.join("host.sock");
        let listener = UnixListener::bind(&path).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { path, accepted }
    }

    fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// Only our own last connection, which shows that it was there all the time, was ever made.
    async fn accepted_nobody(&self) {
        assert_eq!(self.accepted.load(Ordering::SeqCst), 0);
        let _own = tokio::net::UnixStream::connect(&self.path).await.unwrap();
        until("our own connection", || self.accepted.load(Ordering::SeqCst) > 0).await;
        assert_eq!(self.accepted.load(Ordering::SeqCst), 1);
    }
}

async fn with_folder(native: &Native, args: &[&str]) -> (picasso_sandbox::SlotId, SandboxIo) {
    let process = ProcessSpec { channel: Channel::SocketFolder, ..guest_process(args) };
    let slot = native.slot().await;
    let mut io = native.sandbox().start(slot, &native.rootfs, &process).await.unwrap();
    assert_eq!(started_line(&mut io).await, "ready", "{args:?}");
    (slot, io)
}

fn folder(io: &SandboxIo) -> &SocketFolder {
    let Endpoint::SocketFolder(folder) = &io.endpoint else { panic!("{:?}", io.endpoint) };
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn planted_links_and_files_are_never_followed_out_of_the_folder() {
    if !root() {
        return;
    }
    let native = Native::start().await;
    let host = HostSocket::listen(&native);
    let path = host.path().to_owned();
    let up = format!("../../../../../../../..{path}");
    let by_root = format!("/proc/1/root{path}");
    let dir = native.dir.to_str().unwrap();
    for plant in [
        &["plant", "link", &path][..],
        &["plant", "link", &up],
        &["plant", "link", &by_root],
        &["plant", "link", "/proc/self/fd/0"],
        &["plant", "link", "lsnr.sock"],
        &["plant", "chain", &path],
        &["plant", "chain", &up],
        &["plant", "folder-link", dir, "out/host.sock"],
        &["plant", "folder-link", "..", "out/../../../../../host.sock"],
        &["plant", "fifo"],
        &["plant", "file"],
        &["plant", "folder"],
    ] {
        let (slot, io) = with_folder(&native, plant).await;
        let refused = folder(&io).open("lsnr.sock").unwrap_err();
        assert_ne!(refused.kind(), std::io::ErrorKind::NotFound, "{plant:?}: {refused}");
        native.sandbox().remove(slot).await.unwrap();
    }
    host.accepted_nobody().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_swapped_for_a_link_all_the_time_leads_to_the_function_or_nowhere() {
    if !root() {
        return;
    }
    let native = Native::start().await;
    let host = HostSocket::listen(&native);
    let (slot, io) = with_folder(&native, &["swap", host.path()]).await;
    let (mut reached, mut refused) = (0, 0);
    let mut tries = 0;
    while tries < 2000 || ((reached < 50 || refused < 50) && tries < 200_000) {
        tries += 1;
        let Ok(socket) = folder(&io).open("lsnr.sock") else {
            refused += 1;
            continue;
        };
        let mut stream = socket.connect().await.unwrap();
        stream.write_all(b"who?").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "who?");
        reached += 1;
    }
    assert!(reached >= 50 && refused >= 50, "reached {reached}, refused {refused}");
    native.sandbox().remove(slot).await.unwrap();
    host.accepted_nobody().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_listeners_backlog_wait_for_their_turn() {
    if !root() {
        return;
    }
    let native = Native::start().await;
    let (slot, mut io) = with_folder(&native, &["unix-slow"]).await;
    let socket = folder(&io).open("lsnr.sock").unwrap();
    // Those that fit are connected at once, though nobody accepts them.
    let path = format!("/proc/{}/root/tmp/iofs/lsnr.sock", pids_of(&native.instance)[0]);
    let mut fitting = 0;
    while connects_at_once(&path) {
        fitting += 1;
        assert!(fitting < 100, "a backlog of 1 took 100 connections");
    }
    assert!(fitting > 0);
    let mut waiting = Box::pin(socket.connect());
    assert!(poll!(&mut waiting).is_pending());
    io.stdin.write_all(b"g").await.unwrap();
    let connected = tokio::time::timeout(std::time::Duration::from_secs(20), waiting).await;
    let mut stream = connected.expect("its turn").unwrap();
    stream.write_all(b"hello").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "hello");
    native.sandbox().remove(slot).await.unwrap();
}

/// Connects and hangs up; `false` where the listener has no room.
fn connects_at_once(path: &str) -> bool {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
    match connect(&socket, &SocketAddrUnix::new(path).unwrap()) {
        Ok(()) => true,
        Err(rustix::io::Errno::AGAIN) => false,
        Err(e) => panic!("{e}"),
    }
}
