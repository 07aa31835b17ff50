//! Validation as keystonemiddleware's auth_token does it, with bounded caches before it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use metrics::{counter, histogram};
use moka::future::Cache;
use picasso_types::Clock;
use secrecy::{ExposeSecret as _, SecretString};

use crate::caller::Caller;
use crate::client::{KeystoneClient, Verdict};
use crate::error::{KeystoneError, KeystoneSettingsError};
use crate::gate::Gate;
use crate::session::ServiceSession;
use crate::settings::KeystoneSettings;
use crate::token::TokenKey;
use crate::wire::{NoCaller, TokenDocument};
use crate::{AuthError, TokenValidator};

/// No cache is believed for longer, whatever the configuration says.
const MAX_CACHE_TIME: Duration = Duration::from_hours(24);

/// What a caller is told to wait when Keystone is up but too many ask.
const RETRY_WHEN_BUSY: Duration = Duration::from_secs(1);

const BAD_TOKEN: &str = "The token is not valid; it may have expired or been revoked";

/// Validates tokens with Keystone.
pub struct KeystoneValidator {
    client: Arc<KeystoneClient>,
    session: ServiceSession,
    gate: Gate,
    clock: Arc<dyn Clock>,
    /// Absent where every request asks Keystone.
    good: Option<Cache<TokenKey, Arc<Caller>>>,
    /// Apart from the good ones, so that a flood of garbage pushes none of them out.
    refused: Option<Cache<TokenKey, &'static str>>,
    total_timeout: Duration,
    retry_after: Duration,
    auth_uri: String,
}

impl std::fmt::Debug for KeystoneValidator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeystoneValidator").field("auth_uri", &self.auth_uri).finish_non_exhaustive()
    }
}

impl KeystoneValidator {
    /// A validator that has not spoken to Keystone yet; see [`Self::log_in`].
    ///
    /// A process-wide TLS provider (`rustls::crypto::CryptoProvider`) must have been installed.
    pub fn new(settings: KeystoneSettings, clock: Arc<dyn Clock>) -> Result<Self, KeystoneSettingsError> {
        let client = Arc::new(KeystoneClient::new(&settings)?);
        let session = ServiceSession::new(
            Arc::clone(&client),
            settings.credentials,
            Arc::clone(&clock),
            settings.retry_after,
        );
        let refused_time = Some(settings.refused_cache_time).filter(|time| !time.is_zero());
        Ok(Self {
            client,
            session,
            gate: Gate::new(settings.max_parallel, settings.max_waiting),
            clock,
            good: settings.cache_time.map(|time| cache(time, settings.cache_capacity)),
            refused: refused_time.map(|time| cache(time, settings.cache_capacity)),
            total_timeout: settings.total_timeout,
            retry_after: settings.retry_after,
            auth_uri: settings.public_auth_url.unwrap_or(settings.auth_url),
        })
    }

    /// Gets our own token now, so that a wrong password shows at the start and not at the first
    /// call. Failing is no reason not to start: Keystone may come later.
    pub async fn log_in(&self) -> Result<(), KeystoneError> {
        tokio::time::timeout(self.total_timeout, self.session.token())
            .await
            .map_err(|_| KeystoneError::TimedOut)?
            .map(|_| ())
    }

    /// The URL that the catalog has for a service, as our own user sees it; `None` where it has none.
    /// Asks Keystone each time.
    pub async fn endpoint(
        &self,
        service: &str,
        interface: &str,
        region: Option<&str>,
    ) -> Result<Option<String>, KeystoneError> {
        let asked = tokio::time::timeout(self.total_timeout, async {
            let _place = self.gate.enter().await?;
            let mut ours = self.session.token().await?;
            for _ in 0..2 {
                if let Some(catalog) = self.client.catalog(&ours.secret).await? {
                    return Ok(catalog.endpoint(service, interface, region).map(str::to_owned));
                }
                ours = self.session.token_instead_of(&ours).await?;
            }
            Err(KeystoneError::OwnTokenRefused)
        });
        asked.await.unwrap_or(Err(KeystoneError::TimedOut))
    }

