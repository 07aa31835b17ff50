//! The folder with an identity as it looks from the host: nowhere.

use std::fs;
use std::path::Path;

use picasso_sandbox::{ProcessSpec, Sandbox};

use crate::kit::{Native, guest_process, limits, pids_of, read_all, root, started_line, until};

const TOKEN: &str = "/run/picasso/identity/token";

fn files(token: &str) -> [(String, Vec<u8>); 1] {
    [("token".to_owned(), token.as_bytes().to_vec())]
}

/// Whether any file below a folder has these bytes.
fn holds(folder: &Path, bytes: &[u8]) -> bool {
    fs::read_dir(folder).into_iter().flatten().flatten().any(|entry| {
        let kind = entry.file_type().unwrap();
        let found = |content: Vec<u8>| content.windows(bytes.len()).any(|window| window == bytes);
        if kind.is_dir() {
            holds(&entry.path(), bytes)
        } else {
            kind.is_file() && fs::read(entry.path()).is_ok_and(found)
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn no_path_of_the_host_leads_to_an_identity_that_a_slot_made_ahead_shows() {
    if !root() {
        return;
    }
    let native = Native::start().await;
    // Sits in its namespaces before there is any folder.
    let slot = native.slot().await;
    let folder = native.sandbox().make_identity_folder().await.unwrap();
    let token = format!("token-{}", native.instance);
    folder.replace(&files(&token)).unwrap();
    let process = ProcessSpec { identity: Some(folder.id()), ..guest_process(&["cat", TOKEN]) };
    let io = native.sandbox().start(slot, &native.rootfs, &process).await.unwrap();
    assert_eq!(read_all(io, b"").await.0, token);
    native.sandbox().remove(slot).await.unwrap();
    assert!(!holds(&native.dir, token.as_bytes()), "it lies on the disk");
    assert_eq!(fs::read_dir(native.dir.join("native/identity")).unwrap().count(), 0);
    assert!(!fs::read_to_string("/proc/self/mounts").unwrap().contains(&*native.dir.to_string_lossy()));
    let mounts =
        ProcessSpec { identity: Some(folder.id()), ..guest_process(&["cat", "/proc/self/mountinfo"]) };
    let mounts = native.run(&mounts, limits()).await.stdout;
    let shown: Vec<&str> = mounts.lines().filter(|line| line.contains("/run/picasso")).collect();
    assert_eq!(shown.len(), 1, "{mounts}");
    assert!(!mounts.contains("native/identity"), "{mounts}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_many_sandboxes_sees_what_is_written_for_it() {
    if !root() {
        return;
    }
    let native = Native::start().await;
    let mut running = Vec::new();
    for number in 0..8 {
        let folder = native.sandbox().make_identity_folder().await.unwrap();
        folder.replace(&files(&format!("first {number}"))).unwrap();
        let slot = native.slot().await;
        let process = ProcessSpec { identity: Some(folder.id()), ..guest_process(&["sleep"]) };
        let mut io = native.sandbox().start(slot, &native.rootfs, &process).await.unwrap();
        assert_eq!(started_line(&mut io).await, "ready");
        folder.replace(&files(&format!("second {number}"))).unwrap();
        running.push((slot, io, folder));
    }
    // Through each function's own root, as its processes see it.
    let pids = pids_of(&native.instance);
    let mut seen: Vec<String> =
        pids.iter().map(|pid| fs::read_to_string(format!("/proc/{pid}/root{TOKEN}")).unwrap()).collect();
    seen.sort();
    assert_eq!(seen, (0..8).map(|number| format!("second {number}")).collect::<Vec<_>>());
    for (slot, _, folder) in running {
        drop(folder);
        native.sandbox().remove(slot).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_outlives_its_spawner_without_harm_and_is_of_no_use_to_the_next() {
    if !root() {
        return;
    }
    let mut native = Native::start().await;
    let folder = native.sandbox().make_identity_folder().await.unwrap();
    folder.replace(&files("x")).unwrap();
    native.hang_up();
    native.spawner_ended().await;
    folder.replace(&files("y")).unwrap();
    folder.clear().unwrap();
    let next = Native::start().await;
    let process = ProcessSpec { identity: Some(folder.id()), ..guest_process(&["hello"]) };
    next.refused(&next.rootfs, &process).await;
    until("nothing runs", || pids_of(&next.instance).is_empty()).await;
}
