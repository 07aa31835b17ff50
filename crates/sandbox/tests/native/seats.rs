//! Processes that sit ready in slots nobody was given yet.

use std::path::Path;
use std::time::Duration;

use picasso_sandbox::supervisor::NativeSettings;
use picasso_sandbox::{Sandbox, SandboxError};

use crate::kit::{Native, guest_process, pids_of, root, seats_of, status_field, until};

fn ready(ready_slots: u16) -> NativeSettings {
    NativeSettings { ready_slots, ready_egress_slots: 0, max_slots: 8, runtime: None }
}

async fn seated(native: &Native, count: usize) -> Vec<u32> {
    until("processes sit ready", || {
        let seats = seats_of(&native.instance);
        // Seated means asleep, waiting for its line, in namespaces of its own.
        seats.len() == count && seats.iter().all(|pid| status_field(*pid, "State").starts_with('S'))
    })
    .await;
    seats_of(&native.instance)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seated_process_is_small_and_holds_nothing_of_the_spawners() {
    if !root() {
        return;
    }
    let native = Native::with(ready(2)).await;
    for pid in seated(&native, 2).await {
        let own = |kind: &str| std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
        for kind in ["pid_for_children", "mnt", "ipc", "uts", "net", "cgroup"] {
            let spawners = format!("/proc/{}/ns/{kind}", native.spawner.id());
            assert_ne!(own(kind), std::fs::read_link(spawners).unwrap(), "{kind}");
        }
        let mut sockets = 0;
        for entry in std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap() {
            let entry = entry.unwrap();
            if ["0", "1", "2"].iter().any(|name| entry.file_name() == *name) {
                continue;
            }
            let target = std::fs::read_link(entry.path()).unwrap().to_string_lossy().into_owned();
            sockets += usize::from(target.starts_with("socket:"));
            // Its line, its user namespace, and folders that a root is made from.
            let own = target.starts_with("socket:") || target.starts_with("user:") || target.starts_with('/');
            assert!(own && !target.contains("cgroup"), "{target}");
        }
        assert_eq!(sockets, 1);
        assert_eq!(status_field(pid, "Threads"), "1");
        assert_eq!(status_field(pid, "NSpid").split_whitespace().last(), Some("1"));
        let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
        let pss = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap();
        let kib: u64 = pss.trim().trim_end_matches(" kB").parse().unwrap();
        println!("PSS of a seated process: {kib} KiB");
        assert!(kib < 2048, "{kib} KiB");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seated_process_that_dies_is_replaced() {
    if !root() {
        return;
    }
    let native = Native::with(ready(2)).await;
    let before = seated(&native, 2).await;
    for pid in &before {
        let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }
    until("both are buried", || !before.iter().any(|pid| Path::new(&format!("/proc/{pid}")).exists())).await;
    let after = seated(&native, 2).await;
    assert!(!after.iter().any(|pid| before.contains(pid)), "{before:?} {after:?}");
    for _ in 0..4 {
        assert_eq!(native.guest(&["hello"]).await.stdout, "hello\n");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_ready_slots_nothing_sits_and_functions_start_all_the_same() {
    if !root() {
        return;
    }
    let native = Native::with(ready(0)).await;
    assert_eq!(native.guest(&["hello"]).await.stdout, "hello\n");
    assert_eq!(seats_of(&native.instance), [0; 0]);
    // A slot that was given out has a process from then on.
    let slot = native.slot().await;
    let seat = seated(&native, 1).await[0];
    // Where that dies, the slot is of no use, and told so.
    let pid = rustix::process::Pid::from_raw(seat.cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    until("it is buried", || !Path::new(&format!("/proc/{seat}")).exists()).await;
    let refused = native.sandbox().start(slot, &native.rootfs, &guest_process(&["hello"])).await.unwrap_err();
    assert!(matches!(refused, SandboxError::Failed { .. }), "{refused}");
    native.sandbox().remove(slot).await.unwrap();
    assert_eq!(native.guest(&["hello"]).await.stdout, "hello\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn seated_processes_end_with_a_spawner_that_is_killed() {
    if !root() {
        return;
    }
    let mut native = Native::with(ready(3)).await;
    let seats = seated(&native, 3).await;
    native.spawner.kill().unwrap();
    native.spawner.wait().unwrap();
    until("they end", || !seats.iter().any(|pid| Path::new(&format!("/proc/{pid}")).exists())).await;
    // Their groups are the next spawner's to remove.
    let settings = ready(0);
    let next = Native::over(crate::kit::private_dir(), &native.instance, settings).await;
    drop(next);
    assert_eq!(crate::kit::cgroups_of(&native.instance), [""; 0].map(std::path::PathBuf::from));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_is_never_started_goes_with_its_process() {
    if !root() {
        return;
    }
    let native = Native::with(ready(0)).await;
    let slot = native.slot().await;
    seated(&native, 1).await;
    // Nobody's function runs there: a kill is for those.
    native.sandbox().kill(slot).await.unwrap();
    let removed = native.sandbox().remove(slot);
    tokio::time::timeout(Duration::from_secs(20), removed).await.unwrap().unwrap();
    assert_eq!(seats_of(&native.instance), [0; 0]);
    assert_eq!(pids_of(&native.instance), [0; 0]);
}
