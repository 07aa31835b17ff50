//! Groups on cgroup v1 and hybrid hosts: one hierarchy per controller
//! (Linux, admin-guide/cgroup-v1).

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::{
    CgroupFault, NEEDED, Usage, base_name, kill_listed, make_if_missing, mount_lines, own_dir, read_keyed,
    read_number, slot_name, write,
};
use crate::SlotLimits;
use crate::native::sys::Kernel;

/// Length of a CPU period, microseconds: short enough that a small share is not felt as a pause
/// of a tenth of a second.
const PERIOD_US: u64 = 50_000;
/// The kernel's smallest quota, microseconds.
const MIN_QUOTA_US: u64 = 1_000;
/// A group without processes that keeps the kernel's bandwidth control switched on: switching it
/// patches the kernel's code, which takes longer than a start.
const KEEPER: &str = "keep";

/// The server's folder in each hierarchy. Controllers mounted together share one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hierarchies {
    memory: PathBuf,
    cpu: PathBuf,
    pids: PathBuf,
    /// Where it is mounted: a frozen process must be thawed before it can be killed.
    freezer: Option<PathBuf>,
    /// Whether the kernel can limit memory and swap together.
    swap_limit: bool,
    /// The server's folder as an OCI runtime is told it: from the top of every hierarchy where it
    /// is the same in all, else relative to the group the server is in.
    path: String,
    /// Where a runtime makes groups of its own accord: the server's folder in the hierarchies we
    /// have no use for.
    others: Vec<PathBuf>,
}

impl Hierarchies {
    /// The hierarchies, if this host has all the needed controllers on v1.
    pub(super) fn find(k: &dyn Kernel, mounts: &str, own: &str, instance: &str) -> Option<Self> {
        let base = |controller: &str| {
            let line = mount_lines(mounts)
                .find(|l| l.kind == "cgroup" && l.options.split(',').any(|o| o == controller))?;
            let group = own.lines().find_map(|l| {
                let mut parts = l.splitn(3, ':').skip(1);
                let controllers = parts.next()?;
                controllers.split(',').any(|c| c == controller).then(|| parts.next())?
            })?;
            Some(own_dir(line.point, line.root, group).join(base_name(instance)))
        };
        let [memory, cpu, pids] = NEEDED.map(base);
        let memory = memory?;
        let swap_file = memory.parent()?.join("memory.memsw.limit_in_bytes");
        // The root group has no limits to write, but its children do; it shows the usage file.
        let usage_file = memory.parent()?.join("memory.memsw.usage_in_bytes");
        let swap_limit = k.exists(&swap_file) || k.exists(&usage_file);
        let (cpu, pids, freezer) = (cpu?, pids?, base("freezer"));
        let name = base_name(instance);
        let own_path = |base: &Path| {
            let line =
                mount_lines(mounts).filter(|l| l.kind == "cgroup").find(|l| base.starts_with(l.point))?;
            base.strip_prefix(line.point).ok().map(|path| format!("/{}", path.display()))
        };
        let paths = [&memory, &cpu, &pids].map(|base| own_path(base));
        let path = match &paths {
            [Some(path), cpu, pids] if cpu.as_ref() == Some(path) && pids.as_ref() == Some(path) => {
                path.clone()
            }
            _ => name.clone(),
        };
        let mut found = Self { memory, cpu, pids, freezer, swap_limit, path, others: Vec::new() };
        let others =
            mount_lines(mounts).filter(|l| matches!(l.kind, "cgroup" | "cgroup2")).filter_map(|line| {
                if found.path.starts_with('/') {
                    return Some(Path::new(line.point).join(&found.path[1..]));
                }
                let group = own.lines().find_map(|l| {
                    let mut parts = l.splitn(3, ':').skip(1);
                    let controllers = parts.next()?;
                    let is_it = if line.kind == "cgroup2" {
                        controllers.is_empty()
                    } else {
                        controllers.split(',').any(|c| line.options.split(',').any(|o| o == c))
                    };
                    is_it.then(|| parts.next())?
                })?;
                Some(own_dir(line.point, line.root, group).join(&name))
            });
        let others: Vec<PathBuf> = others.filter(|dir| !found.bases().contains(&dir.as_path())).collect();
        found.others = others;
        Some(found)
    }

