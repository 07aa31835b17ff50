//! Network namespaces with nothing but loopback, made ahead: entering a ready one costs two
//! microseconds, making one four hundred.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use super::linux::own_network;
use super::raw;
use super::sys::{Kernel, Linux, Namespace};

/// A network namespace nobody was in yet, its loopback up. The calling process, which must be
/// single-threaded, is in it for a moment and comes back to `home`.
pub(crate) fn make(home: &OwnedFd) -> io::Result<OwnedFd> {
    Linux.unshare(Namespace::Network)?;
    let made = raw::loopback_up().and_then(|()| own_network());
    Linux.enter(Namespace::Network, home.as_fd())?;
    made
}
