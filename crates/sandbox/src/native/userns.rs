//! User namespaces made ahead, each with a range of 65,536 host ids of its own.
//!
//! A process can neither make a user namespace and leave it again nor map it before it exists, so
//! a short-lived child makes it and the spawner writes its maps.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;

use rustix::process::{WaitId, WaitIdOptions};

use super::protocol::IDS;
use super::raw::{self, Cloned, Process};

/// A user namespace in which ids 0 to 65,535 are the host's from `base` on.
pub(crate) fn make(base: u32) -> io::Result<OwnedFd> {
    let (stay, go) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    match raw::clone_process(libc::CLONE_NEWUSER, None)? {
        Cloned::Child => {
            // Until the spawner has the namespace, or is gone.
            drop(go);
            let _ = rustix::io::read(&stay, &mut [0_u8; 1]);
            raw::exit_now(0)
        }
        Cloned::Parent(child) => {
            let made = map(child.pid, base);
            drop(go);
            reap(&child)?;
            made
        }
    }
}

fn map(pid: i32, base: u32) -> io::Result<OwnedFd> {
    let line = format!("0 {base} {IDS}\n");
    fs::write(format!("/proc/{pid}/uid_map"), &line)?;
    fs::write(format!("/proc/{pid}/gid_map"), &line)?;
    Ok(File::open(format!("/proc/{pid}/ns/user"))?.into())
}

fn reap(child: &Process) -> io::Result<()> {
    use std::os::fd::AsFd;
    rustix::process::waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED)?;
    Ok(())
}