    /// Forgets the hierarchies that only runtimes make groups in.
    pub(super) fn without_others(mut self) -> Self {
        self.others.clear();
        self
    }

    pub(super) fn others(&self) -> &[PathBuf] {
        &self.others
    }

    /// The server's folder as an OCI runtime is told it.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn limits_swap(&self) -> bool {
        self.swap_limit
    }

    pub(super) fn bases(&self) -> Vec<&Path> {
        let mut bases = vec![self.memory.as_path(), &self.cpu, &self.pids];
        bases.extend(self.freezer.as_deref());
        bases.sort_unstable();
        bases.dedup();
        bases
    }

    pub(super) fn prepare(&self, k: &dyn Kernel) -> Result<(), CgroupFault> {
        for base in self.bases() {
            make_if_missing(k, base)?;
        }
        // Old kernels count children only where this is switched on.
        let hierarchy = self.memory.join("memory.use_hierarchy");
        if read_number(k, &hierarchy) == Some(0) {
            write(k, &hierarchy, 1)?;
        }
        let keeper = self.cpu.join(KEEPER);
        make_if_missing(k, &keeper)?;
        write(k, &keeper.join("cpu.cfs_quota_us"), PERIOD_US)
    }

    pub(super) fn make(&self, k: &dyn Kernel, index: u16) -> Result<Vec<OwnedFd>, CgroupFault> {
        let mut tasks = Vec::new();
        for base in self.bases() {
            let dir = base.join(slot_name(index));
            k.make_dir(&dir).map_err(CgroupFault::io(&dir))?;
            let file = dir.join("tasks");
            tasks.push(k.open_for_write(&file).map_err(CgroupFault::io(&file))?);
        }
        Ok(tasks)
    }

    pub(super) fn limit(&self, k: &dyn Kernel, index: u16, limits: &SlotLimits) -> Result<(), CgroupFault> {
        let name = slot_name(index);
        let memory = self.memory.join(&name);
        write(k, &memory.join("memory.limit_in_bytes"), limits.memory_bytes)?;
        if self.swap_limit {
            write(k, &memory.join("memory.memsw.limit_in_bytes"), limits.memory_bytes)?;
        } else {
            write(k, &memory.join("memory.swappiness"), 0)?;
        }
        let cpu = self.cpu.join(&name);
        write(k, &cpu.join("cpu.cfs_period_us"), PERIOD_US)?;
        write(k, &cpu.join("cpu.cfs_quota_us"), quota_us(limits.cpu_millis))?;
        write(k, &self.pids.join(&name).join("pids.max"), limits.pids)
    }

    pub(super) fn usage(&self, k: &dyn Kernel, index: u16) -> Usage {
        let dir = self.memory.join(slot_name(index));
        let kills = read_keyed(k, &dir.join("memory.oom_control"), "oom_kill").unwrap_or(0);
        Usage {
            out_of_memory: kills > 0,
            memory_peak_bytes: read_number(k, &dir.join("memory.max_usage_in_bytes")),
        }
    }

    pub(super) fn freezer(&self, index: u16) -> Option<PathBuf> {
        Some(self.freezer.as_ref()?.join(slot_name(index)).join("freezer.state"))
    }

    pub(super) fn thaw(&self, k: &dyn Kernel, index: u16) -> io::Result<()> {
        match self.freezer(index).map(|state| k.write(&state, b"THAWED")) {
            Some(Err(e)) if !super::is_gone(&e) => Err(e),
            _ => Ok(()),
        }
    }

    pub(super) fn kill_all(&self, k: &dyn Kernel, index: u16) -> io::Result<()> {
        self.thaw(k, index)?;
        let name = slot_name(index);
        for base in self.bases() {
            kill_listed(k, &base.join(&name).join("cgroup.procs"))?;
        }
        Ok(())
    }

    /// Removes what [`Self::prepare`] made beside the slots.
    pub(super) fn remove_keeper(&self, k: &dyn Kernel) -> io::Result<bool> {
        super::remove_if_there(k, &self.cpu.join(KEEPER))
    }
}

fn quota_us(cpu_millis: u32) -> u64 {
    (u64::from(cpu_millis) * PERIOD_US / 1000).max(MIN_QUOTA_US)
}
