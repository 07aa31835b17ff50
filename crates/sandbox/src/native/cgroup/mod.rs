//! Control groups: memory, CPU and process limits of every sandbox, on v1, hybrid and v2 hosts.
//!
//! All groups of a server live below one folder named by its instance, `picasso-<instance>`, in
//! the group the server itself is in; each sandbox has `s<index>` there. On v1 the child writes
//! itself into the `tasks` files (a write to `cgroup.procs` waits about 9 ms for a grace period
//! when starts are sparse); on v2 the clone puts it there.

mod v1;
mod v2;

#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::protocol::FreezerKind;
use super::sys::Kernel;
use crate::SlotLimits;

/// Which controllers are needed.
pub(crate) const NEEDED: [&str; 3] = ["memory", "cpu", "pids"];

/// How this host's groups are laid out, and where the server's own are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cgroups {
    /// Controllers on v1 hierarchies (also on hybrid hosts).
    V1(v1::Hierarchies),
    /// The unified hierarchy.
    V2(v2::Unified),
}

/// One sandbox's group.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) join: Join,
    /// Opened for writing; `None` where this host has no freezer.
    pub(crate) freezer: Option<(FreezerKind, OwnedFd)>,
}

/// How a new process gets into its group.
#[derive(Debug)]
pub(crate) enum Join {
    /// It writes `0` into these files itself.
    Tasks(Vec<OwnedFd>),
    /// `clone3` puts it into this folder.
    Clone(OwnedFd),
}

/// What a group's counters told at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Usage {
    pub(crate) out_of_memory: bool,
    pub(crate) memory_peak_bytes: Option<u64>,
}

/// Why limits cannot be enforced on this host; a sentence for the operator.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CgroupFault {
    #[error(
        "this host offers no {0} control group controller; mount it (cgroup v1) or enable it in \
         cgroup.subtree_control of the group the server runs in (systemd: Delegate=yes)"
    )]
    Missing(String),
    #[error("{path}: {source}")]
    Io { path: String, source: io::Error },
    #[error("the processes of an earlier sandbox (cgroup s{0}) do not end after SIGKILL")]
    Stuck(u16),
}

impl CgroupFault {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.display().to_string();
        move |source| Self::Io { path, source }
    }
}

impl Cgroups {
    /// Finds out how this host lays its groups out, and where this process is in them. Changes
    /// nothing.
    pub(crate) fn detect(k: &dyn Kernel, instance: &str) -> Result<Self, CgroupFault> {
        Ok(match Self::detect_with_runtimes(k, instance)? {
            Self::V1(found) => Self::V1(found.without_others()),
            v2 @ Self::V2(_) => v2,
        })
    }

    /// The same, with the groups that an OCI runtime makes for a sandbox in hierarchies we have no
    /// use for: they are removed, too.
    pub(crate) fn detect_with_runtimes(k: &dyn Kernel, instance: &str) -> Result<Self, CgroupFault> {
        let mounts = read_text(k, "/proc/self/mountinfo")?;
        let own = read_text(k, "/proc/self/cgroup")?;
        if let Some(found) = v1::Hierarchies::find(k, &mounts, &own, instance) {
            return Ok(Self::V1(found));
        }
        v2::Unified::find(k, &mounts, &own, instance).map(Self::V2)
    }

    /// A slot's group as an OCI runtime is told it (`linux.cgroupsPath`).
    pub(crate) fn path(&self, index: u16) -> String {
        let base = match self {
            Self::V1(h) => h.path(),
            Self::V2(u) => u.path(),
        };
        format!("{base}/{}", slot_name(index))
    }

    /// Whether memory and swap can be limited together.
    pub(crate) fn limits_swap(&self) -> bool {
        match self {
            Self::V1(h) => h.limits_swap(),
            // Runtimes look for themselves there.
            Self::V2(_) => true,
        }
    }

    /// Makes the folder all groups of this server live in.
    pub(crate) fn prepare(&self, k: &dyn Kernel) -> Result<(), CgroupFault> {
        match self {
            Self::V1(h) => h.prepare(k),
            Self::V2(u) => u.prepare(k),
        }
    }

    /// Makes the group of a slot, without limits yet.
    pub(crate) fn make(&self, k: &dyn Kernel, index: u16) -> Result<Group, CgroupFault> {
        let (join, freezer) = match self {
            Self::V1(h) => (Join::Tasks(h.make(k, index)?), h.freezer(index)),
            Self::V2(u) => (Join::Clone(u.make(k, index)?), Some(u.freezer(index))),
        };
        let kind = match self {
            Self::V1(_) => FreezerKind::V1,
            Self::V2(_) => FreezerKind::V2,
        };
        // A host without one freezes nothing.
        let freezer = freezer.and_then(|path| k.open_for_write(&path).ok()).map(|fd| (kind, fd));
        Ok(Group { join, freezer })
    }

    /// Sets a group's limits; before any process is in it.
    pub(crate) fn limit(&self, k: &dyn Kernel, index: u16, limits: &SlotLimits) -> Result<(), CgroupFault> {
        match self {
            Self::V1(h) => h.limit(k, index, limits),
            Self::V2(u) => u.limit(k, index, limits),
        }
    }

    /// Reads a group's counters.
    pub(crate) fn usage(&self, k: &dyn Kernel, index: u16) -> Usage {
        match self {
            Self::V1(h) => h.usage(k, index),
            Self::V2(u) => u.usage(k, index),
        }
    }

