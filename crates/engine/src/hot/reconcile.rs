//! Follows what becomes of routes: sandboxes of superseded versions and deleted routes end, and
//! versions with `min_instances` have theirs. The versions of aliases are not superseded.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use picasso_store::{Changed, StoreError};
use picasso_types::AppId;
use tokio_util::sync::CancellationToken;

use super::pools::Hot;
use crate::route_targets::RouteTargets;

/// How often all is looked through, for what could not be read when it changed.
const EVERY: Duration = Duration::from_secs(30);

/// Runs until `stopping`: at once, whenever an app has changed, and every 30 seconds.
pub(crate) async fn run(hot: Arc<Hot>, stopping: CancellationToken) {
    let mut round = tokio::time::interval(EVERY);
    round.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let apps = tokio::select! {
            changed = hot.parts.catalog.changed() => {
                // First of all: what does not hold any more is not to be used while the rest is read.
                hot.identities.changed(&changed);
                match changed {
                    Changed::Apps(apps) => Ok(apps),
                    Changed::Anything => everything(&hot).await,
                }
            }
            _ = round.tick() => everything(&hot).await,
            () = stopping.cancelled() => return,
        };
        let done = match apps {
            Ok(apps) => follow_all(&hot, apps).await,
            Err(error) => Err(error),
        };
        if let Err(error) = done {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "changed routes could not be read; again in 30 s"
            );
        }
    }
}

/// Apps with pools, and those whose routes are to be kept warm.
async fn everything(hot: &Hot) -> Result<HashSet<AppId>, StoreError> {
    hot.sweep();
    let mut apps = hot.apps();
    apps.extend(hot.parts.store.list_kept_warm().await?);
    Ok(apps)
}

async fn follow_all(hot: &Arc<Hot>, apps: HashSet<AppId>) -> Result<(), StoreError> {
    for app in apps {
        let targets = match hot.parts.store.get_app_by_id(&app).await {
            Ok(app) => {
                let routes = RouteTargets::load_all(hot.parts.store.as_ref(), &Arc::new(app)).await?;
                routes.iter().flat_map(RouteTargets::kept).cloned().collect()
            }
            Err(StoreError::NotFound) => Vec::new(),
            Err(error) => return Err(error),
        };
        hot.reconcile(&app, &targets);
    }
    Ok(())
}
