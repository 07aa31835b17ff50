//! What stored calls run: app, route and version as they are in the store, kept for a moment, so that a
//! queue of one function's calls is not three look-ups for each of them. Versions do not change; a
//! deleted route's queued calls are cancelled with it.

use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use picasso_store::{Store, StoreError};
use picasso_types::{Call, VersionId};

use crate::place::Place;
use crate::target::Target;

/// How long a target is used again.
const KEPT: Duration = Duration::from_secs(1);
/// Most targets that are kept.
const MAX: u64 = 1024;

#[derive(Debug)]
pub(crate) struct VersionTargets(Cache<VersionId, Arc<Target>>);

impl Default for VersionTargets {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(MAX).time_to_live(KEPT).build())
    }
}

impl VersionTargets {
    /// What the call runs; `None` when route or app are gone.
    pub(crate) async fn find(
        &self,
        store: &dyn Store,
        call: &Call,
    ) -> Result<Option<Arc<Target>>, StoreError> {
        if let Some(target) = self.0.get(&call.version_id).await {
            return Ok(Some(target));
        }
        let found = async {
            let app = store.get_app_by_id(&call.app_id).await?;
            let route = store.get_route_by_id(&call.route_id).await?;
            let version = store.get_version(&call.version_id).await?;
            Ok::<_, StoreError>((app, route, version))
        };
        let (app, route, version) = match found.await {
            Ok(found) => found,
            Err(StoreError::NotFound) => return Ok(None),
            Err(error) => return Err(error),
        };
        let target = Arc::new(Target {
            app: Arc::new(app),
            route: Arc::new(route),
            version: Some(Arc::new(version)),
            place: Place::default(),
        });
        // One whose image is still being had is looked up again: it becomes ready.
        if target.version.as_ref().is_some_and(|version| version.digest.is_some()) {
            self.0.insert(call.version_id.clone(), target.clone()).await;
        }
        Ok(Some(target))
    }
}
