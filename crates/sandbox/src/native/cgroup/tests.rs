//! Cgroups of hosts unlike this one.

use std::path::Path;

use super::*;
use crate::native::recorder::Recorder;

const HYBRID_MOUNTS: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
37 31 0:34 / /sys/fs/cgroup/freezer rw,relatime - cgroup cgroup rw,freezer
39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";
const HYBRID_OWN: &str = "9:cpu,cpuacct:/\n8:pids:/\n6:freezer:/\n4:memory:/jobs/7\n0::/\n";
const V2_MOUNTS: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";

const LIMITS: SlotLimits = SlotLimits {
    memory_bytes: 134_217_728,
    cpu_millis: 250,
    pids: 64,
    tmp_bytes: 1 << 20,
    tmp_inodes: 100,
    nofile: 256,
};

fn hybrid() -> Recorder {
    Recorder::default()
        .file("/proc/self/mountinfo", HYBRID_MOUNTS)
        .file("/proc/self/cgroup", HYBRID_OWN)
        .file("/sys/fs/cgroup/memory/jobs/7/memory.memsw.limit_in_bytes", "9223372036854771712\n")
}

fn v2(own: &str) -> Recorder {
    Recorder::default()
        .file("/proc/self/mountinfo", V2_MOUNTS)
        .file("/proc/self/cgroup", &format!("0::{own}\n"))
}

#[test]
fn a_hybrid_host_limits_on_its_v1_hierarchies_below_the_servers_own_groups() {
    let k = hybrid();
    let cgroups = Cgroups::detect(&k, "0badcafe").unwrap();
    cgroups.prepare(&k).unwrap();
    assert_eq!(
        k.take(),
        [
            "mkdir /sys/fs/cgroup/cpu,cpuacct/picasso-0badcafe",
            "mkdir /sys/fs/cgroup/freezer/picasso-0badcafe",
            "mkdir /sys/fs/cgroup/memory/jobs/7/picasso-0badcafe",
            "mkdir /sys/fs/cgroup/pids/picasso-0badcafe",
            "mkdir /sys/fs/cgroup/cpu,cpuacct/picasso-0badcafe/keep",
            "write /sys/fs/cgroup/cpu,cpuacct/picasso-0badcafe/keep/cpu.cfs_quota_us 50000",
        ]
    );
    let group = cgroups.make(&k, 3).unwrap();
    let Join::Tasks(files) = group.join else { panic!("v1 groups are joined by tasks files") };
    assert_eq!(files.len(), 4);
    k.take();
    cgroups.limit(&k, 3, &LIMITS).unwrap();
    assert_eq!(
        k.take(),
        [
            "write /sys/fs/cgroup/memory/jobs/7/picasso-0badcafe/s3/memory.limit_in_bytes 134217728",
            "write /sys/fs/cgroup/memory/jobs/7/picasso-0badcafe/s3/memory.memsw.limit_in_bytes 134217728",
            "write /sys/fs/cgroup/cpu,cpuacct/picasso-0badcafe/s3/cpu.cfs_period_us 50000",
            "write /sys/fs/cgroup/cpu,cpuacct/picasso-0badcafe/s3/cpu.cfs_quota_us 12500",
            "write /sys/fs/cgroup/pids/picasso-0badcafe/s3/pids.max 64",
        ]
    );
}

#[test]
fn without_swap_accounting_v1_forbids_swapping_instead() {
    let k =
        Recorder::default().file("/proc/self/mountinfo", HYBRID_MOUNTS).file("/proc/self/cgroup", HYBRID_OWN);
    let cgroups = Cgroups::detect(&k, "0badcafe").unwrap();
    cgroups.limit(&k, 0, &LIMITS).unwrap();
    let done = k.take();
    assert!(done.iter().any(|c| c.ends_with("memory.swappiness 0")), "{done:?}");
    assert!(!done.iter().any(|c| c.contains("memsw")), "{done:?}");
}

#[test]
fn a_v1_group_is_thawed_before_it_is_killed() {
    let k = hybrid().file("/sys/fs/cgroup/pids/picasso-0badcafe/s1/cgroup.procs", "41\n42\n");
    let cgroups = Cgroups::detect(&k, "0badcafe").unwrap();
    cgroups.kill_all(&k, 1).unwrap();
    assert_eq!(
        k.take(),
        ["write /sys/fs/cgroup/freezer/picasso-0badcafe/s1/freezer.state THAWED", "kill 41", "kill 42"]
    );
}

