//! What is kept apart.

use std::collections::BTreeSet;
use std::sync::Arc;

use picasso_sandbox::{ProcessSpec, SandboxError, SecretFile};

use crate::bed::{Bed, Started, line, probe, spec};
use crate::machine::mark;

pub async fn no_other_process_is_seen(bed: Arc<Bed>) {
    let run = bed.check(&["processes"]).await;
    let seen = run.lines();
    assert!(seen.iter().all(|line| line.ends_with(" probe")), "{seen:?}");
    assert_eq!(seen.len(), 1, "{seen:?}");
}

pub async fn files_of_the_host_are_out_of_reach(bed: Arc<Bed>) {
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "secret of the host").unwrap();
    std::fs::set_permissions(secret.path(), std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let path = secret.path().to_str().unwrap();
    let through_init = format!("/proc/1/root{path}");
    let upwards = format!("/../../..{path}");
    let paths = [path, &through_init, &upwards, "/etc/shadow", "/root/.bashrc", "/home", "/var/lib", "/host"];
    let run = bed.check(&[&["read"][..], &paths].concat()).await;
    for line in run.lines() {
        assert!(line.ends_with(": errno 2"), "{line}");
    }
    let run = bed.check(&["list", "/"]).await;
    let seen: BTreeSet<&str> = run.lines().into_iter().collect();
    let expected = ["bin", "dev", "etc", "open", "proc", "run", "sys", "tmp", "work", ".dockerenv"];
    assert!(seen.iter().all(|name| expected.contains(name)), "{seen:?}");
}

pub async fn secret_files_are_the_functions_own_and_cannot_be_changed(bed: Arc<Bed>) {
    let file = |name: &str, content: &[u8]| SecretFile { name: name.to_owned(), content: content.to_vec() };
    let files = vec![file("DB_PASSWORD", b"between us"), file("KEY_2", b"a\0b")];
    let with = |arguments: &[&str], uid| ProcessSpec { files: files.clone(), uid, ..probe(arguments) };
    for uid in [0, 1000] {
        let read = with(&["read", "/run/secrets/DB_PASSWORD", "/run/secrets/KEY_2"], uid);
        let run = bed.run_with(&spec(), &read, b"").await;
        let expected =
            ["/run/secrets/DB_PASSWORD: read \"between us\"", "/run/secrets/KEY_2: read \"a\\0b\""];
        assert_eq!(run.lines(), expected, "as {uid}: {}", run.stderr);
        let write = with(&["write", "/run/secrets", "/run/secrets/DB_PASSWORD", "/run"], uid);
        let run = bed.run_with(&spec(), &write, b"").await;
        assert_eq!(run.lines().len(), 3);
        assert!(run.lines().iter().all(|line| !line.ends_with(": written")), "as {uid}: {:?}", run.lines());
    }
    // Without secrets the folder is empty, or not there.
    let without = bed.run_with(&spec(), &probe(&["list", "/run/secrets"]), b"").await;
    assert_eq!(without.stdout, "");
}

pub async fn the_root_is_read_only(bed: Arc<Bed>) {
    let paths = [
        "/",
        "/bin",
        "/bin/probe",
        "/etc",
        "/etc/passwd",
        "/work",
        "/open",
        "/sys",
        "/proc",
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/kernel/hostname",
        "/proc/sysrq-trigger",
        "/proc/sys/vm/drop_caches",
    ];
    for uid in [0, 1000] {
        let mut process = probe(&[&["write"][..], &paths].concat());
        process.uid = uid;
        let run = bed.run_with(&spec(), &process, b"").await;
        let lines = run.lines();
        assert_eq!(lines.len(), paths.len());
        for line in lines {
            assert!(!line.ends_with(": written"), "as {uid}: {line}");
        }
    }
}

