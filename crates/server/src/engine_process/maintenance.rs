//! What happens from time to time while a server runs.

use std::time::Duration;

use picasso_api::revoke_due;
use picasso_types::{Clock as _, SystemClock};
use tokio_util::sync::CancellationToken;

use super::parts::Parts;

/// How often images that nothing needs are looked for.
const COLLECT_INTERVAL: Duration = Duration::from_mins(5);
/// How often trusts that nothing needs any more are revoked, where it did not succeed at once.
const REVOKE_INTERVAL: Duration = Duration::from_mins(1);
/// How often gauges that nobody else sets are set.
const GAUGE_INTERVAL: Duration = Duration::from_secs(10);

pub(super) fn start(parts: &Parts, stopping: &CancellationToken) {
    let (images, store) = (parts.images.clone(), parts.store.clone());
    every(COLLECT_INTERVAL, stopping, move || {
        let (images, store) = (images.clone(), store.clone());
        async move {
            let collected = match store.list_referenced_digests().await {
                Ok(referenced) => images.collect(&referenced).await.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            if let Err(error) = collected {
                tracing::warn!(error, "images that nothing needs could not be removed");
            }
        }
    });
    if let Some(trusts) = parts.api.trusts.clone() {
        let store = parts.store.clone();
        every(REVOKE_INTERVAL, stopping, move || {
            let (store, trusts) = (store.clone(), trusts.clone());
            async move {
                if let Err(error) = revoke_due(store.as_ref(), &trusts, SystemClock.now()).await {
                    tracing::warn!(%error, "trusts that are not needed any more could not be looked up");
                }
            }
        });
    }
    tokio::spawn(parts.policy.clone().follow(stopping.clone()));
    let queue = parts.queue.clone();
    every(GAUGE_INTERVAL, stopping, move || {
        let queue = queue.clone();
        async move {
            match queue.depth().await {
                #[expect(clippy::cast_precision_loss, reason = "a gauge of how many calls wait")]
                Ok(depth) => metrics::gauge!("picasso_queue_depth").set(depth as f64),
                Err(error) => tracing::warn!(%error, "the length of the queue is not known"),
            }
        }
    });
}

fn every<F, R>(interval: Duration, stopping: &CancellationToken, job: F)
where
    F: Fn() -> R + Send + 'static,
    R: Future<Output = ()> + Send,
{
    let stopping = stopping.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = tokio::time::sleep(interval) => job().await,
                () = stopping.cancelled() => return,
            }
        }
    });
}
