//! Changes of objects in Swift: which triggers they fire.
//!
//! The filter in Swift's proxy tells all changes; what a project wants of them is decided here. Three
//! ways lead to a function: a trigger, a subscription in the container's metadata, and a function that
//! the client named (`X-Function-URL`). A function whose own identity made the change does not run for
//! it unless its trigger says so, and none runs more often than its cap: a loop over several functions
//! ends there.

mod book;
mod caps;
mod event;

use std::sync::Arc;

use picasso_engine::{Catalog, Lookup};
use picasso_store::{Store, StoreError};
use picasso_types::trigger::object::{ObjectOperation, ObjectOptions};
use picasso_types::trigger::{
    Filter, FiringOutcome, Trigger, TriggerKind, TriggerName, TriggerSpec, TriggerState,
};
use picasso_types::{Clock, FieldFault, FullName, IdentityGrant, ProjectId, Timestamp, TriggerId};
use tokio_util::sync::CancellationToken;

use crate::event::Event;
use crate::firing::{FireError, FireOptions, Fired, Firer};
use book::Book;
use caps::Caps;

pub use event::{CopySource, ObjectEvent, Subscription};

/// Events within a minute for a function that no trigger names.
const UNNAMED_PER_MINUTE: u32 = 600;

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

/// Why the events of a request were not all taken.
#[derive(Debug, thiserror::Error)]
pub enum ObjectFault {
    /// An event is refused; the fault names it.
    #[error(transparent)]
    Field(#[from] FieldFault),
    /// Some may be taken later: the whole request should come again.
    #[error("{0}")]
    Later(String),
}

impl ObjectTriggers {
    /// Reads triggers and identities from `store`, finds routes in `catalog`.
    pub fn new(firer: Firer, catalog: Arc<Catalog>, store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self { firer, catalog, book: Book::new(store.clone()), store, clock, caps: Caps::default() }
    }

    /// Hears of changes of triggers until `stopping`.
    pub async fn follow(&self, stopping: CancellationToken) {
        self.book.follow(self.catalog.follow(), stopping).await;
    }

    /// Takes events; says how many calls they made. Those that come again make none.
    pub async fn take(&self, events: &[ObjectEvent]) -> Result<usize, ObjectFault> {
        let mut checked = Vec::with_capacity(events.len());
        for (at, event) in events.iter().enumerate() {
            let project = event
                .check()
                .map_err(|fault| FieldFault::new(format!("events[{at}].{}", fault.field), fault.message))?;
            checked.push((project, event));
        }
        let mut calls = 0;
        for (project, event) in checked {
            calls += self.take_one(&project, event).await?;
        }
        Ok(calls)
    }

    async fn take_one(&self, project: &ProjectId, change: &ObjectEvent) -> Result<usize, ObjectFault> {
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
        if let Some(subscription) = &change.subscription {
            let path = format!("/{}", subscription.route.trim_start_matches('/'));
            let found = self
                .catalog
                .lookup(project, &subscription.app, &path, "POST")
                .await
                .map_err(|error| failed(&error))?;
            if let Lookup::Found(target, _) = found {
                let unnamed = Unnamed { way: "metadata", project, target: &target };
                calls += self.fire_unnamed(&unnamed, change, &event).await?;
            }
        }
        if let Some(url) = &change.function_url {
            calls += self.fire_url(url, change, &event).await?;
        }
        Ok(calls)
    }

    /// A function that the client named: a public one, or one of the project of its token.
    async fn fire_url(&self, url: &str, change: &ObjectEvent, event: &Event) -> Result<usize, ObjectFault> {
        let Some((project, app, path)) = function_of(url) else { return Ok(0) };
        let found = match &project {
            None => {
                let Ok(app) = FullName::parse(&app) else { return Ok(0) };
                self.catalog.lookup_public(&app, &path, "POST").await
            }
            Some(project) if change.user_project_id.as_deref() == Some(project.as_str()) => {
                self.catalog.lookup(project, &app, &path, "POST").await
            }
            Some(_) => return Ok(0),
        };
        match found.map_err(|error| failed(&error))? {
            Lookup::Found(target, _) if project.is_some() || target.route.is_public => {
                let owner = target.app.project_id.clone();
                let unnamed = Unnamed { way: "header", project: &owner, target: &target };
                self.fire_unnamed(&unnamed, change, event).await
            }
            _ => Ok(0),
        }
    }

    async fn fire(
        &self,
        trigger: &Trigger,
        options: &ObjectOptions,
        change: &ObjectEvent,
        event: &Event,
    ) -> Result<usize, ObjectFault> {
        if !options.allow_self && self.is_own(trigger, change).await? {
            let reason = "the function's own identity made the change (allow_self is false)".to_owned();
            self.firer.note(trigger, event, FiringOutcome::Skipped, Some(reason), None);
            return Ok(0);
        }
        if self.caps.is_reached(trigger.id.as_str(), options.max_per_minute, self.clock.now()) {
            self.stop(trigger, options.max_per_minute).await?;
            return Ok(0);
        }
        self.fire_event(trigger, event).await
    }

