//! Identities of functions: `/v1/{project_id}/routes/{route_id}/identity`.
//!
//! An identity is granted with the granting user's own token, and only that user consents to what others
//! change: a token that was lent - of a trust, or of a restricted application credential - does neither.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use picasso_identity::policy::defaults as rule;
use picasso_identity::{Caller, IssuedToken, NewTrust, TrustError, Trusts};
use picasso_store::StoreError;
use picasso_types::{
    App, FieldFault, IdentityGrant, ProjectId, Route, RouteId, RouteIdentity, SealedFor, TrustId,
};
use secrecy::{ExposeSecret, SecretString};

use super::route_versions::find_route_by_id;
use crate::answers::deleted;
use crate::bodies::identity::{SetIdentity, Wanted};
use crate::error::{ApiError, ErrorView, from_store};
use crate::identity_views::{IdentityAnswer, IdentityView};
use crate::microversion::Microversion;
use crate::request::auth::{Allowed, CallerToken};
use crate::request::json::JsonBody;
use crate::request::path::RouteIdPath;
use crate::request::preconditions::{Preconditions, tag_of, tagged};
use crate::revocations::revoke_due;
use crate::state::ApiState;
use crate::views::Done;

/// What a caller is told to wait while Keystone does not answer.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Show whom a function is in OpenStack.
#[utoipa::path(
    get,
    path = "/v1/{project_id}/routes/{route_id}/identity",
    tag = "identities",
    params(
        ("project_id" = String, Path, description = "The project of the token"),
        ("route_id" = String, Path, description = "The route's `id`"),
    ),
    responses(
        (status = 200, description = "The identity; of type `none` where the route has none", body = IdentityAnswer, headers(("ETag" = String, description = "Of this state of the identity"))),
        (status = 304, description = "The identity has a tag that If-None-Match lists"),
        (status = 400, description = "A header is refused; the message names it", body = ErrorView),
        (status = 412, description = "The identity has no tag that If-Match lists", body = ErrorView),
        (status = 404, description = "The project has no such route", body = ErrorView),
    ),
    security(("keystone_token" = ["functions:identity:get"]))
)]
pub(crate) async fn get_identity(
    Allowed(auth, ..): Allowed<rule::GetIdentity>,
    State(state): State<ApiState>,
    RouteIdPath(id): RouteIdPath,
    preconditions: Preconditions,
) -> Result<Response, ApiError> {
    let (_, route) = find_route_by_id(&state, &auth.project, &id).await?;
    let identity = IdentityView::from(find(&state, &route.id).await?.as_ref());
    let tag = tag_of(&identity)?;
    preconditions.show(&tag, IdentityAnswer { identity, message: "Identity successfully loaded" })
}

/// Grant a function an identity: roles of your own by a trust, or an application credential. It takes the
/// place of the one it has.
#[utoipa::path(
    put,
    path = "/v1/{project_id}/routes/{route_id}/identity",
    tag = "identities",
    params(
        ("project_id" = String, Path, description = "The project of the token"),
        ("route_id" = String, Path, description = "The route's `id`"),
    ),
    request_body = SetIdentity,
    responses(
        (status = 200, description = "The identity", body = IdentityAnswer, headers(("ETag" = String, description = "Of the new state"))),
        (status = 400, description = "A field or the token is refused; the message names it", body = ErrorView),
        (status = 412, description = "The identity has no tag that If-Match lists, or another user changed the function meanwhile; nothing is granted", body = ErrorView),
        (status = 404, description = "The project has no such route", body = ErrorView),
        (status = 413, description = "The body is too large", body = ErrorView),
    ),
    security(("keystone_token" = ["functions:identity:set"]))
)]
pub(crate) async fn set_identity(
    Allowed(auth, ..): Allowed<rule::SetIdentity>,
    State(state): State<ApiState>,
    RouteIdPath(id): RouteIdPath,
    token: CallerToken,
    preconditions: Preconditions,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let (app, route) = find_route_by_id(&state, &auth.project, &id).await?;
    auth.about(&app);
    let before = find(&state, &route.id).await?;
    let for_this_state = preconditions.allow_change(&tag_of(&IdentityView::from(before.as_ref()))?)?;
    let wanted = body.parse::<SetIdentity>()?.into_wanted()?;
    let trusts = trusts(&state)?;
    let granting = Granting { state: &state, trusts, caller: &auth.caller, project: &app.project_id };
    granting.check_token()?;
    let identity = match (wanted, &before) {
        (Wanted::Trust { roles }, Some(before)) if granting.is_had(before, &roles).await? => before.clone(),
        (wanted, _) => {
            let identity = granting.grant(&route.id, &token.0, wanted).await?;
            let expected = before.as_ref().filter(|_| for_this_state);
            let number = route.latest.number;
            if let Err(error) = state.store.set_identity(&identity, number, expected).await {
                granting.undo(identity.grant.trust()).await;
                return Err(from_store(|| ApiError::RouteNotFound(id.to_string()))(error));
            }
            changed(&state, &app).await;
            identity
        }
    };
    auth.about(&identity);
    shown(&identity, "Identity successfully granted")
}

