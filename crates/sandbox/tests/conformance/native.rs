//! The native driver under test; this program, started again, is its spawner.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Child, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use picasso_image::RootFs;
use picasso_sandbox::egress::EgressSettings;
use picasso_sandbox::native::NativeSandbox;
use picasso_sandbox::supervisor::{NativeSettings, SPAWNER_COMMAND, spawn_native, spawner_main};
use picasso_sandbox::{ProcessSpec, Sandbox};
use picasso_testkit::process::wait_until;
use tokio::sync::mpsc;

use crate::bed::{Bed, DEADLINE, egress, within};
use crate::machine::{egress_settings, instance};

/// Is the spawner, where this process was started as one.
pub fn spawner() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    (arguments.next()? == SPAWNER_COMMAND).then(|| spawner_main(&arguments.collect::<Vec<OsString>>()))
}

/// A spawner and the driver over it. Keeping the sender says that the supervisor lives.
struct Spawned {
    sandbox: NativeSandbox,
    child: Child,
    kept: (mpsc::Sender<std::os::fd::OwnedFd>, std::os::fd::OwnedFd),
}

async fn spawn(dir: PathBuf, settings: EgressSettings) -> Spawned {
    let native = NativeSettings { ready_slots: 2, ready_egress_slots: 1, max_slots: 64 };
    let instance = settings.instance.clone();
    let spawned = spawn_native(Path::new("/proc/self/exe"), dir, &instance, native, Some(settings)).unwrap();
    let (sockets, received) = mpsc::channel(1);
    sockets.send(spawned.socket).await.unwrap();
    let sandbox = NativeSandbox::new(received);
    sandbox.ready(DEADLINE).await.unwrap();
    Spawned { sandbox, child: spawned.child, kept: (sockets, spawned.ids) }
}

/// Waits until a spawner has ended, as it does when its driver is dropped.
async fn ended(mut child: Child) {
    let end = tokio::task::spawn_blocking(move || child.wait());
    assert!(within("the end of the spawner", end).await.unwrap().unwrap().success());
}

pub struct Native {
    pub bed: Arc<Bed>,
    child: Child,
    instance: String,
    _kept: (mpsc::Sender<std::os::fd::OwnedFd>, std::os::fd::OwnedFd),
}

impl Native {
    pub async fn start(dir: &Path, rootfs: &Arc<RootFs>) -> Self {
        let settings = egress_settings(&instance(), "10.203.0.0/24");
        let Spawned { sandbox, child, kept } = spawn(dir.to_owned(), settings.clone()).await;
        let dir = dir.to_owned();
        let restart = move |bed, process| {
            Box::pin(restart(dir.clone(), bed, process)) as Pin<Box<dyn Future<Output = ()> + Send>>
        };
        let bed = Bed {
            driver: "native",
            sandbox: Arc::new(sandbox),
            rootfs: Arc::clone(rootfs),
            gateway: settings.gateway(),
            restart: Box::new(restart),
        };
        Self { bed: Arc::new(bed), child, instance: settings.instance, _kept: kept }
    }

    /// The driver is dropped, as by an engine that dies, and nothing may be left.
    pub async fn stop(self) {
        drop(self.bed);
        ended(self.child).await;
        assert_eq!(traces(&self.instance), Vec::<String>::new());
    }
}

/// Cgroups and interfaces that carry an instance's id.
fn traces(instance: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(entry.path());
                if entry.file_name().to_string_lossy().contains(instance) {
                    found.push(entry.path().display().to_string());
                }
            }
        }
    }
    let interfaces = std::fs::read_to_string("/proc/self/net/dev").unwrap();
    found.extend(interfaces.lines().filter(|line| line.contains(instance)).map(str::to_owned));
    found.extend(tables().lines().filter(|line| line.contains(instance)).map(str::to_owned));
    found
}

fn tables() -> String {
    picasso_testkit::process::run("nft", ["list", "tables"]).unwrap()
}

/// A second server is killed with its spawner; the next one with its id starts clean.
async fn restart(dir: PathBuf, bed: Arc<Bed>, process: ProcessSpec) {
    let settings = egress_settings(&instance(), "10.204.0.0/24");
    let mut killed = spawn(dir.clone(), settings.clone()).await;
    killed.sandbox.prepare(&bed.rootfs).await.unwrap();
    let slot = killed.sandbox.make_slot(&egress()).await.unwrap();
    let io = killed.sandbox.start(slot, &bed.rootfs, &process).await.unwrap();
    assert_ne!(traces(&settings.instance), Vec::<String>::new());
    killed.child.kill().unwrap();
    killed.child.wait().unwrap();
    drop((io, killed.sandbox));
    // The network's worker outlives its spawner by a moment, in which it cleans up; a supervisor
    // waits for that, too.
    wait_until(DEADLINE, "the end of the network's worker", async || !tables().contains(&settings.instance))
        .await
        .unwrap();
    let next = spawn(dir, settings.clone()).await;
    let reaped = next.sandbox.reap().await.unwrap();
    assert!(reaped.sandboxes >= 1, "{reaped:?}");
    drop(next.sandbox);
    ended(next.child).await;
    wait_until(Duration::from_secs(10), "clean ground", async || traces(&settings.instance).is_empty())
        .await
        .unwrap();
}
