//! A route's identity as clients see it: never its secret.

use picasso_types::{IdentityGrant, RouteIdentity};
use serde::Serialize;
use utoipa::ToSchema;

use crate::views::{identity_state, iso8601};

/// Whom a function is in OpenStack.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct IdentityView {
    /// `none`, `trust` or `application_credential`.
    #[schema(example = "trust")]
    r#type: &'static str,
    /// `active`, or `suspended`: it waits for the consent of who granted it. Null for type `none`.
    state: Option<&'static str>,
    /// The names of the roles that the function acts with.
    roles: Vec<String>,
    /// Who granted it, and whom the function acts as.
    user_id: Option<String>,
    /// The project that it acts in.
    project_id: Option<String>,
    /// Of a trust: its id.
    trust_id: Option<String>,
    /// Of an application credential: its id.
    application_credential_id: Option<String>,
    /// When it was granted, UTC.
    #[schema(example = "2026-01-31T12:00:00.000000Z")]
    granted_at: Option<String>,
    /// The user whose change suspended it.
    suspended_by: Option<String>,
    /// When, UTC.
    suspended_at: Option<String>,
    /// What was changed.
    #[schema(example = "version 4 was made")]
    reason: Option<String>,
}

impl IdentityView {
    /// Of a route without any.
    pub(crate) const fn none() -> Self {
        Self {
            r#type: "none",
            state: None,
            roles: Vec::new(),
            user_id: None,
            project_id: None,
            trust_id: None,
            application_credential_id: None,
            granted_at: None,
            suspended_by: None,
            suspended_at: None,
            reason: None,
        }
    }
}

impl From<&RouteIdentity> for IdentityView {
    fn from(identity: &RouteIdentity) -> Self {
        let (trust_id, application_credential_id) = match &identity.grant {
            IdentityGrant::Trust { id } => (Some(id.to_string()), None),
            IdentityGrant::ApplicationCredential { id, .. } => (None, Some(id.clone())),
        };
        let suspension = identity.suspension.as_ref();
        Self {
            r#type: identity.grant.kind().as_str(),
            state: Some(identity_state(suspension.is_some())),
            roles: identity.roles.clone(),
            user_id: Some(identity.user_id.clone()),
            project_id: Some(identity.project_id.to_string()),
            trust_id,
            application_credential_id,
            granted_at: Some(iso8601(identity.granted_at)),
            suspended_by: suspension.map(|it| it.by.clone()),
            suspended_at: suspension.map(|it| iso8601(it.at)),
            reason: suspension.map(|it| it.reason.clone()),
        }
    }
}

impl From<Option<&RouteIdentity>> for IdentityView {
    fn from(identity: Option<&RouteIdentity>) -> Self {
        identity.map_or_else(Self::none, Self::from)
    }
}

/// A route's identity.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct IdentityAnswer {
    pub(crate) identity: IdentityView,
    /// What was done.
    pub(crate) message: &'static str,
}
