//! [`KeptObjectStore`] of each driver.

use async_trait::async_trait;
use picasso_types::{InstanceId, NewObject, ObjectId, ProjectId, RemovableObject};

use super::{DriverStore, objects, read, write};
use crate::{KeptObjectStore, KeptOutputs, StoreError};

#[async_trait]
impl KeptObjectStore for DriverStore {
    async fn begin_object(&self, new: &NewObject) -> Result<(), StoreError> {
        write!(self, [new], |db, _now| objects::begin(db, new))
    }

    async fn abandon_objects(&self, ids: &[ObjectId]) -> Result<(), StoreError> {
        write!(self, [ids], |db, _now| objects::abandon(db, ids))
    }

    async fn list_removable_objects(
        &self,
        node: &InstanceId,
        limit: u32,
    ) -> Result<Vec<RemovableObject>, StoreError> {
        let now = self.clock.now();
        read!(self, |db| objects::list_removable(db, node, limit, now))
    }

    async fn forget_objects(&self, ids: &[ObjectId]) -> Result<(), StoreError> {
        write!(self, [ids], |db, _now| objects::forget(db, ids))
    }

    async fn list_kept_outputs(&self, limit: u32) -> Result<Vec<KeptOutputs>, StoreError> {
        read!(self, |db| objects::list_kept(db, limit))
    }

    async fn delete_outputs_beyond(
        &self,
        project: &ProjectId,
        max_bytes: u64,
        limit: u32,
    ) -> Result<u64, StoreError> {
        let calls = &read!(self, |db| objects::list_beyond(db, project, max_bytes, limit))?;
        write!(self, [calls], |db, _now| objects::delete_outputs(db, calls))
    }
}
