//! Validation as keystonemiddleware's auth_token does it, with bounded caches before it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use metrics::{counter, histogram};
use moka::future::Cache;
use picasso_types::Clock;
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;

use crate::caller::Caller;
use crate::client::{KeystoneClient, Query, Verdict};
use crate::error::{KeystoneError, KeystoneSettingsError};
use crate::gate::Gate;
use crate::session::ServiceSession;
use crate::settings::KeystoneSettings;
use crate::shared_cache::SharedCache;
use crate::token::TokenKey;
use crate::validated::{Question, Validated};
use crate::wire::{Catalog, TokenDocument};
use crate::{AuthError, Presented, TokenValidator};

/// No cache is believed for longer, whatever the configuration says.
const MAX_CACHE_TIME: Duration = Duration::from_hours(24);

/// What a caller is told to wait when Keystone is up but too many ask.
const RETRY_WHEN_BUSY: Duration = Duration::from_secs(1);

const BAD_TOKEN: &str = "The token is not valid; it may have expired or been revoked";
const BAD_SERVICE_TOKEN: &str = "The service token is not valid; it may have expired or been revoked";
const NO_SERVICE_ROLE: &str = "The service token has none of the roles of a service";
const NOT_IN_RULES: &str = "The access rules of the token's application credential do not allow the request";

/// Validates tokens with Keystone.
pub struct KeystoneValidator {
    pub(crate) client: Arc<KeystoneClient>,
    pub(crate) session: ServiceSession,
    pub(crate) gate: Gate,
    pub(crate) clock: Arc<dyn Clock>,
    /// Absent where every request asks Keystone.
    good: Option<Good>,
    /// Apart from the good ones, so that a flood of garbage pushes none of them out.
    refused: Option<Cache<Question, ()>>,
    pub(crate) service_type: String,
    service_token_roles: Vec<String>,
    service_token_roles_required: bool,
    pub(crate) total_timeout: Duration,
    retry_after: Duration,
    auth_uri: String,
}

