//! What no library offers as a safe function.
#![expect(unsafe_code, reason = "system calls without a safe wrapper; each block says why it is sound")]

use std::io;
use std::os::fd::OwnedFd;

use rustix::thread::{UnshareFlags, unshare_unsafe};
use tokio::io::unix::AsyncFd;

/// Leaves namespaces for new ones.
pub(super) fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: unsafe only for UnshareFlags::FILES, which parts descriptor tables; it is refused.
    if flags.contains(UnshareFlags::FILES) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: see above; namespaces touch neither memory nor descriptors.
    Ok(unsafe { unshare_unsafe(flags) }?)
}

/// Loads a seccomp filter for this process; there is no way back.
pub(super) fn load_filter(program: &[libc::sock_filter]) -> io::Result<()> {
    let len = u16::try_from(program.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let prog = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    // SAFETY: prog points at len instructions that live through the call; the kernel copies them
    // and writes nothing.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const prog) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Watches a socket; to be called in a tokio runtime.
pub(super) fn register(socket: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd always gives the same, open descriptor, and is dropped after the AsyncFd
    // took it off the reactor.
    Ok(unsafe { AsyncFd::register(socket) }?)
}
