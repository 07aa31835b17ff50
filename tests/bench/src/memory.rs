//! Memory and CPU of processes and memory of the kernel, as `/proc` tells it.

use picasso_suites::host;
use picasso_testkit::picasso::Picasso;

use crate::stage::Fault;

/// A figure in KiB of a file of `Name:  123 kB` lines; 0 where there is none.
fn field(path: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::to_owned));
    line.and_then(|value| value.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

/// Resident memory of a process, KiB.
pub fn rss_kib(pid: u32) -> u64 {
    field(&format!("/proc/{pid}/status"), "VmRSS")
}

/// Memory of a process with its share of what it shares, KiB.
pub fn pss_kib(pid: u32) -> u64 {
    field(&format!("/proc/{pid}/smaps_rollup"), "Pss")
}

/// CPU time that a process has used, user and system, seconds.
#[expect(clippy::cast_precision_loss, reason = "a hundred ticks a second")]
pub fn cpu_seconds(pid: u32) -> Result<f64, Fault> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, which may hold anything, ends with the last bracket (proc(5)).
    let fields = stat.rsplit_once(") ").map(|(_, fields)| fields.split_whitespace()).ok_or("no stat")?;
    let ticks = fields.skip(11).take(2).map(str::parse::<f64>).sum::<Result<f64, _>>()?;
    Ok(ticks / rustix::param::clock_ticks_per_second() as f64)
}

/// What the kernel holds in slabs, KiB.
pub fn slab_kib() -> u64 {
    field("/proc/meminfo", "Slab")
}

/// Supervisor, engine, spawner and unpacker, without what runs in sandboxes.
pub fn server_processes(picasso: &Picasso) -> Vec<u32> {
    let own = |pid: &u32| {
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&command).contains("internal-")
    };
    // The spawner's children are sandboxes (or on their way to be one).
    let sandboxes = picasso.spawner_pid().map(host::descendants).unwrap_or_default();
    let children = host::descendants(picasso.pid());
    let children = children.into_iter().filter(|pid| own(pid) && !sandboxes.contains(pid));
    children.chain([picasso.pid()]).collect()
}

/// KiB as MB (10⁶ bytes).
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub fn megabytes(kib: u64) -> f64 {
    kib as f64 * 1024.0 / 1e6
}
