//! Network namespaces with nothing but loopback, made ahead: entering a ready one costs two
//! microseconds, making one four hundred. And sockets made inside them for us.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::linux::own_network;
use super::raw;
use super::sys::{Kernel, Linux, Namespace};

/// A network namespace nobody was in yet, its loopback up. The calling process, which must be
/// single-threaded, is in it for a moment and comes back to `home`.
pub(crate) fn make(home: &OwnedFd) -> io::Result<OwnedFd> {
    Linux.unshare(Namespace::Network)?;
    let made = raw::loopback_up().and_then(|()| open_low_ports()).and_then(|()| own_network());
    Linux.enter(Namespace::Network, home.as_fd())?;
    made
}

/// Without capabilities a function could not listen on the ports below 1024, which are nobody
/// else's in a namespace of its own.
fn open_low_ports() -> io::Result<()> {
    // Resolved by the kernel to the calling thread's own network namespace.
    match Linux.write(Path::new("/proc/sys/net/ipv4/ip_unprivileged_port_start"), b"0") {
        // Kernels without the setting (before 4.11) keep those ports closed.
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Unconnected TCP sockets of a sandbox's network namespace. The calling process, which must be
/// single-threaded, is in it for a moment; an error of [`Away`] says that it did not come back.
pub(crate) fn sockets(home: &OwnedFd, netns: &OwnedFd, count: u8) -> Result<io::Result<Vec<OwnedFd>>, Away> {
    if let Err(e) = Linux.enter(Namespace::Network, netns.as_fd()) {
        return Ok(Err(e));
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = || rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None);
    let made = (0..count).map(|_| socket().map_err(io::Error::from)).collect();
    Linux.enter(Namespace::Network, home.as_fd()).map_err(Away)?;
    Ok(made)
}

/// The calling process is in a sandbox's network namespace and cannot get out.
#[derive(Debug, thiserror::Error)]
#[error("returning from a sandbox's network namespace: {0}")]
pub(crate) struct Away(io::Error);
