//! A sandbox's file tree, built inside its own mount namespace before any tenant code runs: what
//! is the same for all ahead, on the stage, the image's part when it is known.
//!
//! The root is a read-only overlay of the image's layers, each shown through an idmapped mount so
//! that its owners are the sandbox's own ids, below a skeleton layer that guarantees real folders
//! to mount on. Whatever the image put in their place is hidden by the skeleton; the folders are
//! opened without following links all the same.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::CWD;

use super::sys::{Kernel, MountFlags};
use crate::{IDENTITY_FOLDER, SECRET_FOLDER, SOCKET_FOLDER};

/// Layers one image may have; with the skeleton's it stays below overlayfs's own bound and one
/// page of mount options.
pub(crate) const MAX_LAYERS: usize = 126;

/// Bytes and inodes of `/dev/shm` at most; never more than `/tmp` has.
pub(crate) const SHM_BYTES: u64 = 16 << 20;
pub(crate) const SHM_INODES: u64 = 1024;

/// Bytes and inodes of [`SECRET_FOLDER`]: more than the longest strings of a process can fill.
const SECRET_BYTES: u64 = 4 << 20;
const SECRET_INODES: u64 = 1024;

/// Device nodes every sandbox gets (Linux, admin-guide/devices.txt).
pub(crate) const DEVICES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

const DEVICE_LINKS: [(&str, &str); 4] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// Parts of `/proc` that tell of the host and not of the sandbox (as runc masks them).
const MASKED_FILES: [&str; 11] = [
    "interrupts",
    "kallsyms",
    "kcore",
    "key-users",
    "keys",
    "kmsg",
    "latency_stats",
    "sched_debug",
    "sysrq-trigger",
    "timer_list",
    "vmallocinfo",
];
const MASKED_DIRS: [&str; 4] = ["acpi", "asound", "scsi", "driver"];

/// The folders a tree is made from, relative to the spawner's working directory, the data
/// directory. The child opens them itself: a descriptor of the spawner's would belong to another
/// mount namespace, whose mounts cannot be copied.
pub(crate) const LAYERS: &str = "layers";
/// Holds `root`, `dev`, `proc` and `l0` to `l126`: folders to mount on, in the sandbox's own
/// namespace only.
pub(crate) const STAGE: &str = "native/stage";
/// Holds the skeleton layers, [`Skeleton::name`].
pub(crate) const SKELETONS: &str = "native/skeleton";
/// Where the spawner mounts, for itself and its children, the file system in memory with the folders
/// of identities.
pub(crate) const IDENTITIES: &str = "native/identity";

/// The lowest common part of every root: folders to mount on, and `/etc` files of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Skeleton {
    /// For a sandbox without network.
    None,
    /// For one with egress: its `resolv.conf` names servers.
    Egress,
}

impl Skeleton {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Egress => "egress",
        }
    }
}

/// One part of `/proc` to hide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mask {
    File(&'static str),
    Dir(&'static str),
}

/// The masked parts that exist on this host.
pub(crate) fn masks(exists: impl Fn(&str) -> bool) -> Vec<Mask> {
    let files = MASKED_FILES.into_iter().filter(|n| exists(n)).map(Mask::File);
    let dirs = MASKED_DIRS.into_iter().filter(|n| exists(n)).map(Mask::Dir);
    files.chain(dirs).collect()
}

/// What one sandbox's tree is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tree<'a> {
    pub(crate) userns: BorrowedFd<'a>,
    /// Folder names of the image's layers, lowest first.
    pub(crate) layers: &'a [String],
    pub(crate) skeleton: Skeleton,
    /// Host id that is 0 inside.
    pub(crate) base_id: u32,
    pub(crate) tmp_bytes: u64,
    pub(crate) tmp_inodes: u64,
    /// Owner of [`SOCKET_FOLDER`] on the host, where the sandbox has one.
    pub(crate) socket_folder: Option<(u32, u32)>,
    /// Owner of [`SECRET_FOLDER`] on the host, where the sandbox has one.
    pub(crate) secrets: Option<(u32, u32)>,
    /// The name of its folder below [`IDENTITIES`], where it has one.
    pub(crate) identity: Option<&'a str>,
}

/// What was built into a tree for those outside of it and for the process itself.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) socket_folder: Option<OwnedFd>,
    /// The one way to write into the folder of secrets, which shows itself read-only.
    pub(crate) secrets: Option<OwnedFd>,
}

/// Which part of the tree could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TreePart {
    Layer,
    Root,
    Devices,
    Proc,
    Scratch,
    Pivot,
}

type PartResult<T> = Result<T, (TreePart, io::Error)>;

