//! What the store keeps of results, logs and the objects outside of it that hold large ones: the part of
//! [`crate::Store`] that they need.

use async_trait::async_trait;
use picasso_types::{InstanceId, NewObject, ObjectId, ProjectId, RemovableObject};

use crate::StoreError;

/// How much of results and logs a project keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptOutputs {
    /// The project.
    pub project_id: ProjectId,
    /// Bytes.
    pub bytes: u64,
}

/// Objects outside the database, and what is kept of ended calls in and outside of it. Errors as for [`crate::Store`].
#[async_trait]
pub trait KeptObjectStore: Send + Sync + std::fmt::Debug {
    /// Writes down that an object is about to be written; see [`picasso_types::kept_object`].
    async fn begin_object(&self, new: &NewObject) -> Result<(), StoreError>;

    /// Lets objects that no call has be removed at once; others are left alone.
    async fn abandon_objects(&self, ids: &[ObjectId]) -> Result<(), StoreError>;

    /// Up to `limit` objects that no call has and whose time is over, and that `node` can reach.
    async fn list_removable_objects(
        &self,
        node: &InstanceId,
        limit: u32,
    ) -> Result<Vec<RemovableObject>, StoreError>;

    /// Forgets objects that were removed; those that a call has are left alone.
    async fn forget_objects(&self, ids: &[ObjectId]) -> Result<(), StoreError>;

    /// The projects that keep most of results and logs, up to `limit`, most first.
    async fn list_kept_outputs(&self, limit: u32) -> Result<Vec<KeptOutputs>, StoreError>;

    /// Deletes results and logs of a project that has more than `max_bytes` of them, those of the
    /// calls that ended first, until the rest fits: of up to `limit` calls. The calls stay. Returns
    /// of how many.
    async fn delete_outputs_beyond(
        &self,
        project: &ProjectId,
        max_bytes: u64,
        limit: u32,
    ) -> Result<u64, StoreError>;
}