    async fn fire_event(&self, trigger: &Trigger, event: &Event) -> Result<usize, ObjectFault> {
        match self.firer.fire(trigger, event, FireOptions::default()).await {
            Ok(Fired::Accepted(_)) => {
                // Those that come again do not count again.
                self.caps.count(trigger.id.as_str(), self.clock.now());
                Ok(1)
            }
            // A refused one is written down; asking for it again would not help.
            Ok(Fired::Duplicate(_) | Fired::Filtered) | Err(FireError::Never(_)) => Ok(0),
            Err(FireError::Later(reason)) => Err(ObjectFault::Later(reason)),
        }
    }

    /// Whether the function that would run made the change itself.
    async fn is_own(&self, trigger: &Trigger, change: &ObjectEvent) -> Result<bool, ObjectFault> {
        if change.trust_id.is_none() && change.application_credential_id.is_none() {
            return Ok(false);
        }
        match self.store.get_identity(&trigger.spec.route_id).await {
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

    async fn fire_unnamed(
        &self,
        unnamed: &Unnamed<'_>,
        change: &ObjectEvent,
        event: &Event,
    ) -> Result<usize, ObjectFault> {
        let Some(trigger) = unnamed.trigger(&change.container) else { return Ok(0) };
        if self.is_own(&trigger, change).await? {
            return Ok(0);
        }
        if self.caps.is_reached(trigger.id.as_str(), UNNAMED_PER_MINUTE, self.clock.now()) {
            tracing::warn!(
                project = %trigger.project_id,
                route = %trigger.spec.route_id,
                "too many events within a minute for a function that Swift's metadata or a header name; passed over"
            );
            return Ok(0);
        }
        self.fire_event(&trigger, event).await
    }
}

/// A function that no trigger names.
struct Unnamed<'a> {
    way: &'static str,
    project: &'a ProjectId,
    target: &'a picasso_engine::Target,
}

impl Unnamed<'_> {
    /// A trigger that is stored nowhere: it has no name, no firings, and takes all events.
    fn trigger(&self, container: &str) -> Option<Trigger> {
        let (app, route) = (&self.target.app, &self.target.route);
        let options = serde_json::json!({ "container": container });
        let kind = TriggerKind::parse(picasso_types::trigger::TriggerType::Object, options).ok()?;
        Some(Trigger {
            id: TriggerId::parse(&format!("{}-{}", self.way, route.id)).ok()?,
            project_id: self.project.clone(),
            spec: TriggerSpec {
                name: TriggerName::parse(self.way).ok()?,
                app_id: app.id.clone(),
                route_id: route.id.clone(),
                selector: None,
                kind,
                filter: Filter::default(),
                input: None,
            },
            app_name: app.full_name.to_string(),
            route_path: route.pattern.to_string(),
            state: TriggerState::Active,
            state_reason: None,
            next_at: None,
            progress: None,
            hook_hash: None,
            hook_key: None,
            identity: None,
            fired: 0,
            last_fired_at: None,
            revision: 0,
            created_by: String::new(),
            updated_by: String::new(),
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
        })
    }
}

fn failed(error: &StoreError) -> ObjectFault {
    tracing::error!(
        error = error as &dyn std::error::Error,
        "what an object's change fires cannot be looked up"
    );
    ObjectFault::Later("the database does not answer".to_owned())
}

fn wants(options: &ObjectOptions, change: &ObjectEvent) -> bool {
    let begins = options.prefix.as_ref().is_none_or(|prefix| change.object.starts_with(prefix));
    let ends = options.suffix.as_ref().is_none_or(|suffix| change.object.ends_with(suffix));
    let happened: ObjectOperation = change.operation;
    options.container == change.container && options.operations.contains(&happened) && begins && ends
}

/// The project (of a private one), app and path of a function's URL: `…/r/{app}/{route}` or
/// `…/v1/r/{project}/{app}/{route}`.
fn function_of(url: &str) -> Option<(Option<ProjectId>, String, String)> {
    let (_, rest) = url.split_once("://")?;
    let path = &rest[rest.find('/')?..];
    let path = path.split(['?', '#']).next()?;
    let (project, rest) = match path.strip_prefix("/v1/r/") {
        Some(rest) => {
            let (project, rest) = rest.split_once('/')?;
            (Some(ProjectId::parse(project).ok()?), rest)
        }
        None => (None, path.strip_prefix("/r/")?),
    };
    let (app, route) = rest.split_once('/').unwrap_or((rest, ""));
    (!app.is_empty()).then(|| (project, app.to_owned(), format!("/{route}")))
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

    #[test]
    fn a_functions_url_says_its_project_app_and_path() {
        let of =
            |url| function_of(url).map(|(project, app, path)| (project.map(|p| p.to_string()), app, path));
        let named = |project: Option<&str>, app: &str, path: &str| {
            Some((project.map(str::to_owned), app.to_owned(), path.to_owned()))
        };
        assert_eq!(of("http://p:10001/r/img/resize"), named(None, "img", "/resize"));
        assert_eq!(of("https://p/v1/r/p1/img/a/b?x=1"), named(Some("p1"), "img", "/a/b"));
        for none in ["http://p:10001/", "http://p/f/img/x", "img/resize", "http://p/r/"] {
            assert_eq!(of(none), None, "{none}");
        }
    }
}