trait In<T> {
    fn of(self, part: TreePart) -> PartResult<T>;
}

impl<T> In<T> for io::Result<T> {
    fn of(self, part: TreePart) -> PartResult<T> {
        self.map_err(|e| (part, e))
    }
}

/// The folders a root is made from.
#[derive(Debug)]
pub(crate) struct Folders {
    stage: OwnedFd,
    skeletons: OwnedFd,
    layers: OwnedFd,
    identities: OwnedFd,
}

/// Opens the folders; the stage becomes the working directory.
pub(crate) fn open_folders(k: &dyn Kernel) -> PartResult<Folders> {
    let [stage, skeletons, layers, identities] =
        [STAGE, SKELETONS, LAYERS, IDENTITIES].map(|p| k.open_in(CWD, p));
    let (stage, skeletons) = (stage.of(TreePart::Root)?, skeletons.of(TreePart::Root)?);
    let (layers, identities) = (layers.of(TreePart::Root)?, identities.of(TreePart::Root)?);
    k.enter_dir(stage.as_fd()).of(TreePart::Root)?;
    Ok(Folders { stage, skeletons, layers, identities })
}

/// What was mounted ahead, and the folders a root is made from.
#[derive(Debug)]
pub(crate) struct Stage {
    folders: Folders,
    dev: OwnedFd,
    proc: OwnedFd,
}

/// Mounts what needs no image: `/dev`, `/proc`, its masks. The caller is in the sandbox's own
/// mount and pid namespaces, still with the host's privileges, and in the sandbox's cgroup, which
/// pays for every page of the scratch file systems. The stage becomes the working directory.
pub(crate) fn set_stage(k: &dyn Kernel, masks: &[Mask]) -> PartResult<Stage> {
    let folders = open_folders(k)?;
    let stage = folders.stage.as_fd();
    let dev = devices(k).of(TreePart::Devices)?;
    attach_at(k, dev.as_fd(), stage, "dev").of(TreePart::Devices)?;
    let proc = k.new_file_system("proc", &[], MountFlags::PROC).of(TreePart::Proc)?;
    attach_at(k, proc.as_fd(), stage, "proc").of(TreePart::Proc)?;
    mask_proc(k, masks).of(TreePart::Proc)?;
    Ok(Stage { folders, dev, proc })
}

/// Builds the tree on its stage and makes it the root.
pub(crate) fn build(k: &dyn Kernel, stage: &Stage, tree: &Tree<'_>) -> PartResult<Built> {
    let root = mount_root(k, &stage.folders, tree)?;
    attach_at(k, stage.dev.as_fd(), root.as_fd(), "dev").of(TreePart::Devices)?;
    let shm_bytes = tree.tmp_bytes.min(SHM_BYTES);
    let shm = scratch(k, tree.base_id, shm_bytes, tree.tmp_inodes.min(SHM_INODES)).of(TreePart::Scratch)?;
    attach_at(k, shm.as_fd(), root.as_fd(), "dev/shm").of(TreePart::Scratch)?;
    attach_at(k, stage.proc.as_fd(), root.as_fd(), "proc").of(TreePart::Proc)?;
    let tmp = scratch(k, tree.base_id, tree.tmp_bytes, tree.tmp_inodes).of(TreePart::Scratch)?;
    attach_at(k, tmp.as_fd(), root.as_fd(), "tmp").of(TreePart::Scratch)?;
    let folder = tree.socket_folder.map(|(uid, gid)| make_socket_folder(k, tmp.as_fd(), uid, gid));
    let socket_folder = folder.transpose().of(TreePart::Scratch)?;
    let secrets = tree.secrets.map(|(uid, gid)| make_secret_folder(k, root.as_fd(), uid, gid));
    let secrets = secrets.transpose().of(TreePart::Scratch)?;
    if let Some(name) = tree.identity {
        let identity = identity(k, &stage.folders, name).of(TreePart::Scratch)?;
        let path = IDENTITY_FOLDER.trim_start_matches('/');
        attach_at(k, identity.as_fd(), root.as_fd(), path).of(TreePart::Scratch)?;
    }
    k.enter_dir(root.as_fd()).of(TreePart::Pivot)?;
    k.pivot_here().of(TreePart::Pivot)?;
    Ok(Built { socket_folder, secrets })
}

/// The folder of an identity as its function sees it: what the engine replaces in it shows at once.
pub(crate) fn identity(k: &dyn Kernel, folders: &Folders, name: &str) -> io::Result<OwnedFd> {
    let shown = k.clone_tree(folders.identities.as_fd(), name)?;
    k.restrict(shown.as_fd(), MountFlags::DATA)?;
    Ok(shown)
}

