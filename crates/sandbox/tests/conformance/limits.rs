//! Limits, each run into.

use std::sync::Arc;

use picasso_sandbox::{EndedBy, SlotSpec};

use crate::bed::{Bed, probe, spec};

fn limited(change: impl FnOnce(&mut picasso_sandbox::SlotLimits)) -> SlotSpec {
    let mut spec = spec();
    change(&mut spec.limits);
    spec
}

pub async fn the_memory_limit_kills(bed: Arc<Bed>) {
    let spec = limited(|limits| limits.memory_bytes = 48 << 20);
    let run = bed.run_with(&spec, &probe(&["memory"]), b"").await;
    assert!(run.ended.out_of_memory, "{run:?}");
    assert_eq!(run.ended.by, EndedBy::Signal(9));
    let reached: u64 = run.stdout.lines().last().unwrap().parse().unwrap();
    assert!((20..48).contains(&reached), "{reached} MiB");
    if let Some(peak) = run.ended.memory_peak_bytes {
        assert!((40 << 20..=48 << 20).contains(&peak), "{peak}");
    }
}

/// `filled 123: errno 28` or `made 12: errno 28`.
fn outcome(text: &str) -> (u64, &str) {
    let (count, error) = text.trim().split_once(": ").unwrap();
    (count.split_once(' ').unwrap().1.parse().unwrap(), error)
}

pub async fn the_tmp_folder_is_bounded_in_bytes(bed: Arc<Bed>) {
    let spec = limited(|limits| limits.tmp_bytes = 5 << 20);
    for folder in ["/tmp", "/dev/shm"] {
        let run = bed.run_with(&spec, &probe(&["fill-bytes", folder]), b"").await;
        let (bytes, error) = outcome(run.lines()[0]);
        if folder == "/tmp" {
            assert_eq!((bytes, error), (5 << 20, "errno 28"));
        } else {
            assert!(bytes <= 5 << 20, "{folder}: {bytes} {error}");
        }
    }
}

pub async fn the_tmp_folder_is_bounded_in_inodes(bed: Arc<Bed>) {
    let spec = limited(|limits| limits.tmp_inodes = 50);
    let run = bed.run_with(&spec, &probe(&["fill-inodes", "/tmp"]), b"").await;
    let (files, error) = outcome(run.lines()[0]);
    assert!((45..=50).contains(&files), "{run:?}");
    assert_eq!(error, "errno 28");
}

pub async fn the_tmp_folder_is_charged_to_the_memory_limit(bed: Arc<Bed>) {
    let spec = limited(|limits| {
        limits.memory_bytes = 32 << 20;
        limits.tmp_bytes = 256 << 20;
    });
    let run = bed.run_with(&spec, &probe(&["fill-bytes", "/tmp"]), b"").await;
    assert!(run.ended.out_of_memory, "{run:?}");
}

pub async fn a_fork_bomb_stops_at_the_limit(bed: Arc<Bed>) {
    let spec = limited(|limits| limits.pids = 20);
    let run = bed.run_with(&spec, &probe(&["fork"]), b"").await;
    let (started, error) = outcome(run.lines()[0]);
    assert!((15..20).contains(&started), "{run:?}");
    assert_eq!(error, "errno 11");
}

pub async fn open_files_and_cores_are_limited(bed: Arc<Bed>) {
    let spec = limited(|limits| limits.nofile = 77);
    let run = bed.run_with(&spec, &probe(&["identity"]), b"").await;
    assert_eq!(run.after("limit Max open files"), "77 77 files");
    let core = run.after("limit Max core file size");
    assert!(["1 1 bytes", "0 0 bytes"].contains(&core), "{core}");
    assert_eq!(run.after("limit Max msgqueue size"), "0 0 bytes");
}

pub async fn processor_time_is_limited(bed: Arc<Bed>) {
    // Wall time for the same work, with the whole processor and with a tenth of it.
    let mut times = Vec::new();
    for millis in [1000, 100] {
        let spec = limited(|limits| limits.cpu_millis = millis);
        let run = bed.run_with(&spec, &probe(&["burn", "300"]), b"").await;
        times.push(run.after("burnt in").parse::<u64>().unwrap());
    }
    assert!(times[1] >= 1500, "300 ms of work took {times:?} ms with a tenth of a processor");
}
