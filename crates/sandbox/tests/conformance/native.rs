//! The native and the OCI driver under test; this program, started again, is their spawner.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Child, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use picasso_image::RootFs;
use picasso_sandbox::egress::EgressSettings;
use picasso_sandbox::native::NativeSandbox;
use picasso_sandbox::oci::{self, OciSandbox};
use picasso_sandbox::supervisor::{NativeSettings, SPAWNER_COMMAND, spawn_native, spawner_main};
use picasso_sandbox::{ProcessSpec, Sandbox};
use picasso_testkit::process::{require, wait_until};
use tokio::sync::mpsc;

use crate::bed::{Bed, DEADLINE, egress, within};
use crate::machine::{egress_settings, instance};

/// Is the spawner, where this process was started as one.
pub fn spawner() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    (arguments.next()? == SPAWNER_COMMAND).then(|| spawner_main(&arguments.collect::<Vec<OsString>>()))
}

/// Which of the two drivers: what it is called, what starts its functions, its networks.
#[derive(Clone)]
pub struct Kind {
    name: &'static str,
    runtime: Option<PathBuf>,
    subnets: [&'static str; 2],
}

impl Kind {
    pub fn native() -> Self {
        Self { name: "native", runtime: None, subnets: ["10.203.0.0/24", "10.204.0.0/24"] }
    }

    /// With the reference runtime, where it is installed.
    pub fn runc() -> Option<Self> {
        let runtime = oci::find(Path::new("runc"));
        let there = require("runc", runtime.as_ref().err().map(String::as_str));
        let subnets = ["10.205.0.0/24", "10.206.0.0/24"];
        there.then(|| Self { name: "oci", runtime: runtime.ok(), subnets })
    }
}

/// A spawner and the driver over it. Keeping the sender says that the supervisor lives.
struct Spawned {
    sandbox: Arc<dyn Sandbox>,
    child: Child,
    kept: (mpsc::Sender<std::os::fd::OwnedFd>, std::os::fd::OwnedFd),
}

async fn spawn(kind: &Kind, dir: PathBuf, settings: EgressSettings) -> Spawned {
    let runtime = kind.runtime.clone();
    let native = NativeSettings { ready_slots: 2, ready_egress_slots: 1, max_slots: 64, runtime };
    let instance = settings.instance.clone();
    let spawned = spawn_native(Path::new("/proc/self/exe"), dir, &instance, native, Some(settings)).unwrap();
    let (sockets, received) = mpsc::channel(1);
    sockets.send(spawned.socket).await.unwrap();
    let sandbox = NativeSandbox::new(received);
    sandbox.ready(DEADLINE).await.unwrap();
    let sandbox: Arc<dyn Sandbox> = match kind.runtime {
        None => Arc::new(sandbox),
        Some(_) => Arc::new(OciSandbox::new(Arc::new(sandbox))),
    };
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
    pub async fn start(kind: Kind, dir: &Path, rootfs: &Arc<RootFs>) -> Self {
        let settings = egress_settings(&instance(), kind.subnets[0]);
        let Spawned { sandbox, child, kept } = spawn(&kind, dir.to_owned(), settings.clone()).await;
        let (dir, driver) = (dir.to_owned(), kind.name);
        let restart = move |bed, process| {
            Box::pin(restart(kind.clone(), dir.clone(), bed, process))
                as Pin<Box<dyn Future<Output = ()> + Send>>
        };
        let bed = Bed {
            driver,
            sandbox,
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
async fn restart(kind: Kind, dir: PathBuf, bed: Arc<Bed>, process: ProcessSpec) {
    let settings = egress_settings(&instance(), kind.subnets[1]);
    let mut killed = spawn(&kind, dir.clone(), settings.clone()).await;
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
    let next = spawn(&kind, dir, settings.clone()).await;
    let reaped = next.sandbox.reap().await.unwrap();
    assert!(reaped.sandboxes >= 1, "{reaped:?}");
    drop(next.sandbox);
    ended(next.child).await;
    wait_until(Duration::from_secs(10), "clean ground", async || traces(&settings.instance).is_empty())
        .await
        .unwrap();
}
