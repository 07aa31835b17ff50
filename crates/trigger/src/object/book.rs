//! The object triggers of projects that had events lately, kept in memory until something changes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use picasso_engine::ChangesFollower;
use picasso_store::{Store, StoreError};
use picasso_types::ProjectId;
use picasso_types::trigger::{Trigger, TriggerKind, TriggerState};
use tokio_util::sync::CancellationToken;

/// Projects that are remembered; beyond it all are read again.
const MAX_PROJECTS: usize = 10_000;

/// A project's active object triggers.
type Triggers = Arc<Vec<Arc<Trigger>>>;

#[derive(Debug)]
pub(super) struct Book {
    store: Arc<dyn Store>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Counts up with every change that is heard: what was being read then is not remembered.
    generation: u64,
    projects: HashMap<ProjectId, Triggers>,
}

impl Book {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, known: Mutex::default() }
    }

    /// The project's active object triggers.
    pub(super) async fn of(&self, project: &ProjectId) -> Result<Triggers, StoreError> {
        let generation = {
            let known = self.lock();
            if let Some(triggers) = known.projects.get(project) {
                return Ok(triggers.clone());
            }
            known.generation
        };
        let all = self.store.list_triggers(project).await?;
        let wanted = |trigger: &Trigger| {
            trigger.state == TriggerState::Active && matches!(trigger.spec.kind, TriggerKind::Object(_))
        };
        let triggers: Triggers = Arc::new(all.into_iter().filter(wanted).map(Arc::new).collect());
        let mut known = self.lock();
        if known.generation == generation {
            if known.projects.len() >= MAX_PROJECTS {
                known.projects.clear();
            }
            known.projects.insert(project.clone(), triggers.clone());
        }
        Ok(triggers)
    }

    /// Forgets what may have changed, until `stopping`.
    pub(super) async fn follow(&self, mut changes: ChangesFollower, stopping: CancellationToken) {
        loop {
            tokio::select! {
                heard = changes.next() => if heard.is_none() { return },
                () = stopping.cancelled() => return,
            }
            // A change names an app, not its project; reading a project again is one look.
            let mut known = self.lock();
            known.generation += 1;
            known.projects.clear();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
