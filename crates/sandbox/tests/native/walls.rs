//! What a function can see and touch, and how it looks from the host.

use picasso_sandbox::Sandbox;

use crate::kit::{Native, pids_of, root, status_field};

#[tokio::test(flavor = "multi_thread")]
async fn there_are_no_other_processes_and_no_host_files() {
    if !root() {
        return;
    }
    let native = Native::start().await;
    let list = native.guest(&["ls", "/"]).await.stdout;
    let mut names: Vec<&str> = list.lines().filter(|n| !n.starts_with('.')).collect();
    names.sort_unstable();
    assert_eq!(names, ["dev", "etc", "guest", "proc", "run", "sys", "tmp"]);
    let list = native.guest(&["ls", "/proc"]).await.stdout;
    let pids: Vec<&str> = list.lines().filter(|n| n.bytes().all(|b| b.is_ascii_digit())).collect();
    assert_eq!(pids, ["1"]);
    let mounts = native.guest(&["cat", "/proc/self/mountinfo"]).await.stdout;
    assert!(!mounts.contains("picasso-native") && !mounts.contains("ext4"), "{mounts}");
    let cgroup = native.guest(&["cat", "/proc/self/cgroup"]).await.stdout;
    assert!(!cgroup.contains("picasso"), "{cgroup}");
    let list = native.guest(&["ls", "/sys"]).await.stdout;
    assert_eq!(list.lines().filter(|n| !n.starts_with('.')).count(), 0, "{list}");
    for file in ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/kallsyms", "/proc/kmsg"] {
        if std::path::Path::new(file).exists() {
            assert_eq!(native.guest(&["cat", file]).await.stdout, "", "{file}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_tmp_and_shm_can_be_written() {
    if !root() {
        return;
    }
    let native = Native::start().await;
    for path in [
        "/file",
        "/etc/hosts",
        "/dev/file",
        "/sys/file",
        "/guest",
        "/proc/sys/kernel/hostname",
        "/proc/sys/net/ipv4/ip_forward",
        "/proc/sysrq-trigger",
        "/proc/self/oom_score_adj",
    ] {
        for uid in [0, 1000] {
            let mut process = crate::kit::guest_process(&["write", path]);
            process.uid = uid;
            let ran = native.run(&process, crate::kit::limits()).await;
            assert!(!ran.stdout.contains("written"), "{uid}: {}", ran.stdout);
        }
    }
    assert_eq!(native.guest(&["write", "/tmp/f"]).await.stdout, "/tmp/f: written\n");
    assert_eq!(native.guest(&["write", "/dev/shm/f"]).await.stdout, "/dev/shm/f: written\n");
    assert_eq!(native.guest(&["write", "/dev/null"]).await.stdout, "/dev/null: written\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn from_the_host_sandboxes_have_disjoint_ids_and_nothing_to_abuse() {
    if !root() {
        return;
    }
    let (one, two) = (Native::start().await, Native::start().await);
    let (slot_a, _a) = one.started(&["sleep"]).await;
    let (slot_b, _b) = one.started(&["sleep"]).await;
    let (slot_c, _c) = two.started(&["sleep"]).await;
    let pids: Vec<u32> = [pids_of(&one.instance), pids_of(&two.instance)].concat();
    assert_eq!(pids.len(), 3);
    let mut ranges = Vec::new();
    for pid in pids {
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(status_field(pid, set), "0000000000000000", "{set}");
        }
        assert_eq!(status_field(pid, "Seccomp"), "2");
        assert_eq!(status_field(pid, "NoNewPrivs"), "1");
        let map = |file: &str| {
            let text = std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
            let numbers: Vec<u32> = text.split_whitespace().map(|n| n.parse().unwrap()).collect();
            assert_eq!((numbers[0], numbers[2]), (0, 65_536), "{text}");
            numbers[1]
        };
        assert_eq!(map("uid_map"), map("gid_map"));
        ranges.push(map("uid_map"));
        let uid = status_field(pid, "Uid");
        assert_eq!(uid.split_whitespace().next().unwrap(), (map("uid_map") + 1000).to_string());
        // Every namespace is another than ours, and all but the user's are owned by the host's.
        for namespace in ["pid", "mnt", "ipc", "uts", "net", "user", "cgroup"] {
            let link = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/{namespace}")).unwrap();
            assert_ne!(link(&pid.to_string()), link("self"), "{namespace}");
        }
    }
    ranges.sort_unstable();
    ranges.dedup();
    assert_eq!(ranges.len(), 3, "each has ids of its own");
    assert!(ranges.iter().all(|base| base % 65_536 == 0), "{ranges:?}");
    for (native, slot) in [(&one, slot_a), (&one, slot_b), (&two, slot_c)] {
        native.sandbox().remove(slot).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_without_egress_has_loopback_only() {
    if !root() {
        return;
    }
    let native = Native::start().await;
    let devices = native.guest(&["cat", "/proc/net/dev"]).await.stdout;
    let names: Vec<&str> =
        devices.lines().skip(2).filter_map(|l| l.split(':').next()).map(str::trim).collect();
    assert!(names.contains(&"lo"), "{devices}");
    assert!(names.iter().all(|n| ["lo", "sit0", "tunl0", "ip6tnl0"].contains(n)), "{devices}");
    let routes = native.guest(&["cat", "/proc/net/route"]).await.stdout;
    assert_eq!(routes.lines().count(), 1, "{routes}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_spawner_itself_has_only_what_it_needs_and_no_network() {
    if !root() {
        return;
    }
    let native = Native::start().await;
    let pid = native.spawner.id();
    let have = u64::from_str_radix(&status_field(pid, "CapEff"), 16).unwrap();
    for (number, name) in [(16, "SYS_MODULE"), (17, "SYS_RAWIO"), (22, "SYS_BOOT"), (25, "SYS_TIME")] {
        assert_eq!(have & (1 << number), 0, "CAP_{name}");
    }
    assert_eq!(status_field(pid, "CapBnd"), status_field(pid, "CapEff"));
    assert_eq!(status_field(pid, "Threads"), "1");
    let devices = std::fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap();
    assert!(!devices.contains("eth"), "{devices}");
}
