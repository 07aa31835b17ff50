//! From an event to an accepted call.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Method, header};
use picasso_engine::{AcceptError, AcceptOptions, Catalog, Engine, Invocation, Selected, Target};
use picasso_store::StoreError;
use picasso_types::trigger::{FiringOutcome, NewFiring, Trigger, TriggerType};
use picasso_types::{CallId, Failure, FiringId, PathParams, RequestId, Timestamp, random};
use serde_json::Value;

use crate::event::Event;
use crate::filter::passes;
use crate::firings::Firings;
use crate::input::filled;

/// Turns events into calls. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Firer {
    engine: Arc<Engine>,
    catalog: Arc<Catalog>,
    firings: Arc<Firings>,
}

/// What is different for one event.
#[derive(Debug, Clone, Default)]
pub struct FireOptions {
    /// When its call is due, instead of after the route's `delay`.
    pub not_before: Option<Timestamp>,
    /// The request that brought it.
    pub request_id: Option<RequestId>,
    /// How many calls caused each other before it.
    pub depth: u32,
    /// The event does not have to pass the trigger's filter: somebody tries the trigger.
    pub is_test: bool,
}

/// What of a call is not the event's.
#[derive(Debug)]
pub(crate) struct Order<'a> {
    /// Tells its calls from those that others make of the same event.
    pub(crate) key: &'a str,
    /// What the function is told as the trigger's name.
    pub(crate) name: &'a str,
    pub(crate) kind: TriggerType,
    pub(crate) target: Arc<Target>,
}

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fired {
    /// It made this call; it is on disk.
    Accepted(CallId),
    /// It had made this call before.
    Duplicate(CallId),
    /// The trigger's filter does not let it through.
    Filtered,
}

/// Why an event made no call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FireError {
    /// It never will: the route is gone, or the call is refused.
    #[error("{0}")]
    Never(String),
    /// It may later: whoever brought it should keep it, or bring it again.
    #[error("{0}")]
    Later(String),
}

impl Firer {
    /// Accepts calls by `engine`, finds routes in `catalog`, writes down in `firings`.
    pub const fn new(engine: Arc<Engine>, catalog: Arc<Catalog>, firings: Arc<Firings>) -> Self {
        Self { engine, catalog, firings }
    }

    /// Makes the call of an event, once for each id of an event, and writes down what became of it.
    pub async fn fire(
        &self,
        trigger: &Trigger,
        event: &Event,
        options: FireOptions,
    ) -> Result<Fired, FireError> {
        let data = parsed(trigger, event);
        if !options.is_test && !passes(&trigger.spec.filter, event, &data) {
            return Ok(Fired::Filtered);
        }
        let made = match self.target(trigger).await {
            Ok(target) => self.order(ordered(trigger, target), &mapped(trigger, event, &data), options).await,
            Err(error) => Err(error),
        };
        let (outcome, reason, call) = match &made {
            Ok(Fired::Accepted(call)) => (FiringOutcome::Accepted, None, Some(call)),
            Ok(Fired::Duplicate(call)) => (FiringOutcome::Duplicate, None, Some(call)),
            Ok(Fired::Filtered) => return Ok(Fired::Filtered),
            Err(error) => (FiringOutcome::Refused, Some(error.to_string()), None),
        };
        self.note(trigger, event, outcome, reason, call.cloned());
        made
    }

    /// Makes the call of an event for a function, once for each key and id of an event.
    pub(crate) async fn order(
        &self,
        order: Order<'_>,
        event: &Event,
        options: FireOptions,
    ) -> Result<Fired, FireError> {
        let accepting = AcceptOptions {
            not_before: options.not_before,
            idempotency_key: Some(format!("trigger:{}:{}", order.key, event.id)),
            ..AcceptOptions::default()
        };
        self.accept(invocation(order, event, &options), accepting).await
    }

    /// Writes down that an event was passed over, or what became of it where [`Firer::fire`] was not
    /// asked.
    pub fn note(
        &self,
        trigger: &Trigger,
        event: &Event,
        outcome: FiringOutcome,
        reason: Option<String>,
        call_id: Option<CallId>,
    ) {
        self.firings.note(NewFiring {
            id: FiringId::generate(),
            trigger_id: trigger.id.clone(),
            event_id: event.id.clone(),
            outcome,
            reason,
            call_id,
            at: self.engine.now(),
        });
    }

