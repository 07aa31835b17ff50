//! Identities of functions for the engine: the store says what was granted and whether it still holds,
//! Keystone gives the token.
//!
//! The row is read each time, so what another process suspended or deleted is never given out.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use picasso_config::Settings;
use picasso_engine::{FunctionIdentity, Identities, IdentityRefusal};
use picasso_identity::{
    GrantedTokens, Handed, HandedIdentity, IssuedToken, KeystoneValidator, Place, TokenValidator as _,
    TrustError, Trusts,
};
use picasso_store::{Store, StoreError};
use picasso_types::{Clock, IdentityGrant, ProjectId, RouteId, RouteIdentity, SealedFor};
use secrecy::SecretString;

/// While Keystone is away and a token is due for renewal, it is asked for again after this time.
const ASK_AGAIN: Duration = Duration::from_secs(30);

/// What was granted, from a store, with tokens from Keystone.
#[derive(Debug)]
struct GrantedIdentities {
    store: Arc<dyn Store>,
    tokens: GrantedTokens,
    place: Place,
    clock: Arc<dyn Clock>,
}

/// Functions' identities; `None` without Keystone.
pub(crate) fn open(
    settings: &Settings,
    keystone: Option<&Arc<KeystoneValidator>>,
    store: &Arc<dyn Store>,
    clock: Arc<dyn Clock>,
) -> Option<(Arc<Trusts>, Arc<dyn Identities>)> {
    let keystone = keystone?;
    let identity = &settings.identity;
    let auth_url = identity
        .auth_url
        .as_ref()
        .map_or_else(|| keystone.auth_uri().to_owned(), |url| url.as_str().trim_end_matches('/').to_owned());
    let trusts = Arc::new(Trusts::new(Arc::clone(keystone), identity.region.clone()));
    let tokens = GrantedTokens::new(Arc::clone(&trusts), Arc::clone(&clock), identity.max_tokens.into());
    let place = Place { auth_url, region: identity.region.clone() };
    let granted = GrantedIdentities { store: Arc::clone(store), tokens, place, clock };
    Some((trusts, Arc::new(granted)))
}

#[async_trait]
impl Identities for GrantedIdentities {
    async fn of_route(
        &self,
        project: &ProjectId,
        route: &RouteId,
    ) -> Result<Option<FunctionIdentity>, IdentityRefusal> {
        let identity = match self.store.get_identity(route).await {
            Ok(identity) => identity,
            Err(StoreError::NotFound) => return Ok(None),
            Err(error) => return Err(unavailable(route, &error)),
        };
        if identity.suspension.is_some() {
            self.forget(&identity.grant).await;
            return Err(IdentityRefusal::Suspended);
        }
        let given = self.given(&identity).await.map_err(|error| match error {
            TrustError::Refused(reason) => IdentityRefusal::Refused(reason),
            error @ TrustError::NoTrustee => IdentityRefusal::Refused(error.to_string()),
            TrustError::Unavailable(error) => unavailable(route, &error),
        })?;
        if identity.project_id != *project || !is_of(&given.token, &identity) {
            tracing::error!(%route, "an identity is not what was granted: its token is another user's or project's");
            return Err(IdentityRefusal::Refused("it is not what was granted".to_owned()));
        }
        let renew_at = given.token.renew_at().max(self.clock.now().plus(ASK_AGAIN));
        let Handed { env, files } = Handed::of(given.as_handed(), &given.token, &self.place);
        Ok(Some(FunctionIdentity { env, files, renew_at: Some(renew_at) }))
    }
}

/// A token, and the secret that it was got with.
struct Given {
    token: Arc<IssuedToken>,
    credential: Option<(String, SecretString)>,
}

impl Given {
    fn as_handed(&self) -> HandedIdentity<'_> {
        match &self.credential {
            None => HandedIdentity::Trust,
            Some((id, secret)) => HandedIdentity::ApplicationCredential { id, secret },
        }
    }
}

impl GrantedIdentities {
    async fn given(&self, identity: &RouteIdentity) -> Result<Given, TrustError> {
        match &identity.grant {
            IdentityGrant::Trust { id } => {
                Ok(Given { token: self.tokens.by_trust(id).await?, credential: None })
            }
            IdentityGrant::ApplicationCredential { id, secret } => {
                let route = &identity.route_id;
                let opened = self.store.open(SealedFor::IdentitySecret(route), secret);
                let secret = opened.ok().and_then(|secret| String::from_utf8(secret).ok());
                let Some(secret) = secret.map(SecretString::from) else {
                    let reason = "its secret cannot be read: the service's key was changed; grant it again";
                    return Err(TrustError::Refused(reason.to_owned()));
                };
                let token = self.tokens.by_credential(id, &secret).await?;
                Ok(Given { token, credential: Some((id.clone(), secret)) })
            }
        }
    }

    async fn forget(&self, grant: &IdentityGrant) {
        match grant {
            IdentityGrant::Trust { id } => self.tokens.forget_trust(id).await,
            IdentityGrant::ApplicationCredential { id, .. } => self.tokens.forget_credential(id).await,
        }
    }
}

/// Whether a token stands for the user who granted the identity, in its project.
fn is_of(token: &IssuedToken, identity: &RouteIdentity) -> bool {
    token.caller.user_id == identity.user_id && token.caller.project_id() == Some(&identity.project_id)
}

fn unavailable(route: &RouteId, error: &(dyn std::error::Error + 'static)) -> IdentityRefusal {
    tracing::error!(%route, error, "the identity of a function cannot be had now");
    IdentityRefusal::Unavailable
}