/// A file system of the function's own that it sees through a read-only mount, which covers the one
/// that its process writes the files through before it becomes the function.
fn make_secret_folder(k: &dyn Kernel, root: BorrowedFd<'_>, uid: u32, gid: u32) -> io::Result<OwnedFd> {
    let path = SECRET_FOLDER.trim_start_matches('/');
    let options = [
        ("size", SECRET_BYTES.to_string()),
        ("nr_inodes", SECRET_INODES.to_string()),
        ("mode", "700".to_owned()),
        ("uid", uid.to_string()),
        ("gid", gid.to_string()),
    ];
    let mut writable = MountFlags::DATA;
    writable.read_only = false;
    let files = k.new_file_system("tmpfs", &options, writable)?;
    attach_at(k, files.as_fd(), root, path)?;
    let shown = k.clone_tree(root, path)?;
    k.restrict(shown.as_fd(), MountFlags::DATA)?;
    attach_at(k, shown.as_fd(), root, path)?;
    Ok(files)
}

fn make_socket_folder(k: &dyn Kernel, tmp: BorrowedFd<'_>, uid: u32, gid: u32) -> io::Result<OwnedFd> {
    let name = SOCKET_FOLDER.trim_start_matches("/tmp/");
    k.make_owned_dir(tmp, name, uid, gid)?;
    k.open_in(tmp, name)
}

/// Mounts the image's root at `root` in the stage, the working directory.
pub(crate) fn mount_root(k: &dyn Kernel, on: &Folders, tree: &Tree<'_>) -> PartResult<OwnedFd> {
    let stage = on.stage.as_fd();
    let skeleton = (on.skeletons.as_fd(), tree.skeleton.name());
    let image = tree.layers.iter().rev().map(|name| (on.layers.as_fd(), name.as_str()));
    let mut names = Vec::new();
    for (number, (dir, name)) in std::iter::once(skeleton).chain(image).enumerate() {
        let part = if number == 0 { TreePart::Root } else { TreePart::Layer };
        let layer = k.clone_tree(dir, name).of(part)?;
        k.restrict_mapped(layer.as_fd(), MountFlags::IMAGE, tree.userns).of(part)?;
        attach_at(k, layer.as_fd(), stage, &format!("l{number}")).of(part)?;
        names.push(format!("l{number}"));
    }
    let options = format!("lowerdir={}", names.join(":"));
    k.mount_overlay("root", &options).of(TreePart::Root)?;
    k.open_in(stage, "root").of(TreePart::Root)
}

fn attach_at(k: &dyn Kernel, tree: BorrowedFd<'_>, root: BorrowedFd<'_>, path: &str) -> io::Result<()> {
    let target = k.open_in(root, path)?;
    k.attach(tree, target.as_fd())
}

/// A `/dev` of the sandbox's own: nodes shared between sandboxes would let one lock or watch what
/// the other opens.
fn devices(k: &dyn Kernel) -> io::Result<OwnedFd> {
    let options = [("size", "64k".to_owned()), ("nr_inodes", "64".to_owned()), ("mode", "755".to_owned())];
    let mut writable = MountFlags::DEVICES;
    writable.read_only = false;
    let dev = k.new_file_system("tmpfs", &options, writable)?;
    for (name, major, minor) in DEVICES {
        k.make_device(dev.as_fd(), name, major, minor)?;
    }
    for (name, target) in DEVICE_LINKS {
        k.make_link(dev.as_fd(), name, target)?;
    }
    k.make_dir_in(dev.as_fd(), "shm")?;
    k.make_dir_in(dev.as_fd(), "mqueue")?;
    k.restrict(dev.as_fd(), MountFlags::DEVICES)?;
    Ok(dev)
}

fn scratch(k: &dyn Kernel, owner: u32, bytes: u64, inodes: u64) -> io::Result<OwnedFd> {
    let options = [
        ("size", bytes.to_string()),
        ("nr_inodes", inodes.to_string()),
        ("mode", "1777".to_owned()),
        ("uid", owner.to_string()),
        ("gid", owner.to_string()),
    ];
    k.new_file_system("tmpfs", &options, MountFlags::SCRATCH)
}

/// Hides parts of `/proc`, below the stage, where `dev` and `proc` are the sandbox's own mounts, so
/// no path in here is anybody else's.
fn mask_proc(k: &dyn Kernel, masks: &[Mask]) -> io::Result<()> {
    for mask in masks {
        match mask {
            Mask::File(name) => k.bind("dev/null", &format!("proc/{name}"))?,
            Mask::Dir(name) => k.bind("dev/mqueue", &format!("proc/{name}"))?,
        }
    }
    Ok(())
}
