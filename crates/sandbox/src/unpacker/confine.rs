//! Takes away from the unpacker process all that it does not need, in an order that works.
//!
//! | What | How |
//! |---|---|
//! | the host's files | own mount namespace whose root is the layer folder; the rest is unmounted |
//! | network, IPC, host name | own, empty namespaces |
//! | capabilities | owners, modes and one attribute; see [`kept`]; none can come back |
//! | memory, files, cores | `RLIMIT_AS`, `RLIMIT_NOFILE`, `RLIMIT_CORE`, `RLIMIT_NPROC` |
//! | system calls | [`super::filter`] |

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount_bind, mount_change, mount_remount, unmount,
};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::{
    CapabilitySet, CapabilitySets, UnshareFlags, clear_ambient_capability_set, set_capabilities,
    set_no_new_privs,
};

use super::{filter, raw};

/// A zstd window is 128 MiB at most and the tree's bookkeeping as much again; the program
/// itself and its libraries are the rest.
const MEMORY: u64 = 1024 * 1024 * 1024;
/// Removing a tree holds one descriptor for each of its at most 128 levels.
const OPEN_FILES: u64 = 512;

/// `CAP_SYS_ADMIN` is there for `trusted.overlay.opaque` alone, which the kernel lets nobody
/// else write; what else it could do needs calls that the filter does not have.
fn kept() -> CapabilitySet {
    CapabilitySet::CHOWN
        | CapabilitySet::DAC_OVERRIDE
        | CapabilitySet::FOWNER
        | CapabilitySet::FSETID
        | CapabilitySet::SYS_ADMIN
}

/// Confines the calling process and gives its new root, the layer folder.
pub(super) fn confine(layers_dir: &Path) -> io::Result<OwnedFd> {
    let step =
        |what: &'static str| move |error: io::Error| io::Error::new(error.kind(), format!("{what}: {error}"));
    limit().map_err(step("setting limits"))?;
    enter(layers_dir).map_err(step("making the layer folder its root"))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let layers = openat(CWD, "/", flags, Mode::empty())?;
    drop_capabilities().map_err(step("dropping capabilities"))?;
    raw::load_filter(&filter::program()).map_err(step("loading the system call filter"))?;
    Ok(layers)
}

fn limit() -> io::Result<()> {
    let limits =
        [(Resource::As, MEMORY), (Resource::Nofile, OPEN_FILES), (Resource::Core, 0), (Resource::Nproc, 0)];
    for (resource, wanted) in limits {
        // A hard limit that is lower already cannot be raised without CAP_SYS_RESOURCE.
        let hard = rustix::process::getrlimit(resource).maximum.map_or(wanted, |hard| hard.min(wanted));
        setrlimit(resource, Rlimit { current: Some(hard), maximum: Some(hard) })?;
    }
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    // The layer's modes are meant as they are.
    rustix::process::umask(Mode::empty());
    Ok(())
}

fn enter(layers_dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(layers_dir)?;
    std::fs::set_permissions(layers_dir, Permissions::from_mode(0o700))?;
    raw::unshare(UnshareFlags::NEWNS | UnshareFlags::NEWNET | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS)?;
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)?;
    mount_bind(layers_dir, layers_dir)?;
    let flags = MountFlags::BIND | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount_remount(layers_dir, flags, "")?;
    rustix::process::chdir(layers_dir)?;
    // The old root ends up on top of the new one, from where it is unmounted (pivot_root(2)).
    rustix::process::pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    rustix::process::chdir("/")?;
    Ok(())
}

fn drop_capabilities() -> io::Result<()> {
    for number in 0..64 {
        let one = CapabilitySet::from_bits_retain(1 << number);
        if !kept().contains(one) {
            match rustix::thread::remove_capability_from_bounding_set(one) {
                // This kernel does not have it.
                Ok(()) | Err(rustix::io::Errno::INVAL) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    clear_ambient_capability_set()?;
    let sets = CapabilitySets { effective: kept(), permitted: kept(), inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets)?;
    set_no_new_privs(true)?;
    Ok(())
}
