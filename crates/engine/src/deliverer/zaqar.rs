//! Reports to queues of Zaqar: the grant that whoever saves the route gives, and what is posted
//! with it.

use picasso_outbound::{Grant, GrantError};
use picasso_store::StoreError;
use picasso_types::{App, AppId, QueueGrant, RouteId};
use secrecy::SecretString;
use thiserror::Error;

use super::sent::Sent;
use crate::engine::Engine;

/// What a queue's owner can do about a grant.
const SAVE_AGAIN: &str = "save the route with this destination again to renew it";

/// Why a queue cannot become a destination. The texts complete "the queue …".
#[derive(Debug, Error)]
pub enum QueueError {
    /// The operator does not want it.
    #[error("cannot be used: this cloud does not send to queues of Zaqar; name a URL or a route instead")]
    Off,
    /// Zaqar gives no leave.
    #[error(transparent)]
    Grant(#[from] GrantError),
    /// The grant cannot be sealed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Engine {
    /// Leave for an app's routes to post into a queue of its project, asked for with the token of
    /// `user`, which must be scoped to that project. The token is not kept.
    pub async fn grant_queue(
        &self,
        app: &App,
        queue: &str,
        user: &str,
        token: &SecretString,
    ) -> Result<QueueGrant, QueueError> {
        let parts = &self.shared.parts;
        let zaqar = parts.zaqar.as_ref().ok_or(QueueError::Off)?;
        let until = parts.clock.now().plus(parts.settings.deliveries.grant_for);
        let grant = zaqar.grant(token, &app.project_id, queue, until).await?;
        let shown = QueueGrant {
            queue: queue.to_owned(),
            expires_at: grant.expires_at().unwrap_or(until),
            granted_by: user.to_owned(),
            key_id: String::new(),
            sealed: String::new(),
        };
        let bytes = serde_json::to_vec(&grant).unwrap_or_default();
        Ok(parts.store.seal_grant(&app.id, shown, &bytes)?)
    }
}

/// Posts a report into a queue. Where the route's grant was renewed after the call was accepted,
/// the newer one counts; one that the route has no more stays good for the calls it was accepted for.
pub(super) async fn post(
    engine: &Engine,
    app: &AppId,
    queue: &str,
    (route, taken_over): (&RouteId, Option<QueueGrant>),
    report: &[u8],
) -> Sent {
    let parts = &engine.shared.parts;
    let Some(zaqar) = &parts.zaqar else {
        return Sent::Failed("this cloud's service does not send to queues of Zaqar".to_owned());
    };
    let renewed = match parts.store.get_route_by_id(route).await {
        Ok(route) => route.delivery.grant(queue).cloned(),
        Err(StoreError::NotFound) => None,
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "the grant of a queue cannot be read");
            return Sent::Again("the grant to post into the queue could not be read".to_owned(), None);
        }
    };
    let Some(grant) = renewed.into_iter().chain(taken_over).max_by_key(|grant| grant.expires_at) else {
        return Sent::Failed(format!("there is no grant to post into the queue; {SAVE_AGAIN}"));
    };
    if grant.expires_at <= parts.clock.now() {
        return Sent::Failed(format!("the grant to post into the queue has ended; {SAVE_AGAIN}"));
    }
    let opened = parts.store.open_grant(app, &grant).inspect_err(|error| {
        tracing::error!(error = error as &dyn std::error::Error, "the grant of a queue cannot be opened");
    });
    let Some(grant) = opened.ok().and_then(|bytes| serde_json::from_slice::<Grant>(&bytes).ok()) else {
        return Sent::Failed(format!(
            "the grant to post into the queue cannot be read any more; {SAVE_AGAIN}"
        ));
    };
    match zaqar.post(queue, &grant, report).await {
        Ok(()) => Sent::Delivered,
        Err(error) if error.again => Sent::Again(error.reason, None),
        Err(error) => Sent::Failed(error.reason),
    }
}