pub async fn devices_are_harmless(bed: Arc<Bed>) {
    let run = bed.check(&["list", "/dev"]).await;
    let harmless = [
        "core", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout",
        "tty", "urandom", "zero",
    ];
    for name in run.lines() {
        assert!(harmless.contains(&name), "/dev/{name}");
    }
    let run = bed.check(&["write", "/dev/null"]).await;
    assert_eq!(run.lines(), ["/dev/null: written"]);
}

pub async fn the_kernels_secrets_are_masked(bed: Arc<Bed>) {
    let run = bed.check(&["read", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/kallsyms"]).await;
    for line in run.lines() {
        let (path, outcome) = line.split_once(": ").unwrap();
        let addresses_hidden = path == "/proc/kallsyms" && outcome.starts_with("read \"0000000000000000 ");
        assert!(outcome == "read \"\"" || outcome.starts_with("errno ") || addresses_hidden, "{line}");
    }
}

pub async fn nothing_of_one_sandbox_is_seen_in_the_next(bed: Arc<Bed>) {
    let run = bed.check(&["write", "/tmp", "/dev/shm"]).await;
    assert!(run.lines().contains(&"/tmp: written"), "{run:?}");
    for folder in ["/tmp", "/dev/shm"] {
        let run = bed.check(&["list", folder]).await;
        assert_eq!(run.stdout, "", "in {folder}");
    }
}

pub async fn the_host_sees_no_capabilities_and_a_filter(bed: Arc<Bed>) {
    let mut maps = BTreeSet::new();
    let mut running = Vec::new();
    for _ in 0..2 {
        let (mark, process) = mark(&["ignore-term"]);
        let Started { slot, mut io } = bed.start(&spec(), &process).await.unwrap();
        assert_eq!(line(&mut io.stdout).await, "ready");
        let pid = mark.processes()[0];
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        for expected in
            ["CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "CapBnd:\t0000000000000000"]
        {
            assert!(status.contains(expected), "{status}");
        }
        assert!(status.contains("Seccomp:\t2\n"), "{status}");
        assert!(status.contains("NoNewPrivs:\t1\n"), "{status}");
        maps.insert(std::fs::read_to_string(format!("/proc/{pid}/uid_map")).unwrap());
        running.push((slot, io));
    }
    if bed.driver != "docker" {
        let ranges: Vec<(u64, u64)> = maps.iter().map(|map| host_range(map)).collect();
        assert_eq!(ranges.len(), 2, "both have the same map: {maps:?}");
        let [(first, first_length), (second, second_length)] = ranges[..] else { panic!("{ranges:?}") };
        assert!(first + first_length <= second || second + second_length <= first, "{maps:?}");
        assert!(first >= 65_536 && second >= 65_536, "{maps:?}");
        assert_eq!((first_length, second_length), (65_536, 65_536));
    }
    for (slot, _) in running {
        bed.remove(slot).await;
    }
}

fn host_range(map: &str) -> (u64, u64) {
    let words: Vec<u64> = map.split_whitespace().map(|word| word.parse().unwrap()).collect();
    assert_eq!(words.len(), 3, "{map}");
    assert_eq!(words[0], 0, "{map}");
    (words[1], words[2])
}

pub async fn namespaces_are_not_the_hosts(bed: Arc<Bed>) {
    let (mark, process) = mark(&["ignore-term"]);
    let Started { slot, mut io } = bed.start(&spec(), &process).await.unwrap();
    assert_eq!(line(&mut io.stdout).await, "ready");
    let pid = mark.processes()[0].to_string();
    let mut kinds = vec!["mnt", "pid", "ipc", "uts", "net"];
    if bed.driver != "docker" {
        kinds.push("user");
    }
    for kind in kinds {
        let of = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
        assert_ne!(of(&pid), of("self"), "{kind}");
    }
    bed.remove(slot).await;
    let again = bed.sandbox.wait(slot).await;
    assert!(matches!(again, Err(SandboxError::Slot(_) | SandboxError::Unavailable { .. })), "{again:?}");
}
