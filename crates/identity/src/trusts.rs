//! Trusts and application credentials: how the service acts for users who are not there.
//!
//! A trust is made with a user's own token: our user is its trustee, so nobody else gets tokens by it.
//! Its tokens are the trustor's own (impersonation), with the chosen roles in one project; Keystone
//! lets nobody make tokens of another scope with them, and nobody trust somebody else.
//! The trustor may delete a trust, and a token of the trust is the trustor's: so we delete it by itself.

use std::sync::Arc;

use http::StatusCode;
use picasso_types::{ProjectId, Timestamp, TrustId};
use secrecy::SecretString;
use serde_json::Value;

use crate::caller::Caller;
use crate::client::Answer;
use crate::error::KeystoneError;
use crate::validator::KeystoneValidator;
use crate::wire;

/// What a user trusts the service with.
#[derive(Debug, Clone, Copy)]
pub struct NewTrust<'a> {
    /// The user, whose token makes the trust.
    pub user_id: &'a str,
    /// The project that the token is scoped to.
    pub project: &'a ProjectId,
    /// Names of roles; the user has them there.
    pub roles: &'a [String],
}

/// A token for somebody who is not there, and what it is good for. Never logged; kept in memory only.
#[derive(Debug, Clone)]
pub struct IssuedToken {
    /// The token.
    pub secret: SecretString,
    /// Whom it stands for, in which project and with which roles.
    pub caller: Arc<Caller>,
    /// When it was given.
    pub issued_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Where it is taken: the public endpoints of its catalog.
    pub endpoints: Vec<ServiceEndpoint>,
}

/// An entry of a catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceEndpoint {
    /// `compute`, `object-store`, …
    pub service_type: String,
    /// Its URL.
    pub url: String,
}

/// Why there is no trust, or no token.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// Keystone says no, in its own words: a trust that is gone, a user who is disabled, a role that was
    /// lost, a token that may not make trusts, a wrong secret.
    #[error("{0}")]
    Refused(String),
    /// Our own user shows an application credential, and so can be nobody's trustee.
    #[error(
        "this service authenticates with an application credential, which Keystone takes for no trust; its \
         operator must give it a user and a password (keystone.username)"
    )]
    NoTrustee,
    /// Keystone does not answer, or not as it should.
    #[error(transparent)]
    Unavailable(#[from] KeystoneError),
}

/// Makes, uses and deletes trusts whose trustee is the service's own user.
#[derive(Debug)]
pub struct Trusts {
    keystone: Arc<KeystoneValidator>,
    region: Option<String>,
}

impl Trusts {
    /// Trusts of a Keystone; endpoints are those of `region`, where one is named.
    pub fn new(keystone: Arc<KeystoneValidator>, region: Option<String>) -> Self {
        Self { keystone, region }
    }

    /// Makes a trust with the token of the user who trusts. It does not end by itself.
    pub async fn create(&self, token: &SecretString, trust: NewTrust<'_>) -> Result<TrustId, TrustError> {
        self.asking(async {
            let ours = self.keystone.session.token().await?;
            let body = wire::new_trust(&trust, &ours.user_id);
            match self.keystone.client.make_trust(token, &body).await? {
                Answer::Given(made) => TrustId::parse(&made.trust.id)
                    .map_err(|_| KeystoneError::Malformed("the id of a new trust is none").into()),
                Answer::Refused { reason, .. } => Err(TrustError::Refused(reason)),
            }
        })
        .await
    }

    /// A new token by a trust.
    pub async fn token(&self, trust: &TrustId) -> Result<IssuedToken, TrustError> {
        let body = self.keystone.session.trust_authentication(trust).ok_or(TrustError::NoTrustee)?;
        self.asking(async {
            let ours = self.keystone.session.token().await?;
            match self.issue(&body).await {
                Err(Refusal::Said { status: StatusCode::UNAUTHORIZED, reason }) => {
                    // Our own password may be what is wrong.
                    self.keystone.session.token_instead_of(&ours).await?;
                    Err(TrustError::Refused(reason))
                }
                other => other.map_err(TrustError::from),
            }
        })
        .await
    }

    /// A new token of an application credential.
    pub async fn credential_token(&self, id: &str, secret: &SecretString) -> Result<IssuedToken, TrustError> {
        let body = wire::credential_authentication(id, secret);
        self.asking(async { self.issue(&body).await.map_err(TrustError::from) }).await
    }

    /// Deletes a trust, and with it every token by it; one that is gone is deleted. `Refused` where
    /// Keystone gives no token by it any more, as while its user is disabled.
    pub async fn delete(&self, trust: &TrustId) -> Result<(), TrustError> {
        let body = self.keystone.session.trust_authentication(trust).ok_or(TrustError::NoTrustee)?;
        self.asking(async {
            let ours = self.keystone.session.token().await?;
            let issued = match self.issue(&body).await {
                Ok(issued) => issued,
                Err(Refusal::Said { reason, .. }) => return self.if_gone(&ours.secret, trust, reason).await,
                Err(refusal) => return Err(refusal.into()),
            };
            match self.keystone.client.delete_trust(&issued.secret, trust).await? {
                Answer::Given(()) => Ok(()),
                Answer::Refused { reason, .. } => Err(TrustError::Refused(reason)),
            }
        })
        .await
    }

    /// No token was given by a trust: because it is gone, which its trustee may ask, or for `reason`.
    async fn if_gone(&self, ours: &SecretString, trust: &TrustId, reason: String) -> Result<(), TrustError> {
        if self.keystone.client.has_trust(ours, trust).await? {
            Err(TrustError::Refused(reason))
        } else {
            Ok(())
        }
    }

    async fn issue(&self, body: &Value) -> Result<IssuedToken, Refusal> {
        let issued_at = self.keystone.clock.now();
        match self.keystone.client.issue(body).await.map_err(Refusal::None)? {
            Answer::Refused { status, reason } => Err(Refusal::Said { status, reason }),
            Answer::Given((secret, document)) => {
                let endpoints = document.public_endpoints(self.region.as_deref());
                let expires_at = document.expires_at();
                let validated = document
                    .into_validated(issued_at, &self.keystone.service_type)
                    .map_err(|what| Refusal::None(KeystoneError::Malformed(what)))?;
                Ok(IssuedToken { secret, caller: validated.caller, issued_at, expires_at, endpoints })
            }
        }
    }

    /// Asks Keystone within the bounds that all requests share.
    async fn asking<T>(&self, work: impl Future<Output = Result<T, TrustError>>) -> Result<T, TrustError> {
        let bounded = tokio::time::timeout(self.keystone.total_timeout, async {
            let _place = self.keystone.gate.enter().await?;
            work.await
        });
        bounded.await.unwrap_or(Err(TrustError::Unavailable(KeystoneError::TimedOut)))
    }
}

/// Why no token was given.
enum Refusal {
    /// Keystone said so.
    Said { status: StatusCode, reason: String },
    /// It gave no usable answer.
    None(KeystoneError),
}

impl From<Refusal> for TrustError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Said { reason, .. } => Self::Refused(reason),
            Refusal::None(error) => Self::Unavailable(error),
        }
    }
}