/// Consent to what another user changed: the function gets your identity again.
#[utoipa::path(
    post,
    path = "/v1/{project_id}/routes/{route_id}/identity/consent",
    tag = "identities",
    params(
        ("project_id" = String, Path, description = "The project of the token"),
        ("route_id" = String, Path, description = "The route's `id`"),
    ),
    responses(
        (status = 200, description = "The identity, which is active; as it was where nobody had changed anything", body = IdentityAnswer, headers(("ETag" = String, description = "Of the new state"))),
        (status = 400, description = "A header is refused; the message names it", body = ErrorView),
        (status = 403, description = "The identity is another user's, or the token was lent", body = ErrorView),
        (status = 412, description = "The identity has no tag that If-Match lists: the function was changed again; nothing is consented to", body = ErrorView),
        (status = 404, description = "The project has no such route, or the route no identity", body = ErrorView),
    ),
    security(("keystone_token" = ["functions:identity:consent"]))
)]
pub(crate) async fn consent_to_identity(
    Allowed(auth, ..): Allowed<rule::ConsentToIdentity>,
    State(state): State<ApiState>,
    RouteIdPath(id): RouteIdPath,
    preconditions: Preconditions,
) -> Result<Response, ApiError> {
    let (app, route) = find_route_by_id(&state, &auth.project, &id).await?;
    auth.about(&app);
    let missing = || ApiError::IdentityNotFound(id.to_string());
    let seen = find(&state, &route.id).await?.ok_or_else(missing)?;
    auth.about(&seen);
    if seen.user_id != auth.caller.user_id || lent(&auth.caller).is_some() {
        return Err(ApiError::NotTheGrantor);
    }
    preconditions.allow_change(&tag_of(&IdentityView::from(&seen))?)?;
    if seen.suspension.is_none() {
        return shown(&seen, "The identity is active");
    }
    let identity = state.store.consent_to_identity(&seen).await.map_err(from_store(missing))?;
    changed(&state, &app).await;
    shown(&identity, "Consented: the function has its identity again")
}

