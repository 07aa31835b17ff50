//! The native driver: Linux namespaces, cgroups and seccomp, by a small root process.
//!
//! [`NativeSandbox`] is the unprivileged client; the spawner does what needs root, driven by
//! fixed messages over a socket. A sandbox's process is a copy of the spawner that gives its
//! rights up step by step and becomes the function.

pub(crate) mod blob;
pub(crate) mod cgroup;
mod child;
mod connection;
mod driver;
mod endpoint;
mod faults;
mod linux;
pub(crate) mod mounts;
mod netns;
mod order;
mod packet;
mod protocol;
pub(crate) mod raw;
pub(crate) mod reap;
pub(crate) mod spawner;
pub(crate) mod sys;
mod userns;

#[cfg(test)]
mod child_tests;
#[cfg(test)]
mod recorder;

pub use driver::NativeSandbox;

pub(crate) use blob::{read_sealed, sealed};
pub(crate) use child::{HOST_NAME, StartFault, Step};
pub(crate) use packet::{receive, send};
pub(crate) use protocol::IDS;
pub(crate) use sys::{Kernel, Linux, MountFlags};

/// A message as each side of the spawner's protocol reads it: what is taken and
/// written back is read again as the same. For the fuzz target.
#[cfg(fuzzing)]
pub fn fuzz(bytes: &[u8]) {
    if let Some(request) = protocol::Request::decode(bytes) {
        let again = protocol::Request::decode(&request.encode());
        assert_eq!(again.map(|again| again.encode()), Some(request.encode()));
    }
    if let Some(report) = protocol::Report::decode(bytes) {
        let again = protocol::Report::decode(&report.encode());
        assert_eq!(again.map(|again| again.encode()), Some(report.encode()));
    }
    let _ = order::Order::decode(bytes);
}
