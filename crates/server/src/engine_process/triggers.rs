//! What makes functions run by itself: building it, running it, ending it.

use std::sync::Arc;

use picasso_config::Settings;
use picasso_engine::{Catalog, Engine};
use picasso_store::Store;
use picasso_trigger::notification::Notifications;
use picasso_trigger::{Firer, Firings};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::events;

/// The parts that turn events into calls.
pub(super) struct Triggers {
    pub(super) firer: Firer,
    writing: Mutex<JoinHandle<()>>,
    /// What became of events is written down until this.
    ended: CancellationToken,
}

impl Triggers {
    pub(super) fn new(engine: Arc<Engine>, catalog: Arc<Catalog>, store: Arc<dyn Store>) -> Self {
        let ended = CancellationToken::new();
        let (firings, writing) = Firings::start(store, ended.clone());
        Self { firer: Firer::new(engine, catalog, firings), writing: Mutex::new(writing), ended }
    }

    /// Hears notifications of services until `stopping`, where the settings say so.
    pub(super) fn hear(
        &self,
        settings: &Settings,
        catalog: &Arc<Catalog>,
        store: &Arc<dyn Store>,
        stopping: &CancellationToken,
    ) {
        let Some(heard) = events::notifications(settings) else { return };
        let sink = Arc::new(self.firer.clone());
        let notifications = Notifications::new(sink, store.clone(), catalog.clone(), heard);
        tokio::spawn(notifications.run(stopping.clone()));
    }

    /// Writes down what became of the last events. To be called when nothing fires any more.
    pub(super) async fn finish(&self) {
        self.ended.cancel();
        // A writer that failed has said so.
        let mut writing = self.writing.lock().await;
        let _ = (&mut *writing).await;
    }
}
