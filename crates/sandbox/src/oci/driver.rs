//! The engine's side: the native driver's client, with what an OCI runtime cannot do refused.

use std::sync::Arc;

use async_trait::async_trait;
use picasso_image::RootFs;

use crate::native::NativeSandbox;
use crate::{
    Channel, Ended, Features, IdentityFolder, ProcessSpec, Reaped, Sandbox, SandboxError, SandboxIo, SlotId,
    SlotSpec,
};

const NAME: &str = "oci";

/// Functions started by an OCI runtime, over a spawner that was told to use one.
#[derive(Debug)]
pub struct OciSandbox {
    spawner: Arc<NativeSandbox>,
}

impl OciSandbox {
    /// The driver over the client of a spawner whose settings name a runtime.
    pub fn new(spawner: Arc<NativeSandbox>) -> Self {
        Self { spawner }
    }
}

/// The spawner's errors under this driver's name.
fn renamed(error: SandboxError) -> SandboxError {
    match error {
        SandboxError::Unavailable { reason, .. } => SandboxError::Unavailable { driver: NAME, reason },
        SandboxError::Unsupported { reason, .. } => SandboxError::Unsupported { driver: NAME, reason },
        other => other,
    }
}

#[async_trait]
impl Sandbox for OciSandbox {
    fn name(&self) -> &'static str {
        NAME
    }

    /// The standard streams are all that every OCI runtime carries: a socket in a folder or in a
    /// network namespace ends at the guest kernel of one that has its own.
    fn features(&self) -> Features {
        Features { egress: self.spawner.features().egress, socket_folder: false, ports: false }
    }

    async fn prepare(&self, rootfs: &RootFs) -> Result<(), SandboxError> {
        self.spawner.prepare(rootfs).await
    }

    async fn make_slot(&self, spec: &SlotSpec) -> Result<SlotId, SandboxError> {
        self.spawner.make_slot(spec).await.map_err(renamed)
    }

    async fn make_identity_folder(&self) -> Result<IdentityFolder, SandboxError> {
        self.spawner.make_identity_folder().await.map_err(renamed)
    }

    async fn start(
        &self,
        slot: SlotId,
        rootfs: &RootFs,
        process: &ProcessSpec,
    ) -> Result<SandboxIo, SandboxError> {
        if process.channel != Channel::Streams {
            let reason = "an OCI runtime carries nothing but the standard streams".to_owned();
            return Err(SandboxError::Unsupported { driver: NAME, reason });
        }
        let io = self.spawner.start(slot, rootfs, process).await.map_err(renamed)?;
        // A runtime with a guest kernel is not stopped by a control group of the host.
        Ok(SandboxIo { freezer: None, ..io })
    }

    async fn wait(&self, slot: SlotId) -> Result<Ended, SandboxError> {
        self.spawner.wait(slot).await.map_err(renamed)
    }

    async fn terminate(&self, slot: SlotId) -> Result<(), SandboxError> {
        self.spawner.terminate(slot).await.map_err(renamed)
    }

    async fn kill(&self, slot: SlotId) -> Result<(), SandboxError> {
        self.spawner.kill(slot).await.map_err(renamed)
    }

    async fn remove(&self, slot: SlotId) -> Result<(), SandboxError> {
        self.spawner.remove(slot).await.map_err(renamed)
    }

    async fn reap(&self) -> Result<Reaped, SandboxError> {
        self.spawner.reap().await.map_err(renamed)
    }
}