    /// The call that an event would make: for senders who wait for the answer.
    pub async fn invocation(
        &self,
        trigger: &Trigger,
        event: &Event,
        options: &FireOptions,
    ) -> Result<Invocation, FireError> {
        let target = self.target(trigger).await?;
        let data = parsed(trigger, event);
        Ok(invocation(ordered(trigger, target), &mapped(trigger, event, &data), options))
    }

    /// What the trigger's calls run now.
    pub async fn target(&self, trigger: &Trigger) -> Result<Arc<Target>, FireError> {
        let spec = &trigger.spec;
        let selected = self
            .catalog
            .select_route(&trigger.project_id, &trigger.app_name, &spec.route_id, spec.selector.as_ref())
            .await;
        let drawn = match selected {
            Ok(Some(Selected::Version(target))) => Some(target),
            Ok(Some(Selected::Alias(alias))) => alias.draw(None),
            Ok(None) => None,
            Err(error) => return Err(store_failed(&error)),
        };
        drawn.ok_or_else(|| FireError::Never("the route, or the version or alias of it, is gone".to_owned()))
    }

    async fn accept(&self, invocation: Invocation, options: AcceptOptions) -> Result<Fired, FireError> {
        match self.engine.accept(invocation, options).await {
            Ok(call) if call.is_new => Ok(Fired::Accepted(call.id)),
            Ok(call) => Ok(Fired::Duplicate(call.id)),
            Err(AcceptError::Store(error)) => Err(store_failed(&error)),
            Err(error @ (AcceptError::QueueFull(_) | AcceptError::Refused(Failure::NotReady { .. }))) => {
                Err(FireError::Later(error.to_string()))
            }
            Err(AcceptError::KeyOfOther) => Err(FireError::Never(
                "an event of this id made a call before, with other data or of another version of the trigger"
                    .to_owned(),
            )),
            Err(error @ (AcceptError::Refused(_) | AcceptError::Body(_))) => {
                Err(FireError::Never(error.to_string()))
            }
        }
    }
}

/// The event's data where something of the trigger looks into them; they may be long.
fn parsed(trigger: &Trigger, event: &Event) -> Value {
    let is_needed = !trigger.spec.filter.conditions().is_empty() || trigger.spec.input.is_some();
    if is_needed { event.json() } else { Value::Null }
}

/// The event as the function gets it.
fn mapped<'a>(trigger: &Trigger, event: &'a Event, data: &Value) -> Cow<'a, Event> {
    match &trigger.spec.input {
        Some(template) => Cow::Owned(filled(template, event, data)),
        None => Cow::Borrowed(event),
    }
}

fn ordered(trigger: &Trigger, target: Arc<Target>) -> Order<'_> {
    Order {
        key: trigger.id.as_str(),
        name: trigger.spec.name.as_str(),
        kind: trigger.spec.kind.trigger_type(),
        target,
    }
}

fn invocation(order: Order<'_>, event: &Event, options: &FireOptions) -> Invocation {
    let mut headers = event.headers();
    if let Ok(name) = HeaderValue::try_from(order.name) {
        headers.insert("ce-picassotrigger", name);
    }
    add_transport(&mut headers, &event.data);
    let body = event.data.clone();
    let target = order.target;
    let method = target.route.methods.as_slice();
    let method = if method.is_empty() || method.iter().any(|method| method == "POST") {
        Method::POST
    } else {
        method.first().and_then(|method| method.parse().ok()).unwrap_or(Method::POST)
    };
    Invocation {
        call_id: CallId::generate(),
        request_id: options.request_id.clone().unwrap_or_else(RequestId::generate),
        trigger: order.kind.of_call(),
        client: None,
        method,
        url: format!("http://localhost{}", target.route.pattern),
        target,
        headers,
        params: PathParams::new(),
        body: Box::pin(stream::once(async { Ok(body) })),
        depth: options.depth,
        kept: None,
    }
}

fn add_transport(headers: &mut HeaderMap, body: &Bytes) {
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    if let Ok(value) = HeaderValue::try_from(random::traceparent()) {
        headers.insert("traceparent", value);
    }
}

fn store_failed(error: &StoreError) -> FireError {
    tracing::error!(error = error as &dyn std::error::Error, "an event's call cannot be stored");
    FireError::Later("the call could not be stored".to_owned())
}