#[test]
fn v1_tells_memory_kills_by_the_kernels_counter() {
    let memory = "/sys/fs/cgroup/memory/jobs/7/picasso-0badcafe/s2";
    let k = hybrid()
        .file(&format!("{memory}/memory.oom_control"), "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
        .file(&format!("{memory}/memory.max_usage_in_bytes"), "4096\n");
    let cgroups = Cgroups::detect(&k, "0badcafe").unwrap();
    let usage = Usage { out_of_memory: true, memory_peak_bytes: Some(4096) };
    assert_eq!(cgroups.usage(&k, 2), usage);
    assert_eq!(cgroups.usage(&k, 9), Usage::default());
}

#[test]
fn in_a_container_only_the_part_below_the_mounted_root_counts() {
    let mounts = "\
35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory
36 31 0:33 /docker/abc /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu
39 31 0:36 /docker/abc /sys/fs/cgroup/pids ro - cgroup cgroup rw,pids
";
    let own = "3:memory:/docker/abc/x\n2:cpu:/docker/abc\n1:pids:/docker/abc\n";
    let k = Recorder::default().file("/proc/self/mountinfo", mounts).file("/proc/self/cgroup", own);
    let cgroups = Cgroups::detect(&k, "0badcafe").unwrap();
    cgroups.make(&k, 0).unwrap();
    let done = k.take();
    assert!(done.contains(&"mkdir /sys/fs/cgroup/memory/x/picasso-0badcafe/s0".to_owned()), "{done:?}");
    assert!(done.contains(&"mkdir /sys/fs/cgroup/cpu/picasso-0badcafe/s0".to_owned()), "{done:?}");
}

#[test]
fn a_delegated_service_on_v2_moves_into_a_leaf_and_hands_the_controllers_down() {
    let own = "/sys/fs/cgroup/system.slice/picasso.service";
    let k = v2("/system.slice/picasso.service")
        .file(&format!("{own}/cgroup.controllers"), "cpuset cpu io memory pids\n")
        .failing(&format!("write {own}/cgroup.subtree_control"), libc::EBUSY);
    let cgroups = Cgroups::detect(&k, "0badcafe").unwrap();
    assert!(cgroups.prepare(&k).is_err(), "another process of the service is in the way");
    assert_eq!(
        k.take(),
        [
            format!("write {own}/cgroup.subtree_control +memory +cpu +pids"),
            format!("mkdir {own}/picasso-0badcafe-server"),
            format!("write {own}/picasso-0badcafe-server/cgroup.procs 0"),
            format!("write {own}/cgroup.subtree_control +memory +cpu +pids"),
        ]
    );
    k.heal();
    cgroups.prepare(&k).unwrap();
    assert_eq!(
        k.take(),
        [
            format!("write {own}/cgroup.subtree_control +memory +cpu +pids"),
            format!("mkdir {own}/picasso-0badcafe"),
            format!("write {own}/picasso-0badcafe/cgroup.subtree_control +memory +cpu +pids"),
        ]
    );
}

#[test]
fn the_servers_leaf_is_not_taken_for_the_group_that_was_delegated() {
    let k = v2("/system.slice/picasso.service/picasso-0badcafe-server")
        .file("/sys/fs/cgroup/system.slice/picasso.service/cgroup.controllers", "cpu memory pids\n");
    let cgroups = Cgroups::detect(&k, "0badcafe").unwrap();
    cgroups.make(&k, 1).unwrap();
    assert_eq!(k.take()[0], "mkdir /sys/fs/cgroup/system.slice/picasso.service/picasso-0badcafe/s1");
}

#[test]
fn a_session_without_controllers_falls_back_to_the_top_of_v2() {
    let k = v2("/user.slice/session-1.scope")
        .file("/sys/fs/cgroup/user.slice/session-1.scope/cgroup.controllers", "\n")
        .file("/sys/fs/cgroup/cgroup.controllers", "cpu memory pids\n");
    let cgroups = Cgroups::detect(&k, "0badcafe").unwrap();
    let group = cgroups.make(&k, 5).unwrap();
    assert!(matches!(group.join, Join::Clone(_)), "v2 groups are joined by the clone");
    assert_eq!(
        k.take(),
        [
            "mkdir /sys/fs/cgroup/picasso-0badcafe/s5",
            "opendir /sys/fs/cgroup/picasso-0badcafe/s5",
            "open /sys/fs/cgroup/picasso-0badcafe/s5/cgroup.freeze",
        ]
    );
}

#[test]
fn v2_limits_memory_without_swap_cpu_and_processes() {
    let slot = "/sys/fs/cgroup/picasso-0badcafe/s5";
    let k = v2("/")
        .file("/sys/fs/cgroup/cgroup.controllers", "cpu memory pids\n")
        .file(&format!("{slot}/memory.swap.max"), "max\n")
        .file(&format!("{slot}/memory.events"), "low 0\noom 1\noom_kill 1\n")
        .file(&format!("{slot}/memory.peak"), "8192\n");
    let cgroups = Cgroups::detect(&k, "0badcafe").unwrap();
    cgroups.limit(&k, 5, &LIMITS).unwrap();
    assert_eq!(
        k.take(),
        [
            format!("write {slot}/memory.max 134217728"),
            format!("write {slot}/memory.swap.max 0"),
            format!("write {slot}/cpu.max 12500 50000"),
            format!("write {slot}/pids.max 64"),
        ]
    );
    let usage = Usage { out_of_memory: true, memory_peak_bytes: Some(8192) };
    assert_eq!(cgroups.usage(&k, 5), usage);
    cgroups.kill_all(&k, 5).unwrap();
    assert_eq!(k.take(), [format!("write {slot}/cgroup.kill 1")]);
}

#[test]
fn v2_before_cgroup_kill_kills_what_is_listed() {
    let slot = "/sys/fs/cgroup/picasso-0badcafe/s5";
    let k = v2("/")
        .file("/sys/fs/cgroup/cgroup.controllers", "cpu memory pids\n")
        .file(&format!("{slot}/cgroup.procs"), "7\n")
        .failing(&format!("write {slot}/cgroup.kill"), libc::ENOENT);
    let cgroups = Cgroups::detect(&k, "0badcafe").unwrap();
    cgroups.kill_all(&k, 5).unwrap();
    assert_eq!(k.take().last().unwrap(), "kill 7");
}

#[test]
fn a_group_that_is_removed_while_it_is_looked_at_is_gone() {
    let procs = "/sys/fs/cgroup/pids/picasso-0badcafe/s1/cgroup.procs";
    let k = hybrid().failing(&format!("read {procs}"), libc::ENODEV);
    let cgroups = Cgroups::detect(&k, "0badcafe").unwrap();
    cgroups.kill_all(&k, 1).unwrap();
    let slot = "/sys/fs/cgroup/picasso-0badcafe/s5";
    let k = v2("/")
        .file("/sys/fs/cgroup/cgroup.controllers", "cpu memory pids\n")
        .failing(&format!("write {slot}/cgroup.kill"), libc::ENODEV);
    let cgroups = Cgroups::detect(&k, "0badcafe").unwrap();
    cgroups.kill_all(&k, 5).unwrap();
}

#[test]
fn a_host_without_a_controller_says_which_and_what_to_do() {
    let k = v2("/").file("/sys/fs/cgroup/cgroup.controllers", "cpu io\n");
    let fault = Cgroups::detect(&k, "0badcafe").unwrap_err().to_string();
    assert!(fault.contains("memory, pids") && fault.contains("Delegate=yes"), "{fault}");
    let none = Recorder::default().file("/proc/self/mountinfo", "").file("/proc/self/cgroup", "");
    assert!(Cgroups::detect(&none, "0badcafe").is_err());
}

#[test]
fn a_busy_group_is_tried_again_and_a_missing_one_is_gone() {
    let k = hybrid().failing("rmdir /sys/fs/cgroup/pids/picasso-0badcafe/s1", libc::EBUSY);
    let cgroups = Cgroups::detect(&k, "0badcafe").unwrap();
    cgroups.make(&k, 1).unwrap();
    assert!(!cgroups.remove(&k, 1).unwrap());
    k.heal();
    assert!(cgroups.remove(&k, 1).unwrap());
    assert!(cgroups.remove(&k, 1).unwrap());
}

#[test]
fn only_groups_of_this_instance_are_found_for_reaping() {
    let k = hybrid()
        .dir("/sys/fs/cgroup/pids/picasso-0badcafe/s7")
        .dir("/sys/fs/cgroup/memory/jobs/7/picasso-0badcafe/s9")
        .dir("/sys/fs/cgroup/cpu,cpuacct/picasso-0badcafe/keep")
        .dir("/sys/fs/cgroup/pids/picasso-12345678/s1");
    let cgroups = Cgroups::detect(&k, "0badcafe").unwrap();
    assert_eq!(cgroups.existing(&k), [7, 9]);
    assert_eq!(crate::native::reap::sandboxes(&k, &cgroups).unwrap(), 2);
    assert!(!k.exists(Path::new("/sys/fs/cgroup/pids/picasso-0badcafe/s7")));
    assert!(k.exists(Path::new("/sys/fs/cgroup/pids/picasso-12345678/s1")));
}

#[test]
fn a_runtime_is_told_the_group_and_what_it_makes_elsewhere_is_removed() {
    // The server is in another group of one hierarchy: the path must be relative to its own.
    let k = hybrid();
    let cgroups = Cgroups::detect_with_runtimes(&k, "0badcafe").unwrap();
    assert_eq!(cgroups.path(5), "picasso-0badcafe/s5");
    assert!(cgroups.remove(&k, 5).unwrap());
    let unified = "/sys/fs/cgroup/unified/picasso-0badcafe/s5";
    let done = k.take();
    assert!(done.contains(&format!("rmdir {unified}")), "{done:?}");

    let k = hybrid().file("/proc/self/cgroup", &HYBRID_OWN.replace("/jobs/7", "/"));
    let cgroups = Cgroups::detect_with_runtimes(&k, "0badcafe").unwrap();
    assert_eq!(cgroups.path(5), "/picasso-0badcafe/s5");

    // The native driver makes none there and looks for none.
    let cgroups = Cgroups::detect(&k, "0badcafe").unwrap();
    cgroups.remove(&k, 5).unwrap();
    let done = k.take();
    assert!(!done.iter().any(|call| call.contains("unified")), "{done:?}");

    let k = v2("/").file("/sys/fs/cgroup/cgroup.controllers", "cpu memory pids\n");
    assert_eq!(Cgroups::detect_with_runtimes(&k, "0badcafe").unwrap().path(5), "/picasso-0badcafe/s5");
}