/// Take a function's identity away.
#[utoipa::path(
    delete,
    path = "/v1/{project_id}/routes/{route_id}/identity",
    tag = "identities",
    params(
        ("project_id" = String, Path, description = "The project of the token"),
        ("route_id" = String, Path, description = "The route's `id`"),
    ),
    responses(
        (status = 200, description = "The function has no identity any more; its trust is revoked", body = Done),
        (status = 204, description = "The same, from version 1.1 on"),
        (status = 400, description = "A header is refused; the message names it", body = ErrorView),
        (status = 412, description = "The identity has no tag that If-Match lists", body = ErrorView),
        (status = 404, description = "The project has no such route, or the route no identity", body = ErrorView),
    ),
    security(("keystone_token" = ["functions:identity:delete"]))
)]
pub(crate) async fn delete_identity(
    Allowed(auth, ..): Allowed<rule::DeleteIdentity>,
    State(state): State<ApiState>,
    RouteIdPath(id): RouteIdPath,
    version: Microversion,
    preconditions: Preconditions,
) -> Result<Response, ApiError> {
    let (app, route) = find_route_by_id(&state, &auth.project, &id).await?;
    auth.about(&app);
    let missing = || ApiError::IdentityNotFound(id.to_string());
    let before = find(&state, &route.id).await?.ok_or_else(missing)?;
    auth.about(&before);
    let for_this_state = preconditions.allow_change(&tag_of(&IdentityView::from(&before))?)?;
    let expected = for_this_state.then_some(&before);
    state.store.delete_identity(&route.id, expected).await.map_err(from_store(missing))?;
    changed(&state, &app).await;
    Ok(deleted(version, Done { message: "Identity successfully deleted" }))
}

/// Revokes, beside the request, what nothing needs any more. What fails now is tried again later.
pub(super) fn revoke_soon(state: &ApiState) {
    let Some(trusts) = state.trusts.clone() else { return };
    let (store, now) = (Arc::clone(&state.store), state.engine.now());
    tokio::spawn(async move {
        if let Err(error) = revoke_due(store.as_ref(), &trusts, now).await {
            tracing::warn!(%error, "trusts that are not needed any more could not be looked up");
        }
    });
}

/// Has the next call, on every node, see the identity as it is now.
async fn changed(state: &ApiState, app: &App) {
    state.catalog.forget(&app.id).await;
    revoke_soon(state);
}

async fn find(state: &ApiState, route: &RouteId) -> Result<Option<RouteIdentity>, ApiError> {
    match state.store.get_identity(route).await {
        Ok(identity) => Ok(Some(identity)),
        Err(StoreError::NotFound) => Ok(None),
        Err(error) => Err(ApiError::store("reading a route's identity", error)),
    }
}

fn shown(identity: &RouteIdentity, message: &'static str) -> Result<Response, ApiError> {
    let identity = IdentityView::from(identity);
    let tag = tag_of(&identity)?;
    Ok(tagged(&tag, Json(IdentityAnswer { identity, message }).into_response()))
}

pub(super) fn trusts(state: &ApiState) -> Result<&Trusts, ApiError> {
    state.trusts.as_deref().ok_or_else(|| {
        let message = "cannot be granted: this server does not use Keystone";
        ApiError::InvalidField(FieldFault::new("identity", message))
    })
}

/// Why a token is not its user's own.
fn lent(caller: &Caller) -> Option<&'static str> {
    if caller.trust.is_some() {
        return Some("a trust");
    }
    let is_restricted = caller.application_credential.as_ref().is_some_and(|it| it.restricted);
    is_restricted.then_some("a restricted application credential")
}

fn refused(field: &str, message: impl Into<String>) -> ApiError {
    ApiError::InvalidField(FieldFault::new(field, message))
}

/// A user who grants something.
pub(super) struct Granting<'a> {
    pub(super) state: &'a ApiState,
    pub(super) trusts: &'a Trusts,
    pub(super) caller: &'a Caller,
    /// Of the route.
    pub(super) project: &'a ProjectId,
}

