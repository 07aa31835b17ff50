//! Groups on the unified hierarchy (Linux, admin-guide/cgroup-v2).

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::{
    CgroupFault, NEEDED, Usage, base_name, kill_listed, make_if_missing, mount_lines, own_dir, read_keyed,
    read_number, slot_name, write,
};
use crate::SlotLimits;
use crate::native::sys::Kernel;

/// Length of a CPU period, microseconds.
const PERIOD_US: u64 = 50_000;
/// The kernel's smallest quota, microseconds.
const MIN_QUOTA_US: u64 = 1_000;

/// The server's folder, and the groups above it that must hand the controllers down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unified {
    parent: PathBuf,
    base: PathBuf,
    /// `base` from the top of the hierarchy.
    path: String,
}

impl Unified {
    /// Finds where groups can be made: in the server's own group where it has the controllers,
    /// else at the top of the hierarchy.
    pub(super) fn find(k: &dyn Kernel, mounts: &str, own: &str, instance: &str) -> Result<Self, CgroupFault> {
        let missing = || CgroupFault::Missing(NEEDED.join(", "));
        let line = mount_lines(mounts).find(|l| l.kind == "cgroup2").ok_or_else(missing)?;
        let group = own.lines().find_map(|l| l.strip_prefix("0::")).ok_or_else(missing)?;
        let own = own_dir(line.point, line.root, group);
        // A service is moved into a leaf of its own group, so that the group can have children
        // with controllers; what counts is the group that was delegated to it.
        let own = match own.file_name().and_then(|n| n.to_str()) {
            Some(name) if name == server_leaf(instance) => own.parent().unwrap_or(&own).to_owned(),
            _ => own,
        };
        let top = PathBuf::from(line.point);
        let mut lacking = String::new();
        for parent in [own, top] {
            lacking = missing_controllers(k, &parent);
            if lacking.is_empty() {
                let base = parent.join(base_name(instance));
                let path = base.strip_prefix(line.point).unwrap_or(&base);
                let path = format!("/{}", path.display());
                return Ok(Self { parent, base, path });
            }
        }
        Err(CgroupFault::Missing(lacking))
    }

    pub(super) fn base(&self) -> &Path {
        &self.base
    }

    /// The server's folder as an OCI runtime is told it.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Enables the controllers down to the slots. A group with processes in it cannot hand
    /// controllers to its children (no internal processes rule), so this process moves into a
    /// leaf first where that is the hindrance.
    pub(super) fn prepare(&self, k: &dyn Kernel) -> Result<(), CgroupFault> {
        if let Err(refused) = enable(k, &self.parent) {
            let leaf = self.leaf();
            make_if_missing(k, &leaf)?;
            write(k, &leaf.join("cgroup.procs"), 0)?;
            enable(k, &self.parent).map_err(|_| refused)?;
        }
        make_if_missing(k, &self.base)?;
        enable(k, &self.base)
    }

    pub(super) fn make(&self, k: &dyn Kernel, index: u16) -> Result<OwnedFd, CgroupFault> {
        let dir = self.base.join(slot_name(index));
        k.make_dir(&dir).map_err(CgroupFault::io(&dir))?;
        k.open_dir(&dir).map_err(CgroupFault::io(&dir))
    }

    pub(super) fn limit(&self, k: &dyn Kernel, index: u16, limits: &SlotLimits) -> Result<(), CgroupFault> {
        let dir = self.base.join(slot_name(index));
        write(k, &dir.join("memory.max"), limits.memory_bytes)?;
        // Absent where the kernel has no swap accounting or no swap at all.
        let swap = dir.join("memory.swap.max");
        if k.exists(&swap) {
            write(k, &swap, 0)?;
        }
        let quota = (u64::from(limits.cpu_millis) * PERIOD_US / 1000).max(MIN_QUOTA_US);
        write(k, &dir.join("cpu.max"), format!("{quota} {PERIOD_US}"))?;
        write(k, &dir.join("pids.max"), limits.pids)
    }

    pub(super) fn usage(&self, k: &dyn Kernel, index: u16) -> Usage {
        let dir = self.base.join(slot_name(index));
        let kills = read_keyed(k, &dir.join("memory.events"), "oom_kill").unwrap_or(0);
        Usage { out_of_memory: kills > 0, memory_peak_bytes: read_number(k, &dir.join("memory.peak")) }
    }

    pub(super) fn freezer(&self, index: u16) -> PathBuf {
        self.base.join(slot_name(index)).join("cgroup.freeze")
    }

    pub(super) fn thaw(&self, k: &dyn Kernel, index: u16) -> io::Result<()> {
        match k.write(&self.freezer(index), b"0") {
            Err(e) if !super::is_gone(&e) => Err(e),
            _ => Ok(()),
        }
    }

    pub(super) fn kill_all(&self, k: &dyn Kernel, index: u16) -> io::Result<()> {
        let dir = self.base.join(slot_name(index));
        // Since Linux 5.14; it kills frozen processes as well.
        match k.write(&dir.join("cgroup.kill"), b"1") {
            Ok(()) => Ok(()),
            Err(e) if super::is_gone(&e) => kill_listed(k, &dir.join("cgroup.procs")),
            Err(e) => Err(e),
        }
    }

    /// Undoes the move of [`Self::prepare`]; what cannot be undone is the service manager's, which
    /// removes the whole group.
    pub(super) fn leave(&self, k: &dyn Kernel) {
        let leaf = self.leaf();
        if k.exists(&leaf) {
            let _ = write(k, &self.parent.join("cgroup.subtree_control"), "-memory -cpu -pids");
            let _ = write(k, &self.parent.join("cgroup.procs"), 0);
            let _ = k.remove_dir(&leaf);
        }
    }

    fn leaf(&self) -> PathBuf {
        let name = self.base.file_name().map(|n| n.to_string_lossy().into_owned());
        self.parent.join(format!("{}-server", name.unwrap_or_default()))
    }
}

fn server_leaf(instance: &str) -> String {
    format!("{}-server", base_name(instance))
}

fn missing_controllers(k: &dyn Kernel, group: &Path) -> String {
    let offered = k.read(&group.join("cgroup.controllers")).unwrap_or_default();
    let offered = String::from_utf8_lossy(&offered).into_owned();
    let lacks = |c: &&str| !offered.split_whitespace().any(|o| o == *c);
    NEEDED.into_iter().filter(lacks).collect::<Vec<_>>().join(", ")
}

fn enable(k: &dyn Kernel, group: &Path) -> Result<(), CgroupFault> {
    write(k, &group.join("cgroup.subtree_control"), "+memory +cpu +pids")
}
