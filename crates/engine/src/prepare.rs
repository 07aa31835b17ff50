//! Preparing a version: its image is resolved, pulled and unpacked before any call needs it.

use picasso_types::{Digest, ProjectId, RouteVersion, VersionState};

use crate::engine::Engine;

/// Pulls the image of `version` and marks the version `ready` or `failed`. Work that was cut off
/// by the end of the process is taken up at the next start.
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
    let outcome = tokio::select! {
        outcome = pull(engine, project, version) => outcome,
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
