//! Changes of objects in Swift: which triggers they fire.
//!
//! The filter in Swift's proxy tells all changes; what a project wants of them is decided here. Three
//! ways lead to a function: a trigger, a subscription in the container's metadata, and a function that
//! the client named (`X-Function-URL`). A function whose own identity made the change does not run for
//! it unless its trigger says so, and none runs more often than its cap: a loop over several functions
//! ends there.

mod book;
mod caps;
mod checked;
mod client_function;
mod event;
mod named;

use std::sync::Arc;

use picasso_engine::Catalog;
use picasso_store::{Store, StoreError};
use picasso_types::trigger::object::{ObjectOperation, ObjectOptions};
use picasso_types::trigger::{FiringOutcome, Trigger, TriggerKind, TriggerState};
use picasso_types::{Clock, IdentityGrant, RouteId};
use tokio_util::sync::CancellationToken;

use crate::event::Event;
use crate::firing::{FireError, FireOptions, Fired, Firer};
use book::Book;
use caps::Caps;

pub use checked::{CheckedEvent, checked};
pub use event::{CopySource, ObjectEvent, Subscription};

/// Fires for changes of objects.
#[derive(Debug)]
pub struct ObjectTriggers {
    firer: Firer,
    catalog: Arc<Catalog>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    book: Book,
    caps: Caps,
}

/// Why the events of a request were not all taken: some may be taken later, and the whole request should
/// come again.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ObjectFault(pub String);

impl ObjectTriggers {
    /// Reads triggers and identities from `store`, finds routes in `catalog`.
    pub fn new(firer: Firer, catalog: Arc<Catalog>, store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self { firer, catalog, book: Book::new(store.clone()), store, clock, caps: Caps::default() }
    }

    /// Hears of changes of triggers from now on, until `stopping`.
    pub fn follow(self: Arc<Self>, stopping: CancellationToken) -> impl Future<Output = ()> + Send + 'static {
        let changes = self.catalog.follow();
        async move { self.book.follow(changes, stopping).await }
    }

    /// Takes events; says how many calls they made. Those that come again make none.
    pub async fn take(&self, events: &[CheckedEvent]) -> Result<usize, ObjectFault> {
        let mut calls = 0;
        for event in events {
            calls += self.take_one(event).await?;
        }
        Ok(calls)
    }

    async fn take_one(&self, checked: &CheckedEvent) -> Result<usize, ObjectFault> {
        let CheckedEvent { project, change, .. } = checked;
        let event = change.event();
        let mut calls = 0;
        // One event may come several times for its subscriptions; triggers know it by its id.
        for trigger in self.book.of(project).await.map_err(|error| failed(&error))?.iter() {
            if let TriggerKind::Object(options) = &trigger.spec.kind
                && wants(options, change)
            {
                calls += self.fire(trigger, options, change, &event).await?;
            }
        }
        for named in self.named_by(checked).await.map_err(|error| failed(&error))? {
            calls += self.fire_named(named, change, &event).await?;
        }
        Ok(calls)
    }

    async fn fire(
        &self,
        trigger: &Trigger,
        options: &ObjectOptions,
        change: &ObjectEvent,
        event: &Event,
    ) -> Result<usize, ObjectFault> {
        if !options.allow_self && self.is_own(&trigger.spec.route_id, change).await? {
            let reason = "the function's own identity made the change (allow_self is false)".to_owned();
            self.firer.note(trigger, event, FiringOutcome::Skipped, Some(reason), None);
            return Ok(0);
        }
        if self.caps.is_reached(trigger.id.as_str(), options.max_per_minute, self.clock.now()) {
            self.stop(trigger, options.max_per_minute).await?;
            return Ok(0);
        }
        let fired = self.firer.fire(trigger, event, FireOptions::default()).await;
        self.counted(trigger.id.as_str(), fired)
    }

    /// How many calls an event made, where `fired` says what became of it; `key` is what they count for.
    fn counted(&self, key: &str, fired: Result<Fired, FireError>) -> Result<usize, ObjectFault> {
        match fired {
            Ok(Fired::Accepted(_)) => {
                // Those that come again do not count again.
                self.caps.count(key, self.clock.now());
                Ok(1)
            }
            // A refused one is written down; asking for it again would not help.
            Ok(Fired::Duplicate(_) | Fired::Filtered) | Err(FireError::Never(_)) => Ok(0),
            Err(FireError::Later(reason)) => Err(ObjectFault(reason)),
        }
    }

    /// Whether the function that would run made the change itself.
    async fn is_own(&self, route: &RouteId, change: &ObjectEvent) -> Result<bool, ObjectFault> {
        if change.trust_id.is_none() && change.application_credential_id.is_none() {
            return Ok(false);
        }
        match self.store.get_identity(route).await {
            Ok(identity) => Ok(match &identity.grant {
                IdentityGrant::Trust { id } => change.is_by(id.as_str()),
                IdentityGrant::ApplicationCredential { id, .. } => change.is_by(id),
            }),
            Err(StoreError::NotFound) => Ok(false),
            Err(error) => Err(failed(&error)),
        }
    }

    async fn stop(&self, trigger: &Trigger, max: u32) -> Result<(), ObjectFault> {
        let reason = format!(
            "more than {max} events within a minute (max_per_minute): its function may cause them itself. \
             Resume it when that is mended"
        );
        tracing::warn!(trigger = %trigger.id, project = %trigger.project_id, max, "a trigger is stopped: too many events");
        let stopped = self
            .store
            .set_trigger_state(&trigger.id, trigger.revision, TriggerState::Stopped, Some(&reason))
            .await;
        stopped.map_err(|error| failed(&error))?;
        self.catalog.forget(&trigger.spec.app_id).await;
        Ok(())
    }
}

fn failed(error: &StoreError) -> ObjectFault {
    tracing::error!(
        error = error as &dyn std::error::Error,
        "what an object's change fires cannot be looked up"
    );
    ObjectFault("the database does not answer".to_owned())
}

fn wants(options: &ObjectOptions, change: &ObjectEvent) -> bool {
    let begins = options.prefix.as_ref().is_none_or(|prefix| change.object.starts_with(prefix));
    let ends = options.suffix.as_ref().is_none_or(|suffix| change.object.ends_with(suffix));
    let happened: ObjectOperation = change.operation;
    options.container == change.container && options.operations.contains(&happened) && begins && ends
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_trigger_wants_what_its_options_say() {
        let change: ObjectEvent = serde_json::from_value(event::sample("photos", "in/cat.jpg")).unwrap();
        let wanted = |options| {
            let TriggerKind::Object(options) =
                TriggerKind::parse(picasso_types::trigger::TriggerType::Object, options).unwrap()
            else {
                panic!("another kind")
            };
            wants(&options, &change)
        };
        assert!(wanted(json!({"container": "photos"})));
        assert!(wanted(
            json!({"container": "photos", "prefix": "in/", "suffix": ".jpg", "operations": ["put"]})
        ));
        for not in [
            json!({"container": "photo"}),
            json!({"container": "photos", "prefix": "out/"}),
            json!({"container": "photos", "suffix": ".png"}),
            json!({"container": "photos", "operations": ["delete", "copy"]}),
        ] {
            assert!(!wanted(not.clone()), "{not}");
        }
    }
}
