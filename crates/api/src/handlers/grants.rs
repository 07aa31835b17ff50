//! Leave to post into queues of Zaqar, which whoever saves a route gives with their token.

use picasso_engine::QueueError;
use picasso_outbound::GrantError;
use picasso_types::{App, DeliveryOptions, FieldFault};

use crate::error::ApiError;
use crate::request::auth::{Authorized, CallerToken};
use crate::state::ApiState;

/// Asks for leave to post into the queues of a route to be saved that have none yet; faults name
/// the destination's field behind `wrapper`.
pub(super) async fn complete_grants(
    state: &ApiState,
    app: &App,
    delivery: &mut DeliveryOptions,
    (auth, CallerToken(token)): (&Authorized, &CallerToken),
    wrapper: &str,
) -> Result<(), ApiError> {
    let wanted: Vec<(&str, String)> =
        delivery.queues().map(|(field, queue)| (field, queue.to_owned())).collect();
    for (field, queue) in wanted {
        if delivery.grant(&queue).is_some() {
            continue;
        }
        let fault = |message: String| {
            ApiError::InvalidField(FieldFault { field: format!("{wrapper}{field}"), message })
        };
        if auth.caller.project_id() != Some(&app.project_id) {
            // Zaqar would give leave for a queue of the token's project.
            let message = "names a queue, which takes a token scoped to the project of the route";
            return Err(fault(message.to_owned()));
        }
        let granted = state.engine.grant_queue(app, &queue, &auth.caller.user_id, token).await;
        delivery.grants.push(granted.map_err(|error| match error {
            QueueError::Off | QueueError::Grant(GrantError::NoService | GrantError::Refused { .. }) => {
                fault(format!("the queue \"{queue}\" {error}"))
            }
            QueueError::Store(error) => ApiError::store("sealing a grant", error),
            QueueError::Grant(
                error @ (GrantError::Catalog(_) | GrantError::Unavailable(_) | GrantError::NotUnderstood(_)),
            ) => ApiError::messaging(error),
        })?);
    }
    Ok(())
}