    /// Lets frozen processes run again and sends SIGKILL to every process of a group.
    pub(crate) fn kill_all(&self, k: &dyn Kernel, index: u16) -> io::Result<()> {
        match self {
            Self::V1(h) => h.kill_all(k, index),
            Self::V2(u) => u.kill_all(k, index),
        }
    }

    /// Lets frozen processes run again.
    pub(crate) fn thaw(&self, k: &dyn Kernel, index: u16) -> io::Result<()> {
        match self {
            Self::V1(h) => h.thaw(k, index),
            Self::V2(u) => u.thaw(k, index),
        }
    }

    /// Removes a group; `false` while the kernel still has processes of it to bury.
    pub(crate) fn remove(&self, k: &dyn Kernel, index: u16) -> io::Result<bool> {
        let mut gone = true;
        for dir in self.everywhere().iter().map(|base| base.join(slot_name(index))) {
            gone &= remove_if_there(k, &dir)?;
        }
        Ok(gone)
    }

    /// Removes the folder of this server; `false` while something is left in it.
    pub(crate) fn remove_base(&self, k: &dyn Kernel) -> io::Result<bool> {
        let mut gone = match self {
            Self::V1(h) => h.remove_keeper(k)?,
            Self::V2(_) => true,
        };
        for base in self.everywhere() {
            gone &= remove_if_there(k, base)?;
        }
        Ok(gone)
    }

    /// Takes this process back out of the group it was moved to, where it was.
    pub(crate) fn leave(&self, k: &dyn Kernel) {
        if let Self::V2(unified) = self {
            unified.leave(k);
        }
    }

    /// Slots whose groups exist, by this or an earlier process of the same instance.
    pub(crate) fn existing(&self, k: &dyn Kernel) -> Vec<u16> {
        let mut found: Vec<u16> = self
            .everywhere()
            .iter()
            .flat_map(|base| k.dirs(base).unwrap_or_default())
            .filter_map(|name| name.strip_prefix('s')?.parse().ok())
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The server's folder, wherever there may be one.
    fn everywhere(&self) -> Vec<&Path> {
        match self {
            Self::V1(h) => h.bases().into_iter().chain(h.others().iter().map(PathBuf::as_path)).collect(),
            Self::V2(u) => vec![u.base()],
        }
    }
}

fn slot_name(index: u16) -> String {
    format!("s{index}")
}

fn base_name(instance: &str) -> String {
    format!("picasso-{instance}")
}

fn read_text(k: &dyn Kernel, path: &str) -> Result<String, CgroupFault> {
    let bytes = k.read(Path::new(path)).map_err(CgroupFault::io(Path::new(path)))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn read_number(k: &dyn Kernel, path: &Path) -> Option<u64> {
    String::from_utf8(k.read(path).ok()?).ok()?.trim().parse().ok()
}

/// The number after `key` in a flat keyed file (`oom_kill 3`).
fn read_keyed(k: &dyn Kernel, path: &Path, key: &str) -> Option<u64> {
    let text = String::from_utf8(k.read(path).ok()?).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.parse().ok())
}

fn write(k: &dyn Kernel, path: &Path, value: impl std::fmt::Display) -> Result<(), CgroupFault> {
    k.write(path, format!("{value}").as_bytes()).map_err(CgroupFault::io(path))
}

fn make_if_missing(k: &dyn Kernel, path: &Path) -> Result<(), CgroupFault> {
    match k.make_dir(path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(CgroupFault::io(path)(e)),
        _ => Ok(()),
    }
}

/// Whether a group was not there, or was removed while it was looked at: a file that is open then
/// answers ENODEV (kernfs). Another process may be burying the same groups.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ENODEV)
}

fn remove_if_there(k: &dyn Kernel, path: &Path) -> io::Result<bool> {
    match k.remove_dir(path) {
        Ok(()) => Ok(true),
        Err(e) if is_gone(&e) => Ok(true),
        Err(e) if matches!(e.raw_os_error(), Some(libc::EBUSY | libc::ENOTEMPTY)) => Ok(false),
        Err(e) => Err(e),
    }
}

fn kill_listed(k: &dyn Kernel, procs: &Path) -> io::Result<()> {
    let text = match k.read(procs) {
        Ok(text) => text,
        Err(e) if is_gone(&e) => return Ok(()),
        Err(e) => return Err(e),
    };
    for pid in String::from_utf8_lossy(&text).lines().filter_map(|line| line.parse().ok()) {
        match k.kill(pid) {
            Err(e) if e.raw_os_error() != Some(libc::ESRCH) => return Err(e),
            _ => {}
        }
    }
    Ok(())
}

/// A line of `/proc/self/mountinfo`: the mounted root, the mount point, the kind of file system
/// and its own options (proc_pid_mountinfo(5)).
struct MountLine<'a> {
    root: &'a str,
    point: &'a str,
    kind: &'a str,
    options: &'a str,
}

fn mount_lines(text: &str) -> impl Iterator<Item = MountLine<'_>> {
    text.lines().filter_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(3);
        let mut after = after.split(' ');
        Some(MountLine {
            root: before.next()?,
            point: before.next()?,
            kind: after.next()?,
            options: after.nth(1)?,
        })
    })
}

/// The folder of the group `own` in a hierarchy of which only `root` is mounted at `point`.
fn own_dir(point: &str, root: &str, own: &str) -> PathBuf {
    let below = if root == "/" { own } else { own.strip_prefix(root).unwrap_or("") };
    Path::new(point).join(below.trim_start_matches('/'))
}
