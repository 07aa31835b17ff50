//! What makes functions run by itself: building it, running it, ending it.

use std::sync::Arc;

use picasso_engine::{Catalog, Engine};
use picasso_store::Store;
use picasso_trigger::object::ObjectTriggers;
use picasso_trigger::{Firer, Firings};
use picasso_types::Clock;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The parts that turn events into calls.
pub(super) struct Triggers {
    pub(super) firer: Firer,
    pub(super) objects: Arc<ObjectTriggers>,
    writing: Mutex<JoinHandle<()>>,
    /// What became of events is written down until this.
    ended: CancellationToken,
}

impl Triggers {
    pub(super) fn new(
        engine: Arc<Engine>,
        catalog: Arc<Catalog>,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let ended = CancellationToken::new();
        let (firings, writing) = Firings::start(store.clone(), ended.clone());
        let firer = Firer::new(engine, catalog.clone(), firings);
        let objects = Arc::new(ObjectTriggers::new(firer.clone(), catalog, store, clock));
        Self { firer, objects, writing: Mutex::new(writing), ended }
    }

    /// Starts what listens by itself.
    pub(super) fn start(&self, stopping: &CancellationToken) {
        let (objects, stopping) = (self.objects.clone(), stopping.clone());
        tokio::spawn(async move { objects.follow(stopping).await });
    }

    /// Writes down what became of the last events. To be called when nothing fires any more.
    pub(super) async fn finish(&self) {
        self.ended.cancel();
        // A writer that failed has said so.
        let mut writing = self.writing.lock().await;
        let _ = (&mut *writing).await;
    }
}
