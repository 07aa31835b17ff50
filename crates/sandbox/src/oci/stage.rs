//! The keeper's view of the host: the host's files, which the runtime is one of, with the
//! sandbox's own things mounted over them. All of it goes with the keeper's mount namespace.
//!
//! The folder above the data directory's layers is closed to everybody but the server, and a
//! runtime looks its root up as the sandbox's own root user: hence a place everybody can pass.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;

use rustix::fs::CWD;

use crate::native::mounts::{DEVICES, Folders, Tree, identity, mount_root};
use crate::native::{Kernel, MountFlags, StartFault, Step};

/// A folder every Linux host has and nobody's programs live in (Filesystem Hierarchy Standard).
const TOP: &str = "/mnt";
/// Below [`TOP`]: the image's root, the bundle, the runtime's state, its log, its pid file, the
/// network namespace.
pub(super) const ROOT: &str = "/mnt/rootfs";
pub(super) const BUNDLE: &str = "/mnt/bundle";
pub(super) const CONFIG: &str = "/mnt/bundle/config.json";
pub(super) const STATE: &str = "/mnt/state";
pub(super) const LOG: &str = "/mnt/log";
pub(super) const PID: &str = "/mnt/pid";
pub(super) const NETNS: &str = "/mnt/net";
/// The function's secret files, where it has some.
pub(super) const SECRETS: &str = "/mnt/secrets";
/// Its identity, where it has one.
pub(super) const IDENTITY: &str = "/mnt/identity";
const DEVICE_NODES: &str = "/mnt/dev";

/// Bytes of everything below [`TOP`]: a bundle with the longest strings, escaped, and a runtime's
/// copy of it.
const TOP_BYTES: u64 = 32 << 20;

/// What must be there for [`build`]; a sentence where it is not.
pub(super) fn fault() -> Option<String> {
    (!Path::new(TOP).is_dir()).then(|| {
        format!(
            "the oci sandbox driver mounts a bundle at {TOP} (in namespaces of its own); make that folder"
        )
    })
}

/// Mounts everything but the root. The caller is in mount and pid namespaces of its own, with the
/// host's privileges; its working directory stays.
pub(super) fn set(k: &dyn Kernel, netns: BorrowedFd<'_>) -> io::Result<()> {
    let host = k.open_dir(Path::new("/"))?;
    let proc_flags = MountFlags { read_only: false, no_exec: true, no_dev: true };
    let proc = k.new_file_system("proc", &[], proc_flags)?;
    k.attach(proc.as_fd(), k.open_in(host.as_fd(), "proc")?.as_fd())?;
    let options =
        [("size", TOP_BYTES.to_string()), ("nr_inodes", "1024".to_owned()), ("mode", "711".to_owned())];
    // Device nodes are made in it.
    let flags = MountFlags { read_only: false, no_exec: true, no_dev: false };
    let top = k.new_file_system("tmpfs", &options, flags)?;
    k.attach(top.as_fd(), k.open_in(host.as_fd(), &TOP[1..])?.as_fd())?;
    for dir in [ROOT, BUNDLE, DEVICE_NODES] {
        k.make_dir(Path::new(dir))?;
    }
    std::fs::write(NETNS, "")?;
    k.bind(&format!("/proc/self/fd/{}", netns.as_raw_fd()), NETNS)?;
    // A runtime shows the host's device nodes: nodes shared between sandboxes would let one lock
    // or watch what the other opens.
    let dev = k.open_in(host.as_fd(), &DEVICE_NODES[1..])?;
    for (name, major, minor) in DEVICES {
        k.make_device(dev.as_fd(), name, major, minor)?;
        k.bind(&format!("{DEVICE_NODES}/{name}"), &format!("/dev/{name}"))?;
    }
    Ok(())
}

/// Mounts the image's root at [`ROOT`] and the function's identity at [`IDENTITY`], and leaves the data
/// directory.
pub(super) fn show_root(k: &dyn Kernel, folders: &Folders, tree: &Tree<'_>) -> Result<(), StartFault> {
    mount_root(k, folders, tree).map_err(|(part, e)| StartFault::new(part.into(), &e))?;
    let show = || {
        let root = k.clone_tree(CWD, "root")?;
        let host = k.open_dir(Path::new("/"))?;
        k.enter_dir(host.as_fd())?;
        k.attach(root.as_fd(), k.open_in(host.as_fd(), &ROOT[1..])?.as_fd())?;
        if let Some(name) = tree.identity {
            k.make_dir(Path::new(IDENTITY))?;
            let shown = identity(k, folders, name)?;
            k.attach(shown.as_fd(), k.open_in(host.as_fd(), &IDENTITY[1..])?.as_fd())?;
        }
        Ok(())
    };
    show().map_err(|e: io::Error| StartFault::new(Step::Root, &e))
}
