//! Ended calls that are queued again by hand: under the same bounds as new ones, as they wait in the
//! same queue.

use picasso_store::StoreError;
use picasso_types::{CallFilter, CallId, ProjectId, Retried, RetriedCalls};

use crate::back_pressure::QueueFull;
use crate::engine::Engine;

/// Why calls were not queued again.
#[derive(Debug, thiserror::Error)]
pub enum RetryError {
    /// As many calls are queued as may be.
    #[error(transparent)]
    QueueFull(#[from] QueueFull),
    /// The store failed, or has no such call.
    #[error("the call could not be queued again")]
    Store(#[from] StoreError),
}

impl Engine {
    /// Queues an ended call of the project again.
    pub async fn retry_call(&self, project: &ProjectId, id: &CallId) -> Result<Retried, RetryError> {
        let reserved = self.shared.back_pressure.reserve(project)?;
        let retried = self.shared.parts.store.retry_call(project, id).await?;
        if retried == Retried::Queued {
            reserved.keep();
            self.shared.accepted.notify_one();
        }
        Ok(retried)
    }

    /// Queues many ended calls of a project again, as many as there is room for; see
    /// [`picasso_store::Store::retry_calls`].
    pub async fn retry_calls(&self, filter: &CallFilter) -> Result<RetriedCalls, RetryError> {
        let reserved = self.shared.back_pressure.reserve_up_to(&filter.project_id, filter.limit)?;
        let filter = CallFilter { limit: reserved.calls(), ..filter.clone() };
        let retried = self.shared.parts.store.retry_calls(&filter).await?;
        reserved.keep_some(retried.queued);
        if retried.queued > 0 {
            self.shared.accepted.notify_one();
        }
        Ok(retried)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use picasso_store::Store as _;
    use picasso_types::CallState;

    use super::*;
    use crate::accept::AcceptOptions;
    use crate::hot::tests::fake::{Bench, Broken};
    use crate::settings::EngineSettings;

    /// Waits for a condition that comes true by itself.
    async fn until(mut condition: impl AsyncFnMut() -> bool) {
        let there = async {
            while !condition().await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), there).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_retry_by_hand_is_refused_as_any_call_when_the_queue_is_full() {
        let bench = Bench::limited(EngineSettings::default(), 3).await;
        let target = bench.function(|_| ()).await;
        let project = &target.app.project_id;
        let accept = async |order, delayed: bool| {
            let not_before = delayed.then(|| bench.engine.now().plus(Duration::from_hours(1)));
            let options = AcceptOptions { not_before, ..AcceptOptions::default() };
            bench.engine.accept(Bench::invocation(&target, order), options).await
        };
        let is = async |id: &CallId, state| bench.store.get_call(id).await.unwrap().state == state;
        let mut failed = Vec::new();
        for _ in 0..3 {
            let id = accept("exit", false).await.unwrap().id;
            until(async || is(&id, CallState::Failed).await).await;
            failed.push(id);
        }
        // What is queued again begins to run, and does not end.
        *bench.world.broken.lock().unwrap() = Some(Broken::Silent);
        for _ in 0..2 {
            accept("answer", true).await.unwrap();
        }
        let filter = CallFilter {
            project_id: project.clone(),
            app_name: None,
            route_path: None,
            state: Some(CallState::Failed),
            since: None,
            after: None,
            limit: 100,
        };
        // For a moment calls may be counted twice.
        let mut retried = None;
        until(async || {
            retried = bench.engine.retry_calls(&filter).await.ok();
            retried.is_some()
        })
        .await;
        assert_eq!(retried, Some(RetriedCalls { queued: 1, more: true }), "as many as there is room for");
        until(async || is(&failed[0], CallState::Running).await).await;
        until(async || accept("answer", true).await.is_err()).await;

        let refused = bench.engine.retry_call(project, &failed[2]).await.unwrap_err();
        assert!(matches!(refused, RetryError::QueueFull(QueueFull::Project(3))), "{refused:?}");
        let refused = bench.engine.retry_calls(&filter).await.unwrap_err();
        assert!(matches!(refused, RetryError::QueueFull(QueueFull::Project(3))), "{refused:?}");
        assert!(is(&failed[2], CallState::Failed).await, "nothing is changed");
    }
}
