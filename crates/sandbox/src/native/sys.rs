//! The system calls the spawner makes, behind a trait, so that the order and the arguments of
//! mounts, namespaces and cgroup writes are tested without root and for hosts unlike this one.
//!
//! [`Linux`] is the kernel; the tests have a recording double.

use std::ffi::CStr;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

pub(crate) use super::linux::Linux;

/// A namespace that is entered through a descriptor or left by unsharing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Namespace {
    Network,
    User,
    Cgroup,
}

/// What a mount forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MountFlags {
    pub(crate) read_only: bool,
    pub(crate) no_exec: bool,
    pub(crate) no_dev: bool,
}

impl MountFlags {
    /// An image's files: can be executed, never changed, no devices.
    pub(crate) const IMAGE: Self = Self { read_only: true, no_exec: false, no_dev: true };
    /// A place to write to.
    pub(crate) const SCRATCH: Self = Self { read_only: false, no_exec: false, no_dev: true };
    /// Files to be read.
    pub(crate) const DATA: Self = Self { read_only: true, no_exec: true, no_dev: true };
    /// The kernel's own files.
    pub(crate) const PROC: Self = Self { read_only: true, no_exec: true, no_dev: true };
    /// Device nodes.
    pub(crate) const DEVICES: Self = Self { read_only: true, no_exec: true, no_dev: false };
}

/// The message that a descriptor travels with.
pub(crate) const PASSED: &[u8] = b"d";

/// A resource limit of the function's processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rlimit {
    Core,
    OpenFiles,
    MessageQueueBytes,
    PendingSignals,
    LockedBytes,
}

/// The kernel. Every method is one system call or the shortest sequence that belongs together;
/// `nosuid` is on every mount.
pub(crate) trait Kernel {
    // Files of the kernel's own (cgroups, /proc) and of the spawner's folder.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    fn open_for_write(&self, path: &Path) -> io::Result<OwnedFd>;
    fn open_dir(&self, path: &Path) -> io::Result<OwnedFd>;
    fn write_fd(&self, fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<()>;
    fn make_dir(&self, path: &Path) -> io::Result<()>;
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// Names of the folders in a folder.
    fn dirs(&self, path: &Path) -> io::Result<Vec<String>>;
    fn exists(&self, path: &Path) -> bool;
    fn kill(&self, pid: i32) -> io::Result<()>;

    // Mounts. Trees and new file systems are detached until they are attached.
    /// A detached copy of the mount at `path` below `dir`; no link on the way is followed.
    fn clone_tree(&self, dir: BorrowedFd<'_>, path: &str) -> io::Result<OwnedFd>;
    fn restrict(&self, tree: BorrowedFd<'_>, flags: MountFlags) -> io::Result<()>;
    /// Restricts a tree and shows its files' owners as a user namespace maps them.
    fn restrict_mapped(
        &self,
        tree: BorrowedFd<'_>,
        flags: MountFlags,
        userns: BorrowedFd<'_>,
    ) -> io::Result<()>;
    fn new_file_system(
        &self,
        kind: &str,
        options: &[(&str, String)],
        flags: MountFlags,
    ) -> io::Result<OwnedFd>;
    fn attach(&self, tree: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()>;
    /// Read-only overlay at `target`, a path relative to the working directory.
    fn mount_overlay(&self, target: &str, options: &str) -> io::Result<()>;
    fn bind(&self, source: &str, target: &str) -> io::Result<()>;
    /// A folder below `root`, refusing every symbolic link on the way.
    fn open_in(&self, root: BorrowedFd<'_>, path: &str) -> io::Result<OwnedFd>;
    fn make_device(&self, dir: BorrowedFd<'_>, name: &str, major: u32, minor: u32) -> io::Result<()>;
    fn make_link(&self, dir: BorrowedFd<'_>, name: &str, target: &str) -> io::Result<()>;
    fn make_dir_in(&self, dir: BorrowedFd<'_>, name: &str) -> io::Result<()>;
    fn make_owned_dir(&self, dir: BorrowedFd<'_>, name: &str, uid: u32, gid: u32) -> io::Result<()>;
    /// A new file that its owner, the caller, may read and nobody write.
    fn write_new(&self, dir: BorrowedFd<'_>, name: &CStr, bytes: &[u8]) -> io::Result<()>;
    fn enter_dir(&self, dir: BorrowedFd<'_>) -> io::Result<()>;
    /// Makes the working directory the root and detaches the old root.
    fn pivot_here(&self) -> io::Result<()>;

    // The process itself.
    fn enter(&self, namespace: Namespace, fd: BorrowedFd<'_>) -> io::Result<()>;
    fn unshare(&self, namespace: Namespace) -> io::Result<()>;
    fn set_host_name(&self, name: &str) -> io::Result<()>;
    fn default_signals(&self);
    fn new_session(&self) -> io::Result<()>;
    /// Lowers a limit, hard and soft, as far as the hard limit in force allows.
    fn limit(&self, which: Rlimit, value: u64) -> io::Result<()>;
    fn own_pipe(&self, fd: BorrowedFd<'_>, uid: u32, gid: u32) -> io::Result<()>;
    /// Makes `fd` the standard stream `number` (0, 1 or 2).
    fn set_stream(&self, fd: BorrowedFd<'_>, number: i32) -> io::Result<()>;
    /// Closes every descriptor from 3 on but these.
    fn close_all_but(&self, keep: &[BorrowedFd<'_>]) -> io::Result<()>;
    fn close_on_exec_from(&self, first: u32) -> io::Result<()>;
    /// A TCP listener on 127.0.0.1 in the network namespace of the caller.
    fn listen(&self, port: u16) -> io::Result<OwnedFd>;
    /// Sends a descriptor and the byte [`PASSED`] over a socket.
    fn pass(&self, socket: BorrowedFd<'_>, fd: BorrowedFd<'_>) -> io::Result<()>;
    fn set_ids(&self, uid: u32, gid: u32, groups: &[u32]) -> io::Result<()>;
    /// Empties the bounding, ambient, permitted, effective and inheritable sets.
    fn drop_capabilities(&self) -> io::Result<()>;
    fn no_new_privileges(&self) -> io::Result<()>;
    fn die_with_parent(&self) -> io::Result<()>;
    /// Whether the other end of a socket is gone.
    fn peer_is_gone(&self, fd: BorrowedFd<'_>) -> io::Result<bool>;
    fn change_dir(&self, path: &CStr) -> io::Result<()>;
    fn load_filter(&self, program: &[u8]) -> io::Result<()>;
    /// Returns only when it failed.
    fn exec(&self, program: &CStr, argv: &[&CStr], env: &[&CStr]) -> io::Error;
}