    /// A token of our own for another service; another one than `refused`, which it did not take.
    pub async fn service_token(&self, refused: Option<&SecretString>) -> Result<SecretString, KeystoneError> {
        let asked = tokio::time::timeout(self.total_timeout, async {
            let ours = self.session.token().await?;
            match refused {
                Some(refused) if refused.expose_secret() == ours.secret.expose_secret() => {
                    self.session.token_instead_of(&ours).await
                }
                _ => Ok(ours),
            }
        });
        asked.await.unwrap_or(Err(KeystoneError::TimedOut)).map(|token| token.secret.clone())
    }

    /// What Keystone says of `token` now; a refusal is remembered.
    async fn ask(&self, key: TokenKey, token: &SecretString) -> Result<Arc<Caller>, AuthError> {
        let started = Instant::now();
        let asked = tokio::time::timeout(self.total_timeout, async {
            let _place = self.gate.enter().await?;
            self.look_up(token).await
        });
        let document = asked.await.unwrap_or(Err(KeystoneError::TimedOut));
        histogram!("picasso_keystone_validation_seconds").record(started.elapsed());
        let answer = match document {
            Ok(Some(document)) => document.into_caller(),
            Ok(None) => Err(NoCaller::Refused(BAD_TOKEN)),
            Err(error) => return Err(self.unavailable(&error)),
        };
        match answer {
            Ok(caller) => Ok(Arc::new(caller)),
            Err(NoCaller::Malformed(what)) => Err(self.unavailable(&KeystoneError::Malformed(what))),
            Err(NoCaller::Refused(reason)) => {
                if let Some(refused) = &self.refused {
                    refused.insert(key, reason).await;
                }
                Err(AuthError::Unauthorized { reason })
            }
        }
    }

    /// What Keystone has on `token`; once more with a fresh token of ours where ours is stale.
    async fn look_up(&self, token: &SecretString) -> Result<Option<Box<TokenDocument>>, KeystoneError> {
        let mut ours = self.session.token().await?;
        for _ in 0..2 {
            match self.client.look_up(&ours.secret, token).await? {
                Verdict::Good(document) => return Ok(Some(document)),
                Verdict::Bad => return Ok(None),
                Verdict::OursIsStale => ours = self.session.token_instead_of(&ours).await?,
            }
        }
        Err(KeystoneError::OwnTokenRefused)
    }

    fn unavailable(&self, error: &KeystoneError) -> AuthError {
        if matches!(error, KeystoneError::Busy) {
            // Whoever sends too many requests must not fill the log as well.
            tracing::debug!("too many tokens wait to be validated");
            return AuthError::Unavailable { retry_after: RETRY_WHEN_BUSY };
        }
        tracing::error!(error = chain(error), "a token could not be validated");
        AuthError::Unavailable { retry_after: self.retry_after }
    }

    async fn caller(&self, token: &SecretString) -> Result<Arc<Caller>, AuthError> {
        let key = TokenKey::of(token).map_err(|reason| AuthError::Unauthorized { reason })?;
        if let Some(refused) = &self.refused
            && let Some(reason) = refused.get(&key).await
        {
            return Err(AuthError::Unauthorized { reason });
        }
        let caller = match &self.good {
            // Those who come with the same token meanwhile wait for the one that asks.
            Some(good) => good
                .try_get_with(key, self.ask(key, token))
                .await
                .map_err(|error| AuthError::clone(&error))?,
            None => self.ask(key, token).await?,
        };
        if caller.expires_at <= self.clock.now() {
            return Err(AuthError::Unauthorized { reason: BAD_TOKEN });
        }
        Ok(caller)
    }
}

#[async_trait]
impl TokenValidator for KeystoneValidator {
    async fn validate(&self, token: &SecretString) -> Result<Arc<Caller>, AuthError> {
        let answer = self.caller(token).await;
        let outcome = match &answer {
            Ok(_) => "accepted",
            Err(AuthError::Unauthorized { .. }) => "refused",
            Err(AuthError::Unavailable { .. }) => "unavailable",
        };
        counter!("picasso_token_validations_total", "outcome" => outcome).increment(1);
        answer
    }

    fn auth_uri(&self) -> &str {
        &self.auth_uri
    }
}

fn cache<V: Clone + Send + Sync + 'static>(time: Duration, capacity: u64) -> Cache<TokenKey, V> {
    Cache::builder().max_capacity(capacity).time_to_live(time.min(MAX_CACHE_TIME)).build()
}

/// An error and all its causes, for the log.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
