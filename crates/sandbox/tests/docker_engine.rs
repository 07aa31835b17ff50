//! What the Docker driver says when its Engine is not there.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use picasso_sandbox::docker::{DockerSandbox, DockerSettings, ImageExport};
use picasso_sandbox::{Features, Sandbox, SandboxError, SlotLimits, SlotSpec};
use picasso_testkit::docker::DockerEngine;
use picasso_testkit::process::require;
use picasso_types::{Digest, NetworkMode};
use tokio::io::AsyncRead;

#[derive(Debug)]
struct NoImages;

#[async_trait]
impl ImageExport for NoImages {
    async fn docker_archive(&self, digest: &Digest) -> Result<Pin<Box<dyn AsyncRead + Send>>, SandboxError> {
        Err(SandboxError::CannotStart(format!("no image {digest}")))
    }
}

async fn connect(socket: PathBuf) -> Result<DockerSandbox, SandboxError> {
    let settings = DockerSettings {
        socket,
        instance: "0a1b2c3d".to_owned(),
        secrets_folder: PathBuf::from("/dev/shm"),
        egress: None,
    };
    DockerSandbox::connect(settings, Arc::new(NoImages)).await
}

fn says_what_to_do(error: &SandboxError, socket: &Path) {
    assert!(matches!(error, SandboxError::Unavailable { driver: "docker", .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(&socket.display().to_string()) && text.contains("hint: "), "{text}");
}

#[tokio::test]
async fn an_engine_that_is_not_there_is_unavailable_with_a_hint() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("docker.sock");
    says_what_to_do(&connect(missing.clone()).await.unwrap_err(), &missing);
    // A socket that nobody listens on any more.
    drop(std::os::unix::net::UnixListener::bind(&missing).unwrap());
    says_what_to_do(&connect(missing.clone()).await.unwrap_err(), &missing);
}

#[tokio::test]
async fn an_engine_that_goes_away_is_unavailable() {
    if !require("docker", DockerEngine::missing().as_deref()) {
        return;
    }
    let engine = DockerEngine::start().await.unwrap();
    let socket = engine.socket();
    let sandbox = connect(socket.clone()).await.unwrap();
    assert_eq!(sandbox.features(), Features { egress: false, socket_folder: false, ports: false });
    let limits = SlotLimits {
        memory_bytes: 64 << 20,
        cpu_millis: 1000,
        pids: 8,
        tmp_bytes: 1 << 20,
        tmp_inodes: 10,
        nofile: 64,
    };
    let egress = SlotSpec { limits, network: NetworkMode::Egress };
    let refused = sandbox.make_slot(&egress).await.unwrap_err();
    assert!(matches!(refused, SandboxError::Unsupported { .. }), "{refused:?}");
    sandbox.reap().await.unwrap();
    drop(engine);
    says_what_to_do(&sandbox.reap().await.unwrap_err(), &socket);
}
