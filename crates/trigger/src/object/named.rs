//! Functions that no trigger names: a subscription in the container's metadata does, or a header of the
//! client's request (`X-Function-URL`).

use std::sync::Arc;

use picasso_engine::{Lookup, Target};
use picasso_store::StoreError;
use picasso_types::trigger::TriggerType;

use super::client_function::ClientFunction;
use super::{CheckedEvent, ObjectEvent, ObjectFault, ObjectTriggers};
use crate::event::Event;
use crate::firing::{FireOptions, Order};

/// Events within a minute for one such function.
const MAX_PER_MINUTE: u32 = 600;

/// A function, and where it is named.
pub(super) struct Named {
    place: &'static str,
    target: Arc<Target>,
}

impl ObjectTriggers {
    /// The functions that an event in this project names itself.
    pub(super) async fn named_by(&self, event: &CheckedEvent) -> Result<Vec<Named>, StoreError> {
        let mut named = Vec::new();
        if let Some(subscription) = &event.change.subscription {
            let path = format!("/{}", subscription.route.trim_start_matches('/'));
            if let Lookup::Found(target, _) =
                self.catalog.lookup(&event.project, &subscription.app, &path, "POST").await?
            {
                named.push(Named { place: "metadata", target });
            }
        }
        if let Some(function) = &event.function
            && let Some(target) = self.of_client(function).await?
        {
            named.push(Named { place: "header", target });
        }
        Ok(named)
    }

    /// The function that the client named, where it is there.
    async fn of_client(&self, function: &ClientFunction) -> Result<Option<Arc<Target>>, StoreError> {
        let (found, only_public) = match function {
            ClientFunction::Public { app, path } => {
                (self.catalog.lookup_public(app, path, "POST").await?, true)
            }
            ClientFunction::Private { project, app, path } => {
                (self.catalog.lookup(project, app, path, "POST").await?, false)
            }
        };
        Ok(match found {
            Lookup::Found(target, _) if target.route.is_public || !only_public => Some(target),
            _ => None,
        })
    }

    /// How many calls the event made.
    pub(super) async fn fire_named(
        &self,
        Named { place, target }: Named,
        change: &ObjectEvent,
        event: &Event,
    ) -> Result<usize, ObjectFault> {
        let route = target.route.id.clone();
        if self.is_own(&route, change).await? {
            return Ok(0);
        }
        let key = format!("{place}-{route}");
        if self.caps.is_reached(&key, MAX_PER_MINUTE, self.clock.now()) {
            tracing::warn!(
                project = %target.app.project_id,
                %route,
                "too many events within a minute for a function that Swift's metadata or a header name; passed over"
            );
            return Ok(0);
        }
        let order = Order { key: &key, name: place, kind: TriggerType::Object, target };
        let fired = self.firer.order(order, event, FireOptions::default()).await;
        if let Err(error) = &fired {
            tracing::info!(%route, %error, "an object's change makes no call for a function that Swift's metadata or a header name");
        }
        self.counted(&key, fired)
    }
}
