//! Getting a sandbox for a version: its root filesystem and a slot with its limits.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use metrics::counter;
use picasso_image::RootFs;
use picasso_sandbox::{Sandbox, SandboxError, SlotId, SlotLimits, SlotSpec};
use picasso_types::{Digest, Failure, ImageRef, ProjectId, Resource, RouteVersion, VersionSpec};
use tokio::time::Instant;

use crate::admission::NotAdmitted;
use crate::call_events::End;
use crate::parts::EngineParts;
use crate::settings::EngineSettings;

/// How long a new slot is asked for while the driver's helper process is being restarted.
const DRIVER_PATIENCE: Duration = Duration::from_secs(5);

/// The root filesystem of a version, ready for the driver.
pub(crate) async fn rootfs(
    parts: &EngineParts,
    project: &ProjectId,
    version: &RouteVersion,
) -> Result<Arc<RootFs>, End> {
    let Some(digest) = &version.digest else {
        return Err(End::of(Failure::NotReady { reason: "its image is still being prepared".to_owned() }));
    };
    let found = match parts.images.rootfs(project, digest).await {
        Err(error) if error.is_user_fault() => match by_digest(&version.spec.image, digest) {
            // Another node prepared the version: this one has to get the very same image itself.
            Some(pinned) => match parts.images.pull(project, &pinned).await {
                Ok(_) => parts.images.rootfs(project, digest).await,
                Err(error) => Err(error),
            },
            None => Err(error),
        },
        found => found,
    };
    let rootfs = match found {
        Ok(rootfs) => rootfs,
        Err(error) if error.is_user_fault() => {
            return Err(End::of(Failure::CannotStart { reason: error.to_string() }));
        }
        Err(error) => {
            tracing::error!(version = %version.id, error = &error as &dyn std::error::Error, "no root filesystem");
            return Err(End { may_repeat: true, ..End::of(Failure::Internal) });
        }
    };
    // Done when the version was made, unless the driver has lost it since.
    match parts.sandbox.prepare(&rootfs).await {
        Ok(()) => Ok(rootfs),
        Err(error) => Err(end_of_driver_error(&error, &version.id)),
    }
}

/// The reference of exactly this image in its registry; `None` for one that was loaded by hand.
fn by_digest(image: &ImageRef, digest: &Digest) -> Option<ImageRef> {
    let registry = image.registry()?;
    ImageRef::parse(&format!("{registry}/{}@{digest}", image.repository())).ok()
}

/// Asks for a slot, again for a moment while the driver says that it is away: the supervisor is
/// then restarting its spawner.
pub(crate) async fn make(
    sandbox: &Arc<dyn Sandbox>,
    settings: &EngineSettings,
    version: &RouteVersion,
) -> Result<SlotId, SandboxError> {
    let memory_bytes = u64::from(version.spec.memory_mb) << 20;
    let spec = SlotSpec {
        limits: SlotLimits {
            memory_bytes,
            cpu_millis: settings.call_cpu_millis,
            pids: settings.pids,
            tmp_bytes: (settings.tmp_mb << 20).min(memory_bytes),
            tmp_inodes: settings.tmp_inodes,
            nofile: settings.nofile,
        },
        network: version.spec.network,
    };
    let patience = Instant::now() + DRIVER_PATIENCE;
    loop {
        match sandbox.make_slot(&spec).await {
            Err(SandboxError::Unavailable { .. }) if Instant::now() < patience => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            outcome => return outcome,
        }
    }
}

/// The end of a call whose sandbox the driver did not give or lost; `of` names the call or the
/// version in the log.
pub(crate) fn end_of_driver_error(error: &SandboxError, of: &impl Display) -> End {
    match error {
        SandboxError::CannotStart(reason) => End::of(Failure::CannotStart { reason: reason.clone() }),
        SandboxError::Unsupported { .. } => End::of(Failure::CannotStart { reason: error.to_string() }),
        error => {
            tracing::error!(of = %of, %error, "the sandbox driver failed");
            End { may_repeat: true, ..End::of(Failure::Internal) }
        }
    }
}

/// The end of a call that was not admitted.
pub(crate) fn end_of_refused(refused: NotAdmitted, spec: &VersionSpec) -> End {
    let failure = match refused {
        NotAdmitted::NeverFits => return End::of(never_fits(spec)),
        NotAdmitted::WaitedTooLong | NotAdmitted::LineFull => Failure::NoCapacity,
        NotAdmitted::OverLimit(resource, limit) => {
            counter!("picasso_calls_over_limit_total", "limit" => resource.name()).increment(1);
            Failure::OverLimit { resource, limit }
        }
    };
    End { may_repeat: true, ..End::of(failure) }
}

/// What is told of a version whose memory is more than it can ever get.
fn never_fits(spec: &VersionSpec) -> Failure {
    Failure::CannotStart {
        reason: format!(
            "its memory of {} MiB is more than this node gives one project, or the project's limit ({})",
            spec.memory_mb,
            Resource::Memory.name()
        ),
    }
}
