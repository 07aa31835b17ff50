//! Root filesystems: seeing to it that an image's layers are unpacked before a driver needs them.

use std::sync::Arc;

use picasso_types::{Digest, ProjectId};

use super::ImageStore;
use super::record::ImageRecord;
use crate::{ImageError, RootFs, UnpackBounds};

impl ImageStore {
    /// The root filesystem of an image that is visible to the project, unpacked and ready.
    /// After the first time it is answered from memory.
    pub async fn rootfs(&self, project: &ProjectId, digest: &Digest) -> Result<Arc<RootFs>, ImageError> {
        let record = self.read_state().visible(project, digest).ok_or_else(|| {
            ImageError::Invalid(format!(
                "image {digest} is not among the project's images any more; load or pull it again"
            ))
        })?;
        if !self.proven().contains(digest) {
            let _one_at_a_time = self.0.restoring.lock().await;
            if !self.proven().contains(digest) {
                self.restore(&record).await?;
                self.proven().insert(digest.clone());
            }
        }
        Ok(Arc::clone(&record.rootfs))
    }

    /// Unpacks layers that are missing: the layer folder was lost, or an earlier server had no
    /// driver that needed it.
    async fn restore(&self, record: &ImageRecord) -> Result<(), ImageError> {
        let _pin = self.0.pins.hold(record.diff_ids().cloned().collect());
        for layer in &record.layers {
            if self.0.unpacker.has(&layer.diff_id).await? {
                continue;
            }
            let bounds = UnpackBounds {
                max_bytes: layer.unpacked_bytes,
                max_inodes: layer.inodes,
                timeout: self.0.settings.unpack_timeout,
            };
            self.unpack_layer(self.0.disk.blob(&layer.blob.digest), &layer.diff_id, bounds).await?;
            self.0.disk.trust_layer(&layer.diff_id).map_err(ImageError::failed("restoring a layer"))?;
        }
        Ok(())
    }
}
