//! What makes functions run by itself: building it, running it, ending it.

use std::sync::Arc;
use std::time::Duration;

use picasso_config::Settings;
use picasso_engine::{Catalog, Engine};
use picasso_outbound::Zaqar;
use picasso_store::Store;
use picasso_trigger::notification::Notifications;
use picasso_trigger::object::ObjectTriggers;
use picasso_trigger::{Firer, Firings, Queues, ScheduleSettings, Schedules, TriggerTokens};
use picasso_types::{Clock, InstanceId};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::events;

/// The parts that turn events into calls.
pub(super) struct Triggers {
    pub(super) firer: Firer,
    pub(super) objects: Arc<ObjectTriggers>,
    catalog: Arc<Catalog>,
    store: Arc<dyn Store>,
    instance: InstanceId,
    clock: Arc<dyn Clock>,
    /// Zaqar, and the tokens that its queues are read with.
    queues: Option<(Zaqar, Arc<dyn TriggerTokens>)>,
    /// What makes events by itself.
    sources: TaskTracker,
    writing: Mutex<JoinHandle<()>>,
    /// What became of events is written down until this.
    ended: CancellationToken,
}

impl Triggers {
    pub(super) fn new(
        engine: Arc<Engine>,
        catalog: Arc<Catalog>,
        store: Arc<dyn Store>,
        instance: InstanceId,
        clock: Arc<dyn Clock>,
        queues: Option<(Zaqar, Arc<dyn TriggerTokens>)>,
    ) -> Self {
        let ended = CancellationToken::new();
        let (firings, writing) = Firings::start(store.clone(), ended.clone());
        let firer = Firer::new(engine, catalog.clone(), firings);
        let objects =
            Arc::new(ObjectTriggers::new(firer.clone(), catalog.clone(), store.clone(), clock.clone()));
        let (sources, writing) = (TaskTracker::new(), Mutex::new(writing));
        Self { firer, objects, catalog, store, instance, clock, queues, sources, writing, ended }
    }

    /// Lets what makes or follows events by itself begin; it ends with `stopping`.
    pub(super) fn start(&self, settings: &Settings, stopping: &CancellationToken) {
        tokio::spawn(self.objects.clone().follow(stopping.clone()));
        let late = settings.triggers.schedule_missed_after_s;
        let schedules = Schedules::new(
            self.firer.clone(),
            self.store.clone(),
            self.instance.clone(),
            self.clock.clone(),
            self.catalog.follow(),
            &ScheduleSettings { missed_after: Duration::from_secs(late.into()) },
        );
        self.sources.spawn(schedules.run(stopping.clone()));
        if let Some((zaqar, tokens)) = self.queues.clone() {
            let queues = Queues::new(
                self.firer.clone(),
                self.store.clone(),
                self.instance.clone(),
                self.clock.clone(),
                self.catalog.follow(),
                zaqar,
                tokens,
            );
            self.sources.spawn(queues.run(stopping.clone()));
        }
        if let Some(heard) = events::notifications(settings) {
            let sink = Arc::new(self.firer.clone());
            let notifications = Notifications::new(sink, self.store.clone(), self.catalog.clone(), heard);
            self.sources.spawn(notifications.run(stopping.clone()));
        }
    }

    /// Waits for what is firing, and writes down what became of the last events.
    pub(super) async fn finish(&self) {
        self.sources.close();
        self.sources.wait().await;
        self.ended.cancel();
        // A writer that failed has said so.
        let mut writing = self.writing.lock().await;
        let _ = (&mut *writing).await;
    }
}
