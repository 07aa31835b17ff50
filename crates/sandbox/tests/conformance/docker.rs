//! The Docker driver under test, over an Engine of the suite's own.

use std::path::PathBuf;
use std::sync::Arc;

use picasso_image::{ImageStore, RootFs};
use picasso_sandbox::docker::{DockerSandbox, DockerSettings};
use picasso_sandbox::egress::{EgressSettings, load_docker_filter, unload_docker_filter};
use picasso_sandbox::{ProcessSpec, Reaped, Sandbox};
use picasso_testkit::docker::DockerEngine;
use picasso_testkit::process::require;

use crate::bed::{Bed, egress};
use crate::images::Export;
use crate::machine::{egress_settings, instance};

pub struct Docker {
    pub bed: Arc<Bed>,
    engine: Arc<DockerEngine>,
    instance: String,
}

async fn connect(socket: PathBuf, egress: EgressSettings, store: &ImageStore) -> DockerSandbox {
    load_docker_filter(&egress).unwrap();
    let settings = DockerSettings {
        socket,
        instance: egress.instance.clone(),
        secrets_folder: PathBuf::from("/dev/shm"),
        egress: Some(egress),
    };
    DockerSandbox::connect(settings, Arc::new(Export(store.clone()))).await.unwrap()
}

impl Docker {
    pub async fn start(store: &ImageStore, rootfs: &Arc<RootFs>) -> Option<Self> {
        if !require("docker", DockerEngine::missing().as_deref()) {
            return None;
        }
        let engine = Arc::new(DockerEngine::start_in_callers_network().await.unwrap());
        let instance = instance();
        let settings = egress_settings(&instance, "10.201.0.0/24");
        let sandbox = connect(engine.socket(), settings.clone(), store).await;
        let restart = {
            let (engine, store) = (Arc::clone(&engine), store.clone());
            move |bed, process| {
                let (engine, store) = (Arc::clone(&engine), store.clone());
                Box::pin(restart(engine, store, bed, process)) as std::pin::Pin<Box<_>>
            }
        };
        let bed = Bed {
            driver: "docker",
            sandbox: Arc::new(sandbox),
            rootfs: Arc::clone(rootfs),
            gateway: settings.gateway(),
            restart: Box::new(restart),
        };
        Some(Self { bed: Arc::new(bed), engine, instance })
    }

    pub async fn stop(self) {
        let reaped = self.bed.sandbox.reap().await;
        drop(self.bed);
        unload_docker_filter(&self.instance).unwrap();
        drop(self.engine);
        reaped.unwrap();
    }
}

/// A second server with an id of its own is killed; the first one's sandboxes stay.
async fn restart(engine: Arc<DockerEngine>, store: ImageStore, bed: Arc<Bed>, process: ProcessSpec) {
    let settings = egress_settings(&instance(), "10.202.0.0/24");
    let killed = connect(engine.socket(), settings.clone(), &store).await;
    let before = bed.start(&crate::bed::spec(), &crate::bed::probe(&["wait-for-stdin"])).await.unwrap();
    killed.prepare(&bed.rootfs).await.unwrap();
    let slot = killed.make_slot(&egress()).await.unwrap();
    let io = killed.start(slot, &bed.rootfs, &process).await.unwrap();
    drop((io, killed));
    let next = connect(engine.socket(), settings.clone(), &store).await;
    assert_eq!(next.reap().await.unwrap(), Reaped { sandboxes: 1, networks: 1 });
    assert_eq!(next.reap().await.unwrap(), Reaped::default());
    for listing in [&["ps", "-aq"][..], &["network", "ls", "-q"], &["images", "-q"]] {
        let filter = match listing[0] {
            "images" => format!("reference=picasso-{}", settings.instance),
            _ => format!("label=org.openstack.picasso.instance={}", settings.instance),
        };
        let left = engine.docker(&[listing, &["--filter", &filter]].concat()).unwrap();
        assert_eq!(left, "", "{listing:?}");
    }
    unload_docker_filter(&settings.instance).unwrap();
    drop(before.io);
    assert_eq!(bed.wait(before.slot).await.by, picasso_sandbox::EndedBy::Exit(0));
    bed.remove(before.slot).await;
}
