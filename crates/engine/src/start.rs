//! What runs beside calls for as long as the engine does.

use std::sync::PoisonError;

use picasso_store::StoreError;

use crate::engine::{Engine, Shared};
use crate::{change_feed, deliverer, dispatch, hot, prepare, retention, worker};

impl Engine {
    /// Takes up what an earlier process left (preparations, asynchronous calls) and starts the
    /// loops that dispatch and run asynchronous calls and look after hot sandboxes.
    pub async fn start(&self) -> Result<(), StoreError> {
        let parts = &self.shared.parts;
        let abandoned = parts.store.abandon_leases(&parts.instance).await?;
        if abandoned > 0 {
            tracing::info!(calls = abandoned, "calls of the earlier process will run again");
        }
        for preparing in parts.store.list_preparing_versions().await? {
            self.prepare(&preparing.project_id, &preparing.version);
        }
        // Known before the first call is accepted.
        self.shared.back_pressure.count(parts).await?;
        let shared = self.shared.clone();
        let counting = async move { shared.back_pressure.run(&shared.parts, &shared.stopping).await };
        self.shared.tasks.spawn(counting);
        self.shared.tasks.spawn(dispatch::run(self.clone()));
        self.shared.tasks.spawn(worker::run(self.clone()));
        self.shared.tasks.spawn(retention::run(self.clone()));
        self.shared.tasks.spawn(change_feed::run(self.clone()));
        self.shared.tasks.spawn(prepare::take_up(self.clone()));
        self.shared.tasks.spawn(deliverer::run(self.clone()));
        let shared = self.shared.clone();
        self.shared.tasks.spawn(async move { shared.recorder.run(&shared.stopping).await });
        let Shared { hot, stopping, .. } = &*self.shared;
        self.shared.tasks.spawn(hot::reconcile::run(hot.clone(), stopping.clone()));
        let janitor = self.shared.janitor.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(janitor) = janitor {
            self.shared.tasks.spawn(janitor.run(stopping.clone()));
        }
        Ok(())
    }
}
