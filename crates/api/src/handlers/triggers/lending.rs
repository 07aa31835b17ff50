//! The trust that a trigger acts with: of whoever saves it, made with that user's own token.

use picasso_types::trigger::{IdentityWish, TriggerIdentity, TriggerType};
use picasso_types::{FieldFault, TrustId};

use crate::error::ApiError;
use crate::handlers::identities::{Granting, revoke_soon, trusts};
use crate::request::auth::{Authorized, CallerToken};
use crate::state::ApiState;

/// Refuses an identity where it has no use, and its lack where nothing goes without one; faults name
/// `{wrapper}identity`.
pub(super) fn check(kind: TriggerType, wish: &IdentityWish, wrapper: &str) -> Result<(), ApiError> {
    let fault = |message: &str| Err(FieldFault::new(format!("{wrapper}identity"), message).into());
    match (kind, wish) {
        (TriggerType::Queue, IdentityWish::None) => {
            fault("must be a trust: Picasso reads the queue in your name, with the roles that you choose")
        }
        (TriggerType::Queue, IdentityWish::Trust(_)) | (_, IdentityWish::None) => Ok(()),
        (_, IdentityWish::Trust(_)) => fault(
            "must be none: only the kind \"queue\" acts by itself; a function's identity is its route's",
        ),
    }
}

/// The trust that is wished for.
pub(super) async fn lend(
    state: &ApiState,
    auth: &Authorized,
    token: &CallerToken,
    wish: &IdentityWish,
) -> Result<Option<TriggerIdentity>, ApiError> {
    let IdentityWish::Trust(roles) = wish else { return Ok(None) };
    let granting = Granting { state, trusts: trusts(state)?, caller: &auth.caller, project: &auth.project };
    granting.check_token()?;
    let grant = granting.trust(&token.0, roles).await?;
    let trust = grant.trust().ok_or_else(|| ApiError::internal("making a trust", "it is none"))?;
    Ok(Some(TriggerIdentity {
        trust_id: trust.to_string(),
        user_id: auth.caller.user_id.clone(),
        roles: roles.clone(),
    }))
}

/// Has a trust revoked that no trigger needs any more: now, or when Keystone answers again.
pub(super) async fn give_up(state: &ApiState, identity: Option<&TriggerIdentity>) {
    let Some(trust) = identity.and_then(|identity| TrustId::parse(&identity.trust_id).ok()) else { return };
    if let Err(error) = state.store.add_trust_revocation(&trust).await {
        tracing::error!(%trust, %error, "a trust that no trigger needs any more could not be noted to be revoked");
    }
    revoke_soon(state);
}
