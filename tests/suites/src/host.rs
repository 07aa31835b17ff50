//! What a server leaves on its host, looked at as root: processes, cgroups, mounts, namespaces,
//! interfaces.

use std::collections::BTreeSet;
use std::path::Path;

use picasso_testkit::picasso::Picasso;

/// Everything on this host that belongs to the server with an instance id, as readable lines.
pub fn traces_of(instance: &str) -> Vec<String> {
    let mut traces = cgroups_of(instance);
    traces.extend(interfaces_of(instance));
    traces
}

/// What is mounted at or below a folder, in this test's own view of the host. A namespace that
/// outlived its processes would be held by such a mount.
pub fn mounts_below(folder: &Path) -> Vec<String> {
    let table = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let points = table.lines().filter_map(|line| line.split(' ').nth(1));
    points.filter(|point| Path::new(point).starts_with(folder)).map(str::to_owned).collect()
}

/// The cgroup folders whose path names the instance, in every hierarchy.
pub fn cgroups_of(instance: &str) -> Vec<String> {
    let mut found = Vec::new();
    folders_named(Path::new("/sys/fs/cgroup"), instance, 6, &mut found);
    found
}

fn folders_named(folder: &Path, part: &str, depth: usize, found: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        if entry.path().to_string_lossy().contains(part) {
            found.push(entry.path().display().to_string());
        }
        if depth > 0 {
            folders_named(&entry.path(), part, depth - 1, found);
        }
    }
}

fn interfaces_of(instance: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir("/sys/class/net") else { return Vec::new() };
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.contains(instance)).map(|name| format!("interface {name}")).collect()
}

/// Sandbox cgroups (`s<slot>`) of an instance in which a function runs now. A process that sits
/// ready in a slot is a copy of the spawner and still shows the server's own program.
pub fn running_sandboxes(instance: &str) -> usize {
    let server = Picasso::binary().canonicalize().ok();
    let is_function = |pid: &str| {
        std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|program| Some(program) != server)
    };
    let busy = |folder: &String| {
        folder.contains("/pids/")
            && std::fs::read_to_string(Path::new(folder).join("cgroup.procs"))
                .is_ok_and(|processes| processes.lines().any(is_function))
    };
    cgroups_of(instance).iter().filter(|folder| busy(folder)).count()
}

/// The command line of every process, arguments joined by spaces.
pub fn command_lines() -> Vec<(u32, String)> {
    each_process(|pid| {
        let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        Some((pid, String::from_utf8_lossy(&bytes).replace('\0', " ")))
    })
}

/// The environment of every process, as one text each.
pub fn environments() -> Vec<(u32, String)> {
    each_process(|pid| {
        let bytes = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
        Some((pid, String::from_utf8_lossy(&bytes).replace('\0', "\n")))
    })
}

/// The children of a process, with their children.
pub fn descendants(pid: u32) -> BTreeSet<u32> {
    let parents = each_process(|pid| Some((pid, parent_of(pid)?)));
    let mut found = BTreeSet::from([pid]);
    loop {
        let more: Vec<u32> = parents
            .iter()
            .filter(|(child, parent)| found.contains(parent) && !found.contains(child))
            .map(|(child, _)| *child)
            .collect();
        if more.is_empty() {
            found.remove(&pid);
            return found;
        }
        found.extend(more);
    }
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold blanks and brackets; the fields after its last bracket do not.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn each_process<T>(look: impl FnMut(u32) -> Option<T>) -> Vec<T> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_string_lossy().parse().ok());
    pids.filter_map(look).collect()
}
