//! What the native driver needs of a host, checked at start with a sentence for each thing that
//! is missing, and the folders it keeps below the data directory.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use rustix::thread::{CapabilitySet, CapabilitySets};

use super::super::mounts::{self, Skeleton};
use super::super::sys::{Kernel, Linux, MountFlags};
use super::super::userns;

/// Capabilities the spawner uses, and for what.
const NEEDED: [(CapabilitySet, &str); 9] = [
    (CapabilitySet::SYS_ADMIN, "CAP_SYS_ADMIN (namespaces and mounts)"),
    (CapabilitySet::SETUID, "CAP_SETUID (user namespaces)"),
    (CapabilitySet::SETGID, "CAP_SETGID (user namespaces)"),
    (CapabilitySet::SETPCAP, "CAP_SETPCAP (dropping capabilities)"),
    (CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN (loopback and egress)"),
    (CapabilitySet::MKNOD, "CAP_MKNOD (/dev of a sandbox)"),
    (CapabilitySet::CHOWN, "CAP_CHOWN (standard streams)"),
    (CapabilitySet::KILL, "CAP_KILL (ending sandboxes)"),
    (CapabilitySet::DAC_OVERRIDE, "CAP_DAC_OVERRIDE (layers of other owners)"),
];

/// What of the native driver's needs this process and host lack; each a sentence. Changes nothing.
pub(crate) fn check_host() -> Vec<String> {
    let mut faults = Vec::new();
    match rustix::thread::capabilities(None) {
        Ok(have) => {
            let lacking = NEEDED.iter().filter(|(c, _)| !have.effective.contains(*c));
            faults.extend(lacking.map(|(_, name)| format!("this process lacks {name}")));
        }
        Err(e) => faults.push(format!("the capabilities of this process cannot be read: {e}")),
    }
    for (file, zero) in [
        ("/proc/sys/user/max_user_namespaces", "user namespaces are switched off"),
        ("/proc/sys/user/max_net_namespaces", "network namespaces are switched off"),
    ] {
        if fs::read_to_string(file).is_ok_and(|text| text.trim() == "0") {
            faults.push(format!("{zero} on this host ({file} is 0)"));
        }
    }
    faults
}

/// Gives up every capability that the spawner has no use for, for good.
pub(super) fn keep_only_needed_capabilities() -> io::Result<()> {
    let keep = NEEDED.iter().fold(CapabilitySet::empty(), |all, (one, _)| all | *one);
    for number in 0..64 {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if keep.contains(capability) {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // The first number that this kernel does not know.
            Err(rustix::io::Errno::INVAL) => break,
            Err(e) => return Err(e.into()),
        }
    }
    let sets = CapabilitySets { effective: keep, permitted: keep, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets)?;
    Ok(rustix::thread::set_no_new_privs(true)?)
}

/// Makes the folders that trees are made from, owned by root alone.
pub(crate) fn prepare_folders(data_dir: &Path, egress_resolv_conf: &str) -> io::Result<()> {
    make_private(&data_dir.join(mounts::LAYERS))?;
    make_private(&data_dir.join("native"))?;
    make_open(&data_dir.join(mounts::IDENTITIES))?;
    let stage = data_dir.join(mounts::STAGE);
    for name in ["root", "dev", "proc"] {
        make_open(&stage.join(name))?;
    }
    for number in 0..=mounts::MAX_LAYERS {
        make_open(&stage.join(format!("l{number}")))?;
    }
    for (skeleton, resolv_conf) in
        [(Skeleton::None, "# This sandbox has no network.\n"), (Skeleton::Egress, egress_resolv_conf)]
    {
        let top = data_dir.join(mounts::SKELETONS).join(skeleton.name());
        for dir in ["dev", "proc", "sys", "tmp", "etc", "run/secrets", "run/picasso/identity"] {
            make_open(&top.join(dir))?;
        }
        let etc = top.join("etc");
        fs::write(etc.join("hostname"), format!("{}\n", super::super::child::HOST_NAME))?;
        fs::write(etc.join("hosts"), "127.0.0.1\tlocalhost picasso\n::1\tlocalhost\n")?;
        fs::write(etc.join("resolv.conf"), resolv_conf)?;
    }
    Ok(())
}

fn make_private(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    let found = fs::symlink_metadata(path)?;
    if !found.is_dir() || found.uid() != 0 || found.mode() & 0o077 != 0 {
        return Err(io::Error::other(format!(
            "{} must be a folder of root's with mode 0700; move it away and start again",
            path.display()
        )));
    }
    Ok(())
}

/// Their modes show inside a sandbox, so they are set whatever the umask is; outside nobody gets
/// past the folder above.
fn make_open(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)?;
    for dir in path.ancestors().take_while(|dir| !dir.ends_with("native")) {
        fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    }
    Ok(())
}

/// Tries, in the spawner's own namespaces, what only a try can tell: user namespaces and idmapped
/// mounts of the data directory's file system.
pub(super) fn try_idmap(base: u32) -> Result<(), String> {
    let userns = userns::make(base).map_err(|e| format!("making a user namespace: {e}"))?;
    let try_it = || {
        let dir = Linux.open_in(rustix::fs::CWD, mounts::SKELETONS)?;
        let tree = Linux.clone_tree(dir.as_fd(), Skeleton::None.name())?;
        Linux.restrict_mapped(tree.as_fd(), MountFlags::IMAGE, userns.as_fd())
    };
    try_it().map_err(|e: io::Error| {
        format!(
            "the data directory's file system cannot show files under other owners (idmapped \
             mounts): {e}; it needs Linux 5.19 or newer and ext4, xfs or btrfs"
        )
    })
}

/// A sentence where a crashed function's memory could reach a core-dump handler of this host.
pub(super) fn core_dump_warning() -> Option<String> {
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").ok()?;
    let hard = rustix::process::getrlimit(rustix::process::Resource::Core).maximum;
    (pattern.starts_with('|') && hard == Some(0)).then(|| {
        "core dumps of functions would be piped to this host's handler: the hard limit of core \
         files is 0, and only 1 stops that; start the server with LimitCORE=1 or more"
            .to_owned()
    })
}
