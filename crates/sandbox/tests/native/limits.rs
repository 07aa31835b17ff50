//! Limits are enforced by the kernel, and what ended a function is told.

use std::time::{Duration, Instant};

use picasso_sandbox::{EndedBy, Sandbox, SlotLimits};

use crate::kit::{Native, guest_process, limits, root, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_function_over_its_memory_is_killed_and_it_is_told_why() {
    if !root() {
        return;
    }
    let native = Native::start().await;
    let ran = native.guest(&["memory", "200"]).await;
    assert_eq!(ran.ended.by, EndedBy::Signal(9));
    assert!(ran.ended.out_of_memory, "{ran:?}");
    assert!(ran.ended.memory_peak_bytes.is_some_and(|n| n > 60 << 20 && n <= 64 << 20), "{ran:?}");
    let within = native.guest(&["memory", "40"]).await;
    assert_eq!((within.stdout.as_str(), within.ended.out_of_memory), ("had it all\n", false));
    let child = native.guest(&["child-memory"]).await;
    assert_eq!(child.stdout, "child signal 9\n");
    assert!(child.ended.out_of_memory, "a killed child counts: {child:?}");
}

/// Of the function that reads much more.
const LIMIT: u64 = 16 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn reading_ten_times_the_memory_limit_is_no_out_of_memory() {
    if !root() {
        return;
    }
    let native = Native::start().await;
    let layer = crate::kit::lay(&native.dir, &[("big", b"", 0o644)]);
    let file = native.dir.join("layers").join(layer.hex()).join("big");
    std::fs::OpenOptions::new().write(true).open(file).unwrap().set_len(10 * LIMIT).unwrap();
    let mut image = native.rootfs.clone();
    image.layers.push(layer);
    let slot = native.slot_with(SlotLimits { memory_bytes: LIMIT, ..limits() }).await;
    let process = guest_process(&["read-all", "/big"]);
    let io = native.sandbox().start(slot, &image, &process).await.unwrap();
    let (stdout, _) = crate::kit::read_all(io, b"").await;
    assert_eq!(stdout, format!("{} whole\n", 10 * LIMIT));
    let ended = native.sandbox().wait(slot).await.unwrap();
    assert_eq!((ended.by, ended.out_of_memory), (EndedBy::Exit(0), false));
    assert!(ended.memory_peak_bytes.is_none_or(|peak| peak <= LIMIT), "{ended:?}");
    native.sandbox().remove(slot).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_function_did_not_run_out_of_memory() {
    if !root() {
        return;
    }
    let native = Native::start().await;
    let (slot, _io) = native.started(&["sleep"]).await;
    native.sandbox().kill(slot).await.unwrap();
    let ended = native.sandbox().wait(slot).await.unwrap();
    assert_eq!((ended.by, ended.out_of_memory), (EndedBy::Signal(9), false));
    native.sandbox().remove(slot).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn tmp_and_shm_are_bounded_and_paid_for_by_the_function() {
    if !root() {
        return;
    }
    let native = Native::start().await;
    let filled = |text: &str| text.split(':').next().unwrap().parse::<u64>().unwrap();
    let tmp = native.guest(&["fill", "/tmp/big"]).await.stdout;
    assert_eq!(filled(&tmp), 8 << 20, "{tmp}");
    assert!(tmp.contains("No space left"), "{tmp}");
    let shm = native.guest(&["fill", "/dev/shm/big"]).await.stdout;
    assert_eq!(filled(&shm), 8 << 20, "{shm}");
    let inodes = native.guest(&["inodes"]).await.stdout;
    assert!(filled(&inodes) < 1000 && inodes.contains("No space left"), "{inodes}");
    let small = SlotLimits { memory_bytes: 16 << 20, tmp_bytes: 64 << 20, ..limits() };
    let ran = native.run(&guest_process(&["fill", "/tmp/big"]), small).await;
    assert!(ran.ended.out_of_memory, "files in /tmp count as memory: {ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_bomb_stops_at_the_pids_limit() {
    if !root() {
        return;
    }
    let native = Native::start().await;
    let ran = native.guest(&["fork"]).await;
    assert_eq!(ran.stdout, "forked 31: Resource temporarily unavailable\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn resource_limits_are_in_force() {
    if !root() {
        return;
    }
    let native = Native::start().await;
    let text = native.guest(&["limits"]).await.stdout;
    for line in ["nofile=256/256", "msgqueue=0/0", "sigpending=1024/1024", "memlock=65536/65536"] {
        assert!(text.lines().any(|l| l == line), "{line}: {text}");
    }
    // 1, or 0 where this machine's hard limit does not let it be raised.
    assert!(text.contains("core=1/1") || text.contains("core=0/0"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_function_gets_no_more_cpu_than_its_share() {
    if !root() {
        return;
    }
    let native = Native::start().await;
    let slot = native.slot_with(SlotLimits { cpu_millis: 100, ..limits() }).await;
    let _io = native.sandbox().start(slot, &native.rootfs, &guest_process(&["spin"])).await.unwrap();
    let pids = || crate::kit::pids_of(&native.instance);
    until("the function is in its cgroup", || !pids().is_empty()).await;
    let pid = pids()[0];
    // Hundredths of a second, as /proc counts.
    let ticks = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields = stat.rsplit(')').next().unwrap().split_whitespace().skip(11).take(2);
        fields.map(|n| n.parse::<u64>().unwrap()).sum::<u64>()
    };
    let (began, before) = (Instant::now(), ticks());
    until("a second of wall time", || began.elapsed() > Duration::from_secs(1)).await;
    let used = Duration::from_millis((ticks() - before) * 10);
    assert!(used < began.elapsed() / 5, "used {used:?} of CPU where a tenth was allowed");
    native.sandbox().remove(slot).await.unwrap();
}
