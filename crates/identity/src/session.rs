//! Our own token: got once, renewed before it ends or when Keystone no longer takes it.
//!
//! One request at a time does that work while the others wait for its outcome.

use std::sync::Arc;
use std::time::{Duration, Instant};

use picasso_types::{Clock, Timestamp, TrustId};
use secrecy::SecretString;
use serde_json::Value;
use tokio::sync::Mutex;

use crate::client::KeystoneClient;
use crate::error::KeystoneError;
use crate::settings::ServiceCredentials;
use crate::wire;

/// A token is renewed this long before its end, or for the last fifth of a short life.
const RENEW_BEFORE_MICROS: i64 = 60_000_000;

/// A token of our own.
pub(crate) struct OwnToken {
    pub(crate) secret: SecretString,
    /// Our own user's id.
    pub(crate) user_id: String,
    expires_at: Timestamp,
    renew_at: Timestamp,
}

/// The service's session with Keystone.
pub(crate) struct ServiceSession {
    client: Arc<KeystoneClient>,
    credentials: ServiceCredentials,
    clock: Arc<dyn Clock>,
    pause_after_refusal: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    token: Option<Arc<OwnToken>>,
    refused_at: Option<Instant>,
}

impl ServiceSession {
    pub(crate) fn new(
        client: Arc<KeystoneClient>,
        credentials: ServiceCredentials,
        clock: Arc<dyn Clock>,
        pause_after_refusal: Duration,
    ) -> Self {
        Self { client, credentials, clock, pause_after_refusal, state: Mutex::default() }
    }

    /// The body of a request for a token of a trust whose trustee is our own user; `None` where that
    /// user shows an application credential, which Keystone takes for no other scope.
    pub(crate) fn trust_authentication(&self, trust: &TrustId) -> Option<Value> {
        wire::trust_authentication(&self.credentials, trust)
    }

    /// A token to ask Keystone with.
    pub(crate) async fn token(&self) -> Result<Arc<OwnToken>, KeystoneError> {
        let mut state = self.state.lock().await;
        let Some(token) = state.token.clone() else {
            return self.authenticate(&mut state).await;
        };
        let now = self.clock.now();
        if now < token.renew_at {
            return Ok(token);
        }
        match self.authenticate(&mut state).await {
            Err(error) if now < token.expires_at => {
                tracing::warn!(%error, "cannot renew this service's token yet; going on with the old one");
                Ok(token)
            }
            renewed => renewed,
        }
    }

    /// A token other than `refused`, which Keystone did not take.
    pub(crate) async fn token_instead_of(
        &self,
        refused: &Arc<OwnToken>,
    ) -> Result<Arc<OwnToken>, KeystoneError> {
        let mut state = self.state.lock().await;
        match &state.token {
            // Someone else has been here in the meantime.
            Some(token) if !Arc::ptr_eq(token, refused) => Ok(Arc::clone(token)),
            _ => {
                state.token = None;
                self.authenticate(&mut state).await
            }
        }
    }

    async fn authenticate(&self, state: &mut State) -> Result<Arc<OwnToken>, KeystoneError> {
        // Asking again and again with a wrong password would lock the user out.
        if state.refused_at.is_some_and(|at| at.elapsed() < self.pause_after_refusal) {
            return Err(KeystoneError::CredentialsRefused);
        }
        state.refused_at = None;
        match self.client.authenticate(&self.credentials).await {
            Ok((secret, document)) => {
                let now = self.clock.now();
                let expires_at = document.expires_at();
                let margin = (expires_at.since(now) / 5).clamp(0, RENEW_BEFORE_MICROS);
                let renew_at = expires_at.plus_micros(-margin);
                let user_id = document.user_id().to_owned();
                let token = Arc::new(OwnToken { secret, user_id, expires_at, renew_at });
                state.token = Some(Arc::clone(&token));
                Ok(token)
            }
            Err(error) => {
                if matches!(error, KeystoneError::CredentialsRefused) {
                    state.refused_at = Some(Instant::now());
                }
                Err(error)
            }
        }
    }
}