impl Granting<'_> {
    /// The token must be the user's own, for the project that the function acts in.
    pub(super) fn check_token(&self) -> Result<(), ApiError> {
        if self.caller.project_id() != Some(self.project) {
            let message = "must be scoped to the project of the route, as the function will act there";
            return Err(refused("X-Auth-Token", message));
        }
        match lent(self.caller) {
            Some(lender) => {
                Err(refused("X-Auth-Token", format!("must be your own; one of {lender} grants nothing")))
            }
            None => Ok(()),
        }
    }

    /// Whether the route has just this already, and it works.
    async fn is_had(&self, before: &RouteIdentity, roles: &[String]) -> Result<bool, ApiError> {
        let Some(trust) = before.grant.trust() else { return Ok(false) };
        let is_same = before.user_id == self.caller.user_id
            && before.project_id == *self.project
            && before.roles == roles
            && before.suspension.is_none();
        if !is_same {
            return Ok(false);
        }
        match self.trusts.token(trust).await {
            Ok(_) => Ok(true),
            Err(TrustError::Refused(_)) => Ok(false),
            Err(error) => Err(failed(error, "identity")),
        }
    }

    async fn grant(
        &self,
        route: &RouteId,
        token: &SecretString,
        wanted: Wanted,
    ) -> Result<RouteIdentity, ApiError> {
        let granted_at = self.state.engine.now();
        let (grant, roles) = match wanted {
            Wanted::Trust { roles } => (self.trust(token, &roles).await?, roles),
            Wanted::ApplicationCredential { id, secret } => self.credential(route, id, &secret).await?,
        };
        Ok(RouteIdentity {
            route_id: route.clone(),
            project_id: self.project.clone(),
            user_id: self.caller.user_id.clone(),
            grant,
            roles,
            granted_at,
            suspension: None,
        })
    }

    pub(super) async fn trust(
        &self,
        token: &SecretString,
        roles: &[String],
    ) -> Result<IdentityGrant, ApiError> {
        if let Some(role) = roles.iter().find(|role| !self.caller.roles.contains(role)) {
            let message = format!("has {role:?}, which the token does not have");
            return Err(refused("identity.roles", message));
        }
        let new = NewTrust { user_id: &self.caller.user_id, project: self.project, roles };
        let made = self.trusts.create(token, new).await;
        Ok(IdentityGrant::Trust { id: made.map_err(|error| failed(error, "identity.roles"))? })
    }

    async fn credential(
        &self,
        route: &RouteId,
        id: String,
        secret: &SecretString,
    ) -> Result<(IdentityGrant, Vec<String>), ApiError> {
        let issued = self.trusts.credential_token(&id, secret).await;
        let IssuedToken { caller, .. } = issued.map_err(|error| failed(error, "identity.secret"))?;
        if caller.user_id != self.caller.user_id {
            return Err(refused("identity.id", "is of another user; its owner hands it over"));
        }
        if caller.project_id() != Some(self.project) {
            return Err(refused("identity.id", "is for another project than the route's"));
        }
        let sealed_for = SealedFor::IdentitySecret(route);
        let sealed = self.state.store.seal(sealed_for, secret.expose_secret().as_bytes());
        let secret = sealed.map_err(|error| ApiError::store("sealing a secret", error))?;
        let mut roles = caller.roles.clone();
        roles.sort();
        Ok((IdentityGrant::ApplicationCredential { id, secret }, roles))
    }

    /// The trust was made and is not used.
    pub(super) async fn undo(&self, trust: Option<&TrustId>) {
        let Some(trust) = trust else { return };
        if let Err(error) = self.state.store.add_trust_revocation(trust).await {
            // The database is away: there is nowhere to note it.
            let revoked = self.trusts.delete(trust).await;
            tracing::warn!(%trust, %error, revoked = revoked.is_ok(), "a trust was made and is not used");
        }
        revoke_soon(self.state);
    }
}

/// Why nothing was granted, as the caller is told.
fn failed(error: TrustError, field: &str) -> ApiError {
    match error {
        TrustError::Refused(reason) => refused(field, format!("is refused by Keystone: {reason}")),
        error @ TrustError::NoTrustee => refused("identity.type", format!("cannot be a trust: {error}")),
        TrustError::Unavailable(error) => {
            let error: &dyn std::error::Error = &error;
            tracing::error!(error, "Keystone does not say whether an identity can be granted");
            ApiError::IdentityUnavailable { retry_after: RETRY_AFTER }
        }
    }
}

/// After a route was deleted: its trust goes, too.
pub(super) fn route_deleted(state: &ApiState, route: &Route) {
    if route.identity.is_some() {
        revoke_soon(state);
    }
}
