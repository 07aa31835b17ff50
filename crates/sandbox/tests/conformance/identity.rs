//! The folder with a function's identity: read, never written by the function, replaced under its
//! eyes, withdrawn, and nobody else's.

use std::sync::Arc;

use picasso_sandbox::{IDENTITY_FOLDER, IdentityFolder, ProcessSpec};
use tokio::io::AsyncWriteExt;

use crate::bed::{Bed, Started, line, probe, spec, within};

const TOKEN: &str = "/run/picasso/identity/token";
const CLOUDS: &str = "/run/picasso/identity/clouds.yaml";

async fn folder(bed: &Bed, token: &str) -> IdentityFolder {
    let folder = bed.sandbox.make_identity_folder().await.unwrap();
    folder.replace(&files(token)).unwrap();
    folder
}

fn files(token: &str) -> [(String, Vec<u8>); 2] {
    [("token", token), ("clouds.yaml", "clouds: {}")]
        .map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()))
}

fn with(folder: &IdentityFolder, uid: u32, arguments: &[&str]) -> ProcessSpec {
    ProcessSpec { identity: Some(folder.id()), uid, gid: uid, ..probe(arguments) }
}

pub async fn an_identity_is_read_and_cannot_be_changed(bed: Arc<Bed>) {
    let folder = folder(&bed, "t0").await;
    for uid in [0, 1000] {
        let run = bed.run_with(&spec(), &with(&folder, uid, &["read", TOKEN, CLOUDS]), b"").await;
        let expected = [format!("{TOKEN}: read \"t0\""), format!("{CLOUDS}: read \"clouds: {{}}\"")];
        assert_eq!(run.lines(), expected, "as {uid}: {}", run.stderr);
        let paths = [IDENTITY_FOLDER, TOKEN, CLOUDS, "/run/picasso", "/run"];
        let write = with(&folder, uid, &[&["write"][..], &paths].concat());
        let run = bed.run_with(&spec(), &write, b"").await;
        assert_eq!(run.lines().len(), paths.len());
        assert!(run.lines().iter().all(|line| !line.ends_with(": written")), "as {uid}: {:?}", run.lines());
        let run = bed.run_with(&spec(), &with(&folder, uid, &["remove", TOKEN, IDENTITY_FOLDER]), b"").await;
        assert!(run.lines().iter().all(|line| !line.ends_with(": removed")), "as {uid}: {:?}", run.lines());
        let mounts = with(&folder, uid, &["cat", "/proc/self/mounts"]);
        let run = bed.run_with(&spec(), &mounts, b"").await;
        let seen: Vec<&str> = run.lines().into_iter().filter(|line| line.contains(IDENTITY_FOLDER)).collect();
        assert_eq!(seen.len(), 1, "{seen:?}");
        let options: Vec<&str> = seen[0].split(' ').nth(3).unwrap().split(',').collect();
        assert!(options.contains(&"ro"), "{seen:?}");
        if bed.driver != "docker" {
            assert!(["nosuid", "nodev", "noexec"].iter().all(|one| options.contains(one)), "{seen:?}");
        }
    }
}

pub async fn what_is_replaced_and_withdrawn_shows_in_a_running_function(bed: Arc<Bed>) {
    let folder = folder(&bed, "t1").await;
    let process = with(&folder, 1000, &["read-again", TOKEN]);
    let Started { slot, mut io } = bed.start(&spec(), &process).await.unwrap();
    let mut ask = async |then: &str| {
        within("a question", io.stdin.write_all(b"\n")).await.unwrap();
        assert_eq!(line(&mut io.stdout).await, format!("{TOKEN}: {then}"));
    };
    ask("read \"t1\"").await;
    folder.replace(&files("a longer t2")).unwrap();
    ask("read \"a longer t2\"").await;
    folder.replace(&files("t3")).unwrap();
    ask("read \"t3\"").await;
    folder.clear().unwrap();
    ask("errno 2").await;
    folder.replace(&files("t4")).unwrap();
    ask("read \"t4\"").await;
    drop(folder);
    ask("errno 2").await;
    bed.remove(slot).await;
}

pub async fn an_identity_is_seen_in_its_own_sandbox_alone(bed: Arc<Bed>) {
    let mine = folder(&bed, "mine").await;
    let other = folder(&bed, "of another").await;
    let path = ["list", IDENTITY_FOLDER];
    let both = async |folder: &IdentityFolder| {
        let run = bed.run_with(&spec(), &with(folder, 0, &["read", TOKEN]), b"").await;
        run.after(TOKEN).to_owned()
    };
    assert_eq!(both(&mine).await, ": read \"mine\"");
    assert_eq!(both(&other).await, ": read \"of another\"");
    // Without one the folder is empty, or not there; nothing beside it leads to those of others.
    let without = bed.run_with(&spec(), &probe(&path), b"").await;
    assert_eq!(without.stdout, "", "{}", without.stderr);
    let around = bed.run_with(&spec(), &with(&mine, 0, &["list", "/run/picasso"]), b"").await;
    assert_eq!(around.lines(), ["identity"]);
    let upwards = "/run/picasso/identity/../../../native/identity";
    let up = bed.run_with(&spec(), &with(&mine, 0, &["read", upwards]), b"").await;
    assert_eq!(up.lines(), [format!("{upwards}: errno 2")]);
}

pub async fn a_folder_that_is_gone_starts_nothing(bed: Arc<Bed>) {
    let folder = folder(&bed, "x").await;
    let process = with(&folder, 0, &["exit", "0"]);
    drop(folder);
    assert!(bed.start(&spec(), &process).await.is_err());
}
