//! Nothing survives: not a removed slot, not a spawner whose engine is gone, not a killed spawner.

use std::path::Path;

use picasso_sandbox::{Sandbox, SandboxError};

use crate::kit::{Native, cgroups_of, guest_process, pids_of, read_all, root, until};

fn alive(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_slot_leaves_no_process_and_no_cgroup() {
    if !root() {
        return;
    }
    let native = Native::start().await;
    let (slot, _io) = native.started(&["stubborn"]).await;
    until("all four processes run", || pids_of(&native.instance).len() == 4).await;
    let pids = pids_of(&native.instance);
    native.sandbox().remove(slot).await.unwrap();
    assert!(!pids.iter().any(|pid| alive(*pid)));
    assert_eq!(pids_of(&native.instance), [0; 0]);
    // What is left are the groups kept ready for others.
    let group = |base: &Path| base.join("s0").exists();
    assert!(cgroups_of(&native.instance).iter().all(|base| !group(base)));
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_engine_is_gone_the_spawner_ends_everything_and_itself() {
    if !root() {
        return;
    }
    let mut native = Native::start().await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(native.started(&["stubborn"]).await);
    }
    until("all run", || pids_of(&native.instance).len() == 12).await;
    let pids = pids_of(&native.instance);
    native.hang_up();
    native.spawner_ended().await;
    assert!(!pids.iter().any(|pid| alive(*pid)));
    assert!(cgroups_of(&native.instance).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_spawner_takes_its_sandboxes_along_and_the_next_one_cleans_up() {
    if !root() {
        return;
    }
    let mut native = Native::start().await;
    let (slot, _io) = native.started(&["stubborn"]).await;
    until("all run", || pids_of(&native.instance).len() == 4).await;
    let pids = pids_of(&native.instance);
    native.spawner.kill().unwrap();
    native.spawner.wait().unwrap();
    let lost = native.sandbox().wait(slot).await.unwrap_err();
    assert!(matches!(lost, SandboxError::Unavailable { .. }), "{lost}");
    until("the kernel kills with the parent", || !pids.iter().any(|pid| alive(*pid))).await;
    assert!(!cgroups_of(&native.instance).is_empty(), "the groups are left for the next");
    let next = Native::over(
        native.dir.clone(),
        &native.instance,
        picasso_sandbox::supervisor::NativeSettings {
            ready_slots: 0,
            ready_egress_slots: 0,
            max_slots: 8,
            runtime: None,
        },
    )
    .await;
    let reaped = next.sandbox().reap().await.unwrap();
    assert!(reaped.sandboxes >= 1, "{reaped:?}");
    assert_eq!(next.guest(&["hello"]).await.stdout, "hello\n");
    // The slot of the dead spawner means nothing to the new one.
    next.sandbox().kill(slot).await.unwrap();
    assert!(matches!(
        next.sandbox().wait(slot).await,
        Err(SandboxError::Unavailable { .. } | SandboxError::Slot(_))
    ));
    let instance = next.instance.clone();
    drop(next);
    assert!(cgroups_of(&instance).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_side_by_side_never_touch_each_others_sandboxes() {
    if !root() {
        return;
    }
    let (mut one, two) = (Native::start().await, Native::start().await);
    let (_slot_one, _io_one) = one.started(&["sleep"]).await;
    let slot_two = two.slot().await;
    let io = two.sandbox().start(slot_two, &two.rootfs, &guest_process(&["cat"])).await.unwrap();
    one.hang_up();
    one.spawner_ended().await;
    assert!(cgroups_of(&one.instance).is_empty());
    assert_eq!(read_all(io, b"still here").await.0, "still here");
    two.sandbox().remove(slot_two).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_used_by_a_hundred_calls_at_once_all_come_back() {
    if !root() {
        return;
    }
    let native = Native::start().await;
    let settings_slots = 64;
    let calls = (0..settings_slots).map(|_| native.guest(&["hello"]));
    let all = futures_util::future::join_all(calls).await;
    assert!(all.iter().all(|ran| ran.stdout == "hello\n"));
    let calls = (0..40).map(|_| native.guest(&["who"]));
    let all = futures_util::future::join_all(calls).await;
    assert!(all.iter().all(|ran| ran.stdout.starts_with("uid=1000")));
    assert_eq!(pids_of(&native.instance), [0; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_mounted_outside_a_sandbox() {
    if !root() {
        return;
    }
    let native = Native::start().await;
    let (slot, _io) = native.started(&["sleep"]).await;
    let dir = native.dir.to_string_lossy().into_owned();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&dir) && !mounts.contains("lowerdir=l0"), "{mounts}");
    native.sandbox().remove(slot).await.unwrap();
}