/// Answers that are still believed.
struct Good {
    answers: Cache<Question, Arc<Validated>>,
    time: Duration,
    shared: Option<SharedCache>,
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
        let capacity = settings.cache_capacity;
        let refused_time = Some(settings.refused_cache_time).filter(|time| !time.is_zero());
        let good = |time: Duration| {
            let time = time.min(MAX_CACHE_TIME);
            let shared = settings.shared_cache.as_ref().map(|shared| {
                SharedCache::new(shared, &settings.auth_url, &settings.service_type, time)
                    .map_err(KeystoneSettingsError::Field)
            });
            Ok(Good { answers: cache(time, capacity), time, shared: shared.transpose()? })
        };
        let good = settings.cache_time.map(good).transpose()?;
        Ok(Self {
            client,
            session,
            gate: Gate::new(settings.max_parallel, settings.max_waiting),
            clock,
            good,
            refused: refused_time.map(|time| cache(time.min(MAX_CACHE_TIME), capacity)),
            service_type: settings.service_type,
            service_token_roles: settings.service_token_roles,
            service_token_roles_required: settings.service_token_roles_required,
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
        Ok(self.catalog().await?.endpoint(service, interface, region).map(str::to_owned))
    }

    /// The catalog as our own user sees it.
    pub(crate) async fn catalog(&self) -> Result<Catalog, KeystoneError> {
        self.read("auth/catalog", &[]).await
    }

    /// A document below `/v3/` as our own user sees it; once more with a fresh token of ours where
    /// ours is stale.
    pub(crate) async fn read<T: DeserializeOwned>(
        &self,
        path: &'static str,
        query: &[(&str, &str)],
    ) -> Result<T, KeystoneError> {
        let asked = tokio::time::timeout(self.total_timeout, async {
            let _place = self.gate.enter().await?;
            let mut ours = self.session.token().await?;
            for _ in 0..2 {
                if let Some(answer) = self.client.read(&ours.secret, path, query).await? {
                    return Ok(answer);
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

    /// What Keystone said of `token` to another server, or says now.
    async fn ask_others(
        &self,
        good: &Good,
        question: Question,
        token: &SecretString,
    ) -> Result<Arc<Validated>, AuthError> {
        let Some(shared) = &good.shared else { return self.ask(question, token).await };
        if let Some(kept) = shared.find(&question).await
            && kept.is_fresh(self.clock.now(), good.time)
        {
            return Ok(Arc::new(kept));
        }
        let validated = self.ask(question, token).await?;
        shared.keep(&question, &validated).await;
        Ok(validated)
    }

    /// What Keystone says of `token` now; a refusal is remembered.
    async fn ask(&self, question: Question, token: &SecretString) -> Result<Arc<Validated>, AuthError> {
        let started = Instant::now();
        let at = self.clock.now();
        let asked = tokio::time::timeout(self.total_timeout, async {
            let _place = self.gate.enter().await?;
            let query = Query { catalog: false, allow_expired: question.allow_expired };
            match self.look_up(token, query).await? {
                // Only rules need the catalog, and few tokens have any.
                Some(document) if document.has_access_rules() => {
                    self.look_up(token, Query { catalog: true, ..query }).await
                }
                answer => Ok(answer),
            }
        });
        let document = asked.await.unwrap_or(Err(KeystoneError::TimedOut));
        histogram!("picasso_keystone_validation_seconds").record(started.elapsed());
        match document {
            Ok(Some(document)) => match document.into_validated(at, &self.service_type) {
                Ok(validated) => Ok(Arc::new(validated)),
                Err(what) => Err(self.unavailable(&KeystoneError::Malformed(what))),
            },
            Ok(None) => {
                if let Some(refused) = &self.refused {
                    refused.insert(question, ()).await;
                }
                Err(refusal(BAD_TOKEN))
            }
            Err(error) => Err(self.unavailable(&error)),
        }
    }

    /// What Keystone has on `token`; once more with a fresh token of ours where ours is stale.
    async fn look_up(
        &self,
        token: &SecretString,
        query: Query,
    ) -> Result<Option<Box<TokenDocument>>, KeystoneError> {
        let mut ours = self.session.token().await?;
        for _ in 0..2 {
            match self.client.look_up(&ours.secret, token, query).await? {
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

    /// What is known of `token`, from the cache or from Keystone.
    async fn validated(
        &self,
        token: &SecretString,
        allow_expired: bool,
    ) -> Result<Arc<Validated>, AuthError> {
        let question = Question { token: TokenKey::of(token).map_err(refusal)?, allow_expired };
        if let Some(refused) = &self.refused
            && refused.get(&question).await.is_some()
        {
            return Err(refusal(BAD_TOKEN));
        }
        let validated = match &self.good {
            Some(good) => {
                if let Some(kept) = good.answers.get(&question).await
                    && !kept.is_fresh(self.clock.now(), good.time)
                {
                    good.answers.invalidate(&question).await;
                }
                // Those who come with the same token meanwhile wait for the one that asks.
                let asked = good.answers.try_get_with(question, self.ask_others(good, question, token)).await;
                asked.map_err(|error| AuthError::clone(&error))?
            }
            None => self.ask(question, token).await?,
        };
        if !allow_expired && validated.caller.expires_at <= self.clock.now() {
            return Err(refusal(BAD_TOKEN));
        }
        Ok(validated)
    }

    /// The service whose token came along, and whether it may bring user tokens that have ended.
    async fn service(&self, token: &SecretString) -> Result<(Arc<Caller>, bool), AuthError> {
        let validated = match self.validated(token, false).await {
            Err(AuthError::Unauthorized { .. }) => return Err(refusal(BAD_SERVICE_TOKEN)),
            other => other?,
        };
        let service = Arc::clone(&validated.caller);
        let has_role = self.service_token_roles.iter().any(|role| service.roles.contains(role));
        if self.service_token_roles_required && !has_role {
            return Err(refusal(NO_SERVICE_ROLE));
        }
        Ok((service, has_role))
    }

    async fn caller(&self, request: &Presented) -> Result<Arc<Caller>, AuthError> {
        let service = match request.service_token() {
            Some(token) => Some(self.service(token).await?),
            None => None,
        };
        let allow_expired = service.as_ref().is_some_and(|(_, has_role)| *has_role);
        let validated = self.validated(request.user_token(), allow_expired).await?;
        if let Some(restriction) = &validated.restriction {
            // With a service token the request is a service's, made for one that was allowed.
            let allowed = service.is_some()
                || restriction.rules.allow(&self.service_type, request.method(), request.path());
            if !(restriction.in_catalog && allowed) {
                return Err(refusal(NOT_IN_RULES));
            }
        }
        Ok(match service {
            None => Arc::clone(&validated.caller),
            Some((service, _)) => {
                Arc::new(Caller { service: Some(service), ..Caller::clone(&validated.caller) })
            }
        })
    }
}

#[async_trait]
impl TokenValidator for KeystoneValidator {
    async fn validate(&self, request: &Presented) -> Result<Arc<Caller>, AuthError> {
        let answer = self.caller(request).await;
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

fn cache<V: Clone + Send + Sync + 'static>(time: Duration, capacity: u64) -> Cache<Question, V> {
    Cache::builder().max_capacity(capacity).time_to_live(time).build()
}

fn refusal(reason: &'static str) -> AuthError {
    AuthError::Unauthorized { reason }
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
