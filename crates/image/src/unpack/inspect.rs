//! Checking layers without writing them.

use std::fs::File;

use async_trait::async_trait;
use picasso_types::Digest;

use super::model::ModelSink;
use super::read_layer;
use crate::{LayerUnpacker, UnpackBounds, UnpackError, UnpackedLayer};

/// Reads a layer and applies every rule to it, writing nothing.
pub(super) fn inspect(
    blob: File,
    diff_id: &Digest,
    bounds: UnpackBounds,
) -> Result<UnpackedLayer, UnpackError> {
    read_layer(blob, diff_id, bounds, &mut ModelSink::default())
}

/// The unpacker of a server whose only sandbox driver is Docker: Docker unpacks by itself, from
/// the archive that the store gives it, so layers are only checked (same rules, same messages)
/// and read for their accounts. Works without root.
#[derive(Debug, Clone, Copy, Default)]
pub struct InspectOnly;

#[async_trait]
impl LayerUnpacker for InspectOnly {
    async fn unpack(
        &self,
        blob: File,
        diff_id: &Digest,
        bounds: UnpackBounds,
    ) -> Result<UnpackedLayer, UnpackError> {
        let diff_id = diff_id.clone();
        tokio::task::spawn_blocking(move || inspect(blob, &diff_id, bounds))
            .await
            .map_err(|error| UnpackError::Failed(error.to_string()))?
    }

    /// Always: nothing has to be on disk for Docker.
    async fn has(&self, _diff_id: &Digest) -> Result<bool, UnpackError> {
        Ok(true)
    }

    async fn remove(&self, _diff_id: &Digest) -> Result<(), UnpackError> {
        Ok(())
    }
}
