//! Ways into a sandbox beside its streams: the socket folder, the listener, connections to a port.

use std::time::Duration;

use picasso_sandbox::{Channel, Endpoint, ProcessSpec, Sandbox, SandboxIo, SlotId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::kit::{Native, guest_process, root, started_line};

fn with(channel: Channel, args: &[&str]) -> ProcessSpec {
    ProcessSpec { channel, ..guest_process(args) }
}

async fn start(native: &Native, process: &ProcessSpec) -> (SlotId, SandboxIo) {
    let slot = native.slot().await;
    let io = native.sandbox().start(slot, &native.rootfs, process).await.unwrap();
    (slot, io)
}

async fn echoed(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin), text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    tokio::time::timeout(Duration::from_secs(20), read).await.expect("an answer").unwrap();
    assert_eq!(answer, text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_the_function_makes_in_its_folder_takes_our_connections() {
    if !root() {
        return;
    }
    let native = Native::start().await;
    let (slot, mut io) = start(&native, &with(Channel::SocketFolder, &["unix-server"])).await;
    assert_eq!(started_line(&mut io).await, "755 1000");
    let Endpoint::SocketFolder(folder) = &io.endpoint else { panic!("{:?}", io.endpoint) };
    let socket = folder.open("lsnr.sock").unwrap();
    for number in 0..20 {
        let mut stream = socket.connect().await.unwrap();
        echoed(&mut stream, &format!("call {number}")).await;
    }
    assert_eq!(folder.open("missing").unwrap_err().kind(), std::io::ErrorKind::NotFound);
    native.sandbox().remove(slot).await.unwrap();
    // The folder is there no more than its function.
    let left = socket.connect().await.unwrap_err();
    assert_eq!(left.kind(), std::io::ErrorKind::ConnectionRefused, "{left}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_channel_there_is_no_socket_folder() {
    if !root() {
        return;
    }
    let native = Native::start().await;
    let listing = native.guest(&["ls", "/tmp"]).await.stdout;
    assert!(!listing.contains("iofs"), "{listing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_connects_to_our_listener_on_its_own_loopback_and_nobody_elses() {
    if !root() {
        return;
    }
    let native = Native::start().await;
    let process = with(Channel::Listener { port: 9001 }, &["tcp-client", "9001"]);
    let (slot, io) = start(&native, &process).await;
    let (other, other_io) = start(&native, &process).await;
    for mut io in [io, other_io] {
        let Endpoint::Listener(listener) = &io.endpoint else { panic!("{:?}", io.endpoint) };
        let accepted = tokio::time::timeout(Duration::from_secs(20), listener.accept()).await;
        let (mut stream, peer) = accepted.expect("a connection").unwrap();
        assert!(peer.ip().is_loopback());
        let mut bytes = [0; 11];
        stream.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"from inside");
        stream.write_all(b"from outside").await.unwrap();
        drop(stream);
        assert_eq!(started_line(&mut io).await, "from outside");
    }
    native.sandbox().remove(slot).await.unwrap();
    native.sandbox().remove(other).await.unwrap();
    // Another sandbox has nothing on that port.
    assert_eq!(native.guest(&["tcp-client", "9001"]).await.stdout, "Connection refused\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn we_connect_to_a_port_that_the_function_listens_on_even_a_low_one() {
    if !root() {
        return;
    }
    let native = Native::start().await;
    for port in [80, 8080] {
        let process = with(Channel::Port { port }, &["tcp-server", &port.to_string()]);
        let (slot, mut io) = start(&native, &process).await;
        let Endpoint::Dialer(dialer) = std::mem::replace(&mut io.endpoint, Endpoint::Streams) else {
            panic!("{:?}", io.endpoint)
        };
        assert_eq!(started_line(&mut io).await, "ready");
        // More than one batch of sockets, some of them at once.
        for number in 0..30 {
            let mut stream = dialer.connect().await.unwrap();
            echoed(&mut stream, &format!("call {number}")).await;
        }
        let many = (0..40).map(|number| {
            let dialer = dialer.clone();
            async move { echoed(&mut dialer.connect().await.unwrap(), &format!("call {number}")).await }
        });
        futures_util::future::join_all(many).await;
        native.sandbox().remove(slot).await.unwrap();
        assert!(dialer.connect().await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connecting_before_the_function_listens_is_refused_and_nothing_worse() {
    if !root() {
        return;
    }
    let native = Native::start().await;
    let (slot, io) = start(&native, &with(Channel::Port { port: 8080 }, &["sleep"])).await;
    let Endpoint::Dialer(dialer) = &io.endpoint else { panic!("{:?}", io.endpoint) };
    for _ in 0..40 {
        let refused = dialer.connect().await.unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused, "{refused}");
    }
    native.sandbox().remove(slot).await.unwrap();
    let none = with(Channel::Listener { port: 0 }, &["sleep"]);
    let error = native.refused(&native.rootfs, &none).await;
    assert!(matches!(error, picasso_sandbox::SandboxError::CannotStart(_)), "{error}");
}
