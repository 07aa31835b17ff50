//! Preparing a version: its image is resolved, pulled and unpacked before any call needs it.
//!
//! One process at a time does that, under a lease; where it died, another takes over when the lease
//! has ended.

use std::time::Duration;

use picasso_types::{Digest, ProjectId, RouteVersion, VersionState};

use crate::engine::Engine;

/// Others leave a preparation alone for this time after its process was last heard of.
const LEASE: Duration = Duration::from_secs(30);
/// Preparations that nobody holds are looked for this often.
const LOOK: Duration = Duration::from_secs(15);

impl Engine {
    /// Makes a new version ready for its first call, in the background: pulls the image of a
    /// `preparing` one, and lets the sandbox driver take over that of a `ready` one.
    pub fn prepare(&self, project: &ProjectId, version: &RouteVersion) {
        let engine = self.clone();
        let (project, version) = (project.clone(), version.clone());
        self.shared.tasks.spawn(async move { run(&engine, &project, &version).await });
    }
}

/// Takes up what nobody prepares any more, until the engine stops.
pub(crate) async fn take_up(engine: Engine) {
    let shared = engine.shared.clone();
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = shared.stopping.cancelled() => return,
        }
        match shared.parts.store.list_preparing_versions().await {
            Ok(versions) => {
                for one in versions {
                    engine.prepare(&one.project_id, &one.version);
                }
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "preparations cannot be looked for");
            }
        }
    }
}

/// Takes the lease of a preparation, or holds it longer. Where the store does not say, it is not
/// held.
async fn lease(engine: &Engine, version: &RouteVersion) -> bool {
    let parts = &engine.shared.parts;
    let until = parts.clock.now().plus(LEASE);
    parts.store.lease_preparation(&version.id, &parts.instance, until).await.unwrap_or_else(|error| {
        tracing::warn!(version = %version.id, error = &error as &dyn std::error::Error, "a preparation cannot be leased");
        false
    })
}

/// Extends the lease of a preparation; ends when it is lost.
async fn hold(engine: &Engine, version: &RouteVersion) {
    loop {
        tokio::time::sleep(LEASE / 3).await;
        if !lease(engine, version).await {
            tracing::warn!(version = %version.id, "the lease of a preparation is lost; whoever has it goes on");
            return;
        }
    }
}

/// Pulls the image of `version` and marks the version `ready` or `failed`, unless another process
/// does it.
pub async fn run(engine: &Engine, project: &ProjectId, version: &RouteVersion) {
    let parts = &engine.shared.parts;
    let image = &version.spec.image;
    match (version.state, &version.digest) {
        (VersionState::Preparing, _) => {}
        (VersionState::Ready, Some(digest)) => {
            if let Err(reason) = hand_to_driver(engine, project, version, digest).await {
                tracing::warn!(%project, %image, version = %version.id, reason, "the driver does not take the image");
            }
            return;
        }
        _ => return,
    }
    let Some(_begun) = engine.shared.preparing.begin(&version.id) else { return };
    if !lease(engine, version).await {
        return;
    }
    let outcome = tokio::select! {
        outcome = pull(engine, project, version) => outcome,
        () = hold(engine, version) => return,
        () = engine.shared.stopping.cancelled() => return,
    };
    let stored = match outcome {
        Ok(digest) => {
            tracing::info!(%project, %image, %digest, version = %version.id, "image ready");
            parts.store.set_version_ready(&version.id, &digest).await
        }
        Err(reason) => {
            tracing::warn!(%project, %image, version = %version.id, reason, "image failed");
            parts.store.set_version_failed(&version.id, &reason).await
        }
    };
    if let Err(error) = stored {
        tracing::error!(version = %version.id, error = &error as &dyn std::error::Error, "the state of a version could not be stored");
        return;
    }
    match parts.store.get_route_by_id(&version.route_id).await {
        Ok(route) => parts.catalog.forget(&route.app_id).await,
        Err(error) => {
            tracing::debug!(version = %version.id, %error, "the route of a prepared version is gone");
        }
    }
}

/// The digest, or a sentence for the owner of the route.
async fn pull(engine: &Engine, project: &ProjectId, version: &RouteVersion) -> Result<Digest, String> {
    let parts = &engine.shared.parts;
    let digest = parts
        .images
        .pull(project, &version.spec.image)
        .await
        .map_err(|error| told(version, &error, error.is_user_fault()))?;
    hand_to_driver(engine, project, version, &digest).await?;
    Ok(digest)
}

async fn hand_to_driver(
    engine: &Engine,
    project: &ProjectId,
    version: &RouteVersion,
    digest: &Digest,
) -> Result<(), String> {
    let parts = &engine.shared.parts;
    let rootfs = parts
        .images
        .rootfs(project, digest)
        .await
        .map_err(|error| told(version, &error, error.is_user_fault()))?;
    parts.sandbox.prepare(&rootfs).await.map_err(|error| told(version, &error, false))
}

/// The sentence for the owner; a fault of ours is logged and told only as such.
fn told(version: &RouteVersion, error: &(dyn std::error::Error + 'static), user_fault: bool) -> String {
    if user_fault {
        error.to_string()
    } else {
        tracing::error!(version = %version.id, error, "preparing an image failed");
        "the image could not be prepared because of a fault of the service".to_owned()
    }
}
