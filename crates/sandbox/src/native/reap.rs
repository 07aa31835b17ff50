//! Removing what an earlier or dead process of the same instance left: processes and cgroups.
//! Mounts and namespaces go with their processes.

use std::time::{Duration, Instant};

use super::cgroup::{CgroupFault, Cgroups};
use super::sys::Kernel;

/// How long the kernel may take to bury killed processes.
const PATIENCE: Duration = Duration::from_secs(10);

/// Kills and removes every sandbox of this instance; how many there were.
pub(crate) fn sandboxes(k: &dyn Kernel, cgroups: &Cgroups) -> Result<u32, CgroupFault> {
    let left = cgroups.existing(k);
    let deadline = Instant::now() + PATIENCE;
    for index in &left {
        while !remove_one(k, cgroups, *index)? {
            if Instant::now() > deadline {
                return Err(CgroupFault::Stuck(*index));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    Ok(u32::try_from(left.len()).unwrap_or(u32::MAX))
}

fn remove_one(k: &dyn Kernel, cgroups: &Cgroups, index: u16) -> Result<bool, CgroupFault> {
    let fault = |source| CgroupFault::Io { path: format!("cgroup s{index}"), source };
    cgroups.kill_all(k, index).map_err(fault)?;
    cgroups.remove(k, index).map_err(fault)
}
